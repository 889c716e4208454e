//! QD-LP-FIFO: quick demotion by a small FIFO, lazy promotion by a CLOCK.
//!
//! Idea: newcomers enter a small FIFO on probation. At its end, what was read moves to the main
//! queue; the rest leaves and is remembered as a ghost. A newcomer with a ghost goes straight to
//! main. Main is a CLOCK of two bits with a share of its own: what moves in pays with main's oldest
//! unread entry. The forerunner of S3-FIFO, which asks for two hits and lets main grow for a while.
//!
//! Paper: J. Yang, Z. Qiu, Y. Zhang, Y. Yue, K. V. Rashmi, "FIFO can be better than LRU: the power of
//! lazy promotion and quick demotion", HotOS 2023.
//!
//! Parameters: `small_percent` (10), the small queue's share of the capacity, main having the rest;
//! `ghost_percent` (90), the most that ghosts may weigh, as a share of the capacity; `promote_hits`
//! (1), hits in small that make an entry move to main. Memory: 23 bytes a slot (8 two links, 1
//! counter and queue, 4 the hash for the ghost, 6 the ghosts, 4 the driver's weight). Cost: a hit
//! is one load and one store of a byte; an eviction moves what was read, once per hit, so O(1)
//! amortised, but a single call may move all residents up to three times. An overwrite is an
//! access.
//!
//! Differences from the paper. Where main is full, a newcomer with a ghost takes the place of an
//! entry of main; libCacheSim takes one from small as well, and the cache is one short until the
//! next miss. A newcomer heavier than the whole small queue is refused where something would have
//! to go for it, and enters main where not (libCacheSim refuses it always, the paper has equal
//! weights). Small's share is at least 1. The ghosts are FIFO by generations of 1/256 of their
//! weight, exactly so in small caches, and a full bucket of their table gives up its oldest
//! ([`GhostTable`]).
#![no_std]
#![forbid(unsafe_code)]

use ostler_policy::{Budget, GhostTable, Links, List, PerSlot, Policy, Record, Setup};

/// Bits of a state: the hits since the entry entered its queue, saturating.
const HITS: u8 = 0b011;
/// Bit of a state: set where the entry is in main.
const IN_MAIN: u8 = 0b100;

/// Small FIFO, main CLOCK, ghosts.
#[derive(Debug)]
pub struct Qdlp {
    /// Of both queues; an entry is in exactly one.
    links: Links,
    /// Newest at the head, as in main.
    small: List,
    main: List,
    /// [`HITS`] and [`IN_MAIN`] of each entry: all that a hit touches.
    states: PerSlot<u8>,
    /// The key of each entry as the ghosts will know it.
    tags: PerSlot<u32>,
    ghosts: GhostTable,
    shares: Shares,
    /// The newcomer between `admit` and `insert` or its refusal, else unknown.
    newcomer: Newcomer,
}

/// What `admit` found out about the newcomer.
#[derive(Clone, Copy, Debug)]
enum Newcomer {
    Unknown,
    /// It has a ghost.
    Returning,
    /// It is too heavy for small: nothing is evicted for it.
    Heavy {
        slot: u32,
    },
}

/// How the capacity is dealt out.
#[derive(Clone, Copy, Debug)]
struct Shares {
    small_percent: u64,
    ghost_percent: u64,
    promote_hits: u8,
    /// Weights, from the percentages.
    small_max: u64,
    main_max: u64,
    ghost_max: u64,
}

impl Shares {
    fn new(params: &QdlpParams, capacity: u64) -> Self {
        let mut shares = Self {
            small_percent: params.small_percent.unsigned_abs(),
            ghost_percent: params.ghost_percent.unsigned_abs(),
            promote_hits: u8::try_from(params.promote_hits).unwrap_or(HITS),
            small_max: 0,
            main_max: 0,
            ghost_max: 0,
        };
        shares.resize(capacity);
        shares
    }

    fn resize(&mut self, capacity: u64) {
        self.small_max = percent_of(capacity, self.small_percent).max(1);
        self.main_max = capacity.saturating_sub(self.small_max);
        self.ghost_max = percent_of(capacity, self.ghost_percent);
    }
}

impl Policy for Qdlp {
    type Params = QdlpParams;

