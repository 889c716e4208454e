//! The state machine between a cache, a prefetch policy and an origin.
//!
//! Who drives it, in order: [`accessed`](Prefetcher::accessed) for every request, and while
//! [`is_due`](Prefetcher::is_due), the policy is called with [`batch`](Prefetcher::batch) and its
//! answer goes to [`answered`](Prefetcher::answered), which says what to fetch. Every fetch ends in
//! one [`landed`](Prefetcher::landed). Entries that leave the cache are told where that is known.
//!
//! Hits wait for the next request that is none, as they change nothing that a policy could ask for;
//! so the answers equal those of one call a request for every policy that asks on misses only.

use ostler_abi::{Access, AccessKind, Asks, KEY_BYTES_MAX, Refusal};

use super::bounded::Bounded;
use super::bucket::{Bucket, BucketConfig};
use super::catalog::Catalog;
use super::figures::PrefetchCounters;
use super::flights::{Flight, Flights};
use super::known::KnownKeys;
use super::origin::{Origin, OriginConfig};

/// Records that one operation may note: a batch is due while there is still room for them.
const NOTES_MAX: usize = 4;

/// The bounds of a [`Prefetcher`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefetchConfig {
    /// What may be asked for.
    pub bucket: BucketConfig,
    /// How much the origin is asked at once.
    pub origin: OriginConfig,
    /// Bytes for keys that policies may ask for by their hashes.
    pub known_bytes_max: usize,
    /// Prefetched entries that are followed until their first hit; the oldest counts as wasted where
    /// there are more.
    pub unused_max: u32,
    /// Entries displaced by prefetched ones that are remembered, to count pollution.
    pub displaced_max: u32,
    /// Records of a batch, at least 8: what the policy's window holds.
    pub batch_len_max: u32,
    /// Bytes of keys in a batch: what the policy's keys window holds; 0 where it wants no keys.
    pub keys_bytes_max: u32,
}

impl Default for PrefetchConfig {
    fn default() -> Self {
        Self {
            bucket: BucketConfig::default(),
            origin: OriginConfig::default(),
            known_bytes_max: 16 << 20,
            unused_max: 65_536,
            displaced_max: 65_536,
            batch_len_max: 256,
            keys_bytes_max: 64 << 10,
        }
    }
}

/// One request, as the cache served it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accessed<'a> {
    /// Hash of the key, stable for the life of the cache.
    pub hash: u64,
    /// The key, where its bytes are at hand.
    pub key: Option<&'a [u8]>,
    /// Milliseconds since the cache started.
    pub time_ms: u64,
    /// The caller's request class or hint, 0 if none.
    pub class: u8,
    /// Whether the request found its entry.
    pub is_hit: bool,
}

/// What to fetch. Ends in exactly one [`Prefetcher::landed`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// Hash of the key.
    pub hash: u64,
    /// The key.
    pub key: Box<[u8]>,
}

/// How a fetch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Landing {
    /// The entry came in.
    Stored,
    /// The entry was there already, or the cache did not keep it.
    Unneeded,
    /// The origin has no such entry.
    Absent,
    /// The origin failed or did not answer in time.
    Failed,
}

/// The host of one prefetch policy. See the file's header.
#[derive(Debug)]
pub struct Prefetcher {
    config: PrefetchConfig,
    bucket: Bucket,
    origin: Origin,
    known: KnownKeys,
    flights: Flights,
    /// Prefetched entries without a hit so far.
    unused: Bounded<()>,
    /// Entries that made room for prefetched ones, with the hash of that one.
    displaced: Bounded<u64>,
    /// Prefetched entries that left unused.
    wasted: Bounded<()>,
    counters: PrefetchCounters,
    batch: Vec<Access>,
    keys: Vec<u8>,
    /// The batch holds a request that a policy may ask on.
    is_urgent: bool,
    /// Asks of an answer in the order in which they are served: confidence, then index.
    order: Vec<(u32, usize)>,
}

impl Prefetcher {
    /// A host that has seen nothing.
    #[must_use]
    pub fn new(config: PrefetchConfig) -> Self {
        let config = PrefetchConfig {
            batch_len_max: config.batch_len_max.max(2 * NOTES_MAX as u32),
            ..config
        };
        Self {
            config,
            bucket: Bucket::new(config.bucket),
            origin: Origin::new(config.origin),
            known: KnownKeys::new(config.known_bytes_max),
            flights: Flights::new(),
            unused: Bounded::new(config.unused_max),
            displaced: Bounded::new(config.displaced_max),
            wasted: Bounded::new(config.displaced_max),
            counters: PrefetchCounters::default(),
            batch: Vec::new(),
            keys: Vec::new(),
            is_urgent: false,
            order: Vec::new(),
        }
    }

