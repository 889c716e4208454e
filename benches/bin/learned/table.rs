//! The table of the learned policy, and what it adds up to.

use std::fmt::Write as _;

use ostler_replay::RunOutcome;

use super::reference::Size;

/// What is counted, and in what capacities are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Misses; every object weighs 1.
    Objects,
    /// Misses; capacities in bytes. Against gdsf.
    ObjectMisses,
    /// Missed bytes. Against s3fifo.
    ByteMisses,
}

/// Best miss ratio from which on a point says nothing: hardly anything can hit.
const TRIVIAL: f64 = 0.99;

/// One run.
pub(crate) struct Point {
    trace: String,
    unit: Unit,
    share: f64,
    ours: f64,
    theirs: f64,
    algorithm: String,
    ns: f64,
    guest_ns: f64,
    training_ns: f64,
    bytes_per_entry: f64,
    models: u64,
}

impl Point {
    pub(crate) fn new(trace: &str, unit: Unit, size: &Size, outcome: &RunOutcome) -> Self {
        let ratio = |(miss, byte_miss): (f64, Option<f64>)| match unit {
            Unit::ByteMisses => byte_miss.unwrap_or(f64::NAN),
            Unit::Objects | Unit::ObjectMisses => miss,
        };
        let others = size.algorithms.iter().filter(|(name, _)| match unit {
            Unit::Objects => *name != "belady",
            Unit::ObjectMisses => *name == "gdsf",
            Unit::ByteMisses => *name == "s3fifo",
        });
        let best = others
            .map(|(name, &ratios)| (name.clone(), ratio(ratios)))
            .min_by(|one, other| one.1.total_cmp(&other.1));
        let (algorithm, theirs) = best.unwrap_or((String::from("none"), f64::NAN));
        let per_request =
            |time: std::time::Duration| time.as_nanos() as f64 / outcome.requests.max(1) as f64;
        let entries = if unit == Unit::Objects { size.capacity as f64 } else { f64::NAN };
        Self {
            trace: trace.to_owned(),
            unit,
            share: size.share,
            ours: if unit == Unit::ByteMisses {
                outcome.byte_miss_ratio()
            } else {
                outcome.miss_ratio()
            },
            theirs,
            algorithm,
            ns: per_request(outcome.elapsed),
            guest_ns: per_request(outcome.guest_time),
            training_ns: per_request(outcome.training),
            bytes_per_entry: outcome.guest_memory_bytes as f64 / entries,
            models: outcome.models,
        }
    }

    /// How much more is missed than by the best, as a share.
    fn excess(&self) -> f64 {
        self.ours / self.theirs - 1.0
    }

    pub(crate) fn line(&self) -> String {
        let Self { trace, share, ours, theirs, algorithm, models, .. } = self;
        let bytes = if self.bytes_per_entry.is_nan() {
            String::from("–")
        } else {
            format!("{:.0}", self.bytes_per_entry)
        };
        format!(
            "| {trace} | {:.1} % | {ours:.4} | {theirs:.4} | {algorithm} | {:+.2} % | {:.0} | {:.0} \
             | {:.0} | {bytes} | {models} |",
            share * 100.0,
            self.excess() * 100.0,
            self.ns,
            self.guest_ns,
            self.training_ns,
        )
    }
}

pub(crate) fn render(points: &[Point], policy: &str, machine: &str) -> String {
    let mut text = format!("Policy `{policy}`, exact replay, one shard, seed 1, {machine}.\n");
    let units = [
        (Unit::Objects, "Every object weighs 1, against the best algorithm of the reference"),
        (Unit::ObjectMisses, "Misses with real sizes, against gdsf"),
        (Unit::ByteMisses, "Missed bytes, against s3fifo"),
    ];
    for (unit, title) in units {
        let points: Vec<&Point> = points.iter().filter(|point| point.unit == unit).collect();
        let telling = points.iter().filter(|point| point.theirs < TRIVIAL);
        let excesses: Vec<f64> = telling.map(|point| point.excess()).collect();
        if excesses.is_empty() {
            continue;
        }
        let count = excesses.len() as f64;
        let share = |bound: f64| {
            excesses.iter().filter(|&&excess| excess <= bound).count() as f64 / count * 100.0
        };
        let worst = excesses.iter().copied().fold(f64::MIN, f64::max) * 100.0;
        let mean = excesses.iter().sum::<f64>() / count * 100.0;
        let _ = write!(
            text,
            "\n**{title}.** Of {count} points where it misses less than 99 %: at or below it on {:.0} %, \
             within 1 % on {:.0} %, worst {worst:+.2} %, mean {mean:+.2} %.\n\n\
             | trace | size | learned | best | which | excess | ns a request | in the guest | training \
             | guest bytes an entry | models |\n\
             |---|---|---|---|---|---|---|---|---|---|---|\n",
            share(0.0),
            share(0.01),
        );
        for point in points {
            let _ = writeln!(text, "{}", point.line());
        }
    }
    text
}
