//! Prefetch policies by name: those that are built in, and modules.

use ostler_abi::{InitRefused, NativePrefetch, PolicyKind, Setup, feature};
use ostler_core::{NativePrefetchInstance, PolicyFault, PrefetchInstance};
#[cfg(feature = "wasm")]
use ostler_wasm::PolicyModule;
#[cfg(feature = "wasm")]
use serde_json::{Map, Value};

use crate::builtin::{Builtin, builtins};
#[cfg(feature = "wasm")]
use crate::host::Host;
use crate::loaded::{Loaded, Native, answers};
use crate::policy::OpenError;
use crate::spec::PolicySpec;

/// A prefetch policy that comes with the engine.
///
/// ```
/// let stride: ostler::BuiltinPrefetch = ostler::PREFETCHERS[1];
/// assert_eq!(stride.name, "prefetch-stride");
/// ```
pub type BuiltinPrefetch = Builtin<NativePrefetch>;

builtins! {
    /// Every built-in prefetch policy, by name.
    ///
    /// ```
    /// let names = ostler::PREFETCHERS.map(|builtin| builtin.name);
    /// assert_eq!(names, ["prefetch-assoc", "prefetch-stride"]);
    /// ```
    pub const PREFETCHERS: [BuiltinPrefetch; 2] = {
        "prefetch-assoc" => ostler_prefetch_assoc::NATIVE,
        "prefetch-stride" => ostler_prefetch_stride::NATIVE,
    };
}

/// A prefetch policy that can be put to work: its code, its manifest and its parameters.
///
/// ```
/// use ostler::PrefetchPolicy;
///
/// let policy = PrefetchPolicy::open_native(&"native:prefetch-stride(places=4096)".parse()?)?;
/// assert!(policy.wants_keys() && policy.params().contains(r#""places":4096"#));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct PrefetchPolicy {
    loaded: Loaded<NativePrefetch>,
}

impl PrefetchPolicy {
    /// The compiled-in policy that `spec` names, as `native:prefetch-stride`.
    ///
    /// # Errors
    ///
    /// [`OpenError`] that names the policy and says what would be right.
    pub fn open_native(spec: &PolicySpec) -> Result<Self, OpenError> {
        Ok(Self { loaded: Loaded::open_native(spec)? })
    }

    /// A module that was admitted; errors call it `name`.
    ///
    /// # Errors
    ///
    /// [`OpenError`] where it is no prefetch policy, or where the parameters do not fit its manifest.
    #[cfg(feature = "wasm")]
    pub fn from_module(
        module: PolicyModule,
        params: &Map<String, Value>,
        name: String,
    ) -> Result<Self, OpenError> {
        Ok(Self { loaded: Loaded::from_module(module, params, name)? })
    }

    answers!();

    /// Whether its records come with the bytes of keys.
    #[must_use]
    pub fn wants_keys(&self) -> bool {
        self.manifest().requires(feature::KEYS)
    }

    /// What tells this code from other code of the same name: the module's digest, or the name.
    #[must_use]
    pub fn code_id(&self) -> String {
        self.loaded.code_id()
    }

    /// A fresh instance. `setup.slots` is 0.
    ///
    /// # Errors
    ///
    /// The fault, where the policy fails before its first record.
    pub fn instance(&self, setup: Setup) -> Result<Box<dyn PrefetchInstance>, PolicyFault> {
        self.loaded.instance(setup)
    }
}

impl Native for NativePrefetch {
    const KIND: PolicyKind = PolicyKind::Prefetch;
    const BUILTINS: &'static [BuiltinPrefetch] = &PREFETCHERS;
    type Instance = dyn PrefetchInstance;

    fn manifest(&self) -> &'static str {
        self.manifest
    }

    fn instance(&self, setup: Setup, params: &str) -> Result<Box<Self::Instance>, InitRefused> {
        Ok(Box::new(NativePrefetchInstance::try_new(self, setup, params)?))
    }

    #[cfg(feature = "wasm")]
    fn sandboxed(
        module: &PolicyModule,
        setup: Setup,
        params: &str,
    ) -> Result<Box<Self::Instance>, PolicyFault> {
        Ok(Box::new(module.instantiate_prefetch(setup, params)?))
    }
}

#[cfg(feature = "wasm")]
impl Host {
    /// Loads the prefetch policy that `spec` names and checks its parameters, as
    /// [`open`](Self::open) does for eviction policies.
    ///
    /// # Errors
    ///
    /// [`OpenError`] that names the policy and says what would be right.
    ///
    /// ```
    /// let policy = ostler::host()?.open_prefetch(&"prefetch-assoc".parse()?)?;
    /// assert!(!policy.wants_keys());
    /// # Ok::<(), ostler::OpenError>(())
    /// ```
    pub fn open_prefetch(&self, spec: &PolicySpec) -> Result<PrefetchPolicy, OpenError> {
        Ok(PrefetchPolicy { loaded: self.load(spec)? })
    }
}
