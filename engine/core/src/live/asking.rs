//! Inserts, and what happens to those that do not fit until the policy has been asked.
//!
//! An entry waits outside: its slot is taken, the policy hears of it and makes room, and only then does
//! it come in. So the weight that is resident never passes the limit, not even while the policy thinks.
//!
//! The newcomer is lent by the caller. A value that is not stored stays with it, or goes to those that
//! left, and so drops outside the lock.

use std::hash::{BuildHasher, Hash};

use ostler_abi::{Kind, Record};

use crate::hashing::Keys;
use crate::live::maintainer::Maintainer;
use crate::live::maintenance::Aftermath;
use crate::live::shard::LiveShard;
use crate::live::state::{Newcomer, Put, State, Wanted};
use crate::options::{Cause, Stored, Version};
use crate::sync::StateGuard;

type Guarded<'a, K, V, S> = StateGuard<'a, State<K, V, Keys<S>>>;

impl<K: Hash + Eq, V, S: BuildHasher + Clone> LiveShard<K, V, S> {
    /// Puts `newcomer` in. Where it does not fit, the policy is asked; where that is busy for too
    /// long, the engine evicts by itself.
    #[inline]
    pub(crate) fn insert(
        &self,
        newcomer: &mut Newcomer<K, V>,
        after: &mut Aftermath<K, V>,
    ) -> Stored {
        // Asked in every hold of the lock that may change the key: a load that began before is stale.
        let supersede = |key: &K| {
            if !self.loads.is_idle() {
                self.loads.supersede(key);
            }
            true
        };
        let state = self.state.lock();
        supersede(newcomer.key());
        self.insert_locked(state, newcomer, &supersede, after)
    }

    /// As [`insert`](Self::insert), for a value that was loaded, as long as it is `wanted`: asked under
    /// the lock under which the entry comes in. What is not wanted stays with the caller.
    pub(crate) fn insert_loaded(
        &self,
        newcomer: &mut Newcomer<K, V>,
        wanted: &dyn Fn() -> bool,
        after: &mut Aftermath<K, V>,
    ) {
        let state = self.state.lock();
        if wanted() {
            let _: Stored = self.insert_locked(state, newcomer, &|_: &K| wanted(), after);
        }
    }

    /// Puts `newcomer` in, if the key's version is the expected one; none where it was not. Where it
    /// does not fit, the engine evicts by itself: between asking a policy and storing, the version could
    /// change.
    pub(crate) fn insert_if(
        &self,
        newcomer: &mut Newcomer<K, V>,
        expected: Option<Version>,
        after: &mut Aftermath<K, V>,
    ) -> Option<Stored> {
        let mut state = self.state.lock();
        let now_ms = self.clock.now_ms();
        let slot = state.find_live(newcomer.hash, newcomer.key(), now_ms, &mut after.left);
        if slot.map(|slot| state.version(slot)) != expected {
            return None;
        }
        self.loads.supersede(newcomer.key());
        let stored = state.put_natively(newcomer, now_ms, &mut after.left);
        let due = state.is_due() || state.is_over_capacity();
        drop(state);
        if due {
            self.try_maintain(after);
        }
        Some(stored)
    }

