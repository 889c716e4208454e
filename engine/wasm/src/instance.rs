//! An instance: one running guest behind the core's [`PolicyInstance`].
//!
//! It owns the guest's event window and the reading of its victims. Budget of a call: one check of the
//! native stack, one account of fuel or one counter, one typed call, two slices; no allocation.

use ostler_abi::{ModelRefused, Record, Setup};
use ostler_core::{PolicyFault, PolicyInstance, Victims};

use crate::log::TakenLog;
use crate::memory::{Window, slots};
use crate::module::PolicyModule;
use crate::sandbox::Guest;

/// A running eviction policy.
pub struct WasmInstance {
    guest: Guest,
    window: Window,
    victims_cap: usize,
    slots: u32,
}

impl WasmInstance {
    pub(crate) fn try_new(
        module: &PolicyModule,
        setup: Setup,
        params: &str,
    ) -> Result<Self, PolicyFault> {
        let guest = Guest::try_new(module, setup, params)?;
        let window = Window::new(guest.memory, &guest.sandbox.store, guest.regions.events);
        let bytes = guest.memory.data(&guest.sandbox.store);
        let victims_cap = slots(guest.regions.victims.of(bytes)).len();
        Ok(Self { guest, window, victims_cap, slots: setup.slots })
    }

    /// The module that this is an instance of.
    #[must_use]
    pub fn module(&self) -> &PolicyModule {
        &self.guest.module
    }

    /// What the guest logged since the last call.
    pub fn take_log(&mut self) -> TakenLog {
        self.guest.take_log()
    }

    #[inline]
    fn count_victims(&mut self, n: usize) -> Result<usize, PolicyFault> {
        assert!(n <= self.window.len(), "the batch fits the window that `events` returned");
        let returned = self.guest.call(n)?;
        match usize::try_from(returned) {
            Ok(count) if count <= self.victims_cap => {
                self.guest.sandbox.meter.credit_victims(count as u64);
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
        self.window.records(&mut self.guest.sandbox.store)
    }

    #[inline]
    fn step(&mut self, n: usize) -> Result<Victims<'_>, PolicyFault> {
        self.guest.check_fault()?;
        let count = self.count_victims(n);
        // Most batches evict nothing; they need no look into the guest's memory.
        match count {
            Ok(0) => Ok(Victims { slots: &[], more: false }),
            Ok(count) => {
                let bytes = self.guest.memory.data(&self.guest.sandbox.store);
                let victims = slots(self.guest.regions.victims.of(bytes));
                Ok(Victims { slots: &victims[..count], more: count == self.victims_cap })
            }
            Err(fault) => self.guest.keep_fault(Err(fault)),
        }
    }

    fn model(&mut self, message: &[u8]) -> Result<Result<(), ModelRefused>, PolicyFault> {
        self.guest.model(message)
    }

    fn announce_slots(&mut self, bound: u32) {
        if bound > self.slots {
            self.slots = bound;
            self.guest.set_slots(bound);
        }
    }

    fn take_log(&mut self) -> Vec<String> {
        self.guest.take_lines()
    }

    fn memory_bytes(&self) -> u64 {
        self.guest.memory_bytes()
    }

    fn guest_ns(&self) -> u64 {
        self.guest.sandbox.meter.guest_ns()
    }
}
