//! Code of the user's that panics, or that calls the cache from where the cache calls it.

use std::cell::Cell;
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use ostler_core::{Cache, Cause, Change, InsertOptions, ManualClock};
use ostler_tests::{Books, Scripted, native};

use super::{Fixed, booked};

thread_local! {
    /// Calls of the user's code on this thread until one panics.
    static FUSE: Cell<u32> = const { Cell::new(u32::MAX) };
}

/// One call of the user's code.
fn burn() {
    let left = FUSE.get();
    FUSE.set(left.saturating_sub(1));
    if left == 0 {
        FUSE.set(u32::MAX);
        panic_any("the user's code");
    }
}

/// A panic that is meant, without a message on the screen.
fn panic_any(what: &'static str) -> ! {
    resume_unwind(Box::new(what))
}

/// Runs `work` with a fuse of this length. True where it burnt down.
fn with_fuse(length: u32, work: impl FnOnce()) -> bool {
    FUSE.set(length);
    let burnt = catch_unwind(AssertUnwindSafe(work)).is_err();
    FUSE.set(u32::MAX);
    burnt
}

/// A key whose comparison, hash and clone may panic.
#[derive(Debug)]
struct Key(u64);

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        burn();
        self.0 == other.0
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        burn();
        self.0.hash(state);
    }
}

impl Clone for Key {
    fn clone(&self) -> Self {
        burn();
        Self(self.0)
    }
}

/// A value whose clone may panic, with books on how many are alive.
#[derive(Debug)]
struct Value(ostler_tests::Counted);

impl Clone for Value {
    fn clone(&self) -> Self {
        burn();
        Self(self.0.clone())
    }
}

type Touchy = Cache<Key, Value, Fixed>;

/// A full cache of 30 keys, whose time stands still.
fn touchy(policy: Option<&str>, books: &Books, clock: &ManualClock) -> Touchy {
    touchy_heard(policy, (books, clock), |_| {})
}

/// As [`touchy`], with a listener.
fn touchy_heard(
    policy: Option<&str>,
    (books, clock): (&Books, &ManualClock),
    hear: impl Fn(Cause) + Send + Sync + 'static,
) -> Touchy {
    let builder = Cache::builder(30).hasher(Fixed::default()).shards(1).clock(clock.clone());
    let builder = builder.on_removal(move |_, _, cause| hear(cause));
    let builder = builder.weigher(|key: &Key, _: &Value| 1 + (key.0 % 3) as u32).notes_len_max(4);
    let cache = match policy {
        Some(name) => builder.policy(native(name)).build().expect("it is made"),
        None => builder.build().expect("it is made"),
    };
    for key in 0..40 {
        let _ = cache.insert(Key(key), Value(books.value(key)));
    }
    cache
}

/// Operations by number; each calls the user's code at least once.
const OPERATIONS: u32 = 11;

fn operate(cache: &Touchy, books: &Books, clock: &ManualClock, operation: u32) {
    let value = |number| Value(books.value(number));
    match operation {
        0 => drop(cache.get(&Key(39))),
        1 => _ = cache.insert(Key(100), value(100)),
        2 => _ = cache.insert(Key(39), value(39)),
        3 => {
            let options = InsertOptions::new().ttl(Duration::from_millis(10));
            let _ = cache.insert_with(Key(101), value(101), options);
            let _ = cache.insert_with(Key(102), value(102), options);
            clock.advance_ms(10);
            let _ = cache.insert(Key(103), value(103));
        }
        4 => _ = cache.remove(&Key(38)),
        5 => drop(cache.compute(Key(37), |_| Change::Put(value(37)))),
        6 => drop(cache.get_or_insert_with(&Key(104), || value(104))),
        7 => cache.clear(),
        8 => (200..230).for_each(|key| _ = cache.insert(Key(key), value(key))),
        9 => {
            cache.run_pending();
            cache.resize(10);
        }
        _ => drop(cache.iter().collect::<Vec<_>>()),
    }
}

