//! Who should be in charge: a decision a window, from what all candidates did on the same requests.
//!
//! Two memories speak for a candidate. The *long* one decays slowly and calls for a modest lead: it
//! finds what is better in the long run, and what it says is not a choice among many starting points.
//! The *short* one is a stretch of windows in which the candidate has been ahead of the policy in
//! charge, a cumulative sum that starts again whenever it falls to zero (Page, "Continuous Inspection
//! Schemes", Biometrika 1954): it detects a change of the workload, and its start follows that change
//! by itself. Because it is the best of many starts, it must show more, and the more the worse the
//! candidate did in the long memory. A swap on the short memory makes the long one forget what came
//! before the stretch.
//!
//! Both ask for a lead in entries of the cache, since that is what a hand-over costs; for more than
//! chance; for a least effect; and for most groups of keys in favour. After a swap the cache's own
//! hits are watched: where they fall short of what the policy before would have had, the swap is
//! taken back.
//!
//! The selector has no side effects and reads no clock: the same windows give the same decisions.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::evidence::{CANDIDATES_MAX, Evidence, LIVE, Pairing};

/// How sure and how eager a selector is. Leads and stretches of requests are counted in entries of a
/// shadow, so that one setting fits every size.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SelectorConfig {
    /// Least gain worth a swap, as a share of what the policy in charge misses.
    pub effect_min: f64,
    /// Least difference in the long memory, in standard errors.
    pub z_min: f64,
    /// Least lead in the long memory, in misses an entry.
    pub lead_min: f64,
    /// Half-life of the long memory, in requests an entry.
    pub memory: f64,
    /// Least gain of a stretch that counts as a change of the workload, as `effect_min`.
    pub drift_effect_min: f64,
    /// Least difference in such a stretch, in standard errors.
    pub drift_z_min: f64,
    /// Least lead in such a stretch, in misses an entry.
    pub drift_lead_min: f64,
    /// Share of what a candidate lost in the long memory that such a stretch must make up for.
    pub drift_debt: f64,
    /// Factor on both leads where the candidate is the first of the portfolio, the operator's own
    /// choice: the way back to it is shorter than the way from it.
    pub home: f64,
    /// Requests in a window, an entry.
    pub window: f64,
    /// Least requests in a window.
    pub window_requests_min: u64,
    /// Requests between two swaps, an entry.
    pub dwell: f64,
    /// Most swaps within [`swaps_span`](Self::swaps_span).
    pub swaps_max: usize,
    /// Requests in which at most `swaps_max` swaps happen, an entry.
    pub swaps_span: f64,
    /// Requests after a swap that are not judged, an entry: a policy that has just taken over does not
    /// know yet what it will.
    pub settle: f64,
    /// Requests after that in which it is watched, an entry.
    pub watch: f64,
    /// Least loss of the cache's own hit ratio against the policy before for which a swap is taken
    /// back, a fraction of all requests.
    pub rollback_loss_min: f64,
    /// Requests for which a policy that was taken back is left out, an entry.
    pub exile: f64,
}

impl Default for SelectorConfig {
    fn default() -> Self {
        Self {
            effect_min: 0.0125,
            z_min: 2.5,
            lead_min: 0.35,
            memory: 128.0,
            drift_effect_min: 0.03,
            drift_z_min: 4.0,
            drift_lead_min: 0.6,
            drift_debt: 0.5,
            home: 0.4,
            window: 0.125,
            window_requests_min: 128,
            dwell: 1.0,
            swaps_max: 8,
            swaps_span: 64.0,
            settle: 4.0,
            watch: 8.0,
            rollback_loss_min: 0.025,
            exile: 64.0,
        }
    }
}

/// Share of the least effect that the median group of keys must show, and of the least effect that
/// a stretch must pass in every window to go on.
const SLACK: f64 = 0.5;

/// Why a swap is proposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Reason {
    /// Better in the long memory.
    Steady,
    /// The workload has changed.
    Drift,
    /// The policy in charge failed or was taken out; this is the best of the others.
    Fault,
    /// The cache's own hits fell short of what the policy before would have had.
    Rollback,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use]
pub enum Decision {
    /// Nothing.
    Hold,
    /// Put this candidate in charge.
    Swap {
        /// Its place in the portfolio.
        to: usize,
        /// Why.
        reason: Reason,
        /// What speaks for it, against the policy in charge.
        pairing: Pairing,
    },
}

/// The stretch of windows in which a candidate has been ahead.
#[derive(Clone, Default)]
struct Stretch {
    evidence: Evidence,
    /// How far it is ahead of half the least effect, in units of worth.
    ahead: f64,
}

/// What is watched after a swap.
#[derive(Clone)]
struct Watch {
    before: usize,
    /// By how much the cache's hit ratio was above that of its own policy's shadow before the swap:
    /// what is usual between a cache and its shadow.
    usual: f64,
    /// What the policy before hit in shadow when it left: where that moves, the workload does.
    level: f64,
    evidence: Evidence,
}

