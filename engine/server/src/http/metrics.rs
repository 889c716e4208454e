//! `/metrics`: everything that is counted, in Prometheus' text form.
//!
//! Figures are read where they are counted when somebody asks; nothing is counted twice. Labels are
//! names of caches, policies, commands and routes, never keys.

mod experiments;
mod fetching;
mod process;
pub(crate) mod requests;
mod shadows;
mod text;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use ostler_core::Stats;

use self::text::{Family, Page};
use super::Api;
use super::caches::blocking;
use super::problem::Problem;
use crate::service::Service;

/// The media type of Prometheus' text form.
pub(crate) const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// `GET /metrics`.
pub(crate) async fn metrics(State(api): State<Arc<Api>>) -> Result<Response, Problem> {
    let page = blocking(move || page(&api)).await?;
    Ok(([(header::CONTENT_TYPE, MEDIA_TYPE)], page).into_response())
}

fn page(api: &Api) -> String {
    let mut page = Page::default();
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    page.gauge("ostler_build_info", "Always 1; what runs is in the labels").row(&version, 1);
    caches(&mut page, api);
    policies(&mut page, api);
    experiments::write(&mut page, &api.service);
    shadows::write(&mut page, &api.service);
    fetching::write(&mut page, &api.service);
    front(&mut page, &api.service);
    api.requests.write(&mut page, &api.routes);
    process::write(&mut page, &api.service);
    page.finish()
}

/// A figure of each cache: name, help, and where it stands in the statistics.
type Figure = (&'static str, &'static str, fn(&Stats) -> u64);

const GAUGES: &[Figure] = &[
    ("ostler_entries", "Entries resident", |stats| stats.entries),
    ("ostler_weight_bytes", "Weight of the entries", |stats| stats.weight),
    ("ostler_capacity_bytes", "Weight that the policies keep", |stats| stats.capacity),
    ("ostler_shards", "Shards", |stats| stats.shards),
    ("ostler_shards_in_charge", "Shards whose policy is in charge", |stats| stats.shards_in_charge),
];

const COUNTERS: &[Figure] = &[
    ("ostler_inserts_total", "Values put in", |stats| stats.inserted),
    ("ostler_hits_delivered_total", "Hits told to policies", |stats| stats.hits_delivered),
    ("ostler_hits_coalesced_total", "Hits told with another", |stats| stats.hits_coalesced),
    ("ostler_hits_dropped_total", "Hits that no policy hears of", |stats| stats.hits_dropped),
    ("ostler_stale_victims_total", "Victims already gone", |stats| stats.stale_victims),
    ("ostler_maintenances_total", "Maintenances", |stats| stats.maintenances),
    ("ostler_guest_calls_total", "Calls of policies", |stats| stats.policy_calls),
    ("ostler_guest_records_total", "Records handed to policies", |stats| stats.policy_records),
    ("ostler_guest_nanoseconds_total", "Time in policies, estimated", |stats| stats.guest_ns),
    ("ostler_listener_panics_total", "Panics of listeners", |stats| stats.listener_panics),
];

