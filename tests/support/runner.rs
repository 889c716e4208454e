//! Property tests that try the same cases every time.

use std::fmt::Debug;

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};

/// How many cases a property test tries: `few` in a plain run, or `OSTLER_CASES` for a long one.
///
/// # Panics
///
/// Where `OSTLER_CASES` is not a number.
#[must_use]
pub fn cases(few: u32) -> u32 {
    match std::env::var("OSTLER_CASES") {
        Ok(text) => text.parse().expect("OSTLER_CASES is a number"),
        Err(_) => few,
    }
}

/// Tries `test` on `cases` values of `strategy`, always the same, and shrinks what fails.
///
/// # Panics
///
/// With the smallest value found on which `test` returns an error or panics.
pub fn check<S: Strategy<Value: Debug>>(
    cases: u32,
    strategy: &S,
    test: impl Fn(S::Value) -> Result<(), String>,
) {
    let config =
        Config { cases, failure_persistence: None, max_shrink_iters: 4096, ..Config::default() };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let outcome = TestRunner::new_with_rng(config, rng)
        .run(strategy, |value| test(value).map_err(proptest::test_runner::TestCaseError::fail));
    let failure = match outcome {
        Ok(()) => return,
        Err(TestError::Fail(reason, value)) => format!("{reason}\nsmallest case: {value:?}"),
        Err(TestError::Abort(reason)) => format!("gave up: {reason}"),
    };
    assert!(failure.is_empty(), "{failure}");
}
