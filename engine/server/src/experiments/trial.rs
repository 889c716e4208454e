//! One experiment: what was asked for, its course, and what is shown of it.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use ostler_adapt::experiment::live::{Conductor, ConductorError, LiveExperiment, State};
use ostler_adapt::experiment::{Arm, CONTROL, Comparison, ExperimentConfig, StopReason, Verdict};
use ostler_adapt::live::ConsumerId;
use ostler_core::{InstanceSource, SampleShare};
use parking_lot::{Mutex, MutexGuard};

use super::seats::Seats;
use super::{ExperimentError, ExperimentPlan};
use crate::policies::{ActivateError, Charge};
use crate::service::Service;

/// The course of an experiment in a server.
pub(super) type Course = Conductor<Seats>;
/// Why a call of it came to nothing.
pub(super) type CourseError = ConductorError<ActivateError>;

/// An experiment of one cache, running or over.
pub struct Trial {
    id: u64,
    cache: usize,
    started_unix_ms: u64,
    window_ms: u64,
    seed: u64,
    config: ExperimentConfig,
    arms: Arc<[TrialArm]>,
    course: Mutex<Course>,
    /// Beside the course, which is held while entries are handed over.
    shown: Mutex<Shown>,
    consumer: Mutex<Option<ConsumerId>>,
}

/// One side of an experiment.
pub struct TrialArm {
    /// The policy, as it was asked for.
    pub charge: Charge,
    /// All its parameters, flat JSON.
    pub params: String,
    /// Share of the shards.
    pub share: f64,
    /// Its shards, ascending.
    pub shards: Vec<u32>,
    /// What makes its instances.
    pub(super) source: Arc<dyn InstanceSource>,
}

/// What is known of an experiment at its last window.
#[derive(Clone, Debug)]
pub struct Shown {
    /// How it stands.
    pub state: State,
    /// When it ended, milliseconds since 1970.
    pub ended_unix_ms: Option<u64>,
    /// Windows that were counted.
    pub windows: u64,
    /// Requests that were counted, of all arms.
    pub requests: u64,
    /// Share of the keys that is sampled, 0 to 1.
    pub share: f64,
    /// Every arm but the control against the control.
    pub comparisons: Vec<Comparison>,
    /// What the rule says.
    pub verdict: Verdict,
}

impl Shown {
    /// The state in a word.
    #[must_use]
    pub fn state_name(&self) -> &'static str {
        match &self.state {
            State::Running => "running",
            State::Promoted { .. } => "promoted",
            State::Stopped { .. } => "stopped",
            _ => "aborted",
        }
    }

    /// Why it ended, none where it runs.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        let by = |by_rule: bool| if by_rule { "rule" } else { "request" };
        match &self.state {
            State::Running => None,
            State::Promoted { by_rule, .. } => Some(by(*by_rule)),
            State::Stopped { reason } => Some(reason.map_or(by(false), reason_name)),
            State::Aborted { reason } => Some(reason),
            _ => None,
        }
    }

    /// The arm that was promoted.
    #[must_use]
    pub fn promoted(&self) -> Option<usize> {
        match self.state {
            State::Promoted { arm, .. } => Some(arm),
            _ => None,
        }
    }
}

/// A reason of the rule in a word.
fn reason_name(reason: StopReason) -> &'static str {
    match reason {
        StopReason::Equivalent => "equivalent",
        StopReason::Worse => "worse",
        StopReason::Requests => "requests",
        StopReason::SelfCheck => "self_check",
        _ => "rule",
    }
}

