//! `INFO`: what client libraries and exporters read.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use ostler_core::{Clock as _, Stats};

use super::census::Census;
use crate::commands::connection::REDIS_VERSION;
use crate::commands::{Call, Flow};
use crate::service::Service;

/// A section: its name, whether it is among the default ones, and what writes it.
struct Section {
    name: &'static str,
    title: &'static str,
    is_default: bool,
    write: fn(&mut Lines, &Service),
}

const SECTIONS: &[Section] = &[
    section("server", "Server", server),
    section("clients", "Clients", clients),
    section("memory", "Memory", memory),
    section("persistence", "Persistence", persistence),
    section("stats", "Stats", stats),
    section("replication", "Replication", replication),
    section("cpu", "CPU", cpu),
    section("modules", "Modules", |_, _| {}),
    Section { is_default: false, ..section("commandstats", "Commandstats", commandstats) },
    section("errorstats", "Errorstats", errorstats),
    Section { is_default: false, ..section("latencystats", "Latencystats", |_, _| {}) },
    section("cluster", "Cluster", |lines, _| lines.add("cluster_enabled", 0)),
    section("keyspace", "Keyspace", keyspace),
];

const fn section(
    name: &'static str,
    title: &'static str,
    write: fn(&mut Lines, &Service),
) -> Section {
    Section { name, title, is_default: true, write }
}

/// The text as it grows.
struct Lines(String);

impl Lines {
    fn add(&mut self, name: &str, value: impl std::fmt::Display) {
        let _ = write!(self.0, "{name}:{value}\r\n");
    }
}

pub(super) fn info(call: &mut Call<'_, '_>) -> Flow {
    let words: Vec<String> = call.words[1..]
        .iter()
        .map(|word| String::from_utf8_lossy(word).to_ascii_lowercase())
        .collect();
    let asks = |name: &str| words.iter().any(|word| word == name);
    let all = asks("all") || asks("everything");
    let default = words.is_empty() || asks("default");
    // What this connection has done so far counts, too.
    crate::commands::settle(call.service, call.session);
    let mut lines = Lines(String::with_capacity(4096));
    for section in SECTIONS {
        if all || (default && section.is_default) || asks(section.name) {
            if !lines.0.is_empty() {
                lines.0.push_str("\r\n");
            }
            let _ = write!(lines.0, "# {}\r\n", section.title);
            (section.write)(&mut lines, call.service);
        }
    }
    call.reply.verbatim(&lines.0);
    Flow::Continue
}

fn server(lines: &mut Lines, service: &Service) {
    let now_unix_ms = service.clock.now_unix_ms();
    let uptime_s = service.clock.now_ms() / 1000;
    lines.add("redis_version", REDIS_VERSION);
    lines.add("ostler_version", env!("CARGO_PKG_VERSION"));
    lines.add("redis_git_sha1", "00000000");
    lines.add("redis_git_dirty", 0);
    lines.add("redis_build_id", "ostler");
    lines.add("redis_mode", "standalone");
    lines.add("os", std::env::consts::OS);
    lines.add("arch_bits", usize::BITS);
    lines.add("monotonic_clock", "std::time::Instant");
    lines.add("multiplexing_api", "tokio");
    lines.add("process_id", std::process::id());
    lines.add("run_id", run_id(service));
    lines.add("tcp_port", service.settings.resp.map_or(0, |address| address.port()));
    lines.add("server_time_usec", now_unix_ms * 1000);
    lines.add("uptime_in_seconds", uptime_s);
    lines.add("uptime_in_days", uptime_s / 86_400);
    lines.add("hz", 10);
    lines.add("configured_hz", 10);
    lines.add("executable", "");
    lines.add("config_file", "");
    lines.add("io_threads_active", 1);
}

/// Forty digits that tell this run from others.
fn run_id(service: &Service) -> String {
    format!("{:024x}{:016x}", service.clock.start_unix_ms(), std::process::id())
}

