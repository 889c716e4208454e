//! The core's side of the seam: a policy instance it can feed and ask, native or sandboxed.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use ostler_abi::{InitRefused, NativePolicy, Record, Setup};

use crate::fault::PolicyFault;

/// A running policy as the seat sees it. The core knows no other face of a policy.
///
/// The events window belongs to the instance, so that a sandboxed policy gets its records written
/// straight into its linear memory: the seat fills `events()[..n]` and calls `step(n)`.
pub trait PolicyInstance: Send {
    /// Where records are written: at least one long; its length is the longest batch.
    ///
    /// The contents survive until the next `step`. Cost: a few nanoseconds, no allocation.
    fn events(&mut self) -> &mut [Record];

    /// Consumes the first `n` records of the window, `n <= events().len()`.
    ///
    /// # Errors
    ///
    /// A [`PolicyFault`] where the policy broke its contract; the instance must not be called again.
    fn step(&mut self, n: usize) -> Result<Victims<'_>, PolicyFault>;

    /// Tells the instance that a slots record with this bound is about to be noted, so that a sandbox
    /// can raise its memory limit. Comes before the record.
    fn announce_slots(&mut self, _bound: u32) {}

    /// Lines that the policy logged since the last call of this, oldest first; bounded by the
    /// sandbox, and none for a native policy.
    fn take_log(&mut self) -> Vec<String> {
        Vec::new()
    }

    /// Bytes of memory the policy holds in its sandbox; 0 for a native policy.
    fn memory_bytes(&self) -> u64;

    /// Nanoseconds spent in the policy so far: an estimate from timing some of the calls, 0 where
    /// the instance does not measure.
    fn guest_ns(&self) -> u64;
}

/// What one call of a policy proposed.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Victims<'a> {
    /// Slots to evict, in order. Not yet validated.
    pub slots: &'a [u32],
    /// True where the policy filled its whole buffer: there may be more, ask with no events.
    pub more: bool,
}

/// A compiled-in policy behind the seam.
pub struct NativeInstance {
    step: Box<dyn ostler_abi::Step + Send>,
    events: Vec<Record>,
    victims: Vec<u32>,
}

/// What a panicking policy said.
#[cold]
fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("panic: {}", text.unwrap_or("no message"))
}

/// Length of a native policy's event window and victim buffer; equals what the SDK's guests publish.
const NATIVE_WINDOW_LEN: usize = 256;

impl NativeInstance {
    /// Creates an instance of `policy` with `params` as a flat JSON object.
    ///
    /// # Errors
    ///
    /// [`InitRefused`] where the policy does not accept the parameters.
    pub fn try_new(policy: &NativePolicy, setup: Setup, params: &str) -> Result<Self, InitRefused> {
        Ok(Self {
            step: (policy.build)(setup, params)?,
            events: vec![Record::default(); NATIVE_WINDOW_LEN],
            victims: vec![0; NATIVE_WINDOW_LEN],
        })
    }
}

impl PolicyInstance for NativeInstance {
    #[inline]
    fn events(&mut self) -> &mut [Record] {
        &mut self.events
    }

    #[inline]
    fn step(&mut self, n: usize) -> Result<Victims<'_>, PolicyFault> {
        let (step, events) = (&mut self.step, &self.events[..n]);
        let victims = &mut self.victims;
        // A fault drops the instance, so nothing that a panic left half done is seen again.
        let count = catch_unwind(AssertUnwindSafe(|| step.step(events, victims)))
            .map_err(|panic| PolicyFault::Trap { reason: panic_text(panic.as_ref()) })?;
        assert!(count <= self.victims.len(), "a native policy cannot return more than fits");
        Ok(Victims { slots: &self.victims[..count], more: count == self.victims.len() })
    }

    fn memory_bytes(&self) -> u64 {
        0
    }

    fn guest_ns(&self) -> u64 {
        0
    }
}
