//! Odd sizes: capacities of nothing and of everything, the heaviest weights, more shards than entries.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ostler_core::{BuildError, Cache, Cause, Change, InsertOptions, ManualClock, Stored};
use ostler_tests::{Books, assert_within, native};

use super::{Fixed, booked};

/// Ten entries of weight 9 in a shard of 100, under `policy` or the fallback.
fn ten_of_nine(policy: Option<&str>) -> Cache<u64, u32, Fixed> {
    let builder = Cache::builder(100).hasher(Fixed::default()).shards(1);
    let builder = builder.weigher(|_, &weight: &u32| weight);
    let cache = match policy {
        Some(name) => builder.policy(native(name)).build(),
        None => builder.build(),
    };
    let cache = cache.expect("it is made");
    for key in 0..10 {
        assert_eq!(cache.insert(key, 9), Stored::New);
    }
    cache
}

#[test]
fn a_value_that_is_too_heavy_pushes_nobody_out() {
    for policy in [None, Some("lru")] {
        for way in ["insert", "compute", "locked", "update"] {
            let cache = ten_of_nine(policy);
            let stored = match way {
                "insert" => cache.insert(99, 101) != Stored::Rejected,
                "compute" => cache.compute(99, |_| Change::Put(101)).is_some(),
                "locked" => cache.with_locked(&[99], |locked| {
                    locked.insert(99, 101, 101, InsertOptions::new()) != Stored::Rejected
                }),
                _ => cache.update(3, |_| u32::MAX).is_some(),
            };
            assert!(!stored, "{way} under {policy:?}: it is not stored, and that is said");
            let kept = (0..10).filter(|key| cache.contains(key)).count();
            let expected = if way == "update" { 9 } else { 10 };
            assert_eq!(kept, expected, "{way} under {policy:?}");
            cache.run_pending();
            cache.validate();
        }
    }
}

#[test]
fn what_ends_before_it_begins_pushes_nobody_out() {
    for policy in [None, Some("lru")] {
        let cache = ten_of_nine(policy);
        let ended = InsertOptions::new().ttl(Duration::ZERO);
        assert_eq!(cache.insert_with(99, 50, ended), Stored::Rejected);
        let stored = cache.with_locked(&[98], |locked| locked.insert(98, 50, 50, ended));
        assert_eq!((stored, cache.len()), (Stored::Rejected, 10), "under {policy:?}");
        cache.validate();
    }
}

#[test]
fn a_capacity_of_none_or_one_serves() {
    for policy in [None, Some("fifo"), Some("s3fifo"), Some("wtinylfu")] {
        for capacity in [0, 1, 2] {
            let books = Books::default();
            let builder = booked(capacity, &books).shards(1);
            let cache = match policy {
                Some(name) => builder.policy(native(name)).build().expect("it is made"),
                None => builder.build().expect("it is made"),
            };
            for round in 0..300 {
                let _ = cache.insert(round % 5, books.value(round));
                let found = cache.get(&(round % 5)).map(|value| value.number());
                assert!(found.is_none_or(|number| number == round), "{policy:?} {capacity}");
                assert_within(&cache.stats());
            }
            cache.run_pending();
            cache.validate();
            let stats = cache.stats();
            assert!(stats.entries <= capacity, "{policy:?} {capacity}: {stats:?}");
            assert_eq!((stats.policy_faults, stats.hits > 0), (0, capacity > 0), "{policy:?}");
            books.check(&stats);
        }
    }
}

#[test]
fn a_capacity_without_bound_and_the_heaviest_weights_do_not_overflow() {
    for policy in [None, Some("lru"), Some("gdsf"), Some("lhd"), Some("s3fifo")] {
        for capacity in [u64::MAX, u64::from(u32::MAX), 3 * u64::from(u32::MAX), 1 << 62] {
            let builder = Cache::builder(capacity).hasher(Fixed::default()).shards(1);
            let builder = builder.weigher(|_: &u64, &weight: &u32| weight).slack(u64::MAX);
            let cache = match policy {
                Some(name) => builder.policy(native(name)).build().expect("it is made"),
                None => builder.build().expect("it is made"),
            };
            for round in 0..40u64 {
                let weight = [u32::MAX, u32::MAX - 1, 1, 0][round as usize % 4];
                let _ = cache.insert(round % 13, weight);
                let _ = cache.get(&(round % 7));
                cache.validate();
            }
            cache.run_pending();
            cache.resize(u64::from(u32::MAX));
            cache.run_pending();
            cache.validate();
            let stats = cache.stats();
            assert_eq!(stats.policy_faults, 0, "{policy:?} {capacity}");
        }
    }
}

