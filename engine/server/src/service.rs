//! What all fronts of one server share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use ostler_adapt::live::Adaptive;
use ostler_core::{BuildError, Clock, PolicyEvent, SeatError};
use parking_lot::Mutex;

use crate::adaptive::{self, Shortfall};
use crate::auth::Grants;
use crate::channels::Channels;
use crate::clients::Clients;
use crate::clock::ServerClock;
use crate::commands::server::config::Tunables;
use crate::databases::Databases;
use crate::experiments::{Experiments, Shown};
use crate::fetching::{self, Fetching};
use crate::histogram::Histogram;
use crate::keyspace::{DatabaseIndex, Keyspace, KeyspaceSetup};
use crate::lanes::Lanes;
use crate::ledger::Ledger;
use crate::models::Lessons;
use crate::notifications::Notifications;
use crate::pause::Pause;
use crate::policies::{ActivateError, Activated, Policies, PolicyError};
use crate::rates::{Rates, Sample};
use crate::room::{self, Room};
use crate::settings::{CacheSettings, Settings};
use crate::tallies::{SwapReason, Tallies};
use crate::tracking::Tracking;

/// Shards for each thread that runs commands: two of them seldom want the same one at once.
const SHARDS_A_THREAD: usize = 8;
/// Shards at most, unless the settings name a number.
const SHARDS_MAX: usize = 64;
/// Least capacity of a shard, unless the settings name a number: no entry can be larger.
const SHARD_BYTES_MIN: u64 = 32 << 20;

/// One server's caches, policies, clients and counters.
pub struct Service {
    /// As it was started.
    pub settings: Settings,
    /// The time.
    pub clock: ServerClock,
    /// The caches, in the order of the settings.
    pub caches: Vec<Arc<Keyspace>>,
    /// Which database lives where.
    pub databases: Arc<Databases>,
    /// Who makes room where the bound on memory is reached.
    pub room: Room,
    /// Uploaded and built-in policies.
    pub policies: Policies,
    /// Connected clients.
    pub clients: Clients,
    /// Channels of `PUBLISH`.
    pub channels: Arc<Channels>,
    /// Who hears on channels what happens to keys.
    pub notifications: Arc<Notifications>,
    /// Who is told of changed keys.
    pub tracking: Arc<Tracking>,
    /// Who may do what.
    pub grants: Grants,
    /// Who runs commands when.
    pub lanes: Lanes,
    /// Whether commands wait.
    pub pause: Pause,
    /// What happened since the start.
    pub counters: Counters,
    /// What it does per second.
    pub rates: Rates,
    /// How long commands took, as far as they were timed.
    pub latency: Histogram,
    /// What happened to policies since the start.
    pub tallies: Arc<Tallies>,
    /// What `CONFIG` has changed.
    pub tunables: Tunables,
    /// What happens to policies, for those who listen.
    pub events: tokio::sync::broadcast::Sender<Event>,
    /// What is tried on the caches' shards, and what is heard of their keys.
    pub experiments: Experiments,
    /// What is learned for policies that take models.
    pub(crate) lessons: Lessons,
    /// What is fetched for the caches before anybody asks.
    pub fetching: Fetching,
    /// Requests of each cache by the policy that was in charge, one for each cache.
    pub(crate) ledgers: Vec<Ledger>,
    /// What changes each cache's policy by itself, none where nothing does.
    pub(crate) adaptives: Mutex<Vec<Option<Arc<Adaptive>>>>,
    /// What is missing there against the settings, one for each cache.
    pub(crate) shortfalls: Mutex<Vec<Shortfall>>,
}

/// Something that happened to a cache's policy.
#[derive(Clone, Debug)]
pub struct Event {
    /// The cache's name.
    pub cache: String,
    /// When, milliseconds since 1970.
    pub unix_ms: u64,
    /// What.
    pub event: News,
}

/// What happens to a cache's policies.
#[derive(Clone, Debug)]
pub enum News {
    /// The cache tells it.
    Policy(PolicyEvent),
    /// An experiment began or ended.
    Experiment {
        /// Its id.
        id: u64,
        /// How it stands.
        shown: Box<Shown>,
    },
}

/// Counters of the RESP front since the start.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections taken.
    pub connections: AtomicU64,
    /// Connections refused because there were too many.
    pub connections_refused: AtomicU64,
    /// Commands run.
    pub commands: AtomicU64,
    /// Commands that ended in an error.
    pub errors: AtomicU64,
    /// Calls of each command, and errors of each code.
    pub calls: crate::commands::calls::Calls,
    /// Bytes read.
    pub bytes_in: AtomicU64,
    /// Bytes written.
    pub bytes_out: AtomicU64,
    /// Clients cut off because they did not read.
    pub slow_clients: AtomicU64,
    /// When it was last said that a browser calls, milliseconds since 1970.
    pub(crate) browser_warned_unix_ms: AtomicU64,
}

