//! Who decides whether a module is admitted: all steps, the conformance run included.
//!
//! A module is compiled twice for that, since what is metered by fuel is other code than what a live
//! cache runs. It must not know names, versions or where modules are kept.

use ostler::Host;
use ostler_wasm::{
    LoadError, Manifest, Outcome, PolicyModule, Runtime, RuntimeError, STEPS, Verdict,
};
use serde_json::Map;

use super::conformance;

/// Judges modules, one at a time.
pub(super) struct Judge {
    /// Compiles for the caches.
    live: Runtime,
    /// Compiles for the conformance run.
    metered: Runtime,
}

impl Judge {
    /// A judge that compiles for the caches of `host`.
    pub(super) fn try_new(host: &Host) -> Result<Self, RuntimeError> {
        Ok(Self { live: host.runtime().clone(), metered: conformance::runtime()? })
    }

    /// The verdict, and the module, compiled for caches, where it is admitted.
    ///
    /// Cost: compiling twice, at most a second each, and a [`conformance`] run.
    pub(super) fn judge(&self, module: &[u8]) -> (Verdict, Option<PolicyModule>) {
        let admission = self.live.admit(module);
        let (mut verdict, compiled) = (admission.verdict, admission.module.ok());
        if compiled.is_some() {
            self.run(module, &mut verdict);
        }
        let compiled = compiled.filter(|_| verdict.admitted());
        (verdict, compiled)
    }

    /// What a module says of itself, without a judgement.
    pub(super) fn manifest(&self, module: &[u8]) -> Result<Manifest, LoadError> {
        self.live.manifest(module)
    }

    fn run(&self, module: &[u8], verdict: &mut Verdict) {
        let metered = self.metered.load(module).map_err(|error| error.to_string());
        let ready = metered.and_then(|module| match module.manifest().params(&Map::new()) {
            Ok(params) => Ok((module, params)),
            Err(error) => Err(error.to_string()),
        });
        match ready {
            Ok((module, params)) => {
                let _ = conformance::run(&module, &params, verdict);
            }
            Err(reason) => verdict.push(STEPS[STEPS.len() - 1], Outcome::Failed, reason),
        }
    }
}
