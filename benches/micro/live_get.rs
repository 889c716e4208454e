//! What a hit in the live cache costs, by policy, compiled in and as Wasm: reads of resident keys in the
//! order of Zipf's law, batches handed over as they fill. `fallback` is the cache without a policy.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use foldhash::fast::FixedState;
use ostler_benches::live::{LiveCache, zipf_keys};
use ostler_core::Cache;

const POLICIES: [&str; 3] = ["sieve", "s3fifo", "lru"];
const ENTRIES: [usize; 2] = [10_000, 1_000_000];
/// Keys drawn beforehand; a power of two.
const DRAWN: usize = 1 << 18;

fn filled(entries: usize, policy: Option<&str>) -> LiveCache {
    // Room to spare: shards fill unevenly, and every key is to stay.
    let mut builder = Cache::builder(entries as u64 * 5 / 4).hasher(FixedState::default());
    if let Some(name) = policy {
        builder = builder.policy(ostler::policy(name).expect("a built-in policy"));
    }
    let cache = builder.build().expect("a built-in policy takes its seat");
    for key in 0..entries as u64 {
        let _ = cache.insert(key, key);
    }
    cache.run_pending();
    cache
}

fn gets(criterion: &mut Criterion) {
    for entries in ENTRIES {
        let keys = zipf_keys(DRAWN, entries, (1.0, 1)).expect("a workload");
        let mut group = criterion.benchmark_group(format!("live_get/{entries}"));
        let mut play = |id: String, cache: &LiveCache| {
            let mut turn = 0;
            group.bench_function(id, |bencher| {
                bencher.iter(|| {
                    turn = (turn + 1) % DRAWN;
                    black_box(cache.get(&keys[turn]))
                });
            });
        };
        play("fallback".to_owned(), &filled(entries, None));
        for name in POLICIES {
            for (kind, spec) in [("native", format!("native:{name}")), ("wasm", name.to_owned())] {
                play(format!("{name}/{kind}"), &filled(entries, Some(&spec)));
            }
        }
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(30);
    targets = gets
}
criterion_main!(benches);
