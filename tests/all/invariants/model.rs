//! Random operations against a plain map, under every built-in policy, compiled in.

use ostler_abi::Setup;
use ostler_core::{Batch, NativeInstance, ShardConfig};
use ostler_tests::{BUILTINS, Model, Operation, TestShard, cases, check};
use proptest::prelude::*;

/// Length of a compiled-in policy's window.
const WINDOW_LEN: usize = 256;

fn agrees(batch: Batch, capacity: u64, operations: &[Operation]) -> Result<(), String> {
    for builtin in &BUILTINS {
        let config = ShardConfig { batch, slots: 4, ..TestShard::config(capacity) };
        let setup = Setup { capacity, slots: 4, seed: 1 };
        let instance = NativeInstance::try_new(&builtin.native, setup, "{}");
        let instance = instance.map_err(|refused| refused.reason)?;
        let mut test = TestShard::new(&config, Box::new(instance));
        let mut model = Model::new(capacity, batch, WINDOW_LEN);
        for (index, &operation) in operations.iter().enumerate() {
            let at = |difference| format!("{}, operation {index}: {difference}", builtin.name);
            model.apply(&mut test, operation).map_err(at)?;
            if let Some(fault) = test.shard.fault() {
                return Err(at(format!("fault: {fault}")));
            }
        }
    }
    Ok(())
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    prop::collection::vec(Operation::any(60), 1..250)
}

#[test]
fn a_shard_agrees_with_a_map_in_exact_batches() {
    let capacities = prop_oneof![0u64..=2, 3u64..50];
    check(cases(80), &(operations(), capacities), |(operations, capacity)| {
        agrees(Batch::Exact, capacity, &operations)
    });
}

#[test]
fn a_shard_agrees_with_a_map_in_bounded_batches() {
    let capacities = prop_oneof![0u64..=2, 3u64..50];
    let strategy = (operations(), capacities, 1u32..20);
    check(cases(80), &strategy, |(operations, capacity, len)| {
        agrees(Batch::Every(len), capacity, &operations)
    });
}
