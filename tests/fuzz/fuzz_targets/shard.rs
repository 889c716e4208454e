//! Any operations on a shard under any built-in policy: it agrees with a plain map.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ostler_core::{Batch, InstanceSource as _, ShardConfig};
use ostler_tests::{BUILTINS, Model, Operation, TestShard, Tested};

/// Window of a compiled-in policy.
const WINDOW_LEN: usize = 256;

fn operation(bytes: [u8; 4]) -> Operation {
    let [choice, key, low, high] = bytes;
    let key = u64::from(key % 64);
    let small = u16::from_le_bytes([low, high]);
    let weight = if small > 0xff00 { u32::MAX - u32::from(low) } else { u32::from(small % 64) };
    match choice % 16 {
        0 | 1 => Operation::Get(key),
        2 | 3 => Operation::Put(key, weight),
        4 | 5 => Operation::Remove(key),
        6 => Operation::Capacity(u64::from(weight)),
        7 => Operation::Flush,
        _ => Operation::Request(key, weight),
    }
}

fuzz_target!(|input: (u8, u8, u8, &[u8])| {
    let (policy, capacity, batch, bytes) = input;
    let builtin = &BUILTINS[usize::from(policy) % BUILTINS.len()];
    let capacity = u64::from(capacity % 64);
    let batch = if batch % 2 == 0 { Batch::Exact } else { Batch::Every(u32::from(batch)) };
    let config = ShardConfig { batch, ..TestShard::config(capacity) };
    let tested = Tested::native(builtin.native, "{}");
    let setup = ostler_tests::Setup { capacity, slots: config.slots, seed: 1 };
    let instance = tested.instance(setup).expect("the defaults are accepted");
    let mut shard = TestShard::new(&config, instance);
    let mut model = Model::new(capacity, batch, WINDOW_LEN);
    for &chunk in bytes.as_chunks::<4>().0 {
        let applied = model.apply(&mut shard, operation(chunk));
        assert_eq!(applied, Ok(()), "{} at {capacity}, {batch:?}", builtin.name);
        assert_eq!(shard.shard.fault(), None, "{}", builtin.name);
    }
});
