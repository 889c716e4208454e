//! Keys and values as the fronts see them, and one cache's entries under lock.
//!
//! Several databases can live in one cache: the first byte of a key tells them apart. It is the home of
//! its database, which `Databases` knows. Every write goes through here, so that sizes of databases, the
//! tracking of clients and weights cannot be forgotten.
//! It must not know protocols.

mod advance;
mod charge;
mod sizes;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use hipstr::HipByt;
use ostler_core::{
    BuildError, Cache, Cause, Clock, DefaultHashBuilder, InsertOptions, InstanceSource, Locked,
    PolicyEvent, Snapshot, Stats, Stored, Ttl, Version,
};
use parking_lot::Mutex;
use triomphe::ThinArc;

use self::sizes::Sizes;
use crate::clock::ServerClock;
use crate::fetching::demand::Demand;
use crate::notifications::{Event, Notifications};
use crate::tracking::Tracking;

pub(crate) use self::advance::Purpose;
pub(crate) use self::sizes::{STRIPES, stripe};

/// Databases that a server has.
pub const DATABASES: u8 = 16;
/// Longest key, bytes.
pub const KEY_LEN_MAX: usize = 1 << 20;
/// What an entry takes beside what is allocated for its key and value, bytes. Measured with a million
/// entries under the default policy as growth of resident memory: 40 for the place, where a key of up
/// to `KEY_INLINE_LEN_MAX` bytes is stored, 8 for birth and weight, 6 to 11 for the table, 4 for the
/// view of the policy, some 30 for the policy itself. Policies that keep more take more than this; the
/// bound on memory has a tenth of the capacity for them.
pub const ENTRY_OVERHEAD_BYTES: u32 = 96;
/// Longest key without an allocation of its own, bytes.
const KEY_INLINE_LEN_MAX: usize = HipByt::<'static>::inline_capacity() - 1;
/// What a longer key takes beside its bytes: a counter, and where they are.
const KEY_HEADER_BYTES: usize = 32;
/// What a value takes beside its bytes: a counter and its length.
const VALUE_HEADER_BYTES: usize = 16;
/// Bytes that the processor's cache takes in at a time.
const LINE_BYTES: usize = 64;
/// Lines of a value that are fetched ahead to be read: the processor guesses those of a longer one.
const LINES_READ: usize = 16;
/// The same to be written. More gain nothing: writes of whole lines do not wait for them.
const LINES_WRITTEN: usize = 4;

/// More than any machine has: what the engine may hold where the server keeps the bound.
const UNBOUND_BYTES: u64 = 1 << 48;

/// The number of a database, below [`DATABASES`].
pub type DatabaseIndex = u8;

/// The number of a home, below [`DATABASES`]: where a database lives.
/// [`Databases`](crate::databases::Databases) knows which.
pub type HomeIndex = u8;

/// Who writes: a client's number, or 0 for the HTTP API and the server itself.
pub type Writer = u64;

/// A key with the home of its database in front.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key(HipByt<'static>);

impl Key {
    /// The key `name` of the database that lives in `home`.
    #[must_use]
    pub fn new(home: HomeIndex, name: &[u8]) -> Self {
        let mut bytes = HipByt::with_capacity(name.len() + 1);
        bytes.push(home);
        bytes.push_slice(name);
        Self(bytes)
    }

    /// The home of its database.
    #[must_use]
    pub fn home(&self) -> HomeIndex {
        self.0.first().copied().unwrap_or_default()
    }

    /// What clients call it.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        self.0.get(1..).unwrap_or_default()
    }

    /// Home and name, as the cache hashes them.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::borrow::Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

/// A value: bytes, counted by reference, one pointer wide. Cloning copies no bytes.
#[derive(Clone, Debug)]
pub struct Value(ThinArc<(), u8>);

impl Value {
    /// A value of these bytes.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self(ThinArc::from_header_and_slice((), bytes))
    }
}

impl std::ops::Deref for Value {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.0.slice
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        Self::new(bytes)
    }
}

/// When an entry ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// When the entry before would have ended, never where there was none.
    Keep,
    /// Never.
    Never,
    /// At this time, milliseconds since 1970. A time that is over deletes the entry.
    At(u64),
}

/// Why nothing was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The entry is larger than one shard of the cache.
    #[error("the entry weighs {weight} bytes, at most {weight_max} fit: raise the capacity")]
    TooHeavy {
        /// Its weight.
        weight: u64,
        /// The largest weight.
        weight_max: u64,
    },
}

