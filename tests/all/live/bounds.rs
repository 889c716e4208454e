//! Bounds at every instant, whatever threads and policies do; what a policy is told; the same again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ostler_abi::{Kind, NO_SLOT};
use ostler_core::{Cache, Cause, InsertOptions, InstanceSource, ManualClock, PolicyFault};
use ostler_tests::{BUILTINS, Books, Counted, Fifo, Mock, Scripted, Told, assert_within, native};

use super::{Fixed, Live, booked, draw};

/// Two threads insert and read `rounds` times each while a third looks at the bounds all the time.
fn assert_kept_under_load(cache: &Live, books: &Books, rounds: u64) {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let sampler = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                assert_within(&cache.stats());
            }
        });
        let work = |seed: u64| {
            for round in 0..rounds {
                let key = draw(round, seed, 3_000);
                if cache.get(&key).is_none() || round % 7 == 0 {
                    let _ = cache.insert(key, books.value(round));
                }
            }
        };
        let workers = [1, 2].map(|seed| scope.spawn(move || work(seed)));
        let ended = workers.map(|worker| worker.join().is_ok());
        over.store(true, Ordering::Relaxed);
        assert!(ended[0] && ended[1] && sampler.join().is_ok());
    });
}

fn odd_weight(key: &u64, value: &Counted) -> u32 {
    if key.is_multiple_of(50) { 300 } else { ((key + value.number()) % 9) as u32 }
}

/// Policies that keep the contract, and such that do not, in all ways.
fn all_sorts() -> Vec<Arc<dyn InstanceSource>> {
    let fault = |call, victims| match call {
        0..30 => Ok(victims),
        _ => Err(PolicyFault::Trap { reason: "unreachable".to_owned() }),
    };
    vec![
        native("lru"),
        native("s3fifo"),
        Scripted::fifo("traps", move |call, _, victims| fault(call, victims)),
        Scripted::fifo("keeps-all", |_, _, _| Ok(Vec::new())),
        Scripted::fifo("names-strangers", |call, _, victims| {
            Ok(if call < 9 { victims } else { vec![NO_SLOT] })
        }),
        Scripted::fifo("evicts-all", |call, events, victims| {
            let inserts = events.iter().filter(|event| event.kind() == Some(Kind::Insert));
            Ok(if call < 9 { victims } else { inserts.map(|event| event.slot).collect() })
        }),
    ]
}

#[test]
fn invariant_3_capacity_and_slack_hold_at_every_instant_under_any_policy() {
    for policy in all_sorts() {
        for weigher in [|_: &u64, _: &Counted| 1, odd_weight] {
            let books = Books::default();
            let cache =
                booked(1_000, &books).shards(2).weigher(weigher).insert_wait(Duration::ZERO);
            let cache = cache.policy(Arc::clone(&policy)).build().expect("it is made");
            assert_kept_under_load(&cache, &books, 15_000);
            cache.run_pending();
            cache.validate();
            books.check(&cache.stats());
            assert!(cache.stats().evicted > 0, "{}", policy.label());
        }
    }
}

/// A policy whose calls begin by waiting for word, once `stuck` is set; and where to send it.
fn stuck_policy(stuck: &Arc<AtomicBool>) -> (Arc<dyn InstanceSource>, Receiver<()>, Sender<()>) {
    let (waits, waiting) = channel();
    let (release, released) = channel();
    let (waits, released) = (Mutex::new(waits), Mutex::new(released));
    let stuck = Arc::clone(stuck);
    let policy = Scripted::fifo("stuck", move |_, _, victims| {
        if stuck.load(Ordering::Acquire) {
            let _ = waits.lock().expect("no panic").send(());
            let _ = released.lock().expect("no panic").recv();
        }
        Ok(victims)
    });
    (policy, waiting, release)
}

#[test]
fn invariant_3_a_policy_that_is_stuck_holds_nobody_up() {
    for weigher in [|_: &u64, _: &Counted| 1, odd_weight] {
        let (books, stuck) = (Books::default(), Arc::new(AtomicBool::new(false)));
        let (policy, waiting, release) = stuck_policy(&stuck);
        let cache = booked(1_000, &books).shards(1).weigher(weigher).insert_wait(Duration::ZERO);
        let cache = cache.policy(policy).build().expect("it is made");
        for key in 0..2_000 {
            let _ = cache.insert(key, books.value(key));
        }
        stuck.store(true, Ordering::Release);
        std::thread::scope(|scope| {
            // This one runs into the policy, and is kept until the end.
            scope.spawn(|| cache.run_pending_after_insert(&books));
            waiting.recv().expect("the policy is asked");
            assert_kept_under_load(&cache, &books, 15_000);
            cache.clear();
            let _ = cache.insert(1, books.value(1));
            assert_eq!(cache.get(&1).map(|value| value.number()), Some(1));
            stuck.store(false, Ordering::Release);
            release.send(()).expect("it waits");
        });
        cache.run_pending();
        cache.validate();
        let stats = cache.stats();
        assert!(stats.evicted_natively > 0 && stats.policy_faults == 0, "{stats:?}");
        assert!(stats.hits_dropped > 0, "{stats:?}");
        books.check(&stats);
    }
}

