//! The way of a policy author: `policy new`, `policy build`, `policy check`, `replay`.
//!
//! Commands run in this process through the command line's library, so no binary has to be found.
//! A walk that needs a compiler which is not here prints `skipped: …`, and fails where
//! `OSTLER_REQUIRE_WASM=1` is set, as CI does.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use ostler_cli::{EXIT_DONE, EXIT_FAILED, EXIT_USAGE};
use ostler_tests::{ostler, root};

/// Runs a command that must end well and returns what it printed.
fn done<A: Into<OsString>>(args: impl IntoIterator<Item = A>) -> String {
    let ran = ostler(args);
    assert_eq!((ran.status, ran.err.as_str()), (EXIT_DONE, ""), "{}", ran.out);
    ran.out
}

/// An empty folder, the same in every run: the compiler's output depends on where the crate stands.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("author").join(name);
    if folder.exists() {
        std::fs::remove_dir_all(&folder).expect("what the last run left can be removed");
    }
    std::fs::create_dir_all(&folder).expect("a folder of our own");
    folder
}

/// Builds the policy in `folder`; none, after saying so, where the compiler for it is not here.
fn build(folder: &Path) -> Option<PathBuf> {
    // One folder for all tests and runs, so that the standard library is compiled once.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("policies");
    let out = folder.join("built.wasm");
    let args: [OsString; 7] = [
        "policy".into(),
        "build".into(),
        folder.into(),
        "--target-dir".into(),
        target.into(),
        "--out".into(),
        out.clone().into(),
    ];
    let ran = ostler(args);
    if ran.status == EXIT_DONE {
        return Some(out);
    }
    let missing = ran.err.contains("rustup target add") || ran.err.contains("install clang");
    assert!(missing, "{}", ran.err);
    assert_ne!(std::env::var("OSTLER_REQUIRE_WASM").as_deref(), Ok("1"), "{}", ran.err);
    // Past the test harness, which would keep what a passing test prints.
    writeln!(std::io::stderr(), "skipped: {}", ran.err.trim()).expect("the error stream is open");
    None
}

/// One replayed run as its JSON object.
fn replay(policy: &str) -> serde_json::Value {
    let line = done([
        "replay",
        "--trace",
        "shift(zipf(n=20000,keys=3000,alpha=0.9,seed=3);scan(n=4000);loop(n=6000,keys=700))",
        "--objects",
        "--capacity",
        "500",
        "--policy",
        policy,
        "--format",
        "json",
    ]);
    serde_json::from_str(line.trim()).expect("a run is one JSON object")
}

fn checked(module: &Path) {
    let verdict = done([OsString::from("policy"), "check".into(), module.into()]);
    assert!(verdict.contains("conformance") && !verdict.contains("failed"), "{verdict}");
}

#[test]
fn a_rust_policy_from_the_template_to_a_replay() {
    let dir = folder("rust");
    let made = done([
        OsString::from("policy"),
        "new".into(),
        "my-first".into(),
        "--dir".into(),
        dir.clone().into(),
    ]);
    assert!(made.contains("policy build"), "it says what to do next: {made}");
    let Some(module) = build(&dir.join("my-first")) else { return };
    checked(&module);
    let run = replay(module.to_str().expect("a path in UTF-8"));
    assert_eq!(run["faults"], 0, "{run}");
    // With one chance it is CLOCK; the parameter goes all the way into the guest.
    let with = |chances: u32| format!("{}(chances={chances})", module.display());
    let clock = replay("clock");
    assert_eq!(replay(&with(1))["victims_digest"], clock["victims_digest"]);
    assert_ne!(replay(&with(9))["victims_digest"], clock["victims_digest"]);
}

#[test]
fn policies_of_the_other_kinds_from_their_templates_to_a_verdict() {
    for (kind, scenario) in
        [("prefetch", "asks that are answered"), ("warming", "an outlook without end")]
    {
        let dir = folder(kind);
        done([
            OsString::from("policy"),
            "new".into(),
            "my-own".into(),
            "--kind".into(),
            kind.into(),
            "--dir".into(),
            dir.clone().into(),
        ]);
        let Some(module) = build(&dir.join("my-own")) else { return };
        checked(&module);
        let verdict = done([OsString::from("policy"), "check".into(), module.clone().into()]);
        assert!(verdict.contains(scenario), "{kind}: {verdict}");
        // It is no eviction policy, and a replay says so instead of running it.
        let module = module.to_str().expect("a path in UTF-8");
        let trace = "zipf(n=100,keys=10)";
        let ran = ostler(["replay", "--trace", trace, "--capacity", "5", "--policy", module]);
        assert_ne!(ran.status, EXIT_DONE, "{}", ran.out);
        assert!(ran.err.contains(kind), "{}", ran.err);
    }
}

#[test]
fn a_c_policy_from_the_template_to_a_replay() {
    let dir = folder("c");
    done([
        OsString::from("policy"),
        "new".into(),
        "my-c".into(),
        "--lang".into(),
        "c".into(),
        "--dir".into(),
        dir.clone().into(),
    ]);
    let Some(module) = build(&dir.join("my-c")) else { return };
    checked(&module);
    let run = replay(module.to_str().expect("a path in UTF-8"));
    assert_eq!(run["faults"], 0, "{run}");
    assert_eq!(run["victims_digest"], replay("clock")["victims_digest"]);
}

#[test]
fn the_committed_c_module_decides_as_clock_does() {
    let module = root().join("sdk/templates/c/clock-c.wasm");
    checked(&module);
    let run = replay(module.to_str().expect("a path in UTF-8"));
    assert_eq!(run["faults"], 0, "{run}");
    assert_eq!(run["victims_digest"], replay("native:clock")["victims_digest"]);
}

#[test]
fn mistakes_are_told_in_one_line() {
    let dir = tempfile::tempdir().expect("a folder of our own");
    let text = dir.path().join("text.wasm");
    std::fs::write(&text, "not wasm").expect("writable");
    let missing = dir.path().join("missing.wasm");
    let rows: [(&[OsString], u8, &str); 5] = [
        (&["policy".into(), "new".into(), "Not A Name".into()], EXIT_USAGE, "no name for a policy"),
        (
            &["policy".into(), "build".into(), dir.path().into()],
            EXIT_FAILED,
            "neither a Cargo.toml",
        ),
        (&["policy".into(), "check".into(), missing.into()], EXIT_FAILED, "missing.wasm"),
        (
            &["policy".into(), "check".into(), "no-such-policy".into()],
            EXIT_FAILED,
            "no-such-policy",
        ),
        (&["policy".into(), "pack".into(), text.into()], EXIT_USAGE, "--manifest"),
    ];
    for (args, status, expected) in rows {
        let ran = ostler(args.iter().cloned());
        assert_eq!(ran.status, status, "{args:?}");
        assert!(ran.err.contains(expected), "{args:?}: {}", ran.err);
        assert!(status == EXIT_USAGE || ran.err.lines().count() == 1, "{}", ran.err);
    }
}
