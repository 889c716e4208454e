//! The tap: what happens to a sampled share of the keys, told to whoever runs shadows.
//!
//! It owns which keys are sampled and how records are handed over. It must not know what becomes of them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use ostler_abi::{Kind, Record};

/// Records handed to a tap at once, at most.
const BLOCK_LEN_MAX: usize = 256;

/// The share that is everything.
const WHOLE: u64 = 1 << 32;

/// Marks a departure by which the engine keeps the capacity, within the engine only: a tap does not hear
/// of it, and no policy sees the mark.
pub(crate) const FLAG_NATIVE: u8 = 0x80;

/// A share of the keys, told by their hashes. Shares are nested: a key of one is a key of every greater
/// one. Whether a key is sampled depends on neither its shard nor its place there.
///
/// ```
/// use ostler_core::SampleShare;
///
/// let (few, more) = (SampleShare::one_in(16), SampleShare::of_ratio(0.25));
/// assert!(few < more && more.ratio() == 0.25);
/// let hashes = (0..100_000).map(|number| ostler_abi::hash_u64(number, 7));
/// let sampled: Vec<u64> = hashes.filter(|&hash| few.includes(hash)).collect();
/// assert!(sampled.len().abs_diff(100_000 / 16) < 300);
/// assert!(sampled.iter().all(|&hash| more.includes(hash)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SampleShare {
    /// Keys whose rank is below this are in it, at most 2^32.
    threshold: u64,
}

impl SampleShare {
    /// No key.
    pub const NONE: Self = Self { threshold: 0 };
    /// Every key.
    pub const ALL: Self = Self { threshold: WHOLE };

    /// One key in `n`; 0 stands for none.
    #[must_use]
    pub const fn one_in(n: u32) -> Self {
        if n == 0 { Self::NONE } else { Self { threshold: WHOLE / n as u64 } }
    }

    /// This share of the keys, from 0 to 1; what is beyond counts as the end of that range.
    #[must_use]
    pub fn of_ratio(ratio: f64) -> Self {
        // A cast saturates, and not-a-number is 0.
        Self::of_threshold((ratio * WHOLE as f64) as u64)
    }

    /// The share of a [threshold](Self::threshold); above 2^32 it is every key.
    #[must_use]
    pub const fn of_threshold(threshold: u64) -> Self {
        Self { threshold: if threshold > WHOLE { WHOLE } else { threshold } }
    }

    /// The share in units of 2^-32: a number that goes into an atomic.
    #[must_use]
    pub const fn threshold(self) -> u64 {
        self.threshold
    }

    /// The share as a number from 0 to 1.
    #[must_use]
    pub fn ratio(self) -> f64 {
        self.threshold as f64 / WHOLE as f64
    }

    /// True where the key with this hash is in it. Cost: one multiplication and a comparison.
    #[inline]
    #[must_use]
    pub const fn includes(self, key_hash: u64) -> bool {
        rank(key_hash) < self.threshold
    }
}

/// The upper half of a product with an odd number: given the bits that choose the shard, which are in the
/// lower half of the hash, and those that choose the place in a table, it is uniform as the others are.
/// The salt keeps it apart from other products with that number.
#[inline]
const fn rank(key_hash: u64) -> u64 {
    (key_hash ^ 0x5851_f42d_4c95_7f2d).wrapping_mul(0x9fb2_1c65_1e98_df25) >> 32
}

