//! Who is in charge: changes under load, the way back, faults, quarantine and restoration.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use ostler_abi::Kind;
use ostler_core::{Cache, InstanceSource, ManualClock, PolicyEvent, PolicyFault, SeatError};
use ostler_tests::{BUILTINS, Books, Scripted, assert_within, native, refusal};

use super::{Fixed, booked, draw};

/// Runs `work` while two threads call `load` with their number and a round, again and again.
fn under_load<R>(load: impl Fn(u64, u64) + Sync, work: impl FnOnce() -> R) -> R {
    let (over, begun) = (AtomicBool::new(false), std::sync::Barrier::new(3));
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let (over, begun, load) = (&over, &begun, &load);
            scope.spawn(move || {
                begun.wait();
                let mut round = 0;
                while !over.load(Ordering::Relaxed) {
                    load(thread, round);
                    round += 1;
                }
            });
        }
        begun.wait();
        // The threads end even where `work` panics, so that a failure is a failure and no hang.
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        over.store(true, Ordering::Relaxed);
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[test]
fn invariant_9_all_policies_in_turn_lose_no_entry_and_fail_no_call() {
    const ENTRIES: u64 = 20_000;
    let books = Books::default();
    let cache = booked(ENTRIES + 2_000, &books).shards(2).policy(native("fifo"));
    let cache = cache.build().expect("it is made");
    for key in 0..ENTRIES {
        let _ = cache.insert(key, books.value(key));
    }
    let load = |thread: u64, round: u64| {
        let key = draw(round, thread, ENTRIES);
        let found = cache.get(&key).map(|value| value.number());
        assert_eq!(found, Some(key), "an entry that nobody evicted or removed is there");
        if round.is_multiple_of(4) {
            // Newcomers that stay under the capacity: nobody has to go.
            let fleeting = ENTRIES + thread * 500 + round % 500;
            let _ = cache.insert(fleeting, books.value(fleeting));
            cache.remove(&fleeting);
        }
    };
    under_load(load, || {
        for builtin in &BUILTINS {
            let policy = ostler::policy(builtin.name).expect("it is admitted");
            let handover = cache.set_policy(policy).expect("the seat changes");
            assert!(handover.adopted >= ENTRIES, "{}: {handover:?}", builtin.name);
            assert_eq!(handover.shards, 2);
            let status = cache.seat_status();
            assert_eq!(status.actual, [(); 2].map(|()| Some(builtin.name.to_owned())));
        }
        let handover = cache.rollback().expect("the seat changes back");
        assert!(handover.adopted >= ENTRIES, "{handover:?}");
        assert_eq!(cache.seat_status().desired.as_deref(), Some("twoq"));
    });
    cache.run_pending();
    cache.validate();
    let stats = cache.stats();
    assert_eq!((stats.evicted, stats.rejected, stats.policy_faults), (0, 0, 0), "{stats:?}");
    assert!(stats.held_records_max <= 1024, "{stats:?}");
    for key in 0..ENTRIES {
        assert_eq!(cache.peek(&key).map(|value| value.number()), Some(key));
    }
    books.check(&stats);
}

/// Changes the policy over and over in a full cache, under load that evicts and overwrites.
fn change_in_a_full_cache(first: Option<&str>, weigher: fn(&u64, &ostler_tests::Counted) -> u32) {
    let books = Books::default();
    let builder = booked(1_000, &books).shards(1).weigher(weigher).insert_wait(Duration::ZERO);
    let cache = match first {
        Some(name) => builder.policy(native(name)).build().expect("it is made"),
        None => builder.build().expect("it is made"),
    };
    for key in 0..1_500 {
        let _ = cache.insert(key, books.value(key));
    }
    let load = |thread: u64, round: u64| {
        let key = draw(round, thread, 3_000);
        let _ = match round % 5 {
            0 => cache.remove(&key),
            1 | 2 => cache.get(&key).is_some(),
            _ => cache.insert(key, books.value(round)) == ostler_core::Stored::New,
        };
        assert_within(&cache.stats());
    };
    under_load(load, || {
        for turn in 0..60 {
            let policy = native(["lru", "fifo", "sieve", "s3fifo"][turn % 4]);
            let handover = cache.set_policy(policy);
            assert!(handover.is_ok(), "turn {turn}: {handover:?}");
        }
    });
    cache.run_pending();
    cache.validate();
    let stats = cache.stats();
    assert_eq!(stats.policy_faults, 0, "{stats:?}");
    books.check(&stats);
}

