//! The history of keys: what a cache would want back, within a bound of bytes.
//!
//! Owns what was seen of every key it remembers, resident or not: when it was used, how often, at
//! which hours, what it weighs and costs. It knows no cache, no clock and no network; every request
//! comes with its time. About 170 bytes and the key's own bytes a key; a note is one probe and, where
//! the history is full, a few more for the one that goes.

use hashbrown::HashTable;
use ostler_abi::{Candidate, DECAYED_ONE, FLAG_RESIDENT, hash_u64};

use super::decay::decayed;
use super::hours::Hours;

/// Bytes that a remembered key is counted with beside its own: the entry, its place in the index and
/// what the allocator takes for the key.
pub const ENTRY_BYTES: usize = size_of::<Entry>() + 16 + 16;

/// Longest key that is remembered, bytes; longer ones are not worth their place.
pub const HISTORY_KEY_BYTES_MAX: usize = 1024;

/// How many remembered keys are drawn when one has to go.
const DRAWS: u64 = 8;

/// What a [`KeyHistory`] is made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryConfig {
    /// Bytes it may take: entries, keys and index. Below those of one key it remembers nothing.
    pub bytes_max: usize,
    /// Seed of the draws that decide what goes.
    pub seed: u64,
}

/// A request, as the history hears of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Noted<'a> {
    /// Hash of the key, the cache's own.
    pub hash: u64,
    /// The key.
    pub key: &'a [u8],
    /// Weight of the entry in the cache's unit; 0 where it is not known, which keeps the last.
    pub weight: u32,
    /// What it cost to load, microseconds; 0 where it was not loaded, which keeps the last.
    pub cost_us: u32,
    /// Class of the request, 0 if none.
    pub class: u8,
}

/// When something is asked of the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Milliseconds since 1970 (UTC).
    pub now_ms: u64,
    /// Requests that an entry lives in the cache, by the first-in-first-out estimate; the half-life
    /// of the decayed frequency.
    pub lifetime: u64,
}

/// What is remembered of a key.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) hash: u64,
    pub(super) key: Box<[u8]>,
    /// Request of the last access.
    pub(super) last: u64,
    /// Request of the first one.
    pub(super) first: u64,
    pub(super) hours: Hours,
    pub(super) gap: u32,
    pub(super) gap2: u32,
    pub(super) accesses: u32,
    /// As of the last access, in parts of [`DECAYED_ONE`].
    pub(super) decayed: u32,
    pub(super) weight: u32,
    pub(super) cost_us: u32,
    pub(super) class: u8,
    /// Whether it was resident when the snapshot was taken that it comes from.
    pub(super) resident: bool,
}

/// What was seen of the keys of one cache, within a bound of bytes.
///
/// Where it is full, the key with the lowest decayed frequency of eight drawn ones goes, never the
/// one that came in. The same requests and the same seed leave the same keys.
#[derive(Clone, Debug)]
pub struct KeyHistory {
    config: HistoryConfig,
    entries: Vec<Entry>,
    /// Places in `entries` by hash. Two keys of one hash are one: the first one's bytes stay, and at
    /// worst a key too many is fetched.
    index: HashTable<u32>,
    bytes: usize,
    requests: u64,
    draws: u64,
}

impl KeyHistory {
    /// An empty history.
    #[must_use]
    pub fn new(config: HistoryConfig) -> Self {
        Self {
            config,
            entries: Vec::new(),
            index: HashTable::new(),
            bytes: 0,
            requests: 0,
            draws: 0,
        }
    }

    /// Hears of a request, at a time in milliseconds since 1970.
    pub fn note(&mut self, noted: &Noted<'_>, moment: Moment) {
        self.requests += 1;
        if let Some(place) = self.place_of(noted.hash) {
            self.entries[place].access(noted, moment, self.requests);
            return;
        }
        if noted.key.len() > HISTORY_KEY_BYTES_MAX {
            return;
        }
        let bytes = ENTRY_BYTES + noted.key.len();
        if bytes > self.config.bytes_max {
            return;
        }
        while self.bytes + bytes > self.config.bytes_max {
            let place = self.least_of_some(moment.lifetime);
            self.remove(place);
        }
        self.insert(Entry::new(noted, moment, self.requests));
    }

    /// Forgets a key that its user removed: it must not be brought back.
    pub fn forget(&mut self, hash: u64) {
        if let Some(place) = self.place_of(hash) {
            self.remove(place);
        }
    }

