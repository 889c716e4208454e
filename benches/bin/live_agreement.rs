//! Does the live cache do what exact replay says it will?
//!
//! Replays every trace of a directory under LRU, SIEVE and S3-FIFO, or all built-in policies, with the
//! very modules: exactly, and through the event path of the live cache, each with one shard and with
//! eight. Writes a table; exits 1 where the hit ratios of a judged policy with one shard differ by more
//! than the bar, or a policy faults. Where the bar is passed, it also plays exact replay with a few
//! objects more, and the live cache without slack, to tell what the difference is due to.

#[path = "live_agreement/table.rs"]
mod table;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use clap::Parser;
use ostler::{BUILTINS, Host, Policy};
use ostler_benches::{replace_section, trace_files, trace_name};
use ostler_core::Batch;
use ostler_replay::{
    Footprint, LiveConfig, LiveRun, Request, RunConfig, RunOutcome, TraceSource, WeightMode,
    run_loaded,
};

/// Compare exact replay with the live cache.
#[derive(Parser)]
struct Args {
    /// Directory of `NAME.oracleGeneral` or `NAME.oracleGeneral.zst` files.
    #[arg(long)]
    traces: PathBuf,
    /// Every built-in policy, not only those that are judged.
    #[arg(long)]
    all: bool,
    /// Records that a live shard keeps for its policy, instead of the cache's default.
    #[arg(long, value_name = "N")]
    batch: Option<u32>,
    /// Objects that a live cache may hold on top of its capacity, instead of the cache's default.
    #[arg(long, value_name = "N")]
    slack: Option<u64>,
    /// Results file whose section `live-agreement` is replaced.
    #[arg(long)]
    write: Option<PathBuf>,
}

/// Policies that the bar holds for.
const JUDGED: [&str; 3] = ["lru", "sieve", "s3fifo"];
/// Smallest cache that is played.
const CAPACITY_MIN: u64 = 100;
/// Shares of a trace's objects that are played, one in so many.
const SHARES: [u64; 3] = [1000, 100, 10];
/// Shards beside one shard. A live cache of a service has dozens, each of thousands of entries.
const SHARDS: u32 = 8;

/// The default slack is the capacity divided by this.
const SLACK_SHARE: u64 = 64;

/// One capacity of one trace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Point {
    trace: String,
    capacity: u64,
}

/// What one policy did at one point: hit ratios.
struct Comparison {
    point: Point,
    policy: &'static str,
    exact: Ratios,
    live: Ratios,
    faults: u64,
    /// Where the bar is passed: what it is due to.
    causes: Option<Causes>,
}

/// What moves the hit ratio at one point.
struct Causes {
    /// Exact replay with up to the default slack more objects: lowest and highest.
    larger: (f64, f64),
    /// The live cache with one shard, asked for room before every insert.
    without_slack: f64,
}

