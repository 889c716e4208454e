//! The trait that the author of a prefetch policy implements, and its driver.

use ostler_abi::{Access, Asks, Predict, Setup};

use crate::Params;

/// A prefetch policy: it hears what is asked of the cache and asks for keys before they are.
///
/// One instance serves a whole cache, off the path of the requests. It hears every request, in
/// order, and what became of its asks ([`AccessKind`](crate::AccessKind)):
///
/// - `Hit`, `Miss`, `Useful` (the first hit of an entry that it asked for) and `Late` (a request
///   while its fetch was under way) are requests.
/// - `Landed` tells how many accesses a fetch took: how far ahead asking has to be.
/// - `Wasted` and `Refused` tell of asks that came to nothing.
///
/// Records may be lost where the cache is busier than the policy. Memory must be bounded, and all
/// of it counted in `base_bytes`.
///
/// A prefetch policy must be deterministic, and its asks must not depend on how the accesses are
/// grouped into calls. A panic is a fault: the host drops the policy and prefetches nothing.
pub trait Prefetch: Sized {
    /// The parameters, declared in [`export_prefetch!`](crate::export_prefetch).
    type Params: Params;

    /// A policy that has heard nothing. `setup.capacity` is the cache's, `setup.slots` is 0.
    fn new(setup: &Setup, params: &Self::Params) -> Self;

    /// One record. `key` is the key's bytes: only where the manifest requires `keys`, and never for
    /// a key longer than [`KEY_BYTES_MAX`](crate::KEY_BYTES_MAX).
    ///
    /// [`Asks::ask_hash`] asks for a key that went by lately, [`Asks::ask_key`] for one that the
    /// policy writes itself.
    fn access(&mut self, access: &Access, key: Option<&[u8]>, asks: &mut Asks<'_>);
}

/// Runs a [`Prefetch`] behind the contract.
#[derive(Debug)]
pub struct PrefetchDriver<P> {
    policy: P,
}

impl<P: Prefetch> PrefetchDriver<P> {
    /// A driver with a policy that has heard nothing.
    #[must_use]
    pub fn new(setup: &Setup, params: &P::Params) -> Self {
        Self { policy: P::new(setup, params) }
    }

    /// The policy. For tests and tools.
    #[must_use]
    pub fn policy(&self) -> &P {
        &self.policy
    }
}

impl<P: Prefetch> Predict for PrefetchDriver<P> {
    /// Kinds of later versions are left out, so that a policy matches on all there are.
    fn predict(&mut self, accesses: &[Access], keys: &[u8], asks: &mut Asks<'_>) {
        for access in accesses.iter().filter(|access| access.kind().is_some()) {
            self.policy.access(access, access.key(keys), asks);
        }
    }
}
