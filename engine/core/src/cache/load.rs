//! Loading what is not there: one load for each key, however many wait.

use std::hash::{BuildHasher, Hash};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use crate::cache::Cache;
use crate::flight::Port;
use crate::options::InsertOptions;
use crate::sync::Arc;

/// The cache as a load sees it.
struct Loaded<'a, K, V, S> {
    cache: &'a Cache<K, V, S>,
    options: InsertOptions,
}

impl<K: Hash + Eq + Clone, V: Clone, S: BuildHasher + Clone> Port<K, V> for Loaded<'_, K, V, S> {
    fn find(&self, key: &K) -> Option<V> {
        self.cache.peek(key)
    }

    fn store(&self, key: &K, value: V, took: Duration, still_wanted: &dyn Fn() -> bool) {
        let options = self.options.cost(took);
        let mut newcomer = self.cache.newcomer(key.clone(), value, Some(options));
        let mut after = self.cache.after();
        self.cache.shard(newcomer.hash).insert_loaded(&mut newcomer, still_wanted, &mut after);
    }
}

/// What became of a load that nobody had asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ahead {
    /// Its value went in, as any insert does: the policy may have refused it at once.
    Stored,
    /// Nothing was done: the key was there, or somebody wrote or removed it meanwhile.
    Unneeded,
}

/// The cache as a load sees it that nobody had asked for.
struct Advance<'a, K, V, S> {
    port: Loaded<'a, K, V, S>,
    stored: AtomicBool,
}

impl<K: Hash + Eq + Clone, V: Clone, S: BuildHasher + Clone> Port<K, V> for Advance<'_, K, V, S> {
    fn find(&self, key: &K) -> Option<V> {
        self.port.find(key)
    }

    fn store(&self, key: &K, value: V, took: Duration, still_wanted: &dyn Fn() -> bool) {
        // Asked under the lock that the store is made under, the last time right before it.
        self.port.store(key, value, took, &|| {
            let is_wanted = still_wanted();
            self.stored.store(is_wanted, Relaxed);
            is_wanted
        });
    }
}

impl<K: Hash + Eq + Clone, V: Clone, S: BuildHasher + Clone> Cache<K, V, S> {
    /// The value of `key`, loaded by `load` where it is not there. However many callers ask for a key,
    /// one loads and the others wait for it; how long it took becomes the entry's cost.
    ///
    /// A loader that panics hurts only its own caller: one of those who wait loads instead. If the
    /// key is written or removed during the load, callers who were waiting still get the value, but it
    /// is not stored.
    ///
    /// A loader may use the cache, and load other keys. But two loaders that each ask for the other's
    /// key wait for each other for ever, and so does a blocking call on the thread that has to drive
    /// the async load it waits for: use [`get_or_load`](Self::get_or_load) in tasks.
    ///
    /// ```
    /// # let cache = ostler_core::Cache::<u32, String>::builder(10).build()?;
    /// assert_eq!(cache.get_or_insert_with(&1, || "loaded".to_owned()), "loaded");
    /// assert_eq!(cache.get_or_insert_with(&1, || unreachable!()), "loaded");
    /// # Ok::<(), ostler_core::BuildError>(())
    /// ```
    pub fn get_or_insert_with(&self, key: &K, load: impl FnOnce() -> V) -> V {
        match self.try_get_or_insert_with(key, || Ok::<V, std::convert::Infallible>(load())) {
            Ok(value) => value,
            Err(never) => match *never {},
        }
    }

