//! ARC: splits the cache between recency and frequency, and learns the split from its ghosts.
//!
//! Idea: two LRU lists of residents, T1 (seen once lately) and T2 (seen again), and behind each a
//! ghost list, B1 and B2, of what it evicted last. A newcomer with a ghost in B1 says that T1 was too
//! short, so its target `p` grows; one with a ghost in B2 says the same of T2, so `p` shrinks. The
//! victim is the tail of T1 while T1 is above its target, else the tail of T2. A hit, and a newcomer
//! with a ghost, go to the head of T2, any other newcomer to the head of T1.
//!
//! Paper: N. Megiddo, D. S. Modha, "ARC: A Self-Tuning, Low Overhead Replacement Cache", FAST 2003.
//!
//! Parameters: none. Memory: 41 bytes a slot: the entry's links 8, tag 4, list 1 bit, the driver's
//! weight 4; a ghost's index 12, links 8, weight 4, list 1 bit, and at most one ghost a slot.
//! Cost: O(1) an event; a hit touches the entry, its neighbours and the head of T2; a newcomer looks
//! up one ghost; a victim writes one ghost and drops as many as the bounds say, 8 at most.
//!
//! Where we differ from the paper, and why:
//! - Weights. The paper has pages. All lists are measured in weight, and `p` moves by the paper's step
//!   times the ghost's weight: a returning kilobyte is worth a kilobyte. With equal weights this is the
//!   paper. `p` is a float, as the ratio of B2 to B1 is none of whole numbers.
//! - Ghosts are bounded in number too, by the slots, since a thousand small ghosts may weigh as
//!   little as one large entry; the longer list gives up its oldest. With equal weights that bound
//!   never bites. Ghosts are known by 32 bits of the hash.
#![no_std]
#![forbid(unsafe_code)]

use ostler_policy::{
    Bits, Budget, HashIndex, Links, List, NO_SLOT, PerSlot, Policy, Record, Setup,
};

/// Ghosts that one victim may push out: 1 in the paper, more only where weights differ or the
/// capacity shrank. A bound, so that no call takes long.
const DROPS_MAX: u32 = 8;

/// One of the two halves of the cache, and of the ghosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    /// T1 and B1: requested once lately.
    Recent,
    /// T2 and B2: requested again.
    Frequent,
}

/// What is known about the newcomer that waits for room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Newcomer {
    /// None waits: an update or a smaller capacity needs the room.
    Absent,
    /// It has no ghost.
    Unknown,
    /// It had a ghost on this side.
    Returns(Side),
}

/// Adaptive replacement cache.
#[derive(Debug)]
pub struct Arc {
    links: Links,
    /// 32 bits of the hash of each resident's key: what becomes of it as a ghost.
    tags: PerSlot<u32>,
    /// The residents in T2.
    in_frequent: Bits,
    /// T1, most recently used at the head.
    recent: List,
    /// T2, most recently used at the head.
    frequent: List,
    ghosts: GhostLists,
    /// The paper's p: the weight that T1 should have, 0 to the capacity.
    target: f64,
    newcomer: Newcomer,
}

impl Arc {
    /// Moves the target after a ghost on `side` proved that side too short.
    fn adapt(&mut self, side: Side, ghost_weight: u32, budget: &Budget) {
        let recent = self.ghosts.recent.weight() as f64;
        let frequent = self.ghosts.frequent.weight() as f64;
        let step = |other: f64, own: f64| (other / own).max(1.0) * f64::from(ghost_weight);
        self.target = match side {
            Side::Recent => (self.target + step(frequent, recent)).min(budget.capacity() as f64),
            Side::Frequent => (self.target - step(recent, frequent)).max(0.0),
        };
    }

    /// The paper's REPLACE: which side gives up its tail.
    fn side_to_shrink(&self) -> Side {
        let weight = self.recent.weight() as f64;
        let is_above = weight > self.target
            || (weight >= self.target && self.newcomer == Newcomer::Returns(Side::Frequent));
        if self.frequent.is_empty() || (is_above && !self.recent.is_empty()) {
            Side::Recent
        } else {
            Side::Frequent
        }
    }

