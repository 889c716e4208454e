//! Slot numbers: who gets which, and when a freed one may be used again.
//!
//! Order, which is part of the contract: the most recently freed slot first, then the lowest number
//! never used. A freed slot waits in quarantine until the policy has consumed the slot's last event
//! and its victims are applied, so no record can be mistaken for one of the next tenant.

use ostler_abi::NO_SLOT;

/// A resident entry's name for as long as it is resident: slot and generation.
///
/// The generation changes whenever the slot changes hands, so a stale `EntryId` finds nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EntryId {
    /// Dense number within the shard.
    pub slot: u32,
    /// How often the slot has changed hands, wrapping.
    pub generation: u32,
}

/// Hands out the slots of one shard.
#[derive(Debug, Default)]
pub(crate) struct SlotNumbers {
    free: Vec<u32>,
    quarantine: Vec<u32>,
    /// Slots ever used: all below this number.
    used: u32,
    /// Slots in quarantine that the maintainer has taken along.
    away: usize,
}

impl SlotNumbers {
    /// The next slot. Slots at or above [`used`](Self::used) before the call are new.
    ///
    /// # Panics
    ///
    /// Beyond `u32::MAX − 1` slots; a shard is configured far below.
    pub(crate) fn take(&mut self) -> u32 {
        if let Some(slot) = self.free.pop() {
            return slot;
        }
        let slot = self.used;
        assert!(slot < NO_SLOT - 1, "a shard holds fewer than u32::MAX entries");
        self.used += 1;
        slot
    }

    /// Frees `slot`, to be reused after the next [`release`](Self::release).
    pub(crate) fn give_back(&mut self, slot: u32) {
        self.quarantine.push(slot);
    }

    /// Ends the quarantine of all slots given back so far.
    pub(crate) fn release(&mut self) {
        self.free.append(&mut self.quarantine);
    }

    /// Frees `slot` at once: no event of its last tenant is on its way.
    pub(crate) fn free(&mut self, slot: u32) {
        self.free.push(slot);
    }

    /// Moves the slots in quarantine into `slots`, which is empty. Whoever takes them ends their
    /// quarantine with [`free`](Self::free).
    pub(crate) fn quarantined(&mut self, slots: &mut Vec<u32>) {
        debug_assert!(slots.is_empty(), "one quarantine ends before the next is taken");
        self.away += self.quarantine.len();
        std::mem::swap(&mut self.quarantine, slots);
    }

    /// Frees the slots that [`quarantined`](Self::quarantined) had handed out.
    pub(crate) fn end_quarantine(&mut self, slots: &mut Vec<u32>) {
        self.away -= slots.len();
        self.free.append(slots);
    }

    /// Number of slots ever used.
    pub(crate) fn used(&self) -> u32 {
        self.used
    }

    /// Slots that are neither free nor in quarantine.
    pub(crate) fn taken(&self) -> usize {
        self.used as usize - self.free.len() - self.quarantine.len() - self.away
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freed_slots_come_back_latest_first_and_only_after_quarantine() {
        let mut slots = SlotNumbers::default();
        assert_eq!([slots.take(), slots.take(), slots.take()], [0, 1, 2]);
        slots.give_back(0);
        slots.give_back(2);
        assert_eq!(slots.take(), 3);
        slots.release();
        assert_eq!([slots.take(), slots.take(), slots.take()], [2, 0, 4]);
        assert_eq!(slots.taken(), 5);
    }
}
