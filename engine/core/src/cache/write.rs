//! Writing.

use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash};
use std::time::Duration;

use crate::cache::Cache;
use crate::live::Newcomer;
use crate::options::{InsertOptions, Stored, Ttl};

/// What [`Cache::compute`] is to do with an entry.
///
/// ```
/// use ostler_core::{Cache, Change};
///
/// let cache = Cache::<&str, u32>::builder(10).build()?;
/// // Counts down, and leaves at 0.
/// let step = |left: Option<&u32>| match left {
///     None => Change::Keep,
///     Some(1) => Change::Remove,
///     Some(left) => Change::Put(left - 1),
/// };
/// let _ = cache.insert("tries", 2);
/// assert_eq!(cache.compute("tries", step), Some(1));
/// assert_eq!(cache.compute("tries", step), None);
/// # Ok::<(), ostler_core::BuildError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Change<V> {
    /// Leave it as it is.
    Keep,
    /// Store this value.
    Put(V),
    /// Remove it.
    Remove,
}

impl<K: Hash + Eq, V, S: BuildHasher + Clone> Cache<K, V, S> {
    /// Stores `value` under `key` with the cache's own settings.
    ///
    /// Cost: as a hit, and two stores; one insert in many also calls the policy, and drops what that
    /// gave up. Where the shard is full and the policy busy for longer than the configured wait, the
    /// engine evicts by itself.
    ///
    /// ```
    /// # use ostler_core::{Cache, Stored};
    /// # let cache = Cache::<u32, u32>::builder(10).build()?;
    /// assert_eq!(cache.insert(1, 7), Stored::New);
    /// assert_eq!(cache.insert(1, 8), Stored::Replaced);
    /// # Ok::<(), ostler_core::BuildError>(())
    /// ```
    #[inline]
    pub fn insert(&self, key: K, value: V) -> Stored {
        self.store(key, value, None)
    }

    /// Stores `value` under `key`: with a time to live, a cost, a class.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use ostler_core::{Cache, InsertOptions};
    /// # let cache = Cache::<u32, u32>::builder(10).build()?;
    /// let _ = cache.insert_with(1, 7, InsertOptions::new().ttl(Duration::from_secs(60)));
    /// assert!(cache.entry(&1).is_some_and(|entry| entry.remaining.is_some()));
    /// # Ok::<(), ostler_core::BuildError>(())
    /// ```
    #[inline]
    pub fn insert_with(&self, key: K, value: V, options: InsertOptions) -> Stored {
        self.store(key, value, Some(options))
    }

    #[inline(always)]
    fn store(&self, key: K, value: V, options: Option<InsertOptions>) -> Stored {
        let mut newcomer = self.newcomer(key, value, options);
        let mut after = self.after();
        self.shard(newcomer.hash).insert(&mut newcomer, &mut after)
    }

    /// Weighs and hashes, outside every lock.
    #[inline]
    pub(super) fn newcomer(
        &self,
        key: K,
        value: V,
        options: Option<InsertOptions>,
    ) -> Newcomer<K, V> {
        let weight = match &self.inner.weigher {
            Some(weigher) => weigher(&key, &value).max(1),
            None => 1,
        };
        let hash = self.inner.keys.hash(&key);
        Newcomer { entry: Some((key, value)), hash, weight, options }
    }

