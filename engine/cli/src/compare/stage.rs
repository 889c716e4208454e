//! Playing the rows of one trace: all policies of a row in lock-step, rows on several threads.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use anyhow::Result;
use ostler::{Host, OpenError, Policy, PolicySpec};
use ostler_core::Batch;
use ostler_replay::{
    CapacitySpec, CapacityUnit, Contender, CurvePoint, DEFAULT_WORKLOAD, Footprint, LiveConfig,
    LiveRun, Measure, MiniatureCurve, Paired, PairedSetup, Request, Run, RunConfig, RunReport,
    RunSubject, TraceError, TraceSource, WeightMode, sizes_between,
};

use super::rows::{Row, TraceCurves, Versus};
use crate::adaptive::{Adaptive, LIVE_ADAPTIVE};
use crate::replay::progress::Progress;
use crate::usage;

/// Longest trace that is held in memory and shared by all rows; 24 bytes a request, so 1.2 GB. A
/// longer one is read again by every row.
const SHARED_REQUESTS_MAX: usize = 50_000_000;
/// Requests between two looks at the progress.
const PROGRESS_REQUESTS: usize = 1 << 18;
/// Points of a miss-ratio curve, beside those that were asked for.
const CURVE_POINTS: u32 = 20;
/// The smallest point of a curve is this part of the trace's objects or bytes.
const CURVE_SMALLEST_PART: u64 = 1000;
/// Stretches in which the difference over time is shown.
const STRETCHES_SHOWN: usize = 64;

const UNPOISONED: &str = "nothing panics while a thread stores its result";

/// How requests reach a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EventPath {
    /// Through shards, exactly.
    Exact,
    /// Through the live cache.
    Live,
}

/// Who takes part.
pub(super) struct Entrant {
    label: String,
    kind: Kind,
}

enum Kind {
    Policy(Arc<Policy>),
    /// A portfolio of policies, of which the better one takes over.
    Adaptive(Adaptive),
}

impl Entrant {
    /// Loads the policy that `text` names.
    pub(super) fn open(host: &Host, text: &str) -> Result<Self> {
        if text == "belady" {
            return Err(usage(
                "belady knows the future and is no policy to compare with; replay shows it beside policies",
            ));
        }
        if let Some(adaptive) = Adaptive::parse(host, text) {
            return Ok(Self { label: text.to_owned(), kind: Kind::Adaptive(adaptive?) });
        }
        let spec: PolicySpec = text.parse().map_err(usage)?;
        let policy = host.open(&spec).map_err(|error| match error {
            OpenError::Unknown { .. } | OpenError::Params { .. } => usage(error),
            _ => error.into(),
        })?;
        Ok(Self { label: text.to_owned(), kind: Kind::Policy(Arc::new(policy)) })
    }

    /// The policy as it was given.
    pub(super) fn label(&self) -> &str {
        &self.label
    }

    /// Its name and parameters in reports.
    fn subject<'a>(&'a self, trace: &'a str) -> RunSubject<'a> {
        match &self.kind {
            Kind::Policy(policy) => {
                RunSubject { trace, policy: policy.name(), params: policy.params() }
            }
            Kind::Adaptive(adaptive) => {
                RunSubject { trace, policy: adaptive.name(), params: adaptive.params() }
            }
        }
    }

    /// A run in an empty cache that will hold about `entries`.
    fn contender(
        &self,
        config: &RunConfig,
        path: EventPath,
        entries: u64,
    ) -> Result<Box<dyn Contender>> {
        match (&self.kind, path) {
            (Kind::Policy(policy), EventPath::Exact) => Ok(Box::new(Run::new(&**policy, *config))),
            (Kind::Policy(policy), EventPath::Live) => {
                let run = LiveRun::try_new(Arc::clone(policy) as _, live_config(config));
                Ok(Box::new(run.map_err(usage)?))
            }
            (Kind::Adaptive(adaptive), EventPath::Exact) => {
                Ok(Box::new(adaptive.run(*config, entries)?))
            }
            (Kind::Adaptive(_), EventPath::Live) => Err(usage(LIVE_ADAPTIVE)),
        }
    }
}

fn live_config(config: &RunConfig) -> LiveConfig {
    let &RunConfig { capacity, weights, shards, seed, .. } = config;
    LiveConfig { capacity, weights, shards, seed, notes_len_max: None, slack: None }
}

/// The rows of one command on one trace: all policies at every capacity.
pub(super) struct Stage {
    pub(super) entrants: Vec<Entrant>,
    pub(super) capacities: Vec<CapacitySpec>,
    pub(super) weights: WeightMode,
    pub(super) shards: u32,
    pub(super) seed: u64,
    pub(super) path: EventPath,
    pub(super) jobs: usize,
    /// Whether miss-ratio curves are wanted.
    pub(super) curves: bool,
}