/// Decides for one cache.
pub struct Selector {
    config: SelectorConfig,
    in_charge: usize,
    stretches: Vec<Stretch>,
    long: Evidence,
    /// The long memory of what came since the policy in charge took over.
    tenure: Evidence,
    watch: Option<Watch>,
    /// Requests seen.
    now: f64,
    /// When the last swaps happened, in requests.
    swaps: VecDeque<f64>,
    /// Until when a candidate is left out, in requests.
    exiled_until: Vec<f64>,
    out: Vec<bool>,
}

impl Selector {
    /// A selector over `candidates` policies, at most [`CANDIDATES_MAX`], with the first in charge.
    #[must_use]
    pub fn new(config: SelectorConfig, candidates: usize) -> Self {
        let candidates = candidates.min(CANDIDATES_MAX);
        Self {
            config,
            in_charge: 0,
            stretches: vec![Stretch::default(); candidates],
            long: Evidence::default(),
            tenure: Evidence::default(),
            watch: None,
            now: 0.0,
            swaps: VecDeque::new(),
            exiled_until: vec![0.0; candidates],
            out: vec![false; candidates],
        }
    }

    /// The place of the policy in charge.
    #[must_use]
    pub fn in_charge(&self) -> usize {
        self.in_charge
    }

    /// Requests that the next window should have where shadows hold `entries`.
    #[must_use]
    pub fn window_requests(&self, entries: u64) -> u64 {
        ((entries as f64 * self.config.window) as u64).max(self.config.window_requests_min)
    }

    /// Takes a candidate out for good: its policy failed, or is quarantined.
    pub fn take_out(&mut self, candidate: usize) {
        if let Some(out) = self.out.get_mut(candidate) {
            *out = true;
        }
    }

    /// Whether a candidate was taken out.
    #[must_use]
    pub fn is_out(&self, candidate: usize) -> bool {
        self.out.get(candidate).is_none_or(|&out| out)
    }

    /// Takes a window's evidence and decides. `entries` is the number that a shadow holds.
    pub fn decide(&mut self, window: &Evidence, entries: u64) -> Decision {
        let entries = entries as f64;
        let half_lives = window.requests() / (self.config.memory * entries).max(1.0);
        for memory in [&mut self.long, &mut self.tenure] {
            memory.decay((-half_lives).exp2());
            memory.add(window);
        }
        self.now += window.requests();
        let worth = window.worth_mean() * entries;
        let mut best: Option<(usize, Reason, Pairing)> = None;
        for candidate in 0..self.stretches.len() {
            if candidate == self.in_charge {
                continue;
            }
            self.extend(candidate, window);
            if self.out[candidate] || self.exiled_until[candidate] > self.now {
                continue;
            }
            let Some((reason, pairing)) = self.case_for(candidate, worth) else { continue };
            if best.is_none_or(|(other, rival, _)| self.leads((candidate, reason), (other, rival)))
            {
                best = Some((candidate, reason, pairing));
            }
        }
        if let Some(pairing) = self.watched(window, entries) {
            let to = self.watch.as_ref().map_or(self.in_charge, |watch| watch.before);
            return Decision::Swap { to, reason: Reason::Rollback, pairing };
        }
        match best {
            Some((to, reason, pairing)) if reason == Reason::Fault || self.may_swap(entries) => {
                Decision::Swap { to, reason, pairing }
            }
            _ => Decision::Hold,
        }
    }

    /// Hears that candidate `to` has taken over for `reason`.
    pub fn swapped(&mut self, to: usize, reason: Reason, entries: u64) {
        let from = self.in_charge;
        // What is usual between the cache and its shadow, under this policy, and lately where the
        // workload has changed since.
        if reason == Reason::Drift {
            self.long = std::mem::take(&mut self.stretches[to].evidence);
            self.tenure = self.long.clone();
        }
        if reason == Reason::Rollback {
            self.exiled_until[from] = self.now + self.config.exile * entries as f64;
            self.watch = None;
        } else {
            let level = self.tenure.hit_ratio(from);
            let usual = self.tenure.hit_ratio(LIVE) - level;
            let watch = Watch { before: from, usual, level, evidence: Evidence::default() };
            self.watch = (!self.out[from]).then_some(watch);
        }
        self.begin_tenure(to);
        self.swaps.push_back(self.now);
        while self.swaps.len() > self.config.swaps_max {
            self.swaps.pop_front();
        }
    }

    /// Hears that somebody else put candidate `to` in charge, and trusts it again: the comparison goes
    /// on from there. It counts as no swap, and is not watched.
    pub fn appointed(&mut self, to: usize) {
        if to >= self.stretches.len() {
            return;
        }
        self.begin_tenure(to);
        self.out[to] = false;
        self.exiled_until[to] = 0.0;
        self.watch = None;
    }

    fn begin_tenure(&mut self, to: usize) {
        self.in_charge = to;
        self.tenure = Evidence::default();
        self.stretches.fill(Stretch::default());
    }

