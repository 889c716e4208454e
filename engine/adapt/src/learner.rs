//! Learns from a cache's requests whom to evict, for the policies that take models.
//!
//! Idea: on a share of the keys, small caches run side by side, one for each candidate model, and
//! evict as the policy would ([trials](trial)). Entries drawn in the first become samples; when it is
//! known when they were used next, they are labels of a ridge regression, at two horizons, and of an
//! ordinary least squares fit on the newest labels alone. Before anything is in force it has to be a
//! valid model, and what is in force is exchanged for a candidate whose trial misses clearly less on
//! the same requests: the [prior](ostler_features::PRIOR) is one of them, so a model that garbage or
//! poisoned labels made loses its place to it.
//!
//! Deterministic: sums in a fixed order, no clock, no thread, no random source but its own counter. It
//! knows no policy and no cache; whoever runs it feeds requests and delivers what it publishes.
//!
//! Cost: a request of a key outside the share, a multiplication; one inside, a look-up in each trial
//! and, where it misses, seven scores in each. Memory: about 100 bytes for each entry of a trial and
//! its ghosts, at most 20 MB in all.

mod report;
mod ridge;
mod samples;
#[cfg(test)]
mod tests;
mod trial;
mod window;

use ostler_features::{FREQUENCY, LOOPS, Model, PRIOR, Predictor, Ranking, WEIGHTS, expand};

pub use report::{CandidateReport, LearnerReport};
use ridge::Ridge;
use samples::Samples;
use trial::{Drawn, Trial};
use window::Window;

/// Entries a trial holds at most: larger caches are learned from on a share of the keys.
const TRIAL_ENTRIES: u64 = 4096;
/// Horizons of the labels, in lifetimes.
const HORIZONS: [u32; 2] = [1, 4];
/// Labels before the first solve, and between two.
const LABELS_FIRST: u32 = 512;
const LABELS: u32 = 2048;
/// Standard errors by which a candidate has to miss less than the one in force.
const ERRORS_MIN: f64 = 4.0;
/// Share of the misses by which it has to.
const GAIN_MIN: f64 = 0.01;
/// What is left of the counts of misses after a window of half as many requests as entries.
const FADE: f64 = 0.98;
/// Fewest requests between two looks at the candidates.
const LOOK_REQUESTS_MIN: u64 = 64;
/// Labels over which the errors of prediction are averaged.
const ERROR_LABELS: f64 = 4096.0;

/// What a candidate's weights are trained on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Training {
    /// All labels of a horizon, fading.
    Ridge(usize),
    /// The newest labels of the first horizon alone.
    Window,
    /// Nothing: the prior.
    None,
}

/// Where a candidate's weights come from.
struct Recipe {
    name: &'static str,
    training: Training,
    /// How much of the rules is added to what was trained. They decide where the labels say little:
    /// in loops longer than the cache, nothing is used again in time.
    loops: f32,
    frequency: f32,
}

const CANDIDATES: usize = 5;

const RECIPES: [Recipe; CANDIDATES] = [
    Recipe { name: "near", training: Training::Ridge(0), loops: 0.1, frequency: 0.0 },
    Recipe { name: "far", training: Training::Ridge(1), loops: 0.1, frequency: 0.0 },
    Recipe { name: "sticky", training: Training::Ridge(0), loops: 0.1, frequency: 0.4 },
    Recipe { name: "window", training: Training::Window, loops: 0.1, frequency: 0.0 },
    Recipe { name: "prior", training: Training::None, loops: 0.0, frequency: 0.0 },
];

impl Recipe {
    /// The candidate's model where `base` is what was trained, or the prior.
    fn model(&self, base: &[f32; WEIGHTS]) -> Model {
        let weights = std::array::from_fn(|place| {
            base[place] + self.loops * LOOPS[place] + self.frequency * FREQUENCY[place]
        });
        Model { version: 0, weights }
    }
}

/// What a learner is made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LearnerConfig {
    /// Capacity of the cache, in its unit of weight.
    pub capacity: u64,
    /// About how many entries it holds; 0 where that is not known.
    pub entries: u64,
    /// What it is to save.
    pub ranking: Ranking,
}

/// Learns from requests. See the module's header.
pub struct Learner {
    config: LearnerConfig,
    /// Keys whose remixed hash is at most this are learned from.
    share: u64,
    trials: Vec<Trial>,
    models: [Model; CANDIDATES],
    samples: Samples<{ HORIZONS.len() }>,
    ridges: [Ridge; HORIZONS.len()],
    window: Window,
    /// Labels of each horizon since the last solve, and how many make the next one due.
    labels: [u32; HORIZONS.len()],
    labels_due: [u32; HORIZONS.len()],
    /// Requests by who missed: a bit a candidate. They fade.
    outcomes: [f64; 1 << CANDIDATES],
    since_look: u64,
    leader: usize,
    version: u32,
    due: bool,
    now: u32,
    elapsed: u64,
    drawn: Vec<Drawn>,
    unused: Vec<Drawn>,
    /// What the first ridge and the prior predict, to be judged on labels before they are learned.
    judged: [Predictor; 2],
    report: LearnerReport,
}