impl Stage {
    /// Plays all rows of `trace`, in the order of the capacities, and its curves.
    pub(super) fn play(
        &self,
        trace: &TraceSource,
        progress: &Progress,
    ) -> Result<(Vec<Row>, Option<TraceCurves>)> {
        let shared = match trace.load(SHARED_REQUESTS_MAX) {
            Ok(requests) => Some(requests),
            Err(TraceError::TooLong { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        let shared = shared.as_deref();
        let is_adaptive = |entrant: &Entrant| matches!(entrant.kind, Kind::Adaptive(_));
        let is_needed = self.curves
            || self.capacities.iter().any(CapacitySpec::needs_footprint)
            || self.weights == WeightMode::Bytes && self.entrants.iter().any(is_adaptive);
        let footprint = match shared {
            _ if !is_needed => Footprint::default(),
            Some(requests) => Footprint::of(requests),
            None => Footprint::read(trace.open()?)?,
        };
        let configs = self.configs(&footprint)?;
        let requests = shared.map_or_else(|| trace.requests(), |known| Some(known.len() as u64));
        progress.expect(requests.unwrap_or(0) * configs.len() as u64);
        let rows = spread(self.jobs, configs.len(), |index| {
            let config = &configs[index];
            let entries = match self.weights {
                WeightMode::Objects => config.capacity,
                WeightMode::Bytes => footprint.entries_within(config.capacity),
            };
            self.row((trace, shared), config, entries, progress)
        })?;
        let curves = match self.curves {
            true => Some(self.curves(trace, shared, &footprint, &configs)?),
            false => None,
        };
        Ok((rows, curves))
    }

    fn configs(&self, footprint: &Footprint) -> Result<Vec<RunConfig>> {
        let unit = match self.weights {
            WeightMode::Objects => CapacityUnit::Objects,
            WeightMode::Bytes => CapacityUnit::Bytes,
        };
        let config = |spec: &CapacitySpec| {
            Ok(RunConfig {
                capacity: spec.resolve(footprint, unit).map_err(usage)?,
                weights: self.weights,
                shards: self.shards,
                seed: self.seed,
                batch: Batch::Exact,
            })
        };
        self.capacities.iter().map(config).collect()
    }

    fn row(
        &self,
        (trace, shared): (&TraceSource, Option<&[Request]>),
        config: &RunConfig,
        entries: u64,
        progress: &Progress,
    ) -> Result<Row> {
        let contenders =
            self.entrants.iter().map(|entrant| entrant.contender(config, self.path, entries));
        let setup = PairedSetup { capacity: config.capacity, weights: config.weights };
        let mut paired = Paired::new(setup, contenders.collect::<Result<_>>()?);
        match shared {
            Some(requests) => {
                for part in requests.chunks(PROGRESS_REQUESTS) {
                    paired.play(part);
                    progress.advance(part.len() as u64);
                }
            }
            None => paired.play_stream(&mut trace.open()?, &|count| progress.advance(count))?,
        }
        let outcome = paired.finish();
        let name = trace.to_string();
        let report = |(entrant, outcome): (&Entrant, _)| {
            let subject = entrant.subject(&name);
            match self.path {
                EventPath::Exact => RunReport::new(subject, config, outcome),
                EventPath::Live => RunReport::of_live(subject, &live_config(config), outcome),
            }
        };
        let versus = |challenger| {
            let (gained, lost) = outcome.gained_and_lost(challenger);
            Versus {
                by_request: outcome.difference(challenger, Measure::Requests),
                by_weight: outcome.difference(challenger, Measure::Weight),
                gained,
                lost,
                stretches: outcome.stretches(challenger, STRETCHES_SHOWN),
            }
        };
        Ok(Row {
            trace: shown(trace),
            capacity: config.capacity,
            runs: self.entrants.iter().zip(outcome.runs()).map(report).collect(),
            challengers: (1..self.entrants.len()).map(versus).collect(),
        })
    }

    /// The curves of all policies, from a sample of the keys: twenty sizes and those of the rows.
    fn curves(
        &self,
        trace: &TraceSource,
        shared: Option<&[Request]>,
        footprint: &Footprint,
        configs: &[RunConfig],
    ) -> Result<TraceCurves> {
        let sample = match shared {
            Some(requests) => MiniatureCurve::of(requests, footprint, self.weights),
            None => MiniatureCurve::read(trace.open()?, footprint, self.weights)?,
        };
        let whole = match self.weights {
            WeightMode::Objects => footprint.unique_objects,
            WeightMode::Bytes => footprint.unique_bytes,
        };
        let mut sizes = sizes_between(whole / CURVE_SMALLEST_PART, whole, CURVE_POINTS);
        sizes.extend(configs.iter().map(|config| config.capacity).filter(|&size| size > 0));
        sizes.sort_unstable();
        sizes.dedup();
        let points = spread(self.jobs, self.entrants.len() * sizes.len(), |index| {
            let (entrant, size) = (index / sizes.len(), sizes[index % sizes.len()]);
            Ok(match &self.entrants[entrant].kind {
                Kind::Policy(policy) => sample.point(&**policy, size, self.seed),
                // A miniature would have shadows of its own, which says nothing about these.
                Kind::Adaptive(_) => None,
            })
        })?;
        let of_policy = |points: &[Option<CurvePoint>]| points.iter().flatten().copied().collect();
        let curves = points.chunks(sizes.len().max(1)).map(of_policy).collect();
        Ok(TraceCurves { trace: shown(trace), rate: sample.rate(), curves })
    }
}

/// A trace's name for people; the embedded workload's own would fill a screen.
pub(super) fn shown(trace: &TraceSource) -> String {
    match trace.name() {
        name if name == DEFAULT_WORKLOAD => "embedded workload".to_owned(),
        name => name,
    }
}

/// Results of `count` pieces of work in their order, made by at most `jobs` threads.
fn spread<T: Send>(
    jobs: usize,
    count: usize,
    work: impl Fn(usize) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let next = AtomicUsize::new(0);
    let done: Vec<Mutex<Option<Result<T>>>> = (0..count).map(|_| Mutex::new(None)).collect();
    std::thread::scope(|scope| {
        for _ in 0..jobs.min(count) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Relaxed);
                    let Some(place) = done.get(index) else { break };
                    *place.lock().expect(UNPOISONED) = Some(work(index));
                }
            });
        }
    });
    let taken = done.into_iter().map(|place| place.into_inner().expect(UNPOISONED));
    taken.map(|result| result.expect("every piece was worked on")).collect()
}
