//! The invariants of the architecture page, each with a test named after it, on a single shard.
//!
//! The policies here are scripts that know nothing of the SDK, so that the engine is checked on its
//! own. Those of the live cache, 6, 8 and 9 among them, are with the tests of `live`.

mod delivery;
mod faults;
mod handover;
mod model;
mod slots;

use ostler_abi::{Kind, NO_SLOT, Record, Setup, hash_u64};
use ostler_core::{Access, Batch, KeyHash, NativeInstance, PolicyFault, Shard, ShardConfig};
use ostler_tests::{BUILTINS, Fifo, Mock, Operation, TestShard, Told, cases, check};
use proptest::prelude::*;

/// A shard under a first-in-first-out script with a window of 256, and what the script was told.
fn fifo_shard(config: &ShardConfig) -> (TestShard, Told) {
    let mut fifo = Fifo::new(config.capacity);
    let (instance, told) = Mock::instance(256, move |events| Ok(fifo.serve(events)));
    (TestShard::new(config, instance), told)
}

#[test]
fn invariant_1_policies_see_slots_hashes_weights_costs_classes_and_times() {
    let (mut test, told) = fifo_shard(&TestShard::config(10));
    test.access = Access { time_ms: 7, cost_us: 9, class: 3 };
    test.request(41, 5);
    test.access = Access { time_ms: 8, cost_us: 0, class: 0 };
    test.request(41, 5);
    test.remove(41);
    test.shard.flush();
    let key_hash = hash_u64(41, 0);
    let insert = Record {
        key_hash,
        time_ms: 7,
        slot: 0,
        weight: 5,
        cost_us: 9,
        count: 1,
        class: 3,
        kind: Kind::Insert as u8,
        flags: 0,
    };
    let hit = Record { time_ms: 8, cost_us: 0, class: 0, kind: Kind::Hit as u8, ..insert };
    assert_eq!(told.records(), [insert, hit, Record { kind: Kind::Remove as u8, ..hit }]);
}

#[test]
fn invariant_1_a_policy_cannot_tell_keys_and_values_apart() {
    struct FirstLetter;
    impl KeyHash<String> for FirstLetter {
        fn hash_of(&self, key: &String) -> u64 {
            hash_u64(key.bytes().next().map_or(0, u64::from), 0)
        }
    }
    let config = TestShard::config(2);
    let mut fifo = Fifo::new(2);
    let (instance, told_of_words) = Mock::instance(256, move |events| Ok(fifo.serve(events)));
    let mut words = Shard::new(&config, Ok(instance), FirstLetter);
    for word in ["apple", "bread", "apple", "cheese"] {
        let key = word.to_owned();
        let hash = words.hash_of(&key);
        if words.get(hash, &key, Access::default()).is_none() {
            let entry = (key, vec![word; 100]);
            let _ = words.insert(hash, entry, 1, Access::default());
        }
    }
    let (mut letters, told_of_letters) = fifo_shard(&config);
    assert_eq!(letters.play("a b a c"), "a");
    assert_eq!(told_of_words.batches(), told_of_letters.batches());
}

/// A shard of capacity 3 whose policy keeps quiet until slot 3 comes in, and then says `answer`.
fn answered(answer: &[u32], operations: &str) -> (TestShard, String) {
    answered_in(Batch::Exact, answer, operations)
}

fn answered_in(batch: Batch, answer: &[u32], operations: &str) -> (TestShard, String) {
    let answer = answer.to_vec();
    let (instance, _) = Mock::instance(256, move |events| {
        let asked =
            events.iter().any(|event| event.kind() == Some(Kind::Insert) && event.slot == 3);
        Ok(if asked { answer.clone() } else { Vec::new() })
    });
    let config = ShardConfig { batch, ..TestShard::config(3) };
    let mut test = TestShard::new(&config, instance);
    let evicted = test.play(operations);
    test.shard.validate();
    (test, evicted)
}

fn fault_kind(test: &TestShard) -> &'static str {
    test.shard.fault().map_or("", PolicyFault::kind)
}

#[test]
fn invariant_2_every_victim_is_checked() {
    for (answer, evicted, fault) in [
        (&[0][..], "a", ""),
        (&[2], "c", ""),
        (&[0, 1], "a b", ""),
        // The newcomer itself: a rejection.
        (&[3], "d", ""),
        // Nothing of a faulty answer counts: the fallback chooses for itself, never the newcomer.
        (&[2, 4], "a", "bad_victim"),
        (&[2, 2], "a", "bad_victim"),
        (&[3, 3], "a", "bad_victim"),
        (&[2, NO_SLOT], "a", "bad_victim"),
        (&[16], "a", "bad_victim"),
        (&[], "a", "over_budget"),
        (&[2, 1, 0], "c b a", "over_eviction"),
    ] {
        let (test, found) = answered(answer, "a b c d");
        assert_eq!((found.as_str(), fault_kind(&test)), (evicted, fault), "{answer:?}");
        let counters = test.shard.counters();
        assert_eq!(counters.faults, u64::from(!fault.is_empty()), "{answer:?}");
        let rejected = u64::from(answer == [3]);
        assert_eq!(counters.rejections, rejected, "{answer:?}");
        let expected = evicted.split_whitespace().count() as u64 - rejected;
        assert_eq!(counters.evictions, expected, "{answer:?}");
    }
}

