//! LHD, least hit density: evicts, of a random sample, the entry that earns fewest hits for its space.
//!
//! Idea: an entry's hit density is the probability that it is hit at all, divided by the time it is
//! expected to stay and by its weight. It is learned, not assumed: for classes of entries and for
//! each age, LHD counts hits and evictions and computes from them what an entry of that class and age
//! is worth (`density.rs`). A few entries, the explorers, are spared from eviction for a while, so
//! that there is something to learn about ages that no entry would reach.
//!
//! Paper: N. Beckmann, H. Chen, A. Cidon, "LHD: Improving Cache Hit Rate by Maximizing Hit Density",
//! USENIX NSDI 2018, and the simulator published with it, whose constants stand in libCacheSim too.
//!
//! Parameters: `sample` (32), entries drawn for an eviction; `sample_early` (8), drawn in the first 51
//! refreshes; `refresh_accesses` (1,048,576), accesses between refreshes of the densities; `age_shift`
//! (10), the length of an age at first, as a power of two of accesses, fitted to the number of
//! residents at the sixth and the 26th refresh; `explore_permille` (10), the explorers' share.
//! Memory: 24 bytes a slot (16 the entry's record, 4 its place, 4 the driver's weight); the tables
//! take up to 3.9 MB, 48 KB at a time, as classes and ages are seen. Cost: O(1) a hit, O(sample) an
//! eviction, O(ages) 16 times a refresh. Weights: a heavy entry is worth less by its weight.
//!
//! With these defaults nothing is learned in the first million accesses. In small shards set
//! `refresh_accesses` to 65536 and `age_shift` to 4: `twitter52_a` at 1 % and 10 % of its objects
//! then misses 25.0 % and 14.8 % instead of 26.6 % and 15.3 % (libCacheSim 26.5 % and 15.3 %).
//!
//! libCacheSim refreshes all classes in one access, we 256 accesses apart; it lets one victim that
//! outlived all ages turn off the watch on newcomers, we count it as density 0. Classes by
//! application are left out, as there: each would need tables of its own.
#![no_std]
#![forbid(unsafe_code)]

mod density;

use density::{AGES, Model};
use ostler_policy::{Budget, NO_SLOT, PerSlot, Policy, Record, Rng, Setup};

/// Newcomers watched: those that look like victims on arrival are candidates at each eviction.
const WATCHED: usize = 8;
/// One access in as many makes its entry an explorer, while the budget lasts.
const EXPLORE_ONE_IN: u32 = 32;
/// The refreshes after which nothing is explored any more.
const EXPLORE_REFRESHES: u32 = 50;
/// What an explorer's density is raised by: more than any that is learned.
const EXPLORER_BONUS: f32 = 1.0;
/// Share of the old value in the running average of the victims' densities.
const VICTIM_DECAY: f32 = 0.9;

/// What is known of a resident.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
struct Resident {
    /// The clock at the last access.
    accessed: u32,
    slot: u32,
    weight: u32,
    /// Its age when it was hit last, 0 where it never was.
    hit_age: u16,
    class: u8,
    explorer: bool,
}

/// Least hit density, among a sample.
#[derive(Debug)]
pub struct Lhd {
    /// The residents, without gaps, so that a draw is one load; meaningful below `len`.
    residents: PerSlot<Resident>,
    /// Where a resident slot stands in `residents`.
    places: PerSlot<u32>,
    len: u32,
    model: Model,
    /// Accesses so far. Wraps: an entry not accessed for 2^32 of them looks young once more.
    clock: u32,
    /// Slots of newcomers that looked like victims; [`NO_SLOT`] once they are gone.
    watched: [u32; WATCHED],
    watched_next: usize,
    /// Running average.
    victim_density: f32,
    /// Weight that more explorers may take. Below 0 after one that was heavier than the rest.
    explorers_left: i64,
    /// Weight that all explorers together may take.
    explorers_max: i64,
    explore_permille: u64,
    rng: Rng,
    sample: u32,
    sample_early: u32,
}

impl Lhd {
    /// Expected hits per access and weight; the lowest goes first.
    #[inline]
    #[expect(clippy::cast_precision_loss, reason = "24 bits of a weight are enough")]
    fn density(&self, resident: &Resident) -> f32 {
        let age = self.model.age(self.clock.wrapping_sub(resident.accessed));
        if age == AGES - 1 {
            return density::OUTLIVED;
        }
        let density = self.model.density(resident.class, age) / resident.weight as f32;
        if resident.explorer { density + EXPLORER_BONUS } else { density }
    }

    /// Counts an access that made the entry at `place` what it is, and decides whether it explores.
    /// True where the dice said so, even if the budget said no.
    fn finish_access(&mut self, place: u32) -> bool {
        let explores = self.rng.below(EXPLORE_ONE_IN) == 0;
        let resident = &mut self.residents[place];
        resident.accessed = self.clock;
        resident.explorer =
            explores && self.explorers_left > 0 && self.model.refreshes() < EXPLORE_REFRESHES;
        if resident.explorer {
            self.explorers_left -= i64::from(resident.weight);
        }
        explores
    }

