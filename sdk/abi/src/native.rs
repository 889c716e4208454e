//! The seam: what a policy is once it runs, compiled in or sandboxed.

use alloc::boxed::Box;
use alloc::string::String;

use crate::Record;

/// A policy that runs: consumes events, proposes victims.
///
/// Implemented by the SDK's driver around every policy. The engine reaches it directly for a
/// compiled-in policy and through `ostler_step` for a sandboxed one; nothing else differs.
pub trait Step {
    /// Consumes all `events` in order and writes the slots to evict into `victims`.
    ///
    /// Returns how many were written. A return equal to `victims.len()` means that there may be
    /// more: the caller applies these and calls again with no events until it gets less. Events
    /// are never handed over twice. Cost: O(events + victims) for the list-based policies.
    fn step(&mut self, events: &[Record], victims: &mut [u32]) -> usize;
}

/// What a policy instance is created with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setup {
    /// Sum of weights the cache may hold.
    pub capacity: u64,
    /// First bound on slot numbers: records name slots below it until a slots record raises it.
    pub slots: u32,
    /// Seed of everything random in the policy; the same seed makes the same decisions.
    pub seed: u64,
}

/// Why a policy refused its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitRefused {
    /// What was wrong and what would be right, in one line.
    pub reason: String,
}

impl core::fmt::Display for InitRefused {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&self.reason)
    }
}

impl core::error::Error for InitRefused {}

/// Makes an instance of a compiled-in policy from its setup and its parameters as JSON.
pub type BuildNative = fn(Setup, &str) -> Result<Box<dyn Step + Send>, InitRefused>;

/// A policy compiled into the program: the same source as its module, without the sandbox.
#[derive(Clone, Copy)]
pub struct NativePolicy {
    /// The manifest, as JSON; the same text that the module carries in its custom section.
    pub manifest: &'static str,
    /// Creates an instance. The second argument is the parameters as a flat JSON object.
    pub build: BuildNative,
}

impl core::fmt::Debug for NativePolicy {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("NativePolicy").field("manifest", &self.manifest).finish_non_exhaustive()
    }
}
