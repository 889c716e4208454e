//! What changes a cache's policy by itself, over HTTP: how the candidates do, and what was decided.

use std::sync::Arc;

use axum::extract::State;
use ostler_adapt::live::{Adaptive, CandidateStatus, DecisionRecord};
use schemars::JsonSchema;
use serde::Serialize;

use super::Api;
use super::extract::CacheAt;

/// Decisions of a cache's selector.
#[derive(Serialize, JsonSchema)]
pub(crate) struct DecisionList {
    /// The cache's policy changes by itself.
    adaptive: bool,
    /// The last ones, 256 at most, newest first.
    decisions: Vec<DecisionBody>,
}

/// One decision with its evidence.
#[derive(Serialize, JsonSchema)]
pub(crate) struct DecisionBody {
    /// Its number since the start, from 1.
    number: u64,
    /// When, milliseconds since 1970.
    unix_ms: u64,
    /// What was done: `hold` (nothing, for a reason worth saying), `swap`, `tune` (the same code with other
    /// parameters), `rollback`, `demoted` (a candidate is out of the comparison) or `refused`.
    action: String,
    /// The policy that was in charge, none where it is none of the portfolio.
    from: Option<String>,
    /// The policy that took over, or should have; the one that was taken out.
    to: Option<String>,
    /// Why: a word for a swap (`steady`, `drift`, `fault`, `rollback`), else a sentence.
    reason: String,
    /// What the hits of `to` are worth more than those of `from`, as a share of what `from` missed, on the
    /// requests that this rests on; 0 where nothing was compared.
    gain: f64,
    /// That difference in standard errors.
    z: f64,
    /// Median of the gain over groups of keys.
    median_gain: f64,
    /// Sampled requests so far.
    requests: u64,
    /// Share of the worth of sampled requests that the cache itself hit lately.
    live_hit_ratio: f64,
    /// Share of the keys in shadow.
    share: f64,
    /// All candidates on the same requests.
    candidates: Vec<FiguresBody>,
}

/// A candidate at the time of a decision.
#[derive(Serialize, JsonSchema)]
pub(crate) struct FiguresBody {
    /// Its name, with parameters where several have that name.
    policy: String,
    /// Share of the worth of the same requests that its shadow hit lately.
    hit_ratio: f64,
    /// Nanoseconds in the policy for each request, estimated; 0 for one that is compiled in.
    guest_ns_per_request: f64,
}

impl From<DecisionRecord> for DecisionBody {
    fn from(record: DecisionRecord) -> Self {
        let candidates = record.candidates.into_iter().map(|candidate| FiguresBody {
            policy: candidate.policy,
            hit_ratio: candidate.hit_ratio,
            guest_ns_per_request: candidate.guest_ns_per_request,
        });
        Self {
            number: record.number,
            unix_ms: record.unix_ms,
            action: record.action.name().to_owned(),
            from: record.from,
            to: record.to,
            reason: record.reason,
            gain: record.gain,
            z: record.z,
            median_gain: record.median_gain,
            requests: record.requests,
            live_hit_ratio: record.live_hit_ratio,
            share: record.share,
            candidates: candidates.collect(),
        }
    }
}

/// How the comparison of a cache's candidates stands.
#[derive(Serialize, JsonSchema)]
pub(crate) struct AdaptiveBody {
    /// What they are compared by: `object`, `byte` or `cost`.
    objective: String,
    /// Why nothing changes at the moment, none while everything is as it should be.
    hold: Option<String>,
    /// The shadows have been filled: from then on they are compared.
    is_warm: bool,
    /// Share of the keys in shadow.
    share: f64,
    /// What it would be if shadows took no more than they may.
    share_wanted: f64,
    /// Share of one core that they took in the last seconds.
    cpu_share: f64,
    /// Records that were not heard because too many waited.
    records_dropped: u64,
    /// Windows that were judged.
    windows: u64,
    /// Sampled requests.
    requests: u64,
    /// Of those, for entries too large for the shadows.
    oversize: u64,
    /// Share of the worth of sampled requests that the cache itself hit lately.
    live_hit_ratio: f64,
    /// The portfolio, in its order.
    candidates: Vec<CandidateBody>,
}

/// A candidate and its shadow.
#[derive(Serialize, JsonSchema)]
pub(crate) struct CandidateBody {
    /// Its name, with parameters where several have that name.
    policy: String,
    /// It is in charge of the cache.
    in_charge: bool,
    /// Why it is out of the comparison, none while it takes part.
    out: Option<String>,
    /// Requests that its shadow played.
    requests: u64,
    /// Share of the worth of the last requests that its shadow hit.
    hit_ratio: f64,
    /// Entries in its shadow.
    entries: u64,
    /// Nanoseconds in its policy, estimated; 0 for one that is compiled in.
    guest_ns: u64,
    /// Memory of its policy in shadow, bytes.
    memory_bytes: u64,
}

impl From<CandidateStatus> for CandidateBody {
    fn from(status: CandidateStatus) -> Self {
        Self {
            policy: status.policy,
            in_charge: status.in_charge,
            out: status.out,
            requests: status.requests,
            hit_ratio: status.hit_ratio,
            entries: status.entries,
            guest_ns: status.guest_ns,
            memory_bytes: status.memory_bytes,
        }
    }
}

impl AdaptiveBody {
    pub(crate) fn new(adaptive: &Adaptive) -> Self {
        let (live, status) = (adaptive.live().status(), adaptive.status());
        Self {
            objective: status.objective.name().to_owned(),
            hold: status.hold,
            is_warm: status.is_warm,
            share: live.share,
            share_wanted: live.share_wanted,
            cpu_share: live.cpu_share,
            records_dropped: live.dropped,
            windows: status.windows,
            requests: status.requests,
            oversize: status.oversize,
            live_hit_ratio: status.live_hit_ratio,
            candidates: status.candidates.into_iter().map(CandidateBody::from).collect(),
        }
    }
}

/// `GET /v1/caches/{cache}/decisions`.
pub(crate) async fn decisions(
    State(api): State<Arc<Api>>,
    cache: CacheAt,
) -> axum::Json<DecisionList> {
    let adaptive = api.service.adaptive(cache.0);
    let decisions = adaptive.as_ref().map(|adaptive| adaptive.decisions()).unwrap_or_default();
    axum::Json(DecisionList {
        adaptive: adaptive.is_some(),
        decisions: decisions.into_iter().map(DecisionBody::from).collect(),
    })
}
