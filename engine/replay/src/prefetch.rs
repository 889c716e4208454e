//! A run with a prefetch policy, and beside it the same run without.
//!
//! Owns the modelled origin: every key can be fetched, and every fetch takes the same number of
//! requests or milliseconds. A demand is served at once, as in any run; one that comes while a
//! prefetch of its key is under way is a miss. What the policy hears and may ask for is decided by
//! the same host that serves a live cache, so replay says what prefetching would do there.

mod latency;
mod report;

use std::collections::VecDeque;
use std::time::Instant;

use hashbrown::HashMap;
use ostler_abi::{Ask, Asks, FLAG_PREFETCHED, hash_u64};
use ostler_core::{Access, InstanceSource, PolicyFault, PrefetchInstance};
use ostler_fetch::prefetch::{
    Accessed, BucketConfig, Catalog, Fetch, Figures, Landing, OriginConfig, PrefetchConfig,
    PrefetchCounters, Prefetcher,
};

pub use latency::{FetchBudget, FetchLatency};
pub use report::PrefetchReport;

use crate::compare::Outcome;
use crate::error::TraceError;
use crate::run::{Player, Run, RunConfig, RunOutcome, WeightMode};
use crate::trace::{BLOCK_REQUESTS_MAX, Operation, Request, TraceReader};

/// Most fetches that are under way at once.
const FETCHES_MAX: u32 = 1024;
/// Asks of one answer, and bytes of keys in it: what a guest written with the SDK can return.
const ASKS_MAX: usize = 1024;
const ASKED_BYTES_MAX: usize = 32 << 10;
/// Records of a batch, and bytes of keys in it: as much as such a guest takes in one call.
const BATCH_LEN_MAX: u32 = 256;
const KEYS_BYTES_MAX: u32 = 64 << 10;
/// Digits of the longest key.
const KEY_DIGITS_MAX: usize = 20;

/// What a run with prefetching is made with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PrefetchRunConfig {
    /// The run itself.
    pub run: RunConfig,
    /// How long the origin takes.
    pub latency: FetchLatency,
    /// What may be asked for.
    pub budget: FetchBudget,
    /// Whether the policy wants the bytes of keys: the decimal digits of the trace's numbers.
    pub wants_keys: bool,
}

/// What a run with prefetching measured.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PrefetchOutcome {
    /// The run with prefetching.
    pub with: RunOutcome,
    /// The same requests without.
    pub without: RunOutcome,
    /// What the host counted.
    pub counters: PrefetchCounters,
    /// The seven figures, against the run without.
    pub figures: Figures,
    /// The fault that ended prefetching, and the index of the request where it happened.
    pub fault: Option<(u64, PolicyFault)>,
    /// Bytes of memory that the prefetch policy held at the end.
    pub guest_memory_bytes: u64,
}

impl PrefetchOutcome {
    /// By what share prefetching lowered the misses; negative where there are more.
    #[must_use]
    pub fn misses_saved(&self) -> f64 {
        1.0 - self.with.misses as f64 / self.without.misses.max(1) as f64
    }

    /// Fetches of the origin ÷ those of the run without, less 1.
    #[must_use]
    pub fn extra_fetches(&self) -> f64 {
        let extra = self.figures.extra_fetches_per_request * self.with.requests as f64;
        extra / self.without.misses.max(1) as f64
    }
}

/// A run with prefetching under way: feed it blocks of requests, then take the outcome.
pub struct PrefetchRun {
    config: PrefetchRunConfig,
    with: Run,
    without: Run,
    outcomes_without: Vec<Outcome>,
    host: Prefetcher,
    /// The policy, none after its fault.
    policy: Option<Box<dyn PrefetchInstance>>,
    fault: Option<(u64, PolicyFault)>,
    /// In the order in which they land.
    under_way: VecDeque<UnderWay>,
    weights: Weights,
    /// Requests that missed only because of prefetching.
    polluted: u64,
    /// Room for answers and for what they come to.
    asks: Vec<Ask>,
    asked_keys: Vec<u8>,
    fetches: Vec<Fetch>,
    evicted: Vec<u64>,
    guest_memory_bytes: u64,
}

/// A fetch under way.
#[derive(Clone, Copy, Debug)]
struct UnderWay {
    key: u64,
    /// The request or the millisecond at whose beginning it is there.
    due: u64,
}

/// What an entry that was never seen weighs: as much as those that were.
#[derive(Debug, Default)]
struct Weights {
    known: HashMap<u64, u32, foldhash::fast::FixedState>,
    sum: u64,
}

