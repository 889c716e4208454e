//! What callers notice of a policy that breaks its contract.
//!
//! Two threads read and insert without a break. The policy in charge is a turncoat: an honest module
//! that, at a signal, lets a hostile one answer in its stead, so that the load and all else is the same
//! until the very fault. A window that begins with the signal is compared with an equally long one right
//! before it.

#[path = "fault_latency/turncoat.rs"]
mod turncoat;

use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use clap::Parser;
use foldhash::fast::FixedState;
use hdrhistogram::Histogram;
use ostler::InstanceSource;
use ostler_benches::live::{
    LiveCache, Load, Phase, Timed, get_or_insert, merged, shown_ns, zipf_keys,
};
use ostler_benches::{machine, replace_section};
use ostler_core::Cache;

use turncoat::Turncoat;

/// Measure the latency of reads around policy faults.
#[derive(Parser)]
struct Args {
    /// A smoke test.
    #[arg(long)]
    quick: bool,
    /// Faults of each kind.
    #[arg(long)]
    rounds: Option<usize>,
    /// Length of a window, milliseconds.
    #[arg(long, default_value_t = 20)]
    window_ms: u64,
    /// Threads that play the load.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Results file whose section `fault-latency` is replaced.
    #[arg(long)]
    results: Option<PathBuf>,
}

/// The policy that serves until the signal.
const HONEST: &str = "s3fifo";

/// The hostile modules of the tests, and what each does.
const GUESTS: [(&str, &str); 5] = [
    ("trap_in_step", "traps"),
    ("spin_in_step", "never returns"),
    ("unknown_slot", "names a slot that is not resident"),
    ("never_evicts", "keeps everything"),
    ("grow_huge", "asks for 2 GiB"),
];

const ENTRIES: usize = 100_000;
/// Keys of the load for each entry of the cache.
const KEYS_PER_ENTRY: usize = 10;
/// Requests that warm the cache up, for each of its entries.
const WARM_PER_ENTRY: usize = 10;
/// Requests that a thread walks through again and again.
const WALK: usize = 1_000_000;
/// From the appointment of a turncoat to the first window.
const CALM: Duration = Duration::from_millis(20);

/// Windows waited for a fault that did not come in its own.
const WAITS_MAX: usize = 100;

/// What the p99 around a fault may be, as a multiple of that without.
const P99_RATIO_MAX: f64 = 2.0;

/// What came of one hostile module.
struct Outcome {
    guest: &'static str,
    does: &'static str,
    kind: String,
    faults: u64,
    honest: Histogram<u64>,
    fault: Histogram<u64>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let rounds = args.rounds.unwrap_or(if args.quick { 3 } else { 100 });
    let keys = ENTRIES * KEYS_PER_ENTRY;
    let warm = zipf_keys(ENTRIES * WARM_PER_ENTRY, keys, (1.0, 1))?;
    let walks =
        (0..args.threads.max(1)).map(|thread| zipf_keys(WALK, keys, (1.0, 2 + thread as u64)));
    let walks = walks.collect::<Result<Vec<_>>>()?;
    let window = Duration::from_millis(args.window_ms.max(1));
    let mut outcomes = Vec::new();
    for (guest, does) in GUESTS {
        eprintln!("{guest}");
        outcomes.push(measure((guest, does), (&warm, &walks), (rounds, window))?);
    }
    let text = table(&args, rounds, &outcomes);
    println!("{text}");
    match &args.results {
        Some(path) => replace_section(path, "fault-latency", &text),
        None => Ok(()),
    }
}

/// The hostile module of the tests under this name.
fn hostile(name: &str) -> Result<Arc<dyn InstanceSource>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/guests");
    let path = PathBuf::from(folder).join(format!("{name}.wat"));
    let module = wat::parse_file(&path).with_context(|| path.display().to_string())?;
    Ok(ostler::policy_from_module(name, &module)?)
}

