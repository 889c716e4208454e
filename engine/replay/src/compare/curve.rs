//! Miss-ratio curves from a sample of the keys.
//!
//! SHARDS (C. Waldspurger, N. Park, A. Garthwaite, I. Ahmad, FAST '15) takes the requests of those keys
//! whose hash falls below a threshold: a share R of the keys with all of their requests. Miniature
//! simulation (C. Waldspurger, T. Saemundsson, I. Ahmad, N. Park, ATC '17) plays that sample through a
//! cache of R times the size, which works for any policy, not for stacks alone. A curve of twenty sizes
//! at R = 1/20 costs as much as one run.
//!
//! SHARDS-adj: the sample should hold R times all requests; by how much it does not is the luck of which
//! popular keys were taken. Those keys hit in all but the smallest caches, so the difference is made up
//! by hits: misses are divided by the requests there should be, not by those there are.
//!
//! The sample's hash has a seed of its own, so that neither a policy's own hashing nor the groups of
//! keys of a comparison know which keys were taken.

use ostler_abi::hash_u64;
use ostler_core::{Batch, InstanceSource};

use crate::capacity::Footprint;
use crate::error::TraceError;
use crate::run::{RunConfig, WeightMode, run_loaded};
use crate::trace::{BLOCK_REQUESTS_MAX, Request, TraceReader};

/// Seed of the hash that samples keys.
const SAMPLE_SEED: u64 = 0x7368_6172_6473;
/// Keys that a sample should have: with them the papers' errors are below 1 pp.
const SAMPLE_KEYS: f64 = 32_768.0;
/// Requests that a sample should have at most, as long as that leaves keys enough.
const SAMPLE_REQUESTS: f64 = 1_000_000.0;
/// Keys that a sample has in any case, where the trace has them.
const SAMPLE_KEYS_MIN: f64 = 8_192.0;
/// Objects that the smallest miniature should hold: below, a policy's parts shrink to nothing.
const MINIATURE_OBJECTS_MIN: f64 = 16.0;

/// A sample of a trace's keys, to be played through miniature caches.
///
/// ```
/// use ostler::Policy;
/// use ostler_core::Batch;
/// use ostler_replay::{Footprint, MiniatureCurve, RunConfig, TraceSource, WeightMode, sizes_between};
///
/// let trace: TraceSource = "zipf(n=300000,keys=50000)".parse()?;
/// let requests = trace.load(usize::MAX)?;
/// let footprint = Footprint::of(&requests);
/// let curve = MiniatureCurve::of(&requests, &footprint, WeightMode::Objects);
///
/// let native = ostler::builtin("sieve").expect("it is built in").native;
/// let sieve = Policy::from_native(native, &serde_json::Map::new(), "sieve".to_owned())?;
/// let sizes = sizes_between(1_000, 20_000, 4);
/// let points = sizes.into_iter().filter_map(|capacity| curve.point(&sieve, capacity, 0));
/// let ratios: Vec<f64> = points.map(|point| point.miss_ratio).collect();
/// assert!(ratios.is_sorted_by(|small, large| small > large), "{ratios:?}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct MiniatureCurve {
    weights: WeightMode,
    rate: f64,
    requests: Vec<Request>,
    /// Requests and weight of the whole trace, times the rate.
    expected_requests: f64,
    expected_weight: f64,
    /// Mean weight of an object.
    object_weight: f64,
}

/// One size of a curve.
///
/// ```
/// use ostler_replay::CurvePoint;
///
/// fn csv(point: &CurvePoint) -> String {
///     format!("{},{}", point.capacity, point.miss_ratio)
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct CurvePoint {
    /// The size that the miniature stands for.
    pub capacity: u64,
    /// Estimated misses ÷ requests, 0 to 1.
    pub miss_ratio: f64,
    /// Estimated weight missed ÷ weight requested, 0 to 1.
    pub byte_miss_ratio: f64,
}