impl LearnerConfig {
    /// For a cache of `capacity` under a policy with these parameters, flat JSON: its parameter
    /// `bytes` says what is to be saved. `entries` is about how many it holds, 0 if not known.
    #[must_use]
    pub fn of(params: &str, capacity: u64, entries: u64) -> Self {
        let params = serde_json::from_str::<serde_json::Value>(params).unwrap_or_default();
        let bytes = params.get("bytes").and_then(serde_json::Value::as_bool).unwrap_or(false);
        let ranking = if bytes { Ranking::Bytes } else { Ranking::Objects };
        Self { capacity, entries, ranking }
    }
}

impl Learner {
    /// A learner that has heard nothing.
    #[must_use]
    pub fn new(config: LearnerConfig) -> Self {
        let models = RECIPES.map(|recipe| recipe.model(&PRIOR));
        let mut learner = Self {
            config,
            share: share_of(config.entries),
            trials: Vec::new(),
            models,
            samples: Samples::new(HORIZONS),
            ridges: std::array::from_fn(|_| Ridge::new()),
            window: Window::new(),
            labels: [0; HORIZONS.len()],
            labels_due: [LABELS_FIRST; HORIZONS.len()],
            outcomes: [0.0; 1 << CANDIDATES],
            since_look: 0,
            leader: 0,
            version: 0,
            due: true,
            now: 0,
            elapsed: 0,
            drawn: Vec::new(),
            unused: Vec::new(),
            judged: std::array::from_fn(|_| Predictor::default()),
            report: LearnerReport::new(RECIPES.map(|recipe| recipe.name)),
        };
        learner.start_trials();
        learner
    }

    /// Hears of a request: a get, or a set that is one. Those of other keys than its share cost next
    /// to nothing.
    #[inline]
    pub fn observe(&mut self, hash: u64, weight: u32) {
        if remixed(hash) <= self.share {
            self.request(hash, weight.max(1));
        }
    }

    /// The model that is to be in force from now on, where that changed since the last call: the first
    /// one at once.
    pub fn take(&mut self) -> Option<Model> {
        if !std::mem::take(&mut self.due) {
            return None;
        }
        self.version += 1;
        self.report.models += 1;
        Some(Model { version: self.version, weights: self.models[self.leader].weights })
    }

    /// The cache's capacity changed: the trials begin again, what was learned stays.
    pub fn set_capacity(&mut self, capacity: u64) {
        let entries = u128::from(self.config.entries) * u128::from(capacity)
            / u128::from(self.config.capacity.max(1));
        self.config.entries = u64::try_from(entries).unwrap_or(u64::MAX);
        self.config.capacity = capacity;
        self.share = share_of(self.config.entries);
        self.start_trials();
    }

    /// What it did so far.
    #[must_use]
    pub fn report(&self) -> LearnerReport {
        let mut report = self.report.clone();
        report.requests = self.elapsed;
        report.share = self.share as f64 / u64::MAX as f64;
        report.leader = RECIPES[self.leader].name;
        for (place, candidate) in report.candidates.iter_mut().enumerate() {
            candidate.misses = self.misses(place);
        }
        report
    }

    /// Misses of a trial, faded.
    fn misses(&self, place: usize) -> f64 {
        let missed = self.outcomes.iter().enumerate().filter(|(mask, _)| mask >> place & 1 == 1);
        missed.map(|(_, count)| count).sum()
    }

    /// Empty trials at the present share.
    fn start_trials(&mut self) {
        let scaled = |whole: u64| {
            ((u128::from(whole) * (u128::from(self.share) + 1)) >> u64::BITS).max(1) as u64
        };
        let capacity = scaled(self.config.capacity);
        let entries = scaled(self.config.entries.max(1));
        let ranking = self.config.ranking;
        let trial = |model| Trial::new(capacity, entries, ranking, model);
        self.trials = self.models.iter().map(trial).collect();
        self.samples = Samples::new(HORIZONS);
        self.outcomes = [0.0; 1 << CANDIDATES];
        self.since_look = 0;
    }

    fn request(&mut self, hash: u64, weight: u32) {
        self.now = self.now.wrapping_add(1);
        self.elapsed += 1;
        self.samples.used(hash, self.now);
        let mut missed = 0;
        for (place, trial) in self.trials.iter_mut().enumerate() {
            let draws = if place == 0 { &mut self.drawn } else { &mut self.unused };
            missed |= usize::from(!trial.request(hash, weight, draws)) << place;
        }
        self.unused.clear();
        let lifetime = self.trials[0].lifetime();
        for drawn in self.drawn.drain(..) {
            self.samples.push(&drawn, self.now, lifetime);
        }
        self.outcomes[missed] += 1.0;
        self.settle();
        self.since_look += 1;
        if self.since_look >= (self.trials[0].len() as u64 / 2).max(LOOK_REQUESTS_MIN) {
            self.look();
        }
    }

