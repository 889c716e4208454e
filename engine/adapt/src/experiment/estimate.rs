//! The difference of two arms from what each shard did so far, and how sure it is.
//!
//! Owns the regression on the covariates, the variance between shards and its degrees of freedom; it
//! must not know windows, looks or policies.
//!
//! An arm's ratio is a ratio estimator, the sum of its shards' hits ÷ the sum of their requests; with
//! the covariates it is a generalised difference estimator (CUPED: A. Deng, Y. Xu, R. Kohavi, T.
//! Walker, WSDM 2013; for randomised units W. Lin, "Agnostic notes on regression adjustments",
//! Annals of Applied Statistics 7(1), 2013): least squares of the shards' ratios, weighted by their
//! requests, on the arm and on the covariates' distance from their mean over all shards. Slopes are
//! common to all arms and bounded to where they make sense.
//!
//! The variance comes from the shards' residuals alone, as a sandwich, each residual weighted by how
//! much its shard moves the estimate and scaled so that the sum has no bias where shards are alike
//! (HC2); degrees of freedom are Satterthwaite's for this very sum (R. Bell, D. McCaffrey, "Bias
//! reduction in standard errors for linear regression with multi-stage samples", Survey Methodology
//! 28(2), 2002), so that an arm that is mostly one busy shard has few. Shards are drawn without being
//! put back: leaving the spread of the effect itself out of it makes the variance too large rather
//! than too small (J. Neyman 1923).

/// Covariates of a shard.
pub(super) const COVARIATES: usize = 2;

/// Shards, beyond one an arm, that pay for one covariate: each costs about half of one in so many of
/// the width.
const SHARDS_A_COVARIATE: usize = 5;

/// A sum of squares below this share of the largest possible one is rounding: ratios are below 1.
const SPREAD_MIN: f64 = 1e-12;

/// What one shard did so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) arm: usize,
    /// What was asked for, in the objective's unit; above 0.
    pub(super) weight: f64,
    /// Hits ÷ what was asked for.
    pub(super) outcome: f64,
    pub(super) covariates: [f64; COVARIATES],
}

/// Lowest and highest slope of each covariate.
pub(super) type Bounds = [(f64, f64); COVARIATES];

/// Difference of an arm and the control.
#[derive(Clone, Copy, Debug)]
pub(super) struct Contrast {
    pub(super) difference: f64,
    pub(super) standard_error: f64,
    /// Degrees of freedom of the standard error.
    pub(super) degrees: f64,
}

/// Weighted means of one arm.
#[derive(Clone, Copy, Debug, Default)]
struct ArmMean {
    rows: usize,
    weight: f64,
    /// Sum of the squares of the rows' shares of the weight.
    concentration: f64,
    outcome: f64,
    covariates: [f64; COVARIATES],
}

/// The regression over all arms.
#[derive(Clone, Debug)]
pub(super) struct Fit {
    /// Rows with outcome and covariates as distances from their arm's means.
    rows: Vec<Row>,
    arms: Vec<ArmMean>,
    slopes: [f64; COVARIATES],
    /// Inverse of the covariates' weighted products; 0 for those not used.
    inverse: [[f64; COVARIATES]; COVARIATES],
    /// Number of covariates used.
    used: usize,
}

impl Fit {
    /// Fits the first `covariates_max` covariates, fewer where there are too few rows to pay for
    /// them or where they do not vary. Cost: linear in the rows.
    pub(super) fn new(rows: &[Row], arms: usize, bounds: &Bounds, covariates_max: usize) -> Self {
        let arms = arm_means(rows, arms);
        let centred = rows.iter().map(|row| {
            let mean = &arms[row.arm];
            let covariates = std::array::from_fn(|j| row.covariates[j] - mean.covariates[j]);
            Row { outcome: row.outcome - mean.outcome, covariates, ..*row }
        });
        let rows: Vec<Row> = centred.collect();
        let paid_for = rows.len().saturating_sub(arms.len()) / SHARDS_A_COVARIATE;
        let mut fit = Self {
            rows,
            arms,
            slopes: [0.0; COVARIATES],
            inverse: [[0.0; COVARIATES]; COVARIATES],
            used: paid_for.min(covariates_max).min(COVARIATES),
        };
        fit.solve(bounds);
        fit
    }

