//! What a shard reports for one window, and the sums over all windows.
//!
//! Owns the check of the numbers; it must not know arms or estimates. All amounts are in the unit of
//! the experiment's [`Objective`](crate::Objective): requests, bytes or microseconds, as
//! [`worth`](crate::Objective::worth) says for each request.

use serde::{Deserialize, Serialize};

/// What one shard did in one window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardWindow {
    /// The shard.
    pub shard: u32,
    /// Gets.
    pub requests: u64,
    /// What all gets were worth; equals `requests` for the object objective.
    pub worth: u64,
    /// What those were worth that hit.
    pub hit_worth: u64,
    /// The same for the sampled keys; `None` where no shadow ran.
    #[serde(default)]
    pub sample: Option<SampleWindow>,
}

/// What one shard and the control's policy in shadow did on the sampled keys in one window: the very
/// same gets on both sides. It counts only gets that reached the shadow.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SampleWindow {
    /// Share of the keys that were sampled in this window, above 0 to 1; not what came of it in requests.
    pub rate: f64,
    /// What the sampled gets were worth.
    pub worth: u64,
    /// What those were worth that hit live.
    pub hit_worth: u64,
    /// What those were worth that hit in the control's shadow.
    pub shadow_hit_worth: u64,
}

/// Why a window was not counted. Nothing of it was.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum WindowError {
    /// A shard that was not dealt.
    #[error("shard {shard} is none of the {shards} that were dealt")]
    Shard {
        /// The shard.
        shard: u32,
        /// Shards dealt.
        shards: u32,
    },
    /// A shard that reports twice.
    #[error("shard {shard} stands in the window twice")]
    Twice {
        /// The shard.
        shard: u32,
    },
    /// A share of the keys that is none.
    #[error("shard {shard} samples {rate} of its keys, not a share between 0 and 1")]
    Rate {
        /// The shard.
        shard: u32,
        /// The share.
        rate: f64,
    },
    /// Hits worth more than all that was asked for, or a sample worth more than the whole.
    #[error("shard {shard} counts {part} in hits or samples out of {whole}")]
    Excess {
        /// The shard.
        shard: u32,
        /// The larger part.
        part: u64,
        /// The whole that it exceeds.
        whole: u64,
    },
}

impl ShardWindow {
    pub(super) fn check(&self) -> Result<(), WindowError> {
        let excess = |pairs: &[(u64, u64)]| match pairs.iter().find(|(part, whole)| part > whole) {
            Some(&(part, whole)) => Err(WindowError::Excess { shard: self.shard, part, whole }),
            None => Ok(()),
        };
        excess(&[(self.hit_worth, self.worth)])?;
        let Some(sample) = self.sample else { return Ok(()) };
        if !(sample.rate > 0.0 && sample.rate <= 1.0) {
            return Err(WindowError::Rate { shard: self.shard, rate: sample.rate });
        }
        excess(&[
            (sample.worth, self.worth),
            (sample.hit_worth, sample.worth),
            (sample.hit_worth, self.hit_worth),
            (sample.shadow_hit_worth, sample.worth),
        ])
    }
}

/// A shard's sums since the experiment began; they stop at the largest number rather than wrap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct ShardTotal {
    pub(super) requests: u64,
    pub(super) worth: u64,
    pub(super) hit_worth: u64,
    /// Of the windows with a sample: everything, and what missed of it.
    pub(super) sampled: Sampled,
}

/// Sums over the windows with a sample; those of sampled keys are divided by the share of the keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Sampled {
    pub(super) worth: f64,
    pub(super) missed: f64,
    pub(super) missed_in_sample: f64,
    pub(super) missed_in_shadow: f64,
}

impl ShardTotal {
    pub(super) fn add(&mut self, window: &ShardWindow) {
        self.requests = self.requests.saturating_add(window.requests);
        self.worth = self.worth.saturating_add(window.worth);
        self.hit_worth = self.hit_worth.saturating_add(window.hit_worth);
        let Some(sample) = window.sample else { return };
        let sampled = &mut self.sampled;
        sampled.worth += window.worth as f64;
        sampled.missed += (window.worth - window.hit_worth) as f64;
        sampled.missed_in_sample += (sample.worth - sample.hit_worth) as f64 / sample.rate;
        sampled.missed_in_shadow += (sample.worth - sample.shadow_hit_worth) as f64 / sample.rate;
    }
}
