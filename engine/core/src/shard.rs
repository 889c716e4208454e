//! One shard: residents, the seat, and the maintenance between them.
//!
//! Ownership: the shard owns its entries, its seat and its fallback; a caller holds the shard
//! exclusively for one operation. Victims leave into a list that the caller drains, so their values
//! do not drop in here; a value that is overwritten or refused still does.
//!
//! Budget of a hit: one hash (the caller's), one probe, one key compare, one word store, one record.

mod handover;

use std::hash::Hash;

use ostler_abi::{Kind, ModelRefused, NO_SLOT, Record};

use crate::counters::Counters;
use crate::fallback::Fallback;
use crate::fault::PolicyFault;
use crate::guard::Accepted;
use crate::instance::PolicyInstance;
use crate::origins::{Origin, Origins};
use crate::residents::{KeyHash, Now, Residents};
use crate::seat::{Batch, Seat, Wants};
use crate::slots::EntryId;
use crate::ticks::TickTimes;

/// Milliseconds of the unit in which births are kept: 32 bits of it are 13 years.
const BORN_MS: u64 = 100;

/// What a shard is made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardConfig {
    /// Sum of weights the shard may hold.
    pub capacity: u64,
    /// Bound on slot numbers that the policy instance was created with.
    pub slots: u32,
    /// When records are handed over.
    pub batch: Batch,
    /// Weight below the capacity down to which a policy may evict ahead of need; by default a 64th
    /// of the capacity.
    pub evict_ahead_max: Option<u64>,
    /// Seed of the fallback.
    pub seed: u64,
    /// Optional events that the policy wants.
    pub wants: Wants,
}

/// The circumstances of an operation, as they go into its record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Milliseconds since the cache started.
    pub time_ms: u64,
    /// What the entry cost to load, microseconds; 0 if unknown.
    pub cost_us: u32,
    /// The caller's request class or hint.
    pub class: u8,
}

/// What became of an insert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Inserted {
    /// The key was new and took a slot; the policy may have given it up at once.
    New,
    /// The key was resident: the value was overwritten.
    Updated,
    /// The entry weighs more than the shard may hold. Nothing is stored; an older value is removed.
    Oversize,
}

/// An entry that left by the policy's or the fallback's choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evicted<K, V> {
    /// Its name while it was resident.
    pub id: EntryId,
    /// The key.
    pub key: K,
    /// The value.
    pub value: V,
}

/// One shard of a cache.
pub struct Shard<K, V, H> {
    /// What it was made with, and the capacity as it is now.
    config: ShardConfig,
    residents: Residents<K, V, H>,
    seat: Seat,
    fallback: Fallback,
    counters: Counters,
    /// Coarse time: one tick a maintenance.
    ticks: TickTimes,
    /// The latest time that an operation named.
    now_ms: u64,
    /// When the first entry came in: births are kept relative to it.
    start_ms: Option<u64>,
    origins: Origins,
    /// Guest time of the instances before this one.
    guest_ns_before: u64,
    /// The model for instances that come later.
    model: Option<Box<[u8]>>,
    accepted: Vec<Accepted>,
    evicted: Vec<Evicted<K, V>>,
}

impl<K: Hash + Eq, V, H: KeyHash<K>> Shard<K, V, H> {
    /// An empty shard with `instance` in charge. The instance was created with the same capacity
    /// and slots as `config` says; where creating it failed, the fault is counted and the fallback
    /// is in charge from the start.
    pub fn new(
        config: &ShardConfig,
        instance: Result<Box<dyn PolicyInstance>, PolicyFault>,
        hasher: H,
    ) -> Self {
        let counters = Counters { faults: u64::from(instance.is_err()), ..Counters::default() };
        Self {
            config: *config,
            residents: Residents::new(hasher, 0),
            seat: Seat::new(instance, config),
            fallback: Fallback::new(config.seed),
            counters,
            ticks: TickTimes::new(0),
            now_ms: 0,
            start_ms: None,
            origins: Origins::default(),
            guest_ns_before: 0,
            model: None,
            accepted: Vec::new(),
            evicted: Vec::new(),
        }
    }

