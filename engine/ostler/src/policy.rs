//! A loaded policy, native or sandboxed, and the host that loads it.

use std::path::PathBuf;

use ostler_abi::{Kind, NativePolicy, Setup};
use ostler_core::{InstanceSource, NativeInstance, PolicyFault, PolicyInstance, Wants};
use ostler_wasm::manifest::{ManifestError, ParamsError};
use ostler_wasm::{
    Limits, LoadError, Manifest, ManifestLimits, Metering, PolicyModule, Runtime, RuntimeError,
};
use serde_json::{Map, Value};
use thiserror::Error;

use crate::builtin::{BUILTINS, builtin};
use crate::spec::{PolicySource, PolicySpec, SpecError};

/// Loads policies: one Wasm runtime with one kind of metering.
#[derive(Clone, Debug)]
pub struct Host {
    runtime: Runtime,
}

/// A policy that can take a seat: its code, its manifest and its parameters.
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
    Module(PolicyModule),
}

/// Why a policy could not be loaded.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There is no built-in policy of that name.
    #[error("policy `{name}`: no such built-in policy; there are {}, or give a FILE.wasm", known())]
    Unknown {
        /// The name.
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
    #[error("policy `{name}` was refused at the step {}: {source}", source.step())]
    Refused {
        /// The policy as it was named.
        name: String,
        /// The step and the reason.
        source: LoadError,
    },
    /// There is no Wasm host for live caches on this machine.
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

impl Host {
    /// A host that meters by fuel, for replay and tests: deterministic, no clock.
    ///
    /// # Panics
    ///
    /// On a machine that the Wasm compiler does not support.
    #[must_use]
    pub fn for_replay() -> Self {
        let runtime = Runtime::try_new(Metering::fuel(), Limits::default());
        Self { runtime: runtime.expect("the Wasm compiler supports this processor") }
    }

    /// A host that meters by CPU time, for live caches.
    ///
    /// # Errors
    ///
    /// Where the thread that watches the time does not start, or the Wasm compiler does not support
    /// this processor.
    pub fn try_live() -> Result<Self, RuntimeError> {
        Ok(Self { runtime: Runtime::try_new(Metering::cpu_time(), Limits::default())? })
    }

    /// A host around a runtime of your own.
    #[must_use]
    pub fn new(runtime: Runtime) -> Self {
        Self { runtime }
    }

    /// The runtime.
    #[must_use]
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Loads what `spec` names and checks its parameters.
    ///
    /// Cost: for a module, compiling it: milliseconds for a built-in policy, at most seconds.
    ///
    /// # Errors
    ///
    /// [`OpenError`] that names the policy and says what would be right.
    pub fn open(&self, spec: &PolicySpec) -> Result<Policy, OpenError> {
        let name = spec.source.to_string();
        let known =
            |name: &str| builtin(name).ok_or_else(|| OpenError::Unknown { name: name.to_owned() });
        match &spec.source {
            PolicySource::Native(native) => {
                let policy = known(native)?.native;
                Policy::from_native(policy, &spec.params, name)
            }
            PolicySource::Builtin(builtin) => {
                self.open_module(known(builtin)?.module, &spec.params, name)
            }
            PolicySource::File(path) => {
                let module = std::fs::read(path)
                    .map_err(|source| OpenError::Read { path: path.clone(), source })?;
                self.open_module(&module, &spec.params, name)
            }
        }
    }

    /// Loads a module from its bytes; errors call it `name`.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_module(
        &self,
        module: &[u8],
        params: &Map<String, Value>,
        name: String,
    ) -> Result<Policy, OpenError> {
        match self.runtime.load(module) {
            Ok(module) => {
                let manifest = module.manifest().clone();
                Policy::new(Code::Module(module), manifest, params, name)
            }
            Err(source) => Err(OpenError::Refused { name, source }),
        }
    }
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
