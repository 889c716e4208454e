//! The guard: what a policy was told, and whether its answer keeps the contract.
//!
//! A policy proposes, the engine disposes. The guard keeps the policy's *view*, the delivered weight
//! of every slot the policy believes resident, checks each answer whole before any of it counts, and
//! judges the budget when a batch is through. It decides and returns; it evicts nothing.

use ostler_abi::{Kind, Record};

use crate::fault::PolicyFault;

/// The view of one policy instance, and the judgement of its answers. A bit a slot; from the first
/// weight on that is not 1, 2 bytes a slot, and 4 from the first on that takes more than 16 bits.
#[derive(Debug)]
pub(crate) struct Guard {
    view: View,
    weight: u64,
    capacity: u64,
    /// None stands for a 64th of the capacity.
    evict_ahead_max: Option<u64>,
    /// Slots whose remove or expire record is in the batch under way: naming one is stale, no fault.
    departed: Vec<u32>,
    /// Weight that left the view in this batch by no choice of the policy.
    departed_weight: u64,
    /// Weight of the last victim of the batch, 0 where there was none.
    last_victim_weight: u32,
}

/// A victim that the guard accepted: no longer in the view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Accepted {
    pub(crate) slot: u32,
    weight: u32,
}

impl Guard {
    pub(crate) fn new(capacity: u64, evict_ahead_max: Option<u64>) -> Self {
        Self {
            view: View::default(),
            weight: 0,
            capacity,
            evict_ahead_max,
            departed: Vec::new(),
            departed_weight: 0,
            last_victim_weight: 0,
        }
    }

    /// Weight of the view.
    pub(crate) fn weight(&self) -> u64 {
        self.weight
    }

    /// True where `slot` is in the view.
    pub(crate) fn has(&self, slot: u32) -> bool {
        self.view.weight(slot) != 0
    }

    /// Delivered weight of `slot`, 0 where it is not in the view.
    #[inline]
    pub(crate) fn weight_of(&self, slot: u32) -> u32 {
        self.view.weight(slot)
    }

    /// Bound on slots that there is room for.
    #[inline]
    pub(crate) fn slots(&self) -> u32 {
        self.view.slots
    }

    /// Makes room for slots below `bound`.
    pub(crate) fn grow(&mut self, bound: u32) {
        self.view.grow(bound);
    }

    /// Follows a record that is being delivered.
    #[inline(always)]
    pub(crate) fn delivered(&mut self, record: &Record) {
        match record.kind() {
            // Most overwrites: nothing changes.
            Some(Kind::Update) if self.view.weight(record.slot) == record.weight => {}
            Some(Kind::Insert | Kind::Adopt | Kind::Update) => self.set(record.slot, record.weight),
            Some(Kind::Remove | Kind::Expire) => {
                let weight = self.take(record.slot);
                if weight != 0 {
                    self.departed.push(record.slot);
                    self.departed_weight += u64::from(weight);
                }
            }
            Some(Kind::Capacity) => self.capacity = record.key_hash,
            Some(Kind::Reset) => {
                self.view.clear();
                self.weight = 0;
            }
            Some(Kind::Hit | Kind::Miss | Kind::Slots) | Some(_) | None => {}
        }
    }

    /// Checks one answer whole. All its victims leave the view and are appended to `accepted`, but
    /// for the stale ones, which are counted in the result; or, on a fault, nothing changes.
    ///
    /// # Errors
    ///
    /// [`PolicyFault::BadVictim`] for a slot that is outside the view or named twice.
    #[inline]
    pub(crate) fn accept(
        &mut self,
        victims: &[u32],
        accepted: &mut Vec<Accepted>,
    ) -> Result<u64, PolicyFault> {
        let accepted_before = accepted.len();
        let mut stale = 0;
        for &slot in victims {
            let weight = self.take(slot);
            if weight != 0 {
                accepted.push(Accepted { slot, weight });
            } else if let Some(place) = self.departed.iter().position(|&gone| gone == slot) {
                self.departed.swap_remove(place);
                stale += 1;
            } else {
                for undone in accepted.drain(accepted_before..) {
                    self.set(undone.slot, undone.weight);
                }
                return Err(PolicyFault::BadVictim {
                    reason: format!("slot {slot} is not in the view or was named twice"),
                });
            }
        }
        if let Some(last) = accepted.get(accepted_before..).and_then(<[_]>::last) {
            self.last_victim_weight = last.weight;
        }
        Ok(stale)
    }

