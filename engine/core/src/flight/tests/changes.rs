//! Writes and removals while a load is under way.

use super::*;

/// When somebody else changes the key.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Moment {
    BeforeLookUp,
    InLoad,
    BeforeStore,
    AfterStore,
}

/// A port that lets `change` happen at `moment`.
struct Staged<'a, C: Fn()> {
    cache: &'a Cache,
    moment: Moment,
    change: C,
}

impl<C: Fn()> Staged<'_, C> {
    fn at(&self, moment: Moment) {
        if self.moment == moment {
            (self.change)();
        }
    }
}

impl<C: Fn()> Port<u32, u64> for Staged<'_, C> {
    fn find(&self, key: &u32) -> Option<u64> {
        self.at(Moment::BeforeLookUp);
        self.cache.find(key)
    }

    fn store(&self, key: &u32, value: u64, took: Duration, still_wanted: &dyn Fn() -> bool) {
        self.at(Moment::BeforeStore);
        self.cache.store(key, value, took, still_wanted);
        self.at(Moment::AfterStore);
    }
}

/// A way to change the key.
type Change = fn(&Cache);

#[test]
fn a_superseded_load_is_not_stored() {
    use Moment::{AfterStore, BeforeLookUp, BeforeStore, InLoad};
    let insert: Change = |cache| cache.insert(1);
    let (remove, clear): (Change, Change) = (Cache::remove, Cache::clear);
    let table = [
        // Who changes, when, what the leader gets, what is resident then.
        (insert, BeforeLookUp, 1, Some(1)),
        (insert, InLoad, 7, Some(1)),
        (insert, BeforeStore, 7, Some(1)),
        (insert, AfterStore, 7, Some(1)),
        (remove, BeforeLookUp, 7, None),
        (remove, InLoad, 7, None),
        (remove, BeforeStore, 7, None),
        (remove, AfterStore, 7, None),
        (clear, BeforeLookUp, 7, None),
        (clear, InLoad, 7, None),
        (clear, BeforeStore, 7, None),
        (clear, AfterStore, 7, None),
    ];
    for (number, (change, moment, gets, resident)) in table.into_iter().enumerate() {
        let cache = Cache::new();
        let port = Staged { cache: &cache, moment, change: || change(&cache) };
        let load = || {
            port.at(InLoad);
            Ok::<_, ()>(7)
        };
        let answer = cache.flights.load(&KEY, &port, load);
        assert_eq!((answer, cache.find(&KEY)), (Ok(gets), resident), "row {number}, {moment:?}");
        cache.assert_nothing_remains();
    }
}

#[test]
fn a_change_of_another_key_supersedes_nothing() {
    let cache = Cache::new();
    let load = || {
        cache.flights.supersede(&2);
        Ok::<_, ()>(7)
    };
    assert_eq!(cache.load(load), Ok(7));
    assert_eq!(cache.find(&KEY), Some(7));
}

#[test]
fn a_newcomer_after_a_removal_does_not_get_the_older_load() {
    let cache = Cache::new();
    let open: [AtomicBool; 2] = Default::default();
    let mut old = Box::pin(cache.load_async(once_open(&open[0], 1)));
    let mut old_waiter = Box::pin(cache.load_async(pending::<Result<u64, ()>>()));
    assert!(poll_quietly(&mut old).is_pending());
    assert!(poll_quietly(&mut old_waiter).is_pending());
    cache.remove();

    let mut new = Box::pin(cache.load_async(once_open(&open[1], 2)));
    let mut new_waiter = Box::pin(cache.load_async(pending::<Result<u64, ()>>()));
    assert!(poll_quietly(&mut new).is_pending());
    assert!(poll_quietly(&mut new_waiter).is_pending());
    assert_eq!(cache.loads(), 2);

    open[0].store(true, Ordering::Relaxed);
    assert_eq!(poll_quietly(&mut old), Poll::Ready(Ok(1)));
    assert_eq!(poll_quietly(&mut old_waiter), Poll::Ready(Ok(1)), "its waiters get its value");
    assert_eq!(cache.find(&KEY), None);
    assert!(!cache.flights.is_idle(), "the newer flight stays");

    open[1].store(true, Ordering::Relaxed);
    assert_eq!(poll_quietly(&mut new), Poll::Ready(Ok(2)));
    assert_eq!(poll_quietly(&mut new_waiter), Poll::Ready(Ok(2)));
    assert_eq!((cache.find(&KEY), cache.loads()), (Some(2), 2));
    cache.assert_nothing_remains();
}

/// The origin's version only grows. Once a removal that came after version v is done, nobody may get
/// a version before v, be it from the shelf or from a load. Callers are blocking, async, and async
/// ones that give up after one poll.
#[test]
fn nobody_gets_a_version_older_than_a_finished_removal() {
    const ROUNDS: u64 = 4_000;
    let cache = Cache::new();
    let (origin, floor) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let version = || {
        let version = origin.load(Ordering::Acquire) as u64;
        thread::yield_now();
        Ok::<_, ()>(version)
    };
    let twice_polled = || async {
        let mut polled = false;
        poll_fn(|context| {
            context.waker().wake_by_ref();
            if std::mem::replace(&mut polled, true) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        version()
    };
    let call = |round: u64| {
        let least = floor.load(Ordering::Acquire) as u64;
        let found = cache.find(&KEY);
        let answer = match (found, round % 3) {
            (Some(value), _) => Ok(value),
            (None, 0) => cache.load(version),
            (None, 1) => block_on(cache.load_async(twice_polled())),
            (None, _) => match poll_quietly(&mut Box::pin(cache.load_async(twice_polled()))) {
                Poll::Ready(answer) => answer,
                Poll::Pending => return,
            },
        };
        assert!(answer.unwrap() >= least, "found: {found:?}");
    };
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for offset in 0..3 {
            let (call, over) = (&call, &over);
            scope.spawn(move || {
                (offset..).take_while(|_| !over.load(Ordering::Relaxed)).for_each(call);
            });
        }
        for round in 0..ROUNDS {
            let version = origin.fetch_add(1, Ordering::AcqRel) + 1;
            if round % 2 == 0 {
                cache.remove()
            } else {
                cache.clear()
            }
            floor.store(version, Ordering::Release);
            thread::yield_now();
        }
        over.store(true, Ordering::Relaxed);
    });
    cache.assert_nothing_remains();
}
