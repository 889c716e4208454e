//! Any bytes as a module: admission ends in a verdict, and what it lets in runs within its bounds.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use ostler_core::InstanceSource as _;
use ostler_replay::{Request, RunConfig, WeightMode, run_loaded};
use ostler_tests::Tested;
use ostler_wasm::{Limits, Metering, Runtime};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let metering = Metering::Fuel { per_call: 1_000_000, per_event: 1_000 };
    Runtime::try_new(metering, Limits::default()).expect("the runtime starts")
});

fuzz_target!(|bytes: &[u8]| {
    let admission = RUNTIME.admit(bytes);
    assert_eq!(admission.verdict.admitted(), admission.module.is_ok());
    let Ok(module) = admission.module else { return };
    let tested = Tested::module(&module);
    assert!(!tested.label().is_empty());
    let requests: Vec<Request> = (0..200).map(|i| Request::get(i, i * i % 37, 1)).collect();
    let config = RunConfig {
        capacity: 20,
        weights: WeightMode::Objects,
        shards: 1,
        seed: 1,
        batch: ostler_core::Batch::Exact,
    };
    let outcome = run_loaded(&tested, config, &requests, &|_| {});
    assert_eq!(outcome.requests, 200);
    assert!(outcome.weight_max <= 20);
});