    /// The hash of `key` as policies see it.
    pub fn hash_of(&self, key: &K) -> u64 {
        self.residents.hash_of(key)
    }

    /// Looks `key` up, whose hash is `hash`, and notes the hit or the miss.
    #[inline]
    pub fn get(&mut self, hash: u64, key: &K, access: Access) -> Option<&V> {
        self.now_ms = self.now_ms.max(access.time_ms);
        self.empty_full_window();
        if !self.seat.is_taken() {
            self.counters.fallback_requests += 1;
        }
        let Some(slot) = self.residents.find(hash, key) else {
            self.counters.misses += 1;
            if self.seat.wants(Kind::Miss) {
                self.seat.note(record(Kind::Miss, NO_SLOT, (hash, 1), access));
            }
            return None;
        };
        self.counters.hits += 1;
        if self.seat.wants(Kind::Hit) {
            let weight = self.residents.weight_of(slot);
            self.seat.note(record(Kind::Hit, slot, (hash, weight), access));
        }
        let found = self.residents.at(slot)?;
        let _: crate::residents::Access = found.touch(self.ticks.now());
        Some(found.value)
    }

    /// Stores `value` under `key`, whose hash is `hash`. A weight of 0 counts 1.
    pub fn insert(&mut self, hash: u64, entry: (K, V), weight: u32, access: Access) -> Inserted {
        self.insert_flagged(hash, entry, (weight, 0), access)
    }

    /// As [`insert`](Self::insert), for an entry that no request asked for: `flags` are those of its
    /// record, [`FLAG_PREFETCHED`](ostler_abi::FLAG_PREFETCHED) or
    /// [`FLAG_WARMED`](ostler_abi::FLAG_WARMED).
    pub fn insert_flagged(
        &mut self,
        hash: u64,
        (key, value): (K, V),
        (weight, flags): (u32, u8),
        access: Access,
    ) -> Inserted {
        self.now_ms = self.now_ms.max(access.time_ms);
        self.empty_full_window();
        let weight = weight.max(1);
        let resident = self.residents.find(hash, &key);
        if u64::from(weight) > self.config.capacity {
            self.counters.rejections += 1;
            if resident.is_some() {
                self.remove(hash, &key, access);
            }
            return Inserted::Oversize;
        }
        if let Some(slot) = resident {
            let weights = (self.residents.weight_of(slot), weight);
            self.residents.replace(slot, (key, value), weights, self.ticks.now());
            self.origins.set(slot, origin_of(access));
            self.note(record(Kind::Update, slot, (hash, weight), access));
            self.make_room(NO_SLOT);
            return Inserted::Updated;
        }
        self.counters.inserts += 1;
        let now = self.now();
        let slot = self.residents.insert(hash, &mut Some((key, value)), weight, now);
        self.origins.set(slot, origin_of(access));
        if self.seat.needs_slots(slot) {
            self.seat.announce_slots(slot);
            self.empty_full_window();
        }
        self.note(Record { flags, ..record(Kind::Insert, slot, (hash, weight), access) });
        self.make_room(slot);
        Inserted::New
    }

    /// Removes `key`, whose hash is `hash`, and returns its entry.
    pub fn remove(&mut self, hash: u64, key: &K, access: Access) -> Option<(K, V)> {
        self.now_ms = self.now_ms.max(access.time_ms);
        self.empty_full_window();
        let slot = self.residents.find(hash, key)?;
        let weight = self.residents.weight_of(slot);
        let entry = self.residents.remove(slot);
        self.note(record(Kind::Remove, slot, (hash, weight), access));
        if !self.seat.is_taken() {
            self.residents.release();
        } else if self.seat.is_exact() {
            // The slot is free for the next newcomer, as it would be with one call a request.
            self.maintain(NO_SLOT);
        }
        entry
    }

