//! What does choosing while it runs cost against knowing the best policy beforehand?
//!
//! Plays every trace of a directory, adaptively and under each policy of the portfolio, on the same
//! requests: at 1 % and 10 % of the objects, and of the bytes where sizes are real. Then workloads
//! whose phases change, where no fixed policy is right; and workloads that do not change, where every
//! swap is one too many. Policies are compiled in: they decide as their modules do.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use ostler_abi::hash_u64;
use ostler_adapt::{Objective, SelectorConfig};
use ostler_benches::{replace_section, trace_files, trace_name};
use ostler_core::{Batch, InstanceSource};
use ostler_replay::{
    AdaptiveConfig, AdaptiveRun, CapacitySpec, CapacityUnit, Footprint, Request, RunConfig,
    RunOutcome, TraceSource, WeightMode, run_loaded,
};

#[path = "regret/table.rs"]
mod table;

/// Measure the regret of the selector.
#[derive(Parser)]
struct Args {
    /// Directory of `NAME.oracleGeneral` or `NAME.oracleGeneral.zst` files; without it, generated
    /// workloads only.
    #[arg(long)]
    traces: Option<PathBuf>,
    /// The candidates, the first one being in charge at the start.
    #[arg(long, value_delimiter = ',', default_value = "s3fifo,lru,sieve,wtinylfu")]
    portfolio: Vec<String>,
    /// Share of the keys in shadow; small caches take more.
    #[arg(long, default_value_t = AdaptiveConfig::RATE)]
    rate: f64,
    /// Results file whose section `regret` is replaced.
    #[arg(long)]
    results: Option<PathBuf>,
}

/// Smallest cache that is measured, in objects.
const OBJECTS_MIN: u64 = 100;

/// A workload at a capacity.
struct Point {
    workload: String,
    capacity: String,
    config: RunConfig,
    entries: u64,
    requests: Arc<Vec<Request>>,
    /// Requests after which the next phase begins.
    phases: Vec<u64>,
}

/// What came of it.
struct Row {
    point: Point,
    adaptive: RunOutcome,
    /// Miss ratios under each policy of the portfolio.
    fixed: Vec<f64>,
}

impl Row {
    fn best(&self) -> f64 {
        self.fixed.iter().copied().fold(f64::INFINITY, f64::min)
    }

    /// How much more the adaptive run missed than the best fixed policy, as a share.
    fn regret(&self) -> f64 {
        self.adaptive.miss_ratio() / self.best() - 1.0
    }
}

fn main() -> Result<()> {
    let args = Args::parse();
    let portfolio = args.portfolio.iter().map(|name| ostler::policy(&format!("native:{name}")));
    let portfolio = portfolio.collect::<Result<Vec<_>, _>>()?;
    let (mut points, mut changing) = (Vec::new(), vec![chain()?]);
    if let Some(directory) = &args.traces {
        let mut loaded = Vec::new();
        for path in trace_files(directory)? {
            let source: TraceSource = path.display().to_string().parse()?;
            let requests = source.load(usize::MAX).with_context(|| path.display().to_string())?;
            loaded.push((trace_name(&path), Arc::new(requests)));
        }
        points = loaded
            .iter()
            .map(|(name, requests)| points_of(name, requests))
            .collect::<Result<Vec<_>>>()?;
        changing.extend(in_a_row(&loaded)?);
    }
    let calm: Vec<Point> = (1..=10).map(stationary).collect::<Result<_>>()?;
    let play = |points: Vec<Point>, portfolio: &[Arc<dyn InstanceSource>]| {
        play(points, portfolio, args.rate)
    };
    let rows = play(points.into_iter().flatten().collect(), &portfolio)?;
    let changing = play(changing, &portfolio)?;
    let calm_rows = play(calm, &portfolio)?;
    let mut selves = Vec::new();
    for name in &args.portfolio {
        let same = ostler::policy(&format!("native:{name}"))?;
        let pair = [Arc::clone(&same), same];
        let points: Vec<Point> = (1..=10).map(stationary).collect::<Result<_>>()?;
        selves.push((name.clone(), play(points, &pair)?));
    }
    let text = table::render(&args.portfolio, &rows, &changing, (&calm_rows, &selves));
    println!("{text}");
    if let Some(path) = &args.results {
        replace_section(path, "regret", &text)?;
    }
    Ok(())
}

/// Every capacity of a trace: in objects, and in bytes where sizes are real.
fn points_of(name: &str, requests: &Arc<Vec<Request>>) -> Result<Vec<Point>> {
    let footprint = Footprint::of(requests);
    let mut points = Vec::new();
    for (weights, unit) in
        [(WeightMode::Objects, CapacityUnit::Objects), (WeightMode::Bytes, CapacityUnit::Bytes)]
    {
        if weights == WeightMode::Bytes && footprint.unique_bytes <= footprint.unique_objects {
            continue;
        }
        for share in ["1%", "10%"] {
            let spec: CapacitySpec = share.parse()?;
            let capacity = spec.resolve(&footprint, unit)?;
            let entries = match weights {
                WeightMode::Objects => capacity,
                WeightMode::Bytes => footprint.entries_within(capacity),
            };
            if spec.resolve(&footprint, CapacityUnit::Objects)? < OBJECTS_MIN {
                continue;
            }
            points.push(Point {
                workload: name.to_owned(),
                capacity: share.to_owned(),
                config: config(capacity, weights),
                entries,
                requests: Arc::clone(requests),
                phases: Vec::new(),
            });
        }
    }
    Ok(points)
}

