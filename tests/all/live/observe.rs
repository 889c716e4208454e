//! What shadows are fed with: the tap, and the list of sampled residents.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ostler_abi::{Kind, NO_SLOT, Record};
use ostler_core::{Cache, Change, InsertOptions, ManualClock, SampleShare, Tap, Ttl};
use ostler_tests::{Scripted, cases, check, native};
use proptest::prelude::*;

use super::{Fixed, draw};

/// Writes down what it hears.
struct Ear {
    threshold: AtomicU64,
    heard: Mutex<Vec<(u32, Record)>>,
}

impl Ear {
    fn new(share: SampleShare) -> Arc<Self> {
        let threshold = AtomicU64::new(share.threshold());
        Arc::new(Self { threshold, heard: Mutex::default() })
    }

    fn take(&self) -> Vec<(u32, Record)> {
        std::mem::take(&mut *self.heard.lock().expect("no panic"))
    }

    fn text(&self) -> String {
        let word = |(_, record): &(u32, Record)| {
            let name = record.kind().map_or("?", Kind::name);
            let slot = if record.slot == NO_SLOT { String::new() } else { record.slot.to_string() };
            let count =
                if record.count == 1 { String::new() } else { format!("*{}", record.count) };
            format!("{name}{slot}{count}")
        };
        self.take().iter().map(word).collect::<Vec<_>>().join(" ")
    }
}

impl Tap for Ear {
    fn share(&self) -> SampleShare {
        SampleShare::of_threshold(self.threshold.load(Ordering::Relaxed))
    }

    fn take(&self, shard: u32, records: &[Record]) {
        assert!(!records.is_empty() && records.len() <= 256, "{} records", records.len());
        let records = records.iter().map(|&record| (shard, record));
        self.heard.lock().expect("no panic").extend(records);
    }
}

/// The hash by which caches of these tests know `key`.
fn hash_of(key: u64) -> u64 {
    let cache = Cache::builder(1).hasher(Fixed::default()).build().expect("it is made");
    let _ = cache.insert(key, ());
    cache.sample(0, SampleShare::ALL)[0].key_hash
}

type Small = Cache<u64, u64, Fixed>;

/// A cache of one shard under this policy, or under the fallback.
fn small(policy: Option<&str>, capacity: u64, clock: &ManualClock) -> Small {
    let builder = Cache::builder(capacity).hasher(Fixed::default()).shards(1).clock(clock.clone());
    match policy {
        Some(name) => builder.policy(native(name)).build().expect("it is made"),
        None => builder.build().expect("it is made"),
    }
}

#[test]
fn a_tap_hears_what_happens_in_order_whoever_is_in_charge() {
    for policy in [None, Some("fifo"), Some("lru"), Some("wtinylfu")] {
        let clock = ManualClock::default();
        let cache = small(policy, 100, &clock);
        let ear = Ear::new(SampleShare::ALL);
        let _ = cache.insert(0, 0);
        cache.set_tap(Some(ear.clone()));
        let _ = (cache.get(&1), cache.insert(1, 1), cache.get(&1), cache.get(&1), cache.get(&1));
        let _ = (cache.get(&0), cache.insert(1, 2), cache.remove(&1), cache.get(&1));
        let ttl = Ttl::After(Duration::from_millis(5));
        let _ = cache.insert_with(2, 2, InsertOptions::new().end(ttl));
        clock.advance_ms(9);
        let _ = cache.get(&2);
        cache.run_pending();
        // Where the engine serves by itself, each write ends what is told at once.
        let hits = if policy.is_some() { "hit1*3" } else { "hit1" };
        let told = format!("miss insert1 {hits} hit0 update1 remove1 miss insert2 miss expire2");
        assert_eq!(ear.text(), told, "{policy:?}");
        cache.clear();
        cache.set_tap(None);
        assert_eq!(ear.text(), "remove0", "{policy:?}: what waited came, then nothing");
        let _ = (cache.get(&1), cache.insert(1, 1), cache.get(&1));
        cache.run_pending();
        assert_eq!(ear.text(), "", "{policy:?}");
        cache.validate();
    }
}

