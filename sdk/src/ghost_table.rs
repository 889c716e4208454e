//! Ghosts without a queue: a table of fingerprints and coarse times, 6 bytes for every slot.
//!
//! Idea: a ghost is one word, the time it came in and some bits of its key's hash, in one of the 16
//! places of the bucket that its hash chooses. Time is counted in generations: whenever the newest
//! has taken up a 256th of the weight allowed, the next begins. The table knows what the living
//! ghosts of each generation weigh, so when all together weigh too much it disowns the oldest
//! generation: its ghosts stay where they are, and a place whose word is too old is free. There are
//! no links and nothing has to be unlinked. A bucket without a free place gives up its oldest.
//! Paper: J. Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023, in its
//! section on implementation: a table of buckets with fingerprints and times, whose entries go when
//! their place is needed. The paper's time counts ghosts; ours follows their weight, and what is
//! taken out makes room again, as in a queue.
//!
//! Bytes: 6 a slot (4 a place, 3 places for 2 slots), rounded up to chunks of 16 KiB, and 8 KiB for
//! the generations. A chunk is made when its first ghost comes, so a cache that has evicted nothing
//! holds none. Cost: one cache line for a look-up, one for a new ghost.
//!
//! How it differs from an exact queue ([`Ghosts`](crate::Ghosts), 24 bytes a ghost):
//! - Ghosts leave by generations. Where at most 256 units of weight are remembered, a generation is
//!   a ghost and the order is exact; above, up to 1/256 of the weight leaves early.
//! - A full bucket loses its oldest ghost. With both, of ghosts all of weight 1, four in a thousand
//!   are missing where there may be nine for ten slots, eleven where there may be as many as slots.
//!   Where many light ghosts weigh as little as few heavy residents, the places bound their number:
//!   three for two slots.
//! - At most 768 generations live, so where nearly all ghosts are taken and the others stay, those
//!   leave when at least three times the weight allowed has come in.
//! - 30 bits of a hash tell keys apart: an absent key finds a stranger's ghost with probability
//!   ghosts / 2^30, 1 in 1,074 at a million.
//!
//! A bucket holds a range of hashes, not a residue, so hashes keep their order when buckets are
//! added: a ghost moves up or stays. Buckets are moved one a look-up, from the last down, while both
//! arrangements are in use; no call pays for all of them.

use alloc::boxed::Box;
use alloc::vec::Vec;

/// Places in a bucket: 64 bytes, a cache line.
const PLACES: usize = 16;
/// Bits of a hash that choose its bucket and, with it, tell it from others.
const HASH_BITS: u32 = 30;
/// Of these, the lowest are kept in a place; the bucket implies the rest.
const TAG_BITS: u32 = 22;
const TAG_MASK: u32 = (1 << TAG_BITS) - 1;
/// One generation more, in a word.
const TICK: u32 = 1 << TAG_BITS;
/// Generations that the bits above the tag can tell apart.
const STAMPS: usize = 1 << (u32::BITS - TAG_BITS);
/// Generations that the weight allowed is dealt out to.
const GENERATIONS: u64 = 256;
/// Generations that live at most: more than [`GENERATIONS`], since taken ghosts leave them thin.
const WINDOW_MAX: u32 = 768;
/// Generations in which a sweep comes by every bucket.
const SWEEP_GENERATIONS: u32 = 127;
/// Buckets are added by chunks of 16 KiB.
const CHUNK_BUCKETS: usize = 256;

/// The range of one bucket is never wider than the tags, so tag and bucket give the hash.
const _: () = assert!((CHUNK_BUCKETS as u64) << TAG_BITS >= 1 << HASH_BITS);
/// A dead place is swept before its age wraps: a new bucket waits for the sweep's next turn.
const _: () = assert!(WINDOW_MAX + 2 * SWEEP_GENERATIONS < STAMPS as u32);

/// Words of ghosts, in no order: the stamp of the generation above the tag.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
struct Bucket([u32; PLACES]);

/// Buckets by number, in chunks; one that is not there yet has free places only.
#[derive(Clone, Debug, Default)]
struct Buckets(Vec<Option<Box<[Bucket; CHUNK_BUCKETS]>>>);

impl Buckets {
    /// Room for `count` buckets. O(new chunks), and as many pointers copied as there were.
    fn grow(&mut self, count: u32) {
        let chunks = count as usize / CHUNK_BUCKETS;
        self.0.reserve_exact(chunks.saturating_sub(self.0.len()));
        self.0.resize_with(chunks, || None);
    }

    #[inline(always)]
    fn get(&self, bucket: u32) -> Option<&Bucket> {
        let chunk = self.0[bucket as usize / CHUNK_BUCKETS].as_ref()?;
        Some(&chunk[bucket as usize % CHUNK_BUCKETS])
    }

