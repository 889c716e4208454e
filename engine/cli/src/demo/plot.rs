//! The plot of the page: hit ratios over time, the phases behind them, the swaps across them.

use super::outcome::Outcome;
use super::report::{contenders, stretches};
use super::workload::PHASES;
use crate::compare::charts::{colour, compact, percent_tick};
use crate::compare::svg::{Anchor, Scale, Svg};

const WIDTH: f64 = 1100.0;
const HEIGHT: f64 = 430.0;
/// Where the plot is.
const LEFT: f64 = 46.0;
const RIGHT: f64 = WIDTH - 16.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 386.0;
/// Room for the name of a policy.
const NAME_WIDTH: f64 = 70.0;

/// Who is drawn.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Lines {
    /// What the server itself did, with its swaps.
    Live,
    /// What the replay of the same requests found, with the selector's swaps there.
    Replay,
}

/// The class of a contender's colour: the server's own, the selector's, each policy's in the order of the
/// portfolio.
pub(super) fn colour_of(contender: usize) -> String {
    colour(contender)
}

/// Hit ratios over the requests: everybody's in the replay, and the server's own.
pub(super) fn over_time(outcome: &Outcome, lines: Lines) -> String {
    let requests = outcome.plan.requests() as f64;
    let across = Scale::linear((0.0, requests), (LEFT, RIGHT));
    let up = Scale::linear((0.0, 100.0), (BOTTOM, TOP));
    let description = match lines {
        Lines::Live => "hit ratio over time, the server's own and each policy's alone",
        Lines::Replay => {
            "hit ratio over time in the replay, the selector's and each policy's alone"
        }
    };
    let mut svg = Svg::new(WIDTH, HEIGHT, description);
    for (phase, range) in outcome.plan.phases().iter().enumerate() {
        let (from, to) = (across.at(range.start as f64), across.at(range.end as f64));
        let class = if phase % 2 == 0 { "band" } else { "band odd" };
        svg.area(class, (from, TOP), (to, BOTTOM));
        let name = format!("{} {}", phase + 1, PHASES[phase]);
        svg.text("label", ((from + to) / 2.0, 16.0), Anchor::Middle, &name);
    }
    for tick in up.ticks(5) {
        svg.line("grid", (LEFT, up.at(tick)), (RIGHT, up.at(tick)));
        svg.text("tick", (LEFT - 6.0, up.at(tick) + 4.0), Anchor::End, &percent_tick(tick));
    }
    for tick in across.ticks(8) {
        svg.text("tick", (across.at(tick), BOTTOM + 16.0), Anchor::Middle, &compact(tick));
    }
    svg.text("axis", (LEFT - 6.0, TOP - 8.0), Anchor::End, "%");
    svg.text("axis", ((LEFT + RIGHT) / 2.0, BOTTOM + 36.0), Anchor::Middle, "requests");
    // The one that matters comes last and lies above the others.
    let first = usize::from(lines == Lines::Replay);
    let drawn = contenders(outcome).enumerate().skip(2);
    for (place, (_, hits)) in drawn.chain(contenders(outcome).enumerate().skip(first).take(1)) {
        let points = stretches(hits).into_iter().map(|(from, len, ratio)| {
            (across.at(from as f64 + len as f64 / 2.0), up.at(100.0 * ratio))
        });
        let class = if place < 2 { "curve lead" } else { "curve alone" };
        svg.path(&format!("{class} {}", colour_of(place)), &points.collect::<Vec<_>>());
    }
    swaps(&mut svg, outcome, (&across, lines));
    svg.finish()
}

/// A line where the policy changed, with the name of the one that took over.
fn swaps(svg: &mut Svg, outcome: &Outcome, (across, lines): (&Scale, Lines)) {
    let changes: Vec<(u64, &str)> = match lines {
        Lines::Live => outcome
            .decisions
            .iter()
            .filter(|decision| decision.is_swap())
            .map(|it| (outcome.recording.requests_at(it.unix_ms), it.to.as_deref().unwrap_or("?")))
            .collect(),
        Lines::Replay => {
            outcome.tracks[0].swaps.iter().map(|swap| (swap.request, swap.to.as_str())).collect()
        }
    };
    for (place, (request, to)) in changes.iter().enumerate() {
        let x = across.at(*request as f64);
        svg.line("swap", (x, TOP - 14.0), (x, BOTTOM));
        // Of names that would lie on each other the last one is shown; the table has them all.
        let next =
            changes.get(place + 1).map_or(f64::INFINITY, |(next, _)| across.at(*next as f64));
        if next - x > NAME_WIDTH {
            let (anchor, gap) =
                if x > RIGHT - NAME_WIDTH { (Anchor::End, -4.0) } else { (Anchor::Start, 4.0) };
            svg.text("swapped", (x + gap, TOP - 6.0), anchor, &format!("→ {to}"));
        }
    }
}
