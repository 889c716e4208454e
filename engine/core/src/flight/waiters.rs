//! One flight: its outcome, and the threads and tasks that wait for it.
//!
//! Owns the outcome, the marks on the flight and the list of wakers. It must not know keys, the map
//! of flights or the cache.
//!
//! No wake-up is lost: the outcome is set first, then the lock is taken to collect the wakers, then
//! everybody is woken. A waiter looks for the outcome under the lock and, where there is none, is on
//! the condition variable's queue or in the list of wakers before it lets the lock go. If its hold
//! came before the collector's it is woken, otherwise it saw the outcome.

use std::any::Any;
use std::mem;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use std::thread::{self, ThreadId};

use parking_lot::{Condvar, Mutex};

/// How a flight ended.
pub(super) enum Outcome<V> {
    /// Loaded, or found by the leader.
    Value(V),
    /// The loader's error; its type is the leader's.
    Error(Arc<dyn Any + Send + Sync>),
    /// The leader panicked or was dropped.
    Abandoned,
}

impl<V: Clone> Outcome<V> {
    /// What it means to a caller whose loader fails with `E`, none where that caller has to try again:
    /// the flight was abandoned or failed with another type of error.
    pub(super) fn answer<E: Send + Sync + 'static>(&self) -> Option<Result<V, Arc<E>>> {
        match self {
            Self::Value(value) => Some(Ok(value.clone())),
            Self::Error(error) => Arc::clone(error).downcast().ok().map(Err),
            Self::Abandoned => None,
        }
    }
}

/// One load under way, shared by its leader and those who wait.
pub(super) struct Flight<V> {
    outcome: OnceLock<Outcome<V>>,
    superseded: AtomicBool,
    party: Mutex<Party>,
    landed: Condvar,
}

#[derive(Default)]
struct Party {
    /// The thread that is inside the leader's load now, none while an async one is suspended.
    driver: Option<ThreadId>,
    /// One place a waiting task. Empty once the outcome is set.
    wakers: Vec<Option<Waker>>,
    /// Places of `wakers` whose task has gone, to be taken again.
    vacant: Vec<usize>,
}

impl<V> Flight<V> {
    pub(super) fn new() -> Self {
        Self {
            outcome: OnceLock::new(),
            superseded: AtomicBool::new(false),
            party: Mutex::default(),
            landed: Condvar::new(),
        }
    }

    /// Marks that the value must not be stored.
    pub(super) fn supersede(&self) {
        self.superseded.store(true, Ordering::Release);
    }

    /// True once the value must not be stored.
    pub(super) fn is_superseded(&self) -> bool {
        self.superseded.load(Ordering::Acquire)
    }

    /// True while newcomers may wait for it: neither superseded nor landed. A landed flight is in the
    /// map only if taking it out panicked in the key's `Eq`.
    pub(super) fn is_open(&self) -> bool {
        !self.is_superseded() && self.outcome.get().is_none()
    }

    /// Says that the current thread is inside the load.
    pub(super) fn drive_here(&self) {
        self.party.lock().driver = Some(thread::current().id());
    }

    /// Says that no thread is inside the load.
    pub(super) fn drive_nowhere(&self) {
        self.party.lock().driver = None;
    }

    /// True where the current thread is inside the load, so that waiting would never end.
    pub(super) fn is_driven_here(&self) -> bool {
        self.party.lock().driver == Some(thread::current().id())
    }

    /// Sets the outcome and wakes everybody. Only the first call has an effect.
    pub(super) fn land(&self, outcome: Outcome<V>) {
        if self.outcome.set(outcome).is_err() {
            return;
        }
        let wakers = {
            let mut party = self.party.lock();
            party.vacant.clear();
            mem::take(&mut party.wakers)
        };
        self.landed.notify_all();
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    /// Parks the thread until the outcome is set.
    pub(super) fn wait(&self) -> &Outcome<V> {
        let mut party = self.party.lock();
        loop {
            if let Some(outcome) = self.outcome.get() {
                return outcome;
            }
            self.landed.wait(&mut party);
        }
    }

    /// Completes when the outcome is set.
    pub(super) fn arrival(&self) -> Arrival<'_, V> {
        Arrival { flight: self, place: None }
    }

    /// Wakers held, and places for them.
    #[cfg(test)]
    pub(super) fn wakers(&self) -> (usize, usize) {
        let party = self.party.lock();
        (party.wakers.iter().flatten().count(), party.wakers.len())
    }
}

/// A task's wait for the outcome. It holds one place among the wakers from its first poll on.
pub(super) struct Arrival<'a, V> {
    flight: &'a Flight<V>,
    place: Option<usize>,
}

impl<'a, V> Future for Arrival<'a, V> {
    type Output = &'a Outcome<V>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let flight = self.flight;
        // Wakers are cloned and dropped outside the lock: the last hold of a task may be a waker, and
        // the task may own a wait for this very flight.
        let waker = Some(context.waker().clone());
        let mut party = flight.party.lock();
        if let Some(outcome) = flight.outcome.get() {
            return Poll::Ready(outcome);
        }
        let place = self.place.or_else(|| party.vacant.pop());
        let former = match place.and_then(|place| party.wakers.get_mut(place)) {
            Some(held) => mem::replace(held, waker),
            None => {
                party.wakers.push(waker);
                None
            }
        };
        self.place = place.or(Some(party.wakers.len() - 1));
        drop(party);
        drop(former);
        Poll::Pending
    }
}

impl<V> Drop for Arrival<'_, V> {
    fn drop(&mut self) {
        let Some(place) = self.place else { return };
        let mut party = self.flight.party.lock();
        // After the landing there are no places left.
        let waker = party.wakers.get_mut(place).and_then(Option::take);
        if waker.is_some() {
            party.vacant.push(place);
        }
        drop(party);
        drop(waker);
    }
}
