//! Policies beside the one that evicts: what to prefetch, and what to warm a cache with.
//!
//! A cache has a seat for each. It is kept, rolled back and quarantined as the seat of the eviction
//! policy is, under a name of its own; but nobody stands in for who cannot be used: nothing is fetched
//! then. Who works is the business of `fetching`.

use ostler::{OpenError, PolicySource, PolicySpec, PrefetchPolicy, WarmingPolicy};
use ostler_abi::{PolicyKind, Setup};
use ostler_core::{PolicyFault, PrefetchInstance, SeatError, WarmingInstance};
use ostler_wasm::PolicyModule;
use serde_json::{Map, Value};

use super::registry::Seat;
use super::{
    ActivateError, Activation, Asker, Charge, Policies, PolicyError, Quarantine, Shared,
    now_unix_ms,
};

/// What stands for nobody.
pub(crate) const OFF: &str = "off";

/// The seat of a cache for a kind of policies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SideSeat<'a> {
    /// The cache.
    pub(crate) cache: &'a str,
    /// The kind.
    pub(crate) kind: PolicyKind,
}

impl SideSeat<'_> {
    /// As the registry calls it. No cache has a slash in its name.
    pub(super) fn name(self) -> String {
        format!("{}/{}", self.cache, self.kind.name())
    }
}

/// The cache and the kind of a seat, as the registry calls it.
pub(super) fn seat_of(name: &str) -> (&str, &str) {
    name.split_once('/').unwrap_or((name, PolicyKind::Eviction.name()))
}

/// A policy that can work in a seat beside the evicting one.
pub(crate) trait Side: Sized {
    /// Its kind.
    const KIND: PolicyKind;
    /// It at work.
    type Instance: ?Sized;

    /// One of a module.
    fn from_module(
        module: PolicyModule,
        params: &Map<String, Value>,
        name: String,
    ) -> Result<Self, OpenError>;

    /// One that is built in, or in a file.
    fn open(host: &ostler::Host, spec: &PolicySpec) -> Result<Self, OpenError>;

    /// Its name as it was asked for.
    fn name(&self) -> &str;

    /// What tells its code from other code.
    fn code_id(&self) -> String;

    /// A fresh instance.
    fn instance(&self, setup: Setup) -> Result<Box<Self::Instance>, PolicyFault>;
}

/// What a policy of the library already does under the same names.
macro_rules! side {
    ($policy:ty, $kind:ident, $instance:ty, $open:ident) => {
        impl Side for $policy {
            const KIND: PolicyKind = PolicyKind::$kind;
            type Instance = $instance;

            fn from_module(
                module: PolicyModule,
                params: &Map<String, Value>,
                name: String,
            ) -> Result<Self, OpenError> {
                Self::from_module(module, params, name)
            }

            fn open(host: &ostler::Host, spec: &PolicySpec) -> Result<Self, OpenError> {
                host.$open(spec)
            }

            fn name(&self) -> &str {
                self.name()
            }

            fn code_id(&self) -> String {
                self.code_id()
            }

            fn instance(&self, setup: Setup) -> Result<Box<Self::Instance>, PolicyFault> {
                self.instance(setup)
            }
        }
    };
}

side!(PrefetchPolicy, Prefetch, dyn PrefetchInstance, open_prefetch);
side!(WarmingPolicy, Warming, dyn WarmingInstance, open_warming);

/// Who is to work in a seat: none for nobody.
pub(crate) type Sided<T> = (Charge, Option<T>);

/// Names of the policies of a kind that come with the server.
pub(crate) fn names(kind: PolicyKind) -> Vec<&'static str> {
    match kind {
        PolicyKind::Eviction => ostler::BUILTINS.iter().map(|builtin| builtin.name).collect(),
        PolicyKind::Prefetch => ostler::PREFETCHERS.iter().map(|builtin| builtin.name).collect(),
        PolicyKind::Warming => ostler::WARMERS.iter().map(|builtin| builtin.name).collect(),
        _ => Vec::new(),
    }
}

