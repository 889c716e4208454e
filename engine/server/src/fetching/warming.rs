//! Warming of one cache: what was asked for is remembered over a restart, and fetched after it.
//!
//! Owns the history of keys, its snapshots, the policy's instance and the plan that it ranked. Runs on
//! the cache's own thread; only the disk and the training of a model have others.

use std::path::PathBuf;
use std::time::Instant;

use futures_util::FutureExt as _;
use ostler::WarmingPolicy;
use ostler_abi::Outlook;
use ostler_core::PolicyFault;
use ostler_fetch::prefetch::{Catalog, Landing, OriginConfig};
use ostler_fetch::warming::{
    HistoryConfig, KeyHistory, Moment, Noted, Pace, PaceConfig, SnapshotHeader, TrainerConfig,
    WarmPlan, WarmingTrainer,
};
use tokio::task::JoinHandle;

use super::Ready;
use super::demand::{Note, What};
use super::prefetching::Known;
use super::shown::{Phase, WarmingShown};
use super::snapshots;
use crate::keyspace::{HomeIndex, Key, weight_of};
use crate::service::Service;
use crate::settings::WarmingSettings;

/// Requests after which older ones count half for the lifetime of entries.
const REQUESTS_MAX: u64 = 1 << 20;
/// Keys whose weights stand for all.
const WEIGHED_MAX: usize = 1_000;
/// A capacity that grew by more than one part of this many is worth warming.
const GROWTH_PART: u64 = 8;

/// Times that the fetch of a key is tried.
const TRIES: u8 = 3;

/// The warming of one cache.
pub(crate) struct Warming {
    cache: usize,
    settings: WarmingSettings,
    seated: Option<Ready<WarmingPolicy>>,
    /// What it did wrong, until somebody hears of it.
    fault: Option<PolicyFault>,
    history: KeyHistory,
    /// Requests and misses, older ones for less.
    requests: u64,
    misses: u64,
    /// Of an entry, requests.
    lifetime: u64,
    capacity_bytes: u64,
    plan: Option<WarmPlan>,
    /// The next key to fetch, which waits for its time, and how often that has failed.
    next: Option<(Box<[u8]>, u8)>,
    /// Keys whose fetch has failed, to be tried again when the plan is through.
    again: Vec<(Box<[u8]>, u8)>,
    pace: Pace,
    trainer: Option<WarmingTrainer>,
    training: Option<JoinHandle<(WarmingTrainer, Option<Vec<u8>>)>>,
    /// The last model that was trained, or came with the snapshot.
    model: Vec<u8>,
    file: Option<PathBuf>,
    writing: Option<JoinHandle<std::io::Result<()>>>,
    snapshot_due: Instant,
    shown: WarmingShown,
}

/// An entry that is to be fetched.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) key: Box<[u8]>,
    begun_ms: u64,
    failures: u8,
}

/// How the fetch of an entry ended, and what that weighs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Landed {
    pub(crate) landing: Landing,
    pub(crate) weight: u64,
    pub(crate) now_ms: u64,
}

impl Warming {
    /// Nobody at work, and nothing remembered.
    pub(crate) fn new(service: &Service, cache: usize) -> Self {
        let own = &service.settings.caches[cache];
        let settings = own.warming.clone().unwrap_or_default();
        let fetches_max = own.origin.as_ref().map_or(1, |origin| origin.connections_max / 2);
        let timeout_ms = own.origin.as_ref().map_or(0, |origin| origin.timeout.as_millis());
        let pace = Pace::new(PaceConfig {
            fetches_per_second: settings.fetches_per_second,
            origin: OriginConfig {
                // Half of the connections is for what may be asked for next.
                fetches_max: u32::try_from(fetches_max).unwrap_or(u32::MAX).max(1),
                slow_ms: u32::try_from(timeout_ms / 2).unwrap_or(u32::MAX),
                ..OriginConfig::default()
            },
        });
        let history = KeyHistory::new(history_config(&settings));
        let file = service.settings.data_dir.as_deref();
        let file = file.map(|folder| snapshots::file_of(folder, service.caches[cache].name()));
        Self {
            cache,
            seated: None,
            fault: None,
            history,
            requests: 0,
            misses: 0,
            lifetime: 1,
            capacity_bytes: service.caches[cache].capacity_bytes(),
            plan: None,
            next: None,
            again: Vec::new(),
            pace,
            trainer: None,
            training: None,
            model: Vec::new(),
            file,
            writing: None,
            snapshot_due: Instant::now() + settings.snapshot_interval,
            shown: WarmingShown::default(),
            settings,
        }
    }

