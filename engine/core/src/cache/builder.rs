//! Settings of a cache.

use std::collections::HashSet;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use crate::cache::control::{Control, PolicyEvent, SeatError};
use crate::cache::{Cache, Inner, Listener, PolicyListener, Weigher};
use crate::clock::{Clock, SystemClock};
use crate::flight::Flights;
use crate::hashing::{DefaultHashBuilder, Keys};
use crate::live::{Budget, Lifetimes, LiveShard, ShardSetup};
use crate::model_shelf::ModelShelf;
use crate::options::Cause;
use crate::quarantine::Quarantine;
use crate::source::InstanceSource;
use crate::sync::{AtomicU64, Mutex};

/// Shards at most by default, and at most at all.
const SHARDS_DEFAULT_MAX: usize = 64;
const SHARDS_MAX: usize = 4096;
/// Entries that a shard has at least by default, where every entry weighs 1.
const SHARD_ENTRIES_MIN: u64 = 4096;
/// Weight that a shard holds at least by default, where there is a weigher: for bytes, 32 MiB.
const SHARD_WEIGHT_MIN: u64 = 32 << 20;
/// Shards a processor by default: with fewer, two busy threads wait for each other's locks.
const SHARDS_A_CORE: usize = 16;
/// Records that a shard's ring holds by default: a 64th of its entries, within these bounds. What the
/// SDK's guests take at a time is the upper one.
const NOTES_DEFAULT: std::ops::RangeInclusive<usize> = 32..=256;
/// The same where the number of entries is not known.
const NOTES_DEFAULT_WEIGHED: usize = 128;
/// Slots up to which a policy's arrays are made for all of them at once.
const SLOTS_EXACT_MAX: u64 = 65_536;
/// Entries that tables are made for beforehand, at most, where their number is not stated.
const EXPECTED_DEFAULT_MAX: u64 = 1024;

/// Settings of a [`Cache`]; made by [`Cache::builder`].
///
/// ```
/// use std::time::Duration;
/// use ostler_core::Cache;
///
/// let cache: Cache<u64, Vec<u8>> = Cache::builder(64 << 20)
///     .weigher(|_, value: &Vec<u8>| value.len() as u32)
///     .time_to_live(Duration::from_secs(600))
///     .on_removal(|_, _, cause| println!("{}", cause.name()))
///     .build()?;
/// assert_eq!(cache.capacity(), 64 << 20);
/// # Ok::<(), ostler_core::BuildError>(())
/// ```
pub struct CacheBuilder<K, V, S = DefaultHashBuilder> {
    capacity: u64,
    slack: Option<u64>,
    shards: Option<usize>,
    expected_entries: Option<u64>,
    hasher: S,
    seed: u64,
    policy: Option<Arc<dyn InstanceSource>>,
    clock: Option<Arc<dyn Clock>>,
    lifetimes: Lifetimes,
    notes_len_max: Option<usize>,
    insert_wait: Duration,
    faults_max: u32,
    quarantined: HashSet<String>,
    restore_after: Option<Duration>,
    weigher: Option<Weigher<K, V>>,
    listener: Option<Listener<K, V>>,
    policy_listener: Option<PolicyListener>,
}

/// Why a cache could not be made.
///
/// ```
/// use ostler_core::{BuildError, Cache};
///
/// let built = Cache::<u32, u32>::builder(3).shards(8).build();
/// assert!(matches!(built, Err(BuildError::Shards { shards: 8, capacity: 3 })));
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The number of shards is not possible.
    #[error(
        "{shards} shards: choose 1 to {SHARDS_MAX}, and no more than the capacity of {capacity}"
    )]
    Shards {
        /// The number asked for.
        shards: usize,
        /// The capacity.
        capacity: u64,
    },
    /// The policy failed before its first event.
    #[error(transparent)]
    Policy(#[from] SeatError),
}

impl<K, V> CacheBuilder<K, V> {
    pub(super) fn new(capacity: u64) -> Self {
        Self {
            capacity,
            slack: None,
            shards: None,
            expected_entries: None,
            hasher: DefaultHashBuilder::default(),
            seed: 0,
            policy: None,
            clock: None,
            lifetimes: Lifetimes::default(),
            notes_len_max: None,
            insert_wait: Duration::from_micros(50),
            faults_max: 3,
            quarantined: HashSet::new(),
            restore_after: None,
            weigher: None,
            listener: None,
            policy_listener: None,
        }
    }
}

