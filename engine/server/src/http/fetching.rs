//! What is fetched before anybody asks, over HTTP: prefetching, warming, and who decides about them.

use std::sync::Arc;

use axum::extract::State;
use ostler_abi::PolicyKind;
use ostler_adapt::LearnerReport;
use ostler_fetch::prefetch::PrefetchCounters;
use ostler_wasm::ModuleId;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::Api;
use super::caches::{blocking, change_problem};
use super::extract::{CacheAt, Json};
use super::problem::{Kind, Problem};
use super::schemas::{ModuleIdText, QuarantineBody};
use crate::fetching::shown::WarmingShown;
use crate::fetching::{SeatChangeError, Seated, Wanted};
use crate::policies::{Activation, Quarantine, SideSeat};

/// Who says what is fetched.
#[derive(Serialize, JsonSchema)]
pub(crate) struct SideSeatBody {
    /// The policy that was put there last; `off` for nobody, none where the cache has no origin.
    desired: Option<String>,
    /// Its version, none where it is not an uploaded one.
    #[schemars(with = "Option<ModuleIdText>")]
    version: Option<ModuleId>,
    /// The policy at work, none where nobody is.
    policy: Option<String>,
    /// All its parameters.
    params: Value,
    /// Why `desired` is not at work, none while it is.
    reason: Option<String>,
    /// The policy that a rollback would put to work.
    previous: Option<String>,
    /// Policies whose faults cost them the cache's trust, until one is put to work with `pardon`.
    #[schemars(with = "Vec<QuarantineBody>")]
    quarantined: Vec<Quarantine>,
}

/// How prefetching stands.
#[derive(Serialize, JsonSchema)]
pub(crate) struct PrefetchBody {
    /// Who decides.
    seat: SideSeatBody,
    /// The cache has an origin to fetch from.
    has_origin: bool,
    /// Too little was useful: next to nothing is fetched until trials show that it is worth while again.
    is_throttled: bool,
    /// Fetches under way.
    under_way: u64,
    /// Fetches that may be under way; few where the origin is slow or fails.
    places: u64,
    /// Requests that were not heard because too many waited.
    dropped: u64,
    /// What the origin did wrong last, none as a rule.
    origin_error: Option<String>,
    /// Seven figures that say whether it is worth while, since the start.
    figures: FiguresBody,
    /// What they come from.
    counts: PrefetchCounts,
}

/// The seven figures of prefetching, all of them shares.
#[derive(Serialize, JsonSchema)]
pub(crate) struct FiguresBody {
    /// Misses that became hits ÷ misses there would have been.
    coverage: f64,
    /// Useful prefetches ÷ fetches.
    accuracy: f64,
    /// Prefetches that a request overtook ÷ fetches.
    late_fraction: f64,
    /// Fetches that would not have been made without prefetching, a request.
    extra_fetches_per_request: f64,
    /// Misses on entries that prefetches displaced, a request.
    pollution: f64,
    /// Hit ratio less that without prefetching, estimated.
    hit_gain: f64,
    /// Prefetched entries that left unused ÷ fetches.
    wasted: f64,
}

