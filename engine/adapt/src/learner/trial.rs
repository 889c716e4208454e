//! A small cache that evicts by a model as the policy `learned` would: shows how many misses a model
//! costs, before and while it is in force.
//!
//! It owns its residents and what is remembered of keys that left. It knows hashes and weights only.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use ostler_features::{DRAWS, EntryHistory, Features, Lifetime, Model, Pool, Predictor, Ranking};

/// Keys are hashes already.
#[derive(Default)]
pub(super) struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }
    fn write_u64(&mut self, hash: u64) {
        // The sample was chosen by some bits of the hash: spread what is left.
        self.0 = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32);
    }
}

pub(super) type ByHash<T> = HashMap<u64, T, BuildHasherDefault<Hashed>>;

/// No place among the residents: the key left.
const GONE: u32 = u32::MAX;

/// Keys remembered for each resident after they left; the policy's own default.
const GHOSTS: usize = 7;

/// A key.
struct Entry {
    hash: u64,
    history: EntryHistory,
    weight: u32,
    place: u32,
    /// How often it left: tells the latest time in the queue from those before.
    departures: u32,
}

/// What a trial lets the learner see of an entry.
pub(super) struct Drawn {
    pub(super) hash: u64,
    pub(super) features: Features,
}

/// A cache under a model.
pub(super) struct Trial {
    capacity: u64,
    used: u64,
    known: ByHash<u32>,
    entries: Vec<Entry>,
    free: Vec<u32>,
    residents: Vec<u32>,
    gone: VecDeque<(u32, u32)>,
    lifetime: Lifetime,
    pool: Pool,
    predictor: Predictor,
    ranking: Ranking,
    uniform: bool,
    now: u32,
    random: u64,
    evictions: u32,
    insertions: u32,
}

impl Trial {
    pub(super) fn new(capacity: u64, entries: u64, ranking: Ranking, model: &Model) -> Self {
        Self {
            capacity,
            used: 0,
            known: ByHash::default(),
            entries: Vec::new(),
            free: Vec::new(),
            residents: Vec::new(),
            gone: VecDeque::new(),
            lifetime: Lifetime::new(u32::try_from(entries).unwrap_or(u32::MAX)),
            pool: Pool::new(),
            predictor: Predictor::new(model),
            ranking,
            uniform: true,
            now: 0,
            random: 0x6f73_746c_6572,
            evictions: 0,
            insertions: 0,
        }
    }

    pub(super) fn load(&mut self, model: &Model) {
        self.predictor.load(model);
        self.pool.clear();
    }

    pub(super) fn lifetime(&self) -> u32 {
        self.lifetime.requests()
    }

    /// Number of entries it holds.
    pub(super) fn len(&self) -> usize {
        self.residents.len()
    }

    /// Plays a request; true where it hits. `draws` hears of entries to learn from.
    pub(super) fn request(&mut self, hash: u64, weight: u32, draws: &mut Vec<Drawn>) -> bool {
        self.now = self.now.wrapping_add(1);
        let known = self.known.get(&hash).copied();
        if let Some(at) = known {
            let entry = &mut self.entries[at as usize];
            if entry.place != GONE {
                self.lifetime.hit(1);
                entry.history.hit(self.now, &self.lifetime);
                return true;
            }
        }
        if self.residents.is_empty() {
            self.lifetime.hit(1);
        } else {
            self.lifetime.miss(self.residents.len() as u32);
        }
        if u64::from(weight) > self.capacity {
            return false;
        }
        self.uniform &= weight == 1;
        let at = match known {
            Some(at) => {
                let entry = &mut self.entries[at as usize];
                // As it comes back from the policy's ghosts.
                let last = entry.history.last();
                entry.history = EntryHistory::unpacked(entry.history.packed(), last);
                entry.history.enter(self.now, &self.lifetime);
                entry.weight = weight;
                // It is not gone any more: what the queue says of it is void.
                entry.departures = entry.departures.wrapping_add(1);
                at
            }
            None => self.remember(hash, weight),
        };
        if self.make_room(at, weight, draws) {
            self.used += u64::from(weight);
            self.entries[at as usize].place = self.residents.len() as u32;
            self.residents.push(at);
        }
        self.insertions += 1;
        if self.insertions.is_multiple_of(4) {
            draws.push(self.drawn(at));
        }
        false
    }

