//! well-used: fetches first what was used most of late.
//!
//! Idea: a key's frequency, of which the past counts less and less, is the best simple forecast. Keys
//! that were hardly used are not worth a fetch, however much room there is.
//!
//! Memory: none. Cost: O(1) a candidate.
#![cfg_attr(target_arch = "wasm32", no_std)]
#![forbid(unsafe_code)]

use ostler_policy::{Candidate, Outlook, Setup, Warm};

/// The state: only the parameter.
#[derive(Debug)]
pub struct WellUsed {
    accesses_min: u32,
}

impl Warm for WellUsed {
    type Params = WellUsedParams;

    /// A policy for a cache of `setup.capacity`.
    fn new(_: &Setup, params: &Self::Params) -> Self {
        Self { accesses_min: u32::try_from(params.accesses).unwrap_or(u32::MAX) }
    }

    /// Scores every candidate. A score must not depend on the others in the call: the host compares
    /// scores of different calls.
    fn rank(&mut self, _: &Outlook, candidates: &[Candidate], scores: &mut [u32]) {
        for (candidate, score) in candidates.iter().zip(scores) {
            // A score of 0, as all are at first, leaves the key out.
            if candidate.accesses >= self.accesses_min {
                *score = candidate.decayed.max(1);
            }
        }
    }
}

// What the policy says about itself, and on wasm32 the exports of the module.
ostler_policy::export_warming! {
    policy: WellUsed,
    name: "well-used",
    summary: "Fetches first what was used most of late.",
    base_bytes: 262144,
    params: WellUsedParams {
        accesses: int = 2, 1..=1000, "Keys with fewer accesses are left out.";
    }
}

#[cfg(test)]
mod tests {
    use ostler_policy::check::{native_warming_factory, warming_conformance};
    use ostler_policy::{Candidate, Outlook, Setup};

    #[test]
    fn the_most_used_come_first_and_the_hardly_used_not_at_all() {
        let setup = Setup { capacity: 100, slots: 0, seed: 0 };
        let mut policy = (super::NATIVE.build)(setup, "").expect("the defaults are valid");
        let candidates = [(1, 256), (2, 300), (9, 2000), (5, 0)]
            .map(|(accesses, decayed)| Candidate { accesses, decayed, ..Candidate::ZERO });
        let mut scores = [0; 4];
        policy.rank(&Outlook::default(), &candidates, &mut scores);
        assert_eq!(scores, [0, 300, 2000, 1]);
    }

    #[test]
    fn keeps_the_contract() {
        let report = warming_conformance(&mut native_warming_factory(&super::NATIVE, ""));
        assert_eq!(report.first_failure(), None);
    }
}
