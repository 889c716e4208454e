//! The queue between the callers' threads and the worker's: bounded in records, and never waited for.
//!
//! It owns what was heard and not yet read, and the share of the keys that is heard. It has no lock:
//! whoever maintains a shard reserves places in a ring by one exchange, writes, and marks the block as
//! readable. A thread that is stopped meanwhile holds up the reader, never another writer.

use std::sync::OnceLock;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::thread::{self, Thread};
use std::time::Duration;

use ostler_abi::Record;
use ostler_core::{SampleShare, Tap};

/// Fewest places of a ring: the largest block that a tap is given goes in.
const PLACES_MIN: usize = 512;

/// The tap of a cache that is watched.
pub(super) struct Feed {
    threshold: AtomicU64,
    ring: Ring,
    /// Who reads.
    reader: OnceLock<Thread>,
    is_closed: AtomicBool,
    heard: AtomicU64,
    dropped: AtomicU64,
}

/// Blocks in the order in which they came.
#[derive(Default)]
pub(super) struct Queue {
    /// Shard and length of each block.
    blocks: Vec<(u32, usize)>,
    records: Vec<Record>,
}

impl Queue {
    /// Each block with its shard.
    pub(super) fn blocks(&self) -> impl Iterator<Item = (u32, &[Record])> {
        let mut rest = &self.records[..];
        self.blocks.iter().map(move |&(shard, len)| {
            let (block, after) = rest.split_at(len.min(rest.len()));
            rest = after;
            (shard, block)
        })
    }

    fn clear(&mut self) {
        self.blocks.clear();
        self.records.clear();
    }
}

/// One place: a record, or the head of a block.
type Place = [AtomicU64; 4];

/// A number that writers and the reader do not share a cache line for.
#[derive(Default)]
#[repr(align(128))]
struct Apart(AtomicU64);

/// The ring. Positions count places since the start and never wrap; a position's place is its rest by the
/// length.
struct Ring {
    places: Box<[Place]>,
    /// By the place of a block's head: its position and one, once the block is written. What an earlier
    /// round left there is less.
    marks: Box<[AtomicU64]>,
    /// Positions below this are reserved.
    tail: Apart,
    /// Positions below this were read.
    head: Apart,
}

impl Ring {
    fn new(records_max: usize) -> Self {
        let len = records_max.max(PLACES_MIN).next_power_of_two();
        let places = (0..len).map(|_| Place::default());
        let marks = (0..len).map(|_| AtomicU64::new(0));
        Self {
            places: places.collect(),
            marks: marks.collect(),
            tail: Apart::default(),
            head: Apart::default(),
        }
    }

    fn len(&self) -> u64 {
        self.places.len() as u64
    }

    #[inline]
    fn place(&self, position: u64) -> usize {
        // The length is a power of two.
        position as usize & (self.places.len() - 1)
    }

    /// Places that are reserved and not read.
    fn waiting(&self) -> u64 {
        self.tail.0.load(Relaxed).saturating_sub(self.head.0.load(Relaxed))
    }

    /// Writes a block; how many places were taken before it, none where there is no room for it.
    fn write(&self, shard: u32, records: &[Record]) -> Option<u64> {
        let count = records.len() as u64 + 1;
        let mut tail = self.tail.0.load(Relaxed);
        let taken = loop {
            // What was read from the places was read before this: the reader moves the head by a release.
            let taken = tail.saturating_sub(self.head.0.load(Acquire));
            if taken + count > self.len() {
                return None;
            }
            match self.tail.0.compare_exchange_weak(tail, tail + count, Relaxed, Relaxed) {
                Ok(_) => break taken,
                Err(now) => tail = now,
            }
        };
        let [shard_and_len, ..] = &self.places[self.place(tail)];
        shard_and_len.store(u64::from(shard) | (records.len() as u64) << 32, Relaxed);
        for (position, record) in (tail + 1..).zip(records) {
            for (word, value) in self.places[self.place(position)].iter().zip(words(record)) {
                word.store(value, Relaxed);
            }
        }
        self.marks[self.place(tail)].store(tail + 1, Release);
        Some(taken)
    }

