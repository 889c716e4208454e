//! An instance: one running guest behind the core's [`PolicyInstance`].
//!
//! It owns the store, the guest's buffers and the first fault. Budget of a call: one check of the
//! native stack, one account of fuel or one counter, one typed call, two slices; no allocation.

use ostler_abi::{Record, Setup, export};
use ostler_core::{PolicyFault, PolicyInstance, Victims};
use wasmtime::{Memory, Store, Trap, TypedFunc, WasmParams, WasmResults};

use crate::host::{CallClock, Growth, HostState, on_epoch};
use crate::log::{Log, TakenLog};
use crate::memory::{Regions, Window, slots};
use crate::meter::Meter;
use crate::module::PolicyModule;
use crate::native_stack;
use crate::runtime::{Runtime, WASM_STACK_BYTES};

/// A running guest.
pub struct WasmInstance {
    sandbox: Sandbox,
    module: PolicyModule,
    memory: Memory,
    step: TypedFunc<i32, i32>,
    regions: Regions,
    window: Window,
    victims_cap: usize,
    slots: u32,
    fault: Option<Box<PolicyFault>>,
}

impl WasmInstance {
    pub(crate) fn try_new(
        module: &PolicyModule,
        setup: Setup,
        params: &str,
    ) -> Result<Self, PolicyFault> {
        const CHECKED: &str = "invariant: admission checked the exports and their types";
        native_stack::check()?;
        let mut sandbox = Sandbox::new(module.runtime(), memory_bytes_max(module, setup.slots));
        let instance = sandbox.run(0, |store| module.pre().instantiate(store))?;
        let memory = instance.get_memory(&mut sandbox.store, export::MEMORY).expect(CHECKED);
        let layout = instance.get_typed_func::<(), i32>(&mut sandbox.store, export::LAYOUT);
        let init =
            instance.get_typed_func::<(i64, i32, i64), i32>(&mut sandbox.store, export::INIT);
        let step = instance.get_typed_func::<i32, i32>(&mut sandbox.store, export::STEP);
        let (layout, init, step) =
            (layout.expect(CHECKED), init.expect(CHECKED), step.expect(CHECKED));

        let address = sandbox.call(&layout, (), 0)?.cast_unsigned();
        let regions = Regions::try_read(memory.data(&sandbox.store), address)?;
        write_params(regions.io.of_mut(memory.data_mut(&mut sandbox.store)), params)?;
        let arguments =
            (setup.capacity.cast_signed(), setup.slots.cast_signed(), setup.seed.cast_signed());
        match sandbox.call(&init, arguments, 0)? {
            0 => {}
            code => return Err(PolicyFault::Refused { code }),
        }
        let window = Window::new(memory, &sandbox.store, regions.events);
        let bytes = memory.data(&sandbox.store);
        let victims_cap = slots(regions.victims.of(bytes)).len();
        Ok(Self {
            sandbox,
            module: module.clone(),
            memory,
            step,
            regions,
            window,
            victims_cap,
            slots: setup.slots,
            fault: None,
        })
    }

    /// The module that this is an instance of.
    #[must_use]
    pub fn module(&self) -> &PolicyModule {
        &self.module
    }

    /// What the guest logged since the last call.
    pub fn take_log(&mut self) -> TakenLog {
        self.sandbox.store.data_mut().log.take()
    }

    #[inline]
    fn count_victims(&mut self, n: usize) -> Result<usize, PolicyFault> {
        assert!(n <= self.window.len(), "the batch fits the window that `events` returned");
        native_stack::check()?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_possible_wrap,
            reason = "at most EVENTS_CAP_MAX"
        )]
        let returned = self.sandbox.call(&self.step, n as i32, n as u64)?;
        match usize::try_from(returned) {
            Ok(count) if count <= self.victims_cap => {
                self.sandbox.meter.credit_victims(count as u64);
                Ok(count)
            }
            _ => Err(PolicyFault::BadVictim {
                reason: format!("{returned} victims, the buffer holds {}", self.victims_cap),
            }),
        }
    }
}

impl PolicyInstance for WasmInstance {
    #[inline]
    fn events(&mut self) -> &mut [Record] {
        self.window.records(&mut self.sandbox.store)
    }

    #[inline]
    fn step(&mut self, n: usize) -> Result<Victims<'_>, PolicyFault> {
        if let Some(fault) = &self.fault {
            return Err(PolicyFault::clone(fault));
        }
        match self.count_victims(n) {
            // Most batches evict nothing; they need no look into the guest's memory.
            Ok(0) => Ok(Victims { slots: &[], more: false }),
            Ok(count) => {
                let victims = slots(self.regions.victims.of(self.memory.data(&self.sandbox.store)));
                Ok(Victims { slots: &victims[..count], more: count == self.victims_cap })
            }
            Err(fault) => {
                self.fault = Some(Box::new(fault.clone()));
                Err(fault)
            }
        }
    }

    fn announce_slots(&mut self, bound: u32) {
        if bound > self.slots {
            self.slots = bound;
            self.sandbox.set_memory(memory_bytes_max(&self.module, bound));
        }
    }

    fn take_log(&mut self) -> Vec<String> {
        let TakenLog { mut lines, dropped } = WasmInstance::take_log(self);
        if dropped > 0 {
            lines.push(format!("({dropped} more lines were dropped)"));
        }
        lines
    }

    fn memory_bytes(&self) -> u64 {
        self.memory.data_size(&self.sandbox.store) as u64
    }

    fn guest_ns(&self) -> u64 {
        self.sandbox.meter.guest_ns()
    }
}

/// A store with its meter: every entry into guest code goes through [`run`](Self::run).
struct Sandbox {
    store: Store<HostState>,
    meter: Meter,
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
            store.epoch_deadline_callback(|context| Ok(on_epoch(context)));
            store.set_epoch_deadline(1);
            ticker.enter();
        }
        let mut sandbox = Self { store, meter: runtime.meter(), runtime: runtime.clone() };
        sandbox.set_memory(memory_bytes_max);
        sandbox
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