impl<K, V, S> CacheBuilder<K, V, S> {
    /// The policy to put in charge. Without one the engine evicts by itself: of eight random entries
    /// the one that was not used for longest.
    ///
    /// The crate `ostler` has policies by name and from module files.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// use ostler_core::{BuildError, Cache, InstanceSource};
    ///
    /// fn cache(policy: Arc<dyn InstanceSource>) -> Result<Cache<String, u32>, BuildError> {
    ///     Cache::builder(10_000).policy(policy).build()
    /// }
    /// ```
    #[must_use]
    pub fn policy(mut self, policy: Arc<dyn InstanceSource>) -> Self {
        self.policy = Some(policy);
        self
    }

    /// What an entry weighs, at least 1; the capacity is in the same unit. By default every entry
    /// weighs 1. Runs on the thread that inserts, under no lock. Costs 8 bytes an entry.
    ///
    /// ```
    /// # use ostler_core::Cache;
    /// let cache = Cache::<u32, String>::builder(1 << 20)
    ///     .weigher(|_, text| u32::try_from(4 + text.len()).unwrap_or(u32::MAX))
    ///     .build()?;
    /// let _ = cache.insert(1, "fourteen bytes".to_owned());
    /// assert_eq!(cache.weight(), 18);
    /// # Ok::<(), ostler_core::BuildError>(())
    /// ```
    #[must_use]
    pub fn weigher(mut self, weigher: impl Fn(&K, &V) -> u32 + Send + Sync + 'static) -> Self {
        self.weigher = Some(Box::new(weigher));
        self
    }

    /// Ends entries this long after they were written. Costs 16 bytes an entry.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use ostler_core::{Cache, ManualClock};
    /// let clock = ManualClock::default();
    /// let minute = Duration::from_secs(60);
    /// let cache = Cache::builder(10).time_to_live(minute).clock(clock.clone()).build()?;
    /// let _ = cache.insert("a", 1);
    /// clock.advance_ms(59_999);
    /// assert_eq!(cache.get("a"), Some(1));
    /// clock.advance_ms(1);
    /// assert_eq!(cache.get("a"), None, "reading does not prolong it");
    /// # Ok::<(), ostler_core::BuildError>(())
    /// ```
    #[must_use]
    pub fn time_to_live(mut self, ttl: Duration) -> Self {
        self.lifetimes.ttl = Some(ttl);
        self
    }

    /// Ends entries this long after they were last read or written. Costs 28 bytes an entry.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use ostler_core::{Cache, ManualClock};
    /// let clock = ManualClock::default();
    /// let minute = Duration::from_secs(60);
    /// let cache = Cache::builder(10).time_to_idle(minute).clock(clock.clone()).build()?;
    /// let _ = cache.insert("a", 1);
    /// clock.advance_ms(40_000);
    /// assert_eq!(cache.get("a"), Some(1), "and a minute from here on");
    /// clock.advance_ms(40_000);
    /// assert_eq!(cache.get("a"), Some(1));
    /// clock.advance_ms(60_000);
    /// assert_eq!(cache.get("a"), None);
    /// # Ok::<(), ostler_core::BuildError>(())
    /// ```
    #[must_use]
    pub fn time_to_idle(mut self, tti: Duration) -> Self {
        self.lifetimes.tti = Some(tti);
        self
    }

    /// Hears of every entry that leaves, with its cause, after it left: on the thread that made it
    /// leave, under no lock. A panic in it is caught and counted.
    ///
    /// ```
    /// # use std::sync::mpsc;
    /// # use ostler_core::{Cache, Cause};
    /// let (sender, left) = mpsc::channel();
    /// let cache = Cache::<&str, u32>::builder(10)
    ///     .on_removal(move |key, value, cause| {
    ///         let _ = sender.send((key, value, cause));
    ///     })
    ///     .build()?;
    /// let _ = (cache.insert("a", 1), cache.insert("a", 2));
    /// cache.remove("a");
    /// let left: Vec<_> = left.try_iter().collect();
    /// assert_eq!(left, [("a", 1, Cause::Replaced), ("a", 2, Cause::Removed)]);
    /// # Ok::<(), ostler_core::BuildError>(())
    /// ```
    #[must_use]
    pub fn on_removal(mut self, listener: impl Fn(K, V, Cause) + Send + Sync + 'static) -> Self {
        self.listener = Some(Box::new(listener));
        self
    }

