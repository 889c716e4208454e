//! Models that the server's learner publishes: they follow the policy in charge, and the figures tell.

use std::io::{BufRead as _, BufReader, Write as _};

use ostler_tests::Served;
use serde_json::{Value, json};

use super::fetching::{status, wait_for};
use super::serve;

/// Rounds of requests until what is waited for has to be there.
const ROUNDS_MAX: u64 = 400;
/// Requests of a round.
const REQUESTS: u64 = 2_000;

/// A round: a loop, and keys that are asked for once.
fn drive(server: &Served, round: u64) {
    let mut stream = server.connect();
    let mut requests = Vec::new();
    for turn in 0..REQUESTS {
        let key = if turn % 2 == 0 { turn / 2 % 700 } else { 10_000 + round * REQUESTS + turn };
        requests.extend(format!("SET key:{key} {}\r\n", "v".repeat(1_000)).bytes());
    }
    stream.write_all(&requests).expect("it takes requests");
    let replies = BufReader::new(stream).lines().take(REQUESTS as usize).map_while(Result::ok);
    assert_eq!(replies.filter(|reply| reply == "+OK").count() as u64, REQUESTS);
}

/// Rounds of requests until the status of the models is as expected.
fn drive_until(server: &Served, is_so: impl Fn(&Value) -> bool) -> Value {
    let mut rounds = (0..ROUNDS_MAX).map(|round| {
        drive(server, round);
        status(server, "model")
    });
    let found = rounds.find(|model| is_so(model));
    found.unwrap_or_else(|| unreachable!("{}", status(server, "model")))
}

fn activate(server: &Served, policy: &str) {
    let body = json!({"policy": policy}).to_string();
    let answer = server.ask("POST", "/v1/caches/default/policy", body.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
}

fn count(model: &Value, name: &str) -> u64 {
    model[name].as_u64().unwrap_or_else(|| unreachable!("{name} in {model}"))
}

/// A metric of the cache, and how it is labelled beside.
fn metric(server: &Served, name: &str, labels: &[(&str, &str)]) -> u64 {
    let labels = [&[("cache", "default")], labels].concat();
    server.metric(name, &labels) as u64
}

#[test]
fn models_follow_a_change_of_the_policy_and_the_figures_tell_what_became_of_them() {
    let server = serve(&["--capacity", "1MiB", "--policy", "lru"]);
    drive(&server, 0);
    let before = status(&server, "model");
    assert_eq!((&before["published"], &before["learner"]), (&json!(0), &Value::Null), "{before}");

    activate(&server, "learned");
    let shards = server.metric("ostler_shards", &[]) as u64;
    let model = drive_until(&server, |model| {
        let published = count(model, "published");
        // One may be on its way.
        let is_through = count(model, "taken") == shards * published;
        published >= 3 && is_through && model["learner"]["labels"].as_u64() > Some(0)
    });
    let none = ["refused", "faulted", "withdrawn"].map(|name| count(&model, name));
    assert_eq!((none, &model["refusal"]), ([0; 3], &Value::Null), "{model}");
    assert!(metric(&server, "ostler_model_published_total", &[]) >= count(&model, "published"));
    let taken = metric(&server, "ostler_model_answers_total", &[("answer", "taken")]);
    assert!(taken >= count(&model, "taken"));
    let text = server.ask("GET", "/metrics", b"").text();
    for (name, label) in [
        ("ostler_model_refused_total", r#"by="policy",reason="format""#),
        ("ostler_model_refused_total", r#"by="policy",reason="length""#),
        ("ostler_model_refused_total", r#"by="policy",reason="weights""#),
        ("ostler_model_refused_total", r#"by="learner",reason="weights""#),
        ("ostler_model_refused_total", r#"by="learner",reason="unsolved""#),
        ("ostler_model_rollbacks_total", r#"to="previous",reason="refused""#),
        ("ostler_model_rollbacks_total", r#"to="prior",reason="missed_more""#),
    ] {
        let row = format!(r#"{name}{{cache="default",{label}}} "#);
        assert!(text.lines().any(|line| line.starts_with(&row)), "{row}\n{text}");
    }
    assert_eq!(metric(&server, "ostler_model_refused_total", &[("by", "policy")]), 0);
    assert_eq!(metric(&server, "ostler_model_leader", &[]), 1, "one is in force");

    // Under a policy that takes no models nobody learns.
    activate(&server, "sieve");
    let silent = wait_for(&server, "model", |model| model["learner"] == Value::Null);
    for round in 0..5 {
        drive(&server, round);
    }
    assert_eq!(status(&server, "model"), silent);
    assert_eq!(metric(&server, "ostler_model_labels_total", &[]), 0);

    // Back in charge it is given the model in force at once, and goes on learning.
    assert_eq!(server.ask("POST", "/v1/caches/default/rollback", b"").status, 200);
    let again = status(&server, "model");
    assert!(count(&again, "taken") >= count(&silent, "taken") + shards, "{again}");
    let published = count(&silent, "published");
    let model = drive_until(&server, |model| count(model, "published") > published);
    assert_eq!((&model["refused"], &model["faulted"]), (&json!(0), &json!(0)), "{model}");
    assert_eq!(server.metric("ostler_policy_faults_total", &[]), 0.0);
}
