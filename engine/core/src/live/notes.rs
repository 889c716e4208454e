//! What happened to a shard since its policy last heard: a bounded ring of records, and a log for
//! writes that find it full.
//!
//! Owned by the shard's state, used under the shard's lock. Hits may be lost, writes never.
//!
//! The ring keeps the order of events. Only the first access to an entry in a tick is noted; later ones
//! are counted in the entry's word, and the counts join the note when it is taken. A tick ends with the
//! maintenance, except that while nothing is written, and so nothing has to be evicted, it lasts for as
//! many notes as half the residents. So the order of accesses is blurred by one ring, or half
//! of the cache in a stretch of nothing but hits. While the maintainer is busy and the ring is full, hits
//! are dropped and counted, and writes go to the log: one place a slot, whatever happens to it, so the
//! log is bounded by the slots.
//!
//! Cost of a hit: a 32-byte store; no branch depends on whether it was coalesced.

use std::collections::{HashMap, VecDeque};

use ostler_abi::{Kind, Record};

use crate::tap::FLAG_NATIVE;

/// The ring and the log of one shard.
#[derive(Debug)]
pub(crate) struct Notes {
    /// In the order of events; those below `len` are noted.
    records: Vec<Record>,
    len: usize,
    /// Full at this length: that of the ring, or nothing while something is in the log.
    end: usize,
    /// Something was written: the policy may be asked for victims.
    writes: bool,
    /// A record has a mark that policies must not see.
    marked: bool,
    log: Log,
}

/// What was noted, taken out of the ring.
#[derive(Debug, Default)]
pub(super) struct Batch {
    records: Vec<Record>,
    len: usize,
    writes: bool,
    marked: bool,
    /// What came to the log, after the records.
    logged: Vec<Record>,
}

impl Batch {
    /// The records whose counts are to be completed before victims are chosen: none where nothing was
    /// written. What they leave out is told with the next access to the entry.
    pub(super) fn incomplete(&mut self) -> &mut [Record] {
        &mut self.records[..if self.writes { self.len } else { 0 }]
    }

    /// True where nothing but hits and misses was noted.
    pub(super) fn is_quiet(&self) -> bool {
        !self.writes && self.logged.is_empty()
    }

    /// Records that came to the ring.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The records in the order of events, in two pieces.
    pub(super) fn pieces(&self) -> [&[Record]; 2] {
        [&self.records[..self.len], &self.logged]
    }

    /// Takes the marks from the records, which policies must not see.
    pub(super) fn unmark(&mut self) {
        if std::mem::take(&mut self.marked) {
            for record in self.records[..self.len].iter_mut().chain(&mut self.logged) {
                record.flags &= !FLAG_NATIVE;
            }
        }
    }

    /// Forgets what was taken.
    pub(super) fn clear(&mut self) {
        self.len = 0;
        self.logged.clear();
    }
}

impl Notes {
    /// An empty ring for `len_max` records, at most 65,535.
    pub(super) fn new(len_max: usize) -> Self {
        let len_max = len_max.clamp(1, usize::from(u16::MAX));
        let records = vec![Record::ZERO; len_max];
        Self { records, len: 0, end: len_max, writes: false, marked: false, log: Log::default() }
    }

