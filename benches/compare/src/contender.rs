//! What a cache has to offer to be measured, and the keys, values and hasher that all of them share.
//!
//! Everything here is generic: the measured path has no dynamic dispatch. This file knows no cache.

use std::fmt::Debug;
use std::hash::{BuildHasher, Hash};

use anyhow::Result;

pub use bytes::Bytes;

/// The hasher that every cache uses which lets one choose: fast, and with a fixed seed, so that every
/// repeat places the same keys in the same shards.
pub type SharedHasher = foldhash::fast::FixedState;

/// A hasher that a contender can be built with.
pub trait Hasher: BuildHasher + Default + Clone + Send + Sync + Debug + 'static {}
impl<S: BuildHasher + Default + Clone + Send + Sync + Debug + 'static> Hasher for S {}

/// A key of the comparison, made from a number: the same number always makes the same key.
pub trait Key: Hash + Eq + Ord + Clone + Debug + Send + Sync + 'static {
    /// The key that stands for `index`. Distinct numbers make distinct keys, and neighbours look
    /// unrelated.
    fn of(index: u64) -> Self;
}

impl Key for u64 {
    fn of(index: u64) -> Self {
        scramble(index)
    }
}

/// Thirty-two ASCII characters on the heap.
impl Key for String {
    fn of(index: u64) -> Self {
        format!("{:016x}{:016x}", scramble(index), scramble(!index))
    }
}

/// The finaliser of SplitMix64: a bijection, so that distinct numbers stay distinct.
fn scramble(index: u64) -> u64 {
    let mut mixed = index.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// What a cache says about itself, beyond its entries.
#[derive(Clone, Copy, Debug)]
pub struct Account {
    /// How much its policy heard of the hits.
    pub heard: Heard,
    /// Memory outside the allocator, bytes: that of sandboxed guests.
    pub guest_memory_bytes: u64,
}

/// How many hits a policy was told of since its cache was built, alone or as part of a coalesced record.
#[derive(Clone, Copy, Debug)]
pub enum Heard {
    /// The cache counts its hits.
    Of {
        /// All hits.
        hits: u64,
        /// Those that the policy was told of.
        noted: u64,
    },
    /// The cache counts only what it lost.
    AllBut {
        /// Hits that the policy is not told of.
        dropped: u64,
    },
}

impl Heard {
    /// The share of the hits since `before` that the policy was told of; `None` without hits. `hits` is how
    /// many the player counted.
    #[must_use]
    pub fn share_since(self, before: Self, hits: u64) -> Option<f64> {
        let (noted, hits) = match (before, self) {
            (Self::Of { hits: h0, noted: n0 }, Self::Of { hits, noted }) => {
                (noted.saturating_sub(n0), hits.saturating_sub(h0))
            }
            (Self::AllBut { dropped: d0 }, Self::AllBut { dropped }) => {
                (hits.saturating_sub(dropped.saturating_sub(d0)), hits)
            }
            _ => return None,
        };
        (hits > 0).then(|| noted as f64 / hits as f64)
    }
}

/// A cache that holds [`Bytes`] under keys of type `K`, shared between threads.
///
/// Every entry weighs 1.
pub trait Contender<K: Key>: Send + Sync + Sized {
    /// Builds an empty cache for `capacity` entries.
    ///
    /// # Errors
    ///
    /// Where the cache cannot be built.
    fn build(capacity: usize) -> Result<Self>;

    /// The value under `key`, cloned, if the key is resident.
    fn get(&self, key: &K) -> Option<Bytes>;

    /// Puts `value` under `key`. Whether it stays is the cache's choice.
    fn insert(&self, key: K, value: Bytes);

    /// Does all work that the cache has put off, so that it counts into the time measured. The
    /// default is for a cache that puts nothing off.
    fn settle(&self) {}

    /// How many entries are resident after [`Self::settle`]; `None` where the cache cannot say.
    fn resident(&self) -> Option<usize>;

    /// What the cache accounts for; `None` where it keeps no such account.
    fn account(&self) -> Option<Account> {
        None
    }
}

/// A kind of cache, for any key: what a row of the tables stands for.
pub trait Family {
    /// The cache itself.
    type Cache<K: Key>: Contender<K>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_the_hits_heard() {
        let of = |hits, noted| Heard::Of { hits, noted };
        let but = |dropped| Heard::AllBut { dropped };
        assert_eq!(of(110, 109).share_since(of(10, 10), 0), Some(0.99));
        assert_eq!(but(5).share_since(but(3), 100), Some(0.98));
        assert_eq!(of(10, 10).share_since(of(10, 10), 0), None);
        assert_eq!(but(0).share_since(of(0, 0), 100), None);
    }

    #[test]
    fn string_keys_have_thirty_two_characters() {
        assert_eq!(String::of(0).len(), 32);
        assert_eq!(String::of(u64::MAX).len(), 32);
        assert_ne!(String::of(1), String::of(2));
    }
}
