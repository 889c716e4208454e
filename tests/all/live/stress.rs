//! Everything at once, by several threads with a seed each; in the end every count is exact.

use std::sync::Arc;
use std::time::Duration;

use ostler_core::{Change, InsertOptions, InstanceSource, ManualClock};
use ostler_tests::{Books, Scripted, assert_within, native};

use super::{Live, booked, draw};

const KEYS: u64 = 600;

/// Policies that take turns: compiled in, in the sandbox, and those that break sooner or later.
fn policies() -> Vec<Arc<dyn InstanceSource>> {
    let mut policies: Vec<_> = ["lru", "s3fifo", "gdsf", "wtinylfu", "lirs"].map(native).into();
    policies.extend(["sieve", "arc"].map(|name| ostler::policy(name).expect("it is admitted")));
    policies.push(Scripted::failing("fails-soon", 3));
    policies.push(Scripted::failing("fails-late", 40));
    policies.push(Scripted::fifo("keeps-all", |call, _, victims| {
        Ok(if call > 20 { Vec::new() } else { victims })
    }));
    policies
}

/// What a thread works with.
struct Worker<'a> {
    cache: &'a Live,
    books: &'a Books,
    clock: &'a ManualClock,
    policies: &'a [Arc<dyn InstanceSource>],
    seed: u64,
}

impl Worker<'_> {
    /// One operation drawn by its number.
    fn operate(&self, round: u64) {
        let Self { cache, books, seed, .. } = self;
        let (what, key) = (draw(round, *seed, 100), draw(round, seed + 1000, KEYS));
        let value = || books.value(round);
        match what {
            0..40 => {
                let found = cache.get(&key);
                drop(found);
            }
            40..65 => _ = cache.insert(key, value()),
            65..75 => {
                let ttl = Duration::from_millis(draw(round, seed + 2000, 300));
                let options = InsertOptions::new().ttl(ttl).cost(ttl).class(3);
                let _ = cache.insert_with(key, value(), options);
            }
            75..78 => {
                let options = InsertOptions::new().tti(Duration::from_millis(90));
                let _ = cache.insert_with(key, value(), options);
            }
            78..86 => _ = cache.remove(&key),
            86..92 => _ = cache.compute(key, |old| self.changed(old.is_some(), round)),
            92..94 => _ = cache.expire_after(&key, Some(Duration::from_millis(round % 50))),
            94..96 => drop(cache.get_or_insert_with(&key, value)),
            96..98 => drop(cache.with_locked(&[key, key / 2], |locked| {
                let _ = locked.insert(key, books.value(round), 7, InsertOptions::new());
                locked.remove(&(key / 2));
                locked.get(&key)
            })),
            _ => self.intervene(round),
        }
    }

    fn changed(&self, there: bool, round: u64) -> Change<ostler_tests::Counted> {
        match draw(round, self.seed, 3) {
            0 if there => Change::Remove,
            1 => Change::Keep,
            _ => Change::Put(self.books.value(round)),
        }
    }

    /// What an operator does, rarely.
    fn intervene(&self, round: u64) {
        let Self { cache, clock, policies, seed, .. } = self;
        match draw(round, seed + 3000, 40) {
            0 => cache.clear(),
            1..4 => cache.resize(200 + draw(round, seed + 4000, 600)),
            4..8 => {
                let policy = draw(round, seed + 5000, policies.len() as u64) as usize;
                cache.pardon(&*policies[policy]);
                drop(cache.set_policy(Arc::clone(&policies[policy])));
            }
            8 => drop(cache.rollback()),
            9..12 => cache.run_pending(),
            12..15 => drop(cache.iter().take(100).collect::<Vec<_>>()),
            _ => clock.advance_ms(draw(round, seed + 6000, 20)),
        }
        assert_within(&cache.stats());
    }
}

/// Threads work on one cache of that many shards until all are through.
fn stress(shards: usize, notes_len_max: usize, weigher: fn(&u64, &ostler_tests::Counted) -> u32) {
    let (books, clock, policies) = (Books::default(), ManualClock::default(), policies());
    let cache = booked(500, &books)
        .shards(shards)
        .notes_len_max(notes_len_max)
        .weigher(weigher)
        .clock(clock.clone())
        .insert_wait(Duration::ZERO)
        .restore_after(Duration::from_millis(200))
        .policy(native("lru"))
        .build()
        .expect("it is made");
    std::thread::scope(|scope| {
        for seed in 1..=4 {
            let worker =
                Worker { cache: &cache, books: &books, clock: &clock, policies: &policies, seed };
            scope.spawn(move || (0..12_000).for_each(|round| worker.operate(round)));
        }
    });
    cache.run_pending();
    cache.validate();
    let stats = cache.stats();
    assert_within(&stats);
    books.check(&stats);
    assert!(stats.evicted > 0 && stats.expired > 0 && stats.removed > 0, "{stats:?}");
    drop(cache);
    assert_eq!(books.alive(), 0, "the cache held the last of the values");
}

#[test]
fn every_count_is_exact_after_random_operations_of_four_threads() {
    stress(1, 256, |_, _| 1);
    stress(4, 256, |_, _| 1);
}

#[test]
fn every_count_is_exact_with_odd_weights_and_short_rings() {
    stress(1, 4, |key, value| (key * 31 + value.number()) as u32 % 60);
    stress(3, 1, |key, _| if key % 50 == 0 { 150 } else { 3 });
    stress(2, 256, |key, value| (key + value.number()) as u32 % 40);
}