    fn new(setup: &Setup, params: &QdlpParams) -> Self {
        let shares = Shares::new(params, setup.capacity);
        Self {
            links: Links::new(setup.slots),
            small: List::new(),
            main: List::new(),
            states: PerSlot::new(setup.slots),
            tags: PerSlot::new(setup.slots),
            ghosts: GhostTable::new(setup.slots, shares.ghost_max),
            shares,
            newcomer: Newcomer::Unknown,
        }
    }

    fn grow(&mut self, slots: u32) {
        self.links.grow(slots);
        self.states.grow(slots);
        self.tags.grow(slots);
        self.ghosts.grow(slots);
    }

    #[inline]
    fn hit(&mut self, event: &Record, _: &Budget) {
        let state = &mut self.states[event.slot];
        let hits = (*state & HITS).saturating_add(event.count).min(HITS);
        *state = *state & IN_MAIN | hits;
    }

    #[inline]
    fn admit(&mut self, event: &Record, _: &Budget) -> bool {
        let tag = tag_of(event.key_hash);
        self.tags[event.slot] = tag;
        self.newcomer = if self.ghosts.take(tag, event.weight) {
            Newcomer::Returning
        } else if u64::from(event.weight) > self.shares.small_max {
            Newcomer::Heavy { slot: event.slot }
        } else {
            Newcomer::Unknown
        };
        true
    }

    #[inline]
    fn insert(&mut self, event: &Record, _: &Budget) {
        match core::mem::replace(&mut self.newcomer, Newcomer::Unknown) {
            Newcomer::Unknown => {
                self.states[event.slot] = 0;
                self.links.push_head(&mut self.small, event.slot, event.weight);
            }
            Newcomer::Returning | Newcomer::Heavy { .. } => {
                self.enter_main(event.slot, event.weight);
            }
        }
    }

    fn victim(&mut self, budget: &Budget) -> u32 {
        // What is about to enter main and is not in it yet.
        let entering = match self.newcomer {
            Newcomer::Unknown => 0,
            Newcomer::Returning => budget.incoming(),
            Newcomer::Heavy { slot } => {
                self.newcomer = Newcomer::Unknown;
                return slot;
            }
        };
        loop {
            let slot = self.small.tail();
            if self.small.is_empty() || !self.main.is_empty() && !self.main_fits(entering) {
                return self.evict_main(budget);
            }
            let weight = budget.weight(slot);
            if self.states[slot] & HITS < self.shares.promote_hits {
                self.links.remove(&mut self.small, slot, weight);
                self.ghosts.push(self.tags[slot], weight);
                return slot;
            }
            if self.main.is_empty() || self.main_fits(weight) {
                self.promote(slot, weight);
                continue;
            }
            let victim = self.evict_main(budget);
            if self.main_fits(weight) {
                self.promote(slot, weight);
            }
            return victim;
        }
    }

    fn remove(&mut self, slot: u32, budget: &Budget) {
        let queue = if self.states[slot] & IN_MAIN == 0 { &mut self.small } else { &mut self.main };
        self.links.remove(queue, slot, budget.weight(slot));
    }

    fn reweigh(&mut self, slot: u32, old: u32, new: u32) {
        let queue = if self.states[slot] & IN_MAIN == 0 { &mut self.small } else { &mut self.main };
        queue.reweigh(old, new);
    }

    /// Not admitted anew, so its hash was not noted yet.
    fn adopt(&mut self, entry: &Record, last: Option<&Record>, budget: &Budget) {
        self.tags[entry.slot] = tag_of(entry.key_hash);
        self.insert(entry, budget);
        if let Some(hit) = last {
            self.hit(hit, budget);
        }
    }

    fn capacity(&mut self, budget: &Budget) {
        self.shares.resize(budget.capacity());
        self.ghosts.resize(self.shares.ghost_max);
    }
}

impl Qdlp {
    /// True where main has room for `weight` more within its share.
    fn main_fits(&self, weight: u32) -> bool {
        self.main.weight() + u64::from(weight) <= self.shares.main_max
    }

    /// Moves the oldest entry of small, `slot`, to main.
    fn promote(&mut self, slot: u32, weight: u32) {
        self.links.remove(&mut self.small, slot, weight);
        self.enter_main(slot, weight);
    }

