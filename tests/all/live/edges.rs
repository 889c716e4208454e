//! Odd sizes: capacities of nothing and of everything, the heaviest weights, more shards than entries.

use ostler_core::{BuildError, Cache, Change, InsertOptions, Stored};
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
        let ended = InsertOptions::new().ttl(std::time::Duration::ZERO);
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
