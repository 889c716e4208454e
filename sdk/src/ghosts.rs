//! Ghosts: keys remembered after their entries left, to see whether evicting them was a mistake.
//!
//! Idea: a FIFO queue of key hashes with weights. Most adaptive policies keep one or two (2Q's
//! A1out, ARC's B1 and B2, S3-FIFO's ghost queue, LeCaR's histories): an entry that returns while
//! its ghost is still there was evicted too early.
//! Papers: Johnson and Shasha, "2Q", VLDB 1994; Megiddo and Modha, "ARC", FAST 2003.
//! Bytes: 24 a ghost (12 the index, 8 the links, 4 the weight), allocated by chunks of 4,096 as
//! they are needed, up to the limit and never returned. Cost: one look-up in [`HashIndex`] and a
//! few stores an operation. Where nothing but "is it there" is asked,
//! [`GhostTable`](crate::GhostTable) does with a quarter of that, almost as exactly.
//!
//! The full hash is not kept, so a ghost can be recognised but not named, and two keys whose hashes
//! fold to one tag share a ghost; [`HashIndex`] gives the probability. Number and weight are bounded
//! apart: the number by [`limit`](Ghosts::limit), always; the weight by the caller, with
//! [`trim`](Ghosts::trim), because policies bound it by different things.

use ostler_abi::NO_SLOT;

use crate::{HashIndex, Links, List, PerSlot};

/// A bounded FIFO set of key hashes with weights.
#[derive(Clone, Debug)]
pub struct Ghosts {
    index: HashIndex,
    links: Links,
    weights: PerSlot<u32>,
    /// The ghosts: newest at the head, oldest at the tail.
    queue: List,
    /// Nodes that were ghosts and are none now. They share the links: a node is in one list.
    free: List,
    /// Nodes ever used: the queue and the free list together hold exactly the nodes below it.
    used: u32,
    limit: u32,
}

impl Ghosts {
    /// No ghosts, and at most `slots` of them from now on: as many as there can be residents.
    /// Allocates on use, not now.
    #[must_use]
    pub fn new(slots: u32) -> Self {
        Self {
            index: HashIndex::new(0),
            links: Links::new(0),
            weights: PerSlot::new(0),
            queue: List::new(),
            free: List::new(),
            used: 0,
            limit: slots,
        }
    }

    /// Raises the limit to `slots` where it is lower. O(1).
    pub fn grow(&mut self, slots: u32) {
        self.limit = self.limit.max(slots);
    }

    /// Keeps at most `entries` ghosts from now on, dropping the oldest above that. With 0 nothing is
    /// remembered. O(dropped ghosts).
    pub fn limit(&mut self, entries: u32) {
        self.limit = entries;
        while self.len() > entries {
            self.pop_oldest();
        }
    }

    /// Remembers `hash` with `weight` as the newest ghost; the oldest is dropped where the limit is
    /// reached. A hash that is remembered already becomes the newest and takes the new weight. O(1).
    ///
    /// Returns the ghost's node: a number below the highest limit so far that is the ghost's until
    /// it leaves, for callers that keep more about a ghost in a [`PerSlot`]. [`NO_SLOT`] where the
    /// limit is 0.
    pub fn push(&mut self, hash: u64, weight: u32) -> u32 {
        if let Some(node) = self.index.find(hash) {
            self.queue.reweigh(self.weights[node], weight);
            self.weights[node] = weight;
            self.links.move_to_head(&mut self.queue, node);
            return node;
        }
        self.push_absent(hash, weight)
    }

    /// As [`push`](Self::push), for a hash that is not remembered, because it was
    /// [taken](Self::take) when its entry came in: saves looking it up.
    pub fn push_absent(&mut self, hash: u64, weight: u32) -> u32 {
        if self.limit == 0 {
            return NO_SLOT;
        }
        if self.len() == self.limit {
            self.pop_oldest();
        }
        let node = self.claim();
        self.weights[node] = weight;
        self.index.insert(hash, node);
        self.links.push_head(&mut self.queue, node, weight);
        node
    }

    /// True where `hash` is remembered. O(1).
    #[inline]
    #[must_use]
    pub fn contains(&self, hash: u64) -> bool {
        self.find(hash).is_some()
    }

