//! second-chance: FIFO that spares an entry once for every hit it had, up to a limit.
//!
//! Idea: entries stand in a queue in order of arrival. A hit costs nothing but a counter. When room
//! is needed, the oldest entry goes, unless its counter is above zero: then it pays with one count
//! and goes back to the young end. With `chances` = 1 this is CLOCK.
//!
//! Memory: 13 bytes a slot (two links, the counter, the driver's weight). Cost: O(1) an event.
#![cfg_attr(target_arch = "wasm32", no_std)]
#![forbid(unsafe_code)]

use ostler_policy::{Budget, Links, List, PerSlot, Policy, Record, Setup};

/// The state. Entries are known by their slot, a small number that the engine gives them.
#[derive(Debug)]
pub struct SecondChance {
    /// The neighbours of every slot in the queue.
    links: Links,
    /// The queue: the youngest at the head, the oldest at the tail.
    queue: List,
    /// How often each slot will be spared.
    chances: PerSlot<u8>,
    /// How often an entry may be spared at most.
    chances_max: u8,
}

impl Policy for SecondChance {
    type Params = SecondChanceParams;

    /// An empty policy. Slot numbers stay below `setup.slots` until `grow` is called.
    fn new(setup: &Setup, params: &Self::Params) -> Self {
        Self {
            links: Links::new(setup.slots),
            queue: List::new(),
            chances: PerSlot::new(setup.slots),
            chances_max: u8::try_from(params.chances).unwrap_or(u8::MAX),
        }
    }

    /// Larger slot numbers may come from now on.
    fn grow(&mut self, slots: u32) {
        self.links.grow(slots);
        self.chances.grow(slots);
    }

    /// An entry was read, `event.count` times.
    fn hit(&mut self, event: &Record, _: &Budget) {
        let chances = &mut self.chances[event.slot];
        *chances = chances.saturating_add(event.count).min(self.chances_max);
    }

    /// A new entry came in. The driver has evicted whatever had to go for it.
    fn insert(&mut self, event: &Record, _: &Budget) {
        self.chances[event.slot] = 0;
        self.links.push_head(&mut self.queue, event.slot, event.weight);
    }

    /// Room is needed: which entry goes? The driver asks again until everything fits.
    fn victim(&mut self, budget: &Budget) -> u32 {
        loop {
            let oldest = self.queue.tail();
            if self.chances[oldest] == 0 {
                self.remove(oldest, budget);
                return oldest;
            }
            self.chances[oldest] -= 1;
            self.links.move_to_head(&mut self.queue, oldest);
        }
    }

    /// The entry is gone, because the user removed it or it expired: forget it.
    fn remove(&mut self, slot: u32, budget: &Budget) {
        self.links.remove(&mut self.queue, slot, budget.weight(slot));
    }

    /// An entry weighs something else from now on: the queue keeps a sum of weights.
    fn reweigh(&mut self, _: u32, old: u32, new: u32) {
        self.queue.reweigh(old, new);
    }
}

// What the policy says about itself, and on wasm32 the exports of the module.
ostler_policy::export! {
    policy: SecondChance,
    name: "second-chance",
    summary: "Spares the oldest entry once for every hit it had.",
    events: ["hit"],
    bytes_per_slot: 13,
    base_bytes: 262144,
    params: SecondChanceParams {
        chances: int = 3, 1..=255, "How often an entry may be spared.";
    }
}

#[cfg(test)]
mod tests {
    use ostler_policy::check::{conformance, evictions, native_factory};

    #[test]
    fn the_oldest_entry_without_a_chance_goes() {
        let cases = [
            // requests (a key, its weight after a colon), capacity, victims in order
            ("a b c d", 3, "a"),
            ("a a b c d", 3, "b"),
            ("a a a b c d e f", 3, "b c d"),
            ("a a b b c c d", 3, "a"),
            ("a:2 b:1 c:3", 3, "a b"),
        ];
        for (requests, capacity, victims) in cases {
            assert_eq!(evictions(&super::NATIVE, "", capacity, requests), victims, "{requests}");
        }
    }

    #[test]
    fn one_chance_is_clock() {
        let params = r#"{"chances": 1}"#;
        assert_eq!(evictions(&super::NATIVE, params, 3, "a a a b c d e f"), "b c a");
    }

    #[test]
    fn keeps_the_contract() {
        assert_eq!(conformance(&mut native_factory(&super::NATIVE, "")).first_failure(), None);
    }
}
