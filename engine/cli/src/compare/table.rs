//! Comparisons as tables for people.

use std::io::Write;

use comfy_table::{CellAlignment, Table, presets};
use ostler_replay::{RunReport, Standing, TraceSource, WeightMode};

use super::rows::{Comparison, Row, Versus, faults, relative};
use super::stage::shown;

/// Writes the rows of one trace.
pub(super) fn write(
    out: &mut dyn Write,
    comparison: &Comparison,
    trace: &TraceSource,
    rows: &[Row],
) -> std::io::Result<()> {
    let unit = match comparison.weights {
        WeightMode::Objects => "objects",
        WeightMode::Bytes => "bytes",
    };
    let run = rows.first().and_then(|row| row.runs.first());
    let requests = run.map_or(0, |run| run.requests);
    let path = if run.is_some_and(|run| run.live) { ", through the live cache" } else { "" };
    writeln!(out, "{}: {requests} requests, capacity in {unit}{path}", shown(trace))?;
    let baseline = &comparison.labels[0];
    let of_baseline = format!("of {baseline}'s");
    let mut header = vec!["capacity", "policy", baseline, "miss ratio", "difference"];
    header.extend(["95 % interval", &of_baseline, "verdict", "ns in guest", "guest memory"]);
    if comparison.weights == WeightMode::Bytes {
        header.insert(7, "bytes");
        header.insert(8, "95 % interval");
    }
    let mut lines = Vec::new();
    for row in rows {
        for ((baseline, run, versus), label) in row.pairs().zip(&comparison.labels[1..]) {
            let mut line = cells(baseline, run, versus);
            line.insert(1, label.clone());
            if comparison.weights == WeightMode::Bytes {
                line.insert(7, points(versus.by_weight.estimate));
                line.insert(8, ends(versus.by_weight.low, versus.by_weight.high));
            }
            lines.push(line);
        }
    }
    writeln!(out, "{}\n", table(&header, lines))?;
    for fault in faults(rows, &comparison.labels) {
        writeln!(out, "{fault}")?;
    }
    for row in rows {
        for (run, label) in row.runs.iter().zip(&comparison.labels) {
            for line in &run.log {
                writeln!(out, "{label} at {} logged: {line}", run.capacity)?;
            }
        }
    }
    Ok(())
}

/// The cells of one challenger, but for its name and its bytes.
fn cells(baseline: &RunReport, run: &RunReport, versus: &Versus) -> Vec<String> {
    let difference = &versus.by_request;
    let ns =
        |run: &RunReport| run.guest_ns_per_request.map_or("native".into(), |it| format!("{it:.0}"));
    let kib = |run: &RunReport| (run.guest_memory_bytes / 1024).to_string();
    let mut verdict = difference.verdict().to_string();
    if baseline.faults + run.faults > 0 {
        verdict.push_str(" FAULT");
    }
    vec![
        run.capacity.to_string(),
        percent(baseline.miss_ratio),
        percent(run.miss_ratio),
        points(difference.estimate),
        ends(difference.low, difference.high),
        format!("{:+.1} %", 100.0 * relative(baseline, versus)),
        verdict,
        format!("{} → {}", ns(baseline), ns(run)),
        format!("{} → {} KiB", kib(baseline), kib(run)),
    ]
}

/// Writes what came of each policy over all rows, and how to read it.
pub(super) fn write_standings(out: &mut dyn Write, comparison: &Comparison) -> std::io::Result<()> {
    let labels = &comparison.labels;
    if comparison.rows.len() > 1 || labels.len() > 2 {
        let rows = comparison.rows.len();
        writeln!(out, "{rows} rows; regret: misses above those of the best policy of the row")?;
        let header = ["policy", "win/tie/loss", "best", "mean regret", "median", "worst"];
        let standings = super::standings(comparison);
        let lines = labels.iter().zip(&standings).enumerate().map(|(index, (label, standing))| {
            let Standing { best, regret, .. } = standing;
            let regrets = [regret.mean, regret.median, regret.worst];
            let mut line = vec![label.clone(), outcomes(index, standing), best.to_string()];
            line.extend(regrets.map(percent));
            line
        });
        writeln!(out, "{}\n", table(&header, lines.collect()))?;
    }
    writeln!(
        out,
        "Negative differences: the policy misses less than {}. Intervals: 95 %, on the same requests, \
         over blocks of time and groups of keys.",
        labels[0]
    )?;
    caution(labels).map_or(Ok(()), |caution| writeln!(out, "{caution}"))
}

/// Policies of this project that carry one changing state through a whole trace.
const SELF_ADAPTING: [&str; 6] = ["adaptive", "arc", "learned", "lecar", "lhd", "wtinylfu"];

/// What is to be said of intervals where some of these policies adapt themselves.
pub(super) fn caution(labels: &[String]) -> Option<String> {
    let adapts = |label: &&String| {
        let name = label.split('(').next().unwrap_or_default();
        let name = name.rsplit('/').next().unwrap_or_default();
        let name = name.trim_start_matches("native:").trim_end_matches(".wasm");
        SELF_ADAPTING.contains(&name)
    };
    let some: Vec<&str> = labels.iter().filter(adapts).map(String::as_str).collect();
    (!some.is_empty()).then(|| {
        format!(
            "Caution: {} adapts itself over the whole trace. Chance in that does not show within one run, \
             so its intervals may be far too narrow: repeat with other values of --seed and with more \
             traces before you trust a small difference.",
            some.join(", ")
        )
    })
}

/// Wins, ties and losses; the baseline has none.
pub(super) fn outcomes(policy: usize, standing: &Standing) -> String {
    match policy {
        0 => "baseline".to_owned(),
        _ => format!("{}/{}/{}", standing.wins, standing.ties, standing.losses),
    }
}

/// A table of texts: names and verdicts to the left, numbers to the right.
pub(crate) fn table(header: &[&str], lines: Vec<Vec<String>>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(header.to_vec());
    for line in lines {
        table.add_row(line);
    }
    for (index, name) in header.iter().enumerate() {
        let is_text = *name == "policy" || *name == "verdict";
        if let Some(column) = table.column_mut(index).filter(|_| !is_text) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// A fraction in percent.
pub(crate) fn percent(ratio: f64) -> String {
    format!("{:.2} %", ratio * 100.0)
}

/// A difference in percentage points.
pub(crate) fn points(difference: f64) -> String {
    format!("{:+.2} pp", difference * 100.0)
}

/// The ends of an interval in percentage points; a trace too short to tell has none.
pub(crate) fn ends(low: f64, high: f64) -> String {
    if low <= -1.0 && high >= 1.0 {
        return "too short".to_owned();
    }
    format!("{:+.2} to {:+.2}", low * 100.0, high * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_adapts_itself_is_cautioned_of() {
        let labels = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(caution(&labels(&["lru", "./sieve.wasm", "lirs(x=1)"])), None);
        let names = ["lru", "native:arc", "a/wtinylfu.wasm(x=1)", "adaptive(portfolio=lru+sieve)"];
        let text = caution(&labels(&names)).unwrap();
        let expected =
            "Caution: native:arc, a/wtinylfu.wasm(x=1), adaptive(portfolio=lru+sieve) adapts";
        assert!(text.starts_with(expected), "{text}");
    }
}
