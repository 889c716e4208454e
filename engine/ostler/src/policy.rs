//! A loaded policy, native or sandboxed.

use std::path::PathBuf;

use ostler_abi::{Kind, NativePolicy, Setup};
use ostler_core::{InstanceSource, NativeInstance, PolicyFault, PolicyInstance, Wants};
use ostler_manifest::{Manifest, ManifestError, ManifestLimits, ParamsError};
#[cfg(feature = "wasm")]
use ostler_wasm::{LoadError, PolicyModule, RuntimeError};
use serde_json::{Map, Value};
use thiserror::Error;

use crate::builtin::{BUILTINS, builtin};
use crate::spec::{PolicySource, PolicySpec, SpecError};

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
    name: String,
    code: Code,
    manifest: Manifest,
    params: String,
}

#[derive(Clone, Debug)]
enum Code {
    Native(NativePolicy),
    #[cfg(feature = "wasm")]
    Module(PolicyModule),
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
    #[error("policy `{name}`: no such built-in policy; there are {}, or give a FILE.wasm", known())]
    Unknown {
        /// The name.
        name: String,
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

fn known() -> String {
    BUILTINS.map(|builtin| builtin.name).join(", ")
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
        match Manifest::parse(policy.manifest.as_bytes(), &ManifestLimits::default()) {
            Ok(manifest) => Self::new(Code::Native(policy), manifest, params, name),
            Err(source) => Err(OpenError::Manifest { name, source }),
        }
    }

    /// The compiled-in policy that `spec` names; modules are not for this.
    pub(crate) fn open_native(spec: &PolicySpec) -> Result<Self, OpenError> {
        let name = spec.source.to_string();
        match &spec.source {
            PolicySource::Native(native) => match builtin(native) {
                Some(builtin) => Self::from_native(builtin.native, &spec.params, name),
                None => Err(OpenError::Unknown { name: native.clone() }),
            },
            PolicySource::Builtin(_) | PolicySource::File(_) => Err(OpenError::NoWasm { name }),
        }
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
        let manifest = module.manifest().clone();
        Self::new(Code::Module(module), manifest, params, name)
    }

    fn new(
        code: Code,
        manifest: Manifest,
        params: &Map<String, Value>,
        name: String,
    ) -> Result<Self, OpenError> {
        match manifest.params(params) {
            Ok(params) => Ok(Self { name, code, manifest, params }),
            Err(source) => Err(OpenError::Params { name, source }),
        }
    }

    /// The policy's name as it was asked for.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the policy says about itself.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Every parameter with its value, as flat JSON.
    #[must_use]
    pub fn params(&self) -> &str {
        &self.params
    }

    /// Which optional events it asks for.
    #[must_use]
    pub fn wants(&self) -> Wants {
        Wants { hits: self.manifest.wants(Kind::Hit), misses: self.manifest.wants(Kind::Miss) }
    }

    /// A fresh instance.
    ///
    /// # Errors
    ///
    /// The fault, where the policy fails before its first event.
    pub fn instance(&self, setup: Setup) -> Result<Box<dyn PolicyInstance>, PolicyFault> {
        match &self.code {
            Code::Native(policy) => match NativeInstance::try_new(policy, setup, &self.params) {
                Ok(instance) => Ok(Box::new(instance)),
                Err(_) => Err(PolicyFault::Refused { code: 1 }),
            },
            #[cfg(feature = "wasm")]
            Code::Module(module) => Ok(Box::new(module.instantiate(setup, &self.params)?)),
        }
    }
}

impl InstanceSource for Policy {
    fn label(&self) -> &str {
        &self.name
    }

    fn params(&self) -> &str {
        &self.params
    }

    fn code_id(&self) -> String {
        match &self.code {
            Code::Native(_) => self.name.clone(),
            #[cfg(feature = "wasm")]
            Code::Module(module) => module.id().to_string(),
        }
    }

    fn wants(&self) -> Wants {
        Policy::wants(self)
    }

    fn instance(&self, setup: Setup) -> Result<Box<dyn PolicyInstance>, PolicyFault> {
        Policy::instance(self, setup)
    }
}
