//! What a replayed request costs as a whole: probe, record, exact batch, eviction; native against
//! the module of the same source, on a Zipf workload.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ostler::Host;
use ostler_benches::Contender;
use ostler_core::Batch;
use ostler_replay::{RunConfig, TraceSource, WeightMode, run_loaded};

const POLICIES: [&str; 4] = ["fifo", "lru", "sieve", "s3fifo"];

fn requests(criterion: &mut Criterion) {
    let host = Host::for_replay();
    let workload: TraceSource =
        "zipf(n=400000,alpha=0.9,keys=100000)".parse().expect("a valid workload");
    let trace = workload.load(usize::MAX).expect("a workload is generated");
    let mut group = criterion.benchmark_group("replayed_request");
    group.throughput(Throughput::Elements(trace.len() as u64));
    for (label, batch) in [("exact", Batch::Exact), ("batch256", Batch::Every(256))] {
        for name in POLICIES {
            for (kind, spec) in [("native", format!("native:{name}")), ("wasm", name.to_owned())] {
                let policy = Contender::open(&host, &spec).expect("a built-in policy");
                let config = RunConfig {
                    capacity: 10_000,
                    weights: WeightMode::Objects,
                    shards: 1,
                    seed: 1,
                    batch,
                };
                group.bench_function(format!("{label}/{name}/{kind}"), |bencher| {
                    bencher.iter(|| run_loaded(&policy, config, &trace, &|_| ()).misses);
                });
            }
        }
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = requests
}
criterion_main!(benches);