macro_rules! prefetch_counts {
    ($($(#[$doc:meta])* $field:ident),* $(,)?) => {
        /// What prefetching did since the start.
        #[derive(Serialize, JsonSchema)]
        pub(crate) struct PrefetchCounts { $($(#[$doc])* $field: u64,)* }

        impl From<PrefetchCounters> for PrefetchCounts {
            fn from(counters: PrefetchCounters) -> Self {
                Self { $($field: counters.$field,)* }
            }
        }
    };
}

prefetch_counts! {
    /// Requests that were heard.
    requests,
    /// Of those, misses.
    misses,
    /// Keys that the policy asked for.
    asks,
    /// Keys that were fetched.
    fetches,
    /// Fetches that brought an entry in.
    landed,
    /// Prefetched entries that were hit.
    useful,
    /// Fetches that a request overtook.
    late,
    /// Prefetched entries that left unused.
    wasted,
    /// Fetches that failed.
    failed,
    /// Fetches of keys that the origin does not have.
    absent,
    /// Misses on entries that prefetches displaced.
    polluted,
    /// Keys that were not fetched for want of budget.
    refused_budget,
    /// Keys that were resident or under way.
    refused_resident,
    /// Keys that were not fetched since the origin is busy, slow or failing.
    refused_queue,
    /// Keys that were asked for by a hash that nobody knows any more.
    refused_unknown,
}

/// How warming stands.
#[derive(Serialize, JsonSchema)]
pub(crate) struct WarmingBody {
    /// Who decides.
    seat: SideSeatBody,
    /// The cache has an origin to fetch from.
    has_origin: bool,
    /// `idle`, `ranking` or `fetching`.
    phase: String,
    /// Times that it came to its end.
    rounds: u64,
    /// Keys that got a score in the last round.
    ranked: u64,
    /// Keys that were to be fetched in it.
    planned: u64,
    /// Weight that it may bring in, bytes.
    budget_bytes: u64,
    /// Weight that it brought in, bytes.
    brought_bytes: u64,
    /// Fetches under way.
    under_way: u64,
    /// Fetches since the start.
    fetches: u64,
    /// Of those, entries that came in.
    stored: u64,
    /// Of those, entries that were there by then.
    unneeded: u64,
    /// Of those, keys that the origin does not have.
    absent: u64,
    /// Of those, failures.
    failed: u64,
    /// Keys that are remembered.
    history_keys: u64,
    /// What they take, bytes.
    history_bytes: u64,
    /// Keys that came over the last restart.
    restored_keys: u64,
    /// Snapshots of what is remembered that were written.
    snapshots: u64,
    /// Snapshots that could not be written.
    snapshots_failed: u64,
    /// When the last one was written, milliseconds since 1970.
    snapshot_unix_ms: Option<u64>,
}

/// A change of who says what is fetched.
#[derive(Serialize, JsonSchema)]
pub(crate) struct SeatedBody {
    /// The policy at work now, `off` for nobody.
    policy: String,
    /// Its version, none where it is not an uploaded one.
    #[schemars(with = "Option<ModuleIdText>")]
    version: Option<ModuleId>,
    /// The parameters that were given.
    params: Map<String, Value>,
    /// Why the next start will not know of it, none where it is kept.
    not_kept: Option<String>,
}

/// What the policies of a cache said to models.
#[derive(Serialize, JsonSchema)]
pub(crate) struct ModelBody {
    /// The models that were published.
    published: u64,
    /// Times that an instance took one; a new instance is given the one in force.
    taken: u64,
    /// Times that an instance refused one.
    refused: u64,
    /// Why one was refused last.
    refusal: Option<String>,
    /// Times that an instance broke its contract over one.
    faulted: u64,
    /// Models that nobody took and somebody refused: the one before is in force again.
    withdrawn: u64,
    /// How they are learned, none where the policy in charge takes no models.
    learner: Option<LearnerBody>,
}

/// How models are learned.
#[derive(Serialize, JsonSchema)]
pub(crate) struct LearnerBody {
    /// The candidate in force: `prior` is the one that comes with the server.
    leader: String,
    /// Changes of the candidate in force.
    changes: u32,
    /// Of those, changes back to the prior: what was trained missed clearly more.
    to_prior: u32,
    /// Models that were published.
    models: u32,
    /// Trained weights that were no valid model.
    refused: u32,
    /// Of those, no weights at all: the equations had no solution.
    unsolved: u32,
    /// Requests that were learned from.
    requests: u64,
    /// Labels that were learned.
    labels: u64,
    /// Mean square error of the trained model on the newest labels, before it learned them.
    error: f64,
    /// The prior's, on the same labels.
    error_prior: f64,
    /// Mean of prediction less label: 0 for a calibrated model.
    bias: f64,
    /// The candidates.
    candidates: Vec<LearnedBody>,
}

/// A candidate of the learner.
#[derive(Serialize, JsonSchema)]
pub(crate) struct LearnedBody {
    /// Its name.
    name: String,
    /// Misses of its trial, older ones for less.
    misses: f64,
}

impl From<LearnerReport> for LearnerBody {
    fn from(report: LearnerReport) -> Self {
        let candidates = report.candidates.into_iter();
        let candidates = candidates
            .map(|one| LearnedBody { name: one.name.to_owned(), misses: one.misses })
            .collect();
        Self {
            leader: report.leader.to_owned(),
            changes: report.changes,
            to_prior: report.to_prior,
            models: report.models,
            refused: report.refused,
            unsolved: report.unsolved,
            requests: report.requests,
            labels: report.labels,
            error: report.error,
            error_prior: report.error_prior,
            bias: report.bias,
            candidates,
        }
    }
}

/// `GET /v1/caches/{cache}/prefetch`.
pub(crate) async fn prefetch(
    State(api): State<Arc<Api>>,
    cache: CacheAt,
) -> axum::Json<PrefetchBody> {
    let fetcher = api.service.fetching.of(cache.0);
    let shown = fetcher.as_ref().map(|fetcher| fetcher.shown().prefetch.lock().clone());
    let shown = shown.unwrap_or_default();
    let figures = shown.counters.figures();
    axum::Json(PrefetchBody {
        has_origin: fetcher.is_some(),
        is_throttled: shown.is_throttled,
        under_way: shown.under_way,
        places: shown.places,
        dropped: shown.dropped,
        origin_error: fetcher.as_ref().and_then(|fetcher| fetcher.shown().last_error()),
        figures: FiguresBody {
            coverage: figures.coverage,
            accuracy: figures.accuracy,
            late_fraction: figures.late_fraction,
            extra_fetches_per_request: figures.extra_fetches_per_request,
            pollution: figures.pollution,
            hit_gain: figures.hit_gain,
            wasted: figures.wasted,
        },
        counts: shown.counters.into(),
        seat: seat(&api, cache, PolicyKind::Prefetch, (shown.policy, shown.params, shown.reason)),
    })
}

/// `GET /v1/caches/{cache}/warming`.
pub(crate) async fn warming(
    State(api): State<Arc<Api>>,
    cache: CacheAt,
) -> axum::Json<WarmingBody> {
    axum::Json(warming_of(&api, cache))
}

fn warming_of(api: &Api, cache: CacheAt) -> WarmingBody {
    let fetcher = api.service.fetching.of(cache.0);
    let shown = fetcher.as_ref().map(|fetcher| fetcher.shown().warming.lock().clone());
    let shown: WarmingShown = shown.unwrap_or_default();
    WarmingBody {
        has_origin: fetcher.is_some(),
        phase: shown.phase.name().to_owned(),
        rounds: shown.rounds,
        ranked: shown.ranked,
        planned: shown.planned,
        budget_bytes: shown.budget_bytes,
        brought_bytes: shown.brought_bytes,
        under_way: shown.under_way,
        fetches: shown.fetches,
        stored: shown.stored,
        unneeded: shown.unneeded,
        absent: shown.absent,
        failed: shown.failed,
        history_keys: shown.history_keys,
        history_bytes: shown.history_bytes,
        restored_keys: shown.restored_keys,
        snapshots: shown.snapshots,
        snapshots_failed: shown.snapshots_failed,
        snapshot_unix_ms: shown.snapshot_unix_ms,
        seat: seat(api, cache, PolicyKind::Warming, (shown.policy, shown.params, shown.reason)),
    }
}

/// Who decides: what is kept of it, and who is at work with which parameters, or why nobody is.
fn seat(
    api: &Api,
    cache: CacheAt,
    kind: PolicyKind,
    (policy, params, reason): (Option<String>, Option<String>, Option<String>),
) -> SideSeatBody {
    let side = SideSeat { cache: cache.of(api).name(), kind };
    let (desired, previous) = api.service.policies.side_in_charge(side).unzip();
    let params = params.and_then(|params| serde_json::from_str(&params).ok());
    SideSeatBody {
        version: desired.as_ref().and_then(|charge| charge.version),
        desired: desired.map(|charge| charge.policy),
        policy,
        params: params.unwrap_or_else(|| Value::Object(Map::new())),
        reason,
        previous: previous.flatten().map(|charge| charge.policy),
        quarantined: api.service.policies.side_quarantines(side),
    }
}

/// `POST /v1/caches/{cache}/prefetch`.
pub(crate) async fn activate_prefetch(
    State(api): State<Arc<Api>>,
    cache: CacheAt,
    Json(wanted): Json<Activation>,
) -> Result<axum::Json<SeatedBody>, Problem> {
    change(api, cache, PolicyKind::Prefetch, Wanted::Policy(wanted)).await
}

/// `POST /v1/caches/{cache}/prefetch/rollback`.
pub(crate) async fn rollback_prefetch(
    State(api): State<Arc<Api>>,
    cache: CacheAt,
) -> Result<axum::Json<SeatedBody>, Problem> {
    change(api, cache, PolicyKind::Prefetch, Wanted::Previous).await
}

/// `POST /v1/caches/{cache}/warming`.
pub(crate) async fn activate_warming(
    State(api): State<Arc<Api>>,
    cache: CacheAt,
    Json(wanted): Json<Activation>,
) -> Result<axum::Json<SeatedBody>, Problem> {
    change(api, cache, PolicyKind::Warming, Wanted::Policy(wanted)).await
}

/// `POST /v1/caches/{cache}/warming/rollback`.
pub(crate) async fn rollback_warming(
    State(api): State<Arc<Api>>,
    cache: CacheAt,
) -> Result<axum::Json<SeatedBody>, Problem> {
    change(api, cache, PolicyKind::Warming, Wanted::Previous).await
}

/// Changes who decides when it is its turn.
async fn change(
    api: Arc<Api>,
    cache: CacheAt,
    kind: PolicyKind,
    wanted: Wanted,
) -> Result<axum::Json<SeatedBody>, Problem> {
    let Ok(turn) = Arc::clone(&api.changes).try_acquire_owned() else {
        let detail = "too many changes of policies are waiting already";
        return Err(Problem::new(Kind::Overloaded, detail).retry_after_s(1));
    };
    // The caller may go away; the change goes on, and holds its turn until it is through.
    let changed = blocking(move || {
        let _turn = turn;
        match kind {
            PolicyKind::Warming => api.service.change_warming(cache.0, &wanted),
            _ => api.service.change_prefetch(cache.0, &wanted),
        }
    });
    let Seated { charge, not_kept } = changed.await?.map_err(seat_problem)?;
    let (policy, version, params) = (charge.policy, charge.version, charge.params);
    Ok(axum::Json(SeatedBody { policy, version, params, not_kept }))
}

/// `POST /v1/caches/{cache}/warm`.
pub(crate) async fn warm(
    State(api): State<Arc<Api>>,
    cache: CacheAt,
) -> Result<axum::Json<WarmingBody>, Problem> {
    let begun = blocking(move || {
        let fetcher = api.service.fetching.of(cache.0).ok_or(SeatChangeError::NoOrigin)?;
        fetcher.warm()?;
        Ok::<_, SeatChangeError>(warming_of(&api, cache))
    });
    begun.await?.map(axum::Json).map_err(seat_problem)
}

/// `GET /v1/caches/{cache}/model`.
pub(crate) async fn model(State(api): State<Arc<Api>>, cache: CacheAt) -> axum::Json<ModelBody> {
    let stats = cache.of(&api).cache().model_stats();
    axum::Json(ModelBody {
        published: stats.published,
        taken: stats.taken,
        refused: stats.refused,
        refusal: stats.refusal.map(|refusal| refusal.to_string()),
        faulted: stats.faulted,
        withdrawn: stats.withdrawn,
        learner: api.service.lessons.report(cache.0).map(LearnerBody::from),
    })
}

fn seat_problem(error: SeatChangeError) -> Problem {
    let detail = error.to_string();
    match error {
        SeatChangeError::NoOrigin => Problem::new(Kind::NoOrigin, detail),
        SeatChangeError::Activate(error) => change_problem(error),
    }
}