impl MiniatureCurve {
    /// Samples a trace that is in memory. The rate aims at 32,768 keys and at most a million requests,
    /// but at least 8,192 keys; a trace with fewer is taken whole, and its points are exact.
    #[must_use]
    pub fn of(requests: &[Request], footprint: &Footprint, weights: WeightMode) -> Self {
        let mut curve = Self::empty(footprint, weights);
        curve.add(requests);
        curve.scale()
    }

    /// Samples a trace that is streamed.
    ///
    /// # Errors
    ///
    /// Any error of the trace.
    pub fn read(
        mut trace: TraceReader,
        footprint: &Footprint,
        weights: WeightMode,
    ) -> Result<Self, TraceError> {
        let mut curve = Self::empty(footprint, weights);
        let mut block = Vec::with_capacity(BLOCK_REQUESTS_MAX);
        while trace.read_block(&mut block)? > 0 {
            curve.add(&block);
        }
        Ok(curve.scale())
    }

    fn empty(footprint: &Footprint, weights: WeightMode) -> Self {
        let objects = footprint.unique_objects.max(1) as f64;
        let wanted =
            (SAMPLE_KEYS / objects).min(SAMPLE_REQUESTS / footprint.requests.max(1) as f64);
        Self {
            weights,
            rate: wanted.max(SAMPLE_KEYS_MIN / objects).min(1.0),
            requests: Vec::new(),
            expected_requests: 0.0,
            expected_weight: 0.0,
            object_weight: match weights {
                WeightMode::Objects => 1.0,
                WeightMode::Bytes => footprint.unique_bytes.max(1) as f64 / objects,
            },
        }
    }

    /// Counts all requests, takes those of the sample.
    fn add(&mut self, requests: &[Request]) {
        let rate = self.rate;
        let is_taken = |key: u64| {
            let place = (hash_u64(key, SAMPLE_SEED) >> 11) as f64 / (1u64 << 53) as f64;
            place < rate
        };
        for request in requests {
            if request.is_request() {
                self.expected_requests += 1.0;
                self.expected_weight += match self.weights {
                    WeightMode::Objects => 1.0,
                    WeightMode::Bytes => f64::from(request.weight_bytes()),
                };
            }
        }
        self.requests.extend(requests.iter().filter(|request| is_taken(request.key)));
    }

    fn scale(mut self) -> Self {
        self.expected_requests *= self.rate;
        self.expected_weight *= self.rate;
        self
    }

    /// The share of the keys that the sample holds; 1 where all are played and the points are exact.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.rate
    }

    /// The estimate for a cache of `capacity`; none where the miniature would hold fewer than 16
    /// objects of the mean weight and the sample is not the whole trace. Cost: a run of the sample.
    #[must_use]
    pub fn point(
        &self,
        source: &dyn InstanceSource,
        capacity: u64,
        seed: u64,
    ) -> Option<CurvePoint> {
        let scaled = capacity as f64 * self.rate;
        if self.rate < 1.0 && scaled < MINIATURE_OBJECTS_MIN * self.object_weight {
            return None;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "at most the capacity, and not negative"
        )]
        let scaled = scaled.round() as u64;
        let config = RunConfig {
            capacity: if self.rate < 1.0 { scaled } else { capacity },
            weights: self.weights,
            shards: 1,
            seed,
            batch: Batch::Exact,
        };
        let outcome = run_loaded(source, config, &self.requests, &|_| ());
        let part = |missed: u64, expected: f64| (missed as f64 / expected.max(1.0)).min(1.0);
        Some(CurvePoint {
            capacity,
            miss_ratio: part(outcome.misses, self.expected_requests),
            byte_miss_ratio: part(outcome.weight_missed, self.expected_weight),
        })
    }
}

