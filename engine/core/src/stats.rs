//! What a cache counts, and the snapshot of it.

use crate::options::Cause;

/// Counts of one shard, kept under its lock.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ShardCounts {
    pub(crate) hits: u64,
    pub(crate) misses: u64,
    pub(crate) hits_coalesced: u64,
    pub(crate) hits_dropped: u64,
    inserted: u64,
    inserted_weight: u64,
    pub(crate) evicted_natively: u64,
    pub(crate) held_records_max: u64,
    pub(crate) policy: PolicyCounts,
    evicted: u64,
    expired: u64,
    removed: u64,
    replaced: u64,
    cleared: u64,
    rejected: u64,
}

/// What the maintainer counts, published to the shard after each maintenance.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PolicyCounts {
    pub(crate) calls: u64,
    pub(crate) records: u64,
    pub(crate) stale_victims: u64,
    pub(crate) hits_delivered: u64,
    pub(crate) faults: u64,
    pub(crate) maintenances: u64,
    pub(crate) guest_ns: u64,
    pub(crate) guest_memory_bytes: u64,
    pub(crate) in_charge: bool,
}

impl ShardCounts {
    /// Counts a value in.
    #[inline]
    pub(crate) fn came(&mut self, weight: u32) {
        self.inserted += 1;
        self.inserted_weight += u64::from(weight);
    }

    /// Values that were put in.
    pub(crate) fn inserted(&self) -> u64 {
        self.inserted
    }

    #[inline]
    pub(crate) fn left(&mut self, cause: Cause) {
        *match cause {
            Cause::Evicted => &mut self.evicted,
            Cause::Expired => &mut self.expired,
            Cause::Removed => &mut self.removed,
            Cause::Replaced => &mut self.replaced,
            Cause::Cleared => &mut self.cleared,
            Cause::Rejected => &mut self.rejected,
        } += 1;
    }

    /// Entries that came in and are gone.
    pub(crate) fn gone(&self) -> u64 {
        self.evicted + self.expired + self.removed + self.replaced + self.cleared + self.rejected
    }

    /// Notes that a lock was held for `records` records.
    #[inline]
    pub(crate) fn held(&mut self, records: usize) {
        self.held_records_max = self.held_records_max.max(records as u64);
    }
}

/// What a cache did since it was made, and what it holds now. Each shard is read at one moment, the
/// shards one after the other.
///
/// ```
/// let cache = ostler_core::Cache::<u32, u32>::builder(100).build()?;
/// for key in 0..1000 {
///     let _ = cache.insert(key, key);
/// }
/// cache.clear();
/// let stats = cache.stats();
/// let left = stats.evicted + stats.expired + stats.removed + stats.replaced + stats.cleared;
/// assert_eq!(stats.inserted, stats.entries + left + stats.rejected, "every count is exact");
/// # Ok::<(), ostler_core::BuildError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Entries resident now; some may have expired and wait to be reaped.
    pub entries: u64,
    /// Their weight.
    pub weight: u64,
    /// Places for entries: the most that were ever resident at once, and those on their way. They are
    /// kept when their entries leave.
    pub slots: u64,
    /// Weight that the policies keep.
    pub capacity: u64,
    /// Weight that may come on top of the capacity until a policy has been asked.
    pub slack: u64,
    /// Requests that found their key.
    pub hits: u64,
    /// Requests that did not.
    pub misses: u64,
    /// Hits that a policy is told of, each by a record of its own.
    pub hits_delivered: u64,
    /// Hits that were told together with another hit on the same entry.
    pub hits_coalesced: u64,
    /// Hits that no policy hears of: the ring was full and the maintainer busy. Those whose entry left
    /// before they were handed over are in neither count.
    pub hits_dropped: u64,
    /// Values that were put in. Equals the entries plus the six ways of leaving.
    pub inserted: u64,
    /// Their weight.
    pub inserted_weight: u64,
    /// Entries given up to keep the capacity.
    pub evicted: u64,
    /// Of those, by the engine itself, while no policy could be asked.
    pub evicted_natively: u64,
    /// Entries whose time was over.
    pub expired: u64,
    /// Entries removed by the user.
    pub removed: u64,
    /// Values that were overwritten.
    pub replaced: u64,
    /// Entries cleared.
    pub cleared: u64,
    /// Values not kept at all.
    pub rejected: u64,
    /// Victims whose entry had meanwhile gone. No fault.
    pub stale_victims: u64,
    /// Calls of policies.
    pub policy_calls: u64,
    /// Records handed to policies.
    pub policy_records: u64,
    /// Policy faults.
    pub policy_faults: u64,
    /// Times that a maintainer came.
    pub maintenances: u64,
    /// Nanoseconds spent in guests, estimated from timing some of the calls.
    pub guest_ns: u64,
    /// Memory of the guests, as of each shard's last maintenance.
    pub guest_memory_bytes: u64,
    /// Memory of the expiry tables.
    pub expiry_bytes: u64,
    /// Shards whose policy is in charge; the engine's fallback serves the others.
    pub shards_in_charge: u64,
    /// Shards.
    pub shards: u64,
    /// Greatest number of records that a shard's lock was ever held for.
    pub held_records_max: u64,
    /// Listeners' panics, which were caught.
    pub listener_panics: u64,
}

impl Stats {
    /// Hits ÷ requests, 0 without requests.
    ///
    /// ```
    /// # let cache = ostler_core::Cache::<u32, u32>::builder(10).build()?;
    /// let _ = (cache.insert(1, 1), cache.get(&1), cache.get(&2));
    /// assert_eq!(cache.stats().hit_ratio(), 0.5);
    /// # Ok::<(), ostler_core::BuildError>(())
    /// ```
    #[must_use]
    pub fn hit_ratio(&self) -> f64 {
        let requests = self.hits + self.misses;
        if requests == 0 { 0.0 } else { self.hits as f64 / requests as f64 }
    }

    pub(crate) fn add(&mut self, counts: &ShardCounts) {
        self.hits += counts.hits;
        self.misses += counts.misses;
        self.hits_delivered += counts.policy.hits_delivered;
        self.hits_coalesced += counts.hits_coalesced;
        self.hits_dropped += counts.hits_dropped;
        self.inserted += counts.inserted;
        self.inserted_weight += counts.inserted_weight;
        self.evicted += counts.evicted;
        self.evicted_natively += counts.evicted_natively;
        self.expired += counts.expired;
        self.removed += counts.removed;
        self.replaced += counts.replaced;
        self.cleared += counts.cleared;
        self.rejected += counts.rejected;
        self.held_records_max = self.held_records_max.max(counts.held_records_max);
        self.add_policy(&counts.policy);
    }

    fn add_policy(&mut self, policy: &PolicyCounts) {
        self.stale_victims += policy.stale_victims;
        self.policy_calls += policy.calls;
        self.policy_records += policy.records;
        self.policy_faults += policy.faults;
        self.maintenances += policy.maintenances;
        self.guest_ns += policy.guest_ns;
        self.guest_memory_bytes += policy.guest_memory_bytes;
        self.shards_in_charge += u64::from(policy.in_charge);
        self.shards += 1;
    }
}
