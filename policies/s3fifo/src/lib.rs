//! S3-FIFO: three FIFO queues, so that what is read once leaves soon.
//!
//! Idea: newcomers enter a small queue. What was read at least twice there moves on to the main queue
//! when it reaches the small queue's end; the rest leaves and is remembered as a ghost. A newcomer
//! with a ghost goes straight to main. Main is a FIFO that reinserts what was read, with a counter of
//! two bits. Victims come from main while it is over its share, else from small.
//!
//! Paper: J. Yang, Y. Zhang, Z. Qiu, Y. Yue, K. V. Rashmi, "FIFO queues are all you need for cache
//! eviction", SOSP 2023.
//!
//! Parameters: `small_percent` (10), the small queue's share of the capacity; `ghost_percent` (90),
//! the most that ghosts may weigh, as a share of the capacity; `promote_hits` (2), hits in small
//! that make an entry move to main; `admit_heavy` (false), see below. Memory: 23 bytes a slot (8
//! two links, 1 counter and queue, 4 the hash for the ghost, 6 the ghosts, 4 the driver's weight).
//! Cost: a hit is one load and one store of a byte; an eviction moves what was read, once per hit,
//! so O(1) amortised, but a single call may move all residents up to three times. An overwrite is
//! an access.
//!
//! Differences from the paper. As in the authors' libCacheSim: until the first eviction, newcomers
//! that find small full go to main, where the paper lets small grow into the free room; and a
//! newcomer heavier than the whole small queue is refused, where the paper lets it flush small. The
//! second favours the object hit ratio over the byte hit ratio (web_elastic_apache, 10 % of bytes:
//! miss ratio 16.93 % with it, 35.34 % without; byte miss ratio 86.02 % and 86.01 %). Ours alone:
//! it is refused only where something would have to go for it; else it enters main (libCacheSim:
//! 16.52 % and 87.11 %). With `admit_heavy` a refused one leaves a ghost, as if it had passed
//! through small at once, and comes in if it returns soon. A newcomer that weighs just what small
//! may hold comes in, small's share is at least 1, and new room after a resize is filled as at the
//! start. The ghosts are FIFO by generations of 1/256 of their weight, exactly so in small caches,
//! and a full bucket of their table gives up its oldest ([`GhostTable`]).
#![no_std]
#![forbid(unsafe_code)]

use ostler_policy::{Budget, GhostTable, Links, List, PerSlot, Policy, Record, Setup};

/// Bits of a state: the hits since the entry entered its queue, saturating.
const HITS: u8 = 0b011;
/// Bit of a state: set where the entry is in main.
const IN_MAIN: u8 = 0b100;

/// Small queue, main queue, ghosts.
#[derive(Debug)]
pub struct S3Fifo {
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
    /// The cache was not full yet: the free room belongs to main once small is full.
    filling: bool,
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
    admit_heavy: bool,
    /// Weights, from the percentages.
    small_max: u64,
    main_max: u64,
    ghost_max: u64,
}

