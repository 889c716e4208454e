//! Experiments: begun, refused, promoted, stopped, told.

use serde_json::{Value, json};

use super::{Server, module, server, settings};
use crate::keyspace::{End, Key, Value as Bytes};
use crate::settings::{CacheSettings, Settings};

const EXPERIMENTS: &str = "/v1/caches/a/experiments";

/// One with a cache `a` of 16 shards under LRU; `b` has two.
fn sharded() -> Server {
    let mut settings = settings();
    settings.caches[0].shards = Some(16);
    server(settings)
}

fn arms(policies: &[(&str, f64)]) -> Value {
    let arm = |&(policy, share): &(&str, f64)| json!({"policy": policy, "share": share});
    json!({"arms": policies.iter().map(arm).collect::<Vec<_>>()})
}

fn halves(control: &str, other: &str) -> Value {
    arms(&[(control, 0.5), (other, 0.5)])
}

/// Begins one and returns its path.
async fn start(server: &Server, plan: &Value) -> String {
    let answer = server.post(EXPERIMENTS, &plan.to_string()).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let path = answer.header("location").unwrap().to_owned();
    assert_eq!(path, format!("{EXPERIMENTS}/{}", answer.json()["id"].as_str().unwrap()));
    path
}

async fn seats(server: &Server) -> Vec<Value> {
    let seat = server.get("/v1/caches/a/stats").await.json()["seat"].clone();
    let shards = seat["shards"].as_array().unwrap().iter();
    shards.map(|shard| shard["policy"].clone()).collect()
}