/// Every call of the user's code in every operation panics once.
#[test]
fn invariant_8_a_panic_in_eq_hash_or_clone_leaves_everything_valid() {
    for policy in [None, Some("lru"), Some("s3fifo")] {
        for operation in 0..OPERATIONS {
            let mut length = 0;
            loop {
                let (books, clock) = (Books::default(), ManualClock::default());
                let heard = Arc::new(AtomicU64::new(0));
                let ears = Arc::clone(&heard);
                let hear = move |_| _ = ears.fetch_add(1, Ordering::Relaxed);
                let cache = touchy_heard(policy, (&books, &clock), hear);
                let burnt = with_fuse(length, || operate(&cache, &books, &clock, operation));
                cache.validate();
                clock.advance_ms(50);
                assert!(!cache.contains(&Key(101)) && !cache.contains(&Key(102)), "ended");
                // It goes on: other keys come and go, and the counts stay exact.
                for key in 300..400 {
                    let _ = cache.insert(Key(key), Value(books.value(key)));
                    let stats = cache.stats();
                    assert!(stats.weight <= stats.capacity + stats.slack, "{stats:?}");
                }
                cache.run_pending();
                cache.validate();
                let stats = cache.stats();
                let case = format!("{policy:?} {operation} {length}: {stats:?}");
                assert_eq!(books.alive(), stats.entries, "{case}");
                assert_eq!(stats.inserted - stats.entries, heard.load(Ordering::Relaxed), "{case}");
                let in_charge = u64::from(policy.is_some());
                assert_eq!((stats.shards_in_charge, stats.policy_faults), (in_charge, 0), "{case}");
                if !burnt {
                    break;
                }
                length += 1;
            }
            assert!(length > 0, "{operation} calls the user's code");
        }
    }
}

/// While the maintainer is held, writes find the ring full and go to the log; a panic while that is taken
/// must lose none of it, and must not keep a policy from being appointed ever after.
#[test]
fn invariant_8_a_panic_while_the_log_is_taken_loses_no_news() {
    for length in 0..40 {
        let (books, clock) = (Books::default(), ManualClock::default());
        let shared = Arc::new(OnceLock::<Touchy>::new());
        let (cache_of, books_of) = (Arc::clone(&shared), books.clone());
        let armed = Arc::new(AtomicU64::new(0));
        let fuse = Arc::clone(&armed);
        // The policy's code runs while the maintainer is held: what it writes finds the ring full.
        let policy = Scripted::fifo("writes", move |_, _, victims| {
            if fuse.swap(0, Ordering::Relaxed) == 1 {
                let cache = cache_of.get().expect("it is set");
                for key in (0..20).chain(500..510) {
                    let _ = cache.insert(Key(key), Value(books_of.value(key)));
                }
                for key in 0..5 {
                    cache.remove(&Key(key));
                }
                FUSE.set(length);
            }
            Ok(victims)
        });
        let cache = touchy(None, &books, &clock);
        assert!(shared.set(cache.clone()).is_ok());
        cache.set_policy(policy).expect("the seat changes");
        cache.run_pending();
        armed.store(1, Ordering::Relaxed);
        let _ = catch_unwind(AssertUnwindSafe(|| {
            for key in 600..640 {
                let _ = cache.insert(Key(key), Value(books.value(key)));
            }
            cache.run_pending();
        }));
        FUSE.set(u32::MAX);
        for name in ["lru", "sieve"] {
            cache.set_policy(native(name)).expect("the seat changes");
        }
        for key in 700..800 {
            let _ = cache.insert(Key(key), Value(books.value(key)));
        }
        cache.run_pending();
        cache.validate();
        let stats = cache.stats();
        assert_eq!((books.alive(), stats.shards_in_charge), (stats.entries, 1), "{length}");
    }
}