/// One cache with its name: the unit that has a capacity and a policy.
pub struct Keyspace {
    name: String,
    cache: Cache<Key, Value, DefaultHashBuilder>,
    clock: ServerClock,
    sizes: Arc<Sizes>,
    tracking: Arc<Tracking>,
    notifications: Arc<Notifications>,
    /// Who hears of requests, none where nothing is fetched ahead of them.
    demand: Option<Arc<Demand>>,
    shards: u64,
    /// Kept beside the cache, which would lock its shards to tell: writes ask under such a lock.
    weight_max: AtomicU64,
    /// What it may hold, whoever sees to that.
    capacity_bytes: AtomicU64,
    /// What the engine lets the entries weigh. Held while that changes.
    engine_bytes: Mutex<u64>,
    /// Entries that the server evicted in the policy's place.
    evicted: AtomicU64,
}

/// What a keyspace is made with.
pub struct KeyspaceSetup {
    /// Its name.
    pub name: String,
    /// Bytes it may hold.
    pub capacity_bytes: u64,
    /// Shards, none for the engine's choice.
    pub shards: Option<usize>,
    /// The policy in charge; where there is none the engine evicts by itself.
    pub policy: Option<Arc<dyn InstanceSource>>,
    /// Faults of a policy before it is quarantined, none for the engine's choice.
    pub faults_max: Option<u32>,
    /// Policies' code that it does not trust from the start.
    pub quarantined: Vec<String>,
    /// Something may be fetched for it ahead of requests.
    pub has_origin: bool,
    /// Hears what happens to its policy.
    pub on_policy: Box<dyn Fn(&PolicyEvent) + Send + Sync>,
}

