//! All candidates of a cache in shadow, on the same requests.
//!
//! It owns the shadows and what they did since the last look; it decides nothing.

use std::sync::Arc;

use ostler_abi::hash_u64;
use ostler_core::{InstanceSource, Resident};

use crate::evidence::{CANDIDATES_MAX, Evidence, LIVE, Outcomes};
use crate::learner::{Learner, LearnerConfig, LearnerReport};
use crate::objective::Objective;
use crate::shadow::{Sampled, Shadow};
use crate::worth::WorthMean;

/// A portfolio that cannot be compared.
///
/// ```
/// use ostler_adapt::{Objective, Panel, PanelConfig};
///
/// let config = PanelConfig { capacity: 100, objective: Objective::Object, seed: 0 };
/// let error = Panel::try_new(Vec::new(), &config).err().unwrap();
/// assert_eq!(error.to_string(), "a portfolio has 2 to 8 policies, this one 0");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a portfolio has 2 to {CANDIDATES_MAX} policies, this one {count}")]
pub struct PortfolioError {
    /// How many there are.
    pub count: usize,
}

/// What a panel is made with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PanelConfig {
    /// Capacity of every shadow: the cache's, scaled by the share of the keys.
    pub capacity: u64,
    /// What a hit is worth.
    pub objective: Objective,
    /// Seed of everything random in the policies; what each of them gets is drawn from it, so that the
    /// same policy twice is no copy of itself.
    pub seed: u64,
}

/// What a panel heard up to some moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Heard {
    /// Requests.
    pub requests: u64,
    /// Those left out because the entry weighs more than a shadow holds.
    pub oversize: u64,
    /// Sum of the requests' weights.
    pub weight: u64,
    /// That of those left out.
    pub oversize_weight: u64,
}

impl Heard {
    /// What of it came since `before`.
    fn since(&self, before: &Self) -> [f64; 4] {
        [
            (self.requests - before.requests) as f64,
            (self.oversize - before.oversize) as f64,
            (self.weight - before.weight) as f64,
            (self.oversize_weight - before.oversize_weight) as f64,
        ]
    }
}

/// Windows in which what was left out decays to a half: single large entries make single windows of it.
const LATELY_WINDOWS: f64 = 8.0;
/// Share of the requests above which those that are left out leave no conclusion.
const OVERSIZE_MAX: f64 = 0.05;
/// The same of the requests' weight.
const OVERSIZE_WEIGHT_MAX: f64 = 0.2;
/// Fewest entries in a shadow, where there could be more, from which something is concluded: chance
/// swaps policies in smaller ones.
const ENTRIES_MIN: u64 = 128;

/// The candidates of one cache.
pub struct Panel {
    shadows: Vec<Shadow>,
    objective: Objective,
    /// What the candidates did since [`take`](Self::take).
    window: Evidence,
    heard: Heard,
    /// What it had heard at the last window's end.
    window_start: Heard,
    /// Requests, those left out, and the weights of both, decayed.
    lately: [f64; 4],
    usual: WorthMean,
    capacity: u64,
    seed: u64,
    /// Trains the model of those that take one, if any does.
    learner: Option<Learner>,
    /// The model in force.
    model: Option<Vec<u8>>,
    /// True where nobody has taken it yet.
    model_due: bool,
}

/// The seed of the shadow in `place`.
fn seed_of(place: usize, seed: u64) -> u64 {
    hash_u64(place as u64, seed)
}

