//! What a change of the policy does to those who use the cache meanwhile.
//!
//! First part: two threads read and insert without a break while every built-in policy takes the seat in
//! turn. Before each change the same load is watched for a while alone, and beside one more thread that
//! only computes, since where there are no more than two cores such a thread alone makes callers wait.
//! Second part: hit ratio in the next requests after a change, from a cold start, and without a change.

#[path = "seat_change/aftermath.rs"]
mod aftermath;
#[path = "seat_change/under_load.rs"]
mod under_load;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use clap::Parser;
use foldhash::fast::FixedState;
use ostler::{BUILTINS, InstanceSource};
use ostler_benches::live::LiveCache;
use ostler_benches::{machine, replace_section};
use ostler_core::Cache;

/// Change the policy under load, all built-in policies in turn.
#[derive(Parser)]
struct Args {
    /// A smoke test with 50,000 entries.
    #[arg(long)]
    quick: bool,
    /// Entries of the cache.
    #[arg(long)]
    entries: Option<usize>,
    /// How often all policies take their turn under load.
    #[arg(long)]
    rounds: Option<usize>,
    /// Threads that play the load.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Results file whose section `seat-change` is replaced.
    #[arg(long)]
    results: Option<PathBuf>,
}

/// The policy that is in charge at first.
const FIRST: &str = "s3fifo";

/// A policy under its name, ready to take a seat.
type Named = (&'static str, Arc<dyn InstanceSource>);

/// What is measured, of what size.
struct Plan {
    entries: usize,
    rounds: usize,
    threads: usize,
    policies: Vec<Named>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let entries = args.entries.unwrap_or(if args.quick { 50_000 } else { 1_000_000 });
    let rounds = args.rounds.unwrap_or(if args.quick { 1 } else { 3 });
    let policies = BUILTINS.iter().map(|builtin| Ok((builtin.name, ostler::policy(builtin.name)?)));
    let policies = policies.collect::<Result<_>>()?;
    let plan = Plan { entries, rounds, threads: args.threads.max(1), policies };
    let under_load = under_load::measure(&plan)?;
    let aftermath = aftermath::measure(&plan)?;
    let text = format!(
        "{entries} entries, `u64` keys and values, {}.\n\n```\n{}\n```\n\n{under_load}\n\n{aftermath}",
        machine(),
        command(&args),
    );
    println!("{text}");
    match &args.results {
        Some(path) => replace_section(path, "seat-change", &text),
        None => Ok(()),
    }
}

fn command(args: &Args) -> String {
    let mut command = "cargo run --release -p ostler-benches --bin seat-change --".to_owned();
    if args.quick {
        command.push_str(" --quick");
    }
    for (option, value) in [("--entries", args.entries), ("--rounds", args.rounds)] {
        command.extend(value.map(|value| format!(" {option} {value}")));
    }
    command.push_str(&format!(" --threads {} --results benches/RESULTS.md", args.threads));
    command
}

/// A cache with `policy` in charge of nothing yet.
fn build(entries: usize, policy: Arc<dyn InstanceSource>) -> Result<LiveCache> {
    let builder = Cache::builder(entries as u64).hasher(FixedState::default());
    Ok(builder.policy(policy).build()?)
}
