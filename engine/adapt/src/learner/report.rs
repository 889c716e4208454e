//! What a learner tells of itself.

/// A candidate of a learner.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct CandidateReport {
    /// Its name.
    pub name: &'static str,
    /// Misses of its trial, faded: comparable among the candidates of one report only.
    pub misses: f64,
}

/// What a learner did so far.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LearnerReport {
    /// Requests of keys in its share.
    pub requests: u64,
    /// Share of the keys that it learns from.
    pub share: f64,
    /// Labels learned, of all horizons.
    pub labels: u64,
    /// Models published.
    pub models: u32,
    /// Trained weights that were no valid model, or no solution at all.
    pub refused: u32,
    /// Of those, no solution at all.
    pub unsolved: u32,
    /// The candidate in force.
    pub leader: &'static str,
    /// Changes of the candidate in force.
    pub changes: u32,
    /// Of those, changes back to the prior: what was trained missed clearly more in its trial.
    pub to_prior: u32,
    /// Mean square error of the trained model on the newest labels, each predicted before it was
    /// learned. Where it rises and stays up, the workload drifts.
    pub error: f64,
    /// The prior's, on the same labels. The prior is made for order, not for calibration.
    pub error_prior: f64,
    /// Mean of prediction less label: 0 for a calibrated model.
    pub bias: f64,
    /// The candidates.
    pub candidates: Vec<CandidateReport>,
}

impl LearnerReport {
    pub(super) fn new<const N: usize>(names: [&'static str; N]) -> Self {
        let candidate = |name| CandidateReport { name, misses: 0.0 };
        Self {
            requests: 0,
            share: 1.0,
            labels: 0,
            models: 0,
            refused: 0,
            unsolved: 0,
            leader: names[0],
            changes: 0,
            to_prior: 0,
            error: 0.0,
            error_prior: 0.0,
            bias: 0.0,
            candidates: names.map(candidate).to_vec(),
        }
    }
}
