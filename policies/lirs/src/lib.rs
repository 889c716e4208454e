//! LIRS: keeps what was requested twice within a short time, rather than what was requested last.
//!
//! Idea: an entry's inter-reference recency (IRR) is how many others were requested between its last
//! two requests. Most of the cache holds entries of low IRR (LIR), a small queue Q the others (HIR);
//! victims come from Q. An HIR entry requested again before the LIR entry that was not used for
//! longest has the lower IRR of the two: they change places. That holds for HIR entries that have
//! been evicted too, so their ghosts are kept.
//!
//! Paper: S. Jiang, X. Zhang, "LIRS: An Efficient Low Inter-reference Recency Set Replacement Policy to
//! Improve Buffer Cache Performance", SIGMETRICS 2002.
//!
//! Parameters: `hir_permille` 10 (Q's share of the capacity, in thousandths).
//! Memory: 56 bytes a slot: links 8, access 8, tag 4, the driver's weight 4; a ghost 24 and its access
//! 8, and at most one ghost a slot. Cost: O(1) an event; a hit on a LIR entry moves one entry in one
//! list; a newcomer looks up one ghost; a victim writes one.
//!
//! Where we differ from the paper, and why:
//! - No stack. The paper's stack S holds LIR, HIR and ghost entries by last access and is pruned until
//!   a LIR entry is at its bottom. After a scan one request may prune a whole cache of ghosts, too long
//!   for one call. But an HIR entry is in the pruned S exactly where its last access is after that of the
//!   oldest LIR entry. So a list of LIR entries and the time of each access say the same, without pruning.
//! - The ghosts' number is bounded by the slots, and their weight with the LIR entries' by twice the
//!   capacity, as in libCacheSim; in the paper S is unbounded. The oldest go first.
//! - Weights. Q's share counts weight, and is at least the residents' mean weight. A newcomer that is
//!   heavier and has no ghost could be in Q for no time at all: it is rejected and its ghost kept, so it
//!   comes in when it is requested again. (libCacheSim refuses all objects above 1 % of the capacity.)
//! - libCacheSim demotes a LIR entry also when an HIR entry outside S is hit; the paper does not, nor do
//!   we. The miss ratios differ by less than 0.1 %.
#![no_std]
#![forbid(unsafe_code)]

use ostler_policy::{Budget, Ghosts, Links, List, NO_SLOT, PerSlot, Policy, Record, Setup};

/// LIR entries that one event may demote: 1 where weights are equal. A bound, so that no call takes
/// long.
const DEMOTIONS_MAX: u32 = 16;

/// When a resident was last accessed, counted in accesses and doubled; plus 1 where it is LIR.
#[derive(Clone, Copy, Debug, Default)]
struct Access(u64);

/// Low inter-reference recency set.
#[derive(Debug)]
pub struct Lirs {
    links: Links,
    accesses: PerSlot<Access>,
    /// 32 bits of the hash of each resident's key: what becomes of it as a ghost.
    tags: PerSlot<u32>,
    /// LIR entries, last accessed at the head.
    lir: List,
    /// Q: HIR entries, last accessed or demoted at the head.
    hir: List,
    /// HIR entries that were evicted while in S, or rejected.
    ghosts: Ghosts,
    /// The time of each ghost's last access, by its node.
    ghost_times: PerSlot<u64>,
    /// The time of the last access.
    now: u64,
    /// The time at the bottom of S: the last access of the oldest LIR entry. Never falls.
    bottom: u64,
    lir_weight_max: u64,
    hir_weight_max: u64,
    hir_permille: u64,
    /// The newcomer has a ghost in S.
    returns: bool,
}

impl Lirs {
    fn tick(&mut self) -> u64 {
        self.now += 1;
        self.now
    }

    fn push_lir(&mut self, slot: u32, weight: u32, time: u64) {
        self.accesses[slot] = Access::lir(time);
        self.links.push_head(&mut self.lir, slot, weight);
    }

    fn push_hir(&mut self, slot: u32, weight: u32, time: u64) {
        self.accesses[slot] = Access::hir(time);
        self.links.push_head(&mut self.hir, slot, weight);
    }

    /// Follows the oldest LIR entry. Where there is none the bottom stays.
    fn raise_bottom(&mut self) {
        let oldest = self.lir.tail();
        if oldest != NO_SLOT {
            self.bottom = self.accesses[oldest].time();
        }
    }