fn clients(lines: &mut Lines, service: &Service) {
    let tracking = service.tracking.sizes();
    let unread = service.clients.all().iter().map(|client| client.unread_bytes()).max();
    lines.add("connected_clients", service.clients.len());
    lines.add("cluster_connections", 0);
    lines.add("maxclients", service.clients.clients_max());
    lines.add("client_recent_max_input_buffer", 0);
    lines.add("client_recent_max_output_buffer", unread.unwrap_or_default());
    lines.add("blocked_clients", service.pause.waiting());
    lines.add("tracking_clients", tracking.clients);
    lines.add("clients_in_timeout_table", 0);
}

fn human(bytes: u64) -> String {
    let units = [("G", 30), ("M", 20), ("K", 10)];
    match units.iter().find(|(_, shift)| bytes >> shift > 0) {
        Some((unit, shift)) => format!("{:.2}{unit}", bytes as f64 / (1u64 << shift) as f64),
        None => format!("{bytes}B"),
    }
}

/// Memory of this program that is in RAM, bytes; 0 where the system does not tell.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or_default() * 1024
}

fn total(service: &Service, count: impl Fn(&Stats) -> u64) -> u64 {
    service.caches.iter().map(|cache| count(&cache.stats())).sum()
}

fn memory(lines: &mut Lines, service: &Service) {
    static PEAK: AtomicU64 = AtomicU64::new(0);
    let used = total(service, |stats| stats.weight);
    let guests = total(service, |stats| stats.guest_memory_bytes);
    let resident = resident_bytes();
    let peak = PEAK.fetch_max(used, Relaxed).max(used);
    let capacity = crate::room::capacity_bytes(service);
    lines.add("used_memory", used);
    lines.add("used_memory_human", human(used));
    lines.add("used_memory_rss", resident);
    lines.add("used_memory_rss_human", human(resident));
    lines.add("used_memory_peak", peak);
    lines.add("used_memory_peak_human", human(peak));
    lines.add("used_memory_peak_perc", format!("{:.2}%", share(used, peak)));
    lines.add("used_memory_overhead", resident.saturating_sub(used));
    lines.add("used_memory_startup", 0);
    lines.add("used_memory_dataset", used);
    lines.add("used_memory_dataset_perc", format!("{:.2}%", share(used, resident)));
    lines.add("total_system_memory", 0);
    lines.add("used_memory_lua", 0);
    lines.add("used_memory_guests", guests);
    lines.add("number_of_cached_scripts", 0);
    lines.add("maxmemory", capacity);
    lines.add("maxmemory_human", human(capacity));
    lines.add("maxmemory_policy", super::eviction::name(service));
    lines.add("mem_fragmentation_ratio", format!("{:.2}", share(resident, used) / 100.0));
    lines.add("mem_clients_normal", 0);
    lines.add("mem_not_counted_for_evict", 0);
    lines.add("mem_allocator", service.settings.allocator);
    lines.add("active_defrag_running", 0);
    lines.add("lazyfree_pending_objects", 0);
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}

fn persistence(lines: &mut Lines, service: &Service) {
    lines.add("loading", 0);
    lines.add("async_loading", 0);
    lines.add("rdb_changes_since_last_save", 0);
    lines.add("rdb_bgsave_in_progress", 0);
    lines.add("rdb_last_save_time", service.clock.start_unix_ms() / 1000);
    lines.add("rdb_last_bgsave_status", "ok");
    lines.add("rdb_last_bgsave_time_sec", -1);
    lines.add("rdb_current_bgsave_time_sec", -1);
    lines.add("aof_enabled", 0);
    lines.add("aof_rewrite_in_progress", 0);
    lines.add("aof_rewrite_scheduled", 0);
    lines.add("aof_last_bgrewrite_status", "ok");
    lines.add("aof_last_write_status", "ok");
}

