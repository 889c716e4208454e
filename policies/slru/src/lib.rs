//! Segmented LRU: an entry climbs one list a hit and sinks when the lists above it are full.
//!
//! Idea: the capacity is cut into equal segments, each a recency list. A newcomer enters the lowest
//! segment with room. A hit moves an entry to the head of the next higher segment; a segment over
//! its share gives its tail to the head of the one below. What sinks out of the lowest segment is
//! evicted first, then the tail of the lowest segment: what was read once leaves before what was
//! read again.
//!
//! Papers: R. Karedla, J. S. Love, B. G. Wherry, "Caching strategies to improve disk system
//! performance", IEEE Computer 27(3), 1994 (two segments); Q. Huang et al., "An analysis of
//! Facebook photo caching", SOSP 2013 (four, S4LRU).
//!
//! Parameters: `segments`, 4. Memory: 13 bytes a slot (8 two links, 1 the list it is in, 4 the
//! driver's weight). Cost: O(segments) an insert and, amortised, a hit; a promotion never moves
//! more than 1,024 other entries.
//!
//! As in libCacheSim, nothing is evicted for an entry heavier than a segment, since it would flush
//! every segment that it passes: it is rejected. Where this differs from libCacheSim:
//! - There what sinks out of the lowest segment is evicted at once, during a hit. Here hits evict
//!   nothing: it waits until room is needed, and a hit before that counts as one; it then starts
//!   again as a newcomer, so the segments hold exactly what they hold there. Those extra hits show
//!   where the capacity is small and not a multiple of the segments (`lirs_cpp` at 122 objects: a
//!   miss ratio of 20.44 % here, 20.57 % there, 12 of 9,047 requests) and where weights are large
//!   (`web_elastic_apache` at 10 % of its bytes: 17.94 % and 18.71 %). In object mode
//!   all other ratios from 100 objects up agree within 0.15 % of their value.
//! - There an entry heavier than a segment does not even get free room.
//! - A promotion moves a bounded number of entries; what is still over its share is settled by
//!   later ones. That matters only after the capacity shrank.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::vec::Vec;

use ostler_policy::{Budget, Links, List, PerSlot, Policy, Record, Setup};

/// The list of entries that sank out of the lowest segment. Segments are the lists above it.
const LEAVING: usize = 0;
/// The list that is the lowest segment.
const LOWEST: usize = 1;
/// Entries that one promotion may push down, over all segments.
const DEMOTIONS_MAX: u32 = 1024;

/// Segmented LRU.
#[derive(Debug)]
pub struct Slru {
    links: Links,
    /// The index in `lists` of each resident.
    list_of: PerSlot<u8>,
    /// [`LEAVING`], then the segments from the lowest; most recently used at the head.
    lists: Vec<List>,
    /// Weight that each segment may hold, at least 1.
    share: u64,
}

impl Slru {
    /// Gives every segment its part of `capacity`. A part that rounds to zero still takes an entry
    /// of weight 1; the cache's capacity bounds them all anyway.
    fn resize(&mut self, capacity: u64) {
        let segments = self.lists.len() - LOWEST;
        self.share = (capacity / segments as u64).max(1);
    }

    /// Puts `slot`, which is in no list, at the head of `list`.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the parameter allows at most 16 segments")]
    fn place(&mut self, list: usize, slot: u32, weight: u32) {
        self.list_of[slot] = list as u8;
        self.links.push_head(&mut self.lists[list], slot, weight);
    }

    /// Puts `slot`, which is in no list, where newcomers go: the lowest segment with room.
    fn place_newcomer(&mut self, slot: u32, weight: u32) {
        let room = |list: &List| list.weight() + u64::from(weight) <= self.share;
        let with_room = self.lists[LOWEST..].iter().position(room);
        self.place(LOWEST + with_room.unwrap_or(0), slot, weight);
    }

    /// One hit. False where `slot` can rise no further and only moved to the head of its segment.
    fn promote(&mut self, slot: u32, budget: &Budget) -> bool {
        let list = usize::from(self.list_of[slot]);
        let weight = budget.weight(slot);
        if list == LEAVING {
            self.links.remove(&mut self.lists[list], slot, weight);
            self.place_newcomer(slot, weight);
            return true;
        }
        // An entry can outgrow a segment by an update; nothing above would hold it.
        if list + 1 == self.lists.len() || u64::from(weight) > self.share {
            self.links.move_to_head(&mut self.lists[list], slot);
            return false;
        }
        self.links.remove(&mut self.lists[list], slot, weight);
        self.place(list + 1, slot, weight);
        self.settle(list + 1, budget);
        true
    }