impl PrefetchRun {
    /// A run of `source` in an empty cache, with `policy` prefetching.
    #[must_use]
    pub fn new(
        source: &dyn InstanceSource,
        policy: Result<Box<dyn PrefetchInstance>, PolicyFault>,
        config: PrefetchRunConfig,
    ) -> Self {
        let mut with = Run::new(source, config.run);
        with.keep_evicted();
        let (policy, fault) = match policy {
            Ok(policy) => (Some(policy), None),
            Err(fault) => (None, Some((0, fault))),
        };
        Self {
            config,
            with,
            without: Run::new(source, config.run),
            outcomes_without: Vec::new(),
            host: Prefetcher::new(host_config(&config)),
            policy,
            fault,
            under_way: VecDeque::new(),
            weights: Weights::default(),
            polluted: 0,
            asks: vec![Ask::ZERO; ASKS_MAX],
            asked_keys: vec![0; ASKED_BYTES_MAX],
            fetches: Vec::new(),
            evicted: Vec::new(),
            guest_memory_bytes: 0,
        }
    }

    /// Plays a block of requests, in order.
    pub fn play(&mut self, block: &[Request]) {
        self.outcomes_without.clear();
        self.without.play_noting(block, &mut self.outcomes_without);
        let start = Instant::now();
        let without = std::mem::take(&mut self.outcomes_without);
        let mut outcomes = without.iter();
        for request in block {
            self.land(request.time_ms());
            if request.operation() == Operation::Delete {
                self.with.delete(request);
                self.host.left(hash_u64(request.key, 0), request.time_ms());
                self.note_evicted(request.time_ms());
                continue;
            }
            let is_hit = self.request(request);
            let is_hit_without = outcomes.next() == Some(&Outcome::Hit);
            self.polluted += u64::from(is_hit_without && !is_hit);
        }
        self.outcomes_without = without;
        self.with.spent(start.elapsed());
    }

    /// Ends the run and adds everything up.
    #[must_use]
    pub fn finish(mut self) -> PrefetchOutcome {
        self.note_memory();
        let (with, without) = (Player::finish(self.with), Player::finish(self.without));
        let counters = *self.host.counters();
        PrefetchOutcome {
            figures: counters.figures_against(without.misses, self.polluted),
            with,
            without,
            counters,
            fault: self.fault,
            guest_memory_bytes: self.guest_memory_bytes,
        }
    }

    /// Plays a whole stream. `progress` hears how many records were played since it was last called.
    ///
    /// # Errors
    ///
    /// The trace's error; requests before it were played.
    pub fn play_stream(
        mut self,
        trace: &mut TraceReader,
        progress: &dyn Fn(u64),
    ) -> Result<PrefetchOutcome, TraceError> {
        let mut block = Vec::new();
        while trace.read_block(&mut block)? > 0 {
            self.play(&block);
            progress(block.len() as u64);
        }
        Ok(self.finish())
    }

    /// Plays a trace that is in memory. `progress` as in [`play_stream`](Self::play_stream).
    #[must_use]
    pub fn play_loaded(mut self, requests: &[Request], progress: &dyn Fn(u64)) -> PrefetchOutcome {
        for block in requests.chunks(BLOCK_REQUESTS_MAX) {
            self.play(block);
            progress(block.len() as u64);
        }
        self.finish()
    }

    /// Plays a get or a set, and lets the policy ask; true where it found its key.
    fn request(&mut self, request: &Request) -> bool {
        if self.config.run.weights == WeightMode::Bytes {
            self.weights.note(request.key, request.weight_bytes());
        }
        let is_hit = self.with.request(request);
        let (text, at) = digits_of(request.key);
        let access = Accessed {
            hash: hash_u64(request.key, 0),
            key: Some(&text[at..]),
            time_ms: request.time_ms(),
            class: 0,
            is_hit,
        };
        let _: ostler_abi::AccessKind = self.host.accessed(access);
        self.note_evicted(request.time_ms());
        self.ask(request.time_ms());
        is_hit
    }

    /// Calls the policy if it is due, and sends out what it may have.
    fn ask(&mut self, now_ms: u64) {
        if !self.host.is_due() {
            return;
        }
        let mut asks = Asks::new(&mut self.asks, &mut self.asked_keys);
        if let Some(policy) = &mut self.policy {
            let (accesses, keys) = self.host.batch();
            if let Err(fault) = policy.predict(accesses, keys, &mut asks) {
                asks.clear();
                self.fault = Some((self.with.requests(), fault));
                self.policy = None;
            }
        }
        let catalog = Residents { run: &self.with };
        self.host.answered(&asks, &catalog, now_ms, &mut self.fetches);
        let due = match self.config.latency {
            FetchLatency::Requests(requests) => self.with.requests().saturating_add(requests),
            FetchLatency::Ms(milliseconds) => now_ms.saturating_add(milliseconds),
        };
        for fetch in self.fetches.drain(..) {
            if let Some(key) = number_of(&fetch.key) {
                self.under_way.push_back(UnderWay { key, due });
            }
        }
    }

