//! How the fetching for a cache stands, for whoever asks: written by its thread, read by the API.

use std::collections::BTreeMap;
use std::time::Duration;

use ostler_fetch::prefetch::PrefetchCounters;
use parking_lot::Mutex;

use crate::keyspace::Purpose;

/// The board.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    pub(crate) prefetch: Mutex<PrefetchShown>,
    pub(crate) warming: Mutex<WarmingShown>,
    origin: Mutex<OriginShown>,
}

/// How prefetching stands.
#[derive(Clone, Debug, Default)]
pub(crate) struct PrefetchShown {
    /// The policy at work, none while nobody is.
    pub(crate) policy: Option<String>,
    /// All its parameters, as JSON.
    pub(crate) params: Option<String>,
    /// Why nobody is at work.
    pub(crate) reason: Option<String>,
    /// Too little was useful: next to nothing is fetched.
    pub(crate) is_throttled: bool,
    /// Fetches under way.
    pub(crate) under_way: u64,
    /// Fetches that may be under way as the origin is now.
    pub(crate) places: u64,
    /// Since the start, all policies together.
    pub(crate) counters: PrefetchCounters,
    /// Notes of requests that were forgotten, since too many waited.
    pub(crate) dropped: u64,
    /// Nanoseconds in the policy, estimated; 0 for one that is compiled in.
    pub(crate) guest_ns: u64,
    /// Memory of the policy, bytes.
    pub(crate) guest_bytes: u64,
}

/// How warming stands.
#[derive(Clone, Debug, Default)]
pub(crate) struct WarmingShown {
    /// The policy at work, none while nobody is.
    pub(crate) policy: Option<String>,
    /// All its parameters, as JSON.
    pub(crate) params: Option<String>,
    /// Why nobody is at work.
    pub(crate) reason: Option<String>,
    /// What is going on.
    pub(crate) phase: Phase,
    /// Times that the cache was warmed to the end.
    pub(crate) rounds: u64,
    /// Keys that were ranked in the last round.
    pub(crate) ranked: u64,
    /// Keys of the last round that were to be fetched, as far as is known.
    pub(crate) planned: u64,
    /// Weight that the last round may bring in, bytes.
    pub(crate) budget_bytes: u64,
    /// Weight that it brought in, bytes.
    pub(crate) brought_bytes: u64,
    /// Fetches under way.
    pub(crate) under_way: u64,
    /// Fetches since the start.
    pub(crate) fetches: u64,
    /// Of those: brought in, not needed any more, absent at the origin, failed.
    pub(crate) stored: u64,
    pub(crate) unneeded: u64,
    pub(crate) absent: u64,
    pub(crate) failed: u64,
    /// Keys in the history, and their bytes.
    pub(crate) history_keys: u64,
    pub(crate) history_bytes: u64,
    /// Snapshots of the history that were written, and that could not be.
    pub(crate) snapshots: u64,
    pub(crate) snapshots_failed: u64,
    /// When the last one was written, milliseconds since 1970.
    pub(crate) snapshot_unix_ms: Option<u64>,
    /// Keys that came from the snapshot at the start.
    pub(crate) restored_keys: u64,
}

/// What goes on with the warming of a cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nothing.
    #[default]
    Idle,
    /// Keys are ranked.
    Ranking,
    /// Entries are fetched.
    Fetching,
}

impl Phase {
    /// As the API says it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Ranking => "ranking",
            Self::Fetching => "fetching",
        }
    }
}

/// What fetches came to, by their purpose and the origin's answer; and the time they took.
#[derive(Debug, Default)]
struct OriginShown {
    answers: BTreeMap<(&'static str, &'static str), u64>,
    spent: Duration,
    last_error: Option<String>,
}

impl Shown {
    /// A fetch ended.
    pub(crate) fn fetched(&self, purpose: Purpose, result: Result<(), (&'static str, String)>) {
        let mut origin = self.origin.lock();
        let name = match result {
            Ok(()) => "ok",
            Err(("absent", _)) => "absent",
            Err((name, error)) => {
                origin.last_error = Some(error);
                name
            }
        };
        *origin.answers.entry((purpose.name(), name)).or_default() += 1;
    }

    /// A fetch took so long.
    pub(crate) fn spent(&self, time: Duration) {
        self.origin.lock().spent += time;
    }

    /// Fetches that ended: purpose, answer, count.
    pub(crate) fn answers(&self) -> Vec<(&'static str, &'static str, u64)> {
        let origin = self.origin.lock();
        origin.answers.iter().map(|((purpose, name), count)| (*purpose, *name, *count)).collect()
    }

    /// Time that fetches took together.
    pub(crate) fn time(&self) -> Duration {
        self.origin.lock().spent
    }

    /// What the origin did wrong last.
    pub(crate) fn last_error(&self) -> Option<String> {
        self.origin.lock().last_error.clone()
    }
}

impl Purpose {
    /// As metrics name it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Prefetch => "prefetch",
            Self::Warming => "warming",
        }
    }
}
