//! Caches over HTTP: what they hold and count, and who is in charge of them.

use std::sync::Arc;

use axum::extract::State;
use ostler_core::{SeatError, SeatStatus, Stats};
use ostler_wasm::ModuleId;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::Api;
use super::decisions::AdaptiveBody;
use super::extract::{CacheAt, Json};
use super::problem::{Kind, Problem};
use super::schemas::{ModuleIdText, QuarantineBody};
use crate::adaptive::Shortfall;
use crate::keyspace::Keyspace;
use crate::policies::{ActivateError, Activated, Activation, PolicyError, Quarantine};
use crate::tallies::SwapReason;

/// All caches.
#[derive(Serialize, JsonSchema)]
pub(crate) struct CacheList {
    /// In the order of the settings.
    caches: Vec<CacheBody>,
}

/// A cache in short.
#[derive(Serialize, JsonSchema)]
pub(crate) struct CacheBody {
    /// Its name.
    name: String,
    /// The databases that live in it.
    databases: Vec<u8>,
    /// Entries now.
    entries: u64,
    /// Their weight, bytes.
    weight_bytes: u64,
    /// What it may hold, bytes.
    capacity_bytes: u64,
    /// Hits ÷ requests since the start, 0 without requests.
    hit_ratio: f64,
    /// The policy that was appointed last.
    policy: Option<String>,
}

/// Everything that a cache counts.
#[derive(Serialize, JsonSchema)]
pub(crate) struct StatsBody {
    /// Its name.
    name: String,
    /// The time of these figures, milliseconds since 1970.
    unix_ms: u64,
    /// Entries of each of its databases.
    databases: Vec<DatabaseBody>,
    /// Hits ÷ requests since the start, 0 without requests.
    hit_ratio: f64,
    /// Who is in charge.
    seat: SeatBody,
    /// What it holds, and what it did since the start.
    counts: Counts,
    /// How candidates do in shadow, none where the policy does not change by itself.
    adaptive: Option<AdaptiveBody>,
    /// Why the policy does not change by itself though the settings say so, none where it does.
    adaptive_error: Option<String>,
    /// Policies of the portfolio in the settings that take no part.
    adaptive_missing: Vec<MissingBody>,
}

/// A database of a cache.
#[derive(Serialize, JsonSchema)]
pub(crate) struct DatabaseBody {
    /// Its number.
    database: u8,
    /// Entries in it.
    entries: u64,
}

/// Who is wanted in charge of a cache, and who is.
#[derive(Serialize, JsonSchema)]
pub(crate) struct SeatBody {
    /// The policy that was appointed last.
    desired: Option<String>,
    /// Its version, none where it is not an uploaded one.
    #[schemars(with = "Option<ModuleIdText>")]
    version: Option<ModuleId>,
    /// All its parameters.
    params: Value,
    /// The policy that a rollback would appoint.
    previous: Option<String>,
    /// The policy that should be in charge and cannot be used, none as a rule: `desired` stands in.
    missing: Option<MissingBody>,
    /// Policies whose faults cost them its trust, oldest first: they get no seat, over restarts too,
    /// until one is activated with `pardon`.
    #[schemars(with = "Vec<QuarantineBody>")]
    quarantined: Vec<Quarantine>,
    /// Each shard.
    shards: Vec<ShardBody>,
}

/// A policy that should be in charge, and cannot be used.
#[derive(Serialize, JsonSchema)]
pub(crate) struct MissingBody {
    /// Its name.
    policy: String,
    /// Why it cannot be used.
    reason: String,
}

/// The seat of one shard.
#[derive(Serialize, JsonSchema)]
pub(crate) struct ShardBody {
    /// The policy in charge, none where the engine's fallback serves.
    policy: Option<String>,
    /// Why the last one lost the seat.
    fault: Option<FaultBody>,
}

/// How a policy broke its contract.
#[derive(Serialize, JsonSchema)]
pub(crate) struct FaultBody {
    /// The kind, as in the metrics.
    pub(crate) kind: String,
    /// What it did.
    pub(crate) detail: String,
}

impl FaultBody {
    pub(crate) fn new(fault: &ostler_core::PolicyFault) -> Self {
        Self { kind: fault.kind().to_owned(), detail: fault.to_string() }
    }
}