    /// Learns from the labels that are due.
    fn settle(&mut self) {
        let Self { samples, ridges, window, labels, judged, report, .. } = self;
        samples.settle(self.now, self.elapsed, |horizon, sample| {
            let terms = expand(&sample.features);
            if horizon == 0 {
                let [trained, prior] = &*judged;
                for (error, model) in
                    [(&mut report.error, trained), (&mut report.error_prior, prior)]
                {
                    let off = f64::from(model.score(&sample.features)) - sample.label;
                    *error += (off * off - *error) / ERROR_LABELS;
                    if model.version() != 0 {
                        report.bias += (off - report.bias) / ERROR_LABELS;
                    }
                }
                window.learn(&terms, sample.label);
            }
            ridges[horizon].learn(&terms, sample.label);
            labels[horizon] += 1;
        });
        for horizon in 0..HORIZONS.len() {
            if self.labels[horizon] >= self.labels_due[horizon] {
                self.report.labels += u64::from(std::mem::take(&mut self.labels[horizon]));
                self.labels_due[horizon] = LABELS;
                let solved = self.ridges[horizon].solve(&PRIOR);
                self.propose(Training::Ridge(horizon), solved);
                if horizon == 0 {
                    let fitted = self.window.fit();
                    self.propose(Training::Window, fitted);
                }
            }
        }
    }

    /// Weights were trained: the candidates that are made of them change, if these are models.
    fn propose(&mut self, training: Training, weights: Option<[f32; WEIGHTS]>) {
        let Some(weights) = weights else {
            self.report.refused += 1;
            self.report.unsolved += 1;
            return;
        };
        for (place, recipe) in RECIPES.iter().enumerate() {
            if recipe.training != training {
                continue;
            }
            let model = recipe.model(&weights);
            if model.validate().is_err() {
                self.report.refused += 1;
                return;
            }
            self.trials[place].load(&model);
            self.models[place] = model;
            self.due |= self.leader == place;
        }
        if training == Training::Ridge(0) {
            self.judged[0].load(&Model { version: 1, weights });
        }
    }

    /// Is there a candidate that misses clearly less than the one in force?
    fn look(&mut self) {
        self.since_look = 0;
        if self.config.entries == 0 && self.trials[0].len() as u64 > TRIAL_ENTRIES * 3 / 2 {
            // The cache turned out larger than thought: go on with half of the keys.
            self.share /= 2;
            self.start_trials();
            return;
        }
        let misses: [f64; CANDIDATES] = std::array::from_fn(|place| self.misses(place));
        let mut best = self.leader;
        for place in 0..CANDIDATES {
            let gain = misses[self.leader] - misses[place];
            let clear = gain > ERRORS_MIN * self.apart(place, self.leader).sqrt()
                && gain > GAIN_MIN * misses[self.leader];
            if clear && misses[place] < misses[best] {
                best = place;
            }
        }
        if best != self.leader {
            self.leader = best;
            self.report.changes += 1;
            self.report.to_prior += u32::from(RECIPES[best].training == Training::None);
            self.due = true;
        }
        self.outcomes.iter_mut().for_each(|count| *count *= FADE);
    }

    /// Requests that one of two candidates missed and the other did not.
    fn apart(&self, one: usize, other: usize) -> f64 {
        let masks = self.outcomes.iter().enumerate();
        masks.filter(|(mask, _)| (mask >> one ^ mask >> other) & 1 == 1).map(|(_, n)| n).sum()
    }
}

/// The share of the keys, of 2^64, that a cache of `entries` is learned from.
fn share_of(entries: u64) -> u64 {
    if entries <= TRIAL_ENTRIES {
        return u64::MAX;
    }
    (u128::from(u64::MAX) * u128::from(TRIAL_ENTRIES) / u128::from(entries)) as u64
}

/// Other bits of the hash than those that sampled the keys before, or that a table uses.
#[inline(always)]
fn remixed(hash: u64) -> u64 {
    (hash ^ 0x6c65_6172_6e65_6431).wrapping_mul(0xd6e8_feb8_6659_fd93)
}

/// Misses of a cache of `capacity` entries that evicts by `model`, on requests given as hashes. For
/// searching models where there is nothing to learn from yet.
#[must_use]
pub fn trial_misses(capacity: u64, model: &Model, requests: &[u64]) -> u64 {
    let mut trial = Trial::new(capacity, capacity, Ranking::Objects, model);
    let mut drawn = Vec::new();
    let mut misses = 0;
    for &hash in requests {
        misses += u64::from(!trial.request(hash, 1, &mut drawn));
        drawn.clear();
    }
    misses
}
