//! Every guest of `tests/guests` against the host: what its first line expects is what happens.
//!
//! Faults that only the core's guard can see (a victim outside the view, the budget) do not show here:
//! for those guests the test checks that the host delivers what the guest said.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test binary: what fails here fails the test"
)]

use std::fs;
use std::path::PathBuf;

use ostler_abi::{Kind, Record, Setup};
use ostler_core::{PolicyFault, PolicyInstance};
use ostler_wasm::{
    Limits, LoadError, Metering, Outcome, PolicyModule, Runtime, STEPS, WasmInstance,
};

const SETUP: Setup = Setup { capacity: 100, slots: 200, seed: 1 };

/// What the first line of a guest promises.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Expected {
    Ok,
    Refused(String),
    Fault(String),
}

struct Guest {
    name: String,
    expected: Expected,
    bytes: Vec<u8>,
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/guests")
}

fn read_guest(path: &PathBuf) -> Guest {
    let text = fs::read_to_string(path).unwrap();
    let name = path.file_stem().unwrap().to_string_lossy().into_owned();
    let line = text.lines().next().unwrap().strip_prefix(";; expect: ").unwrap_or_default();
    let expected = match line.split_once(' ') {
        None if line == "ok" => Expected::Ok,
        Some(("refused", step)) => Expected::Refused(step.to_owned()),
        Some(("fault", kind)) => Expected::Fault(kind.to_owned()),
        _ => panic!("{name}: its first line is not `;; expect: ok|refused STEP|fault KIND`"),
    };
    let bytes = wat::parse_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
    Guest { name, expected, bytes }
}

fn guests() -> Vec<Guest> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "wat"))
        .collect();
    paths.sort();
    paths.iter().map(read_guest).collect()
}

fn guest(name: &str) -> Guest {
    read_guest(&folder().join(name).with_extension("wat"))
}

fn runtime(metering: Metering) -> Runtime {
    Runtime::try_new(metering, Limits::default()).unwrap()
}

/// Small accounts, so that guests which spin do it briefly.
fn fuel() -> Runtime {
    runtime(Metering::Fuel { per_call: 3_000_000, per_event: 20_000 })
}

fn insert(slot: u32) -> Record {
    Record { key_hash: u64::from(slot) << 32 | 7, ..Record::new(Kind::Insert, slot) }
}

/// One batch with one record.
fn feed(instance: &mut WasmInstance, record: Record) -> Result<Vec<u32>, PolicyFault> {
    instance.events()[0] = record;
    Ok(instance.step(1)?.slots.to_vec())
}

/// Inserts until something happens, at most as many entries as there are slots.
fn drive(module: &PolicyModule) -> Result<Vec<u32>, PolicyFault> {
    let mut instance = module.instantiate(SETUP, "{}")?;
    for slot in 0..SETUP.slots {
        match feed(&mut instance, insert(slot)) {
            Ok(_) => {}
            Err(fault) => {
                assert_eq!(
                    instance.step(0).unwrap_err(),
                    fault,
                    "a faulted instance says it again"
                );
                assert_eq!(feed(&mut instance, insert(0)), Err(fault.clone()));
                return Err(fault);
            }
        }
    }
    feed(&mut instance, insert(0))
}

/// Faults that need the guard's view of what is resident.
fn is_the_guards(kind: &str, name: &str) -> bool {
    match kind {
        "over_budget" | "over_eviction" => true,
        "bad_victim" => !["too_many_victims", "negative_count"].contains(&name),
        _ => false,
    }
}