    /// Hears of what happens to the policy: changes, faults, quarantine, restoration.
    ///
    /// On the thread that made it happen, under no lock of a shard, but perhaps inside a change: another
    /// change of the policy is refused there as [`SeatError::Busy`], one of the capacity takes effect
    /// right after. A panic in it is caught and counted.
    ///
    /// ```
    /// # use ostler_core::{Cache, PolicyEvent};
    /// let cache = Cache::<u32, u32>::builder(10)
    ///     .on_policy(|event| match event {
    ///         PolicyEvent::Faulted { policy, fault } => eprintln!("{policy}: {fault}"),
    ///         other => eprintln!("{other:?}"),
    ///     })
    ///     .build()?;
    /// # Ok::<(), ostler_core::BuildError>(())
    /// ```
    #[must_use]
    pub fn on_policy(mut self, listener: impl Fn(&PolicyEvent) + Send + Sync + 'static) -> Self {
        self.policy_listener = Some(Box::new(listener));
        self
    }

    /// Weight that may come on top of the capacity until a policy has been asked; by default a 64th of
    /// the capacity, at least 1 a shard. More means fewer and longer batches of inserts.
    ///
    /// ```
    /// # use ostler_core::Cache;
    /// let cache = Cache::<u32, u32>::builder(6400).shards(1).build()?;
    /// assert_eq!(cache.stats().slack, 100);
    /// let strict = Cache::<u32, u32>::builder(6400).slack(0).build()?;
    /// for key in 0..10_000 {
    ///     let _ = strict.insert(key, key);
    ///     assert!(strict.len() <= 6400);
    /// }
    /// # Ok::<(), ostler_core::BuildError>(())
    /// ```
    #[must_use]
    pub fn slack(mut self, slack: u64) -> Self {
        self.slack = Some(slack);
        self
    }

    /// Number of shards, each with a lock, a policy instance and an equal share of the capacity. By
    /// default 16 a processor, at most 64, and no more than leave 4,096 entries (with a weigher: a
    /// weight of 32 Mi) for each.
    ///
    /// ```
    /// # use ostler_core::Cache;
    /// let cache = Cache::<u32, u32>::builder(1000).shards(4).build()?;
    /// assert_eq!(cache.stats().shards, 4);
    /// # Ok::<(), ostler_core::BuildError>(())
    /// ```
    #[must_use]
    pub fn shards(mut self, shards: usize) -> Self {
        self.shards = Some(shards);
        self
    }

    /// Entries to make room for beforehand, so that no table has to grow while the cache fills.
    ///
    /// By default the capacity, at most 1,024.
    ///
    /// ```
    /// # use ostler_core::Cache;
    /// // A GiB of values of about 10 KiB.
    /// let cache = Cache::<u32, Vec<u8>>::builder(1 << 30)
    ///     .weigher(|_, value| value.len() as u32)
    ///     .expected_entries(100_000)
    ///     .build()?;
    /// # let _ = cache.insert(1, vec![0]);
    /// # Ok::<(), ostler_core::BuildError>(())
    /// ```
    #[must_use]
    pub fn expected_entries(mut self, entries: u64) -> Self {
        self.expected_entries = Some(entries);
        self
    }