    /// The node of `hash`'s ghost, as [`push`](Self::push) returned it. O(1).
    #[inline]
    #[must_use]
    pub fn find(&self, hash: u64) -> Option<u32> {
        self.index.find(hash)
    }

    /// Forgets `hash` and returns its weight, where it was remembered. O(1).
    pub fn take(&mut self, hash: u64) -> Option<u32> {
        let node = self.index.find(hash)?;
        Some(self.release(node))
    }

    /// Forgets the ghost pushed longest ago and returns its weight. O(1).
    pub fn pop_oldest(&mut self) -> Option<u32> {
        let oldest = self.queue.tail();
        (oldest != NO_SLOT).then(|| self.release(oldest))
    }

    /// Forgets the oldest ghosts until their weights sum to at most `weight_max`. O(forgotten).
    pub fn trim(&mut self, weight_max: u64) {
        while self.weight() > weight_max {
            self.pop_oldest();
        }
    }

    /// Ghosts now.
    #[inline]
    #[must_use]
    pub const fn len(&self) -> u32 {
        self.queue.len()
    }

    /// True where nothing is remembered.
    #[inline]
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Sum of the ghosts' weights.
    #[inline]
    #[must_use]
    pub const fn weight(&self) -> u64 {
        self.queue.weight()
    }

    /// Asserts that queue, free list, index and weights agree. For tests; O(ghosts).
    ///
    /// # Panics
    ///
    /// Where an invariant of the ghosts is broken.
    pub fn validate(&self) {
        self.index.validate();
        self.links.validate(&self.queue);
        self.links.validate(&self.free);
        assert_eq!(self.index.len(), self.len(), "every ghost is indexed");
        assert_eq!(self.used, self.len() + self.free.len(), "no node is lost");
        assert!(self.len() <= self.limit, "the limit holds");
        let weights = self.links.iter(&self.queue).map(|node| u64::from(self.weights[node]));
        assert_eq!(weights.sum::<u64>(), self.weight(), "the weight is the sum");
    }

    /// A node that is in no list: the one freed last, else one never used.
    fn claim(&mut self) -> u32 {
        let freed = self.free.head();
        if freed != NO_SLOT {
            self.links.remove(&mut self.free, freed, 0);
            return freed;
        }
        let node = self.used;
        self.used += 1;
        self.index.grow(self.used);
        self.links.grow(self.used);
        self.weights.grow(self.used);
        node
    }