    /// Takes in a request and says what it was for the policy: a hit, a miss, the first hit of a
    /// prefetched entry, or a demand that overtook its prefetch.
    pub fn accessed(&mut self, access: Accessed<'_>) -> AccessKind {
        let hash = access.hash;
        self.counters.requests += 1;
        if let Some(key) = access.key {
            self.known.note(hash, key);
        }
        let is_unused = self.unused.take(hash).is_some();
        let kind = match (access.is_hit, is_unused) {
            (true, true) => AccessKind::Useful,
            (true, false) => AccessKind::Hit,
            (false, _) if self.flights.overtake(hash) => AccessKind::Late,
            (false, _) => AccessKind::Miss,
        };
        if access.is_hit {
            if is_unused {
                self.counters.useful += 1;
                self.bucket.useful();
            }
        } else {
            self.missed(hash, access.time_ms, is_unused);
        }
        if kind == AccessKind::Late {
            self.counters.late += 1;
            self.bucket.late();
        }
        self.is_urgent |= kind != AccessKind::Hit;
        let record =
            Access { time_ms: access.time_ms, class: access.class, ..Access::new(kind, hash) };
        self.note(record, access.key);
        kind
    }

    /// True where the policy is to be called: there is a request to ask on, or no room for more.
    #[must_use]
    pub fn is_due(&self) -> bool {
        let keys_bytes_max = self.config.keys_bytes_max as usize;
        self.is_urgent
            || self.batch.len() + NOTES_MAX > self.config.batch_len_max as usize
            || !self.keys.is_empty() && self.keys.len() + KEY_BYTES_MAX > keys_bytes_max
    }

    /// The records that the policy has not heard yet, and the keys they point to.
    #[must_use]
    pub fn batch(&self) -> (&[Access], &[u8]) {
        (&self.batch, &self.keys)
    }

    /// Takes the policy's answer to the whole [`batch`](Self::batch) and appends what is to be
    /// fetched. The surest asks are served first. Where the policy failed, an empty answer is right.
    pub fn answered(
        &mut self,
        asks: &Asks<'_>,
        catalog: &dyn Catalog,
        now_ms: u64,
        fetches: &mut Vec<Fetch>,
    ) {
        self.batch.clear();
        self.keys.clear();
        self.is_urgent = false;
        let mut order = std::mem::take(&mut self.order);
        order.clear();
        order.extend(asks.iter().enumerate().map(|(at, (ask, _))| (u32::MAX - ask.confidence, at)));
        order.sort_unstable();
        let made: Vec<_> = asks.iter().collect();
        for &(_, at) in &order {
            let (ask, key) = made[at];
            self.counters.asks += 1;
            match self.admit((ask.key_hash, key), catalog, now_ms) {
                Ok(fetch) => {
                    let asked = self.counters.requests;
                    let flight = Flight { asked, asked_ms: now_ms, is_late: false };
                    self.flights.begin(fetch.hash, flight);
                    self.counters.fetches += 1;
                    fetches.push(fetch);
                }
                Err((hash, refusal)) => self.refuse(hash, refusal, now_ms),
            }
        }
        self.order = order;
    }

    /// A fetch ended. Unknown hashes are ignored.
    pub fn landed(&mut self, hash: u64, landing: Landing, now_ms: u64) {
        let Some(flight) = self.flights.end(hash) else { return };
        match landing {
            Landing::Failed => self.origin.failed(now_ms),
            _ => self.origin.answered(now_ms.saturating_sub(flight.asked_ms)),
        }
        match landing {
            Landing::Stored if !flight.is_late => {
                self.counters.landed += 1;
                if let Some((oldest, ())) = self.unused.insert(hash, ()) {
                    self.wasted(oldest, now_ms);
                }
            }
            // Nothing to decide: a demand or a write was quicker.
            Landing::Stored | Landing::Unneeded => {
                if !flight.is_late {
                    self.bucket.late();
                }
            }
            Landing::Absent | Landing::Failed => {
                let is_absent = landing == Landing::Absent;
                self.counters.absent += u64::from(is_absent);
                self.counters.failed += u64::from(!is_absent);
                if !flight.is_late {
                    self.bucket.wasted();
                }
                self.tell(AccessKind::Wasted, hash, now_ms);
                return;
            }
        }
        let value = u32::try_from(self.counters.requests - flight.asked).unwrap_or(u32::MAX);
        let landed = Access { time_ms: now_ms, value, ..Access::new(AccessKind::Landed, hash) };
        self.note(landed, None);
    }

