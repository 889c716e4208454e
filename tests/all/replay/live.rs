//! `ostler replay --live`: the live cache on one thread, beside exact replay.

use std::sync::Arc;

use ostler_abi::hash_u64;
use ostler_cli::EXIT_USAGE;
use ostler_core::{Batch, InstanceSource};
use ostler_replay::{
    LiveConfig, LiveRun, Operation, Request, RunConfig, RunOutcome, WeightMode, run_loaded,
};
use ostler_tests::{BUILTINS, Tested, guests, ostler_line};

use super::{done, timeless_rows};

const CONFIG: LiveConfig = LiveConfig {
    capacity: 100,
    weights: WeightMode::Objects,
    shards: 1,
    seed: 3,
    notes_len_max: None,
    slack: None,
};

fn native(name: &str) -> Arc<Tested> {
    let builtin = BUILTINS.iter().find(|builtin| builtin.name == name);
    Arc::new(Tested::native(builtin.expect("a built-in policy").native, "{}"))
}

fn live(policy: &Arc<Tested>, config: LiveConfig, requests: &[Request]) -> RunOutcome {
    let source = Arc::clone(policy) as Arc<dyn InstanceSource>;
    let run = LiveRun::try_new(source, config).expect("the shards fit the capacity");
    run.play_loaded(requests, &|_| ())
}

fn exact(policy: &Arc<Tested>, config: LiveConfig, requests: &[Request]) -> RunOutcome {
    let LiveConfig { capacity, weights, shards, seed, .. } = config;
    let config = RunConfig { capacity, weights, shards, seed, batch: Batch::Exact };
    run_loaded(&**policy, config, requests, &|_| ())
}

/// Gets, sets and deletes of few keys with changing sizes, always the same.
fn mixed(count: u64) -> Vec<Request> {
    let request = |index| {
        let random = hash_u64(index, 9);
        let operation = match random % 10 {
            0 => Operation::Delete,
            1 | 2 => Operation::Set,
            _ => Operation::Get,
        };
        let (key, size) = (random / 10 % 300, random / 3000 % 40);
        Request::get(index / 5, key * key / 300, size as u32).with_operation(operation)
    };
    (0..count).map(request).collect()
}

#[test]
fn a_live_run_is_the_same_twice_and_in_wasm() {
    for settings in ["--objects --capacity 100", "--capacity 9000 --shards 3 --batch 40"] {
        let line = format!(
            "replay --live --trace zipf(n=9000,keys=900,size=1..50) {settings} --format json"
        );
        for name in ["lru", "s3fifo", "lhd", "wtinylfu"] {
            let first = timeless_rows(&format!("{line} --policy {name} native:{name}"));
            let again = timeless_rows(&format!("{line} --policy {name} native:{name}"));
            assert_eq!(first, again, "{settings}");
            assert_eq!((&first[0]["live"], &first[0]["faults"]), (&true.into(), &0.into()));
            assert_eq!(first[0]["victims_digest"], first[1]["victims_digest"], "{name}");
        }
    }
}

#[test]
fn live_hit_ratios_are_those_of_exact_replay() {
    for trace in [
        "zipf(n=200000,keys=20000,alpha=0.9)",
        "shift(zipf(n=60000,keys=9000); scan(n=20000); zipf(n=60000,keys=9000,start=5000))",
    ] {
        let trace = trace.replace(' ', "");
        for capacity in ["100", "1%", "10%"] {
            let line = format!(
                "replay --trace {trace} --objects --capacity {capacity} --format json --policy lru \
                 sieve s3fifo"
            );
            let (exact, live) = (done(&line).rows(), done(&format!("{line} --live")).rows());
            for (exact, live) in exact.iter().zip(&live) {
                let ratio = |row: &serde_json::Value| row["miss_ratio"].as_f64().expect("a ratio");
                let off = (ratio(live) - ratio(exact)).abs() * 100.0;
                let policy = &exact["policy"];
                assert!(off <= 0.3, "{trace}, {policy} at {capacity}: off by {off:.3} pp");
            }
        }
    }
}

/// With a ring of one note and no slack nothing is late, and nothing depends on the order in which
/// hits between two writes are told: the live cache evicts what exact replay evicts, at the same
/// request.
#[test]
fn without_batches_and_slack_the_victims_are_those_of_exact_replay() {
    let requests = mixed(20_000);
    let config = LiveConfig { notes_len_max: Some(1), slack: Some(0), ..CONFIG };
    for name in ["fifo", "sieve", "clock"] {
        let policy = native(name);
        let (live, exact) = (live(&policy, config, &requests), exact(&policy, config, &requests));
        assert_eq!((live.hits, live.misses), (exact.hits, exact.misses), "{name}");
        assert_eq!(live.victims_digest, exact.victims_digest, "{name}");
        assert_eq!(live.weight_max, 100, "{name}");
    }
}

