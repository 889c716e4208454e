//! The offline optimum as a row of the table.

use std::time::Instant;

use ostler_replay::{
    Admission, Belady, BeladyStep, Request, RunConfig, RunOutcome, RunReport, RunSubject,
    VictimsDigest,
};

/// The name that asks for it.
pub(crate) const NAME: &str = "belady";

/// Plays `requests` under Belady's MIN: equal weights, every newcomer comes in.
pub(crate) fn play(trace: &str, config: &RunConfig, requests: &[Request]) -> RunReport {
    let start = Instant::now();
    let (mut hits, mut misses) = (0, 0);
    let mut digest = VictimsDigest::default();
    for step in Belady::new(requests, config.capacity, Admission::Always) {
        match step {
            BeladyStep::Hit => hits += 1,
            BeladyStep::Miss { victim } => {
                if let Some(key) = victim {
                    digest.evicted(hits + misses, key);
                }
                misses += 1;
            }
            BeladyStep::Deleted => {}
        }
    }
    let mut outcome = RunOutcome::default();
    outcome.requests = hits + misses;
    outcome.hits = hits;
    outcome.misses = misses;
    outcome.weight_requested = outcome.requests;
    outcome.weight_missed = misses;
    outcome.victims_digest = digest;
    outcome.elapsed = start.elapsed();
    RunReport::new(RunSubject { trace, policy: NAME, params: "{}" }, config, &outcome)
}
