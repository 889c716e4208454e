//! The worst modules that admission lets through: how long they take to compile, and how much memory.
//!
//! Compiling cannot be cancelled, so the limits must bound it. Each shape below is hard on a different
//! pass of the compiler; of each the test builds the largest module that the default limits admit, and
//! compiles it in a process of its own, so that the memory seen there is the compiler's.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test binary: what fails here fails the test"
)]

mod module;
mod shapes;

use std::process::Command;
use std::{env, fs, thread};

use ostler_wasm::{Limits, LoadError, Metering, Runtime};
use rustix::time::{ClockId, clock_gettime};

use crate::module::module;
use crate::shapes::{Shape, shapes};

/// Seconds of CPU time and MiB of memory that the worst module may cost.
const CPU_SECONDS_MAX: f64 = 2.0;
const MEMORY_MIB_MAX: u64 = 200;

/// The largest module of this shape that the limits admit, found without compiling any.
fn largest_admitted(mut shape: Shape, runtime: &Runtime) -> Vec<u8> {
    let limits = runtime.limits();
    let strict = Limits { compile_work_max: 0, ..*limits };
    let judge = Runtime::try_new(Metering::fuel(), strict).unwrap();
    loop {
        let one = module(&shape, 1).len() - module(&shape, 0).len();
        let room = limits.module_bytes_max - 1_000;
        let by_size = (room / one).clamp(1, limits.functions_max - 3) as u64;
        // Refused for its work before it is compiled: the count that fits follows from the figure.
        let work = match judge.load(&module(&shape, u32::try_from(by_size).unwrap())) {
            Err(LoadError::Limit { what, value, .. }) if what.contains("compile work") => value,
            other => panic!("{}: {other:?}", shape.name),
        };
        let count = by_size.min(by_size * limits.compile_work_max / work);
        if count > 0 {
            return module(&shape, u32::try_from(count).unwrap());
        }
        // Not even one function of this size is admitted.
        shape.body_bytes = shape.body_bytes * 9 / 10;
    }
}

fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    #[expect(clippy::cast_precision_loss, reason = "seconds since the thread's start")]
    let seconds = time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9;
    seconds
}

/// A figure of this process in MiB, where the system has it.
fn status_mib(key: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with(key))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? / 1024)
}

/// Names the shape and the metering that a child process of the test measures.
const CHILD_SHAPE: &str = "OSTLER_COMPILE_SHAPE";
const CHILD_METERING: &str = "OSTLER_COMPILE_METERING";
const TEST: &str = "the_worst_admitted_module_compiles_within_two_seconds_and_200_mib";

/// What one module cost.
struct Cost {
    line: String,
    seconds: f64,
    peak_mib: u64,
}

/// In the child: compiles the worst module of one shape and prints seconds and MiB.
fn measure(name: &str, metering: Metering) {
    let runtime = Runtime::try_new(metering, Limits::default()).unwrap();
    let shape = shapes().into_iter().find(|shape| shape.name == name).unwrap();
    let bytes = largest_admitted(shape, &runtime);
    let (before_mib, start) = (status_mib("VmHWM:"), cpu_seconds());
    let admission = runtime.admit(&bytes);
    let seconds = cpu_seconds() - start;
    assert!(admission.module.is_ok(), "{name}: {:?}", admission.module);
    let peak_mib = status_mib("VmHWM:").zip(before_mib).map_or(0, |(peak, before)| peak - before);
    println!("cost {} {seconds} {peak_mib}", bytes.len());
}

/// Measures in a process of its own, whose memory is the compiler's alone.
fn measure_in_child(name: &str, metering: &str) -> Cost {
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", TEST, "--nocapture"])
        .env(CHILD_SHAPE, name)
        .env(CHILD_METERING, metering)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{name}: {text}{}", String::from_utf8_lossy(&output.stderr));
    let (_, rest) = text.split_once("cost ").unwrap();
    let mut words = rest.split_whitespace();
    let bytes: usize = words.next().unwrap().parse().unwrap();
    let seconds: f64 = words.next().unwrap().parse().unwrap();
    let peak_mib: u64 = words.next().unwrap().parse().unwrap();
    let kib = bytes / 1024;
    let line = format!("{name:34} {metering:5} {kib:4} KiB {seconds:6.3} s {peak_mib:4} MiB");
    Cost { line, seconds, peak_mib }
}

#[test]
fn the_worst_admitted_module_compiles_within_two_seconds_and_200_mib() {
    if let (Ok(name), Ok(metering)) = (env::var(CHILD_SHAPE), env::var(CHILD_METERING)) {
        let fuel = metering == "fuel";
        return measure(&name, if fuel { Metering::fuel() } else { Metering::cpu_time() });
    }
    // The meterings differ in what they add to branches and loops.
    let names: Vec<&str> = shapes().iter().map(|shape| shape.name).collect();
    let mut runs: Vec<(&str, &str)> = names.iter().map(|&name| (name, "fuel")).collect();
    let branching = ["loop", "edge", "branch", "block"];
    let branches = |name: &&str| branching.iter().any(|word| name.contains(word));
    runs.extend(names.iter().copied().filter(|name| branches(name)).map(|name| (name, "cpu")));
    let (mut seconds, mut peak_mib): (f64, u64) = (0.0, 0);
    for pair in runs.chunks(2) {
        let costs: Vec<Cost> = thread::scope(|scope| {
            let children: Vec<_> = pair
                .iter()
                .map(|&(name, metering)| scope.spawn(move || measure_in_child(name, metering)))
                .collect();
            children.into_iter().map(|child| child.join().unwrap()).collect()
        });
        for cost in costs {
            println!("{}", cost.line);
            (seconds, peak_mib) = (seconds.max(cost.seconds), peak_mib.max(cost.peak_mib));
        }
    }
    println!("worst: {seconds:.3} s of CPU time, {peak_mib} MiB");
    assert!(seconds <= CPU_SECONDS_MAX, "{seconds} s");
    assert!(peak_mib <= MEMORY_MIB_MAX, "{peak_mib} MiB");
}
