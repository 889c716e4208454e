//! Slots: their order, their quarantine, and how the policy learns of a larger bound.

use std::collections::HashSet;

use ostler_abi::{Kind, NO_SLOT};
use ostler_core::{Batch, ShardConfig};
use ostler_tests::{Fifo, Mock, NO_HITS, Operation, TestShard, cases, check};
use proptest::prelude::*;

use super::fifo_shard;

#[test]
fn the_most_recently_freed_slot_comes_first_then_the_lowest_unused() {
    for (operations, told) in [
        ("-a -c ! e f g", "remove 0 | remove 2 | insert 2:1 | insert 0:1 | insert 4:1"),
        ("-a e f", "remove 0 | insert 0:1 | insert 4:1"),
        // A victim's slot too: it is free for the next newcomer, not for the one it made room for.
        ("e f g", "insert 4:1 | insert 5:1 | insert 0:1"),
    ] {
        let (mut test, log) = fifo_shard(&TestShard::config(5));
        test.play("a b c d");
        test.play(operations);
        test.shard.flush();
        let text = log.text();
        let rest = text.strip_prefix("insert 0:1 | insert 1:1 | insert 2:1 | insert 3:1 | ");
        assert_eq!(rest, Some(told), "{operations}");
    }
}

#[test]
fn a_slot_is_not_used_again_before_its_last_event_was_consumed() {
    let operations = prop::collection::vec(Operation::any(30), 1..200);
    let windows = prop_oneof![Just(1usize), 2usize..6, Just(256)];
    let batches = prop_oneof![Just(Batch::Exact), (1u32..9).prop_map(Batch::Every)];
    check(cases(500), &(operations, windows, batches), |(operations, window_len, batch)| {
        let config = ShardConfig { batch, ..TestShard::config(20) };
        let mut fifo = Fifo::new(20);
        let (instance, told) = Mock::instance(window_len, move |events| Ok(fifo.serve(events)));
        let mut test = TestShard::new(&config, instance);
        super::serve(&mut test, &operations);
        let freed_and_used = told.batches().into_iter().find(|batch| {
            let mut freed = HashSet::new();
            batch.iter().any(|record| match record.kind() {
                Some(Kind::Remove) => !freed.insert(record.slot),
                Some(Kind::Insert) => freed.contains(&record.slot),
                _ => false,
            })
        });
        freed_and_used.map_or(Ok(()), |batch| Err(format!("one batch frees and reuses: {batch:?}")))
    });
}

#[test]
fn a_slots_record_comes_before_use_in_steps_of_at_least_an_eighth() {
    for batch in [Batch::Exact, Batch::Every(1), Batch::Every(64)] {
        let config = ShardConfig { batch, slots: 4, wants: NO_HITS, ..TestShard::config(30_000) };
        let (mut test, told) = fifo_shard(&config);
        for key in 0..20_000 {
            test.request(key, 1);
        }
        test.shard.flush();
        let mut bound = 4u32;
        let mut bounds = Vec::new();
        for record in told.records() {
            if record.kind() == Some(Kind::Slots) {
                assert!(record.slot >= bound + bound.div_ceil(8), "{bound} to {}", record.slot);
                bound = record.slot;
                bounds.push(bound);
            } else {
                assert!(record.slot < bound || record.slot == NO_SLOT, "{record:?} below {bound}");
            }
        }
        assert!(bound >= 20_000 && bounds.len() < 20, "{bounds:?}");
        assert_eq!(told.announced(), bounds, "the sandbox hears of it too");
        test.shard.validate();
    }
}
