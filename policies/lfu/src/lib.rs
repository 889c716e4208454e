//! LFU: evicts the entry that was used least often; of equals, the one that is so for longest.
//!
//! Idea: all residents stand in one list, ordered by their count of uses. Entries of one count are
//! a run in that list, a group, which knows its newest entry. A hit moves an entry past the end of
//! its own group to the end of the next, or between the two into a group of its own; so no step
//! depends on how many entries or counts there are. The victim is the tail of the list.
//!
//! Papers: the policy is folklore, see A. V. Aho, P. J. Denning, J. D. Ullman, "Principles of
//! optimal page replacement", JACM 18(1), 1971; the groups are from K. Shah, A. Mitra, D. Matani,
//! "An O(1) algorithm for implementing the LFU cache eviction scheme", 2010.
//!
//! Parameters: none. Memory: 24 bytes a slot (8 two links, 4 the group, 8 a group, since every
//! resident can have a count of its own, 4 the driver's weight). Cost: O(1) an event; a record of n
//! coalesced hits passes at most n groups. A count stops at 2^32 - 1. Counts start again when an
//! entry returns (in-cache LFU) and never age: what was hot once stays.
//!
//! Where this differs from the paper: one list instead of a list a group, which saves 12 bytes a
//! group. The victims are the same.
#![no_std]
#![forbid(unsafe_code)]

use ostler_policy::{Budget, Links, List, NO_SLOT, PerSlot, Policy, Record, Setup};

/// The entries of one count: a run in the list.
#[derive(Clone, Copy, Debug, Default)]
struct Group {
    /// Uses of each entry, the insertion included.
    count: u32,
    /// The entry nearest to the head. In a free group: the next free group or [`NO_SLOT`].
    newest: u32,
}

/// Least frequently used.
#[derive(Debug)]
pub struct Lfu {
    links: Links,
    /// The greatest count at the head; within a group the newest first.
    order: List,
    group_of: PerSlot<u32>,
    /// Groups, numbered like slots since there are never more than residents.
    groups: PerSlot<Group>,
    /// The first free group or [`NO_SLOT`].
    free: u32,
    /// Groups ever used: those below are in use or free.
    groups_used: u32,
}

impl Lfu {
    /// Makes `slot` a group of its own.
    fn found(&mut self, slot: u32, count: u32) {
        let group = if self.free == NO_SLOT {
            self.groups_used += 1;
            self.groups_used - 1
        } else {
            let group = self.free;
            self.free = self.groups[group].newest;
            group
        };
        self.groups[group] = Group { count, newest: slot };
        self.group_of[slot] = group;
    }

    /// Makes `slot`, which stands at the end of `group`, its newest.
    #[inline]
    fn join(&mut self, slot: u32, group: u32) {
        self.groups[group].newest = slot;
        self.group_of[slot] = group;
    }

    /// Takes `slot`, still in the list, out of its group, which is freed if nothing is left of it.
    #[inline]
    fn leave(&mut self, slot: u32) {
        let group = self.group_of[slot];
        if self.groups[group].newest != slot {
            return;
        }
        let older = self.links.next(slot);
        if older != NO_SLOT && self.group_of[older] == group {
            self.groups[group].newest = older;
        } else {
            self.groups[group].newest = self.free;
            self.free = group;
        }
    }

    /// True where `slot` has no other entry in its group.
    #[inline]
    fn is_alone(&self, slot: u32) -> bool {
        let group = self.group_of[slot];
        let older = self.links.next(slot);
        self.groups[group].newest == slot && (older == NO_SLOT || self.group_of[older] != group)
    }

    /// The last group, from `group` towards the head, with at most `count` uses.
    #[inline]
    fn last_up_to(&self, count: u32, group: u32) -> u32 {
        let mut last = group;
        loop {
            let above = self.links.prev(self.groups[last].newest);
            if above == NO_SLOT || self.groups[self.group_of[above]].count > count {
                return last;
            }
            last = self.group_of[above];
        }
    }
}

impl Policy for Lfu {
    type Params = LfuParams;

    fn new(setup: &Setup, _: &LfuParams) -> Self {
        Self {
            links: Links::new(setup.slots),
            order: List::new(),
            group_of: PerSlot::new(setup.slots),
            groups: PerSlot::new(setup.slots),
            free: NO_SLOT,
            groups_used: 0,
        }
    }

    fn grow(&mut self, slots: u32) {
        self.links.grow(slots);
        self.group_of.grow(slots);
        self.groups.grow(slots);
    }

