//! Models of a cache, over HTTP: what policies said to them, and what is told of it.

use ostler_features::{Model, PRIOR};
use serde_json::{Value, json};

use super::{Server, server, settings};

/// The sum of a metric's rows that contain all of `labels`.
async fn sum(server: &Server, name: &str, labels: &[&str]) -> u64 {
    let text = server.get("/metrics").await.text();
    let rows = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('{'));
    let rows = rows.filter(|row| labels.iter().all(|label| row.contains(label)));
    rows.map(|row| row.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

async fn model(server: &Server) -> Value {
    let answer = server.get("/v1/caches/a/model").await;
    assert_eq!(answer.status, 200);
    answer.json()
}

/// A learner's model, and messages that are none with the reason for which they are refused.
fn messages() -> (Vec<u8>, [(Vec<u8>, &'static str); 5]) {
    let good = Model { version: 9, weights: PRIOR };
    let message = good.to_bytes();
    let with = |weight| {
        let mut model = good.clone();
        model.weights[3] = weight;
        model.to_bytes()
    };
    let mut other_format = message.clone();
    other_format[0] += 1;
    let garbage = [
        (with(f32::NAN), "weights"),
        (with(-1e30), "weights"),
        (other_format, "format"),
        (message[..message.len() - 1].to_vec(), "length"),
        ([&message[..], &[0]].concat(), "length"),
    ];
    (message, garbage)
}

#[tokio::test]
async fn garbage_is_refused_with_its_reason_in_the_metrics_and_the_policy_stays() {
    let server = server(settings());
    assert_eq!(server.post("/v1/caches/a/policy", r#"{"policy":"learned"}"#).await.status, 200);
    let cache = server.service.caches[0].cache();
    let shards = cache.shards() as u64;
    let (good, garbage) = messages();
    assert_eq!(cache.publish_model(&good).unwrap().taken as u64, shards);
    let (before, taken) = (model(&server).await["published"].clone(), cache.model_stats().taken);
    for (turn, (message, reason)) in (1..).zip(&garbage) {
        let labels = [r#"cache="a""#, r#"by="policy""#, &format!(r#"reason="{reason}""#)];
        let counted = sum(&server, "ostler_model_refused_total", &labels).await;
        assert_eq!(cache.publish_model(message).unwrap().refused as u64, shards, "{reason}");
        let counts = sum(&server, "ostler_model_refused_total", &labels).await;
        assert_eq!(counts, counted + shards, "{reason}");
        let previous = [r#"cache="a""#, r#"to="previous""#, r#"reason="refused""#];
        assert_eq!(sum(&server, "ostler_model_rollbacks_total", &previous).await, turn);
        let status = model(&server).await;
        assert_eq!(status["published"].as_u64(), before.as_u64().map(|it| it + turn));
        assert_eq!(
            (&status["refused"], &status["withdrawn"]),
            (&json!(turn * shards), &json!(turn))
        );
        assert_eq!((&status["taken"], &status["faulted"]), (&json!(taken), &json!(0)));
        let refusal = status["refusal"].as_str().unwrap_or_default().to_owned();
        assert!(refusal.contains(reason.trim_end_matches('s')), "{reason}: {refusal}");
    }
    assert_eq!(sum(&server, "ostler_model_refused_total", &[r#"cache="b""#]).await, 0);
    assert_eq!(sum(&server, "ostler_policy_faults_total", &[]).await, 0);
    let stats = server.get("/v1/caches/a/stats").await.json();
    assert_eq!(stats["seat"]["shards"][0]["policy"], "learned", "{stats}");
    // Whoever takes the seats later is given the last good one, and none of the others.
    assert_eq!(server.post("/v1/caches/a/policy", r#"{"policy":"lru"}"#).await.status, 200);
    assert_eq!(server.post("/v1/caches/a/policy", r#"{"policy":"learned"}"#).await.status, 200);
    let again = model(&server).await;
    assert_eq!(again["refused"], json!(garbage.len() as u64 * shards), "{again}");
    assert_eq!(again["taken"], json!(taken + shards), "{again}");
}