/// A panic while entries are handed over: the policy before stays, or the fallback serves.
#[test]
fn invariant_8_a_panic_in_hash_during_a_change_of_the_policy_leaves_everything_valid() {
    for policy in [None, Some("lru")] {
        for length in (0..60).step_by(3) {
            let (books, clock) = (Books::default(), ManualClock::default());
            let cache = touchy(policy, &books, &clock);
            let burnt = with_fuse(length, || _ = cache.set_policy(native("sieve")));
            for key in 300..400 {
                let _ = cache.insert(Key(key), Value(books.value(key)));
            }
            cache.set_policy(native("fifo")).expect("the seat changes");
            cache.run_pending();
            cache.validate();
            assert_eq!(books.alive(), cache.stats().entries, "{policy:?} {length} {burnt}");
        }
    }
}

/// A value that, when it drops, writes and reads the cache that held it.
struct Chatty {
    cache: Arc<OnceLock<Cache<u64, Chatty, Fixed>>>,
    number: u64,
}

impl Drop for Chatty {
    fn drop(&mut self) {
        let Some(cache) = self.cache.get() else { return };
        // Waits for the maintainer, and for its shard.
        let _ = (cache.seat_status(), cache.stats());
        let _ =
            (cache.contains(&self.number), cache.len(), cache.remove(&(self.number + 1_000_000)));
        if self.number < 500 {
            let value = Chatty { cache: Arc::clone(&self.cache), number: self.number + 1000 };
            let _ = cache.insert(self.number + 1000, value);
        }
    }
}

#[test]
fn invariant_8_values_drop_under_no_lock() {
    for policy in [None, Some("lru")] {
        let shared = Arc::new(OnceLock::new());
        let clock = ManualClock::default();
        let builder = Cache::builder(100).hasher(Fixed::default()).shards(1).clock(clock.clone());
        let cache = match policy {
            Some(name) => builder.policy(native(name)).build().expect("it is made"),
            None => builder.build().expect("it is made"),
        };
        assert!(shared.set(cache.clone()).is_ok());
        let value = |number| Chatty { cache: Arc::clone(&shared), number };
        let brief = InsertOptions::new().ttl(Duration::from_millis(5));
        for key in 0..500 {
            let _ = cache.insert_with(key, value(key), brief);
            let _ = cache.insert(key / 2, value(key / 2));
            cache.remove(&(key / 3));
            clock.advance_ms(1);
            let _ = cache.get_with(&key, |value| value.number);
        }
        cache.clear();
        cache.resize(10);
        cache.run_pending();
        cache.set_policy(native("sieve")).expect("the seat changes");
        cache.run_pending();
        cache.validate();
        assert!(cache.stats().entries <= 10);
        cache.clear();
    }
}

/// A value that asks who is in charge when it drops, which waits for the maintainer.
#[derive(Clone)]
struct Curious(Arc<OnceLock<Cache<u64, Curious>>>);

impl Drop for Curious {
    fn drop(&mut self) {
        if let Some(cache) = self.0.get() {
            let _ = cache.seat_status();
        }
    }
}

#[test]
fn invariant_8_a_loaded_value_that_nobody_wants_drops_under_no_lock() {
    let shared = Arc::new(OnceLock::<Cache<u64, Curious>>::new());
    let cache_of = Arc::clone(&shared);
    // The key that is being stored is removed while the policy is asked for room.
    let policy = Scripted::fifo("removes", move |_, events, victims| {
        if events.iter().any(|event| event.kind() == Some(ostler_abi::Kind::Insert))
            && let Some(cache) = cache_of.get()
        {
            cache.remove(&7);
        }
        Ok(victims)
    });
    let cache = Cache::builder(10).shards(1).slack(0).policy(policy).build().expect("it is made");
    assert!(shared.set(cache.clone()).is_ok());
    let value = || Curious(Arc::clone(&shared));
    for key in 100..110 {
        let _ = cache.insert(key, value());
    }
    drop(cache.get_or_insert_with(&7, value));
    assert!(!cache.contains(&7), "it was removed during its load");
    cache.validate();
    cache.clear();
}