    /// Moves the oldest LIR entry, which there is, to the head of Q.
    fn demote(&mut self, budget: &Budget) {
        let slot = self.lir.tail();
        let weight = budget.weight(slot);
        self.links.remove(&mut self.lir, slot, weight);
        self.push_hir(slot, weight, self.accesses[slot].time());
        self.raise_bottom();
    }

    /// Demotes until the LIR entries have no more than their share, or one is left.
    fn bound_lir(&mut self, budget: &Budget) {
        for _ in 0..DEMOTIONS_MAX {
            if self.lir.weight() <= self.lir_weight_max || self.lir.len() <= 1 {
                break;
            }
            self.demote(budget);
        }
    }

    fn remember(&mut self, tag: u32, weight: u32, time: u64) {
        let ghost = self.ghosts.push(u64::from(tag), weight);
        if ghost != NO_SLOT {
            self.ghost_times.grow(ghost + 1);
            self.ghost_times[ghost] = time;
        }
    }

    fn resize_shares(&mut self, capacity: u64) {
        // Divided first, so that no capacity overflows.
        let share =
            capacity / 1000 * self.hir_permille + capacity % 1000 * self.hir_permille / 1000;
        self.hir_weight_max = share.max(1);
        self.lir_weight_max = capacity.saturating_sub(self.hir_weight_max);
    }

    /// True where a newcomer without a ghost is too heavy for Q, and cannot be LIR without evicting.
    fn is_too_heavy(&self, weight: u32, budget: &Budget) -> bool {
        let weight = u64::from(weight);
        budget.is_over()
            && weight > self.hir_weight_max
            && self.lir.weight() + weight > self.lir_weight_max
            && weight > budget.used() / u64::from(budget.len())
    }
}

impl Policy for Lirs {
    type Params = LirsParams;

    fn new(setup: &Setup, params: &LirsParams) -> Self {
        let mut policy = Self {
            links: Links::new(setup.slots),
            accesses: PerSlot::new(setup.slots),
            tags: PerSlot::new(setup.slots),
            lir: List::new(),
            hir: List::new(),
            ghosts: Ghosts::new(setup.slots),
            ghost_times: PerSlot::new(0),
            now: 0,
            bottom: 0,
            lir_weight_max: 0,
            hir_weight_max: 0,
            hir_permille: params.hir_permille.unsigned_abs(),
            returns: false,
        };
        policy.resize_shares(setup.capacity);
        policy
    }

    fn grow(&mut self, slots: u32) {
        self.links.grow(slots);
        self.accesses.grow(slots);
        self.tags.grow(slots);
        self.ghosts.grow(slots);
    }

    fn hit(&mut self, event: &Record, budget: &Budget) {
        let slot = event.slot;
        let time = self.tick();
        let access = self.accesses[slot];
        if access.is_lir() {
            self.accesses[slot] = Access::lir(time);
            let was_oldest = slot == self.lir.tail();
            self.links.move_to_head(&mut self.lir, slot);
            if was_oldest {
                self.raise_bottom();
            }
            return;
        }
        let weight = budget.weight(slot);
        if access.time() > self.bottom && u64::from(weight) <= self.lir_weight_max {
            self.links.remove(&mut self.hir, slot, weight);
            self.push_lir(slot, weight, time);
            self.bound_lir(budget);
        } else {
            self.accesses[slot] = Access::hir(time);
            self.links.move_to_head(&mut self.hir, slot);
        }
    }

    fn update(&mut self, event: &Record, budget: &Budget) {
        self.hit(event, budget);
        self.bound_lir(budget);
    }

    fn admit(&mut self, event: &Record, budget: &Budget) -> bool {
        let tag = tag_of(event.key_hash);
        let ghost = self.ghosts.find(u64::from(tag));
        self.returns = ghost.is_some_and(|ghost| self.ghost_times[ghost] > self.bottom);
        if ghost.is_some() {
            self.ghosts.take(u64::from(tag));
        }
        if self.returns || !self.is_too_heavy(event.weight, budget) {
            return true;
        }
        let time = self.tick();
        self.remember(tag, event.weight, time);
        false
    }

    fn insert(&mut self, event: &Record, budget: &Budget) {
        let Record { slot, weight, .. } = *event;
        let time = self.tick();
        self.tags[slot] = tag_of(event.key_hash);
        let has_room = self.lir.weight() + u64::from(weight) <= self.lir_weight_max;
        if has_room || (self.returns && u64::from(weight) <= self.lir_weight_max) {
            self.push_lir(slot, weight, time);
            self.bound_lir(budget);
        } else {
            self.push_hir(slot, weight, time);
        }
        self.returns = false;
    }

