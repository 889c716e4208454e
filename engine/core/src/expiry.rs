//! Expiry of one shard's entries: time to live, time to idle, and which entry's time is over.
//!
//! It owns each slot's lifetime and a hierarchical timer wheel over them. It must not know keys,
//! values or a clock: time is milliseconds since the cache started, given by the caller.
//!
//! **Idea.** A slot is linked in the wheel by its end. An access moves only the time in the slot's
//! node: the slot stays where it is, comes up at its old end, and is then linked anew by its real
//! one. So a place is never later than the end, an access costs one store, and an entry in constant
//! use is moved about once in its time to idle. Whether an entry has expired is read from its node,
//! exact to the millisecond, and does not wait for the wheel.
//!
//! **Paper.** Varghese and Lauck, "Hashed and hierarchical timing wheels", SOSP 1987; the header of
//! [`wheel`] tells its levels and where we differ.
//!
//! **Bytes a slot:** 16 with a time to live, 28 with a time to idle (or where another slot of the
//! same chunk of 512 has had one), none where no slot of the chunk has ever had a lifetime. Chunks
//! are kept. Beside them, 2 KiB a shard for the buckets, once there is a lifetime.
//!
//! **Cost.** Every call is O(1) except [`Expiry::pop_expired`], which is bounded by its `work`.
//! Growth allocates one chunk and moves none; only the list of chunks, 16 bytes each, is copied.

mod nodes;
mod wheel;

use nodes::{LAST_MS, Nodes};
use wheel::Wheel;

/// How long an entry may live. Milliseconds; none stands for "for ever".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lifetime {
    /// Time from the write to the end, whatever happens between. Zero ends at once.
    pub(crate) to_live_ms: Option<u64>,
    /// Time from the last access to the end; the write counts as one.
    pub(crate) to_idle_ms: Option<u64>,
}

/// The lifetimes of one shard's slots.
///
/// Moments and ends later than 2^48 − 2 ms, some 8,900 years, are taken for that one. `now_ms`
/// never goes back: one earlier than the latest seen is taken for the latest, except where the call
/// only reads. Slots are dense: memory goes by the chunks in use and the highest slot set.
pub(crate) struct Expiry {
    nodes: Nodes,
    wheel: Wheel,
    /// The latest `now_ms` seen.
    seen_ms: u64,
}

impl Expiry {
    /// Allocates nothing.
    pub(crate) fn new(now_ms: u64) -> Self {
        let seen_ms = now_ms.min(LAST_MS);
        Self { nodes: Nodes::default(), wheel: Wheel::new(seen_ms), seen_ms }
    }

    /// A write: replaces the slot's lifetime, which begins now. One without either end clears it.
    pub(crate) fn set(&mut self, slot: u32, lifetime: Lifetime, now_ms: u64) {
        let now_ms = self.see(now_ms);
        if lifetime == Lifetime::default() {
            return self.clear(slot);
        }
        let live_end_ms = lifetime.to_live_ms.map(|to_live_ms| now_ms.saturating_add(to_live_ms));
        self.nodes.set_live_end(slot, live_end_ms);
        self.nodes.set_idle(slot, lifetime.to_idle_ms, now_ms);
        self.link(slot);
    }

    /// Changes the end of the slot's time to live, none takes it away; the time to idle stays as it
    /// is and does not begin anew.
    pub(crate) fn set_deadline(&mut self, slot: u32, deadline_ms: Option<u64>, now_ms: u64) {
        self.see(now_ms);
        if deadline_ms.is_some() || self.nodes.is_set(slot) {
            self.nodes.set_live_end(slot, deadline_ms);
            self.link(slot);
        }
    }

    /// An access: the slot's time to idle begins anew. It brings an idled slot back to life, so the
    /// caller asks [`is_expired`](Self::is_expired) first.
    #[inline]
    pub(crate) fn touch(&mut self, slot: u32, now_ms: u64) {
        let now_ms = self.see(now_ms);
        self.nodes.touch(slot, now_ms);
    }

    /// The entry left: the slot has no lifetime any more.
    pub(crate) fn clear(&mut self, slot: u32) {
        if self.nodes.is_set(slot) {
            self.wheel.unlink(&mut self.nodes, slot);
            self.nodes.forget(slot);
        }
    }

    /// Whether the slot's end is at or before `now_ms`, which is used as given.
    #[inline]
    pub(crate) fn is_expired(&self, slot: u32, now_ms: u64) -> bool {
        self.nodes.end_ms(slot).is_some_and(|end_ms| end_ms <= now_ms)
    }

    /// The slot's end, the earlier of its two; none where it lives for ever.
    pub(crate) fn deadline_ms(&self, slot: u32) -> Option<u64> {
        self.nodes.end_ms(slot)
    }

    /// When the time to live of the entry in `slot` ends, whatever its time to idle. O(1).
    pub(crate) fn live_end_ms(&self, slot: u32) -> Option<u64> {
        self.nodes.live_end_ms(slot)
    }

    /// How long the entry in `slot` may idle; none where that has no bound. O(1).
    pub(crate) fn to_idle_ms(&self, slot: u32) -> Option<u64> {
        self.nodes.to_idle_ms(slot)
    }

    /// The next expired slot, already cleared; none where there is no more or `work` is used up.
    ///
    /// `work` is lowered by one for every slot looked at and every bucket opened. If it is zero
    /// afterwards there may be more, and the next call goes on where this one stopped. Slots come
    /// in no particular order. From its place down to its end a slot costs at most 2 at each of the
    /// 8 levels; a jump of the clock over empty buckets costs nothing.
    pub(crate) fn pop_expired(&mut self, now_ms: u64, work: &mut u32) -> Option<u32> {
        let now_ms = self.see(now_ms);
        while *work > 0 {
            let Some(slot) = self.wheel.front() else {
                self.wheel.open_next(now_ms)?;
                *work -= 1;
                continue;
            };
            *work -= 1;
            if self.is_expired(slot, now_ms) {
                self.clear(slot);
                return Some(slot);
            }
            self.link(slot);
        }
        None
    }

    /// A moment before which [`pop_expired`](Self::pop_expired) yields nothing, none where no slot
    /// has a lifetime. It is a lower bound: at that moment there may be only slots to move.
    #[cfg(test)]
    pub(crate) fn next_due_ms(&self) -> Option<u64> {
        self.wheel.next_due_ms()
    }

    /// Bytes on the heap.
    pub(crate) fn bytes(&self) -> usize {
        self.nodes.bytes() + self.wheel.bytes()
    }

    /// Number of slots with a lifetime.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.wheel.len()
    }

    /// Asserts that wheel, lists and lifetimes agree. O(slots).
    pub(crate) fn validate(&self) {
        self.wheel.validate(&self.nodes);
        for slot in self.nodes.slots() {
            let has_end = self.nodes.end_ms(slot).is_some();
            assert_eq!(self.nodes.is_set(slot), has_end, "slot {slot} is linked as it has an end");
        }
    }

    /// Puts the slot where its present end belongs, or clears it if it has none left.
    fn link(&mut self, slot: u32) {
        if self.wheel.len() == 0 {
            self.wheel.skip_to(self.seen_ms);
        }
        match self.nodes.end_ms(slot) {
            Some(end_ms) => self.wheel.link(&mut self.nodes, slot, end_ms),
            None => self.clear(slot),
        }
    }

    /// The latest moment seen, `now_ms` among them.
    fn see(&mut self, now_ms: u64) -> u64 {
        self.seen_ms = self.seen_ms.max(now_ms.min(LAST_MS));
        self.seen_ms
    }
}

#[cfg(test)]
mod tests;
