//! A live shard: what a cache is made of, for any number of threads.
//!
//! Two locks. The *state's* guards entries and notes; callers hold it for one operation. The
//! *maintainer's* guards the policy's seat; one thread at a time holds it, and callers only try it.
//! Order: maintainer before state, and shards by number; the state's lock is never held while a
//! maintainer's is waited for. No policy is called under a state's lock, and nothing of the user's but
//! `Eq`, `Hash` and `Clone` runs under either.

mod asking;
mod handover;
mod left;
mod maintainer;
mod maintenance;
#[cfg(all(test, ostler_loom))]
mod models;
mod notes;
mod preparing;
mod publishing;
mod shard;
mod state;

pub(crate) use maintainer::Charge;
pub(crate) use maintenance::{Aftermath, Rare};
pub(crate) use shard::{Due, LiveShard, SLICE_SLOTS, ShardSetup};
pub(crate) use state::{Budget, Lifetimes, Newcomer, State};
