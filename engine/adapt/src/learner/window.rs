//! The challenger: ordinary least squares on the newest labels alone, by linfa. It follows a change of
//! the workload at once, and forgets everything else.

use linfa::DatasetBase;
use linfa::traits::Fit;
use linfa_linear::LinearRegression;
use ndarray::{Array1, Array2};
use ostler_features::WEIGHTS;

/// Labels in the window.
const LABELS: usize = 2048;

/// The newest labels, in a ring.
pub(super) struct Window {
    terms: Vec<[f32; WEIGHTS]>,
    labels: Vec<f64>,
    next: usize,
}

impl Window {
    pub(super) fn new() -> Self {
        Self { terms: Vec::new(), labels: Vec::new(), next: 0 }
    }

    pub(super) fn learn(&mut self, terms: &[f32; WEIGHTS], label: f64) {
        if self.terms.len() < LABELS {
            self.terms.push(*terms);
            self.labels.push(label);
        } else {
            self.terms[self.next] = *terms;
            self.labels[self.next] = label;
            self.next = (self.next + 1) % LABELS;
        }
    }

    /// The weights that fit the window best; none before it is full, and where terms depend on each
    /// other in it.
    pub(super) fn fit(&self) -> Option<[f32; WEIGHTS]> {
        if self.terms.len() < LABELS {
            return None;
        }
        let records = Array2::from_shape_fn((LABELS, WEIGHTS), |(row, term)| {
            f64::from(self.terms[row][term])
        });
        let targets = Array1::from_vec(self.labels.clone());
        // The first term is the constant already.
        let method = LinearRegression::default().with_intercept(false);
        let fitted = method.fit(&DatasetBase::new(records, targets)).ok()?;
        #[expect(clippy::cast_possible_truncation, reason = "weights are single precision")]
        Some(std::array::from_fn(|place| fitted.params()[place] as f32))
    }
}
