//! Any bytes as the answer of a prefetch guest: taken whole as the contract says, or the fault `bad_answer`,
//! and nothing is fetched but what was asked for.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use ostler_tests::Parrot;
use ostler_wasm::{Limits, Metering, Runtime};

static PARROT: LazyLock<Parrot> = LazyLock::new(|| {
    let metering = Metering::Fuel { per_call: 1_000_000, per_event: 1_000 };
    Parrot::new(&Runtime::try_new(metering, Limits::default()).expect("the runtime starts"))
});

fuzz_target!(|bytes: &[u8]| {
    assert_eq!(PARROT.check(bytes), Ok(()));
});
