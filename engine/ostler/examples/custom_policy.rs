//! A policy of your own: from a `.wasm` file into the seat of a cache that is already serving.
//!
//! `cargo run --release -p ostler --example custom_policy -- my-policy.wasm`
//!
//! Without an argument it takes a module that comes with the engine. How to write one: `ostler policy
//! new`, the README, and `sdk/ABI.md`.

use std::error::Error;

use ostler::{Cache, OpenError};

const CAPACITY: u64 = 1000;
const KEYS: u64 = 10_000;
const REQUESTS: u64 = 200_000;
const OURS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../policies/artifacts/lru.wasm");

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).unwrap_or_else(|| OURS.to_owned());
    let module = std::fs::read(&path)?;

    // A module is judged before any of its code runs: its manifest, what it imports and exports, its
    // size and shape. The verdict names each step.
    let policy = match ostler::policy_from_module("mine", &module) {
        Ok(policy) => policy,
        Err(refused @ OpenError::Refused { .. }) => {
            println!("{refused}");
            for step in ostler::host()?.runtime().admit(&module).verdict.steps {
                println!("  {}: {:?} {}", step.name, step.outcome, step.detail);
            }
            return Err(refused.into());
        }
        Err(other) => return Err(other.into()),
    };
    println!("{path}: admitted, parameters {}", policy.params());

    // The same requests with either policy. Whatever a policy does, it cannot hurt the cache: one that
    // breaks its contract loses the seat, and the engine evicts by itself.
    for policy in [policy, ostler::policy("sieve")?] {
        let name = policy.label().to_owned();
        let cache = Cache::builder(CAPACITY).policy(policy).build()?;
        serve(&cache);
        let stats = cache.stats();
        println!(
            "{name:>5}: hit ratio {:.2} %, {} calls of the policy, {} faults, {} KiB of guest memory",
            stats.hit_ratio() * 100.0,
            stats.policy_calls,
            stats.policy_faults,
            stats.guest_memory_bytes >> 10,
        );
        for fault in cache.seat_status().faults.into_iter().flatten() {
            println!("       lost the seat: {fault}");
        }
    }
    Ok(())
}

/// Requests whose popularity falls with the rank, like zipf's: the same for everybody.
fn serve(cache: &Cache<u64, u64>) {
    let mut state = 1u64;
    for _ in 0..REQUESTS {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let uniform = (state >> 11) as f64 / (1u64 << 53) as f64;
        // A power of the number of keys: every rank with a probability of about 1 ÷ rank.
        let key = (KEYS as f64).powf(uniform) as u64;
        let _ = cache.get_or_insert_with(&key, || key);
    }
}
