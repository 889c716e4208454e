//! Policies that are tried on some shards of a cache: found, held while they are, and put in charge of
//! the whole cache in the end.

use std::sync::Arc;

use ostler_core::InstanceSource;
use ostler_wasm::ModuleId;
use serde_json::{Map, Value};

use super::{ActivateError, Activated, Asker, Charge, Policies, PolicyError};
use crate::keyspace::Keyspace;

impl Policies {
    /// As [`find`](Self::find), with what it is known by: an uploaded policy's version is settled.
    ///
    /// # Errors
    ///
    /// [`PolicyError`] where it is unknown or its parameters are refused.
    pub fn candidate(
        &self,
        name: &str,
        version: Option<ModuleId>,
        params: &Map<String, Value>,
    ) -> Result<(Charge, Arc<dyn InstanceSource>), PolicyError> {
        let charge = self.shared.pin(name, version, params);
        let source = self.shared.resolve(&charge, Asker::Caller)?;
        Ok((charge, source))
    }

    /// What makes instances of a policy that is in charge somewhere; none where it cannot be had any more.
    pub(crate) fn source_of(&self, charge: &Charge) -> Option<Arc<dyn InstanceSource>> {
        self.shared.resolve(charge, Asker::Operator).ok()
    }

    /// Puts a policy that was [found](Self::candidate) in charge of a cache, and remembers it where it is
    /// another one than before. Blocks until all entries are handed over.
    ///
    /// # Errors
    ///
    /// [`ActivateError`]; the cache has the policies then that it had.
    pub fn appoint(
        &self,
        cache: &Keyspace,
        charge: Charge,
        source: Arc<dyn InstanceSource>,
    ) -> Result<Activated, ActivateError> {
        let _changing = self.shared.changing.lock();
        let is_same = self.in_charge(cache.name()).is_some_and(|seat| seat.current == charge);
        if is_same {
            let handover = cache.cache().set_policy(source)?;
            return Ok(Activated { charge, handover, not_kept: None });
        }
        self.shared.change(cache, charge, source)
    }

    /// Nobody deletes these from now on: they are tried in a cache.
    pub(crate) fn hold(&self, cache: &str, charges: Vec<Charge>) {
        let _changing = self.shared.changing.lock();
        self.shared.tried.lock().insert(cache.to_owned(), charges);
    }

    /// They are tried there no more.
    pub(crate) fn release(&self, cache: &str) {
        self.shared.tried.lock().remove(cache);
    }
}

impl super::Shared {
    /// The caches in which a version of `name` is tried: this one, or any.
    pub(super) fn tried_in(&self, name: &str, version: Option<ModuleId>) -> Vec<String> {
        let is_it = |charge: &Charge| {
            charge.policy == name && (version.is_none() || charge.version == version)
        };
        let tried = self.tried.lock();
        let caches = tried.iter().filter(|(_, charges)| charges.iter().any(is_it));
        caches.map(|(cache, _)| cache.clone()).collect()
    }
}