#[test]
fn every_guest_gets_what_its_first_line_expects() {
    let runtime = fuel();
    let guests = guests();
    assert!(guests.len() >= 24, "{} guests", guests.len());
    for Guest { name, expected, bytes } in guests {
        let admission = runtime.admit(&bytes);
        let seen = match &admission.module {
            Err(error) => Expected::Refused(error.step().to_owned()),
            Ok(module) => match drive(module) {
                Ok(_) => Expected::Ok,
                Err(fault) => Expected::Fault(fault.kind().to_owned()),
            },
        };
        match &expected {
            Expected::Fault(kind) if is_the_guards(kind, &name) => {
                assert_eq!(seen, Expected::Ok, "{name}: the host delivers, the guard judges");
            }
            _ => assert_eq!(seen, expected, "{name}: {:?}", admission.module),
        }
        let refused = matches!(expected, Expected::Refused(_));
        assert_eq!(admission.verdict.admitted(), !refused, "{name}");
    }
}

#[test]
fn a_verdict_lists_every_step_in_order_up_to_the_failing_one() {
    let runtime = fuel();
    let verdict = runtime.admit(&guest("memory64").bytes).verdict;
    let names: Vec<&str> = verdict.steps.iter().map(|step| step.name.as_ref()).collect();
    assert_eq!(names, STEPS);
    let outcomes: Vec<Outcome> = verdict.steps.iter().map(|step| step.outcome).collect();
    let [passed, failed, not_run] = [Outcome::Passed, Outcome::Failed, Outcome::NotRun];
    let expected = [passed, passed, passed, passed, passed, failed, not_run, not_run];
    assert_eq!(outcomes, expected);
    assert_eq!(verdict.failure().unwrap().name, "features");
    assert!(verdict.failure().unwrap().detail.contains("memory64"), "{verdict:?}");
    assert_eq!(verdict.policy, Some(("memory64".to_owned(), "1.0.0".to_owned())));

    let mut verdict = runtime.admit(&guest("good_fifo").bytes).verdict;
    assert_eq!(verdict.steps.len(), STEPS.len() - 1, "the conformance run is the caller's");
    verdict.push("conformance", Outcome::Passed, "12,345 events");
    assert!(verdict.admitted());
    assert!(verdict.id.to_string().starts_with("sha256:"), "{}", verdict.id);
}

/// Refusals name what was found and what is allowed.
#[test]
fn refusals_say_what_to_change() {
    let runtime = fuel();
    let rows = [
        ("import_wasi", "import `wasi_snapshot_preview1.fd_write`"),
        ("export_wrong_type", "`ostler_step`: a function (i64) -> (i32), must be a function (i32)"),
        ("export_missing_step", "`ostler_step`: missing"),
        ("export_reserved", "`ostler_save` is reserved"),
        ("export_other_kind", "`ostler_predict`: it is for the kind `prefetch`, the manifest says"),
        ("model_not_required", "`ostler_model`: the manifest does not require the feature `model`"),
        ("model_missing", "`ostler_model`: missing, must be a function (i32) -> i32"),
        ("initial_memory_too_large", "67108864, the limit is 131072"),
        ("huge_locals", "locals of function 2: 301, the limit is 256"),
        ("nested_loops", "nested loops of function 2: 33, the limit is 32"),
        ("many_parameters", "parameters of a function type: 40, the limit is 32"),
        ("multi_memory", "`multi-memory`"),
        ("shared_memory", "`threads`"),
        ("tail_call", "`tail-call`"),
        ("relaxed_simd", "`relaxed-simd`"),
        ("externref", "`externref`"),
        ("exceptions", "`exceptions`"),
        ("gc_types", "`gc`"),
        ("manifest_unknown_feature", "`clairvoyance`"),
        ("manifest_wrong_abi", "abi 2, this host speaks 1"),
    ];
    for (name, expected) in rows {
        let error = runtime.load(&guest(name).bytes).unwrap_err().to_string();
        assert!(error.contains(expected), "{name}: {error}");
    }
}

