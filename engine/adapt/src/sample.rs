//! Which keys a shadow hears of: a salted share of all hashes.
//!
//! Spatial sampling keeps every request to a sampled key, so that a cache scaled by the same share
//! behaves like the whole one (Waldspurger, Park, Garthwaite, Ahmad: "Efficient MRC Construction
//! with SHARDS", FAST 2015).

use ostler_abi::hash_u64;

/// A share of the keys, chosen by a remix of their hash.
///
/// The remix is independent of the bits that deal keys to shards. Shares of one salt are nested:
/// every key of a smaller one is in the larger one.
///
/// ```
/// use ostler_adapt::Sampler;
///
/// let (all, some) = (Sampler::new(1.0, 7), Sampler::new(0.25, 7));
/// assert!((0..1000).all(|hash| all.takes(hash)));
/// let taken = (0..100_000_u64).filter(|&hash| some.takes(hash)).count();
/// assert!((24_000..26_000).contains(&taken));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampler {
    salt: u64,
    /// Remixed hashes up to this one are taken.
    last: u64,
    rate: f64,
}

impl Sampler {
    /// A sampler of `rate` of all keys, clamped to 2⁻³² … 1.
    #[must_use]
    pub fn new(rate: f64, salt: u64) -> Self {
        let rate = if rate.is_finite() { rate.clamp(2_f64.powi(-32), 1.0) } else { 1.0 };
        // A float cast saturates, so that a rate of 1 takes every hash.
        let last = (rate * 2_f64.powi(64)) as u64;
        Self { salt, last: last.max(1), rate }
    }

    /// Whether the key with this hash is in the share. Cost: one multiplication and a compare.
    #[inline]
    #[must_use]
    pub fn takes(&self, hash: u64) -> bool {
        hash_u64(hash, self.salt) <= self.last
    }

    /// The share, 0 to 1.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.rate
    }

    /// What is left of `capacity` in a cache of this share, at least 1.
    #[must_use]
    pub fn scaled(&self, capacity: u64) -> u64 {
        scaled(capacity, self.rate)
    }
}

/// What is left of `capacity` in a cache of the share `rate` of the keys, at least 1.
pub(crate) fn scaled(capacity: u64, rate: f64) -> u64 {
    ((capacity as f64 * rate).round() as u64).max(1)
}

/// The share that shadows of a cache get by default: `wanted`, raised where the cache is so small
/// that its shadows would hold fewer than `entries_min` of the `entries` that it holds.
///
/// ```
/// use ostler_adapt::shadow_rate;
///
/// assert_eq!(shadow_rate(1.0 / 16.0, 1_000_000, 1024), 1.0 / 16.0);
/// assert_eq!(shadow_rate(1.0 / 16.0, 4096, 1024), 0.25);
/// assert_eq!(shadow_rate(1.0 / 16.0, 100, 1024), 1.0);
/// ```
#[must_use]
pub fn shadow_rate(wanted: f64, entries: u64, entries_min: u64) -> f64 {
    let least = entries_min as f64 / entries.max(1) as f64;
    wanted.max(least).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_nested_and_scale() {
        let (small, large) = (Sampler::new(0.1, 3), Sampler::new(0.5, 3));
        for hash in 0..10_000_u64 {
            assert!(!small.takes(hash) || large.takes(hash), "{hash}");
        }
        assert_eq!(small.scaled(1000), 100);
        assert_eq!(small.scaled(1), 1);
        assert_eq!(Sampler::new(f64::NAN, 0).rate(), 1.0);
    }

    #[test]
    fn another_salt_takes_other_keys() {
        let (one, other) = (Sampler::new(0.5, 1), Sampler::new(0.5, 2));
        let both = (0..10_000_u64).filter(|&hash| one.takes(hash) && other.takes(hash)).count();
        assert!((2300..2700).contains(&both), "{both}");
    }
}
