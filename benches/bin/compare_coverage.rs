//! Do the intervals of `ostler compare` contain the truth as often as they say?
//!
//! Makes many traces of one workload, each with a seed of its own, compares policies on each of them,
//! and counts how many of the intervals contain the mean difference of all traces, which stands for the
//! truth. A right 95 % interval contains it in some 95 of 100 traces.

#[path = "compare_coverage/population.rs"]
mod population;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use anyhow::{Context, Result};
use clap::Parser;
use ostler::Policy;
use ostler_benches::replace_section;
use ostler_core::Batch;
use ostler_replay::{
    Contender, Difference, Measure, Paired, PairedSetup, Run, RunConfig, WeightMode,
};

use population::Population;

/// Measure the coverage of the intervals of `ostler compare`.
#[derive(Parser)]
struct Args {
    /// Traces of each workload.
    #[arg(long, default_value_t = 200)]
    seeds: u64,
    /// Requests of a trace.
    #[arg(long, default_value_t = 102_400)]
    requests: u64,
    /// Results file whose section `compare-coverage` is replaced.
    #[arg(long)]
    write: Option<PathBuf>,
}

/// Each against the one before it.
const POLICIES: [&str; 4] = ["lru", "sieve", "s3fifo", "wtinylfu"];
/// Capacities as parts of a tenth of the requests.
const CAPACITY_PARTS: [u64; 2] = [50, 10];

/// Student's quantile for twelve blocks of time, and for 64 groups of keys.
const TIME_QUANTILE: f64 = 2.201;
const KEY_QUANTILE: f64 = 1.998;

/// One pair of policies on many traces.
struct Covered {
    workload: &'static str,
    capacity: u64,
    pair: usize,
    differences: Vec<Difference>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let policies = POLICIES.map(policy).into_iter().collect::<Result<Vec<_>>>()?;
    let mut all = Vec::new();
    for population in Population::ALL {
        for part in CAPACITY_PARTS {
            let capacity = args.requests / 10 / part;
            let traces = play(&args, population, capacity, &policies);
            for pair in 1..POLICIES.len() {
                let differences = traces.iter().map(|trace| trace[pair - 1]).collect();
                all.push(Covered { workload: population.name(), capacity, pair, differences });
            }
            eprintln!("{} at {capacity}", population.name());
        }
    }
    let text = render(&args, &all)?;
    println!("{text}");
    if let Some(path) = &args.write {
        replace_section(path, "compare-coverage", &text)?;
    }
    Ok(())
}

fn policy(name: &'static str) -> Result<Policy> {
    let builtin = ostler::builtin(name).with_context(|| format!("{name} is not built in"))?;
    Ok(Policy::from_native(builtin.native, &serde_json::Map::new(), name.to_owned())?)
}

/// By trace, the difference of each policy to the one before it.
fn play(
    args: &Args,
    population: Population,
    capacity: u64,
    policies: &[Policy],
) -> Vec<Vec<Difference>> {
    let (next, done) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, std::num::NonZero::get) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Relaxed);
                    if seed >= args.seeds {
                        break;
                    }
                    let differences = compare(args, population, (seed, capacity), policies);
                    let mut done = done.lock().expect("nothing panics while it adds a result");
                    done.push((seed, differences));
                }
            });
        }
    });
    let mut done = done.into_inner().expect("nothing panics while it adds a result");
    done.sort_by_key(|&(seed, _)| seed);
    done.into_iter().map(|(_, differences)| differences).collect()
}

/// One trace: each policy against the one before it.
fn compare(
    args: &Args,
    population: Population,
    (seed, capacity): (u64, u64),
    policies: &[Policy],
) -> Vec<Difference> {
    let requests = population.trace(args.requests, seed);
    let weights = WeightMode::Objects;
    let config = RunConfig { capacity, weights, shards: 1, seed: 0, batch: Batch::Exact };
    let pairs = policies.windows(2);
    let difference = |pair: &[Policy]| {
        let contender =
            |policy: &Policy| -> Box<dyn Contender> { Box::new(Run::new(policy, config)) };
        let contenders = pair.iter().map(contender).collect();
        let mut paired = Paired::new(PairedSetup { capacity, weights }, contenders);
        paired.play(&requests);
        paired.finish().difference(1, Measure::Requests)
    };
    pairs.map(difference).collect()
}

fn render(args: &Args, all: &[Covered]) -> Result<String> {
    let mut text = format!(
        "{} traces of each workload, {} requests each; 95 % of the differences lie within ± half of \"spread\".\n\n\
         ```\ncargo run --release -p ostler-benches --bin compare-coverage -- --write benches/RESULTS.md\n```\n\n\
         | workload | capacity | difference of | to | mean | spread | width of the interval | contains the mean \
         | by time alone | by key alone |\n\
         |---|--:|---|---|--:|--:|--:|--:|--:|--:|\n",
        args.seeds, args.requests
    );
    for Covered { workload, capacity, pair, differences } in all {
        let count = differences.len() as f64;
        let mean_of =
            |value: &dyn Fn(&Difference) -> f64| differences.iter().map(value).sum::<f64>() / count;
        let mean = mean_of(&|it| it.estimate);
        let deviation = mean_of(&|it| (it.estimate - mean).powi(2)).sqrt();
        let width = mean_of(&|it| it.high - it.low);
        let share = |is_covered: &dyn Fn(&Difference) -> bool| {
            100.0 * mean_of(&|it| f64::from(u8::from(is_covered(it))))
        };
        let covered = share(&|it| it.low <= mean && mean <= it.high);
        let by_time = share(&|it| (it.estimate - mean).abs() <= TIME_QUANTILE * it.error_by_time);
        let by_key = share(&|it| (it.estimate - mean).abs() <= KEY_QUANTILE * it.error_by_key);
        writeln!(
            text,
            "| {workload} | {capacity} | {} | {} | {:+.2} pp | {:.2} pp | {:.2} pp | {covered:.0} % \
             | {by_time:.0} % | {by_key:.0} % |",
            POLICIES[*pair],
            POLICIES[pair - 1],
            100.0 * mean,
            100.0 * 3.92 * deviation,
            100.0 * width,
        )?;
    }
    Ok(text)
}
