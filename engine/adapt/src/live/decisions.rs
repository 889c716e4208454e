//! What the selector did and on what evidence, as it is kept and shown.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Action {
    /// Nothing, for a reason worth saying.
    Hold,
    /// Another policy took over.
    Swap,
    /// The same code took over with other parameters.
    Tune,
    /// The policy before took over again.
    Rollback,
    /// A policy was taken out of the comparison for good.
    Demoted,
    /// A swap was wanted, and the cache kept the policy that it had.
    Refused,
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Hold, Self::Swap, Self::Tune, Self::Rollback, Self::Demoted, Self::Refused];

    /// The name, as it is serialized.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hold => "hold",
            Self::Swap => "swap",
            Self::Tune => "tune",
            Self::Rollback => "rollback",
            Self::Demoted => "demoted",
            Self::Refused => "refused",
        }
    }
}

/// What a candidate's shadow did lately.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct CandidateFigures {
    /// The candidate's name: the policy's, with its parameters where several have that name.
    pub policy: String,
    /// Share of the worth of all requests that its shadow hit, 0 to 1.
    pub hit_ratio: f64,
    /// Nanoseconds in the policy for each request, estimated; 0 for one that is compiled in.
    pub guest_ns_per_request: f64,
}

/// One decision with its evidence.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct DecisionRecord {
    /// Its number, from 1.
    pub number: u64,
    /// When, milliseconds since 1970.
    pub unix_ms: u64,
    /// What was done.
    pub action: Action,
    /// The policy that was in charge, none where it is none of the portfolio.
    pub from: Option<String>,
    /// The policy that took over, or should have; the one that was taken out.
    pub to: Option<String>,
    /// Why, in a word for a swap (`steady`, `drift`, `fault`, `rollback`), else in a sentence.
    pub reason: String,
    /// What the hits of `to` are worth more than those of `from`, as a share of what `from` missed, on
    /// the requests that the decision rests on; 0 where nothing was compared.
    pub gain: f64,
    /// That difference in standard errors.
    pub z: f64,
    /// Median of the gain over groups of keys.
    pub median_gain: f64,
    /// Sampled requests so far.
    pub requests: u64,
    /// Share of the worth of sampled requests that the cache itself hit lately, 0 to 1.
    pub live_hit_ratio: f64,
    /// Share of the keys in shadow, 0 to 1.
    pub share: f64,
    /// Every candidate on the same requests, in the order of the portfolio.
    pub candidates: Vec<CandidateFigures>,
}

/// The last decisions.
#[derive(Default)]
pub(super) struct Decisions {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    last: VecDeque<DecisionRecord>,
    counts: [u64; Action::ALL.len()],
}

/// Decisions kept, oldest forgotten first.
const KEPT_MAX: usize = 256;

impl Decisions {
    /// Keeps a decision and numbers it.
    pub(super) fn keep(&self, mut decision: DecisionRecord) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        decision.number = kept.counts.iter().sum::<u64>() + 1;
        if let Some(place) = Action::ALL.iter().position(|&action| action == decision.action) {
            kept.counts[place] += 1;
        }
        if kept.last.len() == KEPT_MAX {
            kept.last.pop_front();
        }
        kept.last.push_back(decision);
    }

    /// The last ones, newest first.
    pub(super) fn newest_first(&self) -> Vec<DecisionRecord> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.last.iter().rev().cloned().collect()
    }

    /// How many there were of each.
    pub(super) fn counts(&self) -> [(Action, u64); Action::ALL.len()] {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        std::array::from_fn(|place| (Action::ALL[place], kept.counts[place]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_are_kept_and_all_are_counted() {
        let decisions = Decisions::default();
        for number in 0..KEPT_MAX as u64 + 10 {
            let action = if number % 2 == 0 { Action::Swap } else { Action::Hold };
            decisions.keep(DecisionRecord {
                number: 0,
                unix_ms: number,
                action,
                from: None,
                to: None,
                reason: String::new(),
                gain: 0.0,
                z: 0.0,
                median_gain: 0.0,
                requests: 0,
                live_hit_ratio: 0.0,
                share: 1.0,
                candidates: Vec::new(),
            });
        }
        let kept = decisions.newest_first();
        assert_eq!((kept.len(), kept[0].number, kept[0].unix_ms), (256, 266, 265));
        assert_eq!(kept[255].number, 11);
        assert_eq!(decisions.counts()[..2], [(Action::Hold, 133), (Action::Swap, 133)]);
    }
}
