//! Several contenders in lock-step over the same requests.

use super::grid::{Counts, Grid, KEY_GROUPS};
use super::interval::{Difference, Evidence};
use super::{Contender, Outcome};
use crate::error::TraceError;
use crate::run::{RunOutcome, WeightMode};
use crate::trace::{BLOCK_REQUESTS_MAX, Request, TraceReader};

/// What all contenders of a row share.
///
/// ```
/// use ostler_replay::{PairedSetup, WeightMode};
///
/// let setup = PairedSetup { capacity: 1000, weights: WeightMode::Objects };
/// assert_eq!(setup.capacity, 1000);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PairedSetup {
    /// Capacity of each contender's cache: it says how long a decision is felt.
    pub capacity: u64,
    /// What a request weighs.
    pub weights: WeightMode,
}

/// What a difference is a share of.
///
/// ```
/// use ostler_replay::Measure;
///
/// assert_ne!(Measure::Requests, Measure::Weight);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Requests: the miss ratio.
    Requests,
    /// Weight: the byte miss ratio.
    Weight,
}

/// A paired play under way: the first contender is the baseline, the others are challengers.
///
/// Every block is played by each of them before the next one is read. Besides the contenders' own
/// memory it takes 1 MiB for each of them and for itself.
///
/// ```
/// use ostler::Policy;
/// use ostler_core::Batch;
/// use ostler_replay::{Contender, Measure, Paired, PairedSetup, Run, RunConfig, TraceSource, Verdict, WeightMode};
///
/// let (capacity, weights) = (500, WeightMode::Objects);
/// let config = RunConfig { capacity, weights, shards: 1, seed: 0, batch: Batch::Exact };
/// let contender = |name| -> Result<Box<dyn Contender>, ostler::OpenError> {
///     let native = ostler::builtin(name).expect("it is built in").native;
///     let policy = Policy::from_native(native, &serde_json::Map::new(), name.to_owned())?;
///     Ok(Box::new(Run::new(&policy, config)))
/// };
/// let contenders = vec![contender("lru")?, contender("sieve")?];
/// let mut paired = Paired::new(PairedSetup { capacity, weights }, contenders);
/// let trace: TraceSource = "zipf(n=50000,keys=5000)".parse()?;
/// paired.play(&trace.load(usize::MAX)?);
/// let outcome = paired.finish();
/// let difference = outcome.difference(1, Measure::Requests);
/// assert_eq!(difference.verdict(), Verdict::Win); // sieve misses less than lru
/// assert!(difference.low < difference.estimate && difference.estimate < difference.high);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Paired<'a> {
    setup: PairedSetup,
    contenders: Vec<Box<dyn Contender + 'a>>,
    grid: Grid,
    /// By contender, what the block's requests found.
    outcomes: Vec<Vec<Outcome>>,
    /// By contender, requests that it answered otherwise than the baseline.
    disagreements: Vec<Disagreement>,
}

/// Requests that a challenger and the baseline did not answer alike.
#[derive(Clone, Copy, Debug, Default)]
struct Disagreement {
    /// Hits of the challenger that the baseline missed.
    gained: u64,
    /// Misses of the challenger that the baseline hit.
    lost: u64,
}

impl<'a> Paired<'a> {
    /// A play of `contenders` whose caches are empty.
    #[must_use]
    pub fn new(setup: PairedSetup, contenders: Vec<Box<dyn Contender + 'a>>) -> Self {
        let count = contenders.len();
        Self {
            setup,
            contenders,
            grid: Grid::new(count),
            outcomes: vec![Vec::new(); count],
            disagreements: vec![Disagreement::default(); count],
        }
    }

    /// Plays requests, in order, a block at a time under each contender.
    ///
    /// # Panics
    ///
    /// Where a contender does not return one outcome for each request.
    pub fn play(&mut self, requests: &[Request]) {
        for block in requests.chunks(BLOCK_REQUESTS_MAX) {
            self.play_block(block);
        }
    }

    /// Plays a whole stream. `progress` hears how many records were played since it was last called.
    ///
    /// # Errors
    ///
    /// The trace's error; requests before it were played.
    pub fn play_stream(
        &mut self,
        trace: &mut TraceReader,
        progress: &dyn Fn(u64),
    ) -> Result<(), TraceError> {
        let mut block = Vec::new();
        while trace.read_block(&mut block)? > 0 {
            self.play_block(&block);
            progress(block.len() as u64);
        }
        Ok(())
    }

