//! Hostile guests in charge of a live cache under load: no call fails, the bounds hold, the fallback
//! serves afterwards.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ostler_core::{BuildError, Cache, InstanceSource, ManualClock, PolicyEvent, SeatError};
use ostler_tests::{Books, Expect, Guest, assert_within, guests, native, refusal};

use super::{Live, booked, draw};

/// The guest on the host that live caches use: CPU time, no fuel.
fn seated(guest: &Guest) -> Arc<dyn InstanceSource> {
    let host = ostler::host().expect("there is a host");
    let none = serde_json::Map::new();
    let policy = host.open_module(&guest.module, &none, guest.name.clone());
    Arc::new(policy.map_err(|error| format!("{}: {error}", guest.name)).expect("it is admitted"))
}

fn with_name(name: &str) -> Guest {
    guests().into_iter().find(|guest| guest.name == name).expect("the guest is there")
}

/// Whether `found` is the fault that was announced. What is announced is what fuel finds. On CPU time a
/// guest that burns little in each call may pass for slow, or, where it never evicts either, be found
/// out by that first.
fn is_expected(expected: &str, found: &str) -> bool {
    found == expected || (expected == "deadline" && matches!(found, "slow" | "over_budget"))
}

/// Two threads get, and insert what they did not find.
fn load(cache: &Live, books: &Books, guest: &str) {
    std::thread::scope(|scope| {
        for thread in 0..2 {
            scope.spawn(move || {
                for round in 0..10_000 {
                    let key = draw(round, thread, 3_000).min(draw(round, thread + 9, 3_000));
                    match cache.get(&key) {
                        Some(value) => assert_eq!(value.number(), key, "{guest}"),
                        None => _ = cache.insert(key, books.value(key)),
                    }
                    if round % 64 == 0 {
                        assert_within(&cache.stats());
                    }
                }
            });
        }
    });
    cache.run_pending();
    cache.validate();
    let stats = cache.stats();
    assert_eq!(stats.hits + stats.misses, 20_000, "{guest}");
    assert!(stats.hits > 4_000 && stats.evicted > 0, "{guest}: {stats:?}");
    books.check(&stats);
}

#[test]
fn invariant_3_no_guest_in_charge_of_a_live_cache_takes_it_down() {
    let mut faulty = 0;
    for guest in guests() {
        let (events, books) = (Arc::new(Mutex::new(Vec::new())), Books::default());
        let ears = Arc::clone(&events);
        let builder = || booked(500, &books).shards(1).insert_wait(Duration::from_micros(50));
        let expected = match &guest.expect {
            Expect::Refused(_) => continue,
            Expect::Ok => None,
            Expect::Fault(kind) => Some(kind.as_str()),
        };
        let policy = seated(&guest);
        let built = builder()
            .policy(Arc::clone(&policy))
            .on_policy(move |event| ears.lock().expect("no panic").push(event.clone()))
            .build();
        let cache = match built {
            Ok(cache) => cache,
            Err(BuildError::Policy(refused)) => {
                let kind = refusal(&refused);
                assert!(is_expected(expected.unwrap_or(""), kind), "{}: {refused}", guest.name);
                assert_refused_seat(&guest, &policy);
                faulty += 1;
                continue;
            }
            Err(error) => unreachable!("{}: {error}", guest.name),
        };
        load(&cache, &books, &guest.name);
        let events = events.lock().expect("no panic");
        let faults: Vec<&str> = events
            .iter()
            .filter_map(|event| match event {
                PolicyEvent::Faulted { policy, fault } if *policy == guest.name => {
                    Some(fault.kind())
                }
                _ => None,
            })
            .collect();
        let stats = cache.stats();
        match expected {
            None => assert_eq!(
                (faults.len(), stats.shards_in_charge),
                (0, 1),
                "{}: {faults:?}",
                guest.name
            ),
            Some(kind) => {
                assert_eq!(
                    (faults.len(), stats.policy_faults),
                    (1, 1),
                    "{}: {faults:?}",
                    guest.name
                );
                assert!(is_expected(kind, faults[0]), "{}: {faults:?}", guest.name);
                assert_eq!((stats.shards_in_charge, stats.weight), (0, 500), "{}", guest.name);
                assert!(stats.evicted_natively > 0, "{}", guest.name);
                faulty += 1;
            }
        }
    }
    assert!(faulty >= 30, "{faulty} guests");
}

