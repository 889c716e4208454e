//! What the client asks for: four phases in which different policies do best.
//!
//! Everything is counted in entries of the cache, so that the phases mean the same at every capacity.
//! The requests are a function of the cache's size and their number: no clock, no chance.

use std::ops::Range;

use anyhow::Result;
use ostler_replay::{TraceReader, Workload};

/// What the phases are called, in order.
pub(super) const PHASES: [&str; 4] = ["favourites", "moving on", "round trip", "moving on"];

/// What happens in each of them.
pub(super) const STORIES: [&str; 4] = [
    "some keys are popular and stay so: frequency pays",
    "what is popular changes all the time: recency pays",
    "more keys than fit, asked for in a circle: recency loses everything",
    "the second once more, with other keys",
];

/// Of the moving phases: how many keys are popular at a time, how many of them are given up for others at
/// once, and how many requests there are between, all in entries.
const POPULAR: f64 = 0.9;
const STEP: f64 = 0.15;
const STEP_REQUESTS: f64 = 1.5;

/// The whole workload.
pub(super) struct Plan {
    requests: u64,
    workload: Workload,
}

impl Plan {
    /// Phases of the same length that make `requests` requests, for a cache of `entries`.
    pub(super) fn try_new(requests: u64, entries: u64) -> Result<Self> {
        let phases = PHASES.len() as u64;
        let quarter = requests / phases;
        let rest = requests - (phases - 1) * quarter;
        let keys = 10 * entries;
        let text = format!(
            "shift(zipf(n={quarter},alpha=0.8,keys={keys},start={});{};loop(n={quarter},keys={},start={});{})",
            1_u64 << 40,
            moving(quarter, entries, 0),
            entries + entries / 8,
            1_u64 << 41,
            moving(rest, entries, 1 << 30),
        );
        Ok(Self { requests, workload: text.parse()? })
    }

    /// How many requests there are.
    pub(super) fn requests(&self) -> u64 {
        self.requests
    }

    /// The workload as `replay --trace` takes it.
    pub(super) fn spec(&self) -> String {
        self.workload.to_string()
    }

    /// The keys, in order.
    pub(super) fn keys(&self) -> impl Iterator<Item = u64> + use<> {
        // A generated trace has no errors.
        TraceReader::generate(&self.workload).map_while(Result::ok).map(|request| request.key)
    }

    /// The phase of the request with this index; the last one beyond the end.
    pub(super) fn phase_of(&self, request: u64) -> usize {
        let quarter = (self.requests / PHASES.len() as u64).max(1);
        usize::try_from(request / quarter).map_or(PHASES.len() - 1, |it| it.min(PHASES.len() - 1))
    }

    /// The requests of each phase.
    pub(super) fn phases(&self) -> [Range<u64>; PHASES.len()] {
        let quarter = self.requests / PHASES.len() as u64;
        std::array::from_fn(|phase| {
            let is_last = phase + 1 == PHASES.len();
            let end = if is_last { self.requests } else { (phase as u64 + 1) * quarter };
            phase as u64 * quarter..end
        })
    }
}

/// Popular keys that make place for others, a few at a time, numbered from `first`.
fn moving(requests: u64, entries: u64, first: u64) -> String {
    let entries = entries as f64;
    let keys = floor(POPULAR * entries);
    let sets = floor(requests as f64 / (STEP_REQUESTS * entries)).clamp(2, 1000);
    let (each, step) = (requests / sets, floor(STEP * entries));
    let set = |set: u64| {
        let n = if set + 1 == sets { requests - (sets - 1) * each } else { each };
        format!("zipf(n={n},alpha=0.6,keys={keys},seed={},start={})", set + 1, first + set * step)
    };
    (0..sets).map(set).collect::<Vec<_>>().join(";")
}

/// The whole number below, at least 1.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts of requests and entries, far below 2^53 and not negative"
)]
fn floor(count: f64) -> u64 {
    (count as u64).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_cover_all_requests() {
        for (requests, entries) in [(60_001, 4096), (1_800_000, 4096), (4000, 1 << 20)] {
            let plan = Plan::try_new(requests, entries).unwrap();
            assert_eq!(plan.keys().count() as u64, requests);
            let phases = plan.phases();
            assert_eq!((phases[0].start, phases[3].end), (0, requests));
            for (phase, range) in phases.iter().enumerate() {
                let found = [range.start, range.end - 1].map(|request| plan.phase_of(request));
                // The last phase takes what is left over.
                assert_eq!(found, [phase, phase], "{requests} {range:?}");
            }
            assert_eq!(plan.phase_of(requests), 3);
            assert!(plan.spec().parse::<Workload>().is_ok());
        }
    }

    #[test]
    fn phases_have_keys_of_their_own() {
        let plan = Plan::try_new(40_000, 1000).unwrap();
        let keys: Vec<u64> = plan.keys().collect();
        let of = |phase: &Range<u64>| -> std::collections::HashSet<u64> {
            let (start, end) = (phase.start as usize, phase.end as usize);
            keys[start..end].iter().copied().collect()
        };
        let sets = plan.phases().map(|phase| of(&phase));
        for (index, set) in sets.iter().enumerate() {
            assert!(sets[..index].iter().all(|other| other.is_disjoint(set)), "{index}");
        }
        assert_eq!(sets[2].len(), 1125);
    }
}
