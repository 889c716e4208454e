//! A cache as the live side sees it.

use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use ostler_core::{Cache, Resident, SampleShare, Stats, Tap};

/// What is asked of a cache that is watched. [`Cache`] has it, whatever its keys and values.
pub trait LiveCache: Send + Sync {
    /// As [`Cache::set_tap`].
    fn set_tap(&self, tap: Option<Arc<dyn Tap>>);
    /// As [`Cache::clear_tap`].
    fn clear_tap(&self, tap: &Arc<dyn Tap>) -> bool;
    /// As [`Cache::shards`].
    fn shards(&self) -> usize;
    /// As [`Cache::sample`].
    fn sample(&self, shard: usize, share: SampleShare) -> Vec<Resident>;
    /// As [`Cache::stats`].
    fn stats(&self) -> Stats;
    /// What it may hold, by whoever keeps the bound.
    fn capacity(&self) -> u64;

    /// As [`Cache::publish_model`]. Whoever keeps nothing that takes models need not do anything.
    fn publish_model(&self, _message: &[u8]) {}

    /// The residents of all shards whose keys are in `share`.
    fn sample_all(&self, share: SampleShare) -> Vec<Resident> {
        (0..self.shards()).flat_map(|shard| self.sample(shard, share)).collect()
    }
}

impl<K, V, S> LiveCache for Cache<K, V, S>
where
    K: Hash + Eq + Send + Sync,
    V: Send + Sync,
    S: BuildHasher + Clone + Send + Sync,
{
    fn set_tap(&self, tap: Option<Arc<dyn Tap>>) {
        Self::set_tap(self, tap);
    }

    fn clear_tap(&self, tap: &Arc<dyn Tap>) -> bool {
        Self::clear_tap(self, tap)
    }

    fn shards(&self) -> usize {
        Self::shards(self)
    }

    fn sample(&self, shard: usize, share: SampleShare) -> Vec<Resident> {
        Self::sample(self, shard, share)
    }

    fn stats(&self) -> Stats {
        Self::stats(self)
    }

    fn capacity(&self) -> u64 {
        Self::capacity(self)
    }

    fn publish_model(&self, message: &[u8]) {
        // The cache counts what policies said to it; a learner's message is never too long.
        let _ = Self::publish_model(self, message);
    }
}