/// The kind of the policy that comes with the server under this name.
pub(super) fn kind_of(name: &str) -> Option<PolicyKind> {
    let name = name.strip_prefix("native:").unwrap_or(name);
    PolicyKind::ALL.into_iter().find(|kind| names(*kind).contains(&name))
}

impl Policies {
    /// Who is to work in `seat` at the start: whoever was put there last, unless the settings have named
    /// another since, else `configured`.
    ///
    /// # Errors
    ///
    /// Why it cannot be used; it is in the seat all the same, and the next start tries again.
    pub(crate) fn side_source<T: Side>(
        &self,
        seat: SideSeat<'_>,
        configured: &str,
    ) -> Result<Sided<T>, ActivateError> {
        let shared = &self.shared;
        let _changing = shared.changing.lock();
        let name = seat.name();
        let kept = shared.registry().seats.get(&name).cloned();
        let kept = kept.filter(|seat| seat.configured == configured);
        let spec: PolicySpec =
            configured.parse().map_err(OpenError::from).map_err(PolicyError::from)?;
        let kept = kept.unwrap_or_else(|| Seat {
            configured: configured.to_owned(),
            current: shared.pin(&spec.source.to_string(), None, &spec.params),
            previous: None,
            stand_in: None,
        });
        let charge = kept.current.clone();
        {
            // Under the store's lock, as every change: an upload must not overwrite it.
            let _store = shared.store.lock();
            let mut registry = super::Registry::clone(&shared.registry());
            registry.seats.insert(name.clone(), kept);
            registry.caches.insert(name);
            *shared.state.write() = std::sync::Arc::new(registry);
        }
        let policy = shared.side(&charge, Asker::Operator)?;
        shared.trust(seat, &charge, policy.as_ref())?;
        Ok((charge, policy))
    }

    /// The policy that somebody wants in `seat`.
    ///
    /// # Errors
    ///
    /// [`ActivateError`] where it is unknown, of another kind, not trusted, or its parameters are
    /// refused.
    pub(crate) fn side_candidate<T: Side>(
        &self,
        seat: SideSeat<'_>,
        wanted: &Activation,
    ) -> Result<Sided<T>, ActivateError> {
        let shared = &self.shared;
        let charge = shared.pin(&wanted.policy, wanted.version, &wanted.params);
        let policy: Option<T> = shared.side(&charge, Asker::Caller)?;
        if wanted.pardon
            && let Some(policy) = &policy
            && shared.quarantines.pardon(&seat.name(), &policy.code_id())
        {
            shared.keep();
        }
        shared.trust(seat, &charge, policy.as_ref())?;
        Ok((charge, policy))
    }

    /// The policy that worked in `seat` before.
    ///
    /// # Errors
    ///
    /// As [`side_candidate`](Self::side_candidate), or where there was none.
    pub(crate) fn side_previous<T: Side>(
        &self,
        seat: SideSeat<'_>,
    ) -> Result<Sided<T>, ActivateError> {
        let previous = self.in_charge(&seat.name()).and_then(|seat| seat.previous);
        let charge = previous.ok_or(SeatError::NoPrevious)?;
        let policy = self.shared.side(&charge, Asker::Operator)?;
        self.shared.trust(seat, &charge, policy.as_ref())?;
        Ok((charge, policy))
    }

    /// Puts a policy that was found into `seat`, by `work`, and remembers it. None, or why the next start
    /// will not know of it.
    ///
    /// # Errors
    ///
    /// Those of `work`; nothing has changed then.
    pub(crate) fn seat_side(
        &self,
        seat: SideSeat<'_>,
        charge: &Charge,
        work: impl FnOnce() -> Result<(), ActivateError>,
    ) -> Result<Option<String>, ActivateError> {
        let _changing = self.shared.changing.lock();
        work()?;
        let not_kept = self.shared.put_in_charge(&seat.name(), charge).err();
        if let Some(error) = &not_kept {
            tracing::error!(cache = seat.cache, %error, "the next start will not know the policy");
        }
        Ok(not_kept.map(|error| error.to_string()))
    }

