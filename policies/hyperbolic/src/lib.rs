//! Hyperbolic caching: evicts, of a random sample, the entry with the fewest hits per time resident.
//!
//! Idea: an entry's priority is its number of accesses divided by the time since it came in. It
//! falls like a hyperbola while the entry is not used, so a newcomer has time to prove itself and
//! old popularity does not last for ever. Priorities cross over time, so no queue can hold their
//! order: each eviction draws entries at random and takes the one with the lowest priority.
//!
//! Paper: A. Blankstein, S. Sen, M. J. Freedman, "Hyperbolic Caching: Flexible Caching for Web
//! Applications", USENIX ATC 2017.
//!
//! Parameters: `sample` (64), entries drawn for an eviction; `by_weight` (false), divides the priority
//! by the weight too, the paper's size-aware variant: more hits, but fewer of the bytes.
//! Memory: 24 bytes a slot (16 the entry's record, 4 its place, 4 the driver's weight).
//! Cost: O(1) a hit, O(sample) an eviction. Weights: as many victims go as the newcomer needs.
//!
//! Time is counted in requests, as in libCacheSim, not in seconds. Its draws favour entries in short
//! hash chains; here they are uniform. The paper's cost classes and expiry times are left out.
#![no_std]
#![forbid(unsafe_code)]

use ostler_policy::{Budget, PerSlot, Policy, Record, Rng, Setup};

/// What is known of a resident.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
struct Resident {
    /// The clock when it came in.
    entered: u64,
    /// Accesses since, the first included; saturates.
    accesses: u32,
    slot: u32,
}

/// Fewest accesses per time resident, among a sample.
#[derive(Debug)]
pub struct Hyperbolic {
    /// The residents, without gaps, so that a draw is one load; meaningful below the budget's length.
    residents: PerSlot<Resident>,
    /// Where a resident slot stands in `residents`.
    places: PerSlot<u32>,
    len: u32,
    /// Requests so far.
    clock: u64,
    rng: Rng,
    sample: u32,
    by_weight: bool,
}

impl Hyperbolic {
    /// Accesses per request since it came in; lower goes first.
    #[inline]
    #[expect(clippy::cast_precision_loss, reason = "clocks beyond 2^53 requests may round")]
    fn priority(&self, resident: &Resident, budget: &Budget) -> f64 {
        let age = (self.clock - resident.entered).max(1);
        let priority = f64::from(resident.accesses) / age as f64;
        if self.by_weight { priority / f64::from(budget.weight(resident.slot)) } else { priority }
    }

    /// Forgets the resident at `place`; the last one moves there.
    fn forget(&mut self, place: u32) {
        self.len -= 1;
        let last = self.residents[self.len];
        self.residents[place] = last;
        self.places[last.slot] = place;
    }
}

impl Policy for Hyperbolic {
    type Params = HyperbolicParams;

    fn new(setup: &Setup, params: &HyperbolicParams) -> Self {
        Self {
            residents: PerSlot::new(setup.slots),
            places: PerSlot::new(setup.slots),
            len: 0,
            clock: 0,
            rng: Rng::new(setup.seed),
            sample: u32::try_from(params.sample).unwrap_or(1),
            by_weight: params.by_weight,
        }
    }

    fn grow(&mut self, slots: u32) {
        self.residents.grow(slots);
        self.places.grow(slots);
    }

    fn hit(&mut self, event: &Record, _: &Budget) {
        let count = event.count.max(1);
        self.clock += u64::from(count);
        let resident = &mut self.residents[self.places[event.slot]];
        resident.accesses = resident.accesses.saturating_add(u32::from(count));
    }

    fn admit(&mut self, _: &Record, _: &Budget) -> bool {
        self.clock += 1;
        true
    }

    fn insert(&mut self, event: &Record, _: &Budget) {
        self.residents[self.len] = Resident { entered: self.clock, accesses: 1, slot: event.slot };
        self.places[event.slot] = self.len;
        self.len += 1;
    }

    fn victim(&mut self, budget: &Budget) -> u32 {
        let mut lowest = f64::INFINITY;
        let mut chosen = 0;
        for _ in 0..self.sample {
            let place = self.rng.below(self.len);
            let priority = self.priority(&self.residents[place], budget);
            if priority < lowest {
                lowest = priority;
                chosen = place;
            }
        }
        let slot = self.residents[chosen].slot;
        self.forget(chosen);
        slot
    }

    fn remove(&mut self, slot: u32, _: &Budget) {
        self.forget(self.places[slot]);
    }
}

ostler_policy::export! {
    policy: Hyperbolic,
    name: "hyperbolic",
    summary: "Evicts, of a random sample, the entry with the fewest hits per time resident.",
    events: ["hit"],
    bytes_per_slot: 24,
    base_bytes: 393216,
    params: HyperbolicParams {
        sample: int = 64, 1..=256, "Entries drawn for an eviction.";
        by_weight: bool = false, false..=true, "Divide the priority by the weight: light entries stay longer.";
    }
}

#[cfg(test)]
mod tests {
    use ostler_policy::check::{conformance, evictions, native_factory};

    /// 256 draws from at most 4 residents: each is drawn, save with probability 4 × (3/4)^256.
    const ALL_DRAWN: &str = r#"{"sample": 256}"#;

    #[test]
    fn victims_have_the_fewest_accesses_per_time() {
        let cases = [
            // requests, capacity, victims
            // At d: a 1/3, b 1/2, c 1/1.
            ("a b c d", 3, "a"),
            // At d: a 4/6, b 1/2, c 1/1. Once b is gone, at e: a 4/7, c 1/2, d 1/1.
            ("a a a a b c d e", 3, "b c"),
            // At c: a 3/4 against b 1/1. Time wears popularity off: at e, a 3/7 against d 1/1.
            ("a a a b c", 2, "a"),
            // At c, two accesses of a in 7 requests against six of b in 6.
            ("a b b b b b b c", 2, "a"),
            ("a:2 b:1 c:3", 3, "a b"),
            ("a:1 b:1 c:1 d:2", 3, "a b"),
        ];
        for (requests, capacity, victims) in cases {
            let evicted = evictions(&super::NATIVE, ALL_DRAWN, capacity, requests);
            assert_eq!(evicted, victims, "{requests}");
        }
    }

    #[test]
    fn by_weight_prefers_to_give_up_the_heavy() {
        let cases = [
            // requests, victims with weights ignored, victims by weight
            ("a:1 b:3 c:1", "a", "b"),
            ("a:3 b:1 b:1 b:1 c:1", "a", "a"),
        ];
        for (requests, plain, weighed) in cases {
            assert_eq!(evictions(&super::NATIVE, ALL_DRAWN, 4, requests), plain, "{requests}");
            let params = r#"{"sample": 256, "by_weight": true}"#;
            assert_eq!(evictions(&super::NATIVE, params, 4, requests), weighed, "{requests}");
        }
    }

    #[test]
    fn keeps_the_contract() {
        for params in ["", r#"{"sample": 1, "by_weight": true}"#] {
            let report = conformance(&mut native_factory(&super::NATIVE, params));
            assert_eq!(report.first_failure(), None, "{params}");
        }
    }
}
