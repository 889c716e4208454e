//! Live experiments: several policies side by side on the shards of one cache.
//!
//! It owns which experiments there are, at most one of a cache at a time, and that nobody else changes
//! the cache's policy meanwhile. What they show is computed by [`ostler_adapt::experiment`]. It must not
//! know HTTP. An experiment lives as long as the server: a restart puts back in charge what was there
//! before.
//!
//! Locks, in this order: a cache's `turn`, a trial's `course`, the board, what a trial shows. Consumers of
//! a cache's records run on one thread and may wait for a turn; so nobody waits for them who has one.

mod errors;
mod listener;
pub(crate) mod plan;
mod seats;
#[cfg(test)]
mod tests;
mod trial;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use ostler_adapt::experiment::live::State;
use ostler_adapt::live::Live;
use ostler_core::PolicyEvent;
use parking_lot::{Mutex, MutexGuard};

pub use errors::ExperimentError;
pub use plan::{ArmPlan, ExperimentPlan, WINDOW_MS_MAX, WINDOW_MS_MIN};
pub use trial::{Shown, Trial, TrialArm};

use crate::adaptive;
use crate::keyspace::Keyspace;
use crate::service::{Event, News, Service};
use crate::settings::CacheSettings;
use listener::Listener;

/// Experiments of a cache that are remembered after their end.
const PAST_MAX: usize = 16;

/// The experiments of all caches.
pub struct Experiments {
    caches: Vec<Bench>,
}

/// The experiments of one cache.
struct Bench {
    /// Held while the cache's policy changes, and while an experiment begins or ends.
    turn: Mutex<()>,
    board: Mutex<Board>,
    live: Arc<Live>,
}

#[derive(Default)]
struct Board {
    /// Newest first. Only the first one may be running.
    trials: VecDeque<Arc<Trial>>,
    /// Ended ones, by how.
    ended: BTreeMap<&'static str, u64>,
    id_last: u64,
}

impl Experiments {
    /// None yet, of these caches.
    #[must_use]
    pub fn new(caches: &[Arc<Keyspace>], settings: &[CacheSettings]) -> Self {
        let bench = |(keyspace, cache): (&Arc<Keyspace>, Option<&CacheSettings>)| Bench {
            turn: Mutex::default(),
            board: Mutex::default(),
            live: adaptive::live(keyspace, cache.and_then(|cache| cache.adaptive.as_ref())),
        };
        let settings = settings.iter().map(Some).chain(std::iter::repeat(None));
        Self { caches: caches.iter().zip(settings).map(bench).collect() }
    }

    /// What is heard of the keys of a cache; one for everybody who wants to hear, since a cache has one
    /// tap.
    #[must_use]
    pub fn live(&self, cache: usize) -> &Arc<Live> {
        &self.caches[cache].live
    }

    /// The right to change the policy of a cache.
    ///
    /// # Errors
    ///
    /// The id of the experiment that runs there.
    pub(crate) fn turn(&self, cache: usize) -> Result<MutexGuard<'_, ()>, u64> {
        let turn = self.caches[cache].turn.lock();
        self.running(cache).map_or(Ok(turn), |trial| Err(trial.id()))
    }

    /// The experiment that runs in a cache.
    #[must_use]
    pub fn running(&self, cache: usize) -> Option<Arc<Trial>> {
        let board = self.caches[cache].board.lock();
        board.trials.front().filter(|trial| trial.shown().state == State::Running).cloned()
    }

    /// The experiments of a cache that are remembered, newest first.
    #[must_use]
    pub fn list(&self, cache: usize) -> Vec<Arc<Trial>> {
        self.caches[cache].board.lock().trials.iter().cloned().collect()
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, cache: usize, id: u64) -> Option<Arc<Trial>> {
        let board = self.caches[cache].board.lock();
        board.trials.iter().find(|trial| trial.id() == id).cloned()
    }

    /// How many of a cache's experiments ended how.
    #[must_use]
    pub fn ended(&self, cache: usize) -> Vec<(&'static str, u64)> {
        self.caches[cache]
            .board
            .lock()
            .ended
            .iter()
            .map(|(state, &count)| (*state, count))
            .collect()
    }

    /// Lets those hear nothing more that are over. Waits for the thread on which they hear; to be called
    /// now and then, and without a turn.
    pub(crate) fn settle(&self) {
        for bench in &self.caches {
            let trials: Vec<_> = bench.board.lock().trials.iter().cloned().collect();
            for trial in trials.iter().filter(|trial| trial.shown().state != State::Running) {
                if let Some(consumer) = trial.take_consumer() {
                    bench.live.remove(consumer);
                }
            }
        }
    }
}

