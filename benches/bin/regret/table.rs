//! What the measurement of the selector says, as a section of the results.

use std::fmt::Write;

use ostler_replay::WeightMode;

use super::Row;

const COMMAND: &str = "cargo run --release -p ostler-benches --bin regret -- --traces DIR --results \
                       benches/RESULTS.md";

/// The whole section.
pub(crate) fn render(
    portfolio: &[String],
    rows: &[Row],
    changing: &[Row],
    (calm, selves): (&[Row], &[(String, Vec<Row>)]),
) -> String {
    let mut text = format!(
        "Adaptive against each policy of its portfolio ({}), on the same requests; {} is in charge at \
         the start. Regret: misses more than the best of them in hindsight, as a share.\n\n```\n{COMMAND}\n```\n",
        portfolio.join(", "),
        portfolio[0],
    );
    for (weights, what) in [
        (WeightMode::Objects, "Every object weighs 1"),
        (WeightMode::Bytes, "Real sizes, objective: object hit ratio"),
    ] {
        let rows: Vec<&Row> =
            rows.iter().filter(|row| row.point.config.weights == weights).collect();
        if !rows.is_empty() {
            text.push_str(&format!("\n### {what}\n\n"));
            summary(&mut text, portfolio, &rows);
            points(&mut text, portfolio, &rows);
        }
    }
    text.push_str("\n### Phases that change\n\n");
    points(&mut text, portfolio, &changing.iter().collect::<Vec<_>>());
    for row in changing {
        reactions(&mut text, row);
    }
    text.push_str("\n### Calm\n\n| workload | runs | swaps in all |\n|---|--:|--:|\n");
    let swaps = |rows: &[Row]| -> usize { rows.iter().map(|row| row.adaptive.swaps.len()).sum() };
    let line = format!(
        "| stationary zipf, the whole portfolio, from {} | {} | {} |\n",
        portfolio[0],
        calm.len(),
        swaps(calm)
    );
    text.push_str(&line);
    for (name, rows) in selves {
        text.push_str(&format!("| {name} against itself | {} | {} |\n", rows.len(), swaps(rows)));
    }
    text
}

fn percent(share: f64) -> String {
    format!("{:+.2} %", share * 100.0)
}

fn summary(text: &mut String, portfolio: &[String], rows: &[&Row]) {
    text.push_str(
        "| | points | mean regret | at most 1 % | worst | swaps |\n|---|--:|--:|--:|--:|--:|\n",
    );
    let mut line = |name: &str, regrets: Vec<f64>, swaps: String| {
        let count = regrets.len() as f64;
        let mean = regrets.iter().sum::<f64>() / count;
        let within = regrets.iter().filter(|&&regret| regret <= 0.01).count() as f64 / count;
        let worst = regrets.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let (mean, worst) = (percent(mean), percent(worst));
        let _ = writeln!(
            text,
            "| {name} | {} | {mean} | {:.0} % | {worst} | {swaps} |",
            regrets.len(),
            within * 100.0
        );
    };
    let swaps: usize = rows.iter().map(|row| row.adaptive.swaps.len()).sum();
    line("adaptive", rows.iter().map(|row| row.regret()).collect(), swaps.to_string());
    for (place, name) in portfolio.iter().enumerate() {
        let regret = |row: &&Row| row.fixed[place] / row.best() - 1.0;
        line(&format!("always {name}"), rows.iter().map(regret).collect(), String::new());
    }
    text.push('\n');
}

fn points(text: &mut String, portfolio: &[String], rows: &[&Row]) {
    let names = portfolio.join(" | ");
    let _ = writeln!(text, "| workload | capacity | {names} | adaptive | regret | swaps |");
    let _ = writeln!(text, "|---|--:|{}--:|--:|--:|", "--:|".repeat(portfolio.len()));
    for row in rows {
        let fixed = row.fixed.iter().map(|&miss_ratio| {
            let best = if miss_ratio == row.best() { "**" } else { "" };
            format!("{best}{miss_ratio:.4}{best}")
        });
        let _ = writeln!(
            text,
            "| {} | {} | {} | {:.4} | {} | {} |",
            row.point.workload,
            row.point.capacity,
            fixed.collect::<Vec<_>>().join(" | "),
            row.adaptive.miss_ratio(),
            percent(row.regret()),
            row.adaptive.swaps.len()
        );
    }
}

/// How long the swaps came after the changes.
fn reactions(text: &mut String, row: &Row) {
    let _ = writeln!(text, "\nSwaps on {}:\n", row.point.workload);
    for swap in &row.adaptive.swaps {
        let phase = row.point.phases.iter().rev().find(|&&start| start <= swap.request);
        let since = swap.request - phase.copied().unwrap_or(0);
        let _ = writeln!(
            text,
            "- {} → {}, {since} requests ({:.1} × the entries) into the phase, gain {:.1} %, z {:.1}",
            swap.from.trim_start_matches("native:"),
            swap.to.trim_start_matches("native:"),
            since as f64 / row.point.entries as f64,
            swap.gain * 100.0,
            swap.z
        );
    }
}
