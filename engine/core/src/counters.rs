//! What a shard counts.

/// Counters of one shard since it was made. Plain numbers, read as a snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Requests that found their key resident.
    pub hits: u64,
    /// Requests that did not.
    pub misses: u64,
    /// Entries that came in.
    pub inserts: u64,
    /// Entries the engine removed to keep the capacity, by the policy's choice or the fallback's.
    pub evictions: u64,
    /// Newcomers not kept: too heavy for the shard, or chosen as victim in the step that brought
    /// them in.
    pub rejections: u64,
    /// Victims whose entry had meanwhile gone. Dropped, no fault.
    pub stale_victims: u64,
    /// Records handed to the policy.
    pub records: u64,
    /// Calls of the policy.
    pub calls: u64,
    /// Policy faults.
    pub faults: u64,
    /// Lookups served while the fallback was in charge. A store without a lookup is not counted.
    pub fallback_requests: u64,
    /// Policies that took the seat from another one, or back from the fallback.
    pub swaps: u64,
    /// Entries that they were told of when they did.
    pub adopted: u64,
    /// Models that the policy in charge took.
    pub models: u64,
}