/// Asks the policy for sure.
trait Asking {
    fn run_pending_after_insert(&self, books: &Books);
}

impl Asking for Live {
    fn run_pending_after_insert(&self, books: &Books) {
        let _ = self.insert(5_000, books.value(5_000));
        self.run_pending();
    }
}

/// A cache of one shard under a first-in-first-out script, and what that is told.
fn told_cache(capacity: u64, clock: &ManualClock) -> (Cache<u64, u64, Fixed>, Told) {
    let log = Arc::new(Mutex::new(None));
    let shown = Arc::clone(&log);
    let source = Scripted::source("told", move |setup| {
        let mut fifo = Fifo::new(setup.capacity);
        let (mock, told) = Mock::instance(256, move |events| Ok(fifo.serve(events)));
        *shown.lock().expect("no panic") = Some(told);
        Ok(mock)
    });
    let cache = Cache::builder(capacity).hasher(Fixed::default()).shards(1).clock(clock.clone());
    let cache = cache.weigher(|_, &value: &u64| value as u32).policy(source);
    let cache = cache.build().expect("it is made");
    let told = log.lock().expect("no panic").take().expect("an instance was made");
    (cache, told)
}

#[test]
fn invariant_1_a_live_policy_is_told_slots_hashes_weights_costs_classes_and_times() {
    let clock = ManualClock::default();
    let (cache, told) = told_cache(100, &clock);
    clock.set_ms(70);
    let options = InsertOptions::new().cost(Duration::from_micros(9)).class(3);
    let _ = cache.insert_with(41, 5, options);
    assert_eq!(cache.get(&41), Some(5));
    cache.remove(&41);
    cache.run_pending();
    let records = told.records();
    let kinds: Vec<_> = records.iter().map(|record| record.kind()).collect();
    assert_eq!(kinds, [Some(Kind::Insert), Some(Kind::Hit), Some(Kind::Remove)]);
    for record in &records {
        assert_eq!((record.slot, record.weight, record.key_hash), (0, 5, records[0].key_hash));
        assert_eq!((record.cost_us, record.class, record.flags, record.time_ms), (9, 3, 0, 70));
    }
    assert_ne!(records[0].key_hash, 41, "a hash, not the key");
}

#[test]
fn invariant_5_lost_hits_are_counted_and_writes_are_all_heard_of() {
    let (stuck, heard) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
    let (waits, waiting) = channel();
    let (release, released) = channel::<()>();
    let gates = Mutex::new((waits, released));
    let (gate, ears) = (Arc::clone(&stuck), Arc::clone(&heard));
    let policy = Scripted::fifo("slow", move |_, events, victims| {
        if gate.load(Ordering::Acquire) {
            let gates = gates.lock().expect("no panic");
            let _ = (gates.0.send(()), gates.1.recv());
        }
        ears.lock().expect("no panic").extend(events.iter().map(|e| (e.kind(), e.slot, e.weight)));
        Ok(victims)
    });
    let cache = Cache::builder(10_000).hasher(Fixed::default()).shards(1).notes_len_max(16);
    let cache = cache.weigher(|_, &value: &u64| value as u32).policy(policy);
    let cache = cache.build().expect("it is made");
    for key in 0..100 {
        let _ = cache.insert(key, 1);
    }
    cache.run_pending();
    heard.lock().expect("no panic").clear();
    stuck.store(true, Ordering::Release);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            cache.remove(&99);
            cache.run_pending();
        });
        waiting.recv().expect("the policy is asked");
        for round in 0..10 {
            for key in 0..50 {
                assert!(cache.get(&key).is_some());
                let _ = cache.insert(key, 2 + round);
            }
        }
        for key in 60..80 {
            cache.remove(&key);
        }
        for key in 200..400 {
            let _ = cache.insert(key, 3);
        }
        for key in 300..400 {
            cache.remove(&key);
        }
        stuck.store(false, Ordering::Release);
        release.send(()).expect("it waits");
    });
    cache.run_pending();
    cache.validate();
    let (stats, heard) = (cache.stats(), heard.lock().expect("no panic"));
    assert!(stats.hits_dropped >= 400, "{stats:?}");
    assert!(stats.hits_delivered + stats.hits_coalesced + stats.hits_dropped <= stats.hits);
    let count = |kind| heard.iter().filter(|event| event.0 == Some(kind)).count();
    // One place a slot: of ten overwrites the last weight is told, and who came and went is not.
    assert!(count(Kind::Update) <= 66, "{} updates", count(Kind::Update));
    assert!((100..=116).contains(&count(Kind::Insert)), "{} inserts", count(Kind::Insert));
    assert!((21..=37).contains(&count(Kind::Remove)), "{} removals", count(Kind::Remove));
    let last_weights = heard.iter().filter(|event| event.0 == Some(Kind::Update) && event.2 == 11);
    assert!(last_weights.count() >= 50, "each overwritten entry is known by its last weight");
    assert_eq!(stats.policy_faults, 0);
}

