//! What a row made of a cell, and whether it counts.

use crate::measure::Sample;
use crate::place::median;
use crate::plan::{Cell, Outcome};
use crate::roster::Standing;
use crate::workload::{HIT_KEYS_SHARE, Workload};

use super::Report;

/// How far a hit ratio may stay behind the best rival's.
const HIT_RATIO_SLACK: f64 = 0.01;

/// How many entries a cache may hold, as a share of the capacity.
const RESIDENT_SHARE_MAX: f64 = 1.05;

/// The least share of the hits that a policy has to be told of.
const NOTED_SHARE_MIN: f64 = 0.99;

/// Whether a row counts, and if not, why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Counts,
    Ceiling,
    LowHitRatio,
    HoldsMore,
    HoldsLess,
    HitsLost,
}

impl Verdict {
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Counts => "yes",
            Self::Ceiling => "ceiling",
            Self::LowHitRatio => "no: hit ratio",
            Self::HoldsMore => "no: holds more",
            Self::HoldsLess => "no: holds less",
            Self::HitsLost => "no: hits lost",
        }
    }
}

/// What a row made of a cell: medians, with the least and the greatest of the throughput.
#[derive(Clone, Copy, Debug)]
pub(super) struct Score {
    pub(super) row: usize,
    /// Million requests a second: least, median, greatest.
    pub(super) million: [f64; 3],
    pub(super) hit_ratio: Option<f64>,
    pub(super) resident: f64,
    /// The least share of the hits that the policy was told of.
    pub(super) noted_share: Option<f64>,
    pub(super) verdict: Verdict,
}

impl Score {
    /// Nanoseconds a request, of all threads together: least, median, greatest.
    pub(super) fn ns(&self) -> [f64; 3] {
        let [low, middle, high] = self.million;
        [1_000.0 / high, 1_000.0 / middle, 1_000.0 / low]
    }
}

/// The scores of a cell, in the order of the roster.
pub(super) fn scores(report: &Report, cell: &Cell) -> Vec<Score> {
    let of_cell = report.outcomes.iter().filter(|outcome| outcome.cell == *cell);
    let mut scores: Vec<Score> = of_cell.filter_map(score).collect();
    let is_rival = |score: &&Score| report.standing(score.row) == Standing::Rival;
    let ratios = scores.iter().filter(is_rival).filter_map(|score| score.hit_ratio);
    let best = ratios.fold(0.0, f64::max);
    for score in &mut scores {
        score.verdict = verdict(score, cell, best);
        if report.standing(score.row) == Standing::Ceiling {
            score.verdict = Verdict::Ceiling;
        }
    }
    scores
}

fn score(outcome: &Outcome) -> Option<Score> {
    let samples = &outcome.samples;
    let millions = || samples.iter().map(Sample::million_per_second);
    let low = millions().fold(f64::INFINITY, f64::min);
    let high = millions().fold(0.0, f64::max);
    let noted = samples.iter().filter_map(|sample| sample.noted_share);
    Some(Score {
        row: outcome.row,
        million: [low, median(millions())?, high],
        hit_ratio: median(samples.iter().filter_map(Sample::hit_ratio)),
        resident: median(samples.iter().map(|sample| sample.resident as f64))?,
        noted_share: noted.reduce(f64::min),
        verdict: Verdict::Counts,
    })
}

fn verdict(score: &Score, cell: &Cell, best_ratio: f64) -> Verdict {
    let capacity = cell.entries as f64;
    let is_hits = matches!(cell.workload, Workload::Hits(_));
    if score.hit_ratio.is_some_and(|ratio| ratio < best_ratio - HIT_RATIO_SLACK) {
        Verdict::LowHitRatio
    } else if score.resident > capacity * RESIDENT_SHARE_MAX {
        Verdict::HoldsMore
    } else if is_hits && score.resident < (capacity * HIT_KEYS_SHARE).floor() {
        Verdict::HoldsLess
    } else if score.noted_share.is_some_and(|share| share < NOTED_SHARE_MIN) {
        Verdict::HitsLost
    } else {
        Verdict::Counts
    }
}

/// The fastest rival that counts.
pub(super) fn fastest_rival<'a>(report: &Report, scores: &'a [Score]) -> Option<&'a Score> {
    let counts = |score: &&Score| {
        report.standing(score.row) == Standing::Rival && score.verdict == Verdict::Counts
    };
    scores.iter().filter(counts).max_by(|a, b| a.million[1].total_cmp(&b.million[1]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Subject;

    #[test]
    fn verdicts_by_hand() {
        let cell = Cell {
            subject: Subject::Threads,
            workload: Workload::Scan(1.0),
            entries: 1_000,
            threads: 1,
        };
        let fair = Score {
            row: 0,
            million: [1.0; 3],
            hit_ratio: Some(0.795),
            resident: 1_000.0,
            noted_share: None,
            verdict: Verdict::Counts,
        };
        let cases = [
            (fair, Verdict::Counts),
            (Score { hit_ratio: Some(0.789), ..fair }, Verdict::LowHitRatio),
            (Score { resident: 1_051.0, ..fair }, Verdict::HoldsMore),
            (Score { noted_share: Some(0.98), ..fair }, Verdict::HitsLost),
            (Score { resident: 800.0, ..fair }, Verdict::Counts),
        ];
        for (score, expected) in cases {
            assert_eq!(verdict(&score, &cell, 0.8), expected, "{score:?}");
        }
        let hits = Cell { workload: Workload::Hits(1.0), ..cell };
        assert_eq!(verdict(&Score { resident: 800.0, ..fair }, &hits, 0.8), Verdict::HoldsLess);
    }
}
