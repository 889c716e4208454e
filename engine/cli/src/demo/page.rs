//! The report as one page: no script, nothing from the network, light and dark. It looks as that of
//! `ostler compare` does.

use std::fmt::Write as _;

use super::outcome::{Outcome, grouped};
use super::plot::{self, Lines, colour_of};
use super::report::{LIVE, MARK, TABLES, contenders};
use super::workload::{PHASES, STORIES};
use crate::compare::page::STYLE;
use crate::compare::svg::escaped;
use crate::compare::table::{ends, percent, points};

/// What this page has and the other one does not.
const OWN_STYLE: &str = "\
svg .band { fill: var(--ground); opacity: 0.55; } svg .band.odd { opacity: 0; }\n\
svg .swap { stroke: var(--ink); stroke-width: 1.2; stroke-dasharray: 4 3; }\n\
svg text.swapped { fill: var(--ink); font-size: 12px; }\n\
svg .curve.lead { stroke-width: 3; } svg .curve.alone { stroke-width: 1.4; opacity: 0.85; }\n\
td b { color: var(--win); }\n\
ol { margin: 6px 0; padding-left: 22px; }\n";

/// The whole page.
pub(super) fn html(outcome: &Outcome) -> String {
    let mut page = String::from(MARK);
    let _ = write!(
        page,
        "<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>ostler demo</title>\n<style>\n{STYLE}{OWN_STYLE}</style>\n</head>\n<body>\n<main>\n"
    );
    header(&mut page, outcome);
    figure(&mut page, outcome, Lines::Live);
    policies(&mut page, outcome);
    decisions(&mut page, outcome);
    figure(&mut page, outcome, Lines::Replay);
    method(&mut page, outcome);
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

fn header(page: &mut String, outcome: &Outcome) {
    let phases: Vec<String> = PHASES
        .iter()
        .zip(STORIES)
        .map(|(name, story)| format!("<li>{}: {}</li>", escaped(name), escaped(story)))
        .collect();
    let _ = write!(
        page,
        "<h1>The better policy takes over by itself</h1>\n\
         <p>A server with one adaptive cache of {} entries and {} requests over RESP, {} of them a hit. \
         {}. ostler {}.</p>\n<ol>\n{}\n</ol>\n",
        grouped(outcome.entries),
        grouped(outcome.checks.gets),
        percent(outcome.live_ratios()[PHASES.len()]),
        escaped(&sentence(&outcome.verdict())),
        escaped(env!("CARGO_PKG_VERSION")),
        phases.join("\n"),
    );
    if let Some(note) = outcome.note() {
        let _ = writeln!(page, "<p>{}</p>", escaped(&note));
    }
    if let Some(complaint) = outcome.checks.complaint(&outcome.recording) {
        let complaint = escaped(&complaint);
        let _ = writeln!(
            page,
            "<div class=\"alarm\"><h2>Not as it should be</h2><p>{complaint}</p></div>"
        );
    }
}

/// With a capital letter in front.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

/// A contender's name with its colour.
fn swatch(contender: usize, label: &str) -> String {
    let (colour, label) = (colour_of(contender), escaped(label));
    format!("<span class=\"policy\"><i class=\"{colour}\"></i>{label}</span>")
}

fn figure(page: &mut String, outcome: &Outcome, lines: Lines) {
    let (title, text, without) = match lines {
        Lines::Live => (
            "Live",
            "The thick line is what the server’s clients saw. Thin lines are the same requests under one policy \
             all the time. Dashed lines: the server changed its policy.",
            1,
        ),
        Lines::Replay => (
            "In the replay",
            "The same requests under the same selector, played exactly: this is what the table compares.",
            0,
        ),
    };
    let names = contenders(outcome).enumerate().filter(|(place, _)| *place != without);
    let legend: Vec<String> = names
        .map(|(place, (label, _))| format!("<span class=\"entry\">{}</span>", swatch(place, label)))
        .collect();
    let _ = write!(
        page,
        "<h2>{title}</h2>\n<p>{text}</p>\n<p class=\"policies\">{}</p>\n<figure>{}</figure>\n",
        legend.join(" "),
        plot::over_time(outcome, lines)
    );
}

fn policies(page: &mut String, outcome: &Outcome) {
    page.push_str(
        "<h2>Against each policy alone, on the same requests</h2>\n<div class=\"wide\"><table class=\"rows\">\n\
         <thead><tr><th>policy</th>",
    );
    for (phase, name) in PHASES.iter().enumerate() {
        let _ = write!(page, "<th class=\"n\">{} {}</th>", phase + 1, escaped(name));
    }
    page.push_str(
        "<th class=\"n\">all</th><th class=\"n\">miss ratio</th><th class=\"n\">to adaptive</th>\
         <th class=\"n\">95 % interval</th><th class=\"n\">swaps</th></tr></thead>\n<tbody>\n",
    );
    let best = best_ratios(outcome);
    for (place, (label, hits)) in contenders(outcome).enumerate() {
        let ratios = outcome.ratios(hits);
        let shown = if label == LIVE { "live, as served" } else { label };
        let _ = write!(page, "<tr><td>{}</td>", swatch(place, shown));
        for (ratio, best) in ratios.iter().zip(&best) {
            let text = percent(*ratio);
            let is_best = place > 1 && ratio == best;
            let text = if is_best { format!("<b>{text}</b>") } else { text };
            let _ = write!(page, "<td class=\"n\">{text}</td>");
        }
        let track = place.checked_sub(1).map(|track| &outcome.tracks[track]);
        let difference = track.and_then(|track| track.difference);
        let swaps = match place {
            0 => outcome.swaps().to_string(),
            1 => outcome.tracks[0].swaps.len().to_string(),
            _ => String::new(),
        };
        let _ = writeln!(
            page,
            "<td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{swaps}</td></tr>",
            percent(1.0 - ratios[PHASES.len()]),
            difference.map_or(String::new(), |it| points(it.estimate)),
            difference.map_or(String::new(), |it| ends(it.low, it.high)),
        );
    }
    page.push_str(
        "</tbody>\n</table></div>\n<p class=\"note\">Hit ratios by phase and of all requests; the best single \
         policy of each column is green.</p>\n",
    );
}

/// By phase, and in all, the hit ratio of the best policy alone.
fn best_ratios(outcome: &Outcome) -> Vec<f64> {
    let mut best = vec![0.0f64; PHASES.len() + 1];
    for track in &outcome.tracks[1..] {
        for (best, ratio) in best.iter_mut().zip(outcome.ratios(&track.hits)) {
            *best = best.max(ratio);
        }
    }
    best
}

fn decisions(page: &mut String, outcome: &Outcome) {
    page.push_str(
        "<h2>What the server decided</h2>\n<div class=\"wide\"><table class=\"rows\">\n<thead><tr>\
         <th class=\"n\">second</th><th class=\"n\">request</th><th>phase</th><th>action</th><th>from</th>\
         <th>to</th><th class=\"n\">gain</th><th class=\"n\">z</th><th>reason</th></tr></thead>\n<tbody>\n",
    );
    for decision in &outcome.decisions {
        let request = outcome.recording.requests_at(decision.unix_ms);
        let phase = outcome.plan.phase_of(request);
        let name = |name: &Option<String>| escaped(name.as_deref().unwrap_or_default());
        let _ = writeln!(
            page,
            "<tr><td class=\"n\">{:.1}</td><td class=\"n\">{}</td><td>{} {}</td><td>{}</td><td>{}</td><td>{}</td>\
             <td class=\"n\">{}</td><td class=\"n\">{:.1}</td><td>{}</td></tr>",
            outcome.second_of(decision.unix_ms),
            grouped(request),
            phase + 1,
            PHASES[phase],
            escaped(&decision.action),
            name(&decision.from),
            name(&decision.to),
            percent(decision.gain),
            decision.z,
            escaped(&decision.reason),
        );
    }
    page.push_str(
        "</tbody>\n</table></div>\n<p class=\"note\">As the server’s <code>GET /v1/caches/default/decisions</code> \
         has them. Gain: misses that the shadow of the one that took over saved, in percent of those of the one that \
         left, on the same sampled requests.</p>\n<h2>Counted</h2>\n",
    );
    for line in outcome.counted() {
        let _ = writeln!(page, "<p>{}.</p>", escaped(&sentence(&line)));
    }
}

fn method(page: &mut String, outcome: &Outcome) {
    let files = TABLES.map(|name| format!("<a href=\"{name}\">{name}</a>"));
    let _ = write!(
        page,
        "<h2>How to read it</h2>\n\
         <p>The client asked for a key and, where it was not there, stored it. Every key was written down and \
         replayed in caches of the same number of entries. The live line is not quite that of the replay: the \
         server’s shadows see other samples of the keys, its hits reach the policy in batches, and a key asked for \
         twice in one go can miss twice. Intervals are 95 %, as in <code>ostler \
         compare</code>, but made within each phase and added up: they answer how the difference would be with other \
         requests of the same phases, not with other phases.</p>\n\
         <details><summary>The workload, for <code>ostler replay --objects --capacity {} --trace</code></summary>\n\
         <pre>{}</pre>\n</details>\n\
         <p>The numbers behind this page: {}.</p>\n",
        outcome.entries,
        escaped(&outcome.plan.spec()),
        files.join(", ")
    );
}