#[test]
fn what_is_not_a_module_is_refused_by_kind() {
    let runtime = fuel();
    let elf = runtime.load(b"\x7fELF\x02\x01\x01\0").unwrap_err();
    assert_eq!(elf, LoadError::Precompiled);
    let component = runtime.load(b"\0asm\x0d\0\x01\0").unwrap_err();
    assert!(component.to_string().contains("component"), "{component}");
    for bytes in [&b""[..], b"(module)", b"\0asm", b"\0asm\x01\0\0\0\xff\x01\0"] {
        let error = runtime.load(bytes).unwrap_err();
        assert_eq!(error.step(), if bytes.len() > 8 { "parse" } else { error.step() }, "{error}");
    }
    let large = vec![0; Limits::default().module_bytes_max + 1];
    assert!(matches!(runtime.load(&large), Err(LoadError::TooLarge { .. })));
}

/// Cutting a good module anywhere gives a refusal, never a panic. The one exception is the cut before
/// the names at its end, which nobody needs.
#[test]
fn a_truncated_module_is_refused() {
    let runtime = fuel();
    let bytes = guest("good_fifo").bytes;
    let names = bytes.windows(5).rposition(|window| window == b"\x04name").unwrap();
    let accepted: Vec<usize> =
        (0..bytes.len()).filter(|&len| runtime.load(&bytes[..len]).is_ok()).collect();
    assert_eq!(accepted.len(), 1, "{accepted:?}");
    assert!((names - 3..names).contains(&accepted[0]), "{accepted:?}, names at {names}");
}

#[test]
fn the_good_fifo_decides_in_order_and_grows_with_its_slots() {
    let module = fuel().load(&guest("good_fifo").bytes).unwrap();
    let setup = Setup { capacity: 3, slots: 4, seed: 0 };
    let mut instance = module.instantiate(setup, "{}").unwrap();
    let before = instance.memory_bytes();
    for slot in 0..3 {
        assert_eq!(feed(&mut instance, insert(slot)), Ok(vec![]));
    }
    assert_eq!(feed(&mut instance, insert(3)), Ok(vec![0]));
    assert_eq!(feed(&mut instance, Record { weight: 2, ..insert(0) }), Ok(vec![1, 2]));
    assert_eq!(feed(&mut instance, Record::new(Kind::Remove, 3)), Ok(vec![]));
    assert_eq!(feed(&mut instance, Record { weight: 2, ..insert(1) }), Ok(vec![0]));
    // A larger bound: without the announcement the growth would be over the limit.
    instance.announce_slots(100_000);
    assert_eq!(feed(&mut instance, Record::new(Kind::Slots, 100_000)), Ok(vec![]));
    assert_eq!(feed(&mut instance, insert(99_999)), Ok(vec![]));
    assert!(instance.memory_bytes() >= before + 1_600_000 - 65_536);
    let capacity = Record { key_hash: 0, ..Record::new(Kind::Capacity, ostler_abi::NO_SLOT) };
    assert_eq!(feed(&mut instance, capacity), Ok(vec![1, 99_999]));
}

#[test]
fn slots_without_an_announcement_are_over_the_memory_limit() {
    let module = fuel().load(&guest("good_fifo").bytes).unwrap();
    let mut instance = module.instantiate(Setup { capacity: 3, slots: 4, seed: 0 }, "{}").unwrap();
    let fault = feed(&mut instance, Record::new(Kind::Slots, 100_000)).unwrap_err();
    assert_eq!(fault, PolicyFault::Memory { wanted: 65_536 * 26, limit: 65_536 * 3 });
}

#[test]
fn a_full_buffer_means_more() {
    let module = fuel().load(&guest("good_fifo").bytes).unwrap();
    let mut instance = module.instantiate(SETUP, "{}").unwrap();
    for slot in 0..100 {
        assert_eq!(feed(&mut instance, insert(slot)), Ok(vec![]));
    }
    instance.events()[0] =
        Record { key_hash: 0, ..Record::new(Kind::Capacity, ostler_abi::NO_SLOT) };
    let first = instance.step(1).unwrap();
    assert_eq!((first.slots.len(), first.more), (64, true));
    let second = instance.step(0).unwrap();
    assert_eq!((second.slots.len(), second.more), (36, false));
    assert_eq!(second.slots.last(), Some(&99));
}

