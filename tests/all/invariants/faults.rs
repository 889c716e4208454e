//! Invariant 3: no policy fault reaches a caller, and the capacity is kept from the next operation
//! on.

use ostler_abi::Record;
use ostler_core::{Batch, PolicyFault, PolicyInstance, ShardConfig, Victims};
use ostler_tests::{Answer, Fifo, Mock, Model, Operation, TestShard, cases, check};
use proptest::prelude::*;

/// A way to break the contract.
#[derive(Clone, Copy, Debug)]
enum Sin {
    Trap,
    NamesStranger,
    Repeats,
    Keeps,
    EvictsAll,
    NeverEnds,
}

const SINS: [(Sin, &str); 6] = [
    (Sin::Trap, "trap"),
    (Sin::NamesStranger, "bad_victim"),
    (Sin::Repeats, "bad_victim"),
    (Sin::Keeps, "over_budget"),
    (Sin::EvictsAll, "over_eviction"),
    (Sin::NeverEnds, "bad_victim"),
];

/// First in, first out, until the call with number `after`, from which on it sins.
struct Sinner {
    fifo: Fifo,
    sin: Sin,
    after: u32,
    calls: u32,
}

impl Sinner {
    fn answer(&mut self, events: &[Record]) -> Answer {
        let mut victims = self.fifo.serve(events);
        self.calls += 1;
        if self.calls <= self.after {
            return Ok(victims);
        }
        match self.sin {
            Sin::Trap => return Err(PolicyFault::Trap { reason: "unreachable".into() }),
            Sin::NamesStranger => victims.push(1 << 20),
            Sin::Repeats => victims.extend(self.fifo.residents().take(1).flat_map(|s| [s, s])),
            Sin::Keeps => victims.clear(),
            Sin::EvictsAll => victims.extend(self.fifo.residents()),
            Sin::NeverEnds => {}
        }
        Ok(victims)
    }
}

/// Says that there is more, for ever.
struct Endless(Box<dyn PolicyInstance>);

impl PolicyInstance for Endless {
    fn events(&mut self) -> &mut [Record] {
        self.0.events()
    }
    fn step(&mut self, n: usize) -> Result<Victims<'_>, PolicyFault> {
        self.0.step(n).map(|victims| Victims { more: true, ..victims })
    }
    fn memory_bytes(&self) -> u64 {
        0
    }
    fn guest_ns(&self) -> u64 {
        0
    }
}

#[test]
fn invariant_3_the_fallback_takes_over_before_the_next_eviction() {
    for (sin, kind) in SINS {
        for after in [0, 1, 7, 300] {
            let mut sinner = Sinner { fifo: Fifo::new(30), sin, after, calls: 0 };
            let (mut instance, told) = Mock::instance(256, move |events| sinner.answer(events));
            if matches!(sin, Sin::NeverEnds) {
                instance = Box::new(Endless(instance));
            }
            let mut test = TestShard::new(&TestShard::config(30), instance);
            let mut calls_at_fault = None;
            for request in 0..2000u64 {
                let key = ostler_abi::hash_u64(request, 11) % 60;
                test.request(key, 1);
                assert!(test.shard.weight() <= 30, "{sin:?} after {after}: request {request}");
                assert_eq!(test.get(key).is_some(), test.weight_of(key).is_some());
                if calls_at_fault.is_none() && test.shard.faults() == 1 {
                    calls_at_fault = Some(told.calls());
                }
            }
            test.shard.validate();
            let found = test.shard.fault().map(PolicyFault::kind);
            assert_eq!(found, Some(kind), "{sin:?} after {after}");
            // Never called again, and the cache went on evicting.
            assert_eq!(calls_at_fault, Some(told.calls()), "{sin:?} after {after}");
            let counters = test.shard.counters();
            assert_eq!((counters.faults, test.shard.weight()), (1, 30), "{sin:?} after {after}");
            assert!(counters.fallback_requests > 1000, "{sin:?} after {after}: {counters:?}");
            assert!(counters.evictions > 500, "{sin:?} after {after}: {counters:?}");
        }
    }
}

#[test]
fn invariant_3_a_policy_that_fails_before_its_first_event_is_a_fault_like_any_other() {
    let config = TestShard::config(3);
    let mut test = TestShard::try_new(&config, Err(PolicyFault::Refused { code: 7 }));
    let evicted = test.play("a b c a d @1 e:0 f=1 -f ! a a");
    assert_eq!(evicted.split_whitespace().count(), 5, "{evicted}");
    let counters = test.shard.counters();
    assert_eq!((counters.faults, counters.fallback_requests, counters.calls), (1, 8, 0));
    assert_eq!(test.shard.fault(), Some(&PolicyFault::Refused { code: 7 }));
    assert_eq!((test.shard.len(), counters.hits), (1, 2));
    test.shard.validate();
}

#[test]
fn victims_of_earlier_calls_of_a_batch_stand_those_of_a_faulty_call_do_not() {
    for (victims_cap, stands) in [(2, true), (64, false)] {
        // The youngest, which the fallback would take last, and then a stranger.
        let (instance, _) = Mock::with_cap(256, victims_cap, |events| {
            let shrunk = events[0].kind() == Some(ostler_abi::Kind::Capacity);
            Ok(if shrunk { vec![5, 4, 9] } else { Vec::new() })
        });
        let mut test = TestShard::new(&TestShard::config(6), instance);
        assert_eq!(test.play("a b c d e f"), "");
        let evicted = test.play("@3");
        assert_eq!(evicted.starts_with("f e "), stands, "{evicted}");
        assert_eq!((test.shard.len(), test.shard.faults()), (3, 1));
        test.shard.validate();
    }
}

#[test]
fn invariant_3_holds_for_any_operations_and_any_sin() {
    let operations = prop::collection::vec(Operation::any(30), 1..200);
    let sins = prop::sample::select(SINS.to_vec());
    let batches = prop_oneof![Just(Batch::Exact), (1u32..9).prop_map(Batch::Every)];
    let strategy = (operations, sins, 0u32..40, batches);
    check(cases(600), &strategy, |(operations, (sin, _), after, batch)| {
        let config = ShardConfig { batch, ..TestShard::config(20) };
        let mut sinner = Sinner { fifo: Fifo::new(20), sin, after, calls: 0 };
        let (mut instance, _) = Mock::instance(16, move |events| sinner.answer(events));
        if matches!(sin, Sin::NeverEnds) {
            instance = Box::new(Endless(instance));
        }
        let mut test = TestShard::new(&config, instance);
        let mut model = Model::new(20, batch, 16);
        operations.iter().try_for_each(|&operation| model.apply(&mut test, operation))
    });
}
