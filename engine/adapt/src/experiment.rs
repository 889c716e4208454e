//! Live experiments: policies side by side on the shards of one cache, compared with an interval that
//! holds whenever one looks.
//!
//! Owns the sums of every shard and what they say about the arms; it must not know a cache, a clock or
//! a thread. Whoever runs the cache deals the shards, reports a window after the other and acts on the
//! verdict.
//!
//! # What is random
//!
//! The deal, and nothing else needs to be: the keys of a shard are its own for as long as the
//! experiment lasts, so neighbouring windows are no repetition of the experiment, and neither are
//! requests. The unit is the shard. An estimate is made from cumulative sums of each shard, its
//! variance from the spread between shards of one arm; a difference of shards that stays is part of
//! it at every look, and the width of an interval ends at what the number of shards allows.
//!
//! # What is estimated
//!
//! At each look: hits ÷ requests (or bytes, or load cost) had all shards run the arm since the start,
//! minus the same for the control. Two covariates take out what shards have of their own, `estimate.rs`
//! says how; they need the control's policy in shadow on a sample of the keys of *every* shard:
//!
//! - the shadow's hit ratio. The arm in charge does not touch it.
//! - the live hit ratio on the sampled keys minus that on all keys, which says how far the sample is
//!   from its shard. The sample is drawn by hash, so an effect of the arm is in both, and cancels but for
//!   chance.
//!
//! With slopes 1 and −1 that is "live minus shadow on the same requests", for which a shard's keys no
//! longer matter; with slopes 0 the raw hit ratio. The data choose in between.
//!
//! A ratio on sampled keys is 1 − their misses ÷ (share of the keys · all requests of the shard), not ÷ the
//! requests that happened to be sampled. The latter makes an effect in a sample too large wherever a
//! hot key, which always hits, is not in it: by a quarter under Zipf's law with 0.9. The former has
//! no bias, and hardly varies with hot keys, for they hardly miss (SHARDS' adjustment: C. Waldspurger, N.
//! Park, A. Garthwaite, I. Ahmad, FAST 2015).
//!
//! # Why one may look at any time
//!
//! The interval is an asymptotic confidence sequence: a normal mixture boundary over information,
//! `boundary.rs`; I. Waudby-Smith, D. Arbour, R. Sinha, E. Kennedy, A. Ramdas, "Time-uniform central
//! limit theory and asymptotic confidence sequences", Annals of Statistics 52(6), 2024, for the plug-in of an
//! estimated variance; C. Jennison, B. Turnbull, "Group-sequential analysis incorporating covariate
//! information", JASA 92(440), 1997, for the joint distribution of adjusted estimates at several looks.
//! What is assumed and what is only approximate:
//!
//! - shards do not influence each other, and the number of requests does not depend on the arm;
//! - the sum over the shards of an arm is nearly normal: why an arm has [`ARM_SHARDS_MIN`] shards, and
//!   why a cache whose traffic is in one shard gets few degrees of freedom and a wide interval;
//! - looks are correlated as those of independent increments and parts that stay. A workload that
//!   turns from heterogeneous shards of one kind to those of another, with far more traffic, is not;
//! - Student's t, information from an estimated variance, and slopes fitted on the same shards are
//!   right to first order. How often the truth is inside is measured, see [`simulation`] and the
//!   results of the benches.
//!
//! The truth may drift, so intervals of different looks are not intersected.

mod boundary;
mod deal;
mod estimate;
pub mod live;
pub mod simulation;
#[cfg(test)]
mod tests;
mod verdict;
mod window;

pub use deal::{ARM_SHARDS_MIN, ARMS_MAX, Arm, CONTROL, Deal, DealError, Shares};
pub use verdict::{Rule, StopReason, Verdict};
pub use window::{SampleWindow, ShardWindow, WindowError};

use serde::{Deserialize, Serialize};

use crate::Objective;
use boundary::critical_value;
use estimate::{Bounds, COVARIATES, Fit, Row};
use window::ShardTotal;

/// Slopes that make sense. The shadow's ratio varies less than the live one where the shadow is small,
/// so its slope may exceed 1; a sample that is better than the whole shard never speaks for the shard.
const SLOPES: Bounds = [(0.0, 2.0), (-2.0, 0.0)];

/// How an experiment is evaluated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExperimentConfig {
    /// What a hit is worth.
    pub objective: Objective,
    /// Probability that an interval contains the truth at all looks together, 0.5 to 0.9999.
    pub confidence: f64,
    /// The difference that one wants to find, a ratio above 0: intervals are narrowest when they are
    /// about this wide. It must be chosen beforehand; a bad choice costs width, not validity.
    pub effect: f64,
    /// Windows before the first interval.
    pub windows_min: u64,
    /// Covariates used, 0 to 2: none, the shadow's ratio, and the sample's distance too.
    pub covariates_max: usize,
    /// When the experiment ends by itself.
    pub rule: Rule,
}