    fn hit(&mut self, event: &Record, _: &Budget) {
        let slot = event.slot;
        let group = self.group_of[slot];
        let before = self.groups[group].count;
        let count = before.saturating_add(u32::from(event.count));
        if count == before {
            return;
        }
        let last = self.last_up_to(count, group);
        if last == group && self.is_alone(slot) {
            self.groups[group].count = count;
            return;
        }
        let place = self.groups[last].newest;
        self.leave(slot);
        if place != slot {
            // Weights do not matter here, so the list counts none.
            self.links.remove(&mut self.order, slot, 0);
            self.links.insert_before(&mut self.order, place, slot, 0);
        }
        if self.groups[last].count == count {
            self.join(slot, last);
        } else {
            self.found(slot, count);
        }
    }

    fn insert(&mut self, event: &Record, _: &Budget) {
        let tail = self.order.tail();
        if tail != NO_SLOT && self.groups[self.group_of[tail]].count == 1 {
            let lowest = self.group_of[tail];
            let place = self.groups[lowest].newest;
            self.links.insert_before(&mut self.order, place, event.slot, 0);
            self.join(event.slot, lowest);
        } else {
            self.links.push_tail(&mut self.order, event.slot, 0);
            self.found(event.slot, 1);
        }
    }

    fn victim(&mut self, budget: &Budget) -> u32 {
        let slot = self.order.tail();
        self.remove(slot, budget);
        slot
    }

    fn remove(&mut self, slot: u32, _: &Budget) {
        self.leave(slot);
        self.links.remove(&mut self.order, slot, 0);
    }
}

ostler_policy::export! {
    policy: Lfu,
    name: "lfu",
    summary: "Evicts the entry that was used least often.",
    events: ["hit"],
    bytes_per_slot: 24,
    base_bytes: 327680,
    params: LfuParams {}
}

#[cfg(test)]
mod tests {
    extern crate std;

    use ostler_policy::check::{Batch, ReferenceCache, conformance, evictions, native_factory};
    use ostler_policy::{Rng, Setup};
    use std::vec::Vec;

    #[test]
    fn victims_are_the_least_used() {
        let cases = [
            // requests, capacity, victims
            ("a b c d e", 3, "a b"),
            ("a b c a b d e", 3, "c d"),
            // Of equal counts, the one that reached it first: a before b, although a came later.
            ("b a a b c", 2, "a"),
            // d never gets old enough to push out what was hot.
            ("a a a b b d e d e", 3, "d e d"),
            ("a:2 b:1 b c:3", 3, "a b"),
        ];
        for (requests, capacity, victims) in cases {
            assert_eq!(evictions(&super::NATIVE, "", capacity, requests), victims, "{requests}");
        }
    }

    /// A plain model: scan for the smallest (count, time it was reached).
    fn model(capacity: usize, keys: &[u64]) -> Vec<u64> {
        let (mut residents, mut evicted) = (Vec::<(u32, usize, u64)>::new(), Vec::new());
        for (now, &key) in keys.iter().enumerate() {
            if let Some(entry) = residents.iter_mut().find(|entry| entry.2 == key) {
                (entry.0, entry.1) = (entry.0 + 1, now);
                continue;
            }
            if residents.len() == capacity {
                let coldest = (0..capacity).min_by_key(|&at| residents[at]).unwrap();
                evicted.push(residents.swap_remove(coldest).2);
            }
            residents.push((1, now, key));
        }
        evicted
    }

    #[test]
    fn decides_as_the_plain_model() {
        for (capacity, keys_len) in [(1, 3), (7, 12), (50, 200), (200, 230)] {
            let mut rng = Rng::new(capacity);
            let keys: Vec<u64> = (0..5000)
                .map(|_| u64::from(rng.below(keys_len).min(rng.below(keys_len))))
                .collect();
            let setup = Setup { capacity, slots: 8, seed: 0 };
            let step = (super::NATIVE.build)(setup, "").unwrap();
            let mut cache = ReferenceCache::new(step, capacity, 8, Batch::Exact);
            for &key in &keys {
                cache.request(key, 1).unwrap();
            }
            cache.flush().unwrap();
            assert_eq!(cache.take_evicted(), model(capacity as usize, &keys), "{capacity}");
        }
    }

    #[test]
    fn keeps_the_contract() {
        assert_eq!(conformance(&mut native_factory(&super::NATIVE, "")).first_failure(), None);
    }
}
