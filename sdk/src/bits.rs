//! One bit a slot: reference bits, "is in main", "was prefetched".
//!
//! Idea: 64 slots share a word, so a million slots take 128 KB instead of the megabyte that a `bool`
//! a slot would. The number of set bits is kept, so asking for it is free.
//! Bytes: 1/8 a slot, allocated by chunks of 262,144 slots (32 KiB). Cost: one load and one store.
//! This file knows slots only, not what the bit says about them.

use crate::PerSlot;

const WORD_BITS: u32 = u64::BITS;

/// One bit for every slot below a bound, all clear at first.
///
/// # Panics
///
/// Every method that takes a slot panics where the slot is above the room made for it.
#[derive(Clone, Debug)]
pub struct Bits {
    words: PerSlot<u64>,
    count: u32,
}

impl Bits {
    /// Bits for slots below `slots`, all clear.
    #[must_use]
    pub fn new(slots: u32) -> Self {
        Self { words: PerSlot::new(slots.div_ceil(WORD_BITS)), count: 0 }
    }

    /// Makes room for slots below `slots`; their bits are clear. Never shrinks. O(new slots).
    pub fn grow(&mut self, slots: u32) {
        self.words.grow(slots.div_ceil(WORD_BITS));
    }

    /// True where the bit of `slot` is set.
    #[inline]
    #[must_use]
    pub fn get(&self, slot: u32) -> bool {
        self.words[slot / WORD_BITS] & mask(slot) != 0
    }

    /// Sets the bit of `slot`. True where it was clear before.
    #[inline]
    pub fn set(&mut self, slot: u32) -> bool {
        let word = &mut self.words[slot / WORD_BITS];
        let changed = *word & mask(slot) == 0;
        *word |= mask(slot);
        self.count += u32::from(changed);
        changed
    }

    /// Clears the bit of `slot`. True where it was set before.
    #[inline]
    pub fn unset(&mut self, slot: u32) -> bool {
        let word = &mut self.words[slot / WORD_BITS];
        let changed = *word & mask(slot) != 0;
        *word &= !mask(slot);
        self.count -= u32::from(changed);
        changed
    }

    /// Bits that are set. O(1).
    #[inline]
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Clears every bit. O(slots / 64).
    pub fn clear(&mut self) {
        self.words.clear();
        self.count = 0;
    }
}

/// The bit of `slot` in its word.
#[inline(always)]
const fn mask(slot: u32) -> u64 {
    1 << (slot % WORD_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;
    use std::collections::BTreeSet;

    #[test]
    fn neighbours_in_one_word_are_apart() {
        let mut bits = Bits::new(130);
        assert!(bits.set(63));
        assert!(bits.set(64));
        assert!(!bits.set(64), "set already");
        let seen = [62, 63, 64, 65, 127].map(|slot| bits.get(slot));
        assert_eq!(seen, [false, true, true, false, false]);
        assert_eq!(bits.count(), 2);
        assert!(bits.unset(63));
        assert!(!bits.unset(63), "clear already");
        assert_eq!((bits.get(63), bits.get(64), bits.count()), (false, true, 1));
        bits.clear();
        assert_eq!((bits.get(64), bits.count()), (false, 0));
    }

    #[test]
    fn growing_keeps_the_bits() {
        let mut bits = Bits::new(1);
        bits.set(0);
        bits.grow(600_000);
        bits.set(599_999);
        assert!(bits.get(0) && bits.get(599_999) && !bits.get(300_000));
        assert_eq!(bits.count(), 2);
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            rng_seed: RngSeed::Fixed(1),
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn equals_a_set_of_slots(steps in prop::collection::vec((0u8..2, 0u32..300), 0..400)) {
            let mut bits = Bits::new(300);
            let mut model = BTreeSet::new();
            for (what, slot) in steps {
                match what {
                    0 => prop_assert_eq!(bits.set(slot), model.insert(slot)),
                    _ => prop_assert_eq!(bits.unset(slot), model.remove(&slot)),
                }
                prop_assert_eq!(bits.count() as usize, model.len());
            }
            for slot in 0..300 {
                prop_assert_eq!(bits.get(slot), model.contains(&slot));
            }
        }
    }
}
