//! 2Q: a short FIFO for newcomers, and an LRU list for those that came back after leaving it.
//!
//! Idea: a newcomer enters the queue `recent` (A1in), where hits change nothing: accesses close to
//! each other say little. An entry that leaves it is remembered as a ghost (A1out). If it is
//! requested again while its ghost is there, it enters the LRU list `main` (Am). The victim is the
//! oldest of `recent` while that is over its share, else the tail of `main`.
//!
//! Paper: T. Johnson, D. Shasha, "2Q: a low overhead high performance buffer management replacement
//! algorithm", VLDB 1994 (the full version, with Kin and Kout).
//!
//! Parameters: `recent_percent` (Kin), 25; `ghost_percent` (Kout), 50, both in percent of the
//! capacity, by weight. Memory: 41 bytes a slot: 8 two links, 4 the key's tag, 1/8 a bit, 4 the
//! driver's weight and 24 a ghost, of which there are at most as many as slots. Cost: O(1) an
//! event; a hit in `recent` writes nothing.
//!
//! As in libCacheSim, nothing is evicted for an entry heavier than the share of `recent`, since it
//! would flush the whole queue: it is rejected. Where this differs from libCacheSim:
//! - There such an entry does not even get free room.
//! - There `main` evicts of its own accord where a returning entry would lift it above the rest of
//!   the capacity, even while the cache has room. That needs unequal weights; here it may stay.
//! - Ghosts are bounded by number as well, and at most 16 old ones are dropped for a new one.
#![no_std]
#![forbid(unsafe_code)]

use ostler_policy::{Bits, Budget, Ghosts, Links, List, NO_SLOT, PerSlot, Policy, Record, Setup};

/// Ghosts dropped for a new one, so that no eviction takes long after the capacity shrank.
const GHOSTS_DROPPED_MAX: u32 = 16;

/// Two queues.
#[derive(Debug)]
pub struct TwoQ {
    links: Links,
    /// A1in: the newest at the head.
    recent: List,
    /// Am: the most recently used at the head.
    main: List,
    in_main: Bits,
    /// The residents' key hashes, folded to 32 bits, to name a ghost by.
    tags: PerSlot<u32>,
    /// A1out: entries that left `recent`.
    ghosts: Ghosts,
    /// Weight that `recent` keeps while `main` has something to give.
    recent_max: u64,
    /// Weight that the ghosts may have.
    ghosts_max: u64,
    /// The newcomer that was admitted last had a ghost.
    returning: bool,
    params: TwoQParams,
}

impl TwoQ {
    /// Shares of `capacity`, rounded down.
    fn resize(&mut self, capacity: u64) {
        self.recent_max = percent_of(capacity, self.params.recent_percent);
        self.ghosts_max = percent_of(capacity, self.params.ghost_percent);
    }

    /// Remembers an entry that leaves `recent`, unless no share of the ghosts could hold it.
    fn remember(&mut self, tag: u32, weight: u32) {
        if u64::from(weight) > self.ghosts_max {
            return;
        }
        self.ghosts.push_absent(u64::from(tag), weight);
        for _ in 0..GHOSTS_DROPPED_MAX {
            if self.ghosts.weight() <= self.ghosts_max {
                return;
            }
            self.ghosts.pop_oldest();
        }
    }

    /// Puts a new resident at the head of its queue.
    fn enter(&mut self, event: &Record, returning: bool) {
        self.tags[event.slot] = tag_of(event.key_hash);
        if returning {
            self.in_main.set(event.slot);
            self.links.push_head(&mut self.main, event.slot, event.weight);
        } else {
            self.in_main.unset(event.slot);
            self.links.push_head(&mut self.recent, event.slot, event.weight);
        }
    }
}

/// `percent` hundredths of `capacity`, rounded down.
fn percent_of(capacity: u64, percent: i64) -> u64 {
    let percent = percent.unsigned_abs();
    capacity / 100 * percent + capacity % 100 * percent / 100
}

/// The hash's halves folded: all that the ghosts' index would keep of it.
#[expect(clippy::cast_possible_truncation, reason = "the halves are folded first")]
fn tag_of(key_hash: u64) -> u32 {
    (key_hash ^ (key_hash >> 32)) as u32
}

impl Policy for TwoQ {
    type Params = TwoQParams;

    fn new(setup: &Setup, params: &TwoQParams) -> Self {
        let mut policy = Self {
            links: Links::new(setup.slots),
            recent: List::new(),
            main: List::new(),
            in_main: Bits::new(setup.slots),
            tags: PerSlot::new(setup.slots),
            ghosts: Ghosts::new(setup.slots),
            recent_max: 0,
            ghosts_max: 0,
            returning: false,
            params: *params,
        };
        policy.resize(setup.capacity);
        policy
    }

