//! Learned: evicts the entry that a model expects to be used again last.
//!
//! Idea: what an entry did so far (age, gaps between its uses, counts, all relative to how long an
//! entry would live in a FIFO cache of this size) tells how soon it will be used again. A linear
//! model over these features scores a few random residents at each eviction; the worst of the last
//! draws goes. The newcomer is scored too and may be
//! the one to go.
//! The model comes from the host, which learns it from the cache's own requests; until one arrives
//! the prior is used, learned from generated workloads.
//! Papers: Z. Song, D. S. Berger, K. Li, W. Lloyd, "Learning Relaxed Belady for Content Distribution
//! Network Caching" (LRB), NSDI 2020; Z. Song et al., "HALP: Heuristic Aided Learned Preference
//! Eviction Policy for YouTube Content Delivery Network", NSDI 2023.
//!
//! Parameters: `bytes` (false), rank by score instead of score by weight, for fewer missed bytes;
//! `draws` (6), residents scored for an eviction; `ghosts` (7), keys remembered for each slot.
//! Memory: 36 bytes a slot (24 the history, 4 the hash, 4 the list of residents, 4 the driver's
//! weight) and 8 a ghost. Cost: O(1) a hit; an eviction scores `draws` residents.
#![no_std]
#![forbid(unsafe_code)]

mod ghosts;

use ostler_features::{
    EntryHistory, Features, Lifetime, Model, ModelError, Pool, Predictor, Ranking,
};
use ostler_policy::{Bits, Budget, ModelRefused, NO_SLOT, PerSlot, Policy, Record, Rng, Setup};

use crate::ghosts::Ghosts;

/// The lowest prediction among random draws.
#[derive(Debug)]
pub struct Learned {
    histories: PerSlot<EntryHistory>,
    hashes: PerSlot<u32>,
    /// The residents, and slots that were residents and have not been drawn since; below `len`.
    members: PerSlot<u32>,
    len: u32,
    listed: Bits,
    ghosts: Ghosts,
    lifetime: Lifetime,
    pool: Pool,
    predictor: Predictor,
    ranking: Ranking,
    /// True until an entry weighs something else than 1.
    uniform: bool,
    newcomer: Newcomer,
    /// Requests so far.
    now: u32,
    draws: u32,
    rng: Rng,
}

/// Hits of an adopted entry that count.
const ADOPTED_HITS_MAX: u8 = 16;

/// The entry that waits for room.
#[derive(Clone, Copy, Debug)]
struct Newcomer {
    slot: u32,
    hash: u32,
    history: EntryHistory,
    /// Not a number until it is asked for.
    rank: f32,
}

const NOBODY: Newcomer =
    Newcomer { slot: NO_SLOT, hash: 0, history: EntryHistory::new(0), rank: f32::NAN };

impl Learned {
    #[inline]
    fn rank(&self, history: &EntryHistory, weight: u32) -> f32 {
        let features = Features::of(&history.facts(self.now, weight), &self.lifetime);
        self.ranking.rank(self.predictor.score(&features), weight)
    }

    /// The newcomer is resident in `slot`.
    #[inline]
    fn settle(&mut self, slot: u32) {
        let newcomer = core::mem::replace(&mut self.newcomer, NOBODY);
        self.histories[slot] = newcomer.history;
        self.hashes[slot] = newcomer.hash;
        if self.listed.set(slot) {
            self.members[self.len] = slot;
            self.len += 1;
        }
    }

    /// Draws residents and keeps the worst.
    #[inline]
    fn draw(&mut self, budget: &Budget) {
        let residents = budget.len();
        let mut left = self.draws;
        while left > 0 && self.len > 0 {
            let place = self.rng.below(self.len);
            let slot = self.members[place];
            if !budget.is_resident(slot) {
                self.len -= 1;
                self.members[place] = self.members[self.len];
                self.listed.unset(slot);
                continue;
            }
            left -= 1;
            if !self.pool.contains(slot) {
                let history = &self.histories[slot];
                let rank = self.rank(history, budget.weight(slot));
                self.pool.offer(rank, slot, history.last(), residents);
            }
        }
    }
}

/// The 32 bits of a hash that are kept.
#[inline(always)]
fn fold(hash: u64) -> u32 {
    (hash ^ (hash >> 32)) as u32
}

impl Policy for Learned {
    type Params = LearnedParams;

    fn new(setup: &Setup, params: &LearnedParams) -> Self {
        let number = |value: i64| u32::try_from(value).unwrap_or(1);
        Self {
            histories: PerSlot::new(setup.slots),
            hashes: PerSlot::new(setup.slots),
            members: PerSlot::new(setup.slots),
            len: 0,
            listed: Bits::new(setup.slots),
            ghosts: Ghosts::new(setup.slots, number(params.ghosts)),
            lifetime: Lifetime::new(setup.slots),
            pool: Pool::new(),
            predictor: Predictor::default(),
            ranking: if params.bytes { Ranking::Bytes } else { Ranking::Objects },
            uniform: true,
            newcomer: NOBODY,
            now: 0,
            draws: number(params.draws),
            rng: Rng::new(setup.seed),
        }
    }

