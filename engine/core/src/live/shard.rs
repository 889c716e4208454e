//! One live shard and the operations that need no policy.

use std::borrow::Borrow;
use std::cmp::Reverse;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;
use std::time::Duration;

use crate::cache::Resident;
use crate::clock::Clock;
use crate::flight::Flights;
use crate::hashing::Keys;
use crate::live::maintainer::Maintainer;
use crate::live::maintenance::Aftermath;
use crate::live::state::{Budget, Lifetimes, REAP_WORK, State, StateSetup};
use crate::model_shelf::ModelShelf;
use crate::options::{Cause, InsertOptions, Version};
use crate::quarantine::Quarantine;
use crate::seat::Seat;
use crate::stats::Stats;
use crate::sync::{Mutex, StateLock};
use crate::tap::SampleShare;

/// Entries looked at under one lock, where all of a shard's are.
pub(crate) const SLICE_SLOTS: u32 = 256;

/// Expired entries that one missed read reaps at most, in nodes of the wheel looked at.
const REAP_WORK_READ: u32 = 8;

/// Whether there is something to do after an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Due {
    No,
    Yes,
}

/// What a shard is made with.
#[derive(Clone)]
pub(crate) struct ShardSetup {
    pub(crate) budget: Budget,
    pub(crate) expected_entries: usize,
    /// Slots that a policy is made for at least: all that can be in use, where that is known.
    pub(crate) slots_expected: u32,
    pub(crate) notes_len_max: usize,
    pub(crate) insert_wait: Duration,
    pub(crate) lifetimes: Lifetimes,
    pub(crate) seed: u64,
    pub(crate) quarantine: Arc<Quarantine>,
    pub(crate) models: Arc<ModelShelf>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// One shard. Aligned so that no two shards' locks share a line of the processor's cache.
#[repr(align(128))]
pub(crate) struct LiveShard<K, V, S> {
    pub(crate) state: StateLock<State<K, V, Keys<S>>>,
    pub(crate) maintainer: Mutex<Maintainer>,
    pub(crate) insert_wait: Duration,
    pub(crate) slots_expected: u32,
    pub(crate) seed: u64,
    pub(crate) quarantine: Arc<Quarantine>,
    pub(crate) models: Arc<ModelShelf>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Loads under way in the whole cache; a write marks the load of its key under the state's lock.
    pub(crate) loads: Arc<Flights<K, V, S>>,
}

impl<K: Hash + Eq, V, S: BuildHasher + Clone> LiveShard<K, V, S> {
    /// An empty shard with the fallback in charge.
    pub(crate) fn new(setup: &ShardSetup, hasher: S, loads: Arc<Flights<K, V, S>>) -> Self {
        let state = StateSetup {
            budget: setup.budget,
            notes_len_max: setup.notes_len_max,
            lifetimes: setup.lifetimes,
            seed: setup.seed,
            now_ms: setup.clock.now_ms(),
        };
        Self {
            state: StateLock::new(State::new(Keys(hasher), setup.expected_entries, state)),
            maintainer: Mutex::new(Maintainer::new(Seat::empty(setup.budget.capacity), None)),
            insert_wait: setup.insert_wait,
            slots_expected: setup.slots_expected,
            seed: setup.seed,
            quarantine: Arc::clone(&setup.quarantine),
            models: Arc::clone(&setup.models),
            clock: Arc::clone(&setup.clock),
            loads,
        }
    }

    /// The time for a write with these options: exact where entries expire, and otherwise as of the
    /// last maintenance, unless nothing has happened since.
    #[inline]
    pub(crate) fn now_ms(
        &self,
        state: &State<K, V, Keys<S>>,
        options: Option<&InsertOptions>,
    ) -> u64 {
        if state.is_timed()
            || options.is_some_and(InsertOptions::is_timed)
            || state.notes.is_empty()
        {
            return self.clock.now_ms();
        }
        state.now_ms()
    }