impl Experiments {
    /// Lets nobody hear anything more: the server stops, and nothing is decided from now on.
    pub(crate) fn silence(&self) {
        for bench in &self.caches {
            let trials: Vec<_> = bench.board.lock().trials.iter().cloned().collect();
            for consumer in trials.iter().filter_map(|trial| trial.take_consumer()) {
                bench.live.remove(consumer);
            }
        }
    }
}

impl Board {
    /// An id that no other experiment of this cache has, over restarts too.
    fn next_id(&mut self, now_unix_ms: u64) -> u64 {
        self.id_last = now_unix_ms.max(self.id_last + 1);
        self.id_last
    }
}

impl Service {
    /// Deals the shards of a cache and lets the experiment run. Blocks until all seats are dealt.
    ///
    /// # Errors
    ///
    /// [`ExperimentError`]; the cache has the policy then that it had.
    pub fn start_experiment(
        self: &Arc<Self>,
        cache: usize,
        plan: &ExperimentPlan,
    ) -> Result<Arc<Trial>, ExperimentError> {
        let bench = &self.experiments.caches[cache];
        let trial = {
            let _turn =
                self.experiments.turn(cache).map_err(|id| ExperimentError::Running { id })?;
            let id = bench.board.lock().next_id(self.clock.now_unix_ms());
            let trial = Arc::new(Trial::start(self, (cache, id), plan)?);
            let mut board = bench.board.lock();
            board.trials.push_front(Arc::clone(&trial));
            board.trials.truncate(PAST_MAX + 1);
            trial
        };
        self.tell_experiment(&trial);
        match bench.live.add(Box::new(Listener::new(self, &trial))) {
            Ok(consumer) => trial.keep_consumer(consumer),
            Err(error) => {
                let _turn = bench.turn.lock();
                self.end_experiment(&trial, |course| course.abort(error.to_string()));
                return Err(ExperimentError::Thread(error));
            }
        }
        Ok(trial)
    }

    /// Puts the policy of an arm in charge of the whole cache, and ends the experiment. Blocks until all
    /// entries are handed over.
    ///
    /// # Errors
    ///
    /// [`ExperimentError`]; the experiment goes on where it ran.
    pub fn promote_experiment(
        &self,
        (cache, id): (usize, u64),
        arm: usize,
    ) -> Result<Arc<Trial>, ExperimentError> {
        self.conclude((cache, id), |course| course.promote(arm))
    }

    /// Puts the control in charge of the whole cache, and ends the experiment.
    ///
    /// # Errors
    ///
    /// [`ExperimentError`] where it is not there or over.
    pub fn stop_experiment(
        &self,
        (cache, id): (usize, u64),
    ) -> Result<Arc<Trial>, ExperimentError> {
        self.conclude((cache, id), |course| course.stop())
    }

    fn conclude(
        &self,
        (cache, id): (usize, u64),
        end: impl FnOnce(&mut trial::Course) -> Result<(), trial::CourseError>,
    ) -> Result<Arc<Trial>, ExperimentError> {
        let trial = self.experiments.get(cache, id).ok_or(ExperimentError::Unknown { id })?;
        let ended = {
            let _turn = self.experiments.caches[cache].turn.lock();
            self.end_experiment(&trial, end)
        };
        self.experiments.settle();
        ended.map_err(|error| ExperimentError::of_course(id, error))?;
        Ok(trial)
    }

    /// Does what may end an experiment, and tells where it did. The caller has the turn.
    fn end_experiment<T>(&self, trial: &Trial, end: impl FnOnce(&mut trial::Course) -> T) -> T {
        let mut course = trial.course();
        let done = end(&mut course);
        self.show_experiment(trial, &mut course);
        done
    }

    /// Shows how an experiment stands, and tells its end once.
    fn show_experiment(&self, trial: &Trial, course: &mut trial::Course) {
        if trial.show(course, self.clock.now_unix_ms()) {
            let state = trial.shown().state_name();
            let board = &self.experiments.caches[trial.cache()].board;
            *board.lock().ended.entry(state).or_default() += 1;
            self.policies.release(self.caches[trial.cache()].name());
            self.tell_experiment(trial);
        }
    }

    fn tell_experiment(&self, trial: &Trial) {
        let shown = trial.shown();
        tracing::info!(
            target: "ostler::experiment",
            cache = self.caches[trial.cache()].name(),
            experiment = trial.id(),
            state = shown.state_name(),
            reason = shown.reason().unwrap_or_default(),
            "experiment"
        );
        let event = Event {
            cache: self.caches[trial.cache()].name().to_owned(),
            unix_ms: self.clock.now_unix_ms(),
            event: News::Experiment { id: trial.id(), shown: Box::new(shown) },
        };
        // Nobody may be listening.
        let _ = self.events.send(event);
    }
}

impl From<PolicyEvent> for News {
    fn from(event: PolicyEvent) -> Self {
        Self::Policy(event)
    }
}
