//! One live run: a trace, a policy, a capacity, through the production event path.
//!
//! It plays every request against the very [`Cache`] that services embed: shards, bounded rings,
//! coalesced hits, slack, maintenance. One thread, a clock that follows the trace and a hasher without
//! a random seed make two runs the same. It knows a policy only as an [`InstanceSource`], which has to
//! meter by fuel for the run to be deterministic.

use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ostler_abi::hash_u64;
use ostler_core::{
    BuildError, Cache, Cause, InsertOptions, InstanceSource, ManualClock, PolicyEvent, PolicyFault,
    SeatError,
};

use crate::compare::Outcome;
use crate::digest::VictimsDigest;
use crate::error::TraceError;
use crate::run::{Player, RunOutcome, WeightMode, play_loaded, play_stream};
use crate::trace::{Operation, Request, TraceReader};

/// What a live run is made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveConfig {
    /// Sum of weights that the policies keep; the slack comes on top.
    pub capacity: u64,
    /// What an entry weighs.
    pub weights: WeightMode,
    /// Shards, at least 1 and at most the capacity.
    pub shards: u32,
    /// Seed of everything random in the policy and the fallback.
    pub seed: u64,
    /// Records that a shard's ring holds, 1 to 65,535; none for the cache's default.
    pub notes_len_max: Option<u32>,
    /// Weight that may come on top of the capacity; none for the cache's default.
    pub slack: Option<u64>,
}

/// The value of an entry is its weight.
type LiveCache = Cache<u64, u32, TraceHashes>;

/// Hashes keys by the contract's own hash, the same in every run.
#[derive(Clone, Copy, Debug, Default)]
struct TraceHashes;

impl BuildHasher for TraceHashes {
    type Hasher = TraceHasher;

    #[inline]
    fn build_hasher(&self) -> TraceHasher {
        TraceHasher(0)
    }
}

#[derive(Clone, Copy, Debug)]
struct TraceHasher(u64);

impl Hasher for TraceHasher {
    #[inline]
    fn write_u64(&mut self, number: u64) {
        self.0 = hash_u64(number, self.0);
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
}

/// What the cache's listeners tell the run. They run on the run's own thread, within a request.
#[derive(Debug, Default)]
struct Heard {
    /// Index of the request that is being served.
    request: AtomicU64,
    /// Weight that came in and is gone, whatever the cause.
    weight_left: AtomicU64,
    /// A policy has lost a seat since the seats were last looked at.
    seats_changed: AtomicBool,
    /// The policy was quarantined: each shard takes its seat at the shard's next maintenance.
    quarantined: AtomicBool,
    story: Mutex<Story>,
}

/// What cannot be kept in one word.
#[derive(Debug, Default)]
struct Story {
    victims: VictimsDigest,
    first_fault: Option<(u64, PolicyFault)>,
}

impl Heard {
    fn story(&self) -> MutexGuard<'_, Story> {
        self.story.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn removal(&self, key: u64, weight: u32, cause: Cause) {
        self.weight_left.fetch_add(u64::from(weight), Relaxed);
        if matches!(cause, Cause::Evicted | Cause::Rejected) {
            self.story().victims.evicted(self.request.load(Relaxed), key);
        }
    }

    fn policy(&self, event: &PolicyEvent) {
        match event {
            PolicyEvent::Faulted { fault, .. } => self.fault(fault.clone()),
            PolicyEvent::Quarantined { .. } => self.quarantined.store(true, Relaxed),
            _ => {}
        }
    }

    fn fault(&self, fault: PolicyFault) {
        self.seats_changed.store(true, Relaxed);
        let request = self.request.load(Relaxed);
        self.story().first_fault.get_or_insert((request, fault));
    }
}

/// A live run, set up: play a trace to have its outcome.
pub struct LiveRun {
    weights: WeightMode,
    cache: LiveCache,
    clock: ManualClock,
    heard: Arc<Heard>,
    /// Weight that was ever put in.
    weight_stored: u64,
    /// By shard: whether the fallback serves it. Empty as long as no policy has lost a seat.
    on_fallback: Vec<bool>,
    outcome: RunOutcome,
}

impl LiveRun {
    /// A run of `source` in an empty cache. A policy that fails before its first event is a fault of
    /// the run, which goes on under the fallback.
    ///
    /// # Errors
    ///
    /// [`BuildError`] where a cache of that capacity cannot have that many shards.
    pub fn try_new(
        source: Arc<dyn InstanceSource>,
        config: LiveConfig,
    ) -> Result<Self, BuildError> {
        let (clock, heard) = (ManualClock::default(), Arc::new(Heard::default()));
        let (removals, events) = (Arc::clone(&heard), Arc::clone(&heard));
        let mut builder = Cache::<u64, u32>::builder(config.capacity)
            .hasher(TraceHashes)
            .clock(clock.clone())
            .shards(config.shards as usize)
            .seed(config.seed)
            .on_removal(move |key, weight, cause| removals.removal(key, weight, cause))
            .on_policy(move |event| events.policy(event));
        if config.weights == WeightMode::Bytes {
            builder = builder.weigher(|_, &weight| weight);
        }
        if let Some(records) = config.notes_len_max {
            builder = builder.notes_len_max(records as usize);
        }
        if let Some(slack) = config.slack {
            builder = builder.slack(slack);
        }
        let cache = builder.build()?;
        match cache.set_policy(source) {
            Err(SeatError::Fault { fault, .. }) => heard.fault(fault),
            Err(other) => return Err(other.into()),
            Ok(_) => {}
        }
        Ok(Self {
            weights: config.weights,
            cache,
            clock,
            heard,
            weight_stored: 0,
            on_fallback: Vec::new(),
            outcome: RunOutcome::default(),
        })
    }

