//! A loaded policy, native or sandboxed.

use std::path::PathBuf;

use ostler_abi::{InitRefused, Kind, NativePolicy, PolicyKind, Setup};
use ostler_core::{InstanceSource, NativeInstance, PolicyFault, PolicyInstance, Wants};
use ostler_manifest::{ManifestError, ParamsError};
#[cfg(feature = "wasm")]
use ostler_wasm::{LoadError, PolicyModule, RuntimeError};
use serde_json::{Map, Value};
use thiserror::Error;

use crate::builtin::{BUILTINS, Builtin};
use crate::loaded::{Loaded, Native, answers, known};
use crate::spec::SpecError;

/// A policy that can take a seat: its code, its manifest and its parameters.
///
/// [`policy`](crate::policy) makes one that is ready for a cache.
///
/// ```
/// use ostler::Policy;
///
/// let sieve = ostler::builtin("sieve").expect("it is built in").native;
/// let policy = Policy::from_native(sieve, &serde_json::Map::new(), "mine".to_owned())?;
/// assert_eq!((policy.name(), policy.manifest().name()), ("mine", "sieve"));
/// let cache = ostler::Cache::<u32, u32>::builder(100).policy(std::sync::Arc::new(policy)).build()?;
/// assert_eq!(cache.seat_status().desired.as_deref(), Some("mine"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Policy {
    pub(crate) loaded: Loaded<NativePolicy>,
}

/// Why a policy could not be loaded.
///
/// ```
/// use ostler::OpenError;
///
/// let Err(error) = ostler::policy("sieva") else { unreachable!("there is none of that name") };
/// assert!(matches!(error, OpenError::Unknown { .. }));
/// assert!(error.to_string().contains("there are arc, clock, fifo"));
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There is no built-in policy of that name.
    #[error(
        "policy `{name}`: no such built-in policy; there are {}, or give a FILE.wasm",
        known::<NativePolicy>()
    )]
    Unknown {
        /// The name.
        name: String,
    },
    /// There is no built-in policy of that kind and name.
    #[error("policy `{name}`: no such built-in {} policy; there are {known}, or give a FILE.wasm", kind.name())]
    UnknownOfKind {
        /// The name.
        name: String,
        /// What it was wanted for.
        kind: PolicyKind,
        /// Those that there are.
        known: String,
    },
    /// The policy is of another kind than the one wanted.
    #[error("policy `{name}` is of the kind {}, but {} is wanted here", kind.name(), wanted.name())]
    Kind {
        /// The policy as it was named.
        name: String,
        /// What it is for.
        kind: PolicyKind,
        /// What it was wanted for.
        wanted: PolicyKind,
    },
    /// It is a module, and this build has no Wasm. Never where the feature `wasm` is on.
    #[error(
        "policy `{name}` is a module: write native:NAME, or enable the feature `wasm` of ostler"
    )]
    NoWasm {
        /// The policy as it was named.
        name: String,
    },
    /// The file cannot be read.
    #[error("policy {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The module was refused.
    #[cfg(feature = "wasm")]
    #[error("policy `{name}` was refused at the step {}: {source}", source.step())]
    Refused {
        /// The policy as it was named.
        name: String,
        /// The step and the reason.
        source: LoadError,
    },
    /// There is no Wasm host for live caches on this machine.
    #[cfg(feature = "wasm")]
    #[error("wasm host: {0}")]
    Host(#[from] RuntimeError),
    /// The name was not understood.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The manifest of a compiled-in policy is not valid.
    #[error("policy `{name}`: manifest: {source}")]
    Manifest {
        /// The policy as it was named.
        name: String,
        /// What is wrong with it.
        source: ManifestError,
    },
    /// The parameters do not fit the manifest.
    #[error("policy `{name}`: {source}")]
    Params {
        /// The policy as it was named.
        name: String,
        /// Which parameter, and what it may be.
        source: ParamsError,
    },
}

impl Policy {
    /// A compiled-in policy; errors call it `name`.
    ///
    /// # Errors
    ///
    /// [`OpenError`] where its manifest or the parameters are not valid.
    pub fn from_native(
        policy: NativePolicy,
        params: &Map<String, Value>,
        name: String,
    ) -> Result<Self, OpenError> {
        Ok(Self { loaded: Loaded::from_native(policy, params, name)? })
    }

    /// A module that was admitted; errors call it `name`.
    ///
    /// # Errors
    ///
    /// [`OpenError::Params`] where the parameters do not fit its manifest.
    #[cfg(feature = "wasm")]
    pub fn from_module(
        module: PolicyModule,
        params: &Map<String, Value>,
        name: String,
    ) -> Result<Self, OpenError> {
        Ok(Self { loaded: Loaded::from_module(module, params, name)? })
    }

    answers!();

    /// Which optional events it asks for.
    #[must_use]
    pub fn wants(&self) -> Wants {
        let manifest = self.manifest();
        Wants { hits: manifest.wants(Kind::Hit), misses: manifest.wants(Kind::Miss) }
    }

    /// A fresh instance.
    ///
    /// # Errors
    ///
    /// The fault, where the policy fails before its first event.
    pub fn instance(&self, setup: Setup) -> Result<Box<dyn PolicyInstance>, PolicyFault> {
        self.loaded.instance(setup)
    }
}

impl Native for NativePolicy {
    const KIND: PolicyKind = PolicyKind::Eviction;
    const BUILTINS: &'static [Builtin] = &BUILTINS;
    type Instance = dyn PolicyInstance;

    fn manifest(&self) -> &'static str {
        self.manifest
    }

    fn instance(&self, setup: Setup, params: &str) -> Result<Box<Self::Instance>, InitRefused> {
        Ok(Box::new(NativeInstance::try_new(self, setup, params)?))
    }

    #[cfg(feature = "wasm")]
    fn sandboxed(
        module: &PolicyModule,
        setup: Setup,
        params: &str,
    ) -> Result<Box<Self::Instance>, PolicyFault> {
        Ok(Box::new(module.instantiate(setup, params)?))
    }
}

impl InstanceSource for Policy {
    fn label(&self) -> &str {
        self.name()
    }

    fn params(&self) -> &str {
        Policy::params(self)
    }

    fn code_id(&self) -> String {
        self.loaded.code_id()
    }

    fn wants(&self) -> Wants {
        Policy::wants(self)
    }

    fn takes_models(&self) -> bool {
        self.manifest().requires(ostler_abi::feature::MODEL)
    }

    fn instance(&self, setup: Setup) -> Result<Box<dyn PolicyInstance>, PolicyFault> {
        Policy::instance(self, setup)
    }
}
