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

    /// Takes a model: a message of at most [`MODEL_BYTES_MAX`](crate::MODEL_BYTES_MAX) bytes, between
    /// two batches. What it means is between who trained it and the policy.
    ///
    /// # Errors
    ///
    /// [`ModelRefused`] where the policy takes none or not this one. An earlier model stays, and no
    /// decision changes by a refused one.
    fn model(&mut self, message: &[u8]) -> Result<(), ModelRefused> {
        let _ = message;
        Err(ModelRefused::TAKES_NONE)
    }
}

/// Why a policy refused a model, as the number that `ostler_model` returned.
///
/// The four numbers named here are the contract's; others are a policy's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ModelRefused {
    /// Anything but 0.
    pub code: i32,
}

impl ModelRefused {
    /// The policy takes no models.
    pub const TAKES_NONE: Self = Self { code: 1 };
    /// The message is of another format or version.
    pub const FORMAT: Self = Self { code: 2 };
    /// The message is too short, too long or does not decode.
    pub const LENGTH: Self = Self { code: 3 };
    /// A weight is not finite or out of its range.
    pub const WEIGHTS: Self = Self { code: 4 };

    /// What the code says, in a few words.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self.code {
            1 => "the policy takes no models",
            2 => "the model is of another format",
            3 => "the model's message has the wrong length",
            4 => "a weight of the model is not finite or out of range",
            _ => "the policy refused the model for a reason of its own",
        }
    }
}

impl core::fmt::Display for ModelRefused {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} (code {})", self.reason(), self.code)
    }
}

impl core::error::Error for ModelRefused {}

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
