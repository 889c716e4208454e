//! `ostler policy build --builtin`: every policy of the checkout, and the file DIGESTS.
//!
//! All are built before anything is written, so a crate that does not compile leaves the artifacts
//! as they are. Modules of different toolchains differ in their bytes while they decide alike; that
//! they do is what the tests compare, not this.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use super::rust::{self, Job};
use super::toolchain::Toolchain;
use super::{Args, module, report};
use crate::policy::checkout;

/// Where policies are, within the checkout.
const POLICIES: &str = "policies";
/// Where their modules are, within [`POLICIES`].
const ARTIFACTS: &str = "artifacts";
/// The file with the digests, one `<sha256>  <name>.wasm` a line, sorted by name.
const DIGESTS: &str = "DIGESTS";

/// Modules by file name.
type Modules = BTreeMap<String, Vec<u8>>;

/// Builds, then writes or compares.
pub(super) fn run(args: &Args, out: &mut dyn Write) -> Result<()> {
    let here = std::env::current_dir().context("cannot tell the current folder")?;
    let root =
        checkout::find(&here).context("no checkout of Ostler was found: run this inside one")?;
    let artifacts = args.out.clone().unwrap_or_else(|| root.join(POLICIES).join(ARTIFACTS));
    let modules = build_all(&root, args.target_dir.as_deref())?;
    if args.check { compare(&artifacts, &modules, out) } else { write(&artifacts, &modules, out) }
}

fn build_all(root: &Path, target_dir: Option<&Path>) -> Result<Modules> {
    let folders = policy_folders(&root.join(POLICIES))?;
    let Some(first) = folders.first() else {
        bail!("{} has no policy", root.join(POLICIES).display())
    };
    let mut job = Job::try_new(Toolchain::find(root)?, first, target_dir)?;
    job.locked = true;
    let mut modules = Modules::new();
    for folder in &folders {
        let failed = || format!("cannot build {}", folder.display());
        let bytes = rust::compile(&job, folder).with_context(failed)?;
        let name = module::manifest(&bytes).with_context(failed)?.name().to_owned();
        let earlier = modules.insert(format!("{name}.wasm"), bytes);
        ensure!(earlier.is_none(), "two policies have the name {name}");
    }
    Ok(modules)
}

/// The folders of the policy crates, sorted.
fn policy_folders(policies: &Path) -> Result<Vec<PathBuf>> {
    let unreadable = || format!("cannot read {}", policies.display());
    let mut folders = Vec::new();
    for entry in fs::read_dir(policies).with_context(unreadable)? {
        let path = entry.with_context(unreadable)?.path();
        if path.join("Cargo.toml").is_file() {
            folders.push(path);
        }
    }
    folders.sort();
    Ok(folders)
}

fn write(artifacts: &Path, modules: &Modules, out: &mut dyn Write) -> Result<()> {
    fs::create_dir_all(artifacts)
        .with_context(|| format!("cannot make {}", artifacts.display()))?;
    for (name, bytes) in modules {
        let path = artifacts.join(name);
        module::write_atomically(&path, bytes)?;
        report(&path, bytes, out)?;
    }
    module::write_atomically(&artifacts.join(DIGESTS), digests(modules).as_bytes())?;
    for name in strays(artifacts, modules)? {
        writeln!(out, "left {name} alone: no policy of the checkout makes it")?;
    }
    Ok(())
}

fn digests(modules: &Modules) -> String {
    let line =
        |(name, bytes): (&String, &Vec<u8>)| format!("{}  {name}\n", module::sha256_hex(bytes));
    modules.iter().map(line).collect()
}

/// Modules in `artifacts` that are not among `modules`.
fn strays(artifacts: &Path, modules: &Modules) -> Result<Vec<String>> {
    let unreadable = || format!("cannot read {}", artifacts.display());
    let mut strays = Vec::new();
    for entry in fs::read_dir(artifacts).with_context(unreadable)? {
        let name = entry.with_context(unreadable)?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".wasm") && !modules.contains_key(&name) {
            strays.push(name);
        }
    }
    strays.sort();
    Ok(strays)
}

