//! The figures: throughput over threads, nanoseconds over entries, latency and memory.

use crate::plan::{Cell, Outcome, Subject};
use crate::plot::{Bar, BarChart, LineChart, Point, Scale, Series, Stroke};
use crate::roster::Standing;
use crate::workload::Workload;

use super::judge::{Score, Verdict, scores};
use super::tables::{QUANTILES, grouped, is_shown_with, merged_latency};
use super::{Figure, Report};

/// Rivals shown beside ours, not counting moka.
const RIVALS_SHOWN: usize = 2;

pub(super) fn figures(report: &Report) -> Vec<Figure> {
    let mut figures = Vec::new();
    for subject in [Subject::Threads, Subject::Entries] {
        let is_shown = |cell: &Cell| is_shown_with(cell, subject, report);
        let cells: Vec<Cell> = report.cells().into_iter().filter(is_shown).collect();
        let mut loads: Vec<Workload> = cells.iter().map(|cell| cell.workload).collect();
        loads.dedup();
        let mut seen: Vec<Workload> = Vec::new();
        for load in loads {
            if seen.contains(&load) {
                continue;
            }
            seen.push(load);
            let mut cells: Vec<Cell> =
                cells.iter().filter(|cell| cell.workload == load).copied().collect();
            cells.sort_by_key(|cell| (cell.entries, cell.threads));
            if cells.len() >= 2 {
                figures.push(lines(report, subject, load, &cells));
            }
        }
    }
    let latency = report.cells().into_iter().filter(|cell| cell.subject == Subject::Latency);
    figures.extend(latency.map(|cell| latencies(report, &cell)));
    figures.extend(memory(report));
    figures
}

fn lines(report: &Report, subject: Subject, load: Workload, cells: &[Cell]) -> Figure {
    let by_cell: Vec<Vec<Score>> = cells.iter().map(|cell| scores(report, cell)).collect();
    let shown = rows_shown(report, &by_cell);
    let is_threads = subject == Subject::Threads;
    let series = shown.into_iter().map(|row| Series {
        name: report.rows[row].name.to_owned(),
        stroke: match report.standing(row) {
            Standing::Ours => Stroke::Bold,
            Standing::Ceiling => Stroke::Dashed,
            Standing::Rival | Standing::Alternative | Standing::Defaults | Standing::Option => {
                Stroke::Plain
            }
        },
        points: points(&by_cell, row, is_threads),
    });
    let chart = LineChart {
        title: if is_threads {
            format!("{load}, {} entries", grouped(cells[0].entries))
        } else {
            format!("{load}, 1 thread")
        },
        across: if is_threads { "threads" } else { "entries" }.to_owned(),
        upward: if is_threads { "million requests a second" } else { "ns a request" }.to_owned(),
        scale: if is_threads { Scale::Linear } else { Scale::Log },
        places: cells
            .iter()
            .map(|cell| grouped(if is_threads { cell.threads } else { cell.entries }))
            .collect(),
        series: series.filter(|series| !series.points.is_empty()).collect(),
    };
    let subject = if is_threads { "threads" } else { "entries" };
    (format!("{subject}-{load}.svg"), chart.to_svg())
}

/// Ours in Wasm, moka, the ceiling, and the two fastest rivals that count; all but the defaults where there is
/// none of ours.
fn rows_shown(report: &Report, by_cell: &[Vec<Score>]) -> Vec<usize> {
    let rows = 0..report.rows.len();
    let has_ours = rows.clone().any(|row| report.standing(row) == Standing::Ours);
    let of_row = |row: usize| by_cell.iter().flatten().filter(move |score| score.row == row);
    let speed = |row: usize| {
        let counting = of_row(row).filter(|score| score.verdict == Verdict::Counts);
        counting.map(|score| score.million[1].ln()).sum::<f64>()
    };
    let mut rivals: Vec<usize> = rows
        .clone()
        .filter(|row| report.standing(*row) == Standing::Rival)
        .filter(|row| of_row(*row).all(|score| score.verdict == Verdict::Counts))
        .collect();
    rivals.sort_by(|a, b| speed(*b).total_cmp(&speed(*a)));
    rivals.truncate(RIVALS_SHOWN);
    let is_shown = |row: &usize| match report.standing(*row) {
        // A module and its native twin lie close together; the tables have both.
        Standing::Ours => !report.rows[*row].name.contains("native"),
        Standing::Ceiling => true,
        Standing::Alternative | Standing::Defaults | Standing::Option => false,
        Standing::Rival => !has_ours || rivals.contains(row) || report.rows[*row].name == "moka",
    };
    rows.filter(is_shown).collect()
}

fn points(by_cell: &[Vec<Score>], row: usize, in_millions: bool) -> Vec<Point> {
    let place = |(place, scores): (usize, &Vec<Score>)| {
        let score = scores.iter().find(|score| score.row == row)?;
        let values = if in_millions { score.million } else { score.ns() };
        Some(Point { place, values })
    };
    by_cell.iter().enumerate().filter_map(place).collect()
}

fn latencies(report: &Report, cell: &Cell) -> Figure {
    let of_cell = report.outcomes.iter().filter(|outcome| outcome.cell == *cell);
    let bar = |outcome: &Outcome| {
        let merged = merged_latency(outcome)?;
        let values = QUANTILES.map(|(quantile, _)| merged.value_at_quantile(quantile) as f64);
        Some(Bar { name: report.rows[outcome.row].name.to_owned(), values: values.into() })
    };
    let Cell { workload, threads, entries, .. } = cell;
    let chart = BarChart {
        title: format!("{workload}, {} entries, threads: {threads}", grouped(*entries)),
        across: "ns a request".to_owned(),
        scale: Scale::Log,
        parts: QUANTILES.map(|(_, name)| name.to_owned()).into(),
        bars: of_cell.filter_map(bar).collect(),
    };
    (format!("latency-{workload}-{threads}.svg"), chart.to_svg())
}

fn memory(report: &Report) -> Option<Figure> {
    let (entries, footprints) = &report.footprints;
    let bars = footprints.iter().map(|(row, footprint)| Bar {
        name: report.rows[*row].name.to_owned(),
        values: vec![footprint.allocator_overhead(), footprint.guest_overhead()],
    });
    let chart = BarChart {
        title: format!("Bytes an entry beside key and value, {} entries", grouped(*entries)),
        across: "bytes an entry".to_owned(),
        scale: Scale::Linear,
        parts: vec!["allocator".to_owned(), "guests".to_owned()],
        bars: bars.collect(),
    };
    (!chart.bars.is_empty()).then(|| ("memory.svg".to_owned(), chart.to_svg()))
}
