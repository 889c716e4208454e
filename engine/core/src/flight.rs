//! Single-flight loading: one load per key, however many callers want its value.
//!
//! Owns which loads are under way and who leads each; [`waiters`] owns those who wait for one. It
//! must not know the cache: it looks up and stores through a [`Port`]. It needs no runtime, starts
//! no thread, and nothing of a load remains once its last caller has left (the map keeps its empty
//! buckets, as many as loads were ever under way at once).
//!
//! # A flight
//!
//! The first caller who wants a key puts a flight into the map and leads it: it looks the key up
//! once more, loads with no lock held, stores, takes the flight out of the map and only then lands
//! it, which wakes the waiters. As the store comes before the flight leaves, a newcomer finds the
//! flight, or leads one itself and finds the value in its own second look-up. A leader that
//! panics, or whose future is dropped, abandons its flight: the waiters wake, one of them leads the
//! next with its own loader and the others wait for that one.
//!
//! # What the cache has to do, and why no stale value is stored
//!
//! Every key belongs to one lock of the cache (its shard's). The cache promises:
//!
//! 1. [`Port::find`] looks the key up under that lock, in shared or exclusive mode;
//! 2. [`Port::store`] asks `still_wanted` and stores, both in one exclusive hold of that lock;
//! 3. whoever else writes or removes the key does so in an exclusive hold of that lock and calls
//!    [`Flights::supersede`] in the same hold, before or after the change; whoever clears a shard
//!    calls [`Flights::supersede_all`] in the hold that clears it, once for each shard. Evictions
//!    and expirations are no changes of the origin and need no call; one by the flight's own store,
//!    after it asked, does no harm.
//!
//! Claim: if the change comes after the leader's second look-up, the value of that flight is not
//! resident after both the change and the store are done. Holds of one lock are ordered.
//!
//! - The store comes before the change: the change overwrites or removes what was stored.
//! - The change comes before the store: the leader had put its flight into the map and counted it
//!   before its look-up's hold, which came before the change's. So the call sees a count above 0,
//!   though it reads it relaxed, because the lock orders it after the increment and the flight is
//!   counted off only after its store; it finds the flight, or one that replaced it because it had
//!   been superseded before; the mark is set before the hold ends, and `still_wanted`, asked in a
//!   later hold, says no.
//!
//! A change that comes before the second look-up is harmless either way: the look-up sees it, and
//! the load begins after it.
//!
//! A superseded flight takes no more waiters: who asks after a removal never gets a value whose load
//! began before it. So one key can have a second load beside a superseded one, but only one flight
//! whose value may be stored.
//!
//! # Locks
//!
//! The cache's lock comes before a lock of the map, that before nothing. [`Port`], loaders, wakers,
//! and `Clone` and `Drop` of values run with no lock of this module held; `Hash` and `Eq` of keys run
//! under a lock of the map, and a panic in them leaves everything usable. Inside the cache's
//! lock, superseding drops nothing and wakes nobody.

use std::borrow::Borrow;
use std::future::poll_fn;
use std::hash::{BuildHasher, Hash};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use dashmap::{DashMap, Entry};

use self::waiters::{Flight, Outcome};

#[cfg(test)]
mod tests;
mod waiters;

/// What a flight asks of the cache. The module's head says under which lock.
pub(crate) trait Port<K, V> {
    /// The resident value of `key`, none where it has to be loaded.
    fn find(&self, key: &K) -> Option<V>;

    /// Stores `value`, which took `took` to load, if `still_wanted` says so in the same exclusive
    /// hold of the key's lock. `still_wanted` costs one atomic load and may be asked again.
    fn store(&self, key: &K, value: V, took: Duration, still_wanted: &dyn Fn() -> bool);
}

/// The loads of one cache that are under way.
pub(crate) struct Flights<K, V, S> {
    under_way: DashMap<K, Arc<Flight<V>>, S>,
    /// Entries of `under_way`, so that asking whether there are any touches no lock.
    count: AtomicUsize,
}

impl<K: Hash + Eq, V, S: BuildHasher + Clone> Flights<K, V, S> {
    /// No loads under way. Keys are hashed with `hasher`.
    pub(crate) fn new(hasher: S) -> Self {
        Self { under_way: DashMap::with_hasher(hasher), count: AtomicUsize::new(0) }
    }

