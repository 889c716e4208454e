//! Bugs that were fixed: each left the scenario that showed it.

use ostler_abi::{NativePolicy, Record, Setup, Step};
use ostler_core::{
    Batch, InstanceSource, NativeInstance, PolicyFault, PolicyInstance, ShardConfig, Wants,
};
use ostler_replay::{Operation, Request, RunConfig, RunOutcome, WeightMode, run_loaded};
use ostler_tests::{Fifo, Mock, TestShard};

/// The bound on the calls for one answer forgot the victims whose entries had gone in the batch.
#[test]
fn a_long_answer_of_stale_victims_is_not_endless() {
    let mut fifo = Fifo::new(3);
    let (instance, _) = Mock::with_cap(64, 1, move |events| Ok(fifo.serve(events)));
    let config = ShardConfig { batch: Batch::Every(13), ..TestShard::config(3) };
    let mut test = TestShard::new(&config, instance);
    assert_eq!(test.play("a b c d e f -a -b -c -d -e -f g !"), "");
    assert_eq!(test.shard.fault(), None);
    assert_eq!((test.shard.counters().stale_victims, test.shard.len()), (3, 1));
}

/// A policy that traps in its first call, or never starts.
struct Broken {
    starts: bool,
}

impl InstanceSource for Broken {
    fn label(&self) -> &str {
        "broken"
    }

    fn params(&self) -> &str {
        "{}"
    }

    fn code_id(&self) -> String {
        "broken".into()
    }

    fn wants(&self) -> Wants {
        Wants { hits: true, misses: false }
    }

    fn instance(&self, _: Setup) -> Result<Box<dyn PolicyInstance>, PolicyFault> {
        let fault = PolicyFault::Trap { reason: "unreachable".into() };
        if self.starts { Ok(Mock::instance(64, move |_| Err(fault.clone())).0) } else { Err(fault) }
    }
}

fn replay(broken: &Broken, requests: &[Request]) -> RunOutcome {
    let config = RunConfig {
        capacity: 100,
        weights: WeightMode::Bytes,
        shards: 1,
        seed: 0,
        batch: Batch::Every(64),
    };
    run_loaded(broken, config, requests, &|_| ())
}

/// The fault of the last batch, handed over at the end, was counted but not named.
#[test]
fn a_fault_in_the_last_batch_is_in_the_outcome() {
    let requests: Vec<Request> = (0..5).map(|key| Request::get(key, key, 1)).collect();
    let outcome = replay(&Broken { starts: true }, &requests);
    assert_eq!(outcome.faults, 1);
    let (request, fault) = outcome.first_fault.expect("the fault is named");
    assert_eq!((request, fault.kind()), (5, "trap"));
}

/// Sets that change a size were not counted as served by the fallback.
#[test]
fn the_fallback_counts_every_request_it_serves() {
    let requests: Vec<Request> =
        (1..9).map(|size| Request::get(0, 7, size).with_operation(Operation::Set)).collect();
    let outcome = replay(&Broken { starts: false }, &requests);
    assert_eq!((outcome.requests, outcome.fallback_requests), (8, 8));
    assert_eq!((outcome.hits, outcome.misses), (7, 1));
}

struct Panics;

impl Step for Panics {
    fn step(&mut self, _: &[Record], _: &mut [u32]) -> usize {
        unreachable!("a policy's own assertion")
    }
}

/// A compiled-in policy's panic reached the caller of the cache.
#[test]
fn a_native_panic_is_a_fault() {
    let policy = NativePolicy { manifest: "{}", build: |_, _| Ok(Box::new(Panics)) };
    let setup = Setup { capacity: 3, slots: 16, seed: 0 };
    let instance = NativeInstance::try_new(&policy, setup, "").expect("it starts");
    let mut test = TestShard::new(&TestShard::config(3), Box::new(instance));
    test.play("a b c d e");
    let fault = test.shard.fault().map(ToString::to_string).unwrap_or_default();
    assert!(fault.contains("a policy's own assertion"), "{fault}");
    assert_eq!(test.shard.len(), 3);
}
