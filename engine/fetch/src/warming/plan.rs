//! What is fetched into a cold cache, most valuable first, within a budget of weight.
//!
//! Owns the order that the policy's scores make, and what of the budget is left. It does not fetch.

use std::cmp::Reverse;

use ostler_abi::{Candidate, Outlook};

use super::history::{KeyHistory, Moment};

/// Candidates that a policy is shown at once.
const RANK_BATCH: usize = 1024;

/// How much more than the budget is planned, since some of it will be resident when its turn comes.
const SPARE_TIMES: u64 = 2;

/// A key that is to be fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WarmKey {
    /// Hash of the key.
    pub hash: u64,
    /// The key.
    pub key: Box<[u8]>,
    /// What it weighed when it was last seen, at least 1.
    pub weight: u32,
    /// The policy's score, at least 1.
    pub score: u32,
}

/// The keys to fetch, in order, and the budget that is left. It holds the keys themselves, so the
/// history goes on meanwhile.
#[derive(Clone, Debug)]
pub struct WarmPlan {
    /// The next one last.
    keys: Vec<WarmKey>,
    budget: u64,
    /// Candidates that were ranked.
    ranked: usize,
}

impl WarmPlan {
    /// Has every key of the history ranked by `rank`, which scores candidates as
    /// [`Rank::rank`](ostler_abi::Rank::rank) does, and keeps the best for about twice the budget.
    /// Keys of equal score go by hash, which is as good as at random.
    ///
    /// # Errors
    ///
    /// The first error of `rank`; [`by_decayed`](Self::by_decayed) is what is left to do then.
    pub fn ranked<E>(
        history: &KeyHistory,
        outlook: &Outlook,
        mut rank: impl FnMut(&Outlook, &[Candidate], &mut [u32]) -> Result<(), E>,
    ) -> Result<Self, E> {
        let moment = Moment { now_ms: outlook.now_ms, lifetime: outlook.lifetime };
        let mut order: Vec<(Reverse<u32>, u64, usize)> = Vec::new();
        let mut candidates = Vec::with_capacity(RANK_BATCH);
        let mut scores = [0; RANK_BATCH];
        for first in (0..history.len()).step_by(RANK_BATCH) {
            candidates.clear();
            let places = first..history.len().min(first + RANK_BATCH);
            candidates.extend(places.filter_map(|place| history.candidate(place, moment)));
            let scores = &mut scores[..candidates.len()];
            scores.fill(0);
            rank(outlook, &candidates, scores)?;
            let scored = candidates.iter().zip(&*scores).enumerate();
            let wanted = scored.filter(|(_, (_, score))| **score != 0);
            order.extend(wanted.map(|(place, (candidate, &score))| {
                (Reverse(score), candidate.key_hash, first + place)
            }));
        }
        order.sort_unstable();
        Ok(Self::of(history, outlook.budget, &order))
    }

    /// The order that needs no policy: by decayed frequency.
    #[must_use]
    pub fn by_decayed(history: &KeyHistory, outlook: &Outlook) -> Self {
        let decayed = |_: &Outlook, candidates: &[Candidate], scores: &mut [u32]| {
            for (candidate, score) in candidates.iter().zip(scores) {
                *score = candidate.decayed.max(1);
            }
            Ok::<(), std::convert::Infallible>(())
        };
        match Self::ranked(history, outlook, decayed) {
            Ok(plan) => plan,
            Err(never) => match never {},
        }
    }

    /// The next key to fetch that is not resident and fits what is left of the budget, which it is
    /// charged to. None where all is done. Keys that were resident or too heavy are not asked about
    /// again.
    pub fn next_key(&mut self, mut is_resident: impl FnMut(u64, &[u8]) -> bool) -> Option<WarmKey> {
        while self.budget > 0 {
            let key = self.keys.pop()?;
            let weight = u64::from(key.weight);
            if weight <= self.budget && !is_resident(key.hash, &key.key) {
                self.budget -= weight;
                return Some(key);
            }
        }
        None
    }

    /// Ends warming: the cache is full of what was asked for, or its owner has had enough.
    pub fn stop(&mut self) {
        self.keys = Vec::new();
        self.budget = 0;
    }

    /// Whether nothing is left to fetch.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.keys.is_empty() || self.budget == 0
    }

    /// Weight that may still be fetched.
    #[must_use]
    pub const fn budget(&self) -> u64 {
        self.budget
    }

    /// Keys that are still planned.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether no key is planned.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Candidates that got a score.
    #[must_use]
    pub const fn ranked_len(&self) -> usize {
        self.ranked
    }

    fn of(history: &KeyHistory, budget: u64, order: &[(Reverse<u32>, u64, usize)]) -> Self {
        let mut keys = Vec::new();
        let mut planned: u64 = 0;
        for &(Reverse(score), hash, place) in order {
            if planned >= budget.saturating_mul(SPARE_TIMES) {
                break;
            }
            let Some(entry) = history.entries().get(place) else { continue };
            planned += u64::from(entry.weight);
            keys.push(WarmKey { hash, key: entry.key.clone(), weight: entry.weight, score });
        }
        keys.reverse();
        Self { keys, budget, ranked: order.len() }
    }
}