    /// Forgets the ghost at `node` and returns its weight.
    fn release(&mut self, node: u32) -> u32 {
        let weight = self.weights[node];
        let indexed = self.index.remove(node);
        debug_assert!(indexed, "every ghost is indexed");
        self.links.remove(&mut self.queue, node, weight);
        self.links.push_head(&mut self.free, node, 0);
        weight
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;
    use std::collections::VecDeque;

    #[test]
    fn the_oldest_leaves_first() {
        let mut ghosts = Ghosts::new(3);
        for (hash, weight) in [(1, 10), (2, 20), (3, 30)] {
            ghosts.push(hash, weight);
        }
        assert_eq!((ghosts.len(), ghosts.weight()), (3, 60));
        ghosts.push(1, 15);
        assert_eq!((ghosts.len(), ghosts.weight()), (3, 65), "refreshed and reweighed");
        ghosts.push(4, 40);
        assert_eq!([1, 2, 3, 4].map(|hash| ghosts.contains(hash)), [true, false, true, true]);
        assert_eq!(ghosts.take(1), Some(15));
        assert_eq!(ghosts.take(1), None);
        assert_eq!(ghosts.pop_oldest(), Some(30));
        assert_eq!(ghosts.pop_oldest(), Some(40));
        assert_eq!(ghosts.pop_oldest(), None);
        assert!(ghosts.is_empty());
        ghosts.validate();
    }

    #[test]
    fn weight_and_number_are_bounded_apart() {
        let mut ghosts = Ghosts::new(2);
        ghosts.grow(5);
        for hash in 1..=6 {
            ghosts.push(hash, 10);
        }
        assert_eq!((ghosts.len(), ghosts.contains(1)), (5, false));
        ghosts.trim(35);
        assert_eq!((ghosts.weight(), ghosts.contains(3), ghosts.contains(4)), (30, false, true));
        ghosts.trim(30);
        assert_eq!(ghosts.len(), 3, "equal to the bound is within it");
        ghosts.limit(1);
        assert_eq!((ghosts.len(), ghosts.contains(6)), (1, true));
        ghosts.limit(0);
        assert_eq!(ghosts.push(7, 1), NO_SLOT);
        assert_eq!((ghosts.len(), ghosts.weight()), (0, 0));
        ghosts.validate();
    }

    #[test]
    fn nodes_are_reused_and_never_exceed_the_limit() {
        let mut ghosts = Ghosts::new(3);
        let nodes = [1, 2, 3, 4, 5].map(|hash| ghosts.push(hash, 1));
        assert_eq!(nodes, [0, 1, 2, 0, 1]);
        assert_eq!((ghosts.find(4), ghosts.find(1)), (Some(0), None));
        for key in 0..50_000 {
            ghosts.push(ostler_abi::hash_u64(key, 1), 1);
        }
        assert_eq!((ghosts.used, ghosts.len()), (3, 3));
        ghosts.validate();
    }

    #[derive(Clone, Debug)]
    enum Action {
        Push(u64, u32),
        Take(u64),
        Pop,
        Trim(u64),
        Limit(u32),
        Grow(u32),
    }

    fn action() -> impl Strategy<Value = Action> {
        prop_oneof![
            8 => (0u64..40, 0u32..9).prop_map(|(hash, weight)| Action::Push(hash, weight)),
            4 => (0u64..40).prop_map(Action::Take),
            1 => Just(Action::Pop),
            1 => (0u64..100).prop_map(Action::Trim),
            1 => (0u32..20).prop_map(Action::Limit),
            1 => (0u32..30).prop_map(Action::Grow),
        ]
    }

    /// Ghosts as a plain queue of (hash, weight), oldest first.
    struct Model {
        queue: VecDeque<(u64, u32)>,
        limit: usize,
    }

    impl Model {
        fn take(&mut self, hash: u64) -> Option<u32> {
            let place = self.queue.iter().position(|ghost| ghost.0 == hash)?;
            self.queue.remove(place).map(|ghost| ghost.1)
        }

        fn weight(&self) -> u64 {
            self.queue.iter().map(|ghost| u64::from(ghost.1)).sum()
        }

        fn push(&mut self, hash: u64, weight: u32) {
            self.take(hash);
            self.queue.push_back((hash, weight));
            while self.queue.len() > self.limit {
                self.queue.pop_front();
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            rng_seed: RngSeed::Fixed(1),
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn equals_a_plain_queue(actions in prop::collection::vec(action(), 0..300)) {
            let mut ghosts = Ghosts::new(8);
            let mut model = Model { queue: VecDeque::new(), limit: 8 };
            for action in actions {
                match action {
                    Action::Push(hash, weight) => {
                        ghosts.push(hash, weight);
                        model.push(hash, weight);
                    }
                    Action::Take(hash) => prop_assert_eq!(ghosts.take(hash), model.take(hash)),
                    Action::Pop => {
                        let popped = model.queue.pop_front().map(|ghost| ghost.1);
                        prop_assert_eq!(ghosts.pop_oldest(), popped);
                    }
                    Action::Trim(weight_max) => {
                        ghosts.trim(weight_max);
                        while model.weight() > weight_max {
                            model.queue.pop_front();
                        }
                    }
                    Action::Limit(entries) => {
                        ghosts.limit(entries);
                        model.limit = entries as usize;
                        while model.queue.len() > model.limit {
                            model.queue.pop_front();
                        }
                    }
                    Action::Grow(slots) => {
                        ghosts.grow(slots);
                        model.limit = model.limit.max(slots as usize);
                    }
                }
                ghosts.validate();
                prop_assert_eq!(ghosts.len() as usize, model.queue.len());
                prop_assert_eq!(ghosts.weight(), model.weight());
                for hash in 0..40 {
                    let known = model.queue.iter().any(|ghost| ghost.0 == hash);
                    prop_assert_eq!(ghosts.contains(hash), known);
                }
            }
        }
    }
}
