//! Learns the models that the policy `learned` starts with, from generated workloads.
//!
//! `cargo run --release -p ostler-benches --bin prior` writes `sdk/features/src/prior.rs`. It searches
//! the weights that miss least: random steps from the best so far, on a fixed set of workloads, each
//! judged against the best of three classic rules. No trace takes part. Deterministic; some minutes.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Parser;
use ostler_adapt::trial_misses;
use ostler_features::{FREQUENCY, Model, RECENCY, SECOND_CHANCE, WEIGHTS};

#[path = "prior/workloads.rs"]
mod workloads;

use workloads::{Class, Random, Workload};

/// Search the prior.
#[derive(Parser)]
struct Args {
    /// The file to write.
    #[arg(long, default_value = "sdk/features/src/prior.rs")]
    out: PathBuf,
    /// Workloads of each class.
    #[arg(long, default_value_t = 10)]
    workloads: u64,
    /// Steps tried for each model.
    #[arg(long, default_value_t = 300)]
    steps: u32,
}

type Weights = [f32; WEIGHTS];

/// A workload, and the misses of the best rule on it.
struct Task {
    workload: Workload,
    rule_misses: f64,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let tasks = |class| (1..=args.workloads).map(move |seed| task(seed, class));
    let loops: Vec<Task> = tasks(Class::Loops).collect();
    let others = tasks(Class::Popularity).chain(tasks(Class::Recency));
    let others: Vec<Task> = others.collect();
    let all: Vec<&Task> = loops.iter().chain(&others).collect();
    let (prior, gain) = search(&all, SECOND_CHANCE, (1, args.steps));
    println!("PRIOR misses {:+.2} % against the best rule of each workload", gain * 100.0);
    let alone: Vec<&Task> = loops.iter().collect();
    let (looping, gain) = search(&alone, prior, (2, args.steps));
    println!("LOOPS misses {:+.2} % against the best rule of each workload", gain * 100.0);
    std::fs::write(&args.out, source(&prior, &looping)?)
        .with_context(|| args.out.display().to_string())
}

fn task(seed: u64, class: Class) -> Task {
    let workload = Workload::new(seed, class);
    let rules = [RECENCY, FREQUENCY, SECOND_CHANCE];
    let rule_misses = rules.iter().map(|rule| misses(&workload, rule)).fold(f64::MAX, f64::min);
    Task { workload, rule_misses }
}

fn misses(workload: &Workload, weights: &Weights) -> f64 {
    let model = Model { version: 0, weights: *weights };
    trial_misses(workload.capacity, &model, &workload.requests) as f64
}

/// Mean logarithm of the misses over those of the best rule.
fn score(tasks: &[&Task], weights: &Weights) -> f64 {
    let ratio = |task: &&Task| (misses(&task.workload, weights) / task.rule_misses).ln();
    tasks.iter().map(ratio).sum::<f64>() / tasks.len() as f64
}

/// The best weights found from `start` on, or from a rule where that is better, and their score.
fn search(tasks: &[&Task], start: Weights, (seed, steps): (u64, u32)) -> (Weights, f64) {
    let mut random = Random::new(seed);
    let starts =
        [start, RECENCY, FREQUENCY, SECOND_CHANCE].map(|start| (start, score(tasks, &start)));
    let best = starts.into_iter().min_by(|one, other| one.1.total_cmp(&other.1));
    let (mut best, mut least) = best.unwrap_or((start, f64::MAX));
    let (mut width, mut again) = (0.15, [0.0; WEIGHTS]);
    for step in 0..steps {
        // A step that helped is tried once more.
        let mut by = again;
        if step % 4 != 3 {
            by = [0.0; WEIGHTS];
            for change in &mut by {
                if random.unit() < 0.2 {
                    *change = (random.normal() * width) as f32;
                }
            }
        }
        let tried = std::array::from_fn(|place| (best[place] + by[place]).clamp(-8.0, 8.0));
        let found = score(tasks, &tried);
        if found < least {
            (best, least, again) = (tried, found, by);
            width *= 1.15;
        } else {
            again = [0.0; WEIGHTS];
            width *= 0.98;
        }
    }
    (best, least)
}

fn source(prior: &Weights, loops: &Weights) -> Result<String> {
    let mut text = String::from(
        "//! Models learned from generated workloads: what a policy starts with.\n\
         //! Written by `cargo run --release -p ostler-benches --bin prior`; do not edit.\n\n\
         #![allow(clippy::approx_constant, reason = \"weights, not constants of nature\")]\n\n\
         use crate::WEIGHTS;\n",
    );
    let models = [
        ("PRIOR", "of every kind: loops, scans, skewed popularity, shifts and bursts", prior),
        ("LOOPS", "in which loops and scans prevail", loops),
    ];
    for (name, kind, weights) in models {
        write!(
            text,
            "\n/// Learned from workloads {kind}.\npub const {name}: [f32; WEIGHTS] = [\n"
        )?;
        for weight in weights {
            writeln!(text, "    {weight:.4},")?;
        }
        text.push_str("];\n");
    }
    Ok(text)
}
