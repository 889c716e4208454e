//! What prefetching gains and costs: the built-in prefetch policies on traces and workloads.
//!
//! Deterministic: nothing is timed. Each run is compared with the same run without prefetching; the
//! table has the seven figures that are only worth something together.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use ostler::{Host, PREFETCHERS};
use ostler_abi::Setup;
use ostler_benches::replace_section;
use ostler_core::Batch;
use ostler_replay::{
    CapacitySpec, CapacityUnit, FetchBudget, FetchLatency, Footprint, PrefetchOutcome, PrefetchRun,
    PrefetchRunConfig, Request, RunConfig, TraceSource, WeightMode,
};

/// Measure the built-in prefetch policies.
#[derive(Parser)]
struct Args {
    /// Traces and workloads.
    #[arg(long, num_args = 1.., required = true)]
    trace: Vec<TraceSource>,
    /// The eviction policy beside them.
    #[arg(long, default_value = "lru")]
    policy: String,
    /// Capacity in objects.
    #[arg(long, default_value = "10%")]
    capacity: CapacitySpec,
    /// Latencies of a fetch.
    #[arg(long, num_args = 1.., default_values = ["16"])]
    latency: Vec<FetchLatency>,
    /// Fetches that each miss allows.
    #[arg(long, default_value = "1")]
    budget: FetchBudget,
    /// Results file whose section `prefetch` is replaced.
    #[arg(long)]
    write: Option<PathBuf>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let host = Host::for_replay();
    let mut text = head(&args);
    for trace in &args.trace {
        let requests = trace.load(usize::MAX)?;
        for &latency in &args.latency {
            for builtin in PREFETCHERS {
                eprintln!("{} with {} at {latency}", trace.name(), builtin.name);
                let outcome = measure(&host, &args, (builtin.name, latency), &requests)?;
                row(&mut text, (&trace.name(), builtin.name, latency), &outcome);
            }
        }
    }
    println!("{text}");
    match &args.write {
        Some(path) => replace_section(path, "prefetch", &text),
        None => Ok(()),
    }
}

fn measure(
    host: &Host,
    args: &Args,
    (name, latency): (&str, FetchLatency),
    requests: &[Request],
) -> Result<PrefetchOutcome> {
    let capacity = args.capacity.resolve(&Footprint::of(requests), CapacityUnit::Objects)?;
    let run = RunConfig {
        capacity,
        weights: WeightMode::Objects,
        shards: 1,
        seed: 0,
        batch: Batch::Exact,
    };
    let policy = host.open(&args.policy.parse()?)?;
    let prefetch = host.open_prefetch(&name.parse()?)?;
    let setup = Setup { capacity, slots: 0, seed: 0 };
    let config =
        PrefetchRunConfig { run, latency, budget: args.budget, wants_keys: prefetch.wants_keys() };
    Ok(PrefetchRun::new(&policy, prefetch.instance(setup), config).play_loaded(requests, &|_| {}))
}

fn head(args: &Args) -> String {
    format!(
        "{} at {} of the objects, {} fetch a miss at most; late arrivals count as misses.\n\
         Fetches: those of the origin, demands and prefetches, against the run without prefetching.\n\
         Pollution: requests that missed only because of prefetching, of all.\n\n\
         | trace | latency | policy | misses without | with | fewer | coverage | accuracy | late | \
         fetches | extra a request | pollution | hit gain | wasted |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
        args.policy, args.capacity, args.budget
    )
}

fn row(
    text: &mut String,
    (trace, policy, latency): (&str, &str, FetchLatency),
    outcome: &PrefetchOutcome,
) {
    let percent = |share: f64| format!("{:.2} %", share * 100.0);
    let figures = outcome.figures;
    let cells = [
        percent(outcome.without.miss_ratio()),
        percent(outcome.with.miss_ratio()),
        percent(outcome.misses_saved()),
        percent(figures.coverage),
        percent(figures.accuracy),
        percent(figures.late_fraction),
        format!("{:+.2} %", outcome.extra_fetches() * 100.0),
        format!("{:+.4}", figures.extra_fetches_per_request),
        percent(figures.pollution),
        format!("{:+.2} pp", figures.hit_gain * 100.0),
        percent(figures.wasted),
    ];
    let cells = cells.join(" | ");
    let written = writeln!(text, "| {trace} | {latency} | {policy} | {cells} |");
    debug_assert!(written.is_ok(), "a string takes everything");
}
