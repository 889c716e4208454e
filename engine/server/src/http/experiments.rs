//! Experiments over HTTP: begun, shown, promoted, stopped. What they are is the business of
//! [`Experiments`](crate::experiments::Experiments).

use std::sync::Arc;

use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use ostler_adapt::Objective;
use ostler_adapt::experiment::{ARMS_MAX, Comparison, Interval, Rule, Verdict};
use ostler_wasm::ModuleId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Api;
use super::caches::{blocking, change_problem, policy_problem};
use super::extract::{CacheAt, Json, KeyName};
use super::problem::{Kind, Problem};
use super::schemas::ModuleIdText;
use crate::experiments::{
    ExperimentError, ExperimentPlan, Trial, WINDOW_MS_MAX, WINDOW_MS_MIN, plan,
};

/// An experiment to begin.
#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExperimentPlanBody {
    /// The policies; the first is the control. Shares must be whole shards, at least 8 an arm.
    #[schemars(length(min = 2, max = ARMS_MAX))]
    arms: Vec<ArmPlanBody>,
    /// What a hit is worth.
    #[serde(default)]
    objective: ObjectiveText,
    /// The difference of hit ratios that one wants to find: intervals are narrowest when about this wide.
    #[serde(default = "plan::effect")]
    #[schemars(range(min = 0.000_001, max = 1.0))]
    effect: f64,
    /// Probability that an interval contains the truth at all looks together.
    #[serde(default = "plan::confidence")]
    #[schemars(range(min = 0.5, max = 0.9999))]
    confidence: f64,
    /// When it ends by itself.
    #[serde(default)]
    rule: RuleBody,
    /// Milliseconds between two looks.
    #[serde(default = "plan::window_ms")]
    #[schemars(range(min = WINDOW_MS_MIN, max = WINDOW_MS_MAX))]
    window_ms: u64,
    /// Seed of the draw of shards, by default one that nobody knows before.
    #[schemars(range(max = u32::MAX))]
    seed: Option<u32>,
}

/// An arm of an experiment to begin.
#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ArmPlanBody {
    /// A policy, as in an activation.
    policy: String,
    /// Which version, the newest where none is named.
    version: Option<ModuleIdText>,
    /// Parameters; those that are left out have the defaults of its manifest.
    #[serde(default)]
    params: Map<String, Value>,
    /// Share of the shards, above 0 and below 1; all together are 1.
    #[schemars(extend("exclusiveMinimum" = 0, "exclusiveMaximum" = 1))]
    share: f64,
}

/// What a hit is worth.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ObjectiveText {
    /// Every request the same.
    #[default]
    Object,
    /// The entry's weight.
    Byte,
    /// What the entry cost to load.
    Cost,
}

/// When an experiment ends by itself.
#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RuleBody {
    /// An arm is promoted once its interval lies above 0 and its lower end is at least this.
    #[serde(default = "least_effect")]
    #[schemars(range(min = 0.0, max = 1.0))]
    least_effect: f64,
    /// It stops once the intervals of all arms lie within ± this; 0 for never.
    #[serde(default = "equivalence")]
    #[schemars(range(min = 0.0, max = 1.0))]
    equivalence: f64,
    /// It stops after so many requests in all arms.
    #[schemars(range(max = REQUESTS_MAX))]
    requests_max: Option<u64>,
}

/// The largest whole number that JSON carries exactly everywhere.
const REQUESTS_MAX: u64 = (1 << 53) - 1;

fn least_effect() -> f64 {
    Rule::default().least_effect
}

fn equivalence() -> f64 {
    Rule::default().equivalence
}

impl Default for RuleBody {
    fn default() -> Self {
        let Rule { least_effect, equivalence, requests_max } = Rule::default();
        Self { least_effect, equivalence, requests_max }
    }
}

/// All experiments of a cache that are remembered.
#[derive(Serialize, JsonSchema)]
pub(crate) struct ExperimentList {
    /// Newest first.
    experiments: Vec<ExperimentBody>,
}

/// An experiment.
#[derive(Serialize, JsonSchema)]
pub(crate) struct ExperimentBody {
    /// Its id.
    id: String,
    /// The cache.
    cache: String,
    /// `running`, `promoted`, `stopped` or `aborted`.
    state: &'static str,
    /// Why it ended: `request`, or what the rule said, or what broke.
    reason: Option<String>,
    /// The arm that was promoted.
    promoted: Option<usize>,
    /// When it began, milliseconds since 1970.
    started_unix_ms: u64,
    /// When it ended, milliseconds since 1970.
    ended_unix_ms: Option<u64>,
    /// What a hit is worth.
    #[schemars(with = "ObjectiveText")]
    objective: Objective,
    /// The difference that one wants to find.
    effect: f64,
    /// Probability that an interval contains the truth at all looks together.
    confidence: f64,
    /// When it ends by itself.
    #[schemars(with = "RuleBody")]
    rule: Rule,
    /// Milliseconds between two looks.
    window_ms: u64,
    /// Seed of the draw of shards.
    seed: u64,
    /// Looks so far.
    windows: u64,
    /// Requests so far, of all arms.
    requests: u64,
    /// Share of the keys that is sampled for the control's shadows.
    share_sampled: f64,
    /// The arms; the first is the control.
    arms: Vec<ArmBody>,
    /// Every arm but the control against the control.
    comparisons: Vec<ComparisonBody>,
    /// What the rule said at the last look.
    #[schemars(with = "RuleVerdictBody")]
    verdict: Verdict,
}