    /// Moves the next block into `taken`; false where none is ready. For one reader.
    fn read(&self, taken: &mut Queue) -> bool {
        let head = self.head.0.load(Relaxed);
        if self.marks[self.place(head)].load(Acquire) != head + 1 {
            return false;
        }
        let shard_and_len = self.places[self.place(head)][0].load(Relaxed);
        let count = shard_and_len >> 32;
        taken.blocks.push((shard_and_len as u32, count as usize));
        let records = (head + 1..=head + count).map(|position| {
            let place = &self.places[self.place(position)];
            record(std::array::from_fn(|word| place[word].load(Relaxed)))
        });
        taken.records.extend(records);
        self.head.0.store(head + 1 + count, Release);
        true
    }
}

#[inline]
fn words(record: &Record) -> [u64; 4] {
    let Record { key_hash, time_ms, slot, weight, cost_us, count, class, kind, flags } = *record;
    let small = u32::from_le_bytes([count, class, kind, flags]);
    let pair = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
    [key_hash, time_ms, pair(slot, weight), pair(cost_us, small)]
}

#[inline]
fn record([key_hash, time_ms, slots, costs]: [u64; 4]) -> Record {
    let [count, class, kind, flags] = ((costs >> 32) as u32).to_le_bytes();
    let (slot, weight, cost_us) = (slots as u32, (slots >> 32) as u32, costs as u32);
    Record { key_hash, time_ms, slot, weight, cost_us, count, class, kind, flags }
}

impl Feed {
    /// A feed that hears of `share` of the keys and keeps about so many records at most.
    pub(super) fn new(share: SampleShare, records_max: usize) -> Self {
        Self {
            threshold: AtomicU64::new(share.threshold()),
            ring: Ring::new(records_max),
            reader: OnceLock::new(),
            is_closed: AtomicBool::new(false),
            heard: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        }
    }

    /// Changes the share that is heard.
    pub(super) fn set_share(&self, share: SampleShare) {
        self.threshold.store(share.threshold(), Relaxed);
    }

    /// Records heard so far, those that were dropped not among them.
    pub(super) fn heard(&self) -> u64 {
        self.heard.load(Relaxed)
    }

    /// Records dropped so far because the queue was full.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    /// Takes everything that has come into `taken`, whose old contents go; waits for as long as
    /// `patience_max` until much has come. False once the feed is closed. For one thread.
    pub(super) fn drain(&self, taken: &mut Queue, patience_max: Duration) -> bool {
        taken.clear();
        self.reader.get_or_init(thread::current);
        if self.ring.waiting() < self.much() && !self.is_closed.load(SeqCst) {
            thread::park_timeout(patience_max);
        }
        let is_open = !self.is_closed.load(SeqCst);
        // Writers may be as quick as this: it ends after one round.
        let end = self.ring.head.0.load(Relaxed) + self.ring.len();
        while self.ring.head.0.load(Relaxed) < end && self.ring.read(taken) {}
        is_open
    }

    /// Ends the wait of whoever drains.
    pub(super) fn close(&self) {
        self.is_closed.store(true, SeqCst);
        self.wake();
    }

    fn wake(&self) {
        if let Some(reader) = self.reader.get() {
            reader.unpark();
        }
    }

    /// Places for which it is worth waking the reader.
    fn much(&self) -> u64 {
        self.ring.len() / 8
    }
}

impl Tap for Feed {
    fn share(&self) -> SampleShare {
        SampleShare::of_threshold(self.threshold.load(Relaxed))
    }

