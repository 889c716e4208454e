//! Experiments that never ran: a model of shards, to see beforehand what an experiment can find.
//!
//! Owns the model and its random numbers; it knows an [`Experiment`] only through what a live one gets.
//!
//! What makes live experiments hard is in it: hit ratios and traffic that differ from shard to shard and
//! stay so (traffic by Zipf's law), shocks that last, those that all shards share and of each shard's own
//! (AR(1)), an effect that differs between shards, a sample of keys that is better or worse than its
//! shard and stays so, a shadow that is biased because it is small, and where asked a turn in the middle after
//! which shards and effect are others. The sizes are defaults, in [`Model::default`].

use ostler_abi::hash_u64;

use super::{Comparison, Deal, Experiment, ExperimentConfig, ExperimentConfigError};
use super::{SampleWindow, ShardWindow};

/// A seeded stream of random numbers, the same on every machine but for the rounding of logarithm and
/// cosine.
#[derive(Clone, Debug)]
pub struct Random {
    seed: u64,
    drawn: u64,
}

impl Random {
    /// The stream of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed, drawn: 0 }
    }

    /// Uniform in (0, 1).
    pub fn unit(&mut self) -> f64 {
        self.drawn += 1;
        ((hash_u64(self.drawn, self.seed) >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// Normal with mean 0 and deviation 1 (G. Box, M. Muller 1958).
    pub fn gauss(&mut self) -> f64 {
        let radius = (-2.0 * self.unit().ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// How many of `trials` succeed. Exact while few do or few do not, by the gaps between them (L.
    /// Devroye 1986, X.4.3); otherwise the normal distribution of the same mean and deviation.
    fn binomial(&mut self, trials: u64, ratio: f64) -> u64 {
        if ratio > 0.5 {
            return trials - self.binomial(trials, 1.0 - ratio);
        }
        let (ratio, mean) = (ratio.max(0.0), trials as f64 * ratio.max(0.0));
        if mean > 20.0 {
            let drawn = (mean + (mean * (1.0 - ratio)).sqrt() * self.gauss()).round();
            return (drawn.max(0.0) as u64).min(trials);
        }
        if ratio <= 0.0 {
            return 0;
        }
        let (mut successes, mut at) = (0, 0.0);
        loop {
            at += (self.unit().ln() / (-ratio).ln_1p()).floor() + 1.0;
            if at > trials as f64 {
                return successes;
            }
            successes += 1;
        }
    }
}

/// What is simulated. Ratios and deviations of ratios are between 0 and 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// Requests in all windows and shards together, on average.
    pub requests: u64,
    /// Windows.
    pub windows: u64,
    /// Mean hit ratio under the control.
    pub ratio: f64,
    /// Deviation of the shards' own hit ratios.
    pub shard_spread: f64,
    /// Exponent of Zipf's law for the shards' shares of the traffic, 0 for equal ones.
    pub traffic_skew: f64,
    /// Deviation and one-step correlation of the shocks that all shards share.
    pub shared_shock: (f64, f64),
    /// Deviation and one-step correlation of each shard's own shocks.
    pub shard_shock: (f64, f64),
    /// Mean effect of every arm but the control on the hit ratio.
    pub effect: f64,
    /// Deviation of the effect between shards.
    pub effect_spread: f64,
    /// Share of the keys in the control's shadow; 0 for no shadow.
    pub sample_rate: f64,
    /// Deviation of the hit ratio of a shard's sampled keys from that of all its keys.
    pub sample_spread: f64,
    /// Bias of the shadow's hit ratio, and its deviation between shards.
    pub shadow_bias: (f64, f64),
    /// Share of the sampled requests on which live cache and shadow of the same policy disagree.
    pub shadow_noise: f64,
    /// Whether half-way the shards' own ratios, their traffic and the effect become others.
    pub turns: bool,
}

impl Default for Model {
    /// Two million requests, 60 % hits, shards 5 pp apart, Zipf 0.5, no effect, a sample of a sixteenth.
    fn default() -> Self {
        Self {
            requests: 2_000_000,
            windows: 100,
            ratio: 0.6,
            shard_spread: 0.05,
            traffic_skew: 0.5,
            shared_shock: (0.03, 0.9),
            shard_shock: (0.02, 0.8),
            effect: 0.0,
            effect_spread: 0.0,
            sample_rate: 1.0 / 16.0,
            sample_spread: 0.03,
            shadow_bias: (-0.03, 0.005),
            shadow_noise: 0.03,
            turns: false,
        }
    }
}

/// What was known after one window, and what was true.
#[derive(Clone, Debug, PartialEq)]
pub struct Look {
    /// Hits ÷ requests had all shards run the first arm after the control since the start, minus the
    /// same for the control, on the requests so far.
    pub truth: f64,
    /// What the experiment said of that arm.
    pub comparison: Comparison,
}

/// A shard of the model.
#[derive(Clone, Copy, Debug)]
struct ModelShard {
    share: f64,
    ratio: f64,
    effect: f64,
    shock: f64,
    sample_off: f64,
    shadow_off: f64,
}

impl Model {
    /// Runs one experiment with the random numbers of `seed` and looks after every window.
    ///
    /// # Errors
    ///
    /// Where the config is out of range.
    pub fn run(
        &self,
        deal: &Deal,
        config: &ExperimentConfig,
        seed: u64,
    ) -> Result<Vec<Look>, ExperimentConfigError> {
        let mut experiment = Experiment::try_new(deal.clone(), config.clone())?;
        let mut random = Random::new(seed);
        let mut shards = self.shards(deal.shards(), &mut random);
        let (mut shared, mut gained, mut asked) = (0.0, 0.0, 0.0);
        let mut looks = Vec::new();
        for window in 0..self.windows {
            if self.turns && window == self.windows / 2 {
                let others = self.shards(deal.shards(), &mut random);
                for (shard, other) in shards.iter_mut().zip(others) {
                    *shard = ModelShard { effect: 0.5 * other.effect, ..other };
                }
            }
            shared = next_shock(shared, self.shared_shock, &mut random);
            let busy = (0.2 * random.gauss()).exp();
            let reports = (0u32..).zip(&mut shards).map(|(index, shard)| {
                shard.shock = next_shock(shard.shock, self.shard_shock, &mut random);
                let mean = self.requests as f64 / self.windows as f64 * shard.share * busy;
                let requests = (mean + mean.sqrt() * random.gauss()).round().max(0.0) as u64;
                gained += requests as f64 * shard.effect;
                asked += requests as f64;
                let is_control = deal.arm_of(index) == Some(super::CONTROL);
                let effect = if is_control { 0.0 } else { shard.effect };
                let window =
                    self.window((shard, shard.ratio + shared), requests, effect, &mut random);
                ShardWindow { shard: index, ..window }
            });
            let reports: Vec<ShardWindow> = reports.collect();
            let observed = experiment.observe(&reports);
            debug_assert_eq!(observed, Ok(()));
            if let Some(comparison) = experiment.comparison(super::CONTROL + 1) {
                looks.push(Look { truth: gained / f64::max(asked, 1.0), comparison });
            }
        }
        Ok(looks)
    }

    fn shards(&self, shards: u32, random: &mut Random) -> Vec<ModelShard> {
        let law = |rank: u32| f64::from(rank + 1).powf(-self.traffic_skew);
        let total: f64 = (0..shards).map(law).sum();
        let one = |rank: u32, random: &mut Random| ModelShard {
            share: law(rank) / total,
            ratio: self.ratio + self.shard_spread * random.gauss(),
            effect: self.effect + self.effect_spread * random.gauss(),
            shock: self.shard_shock.0 * random.gauss(),
            sample_off: self.sample_spread * random.gauss(),
            shadow_off: self.shadow_bias.0 + self.shadow_bias.1 * random.gauss(),
        };
        let mut all: Vec<ModelShard> = (0..shards).map(|rank| one(rank, random)).collect();
        // The deal is random, but the busiest shard should not be the same one in every experiment.
        for last in (1..all.len()).rev() {
            all.swap(last, (random.unit() * (last as f64 + 1.0)) as usize);
        }
        all
    }

    /// One window of one shard, whose hit ratio under the control would be `ratio` plus its shock.
    fn window(
        &self,
        (shard, ratio): (&ModelShard, f64),
        requests: u64,
        effect: f64,
        random: &mut Random,
    ) -> ShardWindow {
        let ratio = (ratio + shard.shock).clamp(0.02, 0.98 - effect.max(0.0));
        let sampled = random.binomial(requests, self.sample_rate);
        let sample_ratio = (ratio + shard.sample_off).clamp(0.02, 0.98 - effect.max(0.0));
        // The rest of the keys make up for the sampled ones.
        let rest_ratio =
            ratio - (sample_ratio - ratio) * self.sample_rate / (1.0 - self.sample_rate);
        let under_control = random.binomial(sampled, sample_ratio);
        // An effect turns misses into hits or the other way round, as many as it says on average.
        let hits = if effect < 0.0 {
            under_control - random.binomial(under_control, -effect / sample_ratio)
        } else {
            let missed = sampled - under_control;
            under_control + random.binomial(missed, effect / (1.0 - sample_ratio))
        };
        let rest = random.binomial(requests - sampled, rest_ratio + effect);
        let noise = (self.shadow_noise * sampled as f64).sqrt() * random.gauss();
        let shadow = under_control as f64 + shard.shadow_off * sampled as f64 + noise;
        let sample = SampleWindow {
            rate: self.sample_rate,
            worth: sampled,
            hit_worth: hits,
            shadow_hit_worth: (shadow.round().max(0.0) as u64).min(sampled),
        };
        ShardWindow {
            shard: 0,
            requests,
            worth: requests,
            hit_worth: hits + rest,
            sample: (self.sample_rate > 0.0).then_some(sample),
        }
    }
}

/// The next value of a stationary AR(1).
fn next_shock(shock: f64, (deviation, correlation): (f64, f64), random: &mut Random) -> f64 {
    let fresh = (1.0 - correlation * correlation).sqrt();
    correlation * shock + fresh * deviation * random.gauss()
}
