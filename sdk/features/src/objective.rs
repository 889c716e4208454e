//! From a score to a rank: what a cache is to save.

/// What an eviction is to cost least of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ranking {
    /// Misses, whatever they weigh: an entry ranks by its score for each unit of weight.
    Objects,
    /// Missed weight: an entry ranks by its score.
    Bytes,
}

/// Least score that counts where scores are divided by weights.
const SCORE_MIN: f32 = 1.0 / 4096.0;

/// A newcomer of the same weight goes where it ranks worse than the victim by more than this.
const MARGIN: f32 = 0.01;
/// With weights, where its rank times this is below the victim's: ranks span orders of magnitude, and
/// one heavy newcomer would push many light entries out.
const FACTOR: f32 = 2.0;

impl Ranking {
    /// Whether the newcomer is to go rather than the victim, by their ranks. `uniform` says that all
    /// entries weigh 1.
    #[inline]
    #[must_use]
    pub fn rejects(self, newcomer: f32, victim: f32, uniform: bool) -> bool {
        match self {
            _ if uniform => newcomer < victim - MARGIN,
            Self::Objects => newcomer * FACTOR < victim,
            Self::Bytes => false,
        }
    }

    /// The rank of an entry: the lowest goes first.
    #[inline]
    #[must_use]
    pub fn rank(self, score: f32, weight: u32) -> f32 {
        match self {
            Self::Bytes => score,
            _ if weight == 1 => score,
            Self::Objects => (if score > SCORE_MIN { score } else { SCORE_MIN }) / weight as f32,
        }
    }
}
