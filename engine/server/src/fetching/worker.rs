//! The thread of a cache that fetches ahead of requests: hears, lets policies decide, fetches, stores.
//!
//! Everything here happens on one thread, in turns: what a fetch came to is told before the requests
//! that found its entry. It holds no lock while it waits for the origin, and the service only while it
//! works, so that a server can end.

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use ostler::{PrefetchPolicy, WarmingPolicy};
use ostler_core::{Ahead, Clock, PolicyEvent, PolicyFault};
use ostler_fetch::prefetch::{Accessed, Landing};
use tokio::runtime::Builder;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::Ready;
use super::demand::{Alarm, Note, Notes, What};
use super::prefetching::{Known, Order, Prefetching};
use super::shown::Shown;
use super::warming::{Landed, Warming};
use crate::keyspace::{HomeIndex, Key, Purpose, Value, weight_of};
use crate::origin::{FetchError, Origin};
use crate::policies::{OFF, Side, SideSeat};
use crate::service::{Event, Service};
use crate::settings::OriginSettings;

/// How often what is due is done without any occasion.
const TICK: Duration = Duration::from_millis(100);
/// Pause after requests were heard: those of a moment are heard together, and whoever asks pays for a
/// wake-up a thousand times a second at most.
const LINGER: Duration = Duration::from_millis(1);

/// What the thread is told.
pub(crate) enum Command {
    /// Another prefetch policy, or none.
    Prefetch(Option<Box<Ready<PrefetchPolicy>>>, oneshot::Sender<()>),
    /// Another warming policy, or none.
    Warming(Option<Box<Ready<WarmingPolicy>>>, oneshot::Sender<()>),
    /// Warm the cache, from the beginning.
    Warm(oneshot::Sender<()>),
    /// The server stops.
    Stop,
}

/// What the thread starts with.
pub(crate) struct Worker {
    service: Weak<Service>,
    cache: usize,
    settings: OriginSettings,
    shown: Arc<Shown>,
    appointed: Appointed,
}

/// Who works from the start, or why nobody does.
type FirstSeated<P> = (Option<Ready<P>>, Option<String>);

/// Who works from the start in each seat.
struct Appointed {
    prefetch: FirstSeated<PrefetchPolicy>,
    warming: FirstSeated<WarmingPolicy>,
}

/// What the fetches of a cache share with its thread.
struct State {
    prefetching: Prefetching,
    warming: Warming,
}

/// A worker at work.
struct Work {
    service: Weak<Service>,
    cache: usize,
    settings: OriginSettings,
    shown: Arc<Shown>,
    origin: Rc<Origin>,
    state: Rc<RefCell<State>>,
    fetches: JoinSet<()>,
}

/// Runs the worker of a cache until it is told to stop, or the server is gone. `ready` is told once it
/// hears of requests.
pub(crate) fn run(
    worker: Worker,
    inbox: mpsc::UnboundedReceiver<Command>,
    ready: std::sync::mpsc::Sender<()>,
) {
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "nothing is fetched ahead of requests");
            return;
        }
    };
    LocalSet::new().block_on(&runtime, worker.work(inbox, ready));
    // A name that is being looked up is not waited for.
    runtime.shutdown_background();
}

impl Worker {
    /// The worker of the cache with this number, with the policies that the settings name, or that were
    /// put to work before the restart.
    pub(crate) fn new(service: &Arc<Service>, cache: usize, shown: Arc<Shown>) -> Self {
        let settings = service.settings.caches[cache].origin.clone().unwrap_or_default();
        let appointed = Appointed::find(service, cache);
        Self { service: Arc::downgrade(service), cache, settings, shown, appointed }
    }

