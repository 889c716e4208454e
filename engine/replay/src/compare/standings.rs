//! Many rows summed up: who wins where, and how far behind the best each contender stays.

use super::Verdict;

/// How far a contender's misses are above those of the best of each row, as a fraction of the best's.
///
/// ```
/// use ostler_replay::Regret;
///
/// let regret = Regret::of(&[0.0, 0.02, 0.1]);
/// assert_eq!((regret.median, regret.worst), (0.02, 0.1));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Regret {
    /// The mean over the rows.
    pub mean: f64,
    /// The median; of an even number the mean of the two in the middle.
    pub median: f64,
    /// The greatest.
    pub worst: f64,
}

impl Regret {
    /// Of the regrets in single rows; zero where there is no row.
    #[must_use]
    pub fn of(rows: &[f64]) -> Self {
        let mut sorted = rows.to_vec();
        sorted.sort_by(f64::total_cmp);
        let Some(&worst) = sorted.last() else { return Self::default() };
        let middle = sorted.len() / 2;
        let median = match sorted.len() % 2 {
            0 => f64::midpoint(sorted[middle - 1], sorted[middle]),
            _ => sorted[middle],
        };
        Self { mean: sorted.iter().sum::<f64>() / sorted.len() as f64, median, worst }
    }
}

/// What came of one contender over all rows.
///
/// ```
/// use ostler_replay::Standing;
///
/// fn shown(standing: &Standing) -> String {
///     format!("{}/{}/{}", standing.wins, standing.ties, standing.losses)
/// }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Standing {
    /// Rows in which it beat the baseline.
    pub wins: u32,
    /// Rows that decided nothing.
    pub ties: u32,
    /// Rows in which the baseline beat it.
    pub losses: u32,
    /// Rows in which nobody missed less.
    pub best: u32,
    /// How far behind the best of each row it was.
    pub regret: Regret,
}

/// Rows of a comparison, added one by one.
///
/// ```
/// use ostler_replay::{Standings, Verdict};
///
/// let mut standings = Standings::new(3);
/// standings.add(&[100, 80, 90], &[Verdict::Win, Verdict::Tie]);
/// standings.add(&[100, 150, 100], &[Verdict::Loss, Verdict::Tie]);
/// let [baseline, second, third] = standings.finish().try_into().unwrap();
/// assert_eq!((baseline.best, baseline.regret.worst), (1, 0.25));
/// assert_eq!((second.wins, second.losses, second.regret.worst), (1, 1, 0.5));
/// assert_eq!((third.ties, third.regret.mean), (2, 0.0625));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Standings {
    contenders: Vec<(Standing, Vec<f64>)>,
}

impl Standings {
    /// Standings of so many contenders, the first being the baseline.
    #[must_use]
    pub fn new(contenders: usize) -> Self {
        Self { contenders: vec![(Standing::default(), Vec::new()); contenders] }
    }

    /// A row: what each contender missed, and how each challenger did against the baseline.
    pub fn add(&mut self, misses: &[u64], verdicts: &[Verdict]) {
        let best = misses.iter().copied().min().unwrap_or(0);
        for ((standing, regrets), &missed) in self.contenders.iter_mut().zip(misses) {
            standing.best += u32::from(missed == best);
            regrets.push((missed - best) as f64 / best.max(1) as f64);
        }
        for ((standing, _), verdict) in self.contenders.iter_mut().skip(1).zip(verdicts) {
            match verdict {
                Verdict::Win => standing.wins += 1,
                Verdict::Tie => standing.ties += 1,
                Verdict::Loss => standing.losses += 1,
            }
        }
    }

    /// By contender, what came of it.
    #[must_use]
    pub fn finish(self) -> Vec<Standing> {
        let contenders = self.contenders.into_iter();
        contenders
            .map(|(standing, regrets)| Standing { regret: Regret::of(&regrets), ..standing })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regrets_by_hand() {
        for (rows, mean, median, worst) in [
            (&[][..], 0.0, 0.0, 0.0),
            (&[0.5], 0.5, 0.5, 0.5),
            (&[0.5, 0.0], 0.25, 0.25, 0.5),
            (&[0.75, 0.0, 0.0], 0.25, 0.0, 0.75),
        ] {
            assert_eq!(Regret::of(rows), Regret { mean, median, worst });
        }
    }

    #[test]
    fn a_tie_for_the_best_is_the_best_for_both() {
        let mut standings = Standings::new(2);
        standings.add(&[7, 7], &[Verdict::Tie]);
        standings.add(&[0, 0], &[Verdict::Tie]);
        let found = standings.finish();
        assert_eq!(found.iter().map(|it| it.best).collect::<Vec<_>>(), [2, 2]);
        assert_eq!(found[1].regret, Regret::default());
    }
}
