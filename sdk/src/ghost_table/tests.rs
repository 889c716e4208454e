//! The table of ghosts against cases worked by hand and against a plain queue.

use super::*;
use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

/// A well mixed hash of `key`.
fn hash_of(key: u32) -> u32 {
    u32::try_from(ostler_abi::hash_u64(u64::from(key), 3) >> 32).unwrap()
}

/// What of `hashes` is remembered.
fn known(table: &GhostTable, hashes: impl IntoIterator<Item = u32>) -> Vec<u32> {
    hashes.into_iter().filter(|hash| table.contains(*hash)).collect()
}

#[test]
fn the_oldest_leave_first_and_what_is_taken_makes_room() {
    let mut table = GhostTable::new(1, 60);
    for (hash, weight) in [(1, 10), (2, 20), (3, 30)] {
        table.push(hash, weight);
    }
    assert_eq!((known(&table, 1..9), table.weight()), (vec![1, 2, 3], 60));
    table.push(4, 5);
    assert_eq!((known(&table, 1..9), table.weight()), (vec![2, 3, 4], 55));
    assert!(table.take(3, 30));
    assert!(!table.take(3, 30));
    table.push(5, 30);
    assert_eq!((known(&table, 1..9), table.weight()), (vec![2, 4, 5], 55));
    table.resize(34);
    assert_eq!((known(&table, 1..9), table.weight()), (vec![5], 30));
    // Heavier than all may be: it counts what may be, and stands alone.
    table.push(6, 1000);
    assert_eq!((known(&table, 1..9), table.weight()), (vec![6], 34));
    table.resize(0);
    table.push(7, 1);
    assert_eq!((known(&table, 1..9), table.weight()), (vec![], 0));
    table.validate();
}

#[test]
fn a_generation_is_a_256th_and_leaves_as_one() {
    let mut table = GhostTable::new(2_000, 1024);
    // Generations of four: 256 of them fit, and the next ghost ends the first.
    for key in 0..1024 {
        table.push(hash_of(key), 1);
    }
    assert_eq!(known(&table, (0..1024).map(hash_of)).len(), 1024);
    table.push(hash_of(1024), 1);
    assert_eq!(table.weight(), 1021);
    assert_eq!((0..1024).find(|key| table.contains(hash_of(*key))), Some(4));
    // Three ghosts of a generation weigh less than four once one was taken.
    assert!(table.take(hash_of(5), 1));
    for key in 1025..1029 {
        table.push(hash_of(key), 1);
    }
    assert_eq!((table.weight(), table.contains(hash_of(6))), (1024, true));
    table.push(hash_of(1029), 1);
    assert_eq!((table.weight(), table.contains(hash_of(8))), (1022, true));
    table.validate();
}

#[test]
fn a_full_bucket_gives_up_its_oldest() {
    let mut table = GhostTable::new(1, 1000);
    // All of the first bucket: remixed, they are below 2^22.
    let mates: Vec<u32> = (0..).filter(|hash| remixed(*hash) < 1 << TAG_BITS).take(20).collect();
    for hash in &mates {
        table.push(*hash, 4);
    }
    assert_eq!(known(&table, mates.iter().copied()), mates[4..]);
    assert_eq!(table.weight(), 80, "their weight stays until their generation leaves");
    // A free place is taken before any ghost.
    assert!(table.take(mates[9], 4));
    table.push(mates[0], 4);
    assert_eq!(known(&table, [mates[0], mates[4]]), [mates[0], mates[4]]);
    table.validate();
}

#[test]
fn ghosts_that_stay_among_ones_that_go_leave_after_three_times_the_weight() {
    let mut table = GhostTable::new(1, 256);
    table.push(hash_of(0), 1);
    let mut lasted = 0;
    while table.contains(hash_of(0)) {
        lasted += 1;
        table.push(hash_of(lasted), 1);
        // One of eight stays, the others are taken when their generation has ended.
        let back = lasted.wrapping_sub(2);
        if back % 8 != 0 && back < lasted {
            assert!(table.take(hash_of(back), 1));
        }
        table.validate();
    }
    assert_eq!(lasted, WINDOW_MAX);
}

