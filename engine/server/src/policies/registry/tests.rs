//! The books of policies: what is kept, and what comes back.

use super::*;

fn version(module: &[u8]) -> PolicyVersion {
    PolicyVersion {
        id: ModuleId::of(module),
        bytes: module.len() as u64,
        uploaded_unix_ms: Some(7),
        manifest_version: "1".to_owned(),
        summary: String::new(),
        kind: "eviction".to_owned(),
        parameters: Vec::new(),
        verdict: None,
    }
}

fn charge(policy: &str, module: &[u8]) -> Charge {
    let version = Some(ModuleId::of(module));
    Charge { policy: policy.to_owned(), version, params: Map::new() }
}

#[test]
fn names() {
    for good in ["a", "0", "my-policy_2.1", "wasm", &"x".repeat(64)] {
        assert_eq!(check_name(good), Ok(()), "{good}");
    }
    for (bad, reason) in [
        ("", "empty"),
        (&"x".repeat(65), "64"),
        ("Mine", "characters"),
        ("a/b", "characters"),
        ("ä", "characters"),
        ("native:lru", "characters"),
        (".hidden", "start"),
        ("-x", "start"),
        ("a.wasm", "file"),
    ] {
        let error = check_name(bad).unwrap_err();
        assert!(error.contains(reason), "{bad}: {error}");
    }
}

#[test]
fn versions_stand_newest_first_and_the_same_is_one() {
    let mut registry = Registry::default();
    for module in [b"1", b"2", b"1"] {
        registry.add("mine", version(module));
    }
    let ids: Vec<_> = registry.policies["mine"].iter().map(|version| version.id).collect();
    assert_eq!(ids, [ModuleId::of(b"1"), ModuleId::of(b"2")]);
    assert_eq!(registry.version("mine", None).unwrap().id, ids[0]);
    assert_eq!(registry.version("mine", Some(ids[1])).unwrap().id, ids[1]);
    assert_eq!(registry.version("mine", Some(ModuleId::of(b"3"))), None);
    registry.add("yours", version(b"2"));
    registry.remove("mine", Some(ids[1]));
    assert!(registry.has_module(ids[1]), "another policy has it too");
    registry.remove("mine", None);
    assert_eq!((registry.versions_len(), registry.policies.contains_key("mine")), (1, false));
}

#[test]
fn whoever_is_in_charge_or_next_in_line_is_used() {
    let mut registry = Registry::default();
    registry.caches.insert("default".to_owned());
    let users = |registry: &Registry, name: &str, module: &[u8]| {
        registry.users(name, Some(ModuleId::of(module))).len()
    };
    for module in [b"1", b"2", b"3"] {
        registry.put_in_charge("default", charge("mine", module));
        registry.put_in_charge("gone", charge("mine", module));
    }
    let used = [b"1", b"2", b"3"].map(|module| users(&registry, "mine", module));
    assert_eq!(used, [0, 1, 1], "and a cache that is gone uses nothing");
    assert_eq!(users(&registry, "yours", b"3"), 0);
    assert_eq!(registry.users("mine", None), ["default"]);
}

#[test]
fn what_is_written_is_read() {
    let mut registry = Registry::default();
    registry.add("mine", version(b"1"));
    registry.put_in_charge("default", charge("mine", b"1"));
    let text = registry.to_json();
    assert_eq!(Registry::read(&text).unwrap(), registry);
    let newer = String::from_utf8(text).unwrap().replace("\"format\": 1", "\"format\": 2");
    assert!(matches!(Registry::read(newer.as_bytes()), Err(ReadError::Newer(2))));
    for damaged in ["", "{", "[]", r#"{"format":1}"#] {
        assert!(matches!(Registry::read(damaged.as_bytes()), Err(ReadError::Damaged(_))));
    }
}