    /// The paper's case IV, for a newcomer without a ghost: keeps T1 and B1 together within the
    /// capacity, and all four lists within two. True where the victim shall leave no ghost.
    fn bound_ghosts(&mut self, budget: &Budget) -> bool {
        let capacity = budget.capacity();
        let incoming = u64::from(budget.incoming());
        let is_full = |policy: &Self| {
            policy.recent.weight() + policy.ghosts.recent.weight() + incoming > capacity
        };
        if is_full(self) {
            if self.ghosts.recent.is_empty() {
                return true;
            }
            for _ in 0..DROPS_MAX {
                if !is_full(self) || !self.ghosts.drop_oldest(Side::Recent) {
                    break;
                }
            }
            return false;
        }
        for _ in 0..DROPS_MAX {
            let total = budget.used() + self.ghosts.weight();
            if total < capacity.saturating_mul(2) || !self.ghosts.drop_oldest(Side::Frequent) {
                break;
            }
        }
        false
    }
}

impl Policy for Arc {
    type Params = ArcParams;

    fn new(setup: &Setup, _: &ArcParams) -> Self {
        Self {
            links: Links::new(setup.slots),
            tags: PerSlot::new(setup.slots),
            in_frequent: Bits::new(setup.slots),
            recent: List::new(),
            frequent: List::new(),
            ghosts: GhostLists::new(setup.slots),
            target: 0.0,
            newcomer: Newcomer::Absent,
        }
    }

    fn grow(&mut self, slots: u32) {
        self.links.grow(slots);
        self.tags.grow(slots);
        self.in_frequent.grow(slots);
        self.ghosts.limit = self.ghosts.limit.max(slots);
    }

    fn hit(&mut self, event: &Record, budget: &Budget) {
        let slot = event.slot;
        if self.in_frequent.set(slot) {
            let weight = budget.weight(slot);
            self.links.remove(&mut self.recent, slot, weight);
            self.links.push_head(&mut self.frequent, slot, weight);
        } else {
            self.links.move_to_head(&mut self.frequent, slot);
        }
    }

    fn admit(&mut self, event: &Record, budget: &Budget) -> bool {
        self.newcomer = match self.ghosts.find(tag_of(event.key_hash)) {
            Some(ghost) => {
                let side = self.ghosts.side(ghost);
                self.adapt(side, self.ghosts.weights[ghost], budget);
                self.ghosts.release(ghost);
                Newcomer::Returns(side)
            }
            None => Newcomer::Unknown,
        };
        true
    }

    fn insert(&mut self, event: &Record, _: &Budget) {
        let slot = event.slot;
        self.tags[slot] = tag_of(event.key_hash);
        if let Newcomer::Returns(_) = self.newcomer {
            self.in_frequent.set(slot);
            self.links.push_head(&mut self.frequent, slot, event.weight);
        } else {
            self.in_frequent.unset(slot);
            self.links.push_head(&mut self.recent, slot, event.weight);
        }
        self.newcomer = Newcomer::Absent;
    }

    fn victim(&mut self, budget: &Budget) -> u32 {
        let leaves_no_ghost = self.newcomer == Newcomer::Unknown && self.bound_ghosts(budget);
        let side = if leaves_no_ghost { Side::Recent } else { self.side_to_shrink() };
        let slot = match side {
            Side::Recent => self.recent.tail(),
            Side::Frequent => self.frequent.tail(),
        };
        self.remove(slot, budget);
        if !leaves_no_ghost {
            self.ghosts.push(self.tags[slot], side, budget.weight(slot));
        }
        slot
    }

    fn remove(&mut self, slot: u32, budget: &Budget) {
        let in_frequent = self.in_frequent.get(slot);
        let list = if in_frequent { &mut self.frequent } else { &mut self.recent };
        self.links.remove(list, slot, budget.weight(slot));
    }

    fn reweigh(&mut self, slot: u32, old: u32, new: u32) {
        let in_frequent = self.in_frequent.get(slot);
        let list = if in_frequent { &mut self.frequent } else { &mut self.recent };
        list.reweigh(old, new);
    }

    fn capacity(&mut self, budget: &Budget) {
        self.target = self.target.min(budget.capacity() as f64);
    }
}