    fn victim(&mut self, budget: &Budget) -> u32 {
        if self.hir.is_empty() {
            self.demote(budget);
        }
        let slot = self.hir.tail();
        let weight = budget.weight(slot);
        self.links.remove(&mut self.hir, slot, weight);
        let time = self.accesses[slot].time();
        if time > self.bottom {
            self.remember(self.tags[slot], weight, time);
            let stack_max = budget.capacity().saturating_mul(2);
            self.ghosts.trim(stack_max.saturating_sub(self.lir.weight()));
        }
        slot
    }

    fn remove(&mut self, slot: u32, budget: &Budget) {
        let weight = budget.weight(slot);
        if self.accesses[slot].is_lir() {
            self.links.remove(&mut self.lir, slot, weight);
            self.raise_bottom();
        } else {
            self.links.remove(&mut self.hir, slot, weight);
        }
    }

    fn reweigh(&mut self, slot: u32, old: u32, new: u32) {
        let list = if self.accesses[slot].is_lir() { &mut self.lir } else { &mut self.hir };
        list.reweigh(old, new);
    }

    fn capacity(&mut self, budget: &Budget) {
        self.resize_shares(budget.capacity());
    }
}

impl Access {
    const fn lir(time: u64) -> Self {
        Self(time << 1 | 1)
    }

    const fn hir(time: u64) -> Self {
        Self(time << 1)
    }

    const fn is_lir(self) -> bool {
        self.0 & 1 == 1
    }

    const fn time(self) -> u64 {
        self.0 >> 1
    }
}

/// The half of a hash that residents keep for their ghosts; the index would not keep more.
#[expect(clippy::cast_possible_truncation, reason = "the tag is 32 bits of the hash, folded")]
const fn tag_of(hash: u64) -> u32 {
    (hash ^ (hash >> 32)) as u32
}

