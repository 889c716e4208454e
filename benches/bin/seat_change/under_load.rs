//! Changes under load: what callers wait, what a change takes, and that nothing is lost.

use std::fmt::Write;
use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use hdrhistogram::Histogram;
use ostler::Stats;
use ostler_benches::live::{
    LiveCache, Load, Phase, Tally, Timed, get_or_insert, merged, shown_ns, thread_cpu_ms, zipf_keys,
};
use ostler_benches::median;

use super::{FIRST, Plan, build};

/// Keys of the load for each entry of the cache.
const KEYS_PER_ENTRY: usize = 4;
/// Requests that warm the cache up, for each of its entries.
const WARM_PER_ENTRY: usize = 6;
/// Requests that a thread walks through again and again.
const WALK: usize = 2_000_000;
/// The shortest time that the load is watched without a change, and the longest.
const WATCH_MIN: Duration = Duration::from_millis(50);
const WATCH_MAX: Duration = Duration::from_secs(2);
/// Entries that a change adopts in one slice.
const SLICE_ENTRIES: f64 = 128.0;

/// The phases of one policy, from 1 on.
const PHASES: usize = 3;
const ALONE: usize = 0;
const BESIDE: usize = 1;
const CHANGE: usize = 2;

/// What the changes to one policy took.
#[derive(Default)]
struct Changes {
    adopted: Vec<f64>,
    ms: Vec<f64>,
    cpu_ms: Vec<f64>,
}

/// Plays the load, changes the policy `rounds` times through all, and writes the table.
pub(super) fn measure(plan: &Plan) -> Result<String> {
    let first = ostler::policy(FIRST)?;
    let cache = build(plan.entries, first)?;
    let keys = plan.entries * KEYS_PER_ENTRY;
    get_or_insert(&cache, &zipf_keys(plan.entries * WARM_PER_ENTRY, keys, (1.0, 1))?);
    cache.run_pending();
    let walks = (0..plan.threads).map(|thread| zipf_keys(WALK, keys, (1.0, 2 + thread as u64)));
    let walks = walks.collect::<Result<Vec<_>>>()?;
    let phase = Phase::default();
    let before = cache.stats();
    let (changes, tally) = thread::scope(|scope| -> Result<_> {
        let phases = 1 + plan.policies.len() * PHASES;
        let load = |keys| Load { cache: &cache, keys, timed: Timed::All, phases };
        let threads: Vec<_> = walks
            .iter()
            .map(|keys| {
                let (load, phase) = (load(keys), &phase);
                scope.spawn(move || load.play(phase))
            })
            .collect();
        let changes = change_all(&cache, plan, &phase);
        phase.end();
        let played = threads.into_iter().map(|thread| {
            thread.join().unwrap_or_else(|_| Err(anyhow!("a call of the cache panicked")))
        });
        Ok((changes?, merged(played.collect::<Result<_>>()?)?))
    })?;
    cache.run_pending();
    let after = cache.stats();
    let lost = lost(&after);
    ensure!(lost == 0, "{lost} entries are neither resident nor counted as gone");
    ensure!(tally.wrong == 0, "{} reads returned another key's value", tally.wrong);
    ensure!(after.policy_faults == 0, "{} policy faults", after.policy_faults);
    Ok(table(plan, &changes, &tally, (&before, &after)))
}

/// Entries that came in and are neither resident nor left by a way that is counted.
fn lost(stats: &Stats) -> i64 {
    let gone = stats.evicted
        + stats.expired
        + stats.removed
        + stats.replaced
        + stats.cleared
        + stats.rejected;
    stats.inserted as i64 - gone as i64 - stats.entries as i64
}

fn change_all(cache: &LiveCache, plan: &Plan, phase: &Phase) -> Result<Vec<Changes>> {
    let mut changes: Vec<Changes> = plan.policies.iter().map(|_| Changes::default()).collect();
    let mut watch = WATCH_MIN * 4;
    for round in 0..plan.rounds {
        for (number, (name, policy)) in plan.policies.iter().enumerate() {
            eprintln!("round {} of {}: {name}", round + 1, plan.rounds);
            let first_phase = 1 + number * PHASES;
            phase.set(first_phase + ALONE);
            thread::sleep(watch);
            phase.set(first_phase + BESIDE);
            compute_for(watch);
            phase.set(first_phase + CHANGE);
            let (start, cpu_ms) = (Instant::now(), thread_cpu_ms());
            let handover = cache.set_policy(policy.clone()).with_context(|| (*name).to_owned())?;
            let (elapsed, cpu_after_ms) = (start.elapsed(), thread_cpu_ms());
            phase.set(0);
            watch = elapsed.clamp(WATCH_MIN, WATCH_MAX);
            let changes = &mut changes[number];
            changes.adopted.push(handover.adopted as f64);
            changes.ms.push(elapsed.as_secs_f64() * 1e3);
            changes.cpu_ms.extend(cpu_ms.zip(cpu_after_ms).map(|(before, after)| after - before));
        }
    }
    Ok(changes)
}

