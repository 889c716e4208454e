//! What the comparison came to, policy by policy.

use std::fmt::Write as _;

use ostler::BUILTINS;
use ostler_benches::machine;

use crate::Comparison;

/// How a policy must compare with the reference.
#[derive(Clone, Copy, PartialEq)]
enum Gate {
    /// The same four decimals.
    Exact,
    /// Relative difference of the miss ratio, percent.
    Within(f64),
    /// A mean miss ratio that is no higher.
    NoWorse,
}

fn gate(policy: &str) -> Gate {
    match policy {
        "fifo" | "lru" | "clock" | "sieve" => Gate::Exact,
        "lirs" | "qdlp" => Gate::Within(1.0),
        "lhd" | "hyperbolic" | "lecar" => Gate::Within(2.0),
        "wtinylfu" => Gate::NoWorse,
        _ => Gate::Within(0.5),
    }
}

/// Rows where we follow our contract or the paper instead of libCacheSim, and why. They are shown
/// with both numbers and do not fail the comparison.
const KNOWN: [(&str, &str, u64, &str); 1] = [(
    "slru",
    "lirs_cpp",
    122,
    "libCacheSim evicts during hits, where the lowest segment overflows; here such an entry waits \
     for the next insert and may be hit meanwhile",
)];

/// A loss above this, in percent of the miss ratio, is listed even where the mean decides.
const LOSS_SHOWN_PERCENT: f64 = 1.0;

/// True where the policy draws at random, so that one seed is one sample.
pub(crate) fn is_random(policy: &str) -> bool {
    matches!(policy, "lhd" | "hyperbolic" | "lecar")
}

/// One policy over all points.
pub(crate) struct Summary {
    policy: &'static str,
    compared: usize,
    worst_percent: f64,
    mean_percent: f64,
    outside: Vec<String>,
    known: Vec<String>,
    /// Rows where a policy that is judged by its mean alone loses noticeably.
    losses: Vec<String>,
    runs: usize,
    twins_equal: usize,
    faults: u64,
    means: (f64, f64),
}

impl Summary {
    /// True where the gate holds, all twins are equal and nothing faulted.
    pub(crate) fn passed(&self) -> bool {
        self.outside.is_empty() && self.twins_equal == self.runs && self.faults == 0
    }
}

/// Sums up all results, policy by policy.
pub(crate) fn summary(results: &[Comparison]) -> Vec<Summary> {
    BUILTINS.iter().map(|builtin| summarise(builtin.name, results)).collect()
}

fn summarise(policy: &'static str, results: &[Comparison]) -> Summary {
    let mine: Vec<&Comparison> = results.iter().filter(|result| result.policy == policy).collect();
    let pairs: Vec<(&Comparison, f64)> = mine
        .iter()
        .filter(|result| result.point.capacity >= crate::CAPACITY_MIN)
        .filter_map(|&result| result.reference.map(|reference| (result, reference)))
        .collect();
    let relative =
        |result: &Comparison, reference: f64| (result.miss_ratio / reference - 1.0) * 100.0;
    let mean = |sum: f64| if pairs.is_empty() { 0.0 } else { sum / pairs.len() as f64 };
    let mut summary = Summary {
        policy,
        compared: pairs.len(),
        worst_percent: 0.0,
        mean_percent: mean(pairs.iter().map(|&(result, r)| relative(result, r)).sum()),
        outside: Vec::new(),
        known: Vec::new(),
        losses: Vec::new(),
        runs: mine.len(),
        twins_equal: mine.iter().filter(|result| result.twins_equal).count(),
        faults: mine.iter().map(|result| result.faults).sum(),
        means: (
            mean(pairs.iter().map(|(result, _)| result.miss_ratio).sum()),
            mean(pairs.iter().map(|&(_, reference)| reference).sum()),
        ),
    };
    for &(result, reference) in &pairs {
        let off = relative(result, reference);
        // Where the gate is one-sided, only a loss can be the worst.
        let badness = |off: f64| if gate(policy) == Gate::NoWorse { off } else { off.abs() };
        if badness(off) > badness(summary.worst_percent) {
            summary.worst_percent = off;
        }
        let fits = match gate(policy) {
            Gate::Exact => format!("{:.4}", result.miss_ratio) == format!("{reference:.4}"),
            Gate::Within(percent) => off.abs() <= percent,
            Gate::NoWorse => true,
        };
        let point = &result.point;
        let row = format!(
            "{policy} on {} at {}: {:.4} here, {reference:.4} there ({off:+.2} %)",
            point.trace, point.capacity, result.miss_ratio
        );
        if gate(policy) == Gate::NoWorse && off > LOSS_SHOWN_PERCENT {
            summary.losses.push(row.clone());
        }
        if !fits {
            match known(policy, &point.trace, point.capacity) {
                Some(why) => summary.known.push(format!("{row}: {why}")),
                None => summary.outside.push(row),
            }
        }
    }
    if gate(policy) == Gate::NoWorse && summary.means.0 > summary.means.1 {
        summary.outside.push(format!("{policy}: its mean is above the reference's"));
    }
    summary
}

fn known(policy: &str, trace: &str, capacity: u64) -> Option<&'static str> {
    KNOWN
        .iter()
        .find(|row| (row.0, row.1, row.2) == (policy, trace, capacity))
        .map(|&(_, _, _, why)| why)
}

/// The section of the results file.
pub(crate) fn render(summary: &[Summary], results: &[Comparison], command: &str) -> String {
    let mut text = String::new();
    let points: std::collections::BTreeSet<_> =
        results.iter().map(|r| (&r.point.trace, r.point.weights as u8, r.point.capacity)).collect();
    let traces: std::collections::BTreeSet<_> = points.iter().map(|point| point.0).collect();
    let _ = writeln!(
        text,
        "{} traces, {} capacities, measured on {}.\n\n```\n{command}\n```\n",
        traces.len(),
        points.len(),
        machine()
    );
    text.push_str(
        "| policy | rows compared | gate | worst | mean | mean miss ratio here / there \
         | module = native twin | faults |\n|---|--:|---|--:|--:|--:|--:|--:|\n",
    );
    for row in summary {
        let gate = match gate(row.policy) {
            Gate::Exact => "four decimals".to_owned(),
            Gate::Within(percent) => format!("{percent} %"),
            Gate::NoWorse => "mean no worse".to_owned(),
        };
        let _ = writeln!(
            text,
            "| {} | {} | {gate} | {:+.3} % | {:+.3} % | {:.2} % / {:.2} % | {} of {} | {} |",
            row.policy,
            row.compared,
            row.worst_percent,
            row.mean_percent,
            row.means.0 * 100.0,
            row.means.1 * 100.0,
            row.twins_equal,
            row.runs,
            row.faults,
        );
    }
    list(&mut text, "Where we differ knowingly, with both miss ratios:", |row| &row.known, summary);
    let losses = "Judged by the mean, but more than 1 % worse on:";
    list(&mut text, losses, |row| &row.losses, summary);
    list(&mut text, "Outside the gate:", |row| &row.outside, summary);
    text
}

fn list(
    text: &mut String,
    title: &str,
    rows: impl Fn(&Summary) -> &Vec<String>,
    summary: &[Summary],
) {
    if summary.iter().all(|row| rows(row).is_empty()) {
        return;
    }
    let _ = writeln!(text, "\n{title}\n");
    for line in summary.iter().flat_map(|row| rows(row).iter()) {
        let _ = writeln!(text, "- {line}");
    }
}
