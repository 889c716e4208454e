//! Ostler: a cache engine whose eviction policies are sandboxed WebAssembly modules.
//!
//! This is the library that people depend on. It names policies ([`PolicySpec`]), loads them
//! ([`Host`], [`Policy`]) and carries the built-in ones ([`BUILTINS`]).
//!
//! ```
//! use ostler::{Host, PolicySpec};
//! use ostler_abi::Setup;
//!
//! let host = Host::for_replay();
//! let spec: PolicySpec = "s3fifo(small_percent=20)".parse()?;
//! let policy = host.open(&spec)?;
//! let instance = policy.instance(Setup { capacity: 100, slots: 101, seed: 1 })?;
//! assert!(instance.memory_bytes() > 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod builtin;
mod live;
mod policy;
mod spec;

pub use builtin::{BUILTINS, Builtin, builtin};
#[cfg(feature = "builtin")]
pub use live::builder;
pub use live::{host, policy, policy_from_module};
pub use ostler_core::{
    BuildError, Cache, CacheBuilder, Cause, Change, Clock, DefaultHashBuilder, Handover,
    InsertOptions, InstanceSource, Iter, ManualClock, PolicyEvent, PolicyFault, SeatError,
    SeatStatus, Snapshot, Stats, Stored, SystemClock, Ttl, Version,
};
pub use ostler_wasm as wasm;
pub use policy::{Host, OpenError, Policy};
pub use spec::{PolicySource, PolicySpec, SpecError};