    /// Changes the capacity; entries are evicted until the rest fits.
    pub fn set_capacity(&mut self, capacity: u64) {
        self.flush();
        self.config.capacity = capacity;
        self.note(Record { key_hash: capacity, ..Record::new(Kind::Capacity, NO_SLOT) });
        self.flush();
        self.evict_natively(NO_SLOT);
    }

    /// Hands a model to the policy, after everything that waits, and keeps it for instances that come
    /// later, unless this one refused it. At the same request it makes the same decisions.
    ///
    /// # Errors
    ///
    /// What the policy said: [`ModelRefused::TAKES_NONE`] also where the fallback is in charge, and
    /// where the policy broke its contract over it, which is counted and told as every
    /// [fault](Self::fault).
    pub fn publish_model(&mut self, message: &[u8]) -> Result<(), ModelRefused> {
        self.flush();
        let answer = self.seat.model(message).unwrap_or_else(|_| {
            self.counters.faults += 1;
            self.evict_natively(NO_SLOT);
            Err(ModelRefused::TAKES_NONE)
        });
        self.counters.models += u64::from(answer.is_ok());
        if matches!(answer, Ok(()) | Err(ModelRefused::TAKES_NONE)) {
            self.model = Some(message.into());
        }
        answer
    }

    /// Hands everything that waits to the policy and applies its answer.
    pub fn flush(&mut self) {
        if self.seat.pending() > 0 {
            self.maintain(NO_SLOT);
        }
    }

    /// True where entries were evicted since they were last drained.
    #[inline]
    pub fn has_evicted(&self) -> bool {
        !self.evicted.is_empty()
    }

