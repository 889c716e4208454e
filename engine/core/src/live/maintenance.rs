//! Maintenance of a live shard: notes to the policy, victims back, entries out.
//!
//! A maintenance collects under the state's lock, delivers without it, and applies each answer under
//! it again, a slice at a time. Between collecting and applying, other threads go on: a victim may
//! have been removed or overwritten meanwhile. Its slot cannot have passed to another entry, since a
//! slot freed by anything but the policy's choice stays in quarantine until the delivery of its last
//! event is through; and where the policy chose, what waits in the notes about the old tenant is
//! dropped at its delivery, because the slot has left the view.

use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use ostler_abi::{Kind, NO_SLOT, Record};

use crate::fault::PolicyFault;
use crate::instance::PolicyInstance;
use crate::live::left::Left;
use crate::live::maintainer::Maintainer;
use crate::live::shard::LiveShard;
use crate::live::state::Wanted;
use crate::options::Cause;
use crate::source::InstanceSource;

/// Victims applied under one lock of the state.
pub(crate) const SLICE_VICTIMS: usize = 64;

/// What an operation leaves to be done when all locks are open again.
pub(crate) struct Aftermath<K, V> {
    /// Entries that left.
    pub(crate) left: Left<K, V>,
    rare: Option<Box<Rare>>,
}

/// What happens once in a cache's life or so.
#[derive(Default)]
pub(crate) struct Rare {
    /// Policies that faulted.
    pub(crate) faults: Vec<(Arc<dyn InstanceSource>, PolicyFault)>,
    /// Instances that are through; dropping one gives its memory back to the system.
    pub(crate) retired: Vec<Box<dyn PolicyInstance>>,
    /// Policies that lost a seat for no fault of their own.
    pub(crate) bereaved: Vec<Arc<dyn InstanceSource>>,
    /// Lines that policies logged before they lost the seat.
    pub(crate) logs: Vec<String>,
}

impl<K, V> Default for Aftermath<K, V> {
    #[inline]
    fn default() -> Self {
        Self { left: Left::default(), rare: None }
    }
}

impl<K, V> Aftermath<K, V> {
    /// True where there is nothing to do.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.left.is_empty() && self.rare.is_none()
    }

    /// True where nobody but the entries' own `Drop` has anything to do.
    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        self.rare.is_none()
    }

    pub(crate) fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    pub(crate) fn into_parts(self) -> (Left<K, V>, Option<Box<Rare>>) {
        (self.left, self.rare)
    }
}

impl<K: Hash + Eq, V, S: BuildHasher + Clone> LiveShard<K, V, S> {
    /// Comes for what is due, unless somebody is there already. True where it came.
    #[inline(never)]
    pub(crate) fn try_maintain(&self, after: &mut Aftermath<K, V>) -> bool {
        let Some(mut maintainer) = self.maintainer.try_lock() else { return false };
        self.maintain(&mut maintainer, after);
        true
    }

    /// One maintenance: everything noted so far reaches the policy, and its victims leave.
    pub(crate) fn maintain(&self, maintainer: &mut Maintainer, after: &mut Aftermath<K, V>) {
        if maintainer.is_torn() {
            self.mend(maintainer, after);
        }
        maintainer.begin();
        let now_ms = self.clock.now_ms();
        {
            let mut state = self.state.lock();
            let taken = (&mut maintainer.batch, &mut maintainer.freed);
            state.collect(now_ms, taken, &mut after.left);
        }
        self.dismiss_quarantined(maintainer, after);
        let mut batch = std::mem::take(&mut maintainer.batch);
        maintainer.tell_tap(batch.pieces());
        batch.unmark();
        for mut rest in batch.pieces() {
            while maintainer.seat.is_taken() {
                rest = &rest[maintainer.note_slice(rest)..];
                // What stopped it: the end, a full window, or a slot beyond the bound.
                let Some((record, others)) = rest.split_first() else { break };
                self.deliver(maintainer, record, after);
                rest = others;
            }
        }
        self.consult(maintainer, after);
        maintainer.age();
        maintainer.tell_preparing(batch.pieces());
        batch.clear();
        maintainer.batch = batch;
        self.publish(maintainer);
    }

    /// Ends the quarantine of what was delivered, and shows the counts.
    pub(super) fn publish(&self, maintainer: &mut Maintainer) {
        let (counts, share) = (maintainer.counts(), maintainer.share());
        let mut state = self.state.lock();
        state.residents.end_quarantine(&mut maintainer.freed);
        state.tapped = share;
        state.counts.policy = counts;
        drop(state);
        maintainer.end();
    }