fn config(capacity: u64, weights: WeightMode) -> RunConfig {
    RunConfig { capacity, weights, shards: 1, seed: 0, batch: Batch::Exact }
}

/// A phase in which recency is right, a loop larger than the cache, and the first phase again.
fn chain() -> Result<Point> {
    let recent = |start: u64| {
        let hot = |seed: u64| {
            let at = start + seed * 3000;
            format!("zipf(n=30000,alpha=0.6,keys=3000,seed={seed},start={at})")
        };
        (1..=14).map(hot).collect::<Vec<_>>().join(";")
    };
    let text = format!(
        "shift({};loop(n=420000,keys=6000,start=10000000);{})",
        recent(0),
        recent(1_000_000)
    );
    let source: TraceSource = text.parse()?;
    Ok(Point {
        workload: "recency, loop, recency".to_owned(),
        capacity: "4000".to_owned(),
        config: config(4000, WeightMode::Objects),
        entries: 4000,
        requests: Arc::new(source.load(usize::MAX)?),
        phases: vec![420_000, 840_000],
    })
}

/// The five longest traces one after the other, and the other way round, at 5 % of the objects of all.
fn in_a_row(traces: &[(String, Arc<Vec<Request>>)]) -> Result<Vec<Point>> {
    let mut longest: Vec<&(String, Arc<Vec<Request>>)> = traces.iter().collect();
    longest.sort_by_key(|(_, requests)| std::cmp::Reverse(requests.len()));
    longest.truncate(5);
    let mut back = longest.clone();
    back.reverse();
    let rows = [longest, back];
    rows.into_iter().filter(|row| row.len() == 5).map(|row| one_row(&row)).collect()
}

fn one_row(traces: &[&(String, Arc<Vec<Request>>)]) -> Result<Point> {
    let (mut requests, mut phases, mut names) = (Vec::new(), Vec::new(), Vec::new());
    for (number, (name, trace)) in traces.iter().enumerate() {
        if !requests.is_empty() {
            phases.push(requests.len() as u64);
        }
        names.push(name.as_str());
        // Keys of different traces are different keys.
        requests.extend(trace.iter().map(|request| {
            let mut request = *request;
            request.key = hash_u64(request.key, number as u64 + 1);
            request
        }));
    }
    let capacity = Footprint::of(&requests).unique_objects / 20;
    ensure!(capacity >= OBJECTS_MIN, "the traces are too small for a row of five");
    Ok(Point {
        workload: names.join(", "),
        capacity: "5%".to_owned(),
        config: config(capacity, WeightMode::Objects),
        entries: capacity,
        requests: Arc::new(requests),
        phases,
    })
}

/// A workload that does not change.
fn stationary(seed: u64) -> Result<Point> {
    let text = format!("zipf(n=1000000,alpha=0.9,keys=100000,seed={seed})");
    let source: TraceSource = text.parse()?;
    let requests = Arc::new(source.load(usize::MAX)?);
    let config = RunConfig { seed, ..config(5000, WeightMode::Objects) };
    let capacity = "5000".to_owned();
    Ok(Point { workload: text, capacity, config, entries: 5000, requests, phases: Vec::new() })
}

/// Plays all points, on all cores.
fn play(points: Vec<Point>, portfolio: &[Arc<dyn InstanceSource>], rate: f64) -> Result<Vec<Row>> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, std::num::NonZero::get) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Relaxed);
                    let Some(point) = points.get(index) else { break };
                    let result = one(point, portfolio, rate);
                    done.lock()
                        .expect("nothing panics while it adds a result")
                        .push((index, result));
                }
            });
        }
    });
    let mut done = done.into_inner().expect("nothing panics while it adds a result");
    done.sort_by_key(|&(index, _)| index);
    let rows = points.into_iter().zip(done).map(|(point, (_, result))| {
        let (adaptive, fixed) = result?;
        Ok(Row { point, adaptive, fixed })
    });
    rows.collect()
}

fn one(
    point: &Point,
    portfolio: &[Arc<dyn InstanceSource>],
    rate: f64,
) -> Result<(RunOutcome, Vec<f64>)> {
    let config = AdaptiveConfig {
        portfolio: portfolio.to_vec(),
        objective: Objective::Object,
        rate,
        selector: SelectorConfig::default(),
    };
    let run = AdaptiveRun::try_new(config, point.config, point.entries)?;
    let adaptive = run.play_loaded(&point.requests, &|_| ());
    let fixed = portfolio
        .iter()
        .map(|policy| run_loaded(&**policy, point.config, &point.requests, &|_| ()).miss_ratio());
    Ok((adaptive, fixed.collect()))
}