    /// Plays a whole stream and ends the run. `progress` hears how many records were played since it
    /// was last called.
    ///
    /// # Errors
    ///
    /// The trace's error; requests before it were played.
    pub fn play_stream(
        self,
        trace: &mut TraceReader,
        progress: &dyn Fn(u64),
    ) -> Result<RunOutcome, TraceError> {
        play_stream(self, trace, progress)
    }

    /// Plays a trace that is in memory and ends the run. `progress` as in
    /// [`play_stream`](Self::play_stream).
    #[must_use]
    pub fn play_loaded(self, requests: &[Request], progress: &dyn Fn(u64)) -> RunOutcome {
        play_loaded(self, requests, progress)
    }

    /// Plays a block and notes what each get and set found.
    pub(crate) fn play_noting(&mut self, block: &[Request], outcomes: &mut Vec<Outcome>) {
        let start = Instant::now();
        for request in block {
            let misses = self.outcome.misses;
            self.one(request);
            if request.is_request() {
                let missed = self.outcome.misses != misses;
                outcomes.push(if missed { Outcome::Miss } else { Outcome::Hit });
            }
        }
        self.outcome.elapsed += start.elapsed();
    }

    /// Plays one record of the trace.
    #[inline]
    fn one(&mut self, request: &Request) {
        self.heard.request.store(self.outcome.requests, Relaxed);
        self.clock.set_ms(request.time_ms());
        match request.operation() {
            Operation::Get | Operation::Set => self.request(request),
            Operation::Delete => {
                self.cache.remove(&request.key);
            }
        }
    }

    #[inline]
    fn request(&mut self, request: &Request) {
        let weight = match self.weights {
            WeightMode::Objects => 1,
            WeightMode::Bytes => request.weight_bytes(),
        };
        if self.heard.seats_changed.load(Relaxed) {
            self.look_at_seats();
        }
        if !self.on_fallback.is_empty() {
            let shard = self.cache.shard_of(&request.key);
            self.outcome.fallback_requests += u64::from(self.on_fallback[shard]);
        }
        if self.overwrites(request, weight) {
            self.outcome.hits += 1;
            self.insert(request, weight);
        } else if self.cache.get(&request.key).is_some() {
            self.outcome.hits += 1;
        } else {
            self.outcome.misses += 1;
            self.outcome.weight_missed += u64::from(weight);
            self.insert(request, weight);
        }
        self.outcome.requests += 1;
        self.outcome.weight_requested += u64::from(weight);
    }

    /// True for a set that changes the weight of a resident.
    #[inline]
    fn overwrites(&self, request: &Request, weight: u32) -> bool {
        request.operation() == Operation::Set
            && self.cache.entry(&request.key).is_some_and(|entry| entry.weight != weight)
    }

    #[inline]
    fn insert(&mut self, request: &Request, weight: u32) {
        self.weight_stored += u64::from(weight);
        let cost = Duration::from_micros(u64::from(request.cost_us));
        let options = InsertOptions::new().cost(cost);
        let _: ostler_core::Stored = self.cache.insert_with(request.key, weight, options);
        let resident = self.weight_stored - self.heard.weight_left.load(Relaxed);
        self.outcome.weight_max = self.outcome.weight_max.max(resident);
    }

    /// Finds out which shards the fallback serves. After a quarantine it has to be asked again before
    /// each request, until all seats are lost.
    #[cold]
    fn look_at_seats(&mut self) {
        let seats = self.cache.seat_status().actual;
        self.on_fallback = seats.iter().map(Option::is_none).collect();
        let all_lost = self.on_fallback.iter().all(|&lost| lost);
        let may_change = self.heard.quarantined.load(Relaxed) && !all_lost;
        self.heard.seats_changed.store(may_change, Relaxed);
    }
}

impl Player for LiveRun {
    fn play(&mut self, block: &[Request]) {
        let start = Instant::now();
        for request in block {
            self.one(request);
        }
        self.outcome.elapsed += start.elapsed();
    }

    fn finish(mut self) -> RunOutcome {
        let start = Instant::now();
        self.heard.request.store(self.outcome.requests, Relaxed);
        self.cache.run_pending();
        self.outcome.elapsed += start.elapsed();
        let stats = self.cache.stats();
        debug_assert_eq!(
            stats.weight,
            self.weight_stored - self.heard.weight_left.load(Relaxed),
            "the listener hears of everything that leaves"
        );
        let story = std::mem::take(&mut *self.heard.story());
        // The cache counts the faults of policies that were in charge. One that never started is told
        // apart from those by being the only one.
        let faults_min = u64::from(story.first_fault.is_some());
        self.outcome.faults = stats.policy_faults.max(faults_min);
        self.outcome.victims_digest = story.victims;
        self.outcome.first_fault = story.first_fault;
        self.outcome.rejected = stats.rejected;
        self.outcome.guest_memory_bytes = stats.guest_memory_bytes;
        self.outcome.guest_time = Duration::from_nanos(stats.guest_ns);
        self.outcome.log = self.cache.take_policy_log();
        self.outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_hash_the_same_in_every_run() {
        for key in [0, 1, u64::MAX] {
            assert_eq!(TraceHashes.hash_one(key), hash_u64(key, 0));
        }
        assert_ne!(TraceHashes.hash_one("ab"), TraceHashes.hash_one("ba"));
    }
}
