//! What a row's experiments come to, and the table of all rows.

use std::fmt::Write as _;

use ostler_adapt::experiment::simulation::Look;
use ostler_benches::median;

/// Least share of experiments whose interval holds the truth at all looks.
const COVERED_MIN: f64 = 0.93;
/// Least share of experiments that find a judged effect.
const FOUND_MIN: f64 = 0.80;

/// Experiments of one row.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) is_power_judged: bool,
    pub(crate) score: Score,
}

/// Sums over experiments.
#[derive(Default)]
pub(crate) struct Score {
    experiments: u64,
    covered: u64,
    /// The same with two standard errors at each look, which is what an interval for one look is.
    covered_pointwise: u64,
    /// Requests at the first look whose interval excluded 0, one value an experiment that had such a look.
    found_at: Vec<f64>,
    truths: Vec<f64>,
    errors: Vec<f64>,
    half_widths: Vec<f64>,
    slopes: [f64; 2],
}

impl Score {
    /// Adds one experiment.
    pub(crate) fn add(&mut self, looks: &[Look]) {
        let Some(last) = looks.last() else { return };
        let holds = |look: &Look| look.comparison.interval.is_none_or(|i| i.contains(look.truth));
        let holds_once = |look: &Look| {
            let one = &look.comparison;
            one.interval.is_none()
                || (one.difference - look.truth).abs() <= 2.0 * one.standard_error
        };
        let finds = |look: &&Look| look.comparison.interval.is_some_and(|i| !i.contains(0.0));
        self.experiments += 1;
        self.covered += u64::from(looks.iter().all(holds));
        self.covered_pointwise += u64::from(looks.iter().all(holds_once));
        self.found_at.extend(looks.iter().find(finds).map(|look| look.comparison.requests as f64));
        self.truths.push(last.truth);
        self.errors.push(last.comparison.difference - last.truth);
        let half = last.comparison.interval.map_or(1.0, |i| (i.high - i.low) / 2.0);
        self.half_widths.push(half);
        for (sum, slope) in self.slopes.iter_mut().zip(last.comparison.slopes) {
            *sum += slope;
        }
    }

    fn share(&self, count: u64) -> f64 {
        count as f64 / self.experiments.max(1) as f64
    }

    fn found(&self) -> f64 {
        self.share(self.found_at.len() as u64)
    }
}

/// Whether a row meets its bars.
pub(crate) fn passes(row: &Row) -> bool {
    let score = &row.score;
    score.share(score.covered) >= COVERED_MIN
        && (!row.is_power_judged || score.found() >= FOUND_MIN)
}

/// One line of the table.
pub(crate) fn line(row: &Row) -> String {
    let score = &row.score;
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
    let spread = |values: &[f64]| {
        let mean = mean(values);
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        (squares / values.len().max(1) as f64).sqrt()
    };
    let found_at = if score.found_at.len() as f64 > 0.5 * score.experiments as f64 {
        let never = score.experiments as usize - score.found_at.len();
        let all = score.found_at.iter().copied();
        let all: Vec<f64> = all.chain(std::iter::repeat_n(f64::INFINITY, never)).collect();
        format!("{:.2} M", median(&all) / 1e6)
    } else {
        "–".to_owned()
    };
    format!(
        "| {} | {:+.2} pp | {:.1} % | {:.1} % | {:.1} % | {found_at} | {:.2} pp | {:+.3} pp | {:.2} pp \
         | {:.2}, {:.2} | {} |",
        row.name,
        100.0 * mean(&score.truths),
        100.0 * score.share(score.covered),
        100.0 * score.share(score.covered_pointwise),
        100.0 * score.found(),
        100.0 * median(&score.half_widths),
        100.0 * mean(&score.errors),
        100.0 * spread(&score.errors),
        score.slopes[0] / score.experiments.max(1) as f64,
        score.slopes[1] / score.experiments.max(1) as f64,
        if passes(row) { "kept" } else { "missed" },
    )
}

/// The section of the results.
pub(crate) fn render(rows: &[Row], experiments: u64) -> String {
    let mut text = format!(
        "{experiments} experiments a row, 2 million requests each, looked at after each of 100 windows, nominal \
         95 %, seeds from 0 on.\n\n```\ncargo run --release -p ostler-benches --bin experiments -- \
         --results benches/RESULTS.md\n```\n\n\
         | experiments | true difference | truth inside at all looks | with 2 standard errors | 0 \
         excluded within 2 M | at, median | half width at the end | mean error | its deviation | slopes | |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|\n"
    );
    for row in rows {
        let _ = writeln!(text, "{}", line(row));
    }
    text
}
