//! Uploads, activation and rollback, over restarts and broken disks.

use std::path::PathBuf;

use super::store::tests::{Breakage, Breaking};
use super::*;
use crate::clock::ServerClock;
use crate::keyspace::KeyspaceSetup;

/// The module of a built-in policy, to be uploaded under another name.
fn module(name: &str) -> &'static [u8] {
    ostler::builtin(name).unwrap().module
}

fn id(name: &str) -> ModuleId {
    ModuleId::of(module(name))
}

fn open(files: &Breaking) -> Result<Policies, PolicyError> {
    let store = Store::with_files(Path::new(""), Box::new(files.clone()))?;
    Policies::with_store(store, &Limits::default())
}

fn sound() -> Breaking {
    Breaking::new(usize::MAX, Breakage::Once)
}

fn keyspace(policies: &Policies, configured: &str) -> Keyspace {
    let setup = KeyspaceSetup {
        name: "default".to_owned(),
        capacity_bytes: 1 << 20,
        shards: Some(1),
        policy: policies.source("default", configured).unwrap(),
        faults_max: None,
        on_policy: Box::new(|_| {}),
    };
    Keyspace::try_new(setup, ServerClock::new(), Arc::default(), Arc::default()).unwrap()
}

fn activation(policy: &str) -> Activation {
    Activation { policy: policy.to_owned(), version: None, params: Map::new(), pardon: false }
}

fn desired(cache: &Keyspace) -> (String, String) {
    let status = cache.cache().seat_status();
    (status.desired.unwrap(), status.params.unwrap())
}

fn upload(policies: &Policies, name: &str, module: &'static [u8]) -> Result<Uploaded, UploadError> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(policies.upload(name, Bytes::from_static(module)))
}