    /// A panic in the user's `Hash` or `Eq` ended the last delivery half-way: what the policy believes
    /// is not what is resident any more. It loses the seat, for no fault of its own.
    #[cold]
    pub(super) fn mend(&self, maintainer: &mut Maintainer, after: &mut Aftermath<K, V>) {
        maintainer.batch.clear();
        maintainer.accepted.clear();
        maintainer.evicted.clear();
        if maintainer.seat.is_taken()
            && let Some(charge) = &maintainer.charge
        {
            after.rare().bereaved.push(Arc::clone(&charge.source));
        }
        maintainer.seat.dismiss();
        maintainer.fail_preparing("a panic of the user's code ended a delivery");
        let reserved = maintainer.reserved.take();
        {
            let mut state = self.state.lock();
            if let Some(record) = reserved {
                let departure = Record { kind: Kind::Remove as u8, ..record };
                state.unreserve(departure, Wanted::No);
            }
            state.residents.end_quarantine(&mut maintainer.freed);
        }
        self.engage_fallback(maintainer, after);
        self.publish(maintainer);
    }

    /// Notes `record` for the policy in charge, which is called first where its window is full.
    #[inline]
    pub(crate) fn deliver(
        &self,
        maintainer: &mut Maintainer,
        record: &Record,
        after: &mut Aftermath<K, V>,
    ) {
        if maintainer.seat.is_taken() && maintainer.seat.is_full() {
            self.consult(maintainer, after);
        }
        if !maintainer.seat.is_taken() || !maintainer.concerns(record) {
            return;
        }
        if record.slot != NO_SLOT && maintainer.seat.needs_slots(record.slot) {
            maintainer.seat.announce_slots(record.slot);
            if maintainer.seat.is_full() {
                self.consult(maintainer, after);
            }
        }
        maintainer.seat.note(*record);
    }

    /// Calls the policy with what is noted until it has no more victims, applies them, and judges the
    /// budget. On a fault the fallback is in charge when this returns.
    pub(crate) fn consult(&self, maintainer: &mut Maintainer, after: &mut Aftermath<K, V>) {
        if !maintainer.seat.is_taken() || maintainer.seat.pending() == 0 {
            return;
        }
        let calls_max = u64::from(maintainer.seat.guard().slots()) + 2;
        let mut calls = 0;
        loop {
            let answer = maintainer.call();
            self.apply(maintainer, after);
            calls += 1;
            let answer = match answer {
                Ok(true) if calls >= calls_max => maintainer.seat.endless(calls).map(|_| ()),
                Ok(true) => continue,
                Ok(false) => maintainer.seat.judge(),
                Err(fault) => Err(fault),
            };
            if let Err(fault) = answer {
                self.fall_back(maintainer, fault, after);
            }
            return;
        }
    }

    /// Takes out the victims that the guard accepted. Those that left meanwhile are stale.
    fn apply(&self, maintainer: &mut Maintainer, after: &mut Aftermath<K, V>) {
        let accepted = std::mem::take(&mut maintainer.accepted);
        for slice in accepted.chunks(SLICE_VICTIMS) {
            maintainer.hashes.clear();
            let mut state = self.state.lock();
            state.counts.held(slice.len());
            // All keys are read before the first entry goes: the loads overlap.
            maintainer
                .hashes
                .extend(slice.iter().map(|victim| state.residents.hash_at(victim.slot)));
            for (index, victim) in slice.iter().enumerate() {
                let fresh = maintainer.is_fresh(victim.slot);
                let cause = if fresh { Cause::Rejected } else { Cause::Evicted };
                match maintainer.hashes[index] {
                    Some(hash) => state.evict(victim.slot, hash, cause, &mut after.left),
                    None => maintainer.count_stale(),
                }
            }
        }
        if maintainer.preparing.is_some() {
            maintainer.evicted.extend(accepted.iter().map(|victim| victim.slot));
        }
        maintainer.accepted = accepted;
        maintainer.accepted.clear();
    }

    /// The policy has lost the seat by `fault`: the engine evicts by itself from here on.
    #[cold]
    pub(super) fn fall_back(
        &self,
        maintainer: &mut Maintainer,
        fault: PolicyFault,
        after: &mut Aftermath<K, V>,
    ) {
        maintainer.count_fault();
        after.rare().logs.extend(maintainer.seat.take_log());
        if let Some(charge) = &maintainer.charge {
            after.rare().faults.push((Arc::clone(&charge.source), fault));
        }
        self.engage_fallback(maintainer, after);
    }

    /// Puts the fallback in charge, which keeps the capacity from now on.
    pub(super) fn engage_fallback(&self, maintainer: &mut Maintainer, after: &mut Aftermath<K, V>) {
        let mut state = self.state.lock();
        state.seating = maintainer.seating();
        let capacity = state.budget.capacity;
        state.evict_natively(capacity, None, &mut after.left);
        if !state.seating.noting {
            state.silence();
        }
    }

    /// Takes the seat from a policy whose code was quarantined for the cache by other shards' faults.
    fn dismiss_quarantined(&self, maintainer: &mut Maintainer, after: &mut Aftermath<K, V>) {
        let quarantined = self.quarantine.count();
        if maintainer.quarantined_seen == quarantined {
            return;
        }
        maintainer.quarantined_seen = quarantined;
        let code = maintainer.charge.as_ref().map(|charge| charge.source.code_id());
        if maintainer.seat.is_taken() && code.is_some_and(|code| self.quarantine.holds_code(&code))
        {
            maintainer.seat.dismiss();
            self.engage_fallback(maintainer, after);
        }
    }
}
