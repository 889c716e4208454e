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
    let folder = std::fs::read_dir(root().join("tests/guests")).expect("the guests are there");
    let mut files: Vec<PathBuf> = folder
        .map(|entry| entry.expect("an entry of the checkout is readable").path())
        .filter(|path| path.extension().is_some_and(|suffix| suffix == "wat"))
        .collect();
    files.sort();
    files.iter().map(read).collect()
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
