//! What those see who try policies beside the one in charge: the tap, sampled residents, single shards.

use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use ostler_abi::{Kind, NO_SLOT, Record};

use crate::cache::Cache;
use crate::stats::Stats;
use crate::tap::{SampleShare, Tap, Tapped};

/// An entry as a policy is introduced to it; made by [`Cache::sample`].
///
/// ```
/// # let cache = ostler_core::Cache::<u32, u32>::builder(10).shards(1).build()?;
/// use ostler_abi::Kind;
/// use ostler_core::SampleShare;
///
/// let _ = (cache.insert(1, 10), cache.get(&1), cache.get(&1));
/// let resident = &cache.sample(0, SampleShare::ALL)[0];
/// assert_eq!((resident.weight, resident.hits), (1, 2));
/// let (adopt, hit) = resident.introduce(7);
/// assert_eq!((adopt.kind(), adopt.slot), (Some(Kind::Adopt), 7));
/// assert_eq!(hit.map(|hit| (hit.kind(), hit.count)), Some((Some(Kind::Hit), 2)));
/// # Ok::<(), ostler_core::BuildError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resident {
    /// Hash of its key, as policies see it.
    pub key_hash: u64,
    /// Its weight.
    pub weight: u32,
    /// What it cost to load, microseconds; 0 if unknown.
    pub cost_us: u32,
    /// The caller's request class or hint.
    pub class: u8,
    /// Hits and updates since it came in, saturating at 15.
    pub hits: u8,
    /// When it came in, milliseconds by the cache's clock, to a tenth of a second.
    pub born_ms: u64,
    /// About when it was last used, not before it came in.
    pub accessed_ms: u64,
}

impl Resident {
    /// The records by which a hand-over introduces it, under a slot of the reader's: an adopt record,
    /// and where it was used since it came in, a hit record right after it.
    ///
    /// ```
    /// # let cache = ostler_core::Cache::<u32, u32>::builder(10).build()?;
    /// # let _ = cache.insert(1, 10);
    /// for resident in cache.sample(0, ostler_core::SampleShare::ALL) {
    ///     let (adopt, hit) = resident.introduce(0);
    ///     assert_eq!((adopt.key_hash, hit), (resident.key_hash, None));
    /// }
    /// # Ok::<(), ostler_core::BuildError>(())
    /// ```
    #[must_use]
    pub fn introduce(&self, slot: u32) -> (Record, Option<Record>) {
        let Self { key_hash, weight, cost_us, class, hits, born_ms, accessed_ms } = *self;
        let adopt = Record {
            key_hash,
            time_ms: born_ms,
            weight,
            cost_us,
            class,
            count: 1,
            ..Record::new(Kind::Adopt, slot)
        };
        let kind = Kind::Hit as u8;
        let hit = Record { time_ms: accessed_ms, count: hits, kind, ..adopt };
        (adopt, (hits > 0).then_some(hit))
    }

    pub(crate) fn new((adopt, hit): (Record, Record), hits: u8) -> Self {
        debug_assert!(adopt.slot != NO_SLOT, "a resident has a slot");
        Self {
            key_hash: adopt.key_hash,
            weight: adopt.weight,
            cost_us: adopt.cost_us,
            class: adopt.class,
            hits,
            born_ms: adopt.time_ms,
            accessed_ms: hit.time_ms,
        }
    }
}

impl<K: Hash + Eq, V, S: BuildHasher + Clone> Cache<K, V, S> {
    /// Lets `tap` hear what happens to a share of the keys, instead of the one that did before; or nobody.
    /// When this returns, the one before is not called any more.
    ///
    /// Cost while it is set: for a get that finds nothing a multiplication and a comparison, and a record
    /// if its key is in the share; for other operations a multiplication and a comparison for each record
    /// at its maintenance. Where the policy in charge wants no hits, or the fallback serves, they are noted
    /// as if it did. Waits for each shard's maintainer.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// use ostler_abi::Record;
    /// use ostler_core::{Cache, SampleShare, Tap};
    ///
    /// struct Nobody;
    ///
    /// impl Tap for Nobody {
    ///     fn share(&self) -> SampleShare {
    ///         SampleShare::one_in(16)
    ///     }
    ///     fn take(&self, _shard: u32, _records: &[Record]) {}
    /// }
    ///
    /// let cache = Cache::<u32, u32>::builder(10).build()?;
    /// cache.set_tap(Some(Arc::new(Nobody)));
    /// cache.set_tap(None);
    /// # Ok::<(), ostler_core::BuildError>(())
    /// ```
    pub fn set_tap(&self, tap: Option<Arc<dyn Tap>>) {
        // One at a time, so that all shards have the same one in the end.
        let mut current = self.inner.tap_turn.lock();
        self.tap_shards(tap.as_ref());
        *current = tap;
    }

