//! What is put into a shard: newcomers, overwritten entries, and what is refused.
//!
//! Part of the state, under its lock; it decides nothing about who goes but by the engine's own eviction.

use std::hash::Hash;
use std::time::Duration;

use ostler_abi::{Kind, Record};

use crate::expiry::{Expiry, Lifetime};
use crate::live::left::Left;
use crate::live::state::{BORN_MS, Budget, Origin, REAP_WORK_INSERT, State, millis};
use crate::options::{Cause, InsertOptions, Stored, Ttl};
use crate::residents::{KeyHash, Named, Now};

/// An entry that wants in, with all that is known about it.
#[derive(Debug)]
pub(crate) struct Newcomer<K, V> {
    pub(crate) key: K,
    pub(crate) value: V,
    pub(crate) hash: u64,
    /// At least 1.
    pub(crate) weight: u32,
    pub(crate) options: InsertOptions,
}

/// Whether a policy kept a newcomer that it was asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    No,
    Yes,
}

/// What came of an attempt to put an entry in.
pub(crate) enum Put<K, V> {
    /// It is through.
    Done(Stored),
    /// There is no room within the limit: the policy has to be asked first.
    NoRoom(Newcomer<K, V>),
}

impl<K: Hash + Eq, V, H: KeyHash<K>> State<K, V, H> {
    /// Puts an entry in, if there is room for it within the limit, or by the engine's own eviction
    /// where no policy is in charge.
    pub(crate) fn put(
        &mut self,
        newcomer: Newcomer<K, V>,
        now_ms: u64,
        left: &mut Left<K, V>,
    ) -> Put<K, V> {
        self.now_ms = self.now_ms.max(now_ms);
        if self.expiry.is_some() {
            self.reap(now_ms, REAP_WORK_INSERT, left);
        }
        let resident = self.find_live(newcomer.hash, &newcomer.key, now_ms, left);
        if self.is_hopeless(&newcomer) {
            return Put::Done(self.refuse(newcomer, resident, left));
        }
        let freed = resident.map_or(0, |slot| self.residents.weight_of(slot));
        let weight = self.residents.weight() - u64::from(freed) + u64::from(newcomer.weight);
        if !self.seating.taken {
            self.ticks.advance(self.now_ms);
            let room = self.room_for(newcomer.weight.saturating_sub(freed));
            self.evict_natively(room, resident, left);
        } else if weight > self.budget.limit() && newcomer.weight > freed {
            return Put::NoRoom(newcomer);
        }
        Put::Done(match resident {
            Some(slot) => self.overwrite(slot, newcomer, now_ms, left),
            None => self.admit(newcomer, now_ms),
        })
    }

    /// Puts an entry in by the engine's own eviction: the policy cannot be asked now.
    pub(crate) fn put_natively(
        &mut self,
        newcomer: Newcomer<K, V>,
        now_ms: u64,
        left: &mut Left<K, V>,
    ) -> Stored {
        if !self.is_hopeless(&newcomer) {
            let resident = self.find(newcomer.hash, &newcomer.key, now_ms);
            let freed = resident.map_or(0, |slot| self.residents.weight_of(slot));
            let room = self.room_for(newcomer.weight.saturating_sub(freed));
            self.evict_natively(room, resident, left);
        }
        match self.put(newcomer, now_ms, left) {
            Put::Done(stored) => stored,
            // Cannot be: what was in the way is gone, and the lock was held. If it were, the newcomer
            // is the one that goes.
            Put::NoRoom(newcomer) => self.refuse(newcomer, None, left),
        }
    }

    /// True where `newcomer` will not be stored, however much room there is: nobody is to go for it.
    fn is_hopeless(&self, newcomer: &Newcomer<K, V>) -> bool {
        let unborn = newcomer.options.ttl == Ttl::After(Duration::ZERO);
        unborn || u64::from(newcomer.weight) > self.budget.capacity
    }

    fn refuse(
        &mut self,
        newcomer: Newcomer<K, V>,
        resident: Option<u32>,
        left: &mut Left<K, V>,
    ) -> Stored {
        self.counts.inserted += 1;
        if let Some(slot) = resident {
            self.depart(slot, Cause::Replaced, left);
        }
        self.counts.left(Cause::Rejected);
        left.push((newcomer.key, newcomer.value, Cause::Rejected));
        Stored::Rejected
    }

    fn admit(&mut self, newcomer: Newcomer<K, V>, now_ms: u64) -> Stored {
        let Newcomer { key, value, hash, weight, options } = newcomer;
        let now = Now { tick: self.ticks.now(), born: (self.now_ms / BORN_MS) as u32 };
        let slot = self.residents.insert(hash, (key, value), weight, now);
        self.counts.inserted += 1;
        self.settle(slot, &options, now_ms);
        self.note_write(Kind::Insert, slot, hash);
        Stored::New
    }

