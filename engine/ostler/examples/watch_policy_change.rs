//! The policy changes while the cache serves: no entry is lost, no request fails, and the hit ratio
//! shows what it gained.
//!
//! `cargo run --release -p ostler --example watch_policy_change`

use std::error::Error;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ostler::{Cache, PolicyEvent, Stats};

const CAPACITY: u64 = 10_000;
/// Requests for which each policy is watched.
const PHASE: u64 = 400_000;

fn main() -> Result<(), Box<dyn Error>> {
    let cache: Cache<u64, u64> = ostler::builder(CAPACITY)?
        .policy(ostler::policy("lru")?)
        .on_policy(|event| match event {
            PolicyEvent::Changed { from, to, adopted } => {
                println!("  event: {from:?} gave way to {to}, which adopted {adopted} entries");
            }
            PolicyEvent::Faulted { policy, fault } => println!("  event: {policy} broke: {fault}"),
            other => println!("  event: {other:?}"),
        })
        .build()?;

    let (served, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| serve(&cache, &served, &stop));
        let watched = watch(&cache, &served);
        stop.store(true, Ordering::Relaxed);
        watched
    })?;

    let stats = cache.stats();
    println!("{} requests, {} faults", stats.hits + stats.misses, stats.policy_faults);
    println!("longest hold of a lock: {} records", stats.held_records_max);
    Ok(())
}

/// What an operator does, while the other thread keeps the cache busy.
fn watch(cache: &Cache<u64, u64>, served: &AtomicU64) -> Result<(), Box<dyn Error>> {
    phase(cache, served, "the cache fills");
    phase(cache, served, "lru");
    for name in ["sieve", "s3fifo(small_percent=20)", "native:wtinylfu"] {
        let handover = cache.set_policy(ostler::policy(name)?)?;
        println!("  {} entries handed over in {} shards", handover.adopted, handover.shards);
        phase(cache, served, name);
    }
    // The way back: a fresh instance of the policy before, which adopts what is resident now.
    cache.rollback()?;
    phase(cache, served, "rolled back");
    println!("in charge: {:?}", cache.seat_status().actual);
    Ok(())
}

/// Lets a phase of requests pass, and prints its hit ratio.
fn phase(cache: &Cache<u64, u64>, served: &AtomicU64, name: &str) {
    let (before, end) = (cache.stats(), served.load(Ordering::Relaxed) + PHASE);
    while served.load(Ordering::Relaxed) < end {
        std::thread::yield_now();
    }
    println!("{name}: hit ratio {:.2} %", hit_ratio_since(&cache.stats(), &before) * 100.0);
}

fn hit_ratio_since(now: &Stats, before: &Stats) -> f64 {
    let (hits, misses) = (now.hits - before.hits, now.misses - before.misses);
    hits as f64 / (hits + misses).max(1) as f64
}

/// A service under load: popular keys, and a scan over keys that nobody asks for again.
fn serve(cache: &Cache<u64, u64>, served: &AtomicU64, stop: &AtomicBool) {
    let (mut state, mut scan) = (1u64, 1_000_000);
    while !stop.load(Ordering::Relaxed) {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let uniform = (state >> 11) as f64 / (1u64 << 53) as f64;
        let popular = 100_000f64.powf(uniform) as u64;
        scan += 1;
        for key in [popular, scan] {
            let _ = cache.get_or_insert_with(&key, || key);
        }
        served.fetch_add(2, Ordering::Relaxed);
    }
}