#[test]
fn a_record_tells_the_key_its_weight_cost_and_class() {
    let clock = ManualClock::default();
    let cache = Cache::builder(100).hasher(Fixed::default()).shards(1).clock(clock.clone());
    let cache = cache.weigher(|_: &u64, value: &u64| *value as u32).policy(native("lru"));
    let cache = cache.build().expect("it is made");
    let ear = Ear::new(SampleShare::ALL);
    cache.set_tap(Some(ear.clone()));
    clock.set_ms(700);
    let _ = cache.get(&7);
    let _ = cache.insert_with(7, 30, InsertOptions::new().cost(Duration::from_micros(90)).class(3));
    let _ = cache.get(&7);
    cache.set_tap(None);
    let told = ear.take();
    assert!(told.iter().all(|(shard, record)| *shard == 0 && record.key_hash == hash_of(7)));
    let told = told.iter().map(|(_, it)| (it.kind(), it.weight, it.cost_us, it.class, it.flags));
    let (insert, hit) = (Some(Kind::Insert), Some(Kind::Hit));
    assert!(told.eq([(Some(Kind::Miss), 1, 0, 0, 0), (insert, 30, 90, 3, 0), (hit, 30, 90, 3, 0)]));
}

#[test]
fn evictions_are_not_heard_and_neither_policies_nor_taps_see_marks() {
    for policy in [None, Some("lru")] {
        let cache = small(policy, 10, &ManualClock::default());
        let ear = Ear::new(SampleShare::ALL);
        cache.set_tap(Some(ear.clone()));
        for key in 0..100 {
            let _ = cache.insert(key, key);
            // This one evicts by itself, whoever is in charge.
            cache.compute(1_000 + key, |_| Change::Put(1));
        }
        cache.set_tap(None);
        assert!(cache.stats().evicted >= 180);
        let told = ear.take();
        assert_eq!(told.len(), 200, "{policy:?}");
        assert!(told.iter().all(|(_, it)| it.kind() == Some(Kind::Insert) && it.flags == 0));
    }
    let told = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&told);
    let policy = Scripted::fifo("fifo", move |_, events, victims| {
        log.lock().expect("no panic").extend(events.iter().map(|event| event.flags));
        Ok(victims)
    });
    let cache = Cache::<u64, u64>::builder(10).shards(1).slack(0).policy(policy);
    let cache = cache.build().expect("it is made");
    for key in 0..100 {
        cache.compute(key, |_| Change::Put(1));
    }
    assert!(cache.stats().evicted_natively > 0);
    let told = told.lock().expect("no panic");
    assert!(told.len() > 100 && told.iter().all(|&flags| flags == 0));
}

#[test]
fn a_share_is_of_the_keys_and_a_change_of_it_reaches_every_shard() {
    let cache = Cache::builder(100_000).hasher(Fixed::default()).shards(4).policy(native("sieve"));
    let cache = cache.build().expect("it is made");
    let ear = Ear::new(SampleShare::one_in(8));
    cache.set_tap(Some(ear.clone()));
    let mut before: Option<BTreeSet<u64>> = None;
    for (round, share) in [8, 32, 4].map(SampleShare::one_in).into_iter().enumerate() {
        ear.threshold.store(share.threshold(), Ordering::Relaxed);
        cache.run_pending();
        ear.take();
        for key in 0..16_000 {
            let _ = (cache.get(&key).is_none() && round > 0).then(|| panic!("{key} is there"));
            let _ = cache.insert(key, key);
        }
        cache.run_pending();
        let told = ear.take();
        assert!(told.iter().all(|(_, record)| share.includes(record.key_hash)), "{share:?}");
        let keys: BTreeSet<u64> = told.iter().map(|(_, record)| record.key_hash).collect();
        let expected = (16_000.0 * share.ratio()) as usize;
        assert!(keys.len().abs_diff(expected) < expected / 8, "{share:?}: {}", keys.len());
        if let Some(before) = before.replace(keys.clone()) {
            let (fewer, more) = if share.ratio() > 0.1 { (before, keys) } else { (keys, before) };
            assert!(fewer.is_subset(&more), "{share:?} is nested");
        }
    }
    let shards: BTreeSet<u32> = ear.take().iter().map(|&(shard, _)| shard).collect();
    assert!(shards.is_empty() && cache.stats().policy_faults == 0);
}

struct Panics;

impl Tap for Panics {
    fn share(&self) -> SampleShare {
        SampleShare::ALL
    }

    fn take(&self, _shard: u32, records: &[Record]) {
        assert!(records.is_empty(), "this tap cannot bear a record");
    }
}

