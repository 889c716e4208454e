//! How often a key was requested lately, in a few bits: the frequency sketch of `TinyLFU`.
//!
//! Idea: a key has one 4-bit counter in each of four rows, chosen by its hash. A request increments
//! all four; the estimate is the smallest, which other keys inflate only where they share all four.
//! After `10 × entries` increments every counter is halved, so the past fades and 15 is enough.
//! Papers: Cormode and Muthukrishnan, "An Improved Data Stream Summary: The Count-Min Sketch", 2005;
//! Einziger, Friedman and Manes, "`TinyLFU`: A Highly Efficient Cache Admission Policy", ACM TOS 2017.
//! The layout is Caffeine's: the four counters of a key lie in one block of 64 bytes, two words (32
//! counters) a row, so that a request touches one or two cache lines instead of four.
//!
//! Parameters: sample [`CountMin::SAMPLE_PER_ENTRY`] × entries, counters to [`CountMin::COUNT_MAX`].
//! Bytes: one 8-byte word an entry, entries rounded up to a power of two (at least 8), so 8 to 16 an
//! entry, and one bit a block. Cost: an estimate reads four words, an increment writes four.
//!
//! Where we differ, and why: halving or doubling the table in one go would make one call among
//! millions take milliseconds, and a guest's calls have a deadline. So both are spread out.
//! - **Halving.** One bit a block says whether the block has taken part in the latest halving. A
//!   block that has not is halved when it is next incremented, read as if halved until then, and a
//!   sweep, one block an increment, halves the rest. The estimates equal those of halving at once.
//! - **Growing.** Blocks are added one an increment up to the new power of two, addressed as in
//!   linear hashing (Litwin 1980). A new block starts as a copy of the block that its keys were
//!   counted in, so no estimate falls; keys that part ways keep the other's counts until halvings
//!   wear them off.

use crate::{Bits, PerSlot};

const ROWS: u32 = 4;
const BLOCK_WORDS: u32 = 8;
const WORDS_MAX: u32 = 1 << 31;
const COUNTER_BITS: u32 = 4;
/// The lowest bit of every counter in a word.
const ODD: u64 = 0x1111_1111_1111_1111;
/// All bits but the highest of every counter: what is left of a word shifted right by one.
const HALVED: u64 = 0x7777_7777_7777_7777;

/// A count-min sketch of 4-bit counters that forgets. See the file's header.
#[derive(Clone, Debug)]
pub struct CountMin {
    words: PerSlot<u64>,
    /// A bit a block: it equals `parity` where the block took part in the latest halving.
    parities: Bits,
    parity: bool,
    blocks: u32,
    /// Blocks there will be once growing has ended: a power of two.
    blocks_target: u32,
    /// The smallest 2^k - 1 that is at least `blocks - 1`.
    mask: u32,
    /// The block the sweep comes to next; `blocks` or above where no sweep is under way.
    hand: u32,
    /// Counters that were odd in the blocks halved in this sweep.
    odd: u64,
    /// Increments that count towards the next halving.
    additions: u64,
    /// Additions at which the counters are halved.
    sample: u64,
}

/// Where a key's counters are.
#[derive(Clone, Copy)]
struct Place {
    block: u32,
    /// Five bits a row: the lowest chooses the word, the others the counter in it.
    probes: u32,
}

impl Place {
    /// Index of the word and shift of the counter in `row`.
    #[inline(always)]
    const fn counter(self, row: u32) -> (u32, u32) {
        let probe = self.probes >> (row * 5);
        (self.block * BLOCK_WORDS + row * 2 + (probe & 1), (probe >> 1 & 15) * COUNTER_BITS)
    }
}

impl CountMin {
    /// The largest estimate: counters have four bits and stop here.
    pub const COUNT_MAX: u32 = 15;

    /// Additions between two halvings, for each entry (the paper's W/C; Caffeine uses 10 too).
    pub const SAMPLE_PER_ENTRY: u64 = 10;

    /// An empty sketch for a cache of `entries` entries (0 counts as 1, and above 2^31 as 2^31).
    #[must_use]
    pub fn new(entries: u32) -> Self {
        let blocks = blocks_for(entries);
        Self {
            words: PerSlot::new(blocks * BLOCK_WORDS),
            parities: Bits::new(blocks),
            parity: false,
            blocks,
            blocks_target: blocks,
            mask: blocks - 1,
            hand: blocks,
            odd: 0,
            additions: 0,
            sample: sample_for(entries),
        }
    }

