//! The live side: what a running cache tells of a share of its keys, and who listens.
//!
//! A cache has one tap. [`Live`] puts a bounded queue behind it and a thread that drains the queue, and
//! any number of [`Consumer`]s hear the same records there, off the callers' way: the selector's panel
//! of shadows ([`Adaptive`]), and live experiments. It knows a cache as [`LiveCache`]; it must not know
//! the network.
//!
//! Two things bound what this costs: the queue, beyond which records are dropped and counted, and the
//! processor time of the thread. Where either is exceeded, the share of the keys is halved; it recovers
//! slowly.

mod adaptive;
mod cache;
mod chooser;
mod decisions;
mod feed;
mod reader;
mod share;
mod worker;

use ostler_abi::Record;
use ostler_core::SampleShare;

pub use adaptive::{
    Actuator, Adaptive, AdaptiveConfig, AdaptiveError, AdaptiveStatus, CandidateStatus, Refusal,
};
pub use cache::LiveCache;
pub use decisions::{Action, CandidateFigures, DecisionRecord};
pub use reader::{Reader, Requests};
pub use worker::{ConsumerId, Live, LiveConfig, LiveError, LiveStatus};

/// What a consumer is told between records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Moment {
    /// Milliseconds since 1970, by the caller's clock.
    pub unix_ms: u64,
    /// The share of the keys that is heard from now on. Records of a larger share may still come for a
    /// while: leave out what it does not [include](SampleShare::includes).
    pub share: SampleShare,
}

impl Moment {
    /// A moment.
    #[must_use]
    pub const fn new(unix_ms: u64, share: SampleShare) -> Self {
        Self { unix_ms, share }
    }
}

/// Someone who hears what happens to a sampled share of a cache's keys. All consumers of a cache are
/// called by one thread, one after the other; none of them is in the way of a request. It may take its
/// time, and may call the cache; what it takes too much of lowers the share for all.
pub trait Consumer: Send {
    /// Takes records of one shard, in the order of [`Tap`](ostler_core::Tap).
    fn take(&mut self, shard: u32, records: &[Record]);

    /// Comes about every 100 ms, whether or not there are records, after those that were there; the
    /// first one before any record. Where the share is another than the last time, shadows have to be
    /// made anew for it.
    fn tick(&mut self, now: Moment);

    /// True where it did something since the last call of this that is not listening, such as a change of
    /// the policy: what that cost, and what was not heard meanwhile, is not held against the share.
    fn take_acted(&mut self) -> bool {
        false
    }

    /// Comes once, as the last call, where another call panicked: it hears nothing any more. What it
    /// would have gone on with is to be ended or said here.
    fn ended(&mut self) {}
}
