//! Warming policies by name: those that are built in, and modules.

use ostler_abi::{InitRefused, NativeWarming, PolicyKind, Setup, feature};
use ostler_core::{NativeWarmingInstance, PolicyFault, WarmingInstance};
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

/// A warming policy that comes with the engine.
///
/// ```
/// let decayed: ostler::BuiltinWarming = ostler::WARMERS[0];
/// assert_eq!(decayed.name, "warm-decayed");
/// ```
pub type BuiltinWarming = Builtin<NativeWarming>;

builtins! {
    /// Every built-in warming policy, by name.
    ///
    /// ```
    /// let names = ostler::WARMERS.map(|builtin| builtin.name);
    /// assert_eq!(names, ["warm-decayed", "warm-diurnal", "warm-learned"]);
    /// ```
    pub const WARMERS: [BuiltinWarming; 3] = {
        "warm-decayed" => ostler_warm_decayed::NATIVE,
        "warm-diurnal" => ostler_warm_diurnal::NATIVE,
        "warm-learned" => ostler_warm_learned::NATIVE,
    };
}

/// A warming policy that can be put to work: its code, its manifest and its parameters.
///
/// ```
/// use ostler::WarmingPolicy;
///
/// let policy = WarmingPolicy::open_native(&"native:warm-decayed".parse()?)?;
/// assert_eq!((policy.name(), policy.takes_models()), ("native:warm-decayed", false));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct WarmingPolicy {
    loaded: Loaded<NativeWarming>,
}

impl WarmingPolicy {
    /// The compiled-in policy that `spec` names, as `native:warm-decayed`.
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
    /// [`OpenError`] where it is no warming policy, or where the parameters do not fit its manifest.
    #[cfg(feature = "wasm")]
    pub fn from_module(
        module: PolicyModule,
        params: &Map<String, Value>,
        name: String,
    ) -> Result<Self, OpenError> {
        Ok(Self { loaded: Loaded::from_module(module, params, name)? })
    }

    answers!();

    /// Whether it works with models.
    #[must_use]
    pub fn takes_models(&self) -> bool {
        self.manifest().requires(feature::MODEL)
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
    /// The fault, where the policy fails before its first candidate.
    pub fn instance(&self, setup: Setup) -> Result<Box<dyn WarmingInstance>, PolicyFault> {
        self.loaded.instance(setup)
    }
}

impl Native for NativeWarming {
    const KIND: PolicyKind = PolicyKind::Warming;
    const BUILTINS: &'static [BuiltinWarming] = &WARMERS;
    type Instance = dyn WarmingInstance;

    fn manifest(&self) -> &'static str {
        self.manifest
    }

    fn instance(&self, setup: Setup, params: &str) -> Result<Box<Self::Instance>, InitRefused> {
        Ok(Box::new(NativeWarmingInstance::try_new(self, setup, params)?))
    }

    #[cfg(feature = "wasm")]
    fn sandboxed(
        module: &PolicyModule,
        setup: Setup,
        params: &str,
    ) -> Result<Box<Self::Instance>, PolicyFault> {
        Ok(Box::new(module.instantiate_warming(setup, params)?))
    }
}

#[cfg(feature = "wasm")]
impl Host {
    /// Loads the warming policy that `spec` names and checks its parameters, as
    /// [`open`](Self::open) does for eviction policies.
    ///
    /// # Errors
    ///
    /// [`OpenError`] that names the policy and says what would be right.
    pub fn open_warming(&self, spec: &PolicySpec) -> Result<WarmingPolicy, OpenError> {
        Ok(WarmingPolicy { loaded: self.load(spec)? })
    }
}
