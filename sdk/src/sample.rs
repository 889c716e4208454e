//! A set of slots from which one can be drawn at random: for policies that sample candidates
//! (hyperbolic caching, LHD, random replacement) instead of keeping an order.
//!
//! Idea: the members stand in a dense array, and every slot knows its place there. Removing moves
//! the last member into the gap, so all operations are O(1) and a draw is one array access.
//! Bytes: 8 a slot (the place of the slot, and a place in the array). Cost: two or three stores.
//!
//! The order of the array decides what a draw yields, so it is part of the behaviour: members stand
//! in order of insertion, except that a removal puts the last member where the removed one stood.

use ostler_abi::NO_SLOT;

use crate::{PerSlot, Rng};

/// A set of slots with O(1) insertion, removal and uniform draws.
///
/// # Panics
///
/// Every method that takes a slot panics where the slot is above the room made for it.
#[derive(Clone, Debug)]
pub struct SlotSet {
    /// The members; meaningful below `len`.
    members: PerSlot<u32>,
    /// Where the slot stands in `members`, plus one; 0 where it is not in the set.
    places: PerSlot<u32>,
    len: u32,
}

impl SlotSet {
    /// An empty set with room for slots below `slots`.
    #[must_use]
    pub fn new(slots: u32) -> Self {
        Self { members: PerSlot::new(slots), places: PerSlot::new(slots), len: 0 }
    }

    /// Makes room for slots below `slots`. Never shrinks. O(new slots).
    pub fn grow(&mut self, slots: u32) {
        self.members.grow(slots);
        self.places.grow(slots);
    }

    /// Puts `slot` in, as the last member. True where it was not a member. O(1).
    #[inline]
    pub fn insert(&mut self, slot: u32) -> bool {
        if self.contains(slot) {
            return false;
        }
        self.members[self.len] = slot;
        self.len += 1;
        self.places[slot] = self.len;
        true
    }

    /// Takes `slot` out; the last member moves to its place. True where it was a member. O(1).
    #[inline]
    pub fn remove(&mut self, slot: u32) -> bool {
        let place = self.places[slot];
        if place == 0 {
            return false;
        }
        self.len -= 1;
        let last = self.members[self.len];
        self.members[place - 1] = last;
        self.places[last] = place;
        // After the line above, because the last member may be `slot` itself.
        self.places[slot] = 0;
        true
    }

    /// True where `slot` is a member.
    #[inline]
    #[must_use]
    pub fn contains(&self, slot: u32) -> bool {
        self.places[slot] != 0
    }

    /// Number of members.
    #[inline]
    #[must_use]
    pub const fn len(&self) -> u32 {
        self.len
    }

    /// True where the set has no member.
    #[inline]
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The member at `index` in the order the header describes.
    ///
    /// # Panics
    ///
    /// Where `index >= len()`.
    #[inline]
    #[must_use]
    pub fn at(&self, index: u32) -> u32 {
        assert!(index < self.len, "index {index} of a set of {}", self.len);
        self.members[index]
    }

    /// A member drawn at random, or [`NO_SLOT`] from an empty set. Draws are independent: two of
    /// them may yield the same slot. Uniform up to the bias of [`Rng::below`]. Takes one number
    /// from `rng`, also where the set is empty.
    #[inline]
    #[must_use]
    pub fn sample(&self, rng: &mut Rng) -> u32 {
        let index = rng.below(self.len);
        if self.len == 0 { NO_SLOT } else { self.members[index] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rng;
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    fn order(set: &SlotSet) -> Vec<u32> {
        (0..set.len()).map(|index| set.at(index)).collect()
    }

    #[test]
    fn the_last_member_fills_the_gap() {
        let mut set = SlotSet::new(10);
        for slot in [5, 3, 8, 1] {
            assert!(set.insert(slot));
        }
        assert!(!set.insert(3), "a member already");
        assert!(set.remove(5));
        assert_eq!(order(&set), [1, 3, 8]);
        assert!(set.remove(8), "the last member leaves without moving another");
        assert_eq!(order(&set), [1, 3]);
        assert!(!set.remove(8));
        assert!(set.insert(5));
        assert_eq!(order(&set), [1, 3, 5]);
        assert_eq!((set.contains(5), set.contains(8), set.is_empty()), (true, false, false));
    }

    #[test]
    fn draws_are_uniform_over_the_members() {
        let mut set = SlotSet::new(4);
        let mut rng = Rng::new(1);
        assert_eq!(set.sample(&mut rng), NO_SLOT);
        set.grow(10_000);
        for slot in [7, 9_999, 2, 40] {
            set.insert(slot);
        }
        set.remove(2);
        let mut draws = [0u32; 3];
        for _ in 0..30_000 {
            let slot = set.sample(&mut rng);
            draws[[7, 9_999, 40].iter().position(|member| *member == slot).unwrap()] += 1;
        }
        // Six standard deviations of 30,000 draws at 1/3.
        assert!(draws.iter().all(|count| count.abs_diff(10_000) < 490), "{draws:?}");
    }

    #[test]
    #[should_panic(expected = "index 1 of a set of 1")]
    fn an_index_beyond_the_members_panics() {
        let mut set = SlotSet::new(4);
        set.insert(2);
        let _ = set.at(1);
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            rng_seed: RngSeed::Fixed(1),
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn equals_a_vector_with_swap_remove(
            steps in prop::collection::vec((0u8..2, 0u32..40), 0..300),
        ) {
            let mut set = SlotSet::new(40);
            let mut model = Vec::new();
            for (what, slot) in steps {
                let place = model.iter().position(|member| *member == slot);
                if what == 0 {
                    prop_assert_eq!(set.insert(slot), place.is_none());
                    if place.is_none() {
                        model.push(slot);
                    }
                } else {
                    prop_assert_eq!(set.remove(slot), place.is_some());
                    if let Some(place) = place {
                        model.swap_remove(place);
                    }
                }
                prop_assert_eq!(order(&set), model.clone());
                prop_assert_eq!(set.contains(slot), model.contains(&slot));
            }
        }
    }
}
