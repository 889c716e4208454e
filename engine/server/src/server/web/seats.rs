//! The places of connections: as many as there may be, and who has to go where one more comes.
//!
//! That is one that does nothing for us: nobody works on a request of its, and the longest time has
//! passed since it took or sent anything. Connections that never showed a token go before those that
//! did. So strangers can keep nobody away by holding connections open; at worst, by opening them faster
//! than others are answered.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::timeout;

/// Time after which the next one is looked for that can go.
const PATIENCE: Duration = Duration::from_millis(100);

/// All places.
pub(super) struct Seats {
    count_max: usize,
    taken: Mutex<HashMap<u64, Arc<Place>>>,
    /// Grows by one with everything that happens: who has the smallest number is quiet for longest.
    moment: AtomicU64,
    freed: Notify,
}

struct Place {
    /// When it last took or sent anything.
    moment: AtomicU64,
    /// Requests that are worked on.
    working: AtomicUsize,
    is_known: AtomicBool,
    is_lost: AtomicBool,
    lost: Notify,
}

/// One connection's place; given back when the last clone drops.
#[derive(Clone)]
pub(super) struct Seat(Arc<Sitting>);

struct Sitting {
    seats: Arc<Seats>,
    number: u64,
    place: Arc<Place>,
}

/// A request that is worked on, until it drops.
pub(super) struct Work(Seat);

impl Seats {
    /// So many places, at least one.
    pub(super) fn new(count_max: usize) -> Self {
        Self {
            count_max: count_max.max(1),
            taken: Mutex::default(),
            moment: AtomicU64::new(0),
            freed: Notify::new(),
        }
    }

    /// A place for one more. Where there is none, another connection has to end first.
    pub(super) async fn take(self: &Arc<Self>) -> Seat {
        loop {
            // Before the look: a place that becomes free meanwhile is not missed.
            let freed = self.freed.notified();
            if let Some(seat) = self.try_take() {
                return seat;
            }
            self.end_one();
            // Too late means that it does not let go, or that nobody could be asked to.
            let _ = timeout(PATIENCE, freed).await;
        }
    }

    fn try_take(self: &Arc<Self>) -> Option<Seat> {
        let number = self.next_moment();
        let mut taken = self.taken.lock();
        if taken.len() >= self.count_max {
            return None;
        }
        let place = Arc::new(Place {
            moment: AtomicU64::new(number),
            working: AtomicUsize::new(0),
            is_known: AtomicBool::new(false),
            is_lost: AtomicBool::new(false),
            lost: Notify::new(),
        });
        taken.insert(number, Arc::clone(&place));
        drop(taken);
        Some(Seat(Arc::new(Sitting { seats: Arc::clone(self), number, place })))
    }

    /// Takes a place from the connection that needs it least, if there is one that does nothing. Cost:
    /// O(connections).
    pub(super) fn end_one(&self) {
        let taken = self.taken.lock();
        let idle = taken.values().filter(|place| {
            place.working.load(Ordering::Acquire) == 0 && !place.is_lost.load(Ordering::Acquire)
        });
        let quietest = idle.min_by_key(|place| {
            (place.is_known.load(Ordering::Relaxed), place.moment.load(Ordering::Relaxed))
        });
        if let Some(place) = quietest {
            place.is_lost.store(true, Ordering::Release);
            place.lost.notify_one();
        }
    }

    fn next_moment(&self) -> u64 {
        self.moment.fetch_add(1, Ordering::Relaxed)
    }
}

impl Seat {
    /// Ready when another connection needs the place.
    pub(super) fn lost(&self) -> impl Future<Output = ()> + Send + use<> {
        let place = Arc::clone(&self.0.place);
        async move { place.lost.notified().await }
    }

    /// Notes that the connection took or sent something.
    pub(super) fn touch(&self) {
        self.0.place.moment.store(self.0.seats.next_moment(), Ordering::Relaxed);
    }

    /// Notes that a request is worked on.
    pub(super) fn work(&self) -> Work {
        self.touch();
        self.0.place.working.fetch_add(1, Ordering::AcqRel);
        Work(self.clone())
    }
}

impl Work {
    /// Notes that the connection is not a stranger's.
    pub(super) fn note_known(&self) {
        self.0.0.place.is_known.store(true, Ordering::Relaxed);
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.0.touch();
        self.0.0.place.working.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Drop for Sitting {
    fn drop(&mut self) {
        self.seats.taken.lock().remove(&self.number);
        self.seats.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use super::*;

    fn is_lost(seat: &Seat) -> bool {
        seat.0.place.is_lost.load(Ordering::Acquire)
    }

    fn take(seats: &Arc<Seats>) -> Seat {
        seats.try_take().expect("there is room")
    }

    #[test]
    fn the_quietest_stranger_goes_first_and_who_works_stays() {
        let seats = Arc::new(Seats::new(4));
        let all = [(); 4].map(|()| take(&seats));
        assert!(seats.try_take().is_none());
        all[0].work().note_known();
        let work = all[1].work();
        all[2].touch();
        let mut lost = Vec::new();
        for _ in 0..4 {
            seats.end_one();
            lost.push([0, 1, 2, 3].map(|seat: usize| is_lost(&all[seat])));
        }
        let expected = [
            [false, false, false, true],
            [false, false, true, true],
            [true, false, true, true],
            [true, false, true, true],
        ];
        assert_eq!(lost, expected);
        drop(work);
        seats.end_one();
        assert!(is_lost(&all[1]), "it has nothing to do any more");
    }

    #[test]
    fn one_that_ends_makes_room_for_the_next() {
        let seats = Arc::new(Seats::new(1));
        let first = take(&seats);
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let mut lost = std::pin::pin!(first.lost());
        assert!(lost.as_mut().poll(&mut context).is_pending());
        seats.end_one();
        assert_eq!(lost.as_mut().poll(&mut context), Poll::Ready(()));
        let other = first.clone();
        drop(first);
        assert!(seats.try_take().is_none(), "its connection still has it");
        drop(other);
        assert!(seats.try_take().is_some());
    }
}