    fn tick(&mut self) {
        self.clock = self.clock.wrapping_add(1);
        self.model.tick(self.len);
    }

    fn hit_once(&mut self, place: u32) {
        let resident = &mut self.residents[place];
        let age = self.model.age(self.clock.wrapping_sub(resident.accessed));
        self.model.note_hit(resident.class, age);
        if resident.explorer {
            self.explorers_left += i64::from(resident.weight);
        }
        resident.class = Model::class_of(age + u32::from(resident.hit_age));
        resident.hit_age = u16::try_from(age).unwrap_or(u16::MAX);
        self.finish_access(place);
        self.tick();
    }

    /// Puts a newcomer on watch in place of the one watched longest.
    fn watch(&mut self, slot: u32) {
        self.watched[self.watched_next] = slot;
        self.watched_next = (self.watched_next + 1) % WATCHED;
    }

    /// Forgets the resident at `place`; the last one moves there.
    fn forget(&mut self, place: u32) {
        let Resident { slot, weight, explorer, .. } = self.residents[place];
        if explorer {
            self.explorers_left += i64::from(weight);
        }
        for watched in &mut self.watched {
            if *watched == slot {
                *watched = NO_SLOT;
            }
        }
        self.len -= 1;
        let last = self.residents[self.len];
        self.residents[place] = last;
        self.places[last.slot] = place;
    }

    /// The place of the least dense of a sample and of the newcomers on watch, and its density.
    fn least_dense(&mut self) -> (u32, f32) {
        let sample = if self.model.refreshes() > EXPLORE_REFRESHES {
            self.sample
        } else {
            self.sample_early
        };
        let mut least = (0, f32::INFINITY);
        for _ in 0..sample {
            let place = self.rng.below(self.len);
            let density = self.density(&self.residents[place]);
            if density < least.1 {
                least = (place, density);
            }
        }
        for slot in self.watched {
            if slot == NO_SLOT {
                continue;
            }
            let place = self.places[slot];
            let density = self.density(&self.residents[place]);
            if density < least.1 {
                least = (place, density);
            }
        }
        least
    }

    fn explorers_max(&self, capacity: u64) -> i64 {
        let weight = u128::from(capacity) * u128::from(self.explore_permille) / 1000;
        i64::try_from(weight).unwrap_or(i64::MAX)
    }
}

impl Policy for Lhd {
    type Params = LhdParams;

    fn new(setup: &Setup, params: &LhdParams) -> Self {
        // The ranges of the parameters are far below u32::MAX.
        let narrow = |value: i64| u32::try_from(value).unwrap_or(u32::MAX);
        let mut lhd = Self {
            residents: PerSlot::new(setup.slots),
            places: PerSlot::new(setup.slots),
            len: 0,
            model: Model::new(narrow(params.age_shift), narrow(params.refresh_accesses)),
            clock: 0,
            watched: [NO_SLOT; WATCHED],
            watched_next: 0,
            victim_density: 0.0,
            explorers_left: 0,
            explorers_max: 0,
            explore_permille: params.explore_permille.unsigned_abs(),
            rng: Rng::new(setup.seed),
            sample: narrow(params.sample),
            sample_early: narrow(params.sample_early),
        };
        lhd.explorers_max = lhd.explorers_max(setup.capacity);
        lhd.explorers_left = lhd.explorers_max;
        lhd
    }

    fn grow(&mut self, slots: u32) {
        self.residents.grow(slots);
        self.places.grow(slots);
    }

    fn hit(&mut self, event: &Record, _: &Budget) {
        let place = self.places[event.slot];
        for _ in 0..event.count.max(1) {
            self.hit_once(place);
        }
    }

    fn insert(&mut self, event: &Record, _: &Budget) {
        let place = self.len;
        self.len += 1;
        self.places[event.slot] = place;
        self.residents[place] =
            Resident { slot: event.slot, weight: event.weight, ..Resident::default() };
        let explores = self.finish_access(place);
        if !explores && self.density(&self.residents[place]) < self.victim_density {
            self.watch(event.slot);
        }
        self.tick();
    }

    fn victim(&mut self, _: &Budget) -> u32 {
        let (place, density) = self.least_dense();
        self.victim_density =
            VICTIM_DECAY * self.victim_density + (1.0 - VICTIM_DECAY) * density.max(0.0);
        let resident = self.residents[place];
        let age = self.model.age(self.clock.wrapping_sub(resident.accessed));
        self.model.note_eviction(resident.class, age);
        self.forget(place);
        resident.slot
    }

    fn remove(&mut self, slot: u32, _: &Budget) {
        self.forget(self.places[slot]);
    }

    fn reweigh(&mut self, slot: u32, old: u32, new: u32) {
        let resident = &mut self.residents[self.places[slot]];
        resident.weight = new;
        if resident.explorer {
            self.explorers_left += i64::from(old) - i64::from(new);
        }
    }

    fn capacity(&mut self, budget: &Budget) {
        let max = self.explorers_max(budget.capacity());
        self.explorers_left += max - self.explorers_max;
        self.explorers_max = max;
    }
}