    /// True where no load is under way. One relaxed load: a load that another thread begins or ends
    /// at this moment may be seen or not, unless a lock orders the two (see the module's head).
    #[inline]
    pub(crate) fn is_idle(&self) -> bool {
        self.count.load(Ordering::Relaxed) == 0
    }

    /// Tells that `key` was written or removed by somebody who does not lead its load: a load under
    /// way is not stored and takes no more waiters; those it has get its value. To be called in the
    /// hold of the key's lock that changes the key. One relaxed load when idle, else one look-up.
    #[inline]
    pub(crate) fn supersede<Q>(&self, key: &Q)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        if !self.is_idle()
            && let Some(flight) = self.under_way.get(key)
        {
            flight.supersede();
        }
    }

    /// As [`Flights::supersede`] for every key. To be called in each hold that clears a shard. One
    /// relaxed load when idle, else a walk over the loads under way.
    pub(crate) fn supersede_all(&self) {
        if !self.is_idle() {
            self.under_way.iter().for_each(|flight| flight.supersede());
        }
    }
}

impl<K: Hash + Eq + Clone, V: Clone, S: BuildHasher + Clone> Flights<K, V, S> {
    /// The value of `key`: from the load under way, or else found or loaded here and stored. Parks
    /// the thread while another caller loads.
    ///
    /// A load never waits for one that is below it on the same thread's stack: a loader that loads
    /// its own key runs the inner loader at once, and what that returns is not stored. Two loaders
    /// on two threads that each ask for the other's key do wait for each other for ever, as does one
    /// that blocks the only thread which could drive the load it waits for.
    ///
    /// Costs, beside the port and the loader: a clone of the key, one allocation, three locks that
    /// nobody else holds for long; a clone of the value to store, and one more if anybody waits.
    ///
    /// # Errors
    ///
    /// What the loader returned, the same for all who waited for it; it is not stored. A caller that
    /// waited for a loader with another type of error tries again, with its own loader if need be.
    pub(crate) fn load<E: Send + Sync + 'static>(
        &self,
        key: &K,
        port: &impl Port<K, V>,
        load: impl FnOnce() -> Result<V, E>,
    ) -> Result<V, Arc<E>> {
        loop {
            match self.board(key) {
                Boarding::Lead(lead) => return lead.fly(port, load),
                Boarding::Inside => return load().map_err(Arc::new),
                Boarding::Wait(flight) => {
                    if let Some(answer) = flight.wait().answer() {
                        return answer;
                    }
                }
            }
        }
    }

    /// As [`Flights::load`], for tasks of any runtime; blocking and async callers wait for each
    /// other's loads. `load` is polled only if this caller leads; if it is dropped then, a
    /// waiter takes over with its own. Waiting for a leader lasts as long as that leader is neither
    /// polled nor dropped.
    ///
    /// # Errors
    ///
    /// As [`Flights::load`].
    pub(crate) async fn load_async<E: Send + Sync + 'static>(
        &self,
        key: &K,
        port: &impl Port<K, V>,
        load: impl Future<Output = Result<V, E>>,
    ) -> Result<V, Arc<E>> {
        loop {
            match self.board(key) {
                Boarding::Lead(lead) => return lead.fly_async(port, load).await,
                Boarding::Inside => return load.await.map_err(Arc::new),
                Boarding::Wait(flight) => {
                    if let Some(answer) = flight.arrival().await.answer() {
                        return answer;
                    }
                }
            }
        }
    }

    /// Joins the flight of `key` or puts a new one into the map, also in place of one that takes no
    /// more waiters.
    fn board<'a>(&'a self, key: &'a K) -> Boarding<'a, K, V, S> {
        // Made before the map's lock is taken, though one who joins has no use for it.
        let flight = Arc::new(Flight::new());
        let lead = |flight| Boarding::Lead(Lead { flights: self, key, attached: true, flight });
        match self.under_way.entry(key.clone()) {
            Entry::Vacant(place) => {
                let guard = place.insert(Arc::clone(&flight));
                // Relaxed: the module's head says what orders it. Under the map's lock, so that
                // nobody can take the flight out before it is counted.
                self.count.fetch_add(1, Ordering::Relaxed);
                drop(guard);
                lead(Landing(flight))
            }
            Entry::Occupied(mut place) if !place.get().is_open() => {
                let former = place.insert(Arc::clone(&flight));
                drop(place);
                // Its value, if this was the last hold of it, drops outside the map's lock.
                drop(former);
                lead(Landing(flight))
            }
            Entry::Occupied(place) => {
                let flight = Arc::clone(place.get());
                drop(place);
                if flight.is_driven_here() { Boarding::Inside } else { Boarding::Wait(flight) }
            }
        }
    }
}