    #[inline(always)]
    fn get_mut(&mut self, bucket: u32) -> Option<&mut Bucket> {
        let chunk = self.0[bucket as usize / CHUNK_BUCKETS].as_mut()?;
        Some(&mut chunk[bucket as usize % CHUNK_BUCKETS])
    }

    /// The bucket, made with its chunk where it is not there: `free` is what its places hold then.
    #[inline(always)]
    fn made(&mut self, bucket: u32, free: u32) -> &mut Bucket {
        let chunk = &mut self.0[bucket as usize / CHUNK_BUCKETS];
        let chunk = chunk.get_or_insert_with(|| new_chunk(free));
        &mut chunk[bucket as usize % CHUNK_BUCKETS]
    }
}

/// A chunk of buckets whose places hold `free`, made on the heap: a guest's stack is short.
#[cold]
fn new_chunk(free: u32) -> Box<[Bucket; CHUNK_BUCKETS]> {
    let buckets = alloc::vec![Bucket([free; PLACES]); CHUNK_BUCKETS].into_boxed_slice();
    let Ok(chunk) = buckets.try_into() else {
        unreachable!("a slice of CHUNK_BUCKETS buckets is a chunk")
    };
    chunk
}

/// An approximately FIFO set of key hashes, bounded by weight. See the file's header.
#[derive(Clone, Debug)]
pub struct GhostTable {
    buckets: Buckets,
    bucket_count: u32,
    /// The number of buckets before the latest growth.
    bucket_count_before: u32,
    /// Ghosts whose bucket in the arrangement before is below this one are still there.
    unmoved: u32,
    /// The newest generation's stamp above a tag of ones: less a ghost's word, it is the age.
    clock: u32,
    /// Age of the oldest living generation, in generations.
    window: u32,
    /// What the living ghosts of each generation weigh, by its stamp; 0 outside the window.
    weights: Box<[u64; STAMPS]>,
    weight: u64,
    weight_max: u64,
    /// What a generation weighs when the next begins.
    generation_weight: u64,
    /// The bucket that the sweep comes to next, and where its turn ends.
    hand: u32,
    hand_end: u32,
}

impl GhostTable {
    /// No ghosts, and from now on ghosts that weigh at most `weight_max` together, for a cache of
    /// `slots` slots. With 0 slots or a weight of 0 nothing is remembered.
    #[must_use]
    pub fn new(slots: u32, weight_max: u64) -> Self {
        let mut table = Self {
            buckets: Buckets::default(),
            bucket_count: 0,
            bucket_count_before: 0,
            unmoved: 0,
            clock: TAG_MASK,
            window: 0,
            weights: no_weights(),
            weight: 0,
            weight_max,
            generation_weight: generation_weight(weight_max),
            hand: 0,
            hand_end: 0,
        };
        table.grow(slots);
        table
    }

    /// Makes room for the ghosts of `slots` slots. Never shrinks, and nothing is forgotten but what
    /// a full bucket gives up. O(chunks), and the growth before is brought to its end.
    pub fn grow(&mut self, slots: u32) {
        let bucket_count = buckets_for(slots);
        if bucket_count <= self.bucket_count {
            return;
        }
        while self.unmoved > 0 {
            self.move_bucket();
        }
        self.buckets.grow(bucket_count);
        self.bucket_count_before = self.bucket_count;
        self.unmoved = if self.weight == 0 { 0 } else { self.bucket_count };
        self.bucket_count = bucket_count;
        if self.hand_end == 0 {
            self.hand_end = bucket_count;
        }
    }

    /// Lets the ghosts weigh at most `weight_max` from now on, forgetting the oldest above that.
    /// O(generations).
    pub fn resize(&mut self, weight_max: u64) {
        self.weight_max = weight_max;
        self.generation_weight = generation_weight(weight_max);
        if self.weights[self.stamp(0)] > weight_max {
            self.begin_generation();
        }
        self.trim();
    }

    /// Remembers `hash`, which is not remembered, with `weight` (at least 1, and at most all that
    /// may be) as the newest ghost, and forgets the oldest above the weight allowed. O(1).
    #[inline]
    pub fn push(&mut self, hash: u32, weight: u32) {
        if self.weight_max == 0 || self.bucket_count == 0 {
            return;
        }
        let weight = self.counted(weight);
        let newest = self.weights[self.stamp(0)];
        if newest >= self.generation_weight || newest + weight > self.weight_max {
            self.begin_generation();
        }
        let hash = remixed(hash);
        let bucket = self.bucket_of(hash);
        self.put(bucket, self.clock & !TAG_MASK | hash & TAG_MASK);
        self.weights[self.stamp(0)] += weight;
        self.weight += weight;
        self.trim();
    }

