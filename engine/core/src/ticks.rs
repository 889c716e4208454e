//! The shard's coarse time: a tick a maintenance, and roughly when each tick was.
//!
//! An entry's word has 21 bits for its last access. Milliseconds would wrap within hours, or be too
//! coarse to tell apart what a busy shard did since breakfast; maintenances follow the load. For the
//! hand-over, which wants times, a few samples of (tick, time) are kept, evenly thinned as they age.

use crate::residents::TICKS;

/// Samples kept at most.
const SAMPLES_MAX: usize = 64;

/// The tick now, and when some of the ticks before it were.
#[derive(Debug)]
pub(crate) struct TickTimes {
    /// Ticks since the start; the words keep it modulo [`TICKS`].
    ticks: u64,
    /// (tick, milliseconds), oldest first.
    samples: Vec<(u64, u64)>,
    /// Ticks between samples, a power of two.
    spacing: u64,
}

impl TickTimes {
    pub(crate) fn new(now_ms: u64) -> Self {
        Self { ticks: 0, samples: vec![(0, now_ms)], spacing: 1 }
    }

    /// The tick now, below [`TICKS`].
    #[inline]
    pub(crate) fn now(&self) -> u32 {
        (self.ticks % u64::from(TICKS)) as u32
    }

    /// The tick that was `age` ticks ago, not wrapped.
    pub(crate) fn before(&self, age: u32) -> u64 {
        self.ticks.saturating_sub(u64::from(age))
    }

    /// The next tick, which is at `now_ms`.
    #[inline]
    pub(crate) fn advance(&mut self, now_ms: u64) {
        self.ticks += 1;
        if self.ticks & (self.spacing - 1) == 0 {
            self.sample(now_ms);
        }
    }

    #[cold]
    fn sample(&mut self, now_ms: u64) {
        if self.samples.len() == SAMPLES_MAX {
            self.spacing *= 2;
            let spacing = self.spacing;
            self.samples.retain(|&(tick, _)| tick.is_multiple_of(spacing));
            if !self.ticks.is_multiple_of(spacing) {
                return;
            }
        }
        self.samples.push((self.ticks, now_ms));
    }

    /// About when it was `age` ticks ago: the time of the last sample before.
    pub(crate) fn time_ms(&self, age: u32) -> u64 {
        let tick = self.before(age);
        let after = self.samples.partition_point(|&(sampled, _)| sampled <= tick);
        self.samples.get(after.saturating_sub(1)).map_or(0, |&(_, time_ms)| time_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_the_last_sample_before() {
        let mut ticks = TickTimes::new(5);
        for tick in 1..=1000u64 {
            ticks.advance(5 + tick * 10);
        }
        assert!(ticks.samples.len() <= SAMPLES_MAX);
        for age in [0, 1, 17, 500, 999, 1000, 5000] {
            let exact = 5 + 1000u64.saturating_sub(age) * 10;
            let found = ticks.time_ms(age as u32);
            assert!(found <= exact && exact - found <= 10 * ticks.spacing, "{age}: {found}");
        }
    }
}
