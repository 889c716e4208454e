//! Prefetching for one cache: requests go to the policy, what it asks for goes to the origin.
//!
//! Owns the policy's instance and the state machine around it. Runs on the cache's own thread.

use ostler::PrefetchPolicy;
use ostler_abi::{Ask, Asks};
use ostler_core::PolicyFault;
use ostler_fetch::prefetch::{
    Accessed, BucketConfig, Catalog, Fetch, Landing, OriginConfig, PrefetchConfig,
    PrefetchCounters, Prefetcher,
};

use super::Ready;
use super::shown::PrefetchShown;
use crate::keyspace::{HomeIndex, KEY_LEN_MAX, Key, Keyspace};
use crate::settings::{OriginSettings, PrefetchSettings};

/// Asks that are taken of one answer.
const ASKS_MAX: usize = 1_024;
/// Bytes of keys of one answer.
const ASKED_KEYS_BYTES_MAX: usize = 32 << 10;
/// Bytes of keys of a batch, where the policy wants keys.
const KEYS_BYTES_MAX: u32 = 64 << 10;
/// One fetch a miss, in the unit of the bucket.
const FETCH: f64 = 65_536.0;

/// The prefetching of one cache.
pub(crate) struct Prefetching {
    config: PrefetchConfig,
    seated: Option<Ready<PrefetchPolicy>>,
    /// Why nobody is.
    reason: Option<String>,
    prefetcher: Prefetcher,
    /// Of earlier policies.
    before: PrefetchCounters,
    /// Counts changes of the policy: what an earlier one asked for is none of the next one's.
    generation: u64,
    asks: Vec<Ask>,
    asked_keys: Vec<u8>,
}

/// What is to be fetched, and for which generation of policies.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) fetch: Fetch,
    pub(crate) generation: u64,
}

/// The cache as asks see it.
pub(crate) struct Known<'a> {
    pub(crate) keyspace: &'a Keyspace,
    /// Where the database lives that the origin knows.
    pub(crate) home: HomeIndex,
    /// Whether anything may be fetched: else all counts as resident.
    pub(crate) may_fetch: bool,
}

impl Catalog for Known<'_> {
    fn hash_of(&self, key: &[u8]) -> Option<u64> {
        let fits = !key.is_empty() && key.len() <= KEY_LEN_MAX;
        fits.then(|| self.keyspace.hash(Key::new(self.home, key).as_bytes()))
    }

    fn is_resident(&self, _hash: u64, key: &[u8]) -> bool {
        !self.may_fetch || self.keyspace.is_resident(Key::new(self.home, key).as_bytes())
    }
}

impl Prefetching {
    /// Nobody at work.
    pub(crate) fn new(settings: Option<&PrefetchSettings>, origin: &OriginSettings) -> Self {
        let default = PrefetchSettings::default();
        let settings = settings.unwrap_or(&default);
        let timeout_ms = u32::try_from(origin.timeout.as_millis()).unwrap_or(u32::MAX);
        let asks_per_miss = (settings.fetches_per_miss * FETCH) as u32;
        let config = PrefetchConfig {
            bucket: BucketConfig { asks_per_miss, ..BucketConfig::default() },
            origin: OriginConfig {
                fetches_max: u32::try_from(origin.connections_max).unwrap_or(u32::MAX),
                slow_ms: timeout_ms / 2,
                ..OriginConfig::default()
            },
            known_bytes_max: settings.known_bytes,
            ..PrefetchConfig::default()
        };
        Self {
            prefetcher: Prefetcher::new(config),
            config,
            seated: None,
            reason: None,
            before: PrefetchCounters::default(),
            generation: 0,
            asks: vec![Ask::ZERO; ASKS_MAX],
            asked_keys: vec![0; ASKED_KEYS_BYTES_MAX],
        }
    }

    /// True where a policy is at work.
    pub(crate) fn is_on(&self) -> bool {
        self.seated.is_some()
    }

    /// Another policy, or none for this reason, is at work from now on. It starts with nothing.
    pub(crate) fn seat(&mut self, seated: Option<Ready<PrefetchPolicy>>, reason: Option<String>) {
        let keys_bytes_max = match &seated {
            Some(seated) if seated.policy.wants_keys() => KEYS_BYTES_MAX,
            _ => 0,
        };
        self.before = self.counters();
        self.prefetcher = Prefetcher::new(PrefetchConfig { keys_bytes_max, ..self.config });
        self.generation += 1;
        (self.seated, self.reason) = (seated, reason);
    }

