//! The selector's ear and hand: plays what is heard to the panel, closes windows, asks the selector, and
//! has its decisions carried out.

use std::collections::VecDeque;
use std::sync::Arc;

use ostler_abi::{Kind, Record};
use ostler_core::{Resident, SampleShare};

use super::adaptive::{Actuator, AdaptiveStatus, CandidateStatus, Shown};
use super::decisions::{Action, CandidateFigures, DecisionRecord};
use super::reader::Reader;
use super::{Consumer, LiveCache, Moment};
use crate::evidence::{Evidence, LIVE, Pairing};
use crate::objective::Objective;
use crate::panel::{Heard, Panel};
use crate::sample::scaled;
use crate::selector::{Decision, Reason, Selector, SelectorConfig};

/// Time between two looks at who is in charge, and how large the cache is, milliseconds.
const LOOK_MS: u64 = 1_000;
/// Time for which nothing is changed after a change was refused, milliseconds.
const REFUSED_MS: u64 = 30_000;
/// Time for which the same reason to hold is not noted again, milliseconds.
const NOTED_MS: u64 = 600_000;
/// An hour, milliseconds.
const HOUR_MS: u64 = 3_600_000;
/// Windows in which what is shown decays to a half.
const SHOWN_WINDOWS: f64 = 8.0;
/// Loads with a known cost of which the mean is remembered.
const LOADS: f64 = 4096.0;

/// A consumer that decides.
pub(super) struct Chooser {
    cache: Arc<dyn LiveCache>,
    actuator: Box<dyn Actuator>,
    names: Vec<String>,
    objective: Objective,
    panel: Panel,
    reader: Reader,
    selector: Selector,
    loads: Loads,
    now: Moment,
    /// When it last looked around, none before the first tick.
    looked_unix_ms: Option<u64>,
    /// Requests of the panel at which the window closes.
    window_end: u64,
    /// What the panel had heard when the window began.
    window_start: Heard,
    windows: u64,
    /// Guest time of each shadow when the window began, and in all, those before it among them.
    guest_ns: Vec<(u64, u64)>,
    guest_ns_per_request: Vec<f64>,
    /// What was seen lately, to be shown.
    recent: Evidence,
    in_charge: Option<usize>,
    out: Vec<Option<String>>,
    hold: Option<String>,
    /// The last reason to hold that was noted, and when.
    noted: Option<(String, u64)>,
    /// When a change was last refused, where nothing has been tried since.
    refused_ms: Option<u64>,
    swaps_per_hour_max: usize,
    /// When the last swaps were, oldest first.
    swapped_ms: VecDeque<u64>,
    /// Faults of the cache's policies when the one in charge was last appointed by somebody else.
    faults_before: u64,
    has_acted: bool,
    shown: Arc<Shown>,
}

/// What it costs to load an entry.
#[derive(Default)]
struct Loads {
    count: f64,
    cost_us: f64,
}

impl Loads {
    fn note(&mut self, records: &[Record]) {
        let is_load = |record: &&Record| record.kind() == Some(Kind::Insert) && record.cost_us > 0;
        for record in records.iter().filter(is_load) {
            self.count += 1.0;
            self.cost_us += f64::from(record.cost_us);
        }
        if self.count > LOADS {
            (self.count, self.cost_us) = (self.count / 2.0, self.cost_us / 2.0);
        }
    }

    /// Mean cost, microseconds, none where no load has told one.
    fn mean_us(&self) -> Option<f64> {
        (self.count > 0.0).then(|| self.cost_us / self.count)
    }
}

impl Chooser {
    pub(super) fn new(
        cache: Arc<dyn LiveCache>,
        panel: Panel,
        (objective, selector): (Objective, SelectorConfig),
        actuator: Box<dyn Actuator>,
    ) -> Self {
        let count = panel.shadows().len();
        let selector = Selector::new(selector, count);
        Self {
            cache,
            actuator,
            names: names(&panel),
            objective,
            panel,
            reader: Reader::new(),
            window_end: selector.window_requests(1),
            selector,
            loads: Loads::default(),
            now: Moment::new(0, SampleShare::NONE),
            looked_unix_ms: None,
            window_start: Heard::default(),
            windows: 0,
            guest_ns: vec![(0, 0); count],
            guest_ns_per_request: vec![0.0; count],
            recent: Evidence::default(),
            in_charge: None,
            out: vec![None; count],
            hold: None,
            noted: None,
            refused_ms: None,
            swaps_per_hour_max: usize::MAX,
            swapped_ms: VecDeque::new(),
            faults_before: 0,
            has_acted: false,
            shown: Arc::default(),
        }
    }

