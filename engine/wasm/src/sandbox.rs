//! The sandbox: a store with its meter, and how a guest of any kind comes into it.
//!
//! Every entry into guest code goes through here, so nothing of a guest runs unmetered. It must not
//! know what the calls mean.

use ostler_abi::{ModelRefused, Setup, export, feature};
use ostler_core::PolicyFault;
use wasmtime::{Instance, Memory, Store, Trap, TypedFunc, WasmParams, WasmResults};

use crate::host::{CallClock, Growth, HostState, on_epoch};
use crate::log::{Log, TakenLog};
use crate::memory::{Regions, Shape};
use crate::meter::Meter;
use crate::module::PolicyModule;
use crate::native_stack;
use crate::runtime::{Runtime, WASM_STACK_BYTES};

/// What an admitted module is known to have.
const CHECKED: &str = "invariant: admission checked the exports and their types";

/// A guest that was instantiated and has accepted its setup, before its first call.
pub(crate) struct Guest {
    pub(crate) sandbox: Sandbox,
    pub(crate) module: PolicyModule,
    pub(crate) memory: Memory,
    pub(crate) regions: Regions,
    /// The call of its kind.
    pub(crate) call: TypedFunc<i32, i32>,
    model: Option<TypedFunc<i32, i32>>,
    fault: Option<Box<PolicyFault>>,
}

impl Guest {
    pub(crate) fn try_new(
        module: &PolicyModule,
        setup: Setup,
        params: &str,
    ) -> Result<Self, PolicyFault> {
        native_stack::check()?;
        let mut sandbox = Sandbox::new(module.runtime(), memory_bytes_max(module, setup.slots));
        let instance = sandbox.run(0, |store| module.pre().instantiate(store))?;
        let memory = instance.get_memory(&mut sandbox.store, export::MEMORY).expect(CHECKED);
        let layout: TypedFunc<(), i32> = sandbox.function(&instance, export::LAYOUT);
        let init: TypedFunc<(i64, i32, i64), i32> = sandbox.function(&instance, export::INIT);
        let manifest = module.manifest();
        let call = sandbox.function(&instance, manifest.kind().call());
        let takes_models = manifest.requires(feature::MODEL);
        let model = takes_models.then(|| sandbox.function(&instance, export::MODEL));

        let address = sandbox.call(&layout, (), 0)?.cast_unsigned();
        let shape = Shape::of(manifest);
        let regions = Regions::try_read(memory.data(&sandbox.store), address, &shape)?;
        write_params(regions.io.of_mut(memory.data_mut(&mut sandbox.store)), params)?;
        let arguments =
            (setup.capacity.cast_signed(), setup.slots.cast_signed(), setup.seed.cast_signed());
        match sandbox.call(&init, arguments, 0)? {
            0 => {}
            code => return Err(PolicyFault::Refused { code }),
        }
        Ok(Self { sandbox, module: module.clone(), memory, regions, call, model, fault: None })
    }

    /// Calls the guest with `n` items in its event window, which hold no more than that. Returns what
    /// it returned.
    #[inline]
    pub(crate) fn call(&mut self, n: usize) -> Result<i32, PolicyFault> {
        native_stack::check()?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_possible_wrap,
            reason = "at most EVENTS_CAP_MAX"
        )]
        let count = n as i32;
        self.sandbox.call(&self.call, count, n as u64)
    }

    /// Hands over a model. A faulted guest says its fault again.
    pub(crate) fn model(
        &mut self,
        message: &[u8],
    ) -> Result<Result<(), ModelRefused>, PolicyFault> {
        self.check_fault()?;
        let answer = self.try_model(message);
        self.keep_fault(answer)
    }

    fn try_model(&mut self, message: &[u8]) -> Result<Result<(), ModelRefused>, PolicyFault> {
        let Some(function) = &self.model else { return Ok(Err(ModelRefused::TAKES_NONE)) };
        let io = self.regions.io.of_mut(self.memory.data_mut(&mut self.sandbox.store));
        let Some(place) = io.get_mut(..message.len()) else {
            return Ok(Err(ModelRefused::LENGTH));
        };
        place.copy_from_slice(message);
        native_stack::check()?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_possible_wrap,
            reason = "it fits the io buffer, at most IO_CAP_MAX"
        )]
        let len = message.len() as i32;
        match self.sandbox.call(function, len, 1)? {
            0 => Ok(Ok(())),
            code => Ok(Err(ModelRefused { code })),
        }
    }

    /// The fault of an earlier call: the guest is not called again.
    #[inline]
    pub(crate) fn check_fault(&self) -> Result<(), PolicyFault> {
        match &self.fault {
            Some(fault) => Err(PolicyFault::clone(fault)),
            None => Ok(()),
        }
    }

    /// Remembers the fault of a call.
    #[inline]
    pub(crate) fn keep_fault<T>(
        &mut self,
        answer: Result<T, PolicyFault>,
    ) -> Result<T, PolicyFault> {
        answer.inspect_err(|fault| self.fault = Some(Box::new(fault.clone())))
    }

    /// What the guest logged since the last call.
    pub(crate) fn take_log(&mut self) -> TakenLog {
        self.sandbox.store.data_mut().log.take()
    }

    /// As [`take_log`](Self::take_log), with a line for what was dropped.
    pub(crate) fn take_lines(&mut self) -> Vec<String> {
        let TakenLog { mut lines, dropped } = self.take_log();
        if dropped > 0 {
            lines.push(format!("({dropped} more lines were dropped)"));
        }
        lines
    }

    pub(crate) fn memory_bytes(&self) -> u64 {
        self.memory.data_size(&self.sandbox.store) as u64
    }

    /// Raises the bound on slots, and with it the memory that the guest may have.
    pub(crate) fn set_slots(&mut self, bound: u32) {
        self.sandbox.set_memory(memory_bytes_max(&self.module, bound));
    }
}

