//! Hostile guests: each gets its typed fault or its refusal, and the cache goes on.

use std::sync::LazyLock;

use ostler_core::{Batch, PolicyFault};
use ostler_replay::{Request, RunConfig, RunOutcome, TraceSource, WeightMode, run_loaded};
use ostler_tests::{Expect, Guest, Tested, guests, runtime};
use ostler_wasm::{Limits, Metering, Runtime};

const CAPACITY: u64 = 500;
const REQUESTS: u64 = 20_000;

static WORKLOAD: LazyLock<Vec<Request>> = LazyLock::new(|| {
    let source: TraceSource = "zipf(n=20000,keys=5000,seed=2)".parse().expect("a workload");
    source.load(REQUESTS as usize).expect("a workload cannot fail")
});

fn play(tested: &Tested) -> RunOutcome {
    let config = RunConfig {
        capacity: CAPACITY,
        weights: WeightMode::Objects,
        shards: 1,
        seed: 1,
        batch: Batch::Exact,
    };
    run_loaded(tested, config, &WORKLOAD, &|_| {})
}

fn load(runtime: &Runtime, guest: &Guest) -> Tested {
    let module = runtime.load(&guest.module);
    let module = module.map_err(|error| format!("{}: {error}", guest.name));
    Tested::module(&module.expect("the guest is admitted"))
}

fn with_name(name: &str) -> Guest {
    guests().into_iter().find(|guest| guest.name == name).expect("the guest is there")
}

fn kind_of(outcome: &RunOutcome) -> Option<&'static str> {
    outcome.first_fault.as_ref().map(|(_, fault)| fault.kind())
}

/// The run served every request and kept the capacity, whatever the guest did.
fn assert_served(name: &str, outcome: &RunOutcome) {
    assert_eq!(outcome.requests, REQUESTS, "{name}");
    assert_eq!(outcome.hits + outcome.misses, REQUESTS, "{name}");
    assert!(outcome.weight_max <= CAPACITY, "{name}: {}", outcome.weight_max);
    assert!(outcome.hits > REQUESTS / 3, "{name}: {} hits", outcome.hits);
}

#[test]
fn refused_guests_are_refused_at_their_step() {
    let mut refused = 0;
    for guest in guests() {
        let Expect::Refused(step) = &guest.expect else { continue };
        let verdict = runtime().admit(&guest.module).verdict;
        let failure = verdict.failure().map(|failed| (failed.name.as_ref(), &failed.detail));
        assert_eq!(
            failure.map(|failed| failed.0),
            Some(step.as_str()),
            "{}: {failure:?}",
            guest.name
        );
        assert!(failure.is_some_and(|failed| !failed.1.is_empty()), "{}", guest.name);
        refused += 1;
    }
    assert!(refused >= 10, "{refused} guests");
}

#[test]
fn faulty_guests_get_their_fault_and_the_run_goes_on_under_the_fallback() {
    let mut faulty = 0;
    for guest in guests() {
        let Expect::Fault(kind) = &guest.expect else { continue };
        let outcome = play(&load(runtime(), &guest));
        let fault = &outcome.first_fault;
        assert_eq!(kind_of(&outcome), Some(kind.as_str()), "{}: {fault:?}", guest.name);
        assert_eq!(outcome.faults, 1, "{}", guest.name);
        assert!(outcome.fallback_requests > 0, "{}", guest.name);
        assert_served(&guest.name, &outcome);
        let again = play(&load(runtime(), &guest));
        assert_eq!(again.victims_digest, outcome.victims_digest, "{}", guest.name);
        assert_eq!(&again.first_fault, fault, "{}: at the same request", guest.name);
        faulty += 1;
    }
    assert!(faulty >= 20, "{faulty} guests");
}

#[test]
fn honest_guests_stay_in_charge() {
    let honest: Vec<Guest> =
        guests().into_iter().filter(|guest| guest.expect == Expect::Ok).collect();
    assert!(!honest.is_empty());
    for guest in honest {
        let outcome = play(&load(runtime(), &guest));
        assert_eq!((outcome.faults, kind_of(&outcome)), (0, None), "{}", guest.name);
        assert_eq!(outcome.fallback_requests, 0, "{}", guest.name);
        assert_served(&guest.name, &outcome);
    }
}

#[test]
fn a_guest_that_fails_at_once_leaves_exactly_the_fallback() {
    let broken = play(&load(runtime(), &with_name("trap_in_init")));
    assert_eq!(broken.first_fault.as_ref().map(|fault| fault.0), Some(0));
    assert_eq!(broken.fallback_requests, REQUESTS);
    let refuses = play(&load(runtime(), &with_name("init_refuses")));
    assert_eq!(refuses.victims_digest, broken.victims_digest, "the fallback has a seed of its own");
}

#[test]
fn live_a_spinning_guest_runs_out_of_cpu_time() {
    let live = Runtime::try_new(Metering::cpu_time(), Limits::default()).expect("it starts");
    for name in ["spin_in_step", "spin_in_init", "spin_in_layout", "spin_in_start"] {
        let outcome = play(&load(&live, &with_name(name)));
        let fault = outcome.first_fault.as_ref().map(|(_, fault)| fault);
        let timed = matches!(fault, Some(PolicyFault::Deadline { unit: "us of CPU time", .. }));
        assert!(timed, "{name}: {fault:?}");
        assert_served(name, &outcome);
    }
}

/// Plays the guest on a thread with a stack of this size.
fn play_on_stack(stack_bytes: usize, guest: &Guest) -> RunOutcome {
    let tested = load(runtime(), guest);
    LazyLock::force(&WORKLOAD);
    let thread = std::thread::Builder::new().stack_size(stack_bytes);
    let thread = thread.spawn(move || play(&tested)).expect("a thread starts");
    thread.join().expect("the process and its threads survive")
}

#[test]
fn a_recursing_guest_on_a_small_stack_is_a_fault_like_any_other() {
    let (recursing, honest) = (with_name("deep_recursion"), with_name("good_fifo"));
    for (guest, stack_bytes, fault) in [
        (&recursing, 8 << 20, Some("stack")),
        (&recursing, 128 << 10, Some("stack")),
        (&honest, 8 << 20, None),
        // Nobody is let in where there is no room for the worst, not even the honest.
        (&honest, 128 << 10, Some("stack")),
    ] {
        let outcome = play_on_stack(stack_bytes, guest);
        assert_eq!(kind_of(&outcome), fault, "{} on {stack_bytes} bytes", guest.name);
        assert_served(&guest.name, &outcome);
    }
}
