//! What is decided besides swaps, and swaps that come to nothing.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use ostler_abi::Setup;
use ostler_core::{Batch, PolicyFault, PolicyInstance, Wants};

use super::*;

/// A policy that counts its instances and fails to make those from one number on.
struct Counted {
    inner: Arc<dyn InstanceSource>,
    made: AtomicU64,
    fails_from: u64,
}

impl Counted {
    fn new(name: &str, fails_from: u64) -> Arc<Self> {
        let inner = ostler::policy(&format!("native:{name}")).unwrap();
        Arc::new(Self { inner, made: AtomicU64::new(0), fails_from })
    }
}

impl InstanceSource for Counted {
    fn label(&self) -> &str {
        self.inner.label()
    }
    fn params(&self) -> &str {
        self.inner.params()
    }
    fn code_id(&self) -> String {
        self.inner.code_id()
    }
    fn wants(&self) -> Wants {
        self.inner.wants()
    }
    fn instance(&self, setup: Setup) -> Result<Box<dyn PolicyInstance>, PolicyFault> {
        if self.made.fetch_add(1, Relaxed) >= self.fails_from {
            return Err(PolicyFault::Refused { code: 7 });
        }
        self.inner.instance(setup)
    }
}

fn config(capacity: u64, shards: u32, weights: WeightMode) -> RunConfig {
    RunConfig { capacity, weights, shards, seed: 0, batch: Batch::Exact }
}

fn requests(spec: &str) -> Vec<Request> {
    let source: crate::TraceSource = spec.parse().unwrap();
    source.load(usize::MAX).unwrap()
}

fn adaptive(portfolio: Vec<Arc<dyn InstanceSource>>, run: RunConfig) -> AdaptiveRun {
    let selector = SelectorConfig::default();
    let config = AdaptiveConfig { portfolio, objective: Objective::Object, rate: 1.0, selector };
    AdaptiveRun::try_new(config, run, run.capacity).unwrap()
}

#[test]
fn a_policy_that_fails_in_one_shard_leaves_the_others_as_they_were() {
    let (lru, sieve) = (Counted::new("lru", u64::MAX), Counted::new("sieve", 2));
    let mut run = Run::new(&*lru, config(400, 4, WeightMode::Objects));
    run.play(&requests("zipf(n=10000,alpha=0.9,keys=1000,seed=1)"));
    assert_eq!(lru.made.load(Relaxed), 4);
    assert!(run.set_policy(&*sieve, &*lru).is_err());
    assert_eq!((sieve.made.load(Relaxed), lru.made.load(Relaxed)), (3, 6), "two are put back");
    assert!(run.has_policy());
    assert!(run.set_policy(&*lru, &*sieve).is_ok());
}

#[test]
fn who_loses_its_seats_is_left_out_and_replaced() {
    let portfolio: [Arc<dyn InstanceSource>; 3] = [
        Counted::new("sieve", 0),
        Counted::new("lru", u64::MAX),
        // In shadow alone: in the cache it fails.
        Counted::new("s3fifo", 1),
    ];
    let run = adaptive(portfolio.to_vec(), config(400, 1, WeightMode::Objects));
    let outcome = run.play_loaded(&requests("zipf(n=100000,alpha=0.6,keys=2000,seed=1)"), &|_| ());
    let words: Vec<(&str, String)> = outcome
        .decisions
        .iter()
        .map(|decided| match decided {
            Decided::Swap(swap) => ("swap", swap.to.clone()),
            Decided::Hold(remark) => ("hold", remark.reason.clone()),
            Decided::Demoted(remark) => ("demoted", remark.policy.clone().unwrap_or_default()),
        })
        .collect();
    let of =
        |word| words.iter().filter(move |(other, _)| *other == word).map(|(_, what)| what.as_str());
    assert_eq!(of("demoted").next(), Some("native:sieve"), "{words:?}");
    assert_eq!(of("swap").next_back(), Some("native:lru"), "{words:?}");
    assert_eq!(outcome.swaps.len(), of("swap").count());
}

#[test]
fn what_does_not_fit_the_shadows_holds_and_is_said_once() {
    let portfolio = ["sieve", "lru"].map(|name| Counted::new(name, u64::MAX) as _);
    let mut trace = requests("zipf(n=100000,alpha=0.6,keys=2000,seed=1)");
    for (number, request) in trace.iter_mut().enumerate() {
        request.size = if number % 10 == 0 { 100_000 } else { 10 };
    }
    let run = adaptive(portfolio.to_vec(), config(4_000, 1, WeightMode::Bytes));
    let outcome = run.play_loaded(&trace, &|_| ());
    let [Decided::Hold(remark)] = &outcome.decisions[..] else { panic!("{:?}", outcome.decisions) };
    assert!(remark.reason.contains("too large"), "{remark:?}");
    assert!(outcome.swaps.is_empty());
}

#[test]
fn decisions_are_flat_json() {
    let remark = Remark { request: 7, policy: None, reason: "no".to_owned() };
    let json = serde_json::to_string(&Decided::Hold(remark)).unwrap();
    assert_eq!(json, r#"{"action":"hold","request":7,"policy":null,"reason":"no"}"#);
}