    /// Makes the sketch fit `entries` entries. Never shrinks, and no estimate falls. O(1): the sample
    /// is the new one at once, the blocks follow one an increment.
    pub fn grow(&mut self, entries: u32) {
        self.blocks_target = self.blocks_target.max(blocks_for(entries));
        self.sample = self.sample.max(sample_for(entries));
    }

    /// How often `hash` was incremented, halvings applied: 0 to
    /// [`COUNT_MAX`](Self::COUNT_MAX), never too low but for saturation, sometimes too high. Reads four counters.
    #[inline]
    #[must_use]
    pub fn estimate(&self, hash: u64) -> u32 {
        let place = self.place(hash);
        let mut least = Self::COUNT_MAX;
        for row in 0..ROWS {
            let (word, shift) = place.counter(row);
            least = least.min(counter(self.words[word], shift));
        }
        least >> u32::from(self.is_stale(place.block))
    }

    /// Counts one request of `hash`: adds 1 to each of its four counters that is below
    /// [`COUNT_MAX`](Self::COUNT_MAX). O(1), also where the counters are halved or the sketch grows.
    #[inline]
    pub fn increment(&mut self, hash: u64) {
        if self.blocks < self.blocks_target {
            self.add_block();
        }
        if self.hand < self.blocks {
            self.sweep_one();
        }
        let place = self.place(hash);
        if self.is_stale(place.block) {
            self.halve_block(place.block);
        }
        let mut added = false;
        for row in 0..ROWS {
            let (index, shift) = place.counter(row);
            let word = &mut self.words[index];
            if counter(*word, shift) < Self::COUNT_MAX {
                *word += 1 << shift;
                added = true;
            }
        }
        self.additions += u64::from(added);
        if self.additions >= self.sample {
            self.start_halving();
        }
    }

    /// The counters of `hash`. Multiplied and folded, so that every bit of the hash has a say and
    /// bits that all keys of a shard share cost nothing.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "the low half chooses the block")]
    fn place(&self, hash: u64) -> Place {
        let mixed = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = mixed ^ (mixed >> 32);
        let block = mixed as u32 & self.mask;
        let block = if block < self.blocks { block } else { block & (self.mask >> 1) };
        Place { block, probes: (mixed >> 44) as u32 }
    }

    #[inline(always)]
    fn is_stale(&self, block: u32) -> bool {
        self.parities.get(block) != self.parity
    }

    /// Halves all counters, as far as estimates tell: marks every block stale and starts the sweep.
    ///
    /// The sweep before has ended: it takes an increment a block, there are at most two blocks for
    /// every eight entries, and a halving leaves at least five additions an entry to go.
    fn start_halving(&mut self) {
        debug_assert!(self.hand >= self.blocks, "the sweep before has ended");
        self.parity = !self.parity;
        self.hand = 0;
        self.odd = 0;
        self.additions /= 2;
    }

    /// Halves the block under the hand if that has not happened, and moves the hand.
    fn sweep_one(&mut self) {
        if self.is_stale(self.hand) {
            self.halve_block(self.hand);
        }
        self.hand += 1;
        if self.hand == self.blocks {
            // Halving an odd counter lost half an increment, four counters make an addition.
            self.additions = self.additions.saturating_sub(self.odd / 8);
        }
    }

    fn halve_block(&mut self, block: u32) {
        for index in block * BLOCK_WORDS..(block + 1) * BLOCK_WORDS {
            let word = self.words[index];
            self.odd += u64::from((word & ODD).count_ones());
            self.words[index] = word >> 1 & HALVED;
        }
        self.mark(block, self.parity);
    }

    /// Adds one block, a copy of the one that counted its keys so far.
    fn add_block(&mut self) {
        let added = self.blocks;
        if added > self.mask {
            self.mask = self.mask * 2 + 1;
        }
        let source = added & (self.mask >> 1);
        self.words.grow((added + 1) * BLOCK_WORDS);
        self.parities.grow(added + 1);
        for offset in 0..BLOCK_WORDS {
            self.words[added * BLOCK_WORDS + offset] = self.words[source * BLOCK_WORDS + offset];
        }
        let parity = self.parities.get(source);
        self.mark(added, parity);
        // A hand at rest stays behind the last block.
        if self.hand == added {
            self.hand += 1;
        }
        self.blocks += 1;
    }

