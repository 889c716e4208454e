//! Invariant 5 and the rules of delivery: what the policy is told, how often, in which order.

use ostler_abi::{Kind, Record, hash_u64};
use ostler_core::{Batch, Inserted, ShardConfig};
use ostler_tests::{Fifo, Mock, Operation, TestShard, cases, check};
use proptest::prelude::*;

use super::fifo_shard;

#[test]
fn requests_become_records() {
    for (capacity, operations, told, evicted) in [
        (3, "a b a c d", "insert 0:1 | insert 1:1 | hit 0, insert 2:1 | insert 3:1", "a"),
        (3, "a:0 b:2", "insert 0:1 | insert 1:2", ""),
        (5, "a a=4 b", "insert 0:1 | update 0:4 | insert 1:1", ""),
        (5, "a:2 b:3 a=3 c", "insert 0:2 | insert 1:3 | update 0:3 | insert 0:1", "a"),
        (3, "a -a -a -b !", "insert 0:1 | remove 0", ""),
        // Heavier than the shard: nobody hears of it.
        (5, "a:6 b:5 a:6", "insert 0:5", ""),
        // Grown beyond the shard: a removal.
        (5, "a:2 a=6 a !", "insert 0:2 | remove 0 | insert 0:1", ""),
        // A capacity record is alone in its batch, whatever waits.
        (3, "a a -b @2 b @1 b", "insert 0:1 | hit 0 | capacity 2 | insert 1:1 | capacity 1", "a"),
        (0, "a b:0 @1 a b", "capacity 1 | insert 0:1 | insert 1:1", "a"),
        (
            2,
            "a b @0 a b @1 b",
            "insert 0:1 | insert 1:1 | capacity 0 | capacity 1 | insert 1:1",
            "a b",
        ),
    ] {
        let (mut test, log) = fifo_shard(&TestShard::config(capacity));
        let found = test.play(operations);
        assert_eq!((log.text().as_str(), found.as_str()), (told, evicted), "{operations}");
        test.shard.validate();
    }
}

#[test]
fn oversize_entries_are_refused_and_replace_nothing_but_their_own_key() {
    let (mut test, _) = fifo_shard(&TestShard::config(10));
    test.play("a:4 b:4");
    let key = u64::from(b'a');
    assert_eq!(test.put(key, 11).1, Inserted::Oversize);
    assert_eq!((test.weight_of(key), test.shard.weight()), (None, 4));
    assert_eq!(test.shard.counters().rejections, 1);
    assert_eq!(test.put(key, u32::MAX).1, Inserted::Oversize);
    assert_eq!(test.put(key, 10).1, Inserted::New);
    assert_eq!(test.play("!"), "b");
}

#[test]
fn an_answer_as_long_as_the_buffer_is_continued_with_empty_calls() {
    for (capacity, victims_cap, evicted, calls) in [
        (3, 2, "a b c d e f g", "capacity 3 | - | - | -"),
        (4, 2, "a b c d e f", "capacity 4 | - | - | -"),
        (4, 3, "a b c d e f", "capacity 4 | - | -"),
        (4, 7, "a b c d e f", "capacity 4"),
        (9, 1, "a", "capacity 9 | -"),
        (10, 1, "", "capacity 10"),
        (0, 10, "a b c d e f g h i j", "capacity 0 | -"),
    ] {
        let mut fifo = Fifo::new(10);
        let (instance, told) =
            Mock::with_cap(256, victims_cap, move |events| Ok(fifo.serve(events)));
        let mut test = TestShard::new(&TestShard::config(10), instance);
        test.play("a b c d e f g h i j");
        assert_eq!(test.play(&format!("@{capacity}")), evicted, "to {capacity}");
        let text = told.text();
        assert!(text.ends_with(&format!("insert 9:1 | {calls}")), "to {capacity}: {text}");
        test.shard.validate();
    }
}

/// What a policy must hear of one operation, as far as it changes what is resident.
fn expected(test: &mut TestShard, operation: Operation) -> Option<Record> {
    let record = |kind, key, weight: u32| Record {
        key_hash: hash_u64(key, 0),
        weight: weight.max(1),
        kind: kind as u8,
        ..Record::ZERO
    };
    match operation {
        Operation::Get(key) => {
            test.get(key);
            None
        }
        Operation::Request(key, weight) => {
            if test.get(key).is_some() {
                return None;
            }
            expected(test, Operation::Put(key, weight))
        }
        Operation::Put(key, weight) => {
            let before = test.weight_of(key);
            test.evicted();
            let outcome = test.put(key, weight).1;
            // A full window is emptied before the key is looked up, and that may evict it.
            let gone = test.evicted().iter().any(|&(evicted, _)| evicted == key);
            match (outcome, before.filter(|_| !gone)) {
                (Inserted::New, _) => Some(record(Kind::Insert, key, weight)),
                (Inserted::Updated, _) => Some(record(Kind::Update, key, weight)),
                (Inserted::Oversize, Some(before)) => Some(record(Kind::Remove, key, before)),
                (Inserted::Oversize, None) => None,
            }
        }
        Operation::Remove(key) => {
            let before = test.weight_of(key)?;
            test.remove(key).then(|| record(Kind::Remove, key, before))
        }
        Operation::Capacity(capacity) => {
            test.shard.set_capacity(capacity);
            None
        }
        Operation::Flush => {
            test.shard.flush();
            None
        }
    }
}

#[test]
fn invariant_5_inserts_updates_and_removals_come_once_and_in_order() {
    let operations = prop::collection::vec(Operation::any(30), 1..200);
    let windows = prop_oneof![Just(1usize), 2usize..6, Just(256)];
    let batches = prop_oneof![Just(Batch::Exact), (1u32..9).prop_map(Batch::Every)];
    check(cases(500), &(operations, windows, batches), |(operations, window_len, batch)| {
        let config = ShardConfig { batch, ..TestShard::config(20) };
        let mut fifo = Fifo::new(20);
        let (instance, told) = Mock::instance(window_len, move |events| Ok(fifo.serve(events)));
        let mut test = TestShard::new(&config, instance);
        let wanted: Vec<Record> =
            operations.iter().filter_map(|&operation| expected(&mut test, operation)).collect();
        test.shard.flush();
        let changes = |kind| matches!(kind, Some(Kind::Insert | Kind::Update | Kind::Remove));
        let heard: Vec<Record> = told
            .records()
            .into_iter()
            .filter(|record| changes(record.kind()))
            .map(|record| Record { slot: 0, count: 0, ..record })
            .collect();
        if heard == wanted {
            return Ok(());
        }
        Err(format!("wanted {wanted:?}, heard {heard:?}, fault {:?}", test.shard.fault()))
    });
}
