//! The live cache through its public face: any number of threads, user code that misbehaves, time,
//! policies that come and go.
//!
//! Threads meet at barriers and channels, and time stands still until a test moves it. Where threads
//! run freely, what is asserted holds for every way in which they may interleave.

mod arms;
mod bounds;
mod edges;
mod expiry;
mod hostile;
mod loads;
mod locked;
mod model;
mod observe;
mod publishing;
mod seat;
mod stress;
mod user_code;

use std::hash::{BuildHasherDefault, DefaultHasher};

use ostler_core::{Cache, CacheBuilder};
use ostler_tests::{Books, Counted};

/// Hashes alike in every run.
type Fixed = BuildHasherDefault<DefaultHasher>;

type Live = Cache<u64, Counted, Fixed>;

/// Settings of a cache that hashes alike in every run and whose departures `books` hears of.
fn booked(capacity: u64, books: &Books) -> CacheBuilder<u64, Counted, Fixed> {
    let books = books.clone();
    Cache::builder(capacity)
        .hasher(Fixed::default())
        .on_removal(move |_, _, cause| books.hear(cause))
}

/// A number that `hash_u64` draws below `bound`.
fn draw(round: u64, seed: u64, bound: u64) -> u64 {
    ostler_abi::hash_u64(round, seed) % bound
}