#[test]
fn a_million_pushes_later_nothing_dead_looks_alive() {
    let mut table = GhostTable::new(100, 50);
    for key in 0..1_000_000 {
        table.push(hash_of(key), 1);
        if key % 997 == 0 {
            table.validate();
            let recent = key.saturating_sub(3_000)..=key;
            let found = recent.clone().filter(|key| table.contains(hash_of(*key))).count();
            assert_eq!(found, recent.count().min(50));
        }
    }
}

/// A hash that stands at `place` in the order of all: the inverse of the mixing.
fn unmixed(place: u64) -> u32 {
    let hash = (u32::try_from(place).unwrap() << (u32::BITS - HASH_BITS)).wrapping_mul(0x0e8b_2f51);
    assert_eq!(u64::from(remixed(hash)), place);
    hash
}

/// Chunks that have been made.
fn chunks(table: &GhostTable) -> usize {
    table.buckets.0.iter().flatten().count()
}

#[test]
fn chunks_are_made_for_the_ghosts_that_come() {
    let mut table = GhostTable::new(100_000, 100_000);
    assert_eq!((table.buckets.0.len(), chunks(&table)), (37, 0));
    for count in 1..=5 {
        // As far apart as hashes are: each goes to a chunk of its own.
        table.push(unmixed(count as u64 * (1 << HASH_BITS) / 6), 1);
        assert_eq!(chunks(&table), count);
    }
    table.grow(200_000);
    table.validate();
    for count in 1..=5 {
        let hash = unmixed(count as u64 * (1 << HASH_BITS) / 6);
        assert!(table.contains(hash) && table.take(hash, 1) && !table.contains(hash));
    }
    assert!(chunks(&table) <= 10, "nothing is made for a look-up");
    table.validate();
}

#[test]
fn without_slots_nothing_is_kept_until_it_grows() {
    let mut table = GhostTable::new(0, 10);
    table.push(1, 1);
    assert_eq!((table.take(1, 1), table.contains(1), chunks(&table)), (false, false, 0));
    table.grow(1);
    assert_eq!((table.take(1, 1), table.contains(1), chunks(&table)), (false, false, 0));
    table.push(1, 1);
    assert_eq!((table.contains(2), table.take(1, 1), chunks(&table)), (false, true, 1));
    let sizes = [0, 1, 2_731, 2_732, 1_000_000].map(buckets_for);
    assert_eq!(sizes, [0, 256, 256, 512, 93_952], "chunks of 4,096 places");
}

#[test]
fn a_bucket_and_a_tag_give_the_hash() {
    for buckets in [256, 512, 768, 93_952, buckets_for(u32::MAX)] {
        for key in 0..2_000 {
            let hash = remixed(hash_of(key));
            let least = first_of(scaled(hash, buckets), buckets);
            assert!(least <= hash && hash - least <= TAG_MASK, "{hash} among {buckets}");
        }
        let last = scaled((1 << HASH_BITS) - 1, buckets);
        assert_eq!(last, buckets - 1);
    }
}

/// Ghosts as a plain queue of (hash, weight), oldest first.
struct Model {
    queue: VecDeque<(u32, u64)>,
    weight_max: u64,
}

impl Model {
    fn take(&mut self, hash: u32) -> bool {
        let place = self.queue.iter().position(|ghost| ghost.0 == hash);
        place.and_then(|place| self.queue.remove(place)).is_some()
    }

    fn push(&mut self, hash: u32, weight: u64) {
        if self.weight_max > 0 {
            self.queue.push_back((hash, weight.min(self.weight_max)));
            self.trim();
        }
    }

    fn trim(&mut self) {
        while self.weight() > self.weight_max {
            self.queue.pop_front();
        }
    }

