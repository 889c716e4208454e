//! The tables, as Markdown.

use std::fmt::Write;

use hdrhistogram::Histogram;

use crate::dash_engine::ON_DASHMAP;
use crate::ours::OWN_SHARDS;
use crate::plan::{Cell, Outcome, Subject};
use crate::roster::Standing;
use crate::workload::Workload;

use super::Report;
use super::judge::{Score, Verdict, fastest_rival, scores};

/// Ours beside the fastest rival that counts, and beside moka.
pub(super) fn targets(report: &Report) -> String {
    let judged = |cell: &Cell| {
        cell.subject == Subject::Threads && cell.threads <= 2 && cell.workload != Workload::Trace
    };
    let cells: Vec<Cell> = report.cells().into_iter().filter(judged).collect();
    if cells.is_empty() {
        return String::new();
    }
    let ours: Vec<usize> =
        (0..report.rows.len()).filter(|row| report.standing(*row) == Standing::Ours).collect();
    let mut text = String::from(
        "\n### Ours beside the fastest rival that counts\n\n\
         Throughput as a multiple of that rival's, and of moka's in brackets; a row of ours that does \
         not count is struck out. The targets with one and two threads: 1.0 and 4.0.\n\n\
         | load | threads | fastest rival | M requests/s | × moka |",
    );
    for row in &ours {
        let _ = write!(text, " {} |", report.rows[*row].name);
    }
    text.push_str("\n|---|--:|---|--:|--:|");
    text.push_str(&"--:|".repeat(ours.len()));
    for cell in &cells {
        let scores = scores(report, cell);
        let Some(fastest) = fastest_rival(report, &scores) else { continue };
        let moka = scores.iter().find(|score| report.rows[score.row].name == "moka");
        let times_moka = |score: &Score| {
            moka.map_or("–".to_owned(), |moka| {
                format!("{:.1}", score.million[1] / moka.million[1])
            })
        };
        let _ = write!(
            text,
            "\n| {} | {} | {} | {:.2} | {} |",
            cell.workload,
            cell.threads,
            report.rows[fastest.row].name,
            fastest.million[1],
            times_moka(fastest)
        );
        for row in &ours {
            let score = scores.iter().find(|score| score.row == *row);
            let cell = score.map_or("–".to_owned(), |score| {
                let ratio = score.million[1] / fastest.million[1];
                let ratio = format!("{ratio:.2} ({})", times_moka(score));
                if score.verdict == Verdict::Counts { ratio } else { format!("~~{ratio}~~") }
            });
            let _ = write!(text, " {cell} |");
        }
    }
    text.push('\n');
    text
}

/// Our own shards beside the engine that was rejected, which has a `DashMap` in their place.
pub(super) fn alternative(report: &Report) -> String {
    let row_of = |name: &str| report.rows.iter().position(|row| row.name == name);
    let (Some(ours), Some(other)) = (row_of(OWN_SHARDS), row_of(ON_DASHMAP)) else {
        return String::new();
    };
    let mut lines = String::new();
    for cell in report.cells().iter().filter(|cell| cell.subject == Subject::Threads) {
        let scores = scores(report, cell);
        let of = |row: usize| scores.iter().find(|score| score.row == row);
        let (Some(ours), Some(other)) = (of(ours), of(other)) else { continue };
        let (a, b) = (ours.million[1], other.million[1]);
        let Cell { workload, threads, .. } = cell;
        let noted = |score: &Score| score.noted_share.map_or("–".to_owned(), percent);
        let _ = write!(
            lines,
            "\n| {workload} | {threads} | {a:.2} | {b:.2} | {:.2} | {} | {} |",
            a / b,
            noted(ours),
            noted(other)
        );
    }
    let weighed = |row: usize| report.footprints.1.iter().find(|(other, _)| *other == row);
    if let (Some((_, ours)), Some((_, other))) = (weighed(ours), weighed(other)) {
        let (a, b) = (ours.overhead(), other.overhead());
        let _ = write!(lines, "\n| bytes an entry | | {a:.1} | {b:.1} | {:.2} | | |", a / b);
    }
    if lines.is_empty() {
        return lines;
    }
    format!(
        "\n### Own shards beside a DashMap in the same engine\n\n\
         Million requests a second under the same module, s3fifo.\n\n\
         | load | threads | own shards | on DashMap | ratio | hits noted, own | on DashMap |\n\
         |---|--:|--:|--:|--:|--:|--:|{lines}\n"
    )
}

