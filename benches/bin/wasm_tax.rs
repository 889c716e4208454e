//! What the sandbox costs: the same policy compiled in and as Wasm, on the same requests.
//!
//! Replays one trace, held in memory, on one thread; native and Wasm runs take turns, so that a
//! machine that slows down slows both. Medians of all rounds, and of the paired differences. With
//! `--libcachesim` the field's simulator runs in between (PyPI package `libcachesim`).

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use ostler::Host;
use ostler_benches::{Contender, machine, median, replace_section};
use ostler_core::Batch;
use ostler_replay::{CapacitySpec, CapacityUnit, Footprint, Request, RunConfig, TraceSource};
use ostler_replay::{WeightMode, run_loaded};

/// Measure native against Wasm on one trace.
#[derive(Parser)]
struct Args {
    /// The trace; uncompressed oracleGeneral where --libcachesim is given.
    #[arg(long)]
    trace: String,
    /// Capacity in objects.
    #[arg(long, default_value = "10%")]
    capacity: CapacitySpec,
    /// Policies.
    #[arg(long, num_args = 1.., default_values = ["fifo", "lru", "sieve", "s3fifo"])]
    policy: Vec<String>,
    /// Rounds.
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// A Python with the package `libcachesim`, to run it in the same rounds.
    #[arg(long, value_name = "PYTHON")]
    libcachesim: Option<PathBuf>,
    /// Results file whose section `wasm-tax` is replaced.
    #[arg(long)]
    write: Option<PathBuf>,
}

/// Nanoseconds a request of one policy, one value a round.
#[derive(Default)]
struct Times {
    exact: Vec<[f64; 2]>,
    full: Vec<[f64; 2]>,
    simulator: Vec<f64>,
    miss_ratio: f64,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let source: TraceSource = args.trace.parse()?;
    let requests = source.load(usize::MAX)?;
    let footprint = Footprint::of(&requests);
    let capacity = args.capacity.resolve(&footprint, CapacityUnit::Objects)?;
    let host = Host::for_replay();
    let mut times: Vec<Times> = args.policy.iter().map(|_| Times::default()).collect();
    for round in 0..args.rounds {
        eprintln!("round {} of {}", round + 1, args.rounds);
        for (name, times) in args.policy.iter().zip(&mut times) {
            measure(&host, name, (&requests, capacity), times)?;
            if let Some(python) = &args.libcachesim {
                times.simulator.push(simulate(python, &args.trace, capacity, name)?);
            }
        }
    }
    let text = render(&args, (capacity, requests.len()), &times);
    println!("{text}");
    match &args.write {
        Some(path) => replace_section(path, "wasm-tax", &text),
        None => Ok(()),
    }
}

/// One round of one policy: exact and full batches, native and Wasm in turn.
fn measure(
    host: &Host,
    name: &str,
    (requests, capacity): (&[Request], u64),
    times: &mut Times,
) -> Result<()> {
    let native = Contender::open(host, &format!("native:{name}"))?;
    let wasm = Contender::open(host, name)?;
    for (batch, pairs) in [(Batch::Exact, &mut times.exact), (Batch::Every(256), &mut times.full)] {
        let config =
            RunConfig { capacity, weights: WeightMode::Objects, shards: 1, seed: 0, batch };
        let play = |policy: &Contender| run_loaded(policy, config, requests, &|_| ());
        let (first, second) = (play(&native), play(&wasm));
        ensure!(first.victims_digest == second.victims_digest, "{name}: the twins differ");
        ensure!(second.faults == 0, "{name}: {:?}", second.first_fault);
        let ns = |outcome: &ostler_replay::RunOutcome| {
            outcome.elapsed.as_nanos() as f64 / outcome.requests as f64
        };
        pairs.push([ns(&first), ns(&second)]);
        if batch == Batch::Exact {
            times.miss_ratio = first.miss_ratio();
        }
    }
    Ok(())
}

/// Nanoseconds a request of libCacheSim.
fn simulate(python: &PathBuf, trace: &str, capacity: u64, name: &str) -> Result<f64> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/compare/libcachesim_replay.py");
    let output = Command::new(python)
        .args([script, trace, &capacity.to_string(), name])
        .output()
        .with_context(|| python.display().to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    let rate = text.split_whitespace().nth(2).and_then(|rate| rate.parse::<f64>().ok());
    let rate = rate.with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    Ok(1000.0 / rate)
}

fn render(args: &Args, (capacity, requests): (u64, usize), times: &[Times]) -> String {
    let column = |pairs: &[[f64; 2]], side: usize| -> f64 {
        median(&pairs.iter().map(|pair| pair[side]).collect::<Vec<_>>())
    };
    let paired = |pairs: &[[f64; 2]], of: fn(&[f64; 2]) -> f64| {
        median(&pairs.iter().map(of).collect::<Vec<_>>())
    };
    let trace = std::path::Path::new(&args.trace);
    let trace = trace.file_name().map_or(args.trace.clone(), |name| name.to_string_lossy().into());
    let mut text = format!(
        "{trace}, {requests} requests, {capacity} objects, one thread, seed 0, medians of {} \
         interleaved rounds, {}.\n\n```\ncargo run --release -p ostler-benches --bin wasm-tax -- \
         --trace {trace} --libcachesim python3 --write benches/RESULTS.md\n```\n\n\
         | policy | miss ratio | native ns | Wasm ns | difference ns | Wasm M requests/s \
         | native ns, batches of 256 | Wasm ns, batches of 256 | ratio \
         | libCacheSim ns | libCacheSim M requests/s |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
        args.rounds,
        machine(),
    );
    for (name, times) in args.policy.iter().zip(times) {
        let wasm = column(&times.exact, 1);
        let simulator =
            if times.simulator.is_empty() { f64::NAN } else { median(&times.simulator) };
        text += &format!(
            "| {name} | {:.2} % | {:.1} | {wasm:.1} | {:+.1} | {:.1} | {:.1} | {:.1} | {:.2} \
             | {simulator:.1} | {:.1} |\n",
            times.miss_ratio * 100.0,
            column(&times.exact, 0),
            paired(&times.exact, |[native, wasm]| wasm - native),
            1000.0 / wasm,
            column(&times.full, 0),
            column(&times.full, 1),
            paired(&times.full, |[native, wasm]| wasm / native),
            1000.0 / simulator,
        );
    }
    text
}
