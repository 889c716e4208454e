//! Settings of a cache.

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
use crate::options::Cause;
use crate::quarantine::Quarantine;
use crate::source::InstanceSource;
use crate::sync::AtomicU64;

/// Shards at most by default, and at most at all.
const SHARDS_DEFAULT_MAX: usize = 64;
const SHARDS_MAX: usize = 4096;
/// Entries that a shard has at least by default, where every entry weighs 1.
const SHARD_ENTRIES_MIN: u64 = 4096;
/// Weight that a shard holds at least by default, where there is a weigher: for bytes, 32 MiB.
const SHARD_WEIGHT_MIN: u64 = 32 << 20;
/// Records that a shard's ring holds by default; what a guest takes at a time.
const NOTES_DEFAULT: usize = 256;
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
    notes_len_max: usize,
    insert_wait: Duration,
    faults_max: u32,
    restore_after: Option<Duration>,
    weigher: Option<Weigher<K, V>>,
    listener: Option<Listener<K, V>>,
    policy_listener: Option<PolicyListener>,
}

/// Why a cache could not be made.
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
            notes_len_max: NOTES_DEFAULT,
            insert_wait: Duration::from_micros(50),
            faults_max: 3,
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
    #[must_use]
    pub fn policy(mut self, policy: Arc<dyn InstanceSource>) -> Self {
        self.policy = Some(policy);
        self
    }

    /// What an entry weighs, at least 1; the capacity is in the same unit. By default every entry
    /// weighs 1. Runs on the thread that inserts, under no lock. Costs 8 bytes an entry.
    #[must_use]
    pub fn weigher(mut self, weigher: impl Fn(&K, &V) -> u32 + Send + Sync + 'static) -> Self {
        self.weigher = Some(Box::new(weigher));
        self
    }

    /// Ends entries this long after they were written. Costs 16 bytes an entry.
    #[must_use]
    pub fn time_to_live(mut self, ttl: Duration) -> Self {
        self.lifetimes.ttl = Some(ttl);
        self
    }

    /// Ends entries this long after they were last read or written. Costs 28 bytes an entry.
    #[must_use]
    pub fn time_to_idle(mut self, tti: Duration) -> Self {
        self.lifetimes.tti = Some(tti);
        self
    }

    /// Hears of every entry that leaves, with its cause, after it left: on the thread that made it
    /// leave, under no lock. A panic in it is caught and counted.
    #[must_use]
    pub fn on_removal(mut self, listener: impl Fn(K, V, Cause) + Send + Sync + 'static) -> Self {
        self.listener = Some(Box::new(listener));
        self
    }

    /// Hears of what happens to the policy: changes, faults, quarantine, restoration.
    #[must_use]
    pub fn on_policy(mut self, listener: impl Fn(&PolicyEvent) + Send + Sync + 'static) -> Self {
        self.policy_listener = Some(Box::new(listener));
        self
    }

    /// Weight that may come on top of the capacity until a policy has been asked; by default a 64th of
    /// the capacity, at least 1 a shard. More means fewer and longer batches of inserts.
    #[must_use]
    pub fn slack(mut self, slack: u64) -> Self {
        self.slack = Some(slack);
        self
    }

    /// Number of shards, each with a lock, a policy instance and an equal share of the capacity. By
    /// default four a processor, at most 64, and no more than leave 4,096 entries (with a weigher: a
    /// weight of 32 Mi) for each.
    #[must_use]
    pub fn shards(mut self, shards: usize) -> Self {
        self.shards = Some(shards);
        self
    }

    /// Entries to make room for beforehand, so that no table has to grow while the cache fills.
    #[must_use]
    pub fn expected_entries(mut self, entries: u64) -> Self {
        self.expected_entries = Some(entries);
        self
    }

    /// Hashes keys with `hasher`.
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
            restore_after: self.restore_after,
            weigher: self.weigher,
            listener: self.listener,
            policy_listener: self.policy_listener,
        }
    }

    /// Takes the time from `clock`.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// Seed of everything random in policies and fallback.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Records that a shard keeps for its policy until somebody hands them over: 1 to 65,535, by
    /// default 256.
    #[must_use]
    pub fn notes_len_max(mut self, records: usize) -> Self {
        self.notes_len_max = records;
        self
    }

    /// How long an insert into a full shard waits for a busy policy before the engine evicts by
    /// itself. By default 50 microseconds.
    #[must_use]
    pub fn insert_wait(mut self, wait: Duration) -> Self {
        self.insert_wait = wait;
        self
    }

    /// Faults within an hour, over all shards, at which a policy's code is quarantined for this cache:
    /// taken from all seats, and refused until [pardoned](Cache::pardon). By default 3; 0 for never.
    #[must_use]
    pub fn faults_max(mut self, faults: u32) -> Self {
        self.faults_max = faults;
        self
    }

    /// Gives the seat back to a policy that lost it by a fault, this long after, and after twice as
    /// long each further time. Done by [`Cache::run_pending`]. By default never.
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
    pub fn build(self) -> Result<Cache<K, V, S>, BuildError> {
        let shards = self.shard_count()?;
        let clock = self.clock.unwrap_or_else(|| Arc::new(SystemClock::new()));
        let quarantine = Arc::new(Quarantine::new(self.faults_max));
        let loads = Arc::new(Flights::new(self.hasher.clone()));
        let expected = self.expected_entries.unwrap_or(self.capacity.min(EXPECTED_DEFAULT_MAX));
        let setup = |index: usize| ShardSetup {
            budget: budget_of(self.capacity, self.slack, (index, shards)),
            expected_entries: usize::try_from(expected).unwrap_or(0) / shards * 4 / 3,
            notes_len_max: self.notes_len_max,
            insert_wait: self.insert_wait,
            lifetimes: self.lifetimes,
            seed: ostler_abi::hash_u64(index as u64, self.seed),
            quarantine: Arc::clone(&quarantine),
            clock: Arc::clone(&clock),
        };
        let shards: Box<[_]> = (0..shards)
            .map(|index| LiveShard::new(&setup(index), self.hasher.clone(), Arc::clone(&loads)))
            .collect();
        let inner = Inner {
            shards,
            keys: Keys(self.hasher),
            clock: Arc::clone(&clock),
            weigher: self.weigher,
            listener: self.listener,
            policy_listener: self.policy_listener,
            listener_panics: AtomicU64::new(0),
            loads,
            quarantine: Arc::clone(&quarantine),
            control: Control::new(self.restore_after),
            slack: self.slack,
        };
        let cache = Cache { inner: Arc::new(inner) };
        if let Some(policy) = self.policy {
            cache.set_policy(policy)?;
        }
        Ok(cache)
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
                Ok((4 * cores).min(SHARDS_DEFAULT_MAX).min(room).max(1))
            }
        }
    }
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
