//! Several keys under lock at once: for the engine's own servers, not for users.

use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash};
use std::time::Duration;

use smallvec::SmallVec;

use crate::cache::{After, Cache};
use crate::hashing::{Keys, shard_of};
use crate::live::{LiveShard, State};
use crate::options::{Cause, InsertOptions, Snapshot, Stored, Version};
use crate::sync::StateGuard;

/// A locked shard and its number.
type Numbered<'a, K, V, S> = (usize, StateGuard<'a, State<K, V, Keys<S>>>);

/// The shards of some keys, all locked; made by [`Cache::with_locked`].
///
/// Operations see and change those keys as if nothing else happened in between. A key of another
/// shard is a mistake of the caller's: it panics.
pub struct Locked<'a, K: Hash + Eq, V, S: BuildHasher + Clone> {
    cache: &'a Cache<K, V, S>,
    /// By number of the shard, ascending.
    shards: SmallVec<[Numbered<'a, K, V, S>; 1]>,
    /// Done when the locks, above, are open: also where `work` panics.
    after: After<'a, K, V, S>,
    now_ms: u64,
}

impl<K: Hash + Eq, V, S: BuildHasher + Clone> Cache<K, V, S> {
    /// Runs `work` with the shards of `keys` locked, in ascending order, so that two callers cannot
    /// wait for each other. Values that leave are dropped and listeners called after unlocking.
    ///
    /// For the engine's servers: `work` runs under shard locks, so it must be short and must call
    /// nothing of the user's and not the cache. No policy is asked meanwhile: where there is no room,
    /// the engine evicts by itself.
    #[doc(hidden)]
    pub fn with_locked<'a, R>(
        &'a self,
        keys: &[K],
        work: impl FnOnce(&mut Locked<'a, K, V, S>) -> R,
    ) -> R {
        let count = self.inner.shards.len();
        let mut numbers: SmallVec<[usize; 1]> =
            keys.iter().map(|key| shard_of(self.inner.keys.hash(key), count)).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let shards: &'a [LiveShard<K, V, S>] = &self.inner.shards;
        let locked = numbers.iter().map(|&number| (number, shards[number].state.lock()));
        let shards_locked = locked.collect();
        // Read under the locks: waiting for them may have taken a while.
        let now_ms = self.inner.clock.now_ms();
        let mut locked = Locked { cache: self, shards: shards_locked, after: self.after(), now_ms };
        let result = work(&mut locked);
        let Locked { shards: guards, mut after, .. } = locked;
        let due = guards.iter().filter(|(_, state)| state.is_due() || state.is_over_capacity());
        let due: SmallVec<[usize; 1]> = due.map(|&(number, _)| number).collect();
        drop(guards);
        for number in due {
            shards[number].try_maintain(&mut after);
        }
        result
    }
}

impl<'a, K: Hash + Eq, V, S: BuildHasher + Clone> Locked<'a, K, V, S> {
    fn locate<Q>(&mut self, key: &Q) -> (u64, usize)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let hash = self.cache.inner.keys.hash(key);
        let number = shard_of(hash, self.cache.inner.shards.len());
        let place = self.shards.binary_search_by_key(&number, |(number, _)| *number);
        (hash, place.expect("the caller names every key it works with"))
    }

    /// The time by the cache's clock, milliseconds: the same for all that is done under this lock.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// The value of `key`, cloned; a request.
    pub fn get<Q>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
        V: Clone,
    {
        let (hash, place) = self.locate(key);
        let state = &mut self.shards[place].1;
        match state.find_live(hash, key, self.now_ms, &mut self.after.left) {
            Some(slot) => state.hit(slot, hash, self.now_ms).cloned(),
            None => {
                state.miss(hash);
                None
            }
        }
    }

    /// Everything known of the entry of `key`; no request.
    pub fn entry<Q>(&mut self, key: &Q) -> Option<Snapshot<V>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
        V: Clone,
    {
        let (hash, place) = self.locate(key);
        let state = &self.shards[place].1;
        state.find(hash, key, self.now_ms).and_then(|slot| state.snapshot(slot, self.now_ms))
    }

    /// The version of the entry of `key`.
    pub fn version<Q>(&mut self, key: &Q) -> Option<Version>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let (hash, place) = self.locate(key);
        let state = &self.shards[place].1;
        state.find(hash, key, self.now_ms).map(|slot| state.version(slot))
    }

    /// Stores `value`, which weighs `weight`, under `key`. The caller weighs, outside the lock.
    pub fn insert(&mut self, key: K, value: V, weight: u32, options: InsertOptions) -> Stored {
        let (hash, place) = self.locate(&key);
        self.cache.inner.loads.supersede(&key);
        let (entry, options) = (Some((key, value)), Some(options));
        let mut newcomer = crate::live::Newcomer { entry, hash, weight: weight.max(1), options };
        self.shards[place].1.put_natively(&mut newcomer, self.now_ms, &mut self.after.left)
    }

    /// Removes `key`. True where it was resident.
    pub fn remove<Q>(&mut self, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let (hash, place) = self.locate(key);
        self.cache.inner.loads.supersede(key);
        let state = &mut self.shards[place].1;
        let Some(slot) = state.find_live(hash, key, self.now_ms, &mut self.after.left) else {
            return false;
        };
        state.depart(slot, Cause::Removed, &mut self.after.left);
        true
    }

    /// Moves the end of the entry of `key`. True where it is resident.
    pub fn expire_after<Q>(&mut self, key: &Q, ttl: Option<Duration>) -> bool
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let (hash, place) = self.locate(key);
        let state = &mut self.shards[place].1;
        let Some(slot) = state.find(hash, key, self.now_ms) else { return false };
        state.set_end(slot, ttl, self.now_ms);
        true
    }
}
