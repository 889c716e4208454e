//! Durations, counted into buckets: for the latencies that `/metrics` shows.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::keyspace::{STRIPES, stripe};

/// Upper bounds of the buckets, nanoseconds: 1, 2.5 and 5 in each decade from a microsecond to ten
/// seconds. Above the last is one more bucket.
pub const BOUNDS_NS: [u64; 22] = {
    let mut bounds = [0; 22];
    let (mut index, mut decade) = (0, 1_000);
    while index < bounds.len() {
        bounds[index] = match index % 3 {
            0 => decade,
            1 => decade * 5 / 2,
            _ => decade * 5,
        };
        if index % 3 == 2 {
            decade *= 10;
        }
        index += 1;
    }
    bounds
};

/// Buckets, the one above the last bound included.
const BUCKETS: usize = BOUNDS_NS.len() + 1;

/// How often which duration was seen. Threads count into stripes of their own, so that they do not
/// wait for each other. Cost of an observation: two uncontended additions.
#[derive(Debug, Default)]
pub struct Histogram {
    stripes: [Stripe; STRIPES],
}

#[derive(Debug, Default)]
#[repr(align(128))]
struct Stripe {
    buckets: [AtomicU64; BUCKETS],
    sum_ns: AtomicU64,
}

/// What a histogram has counted so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Observations of each bucket; the last is above all bounds.
    pub buckets: [u64; BUCKETS],
    /// Sum of all observations, nanoseconds.
    pub sum_ns: u64,
}

impl Histogram {
    /// Counts one observation.
    pub fn note(&self, duration: Duration) {
        self.note_times(duration, 1);
    }

    /// Counts an observation that stands for `times` like it, as one command in so many is timed.
    pub fn note_times(&self, duration: Duration, times: u64) {
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_NS.partition_point(|&bound| bound < ns);
        let stripe = &self.stripes[stripe()];
        stripe.buckets[bucket].fetch_add(times, Relaxed);
        stripe.sum_ns.fetch_add(ns.saturating_mul(times), Relaxed);
    }

    /// All that was counted.
    #[must_use]
    pub fn counted(&self) -> Counted {
        let mut counted = Counted { buckets: [0; BUCKETS], sum_ns: 0 };
        for stripe in &self.stripes {
            for (sum, bucket) in counted.buckets.iter_mut().zip(&stripe.buckets) {
                *sum += bucket.load(Relaxed);
            }
            counted.sum_ns = counted.sum_ns.wrapping_add(stripe.sum_ns.load(Relaxed));
        }
        counted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_land_in_their_buckets() {
        assert_eq!(BOUNDS_NS[..4], [1_000, 2_500, 5_000, 10_000]);
        assert_eq!(BOUNDS_NS[21], 10_000_000_000);
        let histogram = Histogram::default();
        for (ns, bucket) in
            [(0, 0), (1_000, 0), (1_001, 1), (10_000_000_000, 21), (u64::MAX / 4, 22)]
        {
            let before = histogram.counted().buckets[bucket];
            histogram.note(Duration::from_nanos(ns));
            assert_eq!(histogram.counted().buckets[bucket], before + 1, "{ns}");
        }
        histogram.note_times(Duration::from_micros(2), 64);
        assert_eq!(histogram.counted().buckets[1], 65);
    }
}
