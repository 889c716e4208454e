//! Which runs a command means, and playing them on several threads.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use anyhow::Result;
use ostler::{Host, OpenError, Policy, PolicySpec};
use ostler_core::Batch;
use ostler_replay::{
    CapacitySpec, CapacityUnit, Footprint, LiveConfig, LiveRun, Request, RunConfig, RunReport,
    RunSubject, TraceError, TraceSource, WeightMode, run, run_loaded,
};

use super::belady;
use super::prefetching::Prefetching;
use super::progress::Progress;
use crate::adaptive::{Adaptive, LIVE_ADAPTIVE};
use crate::usage;

/// Longest trace that is held in memory and shared by all runs; 24 bytes a request, so 1.2 GB. A
/// longer one is read again by every run.
const SHARED_REQUESTS_MAX: usize = 50_000_000;

const UNPOISONED: &str = "nothing panics while a run stores its report";

/// What takes part in a replay.
pub(crate) enum Contender {
    /// A policy.
    Policy(Arc<Policy>),
    /// A portfolio of policies, of which the better one takes over.
    Adaptive(Adaptive),
    /// The offline optimum.
    Belady,
}

/// How requests reach a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventPath {
    /// Through shards that hand records over exactly, or in batches of a fixed length.
    Exact,
    /// Through the live cache.
    Live,
}

impl Contender {
    /// Loads the policy that `spec` names.
    pub(crate) fn open(host: &Host, spec: &PolicySpec) -> Result<Self> {
        let policy = host.open(spec).map_err(|error| match error {
            OpenError::Unknown { .. } | OpenError::Params { .. } => usage(error),
            _ => error.into(),
        })?;
        Ok(Self::Policy(Arc::new(policy)))
    }
}

/// The runs of one command on one trace: every contender at every capacity.
pub(crate) struct Plan {
    pub(crate) contenders: Vec<Contender>,
    pub(crate) capacities: Vec<CapacitySpec>,
    pub(crate) weights: WeightMode,
    pub(crate) shards: u32,
    pub(crate) seed: u64,
    /// Records handed over at a time, or kept in a live shard's ring, where that was given.
    pub(crate) batch: Option<u32>,
    pub(crate) path: EventPath,
    /// The prefetch policy beside each contender.
    pub(crate) prefetching: Option<Prefetching>,
    pub(crate) jobs: usize,
}

