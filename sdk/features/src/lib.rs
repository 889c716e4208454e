//! What the learned policies know of an entry, and the predictor over it.
//!
//! Host and guest share this crate, so that the model that is trained and the model that decides
//! cannot disagree about a single bit: the learner in the engine, the eviction policy `learned` and
//! the warming policy `warm-learned` all call the same functions.
//!
//! - [`EntryHistory`]: 24 bytes that remember what was seen of one key.
//! - [`Lifetime`]: how many requests an entry would live in a FIFO cache of this size; every feature
//!   is relative to it, which is what lets a model travel between caches and workloads.
//! - [`Facts`], then [`Features`]: what is known of a key now, and the same as small integers.
//! - [`Pool`] and [`Ranking`]: whom to evict among random draws, so that the learner's trials evict as
//!   the policy does.
//! - [`Model`]: the weights, and the message they travel in. [`Predictor`]: scores by tables.
//! - [`WarmingModel`]: the same for warming, which asks another question.
//!
//! It knows nothing of caches, slots or batches. Time is a counter of requests that wraps.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod expansion;
mod facts;
mod history;
mod lifetime;
mod model;
mod objective;
mod octaves;
mod pool;
mod predictor;
mod prior;
mod rules;
mod warming;
mod warming_prior;

pub use expansion::{WEIGHTS, expand};
pub use facts::{FEATURES, Facts, Features};
pub use history::EntryHistory;
pub use lifetime::Lifetime;
pub use model::{MESSAGE_BYTES_MAX, MODEL_FORMAT, Model, ModelError, WEIGHT_MAX};
pub use objective::Ranking;
pub use octaves::quarter_octaves;
pub use pool::{DRAWS, Pool};
pub use predictor::Predictor;
pub use prior::{LOOPS, PRIOR};
pub use rules::{FREQUENCY, RECENCY, SECOND_CHANCE};
pub use warming::{WARMING_MODEL_FORMAT, WARMING_WEIGHTS, WarmingFeatures, WarmingModel};
