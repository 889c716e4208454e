//! Caches whose policy changes by itself: what the settings say becomes shadows and a selector.
//!
//! It owns who is in a cache's portfolio. What is decided is the business of [`ostler_adapt`]; how the
//! policy is changed that of [`Service::change_policy`].

#[cfg(test)]
mod tests;

use std::sync::{Arc, Weak};

use ostler_adapt::Reason;
use ostler_adapt::live::{
    Actuator, Adaptive, AdaptiveConfig, Live, LiveCache, LiveConfig, Refusal,
};
use ostler_core::{InstanceSource, Resident, SampleShare, SeatError, Stats, Tap};

use crate::clock::ServerClock;
use crate::keyspace::Keyspace;
use crate::policies::{ActivateError, Charge, PolicyError};
use crate::service::Service;
use crate::settings::AdaptiveSettings;
use crate::tallies::SwapReason;

/// A cache of the server as shadows see it: its capacity is what the server keeps, also where the engine
/// is told to hold whatever comes.
struct Watched(Arc<Keyspace>);

impl LiveCache for Watched {
    fn set_tap(&self, tap: Option<Arc<dyn Tap>>) {
        self.0.cache().set_tap(tap);
    }

    fn clear_tap(&self, tap: &Arc<dyn Tap>) -> bool {
        self.0.cache().clear_tap(tap)
    }

    fn shards(&self) -> usize {
        self.0.cache().shards()
    }

    fn sample(&self, shard: usize, share: SampleShare) -> Vec<Resident> {
        self.0.cache().sample(shard, share)
    }

    fn stats(&self) -> Stats {
        self.0.cache().stats()
    }

    fn capacity(&self) -> u64 {
        self.0.capacity_bytes()
    }

    fn publish_model(&self, message: &[u8]) {
        LiveCache::publish_model(self.0.cache(), message);
    }
}

/// What is heard of the keys of a cache, by these settings. Starts nothing.
pub(crate) fn live(keyspace: &Arc<Keyspace>, settings: Option<&AdaptiveSettings>) -> Arc<Live> {
    let clock: ServerClock = *keyspace.clock();
    let mut config =
        LiveConfig { clock: Arc::new(move || clock.now_unix_ms()), ..LiveConfig::default() };
    if let Some(settings) = settings {
        (config.rate, config.cpu_max) = (settings.rate, settings.cpu_max);
    }
    Arc::new(Live::new(Arc::new(Watched(Arc::clone(keyspace))), config))
}

/// What of the settings of a cache whose policy is to change by itself could not be had.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shortfall {
    /// Policies of the portfolio that take no part, and why.
    pub(crate) missing: Vec<(String, String)>,
    /// Why the policy does not change at all.
    pub(crate) error: Option<String>,
}

/// Starts the selectors of all caches that have one. A cache whose portfolio cannot be used goes on with
/// the policy that it has: that is logged, and shown among the service's shortfalls.
pub(crate) fn start(service: &Arc<Service>) {
    for (cache, settings) in service.settings.caches.iter().enumerate() {
        let Some(settings) = &settings.adaptive else { continue };
        let name = service.caches[cache].name();
        let mut shortfall = Shortfall::default();
        match start_one(service, (cache, settings), &mut shortfall) {
            Ok(adaptive) => {
                let portfolio = settings.portfolio.join(", ");
                tracing::info!(cache = name, portfolio, "the policy changes by itself");
                service.adaptives.lock()[cache] = Some(Arc::new(adaptive));
            }
            Err(error) => {
                tracing::error!(cache = name, %error, "the policy does not change by itself");
                shortfall.error = Some(error.to_string());
            }
        }
        service.shortfalls.lock()[cache] = shortfall;
    }
}

fn start_one(
    service: &Arc<Service>,
    (cache, settings): (usize, &AdaptiveSettings),
    shortfall: &mut Shortfall,
) -> Result<Adaptive, ostler_adapt::live::AdaptiveError> {
    let name = service.caches[cache].name();
    let mut candidates = Vec::new();
    for policy in &settings.portfolio {
        match service.policies.of_settings(policy) {
            Ok(candidate) => candidates.push(candidate),
            Err(error) => {
                tracing::error!(cache = name, policy, %error, "the portfolio goes without it");
                shortfall.missing.push((policy.clone(), error.to_string()));
            }
        }
    }
    let sources = candidates.iter().map(|(_, source)| Arc::clone(source)).collect();
    let charges = candidates.iter().map(|(charge, _)| charge.clone()).collect();
    service.policies.hold(&format!("{name} (portfolio)"), charges);
    let hand = Hand { service: Arc::downgrade(service), cache, candidates };
    let config = AdaptiveConfig { objective: settings.objective, ..AdaptiveConfig::default() };
    let live = Arc::clone(service.experiments.live(cache));
    Adaptive::start_on(live, sources, Box::new(hand), &config)
}

/// Changes the policy of one cache as the selector wants it.
struct Hand {
    service: Weak<Service>,
    cache: usize,
    candidates: Vec<(Charge, Arc<dyn InstanceSource>)>,
}

impl Actuator for Hand {
    fn swap(&mut self, to: usize, reason: Reason) -> Result<(), Refusal> {
        let stopping = || Refusal { reason: "the server is stopping".to_owned(), is_final: false };
        let service = self.service.upgrade().ok_or_else(stopping)?;
        let Some((charge, source)) = self.candidates.get(to) else {
            return Err(Refusal { reason: format!("there is no candidate {to}"), is_final: true });
        };
        let changed = service.change_policy(self.cache, SwapReason::Selector, |keyspace| {
            service.policies.appoint(keyspace, charge.clone(), Arc::clone(source))
        });
        let name = service.caches[self.cache].name();
        match changed {
            Ok(_) => {
                let policy = source.label();
                tracing::info!(cache = name, policy, ?reason, "the selector changed the policy");
                Ok(())
            }
            Err(error) => {
                tracing::warn!(cache = name, %error, "the selector could not change the policy");
                Err(Refusal { is_final: is_final(&error), reason: error.to_string() })
            }
        }
    }

    fn in_charge(&mut self) -> Option<usize> {
        let service = self.service.upgrade()?;
        let keyspace = &service.caches[self.cache];
        let status = keyspace.cache().seat_status();
        let (policy, params) = (status.desired?, status.params?);
        let version = service.policies.in_charge(keyspace.name())?.current.version;
        self.candidates.iter().position(|(charge, source)| {
            source.label() == policy && source.params() == params && charge.version == version
        })
    }

    fn pause(&mut self) -> Option<String> {
        let service = self.service.upgrade()?;
        if let Some(experiment) = service.experiments.running(self.cache) {
            return Some(format!("experiment {} runs", experiment.id()));
        }
        let is_server = service.room.keeper().is_server();
        is_server.then(|| "no policy evicts: clients set another maxmemory-policy".to_owned())
    }
}

/// Whether the same change would be refused again.
fn is_final(error: &ActivateError) -> bool {
    match error {
        ActivateError::Policy(PolicyError::Store(_)) => false,
        ActivateError::Policy(_) => true,
        ActivateError::Seat(error) => !matches!(error, SeatError::Busy { .. }),
        _ => false,
    }
}
