//! Figures of what is fetched before anybody asks, and of models. Only caches that have an origin have
//! rows of the former.

use ostler_adapt::LearnerReport;
use ostler_core::ModelStats;
use ostler_fetch::prefetch::PrefetchCounters;

use super::text::Page;
use crate::fetching::shown::{Phase, PrefetchShown, WarmingShown};
use crate::service::Service;

/// A figure of prefetching: name, help, and where it stands.
type PrefetchFigure = (&'static str, &'static str, fn(&PrefetchCounters) -> u64);

const PREFETCH: &[PrefetchFigure] = &[
    ("ostler_prefetch_requests_total", "Requests that prefetching heard of", |it| it.requests),
    ("ostler_prefetch_misses_total", "Misses among them", |it| it.misses),
    ("ostler_prefetch_asks_total", "Keys that prefetch policies asked for", |it| it.asks),
    ("ostler_prefetch_useful_total", "Prefetched entries that were hit", |it| it.useful),
    ("ostler_prefetch_late_total", "Prefetches that a request overtook", |it| it.late),
    ("ostler_prefetch_wasted_total", "Prefetched entries that left unused", |it| it.wasted),
    ("ostler_prefetch_polluted_total", "Misses on entries that prefetches displaced", |it| {
        it.polluted
    }),
];