    /// Sets the parity bit of `block`.
    fn mark(&mut self, block: u32, parity: bool) {
        if parity {
            self.parities.set(block);
        } else {
            self.parities.unset(block);
        }
    }
}

/// The counter at `shift` in `word`.
#[inline(always)]
const fn counter(word: u64, shift: u32) -> u32 {
    (word >> shift & 15) as u32
}

/// One word an entry, rounded up to a power of two of whole blocks.
const fn blocks_for(entries: u32) -> u32 {
    let words = if entries > WORDS_MAX { WORDS_MAX } else { entries.next_power_of_two() };
    if words < BLOCK_WORDS { 1 } else { words / BLOCK_WORDS }
}

const fn sample_for(entries: u32) -> u64 {
    let entries = if entries == 0 { 1 } else { entries as u64 };
    entries * CountMin::SAMPLE_PER_ENTRY
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    fn hash(key: u64) -> u64 {
        ostler_abi::hash_u64(key, 5)
    }

    #[test]
    fn sizes_follow_the_entries() {
        let blocks = [0, 1, 8, 9, 100, 1 << 20, u32::MAX].map(blocks_for);
        assert_eq!(blocks, [1, 1, 1, 2, 16, 1 << 17, 1 << 28]);
        assert_eq!([0, 1, 512].map(sample_for), [10, 10, 5_120]);
    }

    #[test]
    fn counts_up_to_fifteen() {
        let mut sketch = CountMin::new(512);
        let mut seen = Vec::new();
        for _ in 0..17 {
            sketch.increment(hash(1));
            seen.push(sketch.estimate(hash(1)));
        }
        assert_eq!(seen, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 15, 15]);
        assert_eq!(sketch.estimate(hash(2)), 0);
        assert_eq!(sketch.additions, 15, "a request that changes no counter is no addition");
    }

    /// Sample 10 × 1: the tenth addition halves. Key 1 had 7, key 2 had 3, in one block of 32
    /// counters a row where they share none, so eight counters are odd and one addition is taken off.
    #[test]
    fn the_sample_halves_every_counter() {
        let mut sketch = CountMin::new(1);
        let (one, two) = (hash(1), hash(2));
        assert_eq!(sketch.place(one).block, sketch.place(two).block);
        for key in [one, one, one, one, one, one, one, two, two] {
            sketch.increment(key);
        }
        assert_eq!((sketch.estimate(one), sketch.estimate(two)), (7, 2));
        sketch.increment(two);
        assert_eq!((sketch.estimate(one), sketch.estimate(two)), (3, 1));
        assert_eq!(sketch.additions, 5);
        sketch.increment(two);
        assert_eq!((sketch.estimate(one), sketch.estimate(two)), (3, 2));
        assert_eq!((sketch.odd, sketch.additions), (8, 5), "5 - 8/8 + 1");
    }

    #[test]
    fn popular_keys_stand_out_from_a_thousand_others() {
        let mut sketch = CountMin::new(1_024);
        for round in 0..8 {
            for key in 0..100 {
                sketch.increment(hash(key));
            }
            for key in 0..1_000 {
                sketch.increment(hash(1_000 * (round + 1) + key));
            }
        }
        // 8,800 increments of 10,240: no halving yet.
        let low = (0..100).filter(|key| sketch.estimate(hash(*key)) < 8).count();
        let high = (1_000..9_000).filter(|key| sketch.estimate(hash(*key)) >= 8).count();
        assert_eq!(low, 0, "an estimate is never too low");
        assert!(high < 400, "{high} of 8,000 keys requested once look popular");
    }

    #[test]
    fn growing_keeps_estimates_and_ends_at_the_power_of_two() {
        let mut sketch = CountMin::new(64);
        for key in 0..30 {
            for _ in 0..=key % 8 {
                sketch.increment(hash(key));
            }
        }
        let before: Vec<u32> = (0..30).map(|key| sketch.estimate(hash(key))).collect();
        sketch.grow(1_000);
        assert_eq!((sketch.blocks, sketch.blocks_target, sketch.sample), (8, 128, 10_000));
        for turn in 0..120 {
            sketch.increment(hash(100));
            assert_eq!(sketch.blocks, 9 + turn);
            let mut pairs = (0..30).map(|key| sketch.estimate(hash(key))).zip(&before);
            assert!(pairs.all(|(now, before)| now >= *before), "{} blocks added", turn + 1);
        }
        sketch.increment(hash(100));
        assert_eq!((sketch.blocks, sketch.mask, sketch.hand), (128, 127, 128));
        sketch.grow(10);
        assert_eq!((sketch.blocks_target, sketch.sample), (128, 10_000), "never shrinks");
    }

    #[test]
    fn a_sweep_and_growth_at_once_halve_every_block_once() {
        let mut sketch = CountMin::new(64);
        for _ in 0..4 {
            for key in 0..40 {
                sketch.increment(hash(key));
            }
        }
        sketch.start_halving();
        let before: Vec<u32> = (0..40).map(|key| sketch.estimate(hash(key))).collect();
        assert!(before.iter().all(|count| *count >= 2), "4 halved: {before:?}");
        sketch.grow(256);
        for turn in 0..40 {
            sketch.increment(hash(100));
            let mut pairs = (0..40).map(|key| sketch.estimate(hash(key))).zip(&before);
            assert!(pairs.all(|(now, before)| now >= *before), "in turn {turn}");
        }
        assert_eq!((sketch.blocks, sketch.hand), (32, 32));
        assert!((0..32).all(|block| !sketch.is_stale(block)));
    }

    /// The sketch with a byte a counter and halving in one go.
    struct Model {
        counters: Vec<[[u8; 32]; 4]>,
        additions: u64,
        sample: u64,
    }

    impl Model {
        fn each(&mut self, place: Place) -> impl Iterator<Item = &mut u8> {
            let rows = self.counters[place.block as usize].iter_mut().enumerate();
            rows.map(move |(row, counters)| {
                let probe = (place.probes >> (row * 5)) as usize % 32;
                &mut counters[(probe % 2) * 16 + probe / 2]
            })
        }

        fn increment(&mut self, place: Place) {
            let mut added = 0;
            for counter in self.each(place).filter(|counter| **counter < 15) {
                *counter += 1;
                added = 1;
            }
            self.additions += added;
            if self.additions < self.sample {
                return;
            }
            let mut odd = 0;
            for counter in self.counters.iter_mut().flatten().flatten() {
                odd += u64::from(*counter % 2);
                *counter /= 2;
            }
            self.additions = self.additions / 2 - odd / 8;
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            rng_seed: RngSeed::Fixed(1),
            failure_persistence: None,
            cases: 64,
            ..ProptestConfig::default()
        })]

        #[test]
        fn halving_piecemeal_equals_halving_at_once(
            entries in 0u32..100,
            keys in prop::collection::vec(0u64..60, 0..4_000),
        ) {
            let mut sketch = CountMin::new(entries);
            let mut model = Model {
                counters: vec![[[0; 32]; 4]; sketch.blocks as usize],
                additions: 0,
                sample: sketch.sample,
            };
            for key in keys {
                let key = hash(key * key);
                sketch.increment(key);
                model.increment(sketch.place(key));
                for other in 0..60 {
                    let place = sketch.place(hash(other));
                    let least = model.each(place).map(|counter| u32::from(*counter)).min();
                    prop_assert_eq!(Some(sketch.estimate(hash(other))), least);
                }
            }
            if sketch.hand >= sketch.blocks {
                prop_assert_eq!(sketch.additions, model.additions);
            }
        }

        #[test]
        fn estimates_are_never_below_the_count_while_it_grows(
            steps in prop::collection::vec((0u64..80, 0u32..50), 0..400),
        ) {
            // A sample of at least 4,000 is not reached: no halving.
            let mut sketch = CountMin::new(400);
            sketch.blocks = 1;
            sketch.blocks_target = 1;
            sketch.mask = 0;
            sketch.hand = 1;
            let mut counts = [0u32; 80];
            for (key, chance) in steps {
                if chance < 3 {
                    sketch.grow(8 << (chance * 3));
                }
                sketch.increment(hash(key));
                counts[usize::try_from(key).unwrap()] += 1;
                for (key, count) in counts.iter().enumerate() {
                    let estimate = sketch.estimate(hash(key as u64));
                    prop_assert!(estimate >= (*count).min(CountMin::COUNT_MAX));
                }
            }
        }
    }
}