    /// Forgets `hash`, whose entry is back with `weight`; false where it was not remembered. O(1).
    ///
    /// The weight is what the ghosts weigh less from now on. A ghost does not know its own, so an
    /// entry that has changed its weight meanwhile makes the sum inexact until its generation goes.
    #[inline]
    pub fn take(&mut self, hash: u32, weight: u32) -> bool {
        if self.unmoved > 0 {
            self.move_bucket();
        }
        if self.weight == 0 {
            return false;
        }
        let hash = remixed(hash);
        let bucket = self.bucket_of(hash);
        let (clock, window, dead) = (self.clock, self.window, self.dead_word());
        let Some(Bucket(places)) = self.buckets.get_mut(bucket) else {
            return false;
        };
        for word in places {
            let age = age(clock, *word);
            if (*word ^ hash) & TAG_MASK == 0 && age <= window {
                *word = dead;
                self.take_weight(age, weight);
                return true;
            }
        }
        false
    }

    /// True where `hash` is remembered. O(1).
    #[must_use]
    pub fn contains(&self, hash: u32) -> bool {
        if self.bucket_count == 0 {
            return false;
        }
        let hash = remixed(hash);
        let is_it =
            |word: &u32| (word ^ hash) & TAG_MASK == 0 && age(self.clock, *word) <= self.window;
        let bucket = self.buckets.get(self.bucket_of(hash));
        bucket.is_some_and(|Bucket(places)| places.iter().any(is_it))
    }

    /// Sum of the ghosts' weights, those counted that full buckets gave up.
    #[inline]
    #[must_use]
    pub const fn weight(&self) -> u64 {
        self.weight
    }

    /// Asserts that the weights add up and that no place is near to looking newer than it is. For
    /// tests; O(slots).
    ///
    /// # Panics
    ///
    /// Where an invariant of the table is broken.
    pub fn validate(&self) {
        assert!(self.weight <= self.weight_max, "the weight is bounded");
        assert!(self.window < WINDOW_MAX, "the window is bounded");
        let living: u64 = (0..=self.window).map(|age| self.weights[self.stamp(age)]).sum();
        assert_eq!(living, self.weight, "the weight is that of the living generations");
        assert_eq!(self.weights.iter().sum::<u64>(), self.weight, "the others weigh nothing");
        let age_max = (0..self.bucket_count)
            .filter_map(|bucket| self.buckets.get(bucket))
            .flat_map(|Bucket(places)| *places)
            .map(|word| age(self.clock, word))
            .max();
        assert!(age_max <= Some(WINDOW_MAX + 2 * SWEEP_GENERATIONS), "the sweep keeps up");
    }

    /// The bucket of a remixed hash: its rank among all hashes, scaled to the buckets.
    #[inline(always)]
    fn bucket_of(&self, hash: u32) -> u32 {
        if self.unmoved > 0 {
            let bucket = scaled(hash, self.bucket_count_before);
            if bucket < self.unmoved {
                return bucket;
            }
        }
        scaled(hash, self.bucket_count)
    }

    /// Index of the weight of the generation of `age`.
    #[inline(always)]
    fn stamp(&self, age: u32) -> usize {
        ((self.clock >> TAG_BITS).wrapping_sub(age)) as usize % STAMPS
    }

    /// What a free place holds: no living ghost is as old.
    #[inline(always)]
    fn dead_word(&self) -> u32 {
        self.clock.wrapping_sub(WINDOW_MAX * TICK)
    }

    /// What a ghost of `weight` counts. One heavier than all may be stands for itself alone.
    #[inline(always)]
    fn counted(&self, weight: u32) -> u64 {
        u64::from(weight.max(1)).min(self.weight_max)
    }

    /// Puts `word` into a free place of `bucket`, else into that of its oldest ghost, unless the word
    /// is older.
    #[inline]
    fn put(&mut self, bucket: u32, word: u32) {
        let (clock, window, dead) = (self.clock, self.window, self.dead_word());
        let Bucket(places) = self.buckets.made(bucket, dead);
        let (mut oldest, mut age_max) = (None, age(clock, word));
        for place in places.iter_mut() {
            let age = age(clock, *place);
            if age > window {
                *place = word;
                return;
            }
            if age >= age_max {
                (oldest, age_max) = (Some(place), age);
            }
        }
        if let Some(place) = oldest {
            *place = word;
        }
    }

