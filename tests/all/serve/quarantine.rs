//! A policy that faults under load loses the cache, and gets it back only from somebody who says so.

use std::io::{BufRead as _, BufReader, Write as _};
use std::time::Duration;

use ostler_tests::{Expect, HttpOrigin, Served, cheats, cheats_of, guests};
use serde_json::{Value, json};

use super::fetching::{Application, LATENCY, settings, status, wait_for};
use super::serve;

/// A cache of one shard; it takes three faults to be quarantined.
const ARGS: [&str; 4] = ["--capacity", "1MiB", "--policy", "lru"];
const FAULTS_MAX: usize = 3;

/// Puts a policy in charge and returns the status with the document.
fn activate(server: &Served, body: &Value) -> (u16, Value) {
    activate_in(server, "policy", body)
}

/// Puts a policy into the seat `policy`, `prefetch` or `warming`.
fn activate_in(server: &Served, seat: &str, body: &Value) -> (u16, Value) {
    let path = format!("/v1/caches/default/{seat}");
    let answer = server.ask("POST", &path, body.to_string().as_bytes());
    (answer.status, answer.json())
}

/// Writes more than fits, so that the policy has to choose victims.
fn write_much(server: &Served) {
    let mut stream = server.connect();
    let mut requests = Vec::new();
    for number in 0..2_000 {
        requests.extend(format!("SET key:{number} {}\r\n", "v".repeat(1_000)).bytes());
    }
    stream.write_all(&requests).expect("it takes requests");
    let replies = BufReader::new(stream).lines().take(2_000).map_while(Result::ok);
    assert_eq!(replies.filter(|reply| reply == "+OK").count(), 2_000, "a fault is no client's");
}