/// Why a service cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// A policy of the settings cannot be used, or the data directory.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// A cache cannot be made.
    #[error("cache `{cache}`: {source}")]
    Cache {
        /// Its name.
        cache: String,
        /// Why.
        source: BuildError,
    },
}

/// Shards for a cache whose settings name none, where so many threads run commands. Fewer than the
/// engine would take on a small machine: each has an instance of its policy, and rounds up its tables.
fn shards_for(capacity_bytes: u64, threads: usize) -> Option<usize> {
    let room = usize::try_from(capacity_bytes / SHARD_BYTES_MIN).unwrap_or(SHARDS_MAX);
    // One thread more is the API's.
    Some((SHARDS_A_THREAD * (threads + 1)).min(SHARDS_MAX).min(room).max(1))
}

/// What caches are made with.
struct Founder<'a> {
    clock: ServerClock,
    policies: &'a Policies,
    tallies: &'a Arc<Tallies>,
    tracking: &'a Arc<Tracking>,
    notifications: &'a Arc<Notifications>,
    events: &'a tokio::sync::broadcast::Sender<Event>,
}

impl Founder<'_> {
    /// A cache with the policy that it is to have. Where that one breaks its contract before its first
    /// event another stands in, as for one that faults while it serves: a fault of a policy keeps no
    /// server from starting.
    fn found(&self, cache: &CacheSettings, threads: usize) -> Result<Keyspace, ServiceError> {
        let hear = self.hearer(&cache.name);
        let quarantines = self.policies.quarantines(&cache.name);
        let codes: Vec<String> = quarantines.into_iter().map(|it| it.code).collect();
        let mut policy = Some(self.policies.source(&cache.name, &cache.policy)?);
        loop {
            let heard = Arc::clone(&hear);
            let setup = KeyspaceSetup {
                name: cache.name.clone(),
                capacity_bytes: cache.capacity_bytes,
                shards: cache.shards.or_else(|| shards_for(cache.capacity_bytes, threads)),
                policy: policy.take(),
                faults_max: None,
                quarantined: codes.clone(),
                has_origin: cache.origin.is_some(),
                on_policy: Box::new(move |event| heard(event)),
            };
            let (tracked, notified) = (Arc::clone(self.tracking), Arc::clone(self.notifications));
            match Keyspace::try_new(setup, self.clock, tracked, notified) {
                Ok(made) => return Ok(made),
                Err(BuildError::Policy(SeatError::Fault { policy: name, fault, .. })) => {
                    let (cache, reason) = (&cache.name, fault.to_string());
                    tracing::error!(cache, policy = name, reason, "the policy cannot be used");
                    hear(&PolicyEvent::Faulted { policy: name, fault });
                    policy = self.policies.stand_in(cache, &reason);
                }
                Err(source) => {
                    return Err(ServiceError::Cache { cache: cache.name.clone(), source });
                }
            }
        }
    }

    /// What hears of the policy of the cache of this name.
    fn hearer(&self, name: &str) -> Arc<dyn Fn(&PolicyEvent) + Send + Sync> {
        let (name, clock, teller) = (name.to_owned(), self.clock, self.events.clone());
        let (tallied, keeper) = (Arc::clone(self.tallies), self.policies.listener(&name));
        Arc::new(move |event| {
            tallied.heard(&name, event);
            keeper(event);
            let unix_ms = clock.now_unix_ms();
            let event = Event { cache: name.clone(), unix_ms, event: event.clone().into() };
            // Nobody may be listening.
            let _ = teller.send(event);
        })
    }
}