fn stats(lines: &mut Lines, service: &Service) {
    let counters = &service.counters;
    let tracking = service.tracking.sizes();
    let base = service.tunables.base();
    let since = |now: u64, base: u64| now.saturating_sub(base);
    lines.add("total_connections_received", counters.connections.load(Relaxed));
    lines.add("total_commands_processed", since(counters.commands.load(Relaxed), base.commands));
    let rates = service.rates.per_second();
    let kib = |bytes: u64| format!("{:.2}", bytes as f64 / 1024.0);
    lines.add("instantaneous_ops_per_sec", rates.commands);
    lines.add("total_net_input_bytes", counters.bytes_in.load(Relaxed));
    lines.add("total_net_output_bytes", counters.bytes_out.load(Relaxed));
    lines.add("instantaneous_input_kbps", kib(rates.bytes_in));
    lines.add("instantaneous_output_kbps", kib(rates.bytes_out));
    lines.add("rejected_connections", counters.connections_refused.load(Relaxed));
    lines.add("expired_keys", since(total(service, |stats| stats.expired), base.expired));
    lines.add("evicted_keys", since(total(service, |stats| stats.evicted), base.evicted));
    lines.add("evicted_clients", 0);
    lines.add("keyspace_hits", since(total(service, |stats| stats.hits), base.hits));
    lines.add("keyspace_misses", since(total(service, |stats| stats.misses), base.misses));
    lines.add("pubsub_channels", service.channels.channels());
    lines.add("pubsub_patterns", service.channels.patterns());
    lines.add("pubsubshard_channels", service.channels.shard_channels());
    lines.add("latest_fork_usec", 0);
    lines.add("total_forks", 0);
    lines.add("tracking_total_keys", tracking.keys);
    lines.add("tracking_total_items", tracking.items);
    lines.add("tracking_total_prefixes", tracking.prefixes);
    lines.add("unexpected_error_replies", 0);
    lines.add("total_error_replies", since(counters.errors.load(Relaxed), base.errors));
    lines.add("client_query_buffer_limit_disconnections", 0);
    lines.add("client_output_buffer_limit_disconnections", counters.slow_clients.load(Relaxed));
    lines.add("policy_faults", total(service, |stats| stats.policy_faults));
}

fn replication(lines: &mut Lines, service: &Service) {
    lines.add("role", "master");
    lines.add("connected_slaves", 0);
    lines.add("master_failover_state", "no-failover");
    lines.add("master_replid", run_id(service));
    lines.add("master_repl_offset", 0);
    lines.add("second_repl_offset", -1);
    lines.add("repl_backlog_active", 0);
}

/// Seconds that this program ran in the system and for itself, with its children.
fn cpu(lines: &mut Lines, _: &Service) {
    // Ticks are hundredths of a second on every Linux that there is.
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
    let ticks: Vec<u64> = after_name
        .split_whitespace()
        .skip(11)
        .take(4)
        .map_while(|word| word.parse().ok())
        .collect();
    let names = [
        (1, "used_cpu_sys"),
        (0, "used_cpu_user"),
        (3, "used_cpu_sys_children"),
        (2, "used_cpu_user_children"),
    ];
    for (place, name) in names {
        let ticks = ticks.get(place).copied().unwrap_or_default();
        lines.add(name, format!("{}.{:02}0000", ticks / 100, ticks % 100));
    }
}

fn commandstats(lines: &mut Lines, service: &Service) {
    for (command, counted) in service.counters.calls.all() {
        let each =
            if counted.calls == 0 { 0.0 } else { counted.spent_us as f64 / counted.calls as f64 };
        let text = format!(
            "calls={},usec={},usec_per_call={each:.2},rejected_calls={},failed_calls={}",
            counted.calls, counted.spent_us, counted.rejected, counted.failed
        );
        lines.add(&format!("cmdstat_{}", command.name), text);
    }
}

fn errorstats(lines: &mut Lines, service: &Service) {
    for (code, count) in service.counters.calls.errors() {
        lines.add(&format!("errorstat_{code}"), format!("count={count}"));
    }
}

fn keyspace(lines: &mut Lines, service: &Service) {
    let mut rows = Vec::new();
    for (index, cache) in service.caches.iter().enumerate() {
        // What is over is not to be counted.
        cache.cache().run_pending();
        let census = Census::take(cache);
        for database in service.databases_of(index) {
            let home = service.databases.home(database);
            let size = cache.size(home);
            if size > 0 {
                let (expires, avg_ttl_ms) = census.of(home, size);
                let row = format!("keys={size},expires={expires},avg_ttl={avg_ttl_ms}");
                rows.push((database, row));
            }
        }
    }
    rows.sort_unstable();
    for (database, row) in rows {
        lines.add(&format!("db{database}"), row);
    }
}
