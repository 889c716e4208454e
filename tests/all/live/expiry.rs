//! Time: nothing that has ended is returned, and what has ended is reaped, with its cause.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ostler_core::{
    Cache, CacheBuilder, Cause, Change, Clock, InsertOptions, ManualClock, Stored, Ttl,
};
use ostler_tests::native;

use super::Fixed;

const SECOND: Duration = Duration::from_secs(1);

type Timed = Cache<u64, u64, Fixed>;

fn builder(clock: &ManualClock) -> CacheBuilder<u64, u64, Fixed> {
    Cache::builder(1000).hasher(Fixed::default()).shards(1).clock(clock.clone())
}

/// Whether key 1 is there just before `ms` and not any more at `ms`, by every way of asking.
fn assert_ends_at(cache: &Timed, clock: &ManualClock, ms: u64) {
    clock.set_ms(ms - 1);
    assert!(cache.contains(&1) && cache.peek(&1).is_some(), "alive at {}", ms - 1);
    assert_eq!(cache.entry(&1).and_then(|entry| entry.remaining), Some(SECOND / 1000));
    clock.set_ms(ms);
    assert!(!cache.contains(&1) && cache.peek(&1).is_none(), "ended at {ms}");
    assert!(cache.entry(&1).is_none() && cache.version(&1).is_none());
    assert_eq!(cache.iter().filter(|&(key, _)| key == 1).count(), 0);
    assert!(cache.with_locked(&[1], |locked| locked.version(&1)).is_none());
    assert_eq!(cache.get(&1), None);
}

#[test]
fn a_time_to_live_is_exact_and_reads_do_not_prolong_it() {
    for options in [InsertOptions::new(), InsertOptions::new().ttl(10 * SECOND)] {
        let clock = ManualClock::default();
        let own = options == InsertOptions::new().ttl(10 * SECOND);
        let builder = if own { builder(&clock) } else { builder(&clock).time_to_live(10 * SECOND) };
        let cache = builder.build().expect("it is made");
        clock.set_ms(5_000);
        let _ = cache.insert_with(1, 1, options);
        clock.set_ms(14_000);
        assert_eq!(cache.get(&1), Some(1));
        assert_ends_at(&cache, &clock, 15_000);
    }
}

#[test]
fn a_time_to_idle_begins_anew_with_each_read_and_peeking_is_none() {
    let clock = ManualClock::default();
    let cache = builder(&clock).time_to_idle(10 * SECOND).build().expect("it is made");
    let _ = cache.insert(1, 1);
    for second in [9, 18, 27] {
        clock.set_ms(second * 1000);
        assert_eq!(cache.get(&1), Some(1));
    }
    clock.set_ms(30_000);
    assert_eq!(cache.peek(&1), Some(1));
    assert_ends_at(&cache, &clock, 37_000);
}

#[test]
fn the_earlier_of_both_ends_counts() {
    let clock = ManualClock::default();
    let cache = builder(&clock).time_to_live(20 * SECOND).time_to_idle(8 * SECOND);
    let cache = cache.build().expect("it is made");
    let _ = cache.insert(1, 1);
    for second in [7, 14] {
        clock.set_ms(second * 1000);
        assert_eq!(cache.get(&1), Some(1));
    }
    assert_ends_at(&cache, &clock, 20_000);
    let _ = cache.insert_with(1, 2, InsertOptions::new().end(Ttl::Never));
    assert_ends_at(&cache, &clock, 28_000);
}

#[test]
fn an_overwritten_entry_ends_as_the_write_says() {
    for (end, ends_ms) in [
        (Ttl::OfCache, 30_000 + 4_000),
        (Ttl::Keep, 9_000),
        (Ttl::After(2 * SECOND), 4_000 + 2_000),
        (Ttl::At(7_000), 7_000),
    ] {
        for heavy in [1, 900] {
            for policy in [None, Some("lru")] {
                let clock = ManualClock::default();
                let builder =
                    builder(&clock).time_to_live(30 * SECOND).weigher(|_, &value| value as u32);
                let cache = match policy {
                    Some(name) => builder.policy(native(name)).build().expect("it is made"),
                    None => builder.build().expect("it is made"),
                };
                let _ = cache.insert(2, 200);
                let _ = cache.insert_with(1, 1, InsertOptions::new().ttl(9 * SECOND));
                clock.set_ms(4_000);
                let stored = cache.insert_with(1, heavy, InsertOptions::new().end(end));
                assert_eq!(stored, Stored::Replaced, "{end:?} {heavy} {policy:?}");
                assert_ends_at(&cache, &clock, ends_ms);
                cache.run_pending();
                cache.validate();
            }
        }
    }
}

