//! The interval of a paired difference.
//!
//! **What is estimated.** d = (misses of the challenger − misses of the baseline) ÷ requests, both on
//! the same requests, and how far it may be from what the workload would show in the long run: on other
//! stretches of it, and on other keys of its kind.
//!
//! **Why two ways.** Requests depend on each other in two ways. In *time*: what a policy decides is felt
//! for as long as the entry stays, and workloads have phases. By *key*: a popular key comes back through
//! the whole trace, and a policy that likes it gains each time, however far apart. Resampling blocks of
//! time keeps the first kind of dependence and, since the same keys are in all blocks, is blind to the
//! second; resampling keys is blind to phases. So both are done, and joined as for two-way clusters:
//! variance = time + key − cells, where *cells* (stretch of time by group of keys) is what both contain,
//! and never less than either (A. Cameron, J. Gelbach, D. Miller, "Robust inference with multiway
//! clustering", JBES 2011; A. Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 2007).
//!
//! **How.** The trace is cut into at most 1,024 stretches and 64 groups of keys by hash (`grid.rs`); per
//! cell the residual D − d·N is taken, which makes the ratio linear.
//! - Time: the circular block bootstrap (D. Politis, J. Romano, 1992) over stretches. The variance of a
//!   bootstrapped sum has a closed form, the mean square of the sums of all blocks, so it is computed as
//!   with infinitely many replicates: nothing is drawn, no seed matters, two runs agree to the last bit.
//! - Keys: the bootstrap over groups, in its closed form as well.
//! - Block length: a twelfth of the trace, since 10 to 30 blocks are enough and fewer, longer ones keep
//!   more of the dependence (B. Schmeiser, "Batch size effects in the analysis of simulation output",
//!   Operations Research 1982); one turnover of the cache where that is longer, that is the requests in
//!   which a capacity's worth of weight comes in, since decisions are felt for that long; at most an
//!   eighth of the trace. The automatic length of Politis and White (2004) was tried: it looks no further
//!   than a few percent of the trace and misses what is slower, such as SIEVE's long-lived residents.
//! - The interval is d ± t·√variance, t Student's quantile for blocks − 1 degrees of freedom and at most
//!   63. The bootstrap's own percentiles were tried: with few blocks they are up to a sixth narrower and
//!   cover less.
//!
//! **Checked** by simulated truth, `cargo run --release -p ostler-benches --bin compare-coverage`: many
//! traces of one workload, how many of their intervals contain the mean of all; the table is in
//! `benches/RESULTS.md`. Between LRU, SIEVE and S3-FIFO on 102,400 requests: where each key's popularity
//! is drawn anew in every trace, 90 to 100 %, and far fewer by time alone; with drifting popularity 100 %;
//! with sixty phases of random kind and length 79 to 90 %, where keys alone are worth nothing. Where every
//! trace has the same keys with the same popularity it is 100 %, and the interval is two to six times as
//! wide as need be: it allows for other keys, and there are none.
//!
//! **What it cannot see.** A trace of a handful of long phases says little of the next phase: with fifteen,
//! coverage fell to 53 to 88 %. And a policy that adapts itself carries one state through the whole
//! trace; chance in that state shows neither between stretches nor between keys. W-TinyLFU's window is
//! such a state: on 102,400 requests of workloads that themselves vary little its intervals covered in 42
//! to 64 %. Only more traces, or longer ones, help there.

use super::grid::KEY_GROUPS;

/// Fewest stretches from which an interval is made.
const STRETCHES_MIN: usize = BLOCKS;
/// The trace is cut into so many blocks.
const BLOCKS: usize = 12;
/// It is cut into fewer where the cache turns over slowly, but not below this.
const BLOCKS_MIN: usize = 8;
/// Fewer disagreements than this decide nothing.
const DISAGREEMENTS_MIN: u64 = 20;
/// The 97.5 % quantile of the normal distribution.
const NORMAL_QUANTILE: f64 = 1.959_963_985;

/// How a challenger did against the baseline.
///
/// ```
/// use ostler_replay::Verdict;
///
/// assert_eq!(Verdict::Win.to_string(), "win");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It misses less: the whole interval is below zero.
    Win,
    /// The interval contains zero, or the two hardly ever disagreed.
    Tie,
    /// It misses more: the whole interval is above zero.
    Loss,
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Win => "win",
            Self::Tie => "tie",
            Self::Loss => "loss",
        })
    }
}

