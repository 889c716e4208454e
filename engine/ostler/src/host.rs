//! The host that loads policies, sandboxed and compiled in. Only with the feature `wasm`.

use std::borrow::Cow;

use ostler_wasm::{Limits, Metering, Runtime, RuntimeError};
use serde_json::{Map, Value};

use crate::loaded::{Loaded, Native, builtin};
use crate::policy::{OpenError, Policy};
use crate::spec::{PolicySource, PolicySpec};

/// Loads policies: one Wasm runtime with one kind of metering. Cloning shares it.
///
/// Live caches share the one that [`host`](crate::host) makes; replay and tests make their own.
///
/// ```
/// use ostler::Host;
///
/// let policy = Host::for_replay().open(&"s3fifo(small_percent=20)".parse()?)?;
/// assert!(policy.params().contains(r#""small_percent":20"#));
/// # Ok::<(), ostler::OpenError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Host {
    runtime: Runtime,
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
        Ok(Policy { loaded: self.load(spec)? })
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
        Ok(Policy { loaded: self.admit(module, params, name)? })
    }

    /// Loads what `spec` names, a policy of any kind.
    pub(crate) fn load<N: Native>(&self, spec: &PolicySpec) -> Result<Loaded<N>, OpenError> {
        let module = match &spec.source {
            PolicySource::Native(_) => return Loaded::open_native(spec),
            PolicySource::Builtin(name) => Cow::Borrowed(builtin::<N>(name)?.module),
            PolicySource::File(path) => Cow::Owned(
                std::fs::read(path)
                    .map_err(|source| OpenError::Read { path: path.clone(), source })?,
            ),
        };
        self.admit(&module, &spec.params, spec.source.to_string())
    }

    fn admit<N: Native>(
        &self,
        module: &[u8],
        params: &Map<String, Value>,
        name: String,
    ) -> Result<Loaded<N>, OpenError> {
        match self.runtime.load(module) {
            Ok(module) => Loaded::from_module(module, params, name),
            Err(source) => Err(OpenError::Refused { name, source }),
        }
    }
}