/// An arm.
#[derive(Serialize, JsonSchema)]
pub(crate) struct ArmBody {
    /// Its number.
    arm: usize,
    /// Its policy.
    policy: String,
    /// Its version, none where it is not an uploaded one.
    #[schemars(with = "Option<ModuleIdText>")]
    version: Option<ModuleId>,
    /// All its parameters.
    params: Value,
    /// Its share of the shards.
    share: f64,
    /// Its shards.
    shards: Vec<u32>,
}

/// An arm against the control.
#[derive(Serialize, JsonSchema)]
pub(crate) struct ComparisonBody {
    /// The arm.
    arm: usize,
    /// Its policy.
    policy: String,
    /// It runs the control's own policy, to check the experiment itself: its interval should contain 0.
    self_check: bool,
    /// Hit ratio minus the control's, adjusted by the control's shadows; 0 while there is no estimate.
    difference: f64,
    /// Where the difference lies; none while there is too little to say. It holds whenever one looks.
    #[schemars(with = "Option<IntervalBody>")]
    interval: Option<Interval>,
    /// Standard error of the difference.
    standard_error: f64,
    /// The arm's hit ratio, as it is.
    hit_ratio: f64,
    /// The control's hit ratio, as it is.
    control_hit_ratio: f64,
    /// Requests of both.
    requests: u64,
    /// Looks so far.
    windows: u64,
}

/// Where a difference lies.
#[derive(Serialize, JsonSchema)]
pub(crate) struct IntervalBody {
    /// The lower end.
    low: f64,
    /// The upper end.
    high: f64,
}

/// What the rule says.
#[derive(Serialize, JsonSchema)]
pub(crate) struct RuleVerdictBody {
    /// `continue`, `promote` or `stop`.
    verdict: String,
    /// The arm to promote.
    arm: Option<usize>,
    /// The least that it is better by.
    gain: Option<f64>,
    /// Why it stops.
    reason: Option<String>,
}

/// Which arm to promote.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Promotion {
    /// Its number.
    #[schemars(range(max = ARMS_MAX - 1))]
    arm: usize,
}

/// The experiment in the path.
pub(crate) struct ExperimentId(u64);

impl<S: Sync> FromRequestParts<S> for ExperimentId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let KeyName(id) = KeyName::from_request_parts(parts, state).await?;
        let text = String::from_utf8_lossy(&id);
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|_| is_number).map(Self).ok_or_else(|| unknown(&text))
    }
}

fn unknown(id: &str) -> Problem {
    let detail = format!("experiment {id}: there is none, or it ended long ago");
    Problem::new(Kind::UnknownExperiment, detail)
}

/// `POST /v1/caches/{cache}/experiments`.
pub(crate) async fn start(
    State(api): State<Arc<Api>>,
    cache: CacheAt,
    Json(plan): Json<ExperimentPlan>,
) -> Result<Response, Problem> {
    let trial = change(&api, move |api| api.service.start_experiment(cache.0, &plan)).await?;
    let name = cache.of(&api).name();
    let name = percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC);
    let location = format!("/v1/caches/{name}/experiments/{}", trial.id());
    let body = ExperimentBody::new(&api, &trial);
    let mut response = (StatusCode::CREATED, axum::Json(body)).into_response();
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// `GET /v1/caches/{cache}/experiments`.
pub(crate) async fn list(
    State(api): State<Arc<Api>>,
    cache: CacheAt,
) -> axum::Json<ExperimentList> {
    let trials = api.service.experiments.list(cache.0);
    let experiments = trials.iter().map(|trial| ExperimentBody::new(&api, trial)).collect();
    axum::Json(ExperimentList { experiments })
}

/// `GET /v1/caches/{cache}/experiments/{id}`.
pub(crate) async fn get(
    State(api): State<Arc<Api>>,
    cache: CacheAt,
    ExperimentId(id): ExperimentId,
) -> Result<axum::Json<ExperimentBody>, Problem> {
    let trial = api.service.experiments.get(cache.0, id);
    let trial = trial.ok_or_else(|| unknown(&id.to_string()))?;
    Ok(axum::Json(ExperimentBody::new(&api, &trial)))
}