#[test]
fn a_tap_that_panics_harms_nobody() {
    let cache = small(Some("lru"), 10, &ManualClock::default());
    cache.set_tap(Some(Arc::new(Panics)));
    for key in 0..2_000 {
        let _ = cache.insert(key, key);
    }
    cache.run_pending();
    cache.validate();
    let stats = cache.stats();
    assert_eq!((stats.policy_faults, stats.shards_in_charge), (0, 1));
}

/// Asserts of each key that what was heard is possible: it is used, overwritten or gone only after it
/// came in. Returns the keys that are there by what was heard.
fn follow(told: &[(u32, Record)]) -> Result<BTreeSet<u64>, String> {
    let mut there = BTreeSet::new();
    for (index, (_, record)) in told.iter().enumerate() {
        let known = there.contains(&record.key_hash);
        let fits = match record.kind() {
            Some(Kind::Miss | Kind::Insert) => true,
            _ => known,
        };
        if !fits || record.count == 0 || record.flags != 0 {
            return Err(format!("record {index}: {record:?}"));
        }
        match record.kind() {
            Some(Kind::Insert) => _ = there.insert(record.key_hash),
            Some(Kind::Remove | Kind::Expire) => _ = there.remove(&record.key_hash),
            _ => {}
        }
    }
    Ok(there)
}

/// Applies operation `kind` on `key`. Returns how many gets found it, and how many did not.
fn apply(cache: &Small, clock: &ManualClock, (kind, key): (u8, u64)) -> (u64, u64) {
    let get = |found: bool| (u64::from(found), u64::from(!found));
    match kind {
        0..=4 => return get(cache.get(&key).is_some()),
        5..=7 => {
            let found = cache.get(&key).is_some();
            if !found {
                let _ = cache.insert(key, key);
            }
            return get(found);
        }
        8 => _ = cache.insert(key, key % 7),
        9 => _ = cache.remove(&key),
        10 => _ = cache.compute(key, |_| Change::Put(key)),
        11 => clock.advance_ms(key),
        12 => {
            let ttl = Ttl::After(Duration::from_millis(key + 1));
            let _ = cache.insert_with(key, key, InsertOptions::new().end(ttl));
        }
        13 if key == 0 => cache.clear(),
        14 if key < 9 => {
            let name = ["lru", "fifo", "sieve"][key as usize % 3];
            cache.set_policy(native(name)).expect("the seat changes");
        }
        _ => cache.run_pending(),
    }
    (0, 0)
}

#[test]
fn what_a_tap_hears_of_any_operations_is_what_happened() {
    let operations = prop::collection::vec((0u8..16, 0u64..40), 1..300);
    let policy = prop::sample::select(vec![None, Some("lru"), Some("fifo"), Some("lecar")]);
    let notes = prop_oneof![Just(1usize), Just(5), Just(256)];
    let strategy = (operations, policy, notes, any::<bool>());
    check(cases(300), &strategy, |(operations, policy, notes_len_max, roomy)| {
        let clock = ManualClock::default();
        let builder = Cache::builder(if roomy { 10_000 } else { 12 }).hasher(Fixed::default());
        let builder = builder.weigher(|_: &u64, value: &u64| *value as u32 % 5);
        let builder = builder.shards(1).clock(clock.clone()).notes_len_max(notes_len_max);
        let cache = match policy {
            Some(name) => builder.policy(native(name)).build().expect("it is made"),
            None => builder.build().expect("it is made"),
        };
        let ear = Ear::new(SampleShare::ALL);
        cache.set_tap(Some(ear.clone()));
        let mut counted = (0, 0);
        for &operation in &operations {
            let (hits, misses) = apply(&cache, &clock, operation);
            counted = (counted.0 + hits, counted.1 + misses);
        }
        cache.run_pending();
        cache.validate();
        let told = ear.take();
        let there = follow(&told)?;
        let of = |kind| told.iter().map(|it| &it.1).filter(move |it| it.kind() == Some(kind));
        let misses = of(Kind::Miss).count() as u64;
        let hits: u64 = of(Kind::Hit).map(|record| u64::from(record.count)).sum();
        let lost = counted.1.wrapping_sub(misses);
        if hits > counted.0 || lost > counted.1 || (lost > 0 && notes_len_max == 256) {
            return Err(format!("{hits} hits and {misses} misses heard of {counted:?}"));
        }
        let sampled = cache.sample(0, SampleShare::ALL);
        let resident: BTreeSet<u64> = sampled.iter().map(|resident| resident.key_hash).collect();
        if !resident.is_subset(&there) || (roomy && resident != there) {
            return Err(format!("resident {resident:?}, heard {there:?}"));
        }
        Ok(())
    });
}

