//! Gives the policies of an experiment their seats.

use std::sync::{Arc, Weak};

use ostler_adapt::experiment::live::Actuator;

use super::trial::TrialArm;
use crate::policies::ActivateError;
use crate::room;
use crate::service::Service;
use crate::tallies::SwapReason;

/// The seats of one cache, for one experiment. Whoever calls it has the cache's turn.
pub(super) struct Seats {
    service: Weak<Service>,
    cache: usize,
    arms: Arc<[TrialArm]>,
}

impl Seats {
    pub(super) fn new(service: &Arc<Service>, cache: usize, arms: Arc<[TrialArm]>) -> Self {
        Self { service: Arc::downgrade(service), cache, arms }
    }

    fn service(&self) -> Result<Arc<Service>, ActivateError> {
        self.service.upgrade().ok_or(ActivateError::Stopping)
    }
}

impl Actuator for Seats {
    type Error = ActivateError;

    fn deal(&mut self, arm: usize, shards: &[usize]) -> Result<(), ActivateError> {
        let service = self.service()?;
        let (keyspace, ledger) = (&service.caches[self.cache], &service.ledgers[self.cache]);
        ledger.settle(keyspace);
        let source = Arc::clone(&self.arms[arm].source);
        let dealt = keyspace.cache().set_policy_on(shards, source);
        ledger.settle(keyspace);
        dealt?;
        if service.room.keeper().is_server() {
            room::set_keeper(&service, service.room.policy_keeper());
        }
        Ok(())
    }

    fn unite(&mut self, arm: usize) -> Result<(), ActivateError> {
        let service = self.service()?;
        let TrialArm { charge, source, .. } = &self.arms[arm];
        let appointed =
            service.change_policy_within(self.cache, SwapReason::Experiment, |keyspace| {
                service.policies.appoint(keyspace, charge.clone(), Arc::clone(source))
            });
        appointed.map(|_| ())
    }

    fn withdraw(&mut self) -> Result<(), ActivateError> {
        let service = self.service()?;
        let (keyspace, ledger) = (&service.caches[self.cache], &service.ledgers[self.cache]);
        ledger.settle(keyspace);
        let back = keyspace.cache().rollback();
        ledger.settle(keyspace);
        Ok(back.map(|_| ())?)
    }
}