    /// Ends a batch: the view must fit the capacity and must not have been emptied for nothing.
    ///
    /// # Errors
    ///
    /// [`PolicyFault::OverBudget`] or [`PolicyFault::OverEviction`].
    #[inline]
    pub(crate) fn judge(&mut self) -> Result<(), PolicyFault> {
        let last_victim_weight = std::mem::take(&mut self.last_victim_weight);
        let departed_weight = std::mem::take(&mut self.departed_weight);
        self.departed.clear();
        if self.weight > self.capacity {
            return Err(PolicyFault::OverBudget { weight: self.weight, capacity: self.capacity });
        }
        if last_victim_weight != 0 {
            let ahead = self.evict_ahead_max.unwrap_or(self.capacity / 64);
            let ahead = ahead.max(u64::from(last_victim_weight)).saturating_add(departed_weight);
            let floor = self.capacity.saturating_sub(ahead);
            if self.weight < floor {
                return Err(PolicyFault::OverEviction { weight: self.weight, floor });
            }
        }
        Ok(())
    }

    /// Puts `slot` into the view with `weight`, or changes its weight.
    #[inline]
    fn set(&mut self, slot: u32, weight: u32) {
        let old = self.view.replace(slot, weight);
        self.weight = self.weight - u64::from(old) + u64::from(weight);
        self.departed_weight += u64::from(old.saturating_sub(weight));
    }

    /// Takes `slot` out of the view and returns its weight, 0 where it was not there.
    #[inline]
    fn take(&mut self, slot: u32) -> u32 {
        if slot >= self.view.slots {
            return 0;
        }
        let weight = self.view.replace(slot, 0);
        self.weight -= u64::from(weight);
        weight
    }

    /// Asserts that the weight of the view is the sum of its slots. O(slots).
    pub(crate) fn validate(&self) {
        let sum: u64 = (0..self.view.slots).map(|slot| u64::from(self.view.weight(slot))).sum();
        assert_eq!(sum, self.weight, "the view weighs what its slots weigh");
    }
}

/// Delivered weight of each slot in the view; 0 stands for "not in the view".
#[derive(Debug, Default)]
struct View {
    slots: u32,
    weights: Weights,
}

/// As narrow as the heaviest entry so far allows: it widens, and never narrows again.
#[derive(Debug)]
enum Weights {
    /// Which slots are in the view: all there is while every weight is 1.
    Bits(Vec<u64>),
    /// From the first weight on that is not 1.
    Narrow(Vec<u16>),
    /// From the first weight on that takes more than 16 bits.
    Wide(Vec<u32>),
}

impl Default for Weights {
    fn default() -> Self {
        Self::Bits(Vec::new())
    }
}

impl View {
    fn grow(&mut self, bound: u32) {
        if bound > self.slots {
            self.slots = bound;
            match &mut self.weights {
                Weights::Bits(bits) => bits.resize((bound as usize).div_ceil(64), 0),
                Weights::Narrow(weights) => extend(weights, bound),
                Weights::Wide(weights) => extend(weights, bound),
            }
        }
    }

    #[inline]
    fn weight(&self, slot: u32) -> u32 {
        let place = slot as usize;
        match &self.weights {
            Weights::Bits(bits) => {
                let word = bits.get(place / 64).copied().unwrap_or(0);
                (word >> (slot % 64) & 1) as u32
            }
            Weights::Narrow(weights) => weights.get(place).copied().map_or(0, u32::from),
            Weights::Wide(weights) => weights.get(place).copied().unwrap_or(0),
        }
    }

    /// Sets the weight of `slot`, which there is room for, and returns the old one.
    #[inline]
    fn replace(&mut self, slot: u32, weight: u32) -> u32 {
        let place = slot as usize;
        match &mut self.weights {
            Weights::Bits(bits) if weight <= 1 => {
                let word = &mut bits[place / 64];
                let old = *word >> (slot % 64) & 1;
                *word = *word & !(1 << (slot % 64)) | u64::from(weight) << (slot % 64);
                old as u32
            }
            Weights::Narrow(weights) if weight <= u32::from(u16::MAX) => {
                u32::from(std::mem::replace(&mut weights[place], weight as u16))
            }
            Weights::Wide(weights) => std::mem::replace(&mut weights[place], weight),
            Weights::Bits(_) | Weights::Narrow(_) => {
                self.widen(weight);
                self.replace(slot, weight)
            }
        }
    }

    /// Makes room for `weight` in each slot. Cost: O(slots), at most twice in the view's life.
    #[cold]
    fn widen(&mut self, weight: u32) {
        let slots = 0..self.slots;
        self.weights = if weight <= u32::from(u16::MAX) {
            // Only bits have too little room for these.
            Weights::Narrow(slots.map(|slot| self.weight(slot) as u16).collect())
        } else {
            Weights::Wide(slots.map(|slot| self.weight(slot)).collect())
        };
    }

    fn clear(&mut self) {
        match &mut self.weights {
            Weights::Bits(bits) => bits.fill(0),
            Weights::Narrow(weights) => weights.fill(0),
            Weights::Wide(weights) => weights.fill(0),
        }
    }
}