    /// Who was put into `seat` last, and whom a rollback puts there.
    pub(crate) fn side_in_charge(&self, seat: SideSeat<'_>) -> Option<(Charge, Option<Charge>)> {
        self.in_charge(&seat.name()).map(|seat| (seat.current, seat.previous))
    }

    /// Code that is not trusted in `seat` any more.
    pub(crate) fn side_quarantines(&self, seat: SideSeat<'_>) -> Vec<Quarantine> {
        self.quarantines(&seat.name())
    }

    /// From now on `code` is not trusted in `seat`, until somebody pardons it.
    pub(crate) fn quarantine_side(&self, seat: SideSeat<'_>, policy: &str, code: &str) {
        let (policy, code) = (policy.to_owned(), code.to_owned());
        let quarantine = Quarantine { policy, code, since_unix_ms: now_unix_ms() };
        self.shared.quarantines.add(&seat.name(), quarantine);
        Shared::keep_soon(&self.shared);
    }
}

impl Shared {
    fn side<T: Side>(&self, charge: &Charge, asker: Asker) -> Result<Option<T>, PolicyError> {
        if charge.policy == OFF {
            return Ok(None);
        }
        let name = charge.policy.clone();
        let located = self.locate(charge, T::KIND, asker)?;
        let policy = match located {
            Located::Module(module) => T::from_module(*module, &charge.params, name)?,
            Located::Source(source) => {
                let spec = PolicySpec { source, params: charge.params.clone() };
                T::open(&self.host, &spec)?
            }
        };
        Ok(Some(policy))
    }

    fn trust<T: Side>(
        &self,
        seat: SideSeat<'_>,
        charge: &Charge,
        policy: Option<&T>,
    ) -> Result<(), ActivateError> {
        let Some(policy) = policy else { return Ok(()) };
        let code = policy.code_id();
        let quarantines = self.quarantines.of(&seat.name());
        if quarantines.iter().any(|quarantine| quarantine.code == code) {
            return Err(SeatError::Quarantined { policy: charge.policy.clone() }.into());
        }
        Ok(())
    }

    /// Where the policy of a charge is, which is to be of this kind. A module's kind is not looked at.
    pub(super) fn locate(
        &self,
        charge: &Charge,
        wanted: PolicyKind,
        asker: Asker,
    ) -> Result<Located, PolicyError> {
        let name = charge.policy.clone();
        let registry = self.registry();
        if let Some(version) = registry.version(&name, charge.version) {
            return Ok(Located::Module(Box::new(self.module(&name, version.id)?)));
        }
        let builtin = self.builtins.iter().find(|builtin| builtin.name == name);
        let builtin_id = builtin.and_then(|it| it.versions.first()).map(|version| version.id);
        if let Some(version) = charge.version
            && builtin_id != Some(version)
        {
            return Err(PolicyError::Unknown { name, version: Some(version) });
        }
        let source = match (name.strip_prefix("native:"), kind_of(&name)) {
            (_, Some(kind)) if kind != wanted => {
                return Err(OpenError::Kind { name, kind, wanted }.into());
            }
            (Some(native), Some(_)) => PolicySource::Native(native.into()),
            (None, Some(_)) => PolicySource::Builtin(name),
            (None, None) if asker == Asker::Operator && name.ends_with(".wasm") => {
                PolicySource::File(name.into())
            }
            _ => return Err(PolicyError::Unknown { name, version: None }),
        };
        Ok(Located::Source(source))
    }
}

/// Where a policy is.
pub(super) enum Located {
    /// It was uploaded.
    Module(Box<PolicyModule>),
    /// It is built in, or in a file.
    Source(PolicySource),
}