    fn solve(&mut self, bounds: &Bounds) {
        let weight: f64 = self.arms.iter().map(|arm| arm.weight).sum();
        let spread_min = SPREAD_MIN * weight;
        let sum = |of: &dyn Fn(&Row) -> f64| -> f64 {
            self.rows.iter().map(|row| row.weight * of(row)).sum()
        };
        let products =
            [0, 1].map(|i| [0, 1].map(|j| sum(&|row| row.covariates[i] * row.covariates[j])));
        let with_outcome = [0, 1].map(|j| sum(&|row| row.covariates[j] * row.outcome));
        let determinant = products[0][0] * products[1][1] - products[0][1] * products[1][0];
        let varies = |j: usize| products[j][j] > spread_min;
        // Where one covariate says nothing beside the other, the first stands for both.
        let both = self.used == 2
            && varies(0)
            && varies(1)
            && determinant > 1e-9 * products[0][0] * products[1][1];
        if both {
            self.inverse = [
                [products[1][1] / determinant, -products[0][1] / determinant],
                [-products[1][0] / determinant, products[0][0] / determinant],
            ];
            self.slopes = bounded(&products, with_outcome, bounds);
        } else if self.used > 0 && varies(0) {
            self.used = 1;
            self.inverse[0][0] = 1.0 / products[0][0];
            self.slopes[0] = clamp(with_outcome[0] / products[0][0], bounds[0]);
        } else {
            self.used = 0;
        }
    }

    /// The slopes, 0 for covariates that are not used.
    pub(super) fn slopes(&self) -> [f64; COVARIATES] {
        self.slopes
    }

    /// Hits ÷ requests of an arm, not adjusted.
    pub(super) fn ratio(&self, arm: usize) -> f64 {
        self.arms[arm].outcome
    }

    /// `arm` minus `control`, adjusted; `None` while one of them has fewer than two rows.
    pub(super) fn contrast(&self, arm: usize, control: usize) -> Option<Contrast> {
        let (one, other) = (&self.arms[arm], &self.arms[control]);
        if one.rows < 2 || other.rows < 2 {
            return None;
        }
        let apart: [f64; COVARIATES] =
            std::array::from_fn(|j| one.covariates[j] - other.covariates[j]);
        let difference = one.outcome - other.outcome - dot(self.slopes, apart);
        // What a unit of a row's outcome adds to the difference: as part of its arm's mean, and by
        // way of the slopes, as far as the arms' covariates are apart.
        let turned = [0, 1].map(|j| dot(self.inverse[j], apart));
        let mut sums = vec![Residuals::default(); self.arms.len()];
        for row in &self.rows {
            let mean = &self.arms[row.arm];
            let part = row.weight / mean.weight;
            let direct = match row.arm {
                own if own == arm => part,
                own if own == control => -part,
                _ => 0.0,
            };
            let influence = direct - row.weight * dot(turned, row.covariates);
            let residual = row.outcome - dot(self.slopes, row.covariates);
            // Share of the spread between shards that is left in a residual from the arm's mean.
            let left = 1.0 - 2.0 * part + mean.concentration;
            sums[row.arm].add(influence * influence / left, part, residual);
        }
        let free = self.rows.len().saturating_sub(self.arms.len()) as f64;
        let fitted = free / (free - self.used as f64);
        let parts = self.arms.iter().zip(&sums);
        let variances: Vec<(f64, f64)> = parts
            .map(|(mean, sum)| (sum.variance * fitted, sum.degrees(mean.concentration)))
            .collect();
        let variance: f64 = variances.iter().map(|&(variance, _)| variance).sum();
        let spread: f64 = variances
            .iter()
            .filter(|&&(variance, degrees)| variance > 0.0 && degrees > 0.0)
            .map(|&(variance, degrees)| variance * variance / degrees)
            .sum();
        let degrees = if spread > 0.0 { variance * variance / spread / fitted } else { free };
        let standard_error = variance.sqrt();
        standard_error.is_finite().then_some(Contrast { difference, standard_error, degrees })
    }
}