/// What separates a challenger from the baseline, with a 95 % interval.
///
/// Fractions of the requests, or of the weight requested; negative where the challenger misses less.
///
/// ```
/// use ostler_replay::{Difference, Verdict};
///
/// fn shown(difference: &Difference) -> String {
///     let pp = |fraction: f64| 100.0 * fraction;
///     let Difference { estimate, low, high, .. } = *difference;
///     let verdict: Verdict = difference.verdict();
///     format!("{:+.2} pp ({:+.2} to {:+.2}), {verdict}", pp(estimate), pp(low), pp(high))
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Difference {
    /// Miss ratio of the challenger − miss ratio of the baseline.
    pub estimate: f64,
    /// Lower end of the interval. −1 where the trace is too short to tell.
    pub low: f64,
    /// Upper end of the interval. 1 where the trace is too short to tell.
    pub high: f64,
    /// Standard error that blocks of time alone give.
    pub error_by_time: f64,
    /// Standard error that groups of keys alone give.
    pub error_by_key: f64,
    /// Requests of a block.
    pub block_requests: u64,
    /// Blocks in the trace, rounded down.
    pub blocks: u64,
    /// Requests that the two did not answer alike.
    pub disagreements: u64,
}

impl Difference {
    /// Whether the interval says which is better. Ties where the two disagreed on fewer than 20 requests.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        if self.disagreements < DISAGREEMENTS_MIN || self.low <= 0.0 && self.high >= 0.0 {
            Verdict::Tie
        } else if self.estimate < 0.0 {
            Verdict::Win
        } else {
            Verdict::Loss
        }
    }
}

/// What a difference is made from.
pub(super) struct Evidence<'a> {
    /// By stretch and group, requests or weight requested.
    pub(super) requested: &'a [[u64; KEY_GROUPS]],
    /// Of those, what the baseline missed.
    pub(super) baseline: &'a [[u64; KEY_GROUPS]],
    /// Of those, what the challenger missed.
    pub(super) challenger: &'a [[u64; KEY_GROUPS]],
    /// Requests of a complete stretch.
    pub(super) stretch_requests: u64,
    /// The part of the trace in which the cache turns over once; may be greater than 1.
    pub(super) turnover: f64,
    /// Requests that the two did not answer alike.
    pub(super) disagreements: u64,
}

impl Evidence<'_> {
    /// The difference with its interval.
    pub(super) fn difference(&self) -> Difference {
        let sum = |rows: &[[u64; KEY_GROUPS]]| rows.iter().flatten().sum::<u64>() as f64;
        let requested = sum(self.requested);
        let change = sum(self.challenger) - sum(self.baseline);
        let estimate = if requested > 0.0 { change / requested } else { 0.0 };
        let residuals = self.residuals(estimate);
        let stretches = residuals.len();
        let by_stretch: Vec<f64> = residuals.iter().map(|row| row.iter().sum()).collect();
        let length = self.block_stretches(stretches);
        let blocks = stretches / length;
        let mut difference = Difference {
            estimate,
            low: -1.0,
            high: 1.0,
            error_by_time: 0.0,
            error_by_key: 0.0,
            block_requests: length as u64 * self.stretch_requests,
            blocks: blocks as u64,
            disagreements: self.disagreements,
        };
        if residuals.iter().flatten().all(|&residual| residual == 0.0) {
            (difference.low, difference.high) = (estimate, estimate);
            return difference;
        }
        if stretches < STRETCHES_MIN {
            return difference;
        }
        let by_group: Vec<f64> =
            (0..KEY_GROUPS).map(|group| residuals.iter().map(|row| row[group]).sum()).collect();
        let time = variance_by_blocks(&by_stretch, length);
        let key = variance_by_blocks(&by_group, 1);
        let cells: f64 = residuals.iter().flatten().map(|residual| residual * residual).sum();
        let variance = (time + key - cells).max(time).max(key);
        let freedom = (stretches as f64 / length as f64).min(KEY_GROUPS as f64) - 1.0;
        let reach = student_quantile(freedom) * variance.sqrt() / requested;
        difference.low = (estimate - reach).max(-1.0);
        difference.high = (estimate + reach).min(1.0);
        difference.error_by_time = time.sqrt() / requested;
        difference.error_by_key = key.sqrt() / requested;
        difference
    }

    /// By stretch and group, how far the change is from what the estimate expects of it.
    fn residuals(&self, estimate: f64) -> Vec<[f64; KEY_GROUPS]> {
        let rows = self.requested.iter().zip(self.baseline).zip(self.challenger);
        let row = |((requested, baseline), challenger): ((&[u64; KEY_GROUPS], _), _)| {
            let (baseline, challenger): (&[u64; KEY_GROUPS], &[u64; KEY_GROUPS]) =
                (baseline, challenger);
            std::array::from_fn(|group| {
                challenger[group] as f64
                    - baseline[group] as f64
                    - estimate * requested[group] as f64
            })
        };
        rows.map(row).collect()
    }

    /// Stretches of a block.
    fn block_stretches(&self, stretches: usize) -> usize {
        let turnover = whole((self.turnover * stretches as f64).ceil());
        (stretches / BLOCKS).max(turnover).clamp(1, (stretches / BLOCKS_MIN).max(1))
    }
}