/// How a caller comes to its value.
enum Boarding<'a, K: Hash + Eq, V, S: BuildHasher + Clone> {
    /// It loads for everybody.
    Lead(Lead<'a, K, V, S>),
    /// It waits for the leader.
    Wait(Arc<Flight<V>>),
    /// It runs inside the load it would wait for.
    Inside,
}

/// The leader's part in a flight. Dropped early, it abandons the flight.
struct Lead<'a, K: Hash + Eq, V, S: BuildHasher + Clone> {
    flights: &'a Flights<K, V, S>,
    key: &'a K,
    /// Whether the flight has yet to be taken out of the map.
    attached: bool,
    /// A field with a drop of its own, so that the waiters wake even if taking the flight out panics
    /// in the key's `Eq`.
    flight: Landing<V>,
}

impl<K: Hash + Eq, V: Clone, S: BuildHasher + Clone> Lead<'_, K, V, S> {
    fn fly<E: Send + Sync + 'static>(
        self,
        port: &impl Port<K, V>,
        load: impl FnOnce() -> Result<V, E>,
    ) -> Result<V, Arc<E>> {
        self.flight.0.drive_here();
        if let Some(value) = port.find(self.key) {
            return self.land(Ok(value));
        }
        let start = Instant::now();
        let loaded = load();
        self.store_and_land(port, loaded, start.elapsed())
    }

    async fn fly_async<E: Send + Sync + 'static>(
        self,
        port: &impl Port<K, V>,
        load: impl Future<Output = Result<V, E>>,
    ) -> Result<V, Arc<E>> {
        let flight = &self.flight.0;
        flight.drive_here();
        if let Some(value) = port.find(self.key) {
            return self.land(Ok(value));
        }
        let start = Instant::now();
        let mut load = pin!(load);
        // Between polls nobody is inside the load; after the last one the store still is.
        let loaded = poll_fn(|context| {
            flight.drive_here();
            let polled = load.as_mut().poll(context);
            if polled.is_pending() {
                flight.drive_nowhere();
            }
            polled
        })
        .await;
        self.store_and_land(port, loaded, start.elapsed())
    }

    fn store_and_land<E: Send + Sync + 'static>(
        self,
        port: &impl Port<K, V>,
        loaded: Result<V, E>,
        took: Duration,
    ) -> Result<V, Arc<E>> {
        if let Ok(value) = &loaded {
            let flight = &self.flight.0;
            // Where the answer is known already, the value need not be cloned to be refused.
            if !flight.is_superseded() {
                port.store(self.key, value.clone(), took, &|| !flight.is_superseded());
            }
        }
        self.land(loaded.map_err(Arc::new))
    }

    fn land<E: Send + Sync + 'static>(mut self, answer: Result<V, Arc<E>>) -> Result<V, Arc<E>> {
        self.detach();
        let flight = &self.flight.0;
        // Waiters take their hold under the map's lock, so none can come any more: a single hold
        // means that nobody waits, and the value need not be cloned for them.
        if Arc::strong_count(flight) > 1 {
            flight.land(match &answer {
                Ok(value) => Outcome::Value(value.clone()),
                Err(error) => Outcome::Error(Arc::clone(error) as _),
            });
        }
        answer
    }
}

impl<K: Hash + Eq, V, S: BuildHasher + Clone> Lead<'_, K, V, S> {
    /// Takes the flight out of the map, unless another has replaced it.
    fn detach(&mut self) {
        if std::mem::take(&mut self.attached) {
            let flight = &self.flight.0;
            let is_this = |_: &K, other: &Arc<Flight<V>>| Arc::ptr_eq(flight, other);
            if self.flights.under_way.remove_if(self.key, is_this).is_some() {
                self.flights.count.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }
}

impl<K: Hash + Eq, V, S: BuildHasher + Clone> Drop for Lead<'_, K, V, S> {
    fn drop(&mut self) {
        self.detach();
    }
}

/// A leader's hold of its flight, which leaves no waiter asleep.
struct Landing<V>(Arc<Flight<V>>);

impl<V> Drop for Landing<V> {
    fn drop(&mut self) {
        self.0.land(Outcome::Abandoned);
    }
}
