//! The process itself, as Linux sees it, under the names that Prometheus' own libraries use. Where
//! there is no `/proc`, only the start time is told.

use super::text::Page;
use crate::service::Service;

/// Clock ticks of `/proc/self/stat` in a second: part of Linux's interface, whatever the kernel's own.
const TICKS_PER_S: f64 = 100.0;

/// Writes what is known.
pub(super) fn write(page: &mut Page, service: &Service) {
    let started_s = service.clock.start_unix_ms() as f64 / 1_000.0;
    let help = "When the process started, seconds since 1970";
    page.gauge("process_start_time_seconds", help).row(&[], started_s);
    if let Ok(status) = std::fs::read_to_string("/proc/self/status") {
        let kib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().find_map(|word| word.parse::<u64>().ok())
        };
        if let Some(resident) = kib("VmRSS:") {
            page.gauge("process_resident_memory_bytes", "Resident memory")
                .row(&[], resident * 1_024);
        }
        if let Some(size) = kib("VmSize:") {
            page.gauge("process_virtual_memory_bytes", "Virtual memory").row(&[], size * 1_024);
        }
        if let Some(threads) = kib("Threads:") {
            page.gauge("process_threads", "Threads").row(&[], threads);
        }
    }
    if let Some(ticks) =
        std::fs::read_to_string("/proc/self/stat").ok().and_then(|stat| ticks(&stat))
    {
        page.counter("process_cpu_seconds_total", "CPU time, user and system")
            .row(&[], ticks as f64 / TICKS_PER_S);
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        page.gauge("process_open_fds", "Open files and sockets").row(&[], open.count());
    }
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let files = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    if let Some(fds_max) =
        files.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok())
    {
        page.gauge("process_max_fds", "Files and sockets that may be open").row(&[], fds_max);
    }
}

/// User and system ticks of `/proc/self/stat`. The second field may hold anything, in parentheses.
fn ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ').skip(11).map(str::parse::<u64>);
    Some(fields.next()?.ok()? + fields.next()?.ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_the_fourteenth_and_fifteenth_field() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194304 100 0 3 0 250 40 0 0 20 0 9 0 55";
        assert_eq!(ticks(stat), Some(290));
        assert_eq!(ticks("nonsense"), None);
    }
}
