//! The cache that services embed: shards behind one face.
//!
//! It owns which shard a key belongs to, what is done when the locks are open again (listeners,
//! drops), and who is appointed to the seats. It must not know how a shard works inside.

mod ahead;
mod builder;
mod control;
mod iter;
mod load;
mod locked;
mod observe;
mod publish;
mod read;
mod write;

use std::hash::{BuildHasher, Hash};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

pub use self::builder::{BuildError, CacheBuilder};
pub use self::control::{Arm, Handover, PolicyEvent, SeatError, SeatStatus};
pub use self::iter::Iter;
pub use self::load::Ahead;
pub use self::locked::Locked;
pub use self::observe::Resident;
pub use self::write::Change;

use self::control::Control;
use crate::clock::Clock;
use crate::flight::Flights;
use crate::hashing::{DefaultHashBuilder, Keys, shard_of};
use crate::live::{Aftermath, LiveShard, Rare};
use crate::model_shelf::ModelShelf;
use crate::options::Cause;
use crate::quarantine::Quarantine;
use crate::stats::Stats;
use crate::sync::{AtomicU64, Mutex, Relaxed};

type Weigher<K, V> = Box<dyn Fn(&K, &V) -> u32 + Send + Sync>;
type Listener<K, V> = Box<dyn Fn(K, V, Cause) + Send + Sync>;
type PolicyListener = Box<dyn Fn(&PolicyEvent) + Send + Sync>;

/// A bounded, concurrent cache whose eviction policy can be changed while it serves.
///
/// Any number of threads may use it; cloning shares it. A hit takes one short lock and calls no
/// policy; what a policy must know is noted, and handed over in batches by whichever thread finds a
/// batch full. The weight that is resident never passes capacity and slack. `Hash`, `Eq` and `Clone`
/// of the user's types run under a lock and must not call the cache; weighers, loaders, listeners and
/// the drop of values run under none.
///
/// ```
/// use ostler_core::Cache;
///
/// let cache: Cache<String, u32> = Cache::builder(10_000).build()?;
/// let _ = cache.insert("seven".to_owned(), 7);
/// assert_eq!(cache.get("seven"), Some(7));
/// assert_eq!(cache.get("eight"), None);
/// # Ok::<(), ostler_core::BuildError>(())
/// ```
pub struct Cache<K, V, S = DefaultHashBuilder> {
    inner: Arc<Inner<K, V, S>>,
}

impl<K, V, S> Clone for Cache<K, V, S> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

struct Inner<K, V, S> {
    shards: Box<[LiveShard<K, V, S>]>,
    keys: Keys<S>,
    clock: Arc<dyn Clock>,
    weigher: Option<Weigher<K, V>>,
    listener: Option<Listener<K, V>>,
    policy_listener: Option<PolicyListener>,
    listener_panics: AtomicU64,
    loads: Arc<Flights<K, V, S>>,
    quarantine: Arc<Quarantine>,
    models: Arc<ModelShelf>,
    control: Control,
    /// Held by whoever changes the tap.
    tap_turn: Mutex<Option<Arc<dyn crate::tap::Tap>>>,
    /// None stands for a 64th of the capacity.
    slack: Option<u64>,
}

impl<K: Hash + Eq, V> Cache<K, V> {
    /// Settings for a cache of this capacity: a number of entries, or the sum of their weights where
    /// there is a [weigher](CacheBuilder::weigher).
    ///
    /// ```
    /// use ostler_core::Cache;
    ///
    /// let cache: Cache<String, u32> = Cache::builder(10_000).shards(2).build()?;
    /// assert_eq!(cache.capacity(), 10_000);
    /// # Ok::<(), ostler_core::BuildError>(())
    /// ```
    pub fn builder(capacity: u64) -> CacheBuilder<K, V> {
        CacheBuilder::new(capacity)
    }
}

impl<K: Hash + Eq, V, S: BuildHasher + Clone> Cache<K, V, S> {
    /// What the cache did so far and holds now. Cost: each shard's lock once.
    ///
    /// ```
    /// # let cache = ostler_core::Cache::<u32, u32>::builder(10).build()?;
    /// let _ = (cache.insert(1, 1), cache.get(&1), cache.get(&2));
    /// let stats = cache.stats();
    /// assert_eq!((stats.entries, stats.hits, stats.misses), (1, 1, 1));
    /// # Ok::<(), ostler_core::BuildError>(())
    /// ```
    #[must_use]
    pub fn stats(&self) -> Stats {
        let mut stats =
            Stats { listener_panics: self.inner.listener_panics.load(Relaxed), ..Stats::default() };
        for shard in &self.inner.shards {
            shard.add_stats(&mut stats);
        }
        stats
    }

    /// Number of entries; some may have expired and wait to be reaped. Cost: each shard's lock once.
    ///
    /// ```
    /// # let cache = ostler_core::Cache::<u32, u32>::builder(10).build()?;
    /// let _ = cache.insert(1, 1);
    /// assert_eq!(cache.len(), 1);
    /// # Ok::<(), ostler_core::BuildError>(())
    /// ```
    #[must_use]
    pub fn len(&self) -> u64 {
        self.stats().entries
    }

