//! A run in which the policy changes: shadows and selector decide as they would in a live cache.
//!
//! Everything is deterministic: the same requests, portfolio and seed give the same swaps.

use std::sync::Arc;
use std::time::Instant;

use ostler_abi::hash_u64;
use ostler_adapt::{
    Decision, Objective, Pairing, Panel, PanelConfig, PortfolioError, Reason, Sampled, Sampler,
    Selector, SelectorConfig, shadow_rate,
};
use ostler_core::InstanceSource;
use serde::Serialize;

use crate::compare::{Contender, Outcome};
use crate::error::TraceError;
use crate::run::{
    Player, Run, RunConfig, RunOutcome, WeightMode, access_of, play_loaded, play_stream,
};
use crate::trace::{Operation, Request, TraceReader};

/// How a run adapts.
#[derive(Clone)]
pub struct AdaptiveConfig {
    /// The candidates, 2 to 8. The first one is in charge at the start.
    pub portfolio: Vec<Arc<dyn InstanceSource>>,
    /// What policies are compared by.
    pub objective: Objective,
    /// Share of the keys in shadow. A small cache takes more: see
    /// [`SHADOW_ENTRIES_MIN`](Self::SHADOW_ENTRIES_MIN).
    pub rate: f64,
    /// The selector's settings.
    pub selector: SelectorConfig,
}

impl AdaptiveConfig {
    /// Share of the keys in shadow where nothing else is said.
    pub const RATE: f64 = 1.0 / 16.0;

    /// Fewest entries in a shadow; the share is raised until it holds so many.
    pub const SHADOW_ENTRIES_MIN: u64 = 1280;
}

/// A change of the policy in charge, and why.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Swap {
    /// Index of the request after which it happened.
    pub request: u64,
    /// The policy that left.
    pub from: String,
    /// The policy that took over.
    pub to: String,
    /// Why.
    pub reason: Reason,
    /// What it would have gained, as a share of the misses of the one that left, on the requests
    /// since it got ahead.
    pub gain: f64,
    /// That difference in standard errors.
    pub z: f64,
}

/// A decision that changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Remark {
    /// Index of the request after which it was made.
    pub request: u64,
    /// The policy that it is about, none where it is about the comparison.
    pub policy: Option<String>,
    /// Why, in a sentence.
    pub reason: String,
}

/// A decision about the policy in charge.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "action", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Decided {
    /// Another policy took over.
    Swap(Swap),
    /// Nothing, for a reason worth saying; said once for as long as it lasts.
    Hold(Remark),
    /// A policy was taken out of the comparison for good.
    Demoted(Remark),
}

/// A run under way whose policy changes by evidence.
pub struct AdaptiveRun {
    run: Run,
    config: AdaptiveConfig,
    sampler: Sampler,
    panel: Panel,
    selector: Selector,
    window_requests: u64,
    /// Why nothing is decided at the moment.
    held: Option<&'static str>,
    swaps: Vec<Swap>,
    decisions: Vec<Decided>,
}

/// The shadows' salt. A constant, so that runs with different seeds sample the same keys.
const SALT: u64 = 0x6f73_746c_6572;

impl AdaptiveRun {
    /// A run in an empty cache. `entries` is about how many entries the cache will hold.
    ///
    /// # Errors
    ///
    /// [`PortfolioError`] where the portfolio is too small or too large.
    pub fn try_new(
        config: AdaptiveConfig,
        run: RunConfig,
        entries: u64,
    ) -> Result<Self, PortfolioError> {
        let rate = shadow_rate(config.rate, entries, AdaptiveConfig::SHADOW_ENTRIES_MIN);
        let sampler = Sampler::new(rate, SALT);
        let panel = PanelConfig {
            capacity: sampler.scaled(run.capacity),
            objective: config.objective,
            seed: run.seed,
        };
        let panel = Panel::try_new(config.portfolio.clone(), &panel)?;
        let selector = Selector::new(config.selector, config.portfolio.len());
        let first = Run::untaught(&*config.portfolio[0], run);
        let window_requests = selector.window_requests(1);
        Ok(Self {
            run: first,
            config,
            sampler,
            panel,
            selector,
            window_requests,
            held: None,
            swaps: Vec::new(),
            decisions: Vec::new(),
        })
    }

    /// The swaps so far, in order.
    #[must_use]
    pub fn swaps(&self) -> &[Swap] {
        &self.swaps
    }

    /// Plays a block of requests, in order, and times it.
    pub fn play(&mut self, block: &[Request]) {
        Player::play(self, block);
    }

    /// Plays a whole stream. `progress` hears how many records were played since it was last called.
    ///
    /// # Errors
    ///
    /// The trace's error; requests before it were played.
    pub fn play_stream(
        self,
        trace: &mut TraceReader,
        progress: &dyn Fn(u64),
    ) -> Result<RunOutcome, TraceError> {
        play_stream(self, trace, progress)
    }