/// Takes a processor for so long and leaves the cache alone.
fn compute_for(time: Duration) {
    let (start, mut state) = (Instant::now(), 1u64);
    while start.elapsed() < time {
        for _ in 0..1_000 {
            state = black_box(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        }
    }
}

/// p50, p99, p99.99 and the longest.
fn quantiles(latency: &Histogram<u64>) -> [u64; 4] {
    let at = |quantile| latency.value_at_quantile(quantile);
    [at(0.5), at(0.99), at(0.9999), latency.max()]
}

fn joined(quantiles: [u64; 4]) -> String {
    quantiles.map(shown_ns).join(" / ")
}

/// p99.99 and the longest of the one as multiples of the other's.
fn ratios(of: [u64; 4], to: [u64; 4]) -> String {
    let ratio = |index: usize| of[index] as f64 / to[index].max(1) as f64;
    format!("{:.2} / {:.2}", ratio(2), ratio(3))
}

fn table(plan: &Plan, changes: &[Changes], tally: &Tally, stats: (&Stats, &Stats)) -> String {
    let (before, after) = stats;
    let mut text = format!(
        "{} changes, each policy {} times, while {} thread(s) play 90 % reads and 10 % inserts of keys \
         from zipf(1.0) over {KEYS_PER_ENTRY} times the capacity: {} requests, 0 lost entries (every one \
         that came in is resident or counted as gone), 0 failed calls, {} of {} evictions by the engine \
         itself. No lock was held for more than {} records. More may be adopted than fit, since entries come \
         and go meanwhile.\n\
         Latencies are p50 / p99 / p99.99 / longest of a request: during the change, before it for about as \
         long with the load alone, and beside one more thread that computes and leaves the cache alone. \
         The multiples are those of p99.99 and of the longest. CPU is that of the thread that changes the \
         policy, median of the rounds; by slice it is a mean, maintenance between the slices included.\n\n\
         | to | adopted | ms | CPU ms | CPU µs a slice | during | alone | beside a thread | × alone | × beside |\n\
         |---|--:|--:|--:|--:|---|---|---|---|---|",
        plan.policies.len() * plan.rounds,
        plan.rounds,
        plan.threads,
        tally.requests,
        after.evicted_natively - before.evicted_natively,
        after.evicted - before.evicted,
        after.held_records_max,
    );
    let mut all: [Histogram<u64>; PHASES] = std::array::from_fn(|_| tally.latencies[0].clone());
    all.iter_mut().for_each(Histogram::reset);
    for (number, (name, _)) in plan.policies.iter().enumerate() {
        let Changes { adopted, ms, cpu_ms } = &changes[number];
        let of_phase = |phase: usize| &tally.latencies[1 + number * PHASES + phase];
        for (phase, sum) in all.iter_mut().enumerate() {
            // All histograms have the same bounds, so adding one to another cannot fail.
            let _ = sum.add(of_phase(phase));
        }
        let (adopted, ms) = (median(adopted), median(ms));
        let cpu_ms = if cpu_ms.is_empty() { f64::NAN } else { median(cpu_ms) };
        let slice_us = cpu_ms * 1e3 * SLICE_ENTRIES / adopted.max(1.0);
        let _ = write!(
            text,
            "\n| {name} | {adopted} | {ms:.0} | {cpu_ms:.0} | {slice_us:.0} | {} |",
            latency_columns([ALONE, BESIDE, CHANGE].map(|phase| quantiles(of_phase(phase))))
        );
    }
    let columns = latency_columns([ALONE, BESIDE, CHANGE].map(|phase| quantiles(&all[phase])));
    let _ = write!(text, "\n| **all** | | | | | {columns} |");
    text
}

fn latency_columns([alone, beside, change]: [[u64; 4]; PHASES]) -> String {
    let shown = [joined(change), joined(alone), joined(beside)];
    let multiples = [ratios(change, alone), ratios(change, beside)];
    shown.into_iter().chain(multiples).collect::<Vec<_>>().join(" | ")
}
