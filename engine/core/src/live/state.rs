//! What a shard's lock guards: the entries, the notes for the policy, and the engine's own eviction.
//!
//! Every method is one operation under the lock. Nothing in here calls a policy, a weigher, a
//! listener or a loader, and no value drops in here: whatever leaves goes into [`Left`], which the
//! caller empties after unlocking. `Eq`, `Hash` and `Clone` of the user's types do run in here; a
//! panic in them leaves everything valid, because they run before anything changes.

mod put;

use std::borrow::Borrow;
use std::hash::Hash;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use ostler_abi::{Kind, NO_SLOT, Record};

use crate::cache::Resident;
use crate::expiry::Expiry;
use crate::fallback::Fallback;
use crate::live::left::Left;
use crate::live::notes::{Batch, Notes};
use crate::options::{Cause, Snapshot, Version};
use crate::origins::Origins;
use crate::residents::{Access, Found, KeyHash, Now, Residents, TICKS};
use crate::seat::Wants;
use crate::stats::ShardCounts;
use crate::tap::{FLAG_NATIVE, SampleShare};
use crate::ticks::TickTimes;

pub(crate) use self::put::{Newcomer, Put, Wanted};

/// Expired entries that one maintenance reaps at most, in nodes of the wheel looked at.
pub(crate) const REAP_WORK: u32 = 512;
/// The same for one insert into a shard whose entries expire.
const REAP_WORK_INSERT: u32 = 8;
/// Slots of the log that one maintenance takes.
const SLICE_RECORDS: usize = 512;

/// A tick without writes lasts for as many notes as there are residents, divided by this.
const QUIET_SHARE: usize = 2;

/// Milliseconds of the unit in which births are kept: 32 bits of it are 13 years.
const BORN_MS: u64 = 100;

/// How much a shard may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Budget {
    /// Sum of weights that the policy keeps.
    pub(crate) capacity: u64,
    /// What may come on top until the policy has been asked.
    pub(crate) slack: u64,
}

impl Budget {
    /// The weight that is never exceeded.
    pub(crate) fn limit(self) -> u64 {
        self.capacity.saturating_add(self.slack)
    }
}

/// Defaults of the cache that an entry's lifetime follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lifetimes {
    pub(crate) ttl: Option<Duration>,
    pub(crate) tti: Option<Duration>,
}

impl Lifetimes {
    #[inline]
    fn is_none(&self) -> bool {
        self.ttl.is_none() && self.tti.is_none()
    }
}

/// Who is told and asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seating {
    /// A policy is in charge; else the engine evicts by itself at once.
    pub(crate) taken: bool,
    /// Notes are kept: for the policy in charge, for one that is being prepared, or for a tap.
    pub(crate) noting: bool,
    /// Which optional events any of them wants: of the misses, a tap only those of the keys that it
    /// [hears of](State::tapped).
    pub(crate) wants: Wants,
    /// A policy wants all misses.
    pub(crate) all_misses: bool,
}

/// The state of one shard.
pub(crate) struct State<K, V, H> {
    pub(crate) residents: Residents<K, V, H>,
    pub(crate) notes: Notes,
    pub(crate) budget: Budget,
    pub(crate) seating: Seating,
    /// The keys that a tap hears of.
    pub(crate) tapped: SampleShare,
    pub(crate) counts: ShardCounts,
    lifetimes: Lifetimes,
    fallback: Fallback,
    expiry: Option<Box<Expiry>>,
    origins: Origins,
    ticks: TickTimes,
    /// Records noted in this tick by maintenances that did not end it.
    noted: usize,
    now_ms: u64,
    /// The time at which the shard was made: births are kept relative to it.
    start_ms: u64,
}

