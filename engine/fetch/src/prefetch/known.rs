//! The keys that the host has seen lately: hash to bytes, within a bound of bytes.

use std::collections::VecDeque;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use ostler_abi::KEY_BYTES_MAX;

/// What a known key costs beside its own bytes: the map's place, the queue's, the allocation.
pub const KNOWN_KEY_OVERHEAD_BYTES: usize = 64;

/// The bytes of keys that went by lately, so that a policy can ask for them by their hashes.
///
/// Keys leave first in, first out; one that went by again since it came in gets a second chance.
/// Keys of more than [`KEY_BYTES_MAX`] bytes are never known. Cost: O(1) amortised a key.
#[derive(Clone, Debug)]
pub struct KnownKeys {
    keys: HashMap<u64, Known, FixedState>,
    queue: VecDeque<u64>,
    bytes: usize,
    bytes_max: usize,
}

#[derive(Clone, Debug)]
struct Known {
    key: Box<[u8]>,
    /// It went by again since it was last spared.
    again: bool,
}

impl KnownKeys {
    /// No keys, and at most `bytes_max` bytes of them, [`KNOWN_KEY_OVERHEAD_BYTES`] each counted.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self {
            keys: HashMap::with_hasher(FixedState::default()),
            queue: VecDeque::new(),
            bytes: 0,
            bytes_max,
        }
    }

    /// Notes that `key`, whose hash is `hash`, went by. Of two keys with one hash the first stays.
    pub fn note(&mut self, hash: u64, key: &[u8]) {
        if let Some(known) = self.keys.get_mut(&hash) {
            known.again = true;
            return;
        }
        let bytes = key.len() + KNOWN_KEY_OVERHEAD_BYTES;
        if key.len() > KEY_BYTES_MAX || bytes > self.bytes_max {
            return;
        }
        while self.bytes + bytes > self.bytes_max {
            self.forget_one();
        }
        self.bytes += bytes;
        self.keys.insert(hash, Known { key: key.into(), again: false });
        self.queue.push_back(hash);
    }

    /// The bytes of the key with this hash.
    #[must_use]
    pub fn get(&self, hash: u64) -> Option<&[u8]> {
        self.keys.get(&hash).map(|known| &*known.key)
    }

    /// Number of keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// True where no key is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Bytes of all keys with their overhead, never above the bound.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Forgets the key that came in first, unless it went by again: then it goes to the end once.
    fn forget_one(&mut self) {
        let Some(hash) = self.queue.pop_front() else { return };
        let Some(known) = self.keys.get_mut(&hash) else { return };
        if std::mem::take(&mut known.again) {
            self.queue.push_back(hash);
        } else if let Some(known) = self.keys.remove(&hash) {
            self.bytes -= known.key.len() + KNOWN_KEY_OVERHEAD_BYTES;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    #[test]
    fn keys_leave_in_order_and_are_spared_once() {
        let mut known = KnownKeys::new(3 * (1 + KNOWN_KEY_OVERHEAD_BYTES));
        for key in [b"a", b"b", b"c"] {
            known.note(u64::from(key[0]), key);
        }
        known.note(u64::from(b'a'), b"a");
        known.note(u64::from(b'd'), b"d");
        let left = |known: &KnownKeys| {
            (b'a'..=b'e').filter(|key| known.get(u64::from(*key)).is_some()).collect::<Vec<u8>>()
        };
        assert_eq!(left(&known), b"acd");
        known.note(u64::from(b'e'), b"e");
        assert_eq!(left(&known), b"ade");
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            rng_seed: RngSeed::Fixed(1),
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn bytes_are_bounded_and_add_up(
            bytes_max in 0usize..1000,
            keys in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..200),
        ) {
            let mut known = KnownKeys::new(bytes_max);
            for key in keys {
                let hash = ostler_abi::hash_bytes(&key, 0);
                known.note(hash, &key);
                let fits = key.len() <= KEY_BYTES_MAX
                    && key.len() + KNOWN_KEY_OVERHEAD_BYTES <= bytes_max;
                prop_assert_eq!(known.get(hash), fits.then_some(&*key), "the newest is known");
                let sum = known.keys.values().map(|known| known.key.len() + KNOWN_KEY_OVERHEAD_BYTES);
                prop_assert_eq!(sum.sum::<usize>(), known.bytes());
                prop_assert!(known.bytes() <= bytes_max);
                prop_assert_eq!(known.queue.len(), known.len());
            }
        }
    }
}