macro_rules! counts {
    ($($(#[$doc:meta])* $field:ident),* $(,)?) => {
        /// What a cache holds, and what it did since the start.
        #[derive(Serialize, JsonSchema)]
        pub(crate) struct Counts { $($(#[$doc])* $field: u64,)* }

        impl From<Stats> for Counts {
            fn from(stats: Stats) -> Self {
                Self { $($field: stats.$field,)* }
            }
        }
    };
}

counts! {
    /// Entries now; some may have expired and wait to be reaped.
    entries,
    /// Their weight, bytes.
    weight,
    /// Weight that the policies keep, bytes.
    capacity,
    /// Weight that may come on top until a policy has been asked, bytes.
    slack,
    /// Requests that found their key.
    hits,
    /// Requests that did not.
    misses,
    /// Hits that a policy is told of, each by a record of its own.
    hits_delivered,
    /// Hits that were told together with another one.
    hits_coalesced,
    /// Hits that no policy hears of.
    hits_dropped,
    /// Values that were put in.
    inserted,
    /// Entries given up to keep the capacity.
    evicted,
    /// Of those, by the engine itself.
    evicted_natively,
    /// Entries whose time was over.
    expired,
    /// Entries removed by callers.
    removed,
    /// Values that were overwritten.
    replaced,
    /// Entries cleared.
    cleared,
    /// Values not kept at all.
    rejected,
    /// Victims whose entry had meanwhile gone.
    stale_victims,
    /// Calls of policies.
    policy_calls,
    /// Records handed to policies.
    policy_records,
    /// Policy faults.
    policy_faults,
    /// Times that a maintainer came.
    maintenances,
    /// Nanoseconds spent in policies, estimated.
    guest_ns,
    /// Memory of the policies, bytes.
    guest_memory_bytes,
    /// Memory of the expiry tables, bytes.
    expiry_bytes,
    /// Shards whose policy is in charge.
    shards_in_charge,
    /// Shards.
    shards,
    /// Greatest number of records that a shard's lock was ever held for.
    held_records_max,
    /// Listeners' panics, which were caught.
    listener_panics,
}

/// A change of the policy in charge.
#[derive(Serialize, JsonSchema)]
pub(crate) struct ActivatedBody {
    /// The policy in charge now.
    policy: String,
    /// Its version, none where it is not an uploaded one.
    #[schemars(with = "Option<ModuleIdText>")]
    version: Option<ModuleId>,
    /// The parameters that were given.
    params: Map<String, Value>,
    /// Entries that the new policy was told of.
    adopted: u64,
    /// Shards whose seat changed.
    shards: usize,
    /// Why the next start will not know of it, none where it is kept.
    not_kept: Option<String>,
}

/// `GET /v1/caches`.
pub(crate) async fn list(State(api): State<Arc<Api>>) -> Result<axum::Json<CacheList>, Problem> {
    let caches = blocking(move || {
        let caches = api.service.caches.iter().enumerate();
        let described = caches.map(|(index, keyspace)| {
            let stats = keyspace.stats();
            CacheBody {
                name: keyspace.name().to_owned(),
                databases: api.service.databases_of(index),
                entries: stats.entries,
                weight_bytes: stats.weight,
                capacity_bytes: stats.capacity,
                hit_ratio: stats.hit_ratio(),
                policy: keyspace.cache().seat_status().desired,
            }
        });
        described.collect()
    });
    Ok(axum::Json(CacheList { caches: caches.await? }))
}

/// `GET /v1/caches/{cache}/stats`.
pub(crate) async fn stats(
    State(api): State<Arc<Api>>,
    cache: CacheAt,
) -> Result<axum::Json<StatsBody>, Problem> {
    blocking(move || axum::Json(stats_of(&api, cache))).await
}

fn stats_of(api: &Api, cache: CacheAt) -> StatsBody {
    let keyspace = cache.of(api);
    let databases = &api.service.databases;
    let entries_of =
        |database| DatabaseBody { database, entries: keyspace.size(databases.home(database)) };
    let stats = keyspace.stats();
    let Shortfall { missing, error } =
        api.service.shortfalls.lock().get(cache.0).cloned().unwrap_or_default();
    let missing = missing.into_iter().map(|(policy, reason)| MissingBody { policy, reason });
    StatsBody {
        name: keyspace.name().to_owned(),
        unix_ms: api.service.clock.now_unix_ms(),
        databases: api.service.databases_of(cache.0).into_iter().map(entries_of).collect(),
        hit_ratio: stats.hit_ratio(),
        seat: seat_of(api, cache),
        counts: stats.into(),
        adaptive: api.service.adaptive(cache.0).map(|adaptive| AdaptiveBody::new(&adaptive)),
        adaptive_error: error,
        adaptive_missing: missing.collect(),
    }
}

/// Who is in charge. Waits for each shard's maintainer.
pub(crate) fn seat_of(api: &Api, cache: CacheAt) -> SeatBody {
    let keyspace = cache.of(api);
    let in_charge = api.service.policies.in_charge(keyspace.name());
    let SeatStatus { desired, params, previous, actual, faults, .. } =
        keyspace.cache().seat_status();
    let faults = faults.into_iter().map(|fault| fault.map(|fault| FaultBody::new(&fault)));
    let params = params.and_then(|params| serde_json::from_str(&params).ok());
    SeatBody {
        missing: in_charge
            .as_ref()
            .and_then(|seat| seat.missing.clone())
            .map(|missing| MissingBody { policy: missing.charge.policy, reason: missing.reason }),
        version: in_charge.as_ref().and_then(|seat| seat.current.version),
        // After a restart the cache does not know what was before; the kept registry does.
        previous: in_charge.and_then(|seat| seat.previous).map(|charge| charge.policy).or(previous),
        quarantined: api.service.policies.quarantines(keyspace.name()),
        desired,
        params: params.unwrap_or_else(|| Value::Object(Map::new())),
        shards: actual
            .into_iter()
            .zip(faults)
            .map(|(policy, fault)| ShardBody { policy, fault })
            .collect(),
    }
}

/// `POST /v1/caches/{cache}/policy`.
pub(crate) async fn activate(
    State(api): State<Arc<Api>>,
    cache: CacheAt,
    Json(wanted): Json<Activation>,
) -> Result<axum::Json<ActivatedBody>, Problem> {
    change(api, cache, SwapReason::Request, move |api, keyspace| {
        api.service.policies.activate(keyspace, &wanted)
    })
    .await
}

/// `POST /v1/caches/{cache}/rollback`.
pub(crate) async fn rollback(
    State(api): State<Arc<Api>>,
    cache: CacheAt,
) -> Result<axum::Json<ActivatedBody>, Problem> {
    change(api, cache, SwapReason::Rollback, move |api, keyspace| {
        api.service.policies.rollback(keyspace)
    })
    .await
}

/// Changes a policy when it is its turn.
async fn change(
    api: Arc<Api>,
    cache: CacheAt,
    reason: SwapReason,
    work: impl FnOnce(&Api, &Keyspace) -> Result<Activated, ActivateError> + Send + 'static,
) -> Result<axum::Json<ActivatedBody>, Problem> {
    let Ok(turn) = Arc::clone(&api.changes).try_acquire_owned() else {
        let detail = "too many changes of policies are waiting already";
        return Err(Problem::new(Kind::Overloaded, detail).retry_after_s(1));
    };
    // The caller may go away; the change goes on, and holds its turn until it is through.
    let changed = blocking(move || {
        let _turn = turn;
        api.service.change_policy(cache.0, reason, |keyspace| work(&api, keyspace))
    });
    let Activated { charge, handover, not_kept } = changed.await?.map_err(change_problem)?;
    Ok(axum::Json(ActivatedBody {
        policy: charge.policy,
        version: charge.version,
        params: charge.params,
        adopted: handover.adopted,
        shards: handover.shards,
        not_kept,
    }))
}

/// Runs what may block on a thread of its own.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        tracing::error!(%error, "work for the API broke down");
        Problem::new(Kind::Internal, "the server broke down on this request; its log says where")
    })
}

/// A change that was refused.
pub(crate) fn change_problem(error: ActivateError) -> Problem {
    let detail = error.to_string();
    match error {
        ActivateError::Experiment { id } => {
            Problem::new(Kind::ExperimentRuns, detail).with("experiment", id.to_string())
        }
        ActivateError::Stopping => Problem::new(Kind::Stopping, detail),
        ActivateError::Seat(error) => seat_problem(error, detail),
        ActivateError::Policy(error) => policy_problem(error, detail),
    }
}

fn seat_problem(error: SeatError, detail: String) -> Problem {
    match error {
        SeatError::Fault { policy, shard, fault } => Problem::new(Kind::PolicyFaulted, detail)
            .with("policy", policy)
            .with("shard", shard)
            .with("kind", fault.kind()),
        SeatError::Quarantined { policy } => {
            let detail = format!("{detail}: send \"pardon\": true with the policy");
            Problem::new(Kind::PolicyQuarantined, detail).with("policy", policy)
        }
        SeatError::NoPrevious => Problem::new(Kind::NoPrevious, detail),
        _ => Problem::new(Kind::Busy, detail).retry_after_s(1),
    }
}

/// A policy that cannot be had.
pub(crate) fn policy_problem(error: PolicyError, detail: String) -> Problem {
    use ostler::OpenError;
    let kind = match &error {
        PolicyError::Unknown { .. } => Kind::UnknownPolicy,
        PolicyError::Open(
            OpenError::Unknown { .. } | OpenError::UnknownOfKind { .. } | OpenError::Spec(_),
        ) => Kind::UnknownPolicy,
        PolicyError::Open(OpenError::Kind { .. }) => Kind::PolicyElsewhere,
        PolicyError::Open(OpenError::Params { .. }) => Kind::ParametersRefused,
        PolicyError::Open(OpenError::Refused { source, .. }) => {
            return Problem::new(Kind::ModuleRefused, detail).with("step", source.step());
        }
        PolicyError::Damaged { .. } | PolicyError::Store(_) => Kind::Storage,
        _ => Kind::Internal,
    };
    Problem::new(kind, detail)
}
