//! One run: a trace, a policy, a capacity, one thread.
//!
//! The loop plays every request against real shards of the core: the same index, seat, guard and
//! fallback that serve a live cache. It knows a policy only as an [`InstanceSource`].

use std::time::{Duration, Instant};

use ostler_abi::{Setup, hash_u64};
use ostler_core::{
    Access, Batch, Evicted, Inserted, InstanceSource, KeyHash, PolicyFault, Shard, ShardConfig,
};

use ostler_adapt::{Learner, LearnerConfig, LearnerReport};

use crate::adaptive::{Decided, Swap};
use crate::compare::Outcome;
use crate::digest::VictimsDigest;
use crate::error::TraceError;
use crate::trace::{Operation, Request, TraceReader};

/// How a run weighs entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightMode {
    /// Every entry weighs 1.
    Objects,
    /// An entry weighs its size in bytes; 0 counts 1.
    Bytes,
}

/// What a run is made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunConfig {
    /// Sum of weights the cache may hold.
    pub capacity: u64,
    /// What an entry weighs.
    pub weights: WeightMode,
    /// Shards, at least 1. Keys are dealt by hash; the capacities sum exactly to `capacity`.
    pub shards: u32,
    /// Seed of everything random in the policy and the fallback.
    pub seed: u64,
    /// When records are handed to the policy.
    pub batch: Batch,
}

/// What a run measured. All but the times are deterministic.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct RunOutcome {
    /// Gets and sets played.
    pub requests: u64,
    /// Requests that found their key resident.
    pub hits: u64,
    /// Requests that did not.
    pub misses: u64,
    /// Newcomers not kept: heavier than the capacity, or (in exact batches, where that can be told)
    /// given up in the step that brought them in.
    pub rejected: u64,
    /// Sum of the requests' weights.
    pub weight_requested: u64,
    /// Sum of the missed requests' weights.
    pub weight_missed: u64,
    /// Digest of all evictions.
    pub victims_digest: VictimsDigest,
    /// Policy faults: at most one a shard. In a live run, no shard is tried after one where the policy
    /// fails before its first event.
    pub faults: u64,
    /// The first fault and the index of the request that it happened at, from 0; the number of
    /// requests where it happened when the last batch was handed over at the end.
    pub first_fault: Option<(u64, PolicyFault)>,
    /// Requests served while the fallback was in charge.
    pub fallback_requests: u64,
    /// Bytes of memory the guests held at the end.
    pub guest_memory_bytes: u64,
    /// Time inside the loop, without reading the trace.
    pub elapsed: Duration,
    /// Time inside the guests, estimated from timing some of the calls; zero if not measured.
    pub guest_time: Duration,
    /// What the policy logged, bounded by the sandbox. The end is kept where it lost the seat, but in
    /// a live run, where the cache hands that to `tracing`.
    pub log: Vec<String>,
    /// Greatest weight that was resident after any request: in one shard, at most its capacity in exact
    /// batches; in a live run in the whole cache, at most capacity and slack.
    pub weight_max: u64,
    /// Models that the policy took, counted by shard.
    pub models: u64,
    /// Time that training took, an estimate; not part of `elapsed`. Zero where the policy takes no
    /// models, and in an adaptive run, where it is part of the shadows'.
    pub training: Duration,
    /// What the learner did, where the policy takes models.
    pub learner: Option<LearnerReport>,
    /// Changes of the policy in charge, in order; none where it is fixed.
    pub swaps: Vec<Swap>,
    /// Those and what else was decided, in order: nothing, for a reason worth saying, or to leave out a
    /// policy that failed.
    pub decisions: Vec<Decided>,
}

impl RunOutcome {
    /// Misses ÷ requests, 0 for an empty run.
    #[must_use]
    pub fn miss_ratio(&self) -> f64 {
        ratio(self.misses, self.requests)
    }