#[test]
fn faults_carry_the_limit() {
    let runtime = fuel();
    let fault = |name: &str| drive(&runtime.load(&guest(name).bytes).unwrap()).unwrap_err();
    // 131,072 and 200 slots of 16 bytes, a quarter more, in pages; 8 units of fuel a byte.
    let limit = 3 * 65_536;
    assert_eq!(fault("grow_huge"), PolicyFault::Memory { wanted: 32_769 * 65_536, limit });
    assert_eq!(fault("grow_table"), PolicyFault::Memory { wanted: 1_000_001, limit: 10_000 });
    let fuel = 3_000_000 + 8 * limit;
    let deadline = |limit| PolicyFault::Deadline { limit, unit: "fuel" };
    assert_eq!(fault("spin_in_step"), deadline(fuel));
    assert_eq!(fault("spin_in_start"), deadline(fuel));
    assert_eq!(fault("init_refuses"), PolicyFault::Refused { code: 42 });
    let trap = PolicyFault::Trap { reason: "integer divide by zero".to_owned() };
    assert_eq!(fault("trap_by_division"), trap);
}

/// The fault comes at the same event every time: it depends on fuel, not on a clock.
#[test]
fn fuel_faults_at_the_same_event() {
    let module = fuel().load(&guest("slow_every_call").bytes).unwrap();
    let calls_until_fault = || {
        let mut instance = module.instantiate(SETUP, "{}").unwrap();
        (0..1_000).take_while(|_| feed(&mut instance, insert(1)).is_ok()).count()
    };
    let calls = calls_until_fault();
    assert!((2..20).contains(&calls), "{calls}");
    assert_eq!(calls_until_fault(), calls);
}

#[test]
fn parameters_reach_the_guest_with_a_zero_at_the_end_or_are_too_long() {
    let module = fuel().load(&guest("good_fifo").bytes).unwrap();
    assert!(module.instantiate(SETUP, &"x".repeat(511)).is_ok());
    let fault = module.instantiate(SETUP, &"x".repeat(512)).map(|_| ()).unwrap_err();
    let reason = "io_cap 512, the parameters need 513 bytes".to_owned();
    assert_eq!(fault, PolicyFault::BadLayout { reason });
}

#[test]
fn a_log_flood_is_bounded() {
    let module = fuel().load(&guest("log_flood").bytes).unwrap();
    let mut instance = module.instantiate(SETUP, "{}").unwrap();
    for slot in 0..100 {
        assert_eq!(feed(&mut instance, insert(slot)), Ok(vec![]));
    }
    let log = instance.take_log();
    assert_eq!(log.lines.len() as u64 + log.dropped, 1_000);
    assert_eq!(log.lines.len(), 4_096 / 36);
    assert!(log.lines.iter().all(|line| line == "are you still there?"));
    assert_eq!(feed(&mut instance, insert(100)), Ok(vec![0]));
    assert_eq!(instance.take_log().lines.len(), 10, "taking makes room");
}

/// The guest's stack is part of the caller's: on a small one the call is refused with a fault, on a
/// large one the guest gets its fault; the process survives both.
#[test]
fn deep_recursion_is_a_fault_on_any_stack() {
    let module = fuel().load(&guest("deep_recursion").bytes).unwrap();
    for stack_bytes in [128 << 10, 192 << 10, 256 << 10, 2 << 20] {
        let module = module.clone();
        let run = move || drive(&module).unwrap_err();
        let thread = std::thread::Builder::new().stack_size(stack_bytes).spawn(run).unwrap();
        assert_eq!(thread.join().unwrap().kind(), "stack", "{stack_bytes} bytes");
    }
    // An instance made on a large stack and called on a small one.
    let mut instance = module.instantiate(SETUP, "{}").unwrap();
    let call = move || feed(&mut instance, insert(0)).unwrap_err();
    let thread = std::thread::Builder::new().stack_size(128 << 10).spawn(call).unwrap();
    let fault = thread.join().unwrap().to_string();
    assert!(fault.contains("the calling thread has"), "{fault}");
}