    /// The same, which shows its decisions there.
    pub(super) fn shown_in(mut self, shown: Arc<Shown>) -> Self {
        self.shown = shown;
        self
    }

    /// The same, with at most so many swaps within an hour. What repairs something is not counted in.
    pub(super) fn limited_to(mut self, swaps_per_hour_max: u32) -> Self {
        self.swaps_per_hour_max = swaps_per_hour_max as usize;
        self
    }

    /// Starts the shadows anew for the share of `now`, filled with what the cache holds.
    fn refill(&mut self, share: SampleShare) {
        let residents = self.residents(share);
        self.panel.refill(scaled(self.cache.capacity(), share.ratio()), &residents);
        self.reader = Reader::new();
        let before = self.now.share.ratio();
        if before > 0.0 {
            self.selector.rescale(share.ratio() / before);
        }
        for ((start, _), shadow) in self.guest_ns.iter_mut().zip(self.panel.shadows()) {
            *start = shadow.guest_ns();
        }
        self.begin_window();
        self.has_acted = true;
    }

    /// What the cache holds of `share`, coldest first.
    fn residents(&self, share: SampleShare) -> Vec<Resident> {
        let mut residents: Vec<Resident> = self.cache.sample_all(share);
        residents.sort_by_key(|resident| resident.accessed_ms);
        residents
    }

    fn begin_window(&mut self) {
        self.window_start = self.panel.heard();
        self.window_end =
            self.window_start.requests + self.selector.window_requests(self.panel.entries());
    }

    /// Looks who is in charge and how large the cache is.
    fn look_around(&mut self) {
        let capacity = scaled(self.cache.capacity(), self.now.share.ratio());
        if capacity != self.panel.capacity() {
            self.panel.set_capacity(capacity);
        }
        let in_charge = self.actuator.in_charge();
        let stats = self.cache.stats();
        if in_charge != self.in_charge
            && let Some(place) = in_charge
        {
            self.trust(place);
            // At the first look it may have lost its seats before.
            self.faults_before = if self.windows == 0 { 0 } else { stats.policy_faults };
        }
        self.in_charge = in_charge;
        if let Some(place) = in_charge
            && stats.shards_in_charge == 0
            && stats.policy_faults > self.faults_before
        {
            self.demote(place, "it lost the seats of all shards by faults".to_owned());
        }
    }

    /// Somebody put a candidate in charge: whatever it did before, it takes part again, with a shadow
    /// that runs.
    fn trust(&mut self, place: usize) {
        self.selector.appointed(place);
        self.out[place] = None;
        if self.panel.shadows()[place].fault().is_some() {
            let residents = self.residents(self.now.share);
            self.panel.restart(place, &residents);
            self.guest_ns[place].0 = self.panel.shadows()[place].guest_ns();
            self.has_acted = true;
        }
    }

    fn demote(&mut self, place: usize, reason: String) {
        if self.out[place].is_some() {
            return;
        }
        self.selector.take_out(place);
        self.out[place] = Some(reason.clone());
        self.keep(Action::Demoted, (self.in_charge, Some(place)), reason, Pairing::default());
    }

    fn demote_faulty(&mut self) {
        for place in 0..self.names.len() {
            let fault = self.panel.shadows()[place].fault().map(ToString::to_string);
            if let Some(fault) = fault {
                self.demote(place, format!("in shadow: {fault}"));
            }
        }
    }

    /// Closes the window.
    fn close(&mut self) {
        let mut window = self.panel.take();
        let requests = self.panel.requests() - self.window_start.requests;
        let unfit = self.panel.hold(self.now.share.ratio());
        self.demote_faulty();
        self.charge(&mut window, requests);
        self.begin_window();
        if !self.panel.has_turned_over() {
            return;
        }
        self.windows += 1;
        self.recent.decay((-1.0 / SHOWN_WINDOWS).exp2());
        self.recent.add(&window);
        let hold = self.hold(unfit);
        self.hold.clone_from(&hold);
        match hold {
            Some(reason) => self.note_hold(reason),
            None => self.decide(&window),
        }
    }

