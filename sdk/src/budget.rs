//! The guest's own books: what is resident, what it weighs, what may be.

use crate::{Bits, PerSlot};

/// Which slots are resident and how much of the capacity they take. A bit a slot, which is all that a
/// hit looks at, and 4 bytes a slot from the first weight on that is not 1.
///
/// The driver keeps it and hands it to every call of a policy. It is the guest's side of the
/// engine's view; both must agree after every batch.
#[derive(Clone, Debug)]
pub struct Budget {
    residents: Bits,
    /// Weight of each slot, 0 where it is not resident; empty while every entry weighs 1.
    weights: PerSlot<u32>,
    slots: u32,
    capacity: u64,
    used: u64,
    incoming: u32,
}

impl Budget {
    pub(crate) fn new(capacity: u64, slots: u32) -> Self {
        let (residents, weights) = (Bits::new(slots), PerSlot::new(0));
        Self { residents, weights, slots, capacity, used: 0, incoming: 0 }
    }

    /// Weight of the entry in `slot`, in the cache's unit; 0 where it is not resident.
    #[inline]
    #[must_use]
    pub fn weight(&self, slot: u32) -> u32 {
        if self.weights.is_empty() {
            u32::from(self.residents.get(slot))
        } else {
            self.weights[slot]
        }
    }

    /// True where `slot` is resident.
    #[inline]
    #[must_use]
    pub fn is_resident(&self, slot: u32) -> bool {
        self.residents.get(slot)
    }

    /// Sum of weights that may be resident.
    #[inline]
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.capacity
    }

    /// Sum of the residents' weights.
    #[inline]
    #[must_use]
    pub fn used(&self) -> u64 {
        self.used
    }

    /// Number of residents.
    #[inline]
    #[must_use]
    pub fn len(&self) -> u32 {
        self.residents.count()
    }

    /// True where nothing is resident.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Weight of the newcomer that waits for room, 0 where none does.
    #[inline]
    #[must_use]
    pub fn incoming(&self) -> u32 {
        self.incoming
    }

    /// True where the residents and the newcomer do not fit together.
    #[inline]
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.used + u64::from(self.incoming) > self.capacity
    }

    #[inline]
    pub(crate) fn set_incoming(&mut self, weight: u32) {
        self.incoming = weight;
    }

    pub(crate) fn set_capacity(&mut self, capacity: u64) {
        self.capacity = capacity;
    }

    pub(crate) fn grow(&mut self, slots: u32) {
        self.slots = self.slots.max(slots);
        self.residents.grow(slots);
        if !self.weights.is_empty() {
            self.weights.grow(slots);
        }
    }

    #[inline]
    pub(crate) fn add(&mut self, slot: u32, weight: u32) {
        let fresh = self.residents.set(slot);
        debug_assert!(fresh && weight > 0);
        self.used += u64::from(weight);
        if weight != 1 && self.weights.is_empty() {
            self.keep_weights();
        }
        if !self.weights.is_empty() {
            self.weights[slot] = weight;
        }
    }

    #[inline]
    pub(crate) fn drop_slot(&mut self, slot: u32) {
        self.residents.unset(slot);
        if self.weights.is_empty() {
            self.used -= 1;
        } else {
            self.used -= u64::from(core::mem::take(&mut self.weights[slot]));
        }
    }

    /// Changes the weight of a resident and returns the old one.
    pub(crate) fn reweigh(&mut self, slot: u32, weight: u32) -> u32 {
        let old = self.weight(slot);
        if old != weight {
            if self.weights.is_empty() {
                self.keep_weights();
            }
            self.weights[slot] = weight;
            self.used = self.used - u64::from(old) + u64::from(weight);
        }
        old
    }

    pub(crate) fn clear(&mut self) {
        self.residents.clear();
        self.weights.clear();
        self.used = 0;
        self.incoming = 0;
    }

    /// From now on weights are kept: all there were are 1. Once in the life of a policy. O(slots).
    #[cold]
    #[inline(never)]
    fn keep_weights(&mut self) {
        self.weights.grow(self.slots.max(1));
        for slot in 0..self.slots {
            self.weights[slot] = u32::from(self.residents.get(slot));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_kept_from_the_first_that_is_not_one() {
        let mut budget = Budget::new(100, 3);
        budget.add(0, 1);
        budget.add(2, 1);
        assert!(budget.weights.is_empty());
        assert_eq!((budget.weight(0), budget.weight(1), budget.used(), budget.len()), (1, 0, 2, 2));
        assert_eq!(budget.reweigh(2, 1), 1);
        assert_eq!(budget.reweigh(2, 7), 1);
        budget.grow(10_000);
        budget.add(9_999, 4);
        budget.drop_slot(0);
        assert_eq!([0, 2, 9_999].map(|slot| budget.weight(slot)), [0, 7, 4]);
        assert_eq!((budget.used(), budget.len(), budget.is_resident(2)), (11, 2, true));
        budget.clear();
        assert_eq!((budget.used(), budget.len(), budget.weight(2)), (0, 0, 0));
    }
}