ostler_policy::export! {
    policy: Lhd,
    name: "lhd",
    summary: "Evicts, of a random sample, the entry that earns fewest hits for its space.",
    events: ["hit"],
    bytes_per_slot: 24,
    base_bytes: 4390912,
    params: LhdParams {
        sample: int = 32, 1..=256, "Entries drawn for an eviction.";
        sample_early: int = 8, 1..=256, "Entries drawn for an eviction in the first 51 refreshes.";
        refresh_accesses: int = 1048576, 8192..=16777216, "Accesses between refreshes of the densities.";
        age_shift: int = 10, 0..=16, "Length of an age at first, as a power of two of accesses.";
        explore_permille: int = 10, 0..=500, "Share of the capacity for entries spared to learn from.";
    }
}

#[cfg(test)]
mod tests {
    use ostler_policy::check::{
        Batch, ReferenceCache, Served, conformance, evictions, native_factory,
    };
    use ostler_policy::{Driver, Kind, NO_SLOT, Record, Rng, Setup, Step};

    use super::{Lhd, LhdParams};

    /// Ages of one access, no explorers, and so many draws that every resident is among them.
    const PLAIN: &str = r#"{"age_shift": 0, "explore_permille": 0, "sample_early": 256}"#;

    #[test]
    fn victims_have_the_least_density() {
        // Nothing is learned yet: density is (17 + class) / (age + 1) / weight, with class 15 after
        // an immediate reuse.
        let cases = [
            // requests, capacity, victims
            ("a b c d", 3, "a"),
            // At d: a 32/4, b 17/3, c 17/2.
            ("a a b c d", 3, "b"),
            // At c: a 17/3, b 17/2/3.
            ("a:1 b:3 c:1", 4, "b"),
            ("a:2 b:1 c:3", 3, "a b"),
        ];
        for (requests, capacity, victims) in cases {
            assert_eq!(evictions(&super::NATIVE, PLAIN, capacity, requests), victims, "{requests}");
        }
    }

    #[test]
    fn learns_to_keep_a_part_of_a_loop() {
        let params = r#"{"refresh_accesses": 8192, "age_shift": 4}"#;
        let setup = Setup { capacity: 60, slots: 61, seed: 3 };
        let policy = (super::NATIVE.build)(setup, params).unwrap();
        let mut cache = ReferenceCache::new(policy, setup.capacity, setup.slots, Batch::Exact);
        let mut hits = [0; 2];
        for request in 0..160_000u64 {
            let served = cache.request(request % 80, 1).unwrap();
            let half = usize::from(request >= 80_000);
            hits[half] += u32::from(served == Served::Hit);
        }
        // LRU has no hit at all, the optimum keeps 60 of 80.
        assert!(hits[1] > 40_000, "{hits:?}");
    }

    #[test]
    fn explorers_and_watched_newcomers_are_residents() {
        let params = LhdParams { explore_permille: 200, age_shift: 2, ..LhdParams::default() };
        let setup = Setup { capacity: 2_000, slots: 512, seed: 9 };
        let mut driver = Driver::<Lhd>::new(setup, params);
        let mut rng = Rng::new(5);
        let mut victims = [0; 600];
        let mut explorers_most = 0;
        for step in 0..20_000u64 {
            let slot = rng.below(512);
            let resident = driver.budget().is_resident(slot);
            let kind = match rng.below(20) {
                0 if resident => Kind::Remove,
                1 if resident => Kind::Update,
                _ if resident => Kind::Hit,
                _ => Kind::Insert,
            };
            let weight = 1 + rng.below(30);
            let mut event = Record { weight, ..Record::new(kind, slot) };
            if step % 1_000 == 999 {
                let capacity = 500 + u64::from(rng.below(3_000));
                event = Record { key_hash: capacity, ..Record::new(Kind::Capacity, NO_SLOT) };
            }
            driver.step(&[event], &mut victims);

            let (lhd, budget) = (driver.policy(), driver.budget());
            assert_eq!(lhd.len, budget.len());
            let mut explorers = 0;
            for place in 0..lhd.len {
                let resident = lhd.residents[place];
                assert_eq!(lhd.places[resident.slot], place);
                assert_eq!(resident.weight, budget.weight(resident.slot));
                explorers += i64::from(resident.weight) * i64::from(resident.explorer);
            }
            assert_eq!(lhd.explorers_left + explorers, lhd.explorers_max);
            assert!(lhd.watched.iter().all(|slot| *slot == NO_SLOT || budget.is_resident(*slot)));
            explorers_most = explorers_most.max(explorers);
        }
        assert!(explorers_most > 100, "{explorers_most}");
    }

    #[test]
    fn keeps_the_contract() {
        let small = r#"{"refresh_accesses": 8192, "age_shift": 0, "explore_permille": 500}"#;
        for params in ["", small] {
            let report = conformance(&mut native_factory(&super::NATIVE, params));
            assert_eq!(report.first_failure(), None, "{params}");
        }
    }
}
