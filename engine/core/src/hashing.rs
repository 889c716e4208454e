//! From a key to the 64 bits by which shards, tables and policies know it.

use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash};

use crate::residents::KeyHash;

/// The hasher that a cache uses where the user names none: fast, and seeded at random for each cache,
/// so that keys from the network cannot be chosen to collide.
///
/// ```
/// use ostler_core::{Cache, DefaultHashBuilder};
///
/// struct Sessions {
///     cache: Cache<u64, String, DefaultHashBuilder>,
/// }
/// # let sessions = Sessions { cache: Cache::builder(10).build()? };
/// # assert!(sessions.cache.is_empty());
/// # Ok::<(), ostler_core::BuildError>(())
/// ```
pub type DefaultHashBuilder = foldhash::fast::RandomState;

/// Hashes keys by the user's hasher and mixes the result.
///
/// Shard, bucket and tag are taken from different bits, so all 64 must be good; a hasher that is
/// merely good enough for one table, such as the identity, is made so by one multiplication.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Keys<S>(pub(crate) S);

impl<S: BuildHasher> Keys<S> {
    #[inline]
    pub(crate) fn hash<Q: Hash + ?Sized>(&self, key: &Q) -> u64 {
        mix(self.0.hash_one(key))
    }
}

impl<K: Hash + Borrow<K>, S: BuildHasher> KeyHash<K> for Keys<S> {
    #[inline]
    fn hash_of(&self, key: &K) -> u64 {
        self.hash(key)
    }
}

/// A full multiplication, folded: every bit of the result depends on every bit of the input.
#[inline]
fn mix(hash: u64) -> u64 {
    let wide = u128::from(hash ^ 0x9e37_79b9_7f4a_7c15) * 0xd6e8_feb8_6659_fd93;
    (wide >> 64) as u64 ^ wide as u64
}

/// Deals hashes to `shards` shards, by bits that the table within a shard uses least.
#[inline]
pub(crate) fn shard_of(hash: u64, shards: usize) -> usize {
    (((hash & 0xffff_ffff) * shards as u64) >> 32) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consecutive_numbers_spread_over_shards_and_bits() {
        let mut shards = [0u32; 7];
        let mut ones = [0u32; 64];
        for number in 0..70_000u64 {
            let hash = mix(number);
            shards[shard_of(hash, 7)] += 1;
            for (bit, count) in ones.iter_mut().enumerate() {
                *count += (hash >> bit & 1) as u32;
            }
        }
        assert!(shards.iter().all(|count| count.abs_diff(10_000) < 500), "{shards:?}");
        assert!(ones.iter().all(|count| count.abs_diff(35_000) < 1000), "{ones:?}");
    }
}
