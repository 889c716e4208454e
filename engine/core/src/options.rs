//! What callers say about an entry, and what they are told about what became of it.

use std::time::Duration;

use crate::slots::EntryId;

/// How an entry is to be kept. The default leaves everything to the cache's own settings.
///
/// ```
/// use std::time::Duration;
/// use ostler_core::InsertOptions;
///
/// let options = InsertOptions::new().ttl(Duration::from_secs(30)).cost(Duration::from_millis(8));
/// # let _ = options;
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InsertOptions {
    pub(crate) ttl: Ttl,
    pub(crate) tti: Option<Duration>,
    pub(crate) cost_us: u32,
    pub(crate) class: u8,
}

/// When an entry ends, whether it is used or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ttl {
    /// After the cache's own time to live, or never where it has none.
    #[default]
    OfCache,
    /// When the entry that it overwrites would have ended; as `OfCache` where there is none.
    Keep,
    /// Never.
    Never,
    /// After this time. Zero means that it has ended already: nothing is stored.
    After(Duration),
}

impl InsertOptions {
    /// The defaults.
    #[must_use]
    pub const fn new() -> Self {
        Self { ttl: Ttl::OfCache, tti: None, cost_us: 0, class: 0 }
    }

    /// Ends the entry this long after the write. Exact to a millisecond, rounded up.
    #[must_use]
    pub const fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Ttl::After(ttl);
        self
    }

    /// Ends the entry as `end` says.
    #[must_use]
    pub const fn end(mut self, end: Ttl) -> Self {
        self.ttl = end;
        self
    }

    /// Ends the entry this long after its last read or write, instead of the cache's own setting.
    #[must_use]
    pub const fn tti(mut self, tti: Duration) -> Self {
        self.tti = Some(tti);
        self
    }

    /// What it cost to load the value; policies may weigh it. Saturates at 71 minutes.
    #[must_use]
    pub fn cost(mut self, cost: Duration) -> Self {
        self.cost_us = u32::try_from(cost.as_micros()).unwrap_or(u32::MAX);
        self
    }

    /// True where the time of the write matters.
    #[inline]
    pub(crate) fn is_timed(&self) -> bool {
        self.tti.is_some() || matches!(self.ttl, Ttl::After(_))
    }

    /// The caller's class of requests or a hint to the policy, 0 for none.
    #[must_use]
    pub const fn class(mut self, class: u8) -> Self {
        self.class = class;
        self
    }
}

/// Why an entry left the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// The policy, or the engine in its place, gave it up to keep the capacity.
    Evicted,
    /// Its time to live or to idle was over.
    Expired,
    /// The user removed it.
    Removed,
    /// Its value was overwritten.
    Replaced,
    /// The cache was cleared.
    Cleared,
    /// It was not kept at all: too heavy, ended before it began, or refused by the policy.
    Rejected,
}

impl Cause {
    /// The cause as metrics name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Cause::Evicted => "evicted",
            Cause::Expired => "expired",
            Cause::Removed => "removed",
            Cause::Replaced => "replaced",
            Cause::Cleared => "cleared",
            Cause::Rejected => "rejected",
        }
    }
}

/// What became of an insert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
#[non_exhaustive]
pub enum Stored {
    /// The key was new.
    New,
    /// The key was resident: its value was overwritten.
    Replaced,
    /// Nothing is stored: the entry weighs more than a shard may hold, its time was over before it
    /// began, or the policy refused it at once. An older value of the key is gone.
    Rejected,
}

/// The state of an entry at one moment: it differs after every write to the key, and after the entry
/// expired, was evicted or removed, whatever is stored under the key then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Version(EntryId);

impl Version {
    pub(crate) const fn new(id: EntryId) -> Self {
        Self(id)
    }

    /// The version as a number, for tags that leave the process.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        (self.0.slot as u64) << 32 | self.0.generation as u64
    }
}

/// An entry as it was at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot<V> {
    /// The value.
    pub value: V,
    /// Its version.
    pub version: Version,
    /// Its weight in the cache's unit.
    pub weight: u32,
    /// Hits since it came in, overwriting included; saturates at 15.
    pub hits: u8,
    /// How long ago it came in; exact to a tenth of a second.
    pub age: Duration,
    /// How long it has yet to live, none for ever. Counts the time to idle, too.
    pub remaining: Option<Duration>,
    /// What it cost to load, microseconds; 0 if unknown.
    pub cost_us: u32,
    /// Its class, 0 for none.
    pub class: u8,
}
