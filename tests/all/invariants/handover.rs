//! Invariant 9 on a single shard: a swap loses no entry, and the newcomer knows what is resident.

use std::sync::{Arc, Mutex};

use ostler_abi::{Kind, Record};
use ostler_core::{Access, Batch, InstanceSource, PolicyFault, ShardConfig};
use ostler_tests::{
    Answer, BUILTINS, Fifo, Mock, Model, Operation, Scripted, TestShard, Told, cases, check, native,
};
use proptest::prelude::*;

use super::fifo_shard;

/// A source of one scripted instance with a window of `window_len`, and what that is told.
fn scripted(
    window_len: usize,
    script: impl FnMut(&[Record]) -> Answer + Send + 'static,
) -> (Arc<dyn InstanceSource>, Told) {
    let (instance, told) = Mock::instance(window_len, script);
    let instance = Mutex::new(Some(instance));
    let make = move |_| {
        instance
            .lock()
            .expect("nobody panics with it")
            .take()
            .ok_or(PolicyFault::Refused { code: 1 })
    };
    (Scripted::source("scripted", make), told)
}

#[test]
fn invariant_9_a_newcomer_adopts_all_residents_coldest_first() {
    for (operations, window_len, adopted, told) in [
        ("", 256, 0, ""),
        ("a b c", 256, 3, "adopt 0:1, adopt 1:1, adopt 2:1"),
        ("a b c a a", 256, 3, "adopt 1:1, adopt 2:1, adopt 0:1, hit 0"),
        ("a:3 b c:2 a -b", 256, 2, "adopt 2:2, adopt 0:3, hit 0"),
        // An update is an access.
        ("a b c a=2", 256, 3, "adopt 1:1, adopt 2:1, adopt 0:2, hit 0"),
        // The two records of an entry are in one batch where the window can hold them.
        ("a b c a b", 2, 3, "adopt 2:1 | adopt 1:1, hit 1 | adopt 0:1, hit 0"),
        ("a b c a", 2, 3, "adopt 1:1, adopt 2:1 | adopt 0:1, hit 0"),
        // A newcomer counts as used in the tick before.
        ("a a b", 1, 2, "adopt 1:1 | adopt 0:1 | hit 0"),
        // What was evicted is not told.
        (
            "a b c d e f g",
            256,
            6,
            "adopt 1:1, adopt 2:1, adopt 3:1, adopt 4:1, adopt 5:1, adopt 6:1",
        ),
    ] {
        let (mut test, _) = fifo_shard(&TestShard::config(6));
        test.play(operations);
        let (source, log) = scripted(window_len, |_| Ok(Vec::new()));
        assert_eq!(test.shard.set_policy(&*source), Ok(adopted), "{operations}");
        assert_eq!(log.text(), told, "{operations}");
        let counters = test.shard.counters();
        assert_eq!((counters.swaps, counters.adopted, counters.faults), (1, adopted, 0));
        test.shard.validate();
    }
}

#[test]
fn a_newcomer_hears_what_an_entry_cost_and_when_it_came_in_and_was_used() {
    let (mut test, _) = fifo_shard(&TestShard::config(10));
    for (key, time_ms, cost_us, class) in [(1, 5_000, 70, 2), (2, 6_250, 0, 0), (1, 9_030, 1, 1)] {
        test.access = Access { time_ms, cost_us, class };
        test.request(key, 3);
    }
    let (source, told) = scripted(256, |_| Ok(Vec::new()));
    assert_eq!(test.shard.set_policy(&*source), Ok(2));
    let found: Vec<_> = told
        .records()
        .iter()
        .map(|told| (told.slot, told.kind(), told.time_ms, (told.cost_us, told.class, told.count)))
        .collect();
    let adopt = Some(Kind::Adopt);
    // To a tenth of a second, and for the hit to a tick: since the last insert but none before.
    assert_eq!(
        found,
        [
            (1, adopt, 6_200, (0, 0, 1)),
            (0, adopt, 5_000, (70, 2, 1)),
            (0, Some(Kind::Hit), 6_250, (70, 2, 1)),
        ]
    );
}