#[test]
fn a_tap_under_load_hears_only_its_share_while_policies_change() {
    let cache = Cache::builder(2_000).hasher(Fixed::default()).shards(2).policy(native("lru"));
    let cache = cache.notes_len_max(64).build().expect("it is made");
    let ear = Ear::new(SampleShare::one_in(4));
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let (cache, over) = (&cache, &over);
            scope.spawn(move || {
                let mut round = 0;
                while !over.load(Ordering::Relaxed) {
                    let key = draw(round, thread, 4_000);
                    if cache.get(&key).is_none() {
                        let _ = cache.insert(key, key);
                    } else if round % 64 == 0 {
                        cache.remove(&key);
                    }
                    round += 1;
                }
            });
        }
        cache.set_tap(Some(ear.clone()));
        for name in ["sieve", "fifo", "s3fifo", "lru"].repeat(5) {
            cache.set_policy(native(name)).expect("the seat changes");
            assert!(cache.sample(1, SampleShare::one_in(4)).len() <= 2_000);
        }
        over.store(true, Ordering::Relaxed);
    });
    for key in 0..4_000 {
        let _ = (cache.get(&key), cache.insert(key, key), cache.remove(&(key / 2)));
    }
    cache.set_tap(None);
    cache.run_pending();
    cache.validate();
    let mut told: BTreeMap<u32, BTreeSet<&str>> = BTreeMap::new();
    for (shard, record) in ear.take() {
        assert!(SampleShare::one_in(4).includes(record.key_hash) && record.flags == 0);
        told.entry(shard).or_default().insert(record.kind().map_or("?", Kind::name));
    }
    assert_eq!(told.len(), 2);
    for kinds in told.values() {
        assert!(kinds.is_superset(&["miss", "insert", "remove"].into()), "{kinds:?}");
    }
    assert_eq!(cache.stats().policy_faults, 0);
}

#[test]
fn sampled_residents_are_listed_coldest_first() {
    let clock = ManualClock::default();
    let cache = small(Some("lru"), 100, &clock);
    for key in 0..5 {
        clock.set_ms(key * 1_000);
        let options = InsertOptions::new().cost(Duration::from_micros(key * 10)).class(1);
        let _ = cache.insert_with(key, key, options);
        cache.run_pending();
    }
    for key in [3, 1, 3, 0] {
        clock.advance_ms(1_000);
        let _ = cache.get(&key);
        // A write ends the tick.
        let _ = (cache.insert(99, 0), cache.remove(&99));
        cache.run_pending();
    }
    let listed = cache.sample(0, SampleShare::ALL);
    let keys = [2u64, 4, 1, 3, 0];
    assert!(listed.iter().map(|it| it.key_hash).eq(keys.map(hash_of)), "{listed:?}");
    assert_eq!(listed.iter().map(|it| it.hits).collect::<Vec<_>>(), [0, 0, 1, 2, 1]);
    for (resident, key) in listed.iter().zip(keys) {
        assert_eq!((resident.born_ms, resident.cost_us), (key * 1_000, key as u32 * 10));
        assert!(resident.accessed_ms >= resident.born_ms && resident.class == 1);
        assert_eq!(resident.introduce(5).1.is_some(), resident.hits > 0);
    }
    assert!(cache.sample(1, SampleShare::ALL).is_empty(), "there is no such shard");
    assert_eq!(cache.stats().hits, 4, "no request is counted");
}

#[test]
fn the_list_is_of_the_share_and_of_every_resident_once() {
    let cache = Cache::builder(20_000).hasher(Fixed::default()).shards(3).policy(native("sieve"));
    let cache = cache.build().expect("it is made");
    for key in 0..9_000 {
        let _ = cache.insert(key, key);
    }
    let hashes = |share: SampleShare| -> Vec<u64> {
        let all = (0..cache.shards()).flat_map(|shard| cache.sample(shard, share));
        all.map(|resident| resident.key_hash).collect()
    };
    let all = hashes(SampleShare::ALL);
    assert_eq!((all.len(), all.iter().collect::<BTreeSet<_>>().len()), (9_000, 9_000));
    let share = SampleShare::one_in(16);
    let few = hashes(share);
    assert_eq!(few.len(), all.iter().filter(|&&hash| share.includes(hash)).count());
    assert!(hashes(SampleShare::NONE).is_empty());
    assert!(cache.stats().held_records_max <= 1_024);
}