/// Sums over the rows of one arm, each with its factor `b`, its part `p` of the arm's weight and its
/// residual.
#[derive(Clone, Copy, Debug, Default)]
struct Residuals {
    /// Sum of b·residual².
    variance: f64,
    /// Sums of b, b·p, b·p².
    moments: [f64; 3],
    /// Sums of b², b²·p.
    squares: [f64; 2],
}

impl Residuals {
    fn add(&mut self, factor: f64, part: f64, residual: f64) {
        self.variance += factor * residual * residual;
        for (sum, value) in self.moments.iter_mut().zip([1.0, part, part * part]) {
            *sum += factor * value;
        }
        for (sum, value) in self.squares.iter_mut().zip([1.0, part]) {
            *sum += factor * factor * value;
        }
    }

    /// Satterthwaite: 2·mean² ÷ variance of the sum, if the shards' errors are alike and normal. The
    /// residuals are r = (1 − 1pᵀ)u; with q = Σp², rows of that product are 1 − 2p + q with
    /// themselves and q − p − p' with another.
    fn degrees(&self, q: f64) -> f64 {
        let ([b, bp, bpp], [c, cp]) = (self.moments, self.squares);
        let mean = b * (1.0 + q) - 2.0 * bp;
        let all = q * q * b * b - 4.0 * q * b * bp + 2.0 * b * bpp + 2.0 * bp * bp;
        // Σ b² ((1 − 2p + q)² − (q − 2p)²) = Σ b² (1 + 2q − 4p) puts the diagonal right.
        let variance = all + c * (1.0 + 2.0 * q) - 4.0 * cp;
        if variance > 0.0 { mean * mean / variance } else { 0.0 }
    }
}

fn arm_means(rows: &[Row], arms: usize) -> Vec<ArmMean> {
    let mut means = vec![ArmMean::default(); arms];
    for row in rows {
        let mean = &mut means[row.arm];
        mean.rows += 1;
        mean.weight += row.weight;
        mean.concentration += row.weight * row.weight;
        mean.outcome += row.weight * row.outcome;
        for (sum, value) in mean.covariates.iter_mut().zip(row.covariates) {
            *sum += row.weight * value;
        }
    }
    for mean in means.iter_mut().filter(|mean| mean.weight > 0.0) {
        mean.concentration /= mean.weight * mean.weight;
        mean.outcome /= mean.weight;
        mean.covariates = mean.covariates.map(|sum| sum / mean.weight);
    }
    means
}

fn dot(a: [f64; COVARIATES], b: [f64; COVARIATES]) -> f64 {
    a[0] * b[0] + a[1] * b[1]
}

fn clamp(value: f64, (low, high): (f64, f64)) -> f64 {
    value.max(low).min(high)
}

/// The slopes within bounds that leave the least sum of squares: inside if the unbounded ones are,
/// otherwise the best on one of the four edges.
fn bounded(products: &[[f64; 2]; 2], with_outcome: [f64; 2], bounds: &Bounds) -> [f64; 2] {
    let determinant = products[0][0] * products[1][1] - products[0][1] * products[1][0];
    let free = [
        (with_outcome[0] * products[1][1] - with_outcome[1] * products[0][1]) / determinant,
        (with_outcome[1] * products[0][0] - with_outcome[0] * products[1][0]) / determinant,
    ];
    if [0, 1].into_iter().all(|j| clamp(free[j], bounds[j]) == free[j]) {
        return free;
    }
    let loss = |slopes: [f64; 2]| {
        let turned = [0, 1].map(|j| dot(products[j], slopes));
        dot(slopes, turned) - 2.0 * dot(slopes, with_outcome)
    };
    let edges = [0, 1].into_iter().flat_map(|held| {
        [bounds[held].0, bounds[held].1].map(|at| {
            let moved = 1 - held;
            let best = (with_outcome[moved] - products[moved][held] * at) / products[moved][moved];
            let mut slopes = [at; 2];
            slopes[moved] = clamp(best, bounds[moved]);
            slopes
        })
    });
    edges.min_by(|&a, &b| loss(a).total_cmp(&loss(b))).unwrap_or([0.0; 2])
}