impl Trial {
    /// Deals the seats. The caller has the cache's turn.
    pub(super) fn start(
        service: &Arc<Service>,
        (cache, id): (usize, u64),
        plan: &ExperimentPlan,
    ) -> Result<Self, ExperimentError> {
        let keyspace = &service.caches[cache];
        let seed = plan.seed.unwrap_or_else(|| RandomState::new().hash_one(id) as u32);
        let seed = u64::from(seed);
        let mut sources = Vec::new();
        for (arm, wanted) in plan.arms.iter().enumerate() {
            let found = service.policies.candidate(&wanted.policy, wanted.version, &wanted.params);
            sources.push(
                found.map_err(|error| ExperimentError::Policy { arm, error: Box::new(error) })?,
            );
        }
        let arms = sources.iter().zip(&plan.arms).map(|((_, source), wanted)| Arm {
            name: wanted.policy.clone(),
            code_id: source.code_id(),
            params: source.params().to_owned(),
            share: wanted.share,
        });
        let shards = u32::try_from(keyspace.cache().shards()).unwrap_or(u32::MAX);
        let experiment = plan.experiment(shards, (arms.collect(), seed))?;
        let deal = experiment.deal();
        let arms = sources.into_iter().zip(deal.arms()).enumerate();
        let arms: Arc<[TrialArm]> = arms
            .map(|(arm, ((charge, source), dealt))| TrialArm {
                charge,
                params: dealt.params.clone(),
                share: dealt.share,
                shards: (0..shards).filter(|&shard| deal.arm_of(shard) == Some(arm)).collect(),
                source,
            })
            .collect();
        let config = experiment.config().clone();
        let control = Arc::clone(&arms[CONTROL].source);
        // Counted from the first tick on, when all seats are dealt.
        let live = LiveExperiment::new(experiment, control, SampleShare::NONE, &[]);
        let charges = arms.iter().map(|arm| arm.charge.clone()).collect();
        service.policies.hold(keyspace.name(), charges);
        let seats = Seats::new(service, cache, Arc::clone(&arms));
        let course = Course::start(live, seats, plan.window_ms).map_err(|error| {
            service.policies.release(keyspace.name());
            ExperimentError::Seat(error)
        })?;
        let shown = Shown {
            state: State::Running,
            ended_unix_ms: None,
            windows: 0,
            requests: 0,
            share: 0.0,
            comparisons: Vec::new(),
            verdict: Verdict::Continue,
        };
        Ok(Self {
            id,
            cache,
            started_unix_ms: service.clock.now_unix_ms(),
            window_ms: plan.window_ms,
            seed,
            config,
            arms,
            course: Mutex::new(course),
            shown: Mutex::new(shown),
            consumer: Mutex::new(None),
        })
    }

    /// Its id: no other experiment of the cache has it.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The number of its cache.
    #[must_use]
    pub fn cache(&self) -> usize {
        self.cache
    }

    /// When it began, milliseconds since 1970.
    #[must_use]
    pub fn started_unix_ms(&self) -> u64 {
        self.started_unix_ms
    }

    /// Milliseconds between two looks.
    #[must_use]
    pub fn window_ms(&self) -> u64 {
        self.window_ms
    }

    /// Seed of the draw of shards.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// How it is evaluated.
    #[must_use]
    pub fn config(&self) -> &ExperimentConfig {
        &self.config
    }

    /// Its arms, the control first.
    #[must_use]
    pub fn arms(&self) -> &[TrialArm] {
        &self.arms
    }

    /// What is known of it.
    #[must_use]
    pub fn shown(&self) -> Shown {
        self.shown.lock().clone()
    }

    /// Its course. Waits while entries are handed over.
    pub(super) fn course(&self) -> MutexGuard<'_, Course> {
        self.course.lock()
    }

    /// Shows how its course stands. True where it has ended since the last time.
    pub(super) fn show(&self, course: &mut Course, now_unix_ms: u64) -> bool {
        let (state, verdict) = (course.state().clone(), course.verdict());
        let live = course.live();
        let share = live.share().ratio();
        let experiment = live.experiment();
        let (windows, requests) = (experiment.windows(), experiment.requests());
        let comparisons = experiment.comparisons();
        let mut shown = self.shown.lock();
        let has_ended = shown.state == State::Running && state != State::Running;
        let ended_unix_ms = if has_ended { Some(now_unix_ms) } else { shown.ended_unix_ms };
        *shown = Shown { state, ended_unix_ms, windows, requests, share, comparisons, verdict };
        has_ended
    }

    pub(super) fn keep_consumer(&self, consumer: ConsumerId) {
        *self.consumer.lock() = Some(consumer);
    }

    pub(super) fn take_consumer(&self) -> Option<ConsumerId> {
        self.consumer.lock().take()
    }
}
