//! Several keys at once: all or nothing for everybody else, and no two callers wait for each other.

use std::sync::Barrier;

use ostler_core::{Cache, InsertOptions};
use ostler_tests::native;

use super::{Fixed, draw};

const ACCOUNTS: u64 = 12;
const EACH: u64 = 1_000;

fn accounts(shards: usize) -> Cache<u64, u64, Fixed> {
    let cache = Cache::builder(1_000).hasher(Fixed::default()).shards(shards);
    let cache = cache.policy(native("lru")).build().expect("it is made");
    for account in 0..ACCOUNTS {
        let _ = cache.insert(account, EACH);
    }
    cache
}

/// Moves one from the first to the second of `keys`, if it is there. Returns the sum of both.
fn transfer(cache: &Cache<u64, u64, Fixed>, keys: [u64; 2]) -> u64 {
    cache.with_locked(&keys, |locked| {
        let [from, to] = keys.map(|key| locked.get(&key).expect("every account is there"));
        if from > 0 && keys[0] != keys[1] {
            let _ = locked.insert(keys[0], from - 1, 1, InsertOptions::new());
            let _ = locked.insert(keys[1], to + 1, 1, InsertOptions::new());
        }
        from + to
    })
}

#[test]
fn opposite_orders_make_progress_and_sums_are_kept() {
    for shards in [1, 2, 7] {
        let (cache, begun) = (accounts(shards), Barrier::new(3));
        std::thread::scope(|scope| {
            for thread in 0..2 {
                let (cache, begun) = (&cache, &begun);
                scope.spawn(move || {
                    begun.wait();
                    for round in 0..8_000 {
                        let keys = [draw(round, 1, ACCOUNTS), draw(round, 2, ACCOUNTS)];
                        let keys = if thread == 0 { keys } else { [keys[1], keys[0]] };
                        transfer(cache, keys);
                    }
                });
            }
            begun.wait();
            let all: Vec<u64> = (0..ACCOUNTS).collect();
            for _ in 0..1_000 {
                let sum: u64 = cache.with_locked(&all, |locked| {
                    all.iter().map(|key| locked.get(key).expect("every account is there")).sum()
                });
                assert_eq!(sum, ACCOUNTS * EACH, "nobody sees half of a transfer");
            }
        });
        cache.run_pending();
        cache.validate();
        assert_eq!((cache.len(), cache.stats().evicted), (ACCOUNTS, 0));
    }
}

#[test]
fn versions_tell_whether_anything_was_written_between() {
    let cache = accounts(3);
    let before = [1, 2].map(|key| cache.version(&key));
    assert_eq!(cache.get(&1), Some(EACH));
    cache.with_locked(&[1, 2], |locked| {
        assert_eq!([1, 2].map(|key| locked.version(&key)), before);
        assert!(locked.remove(&1) && !locked.remove(&1));
        assert_eq!((locked.version(&1), locked.entry(&1), locked.get(&1)), (None, None, None));
        let _ = locked.insert(1, 7, 1, InsertOptions::new());
        assert!(locked.expire_after(&2, Some(std::time::Duration::from_secs(9))));
        assert!([1, 2].map(|key| locked.version(&key)) != before);
    });
    let after = [1, 2].map(|key| cache.version(&key));
    assert!(after[0] != before[0] && after[1] != before[1]);
    assert_eq!((cache.get(&1), cache.get(&2)), (Some(7), Some(EACH)));
    assert_eq!(cache.with_locked(&[], |_| 5), 5, "no keys, no locks");
}

#[test]
fn a_panic_under_several_locks_opens_them() {
    let cache = accounts(4);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        cache.with_locked(&[1, 2, 3], |locked| {
            let _ = locked.insert(1, 5, 1, InsertOptions::new());
            std::panic::resume_unwind(Box::new("the caller"));
        })
    }));
    assert!(panicked.is_err());
    assert_eq!((cache.get(&1), cache.get(&2)), (Some(5), Some(EACH)));
    cache.run_pending();
    cache.validate();
}

#[test]
fn writes_under_lock_leave_the_choice_to_the_policy() {
    for conditional in [false, true] {
        let cache = Cache::builder(1_000).hasher(Fixed::default()).shards(2).slack(16);
        let cache = cache.policy(native("fifo")).build().expect("it is made");
        for key in 0..5_000_u64 {
            if conditional {
                let _ = cache.compute(key, |_| ostler_core::Change::Put(key));
            } else {
                cache.with_locked(&[key], |locked| {
                    let _ = locked.insert(key, key, 1, InsertOptions::new());
                });
            }
        }
        cache.run_pending();
        let stats = cache.stats();
        assert_eq!(stats.evicted_natively, 0, "{stats:?}");
        assert_eq!((stats.entries, stats.evicted), (1_000, 4_000), "{stats:?}");
        cache.validate();
    }
}

#[test]
fn a_walk_in_pieces_sees_every_entry_once() {
    let cache = accounts(3);
    for slots_max in [1, 5, 1_000] {
        let (mut seen, mut cursor) = (Vec::new(), 0);
        loop {
            let (entries, next) = cache.scan(cursor, slots_max);
            seen.extend(entries.into_iter().map(|(account, _)| account));
            cursor = next;
            if cursor == 0 {
                break;
            }
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..ACCOUNTS).collect::<Vec<_>>());
    }
    assert_eq!(cache.scan(u64::MAX, 10).1, 0, "a cursor from nowhere ends the walk");
}
