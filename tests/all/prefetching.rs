//! The built-in prefetch policies: the module as its native twin, and `ostler replay --prefetch`.

use ostler::{Host, PREFETCHERS, PrefetchPolicy};
use ostler_abi::Setup;
use ostler_cli::{EXIT_DONE, EXIT_USAGE};
use ostler_core::Batch;
use ostler_replay::{
    FetchBudget, FetchLatency, PrefetchOutcome, PrefetchRun, PrefetchRunConfig, Request, RunConfig,
    WeightMode,
};
use ostler_tests::{Parrot, cases, check, ostler_line, runtime};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value;

/// Eight streams of numbers, and every third request from a loop without numbers in a row.
fn streams_and_a_loop() -> Vec<Request> {
    let key = |at: u64| match at % 3 {
        0 => ostler_abi::hash_u64(at / 3 % 3000, 5),
        _ => (at % 8) * 1_000_000_000 + at / 8 * 3,
    };
    (0..60_000).map(|at| Request::get(at, key(at), 1)).collect()
}

fn play(policy: &PrefetchPolicy, requests: &[Request]) -> PrefetchOutcome {
    let run = RunConfig {
        capacity: 1000,
        weights: WeightMode::Objects,
        shards: 1,
        seed: 0,
        batch: Batch::Exact,
    };
    let config = PrefetchRunConfig {
        run,
        latency: FetchLatency::Requests(16),
        budget: FetchBudget::ONE,
        wants_keys: policy.wants_keys(),
    };
    let lru = ostler::policy("native:lru").expect("lru is built in");
    let instance = policy.instance(Setup { capacity: 1000, slots: 0, seed: 0 });
    PrefetchRun::new(&*lru, instance, config).play_loaded(requests, &|_| {})
}

#[test]
fn every_module_prefetches_as_its_native_twin() {
    let (host, requests) = (Host::for_replay(), streams_and_a_loop());
    for builtin in &PREFETCHERS {
        let [module, native] = [builtin.name.to_owned(), format!("native:{}", builtin.name)]
            .map(|name| play(&host.open_prefetch(&name.parse().unwrap()).unwrap(), &requests));
        assert_eq!((module.fault, native.fault), (None, None), "{}", builtin.name);
        assert!(module.counters.useful > 1000, "{}: {:?}", builtin.name, module.counters);
        assert_eq!(module.counters, native.counters, "{}", builtin.name);
        assert_eq!(module.with.victims_digest, native.with.victims_digest, "{}", builtin.name);
        assert!(module.guest_memory_bytes > 0 && native.guest_memory_bytes == 0);
    }
}

#[test]
fn rows_tell_the_seven_figures_and_are_the_same_again() {
    let line = "replay --trace loop(n=50000,keys=5000) --policy lru s3fifo --capacity 10% --objects \
                --prefetch prefetch-assoc(history=16384) --fetch-latency 16 --fetch-budget 1 --format json";
    let rows = || {
        let ran = ostler_line(line);
        assert_eq!((ran.status, &*ran.err), (EXIT_DONE, ""), "{line}");
        ran.rows()
    };
    let (first, second) = (rows(), rows());
    assert_eq!(first.len(), 2);
    for (row, again) in first.iter().zip(&second) {
        for field in [
            "coverage",
            "accuracy",
            "late_fraction",
            "extra_fetches_per_request",
            "pollution",
            "hit_gain",
            "wasted",
        ] {
            assert!(row[field].is_f64(), "{field}: {row}");
            assert_eq!(row[field], again[field], "{field}");
        }
        assert_eq!(row["prefetch"], "prefetch-assoc");
        assert_eq!(row["prefetch_params"]["history"], 16_384);
        assert_eq!((&row["fetch_latency"], &row["fetch_budget"]), (&"16".into(), &1.0.into()));
        assert_eq!(row["prefetch_fault"], Value::Null);
        let (misses, without) = (row["misses"].as_u64(), row["misses_without"].as_u64());
        assert!(misses < without, "{row}");
    }
}

#[test]
fn arguments_that_do_not_fit_are_refused_with_what_would() {
    for (arguments, text) in [
        ("--prefetch prefetch-strive", "there are prefetch-assoc, prefetch-stride"),
        ("--prefetch native:prefetch", "no such built-in prefetch policy"),
        ("--policy prefetch-stride", "no such built-in policy"),
        ("--prefetch prefetch-stride(places=1)", "places"),
        ("--prefetch prefetch-stride --live", "leave --live"),
        ("--prefetch prefetch-stride --policy belady --objects", "leave --live, belady"),
        ("--prefetch prefetch-stride --fetch-latency 5s", "as 16, or time, as 5ms"),
        ("--prefetch prefetch-stride --fetch-budget=-1", "budget"),
        ("--fetch-latency 16", "--prefetch"),
    ] {
        let ran = ostler_line(&format!("replay --trace scan(n=10) {arguments}"));
        assert_eq!(ran.status, EXIT_USAGE, "{arguments}: {}", ran.err);
        assert!(ran.err.contains(text), "{arguments}: {}", ran.err);
    }
}

/// Answers near the bounds of the contract, and any bytes behind them.
fn answers() -> impl Strategy<Value = Vec<u8>> {
    let near =
        |bound: u32| prop_oneof![4 => 0..bound, 2 => bound - 1..bound + 2, 1 => any::<u32>()];
    // An even first byte is the mark of what is resident, and zeros are known keys.
    let hash = prop_oneof![
        any::<u64>(),
        (0..50_u64).prop_map(|number| ostler_abi::hash_bytes(&number.to_le_bytes(), 0))
    ];
    let place = prop_oneof![near(512), Just(u32::MAX)];
    let ask = (hash, place, near(257), near(65_536), any::<u32>());
    let count = prop_oneof![6 => 1..9_u32, 1 => Just(0), 1 => near(9), 1 => Just(u32::MAX)];
    (count, vec(ask, 8), vec(any::<u8>(), 0..520)).prop_map(|(count, asks, io)| {
        let mut bytes = count.to_le_bytes().to_vec();
        for (hash, key_at, key_len, confidence, reserved) in asks {
            bytes.extend(hash.to_le_bytes());
            for word in [key_at, key_len, confidence, reserved] {
                bytes.extend(word.to_le_bytes());
            }
        }
        bytes.extend(io);
        bytes
    })
}

#[test]
fn any_answer_of_a_guest_is_taken_whole_or_is_a_fault() {
    let parrot = Parrot::new(runtime());
    check(cases(1_500), &answers(), |answer| parrot.check(&answer));
    check(cases(500), &vec(any::<u8>(), 0..768), |answer| parrot.check(&answer));
}
