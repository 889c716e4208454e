//! Models for the policies in charge that take them: what is heard of a share of a cache's keys teaches a
//! learner, and what it publishes goes to the cache.
//!
//! It owns which caches have a learner. What is learned, and which model is in force, is the business of
//! [`ostler_adapt::Learner`].

use std::sync::{Arc, Weak};

use ostler_abi::Record;
use ostler_adapt::live::{Consumer, ConsumerId, Moment, Reader, Requests};
use ostler_adapt::{Learner, LearnerConfig, LearnerReport, Sampled};
use ostler_core::SampleShare;
use parking_lot::Mutex;

use crate::policies::Charge;
use crate::service::Service;

/// The learners of a server's caches.
#[derive(Default)]
pub(crate) struct Lessons {
    caches: Mutex<Vec<Lesson>>,
}

/// What is taught of one cache.
#[derive(Default)]
struct Lesson {
    /// Who was in charge when this was last looked at.
    charge: Option<Charge>,
    /// The learner's ear, where the policy takes models.
    ear: Option<(ConsumerId, Arc<Shown>)>,
}

/// What a learner tells.
type Shown = Mutex<Option<LearnerReport>>;

impl Lessons {
    /// What the learner of the cache with this number did, none where it has none.
    pub(crate) fn report(&self, cache: usize) -> Option<LearnerReport> {
        let caches = self.caches.lock();
        let (_, shown) = caches.get(cache)?.ear.as_ref()?;
        shown.lock().clone()
    }

    /// Sees to it that the policies in charge that take models have a learner, and others none. To be
    /// called now and then, by nobody who hears of a cache's keys.
    pub(crate) fn follow(&self, service: &Arc<Service>) {
        let mut caches = self.caches.lock();
        caches.resize_with(service.caches.len(), Lesson::default);
        for (cache, lesson) in caches.iter_mut().enumerate() {
            lesson.follow(service, cache);
        }
    }

    /// Nobody learns any more.
    pub(crate) fn stop(&self, service: &Service) {
        for (cache, lesson) in self.caches.lock().iter_mut().enumerate() {
            if let Some((id, _)) = lesson.ear.take() {
                drop(service.experiments.live(cache).remove(id));
            }
        }
    }
}

impl Lesson {
    fn follow(&mut self, service: &Arc<Service>, cache: usize) {
        let name = service.caches[cache].name();
        let charge = service.policies.in_charge(name).map(|seat| seat.current);
        if charge == self.charge {
            return;
        }
        let live = service.experiments.live(cache);
        if let Some((id, _)) = self.ear.take() {
            drop(live.remove(id));
        }
        let source = charge.as_ref().and_then(|charge| service.policies.source_of(charge));
        if let Some(source) = source.filter(|source| source.takes_models()) {
            let shown = Arc::new(Shown::default());
            let teacher = Teacher {
                service: Arc::downgrade(service),
                cache,
                params: source.params().to_owned(),
                learner: None,
                share: SampleShare::NONE,
                reader: Reader::new(),
                shown: Arc::clone(&shown),
            };
            match live.add(Box::new(teacher)) {
                Ok(id) => self.ear = Some((id, shown)),
                Err(error) => tracing::error!(cache = name, %error, "no models are learned"),
            }
        }
        self.charge = charge;
    }
}

/// Hears of a cache's keys and teaches its learner.
struct Teacher {
    service: Weak<Service>,
    cache: usize,
    /// The parameters of the policy, which say what it is to save.
    params: String,
    learner: Option<Learner>,
    /// The share of the keys that the learner hears.
    share: SampleShare,
    reader: Reader,
    shown: Arc<Shown>,
}

/// Gets of the share, as a learner hears them.
struct Gets<'a>(&'a mut Learner);

impl Requests for Gets<'_> {
    fn request(&mut self, request: &Sampled, _live: bool) {
        self.0.observe(request.hash, request.weight);
    }

    fn get(&mut self, request: &Sampled) {
        self.0.observe(request.hash, request.weight);
    }

    fn put(&mut self, request: &Sampled) {
        self.0.observe(request.hash, request.weight);
    }

    fn remove(&mut self, _request: &Sampled) {}
}

impl Consumer for Teacher {
    fn take(&mut self, _shard: u32, records: &[Record]) {
        if let Some(learner) = &mut self.learner {
            self.reader.read(records, self.share, &mut Gets(learner));
        }
    }

    fn tick(&mut self, now: Moment) {
        let Some(service) = self.service.upgrade() else { return };
        let keyspace = &service.caches[self.cache];
        let of_share = |whole: u64| (whole as f64 * now.share.ratio()) as u64;
        let capacity = of_share(keyspace.capacity_bytes()).max(1);
        match &mut self.learner {
            None => {
                let entries = of_share(keyspace.stats().entries);
                let config = LearnerConfig::of(&self.params, capacity, entries);
                self.learner = Some(Learner::new(config));
            }
            // What was learned stays.
            Some(learner) if now.share != self.share => learner.set_capacity(capacity),
            Some(_) => {}
        }
        self.share = now.share;
        let Some(learner) = &mut self.learner else { return };
        if let Some(model) = learner.take() {
            let published = keyspace.cache().publish_model(&model.to_bytes());
            let name = keyspace.name();
            match published {
                Ok(published) if published.refused > 0 => {
                    let refusal = published.refusal.map(|it| it.to_string());
                    tracing::warn!(cache = name, version = model.version, refusal, "model refused");
                }
                Ok(_) => tracing::debug!(cache = name, version = model.version, "model published"),
                Err(error) => tracing::error!(cache = name, %error, "no model"),
            }
        }
        *self.shown.lock() = Some(learner.report());
    }
}
