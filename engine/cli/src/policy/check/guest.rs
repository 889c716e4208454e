//! A sandboxed policy as the conformance checker knows policies.
//!
//! The checker hands over batches and places for victims of its own lengths, the guest has its own
//! windows; this carries the one over to the other. Nothing is judged here but that a guest does not
//! answer forever.

use std::collections::VecDeque;

use ostler_abi::{Kind, Record, Setup};
use ostler_core::{PolicyFault, PolicyInstance};
use ostler_policy::check::Subject;
use ostler_wasm::{PolicyModule, WasmInstance};

/// An instance under test.
pub(super) struct Guest {
    instance: WasmInstance,
    /// Bound on slots: no honest answer has more victims.
    slots: u32,
    /// Victims that the checker has no room for yet.
    waiting: VecDeque<u32>,
}

impl Guest {
    /// Makes an instance of `module`.
    pub(super) fn try_new(
        module: &PolicyModule,
        setup: Setup,
        params: &str,
    ) -> Result<Self, PolicyFault> {
        let instance = module.instantiate(setup, params)?;
        Ok(Self { instance, slots: setup.slots, waiting: VecDeque::new() })
    }

    /// Hands over one window's worth of records and takes the whole answer.
    fn serve(&mut self, events: &[Record]) -> Result<(), String> {
        for event in events.iter().filter(|event| event.kind() == Some(Kind::Slots)) {
            self.slots = self.slots.max(event.slot);
            self.instance.announce_slots(event.slot);
        }
        self.instance.events()[..events.len()].copy_from_slice(events);
        let mut pending = events.len();
        loop {
            let victims = self.instance.step(pending).map_err(|fault| fault.to_string())?;
            let more = victims.more;
            self.waiting.extend(victims.slots);
            if !more {
                return Ok(());
            }
            if self.waiting.len() > self.slots as usize {
                return Err(format!("more victims than the {} slots there are", self.slots));
            }
            pending = 0;
        }
    }
}

impl Subject for Guest {
    fn step(&mut self, events: &[Record], victims: &mut [u32]) -> Result<usize, String> {
        let window_len = self.instance.events().len();
        for batch in events.chunks(window_len.max(1)) {
            self.serve(batch)?;
        }
        let count = self.waiting.len().min(victims.len());
        for (place, victim) in victims.iter_mut().zip(self.waiting.drain(..count)) {
            *place = victim;
        }
        Ok(count)
    }
}
