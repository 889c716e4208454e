//! The runtime: one engine with one kind of metering, and the way from bytes to a module.
//!
//! It owns wasmtime's configuration, and with it everything that makes guests deterministic and
//! bounded; and the order of an admission. What each step compares is [`admission`](crate::admission)'s.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use wasmtime::{Config, Engine, InstancePre, Linker, Module, OptLevel, Strategy};

use crate::admission;
use crate::host::{HostState, define_imports};
use crate::limits::Limits;
use crate::load_error::LoadError;
use crate::manifest::Manifest;
use crate::meter::{Clocks, Meter, Metering};
use crate::module::PolicyModule;
use crate::survey::Survey;
use crate::ticker::Ticker;
use crate::verdict::{Outcome, STEPS, Verdict};

/// The stack of a guest, bytes. Part of what makes a deep recursion fault the same everywhere.
pub(crate) const WASM_STACK_BYTES: usize = 64 << 10;
/// Shortest and longest tick of the epochs.
const TICK_US_MIN: u64 = 100;
const TICK_US_MAX: u64 = 10_000;
/// The compiler runs on a stack of its own where the caller's has less than this left.
const COMPILER_STACK_LEFT_BYTES: usize = 2 << 20;
const COMPILER_STACK_BYTES: usize = 8 << 20;

/// Why a runtime could not be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RuntimeError {
    /// The engine does not work on this machine.
    #[error("wasm engine: {reason}")]
    Engine {
        /// What the engine said.
        reason: String,
    },
    /// The thread that advances the epochs did not start.
    #[error("epoch thread: {0}")]
    Ticker(#[from] std::io::Error),
}

/// Compiles modules and runs their instances, with one kind of metering. Cloning shares it.
///
/// With [`Metering::CpuTime`] it owns a thread, which sleeps while there is no instance and ends with
/// the last clone, module and instance.
///
/// Every instance reserves 4 GiB of address space (not memory), so that the bounds of a guest's loads
/// and stores are checked by the processor. With 47 bits of addresses that is room for some 30,000
/// instances; a process with a limit on its address space (`ulimit -v`) has room for fewer.
#[derive(Clone)]
pub struct Runtime {
    shared: Arc<Shared>,
}

struct Shared {
    engine: Engine,
    linker: Linker<HostState>,
    metering: Metering,
    limits: Limits,
    ticker: Option<Ticker>,
    clocks: Clocks,
}

/// What came of an admission: the verdict always, the module where it was admitted.
#[derive(Debug)]
pub struct Admission {
    /// Every step and its outcome.
    pub verdict: Verdict,
    /// The module, or why it was refused.
    pub module: Result<PolicyModule, LoadError>,
}

