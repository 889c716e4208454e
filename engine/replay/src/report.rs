//! What a run reports: one flat row, the same fields in every format.

use std::io::Write;

use serde::Serialize;

use crate::adaptive::Decided;
use crate::live::LiveConfig;
use crate::prefetch::PrefetchReport;
use crate::run::{RunConfig, RunOutcome};

/// One run as it is printed: a JSON object a line, or a line of CSV. Field names are fixed.
///
/// `miss_ratio` and `byte_miss_ratio` are fractions; times are nanoseconds a request.
/// `guest_ns_per_request` is absent where the policy was compiled in, since nothing is timed there.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RunReport {
    /// The trace as it was given.
    pub trace: String,
    /// The policy as it was given, without parameters.
    pub policy: String,
    /// Every parameter with its value.
    pub params: serde_json::Value,
    /// Capacity in the run's unit.
    pub capacity: u64,
    /// Number of shards.
    pub shards: u32,
    /// Seed of the run.
    pub seed: u64,
    /// Gets and sets played.
    pub requests: u64,
    /// Requests that found their key.
    pub hits: u64,
    /// Requests that did not.
    pub misses: u64,
    /// Newcomers not kept.
    pub rejected: u64,
    /// Misses ÷ requests.
    pub miss_ratio: f64,
    /// Weight missed ÷ weight requested.
    pub byte_miss_ratio: f64,
    /// Digest of the sequence of (request index, key) evicted, 16 hex digits.
    pub victims_digest: String,
    /// Policy faults.
    pub faults: u64,
    /// Kind of the first fault.
    pub fault_kind: Option<&'static str>,
    /// What the first fault says.
    pub fault: Option<String>,
    /// Index of the request at which the first fault happened.
    pub fault_request: Option<u64>,
    /// Requests served while the fallback was in charge.
    pub fallback_requests: u64,
    /// Changes of the policy in charge.
    pub swaps: u64,
    /// Bytes of guest memory at the end.
    pub guest_memory_bytes: u64,
    /// Wall-clock nanoseconds a request, without reading the trace.
    pub ns_per_request: f64,
    /// Estimated nanoseconds inside the guest, a request.
    pub guest_ns_per_request: Option<f64>,
    /// Whether the run went through the event path of the live cache.
    pub live: bool,
    /// What was decided about the policy in charge, with the evidence, in order; JSON in one field of CSV.
    pub decisions: Vec<Decided>,
    /// What prefetching did; its fields stand among these. Absent where nothing was prefetched.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub prefetch: Option<PrefetchReport>,
    /// What the policy logged. For people: not part of the formats.
    #[serde(skip)]
    pub log: Vec<String>,
}

/// What a run was of.
#[derive(Clone, Copy, Debug)]
pub struct RunSubject<'a> {
    /// The trace as it was given.
    pub trace: &'a str,
    /// The policy as it was given.
    pub policy: &'a str,
    /// Its parameters as flat JSON.
    pub params: &'a str,
}

/// What a row says of a run's settings.
#[derive(Clone, Copy)]
struct Settings {
    capacity: u64,
    shards: u32,
    seed: u64,
    live: bool,
}

impl RunReport {
    /// The row of one exact run.
    #[must_use]
    pub fn new(subject: RunSubject<'_>, config: &RunConfig, outcome: &RunOutcome) -> Self {
        let &RunConfig { capacity, shards, seed, .. } = config;
        Self::row(subject, Settings { capacity, shards, seed, live: false }, outcome)
    }

    /// The row of one live run.
    #[must_use]
    pub fn of_live(subject: RunSubject<'_>, config: &LiveConfig, outcome: &RunOutcome) -> Self {
        let &LiveConfig { capacity, shards, seed, .. } = config;
        Self::row(subject, Settings { capacity, shards, seed, live: true }, outcome)
    }