    /// True where the maintainer should come before the next note.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.len >= self.end
    }

    /// True where writes wait that found the ring full.
    #[inline]
    pub(super) fn has_log(&self) -> bool {
        !self.log.is_empty()
    }

    /// True where the policy has heard of everything.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0 && self.log.is_empty()
    }

    /// Notes a hit, unless it was coalesced. The ring must not be full.
    #[inline]
    pub(super) fn hit(&mut self, record: Record, coalesced: bool) {
        if let Some(place) = self.records.get_mut(self.len) {
            *place = record;
            self.len += usize::from(!coalesced);
        }
    }

    /// Notes a miss, unless there is no place for it.
    #[inline]
    pub(super) fn miss(&mut self, record: Record) {
        if !self.is_full() {
            self.push(record);
        }
    }

    /// Notes a write.
    #[inline]
    pub(super) fn write(&mut self, record: Record) {
        if self.is_full() {
            self.log.add(record);
            return;
        }
        self.writes = true;
        self.push(record);
    }

    #[inline]
    fn push(&mut self, record: Record) {
        self.records[self.len] = record;
        self.len += 1;
    }

    /// Notes that the entry in `record.slot` left without the policy's doing. True where the policy
    /// never heard of the slot and never will, so that it can be used again at once.
    pub(super) fn departure(&mut self, record: Record) -> bool {
        if self.log.is_unheard(record.slot) {
            return true;
        }
        self.marked |= record.flags & FLAG_NATIVE != 0;
        self.write(record);
        false
    }

    /// Slots that the writes in the ring name, sorted.
    pub(super) fn written(&self) -> Vec<u32> {
        let hit = Some(Kind::Hit);
        let writes = self.records[..self.len].iter().filter(|record| record.kind() != hit);
        let mut slots: Vec<u32> = writes.map(|record| record.slot).collect();
        slots.sort_unstable();
        slots
    }

    /// True where the log has something to tell of `slot`.
    pub(super) fn is_logged(&self, slot: u32) -> bool {
        self.log.pending.contains_key(&slot)
    }

    /// The policy hears of a newcomer in `slot` directly: what comes of it is not news to be dropped.
    pub(super) fn introduced(&mut self, slot: u32) {
        if let Some(pending) = self.log.pending.get_mut(&slot)
            && pending.left.is_none()
        {
            pending.heard = true;
        }
    }

    /// The engine evicted the entry in `slot` as the policy chose: what waits about it is void.
    #[inline]
    pub(super) fn evicted(&mut self, slot: u32) {
        if !self.log.is_empty() {
            self.log.forget(slot);
        }
    }

    /// Moves the records into `batch`, which is empty, and after them what at most `slots_max` slots
    /// of the log come to. `resident` gives the record that introduces the entry in a slot, none
    /// where it is vacant. Returns how many slots of the log were taken.
    pub(super) fn take(
        &mut self,
        batch: &mut Batch,
        slots_max: usize,
        resident: impl FnMut(u32) -> Option<Record>,
    ) -> usize {
        debug_assert!(batch.len == 0, "a batch is delivered before the next is taken");
        batch.records.resize(self.records.len(), Record::ZERO);
        std::mem::swap(&mut self.records, &mut batch.records);
        batch.len = std::mem::take(&mut self.len);
        batch.writes = std::mem::take(&mut self.writes);
        batch.marked = self.marked;
        if self.log.is_empty() {
            self.marked = false;
            return 0;
        }
        // Also where `resident` panics: the log is not through then.
        self.end = 0;
        let slots = self.log.take(&mut batch.logged, slots_max, resident);
        self.end = if self.log.is_empty() { self.records.len() } else { 0 };
        slots
    }
}

/// The writes that found the ring full: what a slot's last state means to the policy.
#[derive(Debug, Default)]
struct Log {
    /// Slots in the order of their first write; each once.
    order: VecDeque<u32>,
    pending: HashMap<u32, Pending>,
}

/// What the policy knows of a slot in the log.
#[derive(Clone, Copy, Debug)]
struct Pending {
    /// It heard of the slot's present or last tenant, or will by the records in the ring.
    heard: bool,
    /// The record of that tenant's departure, where it left.
    left: Option<Record>,
}

impl Log {
    #[inline]
    fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    #[cold]
    fn add(&mut self, record: Record) {
        let (slot, kind) = (record.slot, record.kind());
        let order = &mut self.order;
        let pending = self.pending.entry(slot).or_insert_with(|| {
            order.push_back(slot);
            Pending { heard: kind != Some(Kind::Insert), left: None }
        });
        if matches!(kind, Some(Kind::Remove | Kind::Expire)) {
            pending.left = Some(record);
        }
    }

    /// True where the slot's tenant came in by the log alone.
    fn is_unheard(&self, slot: u32) -> bool {
        !self.is_empty() && self.pending.get(&slot).is_some_and(|pending| !pending.heard)
    }

    #[cold]
    fn forget(&mut self, slot: u32) {
        if let Some(pending) = self.pending.get_mut(&slot) {
            *pending = Pending { heard: false, left: None };
        }
    }