    /// True where nothing is resident.
    ///
    /// ```
    /// # let cache = ostler_core::Cache::<u32, u32>::builder(10).build()?;
    /// assert!(cache.is_empty());
    /// # Ok::<(), ostler_core::BuildError>(())
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sum of the residents' weights.
    ///
    /// ```
    /// # use ostler_core::Cache;
    /// let weigher = |_: &u32, value: &String| value.len() as u32;
    /// let cache = Cache::<u32, String>::builder(100).weigher(weigher).build()?;
    /// let _ = cache.insert(1, "four".to_owned());
    /// assert_eq!(cache.weight(), 4);
    /// # Ok::<(), ostler_core::BuildError>(())
    /// ```
    #[must_use]
    pub fn weight(&self) -> u64 {
        self.stats().weight
    }

    /// Sum of weights that the policies keep. What may come on top until they have been asked is
    /// [`Stats::slack`].
    ///
    /// ```
    /// # let cache = ostler_core::Cache::<u32, u32>::builder(10).build()?;
    /// assert_eq!(cache.capacity(), 10);
    /// # Ok::<(), ostler_core::BuildError>(())
    /// ```
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.stats().capacity
    }

    /// Does what is due now instead of at the next occasion: hands all notes over, reaps what has
    /// expired, restores policies that lost their seat where that is configured.
    ///
    /// Nobody needs to call it for the bounds to hold; call it now and then where entries expire and
    /// the cache may be idle. Cost: a maintenance for each shard.
    ///
    /// ```
    /// # let cache = ostler_core::Cache::<u32, u32>::builder(10).build()?;
    /// let _ = cache.insert(1, 1);
    /// cache.run_pending();
    /// # Ok::<(), ostler_core::BuildError>(())
    /// ```
    pub fn run_pending(&self) {
        for shard in &self.inner.shards {
            for _ in 0..shard.turns_max() {
                let mut after = self.after();
                let more = shard.run_pending(&mut after);
                if !more {
                    break;
                }
            }
        }
        self.restore_due();
    }

    /// Asserts every invariant of every shard. O(entries); for tests and fuzzers, when no other
    /// thread is at work.
    ///
    /// # Panics
    ///
    /// Where an invariant is broken.
    #[doc(hidden)]
    pub fn validate(&self) {
        self.inner.shards.iter().for_each(LiveShard::validate);
    }

    #[inline]
    fn shard(&self, hash: u64) -> &LiveShard<K, V, S> {
        &self.inner.shards[shard_of(hash, self.inner.shards.len())]
    }

    /// A place for what an operation leaves to be done.
    #[inline]
    fn after(&self) -> After<'_, K, V, S> {
        After { cache: self, after: Aftermath::default() }
    }

    /// Does what an operation left to do. No lock is held.
    #[inline]
    fn finish(&self, after: Aftermath<K, V>) {
        drop(After { cache: self, after });
    }

    #[inline(never)]
    fn settle(&self, after: Aftermath<K, V>) {
        let (left, rare) = after.into_parts();
        self.settle_rare(rare);
        if let Some(listener) = &self.inner.listener {
            for (key, value, cause) in left.into_entries() {
                let heard = catch_unwind(AssertUnwindSafe(|| listener(key, value, cause)));
                if heard.is_err() {
                    self.inner.listener_panics.fetch_add(1, Relaxed);
                }
            }
        } else {
            drop(left);
        }
    }

    fn settle_rare(&self, rare: Option<Box<Rare>>) {
        let Some(rare) = rare else { return };
        drop(rare.retired);
        for line in rare.logs {
            tracing::debug!(target: "ostler::policy", "{line}");
        }
        for (source, fault) in rare.faults {
            self.note_fault(&*source, fault);
        }
        for source in rare.bereaved {
            self.note_bereaved(&*source);
        }
    }

    fn tell(&self, event: &PolicyEvent) {
        let Some(listener) = &self.inner.policy_listener else { return };
        if catch_unwind(AssertUnwindSafe(|| listener(event))).is_err() {
            self.inner.listener_panics.fetch_add(1, Relaxed);
        }
    }
}

/// What an operation leaves to be done, done when this drops: also where a panic of the user's code ends
/// the operation half-way, so that nothing leaves unheard.
struct After<'a, K: Hash + Eq, V, S: BuildHasher + Clone> {
    cache: &'a Cache<K, V, S>,
    after: Aftermath<K, V>,
}

impl<K: Hash + Eq, V, S: BuildHasher + Clone> std::ops::Deref for After<'_, K, V, S> {
    type Target = Aftermath<K, V>;

    #[inline]
    fn deref(&self) -> &Aftermath<K, V> {
        &self.after
    }
}

impl<K: Hash + Eq, V, S: BuildHasher + Clone> std::ops::DerefMut for After<'_, K, V, S> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Aftermath<K, V> {
        &mut self.after
    }
}

impl<K: Hash + Eq, V, S: BuildHasher + Clone> Drop for After<'_, K, V, S> {
    #[inline]
    fn drop(&mut self) {
        let unheard = self.cache.inner.listener.is_none() && self.after.is_plain();
        if !unheard && !self.after.is_empty() {
            self.cache.settle(std::mem::take(&mut self.after));
        }
    }
}

impl<K, V, S> std::fmt::Debug for Cache<K, V, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache").field("shards", &self.inner.shards.len()).finish_non_exhaustive()
    }
}
