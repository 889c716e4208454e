//! The fallback: the native policy that the engine never loses.
//!
//! Sampled LRU: of eight seeded random residents, evict the one whose last access is oldest (the
//! scheme Redis made popular). It has no state but a random number, and reads only the entries' own
//! words, so it can act at any instant, with every event lost and every guest broken. It lives in
//! the core for that reason.

use ostler_abi::{NO_SLOT, hash_u64};

/// How many residents are drawn for one victim.
const SAMPLES: usize = 8;
/// How many slots are drawn at most to find them; slots may be vacant. Then those are taken that come
/// next after a random one.
const DRAWS_MAX: usize = 64;

/// Sampled LRU over the words of a shard's entries.
#[derive(Debug)]
pub(crate) struct Fallback {
    seed: u64,
    draws: u64,
}

impl Fallback {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, draws: 0 }
    }

    /// Chooses a victim among the slots below `slots`, or none where nothing is resident.
    ///
    /// `age` tells the age of a resident in ticks, or none for a slot that is vacant or exempt.
    /// Expected cost: eight draws; where residents are sparse, eight times as many slots looked at as
    /// there are slots for each resident.
    pub(crate) fn choose(&mut self, slots: u32, age: impl Fn(u32) -> Option<u32>) -> Option<u32> {
        let mut oldest = (NO_SLOT, 0);
        let (mut seen, mut drawn) = (0, 0);
        while seen < SAMPLES && drawn < DRAWS_MAX && slots > 0 {
            drawn += 1;
            let slot = self.draw(slots);
            if let Some(age) = age(slot) {
                seen += 1;
                if oldest.0 == NO_SLOT || age > oldest.1 {
                    oldest = (slot, age);
                }
            }
        }
        if oldest.0 != NO_SLOT {
            return Some(oldest.0);
        }
        let start = if slots == 0 { 0 } else { self.draw(slots) };
        let next = (start..slots).chain(0..start).filter_map(|slot| Some((age(slot)?, slot)));
        next.take(SAMPLES).max().map(|(_, slot)| slot)
    }

    /// A slot below `slots`, uniform but for a bias of `slots / 2^32`.
    fn draw(&mut self, slots: u32) -> u32 {
        self.draws += 1;
        let random = hash_u64(self.draws, self.seed) >> 32;
        ((random * u64::from(slots)) >> 32) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_of_few_is_found() {
        let ages = [Some(3), None, Some(9), Some(1)];
        for seed in 0..20 {
            let victim = Fallback::new(seed).choose(4, |slot| ages[slot as usize]);
            assert!(matches!(victim, Some(0 | 2)), "seed {seed}: {victim:?}");
        }
    }

    #[test]
    fn a_lone_resident_is_found_and_nothing_is_none() {
        let lone = |slot| (slot == 9999).then_some(0);
        assert_eq!(Fallback::new(1).choose(10_000, lone), Some(9999));
        assert_eq!(Fallback::new(1).choose(10_000, |_| None), None);
        assert_eq!(Fallback::new(1).choose(0, |_| Some(1)), None);
    }

    #[test]
    fn a_few_residents_among_many_slots_are_found_without_looking_at_all() {
        let mut looked_at = std::cell::Cell::new(0_u64);
        let sparse = |slot: u32| {
            looked_at.set(looked_at.get() + 1);
            slot.is_multiple_of(1_000).then_some(slot)
        };
        let mut fallback = Fallback::new(1);
        for _ in 0..100 {
            assert!(fallback.choose(1_000_000, sparse).is_some());
        }
        assert!(*looked_at.get_mut() < 100 * (64 + 8_000), "{looked_at:?}");
    }

    #[test]
    fn the_same_seed_chooses_alike() {
        let run = |seed| {
            let mut fallback = Fallback::new(seed);
            (0..100).map(|_| fallback.choose(1000, |slot| Some(slot % 97))).collect::<Vec<_>>()
        };
        assert_eq!(run(5), run(5));
        assert_ne!(run(5), run(6));
    }
}
