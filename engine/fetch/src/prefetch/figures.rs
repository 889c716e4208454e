//! What prefetching did, counted, and the seven figures that tell whether it was worth it.

use serde::Serialize;

/// Counters of a [`Prefetcher`](super::Prefetcher); all since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PrefetchCounters {
    /// Requests: hits and misses.
    pub requests: u64,
    /// Requests that found nothing, late ones among them.
    pub misses: u64,
    /// Asks of the policy.
    pub asks: u64,
    /// Asks that were fetched.
    pub fetches: u64,
    /// Fetches that brought an entry in which was not there.
    pub landed: u64,
    /// Prefetched entries that were hit.
    pub useful: u64,
    /// Fetches that a demand overtook: each of those demands is a miss.
    pub late: u64,
    /// Prefetched entries that left unused, or were not followed any longer.
    pub wasted: u64,
    /// Fetches that failed or timed out.
    pub failed: u64,
    /// Fetches of keys that the origin does not have.
    pub absent: u64,
    /// Misses on entries that made room for a prefetched one which was of no use.
    pub polluted: u64,
    /// Asks refused for want of budget.
    pub refused_budget: u64,
    /// Asks for what was resident or under way.
    pub refused_resident: u64,
    /// Asks refused because the fetch slots were taken, or the origin was slow or failing.
    pub refused_queue: u64,
    /// Asks for keys that the host did not know (any more).
    pub refused_unknown: u64,
}

/// The seven figures, all fractions. See [`PrefetchCounters::figures`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    /// Misses turned into hits ÷ misses there would have been: useful ÷ (useful + misses).
    pub coverage: f64,
    /// Useful ÷ fetches.
    pub accuracy: f64,
    /// Late ÷ fetches.
    pub late_fraction: f64,
    /// Fetches that would not have been made without prefetching, a request.
    pub extra_fetches_per_request: f64,
    /// Misses on entries that prefetches displaced, a request.
    pub pollution: f64,
    /// Hit ratio with prefetching less that without.
    pub hit_gain: f64,
    /// Wasted ÷ fetches.
    pub wasted: f64,
}

impl PrefetchCounters {
    /// The figures as far as the run itself can tell them. What would have happened without
    /// prefetching is estimated: every useful entry saved a miss, every polluted one cost a miss. An
    /// entry that a demand evicted only because useless ones took up its room is not told from others,
    /// so pollution is rather more than that.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let misses_without = (self.misses + self.useful).saturating_sub(self.polluted);
        self.figures_against(misses_without, self.polluted)
    }

    /// The figures against what is known of the same requests without prefetching: that run's
    /// misses, and the requests that missed with prefetching only.
    #[must_use]
    pub fn figures_against(&self, misses_without: u64, polluted: u64) -> Figures {
        let requests = self.requests.max(1) as f64;
        let of_fetches = |count: u64| count as f64 / self.fetches.max(1) as f64;
        // A late demand shares the fetch that is under way.
        let fetches = self.misses + self.fetches - self.late;
        Figures {
            coverage: self.useful as f64 / (self.useful + self.misses).max(1) as f64,
            accuracy: of_fetches(self.useful),
            late_fraction: of_fetches(self.late),
            extra_fetches_per_request: (fetches as f64 - misses_without as f64) / requests,
            pollution: polluted as f64 / requests,
            hit_gain: (misses_without as f64 - self.misses as f64) / requests,
            wasted: of_fetches(self.wasted),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_worked_by_hand() {
        let counters = PrefetchCounters {
            requests: 1000,
            misses: 300,
            fetches: 200,
            landed: 190,
            useful: 100,
            late: 10,
            wasted: 40,
            polluted: 20,
            ..Default::default()
        };
        // Without: 300 + 100 - 20 = 380 misses. With: 300 + 200 - 10 = 490 fetches.
        let expected = Figures {
            coverage: 0.25,
            accuracy: 0.5,
            late_fraction: 0.05,
            extra_fetches_per_request: 0.11,
            pollution: 0.02,
            hit_gain: 0.08,
            wasted: 0.2,
        };
        assert_eq!(counters.figures(), expected);
        let against = counters.figures_against(390, 15);
        assert_eq!((against.hit_gain, against.pollution), (0.09, 0.015));
        assert_eq!(PrefetchCounters::default().figures(), Figures::default());
    }
}
