//! Two policies against each other: their time a request, and the paired difference of their misses.
//!
//! `OSTLER_A` and `OSTLER_B` name them: built-in, `native:NAME`, or FILE.wasm, with parameters where
//! wanted; sieve and s3fifo by default. `OSTLER_TRACE` is a trace or a workload as for `ostler replay`,
//! `OSTLER_CAPACITY` a count or a share of its objects, 10% by default. Every entry weighs 1.

use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ostler::Host;
use ostler_benches::Contender as Entrant;
use ostler_core::Batch;
use ostler_replay::{
    CapacitySpec, CapacityUnit, Contender, Footprint, Measure, Paired, PairedSetup, Request, Run,
    RunConfig, TraceSource, WeightMode, run_loaded,
};

const DEFAULT_TRACE: &str = "zipf(n=1000000,alpha=0.9,keys=100000)";

fn setting(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}

/// The misses of both on the same requests, with the interval of the difference.
fn compare(names: &[String; 2], entrants: &[Entrant], config: RunConfig, trace: &[Request]) {
    let contender =
        |entrant: &Entrant| -> Box<dyn Contender> { Box::new(Run::new(entrant, config)) };
    let setup = PairedSetup { capacity: config.capacity, weights: config.weights };
    let mut paired = Paired::new(setup, entrants.iter().map(contender).collect());
    paired.play(trace);
    let outcome = paired.finish();
    for (name, run) in names.iter().zip(outcome.runs()) {
        let fault = run.first_fault.as_ref().map(|(at, fault)| format!("; FAULT at {at}: {fault}"));
        let hit_ratio = 100.0 - 100.0 * run.miss_ratio();
        println!("{name}: hit ratio {hit_ratio:.2} %{}", fault.unwrap_or_default());
    }
    let difference = outcome.difference(1, Measure::Requests);
    // More hits are fewer misses.
    let [estimate, low, high] =
        [difference.estimate, difference.high, difference.low].map(|misses| -100.0 * misses);
    println!(
        "hit ratio of {} minus that of {}: {estimate:+.2} pp, 95 % interval {low:+.2} to {high:+.2}: {}\n",
        names[1],
        names[0],
        difference.verdict()
    );
}

/// Goes back to where the command was given: cargo starts benches in their package's folder, and paths
/// are meant as they were typed.
fn return_to_caller() {
    if let Ok(folder) = std::env::var("PWD") {
        std::env::set_current_dir(folder).expect("the shell's folder is there");
    }
}

fn ab(criterion: &mut Criterion) {
    return_to_caller();
    let host = Host::for_replay();
    let names = [setting("OSTLER_A", "sieve"), setting("OSTLER_B", "s3fifo")];
    let source: TraceSource =
        setting("OSTLER_TRACE", DEFAULT_TRACE).parse().expect("a valid trace");
    let capacity: CapacitySpec =
        setting("OSTLER_CAPACITY", "10%").parse().expect("a valid capacity");
    let trace: Arc<[Request]> = source.load(usize::MAX).expect("a readable trace").into();
    let capacity = capacity
        .resolve(&Footprint::of(&trace), CapacityUnit::Objects)
        .expect("a capacity in objects");
    let config = RunConfig {
        capacity,
        weights: WeightMode::Objects,
        shards: 1,
        seed: 0,
        batch: Batch::Exact,
    };
    let entrants = names.each_ref().map(|name| Entrant::open(&host, name).expect("a valid policy"));
    println!("{source}: {} requests, capacity {capacity} objects", trace.len());
    compare(&names, &entrants, config, &trace);
    let mut group = criterion.benchmark_group("ab");
    group.throughput(Throughput::Elements(trace.len() as u64));
    for (side, (name, entrant)) in ["A", "B"].into_iter().zip(names.iter().zip(&entrants)) {
        group.bench_function(BenchmarkId::new(side, name), |bencher| {
            bencher.iter(|| run_loaded(entrant, config, &trace, &|_| ()).misses);
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = ab
}
criterion_main!(benches);