/// With CPU time the same guests are stopped by the epochs.
#[test]
fn cpu_time_stops_what_spins_and_lets_the_honest_run() {
    let runtime = runtime(Metering::CpuTime {
        deadline_us: 1_000,
        ns_per_event_max: 1_000_000,
        events_window: 64,
    });
    for name in ["spin_in_step", "spin_in_init", "spin_in_start", "spin_by_bulk_fill"] {
        let fault = drive(&runtime.load(&guest(name).bytes).unwrap()).unwrap_err();
        let limit = 1_000 + 3 * 65_536 / 1_000;
        let deadline = PolicyFault::Deadline { limit, unit: "us of CPU time" };
        assert_eq!(fault, deadline, "{name}");
    }
    let module = runtime.load(&guest("good_fifo").bytes).unwrap();
    assert_eq!(drive(&module), Ok(vec![100]));
}

#[test]
fn the_rolling_budget_faults_what_is_merely_slow() {
    let budget = |ns_per_event_max| Metering::CpuTime {
        deadline_us: 1_000_000,
        ns_per_event_max,
        events_window: 64,
    };
    let run = |ns_per_event_max| {
        let runtime = runtime(budget(ns_per_event_max));
        let module = runtime.load(&guest("slow_every_call").bytes).unwrap();
        let mut instance = module.instantiate(SETUP, "{}").unwrap();
        for slot in 0..700 {
            feed(&mut instance, insert(slot))?;
        }
        Ok(instance.guest_ns())
    };
    // 512 calls until the wall clock is sure, 64 more in CPU time until there is a fault.
    // 200,000 turns of a loop take more than 5 µs and less than a second on any machine.
    let fault: PolicyFault = run(5_000).unwrap_err();
    assert!(matches!(fault, PolicyFault::Slow { limit: 5_000, .. }), "{fault}");
    let guest_ns = run(1_000_000_000).unwrap();
    assert!(guest_ns > 700 * 5_000, "{guest_ns}");
}

/// Some bytes of a good module changed: whatever the bytes, admission answers and guests fault or run.
#[test]
fn mutated_modules_are_refused_or_run_within_their_bounds() {
    let runtime = fuel();
    let bytes = guest("good_fifo").bytes;
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as usize % below
    };
    let (mut refused, mut faulted, mut ran) = (0, 0, 0);
    for _ in 0..1_500 {
        let mut mutant = bytes.clone();
        for _ in 0..=random(3) {
            let at = random(mutant.len());
            mutant[at] = match random(3) {
                0 => mutant[at] ^ (1 << random(8)),
                1 => u8::try_from(random(256)).unwrap(),
                _ => mutant[at].wrapping_add(1),
            };
        }
        match runtime.load(&mutant).map(|module| drive(&module)) {
            Err(_) => refused += 1,
            Ok(Err(_)) => faulted += 1,
            Ok(Ok(_)) => ran += 1,
        }
    }
    println!("{refused} refused, {faulted} faulted, {ran} ran");
    assert!(refused > 300 && faulted > 20 && ran > 100, "{refused} {faulted} {ran}");
}

/// Instances on several threads, one runtime; all end, and the epoch thread with them.
#[test]
fn instances_move_between_threads_and_the_runtime_ends() {
    let runtime = runtime(Metering::cpu_time());
    let module = runtime.load(&guest("good_fifo").bytes).unwrap();
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let mut instance = module.instantiate(SETUP, "{}").unwrap();
            std::thread::spawn(move || (0..150).map(|i| feed(&mut instance, insert(i))).collect())
        })
        .collect();
    let results: Vec<Vec<_>> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert!(results.iter().all(|result| result == &results[0]));
    drop((module, runtime));
}
