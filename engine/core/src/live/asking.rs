//! Inserts, and what happens to those that do not fit until the policy has been asked.
//!
//! An entry waits outside: its slot is taken, the policy hears of it and makes room, and only then does
//! it come in. So the weight that is resident never passes the limit, not even while the policy thinks.

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
    pub(crate) fn insert(&self, newcomer: Newcomer<K, V>, after: &mut Aftermath<K, V>) -> Stored {
        // Asked in every hold of the lock that may change the key: a load that began before is stale.
        let supersede = |key: &K| {
            self.loads.supersede(key);
            true
        };
        let state = self.state.lock();
        supersede(&newcomer.key);
        self.insert_locked(state, newcomer, &supersede, after)
    }

    /// As [`insert`](Self::insert), for a value that was loaded, as long as it is `wanted`: asked under
    /// the lock under which the entry comes in.
    pub(crate) fn insert_loaded(
        &self,
        newcomer: Newcomer<K, V>,
        wanted: &dyn Fn() -> bool,
        after: &mut Aftermath<K, V>,
    ) {
        let state = self.state.lock();
        if wanted() {
            let _: Stored = self.insert_locked(state, newcomer, &|_: &K| wanted(), after);
        } else {
            drop(state);
            drop(newcomer);
        }
    }

    /// Puts `newcomer` in, if the key's version is the expected one; none where it was not. Where it
    /// does not fit, the engine evicts by itself: between asking a policy and storing, the version could
    /// change.
    pub(crate) fn insert_if(
        &self,
        newcomer: Newcomer<K, V>,
        expected: Option<Version>,
        after: &mut Aftermath<K, V>,
    ) -> Option<Stored> {
        let mut state = self.state.lock();
        let now_ms = self.clock.now_ms();
        let slot = state.find_live(newcomer.hash, &newcomer.key, now_ms, &mut after.left);
        if slot.map(|slot| state.version(slot)) != expected {
            drop(state);
            drop(newcomer);
            return None;
        }
        self.loads.supersede(&newcomer.key);
        let stored = state.put_natively(newcomer, now_ms, &mut after.left);
        let due = state.is_due() || state.is_over_capacity();
        drop(state);
        if due {
            self.try_maintain(after);
        }
        Some(stored)
    }

    #[inline]
    fn insert_locked(
        &self,
        mut state: Guarded<'_, K, V, S>,
        newcomer: Newcomer<K, V>,
        wanted: &impl Fn(&K) -> bool,
        after: &mut Aftermath<K, V>,
    ) -> Stored {
        let now_ms = self.now_ms(&state, &newcomer.options);
        match state.put(newcomer, now_ms, &mut after.left) {
            Put::Done(stored) => {
                let due = state.is_due();
                drop(state);
                if due {
                    self.try_maintain(after);
                }
                stored
            }
            Put::NoRoom(newcomer) => {
                drop(state);
                self.insert_asking(newcomer, wanted, after)
            }
        }
    }

    #[inline(never)]
    fn insert_asking(
        &self,
        newcomer: Newcomer<K, V>,
        wanted: &dyn Fn(&K) -> bool,
        after: &mut Aftermath<K, V>,
    ) -> Stored {
        let Some(mut maintainer) = self.maintainer.try_lock_for(self.insert_wait) else {
            let mut state = self.state.lock();
            if !wanted(&newcomer.key) {
                return withdrawn(state, newcomer);
            }
            let now_ms = self.now_ms(&state, &newcomer.options);
            return state.put_natively(newcomer, now_ms, &mut after.left);
        };
        self.maintain(&mut maintainer, after);
        let mut state = self.state.lock();
        if !wanted(&newcomer.key) {
            return withdrawn(state, newcomer);
        }
        let now_ms = self.now_ms(&state, &newcomer.options);
        match state.put(newcomer, now_ms, &mut after.left) {
            Put::Done(stored) => stored,
            Put::NoRoom(newcomer) => {
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
        mut newcomer: Newcomer<K, V>,
        wanted: &dyn Fn(&K) -> bool,
        after: &mut Aftermath<K, V>,
    ) -> Stored {
        let (record, replaced) = {
            let mut state = self.state.lock();
            if !wanted(&newcomer.key) {
                return withdrawn(state, newcomer);
            }
            let now_ms = self.now_ms(&state, &newcomer.options);
            let resident = state.find(newcomer.hash, &newcomer.key, now_ms);
            if let Some(slot) = resident {
                newcomer.options = state.keeping(slot, newcomer.options, now_ms);
                state.depart(slot, Cause::Replaced, &mut after.left);
            }
            (state.reserve(&newcomer), resident.is_some())
        };
        if replaced {
            self.maintain(maintainer, after);
        }
        maintainer.begin_apart();
        self.deliver(maintainer, &record, after);
        self.consult(maintainer, after);
        maintainer.tell_preparing([std::slice::from_ref(&record), &[]]);
        let stored = self.take_in(maintainer, newcomer, (record, wanted), after);
        maintainer.end();
        if replaced && stored == Stored::New { Stored::Replaced } else { stored }
    }

    /// The policy has heard of `newcomer` by this record: it comes in, if it is wanted everywhere.
    fn take_in(
        &self,
        maintainer: &Maintainer,
        newcomer: Newcomer<K, V>,
        (record, wanted): (Record, &dyn Fn(&K) -> bool),
        after: &mut Aftermath<K, V>,
    ) -> Stored {
        let knows = maintainer.seat.guard().has(record.slot);
        let admitted = knows || !maintainer.seat.is_taken();
        let mut state = self.state.lock();
        let now_ms = self.now_ms(&state, &newcomer.options);
        let crowded = state.find(newcomer.hash, &newcomer.key, now_ms).is_some();
        let stale = !wanted(&newcomer.key);
        if admitted && !crowded && !stale {
            let room = state.room_for(newcomer.weight);
            state.evict_natively(room, None, &mut after.left);
            return state.admit_reserved(newcomer, record.slot, now_ms);
        }
        let departure = Record { kind: Kind::Remove as u8, ..record };
        state.unreserve(departure, if knows { Wanted::Yes } else { Wanted::No });
        if stale {
            withdrawn(state, newcomer)
        } else if admitted {
            // Another thread stored the same key meanwhile; this value is the later one.
            state.put_natively(newcomer, now_ms, &mut after.left)
        } else {
            state.reject(newcomer, &mut after.left)
        }
    }
}

/// A loaded value that nobody wants stored any more drops outside the lock.
fn withdrawn<K, V, S>(state: Guarded<'_, K, V, S>, newcomer: Newcomer<K, V>) -> Stored {
    drop(state);
    drop(newcomer);
    Stored::Rejected
}
