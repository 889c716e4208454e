//! `ostler policy check`: would a cache admit this module, and if not, why?
//!
//! The steps up to the compiler are the host crate's, the conformance run is the one that a server
//! does on each upload; this prints what came of it. It judges nothing itself.

mod verdict;

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, bail};
use ostler::{PolicySource, PolicySpec};
use ostler_abi::{
    Access, AccessKind, Ask, Asks, Candidate, Kind, Outlook, PolicyKind, Record, Setup, hash_u64,
};
use ostler_core::{PolicyFault, PolicyInstance, PrefetchInstance, WarmingInstance};
use ostler_server::policies::conformance;
use ostler_wasm::PolicyModule;

use crate::{EXIT_DONE, EXIT_FAILED};
use verdict::{Findings, Memory};

/// Slots, accesses or candidates after which a policy's memory is measured.
const MEASURED_COUNT: u32 = 10_000;

/// Arguments of `ostler policy check`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// FILE.wasm or the name of a built-in policy, with (key=value,…) for parameters.
    #[arg(value_name = "POLICY")]
    policy: PolicySpec,
    /// How the verdict is printed.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people.
    Table,
    /// One object.
    Json,
}

/// Checks and prints. The status is 0 where the module is admitted, 1 where it is not.
pub(crate) fn run(args: &Args, out: &mut dyn Write) -> Result<u8> {
    let module = read(&args.policy.source)?;
    let findings = examine(&module, &args.policy)?;
    match args.format {
        Format::Table => findings.write_table(out)?,
        Format::Json => findings.write_json(out)?,
    }
    Ok(if findings.verdict.admitted() { EXIT_DONE } else { EXIT_FAILED })
}

