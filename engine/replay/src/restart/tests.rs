//! A restart in mid-trace, worked by hand.

use ostler::{WARMERS, WarmingPolicy};
use ostler_abi::Setup;
use ostler_core::{Batch, PolicyFault};

use super::*;
use crate::trace::TraceSource;

const CAPACITY: u64 = 500;

fn restart(
    spec: &str,
    percent: usize,
    warming: Result<Box<dyn WarmingInstance>, PolicyFault>,
    models: Models,
) -> RestartOutcome {
    let requests = spec.parse::<TraceSource>().unwrap().load(usize::MAX).unwrap();
    let run = RunConfig {
        capacity: CAPACITY,
        weights: WeightMode::Objects,
        shards: 1,
        seed: 0,
        batch: Batch::Exact,
    };
    let config = RestartConfig {
        run,
        at: requests.len() * percent / 100,
        horizon: 500,
        budget: CAPACITY / 4,
        history_bytes: 8 << 20,
    };
    let lru = ostler::policy("native:lru").unwrap();
    replay_restart(&*lru, &config, &requests, (warming, models)).unwrap()
}

fn warmed(spec: &str, name: &str, models: Models) -> RestartOutcome {
    let policy = WarmingPolicy::open_native(&format!("native:{name}").parse().unwrap()).unwrap();
    restart(spec, 60, policy.instance(Setup { capacity: CAPACITY, slots: 0, seed: 0 }), models)
}

#[test]
fn every_policy_lies_between_cold_and_possible() {
    let spec = "zipf(n=60000,alpha=0.9,keys=5000)";
    for builtin in WARMERS {
        let outcome = warmed(spec, builtin.name, Models::Untaken);
        assert_eq!((outcome.horizon, outcome.fetched, outcome.model), (500, 125, 0));
        assert!(outcome.cold < outcome.warmed && outcome.warmed <= outcome.clairvoyant);
        assert!(outcome.oracle <= outcome.clairvoyant && outcome.gap_closed() > 0.5);
        assert_eq!(outcome, warmed(spec, builtin.name, Models::Untaken));
    }
}

#[test]
fn the_model_of_the_rehearsals_reaches_the_policy() {
    let spec = "zipf(n=60000,alpha=0.9,keys=5000)";
    let outcome = warmed(spec, "warm-learned", Models::Taken);
    assert_eq!(outcome.model, 1);
    assert!(outcome.gap_closed() > 0.5);
}

#[test]
fn a_day_that_repeats_itself_is_for_the_diurnal_policy() {
    let spec = "diurnal(n=100000,keys=10000,days=7)";
    let diurnal = warmed(spec, "warm-diurnal", Models::Untaken);
    let decayed = warmed(spec, "warm-decayed", Models::Untaken);
    assert!(diurnal.warmed > decayed.warmed + 0.02, "{diurnal:?} {decayed:?}");
    // Without a day of history they are the same.
    let spec = "zipf(n=60000,alpha=0.9,keys=5000)";
    let diurnal = warmed(spec, "warm-diurnal", Models::Untaken);
    assert_eq!(diurnal, warmed(spec, "warm-decayed", Models::Untaken));
}

/// Answers nothing but faults.
struct Broken;

impl WarmingInstance for Broken {
    fn rank(
        &mut self,
        _: &Outlook,
        _: &[ostler_abi::Candidate],
        _: &mut [u32],
    ) -> Result<(), PolicyFault> {
        Err(PolicyFault::BadAnswer { reason: "none".to_owned() })
    }

    fn model(&mut self, _: &[u8]) -> Result<Result<(), ostler_abi::ModelRefused>, PolicyFault> {
        Ok(Err(ostler_abi::ModelRefused::TAKES_NONE))
    }
}

#[test]
fn a_policy_that_faults_leaves_the_order_to_decayed_frequency() {
    let spec = "zipf(n=60000,alpha=0.9,keys=5000)";
    let outcome = restart(spec, 60, Ok(Box::new(Broken)), Models::Taken);
    assert!(outcome.fault.is_some() && outcome.model == 0);
    let decayed = warmed(spec, "warm-decayed", Models::Untaken);
    assert_eq!((outcome.warmed, outcome.fetched), (decayed.warmed, decayed.fetched));
}

#[test]
fn a_restart_at_either_end_is_one() {
    let spec = "zipf(n=2000,keys=100)";
    let policy = |name: &str| {
        let policy = WarmingPolicy::open_native(&name.parse().unwrap()).unwrap();
        policy.instance(Setup { capacity: CAPACITY, slots: 0, seed: 0 })
    };
    let first = restart(spec, 0, policy("native:warm-decayed"), Models::Untaken);
    assert_eq!((first.fetched, first.candidates), (0, 0));
    assert!(first.warmed == first.cold && first.gap_closed() == 0.0);
    let last = restart(spec, 100, policy("native:warm-decayed"), Models::Untaken);
    assert_eq!((last.horizon, last.fetched, last.warmed), (0, 0, 0.0));
}