/// A guest that fails before its first event does not get the seat of a running cache either.
fn assert_refused_seat(guest: &Guest, policy: &Arc<dyn InstanceSource>) {
    let cache = Cache::<u64, u64>::builder(100).shards(1).policy(native("lru"));
    let cache = cache.build().expect("it is made");
    let _ = cache.insert(1, 1);
    let refused = cache.set_policy(Arc::clone(policy)).expect_err("it fails");
    assert!(matches!(refused, SeatError::Fault { shard: 0, .. }), "{}: {refused}", guest.name);
    assert_eq!(cache.seat_status().actual, [Some("lru".to_owned())], "{}", guest.name);
    assert_eq!(cache.get(&1), Some(1), "{}", guest.name);
    cache.validate();
}

#[test]
fn a_guest_is_quarantined_by_its_digest_in_all_shards_at_once() {
    let guest = with_name("never_evicts");
    let events = Arc::new(Mutex::new(Vec::new()));
    let ears = Arc::clone(&events);
    let cache = Cache::<u64, u64>::builder(800).shards(8).policy(seated(&guest)).faults_max(3);
    let cache = cache.on_policy(move |event| ears.lock().expect("no panic").push(event.clone()));
    let cache = cache.build().expect("it is made");
    for key in 0..4_000 {
        let _ = cache.insert(key, key);
    }
    cache.run_pending();
    cache.validate();
    let stats = cache.stats();
    assert_eq!((stats.shards_in_charge, stats.policy_faults), (0, 3), "three faults, all seats");
    let events = std::mem::take(&mut *events.lock().expect("no panic"));
    let code = seated(&guest).code_id();
    let quarantined = PolicyEvent::Quarantined { policy: guest.name.clone(), code };
    assert_eq!(events.iter().filter(|&event| *event == quarantined).count(), 1);
    let renamed = Guest { name: "innocent".to_owned(), ..guest };
    let policy = seated(&renamed);
    let refused = cache.set_policy(Arc::clone(&policy)).expect_err("it is known by its code");
    assert_eq!(refusal(&refused), "quarantined");
    cache.pardon(&*policy);
    cache.set_policy(native("lru")).expect("the seat changes");
    cache.set_policy(policy).expect("it is trusted again");
    assert_eq!(cache.stats().shards_in_charge, 8);
}

#[test]
fn a_cache_that_is_told_of_a_quarantine_keeps_to_it() {
    let policy = seated(&with_name("never_evicts"));
    let cache = Cache::<u64, u64>::builder(800).shards(2).policy(Arc::clone(&policy));
    let cache = cache.quarantined([policy.code_id()]).build().expect("it is made");
    for key in 0..4_000 {
        let _ = cache.insert(key, key);
    }
    cache.run_pending();
    cache.validate();
    let status = cache.seat_status();
    assert_eq!(status.desired.as_deref(), Some("never_evicts"), "it is still the one wanted");
    assert_eq!((status.actual, status.faults), (vec![None, None], vec![None, None]));
    assert_eq!((cache.stats().policy_faults, cache.len()), (0, 800), "the fallback serves");
    let refused = cache.set_policy(Arc::clone(&policy)).expect_err("it is not trusted");
    assert_eq!(refusal(&refused), "quarantined");
    cache.set_policy(native("lru")).expect("others may");
    assert_eq!(refusal(&cache.rollback().expect_err("it is not trusted")), "quarantined");
    cache.pardon(&*policy);
    cache.rollback().expect("it is trusted again");
    assert_eq!(cache.stats().shards_in_charge, 2);
}

#[test]
fn a_guest_that_trapped_is_restored_when_its_time_has_come() {
    let clock = ManualClock::default();
    let cache = Cache::<u64, u64>::builder(100).shards(1).clock(clock.clone());
    let cache = cache.policy(seated(&with_name("never_evicts")));
    let cache = cache.restore_after(Duration::from_secs(5)).build().expect("it is made");
    for key in 0..500 {
        let _ = cache.insert(key, key);
    }
    cache.run_pending();
    assert_eq!(cache.stats().shards_in_charge, 0);
    assert_eq!(
        cache.seat_status().faults[0].as_ref().map(|fault| fault.kind()),
        Some("over_budget")
    );
    cache.clear();
    clock.set_ms(5_000);
    cache.run_pending();
    assert_eq!(cache.stats().shards_in_charge, 1, "a fresh instance, which has not sinned yet");
    cache.validate();
}