    /// Looks `key` up and lets `read` see its value under the lock. Sets `due` where
    /// [`catch_up`](Self::catch_up) is due; it is not a second result, so that the first is made in its
    /// place.
    #[inline]
    pub(crate) fn read<Q, R>(
        &self,
        hash: u64,
        key: &Q,
        read: impl FnOnce(&V) -> R,
        due: &mut Due,
    ) -> Option<R>
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        let mut state = self.state.lock();
        let now_ms = if state.is_timed() { self.clock.now_ms() } else { 0 };
        let Some(value) = state.request(hash, key, now_ms) else {
            state.miss(hash);
            // An entry that has expired is still in its place, if that is why; it is reaped then.
            if state.is_due() || state.is_timed() {
                *due = Due::Yes;
            }
            return None;
        };
        let result = Some(read(value));
        if state.is_due() {
            *due = Due::Yes;
        }
        result
    }

    /// What a read leaves to be done: a maintenance if there is reason for one, and what has expired.
    #[inline(never)]
    pub(crate) fn catch_up(&self, after: &mut Aftermath<K, V>) {
        let due = {
            let mut state = self.state.lock();
            if state.is_timed() {
                let now_ms = self.clock.now_ms();
                state.reap(now_ms, REAP_WORK_READ, &mut after.left);
            }
            state.is_due()
        };
        if due {
            self.try_maintain(after);
        }
    }

