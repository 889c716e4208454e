//! What all fronts of one server share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use ostler_core::{Clock, PolicyEvent};

use crate::auth::Grants;
use crate::channels::Channels;
use crate::clients::Clients;
use crate::clock::ServerClock;
use crate::commands::server::config::Tunables;
use crate::histogram::Histogram;
use crate::keyspace::{DATABASES, Keyspace, KeyspaceSetup};
use crate::lanes::Lanes;
use crate::notifications::Notifications;
use crate::pause::Pause;
use crate::policies::{Policies, PolicyError};
use crate::rates::{Rates, Sample};
use crate::settings::Settings;
use crate::tallies::Tallies;
use crate::tracking::Tracking;

/// One server's caches, policies, clients and counters.
pub struct Service {
    /// As it was started.
    pub settings: Settings,
    /// The time.
    pub clock: ServerClock,
    /// The caches, in the order of the settings.
    pub caches: Vec<Arc<Keyspace>>,
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
    databases: [Option<usize>; DATABASES as usize],
}

/// Something that happened to a cache's policy.
#[derive(Clone, Debug)]
pub struct Event {
    /// The cache's name.
    pub cache: String,
    /// When, milliseconds since 1970.
    pub unix_ms: u64,
    /// What.
    pub event: PolicyEvent,
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
        source: ostler_core::BuildError,
    },
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
        let notifications = Arc::new(Notifications::new(Arc::clone(&channels)));
        let (events, _) = tokio::sync::broadcast::channel(256);
        let mut databases = [None; DATABASES as usize];
        let mut caches = Vec::new();
        for (index, cache) in settings.caches.iter().enumerate() {
            for &database in &cache.databases {
                databases[usize::from(database % DATABASES)] = Some(index);
            }
            let (name, teller) = (cache.name.clone(), events.clone());
            let tallied = Arc::clone(&tallies);
            let setup = KeyspaceSetup {
                name: cache.name.clone(),
                capacity_bytes: cache.capacity_bytes,
                shards: cache.shards,
                policy: policies.source(&cache.name, &cache.policy)?,
                faults_max: None,
                on_policy: Box::new(move |event| {
                    tallied.heard(&name, event);
                    let unix_ms = clock.now_unix_ms();
                    let event = Event { cache: name.clone(), unix_ms, event: event.clone() };
                    // Nobody may be listening.
                    let _ = teller.send(event);
                }),
            };
            let (tracked, notified) = (Arc::clone(&tracking), Arc::clone(&notifications));
            let made = Keyspace::try_new(setup, clock, tracked, notified);
            let made =
                made.map_err(|source| ServiceError::Cache { cache: cache.name.clone(), source })?;
            caches.push(Arc::new(made));
        }
        Ok(Arc::new(Self {
            clock,
            caches,
            policies,
            clients: Clients::new(settings.limits.clients_max, settings.limits.output_bytes_max),
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
            databases,
            settings,
        }))
    }

    /// The cache in which `database` lives, none where the settings give it none.
    #[must_use]
    pub fn keyspace(&self, database: u8) -> Option<&Arc<Keyspace>> {
        let index = (*self.databases.get(usize::from(database))?)?;
        self.caches.get(index)
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
