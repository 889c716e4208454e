//! How likely a key is asked for within a horizon: what ranks the keys that a cold cache fetches.
//!
//! Another question than whom to evict: a key that is warmed is worth one miss, however often it is
//! used afterwards, so what counts is whether it is asked for at all before the horizon ends. The
//! model is a logistic regression over eight facts of the key, each as itself, its square and its
//! cube: additive, so that a few thousand labels are enough to train it. Host and guest both come here.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::model::message_len;
use crate::{Facts, Lifetime, ModelError, WEIGHT_MAX, quarter_octaves};

/// Facts that the model sees.
const LEVELS: usize = 9;

/// Weights of a [`WarmingModel`]: one; each fact, its square, its cube; two for facts that are missing.
pub const WARMING_WEIGHTS: usize = 1 + 3 * LEVELS + 2;

/// Format of a warming model's message; [`MODEL_FORMAT`](crate::MODEL_FORMAT) is the eviction models'.
pub const WARMING_MODEL_FORMAT: u16 = 2;

/// The level of a fact that is missing.
const MISSING: u8 = 31;

/// Log-odds beyond which a chance is as good as certain.
const ODDS_MAX: f32 = 16.0;

/// What the model sees of a key: small integers, all logarithmic, times relative to the lifetime. In
/// this order: age, gap, second gap, mean gap, age over gap, age over mean gap, life, accesses, and
/// the decayed frequency as of now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WarmingFeatures([u8; LEVELS]);

impl WarmingFeatures {
    /// The features of what is known. Of the facts it reads the times, `accesses`, and `steady`: the
    /// accesses as of now, decayed with a half-life of one lifetime.
    #[must_use]
    pub fn of(facts: &Facts, lifetime: &Lifetime) -> Self {
        let scale = i32::from(lifetime.quarters());
        let age = q(facts.age.saturating_add(1));
        Self([
            relative(age, scale),
            optional(facts.gap, scale),
            optional(facts.gap2, scale),
            optional(facts.gap_mean, scale),
            ratio(age, facts.gap),
            ratio(age, facts.gap_mean),
            relative(q(facts.life.saturating_add(1)), scale),
            level(q(facts.accesses)),
            level(q(facts.steady) - 20),
        ])
    }

    /// The numbers that the model's weights multiply.
    #[must_use]
    pub fn expand(&self) -> [f32; WARMING_WEIGHTS] {
        let mut terms = [0.0; WARMING_WEIGHTS];
        terms[0] = 1.0;
        for (place, &level) in self.0.iter().enumerate() {
            if level != MISSING {
                let value = f32::from(level) / 16.0 - 1.0;
                terms[1 + place] = value;
                terms[1 + LEVELS + place] = value * value;
                terms[1 + 2 * LEVELS + place] = value * value * value;
            }
        }
        terms[1 + 3 * LEVELS] = f32::from(u8::from(self.0[1] == MISSING));
        terms[2 + 3 * LEVELS] = f32::from(u8::from(self.0[2] == MISSING));
        terms
    }
}

/// A model of the chance that a key is asked for within the horizon.
#[derive(Clone, Debug, PartialEq)]
pub struct WarmingModel {
    /// Who trained it counts them up from 1; 0 is the prior.
    pub version: u32,
    /// A weight a term.
    pub weights: [f32; WARMING_WEIGHTS],
}

#[derive(Serialize, Deserialize)]
struct Message {
    format: u16,
    version: u32,
    weights: Vec<f32>,
}

impl Default for WarmingModel {
    /// The prior.
    fn default() -> Self {
        Self { version: 0, weights: crate::warming_prior::WARMING_PRIOR }
    }
}

impl WarmingModel {
    /// Log-odds that the key is asked for within the horizon: 0 is even, higher is more likely;
    /// within ±16. The same on every machine.
    #[must_use]
    pub fn odds(&self, features: &WarmingFeatures) -> f32 {
        let terms = features.expand();
        let odds: f32 = self.weights.iter().zip(&terms).map(|(weight, term)| weight * term).sum();
        odds.clamp(-ODDS_MAX, ODDS_MAX)
    }

    /// Checks the weights.
    ///
    /// # Errors
    ///
    /// [`ModelError::Weight`] for the first that is not finite or beyond [`WEIGHT_MAX`].
    pub fn validate(&self) -> Result<(), ModelError> {
        // Not a number is not at most anything.
        let is_sound = |weight: f32| weight.abs() <= WEIGHT_MAX;
        match self.weights.iter().position(|&weight| !is_sound(weight)) {
            Some(place) => Err(ModelError::Weight { place, weight: self.weights[place] }),
            None => Ok(()),
        }
    }