/// Compares module by module. Other bytes are no failure; a missing module, another manifest or
/// digests that do not match the committed files are.
fn compare(artifacts: &Path, modules: &Modules, out: &mut dyn Write) -> Result<()> {
    let mut committed = Modules::new();
    let mut wrong: Vec<String> = strays(artifacts, modules)?
        .iter()
        .map(|name| format!("{name} belongs to no policy"))
        .collect();
    for (name, built) in modules {
        let Ok(bytes) = fs::read(artifacts.join(name)) else {
            wrong.push(format!("{name} is missing"));
            continue;
        };
        if bytes == *built {
            writeln!(out, "{name}: same")?;
        } else if module::manifest_text(&bytes)? == module::manifest_text(built)? {
            writeln!(
                out,
                "{name}: differs, {} bytes committed, {} built",
                bytes.len(),
                built.len()
            )?;
        } else {
            wrong.push(format!("{name} has another manifest"));
        }
        committed.insert(name.clone(), bytes);
    }
    let recorded = fs::read_to_string(artifacts.join(DIGESTS)).unwrap_or_default();
    if recorded != digests(&committed) {
        wrong.push(format!("{DIGESTS} does not match the modules"));
    }
    ensure!(
        wrong.is_empty(),
        "{}: {}; rebuild with `ostler policy build --builtin`",
        artifacts.display(),
        wrong.join(", ")
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module_named(name: &str) -> Vec<u8> {
        let manifest = format!(
            r#"{{"abi":1,"name":"{name}","version":"1","kinds":["eviction"],"bytes_per_slot":4,"base_bytes":65536}}"#
        );
        module::with_manifest(b"\0asm\x01\0\0\0", &manifest).unwrap()
    }

    fn modules(names: &[&str]) -> Modules {
        names.iter().map(|name| (format!("{name}.wasm"), module_named(name))).collect()
    }

    fn outcome(dir: &Path, built: &Modules) -> (String, String) {
        let mut out = Vec::new();
        let error = compare(dir, built, &mut out).err().map(|error| error.to_string());
        (String::from_utf8(out).unwrap(), error.unwrap_or_default())
    }

    #[test]
    fn digests_are_sorted_by_name_and_written_last() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &modules(&["lru", "fifo"]), &mut Vec::new()).unwrap();
        let text = fs::read_to_string(dir.path().join(DIGESTS)).unwrap();
        let expected = ["fifo", "lru"]
            .map(|name| format!("{}  {name}.wasm\n", module::sha256_hex(&module_named(name))));
        assert_eq!(text, expected.concat());
    }

    #[test]
    fn other_bytes_are_reported_and_anything_worse_is_a_failure() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &modules(&["lru", "fifo"]), &mut Vec::new()).unwrap();
        let mut built = modules(&["lru", "fifo"]);
        assert_eq!(
            outcome(dir.path(), &built),
            ("fifo.wasm: same\nlru.wasm: same\n".into(), String::new())
        );

        let other_toolchain = [&module_named("lru")[..], &[0, 2, 1, b'x']].concat();
        built.insert("lru.wasm".into(), other_toolchain);
        let (report, error) = outcome(dir.path(), &built);
        assert!(report.contains("lru.wasm: differs, ") && error.is_empty(), "{report} {error}");

        built.insert("lru.wasm".into(), module_named("lru2"));
        assert!(outcome(dir.path(), &built).1.contains("lru.wasm has another manifest"));
        let more = modules(&["lru", "fifo", "arc"]);
        assert!(outcome(dir.path(), &more).1.contains("arc.wasm is missing"));
        let fewer = modules(&["lru"]);
        assert!(outcome(dir.path(), &fewer).1.contains("fifo.wasm belongs to no policy"));
        fs::write(dir.path().join(DIGESTS), "").unwrap();
        let (_, error) = outcome(dir.path(), &modules(&["lru", "fifo"]));
        assert!(error.contains("DIGESTS does not match"), "{error}");
    }

    #[test]
    fn only_crates_are_policies() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b", "a", "artifacts"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        for name in ["b", "a"] {
            fs::write(dir.path().join(name).join("Cargo.toml"), "").unwrap();
        }
        let names: Vec<_> = policy_folders(dir.path()).unwrap();
        assert_eq!(names, [dir.path().join("a"), dir.path().join("b")]);
    }
}