#[tokio::test]
async fn a_whole_number_is_an_integer_however_it_is_written() {
    let server = sharded();
    let plan = |window| {
        let arms = r#"[{"policy":"lru","share":0.5},{"policy":"fifo","share":0.5}]"#;
        format!(r#"{{"arms":{arms},"window_ms":{window}}}"#)
    };
    for not_whole in ["1000.5", "-1000.0", "1e300"] {
        let answer = server.post(EXPERIMENTS, &plan(not_whole)).await;
        assert_eq!((answer.status, &*answer.problem()), (400, "bad-request"), "{not_whole}");
    }
    let answer = server.post(EXPERIMENTS, &plan("2e3")).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let path = answer.header("location").unwrap().to_owned();
    for (arm, status) in [("0.5", 400), ("1.0", 200)] {
        let answer = server.post(&format!("{path}/promote"), &format!(r#"{{"arm":{arm}}}"#)).await;
        assert_eq!(answer.status, status, "{arm}: {}", answer.text());
    }
}

#[tokio::test]
async fn an_arm_is_promoted() {
    let server = sharded();
    assert_eq!(server.put("/v1/policies/mine", module("fifo")).await.status, 201);
    let path = start(&server, &halves("lru", "mine")).await;
    let shown = server.get(&path).await.json();
    assert_eq!((&shown["state"], &shown["reason"]), (&"running".into(), &Value::Null));
    assert_eq!(server.get(EXPERIMENTS).await.json()["experiments"], json!([shown]));
    let seated = seats(&server).await;
    for arm in shown["arms"].as_array().unwrap() {
        let shards = arm["shards"].as_array().unwrap();
        assert_eq!(shards.len(), 8);
        for shard in shards {
            assert_eq!(seated[shard.as_u64().unwrap() as usize], arm["policy"]);
        }
    }
    assert!(shown["arms"][1]["version"].as_str().unwrap().starts_with("sha256:"));

    // Nobody else changes the policy meanwhile, or takes one away.
    let again = server.post(EXPERIMENTS, &halves("lru", "fifo").to_string()).await;
    let change = server.post("/v1/caches/a/policy", r#"{"policy":"sieve"}"#).await;
    let rollback = server.post("/v1/caches/a/rollback", "").await;
    for refused in [again, change, rollback] {
        assert_eq!((refused.status, &*refused.problem()), (409, "experiment-runs"));
        assert_eq!(refused.json()["experiment"], shown["id"]);
    }
    assert_eq!(server.delete("/v1/policies/mine").await.problem(), "policy-in-use");
    assert_eq!(server.post("/v1/caches/b/policy", r#"{"policy":"sieve"}"#).await.status, 200);

    let promote = format!("{path}/promote");
    let none = server.post(&promote, r#"{"arm":2}"#).await;
    assert_eq!((none.status, &*none.problem()), (422, "experiment-impossible"));
    let promoted = server.post(&promote, r#"{"arm":1}"#).await.json();
    assert_eq!((&promoted["state"], &promoted["promoted"]), (&"promoted".into(), &1.into()));
    assert_eq!(promoted["reason"], "request");
    assert!(promoted["ended_unix_ms"].is_u64());
    assert!(seats(&server).await.iter().all(|policy| policy == "mine"));
    for (path, body) in [(promote, r#"{"arm":1}"#), (format!("{path}/stop"), "")] {
        assert_eq!(server.post(&path, body).await.problem(), "experiment-over");
    }
    let metrics = server.get("/metrics").await.text();
    for row in [
        r#"ostler_experiments_ended_total{cache="a",state="promoted"} 1"#,
        r#"ostler_experiment_running{cache="a"} 0"#,
        r#"ostler_policy_swaps_total{cache="a",reason="experiment"} 1"#,
    ] {
        assert!(metrics.lines().any(|line| line == row), "{row}");
    }
    let back = server.post("/v1/caches/a/rollback", "").await.json();
    assert_eq!(back["policy"], "lru", "a rollback goes back to what was there before");
}

#[tokio::test]
async fn stopping_puts_the_control_back_and_forgets_no_predecessor() {
    let server = sharded();
    for policy in ["sieve", "lru"] {
        let body = json!({"policy": policy}).to_string();
        assert_eq!(server.post("/v1/caches/a/policy", &body).await.status, 200);
    }
    let path = start(&server, &halves("lru", "fifo")).await;
    let stopped = server.post(&format!("{path}/stop"), "").await.json();
    assert_eq!((&stopped["state"], &stopped["reason"]), (&"stopped".into(), &"request".into()));
    assert!(seats(&server).await.iter().all(|policy| policy == "lru"));
    let back = server.post("/v1/caches/a/rollback", "").await.json();
    assert_eq!(back["policy"], "sieve");
    // A control that was not in charge is put there.
    let path = start(&server, &halves("fifo", "lru")).await;
    assert_eq!(server.post(&format!("{path}/stop"), "").await.status, 200);
    assert!(seats(&server).await.iter().all(|policy| policy == "fifo"));
    assert_eq!(server.get(EXPERIMENTS).await.json()["experiments"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn what_cannot_be_compared_is_refused_and_says_what_can() {
    let server = sharded();
    let impossible = "experiment-impossible";
    let with = |name: &str, value: Value| {
        let mut plan = halves("lru", "fifo");
        plan[name] = value;
        plan
    };
    let table = [
        (json!({"arms": []}), 422, impossible),
        (arms(&[("lru", 1.0)]), 422, impossible),
        (halves("lru", "none"), 422, impossible),
        (halves("lru", "f.wasm"), 422, impossible),
        (arms(&[("lru", 0.5), ("fifo", 0.4)]), 422, impossible),
        (arms(&[("lru", 1.5), ("fifo", -0.5)]), 422, impossible),
        (with("effect", json!(0)), 422, impossible),
        (with("confidence", json!(1)), 422, impossible),
        (with("rule", json!({"equivalence": 2})), 422, impossible),
        (with("window_ms", json!(99)), 422, impossible),
        (with("objective", json!("speed")), 400, "bad-request"),
        (with("surprise", json!(1)), 400, "bad-request"),
        (json!({}), 400, "bad-request"),
    ];
    for (plan, status, kind) in table {
        let answer = server.post(EXPERIMENTS, &plan.to_string()).await;
        assert_eq!((answer.status, &*answer.problem()), (status, kind), "{plan}");
    }
    let mut params = halves("lru", "s3fifo");
    params["arms"][1]["params"] = json!({"nothing": 1});
    let refused = server.post(EXPERIMENTS, &params.to_string()).await;
    assert_eq!((refused.status, &*refused.problem()), (422, "parameters-refused"));
    assert_eq!(refused.json()["arm"], 1);

    let few = server.post("/v1/caches/b/experiments", &halves("lru", "fifo").to_string()).await;
    assert_eq!((few.status, &few.json()["shards_needed"]), (422, &16.into()));
    assert!(few.json()["detail"].as_str().unwrap().contains("set shards = 16 or more"));
    let few = arms(&[("lru", 0.5), ("fifo", 0.25), ("sieve", 0.25)]);
    let few = server.post(EXPERIMENTS, &few.to_string()).await;
    assert_eq!(few.json()["shards_needed"], 32);
    let uneven = arms(&[("lru", 0.52), ("fifo", 0.48)]);
    let uneven = server.post(EXPERIMENTS, &uneven.to_string()).await;
    assert_eq!((uneven.status, &uneven.json()["nearest"]), (422, &json!([0.5, 0.5])));

    for id in ["1", "99999999999999999999999", "x", "%31", "-1"] {
        let path = format!("{EXPERIMENTS}/{id}");
        assert_eq!(server.get(&path).await.problem(), "unknown-experiment", "{id}");
        let path = format!("{path}/stop");
        assert_eq!(server.post(&path, "").await.problem(), "unknown-experiment", "{id}");
    }
    assert_eq!(server.get(EXPERIMENTS).await.json()["experiments"], json!([]));
    assert!(seats(&server).await.iter().all(|policy| policy == "lru"));
}

/// Gets and sets of more keys than fit.
fn work(server: &Server, numbers: std::ops::Range<u64>) {
    let keyspace = &server.service.caches[0];
    let value = Bytes::new(&[7; 900]);
    for number in numbers {
        let key = Key::new(0, format!("key:{}", number % 3_000).as_bytes());
        if keyspace.read(key.as_bytes(), |_| ()).is_none() {
            let _ = keyspace.set(key, value.clone(), End::Never, 0).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rule_ends_it_and_everybody_is_told() {
    use futures_util::StreamExt;
    use tower::ServiceExt;

    let server = sharded();
    let request = axum::http::Request::get("/v1/caches/a/events").body(axum::body::Body::empty());
    let response = server.router.clone().oneshot(request.unwrap()).await.unwrap();
    let mut stream = response.into_body().into_data_stream();
    let mut plan = halves("lru", "lru");
    (plan["window_ms"], plan["seed"]) = (100.into(), 7.into());
    plan["rule"] = json!({"requests_max": 20_000});
    let path = start(&server, &plan).await;
    let mut number = 0;
    let ended = loop {
        work(&server, number..number + 1_000);
        number += 1_000;
        assert!(number < 50_000_000, "it has no end");
        let shown = server.get(&path).await.json();
        if shown["state"] != "running" {
            break shown;
        }
    };
    assert_eq!((&ended["state"], &ended["reason"]), (&"stopped".into(), &"requests".into()));
    assert_eq!(ended["verdict"], json!({"verdict": "stop", "reason": "requests"}));
    assert!(ended["requests"].as_u64().unwrap() >= 20_000 && ended["windows"].as_u64() > Some(0));
    assert!(ended["share_sampled"].as_f64().unwrap() > 0.0);
    let comparison = &ended["comparisons"][0];
    assert_eq!((&comparison["arm"], &comparison["self_check"]), (&1.into(), &true.into()));
    assert_eq!(comparison["requests"], ended["requests"]);
    let metrics = server.get("/metrics").await.text();
    let labels =
        format!(r#"{{cache="a",experiment="{}",arm="1"}} "#, ended["id"].as_str().unwrap());
    assert!(metrics.contains(&format!("ostler_experiment_difference{labels}")), "{metrics}");
    assert!(metrics.contains(r#"ostler_gets_total{cache="a",policy="experiment",result="miss"}"#));
    server.stop.tidy().await;
    assert_eq!(server.service.experiments.live(0).status().consumers, 0);

    let mut states = Vec::new();
    while states.len() < 2 {
        let text = String::from_utf8(stream.next().await.unwrap().unwrap().to_vec()).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
        let event: Value = serde_json::from_str(line).unwrap();
        if event["type"] == "experiment" {
            states.push((event["state"].clone(), event["reason"].clone()));
        }
    }
    assert_eq!(states[0], ("running".into(), Value::Null));
    assert_eq!(states[1], ("stopped".into(), "requests".into()));
}

/// The registry on the disk knows what was in charge before an experiment, and nothing of the experiment.
#[tokio::test]
async fn a_restart_ends_it() {
    let folder = tempfile::tempdir().unwrap();
    let cache = CacheSettings { shards: Some(16), ..settings().caches.remove(0) };
    let settings = Settings {
        data_dir: Some(folder.path().to_owned()),
        caches: vec![cache],
        ..Settings::default()
    };
    let open = || server(settings.clone());
    let server = open();
    assert_eq!(server.post("/v1/caches/a/policy", r#"{"policy":"sieve"}"#).await.status, 200);
    start(&server, &halves("lru", "fifo")).await;
    drop(server);
    let server = open();
    assert!(seats(&server).await.iter().all(|policy| policy == "sieve"));
    assert_eq!(server.get(EXPERIMENTS).await.json()["experiments"], json!([]));
}
