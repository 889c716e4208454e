//! Entries that are fetched from a cache's origin before anybody asks for them: prefetching and warming.
//!
//! Each cache that has an origin has one thread for it. It hears of requests by a bounded queue, asks
//! its policies, and fetches; callers never wait for it, nor for the origin. Which of a policy's wishes
//! are granted is the business of `ostler-fetch`.

pub(crate) mod demand;
pub(crate) mod prefetching;
pub(crate) mod shown;
mod snapshots;
pub(crate) mod warming;
pub(crate) mod worker;

use std::sync::Arc;
use std::thread::JoinHandle;

use ostler_abi::Setup;
use ostler_core::SeatError;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use self::shown::Shown;
use self::worker::{Command, Worker};
use crate::policies::{ActivateError, Activation, Charge, Side, SideSeat, Sided};
use crate::service::Service;

/// What fetches ahead for the caches of a server.
#[derive(Default)]
pub struct Fetching {
    /// One for each cache, none where it has no origin.
    fetchers: Mutex<Vec<Option<Arc<Fetcher>>>>,
}

/// What fetches ahead for one cache.
pub(crate) struct Fetcher {
    commands: mpsc::UnboundedSender<Command>,
    shown: Arc<Shown>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// A policy ready for work.
pub(crate) struct Ready<P: Side> {
    pub(crate) policy: P,
    pub(crate) instance: Box<P::Instance>,
}

/// A change of who says what is fetched.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Seated {
    /// Who does now.
    pub(crate) charge: Charge,
    /// Why the next start will not know of it; none where it is kept.
    pub(crate) not_kept: Option<String>,
}

/// Why a seat was not changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SeatChangeError {
    /// The cache has none.
    #[error("the cache has no origin to fetch from; its settings name one under [cache.origin]")]
    NoOrigin,
    /// The policy is not to be had.
    #[error(transparent)]
    Activate(#[from] ActivateError),
}

/// Whom to put into a seat.
pub(crate) enum Wanted {
    /// This one.
    Policy(Activation),
    /// The one before.
    Previous,
}

impl Fetching {
    /// What fetches ahead for the cache with this number.
    pub(crate) fn of(&self, cache: usize) -> Option<Arc<Fetcher>> {
        self.fetchers.lock().get(cache).cloned().flatten()
    }

    /// Nothing is fetched any more; what is to be kept over a restart is kept when this returns.
    pub(crate) fn stop(&self) {
        let fetchers: Vec<_> = self.fetchers.lock().iter_mut().filter_map(Option::take).collect();
        for fetcher in &fetchers {
            // An error means that it has ended.
            let _ = fetcher.commands.send(Command::Stop);
        }
        for fetcher in fetchers {
            if let Some(Err(_)) = fetcher.thread.lock().take().map(JoinHandle::join) {
                tracing::error!("a thread that fetches ahead panicked");
            }
        }
    }
}

/// Starts what fetches ahead for all caches that have an origin. Where that cannot be done the cache
/// serves without: that is logged.
pub(crate) fn start(service: &Arc<Service>) {
    let started = (0..service.caches.len()).map(|cache| {
        service.settings.caches[cache].origin.as_ref()?;
        let name = service.caches[cache].name();
        match Fetcher::start(service, cache) {
            Ok(fetcher) => Some(Arc::new(fetcher)),
            Err(error) => {
                tracing::error!(cache = name, %error, "nothing is fetched ahead of requests");
                None
            }
        }
    });
    let started = started.collect();
    *service.fetching.fetchers.lock() = started;
}

impl Fetcher {
    fn start(service: &Arc<Service>, cache: usize) -> std::io::Result<Self> {
        let (commands, inbox) = mpsc::unbounded_channel();
        let shown = Arc::new(Shown::default());
        let worker = Worker::new(service, cache, Arc::clone(&shown));
        let thread = std::thread::Builder::new().name("ostler-fetch".to_owned());
        let (ready, is_ready) = std::sync::mpsc::channel();
        let thread = thread.spawn(move || worker::run(worker, inbox, ready))?;
        // From the first request on it hears. An error means that it has ended, and said why.
        let _ = is_ready.recv();
        Ok(Self { commands, shown, thread: Mutex::new(Some(thread)) })
    }

    /// How it stands.
    pub(crate) fn shown(&self) -> &Shown {
        &self.shown
    }

    /// Starts to warm the cache, from the beginning where that is under way.
    pub(crate) fn warm(&self) -> Result<(), ActivateError> {
        self.ask(Command::Warm)
    }

    /// Has a command done, and waits for that. On a thread that may block.
    fn ask(
        &self,
        command: impl FnOnce(oneshot::Sender<()>) -> Command,
    ) -> Result<(), ActivateError> {
        let (sender, receiver) = oneshot::channel();
        self.commands.send(command(sender)).map_err(|_| ActivateError::Stopping)?;
        receiver.blocking_recv().map_err(|_| ActivateError::Stopping)
    }
}

impl Service {
    /// Changes who says what is prefetched for a cache. Blocks.
    pub(crate) fn change_prefetch(
        &self,
        cache: usize,
        wanted: &Wanted,
    ) -> Result<Seated, SeatChangeError> {
        self.change(cache, wanted, Command::Prefetch)
    }

    /// Changes who says what a cache is warmed with. Blocks.
    pub(crate) fn change_warming(
        &self,
        cache: usize,
        wanted: &Wanted,
    ) -> Result<Seated, SeatChangeError> {
        self.change(cache, wanted, Command::Warming)
    }

    fn change<P: Side>(
        &self,
        cache: usize,
        wanted: &Wanted,
        command: impl FnOnce(Option<Box<Ready<P>>>, oneshot::Sender<()>) -> Command,
    ) -> Result<Seated, SeatChangeError> {
        let fetcher = self.fetching.of(cache).ok_or(SeatChangeError::NoOrigin)?;
        let seat = SideSeat { cache: self.caches[cache].name(), kind: P::KIND };
        let (charge, policy): Sided<P> = match wanted {
            Wanted::Policy(wanted) => self.policies.side_candidate(seat, wanted)?,
            Wanted::Previous => self.policies.side_previous(seat)?,
        };
        let ready = policy.map(|policy| self.ready(cache, policy)).transpose()?;
        let work = || fetcher.ask(|done| command(ready.map(Box::new), done));
        let not_kept = self.policies.seat_side(seat, &charge, work)?;
        Ok(Seated { charge, not_kept })
    }

    /// A policy, made ready to work for a cache.
    pub(crate) fn ready<P: Side>(
        &self,
        cache: usize,
        policy: P,
    ) -> Result<Ready<P>, ActivateError> {
        let capacity = self.caches[cache].capacity_bytes();
        match policy.instance(Setup { capacity, slots: 0, seed: cache as u64 }) {
            Ok(instance) => Ok(Ready { policy, instance }),
            Err(fault) => {
                let policy = policy.name().to_owned();
                Err(SeatError::Fault { policy, shard: 0, fault }.into())
            }
        }
    }
}