    /// Removes `key` and returns its entry.
    pub(crate) fn remove<Q>(&self, hash: u64, key: &Q, after: &mut Aftermath<K, V>) -> bool
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let mut state = self.state.lock();
        self.loads.supersede(key);
        let now_ms = if state.is_timed() { self.clock.now_ms() } else { 0 };
        let Some(slot) = state.find_live(hash, key, now_ms, &mut after.left) else { return false };
        state.depart(slot, Cause::Removed, &mut after.left);
        let due = state.is_due();
        drop(state);
        if due {
            self.try_maintain(after);
        }
        true
    }

    /// Lets `look` see the entry of `key`, with its slot and the time. No request.
    pub(crate) fn peek<Q, R>(
        &self,
        hash: u64,
        key: &Q,
        look: impl FnOnce(&State<K, V, Keys<S>>, u32, u64) -> Option<R>,
    ) -> Option<R>
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        let state = self.state.lock();
        let now_ms = self.clock.now_ms();
        let slot = state.find(hash, key, now_ms)?;
        look(&state, slot, now_ms)
    }

    /// Moves the end of the entry of `key`. True where it is resident.
    pub(crate) fn expire_after<Q>(
        &self,
        hash: u64,
        key: &Q,
        ttl: Option<Duration>,
        after: &mut Aftermath<K, V>,
    ) -> bool
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        let mut state = self.state.lock();
        let now_ms = self.clock.now_ms();
        let Some(slot) = state.find_live(hash, key, now_ms, &mut after.left) else { return false };
        state.set_end(slot, ttl, now_ms);
        true
    }

    /// Removes `key` if its version is the expected one. True where it is gone as asked.
    pub(crate) fn remove_if(
        &self,
        hash: u64,
        key: &K,
        expected: Option<Version>,
        after: &mut Aftermath<K, V>,
    ) -> bool {
        let mut state = self.state.lock();
        let now_ms = self.clock.now_ms();
        let slot = state.find_live(hash, key, now_ms, &mut after.left);
        if slot.map(|slot| state.version(slot)) != expected {
            return false;
        }
        self.loads.supersede(key);
        if let Some(slot) = slot {
            state.depart(slot, Cause::Removed, &mut after.left);
        }
        true
    }

    /// The entries in the slots from `first` on, one slice of at most `slots_max`, and the next slice's
    /// first slot.
    pub(crate) fn slice(&self, first: u32, slots_max: u32) -> (Vec<(K, V)>, Option<u32>)
    where
        K: Clone,
        V: Clone,
    {
        let state = self.state.lock();
        let now_ms = self.clock.now_ms();
        let slots = slots_max.clamp(1, SLICE_SLOTS);
        let end = state.residents.slots().min(first.saturating_add(slots));
        let mut entries = Vec::new();
        for slot in first..end {
            if !state.has_expired(slot, now_ms)
                && let Some((key, value)) = state.residents.entry(slot)
            {
                entries.push((key.clone(), value.clone()));
            }
        }
        (entries, (end < state.residents.slots()).then_some(end))
    }

    /// The residents whose keys are in `share`, coldest first, read slice by slice.
    pub(crate) fn sample(&self, share: SampleShare) -> Vec<Resident> {
        let mut sampled = Vec::new();
        let mut first = 0;
        loop {
            let mut state = self.state.lock();
            let end = state.residents.slots().min(first + SLICE_SLOTS);
            state.counts.held((end - first) as usize);
            // Of one tick the higher slot first, as at a hand-over.
            let slice = (first..end).filter_map(|slot| {
                let (last_used, resident) = state.sample(slot, share)?;
                Some((last_used, Reverse(slot), resident))
            });
            sampled.extend(slice);
            if end == state.residents.slots() {
                break;
            }
            first = end;
        }
        sampled.sort_unstable_by_key(|&(last_used, slot, _)| (last_used, slot));
        sampled.into_iter().map(|(_, _, resident)| resident).collect()
    }

    /// One turn of all that is due: a maintenance, and some of what has expired. True where there is
    /// more.
    pub(crate) fn run_pending(&self, after: &mut Aftermath<K, V>) -> bool {
        let mut maintainer = self.maintainer.lock();
        let now_ms = self.clock.now_ms();
        let expiring = self.state.lock().reap(now_ms, REAP_WORK, &mut after.left);
        self.maintain(&mut maintainer, after);
        expiring || self.state.lock().notes.has_log()
    }

    /// Turns of [`run_pending`](Self::run_pending) that are enough for all that is due now, whatever
    /// other threads add meanwhile.
    pub(crate) fn turns_max(&self) -> u32 {
        self.state.lock().residents.slots() / (REAP_WORK / 16) + 2
    }

    /// Removes the entries in the slots from `first` on, one slice. Returns the next slice's first
    /// slot, none where that was the last.
    pub(crate) fn clear_slice(&self, first: u32, after: &mut Aftermath<K, V>) -> Option<u32> {
        let mut state = self.state.lock();
        self.loads.supersede_all();
        let end = state.residents.slots().min(first.saturating_add(SLICE_SLOTS));
        state.counts.held((end - first) as usize);
        for slot in first..end {
            if state.residents.is_resident(slot) {
                state.depart(slot, Cause::Cleared, &mut after.left);
            }
        }
        (end < state.residents.slots()).then_some(end)
    }

    /// Adds what this shard counted and holds.
    pub(crate) fn add_stats(&self, stats: &mut Stats) {
        let state = self.state.lock();
        stats.add(&state.counts);
        stats.entries += state.residents.len() as u64;
        stats.weight += state.residents.weight();
        stats.slots += u64::from(state.residents.slots());
        stats.capacity += state.budget.capacity;
        stats.slack += state.budget.slack;
        stats.expiry_bytes += state.expiry_bytes() as u64;
    }

    /// Asserts every invariant of the shard, when nobody is at work in it.
    pub(crate) fn validate(&self) {
        let maintainer = self.maintainer.lock();
        let state = self.state.lock();
        state.validate();
        let guard = maintainer.seat.guard();
        guard.validate();
        // A delivery that a panic ended is mended by the next maintenance.
        if maintainer.seat.is_taken() && !maintainer.is_torn() && state.notes.is_empty() {
            assert_eq!(guard.weight(), state.residents.weight(), "the view is current");
            for slot in 0..state.residents.slots() {
                let resident = state.residents.is_resident(slot);
                assert_eq!(guard.has(slot), resident, "the view of slot {slot}");
            }
        }
    }
}
