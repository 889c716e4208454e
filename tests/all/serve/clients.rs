//! Real clients in their own languages: each program of `tests/clients` against a server.
//!
//! `tests/clients/setup` installs what they need. Where it has not run, a test prints `skipped: …`,
//! and fails where `OSTLER_REQUIRE_CLIENTS=1` is set, as CI does.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use ostler_tests::root;

use super::serve;

/// A client's way to run a program: what to run, and where the program has to lie.
struct Runtime {
    command: PathBuf,
    programs: PathBuf,
}

/// None, after saying so, where the clients are not installed.
fn runtime(command: &str, programs: &str) -> Option<Runtime> {
    let installed = std::env::var_os("OSTLER_CLIENTS_DIR");
    let installed = installed.map_or_else(|| root().join("target/clients"), PathBuf::from);
    let marker = if command == "node" { "package-lock.json" } else { "requirements.txt" };
    if !installed.join(marker).exists() {
        let missing = format!("run tests/clients/setup: no {marker} in {}", installed.display());
        assert_ne!(std::env::var("OSTLER_REQUIRE_CLIENTS").as_deref(), Ok("1"), "{missing}");
        // Past the test harness, which would keep what a passing test prints.
        writeln!(std::io::stderr(), "skipped: {missing}").expect("the error stream is open");
        return None;
    }
    let inside = installed.join(command);
    let command = if command == "node" { command.into() } else { inside };
    Some(Runtime { command, programs: installed.join(programs) })
}

/// Runs a program against a server of its own; it must end well and have checked this much.
fn run(runtime: &Runtime, program: &Path, checks_min: usize) {
    let server = serve(&[]);
    let (host, port) = (server.resp().ip().to_string(), server.resp().port().to_string());
    let mut command = Command::new(&runtime.command);
    command.arg(program).args([host, port]).env("PYTHONDONTWRITEBYTECODE", "1");
    let ran = command.output().expect("the client's language is installed");
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{}: {}\n{out}\n{err}", program.display(), ran.status);
    let checks = out.lines().filter(|line| line.starts_with("ok ")).count();
    assert!(checks >= checks_min, "{}: {checks} checks\n{out}", program.display());
}

fn run_python(program: &str, checks_min: usize) {
    let Some(runtime) = runtime("python/bin/python", "python") else { return };
    run(&runtime, &root().join("tests/clients/python").join(program), checks_min);
}

fn run_node(program: &str, checks_min: usize) {
    let Some(runtime) = runtime("node", "node") else { return };
    // A module finds its packages beside itself only. Tests copy at the same time: each its own file.
    for file in ["checks.mjs", program] {
        let text = std::fs::read(root().join("tests/clients/node").join(file)).expect("a program");
        let mut copy = tempfile::NamedTempFile::new_in(&runtime.programs).expect("writable");
        copy.write_all(&text).expect("writable");
        copy.persist(runtime.programs.join(file)).expect("writable");
    }
    run(&runtime, &runtime.programs.join(program), checks_min);
}

#[test]
fn redis_py() {
    run_python("redis_py.py", 20);
}

#[test]
fn django() {
    run_python("django_caches.py", 14);
}

#[test]
fn flask_caching() {
    run_python("flask_cache.py", 6);
}

#[test]
fn celery() {
    run_python("celery_results.py", 6);
}

#[test]
fn ioredis() {
    run_node("ioredis_use.mjs", 9);
}

#[test]
fn node_redis() {
    run_node("node_redis.mjs", 20);
}
