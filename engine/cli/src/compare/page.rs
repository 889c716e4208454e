//! The report as one page: no script, nothing from the network, light and dark.

use std::fmt::Write as _;

use ostler_replay::{RunReport, Verdict, WeightMode};

use super::charts::{self, colour, compact, verdict_class};
use super::folder::{MARK, TABLES};
use super::rows::{Comparison, Row, Versus, faults, relative};
use super::svg::{escaped, shortened};
use super::table::{caution, ends, outcomes, percent, points};

/// How pages look, light and dark.
pub(crate) const STYLE: &str = include_str!("page.css");

/// The whole page.
pub(super) fn html(comparison: &Comparison) -> String {
    let mut page = String::from(MARK);
    let title = format!("{} compared", comparison.labels.join(", "));
    let _ = write!(
        page,
        "<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n",
        escaped(&title)
    );
    header(&mut page, comparison);
    alarms(&mut page, comparison);
    summary(&mut page, comparison);
    for challenger in 0..comparison.labels.len() - 1 {
        let names = [challenger + 1, 0].map(|policy| escaped(&comparison.labels[policy]));
        let _ = write!(
            page,
            "<h2>{} against {}</h2>\n<p>The line is the 95 % interval; {}, {}, {}.</p>\n<figure>{}</figure>\n",
            names[0],
            names[1],
            mark(Verdict::Win, "green misses less"),
            mark(Verdict::Loss, "red misses more"),
            mark(Verdict::Tie, "grey: not decided"),
            charts::forest(comparison, challenger)
        );
    }
    rows_table(&mut page, comparison);
    curves(&mut page, comparison);
    over_time(&mut page, comparison);
    method(&mut page, comparison);
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

fn mark(verdict: Verdict, text: &str) -> String {
    format!("<b class=\"{}\">{text}</b>", verdict_class(verdict))
}

/// What was compared, by which command and version.
fn header(page: &mut String, comparison: &Comparison) {
    let labels: Vec<String> = (0..comparison.labels.len())
        .map(|policy| {
            let baseline = if policy == 0 { " <small>(baseline)</small>" } else { "" };
            format!("<span class=\"entry\">{}{baseline}</span>", swatch(comparison, policy))
        })
        .collect();
    let mut traces: Vec<&str> = comparison.rows.iter().map(|row| row.trace.as_str()).collect();
    traces.dedup();
    let requests: u64 = {
        let mut last = "";
        let firsts = comparison.rows.iter().filter(|row| {
            let is_new = row.trace != last;
            last = &row.trace;
            is_new
        });
        firsts.map(|row| row.runs[0].requests).sum()
    };
    let unit = match comparison.weights {
        WeightMode::Objects => "objects, each weighing 1",
        WeightMode::Bytes => "bytes",
    };
    let _ = write!(
        page,
        "<h1>Policies compared on the same requests</h1>\n<p class=\"policies\">{}</p>\n\
         <p>{} traces, {} requests, {} rows; capacities in {unit}. ostler {}, seed {}.</p>\n\
         <pre>{}</pre>\n",
        labels.join(" "),
        traces.len(),
        compact(requests as f64),
        comparison.rows.len(),
        escaped(env!("CARGO_PKG_VERSION")),
        comparison.seed,
        escaped(&comparison.command)
    );
}

/// A policy's name with its colour.
fn swatch(comparison: &Comparison, policy: usize) -> String {
    format!(
        "<span class=\"policy\"><i class=\"{}\"></i>{}</span>",
        colour(policy),
        escaped(&comparison.labels[policy])
    )
}

/// Faults, before anything else is read.
fn alarms(page: &mut String, comparison: &Comparison) {
    let faults = faults(&comparison.rows, &comparison.labels);
    if faults.is_empty() {
        return;
    }
    page.push_str("<div class=\"alarm\"><h2>Faults</h2>\n<ul>\n");
    for fault in faults {
        let _ = writeln!(page, "<li>{}</li>", escaped(&fault));
    }
    page.push_str("</ul>\n</div>\n");
}

fn summary(page: &mut String, comparison: &Comparison) {
    page.push_str(
        "<h2>Summary</h2>\n<div class=\"wide\"><table>\n<thead><tr><th>policy</th><th>win / tie / loss</th>\
         <th class=\"n\">best in rows</th><th class=\"n\">mean regret</th><th class=\"n\">median</th>\
         <th class=\"n\">worst</th></tr></thead>\n<tbody>\n",
    );
    for (policy, standing) in super::standings(comparison).iter().enumerate() {
        let regret = standing.regret;
        let _ = writeln!(
            page,
            "<tr><td>{}</td><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
             <td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
            swatch(comparison, policy),
            outcomes(policy, standing),
            standing.best,
            percent(regret.mean),
            percent(regret.median),
            percent(regret.worst)
        );
    }
    page.push_str(
        "</tbody>\n</table></div>\n<p class=\"note\">Regret: misses above those of the row's best policy, \
         in percent of the best's.</p>\n",
    );
}

fn rows_table(page: &mut String, comparison: &Comparison) {
    let baseline = escaped(&comparison.labels[0]);
    let has_bytes = comparison.weights == WeightMode::Bytes;
    let bytes =
        if has_bytes { "<th class=\"n\">bytes</th><th class=\"n\">95 % interval</th>" } else { "" };
    let _ = write!(
        page,
        "<h2>All rows</h2>\n<div class=\"wide\"><table class=\"rows\">\n<thead><tr><th>trace</th>\
         <th class=\"n\">capacity</th><th>policy</th><th>verdict</th><th class=\"n\">difference</th>\
         <th class=\"n\">95 % interval</th><th class=\"n\">of {baseline}’s</th><th class=\"n\">{baseline}</th>\
         <th class=\"n\">miss ratio</th>{bytes}<th class=\"n\">ns in guest</th><th class=\"n\">guest KiB</th>\
         </tr></thead>\n<tbody>\n"
    );
    for row in &comparison.rows {
        for (challenger, pair) in row.pairs().enumerate() {
            let policy = swatch(comparison, challenger + 1);
            let _ = writeln!(page, "<tr>{}</tr>", cells(row, &policy, pair, comparison.weights));
        }
    }
    page.push_str("</tbody>\n</table></div>\n");
}

/// The cells of one challenger in one row.
fn cells(
    row: &Row,
    policy: &str,
    (baseline, run, versus): (&RunReport, &RunReport, &Versus),
    weights: WeightMode,
) -> String {
    let difference = &versus.by_request;
    let guest_ns = |run: &RunReport| {
        run.guest_ns_per_request.map_or("native".to_owned(), |it| format!("{it:.0}"))
    };
    let kib = |run: &RunReport| run.guest_memory_bytes / 1024;
    let faulty = if baseline.faults + run.faults > 0 { " <b class=\"loss\">fault</b>" } else { "" };
    let mut text = format!(
        "<td title=\"{}\">{}</td><td class=\"n\" title=\"{}\">{}</td><td>{policy}</td><td>{}{faulty}</td>",
        escaped(&row.trace),
        escaped(&shortened(&row.trace, 28)),
        row.capacity,
        compact(row.capacity as f64),
        mark(difference.verdict(), &difference.verdict().to_string()),
    );
    let mut numbers = vec![
        points(difference.estimate),
        ends(difference.low, difference.high),
        format!("{:+.1} %", 100.0 * relative(baseline, versus)),
        percent(baseline.miss_ratio),
        percent(run.miss_ratio),
    ];
    if weights == WeightMode::Bytes {
        numbers.push(points(versus.by_weight.estimate));
        numbers.push(ends(versus.by_weight.low, versus.by_weight.high));
    }
    numbers.push(format!("{} → {}", guest_ns(baseline), guest_ns(run)));
    numbers.push(format!("{} → {}", kib(baseline), kib(run)));
    for number in numbers {
        let _ = write!(text, "<td class=\"n\">{number}</td>");
    }
    text
}

/// All policies with their colours, above a plot.
fn legend(comparison: &Comparison, from: usize) -> String {
    let policies = from..comparison.labels.len();
    let entry = |policy| format!("<span class=\"entry\">{}</span>", swatch(comparison, policy));
    let swatches: Vec<String> = policies.map(entry).collect();
    format!("<p class=\"policies\">{}</p>\n", swatches.join(" "))
}

fn curves(page: &mut String, comparison: &Comparison) {
    page.push_str(
        "<h2>Miss ratio by cache size</h2>\n<p>Lines: a sample of the keys in caches scaled alike. \
         Dots: all requests.</p>\n",
    );
    page.push_str(&legend(comparison, 0));
    for curves in &comparison.curves {
        let sampled = match curves.rate < 1.0 {
            true => {
                format!("{} of the keys; {}", percent(curves.rate), deviation(comparison, curves))
            }
            false => "all keys, so the lines are exact".to_owned(),
        };
        let _ = write!(
            page,
            "<h3 title=\"{}\">{} <small>{sampled}</small></h3>\n<figure>{}</figure>\n",
            escaped(&curves.trace),
            escaped(&shortened(&curves.trace, 60)),
            charts::curves(comparison, curves)
        );
    }
}

/// How far the sample is from the exact points, at most.
fn deviation(comparison: &Comparison, curves: &super::rows::TraceCurves) -> String {
    let rows = comparison.rows.iter().filter(|row| row.trace == curves.trace);
    let mut widest: Option<f64> = None;
    for row in rows {
        for (run, points) in row.runs.iter().zip(&curves.curves) {
            let point = points.iter().find(|point| point.capacity == run.capacity);
            if let Some(point) = point {
                let apart = (point.miss_ratio - run.miss_ratio).abs();
                widest = Some(widest.map_or(apart, |widest| widest.max(apart)));
            }
        }
    }
    widest.map_or("no exact point is in the sample’s reach".to_owned(), |it| {
        format!("at most {:.2} pp from the dots", 100.0 * it)
    })
}

fn over_time(page: &mut String, comparison: &Comparison) {
    page.push_str(
        "<h2>Difference over time</h2>\n<p>Percentage points by stretch of the trace; below zero the \
         challenger misses less.</p>\n",
    );
    page.push_str(&legend(comparison, 1));
    page.push_str("<div class=\"pairs\">\n");
    for row in &comparison.rows {
        let Row { trace, capacity, .. } = row;
        let _ = writeln!(
            page,
            "<figure><figcaption title=\"{}\">{} · {}</figcaption>{}</figure>",
            escaped(trace),
            escaped(&shortened(trace, 40)),
            compact(*capacity as f64),
            charts::over_time(comparison, row)
        );
    }
    page.push_str("</div>\n");
}

fn method(page: &mut String, comparison: &Comparison) {
    let files = TABLES.map(|name| format!("<a href=\"{name}\">{name}</a>"));
    let _ = write!(
        page,
        "<h2>How to read it</h2>\n\
         <p>All policies of a row played the same requests in lock-step. The difference is the policy’s miss \
         ratio minus that of {}, over the whole trace from an empty cache on. Its interval answers how far \
         it might be off on other stretches of the same workload and with other keys of the same kind: \
         variance by blocks of time (a twelfth of the trace, longer where the cache turns over more slowly) \
         plus variance by groups of keys minus what both share, with Student’s quantile. \
         It is a statement about each row, not about all rows at once: of a hundred rows without any \
         difference, some five would be called wins or losses. \
         On a trace with few phases, or under a policy that keeps adapting itself, trust it less.{}</p>\n\
         <p>Curves by miniature simulation of hash-sampled keys (SHARDS, adjusted). \
         Times are this machine’s and depend on what else it did; all else is exact and the same everywhere.</p>\n\
         <p>The numbers behind the plots: {}.</p>\n",
        escaped(&comparison.labels[0]),
        caution(&comparison.labels).map_or(String::new(), |text| format!(" {}", escaped(&text))),
        files.join(", ")
    );
}
