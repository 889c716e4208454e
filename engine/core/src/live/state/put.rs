//! What is put into a shard: newcomers, overwritten entries, and what is refused.
//!
//! Part of the state, under its lock; it decides nothing about who goes but by the engine's own eviction.

use std::hash::Hash;
use std::time::Duration;

use ostler_abi::{Kind, Record};

use crate::expiry::{Expiry, Lifetime};
use crate::live::left::Left;
use crate::live::state::{Budget, REAP_WORK_INSERT, SLICE_RECORDS, State, millis};
use crate::options::{Cause, InsertOptions, Stored, Ttl};
use crate::origins::Origin;
use crate::residents::{KeyHash, Named};

/// Ticks in as many writes as there are entries, where the engine evicts by itself.
const TICKS_A_TURN: usize = 1024;

/// An entry that wants in, with all that is known about it. It is large, so it is lent on its way, and
/// only the entry itself moves, once: into its place or to those that left.
#[derive(Debug)]
pub(crate) struct Newcomer<K, V> {
    /// None once it has moved.
    pub(crate) entry: Option<(K, V)>,
    pub(crate) hash: u64,
    /// At least 1.
    pub(crate) weight: u32,
    /// None for the defaults.
    pub(crate) options: Option<InsertOptions>,
}

/// Whether a policy kept a newcomer that it was asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    No,
    Yes,
}

/// What came of an attempt to put an entry in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Put {
    /// It is through.
    Done(Stored),
    /// There is no room within the limit: the policy has to be asked first. The newcomer is as it was.
    NoRoom,
    /// Some room was made, and there is more to do: to be tried again after unlocking.
    Again,
}

impl<K, V> Newcomer<K, V> {
    /// The key, as long as the entry has not moved.
    #[inline]
    pub(crate) fn key(&self) -> &K {
        let entry = self.entry.as_ref();
        &entry.expect("invariant: a newcomer is asked for its key before it is stored").0
    }
}

impl<K: Hash + Eq, V, H: KeyHash<K>> State<K, V, H> {
    /// Puts an entry in, if there is room for it within the limit, or by the engine's own eviction
    /// where no policy is in charge.
    pub(crate) fn put(
        &mut self,
        newcomer: &mut Newcomer<K, V>,
        now_ms: u64,
        left: &mut Left<K, V>,
    ) -> Put {
        self.now_ms = self.now_ms.max(now_ms);
        if self.expiry.is_some() {
            self.reap(now_ms, REAP_WORK_INSERT, left);
        }
        let resident = self.find_live(newcomer.hash, newcomer.key(), now_ms, left);
        if self.is_hopeless(newcomer, now_ms) {
            return Put::Done(self.refuse(newcomer, resident, left));
        }
        let freed = resident.map_or(0, |slot| self.residents.weight_of(slot));
        if newcomer.weight > freed || !self.seating.taken {
            let grown = newcomer.weight.saturating_sub(freed);
            if !self.seating.taken {
                self.tick_natively();
                let room = self.room_for(grown);
                if self.residents.weight() > room.saturating_add(SLICE_RECORDS as u64) {
                    // May be thousands of entries: a slice, and the caller lets others go on.
                    if !self.evict_slice(room, left) {
                        return Put::Again;
                    }
                    return self.put(newcomer, now_ms, left);
                }
                self.evict_natively(room, resident, left);
            } else if self.residents.weight() + u64::from(grown) > self.budget.limit() {
                return Put::NoRoom;
            }
        }
        Put::Done(match resident {
            Some(slot) => self.overwrite((slot, freed), newcomer, now_ms, left),
            None => self.admit(newcomer, now_ms),
        })
    }

    /// Without a policy there are no maintenances to end ticks: writes do, so rarely that ages do not
    /// wrap before an entry has been passed over for thousands of turns of the cache.
    fn tick_natively(&mut self) {
        self.noted += 1;
        if self.noted > self.residents.len() / TICKS_A_TURN {
            self.noted = 0;
            self.ticks.advance(self.now_ms);
        }
    }

    /// Puts an entry in by the engine's own eviction: the policy cannot be asked now.
    pub(crate) fn put_natively(
        &mut self,
        newcomer: &mut Newcomer<K, V>,
        now_ms: u64,
        left: &mut Left<K, V>,
    ) -> Stored {
        if !self.is_hopeless(newcomer, now_ms) {
            let resident = self.find(newcomer.hash, newcomer.key(), now_ms);
            let freed = resident.map_or(0, |slot| self.residents.weight_of(slot));
            let room = self.room_for(newcomer.weight.saturating_sub(freed));
            self.evict_natively(room, resident, left);
        }
        match self.put(newcomer, now_ms, left) {
            Put::Done(stored) => stored,
            // Cannot be: what was in the way is gone, and the lock was held. If it were, the newcomer
            // is the one that goes.
            Put::NoRoom | Put::Again => self.refuse(newcomer, None, left),
        }
    }

    /// True where `newcomer` will not be stored, however much room there is: nobody is to go for it.
    #[inline]
    fn is_hopeless(&self, newcomer: &Newcomer<K, V>, now_ms: u64) -> bool {
        let unborn = newcomer.options.as_ref().is_some_and(|options| match options.ttl {
            Ttl::After(ttl) => ttl.is_zero(),
            Ttl::At(end_ms) => end_ms <= now_ms,
            Ttl::OfCache | Ttl::Keep | Ttl::Never => false,
        });
        unborn || u64::from(newcomer.weight) > self.budget.capacity
    }

