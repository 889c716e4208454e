//! `ostler serve` beside `redis-server`: throughput and latency under `redis-benchmark`, and memory.
//!
//! Both servers run at the same time on free ports of loopback and take turns round by round; figures
//! are medians over the rounds. Needs Debian's redis-server and redis-tools, and a built `ostler`.

#[path = "serve_load/contestant.rs"]
mod contestant;
#[path = "serve_load/memory.rs"]
mod memory;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use ostler_benches::{machine, median, replace_section};

use contestant::Contestant;

/// Load both servers, and compare.
#[derive(Parser)]
struct Args {
    /// A smoke test.
    #[arg(long)]
    quick: bool,
    /// The binary, built with --release.
    #[arg(long, default_value = "target/release/ostler")]
    ostler: PathBuf,
    /// Rounds.
    #[arg(long)]
    rounds: Option<usize>,
    /// Results file whose section `serve` is replaced.
    #[arg(long)]
    results: Option<PathBuf>,
}

/// Connections of `redis-benchmark`.
const CLIENTS: usize = 50;
/// Keys that are drawn from.
const KEYS: usize = 100_000;
/// Bytes of the capacity that `ostler` is given.
const CAPACITY: &str = "2GiB";

/// One column of `redis-benchmark`: a command under a load.
#[derive(Clone, Copy)]
struct Load {
    command: &'static str,
    pipeline: usize,
    value_bytes: usize,
}

/// What `redis-benchmark` says of one run.
#[derive(Clone, Copy)]
struct Run {
    requests_per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    /// The longest: `redis-benchmark` does not tell p99.9 in its table.
    longest_ms: f64,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let rounds = args.rounds.unwrap_or(if args.quick { 1 } else { 7 });
    let seconds_share = if args.quick { 10 } else { 1 };
    let servers =
        [Contestant::redis()?, Contestant::ostler(&args.ostler, &["--capacity", CAPACITY])?];
    let mut text = preface(&args, rounds);
    for value_bytes in [64, 1_024] {
        for server in &servers {
            server.fill(KEYS, value_bytes)?;
        }
        for pipeline in [1, 16] {
            for command in ["GET", "SET", "MGET"] {
                let load = Load { command, pipeline, value_bytes };
                let mut runs = [Vec::new(), Vec::new()];
                for round in 0..rounds {
                    for turn in 0..2 {
                        let side = (round + turn) % 2;
                        runs[side].push(run(&servers[side], load, seconds_share)?);
                    }
                }
                text.push_str(&row(load, &runs));
            }
        }
    }
    drop(servers);
    writeln!(text, "\n\n{}", memory::measure(&args.ostler, args.quick)?)?;
    println!("{text}");
    match &args.results {
        Some(path) => replace_section(path, "serve", &text),
        None => Ok(()),
    }
}

/// One run of `redis-benchmark`.
fn run(server: &Contestant, load: Load, share: usize) -> Result<Run> {
    let requests = match (load.command, load.pipeline) {
        ("MGET", 1) => 100_000,
        (_, 1) => 200_000,
        ("MGET", _) => 300_000,
        _ => 1_500_000,
    };
    let mut benchmark = Command::new("redis-benchmark");
    benchmark.args(["-h", "127.0.0.1", "-p", &server.port().to_string(), "--csv"]);
    for (option, value) in [
        ("-c", CLIENTS),
        ("-n", requests / share),
        ("-P", load.pipeline),
        ("-r", KEYS),
        ("-d", load.value_bytes),
    ] {
        benchmark.args([option, &value.to_string()]);
    }
    let key = "key:__rand_int__";
    match load.command {
        "GET" => benchmark.args(["GET", key]),
        "SET" => benchmark.args(["SET", key, &"x".repeat(load.value_bytes)]),
        _ => benchmark.arg("MGET").args([key; 10]),
    };
    let ran =
        benchmark.output().context("redis-benchmark is not there: apt-get install redis-tools")?;
    let table = String::from_utf8_lossy(&ran.stdout);
    ensure!(
        ran.status.success(),
        "redis-benchmark: {table}{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    parse(&table).with_context(|| format!("the table of redis-benchmark: {table}"))
}

/// The last row of the table: name, requests a second, and latencies: mean, least, p50, p95, p99, most.
fn parse(table: &str) -> Option<Run> {
    let fields: Vec<&str> = table.lines().last()?.split("\",\"").collect();
    let numbers: Vec<f64> =
        fields.iter().skip(1).filter_map(|field| field.trim_matches('"').parse().ok()).collect();
    let [requests_per_second, _, _, p50_ms, _, p99_ms, longest_ms] = numbers[..] else {
        return None;
    };
    Some(Run { requests_per_second, p50_ms, p99_ms, longest_ms })
}

fn preface(args: &Args, rounds: usize) -> String {
    let quick = if args.quick { " --quick" } else { "" };
    format!(
        "`ostler serve` and Debian's `redis-server` (one thread, no persistence), {CLIENTS} clients of \
         `redis-benchmark`, {KEYS} keys, MGET of 10 keys, {rounds} interleaved rounds, medians, {}. \
         `redis-benchmark` runs on the same cores.\n\n```\ncargo build --release\n\
         cargo run --release -p ostler-benches --bin serve-load --{quick} --results benches/RESULTS.md\n```\n\n\
         | command | pipeline | value | redis req/s | ostler req/s | ostler ÷ redis | redis p50, p99, longest ms \
         | ostler p50, p99, longest ms |\n|---|--:|--:|--:|--:|--:|--:|--:|",
        machine()
    )
}

fn row(load: Load, runs: &[Vec<Run>; 2]) -> String {
    let of = |side: usize, figure: fn(&Run) -> f64| {
        median(&runs[side].iter().map(figure).collect::<Vec<_>>())
    };
    let latency = |side| {
        let figures = [|run: &Run| run.p50_ms, |run: &Run| run.p99_ms, |run: &Run| run.longest_ms];
        figures.map(|figure| format!("{:.3}", of(side, figure))).join(", ")
    };
    let pairs = runs[0].iter().zip(&runs[1]);
    let ratios =
        pairs.map(|(redis, ostler)| ostler.requests_per_second / redis.requests_per_second);
    let ratio = median(&ratios.collect::<Vec<_>>());
    let (redis, ostler) =
        (of(0, |run| run.requests_per_second), of(1, |run| run.requests_per_second));
    let Load { command, pipeline, value_bytes } = load;
    format!(
        "\n| {command} | {pipeline} | {value_bytes} B | {redis:.0} | {ostler:.0} | {ratio:.2} | {} | {} |",
        latency(0),
        latency(1)
    )
}

/// A binary that can be started, else what to do.
fn checked(path: &Path) -> Result<&Path> {
    ensure!(path.exists(), "{} is not there: cargo build --release", path.display());
    Ok(path)
}