impl Keyspace {
    /// An empty one.
    ///
    /// # Errors
    ///
    /// As [`ostler_core::CacheBuilder::build`].
    pub fn try_new(
        setup: KeyspaceSetup,
        clock: ServerClock,
        tracking: Arc<Tracking>,
        notifications: Arc<Notifications>,
    ) -> Result<Self, BuildError> {
        let sizes = Arc::new(Sizes::default());
        let (left, heard) = (Arc::clone(&sizes), Arc::clone(&tracking));
        let teller = Arc::clone(&notifications);
        let demand = setup.has_origin.then(|| Arc::new(Demand::default()));
        let listening = demand.clone();
        let mut builder = Cache::<Key, Value>::builder(setup.capacity_bytes)
            .clock(clock)
            .weigher(|key: &Key, value: &Value| weight_of(key.name().len(), value.len()))
            .quarantined(setup.quarantined)
            .on_policy(setup.on_policy)
            .on_removal(move |key: Key, _, cause| {
                left.add(key.home(), -1);
                if let Some(demand) = &listening {
                    demand.left(key.as_bytes(), cause);
                }
                // Writes by clients are told where they are made.
                let event = match cause {
                    Cause::Expired => Event::EXPIRED,
                    Cause::Evicted | Cause::Rejected => Event::EVICTED,
                    _ => return,
                };
                heard.touched(&key, 0);
                teller.tell_key(event, key.as_bytes());
            });
        if let Some(policy) = setup.policy {
            builder = builder.policy(policy);
        }
        if let Some(shards) = setup.shards {
            builder = builder.shards(shards);
        }
        if let Some(faults_max) = setup.faults_max {
            builder = builder.faults_max(faults_max);
        }
        let cache = builder.build()?;
        let shards = cache.stats().shards;
        let weight_max = AtomicU64::new(weight_max_of(setup.capacity_bytes, shards));
        Ok(Self {
            name: setup.name,
            cache,
            clock,
            sizes,
            tracking,
            notifications,
            demand,
            shards,
            weight_max,
            capacity_bytes: AtomicU64::new(setup.capacity_bytes),
            engine_bytes: Mutex::new(setup.capacity_bytes),
            evicted: AtomicU64::new(0),
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The cache: for statistics, policy and maintenance. Writes go through the keyspace.
    #[must_use]
    pub fn cache(&self) -> &Cache<Key, Value, DefaultHashBuilder> {
        &self.cache
    }

    /// The clock of its entries.
    #[must_use]
    pub fn clock(&self) -> &ServerClock {
        &self.clock
    }

    /// Entries in `home`.
    #[must_use]
    pub fn size(&self, home: HomeIndex) -> u64 {
        self.sizes.get(home)
    }

    /// The heaviest entry that can be stored.
    #[must_use]
    pub fn weight_max(&self) -> u64 {
        self.weight_max.load(Relaxed)
    }

    /// What it holds and did, with the server's own evictions among the native ones. Cost: each shard's
    /// lock once.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let mut stats = self.cache.stats();
        let evicted = self.evicted.load(Relaxed);
        stats.capacity = self.capacity_bytes();
        stats.evicted += evicted;
        stats.evicted_natively += evicted;
        stats.removed = stats.removed.saturating_sub(evicted);
        stats
    }

    /// What it may hold, bytes.
    #[must_use]
    pub fn capacity_bytes(&self) -> u64 {
        self.capacity_bytes.load(Relaxed)
    }

    /// Changes what it may hold, bytes. Its policy evicts what is too much, in bounded turns.
    pub fn resize(&self, capacity_bytes: u64) {
        self.bound(capacity_bytes, capacity_bytes);
    }

    /// Changes what it may hold, bytes, and leaves it to the caller that it holds no more: its policy
    /// evicts nothing any more, until the next [`resize`](Self::resize).
    pub fn release(&self, capacity_bytes: u64) {
        self.bound(capacity_bytes, UNBOUND_BYTES);
    }

    fn bound(&self, capacity_bytes: u64, engine_bytes: u64) {
        let mut bound_bytes = self.engine_bytes.lock();
        *bound_bytes = engine_bytes;
        self.capacity_bytes.store(capacity_bytes, Relaxed);
        self.weight_max.store(weight_max_of(engine_bytes, self.shards), Relaxed);
        self.cache.resize(engine_bytes);
    }

    /// Evicts the entry of `key` in the policy's place, if it is one that will end. True where it did.
    pub fn evict_ending(&self, key: &Key) -> bool {
        let evicted = self.with_entry(key, 0, |entry| {
            entry.peek().is_some_and(|found| found.remaining.is_some()) && entry.remove()
        });
        if evicted {
            self.evicted.fetch_add(1, Relaxed);
            self.notifications.tell_key(Event::EVICTED, key.as_bytes());
        }
        evicted
    }

    /// Lets `read` see the value of `key`; a request. `read` runs under a lock: copy little in there,
    /// clone the value where it is large.
    #[inline]
    pub fn read<R>(&self, key: &[u8], read: impl FnOnce(&Value) -> R) -> Option<R> {
        let found = match &self.demand {
            None => self.cache.get_with(key, read),
            Some(demand) => {
                let mut value_len = None;
                let found = self.cache.get_with(key, |value| {
                    value_len = Some(value.len());
                    read(value)
                });
                demand.requested(key, value_len);
                found
            }
        };
        if found.is_none() && self.notifications.is_on() {
            self.notifications.tell_key(Event::MISS, key);
        }
        found
    }

    /// The hash of `key`, for [`warm`](Self::warm).
    #[inline]
    pub(crate) fn hash(&self, key: &[u8]) -> u64 {
        self.cache.hash(key)
    }

    /// Brings into the processor's cache what reads of keys with these hashes need, for all of them at
    /// a time: worth its while from two keys on.
    pub(crate) fn warm(&self, hashes: &[u64]) {
        self.cache.warm(hashes, |value| touch(value, LINES_READ));
    }

    /// As [`warm`](Self::warm), for writes: they do not look into a value that they replace, but the
    /// next one of its size is written where it was.
    pub(crate) fn warm_to_write(&self, hashes: &[u64]) {
        self.cache.warm(hashes, |value| touch(value, LINES_WRITTEN));
    }

    /// Everything known of `key`; no request.
    #[must_use]
    pub fn entry(&self, key: &[u8]) -> Option<Snapshot<Value>> {
        self.cache.entry(key)
    }

    /// The version of `key`; no request.
    #[must_use]
    pub fn version(&self, key: &[u8]) -> Option<Version> {
        self.cache.version(key)
    }

    /// Stores `value` under `key`, whatever was there.
    ///
    /// # Errors
    ///
    /// [`WriteError`]; what was there stays.
    pub fn set(
        &self,
        key: Key,
        value: Value,
        end: End,
        writer: Writer,
    ) -> Result<Stored, WriteError> {
        self.weigh(key.name().len(), value.len())?;
        let Some(ttl) = self.ttl(end, self.clock.now_ms()) else {
            // Who watches an absent key hears that it was written, if only to be over at once.
            if !self.remove(&key, writer) {
                self.tracking.touched(&key, writer);
            }
            return Ok(Stored::Rejected);
        };
        self.sizes.add(key.home(), 1);
        // Told after the write: who reads the old value meanwhile is remembered before, and hears.
        let is_heard = self.tracking.is_on() || self.notifications.is_on();
        let told = is_heard.then(|| key.clone());
        let stored = match ttl {
            // The cache has no lifetimes of its own: an entry that is told none never ends.
            Ttl::Never => self.cache.insert(key, value),
            ttl => self.cache.insert_with(key, value, InsertOptions::new().end(ttl)),
        };
        if let Some(key) = told {
            self.tracking.touched(&key, writer);
            if stored == Stored::New {
                self.notifications.tell_key(Event::NEW, key.as_bytes());
            }
        }
        Ok(stored)
    }

    /// Removes `key`. True where it was there.
    pub fn remove(&self, key: &Key, writer: Writer) -> bool {
        let removed = self.cache.remove(key);
        if removed {
            self.tracking.touched(key, writer);
        }
        removed
    }

    /// Runs `work` on the entry of `key`, with its shard locked: for what reads and then writes.
    /// `work` must be short and must not use the keyspace.
    pub fn with_entry<R>(
        &self,
        key: &Key,
        writer: Writer,
        work: impl FnOnce(&mut Entry<'_, '_>) -> R,
    ) -> R {
        let (result, done) = self.cache.with_locked(std::slice::from_ref(key), |locked| {
            let mut entry = Entry { keyspace: self, locked, key, done: Done::default() };
            let result = work(&mut entry);
            (result, entry.done)
        });
        if done.written {
            self.tracking.touched(key, writer);
        }
        if let (Some(demand), Some(found)) = (&self.demand, done.asked) {
            demand.requested(key.as_bytes(), found);
        }
        if done.missed {
            self.notifications.tell_key(Event::MISS, key.as_bytes());
        }
        if done.created {
            self.notifications.tell_key(Event::NEW, key.as_bytes());
        }
        result
    }

    /// At most `slots_max` slots' entries from `cursor` on (0 at first), and the next cursor, 0 at the
    /// end. An entry that is there all the while is seen, as long as it is not overwritten by one so
    /// heavy that it has to wait for room.
    #[must_use]
    pub fn scan(&self, cursor: u64, slots_max: u32) -> (Vec<(Key, Value)>, u64) {
        self.cache.scan(cursor, slots_max)
    }

    /// Removes all entries of `home`, a slice at a time. Cost: O(entries of the cache).
    pub fn clear(&self, home: HomeIndex) {
        let mut cursor = 0;
        loop {
            let (entries, next) = self.scan(cursor, 1024);
            for (key, _) in entries.iter().filter(|(key, _)| key.home() == home) {
                self.cache.remove(key);
            }
            cursor = next;
            if cursor == 0 {
                break;
            }
        }
        self.tracking.flushed();
    }

    /// Removes all entries of all databases, a slice at a time. Cost: O(entries).
    pub fn clear_all(&self) {
        self.cache.clear();
        self.tracking.flushed();
    }

    fn weigh(&self, key_len: usize, value_len: usize) -> Result<u32, WriteError> {
        let (weight, weight_max) = (weight_of(key_len, value_len), self.weight_max());
        if u64::from(weight) > weight_max {
            return Err(WriteError::TooHeavy { weight: u64::from(weight), weight_max });
        }
        Ok(weight)
    }

    /// The engine's word for `end`, none where that is over.
    fn ttl(&self, end: End, now_ms: u64) -> Option<Ttl> {
        match end {
            End::Keep => Some(Ttl::Keep),
            End::Never => Some(Ttl::Never),
            End::At(unix_ms) => {
                let end_ms = self.clock.from_unix_ms(unix_ms);
                (end_ms > now_ms).then_some(Ttl::At(end_ms))
            }
        }
    }
}

/// Reads a byte of each of the first `lines_max` lines of `value`, and its last byte.
#[inline]
fn touch(value: &[u8], lines_max: usize) -> usize {
    let lines = value.iter().step_by(LINE_BYTES).take(lines_max);
    lines.chain(value.last()).map(|&byte| usize::from(byte)).sum()
}

/// The heaviest entry that can be stored where the capacity is dealt to so many shards.
fn weight_max_of(capacity_bytes: u64, shards: u64) -> u64 {
    (capacity_bytes / shards.max(1)).min(u64::from(u32::MAX))
}

/// What an entry of these lengths weighs: the bytes of memory that it takes, rounded as the allocator
/// rounds them. Saturates.
#[must_use]
pub fn weight_of(key_len: usize, value_len: usize) -> u32 {
    let key_bytes = if key_len <= KEY_INLINE_LEN_MAX {
        0
    } else {
        allocated_bytes(key_len.saturating_add(1)).saturating_add(KEY_HEADER_BYTES)
    };
    let bytes = allocated_bytes(value_len.saturating_add(VALUE_HEADER_BYTES))
        .saturating_add(key_bytes)
        .saturating_add(ENTRY_OVERHEAD_BYTES as usize);
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// What the allocator takes for `len` bytes, at least 1: a multiple of 16 up to 128, and above one of
/// four sizes between two powers of two. Without this a cache of 1-KiB values would take a fifth more
/// memory than its capacity.
fn allocated_bytes(len: usize) -> usize {
    let step = if len <= 128 { 16 } else { 1 << ((len - 1).ilog2() - 2) };
    len.checked_next_multiple_of(step).unwrap_or(usize::MAX)
}

/// One key's entry, or its absence, under lock; made by [`Keyspace::with_entry`].
pub struct Entry<'a, 'b> {
    keyspace: &'a Keyspace,
    locked: &'a mut Locked<'b, Key, Value, DefaultHashBuilder>,
    key: &'a Key,
    done: Done,
}

/// What was done to an entry: told when its lock is gone.
#[derive(Clone, Copy, Default)]
struct Done {
    written: bool,
    /// It was asked for, and found with a value of so many bytes, or not.
    asked: Option<Option<usize>>,
    /// It was asked for and was not there.
    missed: bool,
    /// It was not there before.
    created: bool,
}

impl Entry<'_, '_> {
    /// The value; a request.
    pub fn get(&mut self) -> Option<Value> {
        let found = self.locked.get(self.key);
        self.done.missed |= found.is_none();
        self.done.asked = Some(found.as_deref().map(<[u8]>::len));
        found
    }

    /// Everything known; no request.
    pub fn peek(&mut self) -> Option<Snapshot<Value>> {
        self.locked.entry(self.key)
    }

    /// When it ends, milliseconds since 1970: none where there is no entry, `Some(None)` for never.
    pub fn end_unix_ms(&mut self) -> Option<Option<u64>> {
        let now_ms = self.locked.now_ms();
        let remaining = self.peek()?.remaining;
        let clock = self.keyspace.clock;
        Some(remaining.map(|left| clock.to_unix_ms(now_ms + left.as_millis() as u64)))
    }

    /// The time, milliseconds since 1970: the same for all that is done here.
    #[must_use]
    pub fn now_unix_ms(&self) -> u64 {
        self.keyspace.clock.to_unix_ms(self.locked.now_ms())
    }

    /// Stores `value`.
    ///
    /// # Errors
    ///
    /// [`WriteError`]; what was there stays.
    pub fn set(&mut self, value: Value, end: End) -> Result<(), WriteError> {
        let weight = self.keyspace.weigh(self.key.name().len(), value.len())?;
        let Some(ttl) = self.keyspace.ttl(end, self.locked.now_ms()) else {
            self.remove();
            self.done.written = true;
            return Ok(());
        };
        self.done.written = true;
        self.keyspace.sizes.add(self.key.home(), 1);
        let options = InsertOptions::new().end(ttl);
        let stored = self.locked.insert(self.key.clone(), value, weight, options);
        self.done.created |= stored == Stored::New;
        Ok(())
    }

    /// Removes it. True where it was there.
    pub fn remove(&mut self) -> bool {
        let removed = self.locked.remove(self.key);
        self.done.written |= removed;
        removed
    }

    /// Moves its end. True where there is an entry.
    pub fn set_end(&mut self, end: End) -> bool {
        let now_ms = self.locked.now_ms();
        let moved = match self.keyspace.ttl(end, now_ms) {
            None => return self.remove(),
            Some(Ttl::At(end_ms)) => {
                let left = Duration::from_millis(end_ms - now_ms);
                self.locked.expire_after(self.key, Some(left))
            }
            Some(Ttl::Never) => self.locked.expire_after(self.key, None),
            Some(_) => self.peek().is_some(),
        };
        self.done.written |= moved;
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_weigh_what_the_allocator_takes() {
        let overhead = ENTRY_OVERHEAD_BYTES;
        // Length of the key, of the value, bytes beside the overhead.
        for (key_len, value_len, bytes) in [
            (0, 0, 16),
            (16, 64, 80),
            (22, 65, 96),
            (23, 112, 128 + 32 + 32),
            (0, 113, 160),
            (0, 240, 256),
            (0, 241, 320),
            (0, 1_024, 1_280),
            (200, 16_384, 20_480 + 32 + 224),
        ] {
            assert_eq!(weight_of(key_len, value_len), overhead + bytes, "{key_len} {value_len}");
        }
        assert_eq!(weight_of(1, usize::MAX), u32::MAX);
        assert_eq!(weight_of(usize::MAX, 1), u32::MAX);
        assert_eq!(KEY_INLINE_LEN_MAX, 22);
    }
}
