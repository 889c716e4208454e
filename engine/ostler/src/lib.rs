//! Ostler: a cache engine whose eviction policies are sandboxed WebAssembly modules.
//!
//! This is the library that people depend on: the cache ([`Cache`]), policies by name ([`policy`]) or
//! from a module's bytes (`policy_from_module`), and those that are built in ([`BUILTINS`]).
//!
//! ```
//! use std::time::Duration;
//!
//! let cache = ostler::builder::<String, String>(10_000)?
//!     .time_to_live(Duration::from_secs(300))
//!     .build()?;
//! let user = cache.get_or_insert_with(&"user:7".to_owned(), || "from the database".to_owned());
//! assert_eq!(cache.get("user:7"), Some(user));
//!
//! // The workload has changed: another policy, while the cache serves.
//! cache.set_policy(ostler::policy("sieve")?)?;
//! assert_eq!(cache.len(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Features
//!
//! - `builtin` (default): the sixteen policies that come with the engine, and `builder`.
//! - `wasm` (default): policies as modules: `Host`, `host`, `policy_from_module`, `wasm`. Without it
//!   policies are those compiled in (`native:s3fifo`), and no WebAssembly compiler is built.

mod builtin;
#[cfg(feature = "wasm")]
mod host;
mod live;
mod policy;
mod spec;

pub use builtin::{BUILTINS, Builtin, builtin};
#[cfg(feature = "wasm")]
pub use host::Host;
#[cfg(feature = "builtin")]
pub use live::builder;
pub use live::policy;
#[cfg(feature = "wasm")]
pub use live::{host, policy_from_module};
pub use ostler_core::{
    BuildError, Cache, CacheBuilder, Cause, Change, Clock, DefaultHashBuilder, Handover,
    InsertOptions, InstanceSource, Iter, ManualClock, PolicyEvent, PolicyFault, SeatError,
    SeatStatus, Snapshot, Stats, Stored, SystemClock, Ttl, Version,
};
#[cfg(feature = "wasm")]
pub use ostler_wasm as wasm;
pub use policy::{OpenError, Policy};
pub use spec::{PolicySource, PolicySpec, SpecError};

/// The README's examples are tests.
#[cfg(all(doctest, feature = "builtin", feature = "wasm"))]
#[doc = include_str!("../../../README.md")]
mod readme {}
