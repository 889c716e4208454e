//! The host of a prefetch policy: what it hears, what of its asks is fetched, and what came of it.
//!
//! A plain state machine: whoever drives it says what happened and when, calls the policy with the
//! batch that is due, and fetches what it gets back. Replay drives it with a modelled origin, a
//! server with threads and a real one. It knows no thread, no network, no clock, and the policy only
//! as the records of the contract.

mod bounded;
mod bucket;
mod catalog;
mod figures;
mod flights;
mod known;
mod origin;
mod prefetcher;

pub use bucket::{Bucket, BucketConfig};
pub use catalog::Catalog;
pub use figures::{Figures, PrefetchCounters};
pub use known::{KNOWN_KEY_OVERHEAD_BYTES, KnownKeys};
pub use origin::{Origin, OriginConfig};
pub use prefetcher::{Accessed, Fetch, Landing, PrefetchConfig, Prefetcher};

#[cfg(test)]
mod tests;