impl<K: Hash + Eq, V, H: KeyHash<K>> State<K, V, H> {
    pub(crate) fn new(hasher: H, expected: usize, setup: StateSetup) -> Self {
        Self {
            residents: Residents::new(hasher, expected),
            notes: Notes::new(setup.notes_len_max),
            budget: setup.budget,
            seating: Seating { taken: false, noting: false, wants: Wants::NONE, all_misses: false },
            tapped: SampleShare::NONE,
            counts: ShardCounts::default(),
            lifetimes: setup.lifetimes,
            fallback: Fallback::new(setup.seed),
            // From the start where entries will end, so that no write takes an old time for now.
            expiry: (!setup.lifetimes.is_none()).then(|| Box::new(Expiry::new(setup.now_ms))),
            origins: Origins::default(),
            ticks: TickTimes::new(setup.now_ms),
            noted: 0,
            now_ms: setup.now_ms,
            start_ms: setup.now_ms,
        }
    }

    /// True where the time matters to every operation.
    #[inline]
    pub(crate) fn is_timed(&self) -> bool {
        self.expiry.is_some()
    }

    /// True where the maintainer should come soon.
    #[inline]
    pub(crate) fn is_due(&self) -> bool {
        self.seating.noting && self.notes.is_full()
    }

    /// True where half of the slack is used up: for writes that would rather evict by themselves than
    /// ask, and so ask when they are through.
    pub(crate) fn is_over_capacity(&self) -> bool {
        let Budget { capacity, slack } = self.budget;
        self.seating.taken && self.residents.weight() > capacity.saturating_add(slack / 2)
    }