    /// Takes `tap` off the cache if it is the one that is set; false where another one, or none, is. So
    /// whoever has set a tap cannot take away that of a successor.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use ostler_abi::Record;
    /// use ostler_core::{Cache, SampleShare, Tap};
    /// # struct Nobody(u8);
    /// # impl Tap for Nobody {
    /// #     fn share(&self) -> SampleShare {
    /// #         SampleShare::one_in(16)
    /// #     }
    /// #     fn take(&self, _shard: u32, _records: &[Record]) {}
    /// # }
    ///
    /// let cache = Cache::<u32, u32>::builder(10).build()?;
    /// let (mine, another): (Arc<dyn Tap>, Arc<dyn Tap>) = (Arc::new(Nobody(1)), Arc::new(Nobody(2)));
    /// cache.set_tap(Some(Arc::clone(&mine)));
    /// assert!(!cache.clear_tap(&another));
    /// assert!(cache.clear_tap(&mine));
    /// # Ok::<(), ostler_core::BuildError>(())
    /// ```
    pub fn clear_tap(&self, tap: &Arc<dyn Tap>) -> bool {
        let mut current = self.inner.tap_turn.lock();
        let is_it = current
            .as_ref()
            .is_some_and(|set| std::ptr::addr_eq(&raw const **set, &raw const **tap));
        if is_it {
            self.tap_shards(None);
            *current = None;
        }
        is_it
    }

    fn tap_shards(&self, tap: Option<&Arc<dyn Tap>>) {
        for (index, shard) in self.inner.shards.iter().enumerate() {
            let number = u32::try_from(index).unwrap_or(u32::MAX);
            let tapped = tap.map(|tap| Tapped::new(Arc::clone(tap), number));
            let mut after = self.after();
            shard.set_tap(tapped, &mut after);
        }
    }

    /// The residents of one shard whose keys are in `share`, coldest first: to introduce them to a
    /// policy that starts in shadow. Empty where there is no such shard.
    ///
    /// Others may use the cache meanwhile: what is resident all the while is listed once, as it is at some
    /// moment; what comes or goes meanwhile may be listed or not. Set a [tap](Self::set_tap) first, and
    /// nothing is missed. No request is counted. Cost: a lock and a hash of each key for every 256
    /// slots, and a sort of what is listed.
    ///
    /// ```
    /// # let cache = ostler_core::Cache::<u32, u32>::builder(1_000).shards(2).build()?;
    /// use ostler_core::SampleShare;
    ///
    /// for key in 0..1_000 {
    ///     let _ = cache.insert(key, key);
    /// }
    /// let share = SampleShare::one_in(4);
    /// let residents = (0..cache.shards()).flat_map(|shard| cache.sample(shard, share));
    /// assert!(residents.clone().all(|resident| share.includes(resident.key_hash)));
    /// assert!(residents.count().abs_diff(250) < 100);
    /// # Ok::<(), ostler_core::BuildError>(())
    /// ```
    #[must_use]
    pub fn sample(&self, shard: usize, share: SampleShare) -> Vec<Resident> {
        self.inner.shards.get(shard).map_or_else(Vec::new, |shard| shard.sample(share))
    }

    /// How many shards there are. It never changes.
    ///
    /// ```
    /// # let cache = ostler_core::Cache::<u32, u32>::builder(10).shards(3).build()?;
    /// assert_eq!(cache.shards(), 3);
    /// # Ok::<(), ostler_core::BuildError>(())
    /// ```
    #[must_use]
    pub fn shards(&self) -> usize {
        self.inner.shards.len()
    }

    /// What each shard did so far and holds now, by its number. The sum is [`stats`](Self::stats), but
    /// for the listeners' panics, which no shard counts. Cost: each shard's lock once.
    ///
    /// ```
    /// # let cache = ostler_core::Cache::<u32, u32>::builder(10).shards(3).build()?;
    /// let _ = cache.get(&7);
    /// assert_eq!(cache.shard_stats()[cache.shard_of(&7)].misses, 1);
    /// # Ok::<(), ostler_core::BuildError>(())
    /// ```
    #[must_use]
    pub fn shard_stats(&self) -> Vec<Stats> {
        let one = |shard: &crate::live::LiveShard<K, V, S>| {
            let mut stats = Stats::default();
            shard.add_stats(&mut stats);
            stats
        };
        self.inner.shards.iter().map(one).collect()
    }
}
