//! What a request is worth that does not tell.

use crate::objective::Objective;
use crate::shadow::Sampled;

/// Requests of which the mean is remembered, about.
const REQUESTS: f64 = 256.0;

/// What requests were worth lately, on average.
///
/// A get that finds nothing and that no put follows has neither a weight nor a cost. It counts what the
/// shadow knows of its key, or as much as other requests do: were it to count 1, the keys that are slow to
/// load would count nothing beside the others, by bytes or by cost.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct WorthMean {
    mean: f64,
    requests: f64,
}

impl WorthMean {
    /// Hears what a request was worth that told it.
    #[inline]
    pub(crate) fn hear(&mut self, worth: u32) {
        self.requests = (self.requests + 1.0).min(REQUESTS);
        self.mean += (f64::from(worth) - self.mean) / self.requests;
    }

    /// What a get without an answer is worth, where a shadow holds its key under the weight `held`.
    pub(crate) fn of_unanswered(
        &self,
        objective: Objective,
        request: &Sampled,
        held: impl FnOnce() -> Option<u32>,
    ) -> u32 {
        let told = match objective {
            Objective::Object => Some(1),
            Objective::Byte => held(),
            Objective::Cost => Some(request.access.cost_us).filter(|&cost_us| cost_us > 0),
        };
        told.unwrap_or((self.mean.round() as u32).max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ostler_core::Access;

    #[test]
    fn who_does_not_tell_counts_what_is_known_or_usual() {
        let mut mean = WorthMean::default();
        let request = Sampled { hash: 1, weight: 1, access: Access::default() };
        let costly = Sampled { access: Access { cost_us: 70, ..Access::default() }, ..request };
        assert_eq!(mean.of_unanswered(Objective::Byte, &request, || None), 1);
        for worth in [100, 300] {
            mean.hear(worth);
        }
        for (objective, request, held, expected) in [
            (Objective::Object, request, Some(9), 1),
            (Objective::Byte, request, Some(9), 9),
            (Objective::Byte, request, None, 200),
            (Objective::Cost, request, Some(9), 200),
            (Objective::Cost, costly, None, 70),
        ] {
            assert_eq!(mean.of_unanswered(objective, &request, || held), expected, "{objective}");
        }
        (0..3_000).for_each(|_| mean.hear(5));
        assert_eq!(mean.of_unanswered(Objective::Byte, &request, || None), 5);
    }
}
