//! The residents that are worst so far: how a policy finds somebody to evict without an order.
//!
//! Every eviction draws a few residents at random and scores them; the worst of all draws so far are
//! kept, and the worst of those goes unless it was used since. So each eviction profits from the
//! draws of those before it, for the price of a few scores.

use alloc::vec::Vec;

/// A resident that was drawn and scored.
#[derive(Clone, Copy, Debug)]
struct Drawn {
    rank: f32,
    slot: u32,
    /// Its last access when it was scored: another one since makes the score void.
    last: u32,
}

/// The worst residents drawn so far, in order. 12 bytes each, at most 64 of them.
#[derive(Clone, Debug, Default)]
pub struct Pool {
    /// The worst is the last.
    drawn: Vec<Drawn>,
}

/// Residents drawn for an eviction where nothing else is said.
pub const DRAWS: u32 = 6;

/// Largest pool.
const POOL_MAX: u32 = 32;
/// Smallest pool: with a fixed size, tiny caches would evict what was scored long ago.
const POOL_MIN: u32 = 4;

impl Pool {
    /// No one drawn yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { drawn: Vec::new() }
    }

    /// Whether `slot` is among the worst, so that it need not be scored again.
    #[inline]
    #[must_use]
    pub fn contains(&self, slot: u32) -> bool {
        self.drawn.iter().any(|drawn| drawn.slot == slot)
    }

    /// Offers a resident with its rank (lower goes first) and its last access, in a cache of
    /// `residents`. Must not be in the pool.
    #[inline]
    pub fn offer(&mut self, rank: f32, slot: u32, last: u32, residents: u32) {
        let len_max = (residents / 32).clamp(POOL_MIN, POOL_MAX) as usize;
        if self.drawn.len() >= len_max {
            if rank >= self.drawn[0].rank {
                return;
            }
            self.drawn.drain(..=self.drawn.len() - len_max);
        }
        let place = self.drawn.iter().position(|drawn| drawn.rank < rank);
        self.drawn.insert(place.unwrap_or(self.drawn.len()), Drawn { rank, slot, last });
    }

    /// The worst one's slot and rank, after dropping those that `last` says were used since they
    /// were scored; it stays in the pool. None where nobody is left.
    #[inline]
    pub fn worst(&mut self, last: impl Fn(u32) -> u32) -> Option<(u32, f32)> {
        while let Some(worst) = self.drawn.last() {
            if last(worst.slot) == worst.last {
                return Some((worst.slot, worst.rank));
            }
            self.drawn.pop();
        }
        None
    }

    /// Forgets `slot`: it left the cache, or its weight changed.
    #[inline]
    pub fn forget(&mut self, slot: u32) {
        if self.drawn.last().is_some_and(|worst| worst.slot == slot) {
            self.drawn.pop();
        } else if let Some(place) = self.drawn.iter().position(|drawn| drawn.slot == slot) {
            self.drawn.remove(place);
        }
    }

    /// Forgets all: another model came, whose ranks are not comparable.
    pub fn clear(&mut self) {
        self.drawn.clear();
    }
}
