//! What the sandbox asks of the host while a guest runs: more memory, a log line, more time.
//!
//! It owns the answers. They depend on the limits and on what the guest did, never on a clock, except
//! for the CPU-time deadline, which exists only where fuel does not.

use ostler_abi::{export, import};
use rustix::time::{ClockId, clock_gettime};
use wasmtime::{Caller, Extern, Linker, ResourceLimiter, StoreContextMut, Trap, UpdateDeadline};

use crate::log::Log;
use crate::ticker::Watch;

/// Fuel that a log line costs, so that a flood of them runs out of fuel like any other loop.
const LOG_FUEL: u64 = 500;

/// The host's side of one instance.
pub(crate) struct HostState {
    pub(crate) growth: Growth,
    pub(crate) log: Log,
    pub(crate) clock: CallClock,
}

/// Bounds on the memory and the tables of one instance.
pub(crate) struct Growth {
    /// Most memory, bytes.
    pub(crate) memory_bytes_max: u64,
    /// Most elements of a table.
    pub(crate) table_elements_max: u64,
    /// The first request that was denied.
    pub(crate) denied: Option<Denied>,
}

/// A request for more memory (bytes) or table elements than allowed.
#[derive(Clone, Copy)]
pub(crate) struct Denied {
    pub(crate) wanted: u64,
    pub(crate) limit: u64,
}

impl Growth {
    fn ask(&mut self, wanted: usize, limit: u64) -> bool {
        let wanted = wanted as u64;
        if wanted > limit {
            self.denied.get_or_insert(Denied { wanted, limit });
        }
        wanted <= limit
    }
}

impl ResourceLimiter for Growth {
    fn memory_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(self.ask(desired, self.memory_bytes_max))
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(self.ask(desired, self.table_elements_max))
    }
}

/// CPU time of the call that is running, as far as the epochs have seen it.
#[derive(Default)]
pub(crate) struct CallClock {
    /// Number of the call, counted up before each.
    pub(crate) call: u64,
    /// The call that `started_ns` belongs to.
    seen_call: u64,
    /// Thread CPU time at the first epoch of that call.
    started_ns: u64,
    /// CPU time that a call may take.
    pub(crate) deadline_ns: u64,
}

impl CallClock {
    /// Whether the running call has had its time. Called once an epoch, at most.
    ///
    /// The time counts from the first epoch that the call saw, so that ordinary calls, which see
    /// none, never read a clock. So the deadline is exact to two ticks.
    fn is_over(&mut self) -> bool {
        let now = thread_cpu_ns();
        if self.seen_call != self.call {
            (self.seen_call, self.started_ns) = (self.call, now);
        }
        now.saturating_sub(self.started_ns) >= self.deadline_ns
    }
}

/// CPU time of this thread, nanoseconds. A system call: some hundred nanoseconds.
pub(crate) fn thread_cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}

/// The epoch callback: lets the guest go on, watched, until its CPU time is used up.
pub(crate) fn on_epoch(
    mut context: StoreContextMut<'_, HostState>,
    watch: &Watch,
) -> UpdateDeadline {
    watch.ask();
    if context.data_mut().clock.is_over() {
        UpdateDeadline::Interrupt
    } else {
        UpdateDeadline::Continue(1)
    }
}

/// Defines the one import that a policy may have.
pub(crate) fn define_imports(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    linker.func_wrap(import::MODULE, import::LOG, log)?;
    Ok(())
}

/// `ostler.log(ptr, len)`. A range outside the memory traps, whether or not the line would be kept.
fn log(mut caller: Caller<'_, HostState>, ptr: i32, len: i32) -> wasmtime::Result<()> {
    if let Ok(fuel) = caller.get_fuel() {
        caller.set_fuel(fuel.saturating_sub(LOG_FUEL))?;
    }
    let Some(Extern::Memory(memory)) = caller.get_export(export::MEMORY) else {
        return Err(Trap::MemoryOutOfBounds.into());
    };
    let (bytes, state) = memory.data_and_store_mut(&mut caller);
    let (start, len) = (ptr.cast_unsigned() as usize, len.cast_unsigned() as usize);
    let text =
        bytes.get(start..).and_then(|rest| rest.get(..len)).ok_or(Trap::MemoryOutOfBounds)?;
    state.log.add(text);
    Ok(())
}
