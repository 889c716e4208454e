//! A restart in mid-trace: what warming the empty cache is worth.
//!
//! The requests up to the restart are played and heard by the history of keys that a live cache keeps.
//! Then the process is gone: what is left is the history's snapshot. A fresh cache is filled from it
//! by the warming policy's order within the budget, at once, and serves the requests of the horizon.
//! Beside it: the same horizon in a cold cache, in the cache that was never restarted, and in caches
//! filled by two oracles with the same budget. A key saves one miss at most.

#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::HashMap;

use ostler_abi::{FLAG_WARMED, Outlook, hash_u64};
use ostler_core::{InstanceSource, PolicyFault, WarmingInstance};
use ostler_features::Lifetime;
use ostler_fetch::warming::{
    HistoryConfig, KeyHistory, Moment, Noted, SnapshotHeader, TrainerConfig, WarmPlan,
    WarmingTrainer,
};
use serde::Serialize;

use crate::run::{Run, RunConfig, WeightMode, access_of};
use crate::trace::{Operation, Request};

/// Horizons that the oracle looks ahead.
const ORACLE_HORIZONS: usize = 5;

/// Keys drawn for each rehearsal and labels kept: four times what a live cache draws by default.
const REHEARSED_KEYS: u32 = 1 << 15;
const LABELS_MAX: u32 = 1 << 19;

/// What a replayed restart is made with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RestartConfig {
    /// The run around it.
    pub run: RunConfig,
    /// Index of the first request after the restart.
    pub at: usize,
    /// Requests after it that count, at least 1: about as many as the cache holds entries.
    pub horizon: usize,
    /// Weight that may be fetched.
    pub budget: u64,
    /// Bytes that the history of keys may take.
    pub history_bytes: usize,
}

/// What a replayed restart measured: hit ratios over the horizon, and what was fetched.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RestartOutcome {
    /// Requests of the horizon that were played, fewer where the trace ends.
    pub horizon: u64,
    /// Keys that were ranked.
    pub candidates: u64,
    /// Keys that were fetched.
    pub fetched: u64,
    /// Bytes of the snapshot.
    pub snapshot_bytes: u64,
    /// Version of the model that the policy was given; 0 for none.
    pub model: u32,
    /// In a cache that starts empty.
    pub cold: f64,
    /// In the warmed cache.
    pub warmed: f64,
    /// Warmed with the known keys that the next five horizons ask for most.
    pub oracle: f64,
    /// Warmed with known keys that the horizon asks for: no order can do better.
    pub clairvoyant: f64,
    /// In the cache that was not restarted.
    pub no_restart: f64,
    /// Why the policy was dropped, if it was: the order is by decayed frequency then.
    pub fault: Option<String>,
}

impl RestartOutcome {
    /// How much of the way from a cold cache to the oracle's was gone; above 1 where the policy does
    /// better. Zero where the oracle gains nothing.
    #[must_use]
    pub fn gap_closed(&self) -> f64 {
        share(self.warmed - self.cold, self.oracle - self.cold)
    }

    /// The same of the way to what is possible at all.
    #[must_use]
    pub fn gap_closed_clairvoyant(&self) -> f64 {
        share(self.warmed - self.cold, self.clairvoyant - self.cold)
    }
}

fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

/// What is known when the process ends.
struct Before {
    run: Run,
    snapshot: Vec<u8>,
    header: SnapshotHeader,
    history: HistoryConfig,
    /// Weights of all keys that were asked for.
    weights: HashMap<u64, u32>,
    model: Option<(u32, Vec<u8>)>,
}

/// Plays a restart of `source` with one warming policy, which gets the model that was trained before
/// the restart if `takes_models`.
///
/// # Errors
///
/// The fault of a warming policy that fails before its first call; a later one is in the outcome.
pub fn replay_restart(
    source: &dyn InstanceSource,
    config: &RestartConfig,
    requests: &[Request],
    warming: (Result<Box<dyn WarmingInstance>, PolicyFault>, Models),
) -> Result<RestartOutcome, PolicyFault> {
    let mut policy = warming.0?;
    let at = config.at.min(requests.len());
    let (before, after) = requests.split_at(at);
    let ahead = &after[..after.len().min(config.horizon.saturating_mul(ORACLE_HORIZONS))];
    let after = &after[..after.len().min(config.horizon)];
    let mut before = play_before(source, config, before, warming.1);
    let mut outcome = RestartOutcome {
        horizon: after.iter().filter(|request| request.is_request()).count() as u64,
        snapshot_bytes: before.snapshot.len() as u64,
        no_restart: hit_ratio(&mut before.run, after),
        cold: hit_ratio(&mut Run::new(source, config.run), after),
        oracle: hit_ratio(&mut filled_by(source, config, &before.weights, ahead), after),
        clairvoyant: hit_ratio(&mut filled_by(source, config, &before.weights, after), after),
        ..RestartOutcome::default()
    };
    if let Some((version, message)) = &before.model
        && policy.model(message)?.is_ok()
    {
        outcome.model = *version;
    }
    let plan = plan(config, &before, (&mut *policy, after), &mut outcome);
    let mut run = Run::new(source, config.run);
    outcome.fetched = fill(&mut run, plan, after);
    outcome.warmed = hit_ratio(&mut run, after);
    Ok(outcome)
}

/// Whether a warming policy is given models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Models {
    /// It takes the one trained before the restart.
    Taken,
    /// It takes none.
    Untaken,
}

