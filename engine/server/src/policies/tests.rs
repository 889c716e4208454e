//! Uploads, activation and rollback, over restarts and broken disks.

use std::path::PathBuf;

use ostler_core::PolicyEvent;

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
        policy: Some(policies.source("default", configured).unwrap()),
        has_origin: false,
        faults_max: None,
        quarantined: codes(policies),
        on_policy: Box::new(policies.listener("default")),
    };
    Keyspace::try_new(setup, ServerClock::new(), Arc::default(), Arc::default()).unwrap()
}

/// The code that the cache does not trust any more.
fn codes(policies: &Policies) -> Vec<String> {
    let all = policies.quarantines("default");
    all.into_iter().map(|quarantine| quarantine.code).collect()
}

/// What a cache tells at the fault that was one too many.
fn quarantined(name: &str) -> PolicyEvent {
    PolicyEvent::Quarantined { policy: "mine".to_owned(), code: id(name).to_string() }
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
    let built_in = ostler::BUILTINS.len() + ostler::PREFETCHERS.len() + ostler::WARMERS.len();
    assert_eq!(policies.list().len(), built_in);
    let first = upload(&policies, "mine", module("lru")).unwrap();
    assert_eq!((first.id, first.outcome), (id("lru"), UploadOutcome::New));
    assert!(first.verdict.admitted());
    let second = upload(&policies, "mine", module("s3fifo")).unwrap();
    assert_eq!((second.id, second.outcome), (id("s3fifo"), UploadOutcome::New));
    let list = policies.list();
    assert_eq!((list.len(), list[0].name.as_str()), (built_in + 1, "mine"));

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
    for name in ["Mine", ""] {
        assert!(matches!(upload(&policies, name, module("lru")), Err(UploadError::Name { .. })));
    }
    for name in ["lru", "learned", "warm-decayed", "prefetch-stride"] {
        let error = upload(&policies, name, module("lru")).unwrap_err();
        assert!(matches!(error, UploadError::BuiltIn { .. }), "{error}");
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
fn a_quarantine_outlives_a_restart_until_it_is_pardoned() {
    let files = sound();
    {
        let policies = open(&files).unwrap();
        upload(&policies, "mine", module("sieve")).unwrap();
        let cache = keyspace(&policies, "lru");
        let _ = policies.activate(&cache, &activation("mine")).unwrap();
        policies.listener("default")(&quarantined("sieve"));
        policies.listener("gone")(&quarantined("fifo"));
    }
    let policies = open(&files).unwrap();
    let cache = keyspace(&policies, "lru");
    let kept = policies.quarantines("default");
    assert_eq!(
        (kept.len(), &*kept[0].policy, &kept[0].code),
        (1, "mine", &id("sieve").to_string())
    );
    let shown = policies.get("mine").unwrap().quarantined_in;
    assert_eq!((shown.len(), &*shown[0].cache, shown[0].version), (1, "default", id("sieve")));
    assert_eq!(policies.get("sieve").unwrap().quarantined_in, shown, "it is the same code");
    assert_eq!(policies.get("fifo").unwrap().quarantined_in, [], "this server has no such cache");
    let status = cache.cache().seat_status();
    assert_eq!((status.desired.as_deref(), status.actual), (Some("mine"), vec![None]));
    let refused = policies.activate(&cache, &activation("sieve")).unwrap_err();
    assert!(refused.to_string().contains("is quarantined after too many faults"), "{refused}");
    let _ = policies.rollback(&cache).unwrap();
    assert_eq!(desired(&cache).0, "lru", "the policy before is known, too");
    let wanted = Activation { pardon: true, ..activation("mine") };
    assert_eq!(policies.activate(&cache, &wanted).unwrap().not_kept, None);
    assert_eq!(codes(&policies), [""; 0]);
    drop((cache, policies));

    let policies = open(&files).unwrap();
    let status = keyspace(&policies, "lru").cache().seat_status();
    assert_eq!(status.actual, [Some("mine".to_owned())]);
}

#[test]
fn an_activation_that_is_refused_pardons_nobody() {
    let policies = open(&sound()).unwrap();
    let cache = keyspace(&policies, "lru");
    policies.listener("default")(&quarantined("sieve"));
    let mut wanted = Activation { pardon: true, ..activation("sieve") };
    wanted.params.insert("no_such".to_owned(), serde_json::json!(1));
    assert!(policies.activate(&cache, &wanted).is_err());
    assert_eq!(codes(&policies), [id("sieve").to_string()]);
}

#[test]
fn a_quarantine_that_a_full_disk_refuses_counts_and_is_kept_with_the_next_change() {
    // The first three steps make the registry of a new directory.
    let files = Breaking::new(3, Breakage::Once);
    let policies = open(&files).unwrap();
    assert_eq!(files.steps(), 3);
    policies.listener("default")(&quarantined("sieve"));
    assert_eq!(codes(&policies), [id("sieve").to_string()], "it counts at once");
    // Whichever of the two comes first fails.
    policies.shared.keep();
    drop(policies);
    assert_eq!(codes(&open(&files.repaired()).unwrap()), [id("sieve").to_string()]);
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

/// The file of a module.
fn file(name: &str) -> String {
    format!("modules/sha256-{}.wasm", &id(name).to_string()[7..])
}

#[test]
fn another_policy_stands_in_for_one_that_the_disk_has_lost() {
    let files = sound();
    {
        let policies = open(&files).unwrap();
        upload(&policies, "mine", module("clock")).unwrap();
        upload(&policies, "yours", module("lru")).unwrap();
        let cache = keyspace(&policies, "mine");
        assert_eq!(desired(&cache).0, "mine");
        let _ = policies.activate(&cache, &activation("yours")).unwrap();
    }
    // What was activated: the policy of the settings stands in.
    files.damage(&file("lru"));
    let policies = open(&files).unwrap();
    let cache = keyspace(&policies, "mine");
    assert_eq!(desired(&cache).0, "mine");
    let seat = policies.in_charge("default").unwrap();
    let missing = seat.missing.unwrap();
    assert_eq!((&*seat.current.policy, &*missing.charge.policy), ("mine", "yours"));
    assert!(missing.reason.contains("no such policy"), "{}", missing.reason);
    // What is saved meanwhile does not make that the last word.
    upload(&policies, "other", module("fifo")).unwrap();
    upload(&policies, "yours", module("lru")).unwrap();
    drop((cache, policies));
    let policies = open(&files).unwrap();
    assert_eq!(desired(&keyspace(&policies, "mine")).0, "yours");
    assert_eq!(policies.in_charge("default").unwrap().missing, None);
    drop(policies);

    // Both: the default does.
    for name in ["lru", "clock"] {
        files.damage(&file(name));
    }
    let policies = open(&files).unwrap();
    let cache = keyspace(&policies, "mine");
    assert_eq!(desired(&cache).0, CacheSettings::default().policy);
    let missing = policies.in_charge("default").unwrap().missing.unwrap();
    assert_eq!(missing.charge.policy, "yours", "what was wanted first");
    let _ = policies.activate(&cache, &activation("sieve")).unwrap();
    let seat = policies.in_charge("default").unwrap();
    assert_eq!((&*seat.current.policy, seat.missing), ("sieve", None));
    assert_eq!(seat.previous.unwrap().policy, CacheSettings::default().policy);
    drop((cache, policies));

    // What nobody can have uploaded is a mistake of the settings.
    let policies = open(&files).unwrap();
    for configured in ["Mine", "native:mine", "lru(no_such=1)", "none.wasm"] {
        assert!(policies.source("other", configured).is_err(), "{configured}");
    }
    let forgetful = Policies::open(None, &Limits::default()).unwrap();
    assert!(forgetful.source("default", "mine").is_err(), "there was no disk to lose it");
}

#[test]
fn a_list_that_is_damaged_is_made_again_without_judging() {
    let files = sound();
    let guest = module("sieve");
    // The same policy under a name of its own, so that it can be listed by its manifest.
    let at = guest.windows(7).position(|bytes| bytes == b"\"sieve\"").expect("its name");
    let mut renamed = guest.to_vec();
    renamed[at..at + 7].copy_from_slice(b"\"zieve\"");
    let renamed: &'static [u8] = renamed.leak();
    {
        let policies = open(&files).unwrap();
        upload(&policies, "mine", renamed).unwrap();
    }
    files.damage("policies.json");
    let policies = open(&files).unwrap();
    let found = policies.get("zieve").unwrap().versions;
    assert_eq!((found.len(), found[0].id), (1, ModuleId::of(renamed)));
    assert_eq!(found[0].verdict, None, "a thousand modules would take hours");
    assert!(policies.find("zieve", None, &Map::new()).is_ok());
    let again = upload(&policies, "zieve", renamed).unwrap();
    assert_eq!((again.outcome, again.verdict.admitted()), (UploadOutcome::Known, true));
    assert!(policies.get("zieve").unwrap().versions[0].verdict.is_some());
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

/// The same with a power cut right there, which also takes what was not synced.
#[test]
fn a_power_cut_at_any_step_loses_nothing_that_was_acknowledged() {
    let all = run_until(usize::MAX, Breakage::PowerCut);
    for at in 0..all {
        run_until(at, Breakage::PowerCut);
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
    let (mut gone, mut seated) = (false, false);
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
        seated = activated.is_ok_and(|activated| activated.not_kept.is_none());
        gone = policies.delete("mine", Some(id("clock"))).is_ok();
    }
    let steps = files.steps();

    let left = files.repaired();
    let policies = open(&left).unwrap();
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
    if seated {
        assert_eq!(desired(&keyspace(&policies, "sieve")).0, "mine", "step {at}, {how:?}");
    }
    let whole = |name: &String| name == "policies.json" || name.ends_with(".wasm");
    assert!(left.names().iter().all(whole), "step {at}, {how:?}: {:?}", left.names());
    assert_eq!(left.names().iter().filter(|name| name.ends_with(".wasm")).count(), mine.len());
    steps
}

#[test]
fn others_stand_in_for_one_that_breaks_its_contract_at_the_start() {
    let policies = open(&sound()).unwrap();
    policies.source("default", "lru").unwrap();
    let label = |found: Option<Arc<dyn InstanceSource>>| found.map(|it| it.label().to_owned());
    // The default of the settings, then nobody: the engine evicts by itself.
    assert_eq!(label(policies.stand_in("default", "it trapped")).as_deref(), Some("s3fifo"));
    let seat = policies.in_charge("default").unwrap();
    let missing = seat.missing.unwrap();
    assert_eq!((&*seat.current.policy, &*missing.charge.policy), ("s3fifo", "lru"));
    assert_eq!(missing.reason, "it trapped");
    assert_eq!(label(policies.stand_in("default", "so did that")), None);
    let missing = policies.in_charge("default").unwrap().missing.unwrap();
    assert_eq!((&*missing.charge.policy, &*missing.reason), ("lru", "it trapped"), "the first");
    assert_eq!(label(policies.stand_in("elsewhere", "")), None);

    policies.source("small", "s3fifo").unwrap();
    assert_eq!(label(policies.stand_in("small", "it trapped")), None, "there is no other");
    assert_eq!(policies.in_charge("small").unwrap().missing.unwrap().reason, "it trapped");
}
