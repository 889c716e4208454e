//! What callers say about an entry, and what they are told about what became of it.

use std::time::Duration;

use ostler_abi::{FLAG_PREFETCHED, FLAG_WARMED};

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
    /// Flags of the record that introduces the entry.
    pub(crate) flags: u8,
}

/// When an entry ends, whether it is used or not.
///
/// ```
/// use std::time::Duration;
/// use ostler_core::{Cache, InsertOptions, Ttl};
///
/// let cache = Cache::<&str, u32>::builder(10).time_to_live(Duration::from_secs(60)).build()?;
/// let _ = cache.insert_with("forever", 1, InsertOptions::new().end(Ttl::Never));
/// let _ = cache.insert("a minute", 2);
/// // Overwritten, and yet the same minute.
/// let _ = cache.insert_with("a minute", 3, InsertOptions::new().end(Ttl::Keep));
/// let remaining = |key| cache.entry(key).and_then(|entry| entry.remaining);
/// assert_eq!(remaining("forever"), None);
/// assert!(remaining("a minute").is_some_and(|left| left <= Duration::from_secs(60)));
/// # Ok::<(), ostler_core::BuildError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ttl {
    /// After the cache's own time to live, or never where it has none.
    #[default]
    OfCache,
    /// When the entry that it overwrites would have ended; as `OfCache` where there is none.
    Keep,
    /// Never, but for a time to idle.
    Never,
    /// After this time. Zero means that it has ended already: nothing is stored.
    After(Duration),
    /// At this time, milliseconds by the cache's clock ([`Clock::now_ms`](crate::Clock::now_ms)),
    /// however long the write itself takes. Where that is past, nothing is stored.
    At(u64),
}

impl InsertOptions {
    /// The defaults.
    #[must_use]
    pub const fn new() -> Self {
        Self { ttl: Ttl::OfCache, tti: None, cost_us: 0, class: 0, flags: 0 }
    }

    /// Ends the entry this long after the write. Exact to a millisecond, rounded up.
    #[must_use]
    pub const fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Ttl::After(ttl);
        self
    }

    /// Ends the entry as `end` says.
    ///
    /// ```
    /// # use ostler_core::{InsertOptions, Ttl};
    /// let options = InsertOptions::new().end(Ttl::Never);
    /// # assert_ne!(options, InsertOptions::new());
    /// ```
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
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use ostler_core::{Cache, InsertOptions};
    /// # let cache = Cache::<&str, u32>::builder(10).build()?;
    /// let _ = cache.insert_with("a", 1, InsertOptions::new().cost(Duration::from_millis(3)));
    /// assert_eq!(cache.entry("a").map(|entry| entry.cost_us), Some(3000));
    /// # Ok::<(), ostler_core::BuildError>(())
    /// ```
    #[must_use]
    pub fn cost(mut self, cost: Duration) -> Self {
        self.cost_us = u32::try_from(cost.as_micros()).unwrap_or(u32::MAX);
        self
    }

    /// True where nothing was asked for.
    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        let Self { ttl, tti, cost_us, class, flags } = *self;
        ttl == Ttl::OfCache && tti.is_none() && cost_us == 0 && class == 0 && flags == 0
    }

    /// True where the time of the write matters.
    #[inline]
    pub(crate) fn is_timed(&self) -> bool {
        self.tti.is_some() || matches!(self.ttl, Ttl::After(_) | Ttl::At(_))
    }

    /// The caller's class of requests or a hint to the policy, 0 for none.
    ///
    /// ```
    /// # use ostler_core::{Cache, InsertOptions};
    /// # let cache = Cache::<&str, u32>::builder(10).build()?;
    /// const CRAWLER: u8 = 1;
    /// let _ = cache.insert_with("a", 1, InsertOptions::new().class(CRAWLER));
    /// assert_eq!(cache.entry("a").map(|entry| entry.class), Some(CRAWLER));
    /// # Ok::<(), ostler_core::BuildError>(())
    /// ```
    #[must_use]
    pub const fn class(mut self, class: u8) -> Self {
        self.class = class;
        self
    }

    /// Nobody has asked for the entry yet: a prefetch brings it in. The policy is told so by
    /// [`FLAG_PREFETCHED`](ostler_abi::FLAG_PREFETCHED).
    ///
    /// ```
    /// # use ostler_core::{Cache, InsertOptions};
    /// # let cache = Cache::<&str, u32>::builder(10).build()?;
    /// let _ = cache.insert_with("b", 1, InsertOptions::new().prefetched());
    /// # Ok::<(), ostler_core::BuildError>(())
    /// ```
    #[must_use]
    pub const fn prefetched(mut self) -> Self {
        self.flags |= FLAG_PREFETCHED;
        self
    }

    /// Nobody has asked for the entry yet: it comes back while the cache is warmed. The policy is
    /// told so by [`FLAG_WARMED`](ostler_abi::FLAG_WARMED).
    ///
    /// ```
    /// # use ostler_core::{Cache, InsertOptions};
    /// # let cache = Cache::<&str, u32>::builder(10).build()?;
    /// let _ = cache.insert_with("c", 1, InsertOptions::new().warmed());
    /// # Ok::<(), ostler_core::BuildError>(())
    /// ```
    #[must_use]
    pub const fn warmed(mut self) -> Self {
        self.flags |= FLAG_WARMED;
        self
    }
}