    /// Keeps a reason to hold among the decisions, unless that was done not long ago.
    fn note_hold(&mut self, reason: String) {
        let now = self.now.unix_ms;
        let noted = self.noted.as_ref();
        if noted.is_some_and(|(last, at)| *last == reason && now.abs_diff(*at) < NOTED_MS) {
            return;
        }
        self.noted = Some((reason.clone(), now));
        self.keep(Action::Hold, (self.in_charge, None), reason, Pairing::default());
    }

    /// Why nothing is to be decided.
    fn hold(&mut self, unfit: Option<&str>) -> Option<String> {
        if let Some(reason) = self.actuator.pause() {
            return Some(reason);
        }
        if self.in_charge.is_none() {
            return Some("the policy in charge is not in the portfolio".to_owned());
        }
        unfit.map(ToOwned::to_owned)
    }

    /// Why a swap for `reason` has to wait.
    fn wait(&mut self, reason: Reason) -> Option<String> {
        let now = self.now.unix_ms;
        // A clock that was set back by more counts as time that passed.
        self.swapped_ms.retain(|&at| now.abs_diff(at) < HOUR_MS);
        let is_repair = matches!(reason, Reason::Fault | Reason::Rollback);
        let most = self.swaps_per_hour_max;
        let is_over = !is_repair && self.swapped_ms.len() >= most;
        is_over.then(|| format!("there were {most} swaps within an hour, as many as may be"))
    }

    /// Charges each candidate for the time in its policy, in units of worth: what it took to load as much.
    fn charge(&mut self, window: &mut Evidence, requests: u64) {
        let unit_us = match self.objective {
            Objective::Cost => self.loads.mean_us().map(|_| 1.0),
            _ => self.loads.mean_us().map(|mean_us| mean_us / window.worth_mean()),
        };
        let spent = self.guest_ns.iter_mut().zip(&mut self.guest_ns_per_request);
        for (place, ((start, total), per_request)) in spent.enumerate() {
            let now = self.panel.shadows()[place].guest_ns();
            let ns = now.saturating_sub(*start);
            *start = now;
            *total += ns;
            *per_request = ns as f64 / requests.max(1) as f64;
            if let Some(unit_us) = unit_us {
                window.charge(place, ns as f64 / 1e3 / unit_us);
            }
        }
        if let Some(place) = self.in_charge {
            window.charge_live(place);
        }
    }

    fn decide(&mut self, window: &Evidence) {
        let entries = self.panel.entries();
        let decision = self.selector.decide(window, entries);
        let Decision::Swap { to, reason, pairing } = decision else { return };
        let now = self.now.unix_ms;
        if self.refused_ms.is_some_and(|at| now.abs_diff(at) < REFUSED_MS) {
            return;
        }
        if let Some(reason) = self.wait(reason) {
            self.hold = Some(reason.clone());
            return self.note_hold(reason);
        }
        let from = self.selector.in_charge();
        if self.actuator.in_charge() != Some(from) {
            // Somebody else was quicker.
            return self.look_around();
        }
        self.has_acted = true;
        match self.actuator.swap(to, reason) {
            Ok(()) => {
                self.selector.swapped(to, reason, entries);
                self.in_charge = Some(to);
                self.refused_ms = None;
                if !matches!(reason, Reason::Fault | Reason::Rollback) {
                    self.swapped_ms.push_back(now);
                }
                let action = self.action(from, to, reason);
                self.keep(action, (Some(from), Some(to)), word(reason).to_owned(), pairing);
            }
            Err(refusal) => {
                self.refused_ms = Some(now);
                let places = (Some(from), Some(to));
                self.keep(Action::Refused, places, refusal.reason.clone(), pairing);
                if refusal.is_final {
                    self.refused_ms = None;
                    self.demote(to, refusal.reason);
                }
            }
        }
    }

