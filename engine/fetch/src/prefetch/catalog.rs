//! What the host of a policy has to ask the cache.

/// The cache that prefetches are for, as far as an ask needs it.
pub trait Catalog {
    /// The hash of the key with these bytes, the one that its accesses carry; none where no key of
    /// the cache can have these bytes.
    fn hash_of(&self, key: &[u8]) -> Option<u64>;

    /// True where the entry with this hash and key is resident. Must not count as an access.
    fn is_resident(&self, hash: u64, key: &[u8]) -> bool;
}
