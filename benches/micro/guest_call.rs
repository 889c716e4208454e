//! What one call of a policy costs: native against the module of the same source, in batches of 1,
//! 16 and 256 hits, at 10,000 and a million entries. Throughput is events, so a line reads as time
//! per event; the empty batch is the bare call.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ostler::Host;
use ostler_abi::{Kind, Record, Setup, hash_u64};
use ostler_benches::Contender;
use ostler_core::{InstanceSource, PolicyInstance};

const POLICIES: [&str; 3] = ["lru", "sieve", "s3fifo"];

/// An instance with `entries` residents.
fn filled(host: &Host, name: &str, entries: u32) -> Box<dyn PolicyInstance> {
    let policy = Contender::open(host, name).expect("a built-in policy");
    let setup = Setup { capacity: u64::from(entries), slots: entries + 1, seed: 1 };
    let mut instance = policy.instance(setup).expect("a built-in policy starts");
    for slot in 0..entries {
        instance.events()[0] =
            Record { key_hash: hash_u64(u64::from(slot), 0), ..Record::new(Kind::Insert, slot) };
        instance.step(1).map(|_| ()).expect("an insert into free room");
    }
    instance
}

/// How many slots are drawn beforehand, so that the timed loop only reads them; a power of two.
const DRAWN: usize = 1 << 16;

/// Calls with a batch of hits on random residents; writing the records is part of the time.
fn calls(criterion: &mut Criterion) {
    let host = Host::for_replay();
    for entries in [10_000, 1_000_000] {
        let draw = |turn: usize| (hash_u64(turn as u64, 3) % u64::from(entries)) as u32;
        let slots: Vec<u32> = (0..DRAWN).map(draw).collect();
        let mut group = criterion.benchmark_group(format!("guest_call/{entries}"));
        for name in POLICIES {
            for (kind, spec) in [("native", format!("native:{name}")), ("wasm", name.to_owned())] {
                let mut instance = filled(&host, &spec, entries);
                for batch in [0usize, 1, 16, 256] {
                    group.throughput(Throughput::Elements(batch.max(1) as u64));
                    let id = BenchmarkId::new(format!("{name}/{kind}"), batch);
                    let mut turn = 0;
                    group.bench_function(id, |bencher| {
                        bencher.iter(|| {
                            for record in &mut instance.events()[..batch] {
                                turn += 1;
                                *record = Record::new(Kind::Hit, slots[turn % DRAWN]);
                            }
                            black_box(instance.step(batch).map(|victims| victims.slots.len()))
                        });
                    });
                }
            }
        }
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(30);
    targets = calls
}
criterion_main!(benches);
