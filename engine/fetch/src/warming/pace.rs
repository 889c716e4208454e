//! When the next key may be fetched: so many a second, so many at once, fewer where the origin is slow.

use crate::prefetch::{Origin, OriginConfig};

/// How fast a cache is warmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PaceConfig {
    /// Fetches begun in a second, at least 1.
    pub fetches_per_second: u32,
    /// How the origin is spared.
    pub origin: OriginConfig,
}

impl Default for PaceConfig {
    fn default() -> Self {
        Self { fetches_per_second: 1_000, origin: OriginConfig::default() }
    }
}

/// Says when a fetch may begin. Every time is in milliseconds of one clock.
#[derive(Clone, Debug)]
pub struct Pace {
    config: PaceConfig,
    origin: Origin,
    under_way: usize,
    /// When the next fetch may begin, in microseconds: one is due every so many.
    next_us: u64,
}

/// How far a pace that was held up may catch up, microseconds.
const CATCH_UP_US: u64 = 100_000;

impl Pace {
    /// A pace that starts at once.
    #[must_use]
    pub fn new(config: PaceConfig) -> Self {
        Self { config, origin: Origin::new(config.origin), under_way: 0, next_us: 0 }
    }

    /// Takes the permission for one fetch, if there is one now: it must then be
    /// [answered](Self::answered) or [failed](Self::failed), once.
    pub fn begin(&mut self, now_ms: u64) -> bool {
        let now_us = now_ms.saturating_mul(1_000);
        if now_us < self.next_us || !self.origin.permits(self.under_way, now_ms) {
            return false;
        }
        let step_us = 1_000_000 / u64::from(self.config.fetches_per_second.max(1));
        self.next_us = self.next_us.max(now_us.saturating_sub(CATCH_UP_US)) + step_us;
        self.under_way += 1;
        true
    }

    /// A fetch was answered after `latency_ms`, with a value or without.
    pub fn answered(&mut self, latency_ms: u64) {
        self.under_way = self.under_way.saturating_sub(1);
        self.origin.answered(latency_ms);
    }

    /// A fetch failed or timed out.
    pub fn failed(&mut self, now_ms: u64) {
        self.under_way = self.under_way.saturating_sub(1);
        self.origin.failed(now_ms);
    }

    /// Fetches under way.
    #[must_use]
    pub const fn under_way(&self) -> usize {
        self.under_way
    }
}