#[test]
fn invariant_9_the_new_view_is_what_is_resident() {
    change_in_a_full_cache(Some("lru"), |_, _| 1);
    change_in_a_full_cache(Some("lru"), |key, value| (key + value.number()) as u32 % 9);
}

#[test]
fn invariant_9_holds_for_entries_heavier_than_the_slack() {
    change_in_a_full_cache(Some("fifo"), |key, _| if key % 10 == 0 { 90 } else { 2 });
}

/// Each round begins with the fallback in charge of a full cache.
#[test]
fn a_policy_can_follow_the_fallback_in_a_full_cache_under_load() {
    for round in 0..30 {
        let books = Books::default();
        let cache = booked(1_000, &books).shards(1).notes_len_max(64);
        let cache = cache.build().expect("it is made");
        for key in 0..1_500 {
            let _ = cache.insert(key, books.value(key));
        }
        let load = |thread: u64, number: u64| {
            let key = draw(number, thread + round, 3_000);
            let _ = cache.insert(key, books.value(number));
            cache.remove(&draw(number, thread + 7, 3_000));
        };
        let handover = under_load(load, || cache.set_policy(native("lru")));
        assert!(handover.is_ok(), "round {round}: {handover:?}");
        cache.run_pending();
        cache.validate();
        let stats = cache.stats();
        assert_eq!(stats.policy_faults, 0, "{stats:?}");
        books.check(&stats);
    }
}

#[test]
fn what_was_used_lately_survives_a_change() {
    for (from, to) in [("fifo", "lru"), ("lru", "lru"), ("sieve", "lru")] {
        let cache = Cache::<u64, u64>::builder(4).shards(1).slack(0).notes_len_max(1);
        let cache = cache.policy(native(from)).build().expect("it is made");
        for key in [1, 2, 3, 4] {
            let _ = cache.insert(key, key);
            cache.run_pending();
        }
        // Overwriting is an access, too, and one that nobody coalesces with the next.
        for key in [2, 4, 1] {
            let _ = cache.insert(key, key);
            cache.run_pending();
        }
        // Coldest first: 3 2 4 1. A cold start would know nothing of that.
        cache.set_policy(native(to)).expect("the seat changes");
        for (newcomer, victim) in [(11, 3), (12, 2), (13, 4), (14, 1)] {
            assert!(cache.contains(&victim), "{from} to {to}: {victim} is still there");
            let _ = cache.insert(newcomer, newcomer);
            cache.run_pending();
            assert!(!cache.contains(&victim), "{from} to {to}: {victim} is the next");
            assert_eq!(cache.len(), 4);
        }
    }
}

/// Fails when it is told of `at` entries; only the instance with this number, from 1.
fn fails_adopting(at: u64, instance: u64) -> Arc<dyn InstanceSource> {
    let made = Arc::new(Mutex::new(0));
    Scripted::source("half-way", move |setup| {
        *made.lock().expect("no panic") += 1;
        let bad = *made.lock().expect("no panic") == instance;
        let mut adopted = 0u64;
        let (mock, _) = ostler_tests::Mock::instance(64, move |events| {
            adopted +=
                events.iter().filter(|event| event.kind() == Some(Kind::Adopt)).count() as u64;
            let fault = PolicyFault::Trap { reason: format!("at {}", setup.capacity) };
            if bad && adopted >= at { Err(fault) } else { Ok(Vec::new()) }
        });
        Ok(mock)
    })
}

