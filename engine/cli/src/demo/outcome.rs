//! What came of it: the checks, the table, the decisions; as text. The page shows the same.

use std::io::Write;
use std::sync::atomic::Ordering::Relaxed;

use anyhow::Result;

use super::client::{Client, Recording, Tally};
use super::host::{Counts, Decided, Host, Shadows};
use super::rerun::{Track, hit_ratio};
use super::workload::{PHASES, Plan};
use crate::compare::table::{ends, percent, points, table};

/// Requests an entry that a phase should have, so that a change pays before the next one.
const PHASE_MIN: u64 = 64;

/// Everything that the demonstration found.
pub(super) struct Outcome {
    pub(super) plan: Plan,
    pub(super) entries: u64,
    /// The portfolio; the first was in charge at the start.
    pub(super) candidates: Vec<String>,
    pub(super) recording: Recording,
    /// The decisions, oldest first.
    pub(super) decisions: Vec<Decided>,
    pub(super) checks: Checks,
    /// The selector and each policy on the same requests; the selector first.
    pub(super) tracks: Vec<Track>,
}

/// What was counted, on both sides.
#[derive(Clone, Debug, Default)]
pub(super) struct Checks {
    /// Keys asked for.
    pub(super) gets: u64,
    /// Those that were there.
    pub(super) hits: u64,
    /// Entries stored.
    pub(super) sets: u64,
    /// Commands that failed.
    pub(super) failed: u64,
    /// What the server counts.
    pub(super) counts: Counts,
    /// Entries that were read back at the end with their right values.
    pub(super) read_back: u64,
    pub(super) shadows: Shadows,
}

impl Checks {
    /// Compares what the client counted with what the server did, and reads all entries back.
    pub(super) fn make(host: &Host, tally: &Tally, recording: &Recording) -> Result<Self> {
        let before = host.stats()?;
        let read_back = Client::connect(host.resp())?.read_back()?;
        // Nothing was stored meanwhile; what the cache held too much may have left.
        let after = host.stats()?.counts;
        let Counts { hits, misses, .. } = before.counts;
        Ok(Self {
            gets: recording.keys.len() as u64,
            hits: tally.hits.load(Relaxed),
            sets: tally.sets.load(Relaxed),
            failed: tally.failed.load(Relaxed),
            counts: Counts { hits, misses, ..after },
            read_back,
            shadows: before.adaptive.unwrap_or_default(),
        })
    }

    /// Entries that were stored, that no count explains, and that cannot be read.
    pub(super) fn lost(&self) -> u64 {
        let unread = self.counts.entries.saturating_sub(self.read_back);
        let missing = self.sets.saturating_sub(self.counts.inserted);
        self.counts.unaccounted() + missing + unread
    }

    /// Requests on which client and server do not agree. No mistake: somebody else may have asked as well.
    pub(super) fn disagreed(&self) -> u64 {
        let misses = self.gets - self.hits;
        self.hits.abs_diff(self.counts.hits) + misses.abs_diff(self.counts.misses)
    }

    /// What is wrong; none where everything is right.
    pub(super) fn complaint(&self, recording: &Recording) -> Option<String> {
        let failure = recording.failure.as_deref().unwrap_or_default();
        let complaints = [
            (self.failed, format!("{} requests failed, first {failure}", self.failed)),
            (self.lost(), format!("{} entries were lost", self.lost())),
            (
                self.counts.policy_faults,
                format!("{} faults of policies", self.counts.policy_faults),
            ),
        ];
        let wrong: Vec<String> =
            complaints.into_iter().filter(|(count, _)| *count > 0).map(|(_, text)| text).collect();
        (!wrong.is_empty()).then(|| wrong.join("; "))
    }
}

impl Outcome {
    /// The policies alone, best first.
    pub(super) fn fixed(&self) -> Vec<&Track> {
        let mut fixed: Vec<&Track> = self.tracks[1..].iter().collect();
        fixed.sort_by_key(|track| misses(&track.hits));
        fixed
    }

    /// The server's own hit ratio in each phase, and in all.
    pub(super) fn live_ratios(&self) -> Vec<f64> {
        self.ratios(&self.recording.hits)
    }

    /// The hit ratio in each phase, and in all.
    pub(super) fn ratios(&self, hits: &[bool]) -> Vec<f64> {
        let all = 0..self.plan.requests();
        self.plan.phases().iter().chain([&all]).map(|range| hit_ratio(hits, range)).collect()
    }

    /// How the selector did against the best policy, in a sentence.
    pub(super) fn verdict(&self) -> String {
        let (adaptive, fixed) = (misses(&self.tracks[0].hits), self.fixed());
        let best = misses(&fixed[0].hits);
        let share = 100.0 * (best as f64 - adaptive as f64) / best.max(1) as f64;
        let word = if share >= 0.0 { "fewer" } else { "more" };
        format!(
            "adaptive missed {:.1} % {word} than {}, the best policy in hindsight",
            share.abs(),
            fixed[0].label
        )
    }

    /// What to think of a run whose phases are hardly longer than the evidence for a swap takes.
    pub(super) fn note(&self) -> Option<String> {
        let phase = self.plan.requests() / (PHASES.len() as u64 * self.entries);
        (phase < PHASE_MIN).then(|| {
            format!(
                "Short: with {phase} requests an entry in each phase, a policy is hardly found before it is \
                 wrong again. More --seconds or less --capacity give {PHASE_MIN}."
            )
        })
    }

    /// Swaps of the live cache.
    pub(super) fn swaps(&self) -> usize {
        self.decisions.iter().filter(|decision| decision.is_swap()).count()
    }

