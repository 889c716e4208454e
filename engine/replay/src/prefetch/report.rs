//! The part of a row that tells of prefetching.

use serde::Serialize;

use super::{PrefetchOutcome, PrefetchRunConfig};

/// What prefetching did in one run; its fields stand among those of
/// [`RunReport`](crate::RunReport), which tells of the run with prefetching. Names are fixed.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct PrefetchReport {
    /// The prefetch policy as it was given, without parameters.
    pub prefetch: String,
    /// Every parameter with its value.
    pub prefetch_params: serde_json::Value,
    /// Latency of the origin: requests, or milliseconds as `5ms`.
    pub fetch_latency: String,
    /// Fetches that each miss allows.
    pub fetch_budget: f64,
    /// Misses of the same run without prefetching.
    pub misses_without: u64,
    /// Keys that were prefetched.
    pub fetches: u64,
    /// Useful prefetches ÷ (useful prefetches + misses).
    pub coverage: f64,
    /// Useful prefetches ÷ prefetches.
    pub accuracy: f64,
    /// Prefetches that a demand overtook ÷ prefetches.
    pub late_fraction: f64,
    /// Fetches of the origin, demands and prefetches, less those without prefetching, a request.
    pub extra_fetches_per_request: f64,
    /// Requests that missed with prefetching and hit without, a request.
    pub pollution: f64,
    /// Hit ratio less that without prefetching.
    pub hit_gain: f64,
    /// Prefetches that left unused ÷ prefetches.
    pub wasted: f64,
    /// Bytes of memory that the prefetch policy held at the end.
    pub prefetch_memory_bytes: u64,
    /// The fault that ended prefetching.
    pub prefetch_fault: Option<String>,
    /// Index of the request at which that was.
    pub prefetch_fault_request: Option<u64>,
}

impl PrefetchReport {
    /// The report of a run under the prefetch policy `name` with `params`, flat JSON.
    #[must_use]
    pub fn new(
        (name, params): (&str, &str),
        config: &PrefetchRunConfig,
        outcome: &PrefetchOutcome,
    ) -> Self {
        let figures = outcome.figures;
        let fault = outcome.fault.as_ref();
        Self {
            prefetch: name.to_owned(),
            prefetch_params: serde_json::from_str(params).unwrap_or(serde_json::Value::Null),
            fetch_latency: config.latency.to_string(),
            fetch_budget: config.budget.as_f64(),
            misses_without: outcome.without.misses,
            fetches: outcome.counters.fetches,
            coverage: figures.coverage,
            accuracy: figures.accuracy,
            late_fraction: figures.late_fraction,
            extra_fetches_per_request: figures.extra_fetches_per_request,
            pollution: figures.pollution,
            hit_gain: figures.hit_gain,
            wasted: figures.wasted,
            prefetch_memory_bytes: outcome.guest_memory_bytes,
            prefetch_fault: fault.map(|(_, fault)| fault.to_string()),
            prefetch_fault_request: fault.map(|&(request, _)| request),
        }
    }
}
