//! Do the policies agree with the field's own simulator, and each module with its native twin?
//!
//! Replays every trace of a directory under every built-in policy, natively and as Wasm: at the
//! object capacities that the reference file names and at 10 % of the bytes where sizes are real.
//! Writes a table; exits 1 where a module and its twin differ, a policy faults or a tolerance is
//! passed.
//!
//! The reference file is CSV with the columns trace, ignore_size, cache_size, algo, miss_ratio, as
//! libCacheSim 0.3.5 gives them with its default parameters.

#[path = "agreement/reference.rs"]
mod reference;
#[path = "agreement/table.rs"]
mod table;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use anyhow::{Context, Result};
use clap::Parser;
use ostler::{BUILTINS, Host};
use ostler_benches::{Contender, replace_section, trace_files, trace_name};
use ostler_core::Batch;
use ostler_replay::{Footprint, Request, RunConfig, TraceSource, WeightMode, run_loaded};

use reference::Reference;

/// Compare every policy with the reference and every module with its native twin.
#[derive(Parser)]
struct Args {
    /// Directory of `NAME.oracleGeneral` or `NAME.oracleGeneral.zst` files.
    #[arg(long)]
    traces: PathBuf,
    /// The reference miss ratios.
    #[arg(long)]
    reference: PathBuf,
    /// Results file whose section `agreement` is replaced.
    #[arg(long)]
    write: Option<PathBuf>,
    /// Seeds over which policies that draw at random are averaged.
    #[arg(long, default_value_t = 5)]
    seeds: u64,
}

/// Smallest cache that is compared; below it the reference degenerates.
const CAPACITY_MIN: u64 = 100;

/// A trace shorter than this has few evictions, so one seed says little there: this many times more
/// are averaged. (On the shortest, libCacheSim's own runs of LeCaR spread by 1.6 % of the miss ratio.)
const SHORT_REQUESTS: usize = 100_000;
const SHORT_SEEDS_FACTOR: u64 = 8;

/// One capacity of one trace.
#[derive(Clone, Debug)]
struct Point {
    trace: String,
    weights: WeightMode,
    capacity: u64,
}

/// What one policy did at one point.
struct Comparison {
    point: Point,
    policy: &'static str,
    miss_ratio: f64,
    reference: Option<f64>,
    twins_equal: bool,
    faults: u64,
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let reference = Reference::read(&args.reference)?;
    let mut results = Vec::new();
    for path in trace_files(&args.traces)? {
        let source: TraceSource = path.display().to_string().parse()?;
        let requests = source.load(usize::MAX).with_context(|| path.display().to_string())?;
        let name = trace_name(&path);
        let points = points(&name, &requests, &reference);
        eprintln!("{name}: {} requests, {} capacities", requests.len(), points.len());
        results.extend(play(&points, &requests, &reference, args.seeds)?);
    }
    let summary = table::summary(&results);
    let text = table::render(&summary, &results, &command());
    println!("{text}");
    if let Some(path) = &args.write {
        replace_section(path, "agreement", &text)?;
    }
    let failed = summary.iter().any(|row| !row.passed());
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn command() -> String {
    "cargo run --release -p ostler-benches --bin agreement -- --traces DIR --reference CSV --write \
     benches/RESULTS.md"
        .into()
}

fn points(name: &str, requests: &[Request], reference: &Reference) -> Vec<Point> {
    let footprint = Footprint::of(requests);
    let mut points: Vec<Point> = reference
        .capacities(name)
        .filter(|&capacity| capacity >= CAPACITY_MIN)
        .map(|capacity| Point { trace: name.into(), weights: WeightMode::Objects, capacity })
        .collect();
    for capacity in [footprint.unique_objects / 100, footprint.unique_objects / 10] {
        if !points.iter().any(|point| point.capacity == capacity) {
            points.push(Point { trace: name.into(), weights: WeightMode::Objects, capacity });
        }
    }
    if footprint.unique_bytes > footprint.unique_objects {
        let capacity = footprint.unique_bytes / 10;
        points.push(Point { trace: name.into(), weights: WeightMode::Bytes, capacity });
    }
    points
}

/// Plays every policy at every point of one trace, on all cores.
fn play(
    points: &[Point],
    requests: &[Request],
    reference: &Reference,
    seeds: u64,
) -> Result<Vec<Comparison>> {
    let host = Host::for_replay();
    let mut pairs = Vec::new();
    for builtin in BUILTINS {
        let native = Contender::open(&host, &format!("native:{}", builtin.name))?;
        pairs.push((builtin.name, Contender::open(&host, builtin.name)?, native));
    }
    let jobs: Vec<_> =
        points.iter().flat_map(|point| pairs.iter().map(move |pair| (point, pair))).collect();
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, std::num::NonZero::get) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Relaxed);
                    let Some(&(point, (policy, wasm, native))) = jobs.get(index) else { break };
                    let result = one(point, policy, (wasm, native), (requests, reference, seeds));
                    done.lock()
                        .expect("nothing panics while it adds a result")
                        .push((index, result));
                }
            });
        }
    });
    let mut done = done.into_inner().expect("nothing panics while it adds a result");
    done.sort_by_key(|&(index, _)| index);
    Ok(done.into_iter().map(|(_, result)| result).collect())
}

fn one(
    point: &Point,
    policy: &'static str,
    (wasm, native): (&Contender, &Contender),
    (requests, reference, seeds): (&[Request], &Reference, u64),
) -> Comparison {
    let config = |seed| RunConfig {
        capacity: point.capacity,
        weights: point.weights,
        shards: 1,
        seed,
        batch: Batch::Exact,
    };
    let wasm = run_loaded(wasm, config(0), requests, &|_| ());
    let twin = run_loaded(native, config(0), requests, &|_| ());
    let expected = match point.weights {
        WeightMode::Objects => reference.miss_ratio(&point.trace, point.capacity, policy),
        WeightMode::Bytes => None,
    };
    let mut ratios = vec![twin.miss_ratio()];
    let seeds = if requests.len() < SHORT_REQUESTS { seeds * SHORT_SEEDS_FACTOR } else { seeds };
    if table::is_random(policy) && expected.is_some() {
        for seed in 1..seeds {
            ratios.push(run_loaded(native, config(seed), requests, &|_| ()).miss_ratio());
        }
    }
    Comparison {
        point: point.clone(),
        policy,
        miss_ratio: ratios.iter().sum::<f64>() / ratios.len() as f64,
        reference: expected,
        twins_equal: wasm.victims_digest == twin.victims_digest && wasm.misses == twin.misses,
        faults: wasm.faults + twin.faults,
    }
}