    /// Seconds from the first request to a time.
    pub(super) fn second_of(&self, unix_ms: u64) -> f64 {
        let start = self.recording.moments.first().map_or(unix_ms, |&(at, _)| at);
        unix_ms.saturating_sub(start) as f64 / 1000.0
    }

    /// Writes the table, the counts and the decisions.
    pub(super) fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        writeln!(out, "hit ratio by phase, and of all {} requests", grouped(self.plan.requests()))?;
        let mut header = vec!["policy"];
        header.extend(PHASES);
        header.extend(["all", "miss ratio", "to adaptive", "95 % interval", "swaps"]);
        let mut lines = Vec::new();
        for track in [&self.tracks[0]].into_iter().chain(self.fixed()) {
            lines.push(self.cells(track));
        }
        let live = self.live_ratios();
        let mut line = vec!["live, as served".to_owned()];
        line.extend(live.iter().map(|&ratio| percent(ratio)));
        let rest = [percent(1.0 - live[PHASES.len()]), String::new(), String::new()];
        line.extend(rest.into_iter().chain([self.swaps().to_string()]));
        lines.push(line);
        writeln!(out, "{}\n", table(&header, lines))?;
        writeln!(out, "{}. Intervals: 95 %, with the phases as they are.\n", self.verdict())?;
        if let Some(note) = self.note() {
            writeln!(out, "{note}\n")?;
        }
        for line in self.counted() {
            writeln!(out, "{line}")?;
        }
        writeln!(
            out,
            "\ndecisions on what shadows found, as GET /v1/caches/default/decisions has them:"
        )?;
        for decision in &self.decisions {
            let at = self.recording.requests_at(decision.unix_ms);
            let phase = self.plan.phase_of(at);
            let (second, words) = (self.second_of(decision.unix_ms), decision.words());
            writeln!(out, "{second:5.1} s  {} {:<11}  {words}", phase + 1, PHASES[phase])?;
        }
        Ok(())
    }

    fn cells(&self, track: &Track) -> Vec<String> {
        let ratios = self.ratios(&track.hits);
        let mut cells = vec![track.label.clone()];
        cells.extend(ratios.iter().map(|&ratio| percent(ratio)));
        cells.push(percent(1.0 - ratios[PHASES.len()]));
        match &track.difference {
            Some(it) => cells.extend([points(it.estimate), ends(it.low, it.high), String::new()]),
            None => cells.extend([String::new(), String::new(), track.swaps.len().to_string()]),
        }
        cells
    }

    /// What was counted, in sentences.
    pub(super) fn counted(&self) -> Vec<String> {
        let Checks { gets, hits, sets, failed, counts, read_back, shadows } = &self.checks;
        let agreed = match self.checks.disagreed() {
            0 => "the server counted the same".to_owned(),
            other => format!("the server counted {} of them otherwise", grouped(other)),
        };
        let Counts { entries, evicted, replaced, rejected, expired, removed, cleared, .. } = counts;
        let parts = [
            (*entries, "resident"),
            (*evicted, "evicted"),
            (*replaced, "replaced"),
            (*rejected, "rejected"),
            (expired + removed + cleared, "expired or removed"),
        ];
        let parts = parts.iter().filter(|(count, _)| *count > 0);
        let parts: Vec<String> =
            parts.map(|(count, name)| format!("{} {name}", grouped(*count))).collect();
        vec![
            format!(
                "live: {} requests, {} hits, {} entries stored, {} requests failed; {agreed}",
                grouped(*gets),
                grouped(*hits),
                grouped(*sets),
                grouped(*failed),
            ),
            format!(
                "entries: {} stored = {}; {} read back, {} lost over {} swaps",
                grouped(counts.inserted),
                parts.join(" + "),
                grouped(*read_back),
                grouped(self.checks.lost()),
                self.swaps(),
            ),
            format!(
                "shadows: {} policies on {:.0} % of the keys took {:.1} % of one core",
                self.candidates.len(),
                100.0 * shadows.share,
                100.0 * shadows.cpu_share,
            ),
        ]
    }
}

fn misses(hits: &[bool]) -> u64 {
    hits.iter().filter(|&&hit| !hit).count() as u64
}

/// A count as people read it: `1,240,000`.
pub(super) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_grouped() {
        for (count, expected) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")]
        {
            assert_eq!(grouped(count), expected);
        }
    }

    #[test]
    fn every_kind_of_loss_is_told() {
        let counts =
            Counts { entries: 3, hits: 6, misses: 4, inserted: 4, evicted: 1, ..Counts::default() };
        let right = Checks {
            gets: 10,
            hits: 6,
            sets: 4,
            failed: 0,
            counts,
            read_back: 3,
            shadows: Shadows::default(),
        };
        let recording = Recording { failure: Some("GET: ERR no".into()), ..Recording::default() };
        assert_eq!((right.complaint(&recording), right.disagreed()), (None, 0));
        assert_eq!(Checks { hits: 5, ..right.clone() }.disagreed(), 2);
        for (checks, expected) in [
            (Checks { failed: 2, ..right.clone() }, "2 requests failed, first GET: ERR no"),
            (Checks { read_back: 2, ..right.clone() }, "1 entries were lost"),
            (Checks { sets: 5, ..right.clone() }, "1 entries were lost"),
            (
                Checks { counts: Counts { evicted: 0, ..counts }, ..right.clone() },
                "1 entries were lost",
            ),
            (
                Checks { counts: Counts { policy_faults: 1, ..counts }, ..right },
                "1 faults of policies",
            ),
        ] {
            assert_eq!(checks.complaint(&recording).as_deref(), Some(expected));
        }
    }
}