    /// Hears that the shadows are `factor` times as large from now on, because they hear of another
    /// share of the keys: what was counted so far is counted as if it had been at that share.
    pub fn rescale(&mut self, factor: f64) {
        self.long.decay(factor);
        self.tenure.decay(factor);
        for stretch in &mut self.stretches {
            stretch.evidence.decay(factor);
            stretch.ahead *= factor;
        }
        if let Some(watch) = &mut self.watch {
            watch.evidence.decay(factor);
        }
        self.now *= factor;
        let times = self.swaps.iter_mut().chain(&mut self.exiled_until);
        times.for_each(|time| *time *= factor);
    }

    /// How a candidate compares with the policy in charge in the long memory.
    #[must_use]
    pub fn standing(&self, candidate: usize) -> Pairing {
        self.long.pairing(candidate, self.in_charge)
    }

    /// Adds the window to a candidate's stretch.
    fn extend(&mut self, candidate: usize, window: &Evidence) {
        let now = window.pairing(candidate, self.in_charge);
        let stretch = &mut self.stretches[candidate];
        stretch.ahead += now.difference - SLACK * self.config.effect_min * now.missed;
        if stretch.ahead <= 0.0 {
            *stretch = Stretch::default();
        } else {
            stretch.evidence.add(window);
        }
    }

    /// What speaks for a candidate, where it suffices. `worth` is that of as many requests as a
    /// shadow has entries.
    fn case_for(&self, candidate: usize, worth: f64) -> Option<(Reason, Pairing)> {
        let config = &self.config;
        let worth = if candidate == 0 { config.home * worth } else { worth };
        let past = self.long.pairing(candidate, self.in_charge);
        if self.out[self.in_charge] {
            return Some((Reason::Fault, past));
        }
        let broad = |pairing: &Pairing| pairing.median_gain >= SLACK * config.effect_min;
        let is_steady = past.difference >= config.lead_min * worth
            && past.z >= config.z_min
            && past.gain >= config.effect_min
            && broad(&past);
        if is_steady {
            return Some((Reason::Steady, past));
        }
        let stretch = &self.stretches[candidate];
        let debt = config.drift_debt * (-past.difference).max(0.0);
        if stretch.ahead < config.drift_lead_min * worth + debt {
            return None;
        }
        let shown = stretch.evidence.pairing(candidate, self.in_charge);
        let is_drift =
            shown.z >= config.drift_z_min && shown.gain >= config.drift_effect_min && broad(&shown);
        is_drift.then_some((Reason::Drift, shown))
    }

    /// Whether one candidate is ahead of another, each of which has a case, on requests that both of them
    /// played and that speak for one of them: leads of different stretches say nothing about each other.
    fn leads(&self, (one, reason): (usize, Reason), (other, rival): (usize, Reason)) -> bool {
        let stretch = |place: usize| &self.stretches[place].evidence;
        let evidence = match (reason, rival) {
            (Reason::Drift, Reason::Drift) => {
                let (own, others) = (stretch(one), stretch(other));
                if own.requests() < others.requests() { own } else { others }
            }
            (Reason::Drift, _) => stretch(one),
            (_, Reason::Drift) => stretch(other),
            _ => &self.long,
        };
        evidence.pairing(one, other).difference > 0.0
    }

    /// Whether dwell time and limit allow another swap.
    fn may_swap(&self, entries: f64) -> bool {
        let dwelt = |&last: &f64| self.now - last >= self.config.dwell * entries;
        let oldest = self.swaps.front().filter(|_| self.swaps.len() >= self.config.swaps_max);
        let spread = |&first: &f64| self.now - first >= self.config.swaps_span * entries;
        self.swaps.back().is_none_or(dwelt) && oldest.is_none_or(spread)
    }

    /// Adds the window to what is watched after a swap; the evidence for taking it back, where there
    /// is some.
    fn watched(&mut self, window: &Evidence, entries: f64) -> Option<Pairing> {
        let config = &self.config;
        let since = self.now - self.swaps.back()?;
        let watch = self.watch.as_mut()?;
        if self.out[watch.before] || since > (config.settle + config.watch) * entries {
            self.watch = None;
            return None;
        }
        if since <= config.settle * entries {
            return None;
        }
        watch.evidence.add(window);
        let shown = watch.evidence.pairing_against(LIVE, watch.before, watch.usual);
        let all = watch.evidence.requests() * watch.evidence.worth_mean();
        let is_large = -shown.difference >= config.rollback_loss_min * all.max(1.0);
        // A workload that has moved by more than what is missing may be why it is missing.
        let moved = (watch.evidence.hit_ratio(watch.before) - watch.level).abs() * all;
        let is_its_own = moved <= -shown.difference;
        (shown.z <= -config.drift_z_min && is_large && is_its_own).then_some(shown)
    }
}

#[cfg(test)]
mod tests;
