//! What warming a restarted cache is worth: the built-in warming policies on traces and workloads.
//!
//! Deterministic: nothing is timed. Restarts at several places of each trace, since one of them says
//! little; the first share is the one that is quoted.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Parser;
use ostler::{Host, WARMERS};
use ostler_abi::Setup;
use ostler_benches::replace_section;
use ostler_core::Batch;
use ostler_replay::{
    CapacitySpec, CapacityUnit, Footprint, Models, Request, RestartConfig, RestartOutcome,
    RunConfig, TraceSource, WeightMode, replay_restart,
};

/// Measure the built-in warming policies.
#[derive(Parser)]
struct Args {
    /// Traces and workloads.
    #[arg(long, num_args = 1.., required = true)]
    trace: Vec<TraceSource>,
    /// Requests of each that are played.
    #[arg(long, default_value_t = 1_000_000)]
    requests_max: usize,
    /// The eviction policy beside them.
    #[arg(long, default_value = "lru")]
    policy: String,
    /// Capacities in objects.
    #[arg(long, num_args = 1.., default_values = ["5%", "10%"])]
    capacity: Vec<CapacitySpec>,
    /// Percent of the requests after which the cache restarts.
    #[arg(long, num_args = 1.., default_values = ["50", "30", "40", "60", "70", "80"])]
    restart_at: Vec<u32>,
    /// Percent of the capacity that may be fetched.
    #[arg(long, default_value_t = 25)]
    budget: u64,
    /// Results file whose section `warming` is replaced.
    #[arg(long)]
    write: Option<PathBuf>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let host = Host::for_replay();
    let mut text = head(&args);
    for trace in &args.trace {
        let mut requests = trace.load(usize::MAX)?;
        requests.truncate(args.requests_max);
        for capacity in &args.capacity {
            let capacity = capacity.resolve(&Footprint::of(&requests), CapacityUnit::Objects)?;
            for builtin in WARMERS {
                eprintln!("{} with {} at {capacity}", trace.name(), builtin.name);
                let subject = (builtin.name, capacity);
                let outcomes = measure(&host, &args, subject, &requests)?;
                row(&mut text, (&trace.name(), subject), &outcomes);
            }
        }
    }
    println!("{text}");
    match &args.write {
        Some(path) => replace_section(path, "warming", &text),
        None => Ok(()),
    }
}

fn measure(
    host: &Host,
    args: &Args,
    (name, capacity): (&str, u64),
    requests: &[Request],
) -> Result<Vec<RestartOutcome>> {
    let run = RunConfig {
        capacity,
        weights: WeightMode::Objects,
        shards: 1,
        seed: 0,
        batch: Batch::Exact,
    };
    let policy = host.open(&args.policy.parse()?)?;
    let warming = host.open_warming(&name.parse()?)?;
    let models = if warming.takes_models() { Models::Taken } else { Models::Untaken };
    let setup = Setup { capacity, slots: 0, seed: 0 };
    let restart = |&percent: &u32| {
        let config = RestartConfig {
            run,
            at: requests.len() * percent as usize / 100,
            horizon: usize::try_from(capacity)?,
            budget: capacity * args.budget / 100,
            history_bytes: 64 << 20,
        };
        let outcome = replay_restart(&policy, &config, requests, (warming.instance(setup), models));
        outcome.context("the warming policy failed")
    };
    args.restart_at.iter().map(restart).collect()
}

fn head(args: &Args) -> String {
    format!(
        "{} over the first {} requests at most, C objects; restarted after the given share of them, filled with \
         {} % of C at once, hit ratio over the next C requests.\n\
         Oracle: filled with as many of the known keys, those that the next 5 C requests ask for most. \
         Possible: those that the next C requests ask for, which no order can beat.\n\
         Closed: the share of the way from cold to the oracle, at {} %, and its mean over restarts at {} %; \
         in brackets of the way to what is possible.\n\n\
         | trace | C | policy | cold | warmed | oracle | possible | no restart | closed | mean closed |\n\
         |---|---|---|---|---|---|---|---|---|---|\n",
        args.policy,
        args.requests_max,
        args.budget,
        args.restart_at.first().unwrap_or(&0),
        args.restart_at.iter().map(u32::to_string).collect::<Vec<String>>().join(", ")
    )
}

fn row(
    text: &mut String,
    (trace, (policy, capacity)): (&str, (&str, u64)),
    outcomes: &[RestartOutcome],
) {
    let Some(first) = outcomes.first() else { return };
    let percent = |share: f64| format!("{:.2} %", share * 100.0);
    let mean = |of: fn(&RestartOutcome) -> f64| {
        outcomes.iter().map(of).sum::<f64>() / outcomes.len() as f64 * 100.0
    };
    let ratios = [first.cold, first.warmed, first.oracle, first.clairvoyant, first.no_restart];
    let cells = ratios.map(percent).join(" | ");
    let written = writeln!(
        text,
        "| {trace} | {capacity} | {policy} | {cells} | {:.1} % ({:.1}) | {:.1} % ({:.1}) |",
        first.gap_closed() * 100.0,
        first.gap_closed_clairvoyant() * 100.0,
        mean(RestartOutcome::gap_closed),
        mean(RestartOutcome::gap_closed_clairvoyant)
    );
    debug_assert!(written.is_ok(), "a string takes everything");
}