    /// The ghosts of the generation of `age` weigh `weight` less.
    #[inline]
    fn take_weight(&mut self, age: u32, weight: u32) {
        let stamp = self.stamp(age);
        let weight = self.counted(weight).min(self.weights[stamp]);
        self.weights[stamp] -= weight;
        self.weight -= weight;
    }

    /// Starts the next generation and lets the sweep go on.
    #[cold]
    fn begin_generation(&mut self) {
        self.clock = self.clock.wrapping_add(TICK);
        self.window += 1;
        if self.window == WINDOW_MAX {
            self.end_generation();
        }
        for _ in 0..self.hand_end.div_ceil(SWEEP_GENERATIONS) {
            self.sweep_bucket();
        }
    }

    /// Disowns the oldest generation.
    fn end_generation(&mut self) {
        let oldest = self.stamp(self.window);
        self.weight -= core::mem::take(&mut self.weights[oldest]);
        self.window -= 1;
    }

    /// Disowns the oldest generations until the ghosts weigh what they may, and those that were taken
    /// whole.
    #[inline]
    fn trim(&mut self) {
        while self.window > 0
            && (self.weight > self.weight_max || self.weights[self.stamp(self.window)] == 0)
        {
            self.end_generation();
        }
    }

    /// Frees the places of the ghosts that died in the bucket under the hand, before their stamps
    /// come round. The turn ends where it ended at its start, so that it lasts no longer than it may.
    fn sweep_bucket(&mut self) {
        let (clock, window, dead) = (self.clock, self.window, self.dead_word());
        let places = self.buckets.get_mut(self.hand).map(|Bucket(places)| places);
        for word in places.into_iter().flatten() {
            if age(clock, *word) > window {
                *word = dead;
            }
        }
        self.hand += 1;
        if self.hand == self.hand_end {
            self.hand = 0;
            self.hand_end = self.bucket_count;
        }
    }

    /// Moves the ghosts of the last bucket that has not been moved to where they belong now. All
    /// buckets above have been moved, and none belongs below.
    #[cold]
    fn move_bucket(&mut self) {
        self.unmoved -= 1;
        let from = self.unmoved;
        let dead = Bucket([self.dead_word(); PLACES]);
        let Some(bucket) = self.buckets.get_mut(from) else {
            return;
        };
        let moved = core::mem::replace(bucket, dead);
        // The least hash that belonged here: above it, tags are unique within the range.
        let least = first_of(from, self.bucket_count_before);
        for word in moved.0 {
            if age(self.clock, word) <= self.window {
                let hash = least + (word.wrapping_sub(least) & TAG_MASK);
                self.put(scaled(hash, self.bucket_count), word);
            }
        }
    }
}

/// Generations since `word` came in, where no more than [`STAMPS`] have passed.
#[inline(always)]
const fn age(clock: u32, word: u32) -> u32 {
    clock.wrapping_sub(word) >> TAG_BITS
}

/// The place of a hash in the order of all: the buckets are ranges, so the high bits must be mixed.
#[inline(always)]
const fn remixed(hash: u32) -> u32 {
    hash.wrapping_mul(0x9e37_79b1) >> (u32::BITS - HASH_BITS)
}

/// The bucket of `hash` among `buckets`. Monotone in both.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "less than `buckets`")]
const fn scaled(hash: u32, buckets: u32) -> u32 {
    ((hash as u64 * buckets as u64) >> HASH_BITS) as u32
}

/// The least hash in `bucket` of `buckets`.
#[expect(clippy::cast_possible_truncation, reason = "less than 2^HASH_BITS")]
const fn first_of(bucket: u32, buckets: u32) -> u32 {
    ((bucket as u64) << HASH_BITS).div_ceil(buckets as u64) as u32
}

/// Buckets for `slots` slots: three places for every two, in whole chunks.
#[expect(clippy::cast_possible_truncation, reason = "less than a tenth of the slots")]
const fn buckets_for(slots: u32) -> u32 {
    let places = slots as u64 * 3 / 2;
    let chunks = places.div_ceil((PLACES * CHUNK_BUCKETS) as u64);
    (chunks * CHUNK_BUCKETS as u64) as u32
}

/// A weight of 0 for every stamp, made on the heap: a guest's stack is short.
fn no_weights() -> Box<[u64; STAMPS]> {
    let Ok(weights) = alloc::vec![0; STAMPS].into_boxed_slice().try_into() else {
        unreachable!("a slice of STAMPS values is an array of them")
    };
    weights
}

/// What a generation weighs at least, so that no more than [`GENERATIONS`] are needed.
const fn generation_weight(weight_max: u64) -> u64 {
    if weight_max < GENERATIONS { 1 } else { weight_max.div_ceil(GENERATIONS) }
}

#[cfg(test)]
mod tests;