    fn grow(&mut self, slots: u32) {
        self.histories.grow(slots);
        self.hashes.grow(slots);
        self.members.grow(slots);
        self.listed.grow(slots);
        self.ghosts.grow(slots);
    }

    fn hit(&mut self, event: &Record, _: &Budget) {
        let count = u32::from(event.count.max(1));
        self.now = self.now.wrapping_add(count);
        self.lifetime.hit(count);
        self.histories[event.slot].hit(self.now, &self.lifetime);
    }

    fn admit(&mut self, event: &Record, budget: &Budget) -> bool {
        self.now = self.now.wrapping_add(1);
        if budget.is_empty() {
            self.lifetime.hit(1);
        } else {
            self.lifetime.miss(budget.len());
        }
        let hash = fold(event.key_hash);
        let history = match self.ghosts.take(hash, self.now) {
            Some(mut history) => {
                history.enter(self.now, &self.lifetime);
                history
            }
            None => EntryHistory::new(self.now),
        };
        self.uniform &= event.weight == 1;
        self.newcomer = Newcomer { slot: event.slot, hash, history, rank: f32::NAN };
        true
    }

    fn insert(&mut self, event: &Record, _: &Budget) {
        self.settle(event.slot);
    }
    fn victim(&mut self, budget: &Budget) -> u32 {
        self.draw(budget);
        let histories = &self.histories;
        let Some((slot, rank)) = self.pool.worst(|slot| histories[slot].last()) else {
            // All draws were in the pool, and all of those were used since: any resident will do,
            // and the last one drawn into the list is one.
            self.pool.clear();
            return self.victim(budget);
        };
        if self.newcomer.slot != NO_SLOT {
            if self.newcomer.rank.is_nan() {
                self.newcomer.rank = self.rank(&self.newcomer.history, budget.incoming());
            }
            if self.ranking.rejects(self.newcomer.rank, rank, self.uniform) {
                let newcomer = core::mem::replace(&mut self.newcomer, NOBODY);
                self.ghosts.push(newcomer.hash, &newcomer.history, self.now);
                return newcomer.slot;
            }
        }
        self.pool.forget(slot);
        self.ghosts.push(self.hashes[slot], &self.histories[slot], self.now);
        slot
    }

    fn remove(&mut self, slot: u32, _: &Budget) {
        self.pool.forget(slot);
    }

    fn reweigh(&mut self, slot: u32, _: u32, new: u32) {
        self.uniform &= new == 1;
        self.pool.forget(slot);
    }

    fn adopt(&mut self, entry: &Record, last: Option<&Record>, _: &Budget) {
        // The order of the adopted is all that is known of their ages.
        self.now = self.now.wrapping_add(1);
        let mut history = EntryHistory::new(self.now);
        for _ in 0..last.map_or(0, |hit| hit.count.min(ADOPTED_HITS_MAX)) {
            history.hit(self.now, &self.lifetime);
        }
        self.newcomer = Newcomer { hash: fold(entry.key_hash), history, ..NOBODY };
        self.settle(entry.slot);
    }

    fn model(&mut self, message: &[u8]) -> Result<(), ModelRefused> {
        let model = Model::try_from_bytes(message).map_err(|error| match error {
            ModelError::Format { .. } => ModelRefused::FORMAT,
            ModelError::Weight { .. } => ModelRefused::WEIGHTS,
            _ => ModelRefused::LENGTH,
        })?;
        self.predictor.load(&model);
        self.pool.clear();
        Ok(())
    }
}

ostler_policy::export! {
    policy: Learned,
    name: "learned",
    summary: "Evicts the entry that a model, trained on the cache's own requests, expects to be used last.",
    events: ["hit"],
    features: ["model"],
    bytes_per_slot: 96,
    base_bytes: 524288,
    params: LearnedParams {
        bytes: bool = false, false..=true, "Save missed bytes rather than misses.";
        draws: int = 6, 2..=32, "Residents scored for an eviction.";
        ghosts: int = 7, 0..=16, "Keys remembered for each slot, 8 bytes each.";
    }
}

#[cfg(test)]
mod tests {
    use ostler_policy::check::{conformance, native_factory};

    #[test]
    fn keeps_the_contract() {
        for params in ["", r#"{"bytes": true, "draws": 2, "ghosts": 0}"#] {
            let report = conformance(&mut native_factory(&super::NATIVE, params));
            assert_eq!(report.first_failure(), None, "{params}");
        }
    }
}
