//! The guest's own books: what is resident, what it weighs, what may be.

use crate::PerSlot;

/// Which slots are resident and how much of the capacity they take. 4 bytes a slot.
///
/// The driver keeps it and hands it to every call of a policy. It is the guest's side of the
/// engine's view; both must agree after every batch.
#[derive(Clone, Debug)]
pub struct Budget {
    /// Weight of each slot; 0 stands for "not resident", since a resident weighs at least 1.
    weights: PerSlot<u32>,
    capacity: u64,
    used: u64,
    residents: u32,
    incoming: u32,
}

impl Budget {
    pub(crate) fn new(capacity: u64, slots: u32) -> Self {
        Self { weights: PerSlot::new(slots), capacity, used: 0, residents: 0, incoming: 0 }
    }

    /// Weight of the entry in `slot`, in the cache's unit; 0 where it is not resident.
    #[inline]
    #[must_use]
    pub fn weight(&self, slot: u32) -> u32 {
        self.weights[slot]
    }

    /// True where `slot` is resident.
    #[inline]
    #[must_use]
    pub fn is_resident(&self, slot: u32) -> bool {
        self.weights[slot] != 0
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
        self.residents
    }

    /// True where nothing is resident.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.residents == 0
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
        self.weights.grow(slots);
    }

    #[inline]
    pub(crate) fn add(&mut self, slot: u32, weight: u32) {
        debug_assert!(weight > 0 && self.weights[slot] == 0);
        self.weights[slot] = weight;
        self.used += u64::from(weight);
        self.residents += 1;
    }

    #[inline]
    pub(crate) fn drop_slot(&mut self, slot: u32) {
        self.used -= u64::from(core::mem::take(&mut self.weights[slot]));
        self.residents -= 1;
    }

    /// Changes the weight of a resident and returns the old one.
    pub(crate) fn reweigh(&mut self, slot: u32, weight: u32) -> u32 {
        let old = core::mem::replace(&mut self.weights[slot], weight);
        self.used = self.used - u64::from(old) + u64::from(weight);
        old
    }

    pub(crate) fn clear(&mut self) {
        self.weights.clear();
        self.used = 0;
        self.residents = 0;
        self.incoming = 0;
    }
}
