//! From features to the numbers that a linear model weighs.
//!
//! Every term depends on one feature or on two, so a model is a sum of small tables: the host trains
//! on the terms, the guest looks the sums up.

use crate::Features;
use crate::facts::{FEATURES, LEVELS, MISSING};

/// A term of the expansion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Term {
    /// Always 1.
    One,
    /// The feature, scaled to -1..1; 0 where it is missing.
    Linear(usize),
    /// Its square.
    Square(usize),
    /// 1 where the feature is missing.
    Missing(usize),
    /// The product of two.
    Product(usize, usize),
}

pub(crate) const AGE: usize = 0;
pub(crate) const GAP: usize = 1;
pub(crate) const GAP2: usize = 2;
pub(crate) const MEAN: usize = 3;
pub(crate) const AGE_GAP: usize = 4;
pub(crate) const AGE_MEAN: usize = 5;
pub(crate) const LIFE: usize = 6;
pub(crate) const STAY: usize = 7;
pub(crate) const ACCESSES: usize = 8;
pub(crate) const HITS: usize = 9;
pub(crate) const RECENT: usize = 10;
pub(crate) const STEADY: usize = 11;

/// The terms, in the order of the weights.
pub(crate) const TERMS: [Term; WEIGHTS] = [
    Term::One,
    Term::Linear(AGE),
    Term::Linear(GAP),
    Term::Linear(GAP2),
    Term::Linear(MEAN),
    Term::Linear(AGE_GAP),
    Term::Linear(AGE_MEAN),
    Term::Linear(LIFE),
    Term::Linear(STAY),
    Term::Linear(ACCESSES),
    Term::Linear(HITS),
    Term::Linear(RECENT),
    Term::Linear(STEADY),
    Term::Missing(GAP),
    Term::Missing(GAP2),
    Term::Square(AGE),
    Term::Square(GAP),
    Term::Square(AGE_GAP),
    Term::Square(AGE_MEAN),
    Term::Square(ACCESSES),
    Term::Square(LIFE),
    Term::Square(STAY),
    Term::Square(RECENT),
    Term::Square(STEADY),
    Term::Product(AGE, ACCESSES),
    Term::Product(AGE, GAP),
    Term::Product(AGE, MEAN),
    Term::Product(AGE, RECENT),
    Term::Product(AGE, STEADY),
    Term::Product(AGE, LIFE),
    Term::Product(ACCESSES, LIFE),
    Term::Product(GAP, GAP2),
];

/// Weights of a model: one a term.
pub const WEIGHTS: usize = 32;

/// A feature scaled to -1..1, 0 where it is missing.
#[inline]
fn scaled(level: u8) -> f32 {
    if level == MISSING { 0.0 } else { f32::from(level) / 16.0 - 1.0 }
}

impl Term {
    /// The term's value for these features.
    #[inline]
    pub(crate) fn value(self, levels: &[u8; FEATURES]) -> f32 {
        match self {
            Term::One => 1.0,
            Term::Linear(a) => scaled(levels[a]),
            Term::Square(a) => scaled(levels[a]) * scaled(levels[a]),
            Term::Missing(a) => f32::from(u8::from(levels[a] == MISSING)),
            Term::Product(a, b) => scaled(levels[a]) * scaled(levels[b]),
        }
    }
}

/// The numbers that the model's weights multiply.
#[must_use]
pub fn expand(features: &Features) -> [f32; WEIGHTS] {
    core::array::from_fn(|term| TERMS[term].value(&features.0))
}

const _: () = assert!(LEVELS == MISSING as usize + 1);

/// The place of a term's weight.
pub(crate) const fn place_of(term: Term) -> usize {
    let mut place = 0;
    while place < WEIGHTS {
        let found = match (TERMS[place], term) {
            (Term::One, Term::One) => true,
            (Term::Linear(a), Term::Linear(b))
            | (Term::Square(a), Term::Square(b))
            | (Term::Missing(a), Term::Missing(b)) => a == b,
            (Term::Product(a, b), Term::Product(c, d)) => a == c && b == d,
            _ => false,
        };
        if found {
            return place;
        }
        place += 1;
    }
    unreachable!()
}