#[test]
fn a_policy_that_fails_while_it_is_prepared_changes_nothing() {
    for (at, instance) in [(1, 1), (200, 1), (1, 2), (200, 3), (1, 4)] {
        let events = Arc::new(Mutex::new(Vec::new()));
        let ears = Arc::clone(&events);
        let cache = Cache::builder(4_000).hasher(Fixed::default()).shards(4);
        let cache =
            cache.on_policy(move |event| ears.lock().expect("no panic").push(event.clone()));
        let cache = cache.policy(native("lru")).build().expect("it is made");
        for key in 0..3_000 {
            let _ = cache.insert(key, key);
        }
        let refused = cache.set_policy(fails_adopting(at, instance)).expect_err("it fails");
        assert_eq!(refusal(&refused), "trap");
        let shard = instance as usize - 1;
        assert!(
            matches!(&refused, SeatError::Fault { shard: found, .. } if found == &shard),
            "{refused}"
        );
        let status = cache.seat_status();
        assert_eq!(status.actual, [(); 4].map(|()| Some("lru".to_owned())), "{at} {instance}");
        assert_eq!((status.desired.as_deref(), status.previous), (Some("lru"), None));
        assert_eq!(cache.stats().evicted, 0);
        for key in 3_000..9_000 {
            let _ = cache.insert(key, key);
        }
        cache.run_pending();
        cache.validate();
        assert!(cache.stats().evicted > 0 && cache.stats().shards_in_charge == 4);
        let events = events.lock().expect("no panic");
        assert!(matches!(events[..], [PolicyEvent::Changed { .. }]), "{events:?}");
    }
}

#[test]
fn a_victim_while_preparing_is_a_fault() {
    let eager = Scripted::source("eager", |_| {
        let (mock, _) = ostler_tests::Mock::instance(64, |events| {
            Ok(events
                .iter()
                .filter(|event| event.kind() == Some(Kind::Adopt))
                .map(|e| e.slot)
                .collect())
        });
        Ok(mock)
    });
    let cache = Cache::<u64, u64>::builder(100).shards(1).policy(native("lru"));
    let cache = cache.build().expect("it is made");
    let _ = cache.insert(1, 1);
    let refused = cache.set_policy(eager).expect_err("it fails");
    assert_eq!((refusal(&refused), cache.len()), ("bad_victim", 1));
    cache.validate();
}

#[test]
fn there_is_a_way_back_only_where_there_was_somebody() {
    let cache = Cache::<u64, u64>::builder(10).build().expect("it is made");
    assert_eq!(cache.rollback(), Err(SeatError::NoPrevious));
    cache.set_policy(native("lru")).expect("the seat changes");
    assert_eq!(cache.rollback(), Err(SeatError::NoPrevious));
    cache.set_policy(native("fifo")).expect("the seat changes");
    for expected in ["lru", "fifo", "lru"] {
        cache.rollback().expect("the seat changes back");
        assert_eq!(cache.seat_status().desired.as_deref(), Some(expected));
    }
}

/// Inserts until the policy in charge has faulted.
fn provoke(cache: &Cache<u64, u64>, first_key: u64) {
    for key in first_key..first_key + 500 {
        let _ = cache.insert(key, key);
    }
    cache.run_pending();
}

#[test]
fn restored_with_back_off_and_quarantined_at_the_third_fault() {
    let (clock, events) = (ManualClock::default(), Arc::new(Mutex::new(Vec::new())));
    let ears = Arc::clone(&events);
    let policy = Scripted::failing("frail", 2);
    let cache = Cache::<u64, u64>::builder(100).shards(1).clock(clock.clone()).faults_max(3);
    let cache = cache.restore_after(Duration::from_secs(10)).policy(Arc::clone(&policy));
    let cache = cache.on_policy(move |event| ears.lock().expect("no panic").push(event.clone()));
    let cache = cache.build().expect("it is made");
    let told = || std::mem::take(&mut *events.lock().expect("no panic"));
    let in_charge = || cache.stats().shards_in_charge == 1;
    assert!(in_charge() && told().len() == 1);
    let (mut now_ms, name) = (0, "frail".to_owned());
    for (fault, wait_ms) in [(1, 10_000), (2, 20_000), (3, 40_000)] {
        provoke(&cache, now_ms);
        assert!(!in_charge() && cache.len() == 100, "the fallback serves");
        let told_now = told();
        let expected = usize::from(fault == 3) + 1;
        assert!(told_now.len() == expected, "fault {fault}: {told_now:?}");
        assert!(matches!(&told_now[0], PolicyEvent::Faulted { policy, .. } if *policy == name));
        clock.set_ms(now_ms + wait_ms - 1);
        cache.run_pending();
        assert!(!in_charge(), "too early after fault {fault}");
        now_ms += wait_ms;
        clock.set_ms(now_ms);
        cache.run_pending();
        assert_eq!(in_charge(), fault < 3, "after fault {fault}");
        let restored = told() == [PolicyEvent::Restored { policy: name.clone(), shards: 1 }];
        assert_eq!(restored, fault < 3, "after fault {fault}");
    }
    let refused = cache.set_policy(Arc::clone(&policy)).expect_err("it is not trusted");
    assert_eq!(refused, SeatError::Quarantined { policy: name });
    cache.pardon(&*policy);
    assert!(!in_charge(), "a pardon is no appointment");
    cache.set_policy(policy).expect("it is trusted again");
    assert!(in_charge());
    cache.validate();
}