    fn action(&self, from: usize, to: usize, reason: Reason) -> Action {
        let code = |place: usize| self.panel.shadows()[place].source().code_id();
        match reason {
            Reason::Rollback => Action::Rollback,
            _ if code(from) == code(to) => Action::Tune,
            _ => Action::Swap,
        }
    }

    fn keep(
        &self,
        action: Action,
        (from, to): (Option<usize>, Option<usize>),
        reason: String,
        pairing: Pairing,
    ) {
        let name = |place: usize| self.names[place].clone();
        let figures = self.names.iter().enumerate().map(|(place, name)| CandidateFigures {
            policy: name.clone(),
            hit_ratio: self.recent.hit_ratio(place),
            guest_ns_per_request: self.guest_ns_per_request[place],
        });
        self.shown.decisions.keep(DecisionRecord {
            number: 0,
            unix_ms: self.now.unix_ms,
            action,
            from: from.map(name),
            to: to.map(name),
            reason,
            gain: pairing.gain,
            z: pairing.z,
            median_gain: pairing.median_gain,
            requests: self.panel.requests(),
            live_hit_ratio: self.recent.hit_ratio(LIVE),
            share: self.now.share.ratio(),
            candidates: figures.collect(),
        });
    }

    fn show(&self) {
        let candidates = self.panel.shadows().iter().enumerate();
        let candidates = candidates.map(|(place, shadow)| {
            let (start, total) = self.guest_ns[place];
            CandidateStatus {
                policy: self.names[place].clone(),
                in_charge: self.in_charge == Some(place),
                out: self.out[place].clone(),
                requests: self.panel.requests() - self.panel.oversize(),
                hit_ratio: self.recent.hit_ratio(place),
                entries: shadow.len() as u64,
                guest_ns: total + shadow.guest_ns().saturating_sub(start),
                memory_bytes: shadow.memory_bytes(),
            }
        });
        self.shown.show(AdaptiveStatus {
            objective: self.objective,
            hold: self.hold.clone(),
            is_warm: self.panel.has_turned_over(),
            windows: self.windows,
            requests: self.panel.requests(),
            oversize: self.panel.oversize(),
            live_hit_ratio: self.recent.hit_ratio(LIVE),
            candidates: candidates.collect(),
        });
    }
}

impl Consumer for Chooser {
    fn take(&mut self, _shard: u32, records: &[Record]) {
        self.loads.note(records);
        self.reader.read(records, self.now.share, &mut self.panel);
        if let Some(model) = self.panel.take_model() {
            self.cache.publish_model(model);
        }
        if self.panel.requests() >= self.window_end {
            self.close();
        }
    }

    fn tick(&mut self, now: Moment) {
        if now.share != self.now.share {
            self.refill(now.share);
        }
        self.now = now;
        let is_due = |looked: u64| now.unix_ms.abs_diff(looked) >= LOOK_MS;
        if self.looked_unix_ms.is_none_or(is_due) {
            self.looked_unix_ms = Some(now.unix_ms);
            self.look_around();
        }
        self.show();
    }

    fn take_acted(&mut self) -> bool {
        std::mem::take(&mut self.has_acted)
    }

    fn ended(&mut self) {
        let reason = "the selector panicked: nothing is changed until it is started again";
        self.shown.show(AdaptiveStatus { hold: Some(reason.to_owned()), ..self.shown.status() });
        self.keep(Action::Hold, (self.in_charge, None), reason.to_owned(), Pairing::default());
    }
}

/// The candidates' names: the policy's, with its parameters where several have that name.
fn names(panel: &Panel) -> Vec<String> {
    let sources: Vec<_> =
        panel.shadows().iter().map(|shadow| Arc::clone(shadow.source())).collect();
    let name = |source: &Arc<dyn ostler_core::InstanceSource>| {
        let label = source.label();
        let is_alone = sources.iter().filter(|other| other.label() == label).count() == 1;
        if is_alone { label.to_owned() } else { format!("{label}{}", source.params()) }
    };
    sources.iter().map(name).collect()
}

fn word(reason: Reason) -> &'static str {
    match reason {
        Reason::Steady => "steady",
        Reason::Drift => "drift",
        Reason::Fault => "fault",
        Reason::Rollback => "rollback",
    }
}

#[cfg(test)]
mod tests;