    /// Plays a trace that is in memory. `progress` as in [`play_stream`](Self::play_stream).
    #[must_use]
    pub fn play_loaded(self, requests: &[Request], progress: &dyn Fn(u64)) -> RunOutcome {
        play_loaded(self, requests, progress)
    }

    /// Plays one record of the trace; what a get or set found.
    #[inline]
    fn one(&mut self, request: &Request) -> Option<Outcome> {
        if request.is_request() {
            let hit = self.request(request);
            return Some(if hit { Outcome::Hit } else { Outcome::Miss });
        }
        self.run.delete(request);
        let hash = hash_u64(request.key, 0);
        if self.sampler.takes(hash) {
            self.panel.remove(&Sampled { hash, weight: 1, access: access_of(request) });
        }
        None
    }

    #[inline]
    fn request(&mut self, request: &Request) -> bool {
        let live = self.run.request(request);
        let hash = hash_u64(request.key, 0);
        if !self.sampler.takes(hash) {
            return live;
        }
        let weight = match self.run.config().weights {
            WeightMode::Objects => 1,
            WeightMode::Bytes => request.weight_bytes(),
        };
        let sampled = Sampled { hash, weight, access: access_of(request) };
        match request.operation() {
            Operation::Set => self.panel.set(&sampled, live),
            _ => self.panel.request(&sampled, live),
        }
        if let Some(model) = self.panel.take_model() {
            self.run.publish_model(model);
        }
        if self.panel.requests() >= self.window_requests {
            self.look();
        }
        live
    }

    /// Closes the window and does what the selector says.
    #[cold]
    fn look(&mut self) {
        let entries = self.panel.entries();
        let window = self.panel.take();
        let hold = self.panel.hold(self.sampler.rate());
        self.window_requests = self.panel.requests() + self.selector.window_requests(entries);
        self.demote_faulty();
        if !self.panel.has_turned_over() {
            return;
        }
        if let Some(reason) = hold {
            if self.held != hold {
                let remark = self.remark(None, reason.to_owned());
                self.decisions.push(Decided::Hold(remark));
            }
            self.held = hold;
            return;
        }
        self.held = None;
        if let Decision::Swap { to, reason, pairing } = self.selector.decide(&window, entries) {
            self.swap(to, (reason, pairing), entries);
        }
    }

    fn swap(&mut self, to: usize, (reason, pairing): (Reason, Pairing), entries: u64) {
        let former = Arc::clone(&self.config.portfolio[self.selector.in_charge()]);
        let source = Arc::clone(&self.config.portfolio[to]);
        if let Err(fault) = self.run.set_policy(&*source, &*former) {
            return self.demote(to, fault.to_string());
        }
        self.selector.swapped(to, reason, entries);
        let Pairing { gain, z, .. } = pairing;
        let (from, to) = (former.label().to_owned(), source.label().to_owned());
        let swap = Swap { request: self.run.requests(), from, to, reason, gain, z };
        self.decisions.push(Decided::Swap(swap.clone()));
        self.swaps.push(swap);
    }

    /// Takes out what failed in shadow, and the policy in charge where it lost every shard.
    fn demote_faulty(&mut self) {
        let in_charge = self.selector.in_charge();
        if !self.run.has_policy() {
            self.demote(in_charge, "it lost the seats of all shards by faults".to_owned());
        }
        for place in 0..self.config.portfolio.len() {
            let fault = self.panel.shadows()[place].fault().map(ToString::to_string);
            if let Some(fault) = fault {
                self.demote(place, format!("in shadow: {fault}"));
            }
        }
    }

    fn demote(&mut self, place: usize, reason: String) {
        if !self.selector.is_out(place) {
            self.selector.take_out(place);
            let policy = self.config.portfolio[place].label().to_owned();
            let remark = self.remark(Some(policy), reason);
            self.decisions.push(Decided::Demoted(remark));
        }
    }

    fn remark(&self, policy: Option<String>, reason: String) -> Remark {
        Remark { request: self.run.requests(), policy, reason }
    }
}

impl Player for AdaptiveRun {
    fn play(&mut self, block: &[Request]) {
        let start = Instant::now();
        for request in block {
            self.one(request);
        }
        self.run.spent(start.elapsed());
    }

    fn finish(self) -> RunOutcome {
        let mut outcome = self.run.finish();
        outcome.swaps = self.swaps;
        outcome.decisions = self.decisions;
        outcome
    }
}

impl Contender for AdaptiveRun {
    fn play(&mut self, block: &[Request], outcomes: &mut Vec<Outcome>) {
        let start = Instant::now();
        for request in block {
            if let Some(outcome) = self.one(request) {
                outcomes.push(outcome);
            }
        }
        self.run.spent(start.elapsed());
    }

    fn finish(self: Box<Self>) -> RunOutcome {
        Player::finish(*self)
    }
}

#[cfg(test)]
mod tests;
