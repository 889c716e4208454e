//! What is known of a key now, and the small integers that the predictor sees of it.

use crate::{Lifetime, quarter_octaves};

/// Features of an entry.
pub const FEATURES: usize = 12;

/// Values of a feature: 0 to 30, and 31 for one that is missing.
pub(crate) const LEVELS: usize = 32;

/// A feature that is missing.
pub(crate) const MISSING: u8 = 31;

/// What is known of a key at some request. Times are in requests of the same clock as the
/// [`Lifetime`]'s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Since the last access.
    pub age: u32,
    /// The last inter-arrival time, 0 if there is none.
    pub gap: u32,
    /// The one before, 0 if there is none.
    pub gap2: u32,
    /// The mean inter-arrival time, 0 if there is none.
    pub gap_mean: u32,
    /// Since the key was first seen.
    pub life: u32,
    /// Since it came into the cache.
    pub stay: u32,
    /// Accesses since first seen, at least 1.
    pub accesses: u32,
    /// Hits since it came in.
    pub hits: u32,
    /// Accesses as of the last one, decayed with a half-life of a quarter lifetime; 256 is one.
    pub recent: u32,
    /// As `recent`, with a half-life of two lifetimes.
    pub steady: u32,
    /// Weight; 1 where all weigh the same.
    pub weight: u32,
}

/// The features of an entry, each below 32. In this order: age, gap, second gap, mean gap, age over
/// gap, age over mean gap, life, stay, accesses, hits, recent, steady; all times relative to the
/// lifetime, all logarithmic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features(pub(crate) [u8; FEATURES]);

impl Features {
    /// The features of what is known. A dozen leading-zero counts; no division, no floating point.
    #[inline]
    #[must_use]
    pub fn of(facts: &Facts, lifetime: &Lifetime) -> Self {
        let scale = i32::from(lifetime.quarters());
        let age = q(facts.age.saturating_add(1));
        Self([
            relative(age, scale),
            optional(facts.gap, scale),
            optional(facts.gap2, scale),
            optional(facts.gap_mean, scale),
            ratio(age, facts.gap),
            ratio(age, facts.gap_mean),
            relative(q(facts.life.saturating_add(1)), scale),
            relative(q(facts.stay.saturating_add(1)), scale),
            level(q(facts.accesses)),
            level(q(facts.hits.saturating_add(1))),
            level(q(facts.recent) - q(256)),
            level(q(facts.steady) - q(256)),
        ])
    }

    /// The features as numbers below 32.
    #[must_use]
    pub const fn as_levels(&self) -> &[u8; FEATURES] {
        &self.0
    }
}

#[inline(always)]
fn q(value: u32) -> i32 {
    i32::from(quarter_octaves(value))
}

#[inline(always)]
fn level(value: i32) -> u8 {
    value.clamp(0, 30) as u8
}

/// Half octaves around the lifetime: 22 is the lifetime itself.
#[inline(always)]
fn relative(quarters: i32, scale: i32) -> u8 {
    level((quarters - scale + 44) >> 1)
}

#[inline(always)]
fn optional(time: u32, scale: i32) -> u8 {
    if time == 0 { MISSING } else { relative(q(time), scale) }
}

/// Half octaves of age over a gap: 15 where they are equal.
#[inline(always)]
fn ratio(age: i32, gap: u32) -> u8 {
    if gap == 0 { MISSING } else { level((age - q(gap) + 30) >> 1) }
}
