//! The resident entries of a shard: hash table of slots over a slab of entries.
//!
//! It owns keys, values, weights and each entry's word. It must not know policies.
//!
//! A lookup is one probe of the table, one key compare and at most one word store. The hash is not
//! kept but computed again from the key on the rare paths (eviction, growth), which saves 8 bytes an
//! entry; weights take memory only once one differs from 1.
//!
//! User code that runs in here is `Hash` and `Eq` of the key. A panic in either leaves everything as
//! it was: hashes are computed before anything changes, and the table grows into a copy.

use std::hash::Hash;
use std::sync::atomic::{AtomicU32, Ordering};

use hashbrown::HashTable;

use crate::chunked::Chunked;
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
    /// A [`Word`]. Atomic so that a look-up that lends the place lets it be touched, too; whoever
    /// touches it has the shard to itself.
    word: AtomicU32,
    /// How often the slot was written or changed hands, wrapping.
    generation: u32,
}

impl<K, V> Default for Place<K, V> {
    fn default() -> Self {
        Self { body: None, word: AtomicU32::new(0), generation: 0 }
    }
}

impl<K, V> Place<K, V> {
    #[inline]
    fn word(&self) -> Word {
        Word(self.word.load(Ordering::Relaxed))
    }

    #[inline]
    fn set_word(&self, word: Word) {
        self.word.store(word.0, Ordering::Relaxed);
    }
}

/// A resident entry that was found, so that counting an access to it needs no second look-up.
pub(crate) struct Found<'a, K, V> {
    pub(crate) slot: u32,
    pub(crate) value: &'a V,
    place: &'a Place<K, V>,
}

impl<K, V> Found<'_, K, V> {
    /// Counts a hit at `tick`, below [`TICKS`], and tells how to note it. The caller has the shard to
    /// itself.
    #[inline]
    pub(crate) fn touch(&self, tick: u32) -> Access {
        let (word, access) = self.place.word().access(tick);
        self.place.set_word(word);
        access
    }

    /// As [`touch`](Self::touch), for a hit that is not noted: the next one will be.
    #[inline]
    pub(crate) fn touch_unnoted(&self, tick: u32) {
        let _: Access = self.touch(before(tick));
    }
}

/// The word of an entry. From the top: 21 bits for the tick of the last access, 1 bit for an update
/// noted in that tick, 6 bits for accesses in that tick beyond the noted one, 4 bits for the hits since
/// the entry came in.
///
/// A tick lasts from one maintenance to the next or to a later one. So an access whose tick is the
/// word's has been noted already, and only counts; the counts are collected at the next maintenance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Word(u32);

const HITS_MAX: u32 = 0b1111;
const EXTRA_SHIFT: u32 = 4;
const EXTRA_MAX: u32 = 0b11_1111;
const UPDATED: u32 = 1 << 10;
const TICK_SHIFT: u32 = 11;
/// Ticks wrap at this many.
pub(crate) const TICKS: u32 = 1 << (32 - TICK_SHIFT);

/// How an access is to be noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Access {
    /// It was counted in with one that was noted in this tick: no note of its own.
    pub(crate) coalesced: bool,
    /// Accesses of earlier ticks that were counted in with others and never told.
    pub(crate) untold: u8,
}

impl Word {
    /// The word of an entry that came in at `tick`: its first access is noted, though of that tick.
    #[inline]
    fn new(tick: u32) -> Self {
        Self(before(tick) << TICK_SHIFT)
    }

    /// Hits since the entry came in, saturating at 15.
    #[inline]
    pub(crate) fn hits(self) -> u8 {
        (self.0 & HITS_MAX) as u8
    }

    /// The tick of the last access, below [`TICKS`].
    #[inline]
    pub(crate) fn tick(self) -> u32 {
        self.0 >> TICK_SHIFT
    }

    /// Ticks from the last access to `now`.
    #[inline]
    pub(crate) fn age(self, now: u32) -> u32 {
        now.wrapping_sub(self.tick()) % TICKS
    }