/// A store with its meter: every entry into guest code goes through [`run`](Self::run).
pub(crate) struct Sandbox {
    pub(crate) store: Store<HostState>,
    pub(crate) meter: Meter,
    runtime: Runtime,
}

impl Sandbox {
    fn new(runtime: &Runtime, memory_bytes_max: u64) -> Self {
        let limits = runtime.limits();
        let growth = Growth {
            memory_bytes_max: 0,
            table_elements_max: limits.table_elements_max,
            denied: None,
        };
        let log = Log::new(limits.log_bytes_max);
        let state = HostState { growth, log, clock: CallClock::default() };
        let mut store = Store::new(runtime.engine(), state);
        store.limiter(|state| &mut state.growth);
        if let Some(ticker) = runtime.ticker() {
            let watch = ticker.watch();
            store.epoch_deadline_callback(move |context| Ok(on_epoch(context, &watch)));
            ticker.enter();
        }
        let mut sandbox = Self { store, meter: runtime.meter(), runtime: runtime.clone() };
        sandbox.set_memory(memory_bytes_max);
        sandbox
    }

    /// A function that admission has seen.
    fn function<P: WasmParams, R: WasmResults>(
        &mut self,
        instance: &Instance,
        name: &str,
    ) -> TypedFunc<P, R> {
        instance.get_typed_func(&mut self.store, name).expect(CHECKED)
    }

    fn set_memory(&mut self, memory_bytes_max: u64) {
        self.store.data_mut().growth.memory_bytes_max = memory_bytes_max;
        self.meter.set_memory(&mut self.store, memory_bytes_max);
    }

    #[inline]
    fn call<P: WasmParams, R: WasmResults>(
        &mut self,
        function: &TypedFunc<P, R>,
        params: P,
        events: u64,
    ) -> Result<R, PolicyFault> {
        self.run(events, |store| function.call(store, params))
    }

    /// Runs guest code under the meter. A request for too much memory is a fault even where the guest
    /// carried on without it: what it decides then depends on how much it was refused.
    #[inline]
    fn run<R>(
        &mut self,
        events: u64,
        enter: impl FnOnce(&mut Store<HostState>) -> wasmtime::Result<R>,
    ) -> Result<R, PolicyFault> {
        if self.runtime.ticker().is_some() {
            // Epochs that went by between two calls are not this call's: it sees those alone that come
            // while it runs, and only they have it watched.
            self.store.set_epoch_deadline(1);
        }
        let running = self.meter.begin(&mut self.store, events);
        let result = enter(&mut self.store);
        if self.store.data().growth.denied.is_some() {
            return Err(self.fault_of(None));
        }
        match result {
            Ok(returned) => {
                self.meter.end(&running, events)?;
                Ok(returned)
            }
            Err(error) => Err(self.fault_of(Some(&error))),
        }
    }

    #[cold]
    fn fault_of(&self, error: Option<&wasmtime::Error>) -> PolicyFault {
        if let Some(denied) = self.store.data().growth.denied {
            return PolicyFault::Memory { wanted: denied.wanted, limit: denied.limit };
        }
        match error.map(|error| (error, error.downcast_ref::<Trap>())) {
            Some((_, Some(Trap::OutOfFuel | Trap::Interrupt))) => self.meter.deadline(&self.store),
            Some((_, Some(Trap::StackOverflow))) => PolicyFault::Stack {
                reason: format!("the guest used up its {WASM_STACK_BYTES} bytes"),
            },
            Some((_, Some(trap))) => {
                let text = trap.to_string();
                let reason = text.trim_start_matches("wasm trap: ").to_owned();
                PolicyFault::Trap { reason }
            }
            Some((error, None)) => PolicyFault::Trap { reason: format!("{error:#}") },
            None => PolicyFault::Trap { reason: "unknown".to_owned() },
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if let Some(ticker) = self.runtime.ticker() {
            ticker.leave();
        }
    }
}

fn memory_bytes_max(module: &PolicyModule, slots: u32) -> u64 {
    module.manifest().memory_bytes_max(slots).min(module.runtime().limits().memory_bytes_max)
}

/// Writes the parameters and the zero byte that ends them.
fn write_params(io: &mut [u8], params: &str) -> Result<(), PolicyFault> {
    let Some((text, [end, ..])) = io.split_at_mut_checked(params.len()) else {
        let (needed, cap) = (params.len() + 1, io.len());
        let reason = format!("io_cap {cap}, the parameters need {needed} bytes");
        return Err(PolicyFault::BadLayout { reason });
    };
    text.copy_from_slice(params.as_bytes());
    *end = 0;
    Ok(())
}