/// Why an entry left the cache.
///
/// ```
/// use ostler_core::{Cache, Cause};
///
/// let cache = Cache::<u32, String>::builder(10)
///     .on_removal(|key, _, cause| match cause {
///         Cause::Evicted | Cause::Rejected => println!("no room for {key}"),
///         other => println!("{key}: {}", other.name()),
///     })
///     .build()?;
/// # let _ = cache.insert(1, String::new());
/// # Ok::<(), ostler_core::BuildError>(())
/// ```
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
///
/// ```
/// use ostler_core::{Cache, Stored};
///
/// let cache = Cache::<u32, String>::builder(10).weigher(|_, text| text.len() as u32).build()?;
/// assert_eq!(cache.insert(1, "short".to_owned()), Stored::New);
/// assert_eq!(cache.insert(1, "brief".to_owned()), Stored::Replaced);
/// assert_eq!(cache.insert(1, "much too long".to_owned()), Stored::Rejected);
/// assert_eq!(cache.get(&1), None, "the older value is gone, too");
/// # Ok::<(), ostler_core::BuildError>(())
/// ```
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
///
/// ```
/// let cache = ostler_core::Cache::<&str, u32>::builder(10).build()?;
/// let _ = cache.insert("a", 1);
/// let seen = cache.version("a");
/// assert_eq!(cache.version("a"), seen, "reading changes nothing");
/// cache.remove("a");
/// let _ = cache.insert("a", 1);
/// assert_ne!(cache.version("a"), seen);
/// # Ok::<(), ostler_core::BuildError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Version(EntryId);

impl Version {
    pub(crate) const fn new(id: EntryId) -> Self {
        Self(id)
    }

    /// The version as a number, for tags that leave the process.
    ///
    /// ```
    /// # let cache = ostler_core::Cache::<&str, u32>::builder(10).build()?;
    /// # let _ = cache.insert("a", 1);
    /// let tag = cache.version("a").map(|version| format!("{:x}", version.as_u64()));
    /// assert!(tag.is_some());
    /// # Ok::<(), ostler_core::BuildError>(())
    /// ```
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        (self.0.slot as u64) << 32 | self.0.generation as u64
    }
}

/// An entry as it was at one moment.
///
/// ```
/// let cache = ostler_core::Cache::<&str, u32>::builder(10).build()?;
/// let _ = (cache.insert("a", 7), cache.get("a"), cache.get("a"));
/// let entry = cache.entry("a").expect("it is resident");
/// assert_eq!((entry.value, entry.weight, entry.hits, entry.remaining), (7, 1, 2, None));
/// # Ok::<(), ostler_core::BuildError>(())
/// ```
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