    #[cold]
    fn take(
        &mut self,
        batch: &mut Vec<Record>,
        slots_max: usize,
        mut resident: impl FnMut(u32) -> Option<Record>,
    ) -> usize {
        let slots = self.order.len().min(slots_max);
        // Nothing is taken out before all is known: `resident` hashes keys, and that may panic.
        for &slot in self.order.range(..slots) {
            let Some(pending) = self.pending.get(&slot) else { continue };
            batch.extend(pending.left);
            let heard = pending.heard && pending.left.is_none();
            let kind = if heard { Kind::Update } else { Kind::Insert };
            batch.extend(resident(slot).map(|record| Record { kind: kind as u8, ..record }));
        }
        for slot in self.order.drain(..slots) {
            self.pending.remove(&slot);
        }
        self.order.shrink_to(1024);
        self.pending.shrink_to(1024);
        slots
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: Kind, slot: u32) -> Record {
        Record { count: 1, ..Record::new(kind, slot) }
    }

    /// Plays `h1` (hit of slot 1), `c1` (coalesced), `i1`, `u1`, `r1`; tells which departures were free.
    fn play(notes: &mut Notes, events: &str) -> String {
        let mut told = String::new();
        for event in events.split_whitespace() {
            let slot = event[1..].parse().unwrap();
            match &event[..1] {
                "h" => notes.hit(record(Kind::Hit, slot), false),
                "c" => notes.hit(record(Kind::Hit, slot), true),
                "i" => notes.write(record(Kind::Insert, slot)),
                "u" => notes.write(record(Kind::Update, slot)),
                _ => told.push(if notes.departure(record(Kind::Remove, slot)) { 'f' } else { '-' }),
            }
        }
        told
    }

    /// What is taken, where the slots in `resident` hold entries.
    fn taken(notes: &mut Notes, resident: &[u32]) -> String {
        let mut batch = Batch::default();
        notes.take(&mut batch, usize::MAX, |slot| {
            resident.contains(&slot).then(|| record(Kind::Insert, slot))
        });
        assert!(notes.is_empty());
        let text = |record: &Record| {
            let name = record.kind().map_or("?", Kind::name);
            format!("{}{}", &name[..1], record.slot)
        };
        batch.pieces().concat().iter().map(text).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn coalesced_hits_leave_no_note() {
        let mut notes = Notes::new(3);
        play(&mut notes, "h1 c1 h2 c1 i3");
        assert!(notes.is_full());
        assert_eq!(taken(&mut notes, &[]), "h1 h2 i3");
    }

    #[test]
    fn writes_beyond_the_ring_are_kept_once_a_slot() {
        for (events, resident, told, batch) in [
            ("i1 i2 i3 u3 u3 u1", &[1, 2, 3][..], "", "i1 i2 i3 u1"),
            // What came and went while nobody listened is not told, and its slot is free at once.
            ("i1 i2 i3 r3", &[1, 2], "f", "i1 i2"),
            ("i1 i2 i3 r3 i3", &[1, 2, 3], "f", "i1 i2 i3"),
            // What the policy knows and what left is told as such.
            ("i1 i2 u1 r1 i3", &[2, 3], "-", "i1 i2 r1 i3"),
            ("i1 i2 r1 h2", &[2], "-", "i1 i2 r1"),
        ] {
            let mut notes = Notes::new(2);
            assert_eq!(play(&mut notes, events), told, "{events}");
            assert_eq!(taken(&mut notes, resident), batch, "{events}");
        }
    }

    #[test]
    fn a_slot_that_was_introduced_directly_is_known() {
        let mut notes = Notes::new(1);
        assert_eq!(play(&mut notes, "i1 i2 r2"), "f");
        notes.introduced(2);
        assert_eq!(play(&mut notes, "u2 r2"), "-");
        assert_eq!(taken(&mut notes, &[1]), "i1 r2");
    }

    #[test]
    fn a_panic_while_the_log_is_taken_leaves_it_whole() {
        let mut notes = Notes::new(1);
        play(&mut notes, "i1 i2 u3 i4");
        let mut batch = Batch::default();
        let taken = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            notes.take(&mut batch, usize::MAX, |slot| {
                assert!(slot != 3, "a key that cannot be hashed");
                Some(record(Kind::Insert, slot))
            })
        }));
        assert!(taken.is_err());
        assert!([2, 3, 4].iter().all(|&slot| notes.is_logged(slot)));
        assert_eq!(self::taken(&mut notes, &[2, 3, 4]), "i2 u3 i4");
    }

    #[test]
    fn an_evicted_slot_is_a_stranger_again() {
        let mut notes = Notes::new(1);
        assert_eq!(play(&mut notes, "i1 u2"), "");
        notes.evicted(2);
        assert_eq!(play(&mut notes, "i2"), "");
        assert_eq!(taken(&mut notes, &[1, 2]), "i1 i2");
    }
}