/// `POST /v1/caches/{cache}/experiments/{id}/promote`.
pub(crate) async fn promote(
    State(api): State<Arc<Api>>,
    cache: CacheAt,
    ExperimentId(id): ExperimentId,
    Json(Promotion { arm }): Json<Promotion>,
) -> Result<axum::Json<ExperimentBody>, Problem> {
    let end = move |api: &Api| api.service.promote_experiment((cache.0, id), arm);
    let trial = change(&api, end).await?;
    Ok(axum::Json(ExperimentBody::new(&api, &trial)))
}

/// `POST /v1/caches/{cache}/experiments/{id}/stop`.
pub(crate) async fn stop(
    State(api): State<Arc<Api>>,
    cache: CacheAt,
    ExperimentId(id): ExperimentId,
) -> Result<axum::Json<ExperimentBody>, Problem> {
    let trial = change(&api, move |api| api.service.stop_experiment((cache.0, id))).await?;
    Ok(axum::Json(ExperimentBody::new(&api, &trial)))
}

/// Changes an experiment when it is its turn.
async fn change(
    api: &Arc<Api>,
    work: impl FnOnce(&Api) -> Result<Arc<Trial>, ExperimentError> + Send + 'static,
) -> Result<Arc<Trial>, Problem> {
    let Ok(turn) = Arc::clone(&api.changes).try_acquire_owned() else {
        let detail = "too many changes of policies are waiting already";
        return Err(Problem::new(Kind::Overloaded, detail).retry_after_s(1));
    };
    let api = Arc::clone(api);
    // The caller may go away; the change goes on, and holds its turn until it is through.
    let changed = blocking(move || {
        let _turn = turn;
        work(&api)
    });
    changed.await?.map_err(problem)
}

fn problem(error: ExperimentError) -> Problem {
    use ostler_adapt::experiment::DealError;
    let detail = error.to_string();
    let impossible = |detail| Problem::new(Kind::ExperimentImpossible, detail);
    match error {
        ExperimentError::Running { id } => {
            Problem::new(Kind::ExperimentRuns, detail).with("experiment", id.to_string())
        }
        ExperimentError::Unknown { .. } => Problem::new(Kind::UnknownExperiment, detail),
        ExperimentError::Over { .. } => Problem::new(Kind::ExperimentOver, detail),
        ExperimentError::Deal { error: DealError::NotWhole { shards, nearest }, .. } => {
            let share = |&dealt: &u32| f64::from(dealt) / f64::from(shards);
            let shares: Vec<f64> = nearest.shards.iter().map(share).collect();
            impossible(detail).with("shards", shards).with("nearest", shares)
        }
        ExperimentError::Deal { shards_needed, .. } => {
            impossible(detail).with("shards_needed", shards_needed)
        }
        ExperimentError::Policy { arm, error } => {
            use crate::policies::PolicyError;
            match &*error {
                // The body is wrong, not the path.
                PolicyError::Unknown { .. } => impossible(detail),
                _ => policy_problem(*error, detail),
            }
            .with("arm", arm)
        }
        ExperimentError::Seat(error) => change_problem(error),
        ExperimentError::Thread(_) => Problem::new(Kind::Internal, detail),
        ExperimentError::NoArm { .. }
        | ExperimentError::Config(_)
        | ExperimentError::Window { .. } => impossible(detail),
    }
}

impl ExperimentBody {
    fn new(api: &Api, trial: &Trial) -> Self {
        let (shown, config) = (trial.shown(), trial.config());
        let arms = trial.arms().iter().enumerate().map(|(number, arm)| ArmBody {
            arm: number,
            policy: arm.charge.policy.clone(),
            version: arm.charge.version,
            params: serde_json::from_str(&arm.params).unwrap_or_default(),
            share: arm.share,
            shards: arm.shards.clone(),
        });
        Self {
            id: trial.id().to_string(),
            cache: api.service.caches[trial.cache()].name().to_owned(),
            state: shown.state_name(),
            reason: shown.reason().map(str::to_owned),
            promoted: shown.promoted(),
            started_unix_ms: trial.started_unix_ms(),
            ended_unix_ms: shown.ended_unix_ms,
            objective: config.objective,
            effect: config.effect,
            confidence: config.confidence,
            rule: config.rule,
            window_ms: trial.window_ms(),
            seed: trial.seed(),
            windows: shown.windows,
            requests: shown.requests,
            share_sampled: shown.share,
            arms: arms.collect(),
            comparisons: shown.comparisons.into_iter().map(ComparisonBody::from).collect(),
            verdict: shown.verdict,
        }
    }
}

impl From<Comparison> for ComparisonBody {
    fn from(one: Comparison) -> Self {
        Self {
            arm: one.arm,
            policy: one.name,
            self_check: one.self_check,
            difference: one.difference,
            interval: one.interval,
            standard_error: one.standard_error,
            hit_ratio: one.ratio,
            control_hit_ratio: one.control_ratio,
            requests: one.requests,
            windows: one.windows,
        }
    }
}