    /// As [`get_or_insert_with`](Self::get_or_insert_with), for loads that can fail.
    ///
    /// # Errors
    ///
    /// What the loader returned: the same for everybody who waited for it. It is not stored.
    ///
    /// ```
    /// # let cache = ostler_core::Cache::<u32, String>::builder(10).build()?;
    /// let failed = cache.try_get_or_insert_with(&1, || Err("no such row"));
    /// assert_eq!(failed.map_err(|error| *error), Err("no such row"));
    /// # Ok::<(), ostler_core::BuildError>(())
    /// ```
    pub fn try_get_or_insert_with<E: Send + Sync + 'static>(
        &self,
        key: &K,
        load: impl FnOnce() -> Result<V, E>,
    ) -> Result<V, Arc<E>> {
        match self.get(key) {
            Some(value) => Ok(value),
            None => self.inner.loads.load(key, &self.port(InsertOptions::new()), load),
        }
    }

    /// The value of `key`, loaded by the future `load` where it is not there; one load for each key,
    /// as [`get_or_insert_with`](Self::get_or_insert_with). Works under any runtime; `load` is not
    /// polled where it is not needed. Dropping the future that leads a load lets a waiter take over.
    ///
    /// # Errors
    ///
    /// What the loader returned: the same for everybody who waited for it. It is not stored.
    ///
    /// ```
    /// # let cache = ostler_core::Cache::<u32, String>::builder(10).build()?;
    /// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    /// # runtime.block_on(async {
    /// let value = cache.get_or_load(&1, async { Ok::<_, std::io::Error>("row 1".to_owned()) }).await;
    /// assert_eq!(value.ok().as_deref(), Some("row 1"));
    /// assert_eq!(cache.get(&1).as_deref(), Some("row 1"));
    /// # });
    /// # Ok::<(), ostler_core::BuildError>(())
    /// ```
    pub async fn get_or_load<E: Send + Sync + 'static>(
        &self,
        key: &K,
        load: impl Future<Output = Result<V, E>>,
    ) -> Result<V, Arc<E>> {
        self.get_or_load_with(key, InsertOptions::new(), load).await
    }

    /// As [`get_or_load`](Self::get_or_load), storing the value with these options; the cost is
    /// measured.
    ///
    /// # Errors
    ///
    /// As [`get_or_load`](Self::get_or_load).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use ostler_core::{Cache, InsertOptions};
    /// # let cache = Cache::<u32, String>::builder(10).build()?;
    /// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    /// # runtime.block_on(async {
    /// let brief = InsertOptions::new().ttl(Duration::from_secs(5));
    /// let load = async { Ok::<_, std::io::Error>("row 1".to_owned()) };
    /// let _ = cache.get_or_load_with(&1, brief, load).await;
    /// assert!(cache.entry(&1).is_some_and(|entry| entry.remaining.is_some()));
    /// # });
    /// # Ok::<(), ostler_core::BuildError>(())
    /// ```
    pub async fn get_or_load_with<E: Send + Sync + 'static>(
        &self,
        key: &K,
        options: InsertOptions,
        load: impl Future<Output = Result<V, E>>,
    ) -> Result<V, Arc<E>> {
        match self.get(key) {
            Some(value) => Ok(value),
            None => self.inner.loads.load_async(key, &self.port(options), load).await,
        }
    }

    /// Brings `key` in before anybody asks for it, loaded by the future `load`: no request is counted,
    /// no caller gets the value. Where the key is resident or written, removed or cleared during the
    /// load, nothing is stored: what the cache's users did last counts. A caller of
    /// [`get_or_load`](Self::get_or_load) who comes meanwhile waits for this load. `options` say what
    /// it is for; the cost is measured.
    ///
    /// # Errors
    ///
    /// What the loader returned; nothing is stored.
    ///
    /// ```
    /// # use ostler_core::{Cache, InsertOptions, Ahead};
    /// # let cache = Cache::<&str, u32>::builder(10).build()?;
    /// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    /// # runtime.block_on(async {
    /// let options = InsertOptions::new().prefetched();
    /// let brought = cache.load_ahead(&"a", options, async { Ok::<_, std::io::Error>(1) }).await;
    /// assert_eq!(brought.ok(), Some(Ahead::Stored));
    /// let overtaken = cache.load_ahead(&"b", options, async {
    ///     let _ = cache.insert("b", 2);
    ///     Ok::<_, std::io::Error>(1)
    /// });
    /// assert_eq!(overtaken.await.ok(), Some(Ahead::Unneeded));
    /// assert_eq!((cache.get("a"), cache.get("b")), (Some(1), Some(2)));
    /// # });
    /// # Ok::<(), ostler_core::BuildError>(())
    /// ```
    pub async fn load_ahead<E: Send + Sync + 'static>(
        &self,
        key: &K,
        options: InsertOptions,
        load: impl Future<Output = Result<V, E>>,
    ) -> Result<Ahead, Arc<E>> {
        let port = Advance { port: self.port(options), stored: AtomicBool::new(false) };
        self.inner.loads.load_async(key, &port, load).await?;
        Ok(if port.stored.into_inner() { Ahead::Stored } else { Ahead::Unneeded })
    }

    fn port(&self, options: InsertOptions) -> Loaded<'_, K, V, S> {
        Loaded { cache: self, options }
    }
}
