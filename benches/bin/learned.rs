//! How does the policy `learned`, with the learner beside it, compare with the best of many algorithms
//! chosen in hindsight?
//!
//! `cargo run --release -p ostler-benches --bin learned -- --traces DIR --reference reference.csv
//! --results benches/RESULTS.md`. The reference has one line for each trace, size and algorithm, with
//! the columns `trace`, `ignore_size` (1: every object weighs 1), `cache_size`, `cache_frac`, `algo`,
//! `miss_ratio` and `byte_miss_ratio`; `belady` is left out. Caches below 100 objects are left out.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Parser;
use ostler_benches::{machine, replace_section, trace_files, trace_name};
use ostler_core::Batch;
use ostler_replay::{Request, RunConfig, RunOutcome, TraceSource, WeightMode, run_loaded};

#[path = "learned/reference.rs"]
mod reference;
#[path = "learned/table.rs"]
mod table;

use reference::Reference;
use table::{Point, Unit};

/// Compare the learned policy with the best of a table of references.
#[derive(Parser)]
struct Args {
    /// Directory of `NAME.oracleGeneral` or `NAME.oracleGeneral.zst` files.
    #[arg(long)]
    traces: PathBuf,
    /// Miss ratios to compare with.
    #[arg(long)]
    reference: PathBuf,
    /// The policy: a module by default; `native:learned` is the same source compiled in.
    #[arg(long, default_value = "learned")]
    policy: String,
    /// Results file whose section `learned` is replaced.
    #[arg(long)]
    results: Option<PathBuf>,
}

/// Smallest cache that is measured, in objects.
const OBJECTS_MIN: f64 = 100.0;

fn main() -> Result<()> {
    let args = Args::parse();
    let reference = Reference::read(&args.reference)?;
    let mut points = Vec::new();
    for path in trace_files(&args.traces)? {
        let name = trace_name(&path);
        let requests = load(&path)?;
        for unit in [Unit::Objects, Unit::ObjectMisses, Unit::ByteMisses] {
            // At 0.1 %, 1 % and 10 %.
            for size in reference.sizes(&name, unit) {
                if size.objects(&requests) < OBJECTS_MIN {
                    continue;
                }
                let outcome = play(&args.policy, unit, size.capacity, &requests)?;
                points.push(Point::new(&name, unit, &size, &outcome));
                eprintln!("{}", points[points.len() - 1].line());
            }
        }
    }
    let text = table::render(&points, &args.policy, &machine());
    println!("{text}");
    if let Some(path) = &args.results {
        replace_section(path, "learned", &text)?;
    }
    Ok(())
}

fn load(path: &Path) -> Result<Vec<Request>> {
    let source: TraceSource = path.display().to_string().parse()?;
    source.load(usize::MAX).with_context(|| path.display().to_string())
}

fn play(policy: &str, unit: Unit, capacity: u64, requests: &[Request]) -> Result<RunOutcome> {
    let params = if unit == Unit::ByteMisses { "(bytes=true)" } else { "" };
    let policy = ostler::policy(&format!("{policy}{params}"))?;
    let weights = if unit == Unit::Objects { WeightMode::Objects } else { WeightMode::Bytes };
    let config = RunConfig { capacity, weights, shards: 1, seed: 1, batch: Batch::Exact };
    Ok(run_loaded(&*policy, config, requests, &|_| {}))
}
