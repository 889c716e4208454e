//! Entries as they were drawn, until it is known when they were used next.
//!
//! A label counts at the time when it would have been known for any entry, used or not: labels of
//! entries that were used quickly must not come before those of entries that were not, or the
//! training forgets that most are not used at all.

use std::collections::VecDeque;

use ostler_features::Features;

use super::trial::{ByHash, Drawn};

/// Most samples that wait; beyond them none is taken.
const WAITING_MAX: usize = 1 << 16;
/// No sample before this one.
const NONE: u64 = u64::MAX;

struct Sample {
    hash: u64,
    features: Features,
    at: u32,
    lifetime: u32,
    /// Requests until the next use, 0 until there is one.
    used_after: u32,
    /// The sample of the same key before this one.
    before: u64,
}

/// A sample whose label is known.
pub(super) struct Labelled {
    pub(super) features: Features,
    /// exp(-d/T) where the entry was used again after d requests in time, else 0.
    pub(super) label: f64,
}

/// The samples that wait, in the order they were drawn.
pub(super) struct Samples<const HORIZONS: usize> {
    waiting: VecDeque<Sample>,
    /// Number of the first one waiting.
    first: u64,
    /// Number of the first one whose label of that horizon is open.
    open: [u64; HORIZONS],
    /// Horizons in lifetimes.
    horizons: [u32; HORIZONS],
    latest: ByHash<u64>,
}

impl<const HORIZONS: usize> Samples<HORIZONS> {
    pub(super) fn new(horizons: [u32; HORIZONS]) -> Self {
        Self {
            waiting: VecDeque::new(),
            first: 0,
            open: [0; HORIZONS],
            horizons,
            latest: ByHash::default(),
        }
    }

    pub(super) fn push(&mut self, drawn: &Drawn, at: u32, lifetime: u32) {
        if self.waiting.len() >= WAITING_MAX {
            return;
        }
        let number = self.first + self.waiting.len() as u64;
        let before = self.latest.insert(drawn.hash, number).unwrap_or(NONE);
        let Drawn { hash, features } = *drawn;
        self.waiting.push_back(Sample { hash, features, at, lifetime, used_after: 0, before });
    }

    /// A key was asked for.
    pub(super) fn used(&mut self, hash: u64, now: u32) {
        let mut number = self.latest.remove(&hash).unwrap_or(NONE);
        while number != NONE && number >= self.first {
            let sample = &mut self.waiting[(number - self.first) as usize];
            sample.used_after = now.wrapping_sub(sample.at).max(1);
            number = sample.before;
        }
    }

    /// Calls `learn` with the horizon's place and the sample for every label that is due. `elapsed`
    /// is the number of requests so far.
    pub(super) fn settle(
        &mut self,
        now: u32,
        elapsed: u64,
        mut learn: impl FnMut(usize, &Labelled),
    ) {
        for (horizon, open) in self.open.iter_mut().enumerate() {
            while let Some(sample) = self.waiting.get((*open - self.first) as usize) {
                let lifetime = u64::from(sample.lifetime) * u64::from(self.horizons[horizon]);
                let wait = (elapsed / (16 * lifetime)).clamp(1, 4) * lifetime;
                if u64::from(now.wrapping_sub(sample.at)) < wait {
                    break;
                }
                let after = u64::from(sample.used_after);
                let in_time = after != 0 && after <= wait;
                let label = if in_time { (-(after as f64) / lifetime as f64).exp() } else { 0.0 };
                learn(horizon, &Labelled { features: sample.features, label });
                *open += 1;
            }
        }
        let settled = self.open.iter().copied().min().unwrap_or(self.first);
        while self.first < settled {
            let Some(sample) = self.waiting.pop_front() else { break };
            if self.latest.get(&sample.hash) == Some(&self.first) {
                self.latest.remove(&sample.hash);
            }
            self.first += 1;
        }
    }
}