    /// Counts an access at `tick`. Without a branch, since whether it coalesces is not to be guessed.
    #[inline]
    fn access(self, tick: u32) -> (Self, Access) {
        let known = self.tick() == tick;
        let hits = self.0 & HITS_MAX;
        let hits = hits + u32::from(hits < HITS_MAX);
        let kept = std::hint::select_unpredictable(known, self.0 & !HITS_MAX, tick << TICK_SHIFT);
        let more = u32::from(known & (self.extra() < EXTRA_MAX)) << EXTRA_SHIFT;
        let untold = std::hint::select_unpredictable(known, 0, self.extra()) as u8;
        (Self((kept + more) | hits), Access { coalesced: known, untold })
    }

    /// Counts an update at `tick`: coalesced only with another update.
    #[inline]
    fn update(self, tick: u32) -> (Self, Access) {
        let known = self.0 & UPDATED != 0;
        let (word, access) = self.access(tick);
        if access.coalesced && !known {
            // The note that there is tells of a hit; this one is told by a note of its own.
            let word = self.0 & !HITS_MAX | word.0 & HITS_MAX | UPDATED;
            return (Self(word), Access { coalesced: false, untold: 0 });
        }
        (Self(word.0 | UPDATED), access)
    }

    #[inline]
    fn extra(self) -> u32 {
        self.0 >> EXTRA_SHIFT & EXTRA_MAX
    }
}

/// The tick before `tick`.
#[inline]
fn before(tick: u32) -> u32 {
    tick.wrapping_sub(1) % TICKS
}

pub(crate) struct Residents<K, V, H> {
    table: HashTable<u32>,
    places: Chunked<Place<K, V>>,
    /// When each entry came in, in the caller's unit.
    born: Chunked<u32>,
    /// Weights; empty as long as every entry weighs 1.
    weights: Chunked<u32>,
    numbers: SlotNumbers,
    /// Slots taken for entries that are not in yet.
    reserved: usize,
    hasher: H,
    weight: u64,
}

impl<K: Hash + Eq, V, H: KeyHash<K>> Residents<K, V, H> {
    /// Nothing resident, and room in the table for `expected` entries.
    pub(crate) fn new(hasher: H, expected: usize) -> Self {
        Self {
            table: HashTable::with_capacity(expected),
            places: Chunked::default(),
            born: Chunked::default(),
            weights: Chunked::default(),
            numbers: SlotNumbers::default(),
            reserved: 0,
            hasher,
            weight: 0,
        }
    }

    pub(crate) fn hash_of(&self, key: &K) -> u64 {
        self.hasher.hash_of(key)
    }

    /// The slot of `key`, whose hash is `hash`.
    #[inline(always)]
    pub(crate) fn find<Q>(&self, hash: u64, key: &Q) -> Option<u32>
    where
        K: std::borrow::Borrow<Q>,
        Q: Eq + ?Sized,
    {
        self.look_up(hash, key).map(|found| found.slot)
    }

    /// The entry of `key`, whose hash is `hash`.
    #[inline(always)]
    pub(crate) fn look_up<Q>(&self, hash: u64, key: &Q) -> Option<Found<'_, K, V>>
    where
        K: std::borrow::Borrow<Q>,
        Q: Eq + ?Sized,
    {
        let mut entry = None;
        let slot = *self.table.find(hash, |&slot| {
            let place = &self.places[slot];
            match &place.body {
                Some((other, value)) if other.borrow() == key => {
                    entry = Some((value, place));
                    true
                }
                _ => false,
            }
        })?;
        entry.map(|(value, place)| Found { slot, value, place })
    }

    /// The slot that the table gives for `hash` without a look at its key: one in about ten is
    /// another key's.
    #[inline]
    pub(crate) fn guess(&self, hash: u64) -> Option<u32> {
        self.table.find(hash, |_| true).copied()
    }

