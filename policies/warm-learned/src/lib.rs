//! Warm-learned: fetches first what will most likely be asked for before the horizon ends.
//!
//! Idea: a warmed key saves one miss, however often it is used after that, so what counts is the chance
//! that it is asked for at all. A logistic regression over recency, inter-arrival times, frequency and
//! age estimates it; the host trains it on rehearsals of a restart and sends it as a model. Without
//! one, a prior from generated workloads serves. Where entries weigh differently, the chance is divided
//! by the weight.
//!
//! Parameters: `per_weight` (true). Memory: the windows, and 1 KiB. Cost: about a hundred
//! multiplications a candidate.
//!
//! Weak where keys are used at certain hours: it knows no clock (see `warm-diurnal`).
#![no_std]
#![forbid(unsafe_code)]

use ostler_features::{Facts, Lifetime, ModelError, WarmingFeatures, WarmingModel};
use ostler_policy::{Candidate, ModelRefused, Outlook, Setup, Warm};

/// By the chance to be asked for.
#[derive(Debug)]
pub struct WarmLearned {
    model: WarmingModel,
    per_weight: bool,
}

impl Warm for WarmLearned {
    type Params = WarmLearnedParams;

    fn new(_: &Setup, params: &WarmLearnedParams) -> Self {
        Self { model: WarmingModel::default(), per_weight: params.per_weight }
    }

    fn rank(&mut self, outlook: &Outlook, candidates: &[Candidate], scores: &mut [u32]) {
        let lifetime = Lifetime::of(outlook.lifetime);
        for (candidate, score) in candidates.iter().zip(scores) {
            let odds = self.model.odds(&WarmingFeatures::of(&facts_of(candidate), &lifetime));
            let chance = 1.0 / (1.0 + libm::expf(-odds));
            let weight = if self.per_weight { candidate.weight.max(1) } else { 1 };
            // Positive numbers are in the order of their bits.
            *score = (chance / weight as f32).to_bits();
        }
    }

    fn model(&mut self, message: &[u8]) -> Result<(), ModelRefused> {
        self.model = WarmingModel::try_from_bytes(message).map_err(|error| match error {
            ModelError::Format { .. } => ModelRefused::FORMAT,
            ModelError::Weight { .. } => ModelRefused::WEIGHTS,
            _ => ModelRefused::LENGTH,
        })?;
        Ok(())
    }
}

/// What the model reads of a candidate; the trainer on the host reads the same.
fn facts_of(candidate: &Candidate) -> Facts {
    let known = candidate.life.saturating_sub(candidate.age);
    let gaps = candidate.accesses.saturating_sub(1);
    Facts {
        age: candidate.age,
        gap: candidate.gap,
        gap2: candidate.gap2,
        gap_mean: known.checked_div(gaps).unwrap_or(0),
        life: candidate.life,
        accesses: candidate.accesses,
        steady: candidate.decayed,
        ..Facts::default()
    }
}

ostler_policy::export_warming! {
    policy: WarmLearned,
    name: "warm-learned",
    summary: "Fetches first what will most likely be asked for before the horizon ends.",
    features: ["model"],
    base_bytes: 262_144,
    params: WarmLearnedParams {
        per_weight: bool = true, false..=true, "Divide by the weight: most hits for what is fetched.";
    }
}

#[cfg(test)]
mod tests {
    use ostler_policy::check::{native_warming_factory, warming_conformance};
    use ostler_policy::{Candidate, ModelRefused, Outlook, Setup};

    fn ranked(policy: &mut (dyn ostler_policy::Rank + Send)) -> [u32; 3] {
        let outlook = Outlook { lifetime: 1_000, horizon: 500, budget: 10, ..Outlook::default() };
        let candidates = [(20, 9), (900, 2), (90_000, 1)].map(|(age, accesses)| Candidate {
            age,
            accesses,
            gap: if accesses > 1 { 100 } else { 0 },
            life: age + 100 * (accesses - 1),
            decayed: 256 * accesses,
            weight: 1,
            ..Candidate::ZERO
        });
        let mut scores = [0; 3];
        policy.rank(&outlook, &candidates, &mut scores);
        scores
    }

    #[test]
    fn models_change_the_order_and_garbage_does_not() {
        let setup = Setup { capacity: 100, slots: 0, seed: 0 };
        let mut policy = (super::NATIVE.build)(setup, "{}").unwrap();
        let prior = ranked(&mut *policy);
        assert!(prior[0] > prior[1] && prior[1] > prior[2], "{prior:?}");
        // Turned round: what is likely becomes unlikely.
        let mut model = super::WarmingModel::default();
        model.weights.iter_mut().for_each(|weight| *weight = -*weight);
        let message = model.to_bytes();
        assert_eq!(policy.model(&message[..9]), Err(ModelRefused::LENGTH));
        assert_eq!(ranked(&mut *policy), prior);
        assert_eq!(policy.model(&message), Ok(()));
        let turned = ranked(&mut *policy);
        assert!(turned[0] < turned[1] && turned[1] < turned[2], "{turned:?}");
    }

    #[test]
    fn keeps_the_contract() {
        let mut factory = native_warming_factory(&super::NATIVE, "");
        assert_eq!(warming_conformance(&mut factory).first_failure(), None);
    }
}
