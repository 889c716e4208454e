//! The digest of a run's evictions.

use ostler_abi::hash_u64;

/// A stable 64-bit hash over the sequence of (request index, key) evicted.
///
/// Two runs with the same digest evicted the same keys at the same requests, but for a chance of
/// 2^-64. The value depends on nothing but the sequence: it can be compared across machines,
/// versions, and between a policy compiled in and its module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VictimsDigest(u64);

impl VictimsDigest {
    /// Takes in that serving the request with this index (from 0) evicted `key`. Two
    /// multiplications.
    #[inline]
    pub fn evicted(&mut self, request: u64, key: u64) {
        self.0 = hash_u64(self.0 ^ key, request);
    }
}

impl std::fmt::Display for VictimsDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_index_and_key_all_count() {
        let digest = |sequence: &[(u64, u64)]| {
            let mut digest = VictimsDigest::default();
            for &(request, key) in sequence {
                digest.evicted(request, key);
            }
            digest.to_string()
        };
        let all = [
            digest(&[]),
            digest(&[(1, 2), (3, 4)]),
            digest(&[(3, 4), (1, 2)]),
            digest(&[(1, 2), (4, 4)]),
            digest(&[(1, 2), (3, 5)]),
            digest(&[(1, 2)]),
        ];
        let distinct: std::collections::HashSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
        assert_eq!(all[0], "0000000000000000");
    }
}
