//! A policy that is honest until a signal, and hostile from then on.
//!
//! Each of its instances holds one of either module. Before the signal records go to the honest one;
//! after it they go to the hostile one, in pieces that fit its window, and its answer is passed on.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use ostler::{InstanceSource, PolicyFault};
use ostler_abi::{Record, Setup};
use ostler_core::{PolicyInstance, Victims, Wants};

/// The policy.
pub(super) struct Turncoat {
    honest: Arc<dyn InstanceSource>,
    hostile: Arc<dyn InstanceSource>,
    signal: Signal,
}

/// What turns all instances of one turncoat.
#[derive(Clone, Debug, Default)]
pub(super) struct Signal(Arc<AtomicBool>);

impl Signal {
    pub(super) fn give(&self) {
        self.0.store(true, Relaxed);
    }
}

impl Turncoat {
    /// An honest policy with a hostile one behind it, and the signal that turns it.
    pub(super) fn new(
        honest: Arc<dyn InstanceSource>,
        hostile: Arc<dyn InstanceSource>,
    ) -> (Self, Signal) {
        let signal = Signal::default();
        (Self { honest, hostile, signal: signal.clone() }, signal)
    }
}

impl InstanceSource for Turncoat {
    fn label(&self) -> &str {
        self.hostile.label()
    }

    fn params(&self) -> &str {
        self.honest.params()
    }

    fn code_id(&self) -> String {
        self.hostile.code_id()
    }

    fn wants(&self) -> Wants {
        self.honest.wants()
    }

    fn instance(&self, setup: Setup) -> Result<Box<dyn PolicyInstance>, PolicyFault> {
        Ok(Box::new(TurncoatInstance {
            honest: self.honest.instance(setup)?,
            hostile: self.hostile.instance(setup)?,
            signal: self.signal.clone(),
        }))
    }
}

struct TurncoatInstance {
    honest: Box<dyn PolicyInstance>,
    hostile: Box<dyn PolicyInstance>,
    signal: Signal,
}

impl PolicyInstance for TurncoatInstance {
    fn events(&mut self) -> &mut [Record] {
        self.honest.events()
    }

    fn step(&mut self, n: usize) -> Result<Victims<'_>, PolicyFault> {
        if !self.signal.0.load(Relaxed) {
            return self.honest.step(n);
        }
        let (mut first, mut len) = (0, 0);
        while first < n {
            // The last piece is left to the call whose answer counts.
            if len > 0 {
                let _: Victims<'_> = self.hostile.step(len)?;
            }
            let window = self.hostile.events();
            len = window.len().min(n - first);
            window[..len].copy_from_slice(&self.honest.events()[first..first + len]);
            first += len;
        }
        self.hostile.step(len)
    }

    fn announce_slots(&mut self, bound: u32) {
        self.honest.announce_slots(bound);
        self.hostile.announce_slots(bound);
    }

    fn memory_bytes(&self) -> u64 {
        self.honest.memory_bytes() + self.hostile.memory_bytes()
    }

    fn guest_ns(&self) -> u64 {
        self.honest.guest_ns() + self.hostile.guest_ns()
    }
}