ostler_policy::export! {
    policy: Lirs,
    name: "lirs",
    summary: "Keeps what was requested twice within a short time.",
    events: ["hit"],
    bytes_per_slot: 56,
    base_bytes: 458752,
    params: LirsParams {
        hir_permille: int = 10, 1..=500, "Share of the queue of newcomers, in thousandths of the capacity.";
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use ostler_policy::check::{Batch, ReferenceCache, Subject, conformance, evictions};
    use ostler_policy::{Driver, Rng, Step as _};
    use std::{boxed::Box, string::String, vec::Vec};

    /// The policy with its invariants checked after every call.
    struct Watched(Driver<Lirs>);

    impl Watched {
        fn subject(setup: Setup, hir_permille: i64) -> Box<dyn Subject> {
            Box::new(Self(Driver::new(setup, LirsParams { hir_permille })))
        }
    }

    impl Subject for Watched {
        fn step(&mut self, events: &[Record], victims: &mut [u32]) -> Result<usize, String> {
            let count = self.0.step(events, victims);
            validate(self.0.policy(), self.0.budget());
            Ok(count)
        }
    }

    fn validate(policy: &Lirs, budget: &Budget) {
        policy.links.validate(&policy.lir);
        policy.links.validate(&policy.hir);
        policy.ghosts.validate();
        assert_eq!(policy.lir.len() + policy.hir.len(), budget.len());
        assert_eq!(policy.lir.weight() + policy.hir.weight(), budget.used());
        let mut younger = u64::MAX;
        for slot in policy.links.iter(&policy.lir) {
            assert!(policy.accesses[slot].is_lir());
            assert!(policy.accesses[slot].time() < younger, "LIR entries are in order of access");
            younger = policy.accesses[slot].time();
        }
        assert!(policy.bottom <= younger, "the bottom is the oldest LIR entry's access");
        assert!(policy.links.iter(&policy.hir).all(|slot| !policy.accesses[slot].is_lir()));
    }

    /// LIRS with the paper's stack, for equal weights: the oracle.
    struct Plain {
        capacity: usize,
        lir_max: usize,
        /// S, bottom first: residents and ghosts.
        stack: Vec<u64>,
        /// Q, next victim first.
        queue: Vec<u64>,
        lir: Vec<u64>,
        evicted: Vec<u64>,
    }

    impl Plain {
        fn request(&mut self, key: u64) {
            let was_in_stack = self.stack.contains(&key);
            if self.lir.contains(&key) {
                self.move_to_top(key);
            } else if self.queue.contains(&key) {
                self.move_to_top(key);
                self.queue.retain(|&other| other != key);
                if was_in_stack { self.promote(key) } else { self.queue.push(key) }
            } else {
                // Takes the key's own ghost off the stack before another may become one.
                self.stack.retain(|&other| other != key);
                if self.lir.len() + self.queue.len() == self.capacity {
                    self.evict();
                }
                self.stack.push(key);
                if was_in_stack || self.lir.len() < self.lir_max {
                    self.promote(key);
                } else {
                    self.queue.push(key);
                }
            }
            self.prune();
        }

        fn move_to_top(&mut self, key: u64) {
            self.stack.retain(|&other| other != key);
            self.stack.push(key);
        }

        fn promote(&mut self, key: u64) {
            self.lir.push(key);
            if self.lir.len() > self.lir_max {
                let bottom = self.stack.remove(0);
                self.lir.retain(|&other| other != bottom);
                self.queue.push(bottom);
            }
        }

        fn evict(&mut self) {
            self.evicted.push(self.queue.remove(0));
            let is_ghost = |key: &u64| !self.lir.contains(key) && !self.queue.contains(key);
            let ghosts = self.stack.iter().filter(|key| is_ghost(key)).count();
            if ghosts > 2 * self.capacity - self.lir.len() {
                let oldest = self.stack.iter().position(is_ghost).unwrap();
                self.stack.remove(oldest);
            }
        }

        fn prune(&mut self) {
            while !self.lir.contains(&self.stack[0]) {
                self.stack.remove(0);
            }
        }
    }

    #[test]
    fn decides_as_the_stack_does() {
        for (capacity, hir_permille, keys) in
            [(3, 10, 8), (10, 10, 30), (10, 400, 60), (40, 100, 90)]
        {
            let setup = Setup { capacity, slots: 500, seed: 0 };
            let subject = Watched::subject(setup, hir_permille);
            let mut cache = ReferenceCache::new(subject, capacity, 500, Batch::Exact);
            let hir_max = (capacity * hir_permille.unsigned_abs() / 1000).max(1);
            let mut plain = Plain {
                capacity: capacity as usize,
                lir_max: (capacity - hir_max) as usize,
                stack: Vec::new(),
                queue: Vec::new(),
                lir: Vec::new(),
                evicted: Vec::new(),
            };
            let mut rng = Rng::new(capacity);
            for step in 0..5000 {
                // Skewed keys that drift, so that ghosts of all ages return.
                let key = u64::from(rng.below(keys)) * u64::from(rng.below(keys)) / u64::from(keys);
                let key = key + step / 300;
                plain.request(key);
                cache.request(key, 1).unwrap();
            }
            cache.flush().unwrap();
            assert!(plain.evicted.len() > 500, "the trace is hard enough");
            assert_eq!(cache.take_evicted(), plain.evicted, "capacity {capacity}");
        }
    }

    #[test]
    fn victims_have_high_recency_between_references() {
        // Capacity 3: two LIR entries and one in Q. Requests, victims.
        let cases = [
            // The first two are LIR; one-timers pass through Q.
            ("a b c d e", "c d"),
            // A loop one larger than the cache: two of the four always hit.
            ("a b c d a b c d a b", "c d c"),
            // c's ghost is younger than the oldest LIR entry, a: they change places, a leaves from Q.
            ("a b c d c e", "c d a"),
            // The same while c is resident.
            ("a b c c d", "a"),
            // c is older than both LIR entries: its hit keeps it in Q, and makes it young.
            ("a b c a b c d", "c"),
            ("a b c a b c d c e", "c d a"),
            // The paper's table of references, in which D and A end as LIR under this order of rules.
            ("a d b c b a d a e", "b c b"),
        ];
        for (requests, victims) in cases {
            assert_eq!(evictions(&NATIVE, "", 3, requests), victims, "{requests}");
        }
    }

    #[test]
    fn shares_count_weight() {
        // Capacity 6: 5 for LIR entries and 1 for Q.
        let cases = [
            // c is heavier than Q, but not than the mean: it comes in, and the oldest LIR entry leaves.
            ("a:2 b:3 c:2", "a"),
            // Heavier than the mean too: rejected, and LIR when it returns.
            ("a:2 b:3 c:3", "c"),
            ("a:2 b:3 c:3 c:3", "c a"),
            ("a:2 b:3 c:3 c:3 d:1", "c a b"),
        ];
        for (requests, victims) in cases {
            assert_eq!(evictions(&NATIVE, "", 6, requests), victims, "{requests}");
        }
    }

    #[test]
    fn keeps_the_contract() {
        for hir_permille in [1, 10, 500] {
            let mut factory = |setup| Ok(Watched::subject(setup, hir_permille));
            assert_eq!(conformance(&mut factory).first_failure(), None, "{hir_permille}");
        }
    }
}
