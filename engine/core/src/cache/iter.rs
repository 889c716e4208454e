//! Walking over the entries while others change them.

use std::hash::{BuildHasher, Hash};

use crate::cache::Cache;
use crate::live::SLICE_SLOTS;

/// Entries of a cache, cloned slice by slice; made by [`Cache::iter`].
///
/// ```
/// let cache = ostler_core::Cache::<u32, u32>::builder(10).build()?;
/// let _ = (cache.insert(1, 10), cache.insert(2, 20));
/// // Others may use the cache meanwhile, and so may this loop.
/// for (key, value) in cache.iter().filter(|&(_, value)| value > 10) {
///     cache.remove(&key);
///     assert_eq!(value, 20);
/// }
/// assert_eq!(cache.len(), 1);
/// # Ok::<(), ostler_core::BuildError>(())
/// ```
pub struct Iter<K, V, S> {
    cache: Cache<K, V, S>,
    shard: usize,
    next_slot: u32,
    slice: std::vec::IntoIter<(K, V)>,
}

impl<K: Hash + Eq, V, S: BuildHasher + Clone> Cache<K, V, S> {
    /// All entries, in no order. Each is as it was at some moment of the walk; entries that come or
    /// go meanwhile may be seen or not, and none is seen twice unless it left and came back. No
    /// request is counted. Cost: a lock for every 256 slots, and a clone for every entry.
    ///
    /// ```
    /// # let cache = ostler_core::Cache::<u32, u32>::builder(10).build()?;
    /// let _ = (cache.insert(1, 10), cache.insert(2, 20));
    /// let mut entries: Vec<(u32, u32)> = cache.iter().collect();
    /// entries.sort_unstable();
    /// assert_eq!(entries, [(1, 10), (2, 20)]);
    /// # Ok::<(), ostler_core::BuildError>(())
    /// ```
    pub fn iter(&self) -> Iter<K, V, S>
    where
        K: Clone,
        V: Clone,
    {
        Iter { cache: self.clone(), shard: 0, next_slot: 0, slice: Vec::new().into_iter() }
    }

    /// Entries of at most `slots_max` slots from `cursor` on (0 at first), and the next cursor, 0 at
    /// the end. For the engine's servers: a walk that goes on in another call. An entry that stays in
    /// its place all the while is seen once.
    #[doc(hidden)]
    #[must_use]
    pub fn scan(&self, cursor: u64, slots_max: u32) -> (Vec<(K, V)>, u64)
    where
        K: Clone,
        V: Clone,
    {
        let (mut shard, mut slot) = ((cursor >> 32) as usize, cursor as u32);
        let (mut entries, mut slots_left) = (Vec::new(), slots_max.max(1));
        while let Some(place) = self.inner.shards.get(shard) {
            if slots_left == 0 {
                return (entries, (shard as u64) << 32 | u64::from(slot));
            }
            let (slice, next_slot) = place.slice(slot, slots_left);
            entries.extend(slice);
            slots_left = slots_left.saturating_sub(next_slot.map_or(1, |next| next - slot).max(1));
            (shard, slot) = next_slot.map_or((shard + 1, 0), |next| (shard, next));
        }
        (entries, 0)
    }
}

impl<K: Hash + Eq + Clone, V: Clone, S: BuildHasher + Clone> Iterator for Iter<K, V, S> {
    type Item = (K, V);

    fn next(&mut self) -> Option<(K, V)> {
        loop {
            if let Some(entry) = self.slice.next() {
                return Some(entry);
            }
            let shard = self.cache.inner.shards.get(self.shard)?;
            let (slice, next_slot) = shard.slice(self.next_slot, SLICE_SLOTS);
            self.slice = slice.into_iter();
            match next_slot {
                Some(slot) => self.next_slot = slot,
                None => (self.shard, self.next_slot) = (self.shard + 1, 0),
            }
        }
    }
}