    /// Hashes keys with `hasher`.
    ///
    /// ```
    /// use std::hash::{BuildHasherDefault, DefaultHasher};
    ///
    /// # use ostler_core::Cache;
    /// type Hashing = BuildHasherDefault<DefaultHasher>;
    /// let cache: Cache<&str, u32, Hashing> = Cache::builder(10).hasher(Hashing::default()).build()?;
    /// let _ = cache.insert("a", 1);
    /// assert_eq!(cache.get("a"), Some(1));
    /// # Ok::<(), ostler_core::BuildError>(())
    /// ```
    #[must_use]
    pub fn hasher<T>(self, hasher: T) -> CacheBuilder<K, V, T> {
        CacheBuilder {
            capacity: self.capacity,
            slack: self.slack,
            shards: self.shards,
            expected_entries: self.expected_entries,
            hasher,
            seed: self.seed,
            policy: self.policy,
            clock: self.clock,
            lifetimes: self.lifetimes,
            notes_len_max: self.notes_len_max,
            insert_wait: self.insert_wait,
            faults_max: self.faults_max,
            quarantined: self.quarantined,
            restore_after: self.restore_after,
            weigher: self.weigher,
            listener: self.listener,
            policy_listener: self.policy_listener,
        }
    }

    /// Takes the time from `clock`.
    ///
    /// By default the system's monotonic clock.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use ostler_core::{Cache, InsertOptions, ManualClock};
    /// let clock = ManualClock::default();
    /// let cache = Cache::builder(10).clock(clock.clone()).build()?;
    /// let _ = cache.insert_with("a", 1, InsertOptions::new().ttl(Duration::from_secs(1)));
    /// clock.advance_ms(1000);
    /// assert!(!cache.contains("a"));
    /// # Ok::<(), ostler_core::BuildError>(())
    /// ```
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// Seed of everything random in policies and fallback.
    ///
    /// By default 0. Keys are hashed by the [hasher](Self::hasher), which has a seed of its own.
    ///
    /// ```
    /// # use ostler_core::Cache;
    /// let cache = Cache::<u32, u32>::builder(10).seed(7).build()?;
    /// # let _ = cache.insert(1, 1);
    /// # Ok::<(), ostler_core::BuildError>(())
    /// ```
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Records that a shard keeps for its policy until somebody hands them over: 1 to 65,535. By
    /// default a 64th of the shard's entries, 32 to 256; with a weigher 128.
    ///
    /// More means fewer and longer calls, 64 bytes a record and shard, and a policy that hears later.
    ///
    /// ```
    /// # use ostler_core::Cache;
    /// let cache = Cache::<u32, u32>::builder(10_000).notes_len_max(1024).build()?;
    /// # let _ = cache.insert(1, 1);
    /// # Ok::<(), ostler_core::BuildError>(())
    /// ```
    #[must_use]
    pub fn notes_len_max(mut self, records: usize) -> Self {
        self.notes_len_max = Some(records);
        self
    }

    /// How long an insert into a full shard waits for a busy policy before the engine evicts by
    /// itself. By default 50 microseconds.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use ostler_core::Cache;
    /// let cache = Cache::<u32, u32>::builder(10_000).insert_wait(Duration::ZERO).build()?;
    /// # let _ = cache.insert(1, 1);
    /// # Ok::<(), ostler_core::BuildError>(())
    /// ```
    #[must_use]
    pub fn insert_wait(mut self, wait: Duration) -> Self {
        self.insert_wait = wait;
        self
    }

    /// Faults within an hour, over all shards, at which a policy's code is quarantined for this cache:
    /// taken from all seats, and refused until [pardoned](Cache::pardon). By default 3; 0 for never.
    ///
    /// ```
    /// # use ostler_core::Cache;
    /// let cache = Cache::<u32, u32>::builder(10_000).faults_max(1).build()?;
    /// # let _ = cache.insert(1, 1);
    /// # Ok::<(), ostler_core::BuildError>(())
    /// ```
    #[must_use]
    pub fn faults_max(mut self, faults: u32) -> Self {
        self.faults_max = faults;
        self
    }

    /// Policies' code that is quarantined from the start, by [`InstanceSource::code_id`]: what a cache
    /// before this one told of with [`PolicyEvent::Quarantined`](crate::PolicyEvent::Quarantined).
    /// Where the policy to put in charge is among them, it is appointed and gets no seat: the engine
    /// evicts by itself until another is appointed, or this one again after a
    /// [pardon](Cache::pardon). By default none.
    ///
    /// ```
    /// # use ostler_core::Cache;
    /// let kept = ["sha256:0123…".to_owned()];
    /// let cache = Cache::<u32, u32>::builder(10_000).quarantined(kept).build()?;
    /// # let _ = cache.insert(1, 1);
    /// # Ok::<(), ostler_core::BuildError>(())
    /// ```
    #[must_use]
    pub fn quarantined(mut self, codes: impl IntoIterator<Item = String>) -> Self {
        self.quarantined.extend(codes);
        self
    }

