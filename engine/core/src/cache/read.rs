//! Reading.

use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash};

use crate::cache::Cache;
use crate::live::{Due, LiveShard};
use crate::options::{Snapshot, Version};

impl<K: Hash + Eq, V, S: BuildHasher + Clone> Cache<K, V, S> {
    /// The value of `key`, cloned. A request: it counts as hit or miss, and the policy hears of it.
    ///
    /// Cost of a hit: one hash, one lock, one probe, one key compare, one clone, one note.
    ///
    /// ```
    /// # let cache = ostler_core::Cache::<&str, u32>::builder(10).build()?;
    /// let _ = cache.insert("a", 1);
    /// assert_eq!(cache.get(&"a"), Some(1));
    /// # Ok::<(), ostler_core::BuildError>(())
    /// ```
    #[inline]
    pub fn get<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
        V: Clone,
    {
        self.get_with(key, V::clone)
    }

    /// What `read` makes of the value of `key`, for values that are dear to clone. A request like
    /// [`get`](Self::get).
    ///
    /// `read` runs under the shard's lock, as `Clone` would: it must be short and must not call the
    /// cache, or the thread waits for itself. If it panics, the cache is as it was.
    ///
    /// ```
    /// # let cache = ostler_core::Cache::<u32, String>::builder(10).build()?;
    /// let _ = cache.insert(1, "a long text".to_owned());
    /// assert_eq!(cache.get_with(&1, |text| text.len()), Some(11));
    /// # Ok::<(), ostler_core::BuildError>(())
    /// ```
    #[inline]
    pub fn get_with<Q, R>(&self, key: &Q, read: impl FnOnce(&V) -> R) -> Option<R>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let hash = self.inner.keys.hash(key);
        let shard = self.shard(hash);
        let mut due = Due::No;
        let result = shard.read(hash, key, read, &mut due);
        if due == Due::Yes {
            self.catch_up(shard);
        }
        result
    }

    #[cold]
    #[inline(never)]
    fn catch_up(&self, shard: &LiveShard<K, V, S>) {
        let mut after = self.after();
        shard.catch_up(&mut after);
    }

    /// The value of `key`, cloned, without a request: nothing is counted, and no policy hears of it.
    ///
    /// ```
    /// # let cache = ostler_core::Cache::<u32, u32>::builder(10).build()?;
    /// let _ = cache.insert(1, 7);
    /// assert_eq!((cache.peek(&1), cache.stats().hits), (Some(7), 0));
    /// # Ok::<(), ostler_core::BuildError>(())
    /// ```
    pub fn peek<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
        V: Clone,
    {
        let hash = self.inner.keys.hash(key);
        self.shard(hash).peek(hash, key, |state, slot, _| {
            state.residents.entry(slot).map(|(_, value)| value.clone())
        })
    }

    /// True where `key` is resident. As quiet as [`peek`](Self::peek).
    ///
    /// ```
    /// # let cache = ostler_core::Cache::<u32, u32>::builder(10).build()?;
    /// let _ = cache.insert(1, 7);
    /// assert!(cache.contains(&1) && !cache.contains(&2));
    /// # Ok::<(), ostler_core::BuildError>(())
    /// ```
    pub fn contains<Q>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let hash = self.inner.keys.hash(key);
        self.shard(hash).peek(hash, key, |_, _, _| Some(())).is_some()
    }

    /// Everything known of the entry of `key`: value, version, weight, hits, age, time left, cost,
    /// class. As quiet as [`peek`](Self::peek).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use ostler_core::{Cache, InsertOptions};
    /// # let cache = Cache::<u32, u32>::builder(10).build()?;
    /// let _ = cache.insert_with(1, 7, InsertOptions::new().cost(Duration::from_millis(5)));
    /// let entry = cache.entry(&1).expect("it is there");
    /// assert_eq!((entry.value, entry.weight, entry.cost_us), (7, 1, 5000));
    /// # Ok::<(), ostler_core::BuildError>(())
    /// ```
    pub fn entry<Q>(&self, key: &Q) -> Option<Snapshot<V>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
        V: Clone,
    {
        let hash = self.inner.keys.hash(key);
        self.shard(hash).peek(hash, key, |state, slot, now_ms| state.snapshot(slot, now_ms))
    }

    /// The version of the entry of `key`: it changes with every write, and when the entry expires or
    /// is evicted. As quiet as [`peek`](Self::peek).
    ///
    /// ```
    /// # let cache = ostler_core::Cache::<u32, u32>::builder(10).build()?;
    /// let _ = cache.insert(1, 7);
    /// let before = cache.version(&1);
    /// let _ = cache.insert(1, 7);
    /// assert!(before.is_some() && cache.version(&1) != before);
    /// # Ok::<(), ostler_core::BuildError>(())
    /// ```
    pub fn version<Q>(&self, key: &Q) -> Option<Version>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let hash = self.inner.keys.hash(key);
        self.shard(hash).peek(hash, key, |state, slot, _| Some(state.version(slot)))
    }
}
