//! The conformance checker: does a policy keep the contract?
//!
//! [`ReferenceCache`] is a plain, slow cache that plays requests against a policy and judges every
//! answer; [`conformance`] drives it through a fixed hard workload and says which [`Rule`] broke.
//! It knows a policy only as a [`Subject`], so the same checks run against a policy compiled in and
//! against its module. The other kinds of policy have a subject and a workload of their own:
//! [`prefetch_conformance`] and [`warming_conformance`]. It must not know the engine: it is the
//! engine's oracle.

mod conformance;
mod garbage;
mod prefetch;
mod reference;
mod warming;

pub use conformance::{Check, ConformanceReport, conformance};
pub use prefetch::{PrefetchSubject, native_prefetch_factory, prefetch_conformance};
pub use reference::{Batch, Breach, ReferenceCache, Rule, Served};
pub use warming::{WarmingSubject, native_warming_factory, warming_conformance};

use ostler_abi::{ModelRefused, NativePolicy, Record, Setup, Step};

/// A policy under test. Native policies are infallible; a sandboxed one can fault.
pub trait Subject {
    /// As [`Step::step`], but may fail with the fault's text.
    ///
    /// # Errors
    ///
    /// What the sandbox says about a call that faulted.
    fn step(&mut self, events: &[Record], victims: &mut [u32]) -> Result<usize, String>;

    /// As [`Step::model`], but may fail with the fault's text. The inner result is the policy's own.
    ///
    /// # Errors
    ///
    /// What the sandbox says about a call that faulted.
    fn model(&mut self, message: &[u8]) -> Result<Result<(), ModelRefused>, String> {
        let _ = message;
        Ok(Err(ModelRefused::TAKES_NONE))
    }
}

impl Subject for Box<dyn Step + Send> {
    fn step(&mut self, events: &[Record], victims: &mut [u32]) -> Result<usize, String> {
        Ok((**self).step(events, victims))
    }

    fn model(&mut self, message: &[u8]) -> Result<Result<(), ModelRefused>, String> {
        Ok((**self).model(message))
    }
}

impl Subject for Box<dyn Subject> {
    fn step(&mut self, events: &[Record], victims: &mut [u32]) -> Result<usize, String> {
        (**self).step(events, victims)
    }

    fn model(&mut self, message: &[u8]) -> Result<Result<(), ModelRefused>, String> {
        (**self).model(message)
    }
}

/// A factory for [`conformance`] that builds a compiled-in policy with `params`.
pub fn native_factory<'a>(
    policy: &'a NativePolicy,
    params: &'a str,
) -> impl FnMut(Setup) -> Result<Box<dyn Subject>, String> + 'a {
    move |setup| {
        let step = (policy.build)(setup, params).map_err(|refused| refused.reason)?;
        Ok(Box::new(step) as Box<dyn Subject>)
    }
}

/// Plays `requests`, such as `"a b:3 a c"` (a key, then its weight after a colon, else 1), against a
/// compiled-in policy and returns the evicted keys in order, separated by spaces.
///
/// Keys are single letters. For tests that read as tables.
///
/// # Panics
///
/// Where the text is not of this form, the parameters are refused or the contract is broken.
#[must_use]
pub fn evictions(policy: &NativePolicy, params: &str, capacity: u64, requests: &str) -> String {
    let slots = 64;
    let step = (policy.build)(Setup { capacity, slots, seed: 1 }, params)
        .expect("the parameters of a test are valid");
    let mut cache = ReferenceCache::new(step, capacity, slots, Batch::Exact);
    for request in requests.split_whitespace() {
        let (key, weight) = request.split_once(':').unwrap_or((request, "1"));
        let [letter] = *key.as_bytes() else { unreachable!("a key is one letter: {request}") };
        let weight = weight.parse().expect("a weight is a number");
        cache.request(u64::from(letter), weight).expect("the policy keeps the contract");
    }
    cache.flush().expect("the policy keeps the contract");
    let letters: Vec<String> = cache
        .take_evicted()
        .into_iter()
        .filter_map(|key| u8::try_from(key).ok().map(|letter| char::from(letter).to_string()))
        .collect();
    letters.join(" ")
}
