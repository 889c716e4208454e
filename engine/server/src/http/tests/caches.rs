//! Caches: figures, metrics and events.

use axum::body::Body;
use axum::http::Request;
use futures_util::StreamExt;
use serde_json::Value;
use tower::ServiceExt;

use super::{Server, server, settings};

/// The value of a row of the metrics.
fn metric(text: &str, row: &str) -> Option<f64> {
    let line = text
        .lines()
        .find(|line| line.strip_prefix(row).is_some_and(|rest| rest.starts_with(' ')))?;
    line.rsplit(' ').next()?.parse().ok()
}

async fn metrics(server: &Server) -> String {
    let answer = server.get("/metrics").await;
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    answer.text()
}

#[tokio::test]
async fn figures_tell_what_happened() {
    let server = server(settings());
    assert_eq!(server.put("/v1/caches/a/entries/k?database=1", "v").await.status, 201);
    for _ in 0..3 {
        assert_eq!(server.get("/v1/caches/a/entries/k?database=1").await.status, 200);
    }
    assert_eq!(server.get("/v1/caches/a/entries/none").await.status, 404);
    let stats = server.get("/v1/caches/a/stats").await.json();
    assert_eq!((&stats["counts"]["hits"], &stats["counts"]["misses"]), (&3.into(), &1.into()));
    assert_eq!(stats["hit_ratio"], 0.75);
    let databases = serde_json::json!([
        {"database": 0, "entries": 0}, {"database": 1, "entries": 1}
    ]);
    assert_eq!(stats["databases"], databases);
    assert_eq!(stats["seat"]["shards"].as_array().unwrap().len(), 2);
    let list = server.get("/v1/caches").await.json();
    assert_eq!(list["caches"][0]["entries"], 1);
    assert_eq!(list["caches"][1]["name"], "b");
    assert_eq!(list["caches"][1]["policy"], "lru");
}

#[tokio::test]
async fn counters_never_go_back_when_the_policy_changes() {
    let server = server(settings());
    assert_eq!(server.put("/v1/caches/a/entries/k", "v").await.status, 201);
    let mut before = metrics(&server).await;
    for policy in ["sieve", "native:lru", "s3fifo"] {
        for _ in 0..5 {
            assert_eq!(server.get("/v1/caches/a/entries/k").await.status, 200);
        }
        let body = format!(r#"{{"policy":"{policy}"}}"#);
        assert_eq!(server.post("/v1/caches/a/policy", &body).await.status, 200);
        let after = metrics(&server).await;
        for line in before.lines().filter(|line| !line.starts_with('#')) {
            let (row, value) = line.rsplit_once(' ').unwrap();
            if row.split('{').next().unwrap().ends_with("_total") {
                let value: f64 = value.parse().unwrap();
                assert!(metric(&after, row) >= Some(value), "{line}");
            }
        }
        before = after;
    }
    for (policy, hits) in [("lru", 5.0), ("sieve", 5.0), ("native:lru", 5.0), ("s3fifo", 0.0)] {
        let row = format!(r#"ostler_gets_total{{cache="a",policy="{policy}",result="hit"}}"#);
        let found = metric(&before, &row).unwrap_or_default();
        assert_eq!(found, hits, "{row}");
    }
    let row = r#"ostler_policy_swaps_total{cache="a",reason="request"}"#;
    assert_eq!(metric(&before, row), Some(3.0));
    let row = r#"ostler_http_requests_total{method="PUT",route="/v1/caches/{cache}/entries/{key}",status="201"}"#;
    assert_eq!(metric(&before, row), Some(1.0));
}

#[tokio::test]
async fn metrics_are_well_formed_and_name_no_key() {
    let server = server(settings());
    assert_eq!(server.put("/v1/caches/a/entries/secret-key", "v").await.status, 201);
    let text = metrics(&server).await;
    assert!(!text.contains("secret"));
    let mut families = std::collections::HashSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(families.insert(name.to_owned()), "{name} stands there twice");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
        } else if !line.starts_with('#') {
            let (row, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().is_ok(), "{line}");
            let name = row.split('{').next().unwrap();
            let is_part = |end| name.strip_suffix(end).is_some_and(|name| families.contains(name));
            let is_known =
                families.contains(name) || ["_bucket", "_sum", "_count"].into_iter().any(is_part);
            assert!(is_known, "{line} has no type");
        }
    }
    for name in [
        "ostler_gets_total",
        "ostler_evictions_total",
        "ostler_policy_faults_total",
        "ostler_policy_swaps_total",
        "ostler_guest_nanoseconds_total",
        "ostler_guest_records_total",
        "ostler_memory_bytes",
        "ostler_entries",
        "ostler_weight_bytes",
        "ostler_capacity_bytes",
        "ostler_clients",
        "ostler_commands_total",
        "ostler_command_duration_seconds",
        "ostler_http_request_duration_seconds",
        "ostler_build_info",
        "process_start_time_seconds",
    ] {
        assert!(families.contains(name), "{name}");
    }
}

#[tokio::test]
async fn events_are_told_as_they_happen() {
    let server = server(settings());
    let request = Request::get("/v1/caches/a/events").body(Body::empty()).unwrap();
    let response = server.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut stream = response.into_body().into_data_stream();
    let mut next = async || {
        let text = stream.next().await?.unwrap();
        let text = String::from_utf8(text.to_vec()).unwrap();
        let lines =
            |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
        let event: Value = serde_json::from_str(&lines("data: ").unwrap()).unwrap();
        assert_eq!(event["type"], lines("event: ").unwrap().as_str());
        Some(event)
    };
    let seat = next().await.unwrap();
    assert_eq!((&seat["type"], &seat["seat"]["desired"]), (&"seat".into(), &"lru".into()));
    for cache in ["b", "a"] {
        let path = format!("/v1/caches/{cache}/policy");
        assert_eq!(server.post(&path, r#"{"policy":"sieve"}"#).await.status, 200);
    }
    let changed = next().await.unwrap();
    assert_eq!(changed["cache"], "a", "what happens to others is not told");
    assert_eq!((&changed["from"], &changed["to"]), (&"lru".into(), &"sieve".into()));

    // More than the channel holds, while nobody reads.
    for _ in 0..300 {
        let (policy, code) = ("mine".to_owned(), "x".to_owned());
        let event = ostler_core::PolicyEvent::Quarantined { policy, code };
        let event = event.into();
        let event = crate::service::Event { cache: "a".to_owned(), unix_ms: 1, event };
        assert!(server.service.events.send(event).is_ok());
    }
    let lagged = next().await.unwrap();
    assert_eq!((&lagged["type"], &lagged["lost"]), (&"lagged".into(), &44.into()));
    assert_eq!(next().await.unwrap()["policy"], "mine");
    server.stop.begin();
    let mut left = 0;
    while next().await.is_some() {
        left += 1;
    }
    assert!(left < 256);
    assert_eq!(server.get("/readyz").await.problem(), "stopping");
    assert_eq!(server.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn listeners_are_bounded() {
    let server = server(settings());
    let mut streams = Vec::new();
    for _ in 0..crate::http::STREAMS_MAX {
        let request = Request::get("/v1/caches/a/events").body(Body::empty()).unwrap();
        streams.push(server.router.clone().oneshot(request).await.unwrap());
    }
    assert!(streams.iter().all(|stream| stream.status() == 200));
    let refused = server.get("/v1/caches/a/events").await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("10")));
    streams.pop();
    let request = Request::get("/v1/caches/a/events").body(Body::empty()).unwrap();
    assert_eq!(server.router.clone().oneshot(request).await.unwrap().status(), 200);
}