fn play_before(
    source: &dyn InstanceSource,
    config: &RestartConfig,
    requests: &[Request],
    models: Models,
) -> Before {
    let entries = u32::try_from(config.horizon).unwrap_or(u32::MAX);
    let history_config = HistoryConfig { bytes_max: config.history_bytes, seed: config.run.seed };
    let mut history = KeyHistory::new(history_config);
    let mut trainer = WarmingTrainer::new(TrainerConfig {
        horizon: config.horizon as u64,
        draws: REHEARSED_KEYS,
        labels_max: LABELS_MAX,
        seed: config.run.seed,
    });
    let mut lifetime = Lifetime::new(entries);
    let mut run = Run::new(source, config.run);
    let mut weights = HashMap::new();
    let mut misses = 0_u32;
    for request in requests {
        let hash = hash_u64(request.key, 0);
        if request.operation() == Operation::Delete {
            run.delete(request);
            history.forget(hash);
            continue;
        }
        if run.request(request) {
            lifetime.hit(1);
        } else {
            misses = misses.saturating_add(1);
            // Before that the cache cannot be full.
            if misses > entries {
                lifetime.miss(entries);
            }
        }
        let weight = weight_of(&config.run, request);
        let moment = Moment { now_ms: request.time_ms(), lifetime: u64::from(lifetime.requests()) };
        let key = &request.key.to_le_bytes();
        history.note(&Noted { hash, key, weight, cost_us: request.cost_us, class: 0 }, moment);
        weights.insert(request.key, weight);
        if models == Models::Taken && trainer.is_due(&history) {
            trainer.rehearse(&history, moment);
        }
    }
    let model = trainer.train().map(|model| (model.version, model.to_bytes()));
    let header = SnapshotHeader {
        saved_ms: requests.last().map_or(0, Request::time_ms),
        lifetime: u64::from(lifetime.requests()),
        model: model.as_ref().map_or_else(Vec::new, |(_, message)| message.clone()),
    };
    let is_resident =
        |_: u64, key: &[u8]| number_of(key).is_some_and(|key| run.weight_of(key).is_some());
    let snapshot = history.to_snapshot(&header, usize::MAX, &is_resident);
    Before { run, snapshot, header, history: history_config, weights, model }
}

/// The order that the policy makes of what the snapshot brings back.
fn plan(
    config: &RestartConfig,
    before: &Before,
    (policy, after): (&mut dyn WarmingInstance, &[Request]),
    outcome: &mut RestartOutcome,
) -> WarmPlan {
    let hash_of = |key: &[u8]| number_of(key).map_or(0, |key| hash_u64(key, 0));
    let read = KeyHistory::try_from_snapshot(&before.snapshot, before.history, &hash_of);
    let (history, header) =
        read.unwrap_or_else(|_| (KeyHistory::new(before.history), before.header.clone()));
    let outlook = Outlook {
        now_ms: after.first().map_or(header.saved_ms, Request::time_ms),
        lifetime: header.lifetime,
        horizon: config.horizon as u64,
        budget: config.budget,
    };
    let ranked = WarmPlan::ranked(&history, &outlook, |outlook, candidates, scores| {
        policy.rank(outlook, candidates, scores)
    });
    let plan = ranked.unwrap_or_else(|fault| {
        outcome.fault = Some(fault.to_string());
        WarmPlan::by_decayed(&history, &outlook)
    });
    outcome.candidates = history.len() as u64;
    plan
}

/// Fetches all that the plan yields; how many keys that were.
fn fill(run: &mut Run, mut plan: WarmPlan, after: &[Request]) -> u64 {
    let Some(first) = after.first() else { return 0 };
    let mut fetched = 0;
    while let Some(key) = plan.next_key(|_, _| false) {
        if let Some(number) = number_of(&key.key) {
            run.bring(number, (key.weight, FLAG_WARMED), access_of(first));
            fetched += 1;
        }
    }
    fetched
}

/// A cache that was filled with the known keys that `ahead` asks for most, a weight's worth each.
fn filled_by(
    source: &dyn InstanceSource,
    config: &RestartConfig,
    weights: &HashMap<u64, u32>,
    ahead: &[Request],
) -> Run {
    let mut counts: HashMap<u64, u64> = HashMap::new();
    for request in ahead {
        if request.is_request() && weights.contains_key(&request.key) {
            *counts.entry(request.key).or_insert(0) += 1;
        }
    }
    // Equal counts go by hash, as in a plan: which of them comes first is not for an oracle of counts.
    let mut order: Vec<(Reverse<u64>, u64, u64, u64)> = counts
        .into_iter()
        .map(|(key, count)| {
            let weight = u64::from(weights[&key]);
            (Reverse((count << 32) / weight), hash_u64(key, 0), key, weight)
        })
        .collect();
    order.sort_unstable();
    let mut run = Run::new(source, config.run);
    let mut budget = config.budget;
    let Some(first) = ahead.first() else { return run };
    for (_, _, key, weight) in order {
        if weight <= budget {
            budget -= weight;
            let weight = u32::try_from(weight).unwrap_or(u32::MAX);
            run.bring(key, (weight, FLAG_WARMED), access_of(first));
        }
    }
    run
}

fn hit_ratio(run: &mut Run, requests: &[Request]) -> f64 {
    let (mut hits, mut played) = (0_u64, 0_u64);
    for request in requests {
        if request.is_request() {
            hits += u64::from(run.request(request));
            played += 1;
        } else {
            run.delete(request);
        }
    }
    hits as f64 / played.max(1) as f64
}

fn weight_of(config: &RunConfig, request: &Request) -> u32 {
    match config.weights {
        WeightMode::Objects => 1,
        WeightMode::Bytes => request.weight_bytes(),
    }
}

fn number_of(key: &[u8]) -> Option<u64> {
    key.try_into().map(u64::from_le_bytes).ok()
}