#[test]
fn a_policy_that_faults_too_often_gets_no_cache_until_it_is_pardoned() {
    let server = serve(&ARGS);
    let cheat = cheats().into_iter().find(|cheat| cheat.name == "cheat_over_budget");
    let module = cheat.expect("the guest is there").module;
    assert_eq!(server.ask("PUT", "/v1/policies/cheat", &module).status, 201);
    let labels = [("cache", "default"), ("kind", "over_budget")];
    let faults = || server.metric("ostler_policy_faults_total", &labels);
    for fault in 1..=FAULTS_MAX {
        let _ = server.ask("POST", "/v1/caches/default/invalidate", br#"{"all":true}"#);
        let (status, document) = activate(&server, &json!({"policy": "cheat"}));
        assert_eq!(status, 200, "after {} faults: {document}", fault - 1);
        write_much(&server);
        assert_eq!(faults(), fault as f64);
    }
    let stats = server.ask("GET", "/v1/caches/default/stats", b"").json();
    assert_eq!(stats["seat"]["shards"][0]["policy"], Value::Null, "the fallback: {stats}");
    assert_eq!(stats["seat"]["shards"][0]["fault"]["kind"], "over_budget", "{stats}");
    assert_eq!(server.metric("ostler_shards_in_charge", &[]), 0.0);

    let (status, document) = activate(&server, &json!({"policy": "cheat"}));
    let kind = &document["type"];
    assert_eq!((status, kind), (409, &json!("urn:ostler:problem:policy-quarantined")));
    let detail = document["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("`cheat`") && detail.contains("\"pardon\": true"), "{detail}");
    assert_eq!(activate(&server, &json!({"policy": "lru"})).0, 200, "others may");

    let _ = server.ask("POST", "/v1/caches/default/invalidate", br#"{"all":true}"#);
    let (status, document) = activate(&server, &json!({"policy": "cheat", "pardon": true}));
    assert_eq!((status, &document["policy"]), (200, &json!("cheat")), "{document}");
    write_much(&server);
    assert_eq!(faults(), 4.0, "a pardon mends nothing");
    let (status, document) = activate(&server, &json!({"policy": "cheat"}));
    assert_eq!(status, 200, "it starts anew with no fault against it: {document}");
}

/// Policies that a server says the cache does not trust: in its figures, and at the policy itself.
fn quarantined(server: &Served) -> (Value, Value) {
    let stats = server.ask("GET", "/v1/caches/default/stats", b"").json();
    let policy = server.ask("GET", "/v1/policies/cheat", b"").json();
    (stats["seat"]["quarantined"].clone(), policy["quarantined_in"].clone())
}

#[test]
fn a_quarantine_outlives_a_kill_and_a_pardon_a_restart() {
    let folder = tempfile::tempdir().expect("a folder of our own");
    let data_dir = folder.path().to_str().expect("a path in UTF-8");
    let args = [&ARGS[..], &["--data-dir", data_dir]].concat();
    let module = cheats().into_iter().find(|cheat| cheat.name == "cheat_over_budget");
    let module = module.expect("the guest is there").module;
    let server = serve(&args);
    assert_eq!(server.ask("PUT", "/v1/policies/cheat", &module).status, 201);
    assert_eq!(quarantined(&server), (json!([]), json!([])));
    for _ in 0..FAULTS_MAX {
        let _ = server.ask("POST", "/v1/caches/default/invalidate", br#"{"all":true}"#);
        assert_eq!(activate(&server, &json!({"policy": "cheat"})).0, 200);
        write_much(&server);
    }
    let (before, _) = quarantined(&server);
    assert_eq!(before[0]["policy"], "cheat", "{before}");
    // It is written by a thread of its own: a deletion that finds nothing waits for its turn, and then
    // the process may go at any time.
    let kept = || std::fs::read_to_string(folder.path().join("policies.json")).unwrap_or_default();
    while !kept().contains("since_unix_ms") {
        assert_eq!(server.ask("DELETE", "/v1/policies/none", b"").status, 404);
    }
    server.kill();

    let server = serve(&args);
    let (stats, policy) = quarantined(&server);
    assert_eq!(stats, before, "the same policy since the same time");
    assert_eq!(
        (&policy[0]["cache"], &policy[0]["version"]),
        (&json!("default"), &before[0]["code"])
    );
    let seat = server.ask("GET", "/v1/caches/default/stats", b"").json()["seat"].clone();
    assert_eq!((&seat["desired"], &seat["previous"]), (&json!("cheat"), &json!("cheat")), "{seat}");
    assert_eq!(seat["shards"][0]["policy"], Value::Null, "the fallback serves: {seat}");
    write_much(&server);
    assert_eq!(activate(&server, &json!({"policy": "cheat"})).0, 409);
    let _ = server.ask("POST", "/v1/caches/default/invalidate", br#"{"all":true}"#);
    assert_eq!(activate(&server, &json!({"policy": "cheat", "pardon": true})).0, 200);
    assert_eq!(quarantined(&server), (json!([]), json!([])));
    let (status, log) = server.stop();
    assert!(status.success(), "{log}");

    let server = serve(&args);
    assert_eq!(quarantined(&server), (json!([]), json!([])));
    let seat = server.ask("GET", "/v1/caches/default/stats", b"").json()["seat"].clone();
    assert_eq!(seat["shards"][0]["policy"], "cheat", "{seat}");
}

#[test]
fn a_policy_that_faults_before_its_first_event_keeps_no_server_from_starting() {
    let guest = guests().into_iter().find(|guest| guest.name == "init_refuses");
    let folder = tempfile::tempdir().expect("a folder of our own");
    let path = folder.path().join("refuses.wasm");
    std::fs::write(&path, guest.expect("the guest is there").module).expect("it is writable");
    let server = serve(&["--capacity", "1MiB", "--policy", path.to_str().expect("UTF-8")]);
    let seat = server.ask("GET", "/v1/caches/default/stats", b"").json()["seat"].clone();
    assert_eq!(seat["desired"], "s3fifo", "{seat}");
    assert_eq!(seat["shards"][0]["policy"], "s3fifo", "{seat}");
    let reason = seat["missing"]["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("42"), "the code of its refusal: {seat}");
    let labels = [("cache", "default"), ("kind", "refused")];
    assert_eq!(server.metric("ostler_policy_faults_total", &labels), 1.0);
    write_much(&server);
}

/// What holds of a policy that broke its contract in a seat beside the eviction policy's: its fault is
/// counted, it is in quarantine, and everything else goes on.
fn assert_out(server: &Served, seat: &str, (name, kind): (&str, &str)) {
    let labels = [("cache", "default"), ("policy", name), ("kind", kind)];
    assert_eq!(server.metric("ostler_policy_faults_total", &labels), 1.0, "{name}");
    let stands = status(server, seat)["seat"].clone();
    assert_eq!((&stands["desired"], &stands["policy"]), (&json!(name), &Value::Null), "{stands}");
    let reason = stands["reason"].as_str().unwrap_or_default();
    assert!(reason.contains(&format!("`{name}`")), "{stands}");
    let quarantined = stands["quarantined"].as_array().cloned().unwrap_or_default();
    assert!(quarantined.iter().any(|one| one["policy"] == name), "{stands}");
    let (status, document) = activate_in(server, seat, &json!({"policy": name}));
    let refused = (409, json!("urn:ostler:problem:policy-quarantined"));
    assert_eq!((status, document["type"].clone()), refused, "{document}");
    assert_eq!(server.metric("ostler_shards_in_charge", &[]), 1.0, "the eviction policy stays");
    assert_eq!(server.metric("ostler_command_errors_total", &[]), 0.0);
}

/// Uploads each cheat of this kind and puts it into its seat; then it is `attacked`, and out.
fn each_cheat(server: &Served, seat: &str, mut attacked: impl FnMut(&str)) {
    let cheats = cheats_of(seat);
    assert_eq!(cheats.len(), 3, "a trap, an endless loop, an answer outside the bounds");
    for cheat in &cheats {
        let Expect::Fault(kind) = &cheat.expect else { unreachable!("{cheat:?}") };
        let name = cheat.name.replace('_', "-");
        let answer = server.ask("PUT", &format!("/v1/policies/{name}"), &cheat.module);
        assert_eq!(answer.status, 201, "{name}: {}", answer.text());
        let (status, document) = activate_in(server, seat, &json!({"policy": name}));
        assert_eq!((status, &document["policy"]), (200, &json!(name)), "{document}");
        attacked(&name);
        wait_for(server, seat, |status| status["seat"]["policy"] == Value::Null);
        assert_out(server, seat, (&name, kind));
    }
    let (status, document) =
        activate_in(server, seat, &json!({"policy": "cheat-trap", "pardon": true}));
    assert_eq!((status, &document["policy"]), (200, &json!("cheat-trap")), "{document}");
}

#[test]
fn a_hostile_prefetch_policy_is_out_and_requests_go_on() {
    let (folder, origin) = (tempfile::tempdir().expect("a folder"), HttpOrigin::start(LATENCY));
    let server = serve(&["--config", &settings(folder.path(), &origin, "")]);
    let mut application = Application::new(&server, &origin);
    each_cheat(&server, "prefetch", |name| {
        // It breaks its contract over the first of these; the clients notice nothing.
        let mut loaded =
            || (0..200).filter(|key| application.load(&format!("{name}:{key}"))).count();
        assert_eq!((loaded(), loaded()), (0, 200), "{name}");
    });
    // Nothing of what it asked for counted, and an honest one may come after it.
    let labels = [("cache", "default"), ("purpose", "prefetch")];
    assert_eq!(server.metric("ostler_origin_requests_total", &labels), 0.0);
    assert_eq!(server.metric("ostler_prefetch_asks_total", &[]), 0.0);
    assert_eq!(activate_in(&server, "prefetch", &json!({"policy": "prefetch-stride"})).0, 200);
    assert_eq!(server.metric("ostler_prefetch_working", &[]), 1.0);
    let (status, log) = server.stop();
    assert!(status.success(), "{log}");
}

#[test]
fn a_hostile_warming_policy_is_out_and_the_cache_is_warmed_without_it() {
    let (folder, origin) =
        (tempfile::tempdir().expect("a folder"), HttpOrigin::start(Duration::ZERO));
    let warming = "[cache.warming]\npolicy = 'warm-decayed'\nfetches_per_second = 100000";
    let server = serve(&["--config", &settings(folder.path(), &origin, warming)]);
    let mut application = Application::new(&server, &origin);
    // More than fits, so that there is something to bring back.
    let keys = 6_000_u64;
    assert_eq!((0..keys).filter(|key| application.load(&format!("item:{key}"))).count(), 0);
    wait_for(&server, "warming", |status| status["history_keys"] == keys);
    let mut rounds = 0;
    each_cheat(&server, "warming", |name| {
        let before = status(&server, "warming")["stored"].as_u64();
        assert_eq!(server.ask("POST", "/v1/caches/default/warm", b"").status, 200);
        let mut loaded =
            || (0..50).filter(|key| application.load(&format!("{name}:{key}"))).count();
        assert_eq!((loaded(), loaded()), (0, 50), "requests are served meanwhile");
        rounds += 1;
        let after = wait_for(&server, "warming", |status| status["rounds"] == rounds);
        assert!(after["stored"].as_u64() > before, "the most used keys all the same: {after}");
    });
    let (status, log) = server.stop();
    assert!(status.success(), "{log}");
}
