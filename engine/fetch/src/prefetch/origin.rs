//! How many fetches the origin gets at once: fewer where it is slow, none for a while where it fails.
//!
//! Idea: additive increase, multiplicative decrease, as for a connection. Every answer in time adds
//! a share of a place, every slow one or failure takes half of the places. A failure also pauses
//! prefetching, twice as long after each failure in a row. Prefetches go first: a demand is never
//! counted or held up here.

/// Parts of one place among the fetches under way.
const PLACE: u64 = 1 << 16;
/// An answer is slow where it takes longer than this many times what answers take lately.
const SLOW_TIMES: u64 = 4;
/// Answers that are quicker than this are never slow by comparison, milliseconds.
const SLOW_FLOOR_MS: u64 = 20;

/// The limits of an [`Origin`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OriginConfig {
    /// Most fetches under way at once, at least 1.
    pub fetches_max: u32,
    /// An answer that takes longer is slow whatever others take, milliseconds. With `u32::MAX` none
    /// is, by comparison neither.
    pub slow_ms: u32,
    /// The pause after a first failure, milliseconds.
    pub pause_ms: u32,
    /// The longest pause, milliseconds.
    pub pause_max_ms: u32,
}

impl Default for OriginConfig {
    fn default() -> Self {
        Self { fetches_max: 64, slow_ms: 1_000, pause_ms: 100, pause_max_ms: 30_000 }
    }
}

/// What the host thinks of the origin. See the file's header.
#[derive(Clone, Debug)]
pub struct Origin {
    config: OriginConfig,
    /// Fetches that may be under way, in parts of one: from one place to `fetches_max`.
    places: u64,
    /// What answers take lately, in 256ths of a millisecond; none before the first.
    usual: Option<u64>,
    /// Failures since the last answer.
    failures: u32,
    paused_until_ms: u64,
}

impl Origin {
    /// An origin that nothing is known of: it gets as many fetches as there may be.
    #[must_use]
    pub fn new(config: OriginConfig) -> Self {
        let config = OriginConfig { fetches_max: config.fetches_max.max(1), ..config };
        let places = u64::from(config.fetches_max) * PLACE;
        Self { config, places, usual: None, failures: 0, paused_until_ms: 0 }
    }

    /// True where one more fetch may go while `under_way` are.
    #[must_use]
    pub fn permits(&self, under_way: usize, now_ms: u64) -> bool {
        now_ms >= self.paused_until_ms && (under_way as u64) < self.places / PLACE
    }

    /// A fetch was answered after `latency_ms`.
    pub fn answered(&mut self, latency_ms: u64) {
        self.failures = 0;
        let latency = latency_ms.min(u64::from(u32::MAX)) << 8;
        let usual = *self.usual.get_or_insert(latency);
        let is_slow = self.config.slow_ms != u32::MAX
            && (latency_ms > u64::from(self.config.slow_ms)
                || latency_ms > SLOW_FLOOR_MS && latency > usual.saturating_mul(SLOW_TIMES));
        // What is slow for long becomes usual, but four times as slowly.
        let share = if is_slow { 64 } else { 16 };
        self.usual = Some(usual - usual / share + latency / share);
        if is_slow {
            self.halve();
        } else {
            let places_max = u64::from(self.config.fetches_max) * PLACE;
            self.places = (self.places + PLACE * PLACE / self.places).min(places_max);
        }
    }

    /// A fetch failed or timed out.
    pub fn failed(&mut self, now_ms: u64) {
        self.halve();
        let pause_ms = u64::from(self.config.pause_ms) << self.failures.min(20);
        self.paused_until_ms = now_ms + pause_ms.min(u64::from(self.config.pause_max_ms));
        self.failures = self.failures.saturating_add(1);
    }

    /// Fetches that may be under way at once now.
    #[must_use]
    pub const fn places(&self) -> u64 {
        self.places / PLACE
    }

    fn halve(&mut self) {
        self.places = (self.places / 2).max(PLACE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_answers_halve_the_places_and_quick_ones_bring_them_back() {
        let mut origin = Origin::new(OriginConfig { fetches_max: 8, ..Default::default() });
        origin.answered(10);
        assert_eq!(origin.places(), 8);
        for (latency_ms, places) in [(41, 4), (1_001, 2), (1_001, 1), (1_001, 1), (20, 2), (20, 2)]
        {
            origin.answered(latency_ms);
            assert_eq!(origin.places(), places, "after {latency_ms} ms");
        }
        (0..100).for_each(|_| origin.answered(10));
        assert_eq!(origin.places(), 8);
        assert!(origin.permits(7, 0) && !origin.permits(8, 0));
    }

    #[test]
    fn a_latency_that_lasts_becomes_usual() {
        let mut origin = Origin::new(OriginConfig::default());
        (0..100).for_each(|_| origin.answered(2));
        origin.answered(100);
        assert_eq!(origin.places(), 32);
        (0..400).for_each(|_| origin.answered(100));
        assert!(origin.places() > 4, "{}", origin.places());
    }

    #[test]
    fn failures_pause_for_longer_and_longer() {
        let mut origin = Origin::new(OriginConfig::default());
        let mut now_ms = 1_000;
        for pause_ms in [100, 200, 400, 800] {
            origin.failed(now_ms);
            assert!(!origin.permits(0, now_ms + pause_ms - 1));
            now_ms += pause_ms;
            assert!(origin.permits(0, now_ms));
        }
        (0..40).for_each(|_| origin.failed(now_ms));
        assert!(!origin.permits(0, now_ms + 29_999) && origin.permits(0, now_ms + 30_000));
        assert_eq!(origin.places(), 1);
        origin.answered(1);
        origin.failed(0);
        assert!(origin.permits(0, 100), "an answer ends the series");
    }
}