/// A length as a whole number; too large ones saturate.
fn whole(length: f64) -> usize {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a float that is not negative; conversion saturates, and the caller clamps"
    )]
    {
        length as usize
    }
}

/// Variance of the total of `series` under the circular block bootstrap with blocks of `length`, with
/// the correction for few blocks.
fn variance_by_blocks(series: &[f64], length: usize) -> f64 {
    let count = series.len();
    let mean = series.iter().sum::<f64>() / count as f64 * length as f64;
    let mut block: f64 = series[..length].iter().sum();
    let mut squares = 0.0;
    for start in 0..count {
        squares += (block - mean) * (block - mean);
        block += series[(start + length) % count] - series[start];
    }
    let blocks = count as f64 / length as f64;
    blocks * (squares / count as f64) * blocks / (blocks - 1.0)
}

/// The 97.5 % quantile of Student's distribution, to three digits from 5 degrees of freedom on
/// (Cornish and Fisher's expansion, Abramowitz and Stegun 26.7.5).
fn student_quantile(freedom: f64) -> f64 {
    let z = NORMAL_QUANTILE;
    let (z3, z5, z7) = (z.powi(3), z.powi(5), z.powi(7));
    z + (z3 + z) / (4.0 * freedom)
        + (5.0 * z5 + 16.0 * z3 + 3.0 * z) / (96.0 * freedom.powi(2))
        + (3.0 * z7 + 19.0 * z5 + 17.0 * z3 - 15.0 * z) / (384.0 * freedom.powi(3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: f64, expected: f64, within: f64) {
        assert!((found - expected).abs() <= within, "{found}, expected {expected}");
    }

    #[test]
    fn quantiles_are_those_of_the_tables() {
        for (freedom, expected) in [(7.0, 2.3646), (15.0, 2.1314), (30.0, 2.0423), (63.0, 1.9983)] {
            near(student_quantile(freedom), expected, 0.002);
        }
    }

    /// Blocks of one: the sum of squared deviations, with n ÷ (n − 1).
    #[test]
    fn the_variance_of_single_blocks_is_the_plain_one() {
        let series = [1.0, 2.0, 3.0, 6.0]; // mean 3, squared deviations 4 + 1 + 0 + 9
        near(variance_by_blocks(&series, 1), 14.0 * 4.0 / 3.0, 1e-12);
    }

    /// Blocks of two around a circle of four: sums 3, 5, 9, 7, mean 6, squares 9 + 1 + 9 + 1 = 20; two
    /// blocks make the total: 2 · 20/4 · 2/(2 − 1) = 20.
    #[test]
    fn the_variance_of_longer_blocks_by_hand() {
        near(variance_by_blocks(&[1.0, 2.0, 3.0, 6.0], 2), 20.0, 1e-12);
    }

    /// Deterministic noise in [−0.5, 0.5).
    fn noise(index: u64) -> f64 {
        (ostler_abi::hash_u64(index, 9) >> 11) as f64 / (1u64 << 53) as f64 - 0.5
    }

    fn evidence<'a>(rows: &'a [Vec<[u64; KEY_GROUPS]>; 3], turnover: f64) -> Evidence<'a> {
        let [requested, baseline, challenger] = rows;
        let disagreements = 1000;
        Evidence { requested, baseline, challenger, stretch_requests: 64, turnover, disagreements }
    }

    /// 32 stretches in which each group has one request, of which the baseline misses all and the
    /// challenger what `missed` says.
    fn rows(missed: impl Fn(usize, usize) -> u64) -> [Vec<[u64; KEY_GROUPS]>; 3] {
        let challenger = (0..32).map(|stretch| std::array::from_fn(|group| missed(stretch, group)));
        [vec![[1; KEY_GROUPS]; 32], vec![[1; KEY_GROUPS]; 32], challenger.collect()]
    }

    #[test]
    fn a_policy_does_not_differ_from_itself() {
        let difference = evidence(&rows(|_, _| 1), 0.1).difference();
        assert_eq!((difference.estimate, difference.low, difference.high), (0.0, 0.0, 0.0));
        assert_eq!(difference.verdict(), Verdict::Tie);
    }

    #[test]
    fn what_is_always_the_same_is_certain() {
        let difference = evidence(&rows(|_, _| 0), 0.1).difference();
        assert_eq!((difference.estimate, difference.low, difference.high), (-1.0, -1.0, -1.0));
        assert_eq!(difference.verdict(), Verdict::Win);
    }

    /// The challenger hits everything in the second half: half the trace is one phase, the other another.
    /// Blocks of time see that; groups of keys are all alike.
    #[test]
    fn phases_widen_the_interval_by_time_alone() {
        let rows = rows(|stretch, _| u64::from(stretch < 16));
        let difference = evidence(&rows, 0.1).difference();
        near(difference.estimate, -0.5, 0.0);
        assert!(difference.error_by_time > 0.1 && difference.error_by_key < 1e-9, "{difference:?}");
        assert_eq!((difference.blocks, difference.block_requests), (8, 4 * 64));
    }

    /// The challenger hits all requests of half the keys: by key it is uncertain, by time it is not.
    #[test]
    fn favoured_keys_widen_the_interval_by_key_alone() {
        let rows = rows(|_, group| u64::from(group < 32));
        let difference = evidence(&rows, 0.01).difference();
        near(difference.estimate, -0.5, 0.0);
        // 64 groups, each ±1/128 of the whole: √64/128 = 1/16, with 64/63.
        near(difference.error_by_key, (64.0f64 / 63.0).sqrt() / 16.0, 1e-12);
        assert!(difference.error_by_time < 1e-9, "{difference:?}");
        near(difference.high - difference.low, 2.0 * 2.131 * difference.error_by_key, 1e-3);
        assert_eq!(difference.verdict(), Verdict::Win);
    }

    #[test]
    fn blocks_are_a_twelfth_of_the_trace_or_a_turnover() {
        let rows = rows(|stretch, group| u64::from(noise((stretch * 64 + group) as u64) > 0.0));
        for (turnover, block_stretches) in
            [(0.0, 2), (1.0 / 16.0, 2), (0.08, 3), (0.1, 4), (9.0, 4)]
        {
            let difference = evidence(&rows, turnover).difference();
            assert_eq!(difference.block_requests, block_stretches * 64, "{turnover}");
        }
    }

    #[test]
    fn short_traces_and_few_disagreements_decide_nothing() {
        let [requested, baseline, challenger] =
            rows(|stretch, _| u64::from(stretch > 4)).map(|rows| rows[..8].to_vec());
        let rows = [requested, baseline, challenger];
        let difference = evidence(&rows, 0.1).difference();
        assert_eq!((difference.low, difference.high), (-1.0, 1.0));
        assert_eq!(difference.verdict(), Verdict::Tie);
        let sure = Difference { low: -0.2, high: -0.1, estimate: -0.15, ..difference };
        assert_eq!(sure.verdict(), Verdict::Win);
        let rare = Difference { disagreements: DISAGREEMENTS_MIN - 1, ..sure };
        assert_eq!(rare.verdict(), Verdict::Tie);
        let worse = Difference { low: 0.1, high: 0.2, estimate: 0.15, ..difference };
        assert_eq!(worse.verdict(), Verdict::Loss);
    }
}