impl Panel {
    /// A panel of `portfolio`, every shadow empty.
    ///
    /// # Errors
    ///
    /// [`PortfolioError`] for fewer than two policies or more than [`CANDIDATES_MAX`].
    pub fn try_new(
        portfolio: Vec<Arc<dyn InstanceSource>>,
        config: &PanelConfig,
    ) -> Result<Self, PortfolioError> {
        let count = portfolio.len();
        if !(2..=CANDIDATES_MAX).contains(&count) {
            return Err(PortfolioError { count });
        }
        let student = portfolio.iter().find(|source| source.takes_models());
        let learner = student
            .map(|source| Learner::new(LearnerConfig::of(source.params(), config.capacity, 0)));
        let shadow =
            |(place, source)| Shadow::new(source, config.capacity, seed_of(place, config.seed));
        Ok(Self {
            shadows: portfolio.into_iter().enumerate().map(shadow).collect(),
            objective: config.objective,
            window: Evidence::default(),
            heard: Heard::default(),
            window_start: Heard::default(),
            lately: [0.0; 4],
            usual: WorthMean::default(),
            capacity: config.capacity,
            seed: config.seed,
            learner,
            model: None,
            model_due: false,
        })
    }

    /// Plays a get that a put follows where it misses. `live` says whether the cache itself hit.
    #[inline]
    pub fn request(&mut self, request: &Sampled, live: bool) {
        self.play(request, live, Shadow::request);
    }

    /// Plays a set that is a request of its own: a hit where the key is held.
    pub fn set(&mut self, request: &Sampled, live: bool) {
        self.play(request, live, Shadow::set);
    }

    /// Plays a get that no put follows where it misses. It tells neither a weight nor a cost: what it is
    /// worth is what a shadow knows of the key, or what others are worth.
    pub fn get(&mut self, request: &Sampled, live: bool) {
        let held = || self.shadows.iter().find_map(|shadow| shadow.weight_of(request.hash));
        let worth = self.usual.of_unanswered(self.objective, request, held);
        self.heard.requests += 1;
        self.count(request, (live, worth), Shadow::get);
    }

    fn play(&mut self, request: &Sampled, live: bool, one: impl Fn(&mut Shadow, &Sampled) -> bool) {
        let weight = u64::from(request.weight.max(1));
        self.heard.requests += 1;
        self.heard.weight = self.heard.weight.saturating_add(weight);
        if weight > self.capacity {
            // The scaled caches cannot hold it though the cache can: no arm is judged by it.
            self.heard.oversize += 1;
            self.heard.oversize_weight = self.heard.oversize_weight.saturating_add(weight);
            return;
        }
        let worth = self.objective.worth(request.weight, request.access.cost_us);
        self.usual.hear(worth);
        self.count(request, (live, worth), one);
    }

    fn count(
        &mut self,
        request: &Sampled,
        (live, worth): (bool, u32),
        one: impl Fn(&mut Shadow, &Sampled) -> bool,
    ) {
        self.learn(request);
        let mut outcomes = Outcomes::from(live) << LIVE;
        for (place, shadow) in self.shadows.iter_mut().enumerate() {
            outcomes |= Outcomes::from(one(shadow, request)) << place;
        }
        self.window.count(request.hash, outcomes, worth);
    }

    /// Lets the learner hear of a request; the shadows get what it publishes.
    #[inline]
    fn learn(&mut self, request: &Sampled) {
        let Some(learner) = &mut self.learner else { return };
        learner.observe(request.hash, request.weight);
        if let Some(model) = learner.take() {
            let message = model.to_bytes();
            for shadow in self.shadows.iter_mut().filter(|shadow| shadow.source().takes_models()) {
                shadow.publish_model(&message);
            }
            self.model = Some(message);
            self.model_due = true;
        }
    }

    /// The model that the policies which take one are to have in the cache itself, where it changed
    /// since the last call: a message for [`Cache::publish_model`](ostler_core::Cache::publish_model).
    pub fn take_model(&mut self) -> Option<&[u8]> {
        if !std::mem::take(&mut self.model_due) {
            return None;
        }
        self.model.as_deref()
    }

    /// What the learner did, where a policy takes models.
    #[must_use]
    pub fn learner_report(&self) -> Option<LearnerReport> {
        self.learner.as_ref().map(Learner::report)
    }

    /// Plays a write that answers no get.
    pub fn put(&mut self, request: &Sampled) {
        if u64::from(request.weight) > self.capacity {
            return self.remove(request);
        }
        self.shadows.iter_mut().for_each(|shadow| shadow.put(request));
    }

