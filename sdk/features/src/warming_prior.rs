//! The warming model that a policy starts with, and that the trainer regularises towards.
//!
//! Set by hand, from what everybody knows: the longer unused, the less likely; the more often and the
//! more lately used, the more likely. A model learned from generated workloads did worse by far on real
//! traces: it had learned those workloads' details. Models learned from a cache's own requests do better.

use crate::WARMING_WEIGHTS;

/// A weight a term: log-odds for each scaled level of age, accesses and decayed frequency.
pub(crate) const WARMING_PRIOR: [f32; WARMING_WEIGHTS] = {
    let mut weights = [0.0; WARMING_WEIGHTS];
    weights[1] = -2.0;
    weights[8] = 1.0;
    weights[9] = 2.0;
    weights
};