/// One of several parts of a figure: its label, and how much it is.
type Part = (&'static str, fn(&Stats) -> u64);

/// Why the engine gave entries up: by the policy's choice, by its own in the policy's place, since
/// their time was over, or since they were not kept at all.
const EVICTIONS: &[Part] = &[
    ("policy", |stats| stats.evicted.saturating_sub(stats.evicted_natively)),
    ("fallback", |stats| stats.evicted_natively),
    ("expired", |stats| stats.expired),
    ("rejected", |stats| stats.rejected),
];

/// What callers did to entries that were there.
const REMOVALS: &[Part] = &[
    ("removed", |stats| stats.removed),
    ("replaced", |stats| stats.replaced),
    ("cleared", |stats| stats.cleared),
];

const MEMORY: &[Part] = &[
    ("entries", |stats| stats.weight),
    ("guests", |stats| stats.guest_memory_bytes),
    ("expiry", |stats| stats.expiry_bytes),
];

fn caches(page: &mut Page, api: &Api) {
    let caches = &api.service.caches;
    let stats: Vec<_> = caches.iter().map(|cache| (cache.name(), cache.stats())).collect();
    for (name, help, figure) in GAUGES {
        each(page.gauge(name, help), &stats, *figure);
    }
    for (name, help, figure) in COUNTERS {
        each(page.counter(name, help), &stats, *figure);
    }
    let evictions = page.counter("ostler_evictions_total", "Entries given up by the engine");
    parts(evictions, &stats, "cause", EVICTIONS);
    let removals = page.counter("ostler_removals_total", "Entries removed by callers");
    parts(removals, &stats, "cause", REMOVALS);
    let memory = page.gauge("ostler_memory_bytes", "Memory by what it is for");
    parts(memory, &stats, "kind", MEMORY);

    let mut entries = page.gauge("ostler_database_entries", "Entries of each database");
    for (index, cache) in caches.iter().enumerate() {
        for database in api.service.databases_of(index) {
            let number = database.to_string();
            let labels = [("cache", cache.name()), ("database", &number)];
            entries.row(&labels, cache.size(api.service.databases.home(database)));
        }
    }
}

fn each(mut family: Family<'_>, stats: &[(&str, Stats)], figure: fn(&Stats) -> u64) {
    for (cache, stats) in stats {
        family.row(&[("cache", cache)], figure(stats));
    }
}

fn parts(mut family: Family<'_>, stats: &[(&str, Stats)], label: &str, figures: &[Part]) {
    for (cache, stats) in stats {
        for (part, figure) in figures {
            family.row(&[("cache", cache), (label, part)], figure(stats));
        }
    }
}

fn policies(page: &mut Page, api: &Api) {
    let mut gets = page.counter("ostler_gets_total", "Requests, by who was in charge");
    for (cache, ledger) in api.service.caches.iter().zip(&api.service.ledgers) {
        for (policy, hits, misses) in ledger.settle(cache) {
            for (result, count) in [("hit", hits), ("miss", misses)] {
                let labels = [("cache", cache.name()), ("policy", &policy), ("result", result)];
                gets.row(&labels, count);
            }
        }
    }
    let help = "1 where the policy in charge stands in for one that cannot be used";
    let mut stand_ins = page.gauge("ostler_policy_stand_in", help);
    for cache in &api.service.caches {
        let seat = api.service.policies.in_charge(cache.name());
        let is_stand_in = seat.is_some_and(|seat| seat.missing.is_some());
        stand_ins.row(&[("cache", cache.name())], u64::from(is_stand_in));
    }
    let tallies = &api.service.tallies;
    let mut faults = page.counter("ostler_policy_faults_total", "Policies that lost a seat");
    for (row, count) in tallies.faults() {
        let labels = [("cache", &*row.cache), ("policy", &row.policy), ("kind", row.kind)];
        faults.row(&labels, count);
    }
    let mut swaps = page.counter("ostler_policy_swaps_total", "Policies that took the seats");
    for (cache, reason, count) in tallies.swaps() {
        swaps.row(&[("cache", &cache), ("reason", reason)], count);
    }
}

fn front(page: &mut Page, service: &Service) {
    let counters = &service.counters;
    let clients = &service.clients;
    page.gauge("ostler_clients", "Clients connected by RESP").row(&[], clients.len());
    page.gauge("ostler_clients_max", "Clients that may be connected")
        .row(&[], clients.clients_max());
    let figures = [
        ("ostler_connections_total", "Connections taken", &counters.connections),
        ("ostler_connections_refused_total", "Connections refused", &counters.connections_refused),
        ("ostler_command_errors_total", "Commands that ended in an error", &counters.errors),
        ("ostler_received_bytes_total", "Bytes read by the RESP front", &counters.bytes_in),
        ("ostler_sent_bytes_total", "Bytes written by the RESP front", &counters.bytes_out),
        ("ostler_slow_clients_total", "Clients cut off: they did not read", &counters.slow_clients),
    ];
    for (name, help, counter) in figures {
        page.counter(name, help).row(&[], counter.load(Relaxed));
    }
    let calls: Vec<_> = counters.calls.all().collect();
    let mut commands = page.counter("ostler_commands_total", "Commands run");
    for (command, counted) in &calls {
        commands.row(&[("command", command.name)], counted.calls);
    }
    let help = "Time that commands took, reading them included";
    let mut seconds = page.counter("ostler_command_seconds_total", help);
    for (command, counted) in &calls {
        seconds.row(&[("command", command.name)], counted.spent_us as f64 / 1e6);
    }
    let help = "How long commands took, from those that were timed";
    let mut latency = page.histogram("ostler_command_duration_seconds", help);
    latency.counted(&[], &service.latency.counted());
}
