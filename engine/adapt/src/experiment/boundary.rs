//! How far an estimate may stray at any time: the time-uniform boundary.
//!
//! Owns the critical value; it must not know where an estimate comes from.
//!
//! Let `I` be the information of an estimate, 1 ÷ its variance, and `B = I · (estimate − truth)`. In
//! the canonical joint distribution of sequential estimates, covariance of two looks = variance of
//! the later one, so `B` over `I` is Brownian motion; that holds for a sum of independent increments,
//! and also for one with a draw added to it that stays for ever, as a shard's keys do. Mixing the
//! likelihood ratios `exp(λB − λ²I/2)` over `λ ~ N(0, 1/ρ)` gives a martingale that starts at 1, and
//! Ville's inequality
//!
//! ```text
//! P( exists I > 0 : |B| ≥ √((I + ρ) · ln((I + ρ) ÷ (ρ α²))) ) ≤ α
//! ```
//!
//! H. Robbins, "Statistical methods related to the law of the iterated logarithm", Annals of
//! Mathematical Statistics 41(5), 1970; S. Howard, A. Ramdas, J. McAuliffe, J. Sekhon,
//! "Time-uniform, nonparametric, nonasymptotic confidence sequences", Annals of Statistics 49(2),
//! 2021, equation 14 (two-sided normal mixture). Divided by `√I` it is a critical value in standard
//! errors.

/// ρ times the square of the effect that one wants to find. The critical value is least where
/// `I ≈ 7.9 ρ` at 95 % (ρ = −I ÷ (1 + W₋₁(−α²/e)), Howard et al., proposition 3), and an effect is
/// found in four of five cases where it is 3.9 standard errors, so where `I = 15 ÷ effect²`.
const TUNING: f64 = 1.9;

/// Standard errors on either side that contain the truth at all looks with probability 1 − `alpha`.
///
/// `effect` is what one wants to find (it tunes, and cannot mislead), `degrees` are those of the
/// standard error. `None` while there is too little information for any bound.
pub(super) fn critical_value(
    standard_error: f64,
    degrees: f64,
    (alpha, effect): (f64, f64),
) -> Option<f64> {
    // In units of ρ. No standard error at all would be infinite information, and an infinite bound
    // times zero: it is kept finite.
    let information = (effect / standard_error).powi(2) / TUNING;
    if !(information > 0.0 && degrees > 0.0) {
        return None;
    }
    let information = information.min(1e12);
    let squared = (1.0 + 1.0 / information) * ((1.0 + information) / alpha.powi(2)).ln();
    let critical = student(squared, degrees);
    critical.is_finite().then_some(critical)
}

/// The point of Student's t with the same tail as √`squared` of the normal distribution.
///
/// D. Wallace, "Bounds on normal approximations to Student's and the chi-square distributions", Annals
/// of Mathematical Statistics 30(4), 1959: closed, and good in the far tail, where the quantiles of
/// libraries end; too wide by 0.8 % at 7 degrees, by 0.02 % at 60.
fn student(squared: f64, degrees: f64) -> f64 {
    let scale = (8.0 * degrees + 3.0) / (8.0 * degrees + 1.0);
    (degrees * (scale * scale * squared / degrees).exp_m1()).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// z = √((1 + 1/x) ln((1 + x)/α²)) by hand at x = I/ρ, with so many degrees that t is z.
    #[test]
    fn the_boundary_is_the_normal_mixture() {
        for (x, z) in [(1.0_f64, 3.6564), (7.9, 3.0352), (100.0, 3.2730)] {
            let standard_error = 0.01 / (TUNING * x).sqrt();
            let found = critical_value(standard_error, 1e7, (0.05, 0.01)).unwrap();
            assert!((found - z).abs() < 1e-3, "{x}: {found}");
        }
    }

    /// The boundary is least near the information that it is tuned for.
    #[test]
    fn the_tuning_is_the_best_there() {
        let at = |x: f64| critical_value(0.01 / (TUNING * x).sqrt(), 1e7, (0.05, 0.01)).unwrap();
        assert!(at(7.9) < at(5.0) && at(7.9) < at(12.0));
    }

    /// Quantiles of t at the tail of the normal one: 2.776 for 1.960 and 4 degrees, as in any table.
    #[test]
    fn few_degrees_widen() {
        let wide = critical_value(0.0026, 14.0, (0.05, 0.01)).unwrap();
        let narrow = critical_value(0.0026, 1e6, (0.05, 0.01)).unwrap();
        assert!(wide > narrow * 1.15 && wide < narrow * 1.3, "{wide} {narrow}");
    }

    /// Two-sided points at 5 % and 0.1 % as in any table of t, beside those of the normal distribution.
    #[test]
    fn points_are_those_of_the_table() {
        for (normal, degrees, table) in [
            (1.959_964, 10.0, 2.228),
            (1.959_964, 60.0, 2.000),
            (3.290_527, 7.0, 5.408),
            (3.290_527, 10.0, 4.587),
            (3.290_527, 30.0, 3.646),
            (3.290_527, 60.0, 3.460),
        ] {
            let found: f64 = student(normal * normal, degrees);
            assert!((-2e-4..0.009).contains(&(found / table - 1.0)), "{normal} {degrees}: {found}");
        }
    }

    #[test]
    fn too_little_information_gives_none() {
        assert_eq!(critical_value(10.0, 60.0, (0.05, 0.01)), None);
        assert_eq!(critical_value(f64::NAN, 60.0, (0.05, 0.01)), None);
        assert_eq!(critical_value(f64::INFINITY, 60.0, (0.05, 0.01)), None);
        assert!(critical_value(0.0, 60.0, (0.05, 0.01)).is_some());
    }

    /// Brownian motion in information time, with a part that stays: looked at after each of 200
    /// steps, over 2,000 paths, the boundary is crossed in at most 5 % and the pointwise one in many
    /// more.
    #[test]
    fn paths_stay_within() {
        let mut random = super::super::simulation::Random::new(3);
        let (mut crossed, mut pointwise) = (0, 0);
        for _ in 0..2000 {
            let (stays, mut sum) = (random.gauss() * 0.002, 0.0);
            let (mut out, mut out_once) = (false, false);
            for step in 1..=200 {
                sum += random.gauss() * 0.02;
                let error = stays + sum / f64::from(step);
                let standard_error = (4e-6 + 4e-4 / f64::from(step)).sqrt();
                let bound = critical_value(standard_error, 1e7, (0.05, 0.01));
                out |= bound.is_some_and(|bound| error.abs() > bound * standard_error);
                out_once |= error.abs() > 1.96 * standard_error;
            }
            crossed += u32::from(out);
            pointwise += u32::from(out_once);
        }
        assert!(crossed <= 100 && pointwise > 300, "{crossed} {pointwise}");
    }
}