    /// Gives the seat back to a policy that lost it by a fault, this long after, and after twice as
    /// long each further time. Done by [`Cache::run_pending`]. By default never.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use ostler_core::Cache;
    /// let cache = Cache::<u32, u32>::builder(10_000).restore_after(Duration::from_secs(60)).build()?;
    /// cache.run_pending();
    /// # Ok::<(), ostler_core::BuildError>(())
    /// ```
    #[must_use]
    pub fn restore_after(mut self, wait: Duration) -> Self {
        self.restore_after = Some(wait);
        self
    }
}

impl<K: Hash + Eq, V, S: BuildHasher + Clone> CacheBuilder<K, V, S> {
    /// Makes the cache.
    ///
    /// # Errors
    ///
    /// [`BuildError`] where the number of shards is not possible, or the policy fails before its
    /// first event.
    ///
    /// ```
    /// # use ostler_core::Cache;
    /// let cache: Cache<String, u32> = Cache::builder(10_000).build()?;
    /// assert!(cache.is_empty());
    /// # Ok::<(), ostler_core::BuildError>(())
    /// ```
    pub fn build(mut self) -> Result<Cache<K, V, S>, BuildError> {
        let quarantined = std::mem::take(&mut self.quarantined);
        let shards = self.shard_count()?;
        let clock = self.clock.clone().unwrap_or_else(|| Arc::new(SystemClock::new()));
        let quarantine = Arc::new(Quarantine::new(self.faults_max, quarantined));
        let models = Arc::new(ModelShelf::default());
        let loads = Arc::new(Flights::new(self.hasher.clone()));
        let expected = self.expected_entries.unwrap_or(self.capacity.min(EXPECTED_DEFAULT_MAX));
        let notes_len_max = self.notes_len_max.unwrap_or_else(|| {
            if self.weigher.is_some() {
                return NOTES_DEFAULT_WEIGHED;
            }
            let share = usize::try_from(self.capacity / shards as u64 / 64).unwrap_or(usize::MAX);
            share.clamp(*NOTES_DEFAULT.start(), *NOTES_DEFAULT.end())
        });
        let setup = |index: usize| ShardSetup {
            budget: budget_of(self.capacity, self.slack, (index, shards)),
            slots_expected: self.slots_expected((index, shards), notes_len_max),
            expected_entries: usize::try_from(expected / shards as u64)
                .unwrap_or(0)
                .saturating_mul(4)
                / 3,
            notes_len_max,
            insert_wait: self.insert_wait,
            lifetimes: self.lifetimes,
            seed: ostler_abi::hash_u64(index as u64, self.seed),
            quarantine: Arc::clone(&quarantine),
            models: Arc::clone(&models),
            clock: Arc::clone(&clock),
        };
        let shards: Box<[_]> = (0..shards)
            .map(|index| LiveShard::new(&setup(index), self.hasher.clone(), Arc::clone(&loads)))
            .collect();
        let inner = Inner {
            keys: Keys(self.hasher),
            clock: Arc::clone(&clock),
            weigher: self.weigher,
            listener: self.listener,
            policy_listener: self.policy_listener,
            listener_panics: AtomicU64::new(0),
            loads,
            quarantine: Arc::clone(&quarantine),
            models,
            control: Control::new(self.restore_after, shards.len()),
            tap_turn: Mutex::new(None),
            slack: self.slack,
            shards,
        };
        let cache = Cache { inner: Arc::new(inner) };
        match self.policy {
            Some(policy) if quarantine.holds_code(&policy.code_id()) => cache.desire(policy),
            Some(policy) => drop(cache.set_policy(policy)?),
            None => {}
        }
        Ok(cache)
    }