    fn enter_main(&mut self, slot: u32, weight: u32) {
        self.states[slot] = IN_MAIN;
        self.links.push_head(&mut self.main, slot, weight);
    }

    /// Evicts the oldest entry of main that was not read; those before it go round, one hit poorer.
    #[inline]
    fn evict_main(&mut self, budget: &Budget) -> u32 {
        loop {
            let slot = self.main.tail();
            let state = &mut self.states[slot];
            if *state & HITS == 0 {
                self.links.remove(&mut self.main, slot, budget.weight(slot));
                return slot;
            }
            *state -= 1;
            self.links.move_to_head(&mut self.main, slot);
        }
    }
}

/// The part of a key's hash that ghosts tell keys apart by: both halves, folded. Kept a slot, since
/// an entry's event is long gone when it becomes a ghost.
#[expect(clippy::cast_possible_truncation, reason = "the two halves are folded, none is lost")]
fn tag_of(key_hash: u64) -> u32 {
    (key_hash ^ (key_hash >> 32)) as u32
}

/// `percent` of `whole`, rounded down, without overflow.
fn percent_of(whole: u64, percent: u64) -> u64 {
    whole / 100 * percent + whole % 100 * percent / 100
}

ostler_policy::export! {
    policy: Qdlp,
    name: "qdlp",
    summary: "Small FIFO for newcomers, main CLOCK for what was read there or came back soon.",
    events: ["hit"],
    bytes_per_slot: 23,
    base_bytes: 262144,
    params: QdlpParams {
        small_percent: int = 10, 1..=90, "The small queue's share of the capacity, percent.";
        ghost_percent: int = 90, 0..=100, "Weight of the ghosts at most, percent of the capacity.";
        promote_hits: int = 1, 1..=3, "Hits in the small queue that lead to the main queue.";
    }
}

#[cfg(test)]
mod tests {
    use ostler_policy::check::{conformance, evictions, native_factory};

    const HALVES: &str = r#"{"small_percent": 50}"#;
    const NO_GHOSTS: &str = r#"{"small_percent": 50, "ghost_percent": 0}"#;
    const TWO_HITS: &str = r#"{"small_percent": 50, "promote_hits": 2}"#;

    #[test]
    fn what_was_read_moves_to_main_and_pays_there() {
        let cases = [
            // parameters, requests, capacity, victims
            // Nothing was read: small holds all that is resident and is a FIFO.
            (HALVES, "a b c d e f", 4, "a b"),
            // a and b were read and move to main; c, the next in small, goes.
            (HALVES, "a b c d a b e", 4, "c"),
            (TWO_HITS, "a b c d a b e", 4, "a"),
            (TWO_HITS, "a b c d a a b e", 4, "b"),
            // Main is full of a and b: d moves in and a pays.
            (HALVES, "a b c d a b e d f", 4, "c a"),
            // a was read in main, so the hand spares it and b pays.
            (HALVES, "a b c d a b e d a f", 4, "c b"),
            // a returns to main while its ghost is remembered, b to small where none is.
            (HALVES, "a b c d e a c f g", 4, "a b d e"),
            (NO_GHOSTS, "a b c d e a c f g", 4, "a b d e"),
            (HALVES, "a b c d e a f g h i", 4, "a b c d e f"),
            (NO_GHOSTS, "a b c d e a f g h i", 4, "a b c d e a"),
            // Weights: e needs two of small's residents to go; b was read and moves on.
            (HALVES, "a:2 b:2 c:2 d:2 b e:4", 8, "a c"),
            // Heavier than small: takes free room, but nothing goes for it.
            ("", "a b:8 c:2 c:2 d e", 10, "c c a"),
        ];
        for (params, requests, capacity, victims) in cases {
            let got = evictions(&super::NATIVE, params, capacity, requests);
            assert_eq!(got, victims, "{requests} {params}");
        }
    }

    #[test]
    fn keeps_the_contract() {
        for params in ["", HALVES, NO_GHOSTS, TWO_HITS] {
            let report = conformance(&mut native_factory(&super::NATIVE, params));
            assert_eq!(report.first_failure(), None, "{params}");
        }
    }
}