    /// Weight missed ÷ weight requested, 0 for an empty run.
    #[must_use]
    pub fn byte_miss_ratio(&self) -> f64 {
        ratio(self.weight_missed, self.weight_requested)
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// First bound on slots in byte mode, where the number of entries is not known beforehand.
const SLOTS_FIRST: u32 = 4096;

/// Largest first bound on slots in object mode, where it is the capacity and one newcomer. A larger
/// cache grows into its slots, so that a huge capacity costs no memory before it is used.
const SLOTS_FIRST_MAX: u64 = 1 << 20;

/// One request in so many is timed in the learner.
const TRAINING_TIMED: u64 = 61;

/// Key hashes are those of the contract's own hash under this seed, in every run.
#[derive(Clone, Copy, Debug, Default)]
struct TraceKeys;

impl KeyHash<u64> for TraceKeys {
    #[inline]
    fn hash_of(&self, key: &u64) -> u64 {
        hash_u64(*key, 0)
    }
}

/// A run under way: feed it blocks of requests, then take the outcome.
pub struct Run {
    config: RunConfig,
    shards: Vec<Shard<u64, (), TraceKeys>>,
    outcome: RunOutcome,
    /// Keys evicted since they were last taken, where somebody asked for them.
    evicted: Option<Vec<u64>>,
    /// Trains the policy's model, where it takes one.
    learner: Option<Learner>,
    training: Duration,
}

impl Run {
    /// A run of `source` in an empty cache.
    #[must_use]
    pub fn new(source: &dyn InstanceSource, config: RunConfig) -> Self {
        let mut run = Self::untaught(source, config);
        if source.takes_models() {
            let entries = if config.weights == WeightMode::Objects { config.capacity } else { 0 };
            let learner = LearnerConfig::of(source.params(), config.capacity, entries);
            run.learner = Some(Learner::new(learner));
        }
        run
    }

    /// A run that publishes no models of its own.
    #[must_use]
    pub(crate) fn untaught(source: &dyn InstanceSource, config: RunConfig) -> Self {
        let shards = (0..config.shards.max(1)).map(|index| new_shard(source, &config, index));
        let mut run = Self {
            config,
            shards: shards.collect(),
            outcome: RunOutcome::default(),
            evicted: None,
            learner: None,
            training: Duration::ZERO,
        };
        for index in 0..run.shards.len() {
            run.note_fault(index, 0);
        }
        run
    }

    /// Plays a block of requests, in order, and times it.
    pub fn play(&mut self, block: &[Request]) {
        Player::play(self, block);
    }

    /// Ends the run: what waits is handed over, and everything is added up.
    #[must_use]
    pub fn finish(self) -> RunOutcome {
        Player::finish(self)
    }

    /// Plays a block as [`play`](Self::play) does, and notes what each get and set found.
    pub(crate) fn play_noting(&mut self, block: &[Request], outcomes: &mut Vec<Outcome>) {
        let start = Instant::now();
        for request in block {
            if request.is_request() {
                let hit = self.request(request);
                outcomes.push(if hit { Outcome::Hit } else { Outcome::Miss });
            } else {
                self.delete(request);
            }
        }
        self.outcome.elapsed += start.elapsed();
    }

    /// What the run was made with.
    pub(crate) fn config(&self) -> &RunConfig {
        &self.config
    }

    /// Gets and sets played.
    pub(crate) fn requests(&self) -> u64 {
        self.outcome.requests
    }

    /// Puts another policy in charge of every shard, warm. Where it fails in one, those before it get
    /// fresh instances of `former` again.
    ///
    /// # Errors
    ///
    /// The fault of the first shard where the policy does not take over.
    pub(crate) fn set_policy(
        &mut self,
        source: &dyn InstanceSource,
        former: &dyn InstanceSource,
    ) -> Result<(), PolicyFault> {
        for index in 0..self.shards.len() {
            let changed = self.shards[index].set_policy(source);
            self.digest_evictions(index);
            let Err(fault) = changed else { continue };
            for before in 0..index {
                // One that does not come back leaves the shard to the newcomer.
                let _: Result<u64, PolicyFault> = self.shards[before].set_policy(former);
                self.digest_evictions(before);
            }
            return Err(fault);
        }
        Ok(())
    }

    /// True while a policy is in charge of any shard.
    pub(crate) fn has_policy(&self) -> bool {
        self.shards.iter().any(|shard| shard.instance().is_some())
    }

    /// From now on keeps the keys that are evicted, for [`take_evicted`](Self::take_evicted).
    pub(crate) fn keep_evicted(&mut self) {
        self.evicted = Some(Vec::new());
    }

    /// Moves the keys evicted since the last call of this to the end of `keys`, in order.
    pub(crate) fn take_evicted(&mut self, keys: &mut Vec<u64>) {
        if let Some(evicted) = &mut self.evicted {
            keys.append(evicted);
        }
    }

    /// What the entry of `key` weighs, none where it is not resident. Counts as nothing.
    pub(crate) fn weight_of(&self, key: u64) -> Option<u32> {
        let hash = hash_u64(key, 0);
        self.shards[self.shard_of(hash)].weight_of(hash, &key)
    }

    /// Brings an entry in that no request asked for; `flags` are its record's.
    pub(crate) fn bring(&mut self, key: u64, (weight, flags): (u32, u8), access: Access) {
        let hash = hash_u64(key, 0);
        let index = self.shard_of(hash);
        let _: Inserted =
            self.shards[index].insert_flagged(hash, (key, ()), (weight, flags), access);
        self.digest_evictions(index);
        self.note_fault(index, self.outcome.requests);
        self.outcome.weight_max = self.outcome.weight_max.max(self.shards[index].weight());
    }

    /// The learner hears of a request before the cache does; what it publishes is in force from this
    /// request on.
    fn teach(&mut self, hash: u64, weight: u32) {
        let Some(learner) = &mut self.learner else { return };
        // Timed now and then: reading the clock costs as much as a request outside the share.
        let timed = self.outcome.requests.is_multiple_of(TRAINING_TIMED);
        let start = timed.then(Instant::now);
        learner.observe(hash, weight);
        let model = learner.take();
        if let Some(start) = start {
            self.training += start.elapsed() * TRAINING_TIMED as u32;
        }
        if let Some(model) = model {
            self.publish_model(&model.to_bytes());
        }
    }

    /// Hands a model to the policy in every shard.
    pub(crate) fn publish_model(&mut self, message: &[u8]) {
        for index in 0..self.shards.len() {
            // One that refuses goes on with what it had: the outcome counts what was taken.
            let taken = self.shards[index].publish_model(message);
            self.outcome.models += u64::from(taken.is_ok());
            self.digest_evictions(index);
            self.note_fault(index, self.outcome.requests);
        }
    }

    /// Counts time that went into playing.
    pub(crate) fn spent(&mut self, elapsed: Duration) {
        self.outcome.elapsed += elapsed;
    }

    /// Plays a get or a set; true where it found its key.
    #[inline]
    pub(crate) fn request(&mut self, request: &Request) -> bool {
        let weight = match self.config.weights {
            WeightMode::Objects => 1,
            WeightMode::Bytes => request.weight_bytes(),
        };
        let hash = hash_u64(request.key, 0);
        if self.learner.is_some() {
            self.teach(hash, weight);
        }
        let index = self.shard_of(hash);
        let shard = &mut self.shards[index];
        self.outcome.fallback_requests += u64::from(shard.instance().is_none());
        let access = access_of(request);
        if request.operation() == Operation::Set {
            let resident = shard.weight_of(hash, &request.key);
            if resident.is_some_and(|resident| resident != weight) {
                let _: Inserted = shard.insert(hash, (request.key, ()), weight, access);
                self.outcome.hits += 1;
                self.served(index, weight);
                return true;
            }
        }
        let hit = shard.get(hash, &request.key, access).is_some();
        if hit {
            self.outcome.hits += 1;
        } else {
            self.outcome.misses += 1;
            self.outcome.weight_missed += u64::from(weight);
            let _: Inserted = shard.insert(hash, (request.key, ()), weight, access);
        }
        self.served(index, weight);
        hit
    }

    /// After a request: what it evicted, whether it brought a fault, and that it is counted.
    #[inline]
    fn served(&mut self, index: usize, weight: u32) {
        if self.shards[index].has_evicted() {
            self.digest_evictions(index);
        }
        self.note_fault(index, self.outcome.requests);
        self.outcome.requests += 1;
        self.outcome.weight_requested += u64::from(weight);
        self.outcome.weight_max = self.outcome.weight_max.max(self.shards[index].weight());
    }

    pub(crate) fn delete(&mut self, request: &Request) {
        let hash = hash_u64(request.key, 0);
        let index = self.shard_of(hash);
        self.shards[index].remove(hash, &request.key, access_of(request));
        self.digest_evictions(index);
        self.note_fault(index, self.outcome.requests);
    }

    /// Deals a key to a shard by bits of its hash that the table inside the shard uses least.
    #[inline]
    fn shard_of(&self, hash: u64) -> usize {
        if self.shards.len() == 1 {
            return 0;
        }
        (((hash & 0xffff_ffff) * self.shards.len() as u64) >> 32) as usize
    }

    #[inline]
    fn digest_evictions(&mut self, index: usize) {
        let request = self.outcome.requests;
        for Evicted { key, .. } in self.shards[index].drain_evicted() {
            self.outcome.victims_digest.evicted(request, key);
            if let Some(evicted) = &mut self.evicted {
                evicted.push(key);
            }
        }
    }

    #[inline]
    fn note_fault(&mut self, index: usize, request: u64) {
        if self.shards[index].faults() != 0 && self.outcome.first_fault.is_none() {
            let fault = self.shards[index].fault().cloned();
            self.outcome.first_fault = fault.map(|fault| (request, fault));
        }
    }
}

impl Player for Run {
    fn play(&mut self, block: &[Request]) {
        let start = Instant::now();
        for request in block {
            match request.operation() {
                Operation::Get | Operation::Set => {
                    self.request(request);
                }
                Operation::Delete => self.delete(request),
            }
        }
        self.outcome.elapsed += start.elapsed();
    }

    fn finish(mut self) -> RunOutcome {
        let start = Instant::now();
        for index in 0..self.shards.len() {
            self.shards[index].flush();
            self.digest_evictions(index);
            self.note_fault(index, self.outcome.requests);
        }
        self.outcome.elapsed += start.elapsed();
        self.outcome.elapsed = self.outcome.elapsed.saturating_sub(self.training);
        self.outcome.training = self.training;
        self.outcome.learner = self.learner.as_ref().map(Learner::report);
        for shard in &mut self.shards {
            self.outcome.log.extend(shard.take_log());
            let counters = shard.counters();
            self.outcome.faults += counters.faults;
            self.outcome.rejected += counters.rejections;
            if let Some(instance) = shard.instance() {
                self.outcome.guest_memory_bytes += instance.memory_bytes();
                self.outcome.guest_time += Duration::from_nanos(instance.guest_ns());
            }
        }
        self.outcome
    }
}

fn new_shard(
    source: &dyn InstanceSource,
    config: &RunConfig,
    index: u32,
) -> Shard<u64, (), TraceKeys> {
    let shards = u64::from(config.shards.max(1));
    let index = u64::from(index);
    let capacity = config.capacity / shards + u64::from(index < config.capacity % shards);
    let slots = match config.weights {
        WeightMode::Objects => {
            u32::try_from(capacity.saturating_add(1).min(SLOTS_FIRST_MAX)).unwrap_or(SLOTS_FIRST)
        }
        WeightMode::Bytes => SLOTS_FIRST,
    };
    let seed = hash_u64(index, config.seed);
    let shard = ShardConfig {
        capacity,
        slots,
        batch: config.batch,
        evict_ahead_max: None,
        seed,
        wants: source.wants(),
    };
    Shard::new(&shard, source.instance(Setup { capacity, slots, seed }), TraceKeys)
}

#[inline]
pub(crate) fn access_of(request: &Request) -> Access {
    Access { time_ms: request.time_ms(), cost_us: request.cost_us, class: 0 }
}

/// What plays a trace block by block: an exact run or a live one.
pub(crate) trait Player {
    /// Plays a block of requests, in order, and times it.
    fn play(&mut self, block: &[Request]);

    /// Ends the run: what waits is handed over, and everything is added up.
    fn finish(self) -> RunOutcome;
}

/// Plays a whole stream. `progress` hears how many records were played since it was last called.
///
/// # Errors
///
/// The trace's error; requests before it were played.
pub fn run(
    source: &dyn InstanceSource,
    config: RunConfig,
    trace: &mut TraceReader,
    progress: &dyn Fn(u64),
) -> Result<RunOutcome, TraceError> {
    play_stream(Run::new(source, config), trace, progress)
}

/// Plays a trace that is in memory. `progress` as in [`run`].
#[must_use]
pub fn run_loaded(
    source: &dyn InstanceSource,
    config: RunConfig,
    requests: &[Request],
    progress: &dyn Fn(u64),
) -> RunOutcome {
    play_loaded(Run::new(source, config), requests, progress)
}

pub(crate) fn play_stream(
    mut player: impl Player,
    trace: &mut TraceReader,
    progress: &dyn Fn(u64),
) -> Result<RunOutcome, TraceError> {
    let mut block = Vec::new();
    while trace.read_block(&mut block)? > 0 {
        player.play(&block);
        progress(block.len() as u64);
    }
    Ok(player.finish())
}

pub(crate) fn play_loaded(
    mut player: impl Player,
    requests: &[Request],
    progress: &dyn Fn(u64),
) -> RunOutcome {
    for block in requests.chunks(crate::trace::BLOCK_REQUESTS_MAX) {
        player.play(block);
        progress(block.len() as u64);
    }
    player.finish()
}
