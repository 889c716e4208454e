//! The folder of the report: its page, and the CSV behind what it shows.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use serde::Serialize;

use super::outcome::Outcome;
use super::page;
use super::rerun::hit_ratio;
use crate::compare::folder::{claim, write_page, write_table};

/// What the page begins with; a folder whose page does not is not ours.
pub(super) const MARK: &str = "<!doctype html>\n<!-- written by ostler demo -->\n";
/// The CSV files beside it.
pub(super) const TABLES: [&str; 3] = ["policies.csv", "decisions.csv", "over_time.csv"];
/// Stretches in which hit ratios over time are shown.
pub(super) const STRETCHES: u64 = 150;

/// A folder that the report may be written to.
pub(super) struct Folder {
    path: PathBuf,
}

#[derive(Serialize)]
struct PolicyRecord<'a> {
    policy: &'a str,
    requests: u64,
    misses: u64,
    miss_ratio: f64,
    difference: Option<f64>,
    difference_low: Option<f64>,
    difference_high: Option<f64>,
    swaps: usize,
}

#[derive(Serialize)]
struct DecisionRecord<'a> {
    number: u64,
    unix_ms: u64,
    second: f64,
    request: u64,
    action: &'a str,
    from: Option<&'a str>,
    to: Option<&'a str>,
    reason: &'a str,
    gain: f64,
    z: f64,
}

#[derive(Serialize)]
struct StretchRecord<'a> {
    policy: &'a str,
    first_request: u64,
    requests: u64,
    hit_ratio: f64,
}

impl Folder {
    /// The folder at `path`, a new one for temporary files where there is none. Comes before anything is
    /// started, so that nobody waits for a refusal.
    pub(super) fn claim(path: Option<&Path>) -> Result<Self> {
        if let Some(path) = path {
            claim(path, MARK, &TABLES)?;
            return Ok(Self { path: path.to_owned() });
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let name = format!("ostler-demo-{}-{}", since.as_secs(), std::process::id());
        let path = std::env::temp_dir().join(name);
        // Nobody else's: others write to the same directory.
        let created = DirBuilder::new().mode(0o700).create(&path);
        created.with_context(|| format!("report folder {}", path.display()))?;
        Ok(Self { path })
    }

    /// Writes everything and returns the path of the page, which comes last.
    pub(super) fn write(&self, outcome: &Outcome) -> Result<PathBuf> {
        let [policies, decisions, over_time] = TABLES;
        write_table(&self.path, policies, &policy_records(outcome))?;
        write_table(&self.path, decisions, &decision_records(outcome))?;
        write_table(&self.path, over_time, &stretch_records(outcome))?;
        write_page(&self.path, &page::html(outcome))
    }
}

/// The name of what the server itself did.
pub(super) const LIVE: &str = "live";

/// Everybody's hits, request by request: the server's own, the selector's, each policy's.
pub(super) fn contenders(outcome: &Outcome) -> impl Iterator<Item = (&str, &[bool])> {
    let live = (LIVE, outcome.recording.hits.as_slice());
    let tracks = outcome.tracks.iter();
    [live].into_iter().chain(tracks.map(|track| (track.label.as_str(), track.hits.as_slice())))
}

/// Stretches of about the same length, at least one request each: first request and hit ratio.
pub(super) fn stretches(hits: &[bool]) -> Vec<(u64, u64, f64)> {
    let count = hits.len() as u64;
    let ends = (1..=STRETCHES).map(|end| end * count / STRETCHES);
    let mut from = 0;
    let mut stretches = Vec::new();
    for end in ends.filter(|&end| end > 0) {
        if end > from {
            stretches.push((from, end - from, hit_ratio(hits, &(from..end))));
            from = end;
        }
    }
    stretches
}

fn policy_records(outcome: &Outcome) -> Vec<PolicyRecord<'_>> {
    contenders(outcome)
        .map(|(policy, hits)| {
            let track = outcome.tracks.iter().find(|track| track.label == policy);
            let difference = track.and_then(|track| track.difference);
            let misses = hits.iter().filter(|&&hit| !hit).count() as u64;
            let requests = hits.len() as u64;
            PolicyRecord {
                policy,
                requests,
                misses,
                miss_ratio: misses as f64 / requests.max(1) as f64,
                difference: difference.map(|it| it.estimate),
                difference_low: difference.map(|it| it.low),
                difference_high: difference.map(|it| it.high),
                swaps: track.map_or(outcome.swaps(), |track| track.swaps.len()),
            }
        })
        .collect()
}

fn decision_records(outcome: &Outcome) -> Vec<DecisionRecord<'_>> {
    outcome
        .decisions
        .iter()
        .map(|decision| {
            let unix_ms = decision.unix_ms;
            DecisionRecord {
                number: decision.number,
                unix_ms,
                second: outcome.second_of(unix_ms),
                request: outcome.recording.requests_at(unix_ms),
                action: &decision.action,
                from: decision.from.as_deref(),
                to: decision.to.as_deref(),
                reason: &decision.reason,
                gain: decision.gain,
                z: decision.z,
            }
        })
        .collect()
}

fn stretch_records(outcome: &Outcome) -> Vec<StretchRecord<'_>> {
    let mut records = Vec::new();
    for (policy, hits) in contenders(outcome) {
        records.extend(stretches(hits).into_iter().map(|(first_request, requests, hit_ratio)| {
            StretchRecord { policy, first_request, requests, hit_ratio }
        }));
    }
    records
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::compare::folder::PAGE;

    #[test]
    fn stretches_cover_every_request_once() {
        for count in [0, 1, 149, 150, 1000] {
            let hits = vec![true; count];
            let stretches = stretches(&hits);
            assert_eq!(stretches.iter().map(|it| it.1).sum::<u64>(), count as u64);
            assert!(stretches.len() <= 150 && stretches.iter().all(|it| it.1 > 0 && it.2 == 1.0));
            assert!(stretches.windows(2).all(|two| two[0].0 + two[0].1 == two[1].0));
        }
    }

    #[test]
    fn a_folder_of_somebody_else_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Folder::claim(Some(dir.path())).is_ok());
        fs::write(dir.path().join(PAGE), "<!doctype html>\n<!-- written by ostler compare -->\n")
            .unwrap();
        assert!(Folder::claim(Some(dir.path())).is_err());
        fs::write(dir.path().join(PAGE), MARK).unwrap();
        assert!(Folder::claim(Some(dir.path())).is_ok());
    }
}
