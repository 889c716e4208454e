//! Look-ups to come: what they will read is read before, for all of them at a time.
//!
//! A look-up in a cache of a million entries waits for memory three times in a row: for the table, for
//! the entry, for its value. Where the keys of several are known, the processor can wait for all of
//! them at a time; but not across the locked instruction that each look-up begins with.

use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash};
use std::hint::black_box;

use smallvec::SmallVec;

use crate::cache::Cache;
use crate::hashing::{Keys, shard_of};
use crate::live::State;
use crate::sync::StateGuard;

/// Look-ups whose memory is waited for at a time.
const AHEAD_MAX: usize = 32;
/// Shards whose guards need no allocation.
const SHARDS_INLINE: usize = 16;

impl<K: Hash + Eq, V, S: BuildHasher + Clone> Cache<K, V, S> {
    /// The hash of `key`, for [`warm`](Self::warm). It holds for this cache as long as it lives.
    #[doc(hidden)]
    #[inline]
    pub fn hash<Q>(&self, key: &Q) -> u64
    where
        K: Borrow<Q>,
        Q: Hash + ?Sized,
    {
        self.inner.keys.hash(key)
    }

    /// Brings into the processor's cache what look-ups of keys with these hashes will read: of each
    /// value, what `touch` reads. Nothing is counted and no policy hears of it. A shard that is locked
    /// is passed over.
    ///
    /// For the engine's servers: `touch` runs under shard locks, so it must be short and must not call
    /// the cache; what it returns is thrown away. Worth its while from two keys on.
    #[doc(hidden)]
    pub fn warm(&self, hashes: &[u64], touch: impl Fn(&V) -> usize) {
        for hashes in hashes.chunks(AHEAD_MAX) {
            self.warm_some(hashes, &touch);
        }
    }

    fn warm_some(&self, hashes: &[u64], touch: impl Fn(&V) -> usize) {
        type Guards<'a, K, V, S> =
            SmallVec<[Option<StateGuard<'a, State<K, V, Keys<S>>>>; SHARDS_INLINE]>;
        let shards = &self.inner.shards;
        let mut guards: Guards<'_, K, V, S> = SmallVec::new();
        guards.resize_with(shards.len(), || None);
        // Only tried, so the order does not matter. All of them first: no load waits for a lock then.
        for &hash in hashes {
            let number = shard_of(hash, shards.len());
            if guards[number].is_none() {
                guards[number] = shards[number].state.try_lock();
            }
        }
        // What one of these loops reads for a key does not depend on what it reads for another.
        let mut slots = [None; AHEAD_MAX];
        for (slot, &hash) in slots.iter_mut().zip(hashes) {
            let state = guards[shard_of(hash, shards.len())].as_ref();
            *slot = state.and_then(|state| state.residents.guess(hash));
        }
        let mut sum = 0;
        for (slot, &hash) in slots.iter().zip(hashes) {
            let state = guards[shard_of(hash, shards.len())].as_ref();
            let (Some(state), Some(slot)) = (state, *slot) else { continue };
            sum += state.residents.word(slot).hits() as usize;
        }
        for (slot, &hash) in slots.iter().zip(hashes) {
            let state = guards[shard_of(hash, shards.len())].as_ref();
            let (Some(state), Some(slot)) = (state, *slot) else { continue };
            sum += state.residents.weight_of(slot) as usize;
            sum += state.residents.at(slot).map_or(0, |found| touch(found.value));
        }
        black_box(sum);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn looking_ahead_reads_what_is_there_and_counts_nothing() {
        let cache: Cache<u32, u32> = Cache::builder(1_000).shards(4).build().unwrap();
        for key in 0..100 {
            let _ = cache.insert(key, key);
        }
        let before = cache.stats();
        let hashes: Vec<u64> = (0..100_u32).map(|key| cache.hash(&key)).collect();
        let (seen, sum) = (Cell::new(0), Cell::new(0));
        cache.warm(&hashes, |&value| {
            seen.set(seen.get() + 1);
            sum.set(sum.get() + value);
            0
        });
        // A hash may lead to another entry with the same tag.
        assert_eq!(seen.get(), 100);
        assert!((3_000..7_000).contains(&sum.get()), "{}", sum.get());
        cache.warm(&[], |_| unreachable!("there is no key"));
        assert_eq!(format!("{:?}", cache.stats()), format!("{before:?}"));
        cache.validate();
    }

    #[test]
    fn a_locked_shard_is_passed_over() {
        let cache: Cache<u32, u32> = Cache::builder(1_000).shards(1).build().unwrap();
        let _ = cache.insert(1, 1);
        let hash = cache.hash(&1);
        cache.with_locked(&[1], |_| cache.warm(&[hash], |_| unreachable!("it is locked")));
    }
}
