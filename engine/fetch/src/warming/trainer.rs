//! Learns from the history which keys are asked for within a horizon.
//!
//! Idea: before a restart, every horizon is a rehearsal of one. At its start some keys of the history
//! are drawn and what is known of them is frozen; at its end it is known which of them were asked for.
//! The newest labels train a logistic regression by Newton steps, each a weighted ridge regression
//! towards the prior: sums by ndarray, the equations by linfa-linalg's Cholesky decomposition.
//!
//! Deterministic: the draws come from the seed, sums are in the order of the labels. It keeps ten bytes
//! a label. A rehearsal costs a probe a drawn key; training about a microsecond a label and step, so it
//! is for the thread that writes snapshots.

use linfa_linalg::cholesky::SolveC;
use ndarray::{Array1, Array2, ArrayView2, Axis};
use ostler_abi::{Candidate, hash_u64};
use ostler_features::{Facts, Lifetime, WARMING_WEIGHTS, WarmingFeatures, WarmingModel};

use super::history::{KeyHistory, Moment};

/// Newton steps; the prior is near, so few do.
const STEPS: usize = 6;

/// How much the prior counts, in labels of even odds.
const RIDGE: f64 = 4.0;

/// Rows that are summed at once.
const BLOCK_ROWS: usize = 1024;

/// Fewest labels that a model is trained from.
const LABELS_MIN: usize = 512;

/// What a [`WarmingTrainer`] is made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrainerConfig {
    /// Requests that a rehearsal lasts, at least 1: those that the warmed cache shall serve well.
    pub horizon: u64,
    /// Keys drawn for a rehearsal.
    pub draws: u32,
    /// Most labels that are kept; the newest are.
    pub labels_max: u32,
    /// Seed of the draws.
    pub seed: u64,
}

impl Default for TrainerConfig {
    fn default() -> Self {
        Self { horizon: 10_000, draws: 8192, labels_max: 1 << 17, seed: 0 }
    }
}

/// What is known of a drawn key, and whether it was asked for.
#[derive(Clone, Copy, Debug)]
struct Label {
    features: WarmingFeatures,
    asked: bool,
}

/// Learns from rehearsals. See the file's header.
#[derive(Clone, Debug)]
pub struct WarmingTrainer {
    config: TrainerConfig,
    /// Keys of the rehearsal under way, by hash.
    drawn: Vec<(u64, WarmingFeatures)>,
    /// Request at which it began.
    began: u64,
    labels: Vec<Label>,
    /// Where the next label goes once there are `labels_max`.
    next: usize,
    draws: u64,
    version: u32,
}

/// What a candidate's record says of its key, as the predictors read it.
#[must_use]
pub fn facts_of(candidate: &Candidate) -> Facts {
    let known = candidate.life.saturating_sub(candidate.age);
    Facts {
        age: candidate.age,
        gap: candidate.gap,
        gap2: candidate.gap2,
        gap_mean: known.checked_div(candidate.accesses.saturating_sub(1)).unwrap_or(0),
        life: candidate.life,
        stay: candidate.life,
        accesses: candidate.accesses,
        hits: candidate.accesses.saturating_sub(1),
        recent: candidate.decayed,
        steady: candidate.decayed,
        weight: candidate.weight,
    }
}

impl WarmingTrainer {
    /// A trainer that knows nothing.
    #[must_use]
    pub fn new(config: TrainerConfig) -> Self {
        Self {
            config,
            drawn: Vec::new(),
            began: 0,
            labels: Vec::new(),
            next: 0,
            draws: 0,
            version: 0,
        }
    }

    /// Whether a rehearsal has ended: [`rehearse`](Self::rehearse) is due. Cheap enough to be asked
    /// after every request.
    #[inline]
    #[must_use]
    pub fn is_due(&self, history: &KeyHistory) -> bool {
        history.requests() >= self.began + self.config.horizon.max(1)
    }

    /// Ends the rehearsal under way, if it is due, and begins the next one.
    pub fn rehearse(&mut self, history: &KeyHistory, moment: Moment) {
        if !self.is_due(history) {
            return;
        }
        let lasted = history.requests() - self.began;
        for (hash, features) in std::mem::take(&mut self.drawn) {
            // A key that left the history meanwhile: nobody knows.
            if let Some(candidate) = history.candidate_of(hash, moment) {
                self.learn(Label { features, asked: u64::from(candidate.age) < lasted });
            }
        }
        self.began = history.requests();
        let lifetime = Lifetime::of(moment.lifetime);
        for _ in 0..u64::from(self.config.draws).min(history.len() as u64) {
            self.draws += 1;
            let draw = u128::from(hash_u64(self.draws, self.config.seed));
            // Below the number of keys.
            let place = ((draw * history.len() as u128) >> 64) as usize;
            if let Some(candidate) = history.candidate(place, moment) {
                let features = WarmingFeatures::of(&facts_of(&candidate), &lifetime);
                self.drawn.push((candidate.key_hash, features));
            }
        }
    }

    /// Labels kept.
    #[must_use]
    pub fn labels(&self) -> usize {
        self.labels.len()
    }

    /// Trains a model on the labels, towards the shipped prior; none where there are too few of either
    /// kind, or where the equations have no solution or one that is no model.
    pub fn train(&mut self) -> Option<WarmingModel> {
        let asked = self.labels.iter().filter(|label| label.asked).count();
        if self.labels.len() < LABELS_MIN || asked < 16 || asked + 16 > self.labels.len() {
            return None;
        }
        let prior = Array1::from_iter(WarmingModel::default().weights.map(f64::from));
        let mut weights = prior.clone();
        for _ in 0..STEPS {
            weights = self.step(&weights, &prior)?;
        }
        self.version += 1;
        #[expect(clippy::cast_possible_truncation, reason = "weights are single precision")]
        let weights = std::array::from_fn(|place| weights[place] as f32);
        let model = WarmingModel { version: self.version, weights };
        model.validate().is_ok().then_some(model)
    }

    fn learn(&mut self, label: Label) {
        let labels_max = self.config.labels_max as usize;
        if self.labels.len() < labels_max {
            self.labels.push(label);
        } else if labels_max > 0 {
            self.labels[self.next] = label;
            self.next = (self.next + 1) % labels_max;
        }
    }

    /// One Newton step of the logistic regression.
    fn step(&self, weights: &Array1<f64>, prior: &Array1<f64>) -> Option<Array1<f64>> {
        let mut moments = Array2::from_diag_elem(WARMING_WEIGHTS, RIDGE);
        let mut targets = prior * RIDGE;
        for block in self.labels.chunks(BLOCK_ROWS) {
            let terms: Vec<f64> =
                block.iter().flat_map(|label| label.features.expand()).map(f64::from).collect();
            let terms = ArrayView2::from_shape((block.len(), WARMING_WEIGHTS), &terms).ok()?;
            let mut scaled = terms.to_owned();
            let mut wanted = terms.dot(weights);
            for ((mut row, label), odds) in
                scaled.axis_iter_mut(Axis(0)).zip(block).zip(&mut wanted)
            {
                let clamped = odds.clamp(-12.0, 12.0);
                let chance = 1.0 / (1.0 + libm::exp(-clamped));
                let spread = (chance * (1.0 - chance)).max(1e-4);
                row *= spread;
                *odds = clamped + (f64::from(u8::from(label.asked)) - chance) / spread;
            }
            moments += &scaled.t().dot(&terms);
            targets += &scaled.t().dot(&wanted);
        }
        let right = targets.insert_axis(Axis(1));
        let solution = moments.solvec(&right).ok()?;
        Some(solution.remove_axis(Axis(1)))
    }
}