/// B1 and B2 over one set of nodes, so that together they take the memory of one.
#[derive(Debug)]
struct GhostLists {
    index: HashIndex,
    links: Links,
    weights: PerSlot<u32>,
    /// The ghosts in B2.
    in_frequent: Bits,
    /// B1, newest at the head.
    recent: List,
    /// B2, newest at the head.
    frequent: List,
    /// Nodes that were ghosts and are none now.
    free: List,
    /// Nodes ever used: the three lists together hold exactly the nodes below it.
    used: u32,
    /// Ghosts there may be.
    limit: u32,
}

impl GhostLists {
    /// No ghosts, at most `limit` of them. Allocates on use.
    fn new(limit: u32) -> Self {
        Self {
            index: HashIndex::new(0),
            links: Links::new(0),
            weights: PerSlot::new(0),
            in_frequent: Bits::new(0),
            recent: List::new(),
            frequent: List::new(),
            free: List::new(),
            used: 0,
            limit,
        }
    }

    fn find(&self, tag: u32) -> Option<u32> {
        self.index.find(u64::from(tag))
    }

    fn side(&self, ghost: u32) -> Side {
        if self.in_frequent.get(ghost) { Side::Frequent } else { Side::Recent }
    }

    fn weight(&self) -> u64 {
        self.recent.weight() + self.frequent.weight()
    }

    fn list(&mut self, side: Side) -> &mut List {
        match side {
            Side::Recent => &mut self.recent,
            Side::Frequent => &mut self.frequent,
        }
    }

    fn push(&mut self, tag: u32, side: Side, weight: u32) {
        if self.recent.len() + self.frequent.len() >= self.limit {
            let longer = self.recent.len() > self.frequent.len();
            self.drop_oldest(if longer { Side::Recent } else { Side::Frequent });
        }
        let ghost = self.claim();
        self.index.insert(u64::from(tag), ghost);
        self.weights[ghost] = weight;
        match side {
            Side::Recent => {
                self.in_frequent.unset(ghost);
                self.links.push_head(&mut self.recent, ghost, weight);
            }
            Side::Frequent => {
                self.in_frequent.set(ghost);
                self.links.push_head(&mut self.frequent, ghost, weight);
            }
        }
    }

    /// Forgets the oldest ghost of `side`. False where there is none.
    fn drop_oldest(&mut self, side: Side) -> bool {
        let oldest = self.list(side).tail();
        if oldest != NO_SLOT {
            self.release(oldest);
        }
        oldest != NO_SLOT
    }

    /// Forgets `ghost`.
    fn release(&mut self, ghost: u32) {
        let weight = self.weights[ghost];
        self.index.remove(ghost);
        match self.side(ghost) {
            Side::Recent => self.links.remove(&mut self.recent, ghost, weight),
            Side::Frequent => self.links.remove(&mut self.frequent, ghost, weight),
        }
        self.links.push_head(&mut self.free, ghost, 0);
    }

    /// A node in no list: the one freed last, else one never used.
    fn claim(&mut self) -> u32 {
        let freed = self.free.head();
        if freed != NO_SLOT {
            self.links.remove(&mut self.free, freed, 0);
            return freed;
        }
        let ghost = self.used;
        self.used += 1;
        self.index.grow(self.used);
        self.links.grow(self.used);
        self.weights.grow(self.used);
        self.in_frequent.grow(self.used);
        ghost
    }
}

/// The half of a hash that residents keep for their ghosts; the index would not keep more.
#[expect(clippy::cast_possible_truncation, reason = "the tag is 32 bits of the hash, folded")]
const fn tag_of(hash: u64) -> u32 {
    (hash ^ (hash >> 32)) as u32
}