    /// Every slot that a shard of counted entries can have in use: none of its policy's arrays has to
    /// grow then. Large shards grow into theirs, so that a huge capacity costs nothing before it is used.
    fn slots_expected(&self, shard: (usize, usize), notes_len_max: usize) -> u32 {
        let budget = budget_of(self.capacity, self.slack, shard);
        let slots = budget.limit().saturating_add(notes_len_max as u64);
        if self.weigher.is_some() || slots > SLOTS_EXACT_MAX { 0 } else { slots as u32 }
    }

    fn shard_count(&self) -> Result<usize, BuildError> {
        let capacity = self.capacity;
        let most = usize::try_from(capacity.max(1)).unwrap_or(SHARDS_MAX).min(SHARDS_MAX);
        match self.shards {
            Some(shards) if shards == 0 || shards > most => {
                Err(BuildError::Shards { shards, capacity })
            }
            Some(shards) => Ok(shards),
            None => {
                let cores = std::thread::available_parallelism().map_or(1, usize::from);
                let least =
                    if self.weigher.is_some() { SHARD_WEIGHT_MIN } else { SHARD_ENTRIES_MIN };
                let room = usize::try_from(capacity / least).unwrap_or(SHARDS_DEFAULT_MAX);
                let most = (SHARDS_A_CORE * cores).min(SHARDS_DEFAULT_MAX).min(room).max(1);
                Ok(if self.weigher.is_some() { most } else { well_filled(capacity, most) })
            }
        }
    }
}

/// At most `most` shards, and no more than fill their tables well: a table of 2^k places is full with
/// 21 in 32, and the next is twice as large.
fn well_filled(capacity: u64, most: usize) -> usize {
    // A little more than the capacity is resident at times.
    let entries = capacity.saturating_add(capacity / 32);
    let share = entries.div_ceil(most as u64).max(1);
    let places = (share.saturating_mul(32) / 21 + 1).checked_next_power_of_two();
    let Some(places) = places else { return most };
    let full = (places / 32).saturating_mul(21).max(1);
    usize::try_from(entries.div_ceil(full)).map_or(most, |shards| shards.clamp(1, most))
}

/// The share of one shard; all shares sum exactly to the whole.
pub(super) fn budget_of(
    capacity: u64,
    slack: Option<u64>,
    (index, shards): (usize, usize),
) -> Budget {
    let (index, shards) = (index as u64, shards as u64);
    let share = |whole: u64| whole / shards + u64::from(index < whole % shards);
    let capacity = share(capacity);
    let slack = slack.map_or((capacity / 64).max(1), share);
    Budget { capacity, slack }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_sum_to_the_whole() {
        for (capacity, slack, shards) in [(10, None, 3), (1_000_003, Some(10), 8), (5, Some(0), 5)]
        {
            let budgets = (0..shards).map(|index| budget_of(capacity, slack, (index, shards)));
            let sums = budgets.fold((0, 0), |sum, one| (sum.0 + one.capacity, sum.1 + one.slack));
            assert_eq!(sums.0, capacity);
            assert!(slack.is_none_or(|slack| slack == sums.1));
        }
    }

    #[test]
    fn shards_fill_their_tables() {
        for (capacity, most, shards) in
            [(1_000_000, 32, 24), (100_000, 24, 20), (4096, 1, 1), (0, 1, 1), (u64::MAX, 64, 49)]
        {
            assert_eq!(well_filled(capacity, most), shards, "{capacity} in at most {most}");
        }
    }

    #[test]
    fn shards_follow_capacity_and_cores() {
        let count =
            |builder: CacheBuilder<u32, u32>| builder.build().map(|cache| cache.stats().shards);
        let builder = Cache::<u32, u32>::builder;
        assert!(matches!(count(builder(4096)), Ok(1)));
        assert!(matches!(count(builder(0)), Ok(1)));
        assert!(matches!(count(builder(100).shards(7)), Ok(7)));
        assert!(matches!(count(builder(100).shards(0)), Err(BuildError::Shards { .. })));
        assert!(matches!(count(builder(6).shards(7)), Err(BuildError::Shards { .. })));
        assert!(matches!(count(builder(64 << 20).weigher(|_, _| 1)), Ok(1 | 2)));
    }
}
