//! SIEVE: one queue and a hand that sieves out what was not read.
//!
//! Idea: newcomers enter at the head. A hit marks its entry and moves nothing. The hand goes from
//! the tail towards the head, clears the marks it passes and takes the first entry without one. What
//! survives stays where it is, so old popular entries gather behind the hand and newcomers are
//! looked at soon: quick demotion with one queue and one bit.
//!
//! Paper: Y. Zhang, J. Yang, Y. Yue, Y. Vigfusson, K. V. Rashmi, "SIEVE is simpler than LRU: an
//! efficient turn-key eviction algorithm for web caches", NSDI 2024.
//!
//! Parameters: none. Memory: 13 bytes a slot (8 two links, 1 the mark, 4 the driver's weight). Cost:
//! a hit is one store of a byte; an eviction passes each marked entry once, and every pass was paid
//! for by a hit, but a single call may pass all residents. Weights: the hand goes on until the
//! newcomer fits. An overwrite is an access.
//!
//! Differences from the paper: none.
#![no_std]
#![forbid(unsafe_code)]

use ostler_policy::{Budget, Links, List, NO_SLOT, PerSlot, Policy, Record, Setup};

/// One queue, one mark, one hand.
#[derive(Debug)]
pub struct Sieve {
    links: Links,
    /// Newest at the head.
    queue: List,
    /// The next entry to look at; [`NO_SLOT`] stands for the tail.
    hand: u32,
    /// True where the entry was read since the hand last passed it.
    visited: PerSlot<bool>,
}

impl Policy for Sieve {
    type Params = SieveParams;

    fn new(setup: &Setup, _: &SieveParams) -> Self {
        Self {
            links: Links::new(setup.slots),
            queue: List::new(),
            hand: NO_SLOT,
            visited: PerSlot::new(setup.slots),
        }
    }

    fn grow(&mut self, slots: u32) {
        self.links.grow(slots);
        self.visited.grow(slots);
    }

    #[inline]
    fn hit(&mut self, event: &Record, _: &Budget) {
        self.visited[event.slot] = true;
    }

    #[inline]
    fn insert(&mut self, event: &Record, _: &Budget) {
        self.visited[event.slot] = false;
        self.links.push_head(&mut self.queue, event.slot, event.weight);
    }

    #[inline]
    fn victim(&mut self, budget: &Budget) -> u32 {
        loop {
            let slot = if self.hand == NO_SLOT { self.queue.tail() } else { self.hand };
            self.hand = self.links.prev(slot);
            let visited = &mut self.visited[slot];
            if !*visited {
                self.links.remove(&mut self.queue, slot, budget.weight(slot));
                return slot;
            }
            *visited = false;
        }
    }

    fn remove(&mut self, slot: u32, budget: &Budget) {
        if self.hand == slot {
            self.hand = self.links.prev(slot);
        }
        self.links.remove(&mut self.queue, slot, budget.weight(slot));
    }

    fn reweigh(&mut self, _: u32, old: u32, new: u32) {
        self.queue.reweigh(old, new);
    }
}

ostler_policy::export! {
    policy: Sieve,
    name: "sieve",
    summary: "Evicts the first entry on its way from old to new that was not read since it last looked.",
    events: ["hit"],
    bytes_per_slot: 13,
    base_bytes: 262144,
    params: SieveParams {}
}

#[cfg(test)]
mod tests {
    use ostler_policy::check::{conformance, evictions, native_factory};

    #[test]
    fn victims_had_no_hit_since_the_hand_passed() {
        let cases = [
            // requests, capacity, victims
            ("a b c d e", 3, "a b"),
            ("a b c a d", 3, "b"),
            // a survives in its place and the hand stands at c: unlike CLOCK, a is not next.
            ("a b c a d e f", 3, "b c d"),
            // All were read: the hand goes round once and takes the tail.
            ("a b c a b c d", 3, "a"),
            // The hand left the head behind it and starts at the tail again.
            ("a b a b c a d", 2, "a b c"),
            // a, b and g were read: the hand passes a and b, takes c, spares d, takes e and f.
            ("a b c d e f g a b g h a d i b j", 7, "c e f"),
            ("a:2 b:1 c:3", 3, "a b"),
            ("a:1 b:1 c:1 b d:2", 3, "a c"),
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
