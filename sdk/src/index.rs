//! From a key's hash to a number: the index under ghost lists and other memories of absent keys.
//!
//! Idea: linear hashing. The table gains one bucket for every node that exceeds the number of
//! buckets; the new bucket takes about half the chain of one other bucket, its buddy. So there is
//! no moment at which everything is rehashed, and memory grows by chunks that never move.
//! Paper: Litwin, "Linear Hashing: A New Tool for File and Table Addressing", VLDB 1980. The chains
//! are in memory (Larson, "Dynamic Hash Tables", CACM 1988) and the load is at most one node a
//! bucket; both papers leave these open.
//! Bytes: 12 a node (8 the node, 4 its share of the buckets). Cost: one bucket and on average less
//! than two nodes a look-up; an insertion may also split one chain.
//!
//! Nodes are numbered by the user, who keeps what belongs to them. The index stores 32 of the
//! hash's 64 bits, the tag. Two hashes with equal tags are one to it: looking for an absent key among
//! n nodes finds a stranger's node with probability n / 2^32, 1 in 4,295 at a million nodes. That
//! suits ghosts, where a rare false ghost misplaces one entry; it does not suit residents.
//! Hashes must be well mixed (the engine's are): a flood of equal tags is one long chain.

use crate::PerSlot;

/// The end of a chain. Links are node + 1, so that fresh zeroed memory is empty chains.
const END: u32 = 0;

#[derive(Clone, Copy, Debug, Default)]
struct Node {
    tag: u32,
    /// The link to the next node of the chain.
    next: u32,
}

/// Finds nodes by hash. See the file's header for its error probability.
///
/// # Panics
///
/// Every method that takes a node panics where the node is above the room made for it.
#[derive(Clone, Debug)]
pub struct HashIndex {
    /// The link to the first node of each bucket's chain; meaningful below `bucket_count`.
    buckets: PerSlot<u32>,
    nodes: PerSlot<Node>,
    bucket_count: u32,
    /// The smallest 2^k - 1 that is at least `bucket_count - 1`.
    mask: u32,
    len: u32,
}

impl HashIndex {
    /// An empty index with room for nodes below `nodes`.
    #[must_use]
    pub fn new(nodes: u32) -> Self {
        Self {
            buckets: PerSlot::new(1),
            nodes: PerSlot::new(nodes),
            bucket_count: 1,
            mask: 0,
            len: 0,
        }
    }

    /// Makes room for nodes below `nodes`. Never shrinks. O(new nodes); buckets grow on insertion.
    pub fn grow(&mut self, nodes: u32) {
        self.nodes.grow(nodes);
    }

    /// Nodes in the index.
    #[inline]
    #[must_use]
    pub const fn len(&self) -> u32 {
        self.len
    }

    /// True where no node is in the index.
    #[inline]
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Puts `node`, which is not in the index, under `hash`. O(1) expected.
    ///
    /// Where another node stands under an equal tag already, both are in the index, and which of
    /// them [`find`](Self::find) yields is unspecified (though the same in every run); look first.
    pub fn insert(&mut self, hash: u64, node: u32) {
        debug_assert!(!self.contains(node), "node {node} is in the index already");
        if self.len == self.bucket_count {
            self.split();
        }
        self.len += 1;
        self.nodes[node].tag = tag_of(hash);
        self.link(node);
    }

    /// The node under `hash`. O(1) expected.
    #[inline]
    #[must_use]
    pub fn find(&self, hash: u64) -> Option<u32> {
        let tag = tag_of(hash);
        let mut link = self.buckets[self.bucket_of(tag)];
        while link != END {
            let node = self.nodes[link - 1];
            if node.tag == tag {
                return Some(link - 1);
            }
            link = node.next;
        }
        None
    }

    /// Takes `node` out. False where it was not in the index. O(1) expected.
    pub fn remove(&mut self, node: u32) -> bool {
        let bucket = self.bucket_of(self.nodes[node].tag);
        let target = node + 1;
        let next = self.nodes[node].next;
        let mut link = self.buckets[bucket];
        if link == target {
            self.buckets[bucket] = next;
            self.len -= 1;
            return true;
        }
        while link != END {
            let after = self.nodes[link - 1].next;
            if after == target {
                self.nodes[link - 1].next = next;
                self.len -= 1;
                return true;
            }
            link = after;
        }
        false
    }

    /// True where `node` is in the index. O(1) expected: walks the chain it would be in.
    #[must_use]
    pub fn contains(&self, node: u32) -> bool {
        let mut link = self.buckets[self.bucket_of(self.nodes[node].tag)];
        while link != END && link != node + 1 {
            link = self.nodes[link - 1].next;
        }
        link != END
    }

    /// Walks all chains and asserts that every node stands in the bucket of its tag and that the
    /// length counts them. For tests; O(nodes).
    ///
    /// # Panics
    ///
    /// Where an invariant of the index is broken.
    pub fn validate(&self) {
        let mut len = 0;
        for bucket in 0..self.bucket_count {
            let mut link = self.buckets[bucket];
            while link != END {
                let tag = self.nodes[link - 1].tag;
                assert_eq!(self.bucket_of(tag), bucket, "node {} is in its bucket", link - 1);
                len += 1;
                assert!(len <= self.len, "more nodes than the length, or a cycle");
                link = self.nodes[link - 1].next;
            }
        }
        assert_eq!(len, self.len, "the length counts the nodes");
        assert!(self.len <= self.bucket_count, "at most one node a bucket on average");
    }

