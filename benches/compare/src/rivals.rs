//! The published caches behind [`Contender`]. Each is generic over the hasher, so that the same code
//! makes its row with the shared hasher and its row with its own.

use std::hash::Hash;
use std::marker::PhantomData;
use std::num::NonZeroUsize;

use anyhow::{Context, Result};
use parking_lot::Mutex;

use crate::contender::{Bytes, Contender, Family, Hasher, Key, SharedHasher};

/// Turns at which a cache that puts work off is asked to do it, at most, before it is taken as it is.
const SETTLE_TURNS_MAX: usize = 64;

/// `quick_cache::sync::Cache`: S3-FIFO-like, sharded, no work put off.
pub struct QuickCache<S>(PhantomData<S>);
/// `moka::sync::Cache`: TinyLFU admission before LRU; reads and writes are logged and applied later.
pub struct Moka<S>(PhantomData<S>);
/// `mini_moka::sync::Cache`: moka's small sibling, with the same log.
pub struct MiniMoka<S>(PhantomData<S>);
/// `foyer_memory::Cache` with the eviction it has by default, LRU.
pub struct Foyer<S>(PhantomData<S>);
/// `foyer_memory::Cache` with S3-FIFO.
pub struct FoyerS3Fifo<S>(PhantomData<S>);
/// `tinyufo::TinyUfo`: S3-FIFO with a TinyLFU. It fixes its hasher and keeps no keys, only hashes.
pub struct TinyUfo;
/// `stretto::Cache` with the shared hasher: TinyLFU, applied by a thread of its own. It keeps no keys.
pub struct Stretto;
/// `stretto::Cache` as it comes: every key is hashed twice.
pub struct StrettoDefaults;
/// `lru::LruCache` under one `parking_lot::Mutex`.
pub struct MutexLru<S>(PhantomData<S>);
/// `dashmap::DashMap`, which evicts nothing: the ceiling, and no rival.
pub struct DashMap<S>(PhantomData<S>);

impl<S: Hasher> Family for QuickCache<S> {
    type Cache<K: Key> = quick_cache::sync::Cache<K, Bytes, quick_cache::UnitWeighter, S>;
}

impl<K: Key, S: Hasher> Contender<K>
    for quick_cache::sync::Cache<K, Bytes, quick_cache::UnitWeighter, S>
{
    fn build(capacity: usize) -> Result<Self> {
        let weighter = quick_cache::UnitWeighter;
        Ok(Self::with(capacity, capacity as u64, weighter, S::default(), Default::default()))
    }

    fn get(&self, key: &K) -> Option<Bytes> {
        self.get(key)
    }

    fn insert(&self, key: K, value: Bytes) {
        self.insert(key, value);
    }

    fn resident(&self) -> Option<usize> {
        Some(self.len())
    }
}

impl<S: Hasher> Family for Moka<S> {
    type Cache<K: Key> = moka::sync::Cache<K, Bytes, S>;
}

impl<K: Key, S: Hasher> Contender<K> for moka::sync::Cache<K, Bytes, S> {
    fn build(capacity: usize) -> Result<Self> {
        let builder = moka::sync::CacheBuilder::new(capacity as u64);
        Ok(builder.build_with_hasher(S::default()))
    }

    fn get(&self, key: &K) -> Option<Bytes> {
        self.get(key)
    }

    fn insert(&self, key: K, value: Bytes) {
        self.insert(key, value);
    }

    fn settle(&self) {
        settle_until(self.policy().max_capacity(), || {
            self.run_pending_tasks();
            self.entry_count()
        });
    }

    fn resident(&self) -> Option<usize> {
        usize::try_from(self.entry_count()).ok()
    }
}

impl<S: Hasher> Family for MiniMoka<S> {
    type Cache<K: Key> = mini_moka::sync::Cache<K, Bytes, S>;
}

impl<K: Key, S: Hasher> Contender<K> for mini_moka::sync::Cache<K, Bytes, S> {
    fn build(capacity: usize) -> Result<Self> {
        let builder = mini_moka::sync::CacheBuilder::new(capacity as u64);
        Ok(builder.build_with_hasher(S::default()))
    }