    /// Keys that are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no key is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes taken, at most the bound.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Requests heard of, including those before the snapshot it comes from.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests
    }

    /// The candidate at a place below [`len`](Self::len), as a warming policy is shown it. Places
    /// change whenever a request is noted.
    #[must_use]
    pub fn candidate(&self, place: usize, moment: Moment) -> Option<Candidate> {
        Some(self.entries.get(place)?.candidate(moment, self.requests))
    }

    /// Key and hash at a place below [`len`](Self::len).
    #[must_use]
    pub fn key(&self, place: usize) -> Option<(u64, &[u8])> {
        self.entries.get(place).map(|entry| (entry.hash, &*entry.key))
    }

    /// The candidate of a key, if it is remembered.
    #[must_use]
    pub fn candidate_of(&self, hash: u64, moment: Moment) -> Option<Candidate> {
        self.candidate(self.place_of(hash)?, moment)
    }

    /// Walks everything: index and entries name each other, the bytes add up and are within the
    /// bound. For tests.
    ///
    /// # Errors
    ///
    /// What does not hold.
    pub fn validate(&self) -> Result<(), &'static str> {
        let bytes: usize = self.entries.iter().map(Entry::bytes).sum();
        if bytes != self.bytes || bytes > self.config.bytes_max {
            return Err("the bytes do not add up");
        }
        if self.index.len() != self.entries.len() {
            return Err("the index is not of the entries");
        }
        let found = |(place, entry): (usize, &Entry)| self.place_of(entry.hash) == Some(place);
        if !self.entries.iter().enumerate().all(found) {
            return Err("the index does not find an entry");
        }
        Ok(())
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Takes an entry of a snapshot; false where it does not fit or is there already.
    pub(super) fn restore(&mut self, entry: Entry) -> bool {
        let fits = self.bytes + entry.bytes() <= self.config.bytes_max;
        let fits = fits && self.place_of(entry.hash).is_none();
        if fits {
            self.insert(entry);
        }
        fits
    }

    pub(super) fn restore_requests(&mut self, requests: u64) {
        self.requests = requests;
    }

    fn place_of(&self, hash: u64) -> Option<usize> {
        let same = |&place: &u32| self.entries[place as usize].hash == hash;
        self.index.find(hash, same).map(|&place| place as usize)
    }

    fn insert(&mut self, entry: Entry) {
        let place = u32::try_from(self.entries.len())
            .expect("invariant: the bound of bytes keeps the number of keys far below 2^32");
        self.bytes += entry.bytes();
        let hash = entry.hash;
        self.entries.push(entry);
        let entries = &self.entries;
        self.index.insert_unique(hash, place, |&place| entries[place as usize].hash);
    }

    /// Takes the entry at `place` out; the last one takes its place.
    fn remove(&mut self, place: usize) {
        self.unindex(self.entries[place].hash);
        let last = self.entries.len() - 1;
        if last != place {
            let hash = self.entries[last].hash;
            let same = |&at: &u32| at as usize == last;
            if let Some(at) = self.index.find_mut(hash, same) {
                *at = u32::try_from(place).unwrap_or(u32::MAX);
            }
        }
        let entry = self.entries.swap_remove(place);
        self.bytes -= entry.bytes();
    }

    fn unindex(&mut self, hash: u64) {
        let entries = &self.entries;
        let same = |&place: &u32| entries[place as usize].hash == hash;
        if let Ok(found) = self.index.find_entry(hash, same) {
            found.remove();
        }
    }

    /// The place of the lowest decayed frequency among a few that are drawn.
    fn least_of_some(&mut self, lifetime: u64) -> usize {
        let len = self.entries.len() as u64;
        let mut least = (u32::MAX, 0);
        for _ in 0..DRAWS {
            self.draws += 1;
            let draw = hash_u64(self.draws, self.config.seed);
            // Below the number of entries, which is an index.
            let place = ((u128::from(draw) * u128::from(len)) >> 64) as usize;
            least = least.min((self.entries[place].decayed_now(lifetime, self.requests), place));
        }
        least.1
    }
}

impl Entry {
    fn new(noted: &Noted<'_>, moment: Moment, now: u64) -> Self {
        let mut hours = Hours::new(moment.now_ms);
        hours.note(moment.now_ms);
        Self {
            hash: noted.hash,
            key: noted.key.into(),
            last: now,
            first: now,
            hours,
            gap: 0,
            gap2: 0,
            accesses: 1,
            decayed: DECAYED_ONE,
            weight: noted.weight.max(1),
            cost_us: noted.cost_us,
            class: noted.class,
            resident: false,
        }
    }

    fn bytes(&self) -> usize {
        ENTRY_BYTES + self.key.len()
    }

    fn access(&mut self, noted: &Noted<'_>, moment: Moment, now: u64) {
        self.gap2 = self.gap;
        self.gap = clamped(now - self.last);
        self.decayed = self.decayed_now(moment.lifetime, now).saturating_add(DECAYED_ONE);
        self.last = now;
        self.accesses = self.accesses.saturating_add(1);
        self.hours.note(moment.now_ms);
        if noted.weight != 0 {
            self.weight = noted.weight;
        }
        if noted.cost_us != 0 {
            self.cost_us = noted.cost_us;
        }
        self.class = noted.class;
    }

    pub(super) fn decayed_now(&self, lifetime: u64, now: u64) -> u32 {
        decayed(self.decayed, now.saturating_sub(self.last), lifetime)
    }

    fn candidate(&self, moment: Moment, now: u64) -> Candidate {
        Candidate {
            key_hash: self.hash,
            age: clamped(now.saturating_sub(self.last)),
            gap: self.gap,
            gap2: self.gap2,
            life: clamped(now.saturating_sub(self.first)),
            accesses: self.accesses,
            decayed: self.decayed_now(moment.lifetime, now),
            weight: self.weight,
            cost_us: self.cost_us,
            class: self.class,
            flags: if self.resident { FLAG_RESIDENT } else { 0 },
            hours: self.hours.counts(moment.now_ms),
            ..Candidate::ZERO
        }
    }
}

/// A number of requests as the contract's records hold it.
fn clamped(requests: u64) -> u32 {
    u32::try_from(requests).unwrap_or(u32::MAX)
}