    /// The model in a message.
    ///
    /// # Errors
    ///
    /// What is wrong with the message; nothing is taken from it then.
    pub fn try_from_bytes(bytes: &[u8]) -> Result<Self, ModelError> {
        if bytes.len() > crate::MESSAGE_BYTES_MAX {
            return Err(ModelError::TooLong { bytes: bytes.len() });
        }
        let (message, _) =
            postcard::take_from_bytes::<Message>(bytes).map_err(|_| ModelError::Malformed)?;
        if message.format != WARMING_MODEL_FORMAT {
            return Err(ModelError::Format { format: message.format });
        }
        let count = message.weights.len();
        if bytes.len() != message_len(message.format, message.version, count) {
            return Err(ModelError::Malformed);
        }
        let weights = message.weights.try_into().map_err(|_| ModelError::Count { count })?;
        let model = Self { version: message.version, weights };
        model.validate()?;
        Ok(model)
    }

    /// The message that carries the model.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let message = Message {
            format: WARMING_MODEL_FORMAT,
            version: self.version,
            weights: self.weights.to_vec(),
        };
        postcard::to_allocvec(&message).expect("invariant: numbers and a sequence can be encoded")
    }
}

fn q(value: u32) -> i32 {
    i32::from(quarter_octaves(value))
}

fn level(value: i32) -> u8 {
    value.clamp(0, 30) as u8
}

/// Half octaves around the lifetime: 22 is the lifetime itself.
fn relative(quarters: i32, scale: i32) -> u8 {
    level((quarters - scale + 44) >> 1)
}

fn optional(time: u32, scale: i32) -> u8 {
    if time == 0 { MISSING } else { relative(q(time), scale) }
}

/// Half octaves of age over a gap: 15 where they are equal.
fn ratio(age: i32, gap: u32) -> u8 {
    if gap == 0 { MISSING } else { level((age - q(gap) + 30) >> 1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn features(age: u32, accesses: u32) -> WarmingFeatures {
        let (gap, life) = if accesses > 1 { (50, age + 50 * (accesses - 1)) } else { (0, age) };
        let facts = Facts {
            age,
            gap,
            gap_mean: gap,
            life,
            accesses,
            steady: 256,
            weight: 1,
            ..Facts::default()
        };
        WarmingFeatures::of(&facts, &Lifetime::of(1000))
    }

    #[test]
    fn features_are_half_octaves_around_the_lifetime() {
        assert_eq!(features(999, 1).0, [22, 31, 31, 31, 31, 31, 22, 0, 12]);
        assert_eq!(features(49, 2).0, [13, 13, 31, 13, 15, 15, 15, 4, 12]);
        let terms = features(999, 1).expand();
        assert_eq!((terms[0], terms[1], terms[1 + LEVELS]), (1.0, 0.375, 0.140_625));
        assert_eq!(terms[1 + 3 * LEVELS..], [1.0, 1.0]);
    }

    #[test]
    fn messages_carry_the_model_and_garbage_is_refused() {
        let mut model = WarmingModel { version: 7, ..WarmingModel::default() };
        model.weights[3] = -1.5;
        let bytes = model.to_bytes();
        assert_eq!(WarmingModel::try_from_bytes(&bytes), Ok(model.clone()));
        for len in 0..bytes.len() {
            assert!(WarmingModel::try_from_bytes(&bytes[..len]).is_err(), "{len} bytes");
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert_eq!(WarmingModel::try_from_bytes(&longer), Err(ModelError::Malformed));
        let other = crate::Model { version: 1, weights: crate::PRIOR }.to_bytes();
        let format = crate::MODEL_FORMAT;
        assert_eq!(WarmingModel::try_from_bytes(&other), Err(ModelError::Format { format }));
        for weight in [f32::NAN, f32::INFINITY, WEIGHT_MAX * 1.01] {
            model.weights[5] = weight;
            let refused = WarmingModel::try_from_bytes(&model.to_bytes());
            assert!(matches!(refused, Err(ModelError::Weight { place: 5, .. })));
        }
    }

    #[test]
    fn the_prior_prefers_what_is_used_lately_and_often() {
        let prior = WarmingModel::default();
        let odds = |age, accesses| prior.odds(&features(age, accesses));
        assert!(odds(40, 8) > odds(40, 2) && odds(40, 2) > odds(4_000, 1));
        assert!(odds(200, 8) > odds(20_000, 8));
    }
}