    #[cold]
    fn refuse(
        &mut self,
        newcomer: &mut Newcomer<K, V>,
        resident: Option<u32>,
        left: &mut Left<K, V>,
    ) -> Stored {
        self.counts.came(newcomer.weight);
        if let Some(slot) = resident {
            self.depart(slot, Cause::Replaced, left);
        }
        self.counts.left(Cause::Rejected);
        if let Some((key, value)) = newcomer.entry.take() {
            left.push((key, value, Cause::Rejected));
        }
        Stored::Rejected
    }

    fn admit(&mut self, newcomer: &mut Newcomer<K, V>, now_ms: u64) -> Stored {
        let now = self.now();
        let slot = self.residents.insert(newcomer.hash, &mut newcomer.entry, newcomer.weight, now);
        self.counts.came(newcomer.weight);
        self.settle(slot, newcomer.options.as_ref(), now_ms);
        self.note_write(Kind::Insert, slot, newcomer.hash);
        Stored::New
    }

    /// `resident` is the slot of the key, and what its entry weighs.
    #[inline]
    fn overwrite(
        &mut self,
        (slot, freed): (u32, u32),
        newcomer: &mut Newcomer<K, V>,
        now_ms: u64,
        left: &mut Left<K, V>,
    ) -> Stored {
        if let Some(options) = &mut newcomer.options {
            self.keep(slot, options);
        }
        let tick = self.ticks.now();
        let Some(entry) = newcomer.entry.take() else { return Stored::Rejected };
        let (weight, weights) = (newcomer.weight, (freed, newcomer.weight));
        let (old, access) = self.residents.replace(slot, entry, weights, tick);
        if let Some((key, old)) = old {
            left.push((key, old, Cause::Replaced));
        }
        self.counts.came(weight);
        self.counts.left(Cause::Replaced);
        self.settle(slot, newcomer.options.as_ref(), now_ms);
        if !(freed == weight && access.coalesced) {
            self.note_write(Kind::Update, slot, newcomer.hash);
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
        let options = newcomer.options.unwrap_or_default();
        let record =
            origin_of(&options).record(Kind::Insert, newcomer.hash, newcomer.weight, self.now_ms);
        Record { slot, ..record }
    }

    /// Puts `newcomer` into the slot that was reserved for it. The policy has heard of it.
    pub(crate) fn admit_reserved(
        &mut self,
        newcomer: &mut Newcomer<K, V>,
        slot: u32,
        now_ms: u64,
    ) -> Stored {
        let Newcomer { entry, hash, weight, options } = newcomer;
        let now = self.now();
        self.residents.insert_at(slot, (*hash, *weight), entry, now);
        self.counts.came(*weight);
        self.settle(slot, options.as_ref(), now_ms);
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
    pub(crate) fn reject(
        &mut self,
        newcomer: &mut Newcomer<K, V>,
        left: &mut Left<K, V>,
    ) -> Stored {
        self.refuse(newcomer, None, left)
    }

    /// Puts what `options` keep of the entry in `slot` into them: its end, its time to idle, and its
    /// cost and class where they name none.
    pub(crate) fn keep(&self, slot: u32, options: &mut InsertOptions) {
        if options.ttl != Ttl::Keep {
            return;
        }
        let expiry = self.expiry.as_ref();
        let to_idle_ms = expiry.and_then(|expiry| expiry.to_idle_ms(slot));
        let live_end_ms = expiry.and_then(|expiry| expiry.live_end_ms(slot));
        options.ttl = live_end_ms.map_or(Ttl::Never, Ttl::At);
        options.tti = options.tti.or(to_idle_ms.map(Duration::from_millis));
        let Origin { cost_us, class, .. } = self.origins.of(slot);
        options.cost_us = if options.cost_us == 0 { cost_us } else { options.cost_us };
        options.class = if options.class == 0 { class } else { options.class };
    }

    /// Side tables follow what was written into `slot`. Nothing is kept of an entry before.
    #[inline]
    fn settle(&mut self, slot: u32, options: Option<&InsertOptions>, now_ms: u64) {
        if !(self.is_bare() && options.is_none_or(InsertOptions::is_plain)) {
            self.settle_tables(slot, &options.copied().unwrap_or_default(), now_ms);
        }
    }

    /// True where there are no side tables, and nothing but an option of an entry's own asks for one.
    #[inline]
    fn is_bare(&self) -> bool {
        !self.origins.are_kept() && self.expiry.is_none() && self.lifetimes.is_none()
    }

    #[inline(never)]
    fn settle_tables(&mut self, slot: u32, options: &InsertOptions, now_ms: u64) {
        self.origins.set(slot, origin_of(options));
        let to_live_ms = match options.ttl {
            Ttl::OfCache | Ttl::Keep => self.lifetimes.ttl.map(millis),
            Ttl::After(ttl) => Some(millis(ttl)),
            Ttl::At(end_ms) => Some(end_ms.saturating_sub(now_ms)),
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

fn origin_of(options: &InsertOptions) -> Origin {
    let InsertOptions { cost_us, class, flags, .. } = *options;
    Origin { cost_us, class, flags }
}