impl Default for ExperimentConfig {
    /// Object hit ratio, 95 %, tuned to find 1 pp, from the second window on, both covariates.
    fn default() -> Self {
        Self {
            objective: Objective::Object,
            confidence: 0.95,
            effect: 0.01,
            windows_min: 2,
            covariates_max: COVARIATES,
            rule: Rule::default(),
        }
    }
}

/// A setting that is out of range.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{setting} is {value}, not between {least} and {most}")]
pub struct ExperimentConfigError {
    /// Name of the setting.
    pub setting: &'static str,
    /// Its value.
    pub value: f64,
    /// The least allowed.
    pub least: f64,
    /// The most allowed.
    pub most: f64,
}

impl ExperimentConfig {
    fn check(&self) -> Result<(), ExperimentConfigError> {
        let ranges = [
            ("confidence", self.confidence, 0.5, 0.9999),
            ("effect", self.effect, 1e-6, 1.0),
            ("rule.least_effect", self.rule.least_effect, 0.0, 1.0),
            ("rule.equivalence", self.rule.equivalence, 0.0, 1.0),
        ];
        for (setting, value, least, most) in ranges {
            if !(least..=most).contains(&value) {
                return Err(ExperimentConfigError { setting, value, least, most });
            }
        }
        Ok(())
    }
}

/// Where the truth lies, both ends included; ratios, −1 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

impl Interval {
    /// Whether `value` lies inside.
    #[must_use]
    pub fn contains(&self, value: f64) -> bool {
        self.low <= value && value <= self.high
    }
}

/// An arm against the control at one look.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Comparison {
    /// The arm.
    pub arm: usize,
    /// Its name.
    pub name: String,
    /// Whether it runs the control's own policy, to check the experiment itself.
    pub self_check: bool,
    /// Adjusted hit ratio (in the objective's unit) minus the control's; above 0 the arm is better.
    /// 0 while there is no estimate.
    pub difference: f64,
    /// Where the difference lies; `None` while there is too little to say.
    pub interval: Option<Interval>,
    /// Probability that the interval contains the difference at all looks.
    pub confidence: f64,
    /// Standard error of the difference; 0 while there is no estimate.
    pub standard_error: f64,
    /// Degrees of freedom of the standard error: about the number of shards that carry the traffic.
    pub degrees: f64,
    /// The arm's own ratio, not adjusted.
    pub ratio: f64,
    /// The control's own ratio, not adjusted.
    pub control_ratio: f64,
    /// How far the shadow's ratio and the sample's distance were taken out, 0 for not at all.
    pub slopes: [f64; COVARIATES],
    /// Requests of both arms.
    pub requests: u64,
    /// Windows so far.
    pub windows: u64,
}

/// A live experiment: what was dealt, and what has been seen.
///
/// ```
/// use ostler_adapt::experiment::{
///     Arm, Deal, Experiment, ExperimentConfig, SampleWindow, ShardWindow, Verdict,
/// };
///
/// let arm = |name: &str| Arm {
///     name: name.to_owned(),
///     code_id: name.to_owned(),
///     params: "{}".to_owned(),
///     share: 0.5,
/// };
/// let deal = Deal::try_new(64, vec![arm("lru"), arm("sieve")], 1)?;
/// let mut experiment = Experiment::try_new(deal, ExperimentConfig::default())?;
/// for _ in 0..10 {
///     // Every shard has hits of its own; those of the second arm are three points better.
///     let window: Vec<ShardWindow> = (0..64)
///         .map(|shard| {
///             let own = 500 + 4 * u64::from(shard);
///             let arm = experiment.deal().arm_of(shard).unwrap_or(0) as u64;
///             let noise = u64::from(shard * 7 % 10);
///             ShardWindow {
///                 shard,
///                 requests: 1000,
///                 worth: 1000,
///                 hit_worth: own + 30 * arm,
///                 sample: Some(SampleWindow {
///                     rate: 0.1,
///                     worth: 100,
///                     hit_worth: (own + 30 * arm) / 10,
///                     shadow_hit_worth: (own - noise) / 10,
///                 }),
///             }
///         })
///         .collect();
///     experiment.observe(&window)?;
/// }
/// let interval = experiment.comparison(1).and_then(|one| one.interval).expect("enough was seen");
/// assert!(interval.contains(0.03) && !interval.contains(0.0));
/// assert!(matches!(experiment.verdict(), Verdict::Promote { arm: 1, .. }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Experiment {
    deal: Deal,
    config: ExperimentConfig,
    totals: Vec<ShardTotal>,
    windows: u64,
}

impl Experiment {
    /// An experiment that has seen nothing.
    ///
    /// # Errors
    ///
    /// Where a setting is out of range.
    pub fn try_new(deal: Deal, config: ExperimentConfig) -> Result<Self, ExperimentConfigError> {
        config.check()?;
        let totals = vec![ShardTotal::default(); deal.shards() as usize];
        Ok(Self { deal, config, totals, windows: 0 })
    }

    /// What was dealt to whom.
    #[must_use]
    pub fn deal(&self) -> &Deal {
        &self.deal
    }

    /// How it is evaluated.
    #[must_use]
    pub fn config(&self) -> &ExperimentConfig {
        &self.config
    }