    fn play_block(&mut self, block: &[Request]) {
        let requests = block.iter().filter(|request| request.is_request()).count();
        for (contender, outcomes) in self.contenders.iter_mut().zip(&mut self.outcomes) {
            outcomes.clear();
            contender.play(block, outcomes);
            assert_eq!(outcomes.len(), requests, "a contender answers every request once");
        }
        if let Some((baseline, challengers)) = self.outcomes.split_first() {
            let counts = self.disagreements.iter_mut().skip(1);
            for (outcomes, disagreement) in challengers.iter().zip(counts) {
                disagreement.count(baseline, outcomes);
            }
        }
        let weights = self.setup.weights;
        let weight_of = |request: &Request| match weights {
            WeightMode::Objects => 1,
            WeightMode::Bytes => request.weight_bytes(),
        };
        self.grid.add(block, weight_of, &self.outcomes);
    }

    /// Ends all runs.
    #[must_use]
    pub fn finish(self) -> PairedOutcome {
        PairedOutcome {
            setup: self.setup,
            runs: self.contenders.into_iter().map(Contender::finish).collect(),
            grid: self.grid,
            disagreements: self.disagreements,
        }
    }
}

impl Disagreement {
    fn count(&mut self, baseline: &[Outcome], challenger: &[Outcome]) {
        for (baseline, challenger) in baseline.iter().zip(challenger) {
            self.gained += u64::from(baseline.is_miss() & !challenger.is_miss());
            self.lost += u64::from(!baseline.is_miss() & challenger.is_miss());
        }
    }
}

/// A stretch of the trace and the difference in it.
///
/// ```
/// use ostler_replay::Stretch;
///
/// fn is_better_there(stretch: &Stretch) -> bool {
///     stretch.difference < 0.0
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Stretch {
    /// Index of the first request.
    pub first_request: u64,
    /// Requests in it.
    pub requests: u64,
    /// The baseline's miss ratio in it.
    pub baseline: f64,
    /// Miss ratio of the challenger − miss ratio of the baseline, in this stretch.
    pub difference: f64,
}

/// What a paired play measured.
///
/// ```
/// use ostler_replay::{Measure, PairedOutcome};
///
/// /// Requests that each challenger saves in a thousand.
/// fn saved(outcome: &PairedOutcome) -> Vec<f64> {
///     let challengers = 1..outcome.runs().len();
///     challengers.map(|it| -1000.0 * outcome.difference(it, Measure::Requests).estimate).collect()
/// }
/// ```
#[derive(Clone, Debug)]
pub struct PairedOutcome {
    setup: PairedSetup,
    runs: Vec<RunOutcome>,
    grid: Grid,
    disagreements: Vec<Disagreement>,
}

impl PairedOutcome {
    /// Each contender's own outcome, in order.
    #[must_use]
    pub fn runs(&self) -> &[RunOutcome] {
        &self.runs
    }

    /// Hits of a challenger that the baseline missed, and misses of it that the baseline hit.
    ///
    /// # Panics
    ///
    /// Where there is no such contender.
    #[must_use]
    pub fn gained_and_lost(&self, challenger: usize) -> (u64, u64) {
        let Disagreement { gained, lost } = self.disagreements[challenger];
        (gained, lost)
    }

    /// What separates the contender `challenger` from the baseline, contender 0, with its interval.
    /// Costs some microseconds.
    ///
    /// # Panics
    ///
    /// Where there is no such contender.
    #[must_use]
    pub fn difference(&self, challenger: usize, measure: Measure) -> Difference {
        let of = |contender| match measure {
            Measure::Requests => &self.grid.missed(contender).requests,
            Measure::Weight => &self.grid.missed(contender).weight,
        };
        let requested = match measure {
            Measure::Requests => &self.grid.all().requests,
            Measure::Weight => &self.grid.all().weight,
        };
        let Disagreement { gained, lost } = self.disagreements[challenger];
        let evidence = Evidence {
            requested: requested.rows(),
            baseline: of(0).rows(),
            challenger: of(challenger).rows(),
            stretch_requests: self.grid.stretch_requests(),
            turnover: self.turnover(challenger),
            disagreements: gained + lost,
        };
        evidence.difference()
    }