#[test]
fn invariant_2_a_victim_removed_in_the_same_batch_is_stale() {
    for (answer, stale, fault) in
        [(&[0][..], 1, ""), (&[], 0, ""), (&[0, 0], 0, "bad_victim"), (&[0, 9], 0, "bad_victim")]
    {
        let (test, evicted) = answered_in(Batch::Every(8), answer, "a b c ! -a d !");
        assert_eq!((evicted.as_str(), fault_kind(&test)), ("", fault), "{answer:?}");
        let found = test.shard.counters().stale_victims;
        assert!(found == stale || !fault.is_empty(), "{answer:?}: {found} stale");
        assert_eq!(test.shard.len(), 3, "{answer:?}");
    }
    // In a later batch it is a lie.
    for (operations, fault) in [("a b ! -a b=2 !", ""), ("a b ! -a ! b=2 !", "bad_victim")] {
        let (instance, _) = Mock::instance(256, |events| {
            let asked = events.iter().any(|event| event.kind() == Some(Kind::Update));
            Ok(if asked { vec![0] } else { Vec::new() })
        });
        let config = ShardConfig { batch: Batch::Every(8), ..TestShard::config(9) };
        let mut test = TestShard::new(&config, instance);
        assert_eq!(test.play(operations), "");
        assert_eq!(fault_kind(&test), fault, "{operations}");
    }
}

#[test]
fn invariant_4_batches_are_bounded_by_the_window_and_the_config() {
    for (batch, window_len, len_max) in [
        (Batch::Exact, 1, 1),
        (Batch::Exact, 7, 7),
        (Batch::Exact, 256, 256),
        (Batch::Every(0), 256, 1),
        (Batch::Every(1), 256, 1),
        (Batch::Every(5), 256, 5),
        (Batch::Every(500), 64, 64),
    ] {
        let config = ShardConfig { batch, ..TestShard::config(20) };
        let mut fifo = Fifo::new(20);
        let (instance, told) = Mock::instance(window_len, move |events| Ok(fifo.serve(events)));
        let mut test = TestShard::new(&config, instance);
        for request in 0..5000 {
            test.request(hash_u64(request, 3) % 40 * (request % 7) / 3, 1);
            let overshoot = test.shard.len().saturating_sub(20);
            let slack = if batch == Batch::Exact { 0 } else { len_max };
            assert!(overshoot <= slack, "{batch:?}: {overshoot} entries over");
        }
        // Hits alone reach the policy too: the window fills.
        for _ in 0..1000 {
            test.get(0);
        }
        let longest = told.batches().iter().map(Vec::len).max();
        assert_eq!(longest, Some(len_max), "{batch:?}, a window of {window_len}");
    }
}

#[test]
fn invariant_7_the_same_events_and_seed_give_the_same_victims() {
    let operations = prop::collection::vec(Operation::any(40), 1..300);
    check(cases(6), &operations, |operations| {
        for builtin in &BUILTINS {
            let run = || {
                let config = TestShard::config(25);
                let setup = Setup { capacity: 25, slots: config.slots, seed: 9 };
                let instance = NativeInstance::try_new(&builtin.native, setup, "{}");
                let instance = instance.map_err(|refused| refused.reason)?;
                Ok(evictions(TestShard::new(&config, Box::new(instance)), &operations))
            };
            let (first, second): (Result<_, String>, _) = (run(), run());
            if first != second {
                return Err(format!("{}: {first:?} and then {second:?}", builtin.name));
            }
        }
        Ok(())
    });
}

#[test]
fn invariant_7_holds_for_the_fallback_too() {
    let operations: Vec<Operation> =
        (0..2000).map(|request| Operation::Request(hash_u64(request, 5) % 90, 1)).collect();
    let run = |seed| {
        let config = ShardConfig { seed, ..TestShard::config(50) };
        let broken = Err(PolicyFault::Refused { code: 1 });
        evictions(TestShard::try_new(&config, broken), &operations)
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

/// The keys that a shard evicts while it serves `operations`.
fn evictions(mut test: TestShard, operations: &[Operation]) -> Vec<u64> {
    serve(&mut test, operations);
    test.evicted().into_iter().map(|(key, _)| key).collect()
}

fn serve(test: &mut TestShard, operations: &[Operation]) {
    for &operation in operations {
        match operation {
            Operation::Get(key) => _ = test.get(key),
            Operation::Request(key, weight) => _ = test.request(key, weight),
            Operation::Put(key, weight) => _ = test.put(key, weight),
            Operation::Remove(key) => _ = test.remove(key),
            Operation::Capacity(capacity) => test.shard.set_capacity(capacity),
            Operation::Flush => test.shard.flush(),
        }
    }
}

#[test]
fn policies_that_do_not_want_hits_or_misses_get_none() {
    for (hits, misses, told) in [
        (false, false, "insert 0:1 | insert 1:1"),
        (true, false, "insert 0:1 | hit 0, hit 0, insert 1:1"),
        (false, true, "miss, insert 0:1 | miss, insert 1:1"),
        (true, true, "miss, insert 0:1 | hit 0, hit 0, miss, insert 1:1"),
    ] {
        let wants = ostler_core::Wants { hits, misses };
        let config = ShardConfig { wants, ..TestShard::config(4) };
        let (mut test, log) = fifo_shard(&config);
        test.play("a a a b");
        assert_eq!(log.text(), told);
    }
}