    /// Takes the entries evicted since the last call of this, in order.
    #[inline]
    pub fn drain_evicted(&mut self) -> std::vec::Drain<'_, Evicted<K, V>> {
        self.evicted.drain(..)
    }

    /// A snapshot of the counters.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Policy faults so far.
    #[inline]
    pub fn faults(&self) -> u64 {
        self.counters.faults
    }

    /// The weight of `key`, whose hash is `hash`, none where it is not resident. Notes nothing.
    pub fn weight_of(&self, hash: u64, key: &K) -> Option<u32> {
        self.residents.find(hash, key).map(|slot| self.residents.weight_of(slot))
    }

    /// Why the policy lost the seat, none while it has it.
    pub fn fault(&self) -> Option<&PolicyFault> {
        self.seat.fault()
    }

    /// Lines that the policy logged since the last call of this, the last ones before a fault too.
    pub fn take_log(&mut self) -> Vec<String> {
        self.seat.take_log()
    }

    /// The instance in charge, none once the fallback is.
    pub fn instance(&self) -> Option<&dyn PolicyInstance> {
        self.seat.instance()
    }

    /// Nanoseconds spent in policies so far, those that had the seat before among them: an estimate,
    /// as [`PolicyInstance::guest_ns`].
    pub fn guest_ns(&self) -> u64 {
        self.guest_ns_before + self.instance().map_or(0, PolicyInstance::guest_ns)
    }

    /// Sum of weights that the shard may hold.
    pub fn capacity(&self) -> u64 {
        self.config.capacity
    }

    /// Sum of the residents' weights.
    pub fn weight(&self) -> u64 {
        self.residents.weight()
    }

    /// Number of residents.
    pub fn len(&self) -> usize {
        self.residents.len()
    }

    /// True where nothing is resident.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Asserts every invariant of the shard. O(slots); for tests and fuzzers.
    ///
    /// # Panics
    ///
    /// Where an invariant is broken.
    pub fn validate(&self) {
        self.residents.validate();
        self.seat.guard().validate();
        if self.seat.is_taken() && self.seat.pending() == 0 {
            assert_eq!(self.seat.guard().weight(), self.residents.weight(), "the view is current");
            assert!(self.weight() <= self.config.capacity, "the capacity is kept");
            for slot in 0..self.residents.slots() {
                let resident = self.residents.is_resident(slot);
                assert_eq!(self.seat.guard().has(slot), resident, "the view of slot {slot}");
            }
        }
    }

    /// The tick and the birth of an entry that comes in now.
    #[inline]
    fn now(&mut self) -> Now {
        let start_ms = *self.start_ms.get_or_insert(self.now_ms);
        let born = u32::try_from((self.now_ms - start_ms) / BORN_MS).unwrap_or(u32::MAX);
        Now { tick: self.ticks.now(), born }
    }

    /// Writes a record. Every operation empties a full window before it looks anything up, so there
    /// is a place, and what it found is still there.
    #[inline]
    fn note(&mut self, record: Record) {
        if self.seat.is_taken() {
            self.seat.note(record);
        }
    }

    #[inline]
    fn empty_full_window(&mut self) {
        if self.seat.is_taken() && self.seat.is_full() {
            self.maintain(NO_SLOT);
        }
    }

    /// After an event that may need a victim: asks the policy now where the batch is exact, or lets
    /// the fallback act where no policy is in charge.
    #[inline]
    fn make_room(&mut self, newcomer: u32) {
        if !self.seat.is_taken() {
            self.ticks.advance(self.now_ms);
            self.evict_natively(newcomer);
        } else if self.seat.is_exact() {
            self.maintain(newcomer);
        }
    }

    /// One maintenance: calls the policy until it has no more victims, evicts them, judges the
    /// budget; on a fault the fallback takes over before anything else happens.
    fn maintain(&mut self, newcomer: u32) {
        self.ticks.advance(self.now_ms);
        if self.consult(newcomer).is_err() {
            self.counters.faults += 1;
            self.evict_natively(newcomer);
        }
        self.residents.release();
    }

    #[inline]
    fn consult(&mut self, newcomer: u32) -> Result<(), PolicyFault> {
        // Every victim of a full answer is a resident, or was one until this batch removed it, or is a
        // fault; so this ends.
        let calls_max = (self.residents.len() + self.seat.pending()) as u64 + 2;
        let mut calls = 0;
        loop {
            let answer = self.seat.call(&mut self.accepted, &mut self.counters);
            self.evict_accepted(newcomer);
            calls += 1;
            match answer {
                Ok(true) if calls >= calls_max => self.seat.endless(calls).map(|_| ())?,
                Ok(true) => {}
                Ok(false) => return self.seat.judge(),
                Err(fault) => return Err(fault),
            }
        }
    }

    #[inline]
    fn evict_accepted(&mut self, newcomer: u32) {
        for index in 0..self.accepted.len() {
            let slot = self.accepted[index].slot;
            self.evict(slot);
            if slot == newcomer {
                self.counters.rejections += 1;
            } else {
                self.counters.evictions += 1;
            }
        }
        self.accepted.clear();
    }

    #[inline]
    fn evict(&mut self, slot: u32) {
        let id = self.residents.entry_id(slot);
        if let Some((key, value)) = self.residents.remove(slot) {
            self.evicted.push(Evicted { id, key, value });
        }
    }

    /// Evicts by the fallback until the capacity is kept. The newcomer is exempt: it fits alone.
    fn evict_natively(&mut self, newcomer: u32) {
        while self.residents.weight() > self.config.capacity {
            let (residents, tick) = (&self.residents, self.ticks.now());
            let age = |slot| if slot == newcomer { None } else { residents.age(slot, tick) };
            let Some(victim) = self.fallback.choose(residents.slots(), age) else { break };
            self.evict(victim);
            self.counters.evictions += 1;
        }
        if !self.seat.is_taken() {
            self.residents.release();
        }
    }
}

#[inline]
fn record(kind: Kind, slot: u32, (key_hash, weight): (u64, u32), access: Access) -> Record {
    Record {
        key_hash,
        time_ms: access.time_ms,
        slot,
        weight,
        cost_us: access.cost_us,
        count: 1,
        class: access.class,
        kind: kind as u8,
        flags: 0,
    }
}

#[inline]
fn origin_of(access: Access) -> Origin {
    Origin { cost_us: access.cost_us, class: access.class, ..Origin::default() }
}
