//! The plots of the page: differences with their intervals, miss-ratio curves, differences over time.

use ostler_replay::{Verdict, WeightMode};

use super::rows::{Comparison, Row, TraceCurves};
use super::svg::{Anchor, Scale, Svg, shortened};

const WIDTH: f64 = 900.0;
/// Where the labels of the rows end and the plot begins.
const LABELS_END: f64 = 330.0;
const ROW_HEIGHT: f64 = 26.0;
/// Colours that the page defines; policies beyond share them.
pub(super) const COLOURS: usize = 8;

/// The class of a policy's colour.
pub(crate) fn colour(policy: usize) -> String {
    format!("c{}", policy % COLOURS)
}

/// The class of a verdict.
pub(super) fn verdict_class(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Win => "win",
        Verdict::Tie => "tie",
        Verdict::Loss => "loss",
    }
}

/// A count with a unit that people read: 4,313 or 1.2 M.
pub(crate) fn compact(count: f64) -> String {
    let (scaled, unit) = match count.abs() {
        c if c >= 1e12 => (count / 1e12, " T"),
        c if c >= 1e9 => (count / 1e9, " G"),
        c if c >= 1e6 => (count / 1e6, " M"),
        c if c >= 1e4 => (count / 1e3, " k"),
        _ => (count, ""),
    };
    let text = format!("{scaled:.1}");
    format!("{}{unit}", text.strip_suffix(".0").unwrap_or(&text))
}

