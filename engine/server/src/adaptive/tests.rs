//! A service whose cache adapts, without sockets.

use std::sync::Arc;

use ostler_adapt::live::{Action, DecisionRecord};
use serde_json::Map;

use super::*;
use crate::keyspace::{End, Key, Value};
use crate::policies::Activation;
use crate::settings::{CacheSettings, Settings};

/// Requests after which something is wrong.
const REQUESTS_MAX: u64 = 5_000_000;

fn service(portfolio: &[&str]) -> Arc<Service> {
    let portfolio: Vec<_> = portfolio.iter().map(|&policy| policy.to_owned()).collect();
    let cache = CacheSettings {
        capacity_bytes: 1 << 20,
        policy: portfolio[0].clone(),
        shards: Some(2),
        adaptive: Some(AdaptiveSettings {
            portfolio,
            // On a busy machine the worker must not fall behind for good.
            cpu_max: 1.0,
            ..AdaptiveSettings::default()
        }),
        ..CacheSettings::default()
    };
    Service::try_new(Settings { caches: vec![cache], ..Settings::default() }, 1).unwrap()
}

/// Plays a loop of some 2000 entries, twice what fits, until there is a decision that `is_it`.
fn run_until(service: &Service, is_it: impl Fn(&DecisionRecord) -> bool) -> DecisionRecord {
    let (keyspace, adaptive) = (&service.caches[0], service.adaptive(0).unwrap());
    let value = Value::new(&[7; 900]);
    for number in 0..REQUESTS_MAX {
        let key = Key::new(0, format!("key:{}", number % 2_000).as_bytes());
        if keyspace.read(key.as_bytes(), |_| ()).is_none() {
            let _ = keyspace.set(key, value.clone(), End::Never, 0).unwrap();
        }
        if number % 100 == 99 {
            keyspace.cache().run_pending();
            // No faster than they are played.
            if let Some(found) = adaptive.decisions().into_iter().find(|decision| is_it(decision)) {
                return found;
            }
        }
    }
    panic!("{:?} {:?} {:?}", adaptive.status(), adaptive.live().status(), adaptive.decisions())
}

fn activate(service: &Service, policy: &str) {
    let wanted =
        Activation { policy: policy.to_owned(), version: None, params: Map::new(), pardon: false };
    let work = |keyspace: &Keyspace| service.policies.activate(keyspace, &wanted);
    service.change_policy(0, SwapReason::Request, work).unwrap();
}

#[test]
fn the_selector_changes_the_policy_as_everybody_does() {
    let service = service(&["native:lru", "native:wtinylfu"]);
    let swap = run_until(&service, |decision| decision.action == Action::Swap);
    assert_eq!(swap.from.as_deref(), Some("native:lru"));
    assert_eq!(swap.to.as_deref(), Some("native:wtinylfu"));
    let in_charge = service.policies.in_charge("default").unwrap();
    assert_eq!(in_charge.current.policy, "native:wtinylfu");
    assert_eq!(in_charge.previous.unwrap().policy, "native:lru", "a rollback would bring it back");
    assert!(service.tallies.swaps().contains(&("default".to_owned(), "selector", 1)));

    // Somebody knows better: nothing happens until they name one of the portfolio again.
    activate(&service, "native:fifo");
    let is_lost =
        |decision: &DecisionRecord| decision.action == Action::Hold && decision.from.is_none();
    let hold = run_until(&service, is_lost);
    assert!(hold.number > swap.number);
    activate(&service, "native:lru");
    let again = run_until(&service, |decision| decision.number > hold.number);
    assert_eq!((again.action, again.to.as_deref()), (Action::Swap, Some("native:wtinylfu")));
    service.stop_adapting();
    assert!(service.adaptive(0).is_none());
    assert_eq!(service.experiments.live(0).status().consumers, 0);
}

#[test]
fn a_portfolio_goes_without_what_cannot_be_used() {
    let partial = service(&["native:lru", "native:fifo", "lost"]);
    let status = partial.adaptive(0).unwrap();
    let shortfall = partial.shortfalls.lock()[0].clone();
    let [(policy, reason)] = &shortfall.missing[..] else { panic!("{shortfall:?}") };
    assert!(policy == "lost" && reason.contains("lost") && shortfall.error.is_none());
    let names = || status.status().candidates.into_iter().map(|candidate| candidate.policy);
    while names().len() == 0 {
        std::thread::yield_now();
    }
    assert_eq!(names().collect::<Vec<_>>(), ["native:lru", "native:fifo"]);
    let lone = service(&["native:lru", "lost"]);
    assert!(lone.adaptive(0).is_none(), "one alone is not compared");
    let error = lone.shortfalls.lock()[0].error.clone();
    assert_eq!(error.as_deref(), Some("a portfolio has 2 to 8 policies, this one 1"));
    assert_eq!(lone.policies.in_charge("default").unwrap().current.policy, "native:lru");
}