/// What a table shows of a score.
#[derive(Clone, Copy)]
enum Show {
    Millions,
    Nanoseconds,
}

/// One table for every load of every subject but latency.
pub(super) fn throughput(report: &Report) -> String {
    let mut text = String::new();
    let subjects = [
        (Subject::Threads, "Throughput", Show::Millions),
        (Subject::Entries, "From small to large", Show::Nanoseconds),
        (Subject::Strings, "Keys of 32 characters", Show::Millions),
        (Subject::Allocated, "Values allocated at the insert", Show::Millions),
    ];
    for (subject, title, show) in subjects {
        let of_subject =
            report.cells().into_iter().filter(|cell| is_shown_with(cell, subject, report));
        let cells: Vec<Cell> = of_subject.collect();
        let mut loads: Vec<Workload> = Vec::new();
        for cell in cells.iter().filter(|cell| cell.subject == subject) {
            if !loads.contains(&cell.workload) {
                loads.push(cell.workload);
            }
        }
        if loads.is_empty() {
            continue;
        }
        let unit = match show {
            Show::Millions => "million requests a second, all threads together",
            Show::Nanoseconds => "nanoseconds a request, one thread",
        };
        let _ = write!(text, "\n### {title}: {unit}\n");
        for load in loads {
            let mut cells: Vec<Cell> =
                cells.iter().filter(|cell| cell.workload == load).copied().collect();
            cells.sort_by_key(|cell| (cell.entries, cell.threads));
            text.push_str(&load_table(report, load, &cells, show));
        }
    }
    text
}

/// The table over entries borrows its middle column from the table over threads.
pub(super) fn is_shown_with(cell: &Cell, subject: Subject, report: &Report) -> bool {
    let borrows = subject == Subject::Entries
        && cell.subject == Subject::Threads
        && cell.threads == 1
        && report
            .cells()
            .iter()
            .any(|other| other.subject == Subject::Entries && other.workload == cell.workload);
    cell.subject == subject || borrows
}

fn load_table(report: &Report, load: Workload, cells: &[Cell], show: Show) -> String {
    let mut entries: Vec<String> = cells.iter().map(|cell| grouped(cell.entries)).collect();
    entries.dedup();
    let mut text = match show {
        Show::Millions => format!("\n`{load}`, {} entries\n\n| cache |", entries.join(", ")),
        Show::Nanoseconds => format!("\n`{load}`\n\n| cache |"),
    };
    for cell in cells {
        let _ = match show {
            Show::Millions if cell.threads == 1 => write!(text, " 1 thread |"),
            Show::Millions => write!(text, " {} threads |", cell.threads),
            Show::Nanoseconds => write!(text, " {} |", grouped(cell.entries)),
        };
    }
    text.push_str(" hit ratio | resident | hits noted | counts |\n|---|");
    text.push_str(&"--:|".repeat(cells.len() + 3));
    text.push_str("---|");
    let by_cell: Vec<Vec<Score>> = cells.iter().map(|cell| scores(report, cell)).collect();
    for (row, contender) in report.rows.iter().enumerate() {
        let of_row: Vec<Option<&Score>> =
            by_cell.iter().map(|scores| scores.iter().find(|score| score.row == row)).collect();
        let played: Vec<&Score> = of_row.iter().copied().flatten().collect();
        if played.is_empty() || (matches!(show, Show::Nanoseconds) && played.len() < 2) {
            continue;
        }
        let _ = write!(text, "\n| {} |", contender.name);
        for score in &of_row {
            let cell = score.map_or("–".to_owned(), |score| shown(score, show));
            let _ = write!(text, " {cell} |");
        }
        let _ = write!(text, " {} |", closing_columns(&played));
    }
    text.push('\n');
    text
}

fn shown(score: &Score, show: Show) -> String {
    match show {
        Show::Millions => {
            let [low, middle, high] = score.million;
            format!("{middle:.2} ({low:.2}–{high:.2})")
        }
        Show::Nanoseconds => {
            let [low, middle, high] = score.ns();
            format!("{middle:.0} ({low:.0}–{high:.0})")
        }
    }
}

