//! Experiments on shards of the core under real policies.
//!
//! Every shard is played twice from the start, once under each policy, on the same requests, so that any
//! deal of shards is one experiment and the truth of all deals is known: all shards under one policy against all
//! under the other. The control's shadow is a smaller shard that gets the sampled keys.

use anyhow::Result;
use ostler_abi::{Setup, hash_u64};
use ostler_adapt::experiment::simulation::Look;
use ostler_adapt::experiment::{CONTROL, Deal, Experiment, ExperimentConfig};
use ostler_adapt::experiment::{SampleWindow, ShardWindow};
use ostler_core::{Access, Batch, Inserted, InstanceSource, KeyHash, Shard, ShardConfig};
use ostler_replay::{Request, TraceSource};

/// Experiments that share a workload.
pub(crate) const DEALS_A_WORKLOAD: u64 = 20;
/// Of those, so many share the choice of sampled keys.
const DEALS_A_SAMPLE: usize = 4;
/// Windows of a run.
const WINDOWS: usize = 100;
/// Seed of the hash that keys have in every run.
const KEY_SEED: u64 = 0;

/// What is replayed.
pub(crate) struct Replayed {
    /// The control's policy.
    pub(crate) control: &'static str,
    /// The other arm's policy.
    pub(crate) arm: &'static str,
    /// A workload, with SEED for its seed.
    pub(crate) workload: &'static str,
    /// Objects that all shards may hold together.
    pub(crate) capacity: u64,
    /// Share of the keys in the control's shadow.
    pub(crate) sample_rate: f64,
}

/// Keys are hashed before they come to a shard.
#[derive(Clone, Copy, Default)]
struct Hashed;

impl KeyHash<u64> for Hashed {
    fn hash_of(&self, key: &u64) -> u64 {
        *key
    }
}

/// Shards under one policy.
struct Shards {
    shards: Vec<Shard<u64, (), Hashed>>,
}

impl Shards {
    fn new(policy: &dyn InstanceSource, shards: u32, capacity: u64) -> Self {
        let shard = |index: u32| {
            let slots = u32::try_from(capacity + 1).unwrap_or(u32::MAX);
            let config = ShardConfig {
                capacity,
                slots,
                batch: Batch::Exact,
                evict_ahead_max: None,
                seed: u64::from(index),
                wants: policy.wants(),
            };
            let setup = Setup { capacity, slots, seed: config.seed };
            Shard::new(&config, policy.instance(setup), Hashed)
        };
        Self { shards: (0..shards).map(shard).collect() }
    }

    /// Plays a get, and an insert where it misses; true where it hits.
    fn request(&mut self, shard: usize, hash: u64) -> bool {
        let shard = &mut self.shards[shard];
        let hit = shard.get(hash, &hash, Access::default()).is_some();
        if !hit {
            let _: Inserted = shard.insert(hash, (hash, ()), 1, Access::default());
            drop(shard.drain_evicted());
        }
        hit
    }
}

/// One request: its key's hash, its shard, and whether it hit under each policy.
struct Played {
    hash: u64,
    shard: usize,
    hits: [bool; 2],
}

/// Counts of one shard in one window, hits under the control's policy and under the other one.
#[derive(Clone, Copy, Default)]
struct Counts {
    requests: u64,
    hits: [u64; 2],
    sampled: u64,
    sampled_hits: [u64; 2],
    shadow_hits: u64,
}

