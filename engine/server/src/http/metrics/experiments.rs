//! Experiments in the metrics: of each cache the newest one only, so that there are few rows.

use ostler_adapt::experiment::Comparison;

use super::text::Page;
use crate::experiments::Trial;
use crate::service::Service;

/// A figure of an arm: name, help, and where it stands in a comparison.
type Figure = (&'static str, &'static str, fn(&Comparison) -> Option<f64>);

const FIGURES: &[Figure] = &[
    ("ostler_experiment_difference", "Hit ratio of an arm minus the control's", |one| {
        Some(one.difference)
    }),
    ("ostler_experiment_difference_low", "Lower end of the difference's interval", |one| {
        one.interval.map(|interval| interval.low)
    }),
    ("ostler_experiment_difference_high", "Upper end of the difference's interval", |one| {
        one.interval.map(|interval| interval.high)
    }),
    ("ostler_experiment_hit_ratio", "Hit ratio of an arm", |one| Some(one.ratio)),
];

pub(super) fn write(page: &mut Page, service: &Service) {
    let experiments = &service.experiments;
    let caches: Vec<_> = service.caches.iter().map(|cache| cache.name()).enumerate().collect();
    let mut running = page.gauge("ostler_experiment_running", "1 while an experiment runs");
    for (index, cache) in &caches {
        running.row(&[("cache", cache)], u64::from(experiments.running(*index).is_some()));
    }
    let mut ended = page.counter("ostler_experiments_ended_total", "Experiments, by their end");
    for (index, cache) in &caches {
        for (state, count) in experiments.ended(*index) {
            ended.row(&[("cache", cache), ("state", state)], count);
        }
    }
    let newest = |index: usize| experiments.list(index).into_iter().next();
    let newest: Vec<_> = caches
        .iter()
        .filter_map(|(index, cache)| newest(*index).map(|trial| (*cache, trial)))
        .collect();
    for (name, help, figure) in FIGURES {
        let mut family = page.gauge(name, help);
        for (cache, trial) in &newest {
            for one in trial.shown().comparisons {
                let (id, arm) = (trial.id().to_string(), one.arm.to_string());
                let labels = [("cache", *cache), ("experiment", &id), ("arm", &arm)];
                if let Some(value) = figure(&one) {
                    family.row(&labels, value);
                }
            }
        }
    }
    let requests = |trial: &Trial| trial.shown().requests;
    let mut counted =
        page.gauge("ostler_experiment_requests", "Requests that an experiment counted");
    for (cache, trial) in &newest {
        let id = trial.id().to_string();
        counted.row(&[("cache", *cache), ("experiment", &id)], requests(trial));
    }
}