    #[inline]
    fn insert_locked<'a>(
        &'a self,
        mut state: Guarded<'a, K, V, S>,
        newcomer: &mut Newcomer<K, V>,
        wanted: &impl Fn(&K) -> bool,
        after: &mut Aftermath<K, V>,
    ) -> Stored {
        loop {
            let now_ms = self.now_ms(&state, newcomer.options.as_ref());
            let put = state.put(newcomer, now_ms, &mut after.left);
            let due = state.is_due();
            drop(state);
            match put {
                Put::Done(stored) => {
                    if due {
                        self.try_maintain(after);
                    }
                    return stored;
                }
                Put::NoRoom => return self.insert_asking(newcomer, wanted, after),
                Put::Again => state = self.state.lock(),
            }
            if !wanted(newcomer.key()) {
                return Stored::Rejected;
            }
        }
    }

    #[inline(never)]
    fn insert_asking(
        &self,
        newcomer: &mut Newcomer<K, V>,
        wanted: &dyn Fn(&K) -> bool,
        after: &mut Aftermath<K, V>,
    ) -> Stored {
        let Some(mut maintainer) = self.maintainer.try_lock_for(self.insert_wait) else {
            self.clear_way(newcomer.weight, after);
            let mut state = self.state.lock();
            if !wanted(newcomer.key()) {
                return Stored::Rejected;
            }
            let now_ms = self.now_ms(&state, newcomer.options.as_ref());
            return state.put_natively(newcomer, now_ms, &mut after.left);
        };
        self.maintain(&mut maintainer, after);
        let mut state = self.state.lock();
        if !wanted(newcomer.key()) {
            return Stored::Rejected;
        }
        let now_ms = self.now_ms(&state, newcomer.options.as_ref());
        match state.put(newcomer, now_ms, &mut after.left) {
            Put::Done(stored) => stored,
            Put::NoRoom | Put::Again => {
                drop(state);
                self.insert_reserved(&mut maintainer, newcomer, wanted, after)
            }
        }
    }

    /// The newcomer is heavier than the slack, or others were faster: it gets a slot and waits.
    #[cold]
    fn insert_reserved(
        &self,
        maintainer: &mut Maintainer,
        newcomer: &mut Newcomer<K, V>,
        wanted: &dyn Fn(&K) -> bool,
        after: &mut Aftermath<K, V>,
    ) -> Stored {
        let (record, replaced) = {
            let mut state = self.state.lock();
            if !wanted(newcomer.key()) {
                return Stored::Rejected;
            }
            let now_ms = self.now_ms(&state, newcomer.options.as_ref());
            let resident = state.find(newcomer.hash, newcomer.key(), now_ms);
            if let Some(slot) = resident {
                if let Some(options) = &mut newcomer.options {
                    state.keep(slot, options);
                }
                state.depart(slot, Cause::Replaced, &mut after.left);
            }
            (state.reserve(newcomer), resident.is_some())
        };
        maintainer.reserved = Some(record);
        if replaced {
            self.maintain(maintainer, after);
        }
        maintainer.begin_apart();
        maintainer.tell_tap([std::slice::from_ref(&record), &[]]);
        self.deliver(maintainer, &record, after);
        self.consult(maintainer, after);
        maintainer.tell_preparing([std::slice::from_ref(&record), &[]]);
        let stored = self.take_in(maintainer, newcomer, (record, wanted), after);
        maintainer.age();
        maintainer.end();
        if replaced && stored == Stored::New { Stored::Replaced } else { stored }
    }

    /// Evicts natively until `weight` more would fit, a slice under each hold of the lock: a heavy
    /// newcomer may take the place of thousands.
    fn clear_way(&self, weight: u32, after: &mut Aftermath<K, V>) {
        loop {
            let mut state = self.state.lock();
            let room = state.room_for(weight);
            if u64::from(weight) > state.budget.capacity || state.evict_slice(room, &mut after.left)
            {
                return;
            }
        }
    }

    /// The policy has heard of `newcomer` by this record: it comes in, if it is wanted everywhere.
    fn take_in(
        &self,
        maintainer: &mut Maintainer,
        newcomer: &mut Newcomer<K, V>,
        (record, wanted): (Record, &dyn Fn(&K) -> bool),
        after: &mut Aftermath<K, V>,
    ) -> Stored {
        let knows = maintainer.seat.guard().has(record.slot);
        let admitted = knows || !maintainer.seat.is_taken();
        if admitted {
            self.clear_way(newcomer.weight, after);
        }
        let mut state = self.state.lock();
        let now_ms = self.now_ms(&state, newcomer.options.as_ref());
        let crowded = state.find(newcomer.hash, newcomer.key(), now_ms).is_some();
        let stale = !wanted(newcomer.key());
        if admitted && !crowded && !stale {
            let room = state.room_for(newcomer.weight);
            state.evict_natively(room, None, &mut after.left);
            let stored = state.admit_reserved(newcomer, record.slot, now_ms);
            maintainer.reserved = None;
            return stored;
        }
        maintainer.reserved = None;
        // Where it is stored after all, a tap is not to hear that it left.
        let flags = if stale { record.flags } else { record.flags | state.mark() };
        let departure = Record { kind: Kind::Remove as u8, flags, ..record };
        state.unreserve(departure, if knows { Wanted::Yes } else { Wanted::No });
        if stale {
            Stored::Rejected
        } else if admitted {
            // Another thread stored the same key meanwhile; this value is the later one.
            state.put_natively(newcomer, now_ms, &mut after.left)
        } else {
            state.reject(newcomer, &mut after.left)
        }
    }
}
