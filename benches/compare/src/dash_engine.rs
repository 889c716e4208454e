//! The rejected alternative to shards of our own: the same engine around a `DashMap`.
//!
//! The resident index is `DashMap<K, Node>`; a node holds the value, the slot and the atomic word {tick of
//! the last access, accesses since they were last told}. All else is done as the live cache does it: keys
//! are dealt to sides, as many as the map has shards, each with a policy of its own; a hit is noted once a
//! tick in a bounded ring, one maintainer at a time hands a batch over, victims are checked against a
//! view, and an insert reserves its room before the entry comes in.
//!
//! What follows from the map: the policy names slots, so each side keeps a second copy of every key to
//! find the victim by; a victim is looked up again by that key; notes need a lock beside the map's; what a
//! shard of ours counts under its lock is counted atomically.
//! Where the two designs could not be given the same work, the map is favoured: nothing here expires,
//! weighs or listens, there is no fallback, and coalesced hits are told late.
//! Only the comparison uses this; it must not grow into a second cache.
//!
//! Locks, in the order in which they are taken: a maintainer's, a shard of the map, a side's desk.

use std::hash::BuildHasher;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::time::Instant;

use anyhow::{Context, Result};
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use ostler_abi::{Kind, Record, Setup};
use ostler_core::PolicyInstance;
use parking_lot::Mutex;

use crate::contender::{Account, Bytes, Contender, Family, Heard, Key, SharedHasher};
use crate::roster::{Row, SHARED_HASHER, Standing};

/// The name of the row.
pub const ON_DASHMAP: &str = "ostler-on-dashmap";

/// The policy in every seat.
const POLICY: &str = "s3fifo";
/// Shards a core, shards at most and entries a shard at least: as the live cache chooses them.
const SHARDS_PER_CORE: usize = 4;
const SHARDS_MAX: usize = 64;
const SHARD_ENTRIES_MIN: usize = 4_096;
/// The fewest shards that a `DashMap` can have.
const SHARDS_MIN: usize = 2;
/// Records that a side keeps until somebody hands them over.
const NOTES_LEN_MAX: usize = 256;
/// What may come on top of the capacity, as a share of it.
const SLACK_SHARE: u64 = 64;
/// A tick without writes lasts for as many notes as there are residents, divided by this.
const QUIET_SHARE: u64 = 8;
/// Bits of a word below the tick: accesses that are still to be told.
const TICK_SHIFT: u32 = 8;
const UNTOLD_MAX: u32 = (1 << TICK_SHIFT) - 1;
const TICKS: u32 = 1 << (32 - TICK_SHIFT);

/// What the map holds under a key.
struct Node {
    value: Bytes,
    word: AtomicU32,
    /// Slot × sides + side.
    place: u32,
}

/// The policy's side of a share of the keys. Aligned so that no two share a line of the processor's cache.
#[repr(align(128))]
struct Side<K> {
    tick: AtomicU32,
    /// Entries resident or about to be.
    used: AtomicU64,
    capacity: u64,
    /// Reads that found their key, and that did not, as the live cache counts them.
    hits: AtomicU64,
    misses: AtomicU64,
    /// Hits that the policy is not told of.
    dropped: AtomicU64,
    /// The policy broke its contract. Nobody evicts then, and newcomers are turned away.
    broken: AtomicBool,
    desk: Mutex<Desk<K>>,
    maintainer: Mutex<Maintainer<K>>,
}

/// What callers write down for the maintainer, and the slots.
struct Desk<K> {
    notes: Vec<Record>,
    has_writes: bool,
    /// The key in each slot, by which a victim is found.
    keys: Vec<Option<K>>,
    free: Vec<u32>,
    now_ms: u64,
}

struct Maintainer<K> {
    instance: Box<dyn PolicyInstance>,
    /// Records written into the instance's window.
    pending: usize,
    /// One bit a slot: the policy was told that it is resident.
    view: Vec<u64>,
    batch: Vec<Record>,
    victims: Vec<u32>,
    doomed: Vec<(u32, Option<K>)>,
    /// Records noted in this tick by maintenances that did not end it.
    noted: u64,
}