/// Who hears what happens to a sampled share of a cache's keys: hits, misses (gets that found nothing),
/// inserts, updates, removals and expiries, so that other policies can be tried on the same requests. Set
/// by [`Cache::set_tap`](crate::Cache::set_tap).
///
/// Of one key the order is that of the events, to the batch: a miss comes before the insert that answers
/// it, an insert before its hits. A hit stands for [`count`](Record::count) gets, those that were
/// coalesced among them; an update's count beyond 1 is of gets and further updates that followed it at
/// once. Gets that were coalesced right before an overwrite may be left out.
///
/// Hits and misses that were dropped because the maintainer was too busy are not heard, nor what came and
/// went meanwhile. What the policy in charge or the engine evicts is not heard: whoever listens decides
/// for itself. A newcomer that the policy in charge refuses is an insert like any other.
///
/// The slot of a record is its shard's, and [`NO_SLOT`](ostler_abi::NO_SLOT) for a miss; it may have been
/// another key's before.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use std::sync::mpsc::{SyncSender, sync_channel};
/// use std::sync::Arc;
///
/// use ostler_abi::{Kind, Record};
/// use ostler_core::{Cache, SampleShare, Tap};
///
/// /// Sends blocks to a worker; halves the share where that is too slow.
/// struct Queue {
///     blocks: SyncSender<Vec<Record>>,
///     threshold: AtomicU64,
/// }
///
/// impl Tap for Queue {
///     fn share(&self) -> SampleShare {
///         SampleShare::of_threshold(self.threshold.load(Ordering::Relaxed))
///     }
///
///     fn take(&self, _shard: u32, records: &[Record]) {
///         if self.blocks.try_send(records.to_vec()).is_err() {
///             self.threshold.store(self.share().threshold() / 2, Ordering::Relaxed);
///         }
///     }
/// }
///
/// let (blocks, worker) = sync_channel(64);
/// let cache = Cache::<u32, u32>::builder(100).build()?;
/// let threshold = AtomicU64::new(SampleShare::ALL.threshold());
/// cache.set_tap(Some(Arc::new(Queue { blocks, threshold })));
/// let _ = (cache.get(&1), cache.insert(1, 1), cache.get(&1));
/// cache.set_tap(None);
/// let kinds: Vec<_> = worker.iter().flatten().map(|record| record.kind()).collect();
/// assert_eq!(kinds, [Some(Kind::Miss), Some(Kind::Insert), Some(Kind::Hit)]);
/// # Ok::<(), ostler_core::BuildError>(())
/// ```
pub trait Tap: Send + Sync {
    /// Which keys to hear of. Asked at each maintenance of a shard, so it may change while the cache
    /// serves; a change reaches each shard with its next maintenance.
    fn share(&self) -> SampleShare;

    /// Takes some records of one shard, in order, 256 at most.
    ///
    /// Called by whichever thread maintains the shard, often in the middle of a caller's request, under
    /// the shard's maintenance lock and no other: it must be quick, must not wait and must not call the
    /// cache. A panic is caught, and the block is lost.
    fn take(&self, shard: u32, records: &[Record]);
}

/// A tap and what is on its way to it from one shard. Used under the maintainer's lock.
pub(crate) struct Tapped {
    tap: Arc<dyn Tap>,
    shard: u32,
    block: Vec<Record>,
}

impl Tapped {
    pub(crate) fn new(tap: Arc<dyn Tap>, shard: u32) -> Self {
        Self { tap, shard, block: Vec::with_capacity(BLOCK_LEN_MAX) }
    }

    /// Which keys to note misses of.
    pub(crate) fn share(&self) -> SampleShare {
        catch_unwind(AssertUnwindSafe(|| self.tap.share())).unwrap_or(SampleShare::NONE)
    }

    /// Hands over what the tap is to hear of a batch: what came to the ring, and what came to the log
    /// after it, which is in the order of slots.
    pub(crate) fn hear(&mut self, [noted, logged]: [&[Record]; 2]) {
        let share = self.share();
        if share == SampleShare::NONE {
            return;
        }
        self.hear_those(noted.iter(), share);
        // Whatever left had been heard of before the log began: where its key came back, that was later.
        self.hear_those(logged.iter().filter(|record| is_departure(record)), share);
        self.hear_those(logged.iter().filter(|record| !is_departure(record)), share);
        self.hand_over();
    }

    fn hear_those<'a>(&mut self, records: impl Iterator<Item = &'a Record>, share: SampleShare) {
        for record in records {
            if share.includes(record.key_hash) && is_heard(record) {
                if self.block.len() == BLOCK_LEN_MAX {
                    self.hand_over();
                }
                self.block.push(*record);
            }
        }
    }

    fn hand_over(&mut self) {
        let Self { tap, shard, block } = self;
        if !block.is_empty() {
            // It is nobody's fault in here, and the shard must not be left half maintained.
            let _: Result<(), _> = catch_unwind(AssertUnwindSafe(|| tap.take(*shard, block)));
        }
        block.clear();
    }
}

