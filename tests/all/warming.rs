//! The built-in warming policies: the module as its native twin, and `ostler replay --restart-at`.

use ostler::{Host, WARMERS, WarmingPolicy};
use ostler_abi::Setup;
use ostler_cli::{EXIT_DONE, EXIT_USAGE};
use ostler_core::Batch;
use ostler_replay::{
    Models, Request, RestartConfig, RestartOutcome, RunConfig, TraceSource, WeightMode,
    replay_restart,
};
use ostler_tests::ostler_line;

fn play(policy: &WarmingPolicy, requests: &[Request]) -> RestartOutcome {
    let run = RunConfig {
        capacity: 40_000,
        weights: WeightMode::Bytes,
        shards: 1,
        seed: 0,
        batch: Batch::Exact,
    };
    let config = RestartConfig {
        run,
        at: requests.len() / 2,
        horizon: 600,
        budget: 10_000,
        history_bytes: 4 << 20,
    };
    let lru = ostler::policy("native:lru").expect("lru is built in");
    let models = if policy.takes_models() { Models::Taken } else { Models::Untaken };
    let warming = (policy.instance(Setup { capacity: 40_000, slots: 0, seed: 0 }), models);
    replay_restart(&*lru, &config, requests, warming).expect("the built-in policies start")
}

#[test]
fn every_module_warms_as_its_native_twin() {
    let trace: TraceSource =
        "diurnal(n=80000,keys=8000,days=4,size=16..256)".parse().expect("a workload");
    let requests = trace.load(usize::MAX).expect("it is generated");
    let host = Host::for_replay();
    for builtin in &WARMERS {
        let [module, native] = [builtin.name.to_owned(), format!("native:{}", builtin.name)]
            .map(|name| play(&host.open_warming(&name.parse().unwrap()).unwrap(), &requests));
        assert_eq!(module.fault, None, "{}", builtin.name);
        assert!(module.fetched > 20 && module.warmed > module.cold, "{}", builtin.name);
        assert_eq!(module.model, u32::from(builtin.name == "warm-learned"));
        assert_eq!(module, native, "{}", builtin.name);
    }
}

#[test]
fn rows_tell_what_warming_is_worth_and_are_the_same_again() {
    let line = "replay --trace zipf(n=50000,keys=5000) --policy lru s3fifo --capacity 10% --objects \
                --restart-at 50% --warm warm-decayed native:warm-learned --warm-budget 25% --format json";
    let rows = || {
        let ran = ostler_line(line);
        assert_eq!((ran.status, &*ran.err), (EXIT_DONE, ""), "{line}");
        ran.rows()
    };
    let first = rows();
    assert_eq!(first.len(), 4);
    for row in &first {
        let number = |field: &str| row[field].as_f64().unwrap();
        assert_eq!((number("restart_at"), number("horizon")), (25_000.0, number("capacity")));
        assert!(number("hit_ratio_cold") < number("hit_ratio"), "{row}");
        assert!(number("hit_ratio") <= number("hit_ratio_possible"), "{row}");
        assert!(number("gap_closed") > 0.5 && row["fault"].is_null(), "{row}");
    }
    assert_eq!(first, rows());
}

#[test]
fn what_cannot_be_restarted_is_refused() {
    for (line, reason) in [
        ("replay --restart-at 50% --live", "--restart-at goes with single policies"),
        ("replay --restart-at 50% --policy belady --objects", "--restart-at goes with"),
        ("replay --restart-at 50", "is no share"),
        ("replay --restart-at 50% --warm lru", "warming"),
        ("replay --warm warm-decayed", "--restart-at"),
    ] {
        let ran = ostler_line(line);
        assert_eq!(ran.status, EXIT_USAGE, "{line}: {}", ran.err);
        assert!(ran.err.contains(reason), "{line}: {}", ran.err);
    }
}
