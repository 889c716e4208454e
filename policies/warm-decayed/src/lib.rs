//! Warm-decayed: fetches first what was used most, lately counting more.
//!
//! Idea: an access counts one, and half of it is forgotten every lifetime of an entry. Where entries
//! weigh differently, what a fetched byte brings counts, so the count is divided by the weight.
//!
//! Paper: D. Lee et al., "LRFU: a spectrum of policies that subsumes the least recently used and
//! least frequently used policies", IEEE Transactions on Computers 50(12), 2001, for the decayed
//! count. Warming by it is folklore.
//!
//! Parameters: `per_weight` (true). Memory: the windows. Cost: a division a candidate.
//!
//! Weak where keys are used at certain hours (see `warm-diurnal`), and it takes a burst of accesses
//! for a habit (see `warm-learned`).
#![no_std]
#![forbid(unsafe_code)]

use ostler_policy::{Candidate, Outlook, Setup, Warm};

/// By decayed frequency.
#[derive(Debug)]
pub struct WarmDecayed {
    per_weight: bool,
}

impl Warm for WarmDecayed {
    type Params = WarmDecayedParams;

    fn new(_: &Setup, params: &WarmDecayedParams) -> Self {
        Self { per_weight: params.per_weight }
    }

    fn rank(&mut self, _: &Outlook, candidates: &[Candidate], scores: &mut [u32]) {
        for (candidate, score) in candidates.iter().zip(scores) {
            let weight = if self.per_weight { candidate.weight.max(1) } else { 1 };
            // Positive numbers are in the order of their bits. A key whose count is down to nothing
            // comes last, but it comes.
            *score = (candidate.decayed.max(1) as f32 / weight as f32).to_bits();
        }
    }
}

ostler_policy::export_warming! {
    policy: WarmDecayed,
    name: "warm-decayed",
    summary: "Fetches first what was used most, lately counting more.",
    base_bytes: 262_144,
    params: WarmDecayedParams {
        per_weight: bool = true, false..=true, "Divide by the weight: most hits for what is fetched.";
    }
}

#[cfg(test)]
mod tests {
    use ostler_policy::check::{native_warming_factory, warming_conformance};
    use ostler_policy::{Candidate, Outlook, Setup};

    #[test]
    fn what_was_used_most_for_its_weight_comes_first() {
        let setup = Setup { capacity: 100, slots: 0, seed: 0 };
        let candidates = [(512, 1), (512, 4), (100, 1), (0, 9), (0, 1)]
            .map(|(decayed, weight)| Candidate { decayed, weight, ..Candidate::ZERO });
        for (params, order) in
            [("{}", [0, 1, 2, 4, 3]), (r#"{"per_weight":false}"#, [0, 1, 2, 3, 4])]
        {
            let mut policy = (super::NATIVE.build)(setup, params).unwrap();
            let mut scores = [0; 5];
            policy.rank(&Outlook::default(), &candidates, &mut scores);
            assert!(scores.iter().all(|&score| score != 0));
            let mut found = [0, 1, 2, 3, 4];
            found.sort_by_key(|&place| core::cmp::Reverse(scores[place]));
            assert_eq!(found, order, "{params}");
        }
    }

    #[test]
    fn keeps_the_contract() {
        let mut factory = native_warming_factory(&super::NATIVE, "");
        assert_eq!(warming_conformance(&mut factory).first_failure(), None);
    }
}
