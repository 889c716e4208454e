//! The guest host: admits WebAssembly policies, runs them within bounds, and turns whatever they do
//! wrong into a typed fault.
//!
//! The only crate that names wasmtime. A [`Runtime`] compiles and meters, [`Runtime::admit`] judges
//! a module and gives a [`Verdict`], a [`PolicyModule`] makes [`WasmInstance`]s, which the engine's
//! seat knows as [`PolicyInstance`](ostler_core::PolicyInstance), or, for the other kinds of policy, a
//! [`WasmPrefetch`] or a [`WasmRanker`]. This crate must not
//! know caches, traces or any policy by name.
//!
//! ```
//! use ostler_wasm::{Limits, LoadError, Metering, Runtime};
//!
//! let runtime = Runtime::try_new(Metering::fuel(), Limits::default()).unwrap();
//! let admission = runtime.admit(b"not a module");
//! assert!(!admission.verdict.admitted());
//! assert!(matches!(admission.module, Err(LoadError::Malformed { .. })));
//! ```

mod admission;
mod host;
mod instance;
mod limits;
mod load_error;
mod log;
mod memory;
mod meter;
mod module;
mod native_stack;
mod prefetch;
mod runtime;
mod sandbox;
mod survey;
mod ticker;
mod verdict;
mod warming;
mod work;

pub use instance::WasmInstance;
pub use limits::Limits;
pub use load_error::LoadError;
pub use log::TakenLog;
pub use meter::Metering;
pub use module::{ModuleId, ModuleIdError, PolicyModule};
pub use ostler_manifest::{self as manifest, Manifest, ManifestLimits};
pub use prefetch::WasmPrefetch;
pub use runtime::{Admission, Runtime, RuntimeError};
pub use verdict::{Outcome, STEPS, Verdict, VerdictStep};
pub use warming::WasmRanker;
