//! FIFO: evicts the entry that came in first.
//!
//! Idea: a queue in order of insertion. Hits change nothing, so the policy does not even ask to hear
//! them. The floor under every comparison.
//!
//! Paper: L. A. Belady, "A study of replacement algorithms for a virtual-storage computer", IBM
//! Systems Journal 5(2), 1966.
//!
//! Parameters: none. Memory: 12 bytes a slot (two links, the driver's weight). Cost: O(1) an insert,
//! nothing a hit. Weights: as many oldest entries go as the newcomer needs. An overwrite keeps the
//! entry's place.
#![no_std]
#![forbid(unsafe_code)]

use ostler_policy::{Budget, Links, List, Policy, Record, Setup};

/// First in, first out.
#[derive(Debug)]
pub struct Fifo {
    links: Links,
    /// The newest at the head.
    queue: List,
}

impl Policy for Fifo {
    type Params = FifoParams;

    fn new(setup: &Setup, _: &FifoParams) -> Self {
        Self { links: Links::new(setup.slots), queue: List::new() }
    }

    fn grow(&mut self, slots: u32) {
        self.links.grow(slots);
    }

    fn hit(&mut self, _: &Record, _: &Budget) {}

    fn insert(&mut self, event: &Record, _: &Budget) {
        self.links.push_head(&mut self.queue, event.slot, event.weight);
    }

    fn victim(&mut self, budget: &Budget) -> u32 {
        let slot = self.queue.tail();
        self.remove(slot, budget);
        slot
    }

    fn remove(&mut self, slot: u32, budget: &Budget) {
        self.links.remove(&mut self.queue, slot, budget.weight(slot));
    }

    fn reweigh(&mut self, _: u32, old: u32, new: u32) {
        self.queue.reweigh(old, new);
    }
}

ostler_policy::export! {
    policy: Fifo,
    name: "fifo",
    summary: "Evicts the entry that came in first.",
    events: [],
    bytes_per_slot: 12,
    base_bytes: 262144,
    params: FifoParams {}
}

#[cfg(test)]
mod tests {
    use ostler_policy::check::{conformance, evictions, native_factory};

    #[test]
    fn victims_leave_in_order_of_arrival() {
        let cases = [
            // requests, capacity, victims
            ("a b c a d", 3, "a"),
            ("a b c d e", 3, "a b"),
            ("a a a b c", 2, "a"),
            ("a:2 b:1 c:3", 3, "a b"),
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
