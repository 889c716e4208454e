//! Where a cache's entries come from, and what is fetched from there before anybody asks.

use std::time::Duration;

/// Where the entries of a cache come from: an HTTP server that the cache itself can ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginSettings {
    /// The address of an entry, with `{key}` where its key goes.
    pub url: String,
    /// Headers of every request, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Time after which a fetch has failed.
    pub timeout: Duration,
    /// Fetches at a time, and connections.
    pub connections_max: usize,
    /// Time that what was fetched lives, none for ever.
    pub ttl: Option<Duration>,
    /// Bytes of a value; a larger one is not taken.
    pub body_bytes_max: usize,
    /// The database whose keys the origin knows, none for the cache's first.
    pub database: Option<u8>,
}

/// What is fetched of what may be asked for soon.
#[derive(Clone, Debug, PartialEq)]
pub struct PrefetchSettings {
    /// The policy at the start: a name, with parameters if need be.
    pub policy: String,
    /// Fetches that each miss earns, above 0.
    pub fetches_per_miss: f64,
    /// Bytes of keys that a policy can ask for by their hashes.
    pub known_bytes: usize,
}

/// What is fetched of what was there before a restart.
#[derive(Clone, Debug, PartialEq)]
pub struct WarmingSettings {
    /// The policy at the start: a name, with parameters if need be.
    pub policy: String,
    /// Share of the capacity that is filled, above 0 and at most 1.
    pub share: f64,
    /// Fetches a second, at most.
    pub fetches_per_second: u32,
    /// Bytes that the history of keys may take.
    pub history_bytes: usize,
    /// Time between two snapshots of the history.
    pub snapshot_interval: Duration,
}

impl Default for OriginSettings {
    /// Everything but the address, which there is no default for.
    fn default() -> Self {
        Self {
            url: String::new(),
            headers: Vec::new(),
            timeout: Duration::from_secs(1),
            connections_max: 16,
            ttl: None,
            body_bytes_max: 1 << 20,
            database: None,
        }
    }
}

impl Default for PrefetchSettings {
    fn default() -> Self {
        Self { policy: "prefetch-stride".to_owned(), fetches_per_miss: 1.0, known_bytes: 16 << 20 }
    }
}

impl Default for WarmingSettings {
    fn default() -> Self {
        Self {
            policy: "warm-decayed".to_owned(),
            share: 0.25,
            fetches_per_second: 1_000,
            history_bytes: 64 << 20,
            snapshot_interval: Duration::from_secs(300),
        }
    }
}
