//! What policies of every kind have in common once they are loaded: their code, compiled in or
//! sandboxed, their manifest and their parameters.
//!
//! It must not know what a policy decides: each kind says in [`Native`] how an instance is made.

use ostler_abi::{InitRefused, PolicyKind, Setup};
use ostler_core::PolicyFault;
use ostler_manifest::{Manifest, ManifestLimits};
#[cfg(feature = "wasm")]
use ostler_wasm::PolicyModule;
use serde_json::{Map, Value};

use crate::builtin::Builtin;
use crate::policy::OpenError;
use crate::spec::{PolicySource, PolicySpec};

/// A kind of policies, by what they are compiled in as.
pub(crate) trait Native: Copy + 'static {
    /// The kind.
    const KIND: PolicyKind;
    /// Those that come with the engine.
    const BUILTINS: &'static [Builtin<Self>];
    /// A running policy.
    type Instance: ?Sized;

    /// The manifest, as JSON.
    fn manifest(&self) -> &'static str;

    /// An instance of the policy, compiled in.
    fn instance(&self, setup: Setup, params: &str) -> Result<Box<Self::Instance>, InitRefused>;

    /// An instance of a module of this kind.
    #[cfg(feature = "wasm")]
    fn sandboxed(
        module: &PolicyModule,
        setup: Setup,
        params: &str,
    ) -> Result<Box<Self::Instance>, PolicyFault>;
}

/// A policy that can be put to work.
#[derive(Clone, Debug)]
pub(crate) struct Loaded<N> {
    pub(crate) name: String,
    code: Code<N>,
    pub(crate) manifest: Manifest,
    /// All of them, as flat JSON.
    pub(crate) params: String,
}

#[derive(Clone, Debug)]
enum Code<N> {
    Native(N),
    #[cfg(feature = "wasm")]
    Module(PolicyModule),
}

impl<N: Native> Loaded<N> {
    /// A compiled-in policy; errors call it `name`.
    pub(crate) fn from_native(
        native: N,
        params: &Map<String, Value>,
        name: String,
    ) -> Result<Self, OpenError> {
        match Manifest::parse(native.manifest().as_bytes(), &ManifestLimits::default()) {
            Ok(manifest) => Self::new(Code::Native(native), manifest, params, name),
            Err(source) => Err(OpenError::Manifest { name, source }),
        }
    }

    /// The compiled-in policy that `spec` names; modules are not for this.
    pub(crate) fn open_native(spec: &PolicySpec) -> Result<Self, OpenError> {
        let name = spec.source.to_string();
        match &spec.source {
            PolicySource::Native(native) => {
                Self::from_native(builtin::<N>(native)?.native, &spec.params, name)
            }
            PolicySource::Builtin(_) | PolicySource::File(_) => Err(OpenError::NoWasm { name }),
        }
    }

    /// A module that was admitted; errors call it `name`.
    #[cfg(feature = "wasm")]
    pub(crate) fn from_module(
        module: PolicyModule,
        params: &Map<String, Value>,
        name: String,
    ) -> Result<Self, OpenError> {
        let manifest = module.manifest().clone();
        Self::new(Code::Module(module), manifest, params, name)
    }

    fn new(
        code: Code<N>,
        manifest: Manifest,
        params: &Map<String, Value>,
        name: String,
    ) -> Result<Self, OpenError> {
        let (kind, wanted) = (manifest.kind(), N::KIND);
        if kind != wanted {
            return Err(OpenError::Kind { name, kind, wanted });
        }
        match manifest.params(params) {
            Ok(params) => Ok(Self { name, code, manifest, params }),
            Err(source) => Err(OpenError::Params { name, source }),
        }
    }

    /// What tells this code from other code of the same name: the module's digest, or the name.
    pub(crate) fn code_id(&self) -> String {
        match &self.code {
            Code::Native(_) => self.name.clone(),
            #[cfg(feature = "wasm")]
            Code::Module(module) => module.id().to_string(),
        }
    }

    /// A fresh instance.
    pub(crate) fn instance(&self, setup: Setup) -> Result<Box<N::Instance>, PolicyFault> {
        match &self.code {
            Code::Native(native) => {
                native.instance(setup, &self.params).map_err(|_| PolicyFault::Refused { code: 1 })
            }
            #[cfg(feature = "wasm")]
            Code::Module(module) => N::sandboxed(module, setup, &self.params),
        }
    }
}

/// The built-in policy of this kind with this name.
pub(crate) fn builtin<N: Native>(name: &str) -> Result<&'static Builtin<N>, OpenError> {
    let found = N::BUILTINS.iter().find(|builtin| builtin.name == name);
    found.ok_or_else(|| match N::KIND {
        PolicyKind::Eviction => OpenError::Unknown { name: name.to_owned() },
        kind => OpenError::UnknownOfKind { name: name.to_owned(), kind, known: known::<N>() },
    })
}

/// The names of the built-in policies of this kind, for a message.
pub(crate) fn known<N: Native>() -> String {
    let names: Vec<_> = N::BUILTINS.iter().map(|builtin| builtin.name).collect();
    names.join(", ")
}

/// The questions that every loaded policy answers, for the `impl` of a type that wraps it.
macro_rules! answers {
    () => {
        /// The policy's name as it was asked for.
        #[must_use]
        pub fn name(&self) -> &str {
            &self.loaded.name
        }

        /// What the policy says about itself.
        #[must_use]
        pub fn manifest(&self) -> &ostler_manifest::Manifest {
            &self.loaded.manifest
        }

        /// Every parameter with its value, as flat JSON.
        #[must_use]
        pub fn params(&self) -> &str {
            &self.loaded.params
        }
    };
}
pub(crate) use answers;