/// The hit ratio, entries resident, hits noted and the verdict, over the cells that a row played: first
/// and last where they differ.
fn closing_columns(played: &[&Score]) -> String {
    let ratio = |score: &&Score| score.hit_ratio.map_or("–".to_owned(), percent);
    let resident = |score: &&Score| grouped(score.resident as usize);
    let ends = |show: &dyn Fn(&&Score) -> String| {
        let first = played.first().map(show).unwrap_or_default();
        let last = played.last().map(show).unwrap_or_default();
        if first == last { first } else { format!("{first} … {last}") }
    };
    let noted = played.iter().filter_map(|score| score.noted_share).reduce(f64::min);
    let failed = played.iter().find(|score| score.verdict != Verdict::Counts);
    let all_failed = played.iter().all(|score| score.verdict != Verdict::Counts);
    let verdict = match failed {
        Some(score) if all_failed => score.verdict.text().to_owned(),
        Some(score) => format!("in part, {}", score.verdict.text()),
        None => Verdict::Counts.text().to_owned(),
    };
    format!(
        "{} | {} | {} | {verdict}",
        ends(&ratio),
        ends(&resident),
        noted.map_or("–".to_owned(), percent)
    )
}

/// The latency quantiles that are shown.
pub(super) const QUANTILES: [(f64, &str); 3] = [(0.5, "p50"), (0.99, "p99"), (0.999, "p99.9")];

/// The latencies of all repeats of an outcome.
pub(super) fn merged_latency(outcome: &Outcome) -> Option<Histogram<u64>> {
    let mut histograms = outcome.samples.iter().filter_map(|sample| sample.latency.as_ref());
    let mut merged = histograms.next()?.clone();
    for histogram in histograms {
        merged.add(histogram).ok()?;
    }
    Some(merged)
}

pub(super) fn latency(report: &Report) -> String {
    let cells = report.cells().into_iter().filter(|cell| cell.subject == Subject::Latency);
    let cells: Vec<Cell> = cells.collect();
    let mut text = String::new();
    for cell in &cells {
        if text.is_empty() {
            text.push_str("\n### Latency of a request: nanoseconds\n");
        }
        let Cell { workload, threads, entries, .. } = cell;
        let threads = if *threads == 1 { "1 thread".into() } else { format!("{threads} threads") };
        let entries = grouped(*entries);
        let _ = write!(text, "\n`{workload}`, {threads}, {entries} entries\n\n| cache |");
        for (_, name) in QUANTILES {
            let _ = write!(text, " {name} |");
        }
        text.push_str(" longest | hit ratio | counts |\n|---|--:|--:|--:|--:|--:|---|");
        for score in scores(report, cell) {
            let mut outcomes = report.outcomes.iter();
            let is_it = |outcome: &&Outcome| outcome.cell == *cell && outcome.row == score.row;
            let Some(merged) = outcomes.find(is_it).and_then(merged_latency) else { continue };
            let _ = write!(text, "\n| {} |", report.rows[score.row].name);
            for (quantile, _) in QUANTILES {
                let _ = write!(text, " {} |", grouped(merged.value_at_quantile(quantile) as usize));
            }
            let ratio = score.hit_ratio.map_or("–".to_owned(), percent);
            let longest = grouped(merged.max() as usize);
            let _ = write!(text, " {longest} | {ratio} | {} |", score.verdict.text());
        }
        text.push('\n');
    }
    text
}

pub(super) fn memory(report: &Report) -> String {
    let (entries, footprints) = &report.footprints;
    if footprints.is_empty() {
        return String::new();
    }
    let mut text = format!(
        "\n### Memory: bytes an entry, at {} entries\n\n\
         Each cache in a process of its own, filled with twice as many keys as it holds, `u64` keys \
         and {} bytes of value. \"Overhead\" is what the allocator holds for the full cache, less what \
         the same pairs take in a vector, and guests' memory added. \"Process\" is how much the \
         process grew, keys and values, the allocator's own rounding and freed memory included: \
         the check on the rest.\n\n\
         | cache | resident | key and value | overhead | of it guests | process |\n\
         |---|--:|--:|--:|--:|--:|",
        grouped(*entries),
        crate::measure::VALUE_BYTES
    );
    for (row, footprint) in footprints {
        let _ = write!(
            text,
            "\n| {} | {} | {} | {:.1} | {:.1} | {:.1} |",
            report.rows[*row].name,
            grouped(footprint.resident as usize),
            footprint.payload_bytes,
            footprint.overhead(),
            footprint.guest_overhead(),
            footprint.rss_per_entry()
        );
    }
    text.push('\n');
    text
}

fn percent(ratio: f64) -> String {
    format!("{:.2} %", ratio * 100.0)
}

/// A number with a comma before every three digits.
pub(super) fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_grouped() {
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_000), "1,000");
        assert_eq!(grouped(12_345_678), "12,345,678");
    }
}
