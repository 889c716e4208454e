//! What can go wrong with experiments, for whoever shows it.

use ostler_adapt::experiment::live::ConductorError;
use ostler_adapt::experiment::{DealError, ExperimentConfigError};
use ostler_adapt::live::LiveError;

use super::trial::CourseError;
use crate::policies::{ActivateError, PolicyError};

/// Why an experiment does not begin or end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExperimentError {
    /// Another one runs in the cache.
    #[error("experiment {id} runs in this cache; promote one of its arms or stop it first")]
    Running {
        /// Its id.
        id: u64,
    },
    /// There is none of this id.
    #[error("experiment {id}: there is none, or it ended long ago")]
    Unknown {
        /// The id.
        id: u64,
    },
    /// It has ended before.
    #[error("experiment {id} is over")]
    Over {
        /// Its id.
        id: u64,
    },
    /// It has no such arm.
    #[error("there is no arm {arm}: the experiment has {arms}, numbered from 0")]
    NoArm {
        /// The arm.
        arm: usize,
        /// How many there are.
        arms: usize,
    },
    /// The shards cannot be dealt like this.
    #[error("{error}{}", way_out(*shards_needed))]
    Deal {
        /// Why.
        error: DealError,
        /// The least number of shards with which they could; none where no number is enough.
        shards_needed: Option<u32>,
    },
    /// A setting is out of range.
    #[error(transparent)]
    Config(#[from] ExperimentConfigError),
    /// The length of a window is out of range.
    #[error(
        "window_ms is {window_ms}, not between {} and {}",
        super::WINDOW_MS_MIN,
        super::WINDOW_MS_MAX
    )]
    Window {
        /// What was asked for, milliseconds.
        window_ms: u64,
    },
    /// An arm's policy cannot be had.
    #[error("arm {arm}: {error}")]
    Policy {
        /// The arm.
        arm: usize,
        /// Why.
        error: Box<PolicyError>,
    },
    /// An arm's policy does not get its seats.
    #[error(transparent)]
    Seat(ActivateError),
    /// Nobody can listen to the cache.
    #[error(transparent)]
    Thread(LiveError),
}

impl ExperimentError {
    pub(super) fn of_course(id: u64, error: CourseError) -> Self {
        match error {
            ConductorError::NoArm { arm, arms } => Self::NoArm { arm, arms },
            ConductorError::Seat(error) => Self::Seat(error),
            _ => Self::Over { id },
        }
    }
}

fn way_out(shards_needed: Option<u32>) -> String {
    let advice = |shards| {
        format!("; set shards = {shards} or more for this cache in the settings and start again")
    };
    shards_needed.map(advice).unwrap_or_default()
}