    fn take(&self, shard: u32, records: &[Record]) {
        let count = records.len() as u64;
        let Some(before) = self.ring.write(shard, records) else {
            self.dropped.fetch_add(count, Relaxed);
            return;
        };
        self.heard.fetch_add(count, Relaxed);
        if before < self.much() && before + count + 1 >= self.much() {
            self.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ostler_abi::Kind;

    fn block(key_hash: u64, count: usize) -> Vec<Record> {
        vec![Record { key_hash, ..Record::new(Kind::Hit, 0) }; count]
    }

    fn drained(feed: &Feed) -> Vec<(u32, u64, usize)> {
        let mut queue = Queue::default();
        feed.drain(&mut queue, Duration::ZERO);
        queue.blocks().map(|(shard, block)| (shard, block[0].key_hash, block.len())).collect()
    }

    #[test]
    fn it_keeps_order_and_bound_and_counts_what_is_dropped() {
        // 512 places; every block takes one more than it has records.
        let feed = Feed::new(SampleShare::ALL, 5);
        feed.take(3, &block(1, 250));
        feed.take(0, &block(2, 256));
        feed.take(1, &block(3, 4));
        assert_eq!((feed.heard(), feed.dropped()), (506, 4));
        feed.take(1, &block(4, 3));
        assert_eq!(drained(&feed), [(3, 1, 250), (0, 2, 256), (1, 4, 3)]);
        feed.take(1, &block(5, 5));
        feed.close();
        let mut queue = Queue::default();
        assert!(!feed.drain(&mut queue, Duration::from_secs(60)), "it is over, and nobody waits");
        assert_eq!(queue.blocks().count(), 1, "what was there before is gone");
    }

    #[test]
    fn a_record_comes_out_as_it_went_in() {
        let feed = Feed::new(SampleShare::ALL, 0);
        for number in 0..1_000_u64 {
            let bits = ostler_abi::hash_u64(number, 1);
            let [count, class, kind, flags, ..] = bits.to_le_bytes();
            let (slot, weight) = (bits as u32, (bits >> 32) as u32);
            let record = Record {
                key_hash: bits,
                time_ms: !bits,
                slot,
                weight,
                cost_us: !slot,
                count,
                class,
                kind,
                flags,
            };
            feed.take(u32::MAX, &[record]);
            let mut queue = Queue::default();
            feed.drain(&mut queue, Duration::ZERO);
            assert_eq!(queue.blocks().collect::<Vec<_>>(), [(u32::MAX, &[record][..])]);
        }
    }

    /// Writers and the reader at once: of each writer everything comes that was not dropped, in order.
    #[test]
    fn many_write_while_one_reads() {
        const BLOCKS: u64 = 20_000;
        let feed = Feed::new(SampleShare::ALL, 1 << 10);
        let mut last = [0_u64; 3];
        let mut read = 0;
        thread::scope(|scope| {
            for shard in 0..3_u32 {
                let feed = &feed;
                scope.spawn(move || {
                    for number in 1..=BLOCKS {
                        feed.take(shard, &block(number, 1 + (number % 7) as usize));
                    }
                });
            }
            let mut queue = Queue::default();
            let ends = |feed: &Feed| feed.heard() + feed.dropped() == 3 * total(BLOCKS);
            loop {
                let is_last = ends(&feed);
                feed.drain(&mut queue, Duration::ZERO);
                for (shard, block) in queue.blocks() {
                    let number = block[0].key_hash;
                    assert!(number > last[shard as usize], "in order");
                    assert_eq!(block.len() as u64, 1 + number % 7);
                    assert!(block.iter().all(|record| record.key_hash == number));
                    last[shard as usize] = number;
                    read += block.len() as u64;
                }
                if is_last && queue.blocks().next().is_none() {
                    break;
                }
            }
        });
        assert_eq!(read, feed.heard());
        assert!(read > 0);
    }

    fn total(blocks: u64) -> u64 {
        (1..=blocks).map(|number| 1 + number % 7).sum()
    }

    #[test]
    fn its_share_is_what_the_cache_is_asked_for() {
        let feed = Feed::new(SampleShare::one_in(16), 5);
        assert_eq!(feed.share(), SampleShare::one_in(16));
        feed.set_share(SampleShare::one_in(32));
        assert_eq!(feed.share(), SampleShare::one_in(32));
    }
}