#[test]
fn invariant_8_listeners_weighers_and_loaders_may_call_the_cache() {
    type Shared = Arc<OnceLock<Cache<u64, u64, Fixed>>>;
    let (shared, heard) = (Shared::default(), Arc::new(Mutex::new(Vec::new())));
    let (weighs, listens, ears) = (Arc::clone(&shared), Arc::clone(&shared), Arc::clone(&heard));
    let cache = Cache::builder(50)
        .hasher(Fixed::default())
        .shards(1)
        .policy(native("s3fifo"))
        .weigher(move |key: &u64, _| {
            let cache = weighs.get().expect("it is set");
            1 + u32::from(cache.contains(key)) + u32::from(cache.get(&(key / 2)).is_some())
        })
        .on_removal(move |key, value, cause| {
            let cache = listens.get().expect("it is set");
            let _ = (cache.peek(&key), cache.get(&(key + 1)), cache.stats());
            if key < 100 && cause == Cause::Evicted {
                let _ = cache.insert(key + 10_000, value);
                cache.remove(&(key + 1));
                cache.run_pending();
            }
            ears.lock().expect("no panic").push(cause);
        })
        .build()
        .expect("it is made");
    shared.set(cache.clone()).expect("it is set once");
    for key in 0..300 {
        let value = cache.get_or_insert_with(&key, || {
            let _ = cache.insert(key + 20_000, key);
            cache.get_or_insert_with(&(key + 30_000), || key) + 1
        });
        assert_eq!(value, key + 1);
    }
    cache.resize(20);
    cache.set_policy(native("lru")).expect("the seat changes");
    cache.clear();
    cache.run_pending();
    cache.validate();
    let stats = cache.stats();
    assert_eq!((stats.inserted - stats.entries) as usize, heard.lock().expect("no panic").len());
}

#[test]
fn panics_of_listeners_are_counted_and_hurt_nobody() {
    let frail = Scripted::failing("frail", 3);
    let cache = Cache::<u64, u64>::builder(20).shards(1).policy(frail);
    let cache = cache.on_removal(|_, _, _| panic_any("a listener"));
    let cache = cache.on_policy(|_| panic_any("a listener")).build().expect("it is made");
    for key in 0..1000 {
        let _ = cache.insert(key, key);
    }
    cache.run_pending();
    cache.validate();
    let stats = cache.stats();
    // Two of the policy's: it took the seat, and lost it.
    assert_eq!(stats.listener_panics, stats.evicted + stats.rejected + 2, "{stats:?}");
    assert_eq!((stats.policy_faults, stats.inserted), (1, 1000));
}

#[test]
fn panics_of_weighers_changes_and_loaders_change_nothing() {
    let books = Books::default();
    let weigher = |key: &u64, _: &ostler_tests::Counted| {
        if *key == 7 { panic_any("a weigher") } else { 1 }
    };
    let cache = booked(20, &books).shards(1).weigher(weigher).policy(native("lru"));
    let cache = cache.build().expect("it is made");
    let _ = cache.insert(1, books.value(1));
    let panics = |work: &dyn Fn()| assert!(catch_unwind(AssertUnwindSafe(work)).is_err());
    panics(&|| _ = cache.insert(7, books.value(7)));
    panics(&|| drop(cache.compute(1, |_| panic_any("a change"))));
    panics(&|| drop(cache.compute(7, |_| Change::Put(books.value(7)))));
    panics(&|| drop(cache.get_or_insert_with(&2, || panic_any("a loader"))));
    panics(&|| drop(cache.get_or_insert_with(&7, || books.value(7))));
    panics(&|| _ = cache.get_with(&1, |_| panic_any("a reader")));
    assert_eq!((cache.len(), cache.get(&1).map(|value| value.number())), (1, Some(1)));
    assert_eq!(cache.get_or_insert_with(&2, || books.value(5)).number(), 5, "no load is stuck");
    cache.run_pending();
    cache.validate();
    books.check(&cache.stats());
}