    fn get(&self, key: &K) -> Option<Bytes> {
        self.get(key)
    }

    fn insert(&self, key: K, value: Bytes) {
        self.insert(key, value);
    }

    fn settle(&self) {
        settle_until(self.policy().max_capacity(), || {
            mini_moka::sync::ConcurrentCacheExt::sync(self);
            self.entry_count()
        });
    }

    fn resident(&self) -> Option<usize> {
        usize::try_from(self.entry_count()).ok()
    }
}

/// Runs `turn` until the count it returns fits the capacity and two turns agree.
fn settle_until(capacity: Option<u64>, turn: impl Fn() -> u64) {
    let mut before = turn();
    for _ in 1..SETTLE_TURNS_MAX {
        let after = turn();
        if after == before && capacity.is_none_or(|capacity| after <= capacity) {
            return;
        }
        before = after;
    }
}

/// A foyer cache; the two evictions differ only in how it is built.
type FoyerCache<K, S> = foyer_memory::Cache<K, Bytes, S, foyer_memory::CacheProperties>;

/// [`FoyerCache`] that builds with S3-FIFO.
pub struct FoyerS3FifoCache<K: Key, S: Hasher>(FoyerCache<K, S>);

impl<S: Hasher> Family for Foyer<S> {
    type Cache<K: Key> = FoyerCache<K, S>;
}

impl<S: Hasher> Family for FoyerS3Fifo<S> {
    type Cache<K: Key> = FoyerS3FifoCache<K, S>;
}

impl<K: Key, S: Hasher> Contender<K> for FoyerCache<K, S> {
    fn build(capacity: usize) -> Result<Self> {
        let builder = foyer_memory::CacheBuilder::new(capacity);
        Ok(builder.with_hash_builder(S::default()).build())
    }

    fn get(&self, key: &K) -> Option<Bytes> {
        self.get(key).map(|entry| entry.value().clone())
    }

    fn insert(&self, key: K, value: Bytes) {
        self.insert(key, value);
    }

    fn resident(&self) -> Option<usize> {
        Some(self.entries())
    }
}

impl<K: Key, S: Hasher> Contender<K> for FoyerS3FifoCache<K, S> {
    fn build(capacity: usize) -> Result<Self> {
        let builder = foyer_memory::CacheBuilder::new(capacity)
            .with_eviction_config(foyer_memory::S3FifoConfig::default());
        Ok(Self(builder.with_hash_builder(S::default()).build()))
    }

    fn get(&self, key: &K) -> Option<Bytes> {
        Contender::get(&self.0, key)
    }

    fn insert(&self, key: K, value: Bytes) {
        Contender::insert(&self.0, key, value);
    }

    fn resident(&self) -> Option<usize> {
        self.0.resident()
    }
}

impl Family for TinyUfo {
    type Cache<K: Key> = tinyufo::TinyUfo<K, Bytes>;
}

impl<K: Key> Contender<K> for tinyufo::TinyUfo<K, Bytes> {
    fn build(capacity: usize) -> Result<Self> {
        Ok(Self::new(capacity, capacity))
    }

    fn get(&self, key: &K) -> Option<Bytes> {
        self.get(key)
    }

    fn insert(&self, key: K, value: Bytes) {
        self.put(key, value, 1);
    }

    fn resident(&self) -> Option<usize> {
        None
    }
}

/// How many counters stretto keeps an entry: what its documentation recommends.
const STRETTO_COUNTERS_PER_ENTRY: usize = 10;

/// Hashes a key once, with the shared hasher.
pub struct SharedKeyBuilder<K>(SharedHasher, PhantomData<K>);

impl<K: Key> stretto::KeyBuilder for SharedKeyBuilder<K> {
    type Key = K;

    fn hash_index<Q>(&self, key: &Q) -> u64
    where
        K: std::borrow::Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        std::hash::BuildHasher::hash_one(&self.0, key)
    }
}

