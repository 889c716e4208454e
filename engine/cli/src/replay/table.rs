//! Reports as a table for people.

use std::io::Write;

use comfy_table::{CellAlignment, Table, presets};
use ostler_replay::{RunReport, TraceSource, WeightMode};

/// Writes the rows of one trace, best miss ratio marked for each capacity.
pub(crate) fn write(
    out: &mut dyn Write,
    trace: &TraceSource,
    weights: WeightMode,
    reports: &[RunReport],
) -> std::io::Result<()> {
    let unit = match weights {
        WeightMode::Objects => "objects",
        WeightMode::Bytes => "bytes",
    };
    let requests = reports.first().map_or(0, |report| report.requests);
    let path =
        if reports.iter().any(|report| report.live) { ", through the live cache" } else { "" };
    writeln!(out, "{}: {requests} requests, capacity in {unit}{path}", trace.name())?;
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    let mut header = vec!["capacity", "policy", "miss ratio", "to best", "ns/request", "in guest"];
    header.extend(["guest memory", "faults"]);
    if weights == WeightMode::Bytes {
        header.insert(4, "byte miss ratio");
    }
    let columns = header.len();
    table.set_header(header);
    for report in reports {
        let best = best_of(reports, report.capacity);
        let mut row = vec![
            report.capacity.to_string(),
            report.policy.clone(),
            percent(report.miss_ratio),
            difference(report, best),
            format!("{:.0}", report.ns_per_request),
            report.guest_ns_per_request.map_or("".into(), |ns| format!("{ns:.0}")),
            memory(report.guest_memory_bytes),
            faults(report),
        ];
        if weights == WeightMode::Bytes {
            row.insert(4, percent(report.byte_miss_ratio));
        }
        table.add_row(row);
    }
    for column in (0..columns).filter(|&column| column != 1) {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    writeln!(out, "{table}\n")?;
    for report in reports.iter().filter(|report| report.faults > 0) {
        writeln!(
            out,
            "{} at {}: {} (request {}); the fallback served {} requests",
            report.policy,
            report.capacity,
            report.fault.as_deref().unwrap_or_default(),
            report.fault_request.unwrap_or_default(),
            report.fallback_requests,
        )?;
    }
    for report in reports {
        for line in &report.log {
            writeln!(out, "{} at {} logged: {line}", report.policy, report.capacity)?;
        }
    }
    Ok(())
}

/// Lowest miss ratio of an online policy at this capacity.
fn best_of(reports: &[RunReport], capacity: u64) -> f64 {
    reports
        .iter()
        .filter(|report| report.capacity == capacity && report.policy != super::belady::NAME)
        .map(|report| report.miss_ratio)
        .fold(f64::INFINITY, f64::min)
}

fn percent(ratio: f64) -> String {
    format!("{:.2} %", ratio * 100.0)
}

fn difference(report: &RunReport, best: f64) -> String {
    if report.miss_ratio == best {
        return "best".into();
    }
    if report.policy == super::belady::NAME {
        return "optimum".into();
    }
    format!("+{:.2} pp", (report.miss_ratio - best) * 100.0)
}

fn memory(bytes: u64) -> String {
    match bytes {
        0 => String::new(),
        _ => format!("{} KiB", bytes / 1024),
    }
}

fn faults(report: &RunReport) -> String {
    report.fault_kind.map_or("0".into(), |kind| format!("{} {kind}", report.faults))
}