    fn grow(&mut self, slots: u32) {
        self.links.grow(slots);
        self.in_main.grow(slots);
        self.tags.grow(slots);
        self.ghosts.grow(slots);
    }

    fn hit(&mut self, event: &Record, _: &Budget) {
        if self.in_main.get(event.slot) {
            self.links.move_to_head(&mut self.main, event.slot);
        }
    }

    fn admit(&mut self, event: &Record, budget: &Budget) -> bool {
        self.returning = self.ghosts.take(u64::from(tag_of(event.key_hash))).is_some();
        // A heavy newcomer gets free room. A share that rounds to zero admits entries of weight 1.
        u64::from(event.weight) <= self.recent_max.max(1) || !budget.is_over()
    }

    fn insert(&mut self, event: &Record, _: &Budget) {
        self.enter(event, self.returning);
    }

    /// An entry that was read after its insertion has proved itself as one with a ghost has.
    fn adopt(&mut self, entry: &Record, last: Option<&Record>, _: &Budget) {
        self.enter(entry, last.is_some());
    }

    fn victim(&mut self, budget: &Budget) -> u32 {
        let from_main = !self.main.is_empty() && self.recent.weight() <= self.recent_max;
        let slot = if from_main { self.main.tail() } else { self.recent.tail() };
        assert!(slot != NO_SLOT, "a victim is asked for while something is resident");
        if !from_main {
            self.remember(self.tags[slot], budget.weight(slot));
        }
        self.remove(slot, budget);
        slot
    }

    fn remove(&mut self, slot: u32, budget: &Budget) {
        let queue = if self.in_main.get(slot) { &mut self.main } else { &mut self.recent };
        self.links.remove(queue, slot, budget.weight(slot));
    }

    fn reweigh(&mut self, slot: u32, old: u32, new: u32) {
        let queue = if self.in_main.get(slot) { &mut self.main } else { &mut self.recent };
        queue.reweigh(old, new);
    }

    fn capacity(&mut self, budget: &Budget) {
        self.resize(budget.capacity());
    }
}

ostler_policy::export! {
    policy: TwoQ,
    name: "twoq",
    summary: "2Q: newcomers pass a short FIFO; those requested again after it enter an LRU list.",
    events: ["hit"],
    bytes_per_slot: 41,
    base_bytes: 458752,
    params: TwoQParams {
        recent_percent: int = 25, 0..=100, "Newcomers' queue (Kin), percent of the capacity.";
        ghost_percent: int = 50, 0..=1000, "Ghosts' weight (Kout), percent of the capacity.";
    }
}

#[cfg(test)]
mod tests {
    use ostler_policy::check::{conformance, evictions, native_factory};

    #[test]
    fn victims_follow_the_two_queues() {
        // A capacity of 4 gives `recent` 1 and the ghosts 2.
        let cases = [
            // requests, capacity, victims
            // Hits in `recent` change nothing: FIFO.
            ("a a a b c d e", 4, "a"),
            // a and b return from the ghosts into `main`; a scan then passes through `recent`.
            ("a b c d e f a b g h i", 4, "a b c d e f g"),
            // `recent` is down to its share: `main` gives up its least recently used.
            ("a b c d e a f b d g", 4, "a b c d e a"),
            // Two ghosts at most: a is new again, and h drives out what came before it.
            ("a b c d e f g a h", 4, "a b c d e"),
            // A newcomer heavier than the share of `recent`: nothing is evicted for it.
            ("a b:2 c d:2 e", 4, "d a"),
            // Weights: three must go for g.
            ("a b c d:3 e:3 f:3 g:3", 12, "a b c"),
        ];
        for (requests, capacity, victims) in cases {
            assert_eq!(evictions(&super::NATIVE, "", capacity, requests), victims, "{requests}");
        }
    }

    #[test]
    fn shares_are_exact_for_every_capacity() {
        assert_eq!(super::percent_of(4, 25), 1);
        assert_eq!(super::percent_of(399, 50), 199);
        assert_eq!(super::percent_of(1 << 63, 25), 1 << 61);
        assert_eq!(super::percent_of(0, 1000), 0);
    }

    #[test]
    fn keeps_the_contract() {
        let extremes = [
            "",
            r#"{"recent_percent": 0, "ghost_percent": 0}"#,
            r#"{"recent_percent": 100, "ghost_percent": 1000}"#,
        ];
        for params in extremes {
            let report = conformance(&mut native_factory(&super::NATIVE, params));
            assert_eq!(report.first_failure(), None, "{params}");
        }
    }
}