/// The engine.
pub struct DashEngine<K> {
    index: DashMap<K, Node, SharedHasher>,
    sides: Box<[Side<K>]>,
    hasher: SharedHasher,
    start: Instant,
}

/// The family of the engine.
pub struct OnDashMap;

impl Family for OnDashMap {
    type Cache<K: Key> = DashEngine<K>;
}

/// The row of the engine.
#[must_use]
pub fn row() -> Row {
    let alternative = Standing::Alternative;
    Row::of::<OnDashMap>(ON_DASHMAP, alternative, "dashmap", SHARED_HASHER)
}

impl<K> Side<K> {
    fn limit(&self) -> u64 {
        self.capacity + (self.capacity / SLACK_SHARE).max(1)
    }

    /// Takes room for one entry, if there is any.
    fn reserve(&self) -> bool {
        let is_free = self.used.fetch_add(1, Relaxed) < self.limit();
        if !is_free {
            self.used.fetch_sub(1, Relaxed);
        }
        is_free
    }
}

impl<K> Desk<K> {
    fn is_due(&self) -> bool {
        self.notes.len() >= NOTES_LEN_MAX
    }

    fn record(&self, kind: Kind, slot: u32, key_hash: u64) -> Record {
        Record { key_hash, time_ms: self.now_ms, ..Record::new(kind, slot) }
    }

    /// A slot for `key`, told to the policy. Never refused: writes are as many as there is room.
    fn admit(&mut self, key: K, key_hash: u64) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.keys.push(None);
            self.keys.len() as u32 - 1
        });
        self.keys[slot as usize] = Some(key);
        self.has_writes = true;
        self.notes.push(self.record(Kind::Insert, slot, key_hash));
        slot
    }
}

impl<K> Maintainer<K> {
    fn knows(&self, slot: u32) -> bool {
        self.view[slot as usize / 64] >> (slot % 64) & 1 == 1
    }

    fn flip(&mut self, slot: u32) {
        self.view[slot as usize / 64] ^= 1 << (slot % 64);
    }

    /// Calls the policy once and keeps its victims. `None` where it broke its contract, otherwise whether
    /// there may be more.
    fn call(&mut self) -> Option<bool> {
        self.victims.clear();
        let answer = self.instance.step(std::mem::take(&mut self.pending)).ok()?;
        self.victims.extend_from_slice(answer.slots);
        let more = answer.more;
        for index in 0..self.victims.len() {
            let slot = self.victims[index];
            let is_valid = (slot as usize) < self.view.len() * 64 && self.knows(slot);
            if !is_valid {
                return None;
            }
            self.flip(slot);
        }
        Some(more)
    }
}

impl<K: Key> DashEngine<K> {
    fn side_of(&self, hash: u64) -> usize {
        // Bits that neither the map's choice of a shard nor its tables use first.
        (((hash >> 16 & 0xffff_ffff) * self.sides.len() as u64) >> 32) as usize
    }

    /// One maintenance: everything noted so far reaches the policy, and its victims leave.
    fn maintain(&self, side: &Side<K>, maintainer: &mut Maintainer<K>) {
        let now_ms = self.start.elapsed().as_millis() as u64;
        let mut batch = std::mem::take(&mut maintainer.batch);
        let has_writes = {
            let mut desk = side.desk.lock();
            desk.now_ms = now_ms;
            std::mem::swap(&mut desk.notes, &mut batch);
            std::mem::take(&mut desk.has_writes)
        };
        maintainer.noted += batch.len() as u64;
        if has_writes || maintainer.noted >= side.used.load(Relaxed) / QUIET_SHARE {
            maintainer.noted = 0;
            let tick = side.tick.load(Relaxed);
            side.tick.store((tick + 1) % TICKS, Relaxed);
        }
        for record in batch.drain(..) {
            let is_newcomer = record.kind == Kind::Insert as u8;
            if is_newcomer == maintainer.knows(record.slot) {
                continue;
            }
            if is_newcomer {
                maintainer.flip(record.slot);
            }
            maintainer.instance.events()[maintainer.pending] = record;
            maintainer.pending += 1;
            if maintainer.pending == maintainer.instance.events().len() {
                self.consult(side, maintainer);
            }
        }
        maintainer.batch = batch;
        if maintainer.pending > 0 {
            self.consult(side, maintainer);
        }
    }