    /// Evicts until the newcomer fits; false where it is the newcomer that goes.
    fn make_room(&mut self, newcomer: u32, weight: u32, draws: &mut Vec<Drawn>) -> bool {
        let mut newcomer_rank = f32::NAN;
        while self.used + u64::from(weight) > self.capacity {
            self.draw(draws);
            let entries = &self.entries;
            let Some((at, rank)) = self.pool.worst(|at| entries[at as usize].history.last()) else {
                self.pool.clear();
                continue;
            };
            if newcomer_rank.is_nan() {
                newcomer_rank = self.rank(newcomer);
            }
            if self.ranking.rejects(newcomer_rank, rank, self.uniform) {
                self.leave(newcomer);
                return false;
            }
            self.pool.forget(at);
            let place = self.entries[at as usize].place;
            self.residents.swap_remove(place as usize);
            if let Some(&moved) = self.residents.get(place as usize) {
                self.entries[moved as usize].place = place;
            }
            self.used -= u64::from(self.entries[at as usize].weight);
            self.leave(at);
        }
        true
    }

    fn draw(&mut self, draws: &mut Vec<Drawn>) {
        let residents = self.residents.len() as u32;
        for draw in 0..DRAWS {
            let place = self.below(residents);
            let at = self.residents[place as usize];
            if draw == 0 {
                draws.push(self.drawn(at));
            }
            if !self.pool.contains(at) {
                let rank = self.rank(at);
                self.pool.offer(rank, at, self.entries[at as usize].history.last(), residents);
            }
        }
        self.evictions += 1;
        if self.evictions.is_multiple_of(3) && !self.gone.is_empty() {
            let place = self.below(self.gone.len() as u32);
            let (at, _) = self.gone[place as usize];
            if self.entries[at as usize].place == GONE {
                draws.push(self.drawn(at));
            }
        }
    }

    fn drawn(&self, at: u32) -> Drawn {
        let entry = &self.entries[at as usize];
        let facts = entry.history.facts(self.now, entry.weight);
        Drawn { hash: entry.hash, features: Features::of(&facts, &self.lifetime) }
    }

    fn rank(&self, at: u32) -> f32 {
        let entry = &self.entries[at as usize];
        let features = Features::of(&entry.history.facts(self.now, entry.weight), &self.lifetime);
        self.ranking.rank(self.predictor.score(&features), entry.weight)
    }

    /// A key that was not known.
    fn remember(&mut self, hash: u64, weight: u32) -> u32 {
        let history = EntryHistory::new(self.now);
        let entry = Entry { hash, history, weight, place: GONE, departures: 0 };
        let at = match self.free.pop() {
            Some(at) => {
                let departures = self.entries[at as usize].departures;
                self.entries[at as usize] = Entry { departures, ..entry };
                at
            }
            None => {
                self.entries.push(entry);
                self.entries.len() as u32 - 1
            }
        };
        self.known.insert(hash, at);
        at
    }

    /// A key left, or did not come in.
    fn leave(&mut self, at: u32) {
        let entry = &mut self.entries[at as usize];
        entry.place = GONE;
        entry.departures = entry.departures.wrapping_add(1);
        self.gone.push_back((at, entry.departures));
        while self.gone.len() > GHOSTS * self.residents.len().max(1) {
            let Some((at, departures)) = self.gone.pop_front() else { return };
            let entry = &mut self.entries[at as usize];
            if entry.place == GONE && entry.departures == departures {
                // Its next life must not be mistaken for this one.
                entry.departures = departures.wrapping_add(1);
                self.known.remove(&entry.hash);
                self.free.push(at);
            }
        }
    }

    fn below(&mut self, n: u32) -> u32 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (((self.random >> 32) * u64::from(n)) >> 32) as u32
    }
}
