//! Whatever goes wrong is a problem document that says what would be right.

use axum::http::Method;

use super::{module, server, settings};
use crate::settings::{Limits, Settings};

#[tokio::test]
async fn mistakes_have_their_kind() {
    let server = server(settings());
    let json = "application/json";
    let table: &[(&str, &str, &str, &str, u16, &str)] = &[
        ("GET", "/nothing", "", "", 404, "unknown-path"),
        ("GET", "/v1/caches/a", "", "", 404, "unknown-path"),
        ("GET", "/v1/caches/none/stats", "", "", 404, "unknown-cache"),
        ("GET", "/v1/caches/%ff/stats", "", "", 400, "bad-request"),
        ("GET", "/v1/caches/none/entries/k", "", "", 404, "unknown-cache"),
        ("GET", "/v1/policies/none", "", "", 404, "unknown-policy"),
        ("DELETE", "/v1/policies/none", "", "", 404, "unknown-policy"),
        ("DELETE", "/v1/policies/none?version=1", "", "", 400, "bad-request"),
        ("DELETE", "/v1/policies/lru", "", "", 409, "policy-built-in"),
        ("PUT", "/v1/policies/lru", "", "x", 409, "policy-built-in"),
        ("PUT", "/v1/policies/warm-decayed", "", "x", 409, "policy-built-in"),
        ("PUT", "/v1/policies/prefetch-stride", "", "x", 409, "policy-built-in"),
        ("DELETE", "/v1/policies/warm-decayed", "", "", 409, "policy-built-in"),
        ("PUT", "/v1/policies/Mine", "", "x", 400, "bad-request"),
        (
            "PUT",
            "/v1/policies/mine",
            "multipart/form-data; boundary=b",
            "x",
            415,
            "wrong-media-type",
        ),
        ("PUT", "/v1/policies/mine", "", "x", 422, "module-refused"),
        ("POST", "/v1/caches/a/policy", "text/plain", "{}", 415, "wrong-media-type"),
        ("POST", "/v1/caches/a/policy", "", "{}", 415, "wrong-media-type"),
        ("POST", "/v1/caches/a/policy", json, "{", 400, "bad-request"),
        ("POST", "/v1/caches/a/policy", json, "", 400, "bad-request"),
        ("POST", "/v1/caches/a/policy", json, "{}", 400, "bad-request"),
        ("POST", "/v1/caches/a/policy", json, r#"{"policy":"lru","x":1}"#, 400, "bad-request"),
        ("POST", "/v1/caches/a/policy", json, r#"{"policy":"none"}"#, 404, "unknown-policy"),
        ("POST", "/v1/caches/a/policy", json, r#"{"policy":"f.wasm"}"#, 404, "unknown-policy"),
        ("POST", "/v1/caches/a/policy", json, r#"{"policy":"native:none"}"#, 404, "unknown-policy"),
        (
            "POST",
            "/v1/caches/a/policy",
            json,
            r#"{"policy":"s3fifo","params":{"nothing":1}}"#,
            422,
            "parameters-refused",
        ),
        ("POST", "/v1/caches/none/policy", json, r#"{"policy":"lru"}"#, 404, "unknown-cache"),
        ("POST", "/v1/caches/a/rollback", "", "", 409, "no-previous-policy"),
        ("PATCH", "/v1/caches/a/entries/k", "", "", 405, "method-not-allowed"),
        ("POST", "/metrics", "", "", 405, "method-not-allowed"),
    ];
    for (method, path, content_type, body, status, kind) in table {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let mut ask = server.ask(method.clone(), path);
        if !content_type.is_empty() {
            ask = ask.with("content-type", content_type);
        }
        let answer = ask.send(body.to_string()).await;
        assert_eq!((answer.status, &*answer.problem()), (*status, *kind), "{method} {path} {body}");
        assert!(answer.json()["detail"].as_str().is_some_and(|detail| !detail.is_empty()));
    }
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_ones() {
    let server = server(settings());
    for (path, allow) in [
        ("/v1/caches/a/entries/k", "GET, PUT, DELETE, HEAD"),
        ("/v1/policies/mine", "PUT, GET, DELETE, HEAD"),
        ("/v1/caches/a/policy", "POST"),
        ("/", "GET, HEAD"),
    ] {
        let answer = server.ask(Method::PATCH, path).send("").await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some(allow)), "{path}");
        assert_eq!(answer.headers.get_all("allow").iter().count(), 1);
    }
}

#[tokio::test]
async fn bodies_are_bounded_announced_or_not() {
    let limits = Limits { module_bytes_max: 1_000, ..Limits::default() };
    let server = server(Settings { limits, ..settings() });
    let announced = server.ask(Method::PUT, "/v1/policies/mine").with("content-length", "1001");
    assert_eq!(announced.send(vec![0; 1_001]).await.problem(), "too-large");
    let silent = server.put("/v1/policies/mine", vec![0; 1_001]).await;
    assert_eq!((silent.status, &silent.json()["bytes_max"]), (413, &1_000.into()));
    assert_eq!(server.put("/v1/policies/mine", vec![0; 1_000]).await.status, 422);
    let json = format!(r#"{{"prefix":"{}"}}"#, "x".repeat(1 << 20));
    assert_eq!(server.post("/v1/caches/a/invalidate", &json).await.problem(), "too-large");
}

#[tokio::test]
async fn a_refused_module_is_told_the_step_and_the_reason() {
    let server = server(settings());
    let mut broken = module("lru");
    broken.truncate(100);
    let answer = server.put("/v1/policies/mine", broken).await;
    assert_eq!(answer.status, 422);
    let problem = answer.json();
    assert_eq!(problem["step"], "parse", "{problem}");
    assert!(problem["reason"].as_str().is_some_and(|reason| !reason.is_empty()));
    assert_eq!(problem["verdict"]["steps"][0]["outcome"], "failed");
    assert_eq!(server.get("/v1/policies/mine").await.status, 404);
}

#[tokio::test]
async fn ids_of_requests_are_taken_or_made() {
    let server = server(settings());
    let ask = async |id: &str| {
        let answer = server.ask(Method::GET, "/healthz").with("x-request-id", id).send("").await;
        answer.header("x-request-id").unwrap().to_owned()
    };
    assert_eq!(ask("trace-1.2:3").await, "trace-1.2:3");
    for bad in ["", "a b", "a\tb", "<script>", &"x".repeat(129)] {
        assert_ne!(ask(bad).await, bad);
    }
    assert_ne!(ask("").await, ask("").await);
}