impl Runtime {
    /// Makes a runtime. Cost: a millisecond, and a thread for [`Metering::CpuTime`].
    ///
    /// # Errors
    ///
    /// [`RuntimeError`] where this machine lacks what the engine needs.
    pub fn try_new(metering: Metering, limits: Limits) -> Result<Self, RuntimeError> {
        let reason = |error: wasmtime::Error| RuntimeError::Engine { reason: format!("{error:#}") };
        let engine = Engine::new(&config(metering)).map_err(reason)?;
        let mut linker = Linker::new(&engine);
        define_imports(&mut linker).map_err(reason)?;
        let ticker = match metering {
            Metering::Fuel { .. } => None,
            Metering::CpuTime { deadline_us, .. } => {
                let tick_us = (deadline_us / 2).clamp(TICK_US_MIN, TICK_US_MAX);
                Some(Ticker::try_start(engine.clone(), Duration::from_micros(tick_us))?)
            }
        };
        let clocks = Clocks::new();
        let shared = Shared { engine, linker, metering, limits, ticker, clocks };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The limits in force.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    /// The metering in force.
    #[must_use]
    pub fn metering(&self) -> Metering {
        self.shared.metering
    }

    /// Judges a module and compiles it. The caller adds the last step, a conformance run.
    ///
    /// Cost: one pass over the bytes, then the compiler, which [`Limits::compile_work_max`] bounds to
    /// about a second. Cannot be cancelled; runs on the calling thread.
    #[must_use]
    pub fn admit(&self, bytes: &[u8]) -> Admission {
        let mut verdict = Verdict::new(bytes);
        let module = self.run_steps(bytes, &mut verdict);
        if let Err(error) = &module {
            verdict.push(error.step(), Outcome::Failed, error.to_string());
            let done = STEPS.iter().position(|&step| step == error.step()).unwrap_or(0);
            // A step may refuse early what belongs to a later one: those between were not run.
            for &step in &STEPS[..done] {
                if verdict.steps.iter().all(|known| known.name != step) {
                    verdict.push(step, Outcome::NotRun, "");
                }
            }
            for &step in &STEPS[done + 1..] {
                verdict.push(step, Outcome::NotRun, "");
            }
            let place = |name: &str| STEPS.iter().position(|&step| step == name);
            verdict.steps.sort_by_key(|step| place(&step.name));
        }
        Admission { verdict, module }
    }

    /// What a module says of itself. Neither judges the module nor compiles it: for those that were
    /// admitted before.
    ///
    /// # Errors
    ///
    /// [`LoadError`] where it cannot be read, or has no manifest or a wrong one.
    pub fn manifest(&self, bytes: &[u8]) -> Result<Manifest, LoadError> {
        let limits = &self.shared.limits;
        admission::check_size(bytes, limits)?;
        admission::check_manifest(&Survey::read(bytes)?, limits)
    }

    /// Judges a module and compiles it, for callers who do not show the verdict.
    ///
    /// # Errors
    ///
    /// [`LoadError`] of the first step that refuses.
    pub fn load(&self, bytes: &[u8]) -> Result<PolicyModule, LoadError> {
        self.admit(bytes).module
    }

    fn run_steps(&self, bytes: &[u8], verdict: &mut Verdict) -> Result<PolicyModule, LoadError> {
        let limits = &self.shared.limits;
        admission::check_size(bytes, limits)?;
        let survey = Survey::read(bytes)?;
        verdict.push("parse", Outcome::Passed, format!("{} bytes", bytes.len()));
        let manifest = admission::check_manifest(&survey, limits)?;
        verdict.policy = Some((manifest.name().to_owned(), manifest.version().to_owned()));
        verdict.push("manifest", Outcome::Passed, describe(&manifest));
        admission::check_imports(&survey)?;
        verdict.push("imports", Outcome::Passed, format!("{} imports", survey.imports.len()));
        admission::check_exports(&survey, &manifest)?;
        verdict.push("exports", Outcome::Passed, format!("{} exports", survey.exports.len()));
        let work = admission::check_limits(&survey, &manifest, limits)?;
        let functions = survey.bodies.len();
        let detail = format!("{functions} functions, {work} units of compile work");
        verdict.push("limits", Outcome::Passed, detail);
        admission::check_features(bytes)?;
        verdict.push("features", Outcome::Passed, "");
        verdict.warnings = admission::warnings(&survey);
        let pre = self.compile(bytes)?;
        let code_bytes = pre.module().text().len();
        verdict.push("compile", Outcome::Passed, format!("{code_bytes} bytes of code"));
        Ok(PolicyModule::new(verdict.id, manifest, pre, self.clone()))
    }

    fn compile(&self, bytes: &[u8]) -> Result<InstancePre<HostState>, LoadError> {
        let reason = |error: wasmtime::Error| LoadError::Compile { reason: format!("{error:#}") };
        let compile = || Module::from_binary(&self.shared.engine, bytes);
        let module = stacker::maybe_grow(COMPILER_STACK_LEFT_BYTES, COMPILER_STACK_BYTES, compile);
        self.shared.linker.instantiate_pre(&module.map_err(reason)?).map_err(reason)
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.shared.engine
    }

    pub(crate) fn ticker(&self) -> Option<&Ticker> {
        self.shared.ticker.as_ref()
    }

    pub(crate) fn meter(&self) -> Meter {
        Meter::new(self.shared.metering, self.shared.clocks)
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime").field("metering", &self.shared.metering).finish_non_exhaustive()
    }
}

fn describe(manifest: &Manifest) -> String {
    let (name, version) = (manifest.name(), manifest.version());
    let (per_slot, base) = (manifest.bytes_per_slot(), manifest.base_bytes());
    format!("{name} {version}, {per_slot} bytes per slot and {base} beside")
}

/// The engine's configuration: the frozen features, nothing that varies from run to run.
fn config(metering: Metering) -> Config {
    let mut config = Config::new();
    config
        .strategy(Strategy::Cranelift)
        .cranelift_opt_level(OptLevel::Speed)
        .cranelift_nan_canonicalization(true)
        .max_wasm_stack(WASM_STACK_BYTES)
        .wasm_tail_call(false)
        .wasm_relaxed_simd(false)
        .wasm_multi_memory(false)
        .wasm_memory64(false)
        .wasm_extended_const(false)
        .wasm_wide_arithmetic(false)
        .wasm_custom_page_sizes(false)
        // A trap is answered by a fault that names it; nobody reads its backtrace.
        .wasm_backtrace_max_frames(None)
        .generate_address_map(false)
        .native_unwind_info(false)
        .memory_reservation(4 << 30)
        .memory_may_move(false);
    match metering {
        Metering::Fuel { .. } => config.consume_fuel(true),
        Metering::CpuTime { .. } => config.epoch_interruption(true),
    };
    config
}
