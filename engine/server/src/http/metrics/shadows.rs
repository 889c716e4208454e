//! Figures of the caches whose policy changes by itself: the candidates' shadows, and the selector.

use super::text::Page;
use crate::service::Service;

pub(super) fn write(page: &mut Page, service: &Service) {
    let caches = service.caches.iter().enumerate();
    let adaptives =
        caches.filter_map(|(index, cache)| Some((cache.name(), service.adaptive(index)?)));
    let all: Vec<_> = adaptives
        .map(|(cache, adaptive)| {
            (cache, adaptive.status(), adaptive.live().status(), adaptive.counts())
        })
        .collect();
    let mut requests = page.counter("ostler_shadow_requests_total", "Requests played to shadows");
    for (cache, status, ..) in &all {
        for candidate in &status.candidates {
            let labels = [("cache", *cache), ("policy", &candidate.policy)];
            requests.row(&labels, candidate.requests);
        }
    }
    let help = "Share of the last sampled requests that each shadow hit, by the objective";
    let mut ratios = page.gauge("ostler_shadow_hit_ratio", help);
    for (cache, status, ..) in &all {
        for candidate in &status.candidates {
            ratios.row(&[("cache", *cache), ("policy", &candidate.policy)], candidate.hit_ratio);
        }
    }
    let help = "Share of the same requests that the cache itself hit";
    let mut ratios = page.gauge("ostler_shadow_live_hit_ratio", help);
    for (cache, status, ..) in &all {
        ratios.row(&[("cache", cache)], status.live_hit_ratio);
    }
    let mut shares = page.gauge("ostler_shadow_share", "Share of the keys in shadow");
    for (cache, _, live, _) in &all {
        shares.row(&[("cache", cache)], live.share);
    }
    let help = "Records that shadows did not hear because too many waited";
    let mut dropped = page.counter("ostler_shadow_dropped_total", help);
    for (cache, _, live, _) in &all {
        dropped.row(&[("cache", cache)], live.dropped);
    }
    let help = "Processor time of the thread that plays shadows";
    let mut seconds = page.counter("ostler_shadow_cpu_seconds_total", help);
    for (cache, _, live, _) in &all {
        seconds.row(&[("cache", cache)], live.cpu_ns as f64 / 1e9);
    }
    let help =
        "Listeners to a cache's keys, selectors and experiments, that were thrown out by a panic";
    let mut panics = page.counter("ostler_shadow_panics_total", help);
    for (index, cache) in service.caches.iter().enumerate() {
        panics.row(&[("cache", cache.name())], service.experiments.live(index).status().panics);
    }
    let mut decisions =
        page.counter("ostler_selector_decisions_total", "Decisions of the selector");
    for (cache, .., counts) in &all {
        for (action, count) in counts {
            decisions.row(&[("cache", *cache), ("action", action.name())], *count);
        }
    }
}