/// A clock that goes on by a millisecond each time it is read.
#[derive(Clone, Debug, Default)]
struct Restless(Arc<AtomicU64>);

impl Clock for Restless {
    fn now_ms(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

#[test]
fn an_end_at_a_time_is_exact_however_long_the_write_takes() {
    for (weight, policy) in [(1, None), (1, Some("lru")), (900, Some("lru"))] {
        let clock = Restless::default();
        let builder = Cache::<u64, u64>::builder(1000).shards(1).clock(clock.clone());
        let builder = builder.weigher(|_, &value| value as u32);
        let cache = match policy {
            Some(name) => builder.policy(native(name)).build().expect("it is made"),
            None => builder.build().expect("it is made"),
        };
        let _ = cache.insert_with(1, weight, InsertOptions::new().end(Ttl::At(5_000)));
        for end in [Ttl::At(4_000), Ttl::Keep, Ttl::Keep] {
            let _ = cache.insert_with(1, weight, InsertOptions::new().end(end));
        }
        assert_eq!(cache.update(1, |old| *old), Some(weight));
        // What is read next is the time of the reading.
        clock.0.store(3_998, Ordering::Relaxed);
        let entry = cache.entry(&1).and_then(|entry| entry.remaining);
        assert_eq!(entry, Some(Duration::from_millis(2)), "{weight} {policy:?}");
        clock.0.store(3_999, Ordering::Relaxed);
        assert_eq!(cache.peek(&1), Some(weight), "{weight} {policy:?}");
        clock.0.store(4_000, Ordering::Relaxed);
        assert_eq!(cache.peek(&1), None, "{weight} {policy:?}");
        let stored = cache.insert_with(2, weight, InsertOptions::new().end(Ttl::At(4_001)));
        assert_eq!((stored, cache.peek(&2)), (Stored::Rejected, None), "past: {weight} {policy:?}");
        cache.validate();
    }
}

#[test]
fn keep_is_the_caches_own_time_where_nothing_is_overwritten() {
    for way in ["insert", "compute", "ended"] {
        let clock = ManualClock::default();
        let cache = builder(&clock).time_to_live(10 * SECOND).build().expect("it is made");
        if way == "ended" {
            let _ = cache.insert_with(1, 0, InsertOptions::new().ttl(SECOND));
        }
        clock.set_ms(1_000);
        if way == "compute" {
            assert_eq!(cache.compute(1, |_| Change::Put(1)), Some(1));
        } else {
            let _ = cache.insert_with(1, 1, InsertOptions::new().end(Ttl::Keep));
        }
        assert_ends_at(&cache, &clock, 11_000);
    }
}

#[test]
fn the_lifetime_of_a_computed_entry_goes_on() {
    let clock = ManualClock::default();
    let cache = builder(&clock).build().expect("it is made");
    let _ = cache.insert_with(1, 1, InsertOptions::new().ttl(10 * SECOND));
    clock.set_ms(6_000);
    assert_eq!(cache.update(1, |old| old + 1), Some(2));
    assert_ends_at(&cache, &clock, 10_000);
    let _ = cache.insert_with(1, 1, InsertOptions::new().tti(10 * SECOND));
    clock.set_ms(16_000);
    assert_eq!(cache.update(1, |old| old + 1), Some(2));
    assert_ends_at(&cache, &clock, 26_000);
    let _ = cache.insert_with(1, 1, InsertOptions::new().end(Ttl::Never));
    assert_eq!(cache.update(1, |old| old + 1), Some(2));
    assert_eq!(cache.entry(&1).and_then(|entry| entry.remaining), None);
}

#[test]
fn the_first_entry_with_an_end_gets_all_of_its_time() {
    let clock = ManualClock::default();
    let cache = builder(&clock).time_to_live(60 * SECOND).policy(native("lru"));
    let cache = cache.build().expect("it is made");
    // Nobody came to tell the policy for an hour; the shard's own time has not gone on.
    let _ = cache.insert_with(2, 2, InsertOptions::new().end(Ttl::Never));
    clock.set_ms(3_600_000);
    let _ = cache.insert(1, 1);
    assert_ends_at(&cache, &clock, 3_660_000);
    assert_eq!(cache.get(&2), Some(2));
}

#[test]
fn an_end_can_be_moved() {
    for policy in [None, Some("s3fifo")] {
        let clock = ManualClock::default();
        let builder = builder(&clock);
        let cache = match policy {
            Some(name) => builder.policy(native(name)).build().expect("it is made"),
            None => builder.build().expect("it is made"),
        };
        assert!(!cache.expire_after(&1, Some(SECOND)), "there is nothing to move");
        let _ = cache.insert(1, 1);
        let before = cache.version(&1);
        clock.set_ms(1_000);
        assert!(cache.expire_after(&1, Some(SECOND)) && cache.version(&1) != before);
        assert!(cache.expire_after(&1, Some(5 * SECOND)));
        clock.set_ms(5_500);
        assert!(cache.expire_after(&1, None), "never, then");
        clock.set_ms(100_000);
        assert_eq!(cache.get(&1), Some(1));
        assert!(cache.expire_after(&1, Some(3 * SECOND)));
        assert_ends_at(&cache, &clock, 103_000);
        assert!(!cache.expire_after(&1, None), "what has ended does not come back");
        cache.run_pending();
        cache.validate();
    }
}

#[test]
fn everything_that_ended_is_reaped_in_bounded_turns_and_heard_of() {
    for policy in [None, Some("sieve")] {
        let clock = ManualClock::default();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let ears = Arc::clone(&heard);
        let builder = builder(&clock).time_to_live(10 * SECOND).notes_len_max(8);
        let builder = builder.on_removal(move |key, value, cause| {
            ears.lock().expect("no panic").push((key, value, cause));
        });
        let cache = match policy {
            Some(name) => builder.policy(native(name)).build().expect("it is made"),
            None => builder.build().expect("it is made"),
        };
        for key in 0..900 {
            let _ = cache.insert(key, key * 7);
        }
        let lasting = InsertOptions::new().end(Ttl::Never);
        for key in 900..1000 {
            let _ = cache.insert_with(key, key * 7, lasting);
        }
        clock.set_ms(10_000);
        assert_eq!((cache.len(), cache.iter().count()), (1000, 100), "not reaped, yet not seen");
        cache.run_pending();
        cache.validate();
        let stats = cache.stats();
        assert_eq!((stats.entries, stats.expired, stats.weight), (100, 900, 100), "{policy:?}");
        assert!(stats.held_records_max <= 1024, "{policy:?}: {stats:?}");
        let mut heard = std::mem::take(&mut *heard.lock().expect("no panic"));
        heard.sort_unstable_by_key(|&(key, _, _)| key);
        let expected: Vec<_> = (0..900).map(|key| (key, key * 7, Cause::Expired)).collect();
        assert_eq!(heard, expected, "{policy:?}");
    }
}

#[test]
fn what_has_ended_makes_room_before_what_has_not() {
    let clock = ManualClock::default();
    let cache = Cache::<u64, u64>::builder(100).shards(1).slack(0).clock(clock.clone());
    let cache = cache.build().expect("it is made");
    for key in 0..100 {
        let ttl = if key < 50 { SECOND } else { 100 * SECOND };
        let _ = cache.insert_with(key, key, InsertOptions::new().ttl(ttl));
    }
    clock.set_ms(2_000);
    cache.run_pending();
    for key in 100..150 {
        let _ = cache.insert(key, key);
    }
    assert_eq!((cache.stats().evicted, cache.stats().expired, cache.len()), (0, 50, 100));
}