#[test]
fn invariant_4_no_lock_is_held_for_more_than_a_bounded_number_of_records() {
    let (books, clock) = (Books::default(), ManualClock::default());
    let cache = booked(20_000, &books).shards(1).clock(clock.clone()).policy(native("lru"));
    let cache = cache.time_to_live(Duration::from_secs(1)).build().expect("it is made");
    for key in 0..30_000 {
        let _ = cache.insert(key, books.value(key));
    }
    cache.set_policy(native("sieve")).expect("the seat changes");
    cache.resize(5_000);
    cache.resize(20_000);
    for key in 0..30_000 {
        let _ = cache.insert(key, books.value(key));
    }
    clock.advance_ms(1_000);
    cache.run_pending();
    assert!(cache.is_empty());
    for key in 0..5_000 {
        let _ = cache.insert(key, books.value(key));
    }
    cache.clear();
    cache.run_pending();
    cache.validate();
    let stats = cache.stats();
    assert!((1..=1024).contains(&stats.held_records_max), "{stats:?}");
    books.check(&stats);
}

/// The keys that leave, with the causes, while one thread works.
fn departures(policy: Option<Arc<dyn InstanceSource>>, seed: u64) -> Vec<(u64, Cause)> {
    let (heard, clock) = (Arc::new(Mutex::new(Vec::new())), ManualClock::default());
    let ears = Arc::clone(&heard);
    let cache = Cache::builder(200).hasher(Fixed::default()).shards(2).seed(seed);
    let cache = cache.clock(clock.clone()).weigher(|key: &u64, _: &u64| 1 + (key % 4) as u32);
    let cache = cache.on_removal(move |key, _, cause| {
        ears.lock().expect("no panic").push((key, cause));
    });
    let cache = match policy {
        Some(policy) => cache.policy(policy).build().expect("it is made"),
        None => cache.build().expect("it is made"),
    };
    for round in 0..6_000 {
        let key = draw(round, 5, 400).min(draw(round, 6, 400));
        match round % 11 {
            0 => _ = cache.remove(&key),
            1 => clock.advance_ms(7),
            2 => {
                let options = InsertOptions::new().ttl(Duration::from_millis(500));
                let _ = cache.insert_with(key, round, options);
            }
            _ if cache.get(&key).is_none() => _ = cache.insert(key, round),
            _ => {}
        }
    }
    cache.run_pending();
    std::mem::take(&mut *heard.lock().expect("no panic"))
}

#[test]
fn invariant_7_the_same_operations_and_seed_evict_the_same_live() {
    for builtin in &BUILTINS {
        let run = || departures(Some(native(builtin.name)), 3);
        assert_eq!(run(), run(), "{}", builtin.name);
        let module = ostler::policy(builtin.name).expect("it is admitted");
        assert_eq!(run(), departures(Some(module), 3), "{} as a module", builtin.name);
    }
    assert_eq!(departures(None, 3), departures(None, 3), "the fallback");
    assert_ne!(departures(None, 3), departures(None, 4), "its seed matters");
}

/// What a policy proposes is a value; the engine alone acts on it. The script below decides always
/// the same, and what becomes of it follows from what is resident by then.
#[test]
fn invariant_6_a_decision_has_no_effect_until_maintenance_applies_it() {
    let (stuck, asked) = (Arc::new(AtomicBool::new(false)), channel());
    let (release, released) = channel::<()>();
    let gates = Mutex::new((asked.0, released));
    let gate = Arc::clone(&stuck);
    let policy = Scripted::fifo("slow", move |_, _, victims| {
        if gate.load(Ordering::Acquire) && !victims.is_empty() {
            let gates = gates.lock().expect("no panic");
            let _ = (gates.0.send(()), gates.1.recv());
        }
        Ok(victims)
    });
    let books = Books::default();
    let cache = booked(10, &books).shards(1).slack(5).policy(policy).build().expect("it is made");
    for key in 0..10 {
        let _ = cache.insert(key, books.value(key));
    }
    cache.run_pending();
    stuck.store(true, Ordering::Release);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for key in [20, 21] {
                let _ = cache.insert(key, books.value(key));
            }
            cache.run_pending();
        });
        // The policy has chosen 0 and 1; before it says so, 0 is removed and 1 overwritten.
        asked.1.recv().expect("the policy is asked");
        stuck.store(false, Ordering::Release);
        assert!(cache.remove(&0));
        let _ = cache.insert(1, books.value(100));
        release.send(()).expect("it waits");
    });
    cache.run_pending();
    cache.validate();
    let stats = cache.stats();
    assert_eq!((stats.stale_victims, stats.policy_faults, stats.removed), (1, 0, 1), "{stats:?}");
    assert!((2..10).all(|key| cache.contains(&key)) && cache.contains(&20) && cache.contains(&21));
    books.check(&stats);
}
