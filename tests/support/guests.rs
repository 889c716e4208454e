//! The hostile guests: WebAssembly text that says in its first line what must come of it.

use std::path::PathBuf;

use crate::checkout::root;

/// A guest of `tests/guests`.
#[derive(Clone, Debug)]
pub struct Guest {
    /// The file's name without its suffix.
    pub name: String,
    /// What must come of it.
    pub expect: Expect,
    /// The module.
    pub module: Vec<u8>,
}

/// What must come of a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// It is admitted and keeps the contract.
    Ok,
    /// Admission refuses it at this step.
    Refused(String),
    /// It is admitted, and then breaks the contract in this way.
    Fault(String),
}

/// Every guest, by name.
///
/// # Panics
///
/// Where a file does not assemble, or its first line is not `;; expect: ok`, `;; expect: refused
/// STEP` or `;; expect: fault KIND`.
#[must_use]
pub fn guests() -> Vec<Guest> {
    guests_in("tests/guests")
}

/// The guests of another kind, or those that take models: `prefetch`, `warming` or `model`.
///
/// # Panics
///
/// As [`guests`].
#[must_use]
pub fn guests_of(kind: &str) -> Vec<Guest> {
    guests_in(&format!("tests/guests/{kind}"))
}

fn guests_in(folder: &str) -> Vec<Guest> {
    let folder = std::fs::read_dir(root().join(folder)).expect("the guests are there");
    let mut files: Vec<PathBuf> = folder
        .map(|entry| entry.expect("an entry of the checkout is readable").path())
        .filter(|path| path.extension().is_some_and(|suffix| suffix == "wat"))
        .collect();
    files.sort();
    files.iter().map(read).collect()
}

/// Guests that pass the conformance run, which they know by its seed, and break the contract in a cache:
/// what an upload cannot find out. Each is the honest FIFO with a trick at the start of its step.
///
/// # Panics
///
/// Where the honest FIFO has not the form that this changes.
#[must_use]
pub fn cheats() -> Vec<Guest> {
    let honest = root().join("tests/guests/good_fifo.wat");
    let honest = std::fs::read_to_string(honest).expect("a guest is readable");
    let tricks = [
        ("trap", "unreachable"),
        ("deadline", "(loop $for_ever (br $for_ever))"),
        ("bad_victim", "(i32.store (i32.const 4096) (i32.const -2)) (return (i32.const 1))"),
        ("over_budget", "(return (i32.const 0))"),
    ];
    tricks.map(|(kind, trick)| cheat(&honest, kind, trick)).to_vec()
}

/// As [`cheats`], of the kind `prefetch` or `warming`: they ask for nothing and rank nothing, until they
/// are in a cache.
///
/// # Panics
///
/// Where the trapping guest of that kind has not the form that this changes.
#[must_use]
pub fn cheats_of(kind: &str) -> Vec<Guest> {
    let trapping = root().join(format!("tests/guests/{kind}/trap.wat"));
    let trapping = std::fs::read_to_string(trapping).expect("a guest is readable");
    let endless = "(loop $for_ever (br $for_ever))";
    let (honest, tricks) = match kind {
        // The key of its ask ends behind the io buffer.
        "prefetch" => ("(i32.const 0)", ["(i32.const 1)", ASK_OUTSIDE]),
        _ => ("(local.get $n)", ["(i32.sub (local.get $n) (i32.const 1))", ""]),
    };
    let bad_answer = format!("{} (return {})", tricks[1], tricks[0]);
    [("trap", "unreachable"), ("deadline", endless), ("bad_answer", &bad_answer)]
        .map(|(fault, trick)| {
            let init = "(param i64 i32 i64) (result i32) (i32.const 0)";
            let with_seed = "(param i64 i32) (param $seed i64) (result i32)\n    \
                             (global.set $seed (local.get $seed)) (i32.const 0)";
            let memory = "(memory (export \"memory\") 1)";
            let global = "(global $seed (mut i64) (i64.const 0))";
            let text = changed(
                &trapping,
                &[
                    (init, with_seed),
                    (memory, &format!("{memory} {global}")),
                    (
                        "(unreachable)",
                        &format!(
                            "(if (i64.ne (global.get $seed) (i64.const 42)) (then {trick})) {honest}"
                        ),
                    ),
                ],
            );
            let module = wat::parse_str(&text).expect("a guest assembles");
            Guest { name: format!("cheat_{fault}"), expect: Expect::Fault(fault.to_owned()), module }
        })
        .to_vec()
}

/// An ask for a key of 13 bytes at 500 of 512.
const ASK_OUTSIDE: &str = "(i32.store (i32.const 2056) (i32.const 500)) \
                           (i32.store (i32.const 2060) (i32.const 13))";

/// `text` with each of these pieces, which are there once, exchanged.
fn changed(text: &str, changes: &[(&str, &str)]) -> String {
    changes.iter().fold(text.to_owned(), |text, (old, new)| {
        assert_eq!(text.matches(old).count(), 1, "{old}");
        text.replace(old, new)
    })
}

fn cheat(honest: &str, kind: &str, trick: &str) -> Guest {
    let step =
        "(func (export \"ostler_step\") (param $n i32) (result i32)\n    (local $record i32)";
    let seed =
        "(global.set $capacity (local.get $capacity))\n    (call $reserve (local.get $slots))";
    let changes = [
        ("(param i64) (result i32)".to_owned(), "(param $seed i64) (result i32)".to_owned()),
        (seed.to_owned(), format!("{seed}\n    (global.set $seed (local.get $seed))")),
        (
            step.to_owned(),
            format!(
                "(global $seed (mut i64) (i64.const 0))\n  {step}\n    \
                 (if (i64.ne (global.get $seed) (i64.const 42)) (then {trick}))"
            ),
        ),
    ];
    let changes = changes.each_ref().map(|(old, new)| (old.as_str(), new.as_str()));
    let text = changed(honest, &changes);
    let module = wat::parse_str(&text).expect("a guest assembles");
    Guest { name: format!("cheat_{kind}"), expect: Expect::Fault(kind.to_owned()), module }
}

fn read(path: &PathBuf) -> Guest {
    let text = std::fs::read_to_string(path).expect("a guest is readable");
    let first = text.lines().next().unwrap_or_default();
    let words: Vec<&str> = first.split_whitespace().collect();
    let expect = match words[..] {
        [";;", "expect:", "ok"] => Expect::Ok,
        [";;", "expect:", "refused", step] => Expect::Refused(step.to_owned()),
        [";;", "expect:", "fault", kind] => Expect::Fault(kind.to_owned()),
        _ => unreachable!("{}: the first line says what to expect: {first}", path.display()),
    };
    let name = path.file_stem().map(|name| name.to_string_lossy().into_owned());
    let module = wat::parse_str(&text);
    let module = module.map_err(|error| format!("{}: {error}", path.display()));
    Guest { name: name.unwrap_or_default(), expect, module: module.expect("a guest assembles") }
}