/// Why an ask was refused, and where that is counted.
type Refusal = (&'static str, fn(&PrefetchCounters) -> u64);

const REFUSALS: &[Refusal] = &[
    ("budget", |it| it.refused_budget),
    ("resident", |it| it.refused_resident),
    ("queue", |it| it.refused_queue),
    ("unknown", |it| it.refused_unknown),
];

/// A figure of warming.
type WarmingFigure = (&'static str, &'static str, fn(&WarmingShown) -> u64);

const WARMING_COUNTERS: &[WarmingFigure] = &[
    ("ostler_warming_rounds_total", "Times that a cache was warmed to the end", |it| it.rounds),
    ("ostler_warming_snapshots_total", "Snapshots of keys that were written", |it| it.snapshots),
    ("ostler_warming_snapshots_failed_total", "Snapshots that could not be written", |it| {
        it.snapshots_failed
    }),
];

const WARMING_GAUGES: &[WarmingFigure] = &[
    ("ostler_warming_running", "1 while a cache is warmed", |it| {
        u64::from(it.phase != Phase::Idle)
    }),
    ("ostler_warming_planned_keys", "Keys of the last round", |it| it.planned),
    ("ostler_warming_budget_bytes", "Weight that the last round may bring in", |it| {
        it.budget_bytes
    }),
    ("ostler_warming_brought_bytes", "Weight that the last round brought in", |it| {
        it.brought_bytes
    }),
    ("ostler_warming_history_keys", "Keys that are remembered", |it| it.history_keys),
    ("ostler_warming_history_bytes", "What remembered keys take", |it| it.history_bytes),
];

pub(super) fn write(page: &mut Page, service: &Service) {
    let caches = service.caches.iter().enumerate();
    let fetchers = caches
        .filter_map(|(index, cache)| Some((cache.name(), service.fetching.of(index)?)))
        .collect::<Vec<_>>();
    let prefetch: Vec<(&str, PrefetchShown)> = fetchers
        .iter()
        .map(|(name, fetcher)| (*name, fetcher.shown().prefetch.lock().clone()))
        .collect();
    let warming: Vec<(&str, WarmingShown)> = fetchers
        .iter()
        .map(|(name, fetcher)| (*name, fetcher.shown().warming.lock().clone()))
        .collect();
    let mut requests =
        page.counter("ostler_origin_requests_total", "Fetches, by what they came to");
    for (cache, fetcher) in &fetchers {
        for (purpose, result, count) in fetcher.shown().answers() {
            let labels = [("cache", *cache), ("purpose", purpose), ("result", result)];
            requests.row(&labels, count);
        }
    }
    let mut seconds =
        page.counter("ostler_origin_seconds_total", "Time that fetches took together");
    for (cache, fetcher) in &fetchers {
        seconds.row(&[("cache", cache)], fetcher.shown().time().as_secs_f64());
    }
    write_prefetch(page, &prefetch);
    write_warming(page, &warming);
    write_models(page, service);
}

fn write_prefetch(page: &mut Page, shown: &[(&str, PrefetchShown)]) {
    let mut fetches =
        page.counter("ostler_prefetch_fetches_total", "Prefetches, by what they came to");
    for (cache, it) in shown {
        let it = &it.counters;
        let ended = it.landed + it.absent + it.failed;
        for (result, count) in [("stored", it.landed), ("absent", it.absent), ("failed", it.failed)]
        {
            fetches.row(&[("cache", *cache), ("result", result)], count);
        }
        // Those under way count here until they have ended.
        let others = it.fetches.saturating_sub(ended);
        fetches.row(&[("cache", *cache), ("result", "other")], others);
    }
    for (name, help, figure) in PREFETCH {
        let mut family = page.counter(name, help);
        for (cache, it) in shown {
            family.row(&[("cache", cache)], figure(&it.counters));
        }
    }
    let mut refused = page.counter("ostler_prefetch_refused_total", "Keys asked for in vain");
    for (cache, it) in shown {
        for (reason, figure) in REFUSALS {
            refused.row(&[("cache", *cache), ("reason", reason)], figure(&it.counters));
        }
    }
    let help = "Requests that were not heard because too many waited";
    let mut dropped = page.counter("ostler_prefetch_dropped_total", help);
    for (cache, it) in shown {
        dropped.row(&[("cache", cache)], it.dropped);
    }
    let help = "1 where next to nothing is fetched, since too little was useful";
    let mut throttled = page.gauge("ostler_prefetch_throttled", help);
    for (cache, it) in shown {
        throttled.row(&[("cache", cache)], u64::from(it.is_throttled));
    }
    let mut working = page.gauge("ostler_prefetch_working", "1 while a prefetch policy is at work");
    for (cache, it) in shown {
        working.row(&[("cache", cache)], u64::from(it.policy.is_some()));
    }
    let mut under_way = page.gauge("ostler_prefetch_under_way", "Prefetches under way");
    for (cache, it) in shown {
        under_way.row(&[("cache", cache)], it.under_way);
    }
    let mut memory = page.gauge("ostler_prefetch_guest_bytes", "Memory of the prefetch policy");
    for (cache, it) in shown {
        memory.row(&[("cache", cache)], it.guest_bytes);
    }
}

fn write_warming(page: &mut Page, shown: &[(&str, WarmingShown)]) {
    let mut fetches =
        page.counter("ostler_warming_fetches_total", "Fetches of warming, by what they came to");
    for (cache, it) in shown {
        for (result, count) in [
            ("stored", it.stored),
            ("unneeded", it.unneeded),
            ("absent", it.absent),
            ("failed", it.failed),
        ] {
            fetches.row(&[("cache", *cache), ("result", result)], count);
        }
    }
    for (name, help, figure) in WARMING_COUNTERS {
        let mut family = page.counter(name, help);
        for (cache, it) in shown {
            family.row(&[("cache", cache)], figure(it));
        }
    }
    for (name, help, figure) in WARMING_GAUGES {
        let mut family = page.gauge(name, help);
        for (cache, it) in shown {
            family.row(&[("cache", cache)], figure(it));
        }
    }
}

fn write_models(page: &mut Page, service: &Service) {
    let answers: Vec<(&str, ModelStats)> =
        service.caches.iter().map(|cache| (cache.name(), cache.cache().model_stats())).collect();
    let learners = service.caches.iter().enumerate();
    let learners: Vec<(&str, LearnerReport)> = learners
        .filter_map(|(index, cache)| Some((cache.name(), service.lessons.report(index)?)))
        .collect();
    let mut published = page.counter("ostler_model_published_total", "Models published");
    for (cache, stats) in &answers {
        published.row(&[("cache", cache)], stats.published);
    }
    let help = "Models that instances of policies took or refused, or broke their contract over";
    let mut answered = page.counter("ostler_model_answers_total", help);
    for (cache, stats) in &answers {
        let counts =
            [("taken", stats.taken), ("refused", stats.refused), ("faulted", stats.faulted)];
        for (answer, count) in counts {
            answered.row(&[("cache", *cache), ("answer", answer)], count);
        }
    }
    write_refusals(page, &answers, &learners);
    write_learners(page, &learners);
}

/// What kept models from deciding, or took them out of force.
fn write_refusals(
    page: &mut Page,
    answers: &[(&str, ModelStats)],
    learners: &[(&str, LearnerReport)],
) {
    let help = "Models that were refused, by whom and why";
    let mut refused = page.counter("ostler_model_refused_total", help);
    for (cache, ModelStats { reasons, .. }) in answers {
        for (reason, count) in [
            ("format", reasons.format),
            ("length", reasons.length),
            ("weights", reasons.weights),
            ("other", reasons.other),
        ] {
            refused.row(&[("cache", *cache), ("by", "policy"), ("reason", reason)], count);
        }
    }
    for (cache, report) in learners {
        let unsound = report.refused.saturating_sub(report.unsolved);
        for (reason, count) in [("weights", unsound), ("unsolved", report.unsolved)] {
            refused.row(&[("cache", *cache), ("by", "learner"), ("reason", reason)], count);
        }
    }
    let help = "Models that gave way to the prior, or to the one before, and why";
    let mut rollbacks = page.counter("ostler_model_rollbacks_total", help);
    for (cache, stats) in answers {
        let labels = [("cache", *cache), ("to", "previous"), ("reason", "refused")];
        rollbacks.row(&labels, stats.withdrawn);
    }
    for (cache, report) in learners {
        let labels = [("cache", *cache), ("to", "prior"), ("reason", "missed_more")];
        rollbacks.row(&labels, report.to_prior);
    }
}

fn write_learners(page: &mut Page, learners: &[(&str, LearnerReport)]) {
    let mut leader = page.gauge("ostler_model_leader", "1 for the candidate in force");
    for (cache, report) in learners {
        for candidate in &report.candidates {
            let labels = [("cache", *cache), ("candidate", candidate.name)];
            leader.row(&labels, u64::from(candidate.name == report.leader));
        }
    }
    let mut changes = page.counter("ostler_model_changes_total", "Changes of the one in force");
    for (cache, report) in learners {
        changes.row(&[("cache", cache)], report.changes);
    }
    let mut labels = page.counter("ostler_model_labels_total", "Labels that were learned");
    for (cache, report) in learners {
        labels.row(&[("cache", cache)], report.labels);
    }
    let mut error = page.gauge("ostler_model_error", "Mean square error on the newest labels");
    for (cache, report) in learners {
        for (model, value) in [("trained", report.error), ("prior", report.error_prior)] {
            error.row(&[("cache", *cache), ("model", model)], value);
        }
    }
    let mut bias = page.gauge("ostler_model_bias", "Mean of prediction less label");
    for (cache, report) in learners {
        bias.row(&[("cache", cache)], report.bias);
    }
}

#[cfg(test)]
mod tests {
    use ostler_abi::hash_u64;
    use ostler_adapt::{Learner, LearnerConfig};

    use super::*;

    /// What became of models that were no good: refused by the learner, by a policy, or back in the drawer.
    #[test]
    fn whatever_a_model_was_refused_for_has_a_row() {
        let mut learner = Learner::new(LearnerConfig::of("{}", 100, 100));
        for number in 0..5_000 {
            learner.observe(hash_u64(number % 300, 0), 1);
        }
        let mut report = learner.report();
        (report.refused, report.unsolved, report.to_prior) = (7, 2, 3);
        let mut stats = ModelStats::default();
        (stats.reasons.format, stats.reasons.length) = (1, 2);
        (stats.reasons.weights, stats.reasons.other, stats.withdrawn) = (4, 8, 9);
        let mut page = Page::default();
        write_refusals(&mut page, &[("a", stats)], &[("a", report.clone())]);
        write_learners(&mut page, &[("a", report)]);
        let text = page.finish();
        for row in [
            r#"ostler_model_refused_total{cache="a",by="policy",reason="format"} 1"#,
            r#"ostler_model_refused_total{cache="a",by="policy",reason="length"} 2"#,
            r#"ostler_model_refused_total{cache="a",by="policy",reason="weights"} 4"#,
            r#"ostler_model_refused_total{cache="a",by="policy",reason="other"} 8"#,
            r#"ostler_model_refused_total{cache="a",by="learner",reason="weights"} 5"#,
            r#"ostler_model_refused_total{cache="a",by="learner",reason="unsolved"} 2"#,
            r#"ostler_model_rollbacks_total{cache="a",to="previous",reason="refused"} 9"#,
            r#"ostler_model_rollbacks_total{cache="a",to="prior",reason="missed_more"} 3"#,
        ] {
            assert!(text.lines().any(|line| line == row), "{row}\n{text}");
        }
        let leads = text.lines().filter(|line| line.starts_with("ostler_model_leader{"));
        assert_eq!(leads.filter(|line| line.ends_with(" 1")).count(), 1, "{text}");
    }
}