    fn weight(&self) -> u64 {
        self.queue.iter().map(|ghost| ghost.1).sum()
    }
}

/// As many ghosts as slots, or nine for ten, a third of them taken at any age, growing meanwhile:
/// how many the table lacks of a plain queue's ghosts and has beside them, per thousand.
fn lacking_and_extra(slots: u32, weight_max: u32) -> (usize, usize) {
    let mut table = GhostTable::new(slots / 3, u64::from(weight_max));
    let mut queue = VecDeque::new();
    let mut living = BTreeSet::new();
    let mut draw = 1;
    let (mut lacking, mut extra, mut judged) = (0, 0, 0);
    for key in 0..slots * 6 {
        if key % (slots / 8) == 0 {
            table.grow((slots / 3).max(slots.min(key / 3)));
        }
        table.push(hash_of(key), 1);
        queue.push_back(key);
        living.insert(key);
        draw = ostler_abi::hash_u64(draw, 5);
        let back = key.saturating_sub(u32::try_from(draw % u64::from(slots)).unwrap());
        if draw % 3 == 0 && living.remove(&back) {
            table.take(hash_of(back), 1);
        }
        while living.len() > weight_max as usize {
            if let Some(oldest) = queue.pop_front() {
                living.remove(&oldest);
            }
        }
        if key > slots * 4 && key % slots == 0 {
            judged += living.len();
            lacking += living.iter().filter(|key| !table.contains(hash_of(**key))).count();
            let dead = (key - slots * 2..=key).filter(|key| !living.contains(key));
            extra += dead.filter(|key| table.contains(hash_of(*key))).count();
            table.validate();
        }
    }
    (lacking * 1000 / judged, extra * 1000 / judged)
}

#[test]
fn few_are_lost_in_full_buckets_and_by_generations() {
    let found = [27_000, 30_000].map(|weight_max| lacking_and_extra(30_000, weight_max));
    assert_eq!(found, [(4, 0), (11, 0)]);
}

#[derive(Clone, Debug)]
enum Action {
    Push(u32, u32),
    Take(u32),
    Resize(u64),
    Grow(u32),
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        8 => (0u32..40, 1u32..9).prop_map(|(key, weight)| Action::Push(key, weight)),
        4 => (0u32..40).prop_map(Action::Take),
        1 => (0u64..=GENERATIONS).prop_map(Action::Resize),
        1 => (0u32..30_000).prop_map(Action::Grow),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        rng_seed: RngSeed::Fixed(1),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// With generations of one ghost and buckets that never fill, the order is exact.
    #[test]
    fn equals_a_plain_queue_where_small(actions in prop::collection::vec(action(), 0..300)) {
        let mut table = GhostTable::new(8, 20);
        let mut model = Model { queue: VecDeque::new(), weight_max: 20 };
        for action in actions {
            match action {
                Action::Push(key, weight) => {
                    let hash = hash_of(key);
                    if !model.queue.iter().any(|ghost| ghost.0 == hash) {
                        table.push(hash, weight);
                        model.push(hash, u64::from(weight));
                    }
                }
                Action::Take(key) => {
                    let hash = hash_of(key);
                    let ghost = model.queue.iter().find(|ghost| ghost.0 == hash);
                    let weight = ghost.map_or(1, |ghost| u32::try_from(ghost.1).unwrap());
                    prop_assert_eq!(table.take(hash, weight), model.take(hash));
                }
                Action::Resize(weight_max) => {
                    table.resize(weight_max);
                    model.weight_max = weight_max;
                    model.trim();
                }
                Action::Grow(slots) => table.grow(slots),
            }
            table.validate();
            prop_assert_eq!(table.weight(), model.weight());
            for hash in (0..40).map(hash_of) {
                let known = model.queue.iter().any(|ghost| ghost.0 == hash);
                prop_assert_eq!(table.contains(hash), known);
            }
        }
    }
}