    /// The part of the trace in which as much weight as the capacity comes into the slower of the two
    /// caches.
    fn turnover(&self, challenger: usize) -> f64 {
        let total = |counts: &Counts| counts.rows().iter().flatten().sum::<u64>();
        let brought = [0, challenger].map(|contender| total(&self.grid.missed(contender).weight));
        let least = brought.into_iter().min().unwrap_or(0).max(1);
        self.setup.capacity as f64 / least as f64
    }

    /// The difference over time: the trace in at most `count` stretches of the same length, but for the
    /// last one, which is half to one and a half times as long.
    ///
    /// # Panics
    ///
    /// Where there is no such contender.
    #[must_use]
    pub fn stretches(&self, challenger: usize, count: usize) -> Vec<Stretch> {
        let sum = |rows: &[[u64; KEY_GROUPS]]| rows.iter().flatten().sum::<u64>();
        let requests = self.grid.all().requests.rows();
        let at_once = requests.len().div_ceil(count.max(1)).max(1);
        let baseline = self.grid.missed(0).requests.rows().chunks(at_once).map(sum);
        let missed = self.grid.missed(challenger).requests.rows().chunks(at_once).map(sum);
        let rows = requests.chunks(at_once).map(sum).zip(baseline).zip(missed);
        let mut sums: Vec<[u64; 3]> =
            rows.map(|((all, first), second)| [all, first, second]).collect();
        // A rest of a few requests would show as a leap.
        if let [first, .., before, rest] = &mut sums[..]
            && 2 * rest[0] < first[0]
        {
            *before = std::array::from_fn(|index| before[index] + rest[index]);
            sums.pop();
        }
        let mut first_request = 0;
        let stretch = |[requests, baseline, missed]: [u64; 3]| {
            let stretch = Stretch {
                first_request,
                requests,
                baseline: baseline as f64 / requests as f64,
                difference: (missed as f64 - baseline as f64) / requests as f64,
            };
            first_request += requests;
            stretch
        };
        sums.into_iter().filter(|&[requests, ..]| requests > 0).map(stretch).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    use super::*;
    use crate::compare::Verdict;
    use crate::trace::Operation;

    /// First in, first out, as plainly as can be.
    struct Fifo {
        capacity: usize,
        queue: VecDeque<u64>,
        outcome: RunOutcome,
    }

    fn fifo<'a>(capacity: usize) -> Box<dyn Contender + 'a> {
        Box::new(Fifo { capacity, queue: VecDeque::new(), outcome: RunOutcome::default() })
    }

    impl Contender for Fifo {
        fn play(&mut self, block: &[Request], outcomes: &mut Vec<Outcome>) {
            for request in block {
                if !request.is_request() {
                    self.queue.retain(|&key| key != request.key);
                    continue;
                }
                self.outcome.requests += 1;
                if self.queue.contains(&request.key) {
                    self.outcome.hits += 1;
                    outcomes.push(Outcome::Hit);
                    continue;
                }
                self.outcome.misses += 1;
                self.outcome.weight_missed += u64::from(request.weight_bytes());
                outcomes.push(Outcome::Miss);
                self.queue.push_back(request.key);
                if self.queue.len() > self.capacity {
                    self.queue.pop_front();
                }
            }
        }

        fn finish(self: Box<Self>) -> RunOutcome {
            self.outcome
        }
    }

    const SETUP: PairedSetup = PairedSetup { capacity: 2, weights: WeightMode::Bytes };

    fn requests(text: &str) -> Vec<Request> {
        let letters = text.split_whitespace();
        letters.map(|key| Request::get(0, u64::from(key.as_bytes()[0]), 2)).collect()
    }

    /// One place keeps nothing of `a b a b c c`, two keep a and b: two hits gained, and c for both.
    #[test]
    fn a_small_trace_by_hand() {
        let mut paired = Paired::new(SETUP, vec![fifo(1), fifo(2)]);
        paired.play(&requests("a b a b c c"));
        let outcome = paired.finish();
        assert_eq!(outcome.runs().iter().map(|run| run.misses).collect::<Vec<_>>(), [5, 3]);
        assert_eq!(outcome.gained_and_lost(1), (2, 0));
        assert_eq!(outcome.gained_and_lost(0), (0, 0));
        let difference = outcome.difference(1, Measure::Requests);
        assert_eq!((difference.estimate, difference.disagreements), (-2.0 / 6.0, 2));
        assert_eq!(difference.verdict(), Verdict::Tie, "six requests decide nothing");
        let stretches = outcome.stretches(1, 3);
        let found: Vec<(u64, u64, f64, f64)> = stretches
            .iter()
            .map(|it| (it.first_request, it.requests, it.baseline, it.difference))
            .collect();
        assert_eq!(found, [(0, 2, 1.0, 0.0), (2, 2, 1.0, -1.0), (4, 2, 0.5, 0.0)]);
    }

    /// A loop of three keys, one of them a hundred times as large, in a cache of two and one of three.
    #[test]
    fn weight_counts_by_weight() {
        let mut paired = Paired::new(SETUP, vec![fifo(2), fifo(3)]);
        let sizes = [1, 1, 100];
        let requests: Vec<Request> =
            (0..3000u64).map(|i| Request::get(i, i % 3, sizes[(i % 3) as usize])).collect();
        paired.play(&requests);
        let outcome = paired.finish();
        // The first misses all; the second misses each key once.
        assert_eq!(outcome.runs().iter().map(|run| run.misses).collect::<Vec<_>>(), [3000, 3]);
        let by_request = outcome.difference(1, Measure::Requests);
        let by_weight = outcome.difference(1, Measure::Weight);
        assert_eq!((by_request.estimate, by_weight.estimate), (-0.999, -0.999));
        assert_eq!((by_request.verdict(), by_weight.verdict()), (Verdict::Win, Verdict::Win));
    }

    #[test]
    fn deletes_reach_the_contenders_and_count_for_nothing() {
        let mut paired = Paired::new(SETUP, vec![fifo(2), fifo(2)]);
        let delete = Request::get(0, 7, 1).with_operation(Operation::Delete);
        paired.play(&[Request::get(0, 7, 1), delete, Request::get(0, 7, 1)]);
        let outcome = paired.finish();
        assert_eq!((outcome.runs()[1].requests, outcome.runs()[1].misses), (2, 2));
        assert_eq!(outcome.stretches(1, 10).iter().map(|it| it.requests).sum::<u64>(), 2);
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            rng_seed: RngSeed::Fixed(1),
            failure_persistence: None,
            cases: 64,
            ..ProptestConfig::default()
        })]

        /// A policy against itself: exactly zero, an interval without width, in both measures. Against
        /// another: the estimate is the difference of the counts, and inside of its interval.
        #[test]
        fn differences_hold_what_they_say(
            keys in prop::collection::vec((0u64..40, 1u32..1000), 1..6000),
            capacity in 1usize..30,
        ) {
            let requests: Vec<Request> =
                keys.iter().map(|&(key, size)| Request::get(0, key, size)).collect();
            let setup = PairedSetup { capacity: 1000, weights: WeightMode::Bytes };
            let mut paired = Paired::new(setup, vec![fifo(capacity), fifo(capacity), fifo(capacity + 3)]);
            paired.play(&requests);
            let outcome = paired.finish();
            for measure in [Measure::Requests, Measure::Weight] {
                let same = outcome.difference(1, measure);
                prop_assert_eq!((same.estimate, same.low, same.high), (0.0, 0.0, 0.0));
                prop_assert_eq!(same.verdict(), Verdict::Tie);
                let other = outcome.difference(2, measure);
                prop_assert!(other.low <= other.estimate && other.estimate <= other.high);
            }
            let misses = outcome.runs().iter().map(|run| run.misses as f64).collect::<Vec<_>>();
            let (gained, lost) = outcome.gained_and_lost(2);
            prop_assert_eq!(misses[2] - misses[0], lost as f64 - gained as f64);
            let estimate = outcome.difference(2, Measure::Requests).estimate;
            prop_assert!((estimate - (misses[2] - misses[0]) / requests.len() as f64).abs() < 1e-12);
        }
    }
}