/// Makes room for weights of slots below `bound`, and no more: the bound grows in steps of an eighth,
/// and doubling would hold memory for nothing.
fn extend<W: Copy + Default>(weights: &mut Vec<W>, bound: u32) {
    weights.reserve_exact((bound as usize).saturating_sub(weights.len()));
    weights.resize(bound as usize, W::default());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(capacity: u64, weights: &[u32]) -> Guard {
        let mut guard = Guard::new(capacity, None);
        guard.grow(weights.len() as u32);
        for (slot, &weight) in (0u32..).zip(weights) {
            guard.delivered(&Record { weight, ..Record::new(Kind::Insert, slot) });
        }
        guard
    }

    fn accept(guard: &mut Guard, victims: &[u32]) -> Result<(Vec<u32>, u64), PolicyFault> {
        let mut accepted = Vec::new();
        let stale = guard.accept(victims, &mut accepted)?;
        Ok((accepted.iter().map(|a| a.slot).collect(), stale))
    }

    #[test]
    fn an_answer_counts_whole_or_not_at_all() {
        let mut guard = guard(10, &[3, 4, 5]);
        for bad in [&[0, 3][..], &[0, 0], &[1, u32::MAX], &[0, 1, 2, 1]] {
            let before = guard.weight();
            assert!(
                matches!(accept(&mut guard, bad), Err(PolicyFault::BadVictim { .. })),
                "{bad:?}"
            );
            assert_eq!(guard.weight(), before);
            guard.validate();
        }
        assert_eq!(accept(&mut guard, &[2, 0]), Ok((vec![2, 0], 0)));
        assert_eq!(guard.weight(), 4);
        assert!(guard.has(1) && !guard.has(2) && !guard.has(99));
    }

    #[test]
    fn a_victim_removed_in_the_same_batch_is_stale_once() {
        let mut guard = guard(10, &[3, 4, 5]);
        guard.delivered(&Record::new(Kind::Remove, 1));
        assert_eq!(accept(&mut guard, &[0, 1]), Ok((vec![0], 1)));
        assert!(accept(&mut guard, &[1]).is_err());
        assert_eq!(guard.judge(), Ok(()));
        assert!(accept(&mut guard, &[1]).is_err(), "the batch is over");
    }

    #[test]
    fn the_budget_is_judged_after_the_batch() {
        let mut over = guard(10, &[3, 4, 5]);
        assert_eq!(over.judge(), Err(PolicyFault::OverBudget { weight: 12, capacity: 10 }));

        let mut emptied = guard(1000, &[400, 400, 200, 5]);
        accept(&mut emptied, &[0, 1, 2]).unwrap();
        assert_eq!(emptied.judge(), Err(PolicyFault::OverEviction { weight: 5, floor: 800 }));

        let mut last_was_big = guard(1000, &[400, 400, 200, 5]);
        accept(&mut last_was_big, &[3, 0]).unwrap();
        assert_eq!(last_was_big.judge(), Ok(()));
    }

    #[test]
    fn the_rule_against_over_eviction_can_be_switched_off() {
        let mut guard = Guard::new(10, Some(u64::MAX));
        guard.grow(4);
        for slot in 0..4 {
            guard.delivered(&Record { weight: 2, ..Record::new(Kind::Insert, slot) });
        }
        accept(&mut guard, &[0, 1, 2]).unwrap();
        guard.delivered(&Record::new(Kind::Remove, 3));
        assert_eq!(guard.judge(), Ok(()));
    }

    #[test]
    fn the_view_keeps_what_it_holds_while_it_widens() {
        let (narrow, wide) = (u32::from(u16::MAX), u32::from(u16::MAX) + 1);
        // weights in the order they come in
        for weights in [[1, 1, 2, wide], [1, narrow, wide, 1], [wide, 1, narrow, 2]] {
            let mut guard = guard(u64::MAX, &weights);
            guard.grow(200);
            guard.delivered(&Record { weight: u32::MAX, ..Record::new(Kind::Insert, 150) });
            assert_eq!([0, 1, 2, 3].map(|slot| guard.weight_of(slot)), weights);
            assert_eq!((guard.weight_of(4), guard.weight_of(150)), (0, u32::MAX));
            guard.validate();
            guard.delivered(&Record { weight: 7, ..Record::new(Kind::Update, 3) });
            assert_eq!(accept(&mut guard, &[0, 3]).map(|(victims, _)| victims), Ok(vec![0, 3]));
            assert_eq!(
                [0, 1, 2, 3].map(|slot| guard.weight_of(slot)),
                [0, weights[1], weights[2], 0]
            );
            guard.validate();
            guard.delivered(&Record::new(Kind::Reset, 0));
            assert_eq!((guard.weight(), guard.has(1)), (0, false));
        }
    }

    #[test]
    fn what_leaves_by_itself_is_not_the_policys_doing() {
        let mut guard = guard(1000, &[400, 400, 200, 5]);
        accept(&mut guard, &[3]).unwrap();
        guard.delivered(&Record::new(Kind::Expire, 0));
        guard.delivered(&Record { weight: 10, ..Record::new(Kind::Update, 1) });
        assert_eq!(guard.judge(), Ok(()));
    }
}