    /// Makes `highest` fit its share by giving tails to the list below, and so on while that pushes
    /// the next one over.
    fn settle(&mut self, highest: usize, budget: &Budget) {
        let mut demotions = 0;
        for list in (LOWEST..=highest).rev() {
            if self.lists[list].weight() <= self.share {
                return;
            }
            while self.lists[list].weight() > self.share {
                if demotions == DEMOTIONS_MAX {
                    return;
                }
                demotions += 1;
                let slot = self.lists[list].tail();
                let weight = budget.weight(slot);
                self.links.remove(&mut self.lists[list], slot, weight);
                self.place(list - 1, slot, weight);
            }
        }
    }
}

impl Policy for Slru {
    type Params = SlruParams;

    fn new(setup: &Setup, params: &SlruParams) -> Self {
        let mut policy = Self {
            links: Links::new(setup.slots),
            list_of: PerSlot::new(setup.slots),
            lists: (0..=params.segments).map(|_| List::new()).collect(),
            share: 0,
        };
        policy.resize(setup.capacity);
        policy
    }

    fn grow(&mut self, slots: u32) {
        self.links.grow(slots);
        self.list_of.grow(slots);
    }

    fn hit(&mut self, event: &Record, budget: &Budget) {
        for _ in 0..event.count.max(1) {
            if !self.promote(event.slot, budget) {
                return;
            }
        }
    }

    /// A heavy newcomer gets free room, but nothing is evicted for it.
    fn admit(&mut self, event: &Record, budget: &Budget) -> bool {
        u64::from(event.weight) <= self.share || !budget.is_over()
    }

    fn insert(&mut self, event: &Record, _: &Budget) {
        self.place_newcomer(event.slot, event.weight);
    }

    fn victim(&mut self, budget: &Budget) -> u32 {
        let lowest = self.lists.iter().find(|list| !list.is_empty());
        let slot = lowest.expect("invariant: a victim is asked of a cache with residents").tail();
        self.remove(slot, budget);
        slot
    }

    fn remove(&mut self, slot: u32, budget: &Budget) {
        let list = usize::from(self.list_of[slot]);
        self.links.remove(&mut self.lists[list], slot, budget.weight(slot));
    }

    fn reweigh(&mut self, slot: u32, old: u32, new: u32) {
        self.lists[usize::from(self.list_of[slot])].reweigh(old, new);
    }

    fn capacity(&mut self, budget: &Budget) {
        self.resize(budget.capacity());
    }
}

ostler_policy::export! {
    policy: Slru,
    name: "slru",
    summary: "Segmented LRU: a hit lifts an entry one segment, the lowest segment evicts.",
    events: ["hit"],
    bytes_per_slot: 13,
    base_bytes: 262144,
    params: SlruParams {
        segments: int = 4, 1..=16, "Number of equal segments; 1 is LRU.";
    }
}

#[cfg(test)]
mod tests {
    use ostler_policy::check::{conformance, evictions, native_factory};

    const ONE: &str = r#"{"segments": 1}"#;
    const TWO: &str = r#"{"segments": 2}"#;
    const FOUR: &str = "";

    #[test]
    fn victims_leave_the_lowest_segment() {
        let cases = [
            // segments, requests, capacity, victims
            // One segment is LRU.
            (ONE, "a b c a d", 3, "b"),
            // The cache fills from below, c and d above a and b; what is above is safe from a scan.
            (TWO, "a b c d e f g", 4, "a b e"),
            // a rises, so c sinks above b.
            (TWO, "a b c d a e f g", 4, "b c e"),
            // Four segments of one: b climbs to the top through c and d, which sink by one each.
            (FOUR, "a b c d b b e f g", 4, "a e f"),
            // e is one too many for the lowest: a's hit lets it sink out, so it is evicted first,
            (FOUR, "a b c d e a f", 5, "e"),
            // unless a hit makes it a newcomer again.
            (FOUR, "a b c d e a e f", 5, "b"),
            // Heavier than a segment: gets free room, and is rejected where there is none.
            (FOUR, "a b:2 c d:2 e", 4, "d a"),
            // A share that rounds to zero counts as one.
            (FOUR, "a b a c d", 2, "b c"),
        ];
        for (params, requests, capacity, victims) in cases {
            let evicted = evictions(&super::NATIVE, params, capacity, requests);
            assert_eq!(evicted, victims, "{requests} in {capacity}, {params}");
        }
    }

    #[test]
    fn keeps_the_contract() {
        for params in [FOUR, ONE, r#"{"segments": 16}"#] {
            let report = conformance(&mut native_factory(&super::NATIVE, params));
            assert_eq!(report.first_failure(), None, "{params}");
        }
    }
}
