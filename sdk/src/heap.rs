//! An ordered set of slots by priority: for policies whose victim is the smallest of something
//! (LFU's count, GDSF's value), where the priority of any slot may change at any time.
//!
//! Idea: a heap in an array with, for every slot, its place in that array, so that any slot can be
//! changed or removed. Each node has four children instead of two: half the levels, and the four
//! stand beside each other in memory, so a descent touches about half as many cache lines.
//! Papers: Williams, "Heapsort", CACM 1964; Johnson, "Priority queues with update and finding
//! minimum spanning trees", IPL 1975 (more than two children).
//! Bytes: 24 a slot (20 the node, 4 its place). Cost: O(log n), at most log4 n levels up or four
//! times that many comparisons down; for a million slots ten levels.
//!
//! Ties: of equal priorities the one set longest ago comes first. Policies need this rule (LFU among
//! entries used once is FIFO), so every [`set`](SlotHeap::set) takes a number, 64 bits wide: it
//! never wraps, and the order is total, the same for any history with the same outcome.

use crate::PerSlot;

/// Children of a node.
const ARITY: u32 = 4;

/// A slot in the heap. Packed, since padding would cost four bytes a slot.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, packed(4))]
struct Node {
    priority: u64,
    /// The number of the `set` that put it here.
    turn: u64,
    slot: u32,
}

impl Node {
    /// True where `self` leaves the heap before `other`.
    #[inline(always)]
    const fn precedes(self, other: Self) -> bool {
        let (mine, theirs) = (self.priority, other.priority);
        mine < theirs || mine == theirs && self.turn < other.turn
    }
}

/// Slots ordered by priority, smallest first; equal priorities in the order they were last set.
///
/// # Panics
///
/// Every method that takes a slot panics where the slot is above the room made for it.
#[derive(Clone, Debug)]
pub struct SlotHeap {
    /// The heap; meaningful below `len`. The children of i are 4i + 1 to 4i + 4.
    nodes: PerSlot<Node>,
    /// Where the slot stands in `nodes`, plus one; 0 where it is not in the heap.
    places: PerSlot<u32>,
    len: u32,
    /// Calls of `set` so far.
    turns: u64,
}

impl SlotHeap {
    /// An empty heap with room for slots below `slots`.
    #[must_use]
    pub fn new(slots: u32) -> Self {
        Self { nodes: PerSlot::new(slots), places: PerSlot::new(slots), len: 0, turns: 0 }
    }

    /// Makes room for slots below `slots`. Never shrinks. O(new slots).
    pub fn grow(&mut self, slots: u32) {
        self.nodes.grow(slots);
        self.places.grow(slots);
    }

    /// Gives `slot` this `priority`, putting it in where it is not. It comes after all slots of
    /// equal priority, also where its priority was the same before. O(log n).
    pub fn set(&mut self, slot: u32, priority: u64) {
        let node = Node { priority, turn: self.turns, slot };
        self.turns += 1;
        let place = self.places[slot];
        if place == 0 {
            self.len += 1;
            self.rise(self.len - 1, node);
        } else {
            self.settle(place - 1, node);
        }
    }

    /// Takes `slot` out. False where it was not in. O(log n).
    pub fn remove(&mut self, slot: u32) -> bool {
        let place = self.places[slot];
        if place == 0 {
            return false;
        }
        self.places[slot] = 0;
        self.len -= 1;
        if place - 1 < self.len {
            let last = self.nodes[self.len];
            self.settle(place - 1, last);
        }
        true
    }

    /// The slot with the smallest priority, and that priority. O(1).
    #[inline]
    #[must_use]
    pub fn peek(&self) -> Option<(u32, u64)> {
        (self.len > 0).then(|| (self.nodes[0].slot, self.nodes[0].priority))
    }

    /// Takes out the slot with the smallest priority. O(log n).
    pub fn pop(&mut self) -> Option<(u32, u64)> {
        let first = self.peek()?;
        self.remove(first.0);
        Some(first)
    }

    /// True where `slot` is in the heap.
    #[inline]
    #[must_use]
    pub fn contains(&self, slot: u32) -> bool {
        self.places[slot] != 0
    }

    /// The priority of `slot`, where it is in the heap. O(1).
    #[inline]
    #[must_use]
    pub fn priority(&self, slot: u32) -> Option<u64> {
        let place = self.places[slot];
        (place != 0).then(|| self.nodes[place - 1].priority)
    }

    /// Slots in the heap.
    #[inline]
    #[must_use]
    pub const fn len(&self) -> u32 {
        self.len
    }

    /// True where no slot is in the heap.
    #[inline]
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Maps a float that is not negative to a priority with the same order: a greater float has a
    /// greater priority, and `f64::from_bits` gives the float back. Negative numbers, both zeros
    /// and NaN map to 0; infinity comes after all finite numbers.
    #[inline]
    #[must_use]
    pub const fn order_f64(value: f64) -> u64 {
        // The bits of a positive float, exponent above mantissa, are ordered like the float.
        if value > 0.0 { value.to_bits() } else { 0 }
    }

    /// Asserts that every node comes after its parent and that the places point back. For tests;
    /// O(slots).
    ///
    /// # Panics
    ///
    /// Where an invariant of the heap is broken.
    pub fn validate(&self) {
        for index in 0..self.len {
            let node = self.nodes[index];
            let slot = node.slot;
            assert_eq!(self.places[slot], index + 1, "slot {slot} knows its place");
            if index > 0 {
                let parent = self.nodes[(index - 1) / ARITY];
                assert!(parent.precedes(node), "slot {slot} comes after its parent");
            }
        }
    }

