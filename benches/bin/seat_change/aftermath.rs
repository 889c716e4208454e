//! The requests after a change: what a warm change keeps that a cold start loses.

use std::collections::HashSet;
use std::fmt::Write;

use anyhow::{Context, Result, ensure};
use ostler_benches::live::{LiveCache, get_or_insert, zipf_keys};

use super::{FIRST, Named, Plan, build};

/// Requests after the change.
const NEXT: usize = 100_000;
/// Keys of the load for each entry of the cache, and the exponent of its law.
const KEYS_PER_ENTRY: usize = 4;
const ALPHA: f64 = 0.9;
/// Requests that warm a cache up, for each of its entries.
const WARM_PER_ENTRY: usize = 8;

/// One policy's part of the table.
struct Aftermath {
    name: &'static str,
    entries: u64,
    changed: f64,
    cold: f64,
}

/// Changes a warm cache to each policy, with nobody else at work, and writes the table.
pub(super) fn measure(plan: &Plan) -> Result<String> {
    let keys = plan.entries * KEYS_PER_ENTRY;
    let requests = zipf_keys(plan.entries * WARM_PER_ENTRY + NEXT, keys, (ALPHA, 7))?;
    let (warm, next) = requests.split_at(requests.len() - NEXT);
    let unchanged = hit_ratio(&warmed(plan, warm)?, next);
    let mut rows = Vec::new();
    for policy in &plan.policies {
        eprintln!("the next {NEXT} requests: {}", policy.0);
        rows.push(of_policy(plan, policy, (warm, next))?);
    }
    Ok(table(plan, unchanged, &rows))
}

fn of_policy(
    plan: &Plan,
    (name, policy): &Named,
    (warm, next): (&[u64], &[u64]),
) -> Result<Aftermath> {
    let cache = warmed(plan, warm)?;
    let before: HashSet<u64> = cache.iter().map(|(key, _)| key).collect();
    let handover = cache.set_policy(policy.clone()).with_context(|| (*name).to_owned())?;
    let lost = before.iter().filter(|key| !cache.contains(key)).count();
    ensure!(lost == 0, "{name}: {lost} entries lost");
    ensure!(handover.adopted == before.len() as u64, "{name}: {} adopted", handover.adopted);
    let changed = hit_ratio(&cache, next);
    let cold = hit_ratio(&build(plan.entries, policy.clone())?, next);
    Ok(Aftermath { name, entries: handover.adopted, changed, cold })
}

/// A cache under the first policy that has seen `warm`, with nothing left to be done.
fn warmed(plan: &Plan, warm: &[u64]) -> Result<LiveCache> {
    let cache = build(plan.entries, ostler::policy(FIRST)?)?;
    get_or_insert(&cache, warm);
    cache.run_pending();
    Ok(cache)
}

fn hit_ratio(cache: &LiveCache, keys: &[u64]) -> f64 {
    get_or_insert(cache, keys) as f64 / keys.len() as f64
}

fn table(plan: &Plan, unchanged: f64, rows: &[Aftermath]) -> String {
    let mut text = format!(
        "Hit ratio in the {NEXT} requests after a change from {FIRST}, against an empty cache under the new \
         policy and against no change at all ({:.2} %). Get-or-insert by one thread, zipf({ALPHA}) over \
         {KEYS_PER_ENTRY} times the capacity, warmed up by {} requests; the same ones for all. Every key \
         that was resident before the change was resident after it.\n\n\
         | to | entries adopted | lost | after the change | cold start | no change | kept by the warm change, pp |\n\
         |---|--:|--:|--:|--:|--:|--:|",
        unchanged * 100.0,
        plan.entries * WARM_PER_ENTRY,
    );
    for Aftermath { name, entries, changed, cold } in rows {
        let _ = write!(
            text,
            "\n| {name} | {entries} | 0 | {:.2} % | {:.2} % | {:.2} % | {:+.2} |",
            changed * 100.0,
            cold * 100.0,
            unchanged * 100.0,
            (changed - cold) * 100.0
        );
    }
    text
}