impl Replayed {
    /// One experiment a deal, looked at after every window. All deals have the same number of shards.
    pub(crate) fn run(
        &self,
        deals: &[Deal],
        config: &ExperimentConfig,
        seed: u64,
    ) -> Result<Vec<Vec<Look>>> {
        let policies = [ostler::policy(self.control)?, ostler::policy(self.arm)?];
        let policies = policies.each_ref().map(AsRef::as_ref);
        let source: TraceSource = self.workload.replace("SEED", &seed.to_string()).parse()?;
        let requests = source.load(usize::MAX)?;
        let shards = deals.first().map_or(1, Deal::shards);
        let played = self.play(policies, shards, &requests);
        let mut looks = Vec::new();
        for (salt, deals) in (0..).zip(deals.chunks(DEALS_A_SAMPLE)) {
            let windows = self.sample(policies[0], shards, &played, hash_u64(salt, seed));
            for deal in deals {
                looks.push(self.experiment(deal, config, &windows)?);
            }
        }
        Ok(looks)
    }

    /// Plays all requests under both policies.
    fn play(
        &self,
        policies: [&dyn InstanceSource; 2],
        shards: u32,
        requests: &[Request],
    ) -> Vec<Played> {
        let capacity = self.capacity / u64::from(shards);
        let mut live = policies.map(|policy| Shards::new(policy, shards, capacity));
        let one = |request: &Request| {
            let hash = hash_u64(request.key, KEY_SEED);
            let shard = (((hash >> 32) * u64::from(shards)) >> 32) as usize;
            let hits = live.each_mut().map(|live| live.request(shard, hash));
            Played { hash, shard, hits }
        };
        requests.iter().map(one).collect()
    }

    /// Plays the keys that `salt` samples in the control's shadow, and counts everything by window and
    /// shard.
    fn sample(
        &self,
        control: &dyn InstanceSource,
        shards: u32,
        played: &[Played],
        salt: u64,
    ) -> Vec<Vec<Counts>> {
        let capacity = (self.capacity as f64 / f64::from(shards) * self.sample_rate).round() as u64;
        let mut shadow = Shards::new(control, shards, capacity.max(1));
        let sampled_max = (self.sample_rate * 2_f64.powi(64)) as u64;
        let window = |played: &[Played]| {
            let mut counts = vec![Counts::default(); shards as usize];
            for one in played {
                let counts = &mut counts[one.shard];
                counts.requests += 1;
                for (sum, hit) in counts.hits.iter_mut().zip(one.hits) {
                    *sum += u64::from(hit);
                }
                if hash_u64(one.hash, salt) > sampled_max {
                    continue;
                }
                counts.sampled += 1;
                for (sum, hit) in counts.sampled_hits.iter_mut().zip(one.hits) {
                    *sum += u64::from(hit);
                }
                counts.shadow_hits += u64::from(shadow.request(one.shard, one.hash));
            }
            counts
        };
        played.chunks(played.len().div_ceil(WINDOWS)).map(window).collect()
    }

    /// One experiment on what was counted.
    fn experiment(
        &self,
        deal: &Deal,
        config: &ExperimentConfig,
        windows: &[Vec<Counts>],
    ) -> Result<Vec<Look>> {
        let mut experiment = Experiment::try_new(deal.clone(), config.clone())?;
        let (mut requests, mut hits, mut looks) = (0.0, [0.0; 2], Vec::new());
        for counts in windows {
            let mut window = Vec::new();
            for (shard, one) in (0u32..).zip(counts) {
                requests += one.requests as f64;
                hits[0] += one.hits[0] as f64;
                hits[1] += one.hits[1] as f64;
                let arm = usize::from(deal.arm_of(shard) != Some(CONTROL));
                let sample = SampleWindow {
                    rate: self.sample_rate,
                    worth: one.sampled,
                    hit_worth: one.sampled_hits[arm],
                    shadow_hit_worth: one.shadow_hits,
                };
                window.push(ShardWindow {
                    shard,
                    requests: one.requests,
                    worth: one.requests,
                    hit_worth: one.hits[arm],
                    sample: Some(sample),
                });
            }
            experiment.observe(&window)?;
            let truth = (hits[1] - hits[0]) / requests;
            looks.extend(experiment.comparison(1).map(|comparison| Look { truth, comparison }));
        }
        Ok(looks)
    }
}
