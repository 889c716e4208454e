//! Tests of single-flight loading against a small cache that keeps the promises of the module's head.

use std::collections::HashMap;
use std::future::{pending, ready};
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use super::*;

mod changes;
mod tasks;
mod threads;

type State = BuildHasherDefault<DefaultHasher>;

const KEY: u32 = 1;

/// A cache of one shard.
struct Cache {
    flights: Flights<u32, u64, State>,
    shelf: Mutex<HashMap<u32, u64>>,
    loads: AtomicUsize,
}

impl Port<u32, u64> for Cache {
    fn find(&self, key: &u32) -> Option<u64> {
        self.shelf().get(key).copied()
    }

    fn store(&self, key: &u32, value: u64, _took: Duration, still_wanted: &dyn Fn() -> bool) {
        // Lets changes come between the load and the store.
        thread::yield_now();
        let mut shelf = self.shelf();
        if still_wanted() {
            shelf.insert(*key, value);
        }
    }
}

impl Cache {
    fn new() -> Self {
        Self {
            flights: Flights::new(State::default()),
            shelf: Mutex::default(),
            loads: AtomicUsize::new(0),
        }
    }

    fn shelf(&self) -> MutexGuard<'_, HashMap<u32, u64>> {
        self.shelf.lock().unwrap()
    }

    fn load<E: Send + Sync + 'static>(
        &self,
        load: impl FnOnce() -> Result<u64, E>,
    ) -> Result<u64, Arc<E>> {
        let counted = || {
            self.loads.fetch_add(1, Ordering::Relaxed);
            load()
        };
        self.flights.load(&KEY, self, counted)
    }

    async fn load_async<E: Send + Sync + 'static>(
        &self,
        load: impl Future<Output = Result<u64, E>>,
    ) -> Result<u64, Arc<E>> {
        let counted = async {
            self.loads.fetch_add(1, Ordering::Relaxed);
            load.await
        };
        self.flights.load_async(&KEY, self, counted).await
    }

    fn insert(&self, value: u64) {
        let mut shelf = self.shelf();
        shelf.insert(KEY, value);
        self.flights.supersede(&KEY);
    }

    fn remove(&self) {
        let mut shelf = self.shelf();
        self.flights.supersede(&KEY);
        shelf.remove(&KEY);
    }

    fn clear(&self) {
        let mut shelf = self.shelf();
        shelf.clear();
        self.flights.supersede_all();
    }

    fn loads(&self) -> usize {
        self.loads.load(Ordering::Relaxed)
    }

    fn flight(&self) -> Arc<Flight<u64>> {
        Arc::clone(&self.flights.under_way.get(&KEY).unwrap())
    }

    /// Callers who wait for the flight that is in the map: those who hold it beside the map and the
    /// leader.
    fn waiting(&self) -> usize {
        let holds = self.flights.under_way.get(&KEY).map_or(0, |flight| Arc::strong_count(&flight));
        holds.saturating_sub(2)
    }

    fn until_waiting(&self, callers: usize) {
        while self.waiting() != callers {
            thread::yield_now();
        }
    }

    fn assert_nothing_remains(&self) {
        assert!(self.flights.is_idle());
        assert!(self.flights.under_way.is_empty());
    }
}

/// A waker that counts.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Bell {
    fn rings(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A waker that unparks the thread of [`block_on`].
struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

fn poll_quietly<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

fn poll_with<F: Future + Unpin>(future: &mut F, bell: &Arc<Bell>) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(&Waker::from(Arc::clone(bell))))
}

/// A loader's future that is ready with `value` once `open` is set. Whoever sets it polls again.
async fn once_open(open: &AtomicBool, value: u64) -> Result<u64, ()> {
    poll_fn(|_| if open.load(Ordering::Relaxed) { Poll::Ready(()) } else { Poll::Pending }).await;
    Ok(value)
}

#[test]
fn a_lone_caller_loads_and_stores() {
    let cache = Cache::new();
    assert_eq!(cache.load(|| Ok::<_, ()>(7)), Ok(7));
    assert_eq!(cache.find(&KEY), Some(7));
    assert_eq!(block_on(cache.load_async(ready(Ok::<_, ()>(8)))), Ok(7), "found, not loaded");
    assert_eq!(cache.loads(), 1);
    cache.assert_nothing_remains();
}

#[test]
fn the_flight_is_seen_from_its_look_up_until_it_has_stored() {
    struct Watched<'a>(&'a Cache);
    impl Watched<'_> {
        fn assert_in_flight(&self) {
            assert!(!self.0.flights.is_idle());
            assert!(self.0.flight().is_open());
        }
    }
    impl Port<u32, u64> for Watched<'_> {
        fn find(&self, key: &u32) -> Option<u64> {
            self.assert_in_flight();
            self.0.find(key)
        }
        fn store(&self, key: &u32, value: u64, took: Duration, still_wanted: &dyn Fn() -> bool) {
            self.0.store(key, value, took, still_wanted);
            self.assert_in_flight();
        }
    }
    let cache = Cache::new();
    let port = Watched(&cache);
    let load = || {
        port.assert_in_flight();
        Ok::<_, ()>(7)
    };
    assert_eq!(cache.flights.load(&KEY, &port, load), Ok(7));
    assert_eq!(cache.find(&KEY), Some(7));
    cache.assert_nothing_remains();
}

#[test]
fn the_load_is_timed_to_its_end() {
    struct Timed(Mutex<Option<Duration>>);
    impl Port<u32, u64> for Timed {
        fn find(&self, _: &u32) -> Option<u64> {
            None
        }
        fn store(&self, _: &u32, _: u64, took: Duration, _: &dyn Fn() -> bool) {
            *self.0.lock().unwrap() = Some(took);
        }
    }
    let (flights, port) = (Flights::new(State::default()), Timed(Mutex::default()));
    let least = Duration::from_micros(50);
    let load = || {
        let start = Instant::now();
        while start.elapsed() < least {}
        Ok::<_, ()>(7)
    };
    assert_eq!(flights.load(&KEY, &port, load), Ok(7));
    assert!(port.0.lock().unwrap().unwrap() >= least);
}