impl Service {
    /// The service for `settings`, with `threads` lanes for commands and one more for the API.
    ///
    /// # Errors
    ///
    /// [`ServiceError`] that names the setting.
    pub fn try_new(settings: Settings, threads: usize) -> Result<Arc<Self>, ServiceError> {
        let clock = ServerClock::new();
        let tracking = Arc::new(Tracking::default());
        let policies = Policies::open(settings.data_dir.as_deref(), &settings.limits)?;
        let tallies = Arc::new(Tallies::default());
        let channels = Arc::new(Channels::default());
        let dealt = settings.caches.iter().map(|cache| cache.databases.as_slice());
        let databases = Arc::new(Databases::new(dealt));
        let notifications = Notifications::new(Arc::clone(&channels), Arc::clone(&databases));
        let notifications = Arc::new(notifications);
        let (events, _) = tokio::sync::broadcast::channel(256);
        let founder = Founder {
            clock,
            policies: &policies,
            tallies: &tallies,
            tracking: &tracking,
            notifications: &notifications,
            events: &events,
        };
        let made = settings.caches.iter().map(|cache| founder.found(cache, threads).map(Arc::new));
        let caches: Vec<Arc<Keyspace>> = made.collect::<Result<_, _>>()?;
        let service = Arc::new(Self {
            clock,
            ledgers: caches.iter().map(|cache| Ledger::open(cache)).collect(),
            experiments: Experiments::new(&caches, &settings.caches),
            adaptives: Mutex::new(caches.iter().map(|_| None).collect()),
            shortfalls: Mutex::new(vec![Shortfall::default(); caches.len()]),
            lessons: Lessons::default(),
            fetching: Fetching::default(),
            caches,
            databases,
            room: Room::default(),
            policies,
            clients: Clients::new(&settings.limits),
            channels,
            notifications,
            tracking,
            grants: Grants::new(settings.tokens.clone()),
            lanes: Lanes::new(threads + 1),
            pause: Pause::default(),
            counters: Counters::default(),
            tunables: Tunables::new(&settings.limits),
            rates: Rates::default(),
            latency: Histogram::default(),
            tallies,
            events,
            settings,
        });
        adaptive::start(&service);
        fetching::start(&service);
        service.lessons.follow(&service);
        Ok(service)
    }

    /// What changes the policy of the cache with this number by itself, none where nothing does.
    #[must_use]
    pub fn adaptive(&self, cache: usize) -> Option<Arc<Adaptive>> {
        self.adaptives.lock().get(cache).cloned().flatten()
    }

    /// From now on no policy changes by itself. Waits for a change that is under way.
    pub(crate) fn stop_adapting(&self) {
        self.lessons.stop(self);
        self.experiments.silence();
        let adaptives: Vec<_> = self.adaptives.lock().iter_mut().map(Option::take).collect();
        drop(adaptives);
    }

    /// The cache in which `database` lives, none where the settings give it none.
    #[must_use]
    pub fn keyspace(&self, database: u8) -> Option<&Arc<Keyspace>> {
        self.caches.get(self.databases.cache(database)?)
    }

    /// The databases that live in the cache with this number: first those of the settings, in their
    /// order, then those that came by `SWAPDB`.
    #[must_use]
    pub fn databases_of(&self, cache: usize) -> Vec<DatabaseIndex> {
        let dealt = self.settings.caches.get(cache).map(|cache| cache.databases.as_slice());
        self.databases.living_in(cache, dealt.unwrap_or_default())
    }

    /// Changes the policy of the cache with this number by `work`, and sees to it that requests before
    /// and after are counted apart, and that the policy makes room from now on. Blocks as `work` does,
    /// and while another change of this cache is under way.
    ///
    /// # Errors
    ///
    /// Those of `work`, and [`ActivateError::Experiment`] while one runs in the cache.
    pub(crate) fn change_policy(
        &self,
        cache: usize,
        reason: SwapReason,
        work: impl FnOnce(&Keyspace) -> Result<Activated, ActivateError>,
    ) -> Result<Activated, ActivateError> {
        let _turn = self.experiments.turn(cache).map_err(|id| ActivateError::Experiment { id })?;
        self.change_policy_within(cache, reason, work)
    }

    /// As [`change_policy`](Self::change_policy), for an experiment itself: the caller has the cache's
    /// turn.
    pub(crate) fn change_policy_within(
        &self,
        cache: usize,
        reason: SwapReason,
        work: impl FnOnce(&Keyspace) -> Result<Activated, ActivateError>,
    ) -> Result<Activated, ActivateError> {
        let (keyspace, ledger) = (&self.caches[cache], &self.ledgers[cache]);
        ledger.settle(keyspace);
        let changed = work(keyspace);
        ledger.settle(keyspace);
        if changed.is_ok() {
            self.tallies.swapped(keyspace.name(), reason);
            if self.room.keeper().is_server() {
                room::set_keeper(self, self.room.policy_keeper());
            }
        }
        changed
    }

    /// Notes how the counters stand; to be called about every 100 ms.
    pub fn note_rates(&self) {
        self.rates.note(Sample {
            now_ms: self.clock.now_ms(),
            commands: self.counters.commands.load(Relaxed),
            bytes_in: self.counters.bytes_in.load(Relaxed),
            bytes_out: self.counters.bytes_out.load(Relaxed),
        });
    }

    /// The cache of this name.
    #[must_use]
    pub fn cache(&self, name: &str) -> Option<&Arc<Keyspace>> {
        self.caches.iter().find(|cache| cache.name() == name)
    }
}
