//! What the sandbox costs in the live cache: the same policy compiled in and as Wasm, one thread.
//!
//! Two caches, one under each, are warmed up and then play the same requests by turns, a stretch at a
//! time, the order changing from round to round; the ratio is the median of the paired ratios.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Result, ensure};
use clap::Parser;
use foldhash::fast::FixedState;
use ostler_benches::live::{LiveCache, get_or_insert, zipf_keys};
use ostler_benches::{machine, median, replace_section};
use ostler_core::Cache;

/// Measure native against Wasm in the live cache.
#[derive(Parser)]
struct Args {
    /// A smoke test.
    #[arg(long)]
    quick: bool,
    /// Policies.
    #[arg(long, num_args = 1.., default_values = ["sieve", "s3fifo", "lru"])]
    policy: Vec<String>,
    /// Entries of the caches.
    #[arg(long, default_value_t = 100_000)]
    entries: usize,
    /// Rounds.
    #[arg(long)]
    rounds: Option<usize>,
    /// Results file whose section `live-tax` is replaced.
    #[arg(long)]
    results: Option<PathBuf>,
}

/// A load, and the ratio of Wasm to native that it may cost at most.
struct Load {
    name: &'static str,
    /// Keys that are asked for, for each entry of the cache.
    keys_per_entry: usize,
    alpha: f64,
    ratio_max: f64,
}

const LOADS: [Load; 2] = [
    Load { name: "≥ 90 % hits", keys_per_entry: 2, alpha: 1.0, ratio_max: 1.05 },
    Load { name: "half hits", keys_per_entry: 20, alpha: 0.8, ratio_max: 1.10 },
];

/// Requests in a stretch.
const STRETCH: usize = 200_000;

/// Requests that warm a cache up, for each of its entries.
const WARM_PER_ENTRY: usize = 20;

/// What was measured for one policy under one load.
struct Outcome {
    hit_ratio: f64,
    noted_share: f64,
    /// Nanoseconds a request, native and Wasm, a pair each round.
    ns: Vec<[f64; 2]>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let rounds = args.rounds.unwrap_or(if args.quick { 5 } else { 41 });
    let mut text = preface(&args, rounds);
    for load in &LOADS {
        let warm_requests = args.entries * WARM_PER_ENTRY;
        let keys = args.entries * load.keys_per_entry;
        let requests = zipf_keys(warm_requests + STRETCH * rounds, keys, (load.alpha, 1))?;
        let (warm, played) = requests.split_at(warm_requests);
        for policy in &args.policy {
            eprintln!("{policy}, {}", load.name);
            let outcome = measure(policy, args.entries, (warm, played))?;
            text.push_str(&row(policy, load, &outcome));
        }
    }
    println!("{text}");
    match &args.results {
        Some(path) => replace_section(path, "live-tax", &text),
        None => Ok(()),
    }
}

fn build(policy: &str, entries: usize) -> Result<LiveCache> {
    let policy = ostler::policy(policy)?;
    Ok(Cache::builder(entries as u64).hasher(FixedState::default()).policy(policy).build()?)
}

fn measure(policy: &str, entries: usize, (warm, played): (&[u64], &[u64])) -> Result<Outcome> {
    let caches = [build(&format!("native:{policy}"), entries)?, build(policy, entries)?];
    for cache in &caches {
        get_or_insert(cache, warm);
    }
    let (mut hits, mut ns) = (0, Vec::new());
    for (round, stretch) in played.chunks(STRETCH).enumerate() {
        let (mut pair, mut hits_of) = ([0.0; 2], [0; 2]);
        for turn in 0..2 {
            let side = (round + turn) % 2;
            let start = Instant::now();
            hits_of[side] = get_or_insert(&caches[side], stretch);
            pair[side] = start.elapsed().as_nanos() as f64 / stretch.len() as f64;
        }
        ensure!(hits_of[0] == hits_of[1], "{policy}: {hits_of:?} hits, native and Wasm");
        hits += hits_of[1];
        ns.push(pair);
    }
    let stats = caches[1].stats();
    ensure!(stats.policy_faults == 0, "{policy}: {} faults", stats.policy_faults);
    ensure!(stats.shards_in_charge == stats.shards, "{policy} lost a seat");
    let noted = stats.hits_delivered + stats.hits_coalesced;
    Ok(Outcome {
        hit_ratio: hits as f64 / played.len() as f64,
        noted_share: noted as f64 / stats.hits as f64,
        ns,
    })
}

fn preface(args: &Args, rounds: usize) -> String {
    let quick = if args.quick { " --quick" } else { "" };
    format!(
        "{} entries, `u64` keys and values, get-or-insert by Zipf's law, one thread, {rounds} rounds of \
         {STRETCH} requests, {}.\n\n```\ncargo run --release -p ostler-benches --bin live-tax --{quick} \
         --results benches/RESULTS.md\n```\n\n\
         | policy | load | hit ratio | hits noted | native ns | Wasm ns | Wasm ÷ native | at most |\n\
         |---|---|--:|--:|--:|--:|--:|--:|",
        args.entries,
        machine()
    )
}

fn row(policy: &str, load: &Load, outcome: &Outcome) -> String {
    let column = |of: fn(&[f64; 2]) -> f64| median(&outcome.ns.iter().map(of).collect::<Vec<_>>());
    format!(
        "\n| {policy} | {} | {:.2} % | {:.2} % | {:.1} | {:.1} | {:.3} | {:.2} |",
        load.name,
        outcome.hit_ratio * 100.0,
        outcome.noted_share * 100.0,
        column(|pair| pair[0]),
        column(|pair| pair[1]),
        column(|pair| pair[1] / pair[0]),
        load.ratio_max
    )
}