#[test]
fn a_pardoned_policy_is_restored_and_stays() {
    let clock = ManualClock::default();
    // Faults once in each of the first three instances, and is honest ever after.
    let policy = {
        let instances = AtomicU64::new(0);
        Scripted::source("frail", move |setup| {
            let instance = instances.fetch_add(1, Ordering::Relaxed);
            let fault_at = if instance < 3 { 2 } else { u64::MAX };
            Scripted::failing("frail", fault_at).instance(setup)
        })
    };
    let cache = Cache::<u64, u64>::builder(100).shards(1).clock(clock.clone()).faults_max(3);
    let cache = cache.restore_after(Duration::from_secs(10)).policy(Arc::clone(&policy));
    let cache = cache.build().expect("it is made");
    for _ in 0..3 {
        provoke(&cache, 0);
        clock.advance_ms(100_000);
        cache.run_pending();
    }
    assert_eq!(cache.stats().shards_in_charge, 0, "it is quarantined");
    cache.pardon(&*policy);
    cache.run_pending();
    for _ in 0..3 {
        provoke(&cache, 0);
        assert_eq!(cache.stats().shards_in_charge, 1, "it is back, and stays");
    }
    cache.validate();
}

#[test]
fn a_fault_in_one_shard_while_the_next_is_prepared_is_restored_too() {
    let clock = ManualClock::default();
    let shared = Arc::new(OnceLock::<Cache<u64, u64>>::new());
    let (cache_of, instances) = (Arc::clone(&shared), AtomicU64::new(0));
    // While the second instance is made, the first one, already in charge, faults.
    let policy = Scripted::source("frail", move |setup| {
        let instance = instances.fetch_add(1, Ordering::Relaxed);
        if instance == 1 {
            provoke(cache_of.get().expect("the cache is there"), 0);
        }
        Scripted::failing("frail", if instance == 0 { 2 } else { u64::MAX }).instance(setup)
    });
    let cache = Cache::<u64, u64>::builder(100).shards(2).clock(clock.clone()).faults_max(0);
    let cache = cache.restore_after(Duration::from_secs(10)).build().expect("it is made");
    shared.set(cache.clone()).expect("it is set once");
    cache.set_policy(policy).expect("the seats change");
    assert_eq!(cache.stats().shards_in_charge, 1);
    clock.advance_ms(10_000);
    cache.run_pending();
    assert_eq!(cache.stats().shards_in_charge, 2);
    cache.validate();
}

#[test]
fn invariant_8_a_listener_of_policies_may_ask_and_change_them() {
    type Shared = Arc<OnceLock<Cache<u64, u64>>>;
    let (shared, statuses) = (Shared::default(), Arc::new(Mutex::new(Vec::new())));
    let (cache_of, heard) = (Arc::clone(&shared), Arc::clone(&statuses));
    let cache = Cache::<u64, u64>::builder(100).shards(2).faults_max(1);
    let cache = cache.on_policy(move |event| {
        let Some(cache) = cache_of.get() else { return };
        if let PolicyEvent::Faulted { .. } = event {
            cache.set_policy(native("lru")).expect("the seat changes");
            cache.resize(90);
        }
        let _ = cache.insert(1, 1);
        cache.run_pending();
        heard.lock().expect("no panic").push(cache.seat_status().desired);
    });
    let cache = cache.build().expect("it is made");
    shared.set(cache.clone()).expect("it is set once");
    cache.set_policy(Scripted::failing("frail", 3)).expect("the seat changes");
    assert_eq!(*statuses.lock().expect("no panic"), [Some("frail".to_owned())]);
    provoke(&cache, 0);
    assert_eq!((cache.capacity(), cache.seat_status().desired.as_deref()), (90, Some("lru")));
    cache.validate();
}
