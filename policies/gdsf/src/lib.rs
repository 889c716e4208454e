//! GDSF: evicts what brings the fewest hits for its size, and lets old merits fade.
//!
//! Idea: an entry's value is `inflation + uses × 1,000,000 / weight`: many small popular entries
//! are worth more than one large one. The victim has the smallest value, and inflation becomes that
//! value, so that new entries and new hits start from a higher floor: what is not used any more is
//! overtaken in the end. Values live in a heap.
//!
//! Papers: L. Cherkasova, "Improving WWW proxies performance with Greedy-Dual-Size-Frequency
//! caching policy", HP Labs HPL-98-69R1, 1998; P. Cao, S. Irani, "Cost-aware WWW proxy caching
//! algorithms", USENIX Symposium on Internet Technologies and Systems, 1997 (the inflation).
//!
//! Parameters: none. Memory: 32 bytes a slot (24 the heap, 4 the uses, 4 the driver's weight).
//! Cost: O(log residents) an event but a miss. Of equal values the one set longest ago goes first.
//! Uses stop at 2^32 - 1.
//!
//! As in libCacheSim, the newcomer takes part in its own eviction round: it is rejected where its
//! value is below all that are left. That spares the cache from large entries read once. Every miss
//! costs 1 here, so the aim is the hit ratio over requests; the paper also knows other costs.
#![no_std]
#![forbid(unsafe_code)]

use ostler_policy::{Budget, PerSlot, Policy, Record, Setup, SlotHeap};

/// What one use of an entry of weight 1 is worth. The unit of values is arbitrary; this one makes
/// the sums of libCacheSim, to the bit.
const USE_VALUE: f64 = 1.0e6;

/// A newcomer between its admission and its insertion.
#[derive(Clone, Copy, Debug)]
struct Newcomer {
    slot: u32,
    /// Its value, with the inflation from before the evictions that make room for it.
    value: f64,
}

/// Greedy-Dual-Size-Frequency.
#[derive(Debug)]
pub struct Gdsf {
    /// Residents by value.
    values: SlotHeap,
    /// Uses of each resident, the insertion included.
    uses: PerSlot<u32>,
    /// Value of the last victim: never falls.
    inflation: f64,
    /// The newcomer that waits for room, if any.
    newcomer: Option<Newcomer>,
}

impl Gdsf {
    /// What an entry with so many `uses` is worth now.
    #[inline]
    fn value(&self, uses: u32, weight: u32) -> f64 {
        self.inflation + f64::from(uses) * USE_VALUE / f64::from(weight)
    }
}

impl Policy for Gdsf {
    type Params = GdsfParams;

    fn new(setup: &Setup, _: &GdsfParams) -> Self {
        Self {
            values: SlotHeap::new(setup.slots),
            uses: PerSlot::new(setup.slots),
            inflation: 0.0,
            newcomer: None,
        }
    }

    fn grow(&mut self, slots: u32) {
        self.values.grow(slots);
        self.uses.grow(slots);
    }

    fn hit(&mut self, event: &Record, budget: &Budget) {
        let uses = self.uses[event.slot].saturating_add(u32::from(event.count));
        self.uses[event.slot] = uses;
        let value = self.value(uses, budget.weight(event.slot));
        self.values.set(event.slot, SlotHeap::order_f64(value));
    }

    fn admit(&mut self, event: &Record, _: &Budget) -> bool {
        self.newcomer = Some(Newcomer { slot: event.slot, value: self.value(1, event.weight) });
        true
    }

    fn insert(&mut self, event: &Record, _: &Budget) {
        // An adopted entry was not admitted.
        let newcomer = self.newcomer.take();
        let value = newcomer.map_or_else(|| self.value(1, event.weight), |waiting| waiting.value);
        self.uses[event.slot] = 1;
        self.values.set(event.slot, SlotHeap::order_f64(value));
    }

    fn victim(&mut self, _: &Budget) -> u32 {
        let lowest = self.values.peek().map_or(f64::INFINITY, |(_, order)| f64::from_bits(order));
        if let Some(newcomer) = self.newcomer.take_if(|newcomer| newcomer.value < lowest) {
            self.inflation = newcomer.value;
            return newcomer.slot;
        }
        let popped = self.values.pop();
        let (slot, _) =
            popped.expect("invariant: a victim is asked for while something is resident");
        self.inflation = lowest;
        slot
    }

    fn remove(&mut self, slot: u32, _: &Budget) {
        self.values.remove(slot);
    }
}

ostler_policy::export! {
    policy: Gdsf,
    name: "gdsf",
    summary: "Evicts what brings the fewest hits for its size; old merits fade.",
    events: ["hit"],
    bytes_per_slot: 32,
    base_bytes: 393216,
    params: GdsfParams {}
}

#[cfg(test)]
mod tests {
    use ostler_policy::check::{conformance, evictions, native_factory};

    #[test]
    fn victims_are_worth_least_for_their_size() {
        let cases = [
            // requests, capacity, victims
            // Equal weights: uses above the floor, then age.
            ("a b c d e", 3, "a b"),
            ("a a b c d", 3, "b"),
            // Inflation: the three uses of a from the beginning are overtaken in the end.
            ("a a a b c d e f g", 2, "b c d e a"),
            // The large one goes although it was used last.
            ("a:1 b:8 c:2", 10, "b"),
            // A large newcomer worth less than all that is there is rejected.
            ("a:5 b:5 a b c:10", 10, "c"),
            // d outweighs c thanks to inflation, then proves to be worth less than a.
            ("a:4 a a b:6 c:6 d:7", 10, "b c d"),
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