/// The bytes of the module that was named.
fn read(source: &PolicySource) -> Result<Vec<u8>> {
    match source {
        PolicySource::File(path) => read_file(path),
        PolicySource::Builtin(name) => match ostler::builtin(name) {
            Some(builtin) => Ok(builtin.module.to_vec()),
            None if Path::new(name).is_file() => read_file(Path::new(name)),
            None => {
                let known: Vec<&str> = ostler::BUILTINS.iter().map(|it| it.name).collect();
                bail!(
                    "{name} is neither a file nor a built-in policy, which are: {}",
                    known.join(", ")
                )
            }
        },
        source => bail!("{source} is no module: name a FILE.wasm or a built-in policy"),
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Admission, then conformance and memory where there is something to run.
fn examine(bytes: &[u8], spec: &PolicySpec) -> Result<Findings> {
    let runtime = conformance::runtime().context("the WebAssembly runtime does not start here")?;
    let admission = runtime.admit(bytes);
    let mut findings = Findings {
        source: spec.source.to_string(),
        verdict: admission.verdict,
        scenarios: Vec::new(),
        memory: None,
    };
    let Ok(module) = admission.module else {
        return Ok(findings);
    };
    let params = module.manifest().params(&spec.params)?;
    let report = conformance::run(&module, &params, &mut findings.verdict);
    findings.scenarios = report.checks;
    findings.memory = Some(memory_of(&module, &params));
    Ok(findings)
}

/// What the policy says it takes, and what an instance takes that was used.
fn memory_of(module: &PolicyModule, params: &str) -> Memory {
    let manifest = module.manifest();
    let (unit, slots, measured) = match manifest.kind() {
        PolicyKind::Prefetch => ("accesses", 0, measure_prefetch(module, params)),
        PolicyKind::Warming => ("candidates", 0, measure_warming(module, params)),
        _ => ("slots", MEASURED_COUNT, measure(module, params)),
    };
    Memory {
        bytes_per_slot: manifest.bytes_per_slot(),
        base_bytes: manifest.base_bytes(),
        count: MEASURED_COUNT,
        unit,
        limit: manifest.memory_bytes_max(slots),
        measured: measured.map_err(|fault| fault.to_string()),
    }
}

/// Memory of an instance that has heard of as many keys, bytes.
fn measure_prefetch(module: &PolicyModule, params: &str) -> Result<u64, PolicyFault> {
    let setup = Setup { capacity: u64::from(MEASURED_COUNT), slots: 0, seed: 1 };
    let mut instance = module.instantiate_prefetch(setup, params)?;
    for number in 0..MEASURED_COUNT {
        let key = number.to_string();
        let key_len = u32::try_from(key.len()).unwrap_or(0);
        let hash = hash_u64(u64::from(number), 0);
        let access = Access { key_at: 0, key_len, ..Access::new(AccessKind::Miss, hash) };
        let (mut buffer, mut keys) = ([Ask::ZERO; 1], [0; 1]);
        instance.predict(&[access], key.as_bytes(), &mut Asks::new(&mut buffer, &mut keys))?;
    }
    Ok(instance.memory_bytes())
}

/// Memory of an instance that has ranked as many keys, bytes.
fn measure_warming(module: &PolicyModule, params: &str) -> Result<u64, PolicyFault> {
    let setup = Setup { capacity: u64::from(MEASURED_COUNT), slots: 0, seed: 1 };
    let mut instance = module.instantiate_warming(setup, params)?;
    let candidates = vec![Candidate { accesses: 1, weight: 1, ..Candidate::ZERO }; 10_000];
    let mut scores = vec![0; candidates.len()];
    instance.rank(&Outlook::default(), &candidates, &mut scores)?;
    Ok(instance.memory_bytes())
}

/// Memory of an instance that holds as many entries as it has slots, bytes.
fn measure(module: &PolicyModule, params: &str) -> Result<u64, PolicyFault> {
    let setup = Setup { capacity: u64::from(MEASURED_COUNT), slots: MEASURED_COUNT, seed: 1 };
    let mut instance = module.instantiate(setup, params)?;
    for slot in 0..MEASURED_COUNT {
        let key_hash = hash_u64(u64::from(slot), 0);
        if let Some(place) = instance.events().first_mut() {
            *place = Record { key_hash, ..Record::new(Kind::Insert, slot) };
        }
        let _ = instance.step(1)?;
    }
    Ok(instance.memory_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(policy: &str, format: Format) -> (u8, String) {
        let args = Args { policy: policy.parse().unwrap(), format };
        let mut out = Vec::new();
        let status = run(&args, &mut out).unwrap();
        (status, String::from_utf8(out).unwrap())
    }

    fn file(dir: &tempfile::TempDir, text: &str) -> String {
        let path = dir.path().join("policy.wasm");
        std::fs::write(&path, wat::parse_str(text).unwrap()).unwrap();
        path.to_str().unwrap().to_owned()
    }

    #[test]
    fn a_builtin_policy_is_admitted_and_every_step_is_shown() {
        let (status, table) = check("lru", Format::Table);
        assert_eq!(status, EXIT_DONE, "{table}");
        for expected in
            ["lru", "parse", "manifest", "compile", "conformance", "resizes", "bytes a slot"]
        {
            assert!(table.contains(expected), "{expected} in {table}");
        }
        assert!(table.ends_with("admitted\n") && !table.contains("failed"), "{table}");
    }

    #[test]
    fn the_verdict_is_there_as_json() {
        let (status, json) = check("sieve", Format::Json);
        let verdict: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!((status, &verdict["admitted"]), (EXIT_DONE, &serde_json::json!(true)));
        assert_eq!(verdict["steps"].as_array().unwrap().len(), 8);
        assert!(verdict["scenarios"].as_array().unwrap().len() >= 10);
        let memory = &verdict["memory"];
        let (measured, limit) = (memory["measured_bytes"].as_u64(), memory["limit_bytes"].as_u64());
        assert!(measured.unwrap() <= limit.unwrap(), "{memory}");
    }

    #[test]
    fn a_module_without_a_manifest_is_refused_at_that_step() {
        let dir = tempfile::tempdir().unwrap();
        let (status, table) = check(&file(&dir, "(module)"), Format::Table);
        assert_eq!(status, EXIT_FAILED);
        assert!(table.contains("refused: manifest: "), "{table}");
        let (status, json) = check(&file(&dir, "(module)"), Format::Json);
        let verdict: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!((status, &verdict["admitted"]), (EXIT_FAILED, &serde_json::json!(false)));
        assert_eq!(verdict["memory"], serde_json::Value::Null);
    }

    /// A guest that never evicts passes every step but the last.
    #[test]
    fn a_policy_that_keeps_everything_is_refused_by_the_conformance_run() {
        let dir = tempfile::tempdir().unwrap();
        let hoarder = r#"(module
            (@custom "ostler.policy" "{\"abi\":1,\"name\":\"hoarder\",\"version\":\"1\",\"kinds\":[\"eviction\"],\"bytes_per_slot\":0,\"base_bytes\":65536}")
            (memory (export "memory") 1)
            (data (i32.const 0) "\20\00\00\00\01\00\00\00\00\10\00\00\40\00\00\00\00\40\00\00\40\00\00\00\00\60\00\00\00\01\00\00")
            (func (export "ostler_layout") (result i32) i32.const 0)
            (func (export "ostler_init") (param i64 i32 i64) (result i32) i32.const 0)
            (func (export "ostler_step") (param i32) (result i32) i32.const 0))"#;
        let (status, table) = check(&file(&dir, hoarder), Format::Table);
        assert_eq!(status, EXIT_FAILED, "{table}");
        assert!(table.contains("refused: conformance: equal weights"), "{table}");
        assert!(table.contains("Budget"), "{table}");
    }

    /// One of each further kind, as its author would check it.
    #[test]
    fn prefetch_and_warming_policies_are_checked_by_their_own_scenarios() {
        let guest = |path: &str| {
            let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/guests/");
            std::fs::read_to_string(format!("{folder}{path}.wat")).unwrap()
        };
        let dir = tempfile::tempdir().unwrap();
        let rows = [
            ("warming/good_accesses", EXIT_DONE, "numbers at their bounds"),
            ("warming/good_accesses", EXIT_DONE, "taken at 10000 candidates"),
            ("prefetch/too_sure", EXIT_FAILED, "refused: conformance: numbers in strides"),
            ("warming/one_score_less", EXIT_FAILED, "bad answer: 7 scores for 8 candidates"),
            ("warming/trap", EXIT_FAILED, "refused: conformance: histories as they come: trap"),
            ("model/trap", EXIT_FAILED, "refused: conformance: "),
        ];
        for (path, expected_status, expected) in rows {
            let (status, table) = check(&file(&dir, &guest(path)), Format::Table);
            assert_eq!(status, expected_status, "{path}: {table}");
            assert!(table.contains(expected), "{path}: {expected} in {table}");
        }
    }

    #[test]
    fn what_is_no_module_is_named() {
        let read = |policy: &str| {
            let spec: PolicySpec = policy.parse().unwrap();
            read(&spec.source).unwrap_err().to_string()
        };
        assert!(read("no-such-policy").contains("neither a file nor a built-in policy"));
        assert!(read("native:lru").contains("no module"));
        assert!(read("missing.wasm").contains("missing.wasm"));
    }
}