fn measure(
    (guest, does): (&'static str, &'static str),
    (warm, walks): (&[u64], &[Vec<u64>]),
    (rounds, window): (usize, Duration),
) -> Result<Outcome> {
    let builder = Cache::builder(ENTRIES as u64).hasher(FixedState::default());
    let cache: LiveCache = builder.policy(ostler::policy(HONEST)?).build()?;
    get_or_insert(&cache, warm);
    let sources = (ostler::policy(HONEST)?, hostile(guest)?);
    let phase = Phase::default();
    let (kind, mut tally) = thread::scope(|scope| -> Result<_> {
        let threads: Vec<_> = walks
            .iter()
            .map(|keys| {
                let load = Load { cache: &cache, keys, timed: Timed::Gets, phases: 3 };
                let phase = &phase;
                scope.spawn(move || load.play(phase))
            })
            .collect();
        let kind = betray(&cache, &sources, &phase, (rounds, window));
        phase.end();
        let played = threads.into_iter().map(|thread| {
            thread.join().unwrap_or_else(|_| Err(anyhow!("a call of the cache panicked")))
        });
        let tally = merged(played.collect::<Result<_>>()?)?;
        Ok((kind?, tally))
    })?;
    ensure!(tally.wrong == 0, "{guest}: {} reads returned another key's value", tally.wrong);
    let stats = cache.stats();
    ensure!(stats.weight <= stats.capacity + stats.slack, "{guest}: over the limit");
    let fault = tally.latencies.swap_remove(2);
    let honest = tally.latencies.swap_remove(1);
    Ok(Outcome { guest, does, kind, faults: stats.policy_faults, honest, fault })
}

/// Appoints a turncoat, watches it serve, gives the signal and watches again, `rounds` times. Returns the
/// kind of the faults.
fn betray(
    cache: &LiveCache,
    (honest, hostile): &(Arc<dyn InstanceSource>, Arc<dyn InstanceSource>),
    phase: &Phase,
    (rounds, window): (usize, Duration),
) -> Result<String> {
    let mut kind = String::new();
    for _ in 0..rounds {
        let (turncoat, signal) = Turncoat::new(honest.clone(), hostile.clone());
        // Trusted again after the round before.
        cache.pardon(&turncoat);
        cache.set_policy(Arc::new(turncoat))?;
        thread::sleep(CALM);
        phase.set(1);
        thread::sleep(window);
        phase.set(2);
        signal.give();
        thread::sleep(window);
        phase.set(0);
        // On a busy machine the load may not have come so far in the window.
        let mut fault = None;
        for _ in 0..WAITS_MAX {
            fault = cache.seat_status().faults.into_iter().flatten().next();
            if fault.is_some() {
                break;
            }
            thread::sleep(window);
        }
        let fault = fault.with_context(|| format!("{} did not fault", hostile.label()))?;
        kind = fault.kind().to_owned();
    }
    Ok(kind)
}

fn table(args: &Args, rounds: usize, outcomes: &[Outcome]) -> String {
    let quick = if args.quick { " --quick" } else { "" };
    let mut text = format!(
        "{ENTRIES} entries, `u64` keys and values, {} threads with 90 % reads and 10 % inserts of keys from \
         zipf(1.0) over {KEYS_PER_ENTRY} times the capacity, {}.\n\n```\ncargo run --release -p \
         ostler-benches --bin fault-latency --{quick} --results benches/RESULTS.md\n```\n\n\
         {rounds} times for each module, {HONEST} serves for a window of {} ms and is hostile from the \
         beginning of the next; three shards fault, which quarantines it, and all go on under the engine's own \
         eviction. The \
         latencies are those of all reads in the windows; at most {P99_RATIO_MAX} times the p99 without a \
         fault is allowed. No call failed and no read was wrong; the weight stayed within capacity and slack.\n\n\
         | module | what it does | faults | p50 without | with | p99 without | with | × | \
         p99.9 without | with | longest without | with |\n\
         |---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
        args.threads,
        machine(),
        args.window_ms,
    );
    for Outcome { guest, does, kind, faults, honest, fault } in outcomes {
        let pair = |quantile: f64| {
            [honest, fault].map(|latency| shown_ns(latency.value_at_quantile(quantile))).join(" | ")
        };
        let p99 = [fault, honest].map(|latency| latency.value_at_quantile(0.99) as f64);
        let ratio = p99[0] / p99[1].max(1.0);
        let mark = if ratio > P99_RATIO_MAX { " (too much)" } else { "" };
        let longest = [honest, fault].map(|latency| shown_ns(latency.max())).join(" | ");
        let _ = write!(
            text,
            "\n| `{guest}` | {does} | {faults} × {kind} | {} | {} | {ratio:.2}{mark} | {} | {longest} |",
            pair(0.5),
            pair(0.99),
            pair(0.999)
        );
    }
    text
}