    fn consult(&self, side: &Side<K>, maintainer: &mut Maintainer<K>) {
        loop {
            let Some(more) = maintainer.call() else {
                side.broken.store(true, Relaxed);
                return;
            };
            self.evict(side, maintainer);
            if !more {
                return;
            }
        }
    }

    /// Takes the victims out of the map, by their keys. Their values drop outside all locks but the
    /// maintainer's.
    fn evict(&self, side: &Side<K>, maintainer: &mut Maintainer<K>) {
        let Maintainer { victims, doomed, .. } = maintainer;
        {
            let mut desk = side.desk.lock();
            let key_in = |slot: &u32| (*slot, desk.keys[*slot as usize].take());
            doomed.extend(victims.iter().map(key_in));
        }
        for key in doomed.iter().filter_map(|(_, key)| key.as_ref()) {
            drop(self.index.remove(key));
        }
        // The slots are free before the room is, so that no more slots are used than the room has.
        let evicted = doomed.len() as u64;
        side.desk.lock().free.extend(doomed.drain(..).map(|(slot, _)| slot));
        side.used.fetch_sub(evicted, Relaxed);
    }

    fn try_maintain(&self, side: &Side<K>) {
        if let Some(mut maintainer) = side.maintainer.try_lock() {
            self.maintain(side, &mut maintainer);
        }
    }

    /// Notes an access to `node`, unless it is told with one that was noted in this tick. True where the
    /// maintainer should come.
    fn access(&self, node: &Node, key: &K, kind: Kind) -> bool {
        let (slot, side) = (node.place / self.sides.len() as u32, self.side_at(node.place));
        let (tick, word) = (side.tick.load(Relaxed), node.word.load(Relaxed));
        let untold = word & UNTOLD_MAX;
        if word >> TICK_SHIFT == tick {
            node.word.store(word + u32::from(untold < UNTOLD_MAX), Relaxed);
            return false;
        }
        let mut desk = side.desk.lock();
        if desk.is_due() {
            side.dropped.fetch_add(1, Relaxed);
            return true;
        }
        node.word.store(tick << TICK_SHIFT, Relaxed);
        let record = desk.record(kind, slot, self.hasher.hash_one(key));
        desk.notes.push(Record { count: (untold as u8).saturating_add(1), ..record });
        desk.is_due()
    }

    fn side_at(&self, place: u32) -> &Side<K> {
        &self.sides[place as usize % self.sides.len()]
    }
}