/// A tick of percent: as many decimals as it needs.
pub(crate) fn percent_tick(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The differences of one challenger in all rows, each with its interval.
pub(super) fn forest(comparison: &Comparison, challenger: usize) -> String {
    let differences = comparison.rows.iter().map(|row| &row.challengers[challenger].by_request);
    let known = differences.clone().filter(|it| it.low > -1.0 || it.high < 1.0);
    let ends = known.flat_map(|it| [100.0 * it.low, 100.0 * it.high]);
    let estimates = differences.map(|it| 100.0 * it.estimate);
    let (low, high) = ends
        .chain(estimates)
        .fold((-0.1f64, 0.1f64), |(low, high), it| (low.min(it), high.max(it)));
    let margin = (high - low) * 0.04;
    let height = ROW_HEIGHT * comparison.rows.len() as f64 + 56.0;
    let bottom = height - 44.0;
    let scale = Scale::linear((low - margin, high + margin), (LABELS_END + 12.0, WIDTH - 12.0));
    let names = format!("{} minus {}", comparison.labels[challenger + 1], comparison.labels[0]);
    let mut svg = Svg::new(WIDTH, height, &format!("difference of the miss ratio, {names}"));
    for tick in scale.ticks(7) {
        let class = if tick == 0.0 { "zero" } else { "grid" };
        svg.line(class, (scale.at(tick), 4.0), (scale.at(tick), bottom));
        let text = format!("{}{}", if tick > 0.0 { "+" } else { "" }, percent_tick(tick));
        svg.text("tick", (scale.at(tick), bottom + 16.0), Anchor::Middle, &text);
    }
    let middle = (LABELS_END + WIDTH) / 2.0;
    let title =
        "difference of the miss ratio, percentage points; left of zero the challenger misses less";
    svg.text("axis", (middle, bottom + 36.0), Anchor::Middle, title);
    for (index, row) in comparison.rows.iter().enumerate() {
        let y = ROW_HEIGHT * (index as f64 + 0.5) + 4.0;
        let versus = &row.challengers[challenger];
        let difference = &versus.by_request;
        let label = format!("{} · {}", shortened(&row.trace, 34), compact(row.capacity as f64));
        svg.text("label", (LABELS_END, y + 4.0), Anchor::End, &label);
        let class = verdict_class(difference.verdict());
        let within = |value: f64| scale.at((100.0 * value).clamp(low - margin, high + margin));
        svg.line(class, (within(difference.low), y), (within(difference.high), y));
        let title = format!("{} at {}: {}", row.trace, row.capacity, interval(difference));
        svg.dot(class, (within(difference.estimate), y), &title);
    }
    svg.finish()
}

/// A difference with its interval, in percentage points.
pub(super) fn interval(difference: &ostler_replay::Difference) -> String {
    let [estimate, low, high] =
        [difference.estimate, difference.low, difference.high].map(|it| 100.0 * it);
    format!("{estimate:+.2} pp ({low:+.2} to {high:+.2})")
}

/// The miss-ratio curves of one trace: lines from the sample, dots where a row played everything.
pub(super) fn curves(comparison: &Comparison, curves: &TraceCurves) -> String {
    let rows = || comparison.rows.iter().filter(|row| row.trace == curves.trace);
    let sizes = curves.curves.iter().flatten().map(|point| point.capacity);
    let sizes = sizes.chain(rows().map(|row| row.capacity)).map(|size| size as f64);
    let (least, most) =
        sizes.fold((f64::INFINITY, 1.0f64), |(least, most), it| (least.min(it), most.max(it)));
    let ratios = curves.curves.iter().flatten().map(|point| point.miss_ratio);
    let exact = rows().flat_map(|row| row.runs.iter().map(|run| run.miss_ratio));
    let (lowest, highest) =
        ratios.chain(exact).fold((1.0f64, 0.0f64), |(low, high), it| (low.min(it), high.max(it)));
    let (height, left, bottom) = (380.0, 60.0, 330.0);
    let across = Scale::logarithmic((least.min(most), most), (left, WIDTH - 16.0));
    let margin = 8.0 * (highest - lowest);
    let ends = ((100.0 * lowest - margin).max(0.0), (100.0 * highest + margin).min(100.0));
    let up = Scale::linear(ends, (bottom, 10.0));
    let mut svg = Svg::new(WIDTH, height, &format!("miss ratio by cache size, {}", curves.trace));
    for tick in up.ticks(6) {
        svg.line("grid", (left, up.at(tick)), (WIDTH - 16.0, up.at(tick)));
        svg.text("tick", (left - 8.0, up.at(tick) + 4.0), Anchor::End, &percent_tick(tick));
    }
    for tick in across.ticks(8) {
        svg.line("grid", (across.at(tick), 10.0), (across.at(tick), bottom));
        svg.text("tick", (across.at(tick), bottom + 16.0), Anchor::Middle, &compact(tick));
    }
    let unit = match comparison.weights {
        WeightMode::Objects => "cache size, objects",
        WeightMode::Bytes => "cache size, bytes",
    };
    svg.text("axis", (WIDTH / 2.0, bottom + 38.0), Anchor::Middle, unit);
    svg.text("axis", (6.0, 12.0), Anchor::Start, "%");
    for (policy, points) in curves.curves.iter().enumerate() {
        let places =
            points.iter().map(|it| (across.at(it.capacity as f64), up.at(100.0 * it.miss_ratio)));
        svg.path(&format!("curve {}", colour(policy)), &places.collect::<Vec<_>>());
    }
    for row in rows() {
        for (policy, run) in row.runs.iter().enumerate() {
            let place = (across.at(run.capacity as f64), up.at(100.0 * run.miss_ratio));
            let ratio = 100.0 * run.miss_ratio;
            let title = format!("{} at {}: {ratio:.2} %", comparison.labels[policy], run.capacity);
            svg.dot(&format!("exact {}", colour(policy)), place, &title);
        }
    }
    svg.finish()
}

/// The differences of all challengers along one row's trace.
pub(super) fn over_time(comparison: &Comparison, row: &Row) -> String {
    let stretches = row.challengers.iter().flat_map(|versus| &versus.stretches);
    let (low, high) = stretches.fold((-0.1f64, 0.1f64), |(low, high), it| {
        (low.min(100.0 * it.difference), high.max(100.0 * it.difference))
    });
    let requests = row.runs[0].requests as f64;
    let (width, height, left, bottom) = (440.0, 200.0, 46.0, 166.0);
    let margin = (high - low) * 0.05;
    let across = Scale::linear((0.0, requests), (left, width - 22.0));
    let up = Scale::linear((low - margin, high + margin), (bottom, 8.0));
    let description = format!("difference over time, {} at {}", row.trace, row.capacity);
    let mut svg = Svg::new(width, height, &description);
    for tick in up.ticks(6) {
        let class = if tick == 0.0 { "zero" } else { "grid" };
        svg.line(class, (left, up.at(tick)), (width - 22.0, up.at(tick)));
        svg.text("tick", (left - 6.0, up.at(tick) + 4.0), Anchor::End, &percent_tick(tick));
    }
    for tick in across.ticks(4) {
        svg.text("tick", (across.at(tick), bottom + 15.0), Anchor::Middle, &compact(tick));
    }
    svg.text("axis", ((left + width) / 2.0, bottom + 31.0), Anchor::Middle, "requests");
    let lines = row.challengers.iter().enumerate().take(comparison.labels.len() - 1);
    for (challenger, versus) in lines {
        let mut places = Vec::new();
        for stretch in &versus.stretches {
            let y = up.at(100.0 * stretch.difference);
            let end = stretch.first_request + stretch.requests;
            places.push((across.at(stretch.first_request as f64), y));
            places.push((across.at(end as f64), y));
        }
        svg.path(&format!("curve {}", colour(challenger + 1)), &places);
    }
    svg.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_short() {
        for (count, expected) in [
            (0.0, "0"),
            (999.0, "999"),
            (4313.0, "4313"),
            (43_111.0, "43.1 k"),
            (2e6, "2 M"),
            (2_029_769_728.0, "2 G"),
        ] {
            assert_eq!(compact(count), expected);
        }
        assert_eq!([0.0, 5.0, 0.25, -10.0].map(percent_tick), ["0", "5", "0.25", "-10"]);
    }
}
