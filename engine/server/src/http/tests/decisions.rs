//! What the selector did, over HTTP.

use serde_json::{Value, json};

use super::{Server, server, settings};
use crate::settings::AdaptiveSettings;

/// A server whose cache `b` adapts.
fn adaptive() -> Server {
    let mut settings = settings();
    settings.caches[1].policy = "native:lru".to_owned();
    settings.caches[1].adaptive = Some(AdaptiveSettings {
        portfolio: ["native:lru", "native:s3fifo"].map(str::to_owned).to_vec(),
        ..AdaptiveSettings::default()
    });
    server(settings)
}

#[tokio::test]
async fn a_cache_tells_whether_its_policy_changes_by_itself() {
    let server = adaptive();
    for (cache, is_adaptive) in [("a", false), ("b", true)] {
        let answer = server.get(&format!("/v1/caches/{cache}/decisions")).await;
        let expected = json!({"adaptive": is_adaptive, "decisions": []});
        assert_eq!((answer.status, answer.json()), (200, expected));
    }
    assert_eq!(server.get("/v1/caches/none/decisions").await.status, 404);
    let stats = server.get("/v1/caches/a/stats").await.json();
    assert_eq!(stats["adaptive"], Value::Null);
    let adaptive = loop {
        let stats = server.get("/v1/caches/b/stats").await.json();
        if stats["adaptive"]["candidates"][1].is_object() {
            break stats["adaptive"].clone();
        }
    };
    assert_eq!(adaptive["objective"], "object");
    let candidate = &adaptive["candidates"][0];
    assert_eq!(
        (&candidate["policy"], &candidate["in_charge"]),
        (&json!("native:lru"), &json!(true))
    );
    assert_eq!(adaptive["hold"], Value::Null);
}

#[tokio::test]
async fn a_portfolio_that_lacks_a_policy_says_which() {
    let mut settings = settings();
    settings.caches[1].policy = "native:lru".to_owned();
    settings.caches[1].adaptive = Some(AdaptiveSettings {
        portfolio: ["native:lru", "lost"].map(str::to_owned).to_vec(),
        ..AdaptiveSettings::default()
    });
    let server = server(settings);
    let stats = server.get("/v1/caches/b/stats").await.json();
    assert_eq!(stats["adaptive"], Value::Null);
    assert_eq!(stats["adaptive_error"], "a portfolio has 2 to 8 policies, this one 1");
    assert_eq!(stats["adaptive_missing"][0]["policy"], "lost");
    let stats = server.get("/v1/caches/a/stats").await.json();
    assert_eq!((&stats["adaptive_error"], &stats["adaptive_missing"]), (&Value::Null, &json!([])));
}

#[tokio::test]
async fn shadows_and_decisions_are_counted() {
    let server = adaptive();
    let labels = r#"{cache="b",policy="native:s3fifo"}"#;
    let page = loop {
        let page = server.get("/metrics").await.text();
        if page.contains(&format!("ostler_shadow_requests_total{labels}")) {
            break page;
        }
    };
    for row in [
        &format!("ostler_shadow_hit_ratio{labels} 0"),
        r#"ostler_shadow_share{cache="b"} 0.0625"#,
        r#"ostler_shadow_dropped_total{cache="b"} 0"#,
        r#"ostler_shadow_cpu_seconds_total{cache="b"} "#,
        r#"ostler_shadow_panics_total{cache="b"} 0"#,
        r#"ostler_selector_decisions_total{cache="b",action="swap"} 0"#,
    ] {
        assert!(page.contains(row), "{row}: {page}");
    }
    assert!(!page.contains(r#"ostler_shadow_share{cache="a"}"#));
}