    /// The slot of `key`, unless it has expired by `now_ms`.
    #[inline(always)]
    pub(crate) fn find<Q>(&self, hash: u64, key: &Q, now_ms: u64) -> Option<u32>
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        let slot = self.residents.find(hash, key)?;
        match &self.expiry {
            Some(expiry) if expiry.is_expired(slot, now_ms) => None,
            _ => Some(slot),
        }
    }

    /// As [`find`](Self::find), and an entry that has expired leaves.
    #[inline]
    pub(crate) fn find_live<Q>(
        &mut self,
        hash: u64,
        key: &Q,
        now_ms: u64,
        left: &mut Left<K, V>,
    ) -> Option<u32>
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        let slot = self.residents.find(hash, key)?;
        if self.has_expired(slot, now_ms) {
            self.depart(slot, Cause::Expired, left);
            return None;
        }
        Some(slot)
    }

    #[inline]
    pub(crate) fn has_expired(&self, slot: u32, now_ms: u64) -> bool {
        self.expiry.as_ref().is_some_and(|expiry| expiry.is_expired(slot, now_ms))
    }

    /// Counts a request for `key` that finds it, notes it, and lends the value. None where it is not
    /// resident or has expired by `now_ms`: nothing is counted then.
    #[inline(always)]
    pub(crate) fn request<Q>(&mut self, hash: u64, key: &Q, now_ms: u64) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        self.hit_found(hash, now_ms, |residents| residents.look_up(hash, key))
    }

    /// Counts a request that found `slot`, notes it, and lends the value.
    pub(crate) fn hit(&mut self, slot: u32, hash: u64, now_ms: u64) -> Option<&V> {
        self.hit_found(hash, now_ms, |residents| residents.at(slot))
    }

    #[inline(always)]
    fn hit_found(
        &mut self,
        hash: u64,
        now_ms: u64,
        find: impl FnOnce(&Residents<K, V, H>) -> Option<Found<'_, K, V>>,
    ) -> Option<&V> {
        let found = find(&self.residents)?;
        let slot = found.slot;
        if let Some(expiry) = &mut self.expiry {
            if expiry.is_expired(slot, now_ms) {
                return None;
            }
            expiry.touch(slot, now_ms);
        }
        self.counts.hits += 1;
        let tick = self.ticks.now();
        if !(self.seating.noting & self.seating.wants.hits) {
            let _: Access = found.touch(tick);
            return Some(found.value);
        }
        if self.notes.is_full() {
            self.counts.hits_dropped += 1;
            found.touch_unnoted(tick);
            return Some(found.value);
        }
        let access = found.touch(tick);
        self.counts.hits_coalesced += u64::from(access.coalesced);
        let origin = self.origins.of(slot);
        let weight = self.residents.weight_of(slot);
        let record = origin.record(Kind::Hit, hash, weight, self.now_ms);
        let record = Record { slot, count: 1 + access.untold, ..record };
        self.notes.hit(record, access.coalesced);
        Some(found.value)
    }

    /// Counts a request that found nothing, and notes it where a policy or a tap wants to know.
    #[inline]
    pub(crate) fn miss(&mut self, hash: u64) {
        self.counts.misses += 1;
        if self.seating.noting & self.seating.wants.misses {
            self.note_miss(hash);
        }
    }

    /// Apart, so that it costs those nothing whose misses nobody wants.
    #[inline(never)]
    fn note_miss(&mut self, hash: u64) {
        if !(self.seating.all_misses || self.tapped.includes(hash)) {
            return;
        }
        let record = Record {
            key_hash: hash,
            time_ms: self.now_ms,
            count: 1,
            weight: 1,
            ..Record::new(Kind::Miss, NO_SLOT)
        };
        self.notes.miss(record);
    }

    /// What marks the record of a departure that no tap is to hear of.
    pub(crate) fn mark(&self) -> u8 {
        if self.tapped == SampleShare::NONE { 0 } else { FLAG_NATIVE }
    }

    /// Nobody listens any more: what was noted is forgotten.
    pub(crate) fn silence(&mut self) {
        self.notes.take(&mut Batch::default(), usize::MAX, |_| None);
        self.residents.release();
    }

    /// The time as of the last maintenance or timed write, milliseconds.
    pub(crate) fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Takes the entry in `slot` out for a reason that is not the policy's. Notes it.
    pub(crate) fn depart(&mut self, slot: u32, cause: Cause, left: &mut Left<K, V>) {
        let Some(hash) = self.residents.hash_at(slot) else { return };
        let kind = if cause == Cause::Expired { Kind::Expire } else { Kind::Remove };
        let mut record = self.record(kind, slot, hash);
        if cause == Cause::Evicted {
            record.flags |= self.mark();
        }
        let free = !self.seating.noting || self.notes.departure(record);
        let entry = if free {
            self.residents.remove_and_free(slot, hash)
        } else {
            self.residents.remove_and_quarantine(slot, hash)
        };
        if let Some(expiry) = &mut self.expiry {
            expiry.clear(slot);
        }
        self.counts.left(cause);
        if let Some((key, value)) = entry {
            left.push((key, value, cause));
        }
    }

    /// Takes out the entry in `slot`, whose key's hash is `hash`, as the policy chose.
    #[inline]
    pub(crate) fn evict(&mut self, slot: u32, hash: u64, cause: Cause, left: &mut Left<K, V>) {
        let Some((key, value)) = self.residents.remove_and_free(slot, hash) else { return };
        self.notes.evicted(slot);
        if let Some(expiry) = &mut self.expiry {
            expiry.clear(slot);
        }
        self.counts.left(cause);
        left.push((key, value, cause));
    }

    /// Evicts by the fallback until at most `weight_max` is resident, sparing `spared`.
    pub(crate) fn evict_natively(
        &mut self,
        weight_max: u64,
        spared: Option<u32>,
        left: &mut Left<K, V>,
    ) {
        let evicted_before = self.counts.evicted_natively;
        while self.residents.weight() > weight_max {
            let tick = self.ticks.now();
            let Self { residents, fallback, .. } = self;
            let age = |slot| if Some(slot) == spared { None } else { residents.age(slot, tick) };
            let Some(victim) = fallback.choose(residents.slots(), age) else { break };
            self.counts.evicted_natively += 1;
            self.depart(victim, Cause::Evicted, left);
        }
        self.counts.held((self.counts.evicted_natively - evicted_before) as usize);
    }

    /// As [`evict_natively`](Self::evict_natively), at most a slice of entries. True where that was
    /// enough.
    pub(crate) fn evict_slice(&mut self, weight_max: u64, left: &mut Left<K, V>) -> bool {
        for evicted in 0..SLICE_RECORDS {
            let weight = self.residents.weight();
            if weight <= weight_max || self.residents.len() == 0 {
                return true;
            }
            self.evict_natively(weight - 1, None, left);
            self.counts.held(evicted + 1);
        }
        self.residents.weight() <= weight_max
    }

    /// Takes out entries that have expired, as long as `work` lasts. True where there may be more.
    pub(crate) fn reap(&mut self, now_ms: u64, mut work: u32, left: &mut Left<K, V>) -> bool {
        loop {
            let Some(expiry) = &mut self.expiry else { return false };
            let Some(slot) = expiry.pop_expired(now_ms, &mut work) else { return work == 0 };
            // The user's `Hash` may panic: then the entry stays, and what has ended must stay ended.
            let departed = catch_unwind(AssertUnwindSafe(|| {
                self.depart(slot, Cause::Expired, left);
            }));
            if let Err(panic) = departed {
                if let Some(expiry) = &mut self.expiry {
                    expiry.set_deadline(slot, Some(now_ms), now_ms);
                }
                resume_unwind(panic);
            }
        }
    }

    /// Starts a maintenance: moves what waits into `batch` and `freed`, and lets the time go on.
    pub(super) fn collect(
        &mut self,
        now_ms: u64,
        taken: (&mut Batch, &mut Vec<u32>),
        left: &mut Left<K, V>,
    ) {
        self.now_ms = self.now_ms.max(now_ms);
        self.reap(now_ms, REAP_WORK, left);
        let Self { notes, residents, origins, now_ms, .. } = self;
        let (batch, freed) = taken;
        let slots_max = notes.take(batch, SLICE_RECORDS, |slot| {
            let hash = residents.hash_at(slot)?;
            let weight = residents.weight_of(slot);
            let origin = origins.of(slot);
            Some(Record { slot, ..origin.record(Kind::Insert, hash, weight, *now_ms) })
        });
        let incomplete = batch.incomplete();
        self.counts.held(slots_max + incomplete.len());
        for record in incomplete {
            if record.kind == Kind::Hit as u8 || record.kind == Kind::Update as u8 {
                record.count = record.count.saturating_add(residents.take_extra(record.slot));
            }
        }
        // A slot whose removal is still in the log stays in quarantine until that is delivered.
        if !notes.has_log() {
            residents.quarantined(freed);
        }
        self.noted += batch.len();
        if !batch.is_quiet() || self.noted >= self.residents.len() / QUIET_SHARE {
            self.noted = 0;
            self.ticks.advance(self.now_ms);
        }
    }

    /// What is known of the entry in `slot`, to introduce it to a policy: when it came in, and its
    /// last access with all its hits. None where the slot is vacant.
    pub(crate) fn introduce(&self, slot: u32) -> Option<(Record, Record)> {
        let hash = self.residents.hash_at(slot)?;
        let word = self.residents.word(slot);
        let adopt = Record { time_ms: self.born_ms(slot), ..self.record(Kind::Adopt, slot, hash) };
        let hit = Record {
            time_ms: self.ticks.time_ms(word.age(self.ticks.now())).max(adopt.time_ms),
            count: word.hits().max(1),
            kind: Kind::Hit as u8,
            ..adopt
        };
        Some((adopt, hit))
    }

    /// The tick in which the entry in `slot` was last used, and what is known of it, where it is resident
    /// and its key in `share`.
    pub(crate) fn sample(&self, slot: u32, share: SampleShare) -> Option<(u64, Resident)> {
        let hash = self.residents.hash_at(slot)?;
        if !share.includes(hash) {
            return None;
        }
        let word = self.residents.word(slot);
        let last_used = self.ticks.before(word.age(self.ticks.now()));
        Some((last_used, Resident::new(self.introduce(slot)?, word.hits())))
    }

    /// Ticks since the entry in `slot` was last used, none where it is vacant.
    pub(crate) fn age(&self, slot: u32) -> Option<u32> {
        self.residents.age(slot, self.ticks.now())
    }

    /// The entry in `slot` as it is now.
    pub(crate) fn snapshot(&self, slot: u32, now_ms: u64) -> Option<Snapshot<V>>
    where
        V: Clone,
    {
        let (_, value) = self.residents.entry(slot)?;
        let origin = self.origins.of(slot);
        let born_ms = self.born_ms(slot);
        let end_ms = self.expiry.as_ref().and_then(|expiry| expiry.deadline_ms(slot));
        Some(Snapshot {
            value: value.clone(),
            version: self.version(slot),
            weight: self.residents.weight_of(slot),
            hits: self.residents.word(slot).hits(),
            age: Duration::from_millis(now_ms.saturating_sub(born_ms)),
            remaining: end_ms.map(|end| Duration::from_millis(end.saturating_sub(now_ms))),
            cost_us: origin.cost_us,
            class: origin.class,
        })
    }

    /// When the entry in `slot` came in, to a tenth of a second.
    fn born_ms(&self, slot: u32) -> u64 {
        self.start_ms + u64::from(self.residents.born(slot)) * BORN_MS
    }

    /// The tick and the birth of an entry that comes in now.
    fn now(&self) -> Now {
        let born = (self.now_ms - self.start_ms) / BORN_MS;
        Now { tick: self.ticks.now(), born: u32::try_from(born).unwrap_or(u32::MAX) }
    }

    pub(crate) fn version(&self, slot: u32) -> Version {
        Version::new(self.residents.entry_id(slot))
    }

    /// Moves the end of the entry in `slot`, none for never. Counts as a write to its version.
    pub(crate) fn set_end(&mut self, slot: u32, ttl: Option<Duration>, now_ms: u64) {
        self.residents.bump(slot);
        if self.expiry.is_none() && ttl.is_none() {
            return;
        }
        let expiry = self.expiry.get_or_insert_with(|| Box::new(Expiry::new(now_ms)));
        let end_ms = ttl.map(|ttl| now_ms.saturating_add(millis(ttl)));
        expiry.set_deadline(slot, end_ms, now_ms);
    }

    #[inline]
    fn note_write(&mut self, kind: Kind, slot: u32, hash: u64) {
        if self.seating.noting {
            let record = self.record(kind, slot, hash);
            self.notes.write(record);
        }
    }

    #[inline]
    fn record(&self, kind: Kind, slot: u32, hash: u64) -> Record {
        let origin = self.origins.of(slot);
        let weight = self.residents.weight_of(slot);
        Record { slot, ..origin.record(kind, hash, weight, self.now_ms) }
    }

    /// Bytes that the side tables of expiry take.
    pub(crate) fn expiry_bytes(&self) -> usize {
        self.expiry.as_ref().map_or(0, |expiry| expiry.bytes())
    }

    /// Asserts every invariant of the state. O(slots).
    pub(crate) fn validate(&self) {
        self.residents.validate();
        assert!(self.residents.weight() <= self.budget.limit(), "the limit is kept");
        let counts = &self.counts;
        let resident = self.residents.len() as u64;
        assert_eq!(counts.inserted(), counts.gone() + resident, "every entry is accounted for");
        if let Some(expiry) = &self.expiry {
            expiry.validate();
        }
    }
}

/// What a state is made with, beside its hasher.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StateSetup {
    pub(crate) budget: Budget,
    pub(crate) notes_len_max: usize,
    pub(crate) lifetimes: Lifetimes,
    pub(crate) seed: u64,
    pub(crate) now_ms: u64,
}

/// Whole milliseconds, rounded up, so that nothing ends before its time.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

const _: () = assert!(TICKS.is_power_of_two(), "ages wrap like the ticks do");
