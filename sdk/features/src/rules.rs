//! Classic rules as weights: what the learner's models have to beat.
//!
//! Every one is a model like any other, so a policy can be told to follow it. Scores are between 0
//! and 1, because objectives divide them by weights.

use crate::WEIGHTS;
use crate::expansion::{ACCESSES, AGE, GAP, HITS, STAY, STEADY, Term, place_of};

const fn rule<const N: usize>(terms: [(Term, f32); N]) -> [f32; WEIGHTS] {
    let mut weights = [0.0; WEIGHTS];
    let mut at = 0;
    while at < N {
        weights[place_of(terms[at].0)] += terms[at].1;
        at += 1;
    }
    weights
}

/// The entry used last stays: LRU.
pub const RECENCY: [f32; WEIGHTS] = rule([(Term::One, 0.5), (Term::Linear(AGE), -0.5)]);

/// The entry used most stays, and of equals the one that came first: TinyLFU's admission.
pub const FREQUENCY: [f32; WEIGHTS] =
    rule([(Term::One, 0.5), (Term::Linear(ACCESSES), 0.4), (Term::Linear(STAY), 0.1)]);

/// Entries used more than once stay while they are used now and then; of the others the oldest goes:
/// 2Q and its heirs.
pub const SECOND_CHANCE: [f32; WEIGHTS] = rule([
    (Term::One, 0.5),
    (Term::Linear(HITS), 0.25),
    (Term::Missing(GAP), -0.15),
    (Term::Linear(STEADY), 0.1),
    (Term::Linear(AGE), -0.1),
]);
