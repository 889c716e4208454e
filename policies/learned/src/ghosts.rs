//! What is kept of keys that left: 8 bytes each, in buckets of a cache line.
//!
//! A ghost is a tag of its key's hash, the coarse time of its last access and the packed history. A
//! bucket that is full gives up the ghost not used for longest. When slots are added, the buckets
//! are dealt out anew and older ghosts are not found any more, until their places are needed: that
//! happens while a cache fills, when few have left, and costs no time.

use ostler_features::EntryHistory;
use ostler_policy::PerSlot;

/// Ghosts in a bucket: 64 bytes.
const PLACES: usize = 8;
const CHUNK_BUCKETS: usize = 256;

/// From the lowest bit: 32 of history, 16 of time, 16 of tag. A tag is never 0, so 0 is a free place.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
struct Bucket([u64; PLACES]);

/// The histories of keys that left.
#[derive(Clone, Debug)]
pub(crate) struct Ghosts {
    buckets: PerSlot<Bucket, CHUNK_BUCKETS>,
    count: u32,
    per_slot: u32,
    /// A unit of the coarse time is 2^shift requests: a 64th of the slots or less.
    shift: u32,
}

impl Ghosts {
    pub(crate) fn new(slots: u32, per_slot: u32) -> Self {
        let mut ghosts = Self { buckets: PerSlot::new(0), count: 0, per_slot, shift: 0 };
        ghosts.grow(slots);
        ghosts
    }

    pub(crate) fn grow(&mut self, slots: u32) {
        let places = u64::from(slots) * u64::from(self.per_slot);
        let count = u32::try_from(places.div_ceil(PLACES as u64)).unwrap_or(u32::MAX);
        if count > self.count {
            self.count = count;
            self.shift = (slots / 64).max(1).ilog2();
            self.buckets.grow(count);
        }
    }

    /// Remembers a key that left.
    #[inline]
    pub(crate) fn push(&mut self, hash: u32, history: &EntryHistory, now: u32) {
        if self.count == 0 {
            return;
        }
        let time = history.last() >> self.shift;
        let word = u64::from(tag(hash)) << 48
            | u64::from(time & 0xffff) << 32
            | u64::from(history.packed());
        let now = now >> self.shift;
        let bucket = &mut self.buckets[bucket_of(hash, self.count)];
        let (mut place, mut oldest) = (0, 0);
        for (index, &old) in bucket.0.iter().enumerate() {
            let age = if old == 0 { u32::MAX } else { age(old, now) };
            if age >= oldest {
                (place, oldest) = (index, age);
            }
        }
        bucket.0[place] = word;
    }

    /// Takes what is known of a key out.
    #[inline]
    pub(crate) fn take(&mut self, hash: u32, now: u32) -> Option<EntryHistory> {
        if self.count == 0 {
            return None;
        }
        let bucket = &mut self.buckets[bucket_of(hash, self.count)];
        let wanted = u64::from(tag(hash));
        let place = bucket.0.iter().position(|word| word >> 48 == wanted)?;
        let word = core::mem::take(&mut bucket.0[place]);
        let age = age(word, now >> self.shift) << self.shift;
        Some(EntryHistory::unpacked(word as u32, now.wrapping_sub(age.max(1))))
    }
}

/// Coarse age of a ghost, modulo 2^16 units.
#[inline(always)]
fn age(word: u64, now: u32) -> u32 {
    now.wrapping_sub((word >> 32) as u32) & 0xffff
}

#[inline(always)]
fn bucket_of(hash: u32, count: u32) -> u32 {
    ((u64::from(hash) * u64::from(count)) >> 32) as u32
}

#[inline(always)]
fn tag(hash: u32) -> u32 {
    (hash & 0xffff).max(1)
}