impl Plan {
    /// Plays all runs on `trace`; rows come capacity by capacity, in the order of the arguments.
    pub(crate) fn play(&self, trace: &TraceSource, progress: &Progress) -> Result<Vec<RunReport>> {
        let shared = match trace.load(SHARED_REQUESTS_MAX) {
            Ok(requests) => Some(requests),
            Err(TraceError::TooLong { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        let configs = self.configs(trace, shared.as_deref())?;
        let runs: Vec<(RunConfig, &Contender)> = configs
            .iter()
            .flat_map(|&config| self.contenders.iter().map(move |contender| (config, contender)))
            .collect();
        let requests = shared.as_ref().map_or_else(|| trace.requests(), |r| Some(r.len() as u64));
        progress.expect(requests.unwrap_or(0) * runs.len() as u64);

        let next = AtomicUsize::new(0);
        let done: Vec<Mutex<Option<Result<RunReport>>>> =
            runs.iter().map(|_| Mutex::new(None)).collect();
        std::thread::scope(|scope| {
            for _ in 0..self.jobs.min(runs.len()) {
                scope.spawn(|| {
                    loop {
                        let index = next.fetch_add(1, Relaxed);
                        let (Some(&(config, contender)), Some(place)) =
                            (runs.get(index), done.get(index))
                        else {
                            break;
                        };
                        let requests = shared.as_deref();
                        let report = self.one(trace, requests, (&config, contender), progress);
                        *place.lock().expect(UNPOISONED) = Some(report);
                    }
                });
            }
        });
        done.into_iter()
            .map(|place| place.into_inner().expect(UNPOISONED).expect("every run was played"))
            .collect()
    }

    fn configs(&self, trace: &TraceSource, shared: Option<&[Request]>) -> Result<Vec<RunConfig>> {
        let footprint = match shared {
            _ if !self.capacities.iter().any(CapacitySpec::needs_footprint) => Footprint::default(),
            Some(requests) => Footprint::of(requests),
            None => Footprint::read(trace.open()?)?,
        };
        let unit = match self.weights {
            WeightMode::Objects => CapacityUnit::Objects,
            WeightMode::Bytes => CapacityUnit::Bytes,
        };
        let config = |spec: &CapacitySpec| -> Result<RunConfig> {
            Ok(RunConfig {
                capacity: spec.resolve(&footprint, unit).map_err(usage)?,
                weights: self.weights,
                shards: self.shards,
                seed: self.seed,
                batch: self.batch.map_or(Batch::Exact, Batch::Every),
            })
        };
        self.capacities.iter().map(config).collect()
    }

    /// Plays one run.
    fn one(
        &self,
        trace: &TraceSource,
        shared: Option<&[Request]>,
        (config, contender): (&RunConfig, &Contender),
        progress: &Progress,
    ) -> Result<RunReport> {
        let advance = |requests| progress.advance(requests);
        let name = trace.to_string();
        let policy = match (contender, shared) {
            (Contender::Policy(policy), _) => policy,
            (Contender::Adaptive(adaptive), _) => {
                return self.adapt(trace, shared, (config, adaptive), progress);
            }
            (Contender::Belady, Some(requests)) => {
                let report = belady::play(&name, config, requests);
                advance(requests.len() as u64);
                return Ok(report);
            }
            (Contender::Belady, None) => anyhow::bail!(
                "belady needs the whole trace in memory, which holds at most {SHARED_REQUESTS_MAX} requests"
            ),
        };
        let subject = RunSubject { trace: &name, policy: policy.name(), params: policy.params() };
        if let Some(prefetching) = &self.prefetching {
            let run = prefetching.run(&**policy, *config);
            let outcome = match shared {
                Some(requests) => run.play_loaded(requests, &advance),
                None => run.play_stream(&mut trace.open()?, &advance)?,
            };
            return Ok(prefetching.report(subject, config, &outcome));
        }
        if self.path == EventPath::Exact {
            let outcome = match shared {
                Some(requests) => run_loaded(&**policy, *config, requests, &advance),
                None => run(&**policy, *config, &mut trace.open()?, &advance)?,
            };
            return Ok(RunReport::new(subject, config, &outcome));
        }
        let config = self.live_config(config);
        let run = LiveRun::try_new(Arc::clone(policy) as _, config).map_err(usage)?;
        let outcome = match shared {
            Some(requests) => run.play_loaded(requests, &advance),
            None => run.play_stream(&mut trace.open()?, &advance)?,
        };
        Ok(RunReport::of_live(subject, &config, &outcome))
    }

    /// Plays a run whose policy changes.
    fn adapt(
        &self,
        trace: &TraceSource,
        shared: Option<&[Request]>,
        (config, adaptive): (&RunConfig, &Adaptive),
        progress: &Progress,
    ) -> Result<RunReport> {
        if self.path == EventPath::Live {
            return Err(usage(LIVE_ADAPTIVE));
        }
        let footprint = match (config.weights, shared) {
            (WeightMode::Objects, _) => Footprint::default(),
            (WeightMode::Bytes, Some(requests)) => Footprint::of(requests),
            (WeightMode::Bytes, None) => Footprint::read(trace.open()?)?,
        };
        let run = adaptive.run(*config, footprint.entries_within(config.capacity))?;
        let advance = |requests| progress.advance(requests);
        let outcome = match shared {
            Some(requests) => run.play_loaded(requests, &advance),
            None => run.play_stream(&mut trace.open()?, &advance)?,
        };
        let name = trace.to_string();
        let subject =
            RunSubject { trace: &name, policy: adaptive.name(), params: adaptive.params() };
        Ok(RunReport::new(subject, config, &outcome))
    }

    fn live_config(&self, config: &RunConfig) -> LiveConfig {
        LiveConfig {
            capacity: config.capacity,
            weights: config.weights,
            shards: config.shards,
            seed: config.seed,
            notes_len_max: self.batch,
            slack: None,
        }
    }
}