    /// An entry was evicted, removed, overwritten by a client or expired.
    pub fn left(&mut self, hash: u64, now_ms: u64) {
        if self.unused.take(hash).is_some() {
            self.wasted(hash, now_ms);
        }
    }

    /// The entry with this hash was evicted because the prefetched one with the hash `by` came in.
    /// [`left`](Self::left) is told as well.
    pub fn displaced(&mut self, hash: u64, by: u64) {
        self.displaced.insert(hash, by);
    }

    /// Counters since the start.
    #[must_use]
    pub const fn counters(&self) -> &PrefetchCounters {
        &self.counters
    }

    /// True while next to nothing is fetched because too little of it was useful.
    #[must_use]
    pub const fn is_off(&self) -> bool {
        self.bucket.is_off()
    }

    /// Fetches under way.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.flights.len()
    }

    /// Fetches that the origin gets at once as things are.
    #[must_use]
    pub const fn places(&self) -> u64 {
        self.origin.places()
    }

    /// The part of a miss that is not its record.
    fn missed(&mut self, hash: u64, time_ms: u64, was_unused: bool) {
        self.counters.misses += 1;
        self.bucket.miss();
        if was_unused {
            self.wasted(hash, time_ms);
        }
        // What was of use would have displaced the same entry when it was demanded.
        if let Some(by) = self.displaced.take(hash)
            && (self.unused.has(by) || self.wasted.has(by))
        {
            self.counters.polluted += 1;
        }
    }

    /// What is fetched for an ask, or the hash and why it is not.
    fn admit(
        &mut self,
        (hash, key): (u64, Option<&[u8]>),
        catalog: &dyn Catalog,
        now_ms: u64,
    ) -> Result<Fetch, (u64, Denial)> {
        let (hash, key) = match key {
            Some(key) => (catalog.hash_of(key).ok_or((hash, Denial::Unknown))?, key),
            None => (hash, self.known.get(hash).ok_or((hash, Denial::Unknown))?),
        };
        if self.flights.has(hash) || catalog.is_resident(hash, key) {
            return Err((hash, Denial::Refused(Refusal::Resident)));
        }
        if !self.origin.permits(self.flights.len(), now_ms) {
            return Err((hash, Denial::Refused(Refusal::Queue)));
        }
        if !self.bucket.pay() {
            return Err((hash, Denial::Refused(Refusal::Budget)));
        }
        Ok(Fetch { hash, key: key.into() })
    }

    fn refuse(&mut self, hash: u64, denial: Denial, now_ms: u64) {
        let counters = &mut self.counters;
        let (counter, refusal) = match denial {
            Denial::Refused(Refusal::Resident) => {
                (&mut counters.refused_resident, Refusal::Resident)
            }
            Denial::Refused(Refusal::Queue) => (&mut counters.refused_queue, Refusal::Queue),
            Denial::Refused(_) => (&mut counters.refused_budget, Refusal::Budget),
            Denial::Unknown => (&mut counters.refused_unknown, Refusal::Budget),
        };
        *counter += 1;
        // Half of the window stays free for what happens.
        if self.batch.len() < self.config.batch_len_max as usize / 2 {
            let value = refusal as u32;
            let record =
                Access { time_ms: now_ms, value, ..Access::new(AccessKind::Refused, hash) };
            self.batch.push(record);
        }
    }

    fn wasted(&mut self, hash: u64, now_ms: u64) {
        self.counters.wasted += 1;
        self.bucket.wasted();
        self.wasted.insert(hash, ());
        self.tell(AccessKind::Wasted, hash, now_ms);
    }

    fn tell(&mut self, kind: AccessKind, hash: u64, now_ms: u64) {
        self.note(Access { time_ms: now_ms, ..Access::new(kind, hash) }, None);
    }

    /// Appends a record to the batch, with its key where that is given or known and there is room. A
    /// record that does not fit is lost, which a driver that calls the policy while it is due does
    /// not let happen.
    fn note(&mut self, mut record: Access, key: Option<&[u8]>) {
        if self.batch.len() >= self.config.batch_len_max as usize {
            return;
        }
        let (at, keys_bytes_max) = (self.keys.len(), self.config.keys_bytes_max as usize);
        if let Some(key) = key.or_else(|| self.known.get(record.key_hash))
            && key.len() <= KEY_BYTES_MAX
            && at + key.len() <= keys_bytes_max
        {
            self.keys.extend_from_slice(key);
            (record.key_at, record.key_len) = (at as u32, key.len() as u32);
        }
        self.batch.push(record);
    }
}

/// Why an ask is not served.
enum Denial {
    Refused(Refusal),
    /// No such key is known.
    Unknown,
}