    /// Plays a removal or an expiry.
    pub fn remove(&mut self, request: &Sampled) {
        self.shadows.iter_mut().for_each(|shadow| shadow.remove(request));
    }

    /// Changes the capacity of all shadows.
    pub fn set_capacity(&mut self, capacity: u64) {
        self.capacity = capacity;
        if let Some(learner) = &mut self.learner {
            learner.set_capacity(capacity);
        }
        self.shadows.iter_mut().for_each(|shadow| shadow.set_capacity(capacity));
    }

    /// Starts all shadows anew at `capacity`, each with `residents`, and forgets what they did since
    /// [`take`](Self::take). Cost: that of [`Shadow::filled`] for each.
    pub fn refill(&mut self, capacity: u64, residents: &[Resident]) {
        if let Some(learner) = self.learner.as_mut().filter(|_| self.capacity != capacity) {
            learner.set_capacity(capacity);
        }
        self.capacity = capacity;
        self.window = Evidence::default();
        (self.window_start, self.lately) = (self.heard, [0.0; 4]);
        for place in 0..self.shadows.len() {
            self.restart(place, residents);
        }
    }

    /// Starts the shadow in `place` anew with `residents`, one that is faulty too. Cost: that of
    /// [`Shadow::filled`].
    pub fn restart(&mut self, place: usize, residents: &[Resident]) {
        let seed = seed_of(place, self.seed);
        if let Some(shadow) = self.shadows.get_mut(place) {
            let source = Arc::clone(shadow.source());
            *shadow = Shadow::filled(source, self.capacity, seed, residents);
            if let Some(message) = &self.model {
                shadow.publish_model(message);
            }
        }
    }

    /// Why nothing is to be concluded from the last windows, at `rate` of the keys; none where it can be.
    #[must_use]
    pub fn hold(&self, rate: f64) -> Option<&'static str> {
        let [requests, oversize, weight, oversize_weight] = self.lately;
        if rate < 1.0 && self.entries() < ENTRIES_MIN {
            return Some("the shadows hold too few entries: the worker cannot keep up");
        }
        if oversize > OVERSIZE_MAX * requests {
            return Some("more than 5 % of the requests are for entries too large for the shadows");
        }
        let is_heavy = oversize_weight > OVERSIZE_WEIGHT_MAX * weight;
        is_heavy.then_some("more than 20 % of the requests' weight is too large for the shadows")
    }

    /// True once every shadow that runs has [turned over](Shadow::has_turned_over).
    #[must_use]
    pub fn has_turned_over(&self) -> bool {
        let mut running = self.shadows.iter().filter(|shadow| shadow.fault().is_none());
        running.all(Shadow::has_turned_over)
    }

    /// What the candidates did since the last call of this: ends a window.
    pub fn take(&mut self) -> Evidence {
        let keep = (-1.0 / LATELY_WINDOWS).exp2();
        for (sum, more) in self.lately.iter_mut().zip(self.heard.since(&self.window_start)) {
            *sum = *sum * keep + more;
        }
        self.window_start = self.heard;
        std::mem::take(&mut self.window)
    }

    /// The shadows, in the order of the portfolio.
    #[must_use]
    pub fn shadows(&self) -> &[Shadow] {
        &self.shadows
    }

    /// What it heard so far.
    #[must_use]
    pub fn heard(&self) -> Heard {
        self.heard
    }

    /// Requests so far.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.heard.requests
    }

    /// Requests left out because the entry weighs more than a shadow holds.
    #[must_use]
    pub fn oversize(&self) -> u64 {
        self.heard.oversize
    }

    /// Capacity of every shadow.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.capacity
    }

    /// Number of entries in the fullest shadow, at least 1.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.shadows.iter().map(|shadow| shadow.len() as u64).max().unwrap_or(0).max(1)
    }
}

#[cfg(test)]
mod tests;
