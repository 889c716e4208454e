//! Zipf-distributed ranks: rank r (from 0) is drawn with probability proportional to
//! (r + 1)^−alpha.
//!
//! Drawn by inverting a table of cumulative weights, so the distribution is exact up to the
//! rounding of `f64`, for every alpha. Only additions, multiplications and comparisons of IEEE
//! doubles and the portable `libm` take part: the same ranks come out on every machine. The table
//! takes 8 bytes a key; a draw is a binary search.

use super::random::SplitMix64;

/// Draws ranks.
pub(super) struct Zipf {
    /// Sum of the weights of all ranks up to and including this one.
    cumulative: Vec<f64>,
    total: f64,
    random: SplitMix64,
}

impl Zipf {
    /// A distribution over `keys` ranks (at least 1), drawn with `seed`.
    pub(super) fn new(keys: u64, alpha: f64, seed: u64) -> Self {
        assert!(keys > 0, "a Zipf distribution needs a rank");
        let mut total = 0.0;
        let cumulative = (1..=keys)
            .map(|place| {
                total += libm::pow(place as f64, -alpha);
                total
            })
            .collect();
        Self { cumulative, total, random: SplitMix64::new(seed) }
    }

    /// The next rank, from 0, below the number of keys.
    pub(super) fn next_rank(&mut self) -> u64 {
        let drawn = self.random.next_unit() * self.total;
        let rank = self.cumulative.partition_point(|&sum| sum <= drawn);
        // `drawn` is below the total; the bound only guards against a rounding that is not IEEE's.
        rank.min(self.cumulative.len() - 1) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(keys: u64, alpha: f64, draws: u32) -> Vec<u32> {
        let mut zipf = Zipf::new(keys, alpha, 7);
        let mut counts = vec![0; usize::try_from(keys).unwrap()];
        for _ in 0..draws {
            counts[usize::try_from(zipf.next_rank()).unwrap()] += 1;
        }
        counts
    }

    /// Each count lies within five standard deviations of what the distribution says.
    #[test]
    fn frequencies_follow_the_law() {
        for alpha in [0.0, 0.5, 1.0, 1.5] {
            let draws = 200_000;
            let weights: Vec<f64> = (1..=50).map(|place| f64::from(place).powf(-alpha)).collect();
            let total: f64 = weights.iter().sum();
            for (rank, (&count, weight)) in counts(50, alpha, draws).iter().zip(weights).enumerate()
            {
                let share = weight / total;
                let mean = f64::from(draws) * share;
                let bound = 5.0 * (mean * (1.0 - share)).sqrt() + 1.0;
                let off = (f64::from(count) - mean).abs();
                assert!(off < bound, "alpha {alpha} rank {rank}: {count} of {mean}");
            }
        }
    }

    #[test]
    fn a_single_key_is_always_drawn() {
        assert_eq!(counts(1, 1.0, 100), [100]);
    }

    #[test]
    fn a_steep_law_still_stays_in_range() {
        assert_eq!(counts(1000, 10.0, 1000).iter().sum::<u32>(), 1000);
    }
}
