//! `ostler compare`: policies against a baseline, on the same requests, with intervals.
//!
//! It turns arguments into rows, a trace at a capacity each, plays all policies of a row in lock-step,
//! and shows what separates them: as a table, JSON, CSV, and as a page with plots. How a difference gets
//! its interval stands in `ostler-replay`.

pub(crate) mod charts;
pub(crate) mod folder;
pub(crate) mod page;
mod rows;
mod stage;
pub(crate) mod svg;
pub(crate) mod table;

use std::io::Write;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args as ClapArgs;
use ostler_replay::{CapacitySpec, DEFAULT_WORKLOAD, Standings, TraceSource, WeightMode};

use crate::replay::progress::Progress;
use crate::replay::{DEFAULT_CAPACITIES, Format};
use crate::usage;
use folder::Folder;
use rows::Comparison;
use stage::{Entrant, Stage};

const TOO_FEW: &str = "compare needs two policies or more, the first being the baseline: \
                       --policy lru sieve, or --policy sieve ./mine.wasm";

/// Compare policies on the same requests: differences with 95 % intervals.
///
/// The first policy is the baseline, every other one is compared with it. Without --trace: the embedded
/// workload that shifts between Zipf, scan and loop phases.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// A trace file or a generated workload such as 'zipf(n=1000000,alpha=0.9)'; several may follow.
    #[arg(long, value_name = "FILE|SPEC", num_args = 1..)]
    trace: Vec<TraceSource>,
    /// NAME, native:NAME or FILE.wasm, with (key=value,…) for parameters, or adaptive(portfolio=A+B+…);
    /// two or more.
    #[arg(long, value_name = "POLICY", num_args = 1..)]
    policy: Vec<String>,
    /// A count, a size (64MiB) or a share of the trace's objects or bytes (10%); several may follow.
    #[arg(long, value_name = "N|SIZE|P%", num_args = 1.., default_values = DEFAULT_CAPACITIES)]
    capacity: Vec<CapacitySpec>,
    /// Every entry weighs 1, capacities count objects.
    #[arg(long)]
    objects: bool,
    /// Write a page with plots, and the CSV behind them, into this folder.
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// Play through the live cache itself, on one thread.
    #[arg(long)]
    live: bool,
    /// Shards; keys are dealt by hash.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=4096))]
    shards: u32,
    /// Seed of everything random in policies and fallback. The intervals draw no random number.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Rows played at the same time; by default one a core. Use 1 where times matter.
    #[arg(long)]
    jobs: Option<NonZeroUsize>,
    /// How results are printed.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

impl Args {
    /// The command line that means the same, for the page.
    fn command(&self) -> String {
        let mut words: Vec<String> = vec!["ostler".into(), "compare".into()];
        let mut option = |name: &str, values: Vec<String>| {
            if !values.is_empty() {
                words.push(name.to_owned());
                words.extend(values.iter().map(|value| quoted(value)));
            }
        };
        option("--trace", self.trace.iter().map(ToString::to_string).collect());
        option("--policy", self.policy.clone());
        option("--capacity", self.capacity.iter().map(ToString::to_string).collect());
        option("--shards", vec![self.shards.to_string()]);
        option("--seed", vec![self.seed.to_string()]);
        for (name, given) in [("--objects", self.objects), ("--live", self.live)] {
            if given {
                words.push(name.to_owned());
            }
        }
        words.join(" ")
    }
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./:%=+,".contains(letter);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Runs the command. Rows go to `out`; the progress bar, on a terminal, to the error stream.
pub(crate) fn run(mut args: Args, out: &mut dyn Write) -> Result<u8> {
    if args.policy.len() < 2 {
        return Err(usage(TOO_FEW));
    }
    if args.trace.is_empty() {
        args.trace.push(DEFAULT_WORKLOAD.parse().context("the embedded workload")?);
        args.objects = true;
    }
    let folder = args.report.as_deref().map(Folder::claim).transpose()?;
    let host = ostler::Host::for_replay();
    let entrants = args.policy.iter().map(|text| Entrant::open(&host, text));
    let stage = Stage {
        entrants: entrants.collect::<Result<_>>()?,
        capacities: args.capacity.clone(),
        weights: if args.objects { WeightMode::Objects } else { WeightMode::Bytes },
        shards: args.shards,
        seed: args.seed,
        path: if args.live { stage::EventPath::Live } else { stage::EventPath::Exact },
        jobs: args.jobs.or(std::thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get),
        curves: folder.is_some(),
    };
    let mut comparison = Comparison {
        command: args.command(),
        seed: args.seed,
        weights: stage.weights,
        labels: stage.entrants.iter().map(|entrant| entrant.label().to_owned()).collect(),
        rows: Vec::new(),
        curves: Vec::new(),
    };
    for trace in &args.trace {
        let progress = Progress::new(&trace.name(), args.format == Format::Table);
        let (rows, curves) = stage.play(trace, &progress)?;
        progress.finish();
        match args.format {
            Format::Table => table::write(out, &comparison, trace, &rows)?,
            Format::Json => ostler_replay::write_json(out, &rows::records(&rows))?,
            Format::Csv => {}
        }
        comparison.rows.extend(rows);
        comparison.curves.extend(curves);
    }
    match args.format {
        Format::Csv => ostler_replay::write_csv(out, &rows::records(&comparison.rows))?,
        Format::Table => table::write_standings(out, &comparison)?,
        Format::Json => {}
    }
    if let Some(folder) = folder {
        let page = folder.write(&comparison)?;
        if args.format == Format::Table {
            writeln!(out, "\nreport: {}", page.display())?;
        }
    }
    Ok(crate::EXIT_DONE)
}

/// What came of each contender over all rows.
fn standings(comparison: &Comparison) -> Vec<ostler_replay::Standing> {
    let mut standings = Standings::new(comparison.labels.len());
    for row in &comparison.rows {
        standings.add(&row.misses(), &row.verdicts());
    }
    standings.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_quoted_where_a_shell_needs_it() {
        for (word, expected) in [
            ("sieve", "sieve"),
            ("./mine.wasm", "./mine.wasm"),
            ("zipf(n=10)", "'zipf(n=10)'"),
            ("it's", r"'it'\''s'"),
            ("", "''"),
            ("a b", "'a b'"),
        ] {
            assert_eq!(quoted(word), expected);
        }
    }
}