    /// The bucket of `tag`: its low bits, one bit fewer where that bucket does not exist yet.
    #[inline(always)]
    fn bucket_of(&self, tag: u32) -> u32 {
        let bucket = tag & self.mask;
        if bucket < self.bucket_count { bucket } else { bucket & (self.mask >> 1) }
    }

    /// Puts `node`, whose tag is set, at the front of its chain.
    #[inline]
    fn link(&mut self, node: u32) {
        let bucket = self.bucket_of(self.nodes[node].tag);
        self.nodes[node].next = self.buckets[bucket];
        self.buckets[bucket] = node + 1;
    }

    /// Adds one bucket and deals its buddy's chain out between the two.
    fn split(&mut self) {
        let added = self.bucket_count;
        if added > self.mask {
            self.mask = self.mask * 2 + 1;
        }
        // The bucket that held these tags while the added one did not exist.
        let buddy = added & (self.mask >> 1);
        self.bucket_count += 1;
        self.buckets.grow(self.bucket_count);
        let mut link = self.buckets[buddy];
        self.buckets[buddy] = END;
        while link != END {
            let next = self.nodes[link - 1].next;
            self.link(link - 1);
            link = next;
        }
    }
}

/// Folds both halves, so that bits which chose the shard, equal in all its keys, cost no entropy.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the tag is 32 bits of the hash, folded")]
const fn tag_of(hash: u64) -> u32 {
    (hash ^ (hash >> 32)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;
    use std::collections::BTreeMap;
    use std::collections::btree_map::Entry;

    /// The chain of every bucket, as tags.
    fn chains(index: &HashIndex) -> Vec<Vec<u32>> {
        let chain = |bucket| {
            let mut tags = Vec::new();
            let mut link = index.buckets[bucket];
            while link != END {
                tags.push(index.nodes[link - 1].tag);
                link = index.nodes[link - 1].next;
            }
            tags
        };
        (0..index.bucket_count).map(chain).collect()
    }

    #[test]
    fn buckets_split_one_at_a_time() {
        let mut index = HashIndex::new(8);
        let mut seen = Vec::new();
        for (node, hash) in [0b00, 0b11, 0b10, 0b01, 0b110].into_iter().enumerate() {
            index.insert(hash, u32::try_from(node).unwrap());
            seen.push(chains(&index));
        }
        let expected: [&[&[u32]]; 5] = [
            &[&[0]],
            &[&[0], &[3]],
            // Bucket 2 took nothing from bucket 0 but receives the new tag; bucket 1 waits.
            &[&[0], &[3], &[2]],
            // Bucket 3 took tag 3 from bucket 1.
            &[&[0], &[1], &[2], &[3]],
            // Bucket 4 splits bucket 0; bucket 6 does not exist, so tag 6 goes to bucket 2.
            &[&[0], &[1], &[6, 2], &[3], &[]],
        ];
        assert_eq!(seen, expected);
        index.validate();
    }

    #[test]
    fn equal_tags_are_one_hash() {
        let mut index = HashIndex::new(2);
        index.insert(0x0000_0001_0000_0002, 0);
        assert_eq!(index.find(3), Some(0), "1 ^ 2 is the tag 3 too");
        assert_eq!(index.find(2), None);
        assert!(index.remove(0));
        assert!(!index.remove(0));
        assert_eq!((index.find(3), index.len()), (None, 0));
    }

    #[test]
    fn a_hundred_thousand_nodes_are_found_and_chains_stay_short() {
        let hash = |node: u32| ostler_abi::hash_u64(u64::from(node), 7);
        let mut index = HashIndex::new(0);
        for node in 0..100_000 {
            index.grow(node + 1);
            index.insert(hash(node), node);
        }
        index.validate();
        // Equal tags among 100,000: about one pair is expected (n^2 / 2^33 = 1.2).
        let strangers = (0..100_000).filter(|node| index.find(hash(*node)) != Some(*node)).count();
        assert!(strangers <= 4, "{strangers}");
        let longest = chains(&index).iter().map(Vec::len).max();
        assert!(longest <= Some(12), "{longest:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            rng_seed: RngSeed::Fixed(1),
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn equals_a_map(steps in prop::collection::vec((0u32..48, 0u64..64), 0..400)) {
            let mut index = HashIndex::new(48);
            let mut node_of = BTreeMap::new();
            let mut hash_of = BTreeMap::new();
            for (node, hash) in steps {
                prop_assert_eq!(index.contains(node), hash_of.contains_key(&node));
                if let Some(old) = hash_of.remove(&node) {
                    prop_assert!(index.remove(node));
                    node_of.remove(&old);
                } else if let Entry::Vacant(vacant) = node_of.entry(hash) {
                    index.insert(hash, node);
                    vacant.insert(node);
                    hash_of.insert(node, hash);
                }
                prop_assert_eq!(index.find(hash), node_of.get(&hash).copied());
                prop_assert_eq!(index.len() as usize, node_of.len());
                index.validate();
            }
            for hash in 0..64 {
                prop_assert_eq!(index.find(hash), node_of.get(&hash).copied());
            }
        }
    }
}