    /// A request.
    pub(crate) fn accessed(&mut self, access: Accessed<'_>) {
        if self.seated.is_some() {
            self.prefetcher.accessed(access);
        }
    }

    /// An entry left the cache, displaced by another one's prefetch or for another reason.
    pub(crate) fn left(&mut self, hash: u64, by: Option<u64>, now_ms: u64) {
        if self.seated.is_none() {
            return;
        }
        self.prefetcher.left(hash, now_ms);
        if let Some(by) = by {
            self.prefetcher.displaced(hash, by);
        }
    }

    /// A fetch of this generation ended.
    pub(crate) fn landed(&mut self, (hash, generation): (u64, u64), landing: Landing, now_ms: u64) {
        if generation == self.generation {
            self.prefetcher.landed(hash, landing, now_ms);
        }
    }

    /// Lets the policy hear what is due, and adds what is to be fetched to `orders`.
    ///
    /// # Errors
    ///
    /// The fault of a policy that broke its contract, and what it was; nobody is at work then.
    pub(crate) fn advance(
        &mut self,
        known: &Known<'_>,
        now_ms: u64,
        orders: &mut Vec<Order>,
    ) -> Result<(), Box<(PrefetchPolicy, PolicyFault)>> {
        let mut fetches = Vec::new();
        while let Some(seated) = &mut self.seated
            && self.prefetcher.is_due()
        {
            let mut asks = Asks::new(&mut self.asks, &mut self.asked_keys);
            let (accesses, keys) = self.prefetcher.batch();
            if let Err(fault) = seated.instance.predict(accesses, keys, &mut asks) {
                let reason = format!("policy `{}`: {fault}", seated.policy.name());
                let policy = seated.policy.clone();
                self.seat(None, Some(reason));
                return Err(Box::new((policy, fault)));
            }
            self.prefetcher.answered(&asks, known, now_ms, &mut fetches);
            let generation = self.generation;
            orders.extend(fetches.drain(..).map(|fetch| Order { fetch, generation }));
        }
        Ok(())
    }

    /// Lines that the policy wrote to its log.
    pub(crate) fn take_log(&mut self) -> Vec<String> {
        self.seated.as_mut().map(|seated| seated.instance.take_log()).unwrap_or_default()
    }

    /// How it stands. Cost: a few words to copy, and the policy's name.
    pub(crate) fn show(&self, shown: &mut PrefetchShown) {
        let seated = self.seated.as_ref();
        let name = seated.map(|seated| seated.policy.name());
        if shown.policy.as_deref() != name {
            shown.policy = name.map(str::to_owned);
            shown.params = seated.map(|seated| seated.policy.params().to_owned());
        }
        if shown.reason != self.reason {
            shown.reason.clone_from(&self.reason);
        }
        shown.is_throttled = seated.is_some() && self.prefetcher.is_off();
        shown.under_way = self.prefetcher.under_way() as u64;
        shown.places = self.prefetcher.places();
        shown.counters = self.counters();
        shown.guest_ns = seated.map_or(0, |seated| seated.instance.guest_ns());
        shown.guest_bytes = seated.map_or(0, |seated| seated.instance.memory_bytes());
    }

    /// Of all policies since the start.
    fn counters(&self) -> PrefetchCounters {
        let (mut sum, last) = (self.before, self.prefetcher.counters());
        for (sum, last) in [
            (&mut sum.requests, last.requests),
            (&mut sum.misses, last.misses),
            (&mut sum.asks, last.asks),
            (&mut sum.fetches, last.fetches),
            (&mut sum.landed, last.landed),
            (&mut sum.useful, last.useful),
            (&mut sum.late, last.late),
            (&mut sum.wasted, last.wasted),
            (&mut sum.failed, last.failed),
            (&mut sum.absent, last.absent),
            (&mut sum.polluted, last.polluted),
            (&mut sum.refused_budget, last.refused_budget),
            (&mut sum.refused_resident, last.refused_resident),
            (&mut sum.refused_queue, last.refused_queue),
            (&mut sum.refused_unknown, last.refused_unknown),
        ] {
            *sum += last;
        }
        sum
    }
}