fn is_departure(record: &Record) -> bool {
    matches!(record.kind(), Some(Kind::Remove | Kind::Expire))
}

fn is_heard(record: &Record) -> bool {
    record.flags & FLAG_NATIVE == 0
        && matches!(
            record.kind(),
            Some(
                Kind::Hit | Kind::Insert | Kind::Update | Kind::Remove | Kind::Expire | Kind::Miss
            )
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hashing::shard_of;

    #[test]
    fn shares_are_exact_at_their_ends_and_saturate() {
        for (share, threshold) in [
            (SampleShare::one_in(0), 0),
            (SampleShare::one_in(1), WHOLE),
            (SampleShare::one_in(16), WHOLE / 16),
            (SampleShare::one_in(u32::MAX), 1),
            (SampleShare::of_ratio(-1.0), 0),
            (SampleShare::of_ratio(f64::NAN), 0),
            (SampleShare::of_ratio(0.5), WHOLE / 2),
            (SampleShare::of_ratio(7.0), WHOLE),
            (SampleShare::of_threshold(u64::MAX), WHOLE),
        ] {
            assert_eq!(share.threshold(), threshold);
        }
        for hash in (0..1000).map(|number| ostler_abi::hash_u64(number, 3)) {
            assert!(SampleShare::ALL.includes(hash) && !SampleShare::NONE.includes(hash));
        }
    }

    /// Keeps what it takes, and whether that was more than a block.
    #[derive(Default)]
    struct Kept(std::sync::Mutex<Vec<Vec<Record>>>);

    impl Tap for Kept {
        fn share(&self) -> SampleShare {
            SampleShare::ALL
        }

        fn take(&self, _shard: u32, records: &[Record]) {
            self.0.lock().unwrap().push(records.to_vec());
        }
    }

    #[test]
    fn departures_of_the_log_come_before_what_stays_and_blocks_are_bounded() {
        let kept = Arc::new(Kept::default());
        let mut tapped = Tapped::new(Arc::clone(&kept) as Arc<dyn Tap>, 0);
        let record = |kind, key_hash| Record { key_hash, ..Record::new(kind, 1) };
        let noted: Vec<Record> = (0..300).map(|key| record(Kind::Hit, key)).collect();
        let native = Record { flags: FLAG_NATIVE, ..record(Kind::Remove, 9) };
        let logged = [
            record(Kind::Insert, 1),
            record(Kind::Remove, 2),
            record(Kind::Slots, 3),
            native,
            record(Kind::Update, 4),
            record(Kind::Expire, 5),
        ];
        tapped.hear([&noted, &logged]);
        let blocks = std::mem::take(&mut *kept.0.lock().unwrap());
        assert_eq!(blocks.iter().map(Vec::len).collect::<Vec<_>>(), [256, 48]);
        let last: Vec<u64> = blocks[1][44..].iter().map(|record| record.key_hash).collect();
        assert_eq!(last, [2, 5, 1, 4]);
    }

    #[test]
    fn a_share_is_the_same_in_every_shard_and_every_part_of_a_table() {
        let share = SampleShare::one_in(8);
        let (mut shards, mut tags, mut buckets) = ([0u32; 16], [0u32; 16], [0u32; 16]);
        for number in 0..160_000 {
            let hash = ostler_abi::hash_u64(number, 5);
            if share.includes(hash) {
                shards[shard_of(hash, 16)] += 1;
                tags[(hash >> 60) as usize] += 1;
                buckets[(hash % 16) as usize] += 1;
            }
        }
        let near = |count: &u32| count.abs_diff(160_000 / 8 / 16) < 150;
        for counts in [shards, tags, buckets] {
            assert!(counts.iter().all(near), "{counts:?}");
        }
    }
}
