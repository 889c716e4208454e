//! A policy that faults under load loses the cache, and gets it back only from somebody who says so.

use std::io::{BufRead as _, BufReader, Write as _};

use ostler_tests::{Served, cheats};
use serde_json::{Value, json};

use super::serve;

/// A cache of one shard; it takes three faults to be quarantined.
const ARGS: [&str; 4] = ["--capacity", "1MiB", "--policy", "lru"];
const FAULTS_MAX: usize = 3;

/// Puts a policy in charge and returns the status with the document.
fn activate(server: &Served, body: &Value) -> (u16, Value) {
    let path = "/v1/caches/default/policy";
    let answer = server.ask("POST", path, body.to_string().as_bytes());
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