    /// Counts one window of all shards. A shard that is left out had no requests. Cost: linear in the
    /// shards.
    ///
    /// # Errors
    ///
    /// [`WindowError`], and then nothing of the window is counted.
    pub fn observe(&mut self, window: &[ShardWindow]) -> Result<(), WindowError> {
        let shards = self.deal.shards();
        let mut seen = vec![false; self.totals.len()];
        for one in window {
            let shard = one.shard;
            let Some(seen) = seen.get_mut(shard as usize) else {
                return Err(WindowError::Shard { shard, shards });
            };
            if std::mem::replace(seen, true) {
                return Err(WindowError::Twice { shard });
            }
            one.check()?;
        }
        for one in window {
            if let Some(total) = self.totals.get_mut(one.shard as usize) {
                total.add(one);
            }
        }
        self.windows += 1;
        Ok(())
    }

    /// Windows counted.
    #[must_use]
    pub fn windows(&self) -> u64 {
        self.windows
    }

    /// Requests counted, in all arms.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.totals.iter().fold(0, |sum, total| sum.saturating_add(total.requests))
    }

    /// An arm against the control, with an interval at the configured confidence for this arm alone;
    /// `None` for the control itself and for arms that do not exist. Cost: linear in the shards.
    #[must_use]
    pub fn comparison(&self, arm: usize) -> Option<Comparison> {
        let is_tested = arm != CONTROL && arm < self.deal.arms().len();
        is_tested.then(|| self.compare(&self.fit(), arm, 1.0 - self.config.confidence))
    }

    /// All arms but the control, as in [`comparison`](Self::comparison).
    #[must_use]
    pub fn comparisons(&self) -> Vec<Comparison> {
        self.compare_all(1.0 - self.config.confidence)
    }

    /// What the rule says now. The intervals it goes by are wider where there are several arms, so
    /// that the confidence holds for all of them together (Bonferroni).
    pub fn verdict(&self) -> Verdict {
        let arms = self.deal.arms().len();
        let alpha = (1.0 - self.config.confidence) / (arms - 1) as f64;
        self.config.rule.judge(&self.compare_all(alpha), self.requests())
    }

    fn compare_all(&self, alpha: f64) -> Vec<Comparison> {
        let fit = self.fit();
        let arms = (0..self.deal.arms().len()).filter(|&arm| arm != CONTROL);
        arms.map(|arm| self.compare(&fit, arm, alpha)).collect()
    }

    fn compare(&self, fit: &Fit, arm: usize, alpha: f64) -> Comparison {
        let contrast = fit.contrast(arm, CONTROL);
        let interval =
            contrast.filter(|_| self.windows >= self.config.windows_min).and_then(|one| {
                let tuning = (alpha, self.config.effect);
                let critical = critical_value(one.standard_error, one.degrees, tuning)?;
                let width = critical * one.standard_error;
                let (low, high) = (one.difference - width, one.difference + width);
                Some(Interval { low: low.max(-1.0), high: high.min(1.0) })
            });
        let requests = (0..).zip(&self.totals).filter_map(|(shard, total)| {
            let own = self.deal.arm_of(shard)?;
            (own == arm || own == CONTROL).then_some(total.requests)
        });
        let arms = self.deal.arms();
        Comparison {
            arm,
            name: arms[arm].name.clone(),
            self_check: arms[arm].is_same_policy(&arms[CONTROL]),
            difference: contrast.map_or(0.0, |one| one.difference),
            interval,
            confidence: 1.0 - alpha,
            standard_error: contrast.map_or(0.0, |one| one.standard_error),
            degrees: contrast.map_or(0.0, |one| one.degrees),
            ratio: fit.ratio(arm),
            control_ratio: fit.ratio(CONTROL),
            slopes: fit.slopes(),
            requests: requests.fold(0, u64::saturating_add),
            windows: self.windows,
        }
    }

    fn fit(&self) -> Fit {
        let sums = self.totals.iter().fold((0.0, 0.0), |(missed, worth), total| {
            (missed + total.sampled.missed_in_shadow, worth + total.sampled.worth)
        });
        let average = if sums.1 > 0.0 { -sums.0 / sums.1 } else { 0.0 };
        let rows = (0..).zip(&self.totals).filter_map(|(shard, total)| {
            let arm = self.deal.arm_of(shard)?;
            (total.worth > 0).then(|| row(arm, total, average))
        });
        let rows: Vec<Row> = rows.collect();
        Fit::new(&rows, self.deal.arms().len(), &SLOPES, self.config.covariates_max)
    }
}

/// A shard as the regression sees it. One without a sample gets the covariates of the `average` shard.
fn row(arm: usize, total: &ShardTotal, average: f64) -> Row {
    let weight = total.worth as f64;
    let sampled = total.sampled;
    let covariates = if sampled.worth > 0.0 {
        [-sampled.missed_in_shadow, sampled.missed - sampled.missed_in_sample]
            .map(|sum| sum / sampled.worth)
    } else {
        [average, 0.0]
    };
    Row { arm, weight, outcome: total.hit_worth as f64 / weight, covariates }
}