    fn row(subject: RunSubject<'_>, settings: Settings, outcome: &RunOutcome) -> Self {
        let requests = outcome.requests.max(1) as f64;
        let guest_ns = outcome.guest_time.as_nanos() as f64;
        let fault = outcome.first_fault.as_ref();
        Self {
            trace: subject.trace.to_owned(),
            policy: subject.policy.to_owned(),
            params: serde_json::from_str(subject.params).unwrap_or(serde_json::Value::Null),
            capacity: settings.capacity,
            shards: settings.shards,
            seed: settings.seed,
            requests: outcome.requests,
            hits: outcome.hits,
            misses: outcome.misses,
            rejected: outcome.rejected,
            miss_ratio: outcome.miss_ratio(),
            byte_miss_ratio: outcome.byte_miss_ratio(),
            victims_digest: outcome.victims_digest.to_string(),
            faults: outcome.faults,
            fault_kind: fault.map(|(_, fault)| fault.kind()),
            fault: fault.map(|(_, fault)| fault.to_string()),
            fault_request: fault.map(|&(request, _)| request),
            fallback_requests: outcome.fallback_requests,
            swaps: outcome.swaps.len() as u64,
            guest_memory_bytes: outcome.guest_memory_bytes,
            ns_per_request: outcome.elapsed.as_nanos() as f64 / requests,
            guest_ns_per_request: (guest_ns > 0.0).then_some(guest_ns / requests),
            live: settings.live,
            decisions: outcome.decisions.clone(),
            prefetch: None,
            log: outcome.log.clone(),
        }
    }

    /// The row with what prefetching did.
    #[must_use]
    pub fn with_prefetch(self, prefetch: PrefetchReport) -> Self {
        Self { prefetch: Some(prefetch), ..self }
    }
}

/// Writes reports as JSON, one object a line.
///
/// # Errors
///
/// Those of the writer.
pub fn write_json<R: Serialize>(out: &mut dyn Write, reports: &[R]) -> std::io::Result<()> {
    for report in reports {
        serde_json::to_writer(&mut *out, report)?;
        writeln!(out)?;
    }
    Ok(())
}

/// Writes reports as CSV with a header; absent values are empty, parameters are JSON in one field.
///
/// # Errors
///
/// Those of the writer.
pub fn write_csv<R: Serialize>(out: &mut dyn Write, reports: &[R]) -> std::io::Result<()> {
    let mut csv = csv::Writer::from_writer(out);
    for (index, report) in reports.iter().enumerate() {
        let serde_json::Value::Object(fields) = serde_json::to_value(report)? else {
            unreachable!("a report is an object")
        };
        if index == 0 {
            csv.write_record(fields.keys())?;
        }
        csv.write_record(fields.values().map(|value| match value {
            serde_json::Value::Null => String::new(),
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        }))?;
    }
    csv.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::WeightMode;
    use ostler_core::Batch;

    fn report() -> RunReport {
        let config = RunConfig {
            capacity: 10,
            weights: WeightMode::Objects,
            shards: 1,
            seed: 3,
            batch: Batch::Exact,
        };
        let outcome = RunOutcome {
            requests: 4,
            hits: 1,
            misses: 3,
            weight_requested: 8,
            weight_missed: 2,
            ..RunOutcome::default()
        };
        let subject = RunSubject { trace: "a,b", policy: "lru", params: r#"{"x":1}"# };
        RunReport::new(subject, &config, &outcome)
    }

    const FIELDS: &str = "trace,policy,params,capacity,shards,seed,requests,hits,misses,rejected,\
        miss_ratio,byte_miss_ratio,victims_digest,faults,fault_kind,fault,fault_request,\
        fallback_requests,swaps,guest_memory_bytes,ns_per_request,guest_ns_per_request,live,decisions";

    #[test]
    fn json_has_every_field_in_order() {
        let mut out = Vec::new();
        write_json(&mut out, &[report()]).unwrap();
        let line = String::from_utf8(out).unwrap();
        let mut from = 0;
        for field in FIELDS.split(',') {
            let at = line[from..].find(&format!("\"{field}\":")).expect(field);
            from += at;
        }
        assert!(line.contains("\"miss_ratio\":0.75,\"byte_miss_ratio\":0.25"), "{line}");
    }

    #[test]
    fn csv_has_the_same_fields_and_quotes() {
        let mut out = Vec::new();
        write_csv(&mut out, &[report(), report()]).unwrap();
        let text = String::from_utf8(out).unwrap();
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some(FIELDS));
        assert!(lines.next().unwrap().contains("\"a,b\""));
        assert_eq!(lines.count(), 1);
    }
}
