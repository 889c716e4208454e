//! The trait that the author of a warming policy implements, and its driver.

use ostler_abi::{Candidate, ModelRefused, Outlook, Rank, Setup};

use crate::Params;

/// A warming policy: it says which keys a cold cache should fetch first.
///
/// The host shows it what is known of the keys, in calls of as many [`Candidate`]s as suit it, and
/// fetches by score within a budget of weight. What is fetched first serves longest.
///
/// A warming policy must be deterministic, and a candidate's score must depend on the outlook, the
/// candidate and the model alone: scores of different calls are compared with each other. A panic
/// is a fault: the host drops the policy and ranks by decayed frequency.
pub trait Warm: Sized {
    /// The parameters, declared in [`export_warming!`](crate::export_warming).
    type Params: Params;

    /// A policy that has seen nothing. `setup.capacity` is the cache's, `setup.slots` is 0.
    fn new(setup: &Setup, params: &Self::Params) -> Self;

    /// Scores every candidate: higher is fetched first, 0 is left out. `scores` is as long as
    /// `candidates`, and all zero.
    fn rank(&mut self, outlook: &Outlook, candidates: &[Candidate], scores: &mut [u32]);

    /// A model arrived, between two calls. Comes only if the manifest requires `model`.
    ///
    /// # Errors
    ///
    /// [`ModelRefused`] for whatever is not a whole, valid model of this policy: a refused message
    /// must change no score.
    fn model(&mut self, _message: &[u8]) -> Result<(), ModelRefused> {
        Err(ModelRefused::TAKES_NONE)
    }
}

/// Runs a [`Warm`] behind the contract.
#[derive(Debug)]
pub struct WarmDriver<P> {
    policy: P,
}

impl<P: Warm> WarmDriver<P> {
    /// A driver with a policy that has seen nothing.
    #[must_use]
    pub fn new(setup: &Setup, params: &P::Params) -> Self {
        Self { policy: P::new(setup, params) }
    }

    /// The policy. For tests and tools.
    #[must_use]
    pub fn policy(&self) -> &P {
        &self.policy
    }
}

impl<P: Warm> Rank for WarmDriver<P> {
    fn rank(&mut self, outlook: &Outlook, candidates: &[Candidate], scores: &mut [u32]) {
        scores.fill(0);
        self.policy.rank(outlook, candidates, scores);
    }

    fn model(&mut self, message: &[u8]) -> Result<(), ModelRefused> {
        self.policy.model(message)
    }
}