    /// True where a policy is at work.
    pub(crate) fn is_on(&self) -> bool {
        self.seated.is_some()
    }

    /// Another policy, or none for this reason, is at work from now on. What is under way goes on.
    pub(crate) fn seat(&mut self, seated: Option<Ready<WarmingPolicy>>, reason: Option<String>) {
        self.seated = seated;
        let policy = self.seated.as_ref().map(|seated| &seated.policy);
        self.shown.policy = policy.map(|policy| policy.name().to_owned());
        self.shown.params = policy.map(|policy| policy.params().to_owned());
        self.shown.reason = reason;
        let takes_models = policy.is_some_and(WarmingPolicy::takes_models);
        if !takes_models {
            self.trainer = None;
        } else if self.trainer.is_none() && self.training.is_none() {
            self.trainer = Some(WarmingTrainer::new(TrainerConfig::default()));
        }
        if self.seated.is_none() {
            self.stop();
        }
    }

    /// Takes up the history that was kept before the restart, and begins to warm the cache with it.
    /// Where it cannot be read that is logged, and it begins anew.
    pub(crate) fn restore(&mut self, service: &Service, home: Option<HomeIndex>) {
        let (Some(file), Some(home), true) = (&self.file, home, self.is_on()) else { return };
        let cache = service.caches[self.cache].name();
        let bytes = match std::fs::read(file) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
            Err(error) => {
                tracing::error!(cache, %error, "the keys of before the restart cannot be read");
                return;
            }
        };
        let keyspace = &service.caches[self.cache];
        let hash_of = |name: &[u8]| keyspace.hash(Key::new(home, name).as_bytes());
        match KeyHistory::try_from_snapshot(&bytes, history_config(&self.settings), &hash_of) {
            Ok((history, header)) => {
                let keys = history.len();
                tracing::info!(cache, keys, "the cache is warmed with keys of before the restart");
                (self.history, self.lifetime) = (history, header.lifetime.max(1));
                self.model = header.model;
                self.shown.restored_keys = keys as u64;
                self.begin(service);
            }
            Err(error) => {
                let file = file.display();
                tracing::error!(cache, %file, %error, "the keys of before the restart are damaged");
            }
        }
    }

    /// A request.
    pub(crate) fn accessed(&mut self, note: Note<'_>, hash: u64, now_unix_ms: u64) {
        if self.seated.is_none() {
            return;
        }
        let is_hit = note.what == What::Hit;
        self.requests += 1;
        self.misses += u64::from(!is_hit);
        if self.requests >= REQUESTS_MAX {
            (self.requests, self.misses) = (self.requests / 2, self.misses / 2);
        }
        let weight = if is_hit { weight_of(note.name.len(), note.value_len as usize) } else { 0 };
        let moment = Moment { now_ms: now_unix_ms, lifetime: self.lifetime };
        self.history.note(&Noted { hash, key: note.name, weight, cost_us: 0, class: 0 }, moment);
        if let Some(trainer) = &mut self.trainer
            && trainer.is_due(&self.history)
        {
            trainer.rehearse(&self.history, moment);
        }
    }

    /// A caller removed a key: it is not to be brought back.
    pub(crate) fn removed(&mut self, hash: u64) {
        self.history.forget(hash);
    }

    /// Ranks what is remembered, and fetches it from now on. A fault of the policy shows at the next
    /// [`advance`](Self::advance).
    pub(crate) fn begin(&mut self, service: &Service) {
        if self.seated.is_none() {
            return;
        }
        let keyspace = &service.caches[self.cache];
        let capacity = keyspace.capacity_bytes();
        self.capacity_bytes = capacity;
        let budget = (capacity as f64 * self.settings.share) as u64;
        let now_ms = service.clock.now_unix_ms();
        let horizon = (capacity / self.mean_weight(now_ms)).max(1);
        let outlook = Outlook { now_ms, lifetime: self.lifetime, horizon, budget };
        self.stop();
        self.shown.phase = Phase::Ranking;
        self.shown.budget_bytes = budget;
        self.shown.brought_bytes = 0;
        let Some(seated) = &mut self.seated else { return };
        let ranked = teach(seated, &self.model).and_then(|()| {
            WarmPlan::ranked(&self.history, &outlook, |outlook, candidates, scores| {
                seated.instance.rank(outlook, candidates, scores)
            })
        });
        let plan = ranked.unwrap_or_else(|fault| {
            self.fault = Some(fault);
            WarmPlan::by_decayed(&self.history, &outlook)
        });
        self.shown.ranked = plan.ranked_len() as u64;
        self.shown.planned = plan.len() as u64;
        self.shown.phase = Phase::Fetching;
        self.plan = Some(plan);
    }

    /// Adds what is to be fetched now to `orders`.
    ///
    /// # Errors
    ///
    /// The fault of a policy that broke its contract, and what it was; nobody is at work then.
    pub(crate) fn advance(
        &mut self,
        known: &Known<'_>,
        now_ms: u64,
        orders: &mut Vec<Order>,
    ) -> Result<(), Box<(WarmingPolicy, PolicyFault)>> {
        if let Some(fault) = self.fault.take()
            && let Some(seated) = self.seated.take()
        {
            let reason = format!("policy `{}`: {fault}", seated.policy.name());
            // What is planned without it is fetched all the same.
            let (plan, phase) = (self.plan.take(), self.shown.phase);
            self.seat(None, Some(reason));
            (self.plan, self.shown.phase) = (plan, phase);
            return Err(Box::new((seated.policy, fault)));
        }
        let Some(plan) = &mut self.plan else { return Ok(()) };
        if self.shown.brought_bytes >= self.shown.budget_bytes {
            plan.stop();
            (self.next, self.again) = (None, Vec::new());
        }
        loop {
            if !known.may_fetch {
                break;
            }
            let is_resident = |hash, key: &[u8]| known.is_resident(hash, key);
            if self.next.is_none() {
                let planned = plan.next_key(is_resident).map(|planned| (planned.key, 0));
                self.next = planned.or_else(|| self.again.pop());
            }
            if self.next.is_none() || !self.pace.begin(now_ms) {
                break;
            }
            let Some((key, failures)) = self.next.take() else { break };
            self.shown.fetches += 1;
            orders.push(Order { key, begun_ms: now_ms, failures });
        }
        let under_way = self.pace.under_way();
        let is_empty = self.next.is_none() && self.again.is_empty() && orders.is_empty();
        if is_empty && plan.is_done() && under_way == 0 {
            self.stop();
            self.shown.rounds += 1;
        }
        Ok(())
    }

    /// A fetch ended.
    pub(crate) fn landed(&mut self, order: Order, landed: Landed) {
        let Landed { landing, weight, now_ms } = landed;
        match landing {
            Landing::Failed => self.pace.failed(now_ms),
            _ => self.pace.answered(now_ms.saturating_sub(order.begun_ms)),
        }
        match landing {
            Landing::Stored => {
                self.shown.stored += 1;
                self.shown.brought_bytes += weight;
            }
            Landing::Unneeded => self.shown.unneeded += 1,
            Landing::Absent => self.shown.absent += 1,
            Landing::Failed => {
                self.shown.failed += 1;
                if self.plan.is_some() && order.failures + 1 < TRIES {
                    self.again.push((order.key, order.failures + 1));
                }
            }
        }
    }

    /// Does what is due now and then: the lifetime of entries, models, snapshots.
    pub(crate) fn tick(&mut self, service: &Service, home: Option<HomeIndex>) {
        self.settle(service);
        let (Some(home), true) = (home, self.is_on()) else { return };
        let keyspace = &service.caches[self.cache];
        if self.requests > 0 {
            let entries = keyspace.size(home).max(1);
            let lifetime = u128::from(entries) * u128::from(self.requests);
            let lifetime = lifetime / u128::from(self.misses.max(1));
            self.lifetime = u64::try_from(lifetime).unwrap_or(u64::MAX).max(1);
        }
        let capacity = keyspace.capacity_bytes();
        if capacity > self.capacity_bytes + self.capacity_bytes / GROWTH_PART {
            self.begin(service);
        } else if capacity < self.capacity_bytes {
            self.capacity_bytes = capacity;
        }
        if Instant::now() >= self.snapshot_due && self.writing.is_none() {
            self.snapshot_due = Instant::now() + self.settings.snapshot_interval;
            self.train();
            if let Some(file) = self.file.clone() {
                let bytes = self.snapshot(service, home);
                let write = move || snapshots::write(&file, &bytes);
                self.writing = Some(tokio::task::spawn_blocking(write));
            }
        }
    }

    /// Takes what other threads did for it meanwhile: a snapshot, a model.
    fn settle(&mut self, service: &Service) {
        if let Some(trained) = done(&mut self.training) {
            let takes_models = self.seated.as_ref().is_some_and(|it| it.policy.takes_models());
            self.trainer = takes_models.then_some(trained.0);
            self.model = trained.1.unwrap_or_else(|| std::mem::take(&mut self.model));
        }
        if let Some(written) = done(&mut self.writing) {
            self.written(service, written);
        }
    }

    /// Keeps what is remembered, since the server ends.
    pub(crate) fn end(&mut self, service: &Service, home: Option<HomeIndex>) {
        let (Some(file), Some(home), true) = (self.file.clone(), home, self.is_on()) else {
            return;
        };
        if let Some(model) = self.trainer.as_mut().and_then(WarmingTrainer::train) {
            self.model = model.to_bytes();
        }
        let bytes = self.snapshot(service, home);
        let written = snapshots::write(&file, &bytes);
        self.written(service, written);
    }

    /// Lines that the policy wrote to its log.
    pub(crate) fn take_log(&mut self) -> Vec<String> {
        self.seated.as_mut().map(|seated| seated.instance.take_log()).unwrap_or_default()
    }

    /// How it stands.
    pub(crate) fn show(&self, shown: &mut WarmingShown) {
        shown.clone_from(&self.shown);
        shown.under_way = self.pace.under_way() as u64;
        shown.history_keys = self.history.len() as u64;
        shown.history_bytes = self.history.bytes() as u64;
    }

    fn stop(&mut self) {
        (self.plan, self.next, self.again) = (None, None, Vec::new());
        self.shown.phase = Phase::Idle;
    }

    /// Has a model trained on another thread, where the policy takes one.
    fn train(&mut self) {
        if let Some(mut trainer) = self.trainer.take() {
            self.training = Some(tokio::task::spawn_blocking(move || {
                let model = trainer.train().map(|model| model.to_bytes());
                (trainer, model)
            }));
        }
    }

    fn snapshot(&self, service: &Service, home: HomeIndex) -> Vec<u8> {
        let keyspace = &service.caches[self.cache];
        let (saved_ms, lifetime) = (service.clock.now_unix_ms(), self.lifetime);
        let header = SnapshotHeader { saved_ms, lifetime, model: self.model.clone() };
        self.history.to_snapshot(&header, usize::MAX, &|_, name| {
            keyspace.is_resident(Key::new(home, name).as_bytes())
        })
    }

    fn written(&mut self, service: &Service, written: std::io::Result<()>) {
        match written {
            Ok(()) => {
                self.shown.snapshots += 1;
                self.shown.snapshot_unix_ms = Some(service.clock.now_unix_ms());
            }
            Err(error) => {
                self.shown.snapshots_failed += 1;
                let cache = service.caches[self.cache].name();
                tracing::error!(cache, %error, "the next start will not know what was asked for");
            }
        }
    }

    /// What an entry weighs, by some of those that are remembered.
    fn mean_weight(&self, now_ms: u64) -> u64 {
        let moment = Moment { now_ms, lifetime: self.lifetime };
        let len = self.history.len();
        let places = (0..len).step_by((len / WEIGHED_MAX).max(1));
        let weights = places.filter_map(|place| self.history.candidate(place, moment));
        // One that was never found has no weight yet.
        let weights = weights.map(|candidate| u64::from(candidate.weight)).filter(|it| *it > 1);
        let (sum, count) = weights.fold((0, 0), |(sum, count), weight| (sum + weight, count + 1));
        u64::checked_div(sum, count).unwrap_or_else(|| u64::from(weight_of(16, 64)))
    }
}

/// What a thread came to, once it has ended. One that panicked has come to nothing.
fn done<T>(thread: &mut Option<JoinHandle<T>>) -> Option<T> {
    thread.take_if(|thread| thread.is_finished())?.now_or_never()?.ok()
}

fn history_config(settings: &WarmingSettings) -> HistoryConfig {
    HistoryConfig { bytes_max: settings.history_bytes, seed: 1 }
}

/// Hands over a model, where there is one and the policy takes it. One that it refuses changes nothing.
fn teach(seated: &mut Ready<WarmingPolicy>, model: &[u8]) -> Result<(), PolicyFault> {
    if model.is_empty() || !seated.policy.takes_models() {
        return Ok(());
    }
    if let Err(refused) = seated.instance.model(model)? {
        let policy = seated.policy.name();
        tracing::warn!(policy, %refused, "the policy does not take its model");
    }
    Ok(())
}
