//! The last step of an admission: the SDK's conformance workload against a module in its sandbox.
//!
//! The server runs it on each upload, `ostler policy check` for the author beforehand; both run it
//! here, so that they agree. The guest is metered by fuel: what it is told depends on no clock but
//! for one bound on the whole run, some hundred times what the slowest built-in policy takes. It judges
//! nothing itself: the rules are the SDK's.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use ostler_abi::{Access, Asks, Candidate, Kind, ModelRefused, Outlook, PolicyKind, Record, Setup};
use ostler_core::{PolicyFault, PolicyInstance, PrefetchInstance, WarmingInstance};
use ostler_policy::check::{
    ConformanceReport, PrefetchSubject, Subject, WarmingSubject, conformance, prefetch_conformance,
    warming_conformance,
};
use ostler_wasm::{
    Limits, Metering, Outcome, PolicyModule, Runtime, RuntimeError, Verdict, WasmInstance,
    WasmPrefetch, WasmRanker,
};

/// Name of the step, the last of [`STEPS`](ostler_wasm::STEPS).
const STEP: &str = "conformance";
/// Longest run; a call that has begun then is ended by its fuel, at most some seconds later.
const RUN_MAX: Duration = Duration::from_secs(15);
/// Most memory of an instance, bytes. Fuel grows with what a guest may have, and the workload has a
/// few thousand slots.
const MEMORY_BYTES_MAX: u64 = 256 << 20;

/// A runtime for [`run`]: metered by fuel, with less memory than a cache would give.
///
/// # Errors
///
/// [`RuntimeError`] on a machine that the Wasm compiler does not support.
pub fn runtime() -> Result<Runtime, RuntimeError> {
    let limits = Limits { memory_bytes_max: MEMORY_BYTES_MAX, ..Limits::default() };
    Runtime::try_new(Metering::fuel(), limits)
}

/// Runs the workload of its kind against `module`, which [`runtime`] made, with `params` as JSON, and adds the
/// step to `verdict`.
///
/// Cost: a built-in policy takes a tenth of a second, no module more than some twenty seconds.
pub fn run(module: &PolicyModule, params: &str, verdict: &mut Verdict) -> ConformanceReport {
    let end = Instant::now() + RUN_MAX;
    let report = match module.manifest().kind() {
        PolicyKind::Prefetch => prefetch_conformance(&mut |setup| {
            check_time(end)?;
            let instance = module.instantiate_prefetch(setup, params).map_err(told)?;
            Ok(Box::new(Timed { instance, end }))
        }),
        PolicyKind::Warming => warming_conformance(&mut |setup| {
            check_time(end)?;
            let instance = module.instantiate_warming(setup, params).map_err(told)?;
            Ok(Box::new(Timed { instance, end }))
        }),
        _ => conformance(&mut |setup: Setup| {
            check_time(end)?;
            let instance = module.instantiate(setup, params).map_err(told)?;
            Ok(Box::new(Guest { instance, slots: setup.slots, waiting: VecDeque::new(), end }))
        }),
    };
    match report.first_failure() {
        None => verdict.push(STEP, Outcome::Passed, format!("{} scenarios", report.checks.len())),
        Some(failure) => verdict.push(STEP, Outcome::Failed, failure),
    }
    report
}

fn check_time(end: Instant) -> Result<(), String> {
    if Instant::now() < end {
        return Ok(());
    }
    Err(format!("the run is not done after {} s, the policy is too slow", RUN_MAX.as_secs()))
}

/// A fault as the report shows it.
fn told(fault: PolicyFault) -> String {
    fault.to_string()
}

/// An instance of a kind that splits batches by itself, and when the whole run has to be done.
struct Timed<T> {
    instance: T,
    end: Instant,
}

impl PrefetchSubject for Timed<WasmPrefetch> {
    fn predict(
        &mut self,
        accesses: &[Access],
        keys: &[u8],
        asks: &mut Asks<'_>,
    ) -> Result<(), String> {
        check_time(self.end)?;
        self.instance.predict(accesses, keys, asks).map_err(told)
    }
}

impl WarmingSubject for Timed<WasmRanker> {
    fn rank(
        &mut self,
        outlook: &Outlook,
        candidates: &[Candidate],
        scores: &mut [u32],
    ) -> Result<(), String> {
        check_time(self.end)?;
        self.instance.rank(outlook, candidates, scores).map_err(told)
    }

    fn model(&mut self, message: &[u8]) -> Result<Result<(), ModelRefused>, String> {
        check_time(self.end)?;
        self.instance.model(message).map_err(told)
    }
}

/// An instance under test: the checker hands over batches and places for victims of its own lengths,
/// the guest has its own windows; this carries the one over to the other.
struct Guest {
    instance: WasmInstance,
    /// Bound on slots: no honest answer has more victims.
    slots: u32,
    /// Victims that the checker has no room for yet.
    waiting: VecDeque<u32>,
    /// When the whole run has to be done.
    end: Instant,
}

impl Guest {
    /// Hands over one window's worth of records and takes the whole answer.
    fn serve(&mut self, events: &[Record]) -> Result<(), String> {
        for event in events.iter().filter(|event| event.kind() == Some(Kind::Slots)) {
            self.slots = self.slots.max(event.slot);
            self.instance.announce_slots(event.slot);
        }
        self.instance.events()[..events.len()].copy_from_slice(events);
        let mut pending = events.len();
        loop {
            check_time(self.end)?;
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

    fn model(&mut self, message: &[u8]) -> Result<Result<(), ModelRefused>, String> {
        check_time(self.end)?;
        self.instance.model(message).map_err(told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict_of(module: &[u8]) -> Verdict {
        let admission = runtime().unwrap().admit(module);
        let (module, mut verdict) = (admission.module.unwrap(), admission.verdict);
        let params = module.manifest().params(&serde_json::Map::new()).unwrap();
        let report = run(&module, &params, &mut verdict);
        assert_eq!(report.passed(), verdict.admitted());
        verdict
    }

    #[test]
    fn every_builtin_policy_passes() {
        for builtin in ostler::BUILTINS {
            let verdict = verdict_of(builtin.module);
            assert_eq!(verdict.failure(), None, "{}", builtin.name);
            let last = verdict.steps.last().map(|step| (&*step.name, &*step.detail));
            assert_eq!(last, Some(("conformance", "11 scenarios")));
        }
    }

    #[test]
    fn a_run_that_has_no_time_left_says_so() {
        let late = Instant::now();
        assert!(check_time(late).is_err_and(|reason| reason.contains("15 s")));
        assert_eq!(check_time(late + RUN_MAX), Ok(()));
    }
}
