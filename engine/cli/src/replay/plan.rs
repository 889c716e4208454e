//! Which runs a command means, and playing them on several threads.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use anyhow::Result;
use ostler::{Host, OpenError, Policy, PolicySpec};
use ostler_abi::Setup;
use ostler_core::{Batch, PolicyFault, PolicyInstance, Wants};
use ostler_replay::{
    Candidate, CapacitySpec, CapacityUnit, Footprint, Request, RunConfig, RunReport, RunSubject,
    TraceError, TraceSource, WeightMode, run, run_loaded,
};

use super::belady;
use super::progress::Progress;
use crate::usage;

/// Longest trace that is held in memory and shared by all runs; 24 bytes a request, so 1.2 GB. A
/// longer one is read again by every run.
const SHARED_REQUESTS_MAX: usize = 50_000_000;

const UNPOISONED: &str = "nothing panics while a run stores its report";

/// What takes part in a replay.
pub(crate) enum Contender {
    /// A policy.
    Policy(LoadedCandidate),
    /// The offline optimum.
    Belady,
}

/// A loaded policy under its name.
pub(crate) struct LoadedCandidate {
    label: String,
    policy: Policy,
}

impl Contender {
    /// Loads the policy that `spec` names.
    pub(crate) fn open(host: &Host, spec: &PolicySpec) -> Result<Self> {
        let policy = host.open(spec).map_err(|error| match error {
            OpenError::Unknown { .. } | OpenError::Params { .. } => usage(error),
            _ => error.into(),
        })?;
        Ok(Self::Policy(LoadedCandidate { label: spec.source.to_string(), policy }))
    }
}

impl Candidate for LoadedCandidate {
    fn label(&self) -> &str {
        &self.label
    }

    fn params(&self) -> &str {
        self.policy.params()
    }

    fn wants(&self) -> Wants {
        self.policy.wants()
    }

    fn instance(&self, setup: Setup) -> Result<Box<dyn PolicyInstance>, PolicyFault> {
        self.policy.instance(setup)
    }
}

/// The runs of one command on one trace: every contender at every capacity.
pub(crate) struct Plan {
    pub(crate) contenders: Vec<Contender>,
    pub(crate) capacities: Vec<CapacitySpec>,
    pub(crate) weights: WeightMode,
    pub(crate) shards: u32,
    pub(crate) seed: u64,
    pub(crate) batch: Batch,
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
                        let report = one(trace, shared.as_deref(), (&config, contender), progress);
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
                batch: self.batch,
            })
        };
        self.capacities.iter().map(config).collect()
    }
}

/// Plays one run.
fn one(
    trace: &TraceSource,
    shared: Option<&[Request]>,
    (config, contender): (&RunConfig, &Contender),
    progress: &Progress,
) -> Result<RunReport> {
    let advance = |requests| progress.advance(requests);
    match (contender, shared) {
        (Contender::Belady, Some(requests)) => {
            let report = belady::play(&trace.to_string(), config, requests);
            advance(requests.len() as u64);
            Ok(report)
        }
        (Contender::Belady, None) => anyhow::bail!(
            "belady needs the whole trace in memory, which holds at most {SHARED_REQUESTS_MAX} requests"
        ),
        (Contender::Policy(candidate), shared) => {
            let outcome = match shared {
                Some(requests) => run_loaded(candidate, *config, requests, &advance),
                None => run(candidate, *config, &mut trace.open()?, &advance)?,
            };
            let subject = RunSubject {
                trace: &trace.to_string(),
                policy: candidate.label(),
                params: candidate.params(),
            };
            Ok(RunReport::new(subject, config, &outcome))
        }
    }
}
