//! Ostler's cache core: slots, shards, the policy seat, the guard and the fallback.
//!
//! The core knows policies only as [`PolicyInstance`]; it must not know Wasm, the network or any
//! policy by name, and it starts no thread of its own.

mod counters;
mod fallback;
mod fault;
mod guard;
mod instance;
mod residents;
mod seat;
mod shard;
mod slots;

pub use counters::Counters;
pub use fault::PolicyFault;
pub use instance::{NativeInstance, PolicyInstance, Victims};
pub use residents::KeyHash;
pub use seat::{Batch, Wants};
pub use shard::{Access, Evicted, Inserted, Shard, ShardConfig};
pub use slots::EntryId;
