//! An experiment whose listener is thrown out.

use ostler_adapt::live::Consumer;
use serde_json::json;

use super::*;
use crate::settings::Settings;

#[test]
fn one_that_nobody_hears_any_more_is_aborted() {
    let cache = CacheSettings {
        capacity_bytes: 1 << 20,
        policy: "native:lru".to_owned(),
        shards: Some(16),
        ..CacheSettings::default()
    };
    let settings = Settings { caches: vec![cache], ..Settings::default() };
    let service = Service::try_new(settings, 1).unwrap();
    let arms = json!([
        {"policy": "native:lru", "share": 0.5},
        {"policy": "native:fifo", "share": 0.5},
    ]);
    let plan: ExperimentPlan = serde_json::from_value(json!({ "arms": arms })).unwrap();
    let trial = service.start_experiment(0, &plan).unwrap();
    assert_eq!(trial.shown().state_name(), "running");
    Listener::new(&service, &trial).ended();
    let shown = trial.shown();
    assert_eq!(
        (shown.state_name(), shown.reason()),
        ("aborted", Some("what it hears made it panic"))
    );
    assert!(service.experiments.running(0).is_none());
    assert_eq!(service.experiments.ended(0), [("aborted", 1)]);
    let actual = service.caches[0].cache().seat_status().actual;
    assert!(actual.iter().all(|policy| policy.as_deref() == Some("native:lru")), "{actual:?}");
    // It is told once, and another one can begin.
    Listener::new(&service, &trial).ended();
    assert_eq!(service.experiments.ended(0), [("aborted", 1)]);
    assert!(service.start_experiment(0, &plan).is_ok());
}
