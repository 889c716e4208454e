//! What somebody wants to try: the arms with their shares, and how they are compared.

use ostler_adapt::Objective;
use ostler_adapt::experiment::{
    ARM_SHARDS_MIN, Arm, Deal, DealError, Experiment, ExperimentConfig, Rule,
};
use ostler_wasm::ModuleId;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::ExperimentError;

/// Shortest window, milliseconds: that of a consumer's tick.
pub const WINDOW_MS_MIN: u64 = 100;
/// Longest window, milliseconds.
pub const WINDOW_MS_MAX: u64 = 3_600_000;
/// Most shards that are worth a search.
const SHARDS_MAX: u32 = 1_024;

/// A wanted experiment.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExperimentPlan {
    /// At least two; the first is the control.
    pub arms: Vec<ArmPlan>,
    /// What a hit is worth.
    #[serde(default)]
    pub objective: Objective,
    /// The difference that one wants to find, a ratio; intervals are narrowest when about this wide.
    #[serde(default = "effect")]
    pub effect: f64,
    /// Probability that an interval contains the truth at all looks together.
    #[serde(default = "confidence")]
    pub confidence: f64,
    /// When it ends by itself.
    #[serde(default)]
    pub rule: Rule,
    /// Milliseconds between two looks.
    #[serde(default = "window_ms")]
    pub window_ms: u64,
    /// Seed of the draw of shards, by default one that nobody knows before.
    #[serde(default)]
    pub seed: Option<u32>,
}

/// A wanted arm.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArmPlan {
    /// A policy, as it is named where one is put in charge.
    pub policy: String,
    /// Which version, the newest where none is named.
    #[serde(default)]
    pub version: Option<ModuleId>,
    /// Parameters; those that are left out have the defaults of its manifest.
    #[serde(default)]
    pub params: Map<String, Value>,
    /// Share of the shards.
    pub share: f64,
}

/// The effect where none is named.
pub(crate) fn effect() -> f64 {
    ExperimentConfig::default().effect
}

/// The confidence where none is named.
pub(crate) fn confidence() -> f64 {
    ExperimentConfig::default().confidence
}

/// The window where none is named, milliseconds.
pub(crate) fn window_ms() -> u64 {
    1_000
}

impl ExperimentPlan {
    /// The experiment for a cache of so many shards, dealt by `seed`.
    pub(super) fn experiment(
        &self,
        shards: u32,
        (arms, seed): (Vec<Arm>, u64),
    ) -> Result<Experiment, ExperimentError> {
        let window_ms = self.window_ms;
        if !(WINDOW_MS_MIN..=WINDOW_MS_MAX).contains(&window_ms) {
            return Err(ExperimentError::Window { window_ms });
        }
        let deal = Deal::try_new(shards, arms.clone(), seed).map_err(|error| {
            let is_small = matches!(error, DealError::FewShards { .. });
            let shards_needed = is_small.then(|| shards_needed(shards, &arms)).flatten();
            ExperimentError::Deal { error, shards_needed }
        })?;
        let config = ExperimentConfig {
            objective: self.objective,
            confidence: self.confidence,
            effect: self.effect,
            rule: self.rule,
            ..ExperimentConfig::default()
        };
        Ok(Experiment::try_new(deal, config)?)
    }
}

/// The least number of shards with which these shares can be dealt.
fn shards_needed(shards: u32, arms: &[Arm]) -> Option<u32> {
    let least = arms.iter().map(|arm| arm.share).fold(1.0, f64::min);
    let from = (f64::from(ARM_SHARDS_MIN) / least) as u32;
    let mut numbers = from.max(shards)..=SHARDS_MAX;
    numbers.find(|&shards| Deal::try_new(shards, arms.to_vec(), 0).is_ok())
}