#[test]
fn more_shards_than_entries_serve_and_shrink_to_nothing() {
    for policy in [None, Some("sieve")] {
        let books = Books::default();
        let builder = booked(7, &books).shards(7);
        let cache = match policy {
            Some(name) => builder.policy(native(name)).build().expect("it is made"),
            None => builder.build().expect("it is made"),
        };
        for (capacity, most) in [(7, 14), (3, 10), (0, 7), (100, 107), (1, 8)] {
            cache.resize(capacity);
            for key in 0..60 {
                let _ = cache.insert(key, books.value(key));
                assert_within(&cache.stats());
            }
            assert!(cache.len() <= most, "{policy:?} {capacity}: {}", cache.len());
            cache.run_pending();
            assert!(cache.len() <= capacity, "{policy:?} {capacity}: {}", cache.len());
            cache.validate();
        }
        books.check(&cache.stats());
    }
    let built = Cache::<u64, u64>::builder(7).shards(8).build();
    assert!(matches!(built, Err(BuildError::Shards { shards: 8, capacity: 7 })));
}

#[test]
fn births_are_right_whatever_the_clock_starts_at() {
    let clock = ManualClock::default();
    clock.set_ms(1_790_000_000_000);
    let cache = Cache::<u64, u64>::builder(10).shards(1).clock(clock.clone()).policy(native("lru"));
    let cache = cache.build().expect("it is made");
    let _ = cache.insert(1, 1);
    clock.advance_ms(2_500);
    cache.run_pending();
    let age = cache.entry(&1).expect("it is there").age;
    assert!(age >= Duration::from_millis(2_400) && age <= Duration::from_millis(2_600), "{age:?}");
}

#[test]
fn a_change_keeps_cost_and_class() {
    let cache = Cache::<u64, u64>::builder(10).shards(1).build().expect("it is made");
    let options = InsertOptions::new().cost(Duration::from_millis(7)).class(3);
    let _ = cache.insert_with(1, 1, options);
    assert_eq!(cache.update(1, |value| value + 1), Some(2));
    let entry = cache.entry(&1).expect("it is there");
    assert_eq!((entry.cost_us, entry.class), (7_000, 3));
    let _ = cache.insert(1, 3);
    let entry = cache.entry(&1).expect("it is there");
    assert_eq!((entry.cost_us, entry.class), (0, 0), "an insert starts anew");
}

#[test]
fn a_heavy_entry_that_was_read_is_evicted_not_rejected() {
    let causes = Arc::new(Mutex::new(Vec::new()));
    let ears = Arc::clone(&causes);
    let cache = Cache::<u64, u32>::builder(100).shards(1).slack(10).policy(native("lru"));
    let cache = cache.weigher(|_, &weight| weight);
    let cache = cache.on_removal(move |key, _, cause| {
        ears.lock().expect("no panic").push((key, cause));
    });
    let cache = cache.build().expect("it is made");
    for key in 100..200 {
        let _ = cache.insert(key, 1);
    }
    // Heavier than the slack: it waits outside until there is room.
    let _ = cache.insert(1, 95);
    assert_eq!(cache.get(&1), Some(95));
    for key in 2..20 {
        let _ = cache.insert(key, 1);
    }
    cache.run_pending();
    let causes = causes.lock().expect("no panic");
    assert_eq!(causes.iter().find(|(key, _)| *key == 1), Some(&(1, Cause::Evicted)));
}

#[test]
fn a_heavy_newcomer_takes_the_place_of_thousands_in_bounded_slices() {
    for policy in [None, Some("lru")] {
        let cache = Cache::<u64, u32>::builder(20_000).shards(1).weigher(|_, &weight| weight);
        let cache = match policy {
            Some(name) => cache.policy(native(name)).build().expect("it is made"),
            None => cache.build().expect("it is made"),
        };
        for key in 0..20_000 {
            let _ = cache.insert(key, 1);
        }
        let before = cache.stats().held_records_max;
        let _ = cache.insert(100_000, 19_000);
        cache.run_pending();
        let stats = cache.stats();
        assert!(cache.contains(&100_000) && stats.entries <= 1_001, "{policy:?} {stats:?}");
        assert!(stats.held_records_max <= before.max(1_024), "{policy:?} {stats:?}");
        cache.validate();
    }
}