ostler_policy::export! {
    policy: Arc,
    name: "arc",
    summary: "Splits the cache between recent and frequent entries as its ghosts teach it.",
    events: ["hit"],
    bytes_per_slot: 41,
    base_bytes: 458752,
    params: ArcParams {}
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use ostler_policy::check::{Subject, conformance, evictions};
    use ostler_policy::{Driver, Kind, Step as _};
    use std::{boxed::Box, string::String, vec::Vec};

    /// The policy with its invariants checked after every call.
    struct Watched(Driver<Arc>);

    impl Subject for Watched {
        fn step(&mut self, events: &[Record], victims: &mut [u32]) -> Result<usize, String> {
            let count = self.0.step(events, victims);
            validate(self.0.policy(), self.0.budget());
            Ok(count)
        }
    }

    fn validate(policy: &Arc, budget: &Budget) {
        let (recent, frequent) = (&policy.recent, &policy.frequent);
        policy.links.validate(recent);
        policy.links.validate(frequent);
        assert!(policy.links.iter(recent).all(|slot| !policy.in_frequent.get(slot)));
        assert!(policy.links.iter(frequent).all(|slot| policy.in_frequent.get(slot)));
        assert_eq!(recent.len() + frequent.len(), budget.len());
        assert_eq!(recent.weight() + frequent.weight(), budget.used());
        assert!((0.0..=budget.capacity() as f64).contains(&policy.target));
        let ghosts = &policy.ghosts;
        ghosts.index.validate();
        for list in [&ghosts.recent, &ghosts.frequent, &ghosts.free] {
            ghosts.links.validate(list);
        }
        assert_eq!(ghosts.index.len(), ghosts.recent.len() + ghosts.frequent.len());
        assert_eq!(ghosts.used, ghosts.index.len() + ghosts.free.len());
        assert!(ghosts.index.len() <= ghosts.limit);
        for list in [&ghosts.recent, &ghosts.frequent] {
            let weights = ghosts.links.iter(list).map(|ghost| u64::from(ghosts.weights[ghost]));
            assert_eq!(weights.sum::<u64>(), list.weight());
        }
    }

    #[test]
    fn ghosts_move_the_split() {
        let cases = [
            // requests, capacity, victims
            // All seen once: T1 is LRU, and while it fills the cache its victims leave no ghost.
            ("a b c d", 2, "a b"),
            ("a b c a d e", 2, "a b c a"),
            // T2 survives a scan.
            ("a a b b c d e a b", 3, "c d"),
            // c comes back: p = 1, so T1 keeps e, and T2 gives a, then b for f. a comes back: p = 0, and
            // T1 gives e.
            ("a a b b c d e a b c f a", 3, "c d a b e"),
            // As many as the newcomer needs.
            ("a:1 b:1 c:1 d:2", 3, "a b"),
        ];
        for (requests, capacity, victims) in cases {
            assert_eq!(evictions(&NATIVE, "", capacity, requests), victims, "{requests}");
        }
    }

    #[test]
    fn the_target_moves_by_weight() {
        let setup = Setup { capacity: 10, slots: 8, seed: 0 };
        let mut driver = Driver::<Arc>::new(setup, ArcParams {});
        let event =
            |kind, slot, weight, key_hash| Record { weight, key_hash, ..Record::new(kind, slot) };
        let mut victims = [0; 8];
        let mut targets = Vec::new();
        for event in [
            event(Kind::Insert, 0, 2, 10),
            event(Kind::Hit, 0, 2, 10),
            event(Kind::Insert, 1, 3, 11),
            event(Kind::Hit, 1, 3, 11),
            event(Kind::Insert, 2, 3, 12),
            // Needs room: T1 gives 12.
            event(Kind::Insert, 3, 3, 13),
            // 12 returns, of weight 3; B2 is empty, so p grows by 1 × 3. T2 gives 10.
            event(Kind::Insert, 4, 3, 12),
            // 10 returns, of weight 2; B1 is empty, so p falls by 1 × 2.
            event(Kind::Insert, 5, 2, 10),
        ] {
            driver.step(&[event], &mut victims);
            validate(driver.policy(), driver.budget());
            targets.push(driver.policy().target);
        }
        assert_eq!(targets, [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 3.0, 1.0]);
    }

    #[test]
    fn keeps_the_contract() {
        let report = conformance(&mut |setup| {
            Ok(Box::new(Watched(Driver::new(setup, ArcParams {}))) as Box<dyn Subject>)
        });
        assert_eq!(report.first_failure(), None);
    }
}
