//! The weights, and the message that carries them from the host to a policy.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::WEIGHTS;

/// The message's format: what the weights mean. Changes with the features.
pub const MODEL_FORMAT: u16 = 1;

/// Longest message, bytes.
pub const MESSAGE_BYTES_MAX: usize = 1024;

/// Greatest magnitude of a weight.
pub const WEIGHT_MAX: f32 = 64.0;

/// A trained model.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// Counts up with every model a learner publishes; 0 is the prior.
    pub version: u32,
    /// One weight for every term of the expansion.
    pub weights: [f32; WEIGHTS],
}

/// The message, as postcard carries it.
#[derive(Serialize, Deserialize)]
struct Message {
    format: u16,
    version: u32,
    weights: Vec<f32>,
}

/// Why a message is no model.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ModelError {
    /// Longer than [`MESSAGE_BYTES_MAX`].
    TooLong {
        /// Bytes it has.
        bytes: usize,
    },
    /// Not the encoding of a model, or bytes left after it.
    Malformed,
    /// A format that this code does not know.
    Format {
        /// The message's.
        format: u16,
    },
    /// Not [`WEIGHTS`] weights.
    Count {
        /// Weights it has.
        count: usize,
    },
    /// A weight that is not finite or beyond [`WEIGHT_MAX`].
    Weight {
        /// Its place.
        place: usize,
        /// The weight.
        weight: f32,
    },
}

/// Bytes of the one message that says this. A longer one has bytes behind it, or numbers written with
/// leading zeros, which a host of 64 bits and a guest of 32 would not read alike.
pub(crate) fn message_len(format: u16, version: u32, count: usize) -> usize {
    let number = |number: u64| (u64::BITS - (number | 1).leading_zeros()).div_ceil(7) as usize;
    let head = number(u64::from(format)) + number(u64::from(version)) + number(count as u64);
    head + count * size_of::<f32>()
}

impl core::fmt::Display for ModelError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::TooLong { bytes } => {
                write!(f, "a message of {bytes} bytes, at most {MESSAGE_BYTES_MAX} are read")
            }
            Self::Malformed => f.write_str("not a model's message"),
            Self::Format { format } => {
                write!(f, "a model of format {format}, this policy reads format {MODEL_FORMAT}")
            }
            Self::Count { count } => write!(f, "{count} weights, a model has {WEIGHTS}"),
            Self::Weight { place, weight } => {
                write!(f, "weight {place} is {weight}, finite and at most {WEIGHT_MAX} is allowed")
            }
        }
    }
}

impl core::error::Error for ModelError {}

impl Model {
    /// Checks the weights.
    ///
    /// # Errors
    ///
    /// [`ModelError::Weight`] for the first that is not finite or too large.
    pub fn validate(&self) -> Result<(), ModelError> {
        for (place, &weight) in self.weights.iter().enumerate() {
            if !weight.is_finite() || weight.abs() > WEIGHT_MAX {
                return Err(ModelError::Weight { place, weight });
            }
        }
        Ok(())
    }

    /// The model in a message.
    ///
    /// # Errors
    ///
    /// What is wrong with the message; nothing is taken from it then.
    pub fn try_from_bytes(bytes: &[u8]) -> Result<Self, ModelError> {
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(ModelError::TooLong { bytes: bytes.len() });
        }
        let (message, _) =
            postcard::take_from_bytes::<Message>(bytes).map_err(|_| ModelError::Malformed)?;
        if message.format != MODEL_FORMAT {
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
        let message =
            Message { format: MODEL_FORMAT, version: self.version, weights: self.weights.to_vec() };
        postcard::to_allocvec(&message).expect("invariant: numbers and a sequence can be encoded")
    }
}

#[cfg(test)]
mod tests;