    /// The entry in `slot`, none where that is vacant.
    #[inline]
    pub(crate) fn at(&self, slot: u32) -> Option<Found<'_, K, V>> {
        let place = self.places.get(slot)?;
        place.body.as_ref().map(|(_, value)| Found { slot, value, place })
    }

    /// Takes the number of accesses that were counted in with the noted one.
    #[inline]
    pub(crate) fn take_extra(&mut self, slot: u32) -> u8 {
        let Some(place) = self.places.get_mut(slot) else { return 0 };
        let word = place.word.get_mut();
        let extra = Word(*word).extra();
        *word &= !(EXTRA_MAX << EXTRA_SHIFT);
        extra as u8
    }

    /// The entry in `slot`.
    #[inline]
    pub(crate) fn entry(&self, slot: u32) -> Option<(&K, &V)> {
        self.places.get(slot)?.body.as_ref().map(|(key, value)| (key, value))
    }

    /// True where `slot` holds an entry.
    #[inline]
    pub(crate) fn is_resident(&self, slot: u32) -> bool {
        self.places.get(slot).is_some_and(|place| place.body.is_some())
    }

    /// Weight of the entry in `slot`.
    #[inline]
    pub(crate) fn weight_of(&self, slot: u32) -> u32 {
        self.weights.get(slot).copied().unwrap_or(1)
    }

    /// The word of the entry in `slot`.
    #[inline]
    pub(crate) fn word(&self, slot: u32) -> Word {
        self.places[slot].word()
    }

    /// When the entry in `slot` came in.
    #[inline]
    pub(crate) fn born(&self, slot: u32) -> u32 {
        self.born[slot]
    }

    #[inline]
    pub(crate) fn entry_id(&self, slot: u32) -> EntryId {
        EntryId { slot, generation: self.places[slot].generation }
    }

    /// Takes a slot for `entry`, whose key is not resident, and moves it there; there must be one.
    #[inline]
    pub(crate) fn insert(
        &mut self,
        hash: u64,
        entry: &mut Option<(K, V)>,
        weight: u32,
        now: Now,
    ) -> u32 {
        // Before a slot is taken: it hashes keys, and that may panic.
        if self.table.len() == self.table.capacity() {
            self.grow_table();
        }
        let slot = self.reserve();
        self.move_in(slot, (hash, weight), entry, now);
        slot
    }

    /// Moves an entry into a reserved slot; there must be one. `newcomer` is the key's hash and the weight.
    #[inline]
    pub(crate) fn insert_at(
        &mut self,
        slot: u32,
        newcomer: (u64, u32),
        entry: &mut Option<(K, V)>,
        now: Now,
    ) {
        if self.table.len() == self.table.capacity() {
            self.grow_table();
        }
        self.move_in(slot, newcomer, entry, now);
    }

    /// As [`insert_at`](Self::insert_at), where the table has room.
    #[inline]
    fn move_in(&mut self, slot: u32, newcomer: (u64, u32), entry: &mut Option<(K, V)>, now: Now) {
        let (hash, weight) = newcomer;
        self.reserved -= 1;
        self.set_weight(slot, weight);
        let place = &mut self.places[slot];
        place.body = entry.take();
        place.set_word(Word::new(now.tick));
        place.generation = place.generation.wrapping_add(1);
        self.born[slot] = now.born;
        self.weight += u64::from(weight);
        let Self { table, places, hasher, .. } = self;
        table.insert_unique(hash, slot, |&slot| hash_at(places, hasher, slot));
    }

    /// Overwrites the value in `slot`, which holds an entry. Returns the old value with the new key,
    /// which is equal to the one that stays, and how to note the access. `weights` are the old one and
    /// the new one.
    #[inline]
    pub(crate) fn replace(
        &mut self,
        slot: u32,
        entry: (K, V),
        weights: (u32, u32),
        tick: u32,
    ) -> (Option<(K, V)>, Access) {
        let place = &mut self.places[slot];
        place.generation = place.generation.wrapping_add(1);
        let (word, access) = place.word().update(tick);
        place.set_word(word);
        let (key, value) = entry;
        let old = place.body.as_mut().map(|(_, old)| (key, std::mem::replace(old, value)));
        let (old_weight, weight) = weights;
        if weight != old_weight {
            self.set_weight(slot, weight);
            self.weight = self.weight - u64::from(old_weight) + u64::from(weight);
        }
        (old, access)
    }

    /// Counts a write to `slot` that left key, value and weight alone.
    pub(crate) fn bump(&mut self, slot: u32) {
        let place = &mut self.places[slot];
        place.generation = place.generation.wrapping_add(1);
    }

    /// Removes the entry in `slot`; the slot goes into quarantine. None where it is vacant.
    pub(crate) fn remove(&mut self, slot: u32) -> Option<(K, V)> {
        let hash = self.hash_at(slot)?;
        let entry = self.remove_hashed(slot, hash)?;
        self.numbers.give_back(slot);
        Some(entry)
    }

    /// Removes the entry in `slot`, whose key's hash is `hash`; the slot can be used again at once.
    #[inline]
    pub(crate) fn remove_and_free(&mut self, slot: u32, hash: u64) -> Option<(K, V)> {
        let entry = self.remove_hashed(slot, hash)?;
        self.numbers.free(slot);
        Some(entry)
    }

    /// Removes the entry in `slot`, whose key's hash is `hash`; the slot goes into quarantine.
    pub(crate) fn remove_and_quarantine(&mut self, slot: u32, hash: u64) -> Option<(K, V)> {
        let entry = self.remove_hashed(slot, hash)?;
        self.numbers.give_back(slot);
        Some(entry)
    }

    /// Takes a slot for an entry that comes later with [`insert_at`](Self::insert_at), or gives it
    /// back with [`unreserve`](Self::unreserve). Nothing is resident in it.
    pub(crate) fn reserve(&mut self) -> u32 {
        let slot = self.numbers.take();
        self.places.reach(slot);
        self.born.reach(slot);
        self.reserved += 1;
        slot
    }

    /// Gives a reserved slot back: for use at once, or into quarantine where records name it.
    pub(crate) fn unreserve(&mut self, slot: u32, named: Named) {
        self.reserved -= 1;
        match named {
            Named::Never => self.numbers.free(slot),
            Named::Yes => self.numbers.give_back(slot),
        }
    }

    /// The hash of the key in `slot`, none where it is vacant.
    #[inline]
    pub(crate) fn hash_at(&self, slot: u32) -> Option<u64> {
        let (key, _) = self.places.get(slot)?.body.as_ref()?;
        Some(self.hasher.hash_of(key))
    }

    #[inline]
    fn remove_hashed(&mut self, slot: u32, hash: u64) -> Option<(K, V)> {
        let weight = self.weight_of(slot);
        let place = self.places.get_mut(slot)?;
        let entry = place.body.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.weight -= u64::from(weight);
        if let Ok(found) = self.table.find_entry(hash, |&other| other == slot) {
            found.remove();
        }
        Some(entry)
    }

    /// Ends the quarantine of freed slots.
    #[inline]
    pub(crate) fn release(&mut self) {
        self.numbers.release();
    }

    /// Moves the slots in quarantine into `slots`, which is empty: their last events are on their way.
    pub(crate) fn quarantined(&mut self, slots: &mut Vec<u32>) {
        self.numbers.quarantined(slots);
    }

    /// Makes these slots usable again, and empties the list.
    pub(crate) fn end_quarantine(&mut self, slots: &mut Vec<u32>) {
        self.numbers.end_quarantine(slots);
    }

    /// Age of the entry in `slot` in ticks, none where the slot is vacant.
    #[inline]
    pub(crate) fn age(&self, slot: u32, tick: u32) -> Option<u32> {
        let place = self.places.get(slot)?;
        place.body.as_ref().map(|_| place.word().age(tick))
    }

    /// Number of slots ever used.
    #[inline]
    pub(crate) fn slots(&self) -> u32 {
        self.numbers.used()
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    #[inline]
    pub(crate) fn weight(&self) -> u64 {
        self.weight
    }

    /// Weights are kept from the first one on that is not 1.
    fn set_weight(&mut self, slot: u32, weight: u32) {
        if let Some(kept) = self.weights.get_mut(slot) {
            *kept = weight;
        } else if weight != 1 || self.weights.len() > 0 {
            let first = self.weights.len() as u32;
            self.weights.reach(slot.max(self.numbers.used().saturating_sub(1)));
            for fresh in first..self.weights.len() as u32 {
                self.weights[fresh] = 1;
            }
            self.weights[slot] = weight;
        }
    }

    /// A new table, filled before it takes the old one's place: twice as large, or of the same size
    /// where the old one was only full of the traces of removed entries. Above three quarters of its
    /// room a table leaves a trace at one removal in seven, below at one in hundreds.
    #[cold]
    fn grow_table(&mut self) {
        let room = self.table.num_buckets() / 8 * 7;
        let doubled = self.table.len() + 1 > room / 4 * 3;
        let wanted = if doubled { (room * 2).max(self.table.len() + 1) } else { room };
        let mut larger = HashTable::with_capacity(wanted);
        let Self { table, places, hasher, .. } = self;
        for &slot in table.iter() {
            let hash = hash_at(places, hasher, slot);
            larger.insert_unique(hash, slot, |&slot| hash_at(places, hasher, slot));
        }
        self.table = larger;
    }

    /// Asserts that table, slab and slot numbers agree. O(slots).
    pub(crate) fn validate(&self) {
        let mut weight = 0;
        let mut resident = 0;
        for slot in 0..self.places.len() as u32 {
            if let Some((key, _)) = &self.places[slot].body {
                let found = self.find(self.hasher.hash_of(key), key);
                assert_eq!(found, Some(slot), "every resident is found by its key");
                weight += u64::from(self.weight_of(slot));
                resident += 1;
            }
        }
        assert_eq!(self.table.len(), resident, "the table names every resident once");
        assert_eq!(self.numbers.taken(), resident + self.reserved, "every taken slot is resident");
        assert_eq!(self.weight, weight, "the shard weighs what its entries weigh");
    }
}

