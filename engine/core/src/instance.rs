//! The core's side of the seam: a policy instance it can feed and ask, native or sandboxed.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use ostler_abi::{
    Access, Asks, Candidate, InitRefused, ModelRefused, NativePolicy, NativePrefetch,
    NativeWarming, Outlook, Record, Setup,
};

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

    /// Hands over a model, between two batches: no records are pending.
    ///
    /// The inner result is the policy's own: where it refuses, an earlier model stays and nothing
    /// else happens; [`ModelRefused::TAKES_NONE`] where it takes no models at all.
    ///
    /// # Errors
    ///
    /// As [`step`](Self::step).
    fn model(&mut self, message: &[u8]) -> Result<Result<(), ModelRefused>, PolicyFault> {
        let _ = message;
        Ok(Err(ModelRefused::TAKES_NONE))
    }

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

/// A running prefetch policy. One for a cache, off the path of the requests.
pub trait PrefetchInstance: Send {
    /// Hands `accesses` over, in order, and adds what the policy asks for to `asks`, which is empty. Any
    /// number at once: an instance splits them as suits it, and what is asked for does not depend on that.
    ///
    /// `keys` is what the accesses point into; keys are for policies that require
    /// [`keys`](ostler_abi::feature::KEYS). Of the asks of a sandboxed policy every bound was checked.
    ///
    /// # Errors
    ///
    /// A [`PolicyFault`] where the policy broke its contract; the instance must not be called again,
    /// and what it asked for in this call is not in `asks`.
    fn predict(
        &mut self,
        accesses: &[Access],
        keys: &[u8],
        asks: &mut Asks<'_>,
    ) -> Result<(), PolicyFault>;

    /// As [`PolicyInstance::take_log`].
    fn take_log(&mut self) -> Vec<String> {
        Vec::new()
    }

    /// As [`PolicyInstance::memory_bytes`].
    fn memory_bytes(&self) -> u64 {
        0
    }

    /// As [`PolicyInstance::guest_ns`].
    fn guest_ns(&self) -> u64 {
        0
    }
}

/// A running warming policy. One for a cache, off the path of the requests.
pub trait WarmingInstance: Send {
    /// Scores `candidates`: higher is fetched first, 0 is left out. Any number at once.
    ///
    /// # Errors
    ///
    /// A [`PolicyFault`] where the policy broke its contract; the instance must not be called again,
    /// and `scores` holds no answer.
    ///
    /// # Panics
    ///
    /// Where `scores` is not as long as `candidates`.
    fn rank(
        &mut self,
        outlook: &Outlook,
        candidates: &[Candidate],
        scores: &mut [u32],
    ) -> Result<(), PolicyFault>;

    /// Hands over a model, as [`PolicyInstance::model`].
    ///
    /// # Errors
    ///
    /// As [`rank`](Self::rank).
    fn model(&mut self, message: &[u8]) -> Result<Result<(), ModelRefused>, PolicyFault>;

    /// As [`PolicyInstance::take_log`].
    fn take_log(&mut self) -> Vec<String> {
        Vec::new()
    }

    /// As [`PolicyInstance::memory_bytes`].
    fn memory_bytes(&self) -> u64 {
        0
    }

    /// As [`PolicyInstance::guest_ns`].
    fn guest_ns(&self) -> u64 {
        0
    }
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

/// What a compiled-in policy returns; its panic is a fault. A fault drops the instance, so nothing that
/// a panic left half done is seen again.
#[inline]
fn caught<R>(call: impl FnOnce() -> R) -> Result<R, PolicyFault> {
    catch_unwind(AssertUnwindSafe(call))
        .map_err(|panic| PolicyFault::Trap { reason: panic_text(panic.as_ref()) })
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
        let count = caught(|| step.step(events, victims))?;
        assert!(count <= self.victims.len(), "a native policy cannot return more than fits");
        Ok(Victims { slots: &self.victims[..count], more: count == self.victims.len() })
    }

    fn model(&mut self, message: &[u8]) -> Result<Result<(), ModelRefused>, PolicyFault> {
        caught(|| self.step.model(message))
    }

    fn memory_bytes(&self) -> u64 {
        0
    }

    fn guest_ns(&self) -> u64 {
        0
    }
}

/// A compiled-in prefetch policy behind the seam.
pub struct NativePrefetchInstance {
    policy: Box<dyn ostler_abi::Predict + Send>,
}

impl NativePrefetchInstance {
    /// Creates an instance of `policy` with `params` as a flat JSON object.
    ///
    /// # Errors
    ///
    /// [`InitRefused`] where the policy does not accept the parameters.
    pub fn try_new(
        policy: &NativePrefetch,
        setup: Setup,
        params: &str,
    ) -> Result<Self, InitRefused> {
        Ok(Self { policy: (policy.build)(setup, params)? })
    }
}

impl PrefetchInstance for NativePrefetchInstance {
    fn predict(
        &mut self,
        accesses: &[Access],
        keys: &[u8],
        asks: &mut Asks<'_>,
    ) -> Result<(), PolicyFault> {
        caught(|| self.policy.predict(accesses, keys, asks)).inspect_err(|_| asks.clear())
    }
}

/// A compiled-in warming policy behind the seam.
pub struct NativeWarmingInstance {
    policy: Box<dyn ostler_abi::Rank + Send>,
}

impl NativeWarmingInstance {
    /// Creates an instance of `policy` with `params` as a flat JSON object.
    ///
    /// # Errors
    ///
    /// [`InitRefused`] where the policy does not accept the parameters.
    pub fn try_new(
        policy: &NativeWarming,
        setup: Setup,
        params: &str,
    ) -> Result<Self, InitRefused> {
        Ok(Self { policy: (policy.build)(setup, params)? })
    }
}

impl WarmingInstance for NativeWarmingInstance {
    fn rank(
        &mut self,
        outlook: &Outlook,
        candidates: &[Candidate],
        scores: &mut [u32],
    ) -> Result<(), PolicyFault> {
        assert_eq!(candidates.len(), scores.len(), "a score for each candidate");
        caught(|| self.policy.rank(outlook, candidates, scores))
    }

    fn model(&mut self, message: &[u8]) -> Result<Result<(), ModelRefused>, PolicyFault> {
        caught(|| self.policy.model(message))
    }
}
