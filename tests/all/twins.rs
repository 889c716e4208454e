//! Compiled in or as a module, in batches or one record a call: the same policy decides alike.
//!
//! `golden/digests.csv` holds what every built-in policy decided when it was last looked at, so no
//! decision changes unseen. `OSTLER_BLESS=1` writes it anew. `OSTLER_MODULES_DIR=DIR` takes the
//! modules from `DIR/NAME.wasm` instead of the committed ones: a rebuilt module must decide as the
//! committed one does.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::LazyLock;

use ostler_core::Batch;
use ostler_replay::{RunConfig, RunOutcome, WeightMode, run_loaded};
use ostler_tests::{
    BUILTINS, Builtin, TestWorkload, Tested, WORKLOADS, extreme_params, module_of, root, runtime,
};

/// Capacities as shares of a workload's objects or bytes, percent.
const SHARES: [u32; 2] = [2, 15];
const HEADER: &str = "workload,policy,capacity,mode,digest,miss_ratio\n";

/// One run of a policy.
struct Case<'a> {
    builtin: &'a Builtin,
    workload: &'a TestWorkload,
    capacity: u64,
}

impl Case<'_> {
    fn play(&self, tested: &Tested) -> RunOutcome {
        let config = RunConfig {
            capacity: self.capacity,
            weights: self.workload.weights,
            shards: 1,
            seed: 1,
            batch: Batch::Exact,
        };
        run_loaded(tested, config, &self.workload.requests, &|_| {})
    }

    /// The outcome of a run without faults that kept its capacity.
    fn run(&self, tested: &Tested) -> RunOutcome {
        let outcome = self.play(tested);
        let name = format!("{} on {}", self.builtin.name, self.workload.name);
        assert_eq!((outcome.faults, &outcome.first_fault), (0, &None), "{name}");
        assert!(outcome.weight_max <= self.capacity, "{name}: {}", outcome.weight_max);
        assert_eq!(outcome.hits + outcome.misses, outcome.requests, "{name}");
        outcome
    }

    fn native(&self) -> Tested {
        Tested::native(self.builtin.native, "{}")
    }

    fn row(&self, outcome: &RunOutcome) -> String {
        let mode = match self.workload.weights {
            WeightMode::Objects => "objects",
            WeightMode::Bytes => "bytes",
        };
        let Case { builtin, workload, capacity } = self;
        let (digest, miss_ratio) = (outcome.victims_digest, outcome.miss_ratio());
        format!("{},{},{capacity},{mode},{digest},{miss_ratio:.6}", workload.name, builtin.name)
    }
}

/// Every run: workloads, then capacities, then policies.
fn every_case() -> Vec<Case<'static>> {
    let mut all = Vec::new();
    for workload in WORKLOADS.iter() {
        for capacity in SHARES.map(|share| workload.share(share)) {
            all.extend(BUILTINS.iter().map(|builtin| Case { builtin, workload, capacity }));
        }
    }
    all
}

/// The rows of all runs, computed on two threads.
fn rows(tested: impl Fn(&Case<'_>) -> Tested + Sync) -> Vec<String> {
    let all = every_case();
    let (first, second) = all.split_at(all.len() / 2);
    let play = |part: &[Case<'_>]| -> Vec<String> {
        part.iter().map(|case| case.row(&case.run(&tested(case)))).collect()
    };
    std::thread::scope(|scope| {
        let second = scope.spawn(|| play(second));
        let mut rows = play(first);
        rows.extend(second.join().expect("no run panics"));
        rows
    })
}

static NATIVE_ROWS: LazyLock<Vec<String>> = LazyLock::new(|| rows(|case| case.native()));

fn golden_path() -> PathBuf {
    root().join("tests/golden/digests.csv")
}

/// Panics with the rows that differ, a few of them.
fn assert_same(what: &str, found: &[String], expected: &[String]) {
    let mut differing = String::new();
    for (found, expected) in found.iter().zip(expected).filter(|(a, b)| a != b).take(8) {
        write!(differing, "\n  found    {found}\n  expected {expected}").expect("a string grows");
    }
    assert!(differing.is_empty(), "{what}:{differing}");
    assert_eq!(found.len(), expected.len(), "{what}: rows");
}

fn golden_rows() -> Vec<String> {
    let text = std::fs::read_to_string(golden_path()).expect("golden/digests.csv is there");
    let rows = text.strip_prefix(HEADER).expect("golden/digests.csv has its header");
    rows.lines().map(str::to_owned).collect()
}

#[test]
fn natives_decide_as_the_golden_file_says() {
    if std::env::var("OSTLER_BLESS").as_deref() == Ok("1") {
        let text = NATIVE_ROWS.iter().fold(HEADER.to_owned(), |text, row| text + row + "\n");
        std::fs::write(golden_path(), text).expect("golden/digests.csv is writable");
    }
    assert_same(
        "a decision changed; look why, then OSTLER_BLESS=1 writes the file anew",
        &NATIVE_ROWS,
        &golden_rows(),
    );
}

#[test]
fn modules_decide_as_their_native_twins() {
    let modules: Vec<_> = BUILTINS
        .iter()
        .map(|builtin| runtime().load(&module_of(builtin)).expect("a built-in module is admitted"))
        .collect();
    let rows = rows(|case| {
        let place = BUILTINS.iter().position(|builtin| builtin.name == case.builtin.name);
        Tested::module(&modules[place.expect("a case is of a built-in policy")])
    });
    assert_same("modules decide unlike their sources", &rows, &NATIVE_ROWS);
}

#[test]
fn exact_batches_decide_like_one_record_a_call() {
    let rows = rows(|case| case.native().one_record_a_call());
    assert_same("one record a call", &rows, &NATIVE_ROWS);
}

#[test]
fn modules_in_exact_batches_decide_like_one_record_a_call() {
    for case in every_case().iter().filter(|case| case.workload.name == "writes") {
        let module = runtime().load(&module_of(case.builtin)).expect("it is admitted");
        let batched = case.run(&Tested::module(&module));
        let one_a_call = case.run(&Tested::module(&module).one_record_a_call());
        assert_eq!(one_a_call.victims_digest, batched.victims_digest, "{}", case.builtin.name);
    }
}

#[test]
fn modules_decide_as_their_native_twins_with_parameters_at_both_ends() {
    let mut problems = Vec::new();
    for case in every_case().iter().filter(|case| case.workload.name == "writes") {
        let module = runtime().load(&module_of(case.builtin)).expect("it is admitted");
        for params in extreme_params(case.builtin) {
            let guest = case.play(&Tested::module_with(&module, &params));
            let native = case.play(&Tested::native(case.builtin.native, &params));
            if (guest.faults, guest.victims_digest) != (0, native.victims_digest) {
                let (name, fault) = (case.builtin.name, guest.first_fault);
                problems.push(format!("{name}{params} at {}: {fault:?}", case.capacity));
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