    /// Brings in what has arrived before a request at `now_ms`.
    fn land(&mut self, now_ms: u64) {
        let now = match self.config.latency {
            FetchLatency::Requests(_) => self.with.requests(),
            FetchLatency::Ms(_) => now_ms,
        };
        while let Some(&UnderWay { key, .. }) =
            self.under_way.front().filter(|fetch| fetch.due <= now)
        {
            self.under_way.pop_front();
            let hash = hash_u64(key, 0);
            if self.with.weight_of(key).is_some() {
                self.host.landed(hash, Landing::Unneeded, now_ms);
                continue;
            }
            let weight = match self.config.run.weights {
                WeightMode::Objects => 1,
                WeightMode::Bytes => self.weights.of(key),
            };
            let access = Access { time_ms: now_ms, ..Access::default() };
            self.with.bring(key, (weight, FLAG_PREFETCHED), access);
            self.host.landed(hash, Landing::Stored, now_ms);
            self.with.take_evicted(&mut self.evicted);
            for key in self.evicted.drain(..) {
                self.host.displaced(hash_u64(key, 0), hash);
                self.host.left(hash_u64(key, 0), now_ms);
            }
            if self.with.weight_of(key).is_none() {
                self.host.left(hash, now_ms);
            }
            self.ask(now_ms);
        }
    }

    /// Tells the host of entries that demands evicted.
    fn note_evicted(&mut self, now_ms: u64) {
        self.with.take_evicted(&mut self.evicted);
        for key in self.evicted.drain(..) {
            self.host.left(hash_u64(key, 0), now_ms);
        }
    }

    fn note_memory(&mut self) {
        self.guest_memory_bytes = self.policy.as_ref().map_or(0, |policy| policy.memory_bytes());
    }
}

/// How the host is set for a replay: the origin is never slow, so nothing depends on a trace's times
/// that the latency does not.
fn host_config(config: &PrefetchRunConfig) -> PrefetchConfig {
    PrefetchConfig {
        bucket: BucketConfig {
            asks_per_miss: config.budget.asks_per_miss(),
            ..BucketConfig::default()
        },
        origin: OriginConfig {
            fetches_max: FETCHES_MAX,
            slow_ms: u32::MAX,
            ..OriginConfig::default()
        },
        batch_len_max: BATCH_LEN_MAX,
        keys_bytes_max: if config.wants_keys { KEYS_BYTES_MAX } else { 0 },
        ..PrefetchConfig::default()
    }
}

/// The run's cache, as the host asks it. A key's bytes are the decimal digits of its number.
struct Residents<'a> {
    run: &'a Run,
}

impl Catalog for Residents<'_> {
    fn hash_of(&self, key: &[u8]) -> Option<u64> {
        number_of(key).map(|key| hash_u64(key, 0))
    }

    fn is_resident(&self, _: u64, key: &[u8]) -> bool {
        number_of(key).is_some_and(|key| self.run.weight_of(key).is_some())
    }
}

impl Weights {
    fn note(&mut self, key: u64, weight: u32) {
        if let Some(before) = self.known.insert(key, weight) {
            self.sum -= u64::from(before);
        }
        self.sum += u64::from(weight);
    }

    fn of(&self, key: u64) -> u32 {
        let mean = || self.sum / (self.known.len() as u64).max(1);
        let known = self.known.get(&key).copied();
        known.unwrap_or_else(|| u32::try_from(mean()).unwrap_or(u32::MAX).max(1))
    }
}

/// The decimal digits of a key at the end of an array, and where they start.
fn digits_of(key: u64) -> ([u8; KEY_DIGITS_MAX], usize) {
    let mut digits = [b'0'; KEY_DIGITS_MAX];
    let (mut rest, mut at) = (key, KEY_DIGITS_MAX);
    loop {
        at -= 1;
        digits[at] += (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            return (digits, at);
        }
    }
}

/// The key whose digits these are; none where no key has them.
fn number_of(digits: &[u8]) -> Option<u64> {
    let is_written_so = digits.iter().all(u8::is_ascii_digit) && !digits.starts_with(b"0");
    if !is_written_so && digits != b"0" {
        return None;
    }
    str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests;