    /// Writes `node` at `index`.
    #[inline(always)]
    fn put(&mut self, index: u32, node: Node) {
        self.nodes[index] = node;
        self.places[node.slot] = index + 1;
    }

    /// Finds the place for `node` where what stands at `index` may be overwritten.
    fn settle(&mut self, index: u32, node: Node) {
        if index > 0 && node.precedes(self.nodes[(index - 1) / ARITY]) {
            self.rise(index, node);
        } else {
            self.sink(index, node);
        }
    }

    /// Moves the free place at `index` up until `node` may stand there.
    fn rise(&mut self, mut index: u32, node: Node) {
        while index > 0 {
            let parent = (index - 1) / ARITY;
            if !node.precedes(self.nodes[parent]) {
                break;
            }
            self.put(index, self.nodes[parent]);
            index = parent;
        }
        self.put(index, node);
    }

    /// Moves the free place at `index` down until `node` may stand there.
    fn sink(&mut self, mut index: u32, node: Node) {
        // A node has a child where 4i + 1 < len, written so that nothing overflows.
        while index < (self.len - 1).div_ceil(ARITY) {
            let first = index * ARITY + 1;
            let mut least = first;
            for child in first + 1..self.len.min(first.saturating_add(ARITY)) {
                if self.nodes[child].precedes(self.nodes[least]) {
                    least = child;
                }
            }
            if !self.nodes[least].precedes(node) {
                break;
            }
            self.put(index, self.nodes[least]);
            index = least;
        }
        self.put(index, node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;
    use std::collections::BTreeMap;

    fn drain(heap: &mut SlotHeap) -> Vec<(u32, u64)> {
        core::iter::from_fn(|| heap.pop()).collect()
    }

    #[test]
    fn a_node_takes_twenty_bytes() {
        assert_eq!(size_of::<Node>(), 20);
    }

    #[test]
    fn smallest_first_and_equals_in_order_of_their_last_set() {
        let mut heap = SlotHeap::new(10);
        for (slot, priority) in [(1, 5), (2, 3), (3, 5), (4, 3), (5, 9), (6, 5)] {
            heap.set(slot, priority);
        }
        assert_eq!(heap.peek(), Some((2, 3)));
        heap.set(1, 5);
        heap.set(5, 1);
        heap.set(2, 7);
        assert_eq!((heap.priority(5), heap.priority(9)), (Some(1), None));
        assert!(heap.remove(6));
        assert!(!heap.remove(6));
        assert_eq!((heap.len(), heap.contains(6), heap.contains(1)), (5, false, true));
        assert_eq!(drain(&mut heap), [(5, 1), (4, 3), (3, 5), (1, 5), (2, 7)]);
        assert_eq!((heap.peek(), heap.is_empty()), (None, true));
    }

    #[test]
    fn ten_thousand_slots_leave_sorted() {
        let mut heap = SlotHeap::new(0);
        let mut expected = Vec::new();
        for slot in 0..10_000 {
            heap.grow(slot + 1);
            let priority = ostler_abi::hash_u64(u64::from(slot), 3) % 1_000;
            heap.set(slot, priority);
            expected.push((slot, priority));
        }
        heap.validate();
        expected.sort_by_key(|(slot, priority)| (*priority, *slot));
        assert_eq!(drain(&mut heap), expected);
    }

    #[test]
    fn floats_keep_their_order() {
        let rising = [f64::NEG_INFINITY, -1.0, -0.0, 0.0, f64::NAN, 5e-324, 1e-300, 0.5, 1.0, 1.5];
        let ordered = rising.map(SlotHeap::order_f64);
        assert!(ordered[..5].iter().all(|priority| *priority == 0));
        assert!(ordered[4..].is_sorted_by(|a, b| a < b));
        assert!(SlotHeap::order_f64(f64::MAX) < SlotHeap::order_f64(f64::INFINITY));
        assert_eq!(f64::from_bits(SlotHeap::order_f64(0.1)).to_bits(), 0.1f64.to_bits());
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            rng_seed: RngSeed::Fixed(1),
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn equals_an_ordered_map(
            steps in prop::collection::vec((0u8..5, 0u32..60, 0u64..12), 0..400),
        ) {
            let mut heap = SlotHeap::new(60);
            // From (priority, number of the set) to slot, and back.
            let mut queue = BTreeMap::new();
            let mut key_of = BTreeMap::new();
            for (turn, (what, slot, priority)) in steps.into_iter().enumerate() {
                match what {
                    0..3 => {
                        heap.set(slot, priority);
                        if let Some(old) = key_of.insert(slot, (priority, turn)) {
                            queue.remove(&old);
                        }
                        queue.insert((priority, turn), slot);
                    }
                    3 => {
                        let old = key_of.remove(&slot);
                        prop_assert_eq!(heap.remove(slot), old.is_some());
                        old.map(|key| queue.remove(&key));
                    }
                    _ => {
                        let first = queue.pop_first().map(|(key, slot)| (slot, key.0));
                        prop_assert_eq!(heap.pop(), first);
                        first.map(|(slot, _)| key_of.remove(&slot));
                    }
                }
                heap.validate();
                prop_assert_eq!(heap.len() as usize, queue.len());
                prop_assert_eq!(heap.priority(slot), key_of.get(&slot).map(|key| key.0));
                let first = queue.first_key_value().map(|(key, slot)| (*slot, key.0));
                prop_assert_eq!(heap.peek(), first);
            }
        }
    }
}
