//! What a comparison found, row by row, and the flat records that scripts read.

use ostler_replay::{CurvePoint, Difference, RunReport, Stretch, Verdict, WeightMode};
use serde::Serialize;

/// Everything that one command found.
pub(super) struct Comparison {
    /// The command line that says it again.
    pub(super) command: String,
    pub(super) seed: u64,
    pub(super) weights: WeightMode,
    /// The policies as they were given; the first is the baseline.
    pub(super) labels: Vec<String>,
    pub(super) rows: Vec<Row>,
    /// Miss-ratio curves, where a page was asked for.
    pub(super) curves: Vec<TraceCurves>,
}

/// A trace at a capacity under all policies.
pub(super) struct Row {
    /// A short name of the trace.
    pub(super) trace: String,
    pub(super) capacity: u64,
    /// One report a policy, in order.
    pub(super) runs: Vec<RunReport>,
    /// One for each policy but the baseline, in order.
    pub(super) challengers: Vec<Versus>,
}

/// A challenger against the baseline.
#[derive(Clone)]
pub(super) struct Versus {
    pub(super) by_request: Difference,
    pub(super) by_weight: Difference,
    /// Hits that the baseline missed.
    pub(super) gained: u64,
    /// Misses that the baseline hit.
    pub(super) lost: u64,
    pub(super) stretches: Vec<Stretch>,
}

/// The miss-ratio curves of one trace.
pub(super) struct TraceCurves {
    pub(super) trace: String,
    /// Share of the keys that were played.
    pub(super) rate: f64,
    /// By policy, its points, smallest size first.
    pub(super) curves: Vec<Vec<CurvePoint>>,
}

impl Row {
    /// By policy, misses.
    pub(super) fn misses(&self) -> Vec<u64> {
        self.runs.iter().map(|run| run.misses).collect()
    }

    /// By challenger, the verdict.
    pub(super) fn verdicts(&self) -> Vec<Verdict> {
        self.challengers.iter().map(|versus| versus.by_request.verdict()).collect()
    }

    /// The baseline's run, and each challenger's with its difference.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&RunReport, &RunReport, &Versus)> {
        let baseline = &self.runs[0];
        let challengers = self.runs[1..].iter().zip(&self.challengers);
        challengers.map(move |(run, versus)| (baseline, run, versus))
    }
}

/// The difference as a share of the baseline's misses; zero where it missed nothing.
pub(super) fn relative(baseline: &RunReport, versus: &Versus) -> f64 {
    if baseline.misses == 0 {
        return 0.0;
    }
    (versus.lost as f64 - versus.gained as f64) / baseline.misses as f64
}

/// A challenger against the baseline as it is printed: a JSON object a line, or a line of CSV. Ratios
/// and differences are fractions; a negative difference says that the policy misses less.
#[derive(Serialize)]
pub(super) struct Record<'a> {
    trace: &'a str,
    capacity: u64,
    shards: u32,
    seed: u64,
    live: bool,
    requests: u64,
    baseline: &'a str,
    baseline_params: &'a serde_json::Value,
    policy: &'a str,
    params: &'a serde_json::Value,
    verdict: String,
    baseline_miss_ratio: f64,
    miss_ratio: f64,
    difference: f64,
    difference_low: f64,
    difference_high: f64,
    difference_relative: f64,
    error_by_time: f64,
    error_by_key: f64,
    blocks: u64,
    block_requests: u64,
    gained_hits: u64,
    lost_hits: u64,
    baseline_byte_miss_ratio: f64,
    byte_miss_ratio: f64,
    byte_difference: f64,
    byte_difference_low: f64,
    byte_difference_high: f64,
    baseline_guest_ns_per_request: Option<f64>,
    guest_ns_per_request: Option<f64>,
    baseline_ns_per_request: f64,
    ns_per_request: f64,
    baseline_guest_memory_bytes: u64,
    guest_memory_bytes: u64,
    baseline_faults: u64,
    baseline_fault_kind: Option<&'static str>,
    faults: u64,
    fault_kind: Option<&'static str>,
    fault_request: Option<u64>,
    fallback_requests: u64,
    swaps: u64,
}

/// One record for each challenger of each row.
pub(super) fn records(rows: &[Row]) -> Vec<Record<'_>> {
    rows.iter().flat_map(|row| row.pairs().map(record)).collect()
}

fn record<'a>((baseline, run, versus): (&'a RunReport, &'a RunReport, &'a Versus)) -> Record<'a> {
    let Versus { by_request, by_weight, gained, lost, .. } = versus;
    Record {
        trace: &run.trace,
        capacity: run.capacity,
        shards: run.shards,
        seed: run.seed,
        live: run.live,
        requests: run.requests,
        baseline: &baseline.policy,
        baseline_params: &baseline.params,
        policy: &run.policy,
        params: &run.params,
        verdict: by_request.verdict().to_string(),
        baseline_miss_ratio: baseline.miss_ratio,
        miss_ratio: run.miss_ratio,
        difference: by_request.estimate,
        difference_low: by_request.low,
        difference_high: by_request.high,
        difference_relative: relative(baseline, versus),
        error_by_time: by_request.error_by_time,
        error_by_key: by_request.error_by_key,
        blocks: by_request.blocks,
        block_requests: by_request.block_requests,
        gained_hits: *gained,
        lost_hits: *lost,
        baseline_byte_miss_ratio: baseline.byte_miss_ratio,
        byte_miss_ratio: run.byte_miss_ratio,
        byte_difference: by_weight.estimate,
        byte_difference_low: by_weight.low,
        byte_difference_high: by_weight.high,
        baseline_guest_ns_per_request: baseline.guest_ns_per_request,
        guest_ns_per_request: run.guest_ns_per_request,
        baseline_ns_per_request: baseline.ns_per_request,
        ns_per_request: run.ns_per_request,
        baseline_guest_memory_bytes: baseline.guest_memory_bytes,
        guest_memory_bytes: run.guest_memory_bytes,
        baseline_faults: baseline.faults,
        baseline_fault_kind: baseline.fault_kind,
        faults: run.faults,
        fault_kind: run.fault_kind,
        fault_request: run.fault_request,
        fallback_requests: run.fallback_requests,
        swaps: run.swaps,
    }
}

/// What went wrong in any run of a row, a line for each; empty where nothing did.
pub(super) fn faults(rows: &[Row], labels: &[String]) -> Vec<String> {
    let mut lines = Vec::new();
    for row in rows {
        for (run, label) in row.runs.iter().zip(labels).filter(|(run, _)| run.faults > 0) {
            lines.push(format!(
                "FAULT: {label} on {} at {}: {} (request {}); the fallback served {} of {} requests, \
                 so this row is not about {label} alone",
                row.trace,
                row.capacity,
                run.fault.as_deref().unwrap_or_default(),
                run.fault_request.unwrap_or_default(),
                run.fallback_requests,
                run.requests,
            ));
        }
    }
    lines
}
