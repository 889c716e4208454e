//! LRU: evicts the entry that was not used for longest.
//!
//! Idea: one list in order of the last access. A hit moves its entry to the head, a newcomer enters
//! at the head, the victim is the tail.
//!
//! Paper: R. L. Mattson, J. Gecsei, D. R. Slutz, I. L. Traiger, "Evaluation techniques for storage
//! hierarchies", IBM Systems Journal 9(2), 1970.
//!
//! Parameters: none. Memory: 12 bytes a slot (two links, the driver's weight). Cost: O(1) an event;
//! a hit writes up to five links. Weights: as many tails go as the newcomer needs.
#![no_std]
#![forbid(unsafe_code)]

use ostler_policy::{Budget, Links, List, Policy, Record, Setup};

/// Least recently used.
#[derive(Debug)]
pub struct Lru {
    links: Links,
    /// Most recently used at the head.
    recency: List,
}

impl Policy for Lru {
    type Params = LruParams;

    fn new(setup: &Setup, _: &LruParams) -> Self {
        Self { links: Links::new(setup.slots), recency: List::new() }
    }

    fn grow(&mut self, slots: u32) {
        self.links.grow(slots);
    }

    fn hit(&mut self, event: &Record, _: &Budget) {
        self.links.move_to_head(&mut self.recency, event.slot);
    }

    fn insert(&mut self, event: &Record, _: &Budget) {
        self.links.push_head(&mut self.recency, event.slot, event.weight);
    }

    fn victim(&mut self, budget: &Budget) -> u32 {
        let slot = self.recency.tail();
        self.remove(slot, budget);
        slot
    }

    fn remove(&mut self, slot: u32, budget: &Budget) {
        self.links.remove(&mut self.recency, slot, budget.weight(slot));
    }

    fn reweigh(&mut self, _: u32, old: u32, new: u32) {
        self.recency.reweigh(old, new);
    }
}

ostler_policy::export! {
    policy: Lru,
    name: "lru",
    summary: "Evicts the entry that was not used for longest.",
    events: ["hit"],
    bytes_per_slot: 12,
    base_bytes: 262144,
    params: LruParams {}
}

#[cfg(test)]
mod tests {
    use ostler_policy::check::{conformance, evictions, native_factory};

    #[test]
    fn victims_are_the_least_recently_used() {
        let cases = [
            // requests, capacity, victims
            ("a b c a d", 3, "b"),
            ("a b c d e", 3, "a b"),
            ("a b a c a d", 2, "b c"),
            ("a:2 b:1 c:3", 3, "a b"),
            ("a:1 b:1 c:1 d:2", 3, "a b"),
        ];
        for (requests, capacity, victims) in cases {
            assert_eq!(evictions(&super::NATIVE, "", capacity, requests), victims, "{requests}");
        }
    }

    #[test]
    fn keeps_the_contract() {
        assert_eq!(conformance(&mut native_factory(&super::NATIVE, "")).first_failure(), None);
    }
}
