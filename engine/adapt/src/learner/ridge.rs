//! Ridge regression towards a prior, by sums that fade.

use linfa_linalg::cholesky::SolveC;
use ndarray::Array2;
use ostler_features::WEIGHTS;

/// How much the prior counts, in labels.
const LAMBDA: f64 = 100.0;
/// What is left of the sums after a solve.
const FADE: f64 = 0.99;

/// The normal equations of the labels so far.
pub(super) struct Ridge {
    /// Sum of z zᵀ, lower triangle.
    moments: Box<[[f64; WEIGHTS]; WEIGHTS]>,
    /// Sum of z y.
    targets: [f64; WEIGHTS],
}

impl Ridge {
    pub(super) fn new() -> Self {
        Self { moments: Box::new([[0.0; WEIGHTS]; WEIGHTS]), targets: [0.0; WEIGHTS] }
    }

    /// Adds a label. A thousand multiplications at most.
    pub(super) fn learn(&mut self, terms: &[f32; WEIGHTS], label: f64) {
        let terms = terms.map(f64::from);
        for (row, sums) in self.moments.iter_mut().enumerate() {
            let term = terms[row];
            if term == 0.0 {
                continue;
            }
            self.targets[row] += term * label;
            for (sum, other) in sums[..=row].iter_mut().zip(&terms) {
                *sum += term * other;
            }
        }
    }

    /// The weights that fit best, `prior` counting as some labels; then the sums fade. None where the
    /// equations have no solution.
    pub(super) fn solve(&mut self, prior: &[f32; WEIGHTS]) -> Option<[f32; WEIGHTS]> {
        let mut left = Array2::from_shape_fn((WEIGHTS, WEIGHTS), |(row, column)| {
            let sum = self.moments[row.max(column)][row.min(column)];
            if row == column { sum + LAMBDA } else { sum }
        });
        let right = Array2::from_shape_fn((WEIGHTS, 1), |(row, _)| {
            self.targets[row] + LAMBDA * f64::from(prior[row])
        });
        let solution = left.solvec(&right).ok();
        self.moments.iter_mut().flatten().chain(&mut self.targets).for_each(|sum| *sum *= FADE);
        let solution = solution?;
        #[expect(clippy::cast_possible_truncation, reason = "weights are single precision")]
        Some(std::array::from_fn(|row| solution[(row, 0)] as f32))
    }
}
