//! What the RESP front does per second, over the last moments.

use std::collections::VecDeque;

use parking_lot::Mutex;

/// Samples that are kept: with one every 100 ms, a second and a half.
const SAMPLES: usize = 16;

/// Counters at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// When, milliseconds.
    pub now_ms: u64,
    /// Commands run since the start.
    pub commands: u64,
    /// Bytes read since the start.
    pub bytes_in: u64,
    /// Bytes written since the start.
    pub bytes_out: u64,
}

/// What happened per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PerSecond {
    /// Commands.
    pub commands: u64,
    /// Bytes read.
    pub bytes_in: u64,
    /// Bytes written.
    pub bytes_out: u64,
}

/// The latest samples.
#[derive(Debug, Default)]
pub struct Rates(Mutex<VecDeque<Sample>>);

impl Rates {
    /// Notes how the counters stand; to be called about every 100 ms.
    pub fn note(&self, sample: Sample) {
        let mut samples = self.0.lock();
        if samples.len() == SAMPLES {
            samples.pop_front();
        }
        samples.push_back(sample);
    }

    /// What happened per second between the oldest and the latest sample; nothing with fewer than two.
    #[must_use]
    pub fn per_second(&self) -> PerSecond {
        let samples = self.0.lock();
        let (Some(first), Some(last)) = (samples.front(), samples.back()) else {
            return PerSecond::default();
        };
        let ms = last.now_ms.saturating_sub(first.now_ms).max(1);
        let each = |first: u64, last: u64| last.saturating_sub(first).saturating_mul(1000) / ms;
        PerSecond {
            commands: each(first.commands, last.commands),
            bytes_in: each(first.bytes_in, last.bytes_in),
            bytes_out: each(first.bytes_out, last.bytes_out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_samples_count() {
        let rates = Rates::default();
        assert_eq!(rates.per_second(), PerSecond::default());
        for tick in 0..20 {
            // Nothing for four ticks, then 50 commands of 10 bytes in each.
            let commands = 50 * u64::from(tick > 4) * (tick - 4.min(tick));
            let sample =
                Sample { now_ms: tick * 100, commands, bytes_in: commands * 10, bytes_out: 0 };
            rates.note(sample);
        }
        let expected = PerSecond { commands: 500, bytes_in: 5000, bytes_out: 0 };
        assert_eq!(rates.per_second(), expected);
    }
}
