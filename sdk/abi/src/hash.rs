//! The stable hash: what the engine calls a key's hash, and what policies may rehash with.
//!
//! Policies are deterministic, so the hash they see must be too, on every machine and in every
//! version; that rules out the hashers of the standard library and of `foldhash`, which promise no
//! stability. This one folds 128-bit products (the construction of wyhash, Wang Yi 2019) and is
//! frozen with the contract. It is seeded, not cryptographic: a server that takes keys from a
//! network seeds it at random.

const K0: u64 = 0x9e37_79b9_7f4a_7c15;
const K1: u64 = 0xe703_7ed1_a0b4_28db;
const K2: u64 = 0x8ebc_6af0_9c88_c6e3;

/// Multiplies to 128 bits and folds the halves together.
#[inline]
const fn fold(a: u64, b: u64) -> u64 {
    let product = (a as u128).wrapping_mul(b as u128);
    #[expect(clippy::cast_possible_truncation, reason = "the two halves are folded, none is lost")]
    {
        (product as u64) ^ ((product >> 64) as u64)
    }
}

/// Hashes one 64-bit key under `seed`. Two multiplications; a few nanoseconds.
#[inline]
#[must_use]
pub const fn hash_u64(key: u64, seed: u64) -> u64 {
    fold(fold(key ^ K0, seed ^ K1) ^ K2, key ^ K1)
}

/// Hashes bytes under `seed`, eight at a time; the length takes part, so a prefix differs.
#[must_use]
pub fn hash_bytes(bytes: &[u8], seed: u64) -> u64 {
    let mut state = seed ^ K1;
    let (words, tail) = bytes.as_chunks::<8>();
    for word in words {
        state = fold(state ^ u64::from_le_bytes(*word), K2);
    }
    let mut last = [0u8; 8];
    last[..tail.len()].copy_from_slice(tail);
    state = fold(state ^ u64::from_le_bytes(last), K0);
    fold(state ^ bytes.len() as u64, K1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The hash is part of the contract: these values never change.
    #[test]
    fn values_are_frozen() {
        assert_eq!(hash_u64(0, 0), FROZEN[0]);
        assert_eq!(hash_u64(42, 7), FROZEN[1]);
        assert_eq!(hash_bytes(b"", 0), FROZEN[2]);
        assert_eq!(hash_bytes(b"ostler changes horses", 7), FROZEN[3]);
    }

    const FROZEN: [u64; 4] =
        [0xcc25e46d01d30bcc, 0x51f4bff86f169671, 0x82eb3a1667734cee, 0x1228327af72d4aa5];

    #[test]
    fn low_bits_spread() {
        let mut buckets = [0u32; 64];
        for key in 0..64_000u64 {
            buckets[(hash_u64(key, 1) & 63) as usize] += 1;
        }
        assert!(buckets.iter().all(|&count| (850..1150).contains(&count)), "{buckets:?}");
    }
}
