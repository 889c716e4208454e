//! Dense numbers for the keys of a trace.
//!
//! Several passes over a trace need "have I seen this key, and which one was it": one table answers
//! that with plain array indices.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use ostler_abi::hash_u64;

/// Seed of the table's hash; any constant does, it only must not be the one that made the keys.
const TABLE_SEED: u64 = 0x6b65_7973;

/// Numbers keys 0, 1, 2 … in the order in which they are first seen. 20 to 40 bytes a key.
#[derive(Default)]
pub(crate) struct KeyNumbers {
    table: HashTable<(u64, u32)>,
}

impl KeyNumbers {
    /// The number of `key`: its old one, or the next one if it is new.
    ///
    /// # Panics
    ///
    /// After 2^32 distinct keys, which take over 64 GiB here.
    pub(crate) fn number(&mut self, key: u64) -> u32 {
        let next = u32::try_from(self.table.len()).expect("invariant: fewer than 2^32 keys");
        let hash = |key: u64| hash_u64(key, TABLE_SEED);
        match self.table.entry(hash(key), |&(seen, _)| seen == key, |&(seen, _)| hash(seen)) {
            Entry::Occupied(entry) => entry.get().1,
            Entry::Vacant(entry) => {
                entry.insert((key, next));
                next
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_numbered_in_order_of_first_sight() {
        let mut numbers = KeyNumbers::default();
        let seen: Vec<u32> =
            [9, 7, 9, u64::MAX, 0, 7].iter().map(|&key| numbers.number(key)).collect();
        assert_eq!(seen, [0, 1, 0, 2, 3, 1]);
    }
}