#[test]
fn requests_mean_what_they_mean_in_exact_replay() {
    let requests = mixed(5000);
    for weights in [WeightMode::Objects, WeightMode::Bytes] {
        let config = LiveConfig { capacity: 1 << 20, weights, ..CONFIG };
        let policy = native("lru");
        let (live, exact) = (live(&policy, config, &requests), exact(&policy, config, &requests));
        assert_eq!((live.requests, live.hits), (exact.requests, exact.hits));
        assert_eq!(live.weight_requested, exact.weight_requested);
        assert_eq!((live.weight_missed, live.weight_max), (exact.weight_missed, exact.weight_max));
        assert_eq!((live.rejected, live.victims_digest), (0, exact.victims_digest));
    }
}

#[test]
fn the_weight_stays_within_capacity_and_slack() {
    let requests = mixed(20_000);
    for (capacity, slack, shards) in [(10, 0, 1), (100, 7, 3), (1000, 40, 8)] {
        for policy in BUILTINS.map(|builtin| native(builtin.name)) {
            for weights in [WeightMode::Objects, WeightMode::Bytes] {
                let slack_given = Some(slack);
                let config = LiveConfig { capacity, weights, shards, slack: slack_given, ..CONFIG };
                let outcome = live(&policy, config, &requests);
                let name = policy.label();
                assert_eq!(outcome.first_fault, None, "{name}");
                assert!(outcome.weight_max <= capacity + slack, "{name} at {capacity}");
                assert!(outcome.hits > 0 && outcome.misses > 0, "{name} at {capacity}");
            }
        }
    }
}

#[test]
fn a_fault_is_in_the_row_of_a_live_run() {
    let dir = tempfile::tempdir().expect("a folder of our own");
    let play = |name: &str, shards: u32| {
        let guest = guests().into_iter().find(|guest| guest.name == name);
        let path = dir.path().join(name).with_extension("wasm");
        std::fs::write(&path, guest.expect("the guest is there").module).expect("writable");
        let path = path.to_str().expect("a path in UTF-8");
        let line = "replay --live --trace zipf(n=9000,keys=900) --objects --capacity 96";
        let line = format!("{line} --format json --shards {shards} --policy {path}");
        done(&line).rows().remove(0)
    };
    let row = play("repeats_victim", 1);
    assert_eq!((&row["faults"], &row["fault_kind"]), (&1.into(), &"bad_victim".into()));
    let at = row["fault_request"].as_u64().expect("a request");
    // The request that brought the fault found the policy in charge.
    assert_eq!(row["fallback_requests"].as_u64(), Some(9000 - at - 1), "{row}");
    // Three shards' faults quarantine the module; the others lose it without a fault of their own.
    let row = play("repeats_victim", 8);
    assert_eq!(row["faults"], 3, "{row}");
    let (at, served) = (row["fault_request"].as_u64(), row["fallback_requests"].as_u64());
    assert!(served.is_some_and(|served| served > 6000), "{row}");
    assert!(at.zip(served).is_some_and(|(at, served)| at + served < 9000), "{row}");
}

#[test]
fn a_live_run_under_a_policy_that_never_starts_is_served_by_the_fallback() {
    let guest = guests().into_iter().find(|guest| guest.name == "init_refuses");
    let module = ostler_tests::runtime().load(&guest.expect("the guest is there").module);
    let tested = Arc::new(Tested::module(&module.expect("it is admitted")));
    let outcome = live(&tested, LiveConfig { shards: 4, ..CONFIG }, &mixed(2000));
    let (request, fault) = outcome.first_fault.expect("a fault");
    assert_eq!((request, fault.kind(), outcome.faults), (0, "refused", 1));
    assert_eq!(outcome.fallback_requests, outcome.requests);
}

#[test]
fn the_command_line_of_live_runs() {
    let line = "replay --trace zipf(n=5000,keys=500) --policy lru belady --objects --capacity 50";
    let (exact, live) = (done(line).out, done(&format!("{line} --live")).out);
    assert!(live.contains("capacity in objects, through the live cache"), "{live}");
    assert!(!exact.contains("live"), "{exact}");
    let rows = done(&format!("{line} --live --format json")).rows();
    assert_eq!((&rows[0]["live"], &rows[1]["live"]), (&true.into(), &false.into()));
    for (line, expected) in [
        ("replay --live --objects --trace scan(n=9) --capacity 3 --shards 4", "4 shards"),
        ("replay --live --trace scan(n=9) --batch 0", "--batch"),
        ("replay --live=yes --trace scan(n=9)", "--live"),
    ] {
        let ran = ostler_line(line);
        assert_eq!((ran.status, ran.out.as_str()), (EXIT_USAGE, ""), "{line}: {}", ran.err);
        assert!(ran.err.contains(expected), "{line}: {}", ran.err);
    }
}
