//! A policy's way: uploaded, put in charge, rolled back, deleted.

use super::{module, server, settings};
use crate::http::schemas::{PolicyBody, VerdictBody};

#[tokio::test]
async fn a_policy_goes_up_takes_the_seat_and_leaves() {
    let server = server(settings());
    let up = server.put("/v1/policies/mine", module("sieve")).await;
    assert_eq!((up.status, up.header("location")), (201, Some("/v1/policies/mine")));
    let id = up.json()["id"].as_str().unwrap().to_owned();
    assert!(id.starts_with("sha256:") && id.len() == 71);
    let again = server.put("/v1/policies/mine", module("sieve")).await;
    assert_eq!((again.status, &again.json()["outcome"]), (200, &"known".into()));
    let other = server.put("/v1/policies/mine", module("fifo")).await;
    assert_eq!(other.status, 201);
    let one = server.get("/v1/policies/mine").await.json();
    assert_eq!(one["versions"].as_array().unwrap().len(), 2);
    assert_eq!(one["versions"][1]["id"], id.as_str(), "newest first");

    for number in 0..100 {
        let path = format!("/v1/caches/a/entries/{number}");
        assert_eq!(server.put(&path, "v").await.status, 201);
    }
    let body = format!(r#"{{"policy":"mine","version":"{id}"}}"#);
    let active = server.post("/v1/caches/a/policy", &body).await;
    assert_eq!(active.status, 200, "{}", active.text());
    let active = active.json();
    assert_eq!((&active["adopted"], &active["shards"]), (&100.into(), &2.into()));
    assert_eq!(active["version"], id.as_str());
    let seat = server.get("/v1/caches/a/stats").await.json()["seat"].clone();
    assert_eq!((&seat["version"], &seat["previous"]), (&id.as_str().into(), &"lru".into()));

    let used = server.delete(&format!("/v1/policies/mine?version={id}")).await;
    assert_eq!((used.status, &used.json()["caches"]), (409, &serde_json::json!(["a"])));
    let back = server.post("/v1/caches/a/rollback", "").await.json();
    assert_eq!((&back["policy"], &back["adopted"]), (&"lru".into(), &100.into()));
    assert_eq!(server.delete("/v1/policies/mine").await.status, 409, "it is next in line");
    for policy in ["sieve", "fifo"] {
        let body = format!(r#"{{"policy":"{policy}"}}"#);
        assert_eq!(server.post("/v1/caches/a/policy", &body).await.status, 200);
    }
    assert_eq!(server.delete("/v1/policies/mine").await.status, 204);
    assert_eq!(server.get("/v1/policies/mine").await.status, 404);
    assert_eq!(server.service.caches[0].cache().len(), 100, "no entry is lost");
}

#[tokio::test]
async fn parameters_arrive() {
    let server = server(settings());
    let body = r#"{"policy":"s3fifo","params":{"small_percent":20}}"#;
    assert_eq!(server.post("/v1/caches/b/policy", body).await.status, 200);
    let seat = server.get("/v1/caches/b/stats").await.json()["seat"].clone();
    assert_eq!(seat["params"]["small_percent"], 20, "{seat}");
    assert_eq!(seat["desired"], "s3fifo");
}

#[tokio::test]
async fn policies_have_the_form_that_the_document_promises() {
    let server = server(settings());
    let up = server.put("/v1/policies/mine", module("sieve")).await.json();
    let verdict: VerdictBody = serde_json::from_value(up["verdict"].clone()).unwrap();
    drop(verdict);
    let list = server.get("/v1/policies").await.json();
    let list: Vec<PolicyBody> = serde_json::from_value(list["policies"].clone()).unwrap();
    let names: Vec<_> = list.iter().map(|policy| &*policy.name).collect();
    let built_in = ostler::BUILTINS.len() + ostler::PREFETCHERS.len() + ostler::WARMERS.len();
    assert_eq!((names.len(), names[0], names[1]), (built_in + 1, "mine", "arc"));
    let used = server.get("/v1/policies/lru").await.json();
    assert_eq!(used["used_by"].as_array().unwrap().len(), 2, "{used}");
}
