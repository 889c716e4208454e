//! A map of hashes that forgets the oldest above a bound.

use std::collections::VecDeque;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

/// Hashes with a value each, at most `len_max` of them, in the order in which they came.
///
/// A hash that is taken leaves its place in the queue behind; places are counted, so the queue is at
/// most twice as long as the bound. Cost: O(1) amortised. Bytes: about 48 an entry.
#[derive(Clone, Debug)]
pub(super) struct Bounded<V> {
    values: HashMap<u64, (u64, V), FixedState>,
    /// Hashes with the number of their arrival; one that is not the map's is stale.
    queue: VecDeque<(u64, u64)>,
    arrivals: u64,
    len_max: usize,
}

impl<V> Bounded<V> {
    pub(super) fn new(len_max: u32) -> Self {
        Self {
            values: HashMap::with_hasher(FixedState::default()),
            queue: VecDeque::new(),
            arrivals: 0,
            len_max: len_max as usize,
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.values.len()
    }

    pub(super) fn has(&self, hash: u64) -> bool {
        self.values.contains_key(&hash)
    }

    #[cfg(test)]
    fn get(&self, hash: u64) -> Option<&V> {
        self.values.get(&hash).map(|(_, value)| value)
    }

    /// Takes `hash` in as the newest, and returns the oldest where there are too many now.
    pub(super) fn insert(&mut self, hash: u64, value: V) -> Option<(u64, V)> {
        if self.len_max == 0 {
            return Some((hash, value));
        }
        self.arrivals += 1;
        self.values.insert(hash, (self.arrivals, value));
        self.queue.push_back((hash, self.arrivals));
        if self.values.len() > self.len_max {
            return self.pop_oldest();
        }
        if self.queue.len() > 2 * self.len_max {
            let values = &self.values;
            self.queue.retain(|(hash, arrival)| is_current(values, *hash, *arrival));
        }
        None
    }

    pub(super) fn take(&mut self, hash: u64) -> Option<V> {
        self.values.remove(&hash).map(|(_, value)| value)
    }

    fn pop_oldest(&mut self) -> Option<(u64, V)> {
        while let Some((hash, arrival)) = self.queue.pop_front() {
            if is_current(&self.values, hash, arrival) {
                return self.take(hash).map(|value| (hash, value));
            }
        }
        None
    }
}

fn is_current<V>(values: &HashMap<u64, (u64, V), FixedState>, hash: u64, arrival: u64) -> bool {
    values.get(&hash).is_some_and(|(latest, _)| *latest == arrival)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    proptest! {
        #![proptest_config(ProptestConfig {
            rng_seed: RngSeed::Fixed(1),
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn equals_a_list(
            len_max in 0u32..6,
            steps in prop::collection::vec((any::<bool>(), 0u64..10), 0..300),
        ) {
            let mut bounded = Bounded::new(len_max);
            let mut list: Vec<(u64, usize)> = Vec::new();
            for (step, (comes, hash)) in steps.into_iter().enumerate() {
                let at = list.iter().position(|(listed, _)| *listed == hash);
                if comes {
                    if let Some(at) = at {
                        list.remove(at);
                    }
                    list.push((hash, step));
                    let oldest = (list.len() > len_max as usize).then(|| list.remove(0));
                    prop_assert_eq!(bounded.insert(hash, step), oldest);
                } else {
                    prop_assert_eq!(bounded.take(hash), at.map(|at| list.remove(at).1));
                }
                prop_assert_eq!(bounded.len(), list.len());
                prop_assert!(bounded.queue.len() <= 2 * len_max as usize);
                for (hash, step) in &list {
                    prop_assert_eq!(bounded.get(*hash), Some(step));
                }
            }
        }
    }
}
