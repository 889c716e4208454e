//! Ostler's cache core: the cache, its shards, the policy seat, the guard and the fallback.
//!
//! The core knows policies only as [`PolicyInstance`] and [`InstanceSource`]; it must not know Wasm,
//! the network or any policy by name, and it starts no thread of its own.
//!
//! [`Cache`] is what services embed. [`Shard`] is its single-threaded sibling: the same index, seat,
//! guard and fallback, in exact batches, for replay.

mod cache;
mod chunked;
mod clock;
mod counters;
mod expiry;
mod fallback;
mod fault;
mod flight;
mod guard;
mod hashing;
mod instance;
mod live;
mod model_shelf;
mod novice;
mod options;
mod origins;
mod quarantine;
mod residents;
mod seat;
mod shard;
mod slots;
mod source;
#[cfg(any(not(ostler_loom), test))]
mod spin;
mod stats;
mod sync;
mod tap;
mod ticks;

pub use cache::{
    Ahead, Arm, BuildError, Cache, CacheBuilder, Change, Handover, Iter, Locked, PolicyEvent,
    Resident, SeatError, SeatStatus,
};
pub use clock::{Clock, ManualClock, SystemClock};
pub use counters::Counters;
pub use fault::PolicyFault;
pub use hashing::DefaultHashBuilder;
pub use instance::{
    NativeInstance, NativePrefetchInstance, NativeWarmingInstance, PolicyInstance,
    PrefetchInstance, Victims, WarmingInstance,
};
pub use model_shelf::{ModelLength, ModelStats, Publication, RefusalCounts};
pub use options::{Cause, InsertOptions, Snapshot, Stored, Ttl, Version};
pub use residents::KeyHash;
pub use seat::{Batch, Wants};
pub use shard::{Access, Evicted, Inserted, Shard, ShardConfig};
pub use slots::EntryId;
pub use source::InstanceSource;
pub use stats::Stats;
pub use tap::{SampleShare, Tap};
