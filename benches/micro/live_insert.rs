//! What an insert into a full live cache costs, by policy, compiled in and as Wasm: new keys only, so that
//! each makes an older one leave. `fallback` is the cache without a policy.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use foldhash::fast::FixedState;
use ostler_benches::live::LiveCache;
use ostler_core::Cache;

const POLICIES: [&str; 3] = ["sieve", "s3fifo", "lru"];
const ENTRIES: [u64; 2] = [10_000, 1_000_000];

fn built(entries: u64, policy: Option<&str>) -> LiveCache {
    let mut builder = Cache::builder(entries).hasher(FixedState::default());
    if let Some(name) = policy {
        builder = builder.policy(ostler::policy(name).expect("a built-in policy"));
    }
    builder.build().expect("a built-in policy takes its seat")
}

fn inserts(criterion: &mut Criterion) {
    for entries in ENTRIES {
        let mut group = criterion.benchmark_group(format!("live_insert/{entries}"));
        let mut play = |id: String, cache: &LiveCache| {
            let mut key = 0;
            let mut insert = || {
                key += 1;
                black_box(cache.insert(key, key))
            };
            for _ in 0..2 * entries {
                let _ = insert();
            }
            group.bench_function(id, |bencher| bencher.iter(&mut insert));
        };
        play("fallback".to_owned(), &built(entries, None));
        for name in POLICIES {
            for (kind, spec) in [("native", format!("native:{name}")), ("wasm", name.to_owned())] {
                play(format!("{name}/{kind}"), &built(entries, Some(&spec)));
            }
        }
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(30);
    targets = inserts
}
criterion_main!(benches);
