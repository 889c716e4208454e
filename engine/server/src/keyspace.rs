//! Keys and values as the fronts see them, and one cache's entries under lock.
//!
//! Several databases can live in one cache: the first byte of a key is its database. Every write goes
//! through here, so that sizes of databases, the tracking of clients and weights cannot be forgotten.
//! It must not know protocols.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use hipstr::HipByt;
use ostler_core::{
    BuildError, Cache, Cause, Clock, DefaultHashBuilder, InsertOptions, InstanceSource, Locked,
    PolicyEvent, Snapshot, Stored, Ttl, Version,
};
use triomphe::ThinArc;

use crate::clock::ServerClock;
use crate::notifications::{Event, Notifications};
use crate::tracking::Tracking;

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
/// Stripes of a counter that several threads move.
pub(crate) const STRIPES: usize = 8;

/// The number of a database, below [`DATABASES`].
pub type DatabaseIndex = u8;

/// Who writes: a client's number, or 0 for the HTTP API and the server itself.
pub type Writer = u64;

/// A key with its database in front.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key(HipByt<'static>);

impl Key {
    /// The key `name` of database `database`.
    #[must_use]
    pub fn new(database: DatabaseIndex, name: &[u8]) -> Self {
        let mut bytes = HipByt::with_capacity(name.len() + 1);
        bytes.push(database);
        bytes.push_slice(name);
        Self(bytes)
    }

    /// Its database.
    #[must_use]
    pub fn database(&self) -> DatabaseIndex {
        self.0.first().copied().unwrap_or_default()
    }

    /// What clients call it.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        self.0.get(1..).unwrap_or_default()
    }

    /// Database and name, as the cache hashes them.
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
    shards: u64,
    /// Kept beside the cache, which would lock its shards to tell: writes ask under such a lock.
    weight_max: AtomicU64,
}

/// What a keyspace is made with.
pub struct KeyspaceSetup {
    /// Its name.
    pub name: String,
    /// Bytes it may hold.
    pub capacity_bytes: u64,
    /// Shards, none for the engine's choice.
    pub shards: Option<usize>,
    /// The policy in charge.
    pub policy: Arc<dyn InstanceSource>,
    /// Faults of a policy before it is quarantined, none for the engine's choice.
    pub faults_max: Option<u32>,
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
        let mut builder = Cache::<Key, Value>::builder(setup.capacity_bytes)
            .policy(setup.policy)
            .clock(clock)
            .weigher(|key: &Key, value: &Value| weight_of(key.name().len(), value.len()))
            .on_policy(setup.on_policy)
            .on_removal(move |key: Key, _, cause| {
                left.add(key.database(), -1);
                // Writes by clients are told where they are made.
                let event = match cause {
                    Cause::Expired => Event::EXPIRED,
                    Cause::Evicted | Cause::Rejected => Event::EVICTED,
                    _ => return,
                };
                heard.touched(&key, 0);
                teller.tell(event, key.database(), key.name());
            });
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
            shards,
            weight_max,
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

    /// Entries in `database`.
    #[must_use]
    pub fn size(&self, database: DatabaseIndex) -> u64 {
        self.sizes.get(database)
    }

    /// The heaviest entry that can be stored.
    #[must_use]
    pub fn weight_max(&self) -> u64 {
        self.weight_max.load(Relaxed)
    }

    /// Changes what it may hold, bytes. Evicts what is too much, in bounded turns.
    pub fn resize(&self, capacity_bytes: u64) {
        self.weight_max.store(weight_max_of(capacity_bytes, self.shards), Relaxed);
        self.cache.resize(capacity_bytes);
    }

    /// Lets `read` see the value of `key`; a request. `read` runs under a lock: copy little in there,
    /// clone the value where it is large.
    #[inline]
    pub fn read<R>(&self, key: &[u8], read: impl FnOnce(&Value) -> R) -> Option<R> {
        let found = self.cache.get_with(key, read);
        if found.is_none() && self.notifications.is_on() {
            self.tell(Event::MISS, key);
        }
        found
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
            self.remove(&key, writer);
            return Ok(Stored::Rejected);
        };
        self.sizes.add(key.database(), 1);
        // Told after the write: who reads the old value meanwhile is remembered before, and hears.
        let is_heard = self.tracking.is_on() || self.notifications.is_on();
        let told = is_heard.then(|| key.clone());
        let stored = self.cache.insert_with(key, value, InsertOptions::new().end(ttl));
        if let Some(key) = told {
            self.tracking.touched(&key, writer);
            if stored == Stored::New {
                self.notifications.tell(Event::NEW, key.database(), key.name());
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
        if done.missed {
            self.tell(Event::MISS, key.as_bytes());
        }
        if done.created {
            self.tell(Event::NEW, key.as_bytes());
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

    /// Removes all entries of `database`, a slice at a time. Cost: O(entries of the cache).
    pub fn clear(&self, database: DatabaseIndex) {
        let mut cursor = 0;
        loop {
            let (entries, next) = self.scan(cursor, 1024);
            for (key, _) in entries.iter().filter(|(key, _)| key.database() == database) {
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

    /// Tells what happened to `key`, its database in front.
    fn tell(&self, event: Event, key: &[u8]) {
        if let Some((&database, name)) = key.split_first() {
            self.notifications.tell(event, database, name);
        }
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
                let left = self.clock.from_unix_ms(unix_ms).saturating_sub(now_ms);
                (left > 0).then(|| Ttl::After(Duration::from_millis(left)))
            }
        }
    }
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
            return Ok(());
        };
        self.done.written = true;
        self.keyspace.sizes.add(self.key.database(), 1);
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
            Some(Ttl::After(ttl)) => self.locked.expire_after(self.key, Some(ttl)),
            Some(Ttl::Never) => self.locked.expire_after(self.key, None),
            Some(_) => self.peek().is_some(),
        };
        self.done.written |= moved;
        moved
    }
}

/// Entries of each database. The engine tells of every entry that leaves, and every one that was put
/// in leaves once, so the difference is what is there.
#[derive(Default)]
struct Sizes {
    stripes: [Stripe; STRIPES],
}

#[derive(Default)]
#[repr(align(128))]
struct Stripe([AtomicI64; DATABASES as usize]);

impl Sizes {
    #[inline]
    fn add(&self, database: DatabaseIndex, change: i64) {
        self.stripes[stripe()].0[usize::from(database % DATABASES)].fetch_add(change, Relaxed);
    }

    fn get(&self, database: DatabaseIndex) -> u64 {
        let column = usize::from(database % DATABASES);
        let sum: i64 = self.stripes.iter().map(|stripe| stripe.0[column].load(Relaxed)).sum();
        sum.max(0) as u64
    }
}

/// The stripe of this thread.
#[inline]
pub(crate) fn stripe() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static MINE: Cell<usize> = Cell::new(NEXT.fetch_add(1, Relaxed) % STRIPES);
    }
    MINE.with(Cell::get)
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