#[test]
fn uploads_are_listed_and_found_with_their_versions() {
    let policies = open(&sound()).unwrap();
    assert_eq!(policies.list().len(), 16);
    let first = upload(&policies, "mine", module("lru")).unwrap();
    assert_eq!((first.id, first.outcome), (id("lru"), UploadOutcome::New));
    assert!(first.verdict.admitted());
    let second = upload(&policies, "mine", module("s3fifo")).unwrap();
    assert_eq!((second.id, second.outcome), (id("s3fifo"), UploadOutcome::New));
    assert_eq!((policies.list().len(), policies.list()[0].name.as_str()), (17, "mine"));

    let ids = || {
        let versions = policies.get("mine").unwrap().versions;
        versions.iter().map(|version| version.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(), [id("s3fifo"), id("lru")]);
    let newest = policies.get("mine").unwrap().versions[0].clone();
    assert_eq!(newest.bytes, module("s3fifo").len() as u64);
    assert!(newest.parameters.iter().any(|parameter| parameter.name == "small_percent"));
    assert_eq!(newest.verdict.as_ref(), Some(&second.verdict));
    let found = policies.find("mine", None, &Map::new()).unwrap();
    assert_eq!((found.label(), found.code_id()), ("mine", id("s3fifo").to_string()));
    let found = policies.find("mine", Some(id("lru")), &Map::new()).unwrap();
    assert_eq!(found.code_id(), id("lru").to_string());

    let again = upload(&policies, "mine", module("lru")).unwrap();
    assert_eq!((again.outcome, again.verdict), (UploadOutcome::Known, first.verdict));
    assert_eq!(ids(), [id("lru"), id("s3fifo")], "what was put last is what there is");
}

#[test]
fn what_cannot_be_uploaded_is_refused_with_the_reason() {
    let policies = open(&sound()).unwrap();
    for name in ["lru", "Mine", ""] {
        assert!(matches!(upload(&policies, name, module("lru")), Err(UploadError::Name { .. })));
    }
    let limits = Limits { module_bytes_max: 100, ..Limits::default() };
    let store = Store::with_files(Path::new(""), Box::new(sound())).unwrap();
    let small = Policies::with_store(store, &limits).unwrap();
    let error = upload(&small, "mine", module("lru")).unwrap_err();
    assert!(matches!(error, UploadError::TooLarge { limit: 100, .. }));
    let error = upload(&policies, "mine", b"\0asm\x01\0\0\0").unwrap_err();
    assert!(error.to_string().starts_with("refused: manifest: "), "{error}");
    let UploadError::Refused { verdict } = error else { unreachable!("it was refused") };
    assert_eq!(verdict.failure().unwrap().name, "manifest");
    assert_eq!(policies.get("mine"), None);
}

#[test]
fn what_there_is_not_is_named() {
    let policies = open(&sound()).unwrap();
    upload(&policies, "mine", module("lru")).unwrap();
    let error = |name: &str, version| match policies.find(name, version, &Map::new()) {
        Ok(_) => String::new(),
        Err(error) => error.to_string(),
    };
    assert!(error("yours", None).contains("`yours`: no such policy; upload it"));
    assert!(error("mine", Some(id("sieve"))).contains(&id("sieve").to_string()));
    assert!(error("lru", Some(id("sieve"))).contains("no such policy"));
    assert_eq!(error("lru", Some(id("lru"))), "");
    assert_eq!(error("native:lru", None), "");
    assert!(error("native:nil", None).contains("no such policy"));
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../policies/artifacts/lru.wasm");
    assert!(error(file, None).contains("no such policy"), "callers name no files");
    let params = serde_json::json!({"no_such": 1});
    let refused = policies.find("mine", None, params.as_object().unwrap());
    assert!(refused.is_err_and(|error| error.to_string().contains("no_such")));
    assert!(policies.source("default", file).is_ok(), "the operator does");
}

#[test]
fn a_restart_brings_everything_back() {
    let files = sound();
    let mut wanted = activation("mine");
    wanted.params.insert("small_percent".to_owned(), serde_json::json!(20));
    {
        let policies = open(&files).unwrap();
        upload(&policies, "mine", module("s3fifo")).unwrap();
        let cache = keyspace(&policies, "sieve");
        let activated = policies.activate(&cache, &wanted).unwrap();
        assert_eq!((activated.charge.version, activated.not_kept), (Some(id("s3fifo")), None));
        upload(&policies, "mine", module("lru")).unwrap();
    }
    let policies = open(&files).unwrap();
    let cache = keyspace(&policies, "sieve");
    let (policy, params) = desired(&cache);
    assert_eq!(policy, "mine");
    assert!(params.contains(r#""small_percent":20"#), "the version then, with its parameters");
    let _ = policies.rollback(&cache).unwrap();
    assert_eq!(desired(&cache).0, "sieve");
    let _ = policies.rollback(&cache).unwrap();
    assert_eq!(desired(&cache), ("mine".to_owned(), params));
    drop((cache, policies));

    let policies = open(&files).unwrap();
    assert_eq!(desired(&keyspace(&policies, "lru")).0, "lru", "the settings have changed since");
    assert_eq!(policies.in_charge("default").unwrap().previous, None);
}

#[test]
fn what_is_in_use_stays() {
    let policies = open(&sound()).unwrap();
    for policy in ["lru", "sieve", "fifo"] {
        upload(&policies, "mine", module(policy)).unwrap();
    }
    let cache = keyspace(&policies, "lru");
    for version in ["lru", "sieve"] {
        let wanted = Activation { version: Some(id(version)), ..activation("mine") };
        let _ = policies.activate(&cache, &wanted).unwrap();
    }
    for version in ["lru", "sieve"] {
        let error = policies.delete("mine", Some(id(version))).unwrap_err();
        assert!(matches!(&error, DeleteError::InUse { caches, .. } if caches == &["default"]));
    }
    assert!(matches!(policies.delete("mine", None), Err(DeleteError::InUse { .. })));
    assert!(matches!(policies.delete("lru", None), Err(DeleteError::BuiltIn { .. })));
    assert!(matches!(policies.delete("yours", None), Err(DeleteError::Unknown { .. })));
    policies.delete("mine", Some(id("fifo"))).unwrap();
    let unknown = policies.delete("mine", Some(id("fifo")));
    assert!(matches!(unknown, Err(DeleteError::Unknown { .. })));
    let uses = policies.get("mine").unwrap().used_by;
    assert_eq!((uses[0].version, uses[0].role), (Some(id("sieve")), UseRole::InCharge));
    assert_eq!((uses[1].version, uses[1].role), (Some(id("lru")), UseRole::Previous));
    for policy in ["lru", "sieve"] {
        let _ = policies.activate(&cache, &activation(policy)).unwrap();
    }
    policies.delete("mine", None).unwrap();
    assert_eq!(policies.get("mine"), None);
}

#[test]
fn what_is_damaged_is_put_aside_and_the_rest_loads() {
    let files = sound();
    {
        let policies = open(&files).unwrap();
        upload(&policies, "mine", module("lru")).unwrap();
        upload(&policies, "yours", module("sieve")).unwrap();
        let cache = keyspace(&policies, "fifo");
        let _ = policies.activate(&cache, &activation("mine")).unwrap();
    }
    let file = |name: &str| PathBuf::from(format!("sha256-{}.wasm", &id(name).to_string()[7..]));
    files.damage(&format!("modules/{}", file("lru").display()));
    let policies = open(&files).unwrap();
    assert_eq!((policies.get("mine"), policies.get("yours").is_some()), (None, true));
    assert!(files.names().contains(&format!("{}.corrupt", file("lru").display())));
    let source = policies.source("default", "fifo").unwrap();
    assert_eq!(source.label(), "fifo", "the policy of the settings stands in");
    drop(policies);

    files.damage("policies.json");
    let policies = open(&files).unwrap();
    assert!(files.names().contains(&"policies.json.corrupt".to_owned()));
    assert_eq!(policies.get("sieve").unwrap().origin, Origin::BuiltIn);
    assert_eq!(policies.get("yours"), None, "its manifest says sieve, a name that is taken");
}

/// Every step of an upload, an activation and a deletion, each with a kill right there: what was
/// acknowledged is there afterwards, what was deleted is not, and nothing is half there.
#[test]
fn a_kill_at_any_step_loses_nothing_that_was_acknowledged() {
    let all = run_until(usize::MAX, Breakage::ForGood);
    for at in 0..all {
        let steps = run_until(at, Breakage::ForGood);
        assert!(steps >= at);
    }
}

/// The same with a step that fails while the server goes on.
#[test]
fn a_full_disk_at_any_step_changes_nothing() {
    let all = run_until(usize::MAX, Breakage::Once);
    for at in 0..all {
        run_until(at, Breakage::Once);
    }
}

/// Runs the scenario on files that break at the step `at`, checks, and returns the steps it took.
fn run_until(at: usize, how: Breakage) -> usize {
    let files = Breaking::new(at, how);
    let mut kept = Vec::new();
    let mut gone = false;
    if let Ok(policies) = open(&files) {
        let cache = keyspace(&policies, "sieve");
        for name in ["lru", "clock"] {
            match upload(&policies, "mine", module(name)) {
                Ok(_) => kept.push(id(name)),
                Err(error) => assert!(matches!(error, UploadError::Store(_)), "{error}"),
            }
        }
        let wanted = Activation { version: Some(id("lru")), ..activation("mine") };
        let activated = policies.activate(&cache, &wanted);
        assert_eq!(activated.is_ok(), kept.contains(&id("lru")), "a full disk is no reason");
        gone = policies.delete("mine", Some(id("clock"))).is_ok();
    }
    let steps = files.steps();

    let policies = open(&files.repaired()).unwrap();
    let mine = policies.get("mine").map(|policy| policy.versions).unwrap_or_default();
    for version in kept {
        let deleted = gone && version == id("clock");
        let unsure = version == id("clock") && !gone;
        let is_there = mine.iter().any(|known| known.id == version);
        assert!(unsure || is_there != deleted, "step {at}, {how:?}");
    }
    for version in &mine {
        assert!(policies.find("mine", Some(version.id), &Map::new()).is_ok(), "step {at}");
    }
    let whole = |name: &String| name == "policies.json" || name.ends_with(".wasm");
    assert!(files.names().iter().all(whole), "step {at}, {how:?}: {:?}", files.names());
    assert_eq!(files.names().iter().filter(|name| name.ends_with(".wasm")).count(), mine.len());
    steps
}
