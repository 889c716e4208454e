//! `ostler replay`: traces under policies, exactly or through the live cache.
//!
//! It turns arguments into runs, spreads the runs over threads and prints one row a run, in the
//! order of the arguments whatever finishes first. What a run does stands in `ostler-replay`.

mod belady;
mod plan;
mod prefetching;
pub(crate) mod progress;
mod restarting;
mod table;

use std::io::Write;
use std::num::NonZeroUsize;

use anyhow::{Context, Result};
use clap::{Args as ClapArgs, ValueEnum};
use ostler::PolicySpec;
use ostler_replay::{
    CapacitySpec, DEFAULT_WORKLOAD, FetchBudget, FetchLatency, RunReport, TraceSource, WeightMode,
};

use crate::adaptive::Adaptive;
use crate::usage;
use plan::{Contender, EventPath, Plan};
use prefetching::Prefetching;
use progress::Progress;

/// Capacities that are replayed where none is given.
pub(crate) const DEFAULT_CAPACITIES: [&str; 2] = ["1%", "10%"];

const BELADY_USAGE: &str =
    "belady is the optimum for equal weights and one shard: add --objects, leave --shards";

/// Replay traces under policies and print what each would have missed.
///
/// Without arguments: an embedded workload that shifts between Zipf, scan and loop phases, under
/// every built-in policy and the offline optimum.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// A trace file or a generated workload such as 'zipf(n=1000000,alpha=0.9)'; several may follow.
    #[arg(long, value_name = "FILE|SPEC", num_args = 1..)]
    trace: Vec<TraceSource>,
    /// NAME, native:NAME, FILE.wasm or belady, with (key=value,…) for parameters, or
    /// adaptive(portfolio=A+B+…); several may follow.
    #[arg(long, value_name = "POLICY", num_args = 1..)]
    policy: Vec<String>,
    /// A count, a size (64MiB) or a share of the trace's objects or bytes (10%); several may follow.
    #[arg(long, value_name = "N|SIZE|P%", num_args = 1.., default_values = DEFAULT_CAPACITIES)]
    capacity: Vec<CapacitySpec>,
    /// Every entry weighs 1, capacities count objects.
    #[arg(long)]
    objects: bool,
    /// Play through the live cache itself: rings, coalesced hits, slack. On one thread, so two runs do
    /// the same.
    #[arg(long)]
    live: bool,
    /// Shards; keys are dealt by hash. A live cache in production has four a core by default, at most
    /// 64, each of at least 4096 entries or 32 MiB: give that number with --live to know what it does.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=4096))]
    shards: u32,
    /// Hand records over N at a time instead of exactly; the cache overshoots meanwhile. At most
    /// what the policy's event window holds: 256 for everything written with the SDK. With --live, how
    /// many records a shard keeps for its policy; by default as many as in production.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    batch: Option<u32>,
    /// Seed of everything random in policies and fallback.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Runs at the same time; by default one a core. Use 1 where times matter.
    #[arg(long)]
    jobs: Option<NonZeroUsize>,
    /// A prefetch policy beside the policies: NAME, native:NAME or FILE.wasm, with (key=value,…) for
    /// parameters. Rows are of the runs with it, and say what it did against the same runs without.
    #[arg(long, value_name = "POLICY")]
    prefetch: Option<String>,
    /// How long a prefetch takes: requests, as 16, or the trace's time, as 5ms.
    #[arg(long, value_name = "N|Nms", default_value = "16", requires = "prefetch")]
    fetch_latency: FetchLatency,
    /// Prefetches that each miss allows.
    #[arg(long, value_name = "X", default_value = "1", requires = "prefetch")]
    fetch_budget: FetchBudget,
    #[command(flatten)]
    restart: restarting::RestartArgs,
    /// How results are printed.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// One object a line.
    Json,
    /// With a header.
    Csv,
}

/// Runs the command. Rows go to `out`; the progress bar, on a terminal, to the error stream.
pub(crate) fn run(mut args: Args, out: &mut dyn Write) -> Result<u8> {
    if args.trace.is_empty() {
        args.trace.push(DEFAULT_WORKLOAD.parse().context("the embedded workload")?);
        args.objects = true;
    }
    if restarting::run(&args, out)? {
        return Ok(crate::EXIT_DONE);
    }
    let prefetching = Prefetching::open(&args)?;
    let policies = contenders(&args)?;
    let plan = Plan {
        contenders: policies,
        capacities: args.capacity,
        weights: if args.objects { WeightMode::Objects } else { WeightMode::Bytes },
        shards: args.shards,
        seed: args.seed,
        batch: args.batch,
        path: if args.live { EventPath::Live } else { EventPath::Exact },
        prefetching,
        jobs: args.jobs.or(std::thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get),
    };
    let mut csv_rows: Vec<RunReport> = Vec::new();
    for trace in &args.trace {
        let progress = Progress::new(&trace.name(), args.format == Format::Table);
        let reports = plan.play(trace, &progress)?;
        progress.finish();
        match args.format {
            Format::Table if plan.prefetching.is_some() => {
                prefetching::write(out, trace, &reports)?;
            }
            Format::Table => table::write(out, trace, plan.weights, &reports)?,
            Format::Json => ostler_replay::write_json(out, &reports)?,
            Format::Csv => csv_rows.extend(reports),
        }
    }
    if args.format == Format::Csv {
        ostler_replay::write_csv(out, &csv_rows)?;
    }
    Ok(crate::EXIT_DONE)
}

/// The policies that were named, or all built-in ones and the optimum.
fn contenders(args: &Args) -> Result<Vec<Contender>> {
    let host = ostler::Host::for_replay();
    if args.policy.is_empty() {
        let mut all = Vec::new();
        for builtin in ostler::BUILTINS {
            all.push(Contender::open(&host, &builtin.name.parse()?)?);
        }
        if args.objects && args.shards == 1 && args.prefetch.is_none() {
            all.push(Contender::Belady);
        }
        return Ok(all);
    }
    args.policy
        .iter()
        .map(|text| {
            if text == belady::NAME {
                if !args.objects || args.shards != 1 {
                    return Err(usage(BELADY_USAGE));
                }
                return Ok(Contender::Belady);
            }
            if let Some(adaptive) = Adaptive::parse(&host, text) {
                return Ok(Contender::Adaptive(adaptive?));
            }
            let spec: PolicySpec = text.parse().map_err(usage)?;
            Contender::open(&host, &spec)
        })
        .collect()
}
