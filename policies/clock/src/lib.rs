//! CLOCK: FIFO with a second chance for entries that were read.
//!
//! Idea: the entries stand in a circle, a hand goes round. A hit raises its entry's counter and
//! moves nothing. To evict, the hand lowers the counters it passes and takes the first entry whose
//! counter is 0. A newcomer enters right behind the hand, so it is the last to be looked at. The same
//! decisions as "FIFO with reinsertion", without moving what is reinserted.
//!
//! Papers: F. J. Corbató, "A paging experiment with the Multics system", MIT Project MAC report
//! MAC-M-384, 1968 (one bit); A. J. Smith, "Sequentiality and prefetching in database systems", ACM
//! TODS 3(3), 1978 (counters of several bits).
//!
//! Parameters: `counter_bits` (1), the width of the counter, so that an entry is spared at most
//! `2^bits - 1` times; `initial_count` (0), the counter of a newcomer, at most what the bits hold.
//! Memory: 13 bytes a slot (8 two links, 1 the counter, 4 the driver's weight). Cost: a hit is one
//! load and one store of a byte; an eviction passes each spared entry once, and every pass was paid
//! for by a hit, but a single call may pass all residents `2^bits - 1` times. Weights: the hand goes
//! on until the newcomer fits. An overwrite is an access.
//!
//! Differences from the paper: none. A coalesced hit counts as many accesses as it stands for.
#![no_std]
#![forbid(unsafe_code)]

use ostler_policy::{Budget, Links, List, NO_SLOT, PerSlot, Policy, Record, Setup};

/// Second chance.
#[derive(Debug)]
pub struct Clock {
    links: Links,
    /// The circle, cut open somewhere: the hand goes from head to tail, then starts at the head.
    circle: List,
    /// The next entry to look at; [`NO_SLOT`] stands for the head.
    hand: u32,
    /// How often each entry will still be spared.
    counters: PerSlot<u8>,
    counter_max: u8,
    counter_initial: u8,
}

impl Policy for Clock {
    type Params = ClockParams;

    fn new(setup: &Setup, params: &ClockParams) -> Self {
        let counter_max = (1u8 << params.counter_bits.clamp(1, 4)) - 1;
        let initial = params.initial_count.clamp(0, i64::from(counter_max));
        Self {
            links: Links::new(setup.slots),
            circle: List::new(),
            hand: NO_SLOT,
            counters: PerSlot::new(setup.slots),
            counter_max,
            counter_initial: u8::try_from(initial).unwrap_or(counter_max),
        }
    }

    fn grow(&mut self, slots: u32) {
        self.links.grow(slots);
        self.counters.grow(slots);
    }

    #[inline]
    fn hit(&mut self, event: &Record, _: &Budget) {
        let counter = &mut self.counters[event.slot];
        *counter = counter.saturating_add(event.count).min(self.counter_max);
    }

    #[inline]
    fn insert(&mut self, event: &Record, _: &Budget) {
        self.counters[event.slot] = self.counter_initial;
        if self.hand == NO_SLOT {
            self.links.push_tail(&mut self.circle, event.slot, event.weight);
        } else {
            self.links.insert_before(&mut self.circle, self.hand, event.slot, event.weight);
        }
    }

    #[inline]
    fn victim(&mut self, budget: &Budget) -> u32 {
        loop {
            let slot = if self.hand == NO_SLOT { self.circle.head() } else { self.hand };
            self.hand = self.links.next(slot);
            let counter = &mut self.counters[slot];
            if *counter == 0 {
                self.links.remove(&mut self.circle, slot, budget.weight(slot));
                return slot;
            }
            *counter -= 1;
        }
    }

    fn remove(&mut self, slot: u32, budget: &Budget) {
        if self.hand == slot {
            self.hand = self.links.next(slot);
        }
        self.links.remove(&mut self.circle, slot, budget.weight(slot));
    }

    fn reweigh(&mut self, _: u32, old: u32, new: u32) {
        self.circle.reweigh(old, new);
    }
}

ostler_policy::export! {
    policy: Clock,
    name: "clock",
    summary: "Evicts in order of arrival, but spares entries that were read since it last looked.",
    events: ["hit"],
    bytes_per_slot: 13,
    base_bytes: 262144,
    params: ClockParams {
        counter_bits: int = 1, 1..=4, "Width of an entry's hit counter, bits.";
        initial_count: int = 0, 0..=15, "Counter of a newcomer; at most what the bits hold.";
    }
}

#[cfg(test)]
mod tests {
    use ostler_policy::check::{conformance, evictions, native_factory};

    const TWO_BITS: &str = r#"{"counter_bits": 2}"#;
    const SPARED_ONCE: &str = r#"{"initial_count": 1}"#;

    #[test]
    fn victims_had_no_hit_since_the_hand_passed() {
        let cases = [
            // parameters, requests, capacity, victims
            ("", "a b c d e", 3, "a b"),
            ("", "a b c a d", 3, "b"),
            // All were read: the hand goes round once and takes where it began.
            ("", "a b c a b c d", 3, "a"),
            // b goes, and d stands behind the hand, so c is next; a has lost its mark.
            ("", "a b c a d e f", 3, "b c a"),
            // One bit: reading a twice spares it once.
            ("", "a b a a c d", 2, "b a"),
            (TWO_BITS, "a b a a c d", 2, "b c"),
            (TWO_BITS, "a b a a c d e", 2, "b c a"),
            (SPARED_ONCE, "a b c", 2, "a"),
            // Looking for the first victim used up b's initial count too, so b goes before c.
            (SPARED_ONCE, "a b c d", 2, "a b"),
            ("", "a:2 b:1 c:3", 3, "a b"),
            ("", "a:1 b:1 c:1 b d:2", 3, "a c"),
        ];
        for (params, requests, capacity, victims) in cases {
            let got = evictions(&super::NATIVE, params, capacity, requests);
            assert_eq!(got, victims, "{requests} {params}");
        }
    }

    #[test]
    fn keeps_the_contract() {
        for params in ["", TWO_BITS, SPARED_ONCE] {
            let report = conformance(&mut native_factory(&super::NATIVE, params));
            assert_eq!(report.first_failure(), None, "{params}");
        }
    }
}