/// Hit ratios with one shard and with [`SHARDS`].
#[derive(Clone, Copy)]
struct Ratios {
    one: f64,
    many: f64,
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let host = Host::for_replay();
    let names = BUILTINS.map(|builtin| builtin.name);
    let mut policies = Vec::new();
    for name in names.into_iter().filter(|name| args.all || JUDGED.contains(name)) {
        policies.push((name, Arc::new(host.open(&name.parse()?)?)));
    }
    let mut results = Vec::new();
    for path in trace_files(&args.traces)? {
        let source: TraceSource = path.display().to_string().parse()?;
        let requests = source.load(usize::MAX).with_context(|| path.display().to_string())?;
        let points = points(&trace_name(&path), &requests);
        eprintln!("{}: {} requests", trace_name(&path), requests.len());
        results.extend(play(&points, &policies, &requests, &args)?);
    }
    let text = table::render(&results, &command(&args));
    println!("{text}");
    if let Some(path) = &args.write {
        replace_section(path, "live-agreement", &text)?;
    }
    let failed = results.iter().any(|result| !table::passes(result));
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn command(args: &Args) -> String {
    let mut command =
        "cargo run --release -p ostler-benches --bin live-agreement -- --traces DIR".to_owned();
    command += if args.all { " --all" } else { "" };
    command += &args.batch.map_or(String::new(), |records| format!(" --batch {records}"));
    command += &args.slack.map_or(String::new(), |objects| format!(" --slack {objects}"));
    command + " --write benches/RESULTS.md"
}

fn points(trace: &str, requests: &[Request]) -> Vec<Point> {
    let objects = Footprint::of(requests).unique_objects;
    SHARES
        .iter()
        .map(|share| Point { trace: trace.to_owned(), capacity: objects / share })
        .filter(|point| point.capacity >= CAPACITY_MIN)
        .collect()
}

/// Plays every policy at every point of one trace, on all cores.
fn play(
    points: &[Point],
    policies: &[(&'static str, Arc<Policy>)],
    requests: &[Request],
    args: &Args,
) -> Result<Vec<Comparison>> {
    let jobs: Vec<_> =
        points.iter().flat_map(|point| policies.iter().map(move |one| (point, one))).collect();
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, std::num::NonZero::get) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Relaxed);
                    let Some(&(point, (name, policy))) = jobs.get(index) else { break };
                    let result = compare(point, (name, policy), requests, args);
                    done.lock()
                        .expect("nothing panics while it adds a result")
                        .push((index, result));
                }
            });
        }
    });
    let mut done = done.into_inner().expect("nothing panics while it adds a result");
    done.sort_by_key(|&(index, _)| index);
    done.into_iter().map(|(_, result)| result).collect()
}

fn compare(
    point: &Point,
    (name, policy): (&'static str, &Arc<Policy>),
    requests: &[Request],
    args: &Args,
) -> Result<Comparison> {
    let exact = |shards| exact(policy, (point.capacity, shards), requests);
    let live = |shards| live(policy, (point.capacity, shards), requests, (args.batch, args.slack));
    let outcomes = [exact(1), exact(SHARDS), live(1)?, live(SHARDS)?];
    let [exact_one, exact_many, live_one, live_many] =
        [0, 1, 2, 3].map(|index: usize| hit_ratio(&outcomes[index]));
    let mut result = Comparison {
        point: point.clone(),
        policy: name,
        exact: Ratios { one: exact_one, many: exact_many },
        live: Ratios { one: live_one, many: live_many },
        faults: outcomes.iter().map(|outcome| outcome.faults).sum(),
        causes: None,
    };
    if !table::passes(&result) {
        result.causes = Some(causes(point, policy, requests)?);
    }
    Ok(result)
}

fn causes(point: &Point, policy: &Arc<Policy>, requests: &[Request]) -> Result<Causes> {
    let slack = (point.capacity / SLACK_SHARE).max(1);
    let more = (0..u64::BITS).map(|power| 1 << power).take_while(|&more| more < slack);
    let larger: Vec<f64> = more
        .chain([slack])
        .map(|more| hit_ratio(&exact(policy, (point.capacity + more, 1), requests)))
        .collect();
    let low = larger.iter().copied().fold(f64::INFINITY, f64::min);
    let high = larger.iter().copied().fold(0.0, f64::max);
    let without_slack = live(policy, (point.capacity, 1), requests, (None, Some(0)))?;
    Ok(Causes { larger: (low, high), without_slack: hit_ratio(&without_slack) })
}

fn hit_ratio(outcome: &RunOutcome) -> f64 {
    1.0 - outcome.miss_ratio()
}

fn exact(policy: &Policy, (capacity, shards): (u64, u32), requests: &[Request]) -> RunOutcome {
    let weights = WeightMode::Objects;
    let config = RunConfig { capacity, weights, shards, seed: 0, batch: Batch::Exact };
    run_loaded(policy, config, requests, &|_| ())
}

fn live(
    policy: &Arc<Policy>,
    (capacity, shards): (u64, u32),
    requests: &[Request],
    (notes_len_max, slack): (Option<u32>, Option<u64>),
) -> Result<RunOutcome> {
    let weights = WeightMode::Objects;
    let config = LiveConfig { capacity, weights, shards, seed: 0, notes_len_max, slack };
    let run = LiveRun::try_new(Arc::clone(policy) as _, config)?;
    Ok(run.play_loaded(requests, &|_| ()))
}
