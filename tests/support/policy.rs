//! Policies under test: compiled in or as a module, behind the faces that replay and checker know.

use std::collections::VecDeque;
use std::sync::LazyLock;

use ostler_abi::{Kind, ModelRefused, NativePolicy, Record, Setup};
use ostler_core::{InstanceSource, NativeInstance, PolicyFault, PolicyInstance, Victims, Wants};
use ostler_policy::check::Subject;
use ostler_wasm::{Limits, Manifest, Metering, PolicyModule, Runtime};

use crate::builtins::manifest_of;

type Make = Box<dyn Fn(Setup) -> Result<Box<dyn PolicyInstance>, PolicyFault> + Send + Sync>;

/// The deterministic runtime that all tests share: fuel, default limits.
///
/// # Panics
///
/// Where the runtime does not start on this machine.
pub fn runtime() -> &'static Runtime {
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
        Runtime::try_new(Metering::fuel(), Limits::default()).expect("the runtime starts")
    });
    &RUNTIME
}

/// A policy that can be replayed and checked.
pub struct Tested {
    label: String,
    params: String,
    wants: Wants,
    make: Make,
}

impl Tested {
    /// A compiled-in policy with `params`, flat JSON.
    ///
    /// # Panics
    ///
    /// Where the policy's manifest is not valid.
    #[must_use]
    pub fn native(native: NativePolicy, params: &str) -> Self {
        let manifest = manifest_of(&native);
        let given = params.to_owned();
        let make = move |setup: Setup| {
            let instance = NativeInstance::try_new(&native, setup, &given);
            let instance = instance.map_err(|_| PolicyFault::Refused { code: 1 })?;
            Ok(Box::new(instance) as Box<dyn PolicyInstance>)
        };
        Self::new(&manifest, params, Box::new(make))
    }

    /// A module with its default parameters.
    ///
    /// # Panics
    ///
    /// Where the defaults are refused.
    #[must_use]
    pub fn module(module: &PolicyModule) -> Self {
        let params = module.manifest().params(&serde_json::Map::new());
        Self::module_with(module, &params.expect("defaults are valid"))
    }

    /// A module with `params`, which [`Manifest::params`] returned.
    #[must_use]
    pub fn module_with(module: &PolicyModule, params: &str) -> Self {
        let (shared, given) = (module.clone(), params.to_owned());
        let make = move |setup: Setup| {
            let instance = shared.instantiate(setup, &given)?;
            Ok(Box::new(instance) as Box<dyn PolicyInstance>)
        };
        Self::new(module.manifest(), params, Box::new(make))
    }

    /// The same policy, called with one record at a time.
    #[must_use]
    pub fn one_record_a_call(self) -> Self {
        let make = self.make;
        let make = move |setup: Setup| {
            let instance = make(setup)?;
            Ok(Box::new(OneRecord(instance)) as Box<dyn PolicyInstance>)
        };
        Self { make: Box::new(make), ..self }
    }

    /// An instance as the conformance checker knows it.
    ///
    /// # Errors
    ///
    /// The fault's text.
    pub fn subject(&self, setup: Setup) -> Result<Box<dyn Subject>, String> {
        let instance = (self.make)(setup).map_err(|fault| fault.to_string())?;
        Ok(Box::new(Seated { instance, slots: setup.slots, waiting: VecDeque::new() }))
    }

    fn new(manifest: &Manifest, params: &str, make: Make) -> Self {
        let wants = Wants { hits: manifest.wants(Kind::Hit), misses: manifest.wants(Kind::Miss) };
        Self { label: manifest.name().to_owned(), params: params.to_owned(), wants, make }
    }
}

impl InstanceSource for Tested {
    fn label(&self) -> &str {
        &self.label
    }

    fn params(&self) -> &str {
        &self.params
    }

    fn code_id(&self) -> String {
        self.label.clone()
    }

    fn wants(&self) -> Wants {
        self.wants
    }

    fn instance(&self, setup: Setup) -> Result<Box<dyn PolicyInstance>, PolicyFault> {
        (self.make)(setup)
    }
}

/// An instance whose window shows only its first place.
struct OneRecord(Box<dyn PolicyInstance>);

impl PolicyInstance for OneRecord {
    fn events(&mut self) -> &mut [Record] {
        &mut self.0.events()[..1]
    }

    fn step(&mut self, n: usize) -> Result<Victims<'_>, PolicyFault> {
        self.0.step(n)
    }

    fn model(&mut self, message: &[u8]) -> Result<Result<(), ModelRefused>, PolicyFault> {
        self.0.model(message)
    }

    fn announce_slots(&mut self, bound: u32) {
        self.0.announce_slots(bound);
    }

    fn memory_bytes(&self) -> u64 {
        self.0.memory_bytes()
    }

    fn guest_ns(&self) -> u64 {
        self.0.guest_ns()
    }
}

/// An instance under the checker, whose batches and buffers have other lengths than the instance's.
struct Seated {
    instance: Box<dyn PolicyInstance>,
    /// Bound on slots: no honest answer has more victims.
    slots: u32,
    /// Victims that the checker has had no room for.
    waiting: VecDeque<u32>,
}

impl Seated {
    fn serve(&mut self, batch: &[Record]) -> Result<(), String> {
        for event in batch.iter().filter(|event| event.kind() == Some(Kind::Slots)) {
            self.slots = self.slots.max(event.slot);
            self.instance.announce_slots(event.slot);
        }
        self.instance.events()[..batch.len()].copy_from_slice(batch);
        let mut pending = batch.len();
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

impl Subject for Seated {
    fn step(&mut self, events: &[Record], victims: &mut [u32]) -> Result<usize, String> {
        let window_len = self.instance.events().len();
        for batch in events.chunks(window_len) {
            self.serve(batch)?;
        }
        let count = self.waiting.len().min(victims.len());
        for (place, victim) in victims.iter_mut().zip(self.waiting.drain(..count)) {
            *place = victim;
        }
        Ok(count)
    }

    fn model(&mut self, message: &[u8]) -> Result<Result<(), ModelRefused>, String> {
        self.instance.model(message).map_err(|fault| fault.to_string())
    }
}
