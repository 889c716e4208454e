//! The model that the policies of a cache are to use, and what they said to it.
//!
//! It owns the message in force and the counts. It must not know what a model means: that is between
//! who trained it and the policy.

use std::sync::Arc;

use ostler_abi::{MODEL_BYTES_MAX, ModelRefused};
use thiserror::Error;

use crate::fault::PolicyFault;
use crate::sync::Mutex;

/// A message of a length that no model has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a model of {bytes} bytes, they have 1 to {MODEL_BYTES_MAX}")]
pub struct ModelLength {
    /// The bytes that were given.
    pub bytes: usize,
}

impl ModelLength {
    /// Refuses a message that is empty or too long.
    pub(crate) fn check(message: &[u8]) -> Result<(), Self> {
        let bytes = message.len();
        if (1..=MODEL_BYTES_MAX).contains(&bytes) { Ok(()) } else { Err(Self { bytes }) }
    }
}

/// What became of a model that was published.
///
/// ```
/// let cache = ostler_core::Cache::<u32, u32>::builder(10).shards(2).build()?;
/// let published = cache.publish_model(b"a model")?;
/// assert_eq!((published.taken, published.ignored), (0, 2), "no policy is in charge");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Publication {
    /// Shards whose policy works with it now.
    pub taken: usize,
    /// Shards whose policy refused it and goes on with what it had.
    pub refused: usize,
    /// Shards whose policy takes no models, or that have none in charge.
    pub ignored: usize,
    /// Shards whose policy broke its contract over it and lost the seat.
    pub faulted: usize,
    /// What one of those that refused said.
    pub refusal: Option<ModelRefused>,
}

/// What policies said to the models of a cache so far.
///
/// ```
/// let cache = ostler_core::Cache::<u32, u32>::builder(10).build()?;
/// assert_eq!(cache.model_stats().published, 0);
/// # Ok::<(), ostler_core::BuildError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ModelStats {
    /// Models published.
    pub published: u64,
    /// Times that an instance took one; a new instance is given the one in force.
    pub taken: u64,
    /// Times that an instance refused one.
    pub refused: u64,
    /// Those refusals by what was said.
    pub reasons: RefusalCounts,
    /// The last refusal.
    pub refusal: Option<ModelRefused>,
    /// Times that an instance broke its contract over one.
    pub faulted: u64,
    /// Models that nobody took and somebody refused: the one before is in force again.
    pub withdrawn: u64,
}

/// Refusals of models by their reason, see [`ModelRefused`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RefusalCounts {
    /// The message was of another format or version.
    pub format: u64,
    /// It was too short, too long or did not decode.
    pub length: u64,
    /// A weight was not finite or out of its range.
    pub weights: u64,
    /// A reason of the policy's own.
    pub other: u64,
}

impl RefusalCounts {
    fn count(&mut self, refused: ModelRefused) {
        match refused {
            ModelRefused::FORMAT => self.format += 1,
            ModelRefused::LENGTH => self.length += 1,
            ModelRefused::WEIGHTS => self.weights += 1,
            _ => self.other += 1,
        }
    }
}

/// What one instance said to a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reception {
    Taken,
    Refused(ModelRefused),
    Ignored,
    Faulted,
}

impl Reception {
    pub(crate) fn of(answer: &Result<Result<(), ModelRefused>, PolicyFault>) -> Self {
        match answer {
            Ok(Ok(())) => Self::Taken,
            Ok(Err(ModelRefused::TAKES_NONE)) => Self::Ignored,
            Ok(Err(refused)) => Self::Refused(*refused),
            Err(_) => Self::Faulted,
        }
    }
}

impl Publication {
    pub(crate) fn count(&mut self, reception: Reception) {
        match reception {
            Reception::Taken => self.taken += 1,
            Reception::Ignored => self.ignored += 1,
            Reception::Faulted => self.faulted += 1,
            Reception::Refused(refused) => {
                self.refused += 1;
                self.refusal = Some(refused);
            }
        }
    }
}