#[test]
fn a_newcomer_that_fails_does_not_get_the_seat() {
    let trap = || PolicyFault::Trap { reason: "unreachable".to_owned() };
    let sources = [
        (Scripted::source("unmade", |_| Err(PolicyFault::Refused { code: 3 })), "refused"),
        (Scripted::fifo("trap", move |_, _, _| Err(trap())), "trap"),
        (Scripted::fifo("victim", |_, _, _| Ok(vec![1])), "bad_victim"),
        (Scripted::fifo("stranger", |_, _, _| Ok(vec![77])), "bad_victim"),
        (Scripted::fifo("endless", |_, _, _| Ok((0..64).collect())), "bad_victim"),
    ];
    for (source, kind) in sources {
        let (mut test, told) = fifo_shard(&TestShard::config(4));
        test.play("a b c d a");
        let failed = test.shard.set_policy(&*source);
        assert_eq!(failed.as_ref().map_err(PolicyFault::kind), Err(kind));
        let counters = test.shard.counters();
        assert_eq!((counters.swaps, counters.faults, counters.evictions), (0, 1, 0), "{kind}");
        assert_eq!((test.shard.fault(), test.shard.len()), (None, 4), "{kind}");
        let calls = told.calls();
        assert_eq!(test.play("e f"), "a b", "{kind}: the policy before goes on");
        assert!(told.calls() > calls);
        test.shard.validate();
    }
}

#[test]
fn a_policy_can_take_the_seat_from_the_fallback() {
    let (instance, _) = Mock::instance(256, |_| Err(PolicyFault::Refused { code: 7 }));
    let mut test = TestShard::new(&TestShard::config(3), instance);
    test.play("a b c d");
    assert_eq!((test.shard.faults(), test.shard.len()), (1, 3));
    let before = test.shard.counters().fallback_requests;
    assert_eq!(test.shard.set_policy(&*Scripted::fifo("fifo", |_, _, victims| Ok(victims))), Ok(3));
    assert!(test.shard.fault().is_none() && test.shard.instance().is_some());
    test.play("e f g h");
    assert_eq!((test.shard.len(), test.shard.counters().fallback_requests), (3, before));
    test.shard.validate();
}

#[test]
fn more_slots_than_at_first_are_enough_for_a_newcomer() {
    let config = ShardConfig { slots: 4, ..TestShard::config(3_000) };
    let mut fifo = Fifo::new(3_000);
    let (instance, _) = Mock::instance(256, move |events| Ok(fifo.serve(events)));
    let mut test = TestShard::new(&config, instance);
    for key in 0..2_000 {
        test.request(key, 1);
    }
    let (source, told) = scripted(256, |_| Ok(Vec::new()));
    assert_eq!(test.shard.set_policy(&*source), Ok(2_000));
    assert!(told.announced().is_empty(), "the instance was made for them");
    for key in 2_000..3_000 {
        test.request(key, 1);
    }
    assert_eq!((told.announced().len(), test.shard.len()), (1, 3_000));
    test.shard.validate();
}

#[test]
fn invariant_9_any_swaps_between_any_operations_lose_nothing() {
    let operation = Operation::any(60);
    let swap = prop_oneof![9 => Just(None), 1 => (0..BUILTINS.len()).prop_map(Some)];
    let operations = prop::collection::vec((operation, swap), 1..250);
    let batches = prop_oneof![Just(Batch::Exact), (1u32..20).prop_map(Batch::Every)];
    let capacities = prop_oneof![0u64..=2, 3u64..50];
    check(cases(300), &(operations, batches, capacities), |(operations, batch, capacity)| {
        let config = ShardConfig { batch, slots: 4, ..TestShard::config(capacity) };
        let mut fifo = Fifo::new(capacity);
        let (instance, _) = Mock::instance(256, move |events| Ok(fifo.serve(events)));
        let mut test = TestShard::new(&config, instance);
        let mut model = Model::new(capacity, batch, 256);
        let mut swaps = 0;
        for (index, &(operation, policy)) in operations.iter().enumerate() {
            let at = |difference| format!("operation {index}: {difference}");
            if let Some(policy) = policy {
                let name = BUILTINS[policy].name;
                model.apply(&mut test, Operation::Flush).map_err(at)?;
                let resident = test.shard.len() as u64;
                let adopted = test.shard.set_policy(&*native(name));
                swaps += 1;
                if adopted != Ok(resident) || test.shard.len() as u64 != resident {
                    return Err(at(format!("{name} adopted {adopted:?} of {resident}")));
                }
                test.shard.validate();
            }
            model.apply(&mut test, operation).map_err(at)?;
            if let Some(fault) = test.shard.fault() {
                return Err(at(format!("fault: {fault}")));
            }
        }
        let counted = test.shard.counters().swaps;
        if counted == swaps {
            Ok(())
        } else {
            Err(format!("{counted} swaps counted, {swaps} made"))
        }
    });
}