impl<K: Key> Contender<K> for DashEngine<K> {
    fn build(capacity: usize) -> Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let most = (SHARDS_PER_CORE * cores).min(SHARDS_MAX).min(capacity / SHARD_ENTRIES_MIN);
        let shards = 1 << most.max(SHARDS_MIN).ilog2();
        let policy = ostler::policy(POLICY).context(POLICY)?;
        let side = |index: usize| -> Result<Side<K>> {
            let capacity = (capacity / shards + usize::from(index < capacity % shards)) as u64;
            let slots = u32::try_from(capacity + (capacity / SLACK_SHARE).max(1))?;
            let instance = policy.instance(Setup { capacity, slots, seed: index as u64 })?;
            let desk = Desk {
                notes: Vec::new(),
                has_writes: false,
                keys: Vec::new(),
                free: Vec::new(),
                now_ms: 0,
            };
            let maintainer = Maintainer {
                instance,
                pending: 0,
                view: vec![0; slots.div_ceil(64) as usize],
                batch: Vec::new(),
                victims: Vec::new(),
                doomed: Vec::new(),
                noted: 0,
            };
            Ok(Side {
                tick: AtomicU32::new(1),
                used: AtomicU64::new(0),
                capacity,
                hits: AtomicU64::new(0),
                misses: AtomicU64::new(0),
                dropped: AtomicU64::new(0),
                broken: AtomicBool::new(false),
                desk: Mutex::new(desk),
                maintainer: Mutex::new(maintainer),
            })
        };
        let hasher = SharedHasher::default();
        Ok(Self {
            index: DashMap::with_hasher_and_shard_amount(hasher.clone(), shards),
            sides: (0..shards).map(side).collect::<Result<_>>()?,
            hasher,
            start: Instant::now(),
        })
    }

    fn get(&self, key: &K) -> Option<Bytes> {
        let Some(node) = self.index.get(key) else {
            let side = &self.sides[self.side_of(self.hasher.hash_one(key))];
            side.misses.fetch_add(1, Relaxed);
            return None;
        };
        self.side_at(node.place).hits.fetch_add(1, Relaxed);
        let value = node.value.clone();
        let due = self.access(&node, key, Kind::Hit);
        let place = node.place;
        drop(node);
        if due {
            self.try_maintain(self.side_at(place));
        }
        Some(value)
    }

    fn insert(&self, mut key: K, value: Bytes) {
        let hash = self.hasher.hash_one(&key);
        let number = self.side_of(hash);
        let side = &self.sides[number];
        loop {
            match self.index.entry(key) {
                Entry::Occupied(mut entry) => {
                    let old = std::mem::replace(&mut entry.get_mut().value, value);
                    let due = self.access(entry.get(), entry.key(), Kind::Update);
                    drop(entry);
                    drop(old);
                    if due {
                        self.try_maintain(side);
                    }
                    return;
                }
                Entry::Vacant(entry) if side.reserve() => {
                    let (slot, due) = {
                        let mut desk = side.desk.lock();
                        (desk.admit(entry.key().clone(), hash), desk.is_due())
                    };
                    // Of the tick before, so that the first access is noted.
                    let tick_before = (side.tick.load(Relaxed) + TICKS - 1) % TICKS;
                    let word = AtomicU32::new(tick_before << TICK_SHIFT);
                    let place = slot * self.sides.len() as u32 + number as u32;
                    drop(entry.insert(Node { value, word, place }));
                    if due {
                        self.try_maintain(side);
                    }
                    return;
                }
                Entry::Vacant(entry) => key = entry.into_key(),
            }
            if side.broken.load(Relaxed) {
                return;
            }
            self.maintain(side, &mut side.maintainer.lock());
        }
    }

    fn settle(&self) {
        for side in &self.sides {
            self.maintain(side, &mut side.maintainer.lock());
        }
    }

    fn resident(&self) -> Option<usize> {
        Some(self.index.len())
    }

    fn account(&self) -> Option<Account> {
        let mut account = Account { heard: Heard::AllBut { dropped: 0 }, guest_memory_bytes: 0 };
        let mut all = 0;
        for side in &self.sides {
            all += side.dropped.load(Relaxed);
            account.guest_memory_bytes += side.maintainer.lock().instance.memory_bytes();
        }
        account.heard = Heard::AllBut { dropped: all };
        Some(account)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_the_capacity_and_what_is_asked_for() {
        let engine = DashEngine::<u64>::build(10_000).unwrap();
        for round in 0..40_000u64 {
            engine.insert(round, Bytes::from_static(b"value"));
            for hot in 0..4 {
                let _ = engine.get(&hot);
            }
        }
        engine.settle();
        let resident = engine.resident().unwrap();
        assert!((9_000..=10_000).contains(&resident), "{resident}");
        assert!((0..4).all(|hot| engine.get(&hot).is_some()), "what is asked for stays");
        assert!(engine.sides.iter().all(|side| !side.broken.load(Relaxed)));
        let of = |count: fn(&Side<u64>) -> &AtomicU64| -> u64 {
            engine.sides.iter().map(|side| count(side).load(Relaxed)).sum()
        };
        assert_eq!(of(|side| &side.hits) + of(|side| &side.misses), 40_000 * 4 + 4);
        let used: u64 = engine.sides.iter().map(|side| side.used.load(Relaxed)).sum();
        assert_eq!(used, resident as u64);
    }
}