    async fn work(
        self,
        inbox: mpsc::UnboundedReceiver<Command>,
        ready: std::sync::mpsc::Sender<()>,
    ) {
        let Self { service, cache, settings, shown, appointed } = self;
        let origin = match Origin::try_new(&settings) {
            Ok(origin) => Rc::new(origin),
            Err(error) => {
                tracing::error!(error, "nothing is fetched ahead of requests");
                return;
            }
        };
        let Some(strong) = service.upgrade() else { return };
        let own = &strong.settings.caches[cache];
        let mut prefetching = Prefetching::new(own.prefetch.as_ref(), &settings);
        let mut warming = Warming::new(&strong, cache);
        prefetching.seat(appointed.prefetch.0, appointed.prefetch.1);
        warming.seat(appointed.warming.0, appointed.warming.1);
        let state = Rc::new(RefCell::new(State { prefetching, warming }));
        let fetches = JoinSet::new();
        let work = Work { service, cache, settings, shown, origin, state, fetches };
        work.follow(&strong);
        work.show(&strong);
        // Whoever waited may have gone.
        let _ = ready.send(());
        work.state.borrow_mut().warming.restore(&strong, work.home(&strong));
        drop(strong);
        work.turns(inbox).await;
    }
}

impl Appointed {
    fn find(service: &Service, cache: usize) -> Self {
        let settings = &service.settings.caches[cache];
        let prefetch = settings.prefetch.as_ref().map(|it| it.policy.as_str());
        let warming = settings.warming.as_ref().map(|it| it.policy.as_str());
        Self { prefetch: first(service, cache, prefetch), warming: first(service, cache, warming) }
    }
}

/// Who works from the start where the settings of the cache with this number name this policy. Why nobody
/// does is logged.
fn first<P: Side>(service: &Service, number: usize, configured: Option<&str>) -> FirstSeated<P> {
    let cache = service.caches[number].name();
    let seat = SideSeat { cache, kind: P::KIND };
    let found = service.policies.side_source(seat, configured.unwrap_or(OFF));
    let ready = found
        .and_then(|(_, policy)| policy.map(|policy| service.ready(number, policy)).transpose());
    match ready {
        Ok(ready) => (ready, None),
        Err(error) => {
            tracing::error!(cache, %error, "the policy cannot be used; nothing is fetched by it");
            (None, Some(error.to_string()))
        }
    }
}

