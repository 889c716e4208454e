//! What the comparison came to.

use std::fmt::Write as _;

use ostler_benches::machine;

use crate::{Comparison, JUDGED, SHARDS};

/// How far the live cache's hit ratio may be from exact replay's with one shard, in pp.
const BAR_PP: f64 = 0.3;

/// Hit ratio of the live cache with one shard less that of exact replay, in pp.
fn off_one(result: &Comparison) -> f64 {
    (result.live.one - result.exact.one) * 100.0
}

/// The same with the larger number of shards, against exact replay with one.
fn off_many(result: &Comparison) -> f64 {
    (result.live.many - result.exact.one) * 100.0
}

/// What dealing the keys to that many shards does alone, in exact replay.
fn off_dealt(result: &Comparison) -> f64 {
    (result.exact.many - result.exact.one) * 100.0
}

/// True where the bar is kept or does not apply, and nothing faulted.
pub(crate) fn passes(result: &Comparison) -> bool {
    let judged = JUDGED.contains(&result.policy);
    result.faults == 0 && (!judged || off_one(result).abs() <= BAR_PP)
}

/// The section of the results file.
pub(crate) fn render(results: &[Comparison], command: &str) -> String {
    let mut text = String::new();
    let points: std::collections::BTreeSet<_> = results.iter().map(|r| &r.point).collect();
    let traces: std::collections::BTreeSet<_> = points.iter().map(|point| &point.trace).collect();
    let _ = writeln!(
        text,
        "{} traces at 0.1 %, 1 % and 10 % of their objects, {} capacities of 100 objects and more, \
         measured on {}.\n\n```\n{command}\n```\n",
        traces.len(),
        points.len(),
        machine()
    );
    summarise(&mut text, results);
    let outside: Vec<&Comparison> = results.iter().filter(|result| !passes(result)).collect();
    let _ = writeln!(
        text,
        "\nThe bar is {BAR_PP} pp for {} with one shard: {} of {} rows are outside.\n",
        JUDGED.join(", "),
        outside.len(),
        results.iter().filter(|result| JUDGED.contains(&result.policy)).count(),
    );
    explain(&mut text, &outside);
    detail(&mut text, results);
    text
}

/// A line a policy: how far it is off at the mean and at worst.
fn summarise(text: &mut String, results: &[Comparison]) {
    let _ = writeln!(
        text,
        "| policy | rows | live, 1 shard: mean | mean of the absolute | worst | where | exact, \
         {SHARDS} shards: mean | live, {SHARDS} shards: mean | worst | faults |\n\
         |---|--:|--:|--:|--:|---|--:|--:|--:|--:|"
    );
    let mut policies: Vec<&str> = results.iter().map(|result| result.policy).collect();
    policies.sort_unstable();
    policies.dedup();
    for policy in policies {
        let mine: Vec<&Comparison> = results.iter().filter(|r| r.policy == policy).collect();
        let mean = |of: &dyn Fn(&Comparison) -> f64| {
            mine.iter().map(|result| of(result)).sum::<f64>() / mine.len() as f64
        };
        let worst = |of: fn(&Comparison) -> f64| {
            mine.iter().max_by(|a, b| of(a).abs().total_cmp(&of(b).abs())).copied()
        };
        let (Some(worst_one), Some(worst_many)) = (worst(off_one), worst(off_many)) else {
            continue;
        };
        let _ = writeln!(
            text,
            "| {policy} | {} | {:+.3} pp | {:.3} pp | {:+.3} pp | {} at {} | {:+.3} pp | {:+.3} pp \
             | {:+.3} pp | {} |",
            mine.len(),
            mean(&off_one),
            mean(&|result| off_one(result).abs()),
            off_one(worst_one),
            worst_one.point.trace,
            worst_one.point.capacity,
            mean(&off_dealt),
            mean(&off_many),
            off_many(worst_many),
            mine.iter().map(|result| result.faults).sum::<u64>(),
        );
    }
}

/// A line for each row outside the bar: whether the policy itself reacts to a few objects more, and
/// what is left without slack.
fn explain(text: &mut String, outside: &[&Comparison]) {
    for result in outside {
        let Some(causes) = &result.causes else { continue };
        let off = |ratio: f64| (ratio - result.exact.one) * 100.0;
        let _ = writeln!(
            text,
            "- {} on {} at {}: {:+.2} pp; exact replay with up to a 64th more objects: {:+.2} to \
             {:+.2} pp; the live cache without slack: {:+.2} pp",
            result.policy,
            result.point.trace,
            result.point.capacity,
            off_one(result),
            off(causes.larger.0),
            off(causes.larger.1),
            off(causes.without_slack),
        );
    }
    if !outside.is_empty() {
        text.push('\n');
    }
}

/// A line a capacity, with the judged policies beside each other.
fn detail(text: &mut String, results: &[Comparison]) {
    let _ = write!(text, "| trace | objects |");
    for policy in JUDGED {
        let _ = write!(text, " {policy}, exact | live, 1 | live, {SHARDS} |");
    }
    let _ = writeln!(text, "\n|---|--:|{}", "--:|".repeat(3 * JUDGED.len()));
    let mut points: Vec<_> = results.iter().map(|result| &result.point).collect();
    points.dedup();
    for point in points {
        let _ = write!(text, "| {} | {} |", point.trace, point.capacity);
        for policy in JUDGED {
            let found = results.iter().find(|r| r.point == *point && r.policy == policy);
            let Some(result) = found else { continue };
            let mark = if passes(result) { "" } else { " **outside**" };
            let _ = write!(
                text,
                " {:.2} % | {:+.2}{mark} | {:+.2} |",
                result.exact.one * 100.0,
                off_one(result),
                off_many(result),
            );
        }
        let _ = writeln!(text);
    }
}