impl Shares {
    fn new(params: &S3FifoParams, capacity: u64) -> Self {
        let mut shares = Self {
            small_percent: params.small_percent.unsigned_abs(),
            ghost_percent: params.ghost_percent.unsigned_abs(),
            promote_hits: u8::try_from(params.promote_hits).unwrap_or(HITS),
            admit_heavy: params.admit_heavy,
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

impl Policy for S3Fifo {
    type Params = S3FifoParams;

    fn new(setup: &Setup, params: &S3FifoParams) -> Self {
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
            filling: true,
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
        let returning = self.ghosts.take(tag, event.weight);
        let heavy = u64::from(event.weight) > self.shares.small_max;
        self.newcomer = match (returning, heavy) {
            (true, false) => Newcomer::Returning,
            (true, true) if self.shares.admit_heavy => Newcomer::Returning,
            (_, true) => Newcomer::Heavy { slot: event.slot },
            (false, false) => Newcomer::Unknown,
        };
        true
    }

    #[inline]
    fn insert(&mut self, event: &Record, _: &Budget) {
        let newcomer = core::mem::replace(&mut self.newcomer, Newcomer::Unknown);
        let spills = self.filling && self.small.weight() >= self.shares.small_max;
        if spills || !matches!(newcomer, Newcomer::Unknown) {
            self.states[event.slot] = IN_MAIN;
            self.links.push_head(&mut self.main, event.slot, event.weight);
        } else {
            self.states[event.slot] = 0;
            self.links.push_head(&mut self.small, event.slot, event.weight);
        }
    }

    fn victim(&mut self, budget: &Budget) -> u32 {
        self.filling = false;
        if let Newcomer::Heavy { slot } = self.newcomer {
            self.newcomer = Newcomer::Unknown;
            if self.shares.admit_heavy {
                self.ghosts.push(self.tags[slot], budget.incoming());
            }
            return slot;
        }
        if self.main.weight() <= self.shares.main_max {
            while !self.small.is_empty() {
                if let Some(victim) = self.sift_small(budget) {
                    return victim;
                }
            }
        }
        self.evict_main(budget)
    }

    /// Not admitted anew, so its hash was not noted yet.
    fn adopt(&mut self, entry: &Record, last: Option<&Record>, budget: &Budget) {
        self.tags[entry.slot] = tag_of(entry.key_hash);
        self.insert(entry, budget);
        if let Some(hit) = last {
            self.hit(hit, budget);
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

    /// Room that a larger capacity brings is filled as at the start.
    fn capacity(&mut self, budget: &Budget) {
        self.shares.resize(budget.capacity());
        self.ghosts.resize(self.shares.ghost_max);
        self.filling = true;
    }
}

impl S3Fifo {
    /// Takes the oldest entry out of small, which is not empty: to main where it was read often
    /// enough, else it is the victim and leaves a ghost.
    #[inline]
    fn sift_small(&mut self, budget: &Budget) -> Option<u32> {
        let slot = self.small.tail();
        let weight = budget.weight(slot);
        self.links.remove(&mut self.small, slot, weight);
        if self.states[slot] & HITS < self.shares.promote_hits {
            self.ghosts.push(self.tags[slot], weight);
            return Some(slot);
        }
        self.states[slot] = IN_MAIN;
        self.links.push_head(&mut self.main, slot, weight);
        None
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
    policy: S3Fifo,
    name: "s3fifo",
    summary: "Small FIFO for newcomers, main FIFO for what was read twice there or came back soon.",
    events: ["hit"],
    bytes_per_slot: 23,
    base_bytes: 262144,
    params: S3FifoParams {
        small_percent: int = 10, 1..=90, "The small queue's share of the capacity, percent.";
        ghost_percent: int = 90, 0..=100, "Weight of the ghosts at most, percent of the capacity.";
        promote_hits: int = 2, 1..=3, "Hits in the small queue that lead to the main queue.";
        admit_heavy: bool = false, false..=true, "Newcomers heavier than the small queue come in when they return soon.";
    }
}

#[cfg(test)]
mod tests {
    use super::percent_of;
    use ostler_policy::check::{conformance, evictions, native_factory};

    const HALVES: &str = r#"{"small_percent": 50}"#;
    const NO_GHOSTS: &str = r#"{"small_percent": 50, "ghost_percent": 0}"#;
    const ONE_HIT: &str = r#"{"small_percent": 50, "promote_hits": 1}"#;
    const HEAVY: &str = r#"{"admit_heavy": true}"#;

    #[test]
    fn victims_come_from_small_unless_main_is_over_its_share() {
        let cases = [
            // parameters, requests, capacity, victims
            // a and b fill small, c and d spill into main; then small loses its oldest.
            (HALVES, "a b c d e f", 4, "a b"),
            // Two hits in small lead to main, one does not; the next in small goes instead.
            (HALVES, "a a b c d e", 4, "a"),
            (ONE_HIT, "a a b c d e", 4, "b"),
            (HALVES, "a a a b c d e", 4, "b"),
            // a returns to main while its ghost is remembered. Main is over its share and pays next.
            (HALVES, "a b c d e a f", 4, "a b c"),
            (NO_GHOSTS, "a b c d e a f", 4, "a b e"),
            // Main spares c, which was read; then it is within its share and small pays again.
            (HALVES, "a b c d e a c f g", 4, "a b d e"),
            // Two bits: after one round c still has a hit; d has none left, but a never had one.
            (HALVES, "a b c d e a c c d f", 4, "a b a"),
            // Ghosts weigh at most 3 (90 % of 4): the fourth pushes a's out, so a enters small.
            (HALVES, "a b c d e f g h a i", 4, "a b e f g h"),
            // Small holds nothing that could go: main pays though it is within its share.
            (HALVES, "a a a b b b c d e", 4, "c"),
            // Weights: the heavy newcomer needs both of small's residents to go.
            (HALVES, "a:2 b:2 c:2 d:2 e:3", 8, "a b"),
            // Heavier than small: takes free room, but nothing goes for it, or only when it returns.
            ("", "a b:8 c:2 c:2 d e", 10, "c c a"),
            (HEAVY, "a b:8 c:2 c:2 d e", 10, "c a b"),
        ];
        for (params, requests, capacity, victims) in cases {
            let got = evictions(&super::NATIVE, params, capacity, requests);
            assert_eq!(got, victims, "{requests} {params}");
        }
    }

    #[test]
    fn keeps_the_contract() {
        for params in ["", HALVES, NO_GHOSTS, ONE_HIT, HEAVY] {
            let report = conformance(&mut native_factory(&super::NATIVE, params));
            assert_eq!(report.first_failure(), None, "{params}");
        }
    }

    #[test]
    fn shares_round_down_and_do_not_overflow() {
        let cases = [
            // whole, percent, share
            (489, 10, 48),
            (489, 90, 440),
            (9, 10, 0),
            (1 << 63, 100, 1 << 63),
            (u64::MAX, 10, u64::MAX / 10),
        ];
        for (whole, percent, share) in cases {
            assert_eq!(percent_of(whole, percent), share, "{percent} % of {whole}");
        }
    }
}