/// At most `count` sizes from `smallest` to `largest`, both included, each the same factor above the one
/// before; rounded, without repetition.
///
/// ```
/// use ostler_replay::sizes_between;
///
/// assert_eq!(sizes_between(10, 1000, 5), [10, 32, 100, 316, 1000]);
/// assert_eq!(sizes_between(1, 3, 10), [1, 2, 3]);
/// assert_eq!(sizes_between(7, 7, 10), [7]);
/// ```
#[must_use]
pub fn sizes_between(smallest: u64, largest: u64, count: u32) -> Vec<u64> {
    let (smallest, largest) = (smallest.max(1), largest.max(smallest).max(1));
    let steps = count.max(2) - 1;
    let factor = largest as f64 / smallest as f64;
    let size = |step: u32| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "positive, saturating, and kept between the ends right after"
        )]
        let size =
            (smallest as f64 * factor.powf(f64::from(step) / f64::from(steps))).round() as u64;
        if step == steps { largest } else { size.clamp(smallest, largest) }
    };
    let mut sizes: Vec<u64> = (0..=steps).map(size).collect();
    sizes.dedup();
    sizes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TraceSource;

    fn sieve() -> ostler::Policy {
        let native = ostler::builtin("sieve").unwrap().native;
        ostler::Policy::from_native(native, &serde_json::Map::new(), "sieve".to_owned()).unwrap()
    }

    fn load(spec: &str) -> (Vec<Request>, Footprint) {
        let requests = spec.parse::<TraceSource>().unwrap().load(usize::MAX).unwrap();
        let footprint = Footprint::of(&requests);
        (requests, footprint)
    }

    fn exact(requests: &[Request], capacity: u64, weights: WeightMode) -> (f64, f64) {
        let config = RunConfig { capacity, weights, shards: 1, seed: 0, batch: Batch::Exact };
        let outcome = run_loaded(&sieve(), config, requests, &|_| ());
        (outcome.miss_ratio(), outcome.byte_miss_ratio())
    }

    #[test]
    fn a_small_trace_is_taken_whole_and_its_points_are_exact() {
        let (requests, footprint) = load("zipf(n=20000,keys=2000,size=1..1000)");
        for weights in [WeightMode::Objects, WeightMode::Bytes] {
            let curve = MiniatureCurve::of(&requests, &footprint, weights);
            assert_eq!(curve.rate(), 1.0);
            for capacity in [1, 10, 300, 5000] {
                let point = curve.point(&sieve(), capacity, 0).unwrap();
                let found = (point.miss_ratio, point.byte_miss_ratio);
                assert_eq!(found, exact(&requests, capacity, weights));
            }
        }
    }

    #[test]
    fn a_sample_comes_close_and_leaves_out_what_it_cannot_say() {
        let (requests, footprint) = load("zipf(n=800000,keys=200000,alpha=0.9)");
        let curve = MiniatureCurve::of(&requests, &footprint, WeightMode::Objects);
        assert!((0.1..0.4).contains(&curve.rate()), "{}", curve.rate());
        for capacity in [1_000, 5_000, 20_000, 60_000] {
            let point = curve.point(&sieve(), capacity, 0).unwrap();
            let (expected, _) = exact(&requests, capacity, WeightMode::Objects);
            assert!(
                (point.miss_ratio - expected).abs() < 0.012,
                "{capacity}: {point:?} {expected}"
            );
        }
        assert_eq!(curve.point(&sieve(), 10, 0), None);
    }

    #[test]
    fn a_stream_gives_the_same_sample() {
        let trace: TraceSource = "zipf(n=200000,keys=90000,size=5..50)".parse().unwrap();
        let (requests, footprint) = load(&trace.to_string());
        let loaded = MiniatureCurve::of(&requests, &footprint, WeightMode::Bytes);
        let streamed =
            MiniatureCurve::read(trace.open().unwrap(), &footprint, WeightMode::Bytes).unwrap();
        assert_eq!(streamed.requests, loaded.requests);
        assert_eq!(streamed.expected_weight, loaded.expected_weight);
        let share = loaded.requests.len() as f64 / requests.len() as f64;
        assert!(loaded.rate() < 1.0 && (share / loaded.rate() - 1.0).abs() < 0.2, "{share}");
    }
}