/// Stretto's cache with what it has by default but for the key builder and the hasher.
type StrettoCache<K, KH, S> = stretto::Cache<
    K,
    Bytes,
    KH,
    stretto::DefaultCoster<Bytes>,
    stretto::DefaultUpdateValidator<Bytes>,
    stretto::DefaultCacheCallback<Bytes>,
    S,
>;

/// [`StrettoCache`] with the shared hasher.
pub struct StrettoShared<K: Key>(StrettoCache<K, SharedKeyBuilder<K>, SharedHasher>);

/// [`StrettoCache`] with stretto's own hashers.
pub struct StrettoOwn<K: Key>(
    StrettoCache<K, stretto::DefaultKeyBuilder<K>, std::hash::RandomState>,
);

impl Family for Stretto {
    type Cache<K: Key> = StrettoShared<K>;
}

impl Family for StrettoDefaults {
    type Cache<K: Key> = StrettoOwn<K>;
}

/// The same methods for both ways to build stretto: only the type of the key builder differs.
macro_rules! stretto_methods {
    () => {
        fn get(&self, key: &K) -> Option<Bytes> {
            self.0.get(key).map(|value| value.value().clone())
        }

        fn insert(&self, key: K, value: Bytes) {
            self.0.insert(key, value, 1);
        }

        fn settle(&self) {
            // An error means that the thread which applies the log is gone; then nothing is pending.
            drop(self.0.wait());
        }

        fn resident(&self) -> Option<usize> {
            Some(self.0.len())
        }
    };
}

impl<K: Key> Contender<K> for StrettoShared<K> {
    fn build(capacity: usize) -> Result<Self> {
        let counters = capacity * STRETTO_COUNTERS_PER_ENTRY;
        let keys = SharedKeyBuilder(SharedHasher::default(), PhantomData);
        let builder = stretto::CacheBuilder::new(counters, capacity as i64);
        let builder = builder.set_key_builder(keys).set_hasher(SharedHasher::default());
        Ok(Self(builder.finalize().context("stretto")?))
    }

    stretto_methods!();
}

impl<K: Key> Contender<K> for StrettoOwn<K> {
    fn build(capacity: usize) -> Result<Self> {
        let counters = capacity * STRETTO_COUNTERS_PER_ENTRY;
        let builder = stretto::CacheBuilder::new(counters, capacity as i64);
        Ok(Self(builder.finalize().context("stretto")?))
    }

    stretto_methods!();
}

impl<S: Hasher> Family for MutexLru<S> {
    type Cache<K: Key> = Mutex<lru::LruCache<K, Bytes, S>>;
}

impl<K: Key, S: Hasher> Contender<K> for Mutex<lru::LruCache<K, Bytes, S>> {
    fn build(capacity: usize) -> Result<Self> {
        let capacity = NonZeroUsize::new(capacity).context("lru needs a capacity above 0")?;
        Ok(Self::new(lru::LruCache::with_hasher(capacity, S::default())))
    }

    fn get(&self, key: &K) -> Option<Bytes> {
        self.lock().get(key).cloned()
    }

    fn insert(&self, key: K, value: Bytes) {
        // The value evicted leaves the lock before it is dropped.
        let _evicted = self.lock().push(key, value);
    }

    fn resident(&self) -> Option<usize> {
        Some(self.lock().len())
    }
}

impl<S: Hasher> Family for DashMap<S> {
    type Cache<K: Key> = dashmap::DashMap<K, Bytes, S>;
}

impl<K: Key, S: Hasher> Contender<K> for dashmap::DashMap<K, Bytes, S> {
    fn build(capacity: usize) -> Result<Self> {
        Ok(Self::with_capacity_and_hasher(capacity, S::default()))
    }

    fn get(&self, key: &K) -> Option<Bytes> {
        self.get(key).map(|entry| entry.value().clone())
    }

    fn insert(&self, key: K, value: Bytes) {
        self.insert(key, value);
    }

    fn resident(&self) -> Option<usize> {
        Some(self.len())
    }
}