    /// Removes `key`. True where it was resident. A load of the key that is under way will not be
    /// stored.
    ///
    /// ```
    /// # let cache = ostler_core::Cache::<u32, u32>::builder(10).build()?;
    /// let _ = cache.insert(1, 7);
    /// assert!(cache.remove(&1) && !cache.remove(&1));
    /// # Ok::<(), ostler_core::BuildError>(())
    /// ```
    pub fn remove<Q>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let hash = self.inner.keys.hash(key);
        let mut after = self.after();
        self.shard(hash).remove(hash, key, &mut after)
    }

    /// Changes the value of `key` by `change`, which sees the value that is there. Nothing gets lost
    /// between reading and writing: if another thread wrote meanwhile, `change` is asked again.
    ///
    /// `change` runs outside every lock and may run several times. The lifetime of an entry that is
    /// overwritten goes on.
    ///
    /// ```
    /// # use ostler_core::{Cache, Change};
    /// # let cache = Cache::<&str, u32>::builder(10).build()?;
    /// let count = |old: Option<&u32>| Change::Put(old.map_or(1, |old| old + 1));
    /// assert_eq!(cache.compute("a", count), Some(1));
    /// assert_eq!(cache.compute("a", count), Some(2));
    /// assert_eq!(cache.compute("a", |_| Change::Remove), None);
    /// # Ok::<(), ostler_core::BuildError>(())
    /// ```
    ///
    /// Returns the value that is stored afterwards: none where it was removed, or too heavy to be kept.
    pub fn compute(&self, key: K, mut change: impl FnMut(Option<&V>) -> Change<V>) -> Option<V>
    where
        K: Clone,
        V: Clone,
    {
        let options = Some(InsertOptions::new().end(Ttl::Keep));
        loop {
            let before = self.entry(&key);
            let value = before.as_ref().map(|entry| &entry.value);
            let expected = before.as_ref().map(|entry| entry.version);
            let outcome = match change(value) {
                Change::Keep => return before.map(|entry| entry.value),
                Change::Put(value) => {
                    let mut newcomer = self.newcomer(key.clone(), value.clone(), options);
                    let mut after = self.after();
                    let shard = self.shard(newcomer.hash);
                    let stored = shard.insert_if(&mut newcomer, expected, &mut after);
                    stored.map(|stored| (stored != Stored::Rejected).then_some(value))
                }
                Change::Remove => {
                    let hash = self.inner.keys.hash(&key);
                    let mut after = self.after();
                    let removed = self.shard(hash).remove_if(hash, &key, expected, &mut after);
                    removed.then_some(None)
                }
            };
            if let Some(value) = outcome {
                return value;
            }
        }
    }

    /// Changes the value of `key` where it is resident, as [`compute`](Self::compute). Returns the new
    /// value, none where there was nothing to change.
    ///
    /// ```
    /// # let cache = ostler_core::Cache::<&str, u32>::builder(10).build()?;
    /// let _ = cache.insert("a", 1);
    /// assert_eq!(cache.update("a", |old| old + 1), Some(2));
    /// assert_eq!(cache.update("b", |old| old + 1), None);
    /// # Ok::<(), ostler_core::BuildError>(())
    /// ```
    pub fn update(&self, key: K, mut change: impl FnMut(&V) -> V) -> Option<V>
    where
        K: Clone,
        V: Clone,
    {
        self.compute(key, |old| old.map_or(Change::Keep, |old| Change::Put(change(old))))
    }

    /// Moves the end of the entry of `key`: after `ttl` from now, or never where that is none; its time
    /// to idle goes on. True where it is resident. Zero removes it as expired at the next occasion.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let cache = ostler_core::Cache::<u32, u32>::builder(10).build()?;
    /// let _ = cache.insert(1, 7);
    /// assert!(cache.expire_after(&1, Some(Duration::ZERO)));
    /// assert_eq!(cache.get(&1), None);
    /// # Ok::<(), ostler_core::BuildError>(())
    /// ```
    pub fn expire_after<Q>(&self, key: &Q, ttl: Option<Duration>) -> bool
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let hash = self.inner.keys.hash(key);
        let mut after = self.after();
        self.shard(hash).expire_after(hash, key, ttl, &mut after)
    }

    /// Removes everything that is resident now; what other threads put in meanwhile may stay. Bounded
    /// slices: other threads go on in between. Cost: O(entries). Memory is kept for later entries.
    ///
    /// ```
    /// # let cache = ostler_core::Cache::<u32, u32>::builder(10).build()?;
    /// let _ = cache.insert(1, 7);
    /// cache.clear();
    /// assert!(cache.is_empty());
    /// # Ok::<(), ostler_core::BuildError>(())
    /// ```
    pub fn clear(&self) {
        for shard in &self.inner.shards {
            let mut next = Some(0);
            while let Some(first) = next {
                let mut after = self.after();
                next = shard.clear_slice(first, &mut after);
                shard.try_maintain(&mut after);
            }
        }
    }
}
