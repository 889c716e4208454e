//! What an experiment does on the thread that hears of a cache's keys: it takes records, and closes
//! windows.

use std::sync::{Arc, Weak};

use ostler_abi::Record;
use ostler_adapt::experiment::live::State;
use ostler_adapt::live::{Consumer, Moment};
use ostler_core::SampleShare;

use super::Trial;
use super::trial::Course;
use crate::service::Service;

/// Largest share of the keys that is sampled. Records come later than the requests are counted; with all
/// keys the sample of a window would often be ahead of its counts.
const SHARE_MAX: SampleShare = SampleShare::one_in(2);

/// One experiment's ear.
pub(super) struct Listener {
    service: Weak<Service>,
    trial: Arc<Trial>,
    has_begun: bool,
    has_acted: bool,
}

impl Listener {
    pub(super) fn new(service: &Arc<Service>, trial: &Arc<Trial>) -> Self {
        let (service, trial) = (Arc::downgrade(service), Arc::clone(trial));
        Self { service, trial, has_begun: false, has_acted: false }
    }

    /// Follows the share of the keys that is heard: shadows start with those of the residents that are in
    /// it. It is never raised, since each change starts all shadows anew.
    fn follow(&mut self, service: &Service, course: &mut Course, share: SampleShare) {
        let (cache, live) = (service.caches[self.trial.cache()].cache(), course.live());
        let share = share.min(SHARE_MAX);
        if self.has_begun && share >= live.share() {
            return;
        }
        let stats = cache.shard_stats();
        if self.has_begun {
            live.reduce(share, &stats);
        } else {
            live.begin(share, &stats);
        }
        self.has_begun = true;
        for (shard, place) in (0..).zip(0..cache.shards()) {
            live.introduce(shard, &cache.sample(place, share));
        }
    }

    /// The arm whose policy lost the cache's trust, and its name.
    fn quarantined(&self, service: &Service) -> Option<String> {
        let quarantines = service.policies.quarantines(service.caches[self.trial.cache()].name());
        if quarantines.is_empty() {
            return None;
        }
        let is_out = |code: &str| quarantines.iter().any(|quarantine| quarantine.code == code);
        let arms = self.trial.arms().iter().enumerate();
        let (arm, out) = arms.into_iter().find(|(_, arm)| is_out(&arm.source.code_id()))?;
        let policy = &out.charge.policy;
        Some(format!("policy `{policy}` of arm {arm} was quarantined after too many faults"))
    }
}

impl Consumer for Listener {
    fn take(&mut self, shard: u32, records: &[Record]) {
        self.trial.course().live().take(shard, records);
    }

    fn tick(&mut self, now: Moment) {
        let Some(service) = self.service.upgrade() else { return };
        let trial = Arc::clone(&self.trial);
        let mut course = trial.course();
        if course.state() != &State::Running {
            return;
        }
        self.follow(&service, &mut course, now.share);
        let fault = self.quarantined(&service);
        if fault.is_none() && !course.is_due(now.unix_ms) {
            return;
        }
        // Whoever has the turn may be at it for long; the next tick is as good.
        let Some(_turn) = service.experiments.caches[trial.cache()].turn.try_lock() else { return };
        match fault {
            Some(reason) => course.abort(reason),
            None => {
                let stats = service.caches[trial.cache()].cache().shard_stats();
                course.close(now.unix_ms, &stats);
            }
        }
        self.has_acted |= course.state() != &State::Running;
        service.show_experiment(&trial, &mut course);
    }

    fn take_acted(&mut self) -> bool {
        std::mem::take(&mut self.has_acted)
    }

    /// Nobody would close its windows any more: the control gets all shards back.
    fn ended(&mut self) {
        let Some(service) = self.service.upgrade() else { return };
        let _turn = service.experiments.caches[self.trial.cache()].turn.lock();
        let reason = "what it hears made it panic".to_owned();
        service.end_experiment(&self.trial, |course| course.abort(reason));
    }
}