impl Work {
    /// Turn after turn until the end.
    async fn turns(mut self, mut inbox: mpsc::UnboundedReceiver<Command>) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut notes = Notes::default();
        loop {
            let Some(service) = self.service.upgrade() else { return };
            let heard = self.turn(&service, &mut notes);
            let demand = service.caches[self.cache].demand().cloned();
            drop(service);
            let woken = async {
                match &demand {
                    Some(demand) if !heard => demand.woken().await,
                    _ => pending().await,
                }
            };
            tokio::select! {
                command = inbox.recv() => match command {
                    Some(Command::Stop) | None => break,
                    Some(command) => self.command(command),
                },
                _ = ticks.tick() => self.tick(),
                () = sleep(LINGER), if heard => {}
                () = woken => {}
                Some(_) = self.fetches.join_next() => {}
            }
        }
        if let Some(service) = self.service.upgrade() {
            let home = self.home(&service);
            self.hear(&service, home, &mut notes);
            self.state.borrow_mut().warming.end(&service, home);
        }
    }

    /// Hears what was asked for, and does what follows. True where there was anything to hear.
    fn turn(&mut self, service: &Arc<Service>, notes: &mut Notes) -> bool {
        let home = self.home(service);
        let heard = self.hear(service, home, notes);
        if let Some(home) = home {
            self.warm(service, home);
        }
        self.show(service);
        heard
    }

    /// Hears what was asked for, lets the prefetch policy decide whenever that is due, and fetches what
    /// it asks for.
    fn hear(&mut self, service: &Arc<Service>, home: Option<HomeIndex>, notes: &mut Notes) -> bool {
        let keyspace = &service.caches[self.cache];
        let Some(demand) = keyspace.demand() else { return false };
        let state = Rc::clone(&self.state);
        let mut state = state.borrow_mut();
        let alarm = if state.prefetching.is_on() { Alarm::Any } else { Alarm::Full };
        let heard = demand.take(notes, alarm);
        let Some(home) = home else { return heard };
        let known = self.known(service, home);
        let mut orders = Vec::new();
        let (now_ms, now_unix_ms) = (service.clock.now_ms(), service.clock.now_unix_ms());
        for note in notes.iter().filter(|note| note.home == home) {
            let hash = keyspace.hash(Key::new(home, note.name).as_bytes());
            state.hear(note, hash, now_ms, now_unix_ms);
            if let Err(faulted) = state.prefetching.advance(&known, now_ms, &mut orders) {
                let (policy, fault) = *faulted;
                self.faulted(service, &policy, fault);
                demand.switch(state.warming.is_on());
            }
        }
        drop(state);
        for order in orders {
            self.prefetch(service, home, order);
        }
        heard
    }

    /// The cache as policies' asks see it. Where clients forbid evictions nothing comes in that nobody
    /// has asked for.
    fn known<'a>(&self, service: &'a Service, home: HomeIndex) -> Known<'a> {
        let may_fetch = !service.room.keeper().is_server();
        Known { keyspace: &service.caches[self.cache], home, may_fetch }
    }

    /// Where the database lives that the origin knows; none where that is another cache now.
    fn home(&self, service: &Service) -> Option<HomeIndex> {
        let own = &service.settings.caches[self.cache].databases;
        let database = self.settings.database.or_else(|| own.first().copied())?;
        let is_here = service.databases.cache(database) == Some(self.cache);
        is_here.then(|| service.databases.home(database))
    }

    fn prefetch(&mut self, service: &Arc<Service>, home: HomeIndex, order: Order) {
        let key = Key::new(home, &order.fetch.key);
        let ticket = (order.fetch.hash, order.generation);
        let landed = self.fetch(service, key, Purpose::Prefetch, Rc::default());
        let (state, clock) = (Rc::clone(&self.state), service.clock);
        self.fetches.spawn_local(async move {
            let landing = landed.await;
            state.borrow_mut().prefetching.landed(ticket, landing, clock.now_ms());
        });
    }

    /// Starts what warming has to fetch now.
    fn warm(&mut self, service: &Arc<Service>, home: HomeIndex) {
        let known = self.known(service, home);
        let mut orders = Vec::new();
        let (now_ms, clock) = (service.clock.now_ms(), service.clock);
        let advanced = self.state.borrow_mut().warming.advance(&known, now_ms, &mut orders);
        for order in orders {
            let weight = Rc::new(Cell::new(0));
            let key = Key::new(home, &order.key);
            let landed = self.fetch(service, key, Purpose::Warming, Rc::clone(&weight));
            let state = Rc::clone(&self.state);
            self.fetches.spawn_local(async move {
                let landing = landed.await;
                let landed = Landed { landing, weight: weight.get(), now_ms: clock.now_ms() };
                state.borrow_mut().warming.landed(order, landed);
            });
        }
        if let Err(faulted) = advanced {
            let (policy, fault) = *faulted;
            self.faulted(service, &policy, fault);
            self.follow(service);
        }
    }

    /// Fetches the entry of `key` and stores it, where nobody was quicker. `weight` becomes what it weighs.
    fn fetch(
        &self,
        service: &Arc<Service>,
        key: Key,
        purpose: Purpose,
        weight: Rc<Cell<u64>>,
    ) -> impl Future<Output = Landing> + 'static {
        let (service, cache) = (Arc::clone(service), self.cache);
        let (origin, shown) = (Rc::clone(&self.origin), Arc::clone(&self.shown));
        let ttl = self.settings.ttl;
        async move {
            let keyspace = &service.caches[cache];
            let fetch = async {
                let begun = Instant::now();
                let fetched = origin.fetch(key.name()).await;
                shown.spent(begun.elapsed());
                let told = fetched.as_ref().map(|_| ());
                shown.fetched(purpose, told.map_err(|error| (error.name(), error.to_string())));
                let bytes = fetched?;
                if !keyspace.would_fit(&key, bytes.len()) {
                    return Err(FetchError::TooLarge(bytes.len().saturating_sub(1)));
                }
                weight.set(u64::from(weight_of(key.name().len(), bytes.len())));
                Ok(Value::new(&bytes))
            };
            match keyspace.bring_in(&key, (purpose, ttl), &service.lanes, fetch).await {
                Ok(Ahead::Stored) => Landing::Stored,
                Ok(Ahead::Unneeded) => Landing::Unneeded,
                Err(error) => match *error {
                    FetchError::Absent | FetchError::TooLarge(_) => Landing::Absent,
                    _ => Landing::Failed,
                },
            }
        }
    }

    fn command(&mut self, command: Command) {
        let Some(service) = self.service.upgrade() else { return };
        let done = match command {
            Command::Prefetch(seated, done) => {
                let mut state = self.state.borrow_mut();
                state.prefetching.seat(seated.map(|it| *it), None);
                done
            }
            Command::Warming(seated, done) => {
                self.state.borrow_mut().warming.seat(seated.map(|it| *it), None);
                done
            }
            Command::Warm(done) => {
                self.state.borrow_mut().warming.begin(&service);
                done
            }
            Command::Stop => return,
        };
        self.follow(&service);
        self.show(&service);
        // Who asked may have gone.
        let _ = done.send(());
    }

    fn tick(&mut self) {
        let Some(service) = self.service.upgrade() else { return };
        let name = service.caches[self.cache].name();
        let mut state = self.state.borrow_mut();
        let lines = state.prefetching.take_log().into_iter().chain(state.warming.take_log());
        for line in lines {
            tracing::info!(target: "ostler::policy", cache = name, line, "a policy says");
        }
        state.warming.tick(&service, self.home(&service));
    }

    fn show(&self, service: &Service) {
        let state = self.state.borrow();
        let mut shown = self.shown.prefetch.lock();
        state.prefetching.show(&mut shown);
        shown.dropped = service.caches[self.cache].demand().map_or(0, |demand| demand.dropped());
        drop(shown);
        state.warming.show(&mut self.shown.warming.lock());
    }

    /// Requests are heard of as long as anybody wants to know.
    fn follow(&self, service: &Service) {
        let state = self.state.borrow();
        if let Some(demand) = service.caches[self.cache].demand() {
            demand.switch(state.prefetching.is_on() || state.warming.is_on());
        }
    }

    /// A policy broke its contract: it is out, and stays out until somebody pardons it.
    fn faulted<P: Side>(&self, service: &Service, policy: &P, fault: PolicyFault) {
        let (kind, name) = (P::KIND, policy.name());
        let (cache, reason) = (service.caches[self.cache].name(), fault.to_string());
        tracing::error!(cache, policy = name, kind = kind.name(), reason, "the policy is out");
        let (name, code) = (name.to_owned(), policy.code_id());
        service.policies.quarantine_side(SideSeat { cache, kind }, &name, &code);
        let faulted = PolicyEvent::Faulted { policy: name.clone(), fault };
        service.tallies.heard(cache, &faulted);
        for event in [faulted, PolicyEvent::Quarantined { policy: name, code }] {
            let (cache, unix_ms) = (cache.to_owned(), service.clock.now_unix_ms());
            // Nobody may be listening.
            let _ = service.events.send(Event { cache, unix_ms, event: event.into() });
        }
    }
}

impl State {
    fn hear(&mut self, note: Note<'_>, hash: u64, now_ms: u64, now_unix_ms: u64) {
        match note.what {
            What::Hit | What::Miss => {
                let is_hit = note.what == What::Hit;
                let (key, class) = (Some(note.name), 0);
                self.prefetching.accessed(Accessed { hash, key, time_ms: now_ms, class, is_hit });
                self.warming.accessed(note, hash, now_unix_ms);
            }
            What::Left | What::Displaced => {
                let by = (note.what == What::Displaced).then_some(note.by);
                self.prefetching.left(hash, by, now_ms);
            }
            What::Removed => {
                self.prefetching.left(hash, None, now_ms);
                self.warming.removed(hash);
            }
        }
    }
}
