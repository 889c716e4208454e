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
//! - `adapt` (default): the better policy takes over by itself: `Adaptive`, `adapt`.
//! - `builtin` (default): the sixteen policies that come with the engine, and `builder`.
//! - `wasm` (default): policies as modules: `Host`, `host`, `policy_from_module`, `wasm`. Without it
//!   policies are those compiled in (`native:s3fifo`), and no WebAssembly compiler is built.

mod builtin;
#[cfg(feature = "wasm")]
mod host;
mod live;
mod loaded;
mod policy;
mod prefetch;
mod spec;
mod warming;

pub use builtin::{BUILTINS, Builtin, builtin};
#[cfg(feature = "wasm")]
pub use host::Host;
#[cfg(feature = "builtin")]
pub use live::builder;
pub use live::policy;
#[cfg(feature = "wasm")]
pub use live::{host, policy_from_module};
/// Policies compared while they run: shadows, selector, experiments.
#[cfg(feature = "adapt")]
pub use ostler_adapt as adapt;
/// Lets a cache's policy change by itself.
///
/// ```
/// use ostler::adapt::Objective;
/// use ostler::adapt::live::LiveConfig;
/// use ostler::{Adaptive, AdaptiveConfig};
///
/// let cache = ostler::Cache::<u64, String>::builder(10_000).build()?;
/// let portfolio = ["native:s3fifo", "native:lru", "native:sieve"];
/// let portfolio = portfolio.into_iter().map(ostler::policy).collect::<Result<_, _>>()?;
/// let config = AdaptiveConfig {
///     objective: Objective::Cost,
///     live: LiveConfig { cpu_max: 0.05, ..LiveConfig::default() },
///     ..AdaptiveConfig::default()
/// };
/// let adaptive = Adaptive::start(&cache, portfolio, config)?;
/// assert_eq!(cache.seat_status().desired.as_deref(), Some("native:s3fifo"));
///
/// // … the cache serves, and whoever does best on its requests takes over …
/// for candidate in adaptive.status().candidates {
///     println!("{}: {:.3}", candidate.policy, candidate.hit_ratio);
/// }
/// drop(adaptive); // From here on nothing changes by itself.
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[cfg(feature = "adapt")]
pub use ostler_adapt::live::{Adaptive, AdaptiveConfig};
pub use ostler_core::{
    BuildError, Cache, CacheBuilder, Cause, Change, Clock, DefaultHashBuilder, Handover,
    InsertOptions, InstanceSource, Iter, ManualClock, PolicyEvent, PolicyFault, SeatError,
    SeatStatus, Snapshot, Stats, Stored, SystemClock, Ttl, Version,
};
#[cfg(feature = "wasm")]
pub use ostler_wasm as wasm;
pub use policy::{OpenError, Policy};
pub use prefetch::{BuiltinPrefetch, PREFETCHERS, PrefetchPolicy};
pub use spec::{PolicySource, PolicySpec, SpecError};
pub use warming::{BuiltinWarming, WARMERS, WarmingPolicy};

/// The README's examples are tests.
#[cfg(all(doctest, feature = "builtin", feature = "wasm"))]
#[doc = include_str!("../../../README.md")]
mod readme {}