    fn overwrite(
        &mut self,
        slot: u32,
        newcomer: Newcomer<K, V>,
        now_ms: u64,
        left: &mut Left<K, V>,
    ) -> Stored {
        let Newcomer { key, value, hash, weight, options } = newcomer;
        let options = self.keeping(slot, options, now_ms);
        let same_weight = self.residents.weight_of(slot) == weight;
        let tick = self.ticks.now();
        let replaced = self.residents.replace(slot, value, weight, tick);
        let coalesced = replaced.as_ref().is_some_and(|(_, access)| access.coalesced);
        if let Some((old, _)) = replaced {
            left.push((key, old, Cause::Replaced));
        }
        self.counts.inserted += 1;
        self.counts.left(Cause::Replaced);
        self.settle(slot, &options, now_ms);
        if !(same_weight && coalesced) {
            self.note_write(Kind::Update, slot, hash);
        }
        Stored::Replaced
    }

    /// Takes a slot for `newcomer`, and gives the record that introduces it. The policy is about to be
    /// asked for victims, though no write was noted: the tick ends, so that later hits are told apart
    /// from those before.
    pub(crate) fn reserve(&mut self, newcomer: &Newcomer<K, V>) -> Record {
        self.noted = 0;
        self.ticks.advance(self.now_ms);
        let slot = self.residents.reserve();
        self.notes.introduced(slot);
        let InsertOptions { cost_us, class, .. } = newcomer.options;
        let record = Origin { cost_us, class }.record(
            Kind::Insert,
            newcomer.hash,
            newcomer.weight,
            self.now_ms,
        );
        Record { slot, ..record }
    }

    /// Puts `newcomer` into the slot that was reserved for it. The policy has heard of it.
    pub(crate) fn admit_reserved(
        &mut self,
        newcomer: Newcomer<K, V>,
        slot: u32,
        now_ms: u64,
    ) -> Stored {
        let Newcomer { key, value, hash, weight, options } = newcomer;
        let now = Now { tick: self.ticks.now(), born: (self.now_ms / BORN_MS) as u32 };
        self.residents.insert_at(slot, (hash, weight), (key, value), now);
        self.counts.inserted += 1;
        self.settle(slot, &options, now_ms);
        Stored::New
    }

    /// Gives a reserved slot back. `departure` is told to the policy where it `wanted` the newcomer.
    pub(crate) fn unreserve(&mut self, departure: Record, wanted: Wanted) {
        let told = wanted == Wanted::Yes && self.seating.noting;
        if !told {
            self.notes.evicted(departure.slot);
        }
        let named =
            if told && !self.notes.departure(departure) { Named::Yes } else { Named::Never };
        self.residents.unreserve(departure.slot, named);
    }

    /// The weight that may be resident for `weight` more to fit.
    pub(crate) fn room_for(&self, weight: u32) -> u64 {
        let Budget { capacity, .. } = self.budget;
        let limit = if self.seating.taken { self.budget.limit() } else { capacity };
        limit.saturating_sub(u64::from(weight))
    }

    /// Counts `newcomer` in and out: the policy did not want it.
    pub(crate) fn reject(&mut self, newcomer: Newcomer<K, V>, left: &mut Left<K, V>) -> Stored {
        self.refuse(newcomer, None, left)
    }

    /// `options` with what they keep of the entry in `slot` put in: its end and its time to idle.
    #[inline]
    pub(crate) fn keeping(&self, slot: u32, options: InsertOptions, now_ms: u64) -> InsertOptions {
        if options.ttl != Ttl::Keep {
            return options;
        }
        let expiry = self.expiry.as_ref();
        let to_live_ms = expiry.and_then(|expiry| expiry.live_end_ms(slot)?.checked_sub(now_ms));
        let to_idle_ms = expiry.and_then(|expiry| expiry.to_idle_ms(slot));
        InsertOptions {
            ttl: to_live_ms.map_or(Ttl::Never, |ms| Ttl::After(Duration::from_millis(ms))),
            tti: options.tti.or(to_idle_ms.map(Duration::from_millis)),
            ..options
        }
    }

    /// Side tables follow what was written into `slot`. Nothing is kept of an entry before.
    #[inline]
    fn settle(&mut self, slot: u32, options: &InsertOptions, now_ms: u64) {
        if !(self.is_bare() && options.is_plain()) {
            self.settle_tables(slot, options, now_ms);
        }
    }

    /// True where there are no side tables, and nothing but an option of an entry's own asks for one.
    #[inline]
    fn is_bare(&self) -> bool {
        self.origins.is_none() && self.expiry.is_none() && self.lifetimes.is_none()
    }

    #[inline(never)]
    fn settle_tables(&mut self, slot: u32, options: &InsertOptions, now_ms: u64) {
        if self.origins.is_some() || options.cost_us != 0 || options.class != 0 {
            let origins = self.origins.get_or_insert_default();
            origins.reach(slot);
            origins[slot] = Origin { cost_us: options.cost_us, class: options.class };
        }
        let to_live_ms = match options.ttl {
            Ttl::OfCache | Ttl::Keep => self.lifetimes.ttl.map(millis),
            Ttl::After(ttl) => Some(millis(ttl)),
            Ttl::Never => None,
        };
        let to_idle_ms = options.tti.or(self.lifetimes.tti).map(millis);
        if self.expiry.is_none() && to_live_ms.is_none() && to_idle_ms.is_none() {
            return;
        }
        let expiry = self.expiry.get_or_insert_with(|| Box::new(Expiry::new(now_ms)));
        expiry.set(slot, Lifetime { to_live_ms, to_idle_ms }, now_ms);
    }
}