/// Whether records that are on their way name a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    Never,
    Yes,
}

/// When an entry comes in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    /// The shard's tick, below [`TICKS`].
    pub(crate) tick: u32,
    /// The time in the unit that the shard keeps births in.
    pub(crate) born: u32,
}

fn hash_at<K, V, H: KeyHash<K>>(places: &Chunked<Place<K, V>>, hasher: &H, slot: u32) -> u64 {
    let body = &places[slot].body;
    body.as_ref().map(|(key, _)| hasher.hash_of(key)).expect("the table names only resident slots")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accesses_of_one_tick_coalesce_after_the_first() {
        let (mut word, mut told) = (Word::new(7), String::new());
        for (tick, update) in [
            (7, false),
            (7, false),
            (7, true),
            (7, true),
            (7, false),
            (8, false),
            (8, true),
            (9, true),
        ] {
            let (after, access) = if update { word.update(tick) } else { word.access(tick) };
            word = after;
            told.push(if access.coalesced { 'c' } else { 'n' });
            told.extend((access.untold > 0).then(|| char::from(b'0' + access.untold)));
        }
        assert_eq!(told, "ncnccn3nn");
        assert_eq!((word.hits(), word.tick(), word.extra()), (8, 9, 0));
    }

    #[test]
    fn counts_saturate_and_ticks_wrap() {
        let mut word = Word::new(0);
        assert_eq!((word.tick(), word.age(0)), (TICKS - 1, 1));
        for _ in 0..200 {
            word = word.access(3).0;
        }
        assert_eq!((word.hits(), word.extra(), word.tick()), (15, 63, 3));
        assert_eq!((word.age(2), word.age(5)), (TICKS - 1, 2));
    }
}