/// The model in force for all shards of a cache.
#[derive(Debug, Default)]
pub(crate) struct ModelShelf {
    kept: Mutex<Kept>,
    /// Held by whoever publishes: shards hear of models in one order.
    pub(crate) turn: Mutex<()>,
}

#[derive(Debug, Default)]
struct Kept {
    current: Option<Arc<[u8]>>,
    /// The one before, while nobody knows yet what the policies say to the current one.
    before: Option<Arc<[u8]>>,
    stats: ModelStats,
}

impl ModelShelf {
    /// Puts a model in force. Who prepares an instance from here on gives it this one.
    pub(crate) fn offer(&self, message: &[u8]) {
        let mut kept = self.kept.lock();
        kept.stats.published += 1;
        kept.before = kept.current.replace(message.into());
    }

    /// Keeps the model that was offered, unless whoever takes models refused it: then the one before
    /// is in force again.
    pub(crate) fn settle(&self, published: &Publication) {
        let mut kept = self.kept.lock();
        let before = kept.before.take();
        let unwanted = published.taken == 0 && published.refused + published.faulted > 0;
        if unwanted {
            kept.current = before;
            kept.stats.withdrawn += 1;
        }
    }

    /// The models for a new instance: the second where it refuses the first.
    pub(crate) fn for_newcomer(&self) -> [Option<Arc<[u8]>>; 2] {
        let kept = self.kept.lock();
        [kept.current.clone(), kept.before.clone()]
    }

    pub(crate) fn count(&self, reception: Reception) {
        let stats = &mut self.kept.lock().stats;
        match reception {
            Reception::Taken => stats.taken += 1,
            Reception::Refused(refused) => {
                stats.refused += 1;
                stats.reasons.count(refused);
                stats.refusal = Some(refused);
            }
            Reception::Faulted => stats.faulted += 1,
            Reception::Ignored => {}
        }
    }

    pub(crate) fn stats(&self) -> ModelStats {
        self.kept.lock().stats
    }
}

#[cfg(all(test, not(ostler_loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_all_refuse_does_not_stay() {
        let shelf = ModelShelf::default();
        let in_force = |shelf: &ModelShelf| {
            shelf.for_newcomer().map(|model| model.map_or(0, |model| model[0]))
        };
        let outcome = |taken, refused| Publication { taken, refused, ..Publication::default() };
        shelf.offer(&[1]);
        assert_eq!(in_force(&shelf), [1, 0]);
        shelf.settle(&outcome(0, 0));
        assert_eq!(in_force(&shelf), [1, 0], "nobody takes models yet");
        shelf.offer(&[2]);
        assert_eq!(in_force(&shelf), [2, 1], "a newcomer that refuses 2 gets 1");
        shelf.settle(&outcome(0, 3));
        assert_eq!(in_force(&shelf), [1, 0]);
        shelf.offer(&[3]);
        shelf.settle(&outcome(1, 2));
        assert_eq!(in_force(&shelf), [3, 0]);
        assert_eq!((shelf.stats().published, shelf.stats().withdrawn), (3, 1));
    }

    #[test]
    fn refusals_are_counted_by_their_reason() {
        let shelf = ModelShelf::default();
        for code in [2, 3, 3, 4, 4, 4, 77] {
            shelf.count(Reception::Refused(ModelRefused { code }));
        }
        for reception in [Reception::Taken, Reception::Ignored, Reception::Faulted] {
            shelf.count(reception);
        }
        let stats = shelf.stats();
        assert_eq!(stats.reasons, RefusalCounts { format: 1, length: 2, weights: 3, other: 1 });
        assert_eq!((stats.taken, stats.refused, stats.faulted), (1, 7, 1));
        assert_eq!(stats.refusal, Some(ModelRefused { code: 77 }));
    }

    #[test]
    fn a_length_that_no_model_has_is_refused() {
        let refused = |bytes| ModelLength::check(&vec![0; bytes]).is_err();
        assert_eq!([0, 1, MODEL_BYTES_MAX, 1025].map(refused), [true, false, false, true]);
    }
}
