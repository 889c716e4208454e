//! Blocking callers: one load, errors, panics, recursion.

use std::cell::Cell;
use std::hash::Hasher;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Barrier;

use super::*;

/// Runs `callers` threads that call at once and returns what they got.
fn crowd<T: Send>(callers: usize, call: impl Fn() -> T + Sync) -> Vec<T> {
    let start = Barrier::new(callers);
    thread::scope(|scope| {
        let call = || {
            start.wait();
            call()
        };
        let threads: Vec<_> = (0..callers).map(|_| scope.spawn(call)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn one_load_serves_sixteen_callers() {
    let cache = Cache::new();
    let load = || {
        cache.until_waiting(15);
        Ok::<_, ()>(7)
    };
    assert_eq!(crowd(16, || cache.load(load)), vec![Ok(7); 16]);
    assert_eq!(cache.loads(), 1);
    cache.assert_nothing_remains();
}

#[test]
fn an_error_reaches_every_waiter_and_is_not_stored() {
    let cache = Cache::new();
    let load = || {
        cache.until_waiting(7);
        Err("the origin is down".to_owned())
    };
    let errors: Vec<_> = crowd(8, || cache.load(load).unwrap_err());
    assert!(errors.iter().all(|error| Arc::ptr_eq(error, &errors[0])));
    assert_eq!((errors[0].as_str(), cache.loads()), ("the origin is down", 1));
    assert_eq!(cache.find(&KEY), None);
    assert_eq!(cache.load(|| Ok::<_, ()>(7)), Ok(7), "the next caller tries again");
    cache.assert_nothing_remains();
}

#[test]
fn a_waiter_with_another_type_of_error_tries_again() {
    let cache = Cache::new();
    thread::scope(|scope| {
        let failing = scope.spawn(|| {
            cache.load(|| {
                cache.until_waiting(4);
                Err("text")
            })
        });
        while cache.flights.is_idle() {
            thread::yield_now();
        }
        let load = || {
            cache.until_waiting(3);
            Err(404_u16)
        };
        let errors: Vec<_> = crowd(4, || cache.load(load).unwrap_err());
        assert_eq!(failing.join().unwrap(), Err(Arc::new("text")));
        assert_eq!(*errors[0], 404);
        assert!(errors.iter().all(|error| Arc::ptr_eq(error, &errors[0])));
    });
    assert_eq!(cache.loads(), 2);
    cache.assert_nothing_remains();
}

#[test]
fn a_value_serves_callers_whatever_their_type_of_error() {
    let cache = Cache::new();
    thread::scope(|scope| {
        let leader = scope.spawn(|| {
            cache.load(|| {
                cache.until_waiting(1);
                Ok::<_, String>(7)
            })
        });
        while cache.flights.is_idle() {
            thread::yield_now();
        }
        assert_eq!(cache.load(|| Err(404_u16)), Ok(7));
        assert_eq!(leader.join().unwrap(), Ok(7));
    });
    assert_eq!(cache.loads(), 1);
}

#[test]
fn a_panic_goes_to_the_leaders_caller_and_a_waiter_takes_over() {
    let cache = Cache::new();
    let loads = AtomicUsize::new(0);
    let answers = crowd(6, || {
        let load = || {
            if loads.fetch_add(1, Ordering::Relaxed) == 0 {
                cache.until_waiting(5);
                panic!("the loader's own");
            }
            cache.until_waiting(4);
            Ok::<_, ()>(7)
        };
        catch_unwind(AssertUnwindSafe(|| cache.load(load)))
            .map_err(|panic| *panic.downcast::<&str>().unwrap())
    });
    assert_eq!(answers.iter().filter(|answer| **answer == Ok(Ok(7))).count(), 5);
    assert_eq!(answers.iter().filter(|answer| **answer == Err("the loader's own")).count(), 1);
    assert_eq!(cache.loads(), 2);
    cache.assert_nothing_remains();
}

#[test]
fn a_loader_that_loads_its_own_key_does_not_wait_for_itself() {
    let cache = Cache::new();
    let answer = cache.load(|| {
        let inner = cache.load(|| Ok::<_, ()>(7));
        assert_eq!(cache.find(&KEY), None, "the inner value is not stored");
        inner.map(|value| value + 1).map_err(|_| ())
    });
    assert_eq!(answer, Ok(8));
    assert_eq!((cache.find(&KEY), cache.loads()), (Some(8), 2));
    assert_eq!(cache.load(|| cache.load(|| Err::<u64, _>(1))), Ok(8));
    cache.remove();
    let error = cache.load(|| cache.load(|| Err::<u64, _>(1))).unwrap_err();
    assert_eq!(**error, 1);
    cache.assert_nothing_remains();
}

#[test]
fn a_loader_may_load_other_keys() {
    let cache = Cache::new();
    let answer = cache.load(|| cache.flights.load(&2, &cache, || Ok::<_, ()>(7)));
    assert_eq!(answer, Ok(7));
    assert_eq!((cache.find(&KEY), cache.find(&2)), (Some(7), Some(7)));
    cache.assert_nothing_remains();
}

thread_local! {
    static EQ_PANICS: Cell<bool> = const { Cell::new(false) };
}

#[derive(Clone)]
struct Touchy;

impl Hash for Touchy {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

impl PartialEq for Touchy {
    fn eq(&self, _: &Self) -> bool {
        assert!(!EQ_PANICS.get(), "the key's own");
        true
    }
}

impl Eq for Touchy {}

struct Nothing;

impl Port<Touchy, u64> for Nothing {
    fn find(&self, _: &Touchy) -> Option<u64> {
        None
    }

    fn store(&self, _: &Touchy, _: u64, _: Duration, _: &dyn Fn() -> bool) {}
}

#[test]
fn a_panic_in_a_keys_eq_leaves_nobody_asleep_and_the_key_usable() {
    let flights = Flights::new(State::default());
    let holds = || flights.under_way.get(&Touchy).map_or(0, |flight| Arc::strong_count(&flight));
    thread::scope(|scope| {
        let leader = scope.spawn(|| {
            let load = || {
                while holds() != 3 {
                    thread::yield_now();
                }
                EQ_PANICS.set(true);
                Ok::<_, ()>(7)
            };
            catch_unwind(AssertUnwindSafe(|| flights.load(&Touchy, &Nothing, load))).is_err()
        });
        while flights.is_idle() {
            thread::yield_now();
        }
        assert_eq!(flights.load(&Touchy, &Nothing, || Ok::<_, ()>(8)), Ok(8));
        assert!(leader.join().unwrap());
    });
    assert!(flights.is_idle() && flights.under_way.is_empty());
}
