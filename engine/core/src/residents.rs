//! The resident entries of a shard: hash table of slots over a slab of entries.
//!
//! It owns keys, values, weights and each entry's atomic word. It must not know policies.
//!
//! A lookup is one probe of the table, one key compare and one word store; the hash is not kept but
//! computed again from the key on the rare paths (eviction, growth), which saves 8 bytes an entry.

use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use hashbrown::HashTable;

use crate::slots::{EntryId, SlotNumbers};

/// How a shard turns keys into the hash that policies see.
///
/// Must be stable for the life of the cache.
pub trait KeyHash<K> {
    /// The hash of `key`.
    fn hash_of(&self, key: &K) -> u64;
}

/// One slot of the slab. Vacant where `body` is none.
struct Place<K, V> {
    body: Option<(K, V)>,
    weight: u32,
    generation: u32,
    word: Word,
}

/// The atomic word of an entry: {tick of the last access, hits since the last drain}.
///
/// Read and written relaxed: a lost update costs a little hit ratio, never correctness.
#[derive(Debug, Default)]
struct Word(AtomicU64);

impl Word {
    fn reset(&self, tick: u32) {
        self.0.store(u64::from(tick) << 32, Relaxed);
    }

    /// Notes one hit at `tick`.
    #[inline]
    fn touch(&self, tick: u32) {
        let hits = (self.0.load(Relaxed) & 0xffff_ffff).min(u64::from(u32::MAX - 1)) + 1;
        self.0.store(u64::from(tick) << 32 | hits, Relaxed);
    }

    fn last_tick(&self) -> u32 {
        (self.0.load(Relaxed) >> 32) as u32
    }
}

pub(crate) struct Residents<K, V, H> {
    table: HashTable<u32>,
    places: Vec<Place<K, V>>,
    numbers: SlotNumbers,
    hasher: H,
    weight: u64,
}

impl<K: Hash + Eq, V, H: KeyHash<K>> Residents<K, V, H> {
    pub(crate) fn new(hasher: H) -> Self {
        Self {
            table: HashTable::new(),
            places: Vec::new(),
            numbers: SlotNumbers::default(),
            hasher,
            weight: 0,
        }
    }

    pub(crate) fn hash_of(&self, key: &K) -> u64 {
        self.hasher.hash_of(key)
    }

    /// The slot of `key`, whose hash is `hash`.
    #[inline]
    pub(crate) fn find(&self, hash: u64, key: &K) -> Option<u32> {
        self.table
            .find(hash, |&slot| {
                matches!(&self.places[slot as usize].body, Some((other, _)) if other == key)
            })
            .copied()
    }

    /// Notes a hit at `tick` and returns the value.
    #[inline]
    pub(crate) fn touch(&self, slot: u32, tick: u32) -> Option<&V> {
        let place = &self.places[slot as usize];
        place.word.touch(tick);
        place.body.as_ref().map(|(_, value)| value)
    }

    pub(crate) fn weight_of(&self, slot: u32) -> u32 {
        self.places[slot as usize].weight
    }

    pub(crate) fn entry_id(&self, slot: u32) -> EntryId {
        EntryId { slot, generation: self.places[slot as usize].generation }
    }

    /// Takes a slot for `key`, which is not resident.
    pub(crate) fn insert(&mut self, hash: u64, entry: (K, V), weight: u32, tick: u32) -> u32 {
        let slot = self.numbers.take();
        if slot as usize == self.places.len() {
            self.places.push(Place { body: None, weight: 0, generation: 0, word: Word::default() });
        }
        let place = &mut self.places[slot as usize];
        place.body = Some(entry);
        place.weight = weight;
        place.word.reset(tick);
        self.weight += u64::from(weight);
        let Self { table, places, hasher, .. } = self;
        table.insert_unique(hash, slot, |&slot| hash_at(places, hasher, slot));
        slot
    }

    /// Overwrites the value in `slot` and returns the old one.
    pub(crate) fn replace(&mut self, slot: u32, value: V, weight: u32) -> Option<V> {
        let place = &mut self.places[slot as usize];
        let (_, old) = place.body.as_mut()?;
        let old = std::mem::replace(old, value);
        self.weight = self.weight - u64::from(place.weight) + u64::from(weight);
        place.weight = weight;
        Some(old)
    }

    /// Removes the entry in `slot`; the slot goes into quarantine. None where it is vacant.
    pub(crate) fn remove(&mut self, slot: u32) -> Option<(K, V)> {
        let place = self.places.get_mut(slot as usize)?;
        let (key, value) = place.body.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.weight -= u64::from(std::mem::take(&mut place.weight));
        let hash = self.hasher.hash_of(&key);
        if let Ok(found) = self.table.find_entry(hash, |&other| other == slot) {
            found.remove();
        }
        self.numbers.give_back(slot);
        Some((key, value))
    }

    /// Ends the quarantine of freed slots.
    #[inline]
    pub(crate) fn release(&mut self) {
        self.numbers.release();
    }

    /// Age of the entry in `slot` in ticks, none where the slot is vacant.
    pub(crate) fn age(&self, slot: u32, tick: u32) -> Option<u32> {
        let place = self.places.get(slot as usize)?;
        place.body.as_ref().map(|_| tick.wrapping_sub(place.word.last_tick()))
    }

    /// Number of slots ever used.
    pub(crate) fn slots(&self) -> u32 {
        self.numbers.used()
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    pub(crate) fn weight(&self) -> u64 {
        self.weight
    }

    /// Asserts that table, slab and slot numbers agree. O(slots).
    pub(crate) fn validate(&self) {
        let mut weight = 0;
        for (slot, place) in (0u32..).zip(&self.places) {
            if let Some((key, _)) = &place.body {
                let found = self.find(self.hasher.hash_of(key), key);
                assert_eq!(found, Some(slot), "every resident is found by its key");
                weight += u64::from(place.weight);
            }
        }
        let resident = self.places.iter().filter(|place| place.body.is_some()).count();
        assert_eq!(self.table.len(), resident, "the table names every resident once");
        assert_eq!(self.numbers.taken(), resident, "every taken slot is resident");
        assert_eq!(self.weight, weight, "the shard weighs what its entries weigh");
    }
}

fn hash_at<K, V, H: KeyHash<K>>(places: &[Place<K, V>], hasher: &H, slot: u32) -> u64 {
    let body = &places[slot as usize].body;
    body.as_ref().map(|(key, _)| hasher.hash_of(key)).expect("the table names only resident slots")
}
