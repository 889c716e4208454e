//! Scores entries: the higher, the sooner they are expected to be used again.

use alloc::boxed::Box;

use crate::expansion::{TERMS, Term};
use crate::facts::{FEATURES, LEVELS, MISSING};
use crate::{Features, Model, PRIOR, WEIGHTS};

/// Pairs of features that have products among the terms.
const PAIRS: usize = count_pairs();

const fn count_pairs() -> usize {
    let (mut pairs, mut term) = (0, 0);
    while term < WEIGHTS {
        if matches!(TERMS[term], Term::Product(..)) {
            pairs += 1;
        }
        term += 1;
    }
    pairs
}

const fn pairs() -> [(usize, usize); PAIRS] {
    let mut pairs = [(0, 0); PAIRS];
    let (mut at, mut term) = (0, 0);
    while term < WEIGHTS {
        if let Term::Product(a, b) = TERMS[term] {
            pairs[at] = (a, b);
            at += 1;
        }
        term += 1;
    }
    pairs
}

const PAIRS_OF: [(usize, usize); PAIRS] = pairs();

/// A model made ready: a table a feature and a factor a product.
#[derive(Clone, Debug)]
pub struct Predictor {
    tables: Box<[[f32; LEVELS]; FEATURES]>,
    products: [f32; PAIRS],
    scaled: [f32; LEVELS],
    one: f32,
    version: u32,
}

impl Default for Predictor {
    fn default() -> Self {
        Self::new(&Model { version: 0, weights: PRIOR })
    }
}

impl Predictor {
    /// A predictor with this model. About a thousand multiplications.
    #[must_use]
    pub fn new(model: &Model) -> Self {
        let mut predictor = Self {
            tables: Box::new([[0.0; LEVELS]; FEATURES]),
            products: [0.0; PAIRS],
            scaled: core::array::from_fn(|level| Term::Linear(0).value(&[level as u8; FEATURES])),
            one: 0.0,
            version: 0,
        };
        predictor.load(model);
        predictor
    }

    /// Takes another model.
    pub fn load(&mut self, model: &Model) {
        self.version = model.version;
        self.one = 0.0;
        *self.tables = [[0.0; LEVELS]; FEATURES];
        let mut pair = 0;
        for (&term, &weight) in TERMS.iter().zip(&model.weights) {
            match term {
                Term::One => self.one += weight,
                Term::Linear(a) | Term::Square(a) | Term::Missing(a) => {
                    for (level, sum) in self.tables[a].iter_mut().enumerate() {
                        *sum += weight * term.value(&[level as u8; FEATURES]);
                    }
                }
                Term::Product(..) => {
                    self.products[pair] = weight;
                    pair += 1;
                }
            }
        }
    }

    /// The model's version, 0 for the prior.
    #[must_use]
    pub const fn version(&self) -> u32 {
        self.version
    }

    /// How soon an entry with these features is expected to be used again: near 1 at once, near 0
    /// not within some lifetimes. Not bounded. The same on every machine.
    #[inline]
    #[must_use]
    pub fn score(&self, features: &Features) -> f32 {
        let levels = &features.0;
        let mut score = self.one;
        for (table, &level) in self.tables.iter().zip(levels) {
            score += table[usize::from(level & MISSING)];
        }
        for (&(a, b), &weight) in PAIRS_OF.iter().zip(&self.products) {
            let a = self.scaled[usize::from(levels[a] & MISSING)];
            score += weight * a * self.scaled[usize::from(levels[b] & MISSING)];
        }
        score
    }
}
