//! A server that fetches ahead of requests, from a real origin: prefetching and warming raise the hit
//! ratio that a client sees, and an origin that stalls or dies keeps no client waiting.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use ostler_tests::{HttpOrigin, Served};
use serde_json::{Value, json};

use super::serve;

/// What the origin takes for an answer.
pub(super) const LATENCY: Duration = Duration::from_millis(2);
/// Times that a status is asked for until it is as expected; each takes a round trip.
const ASKS_MAX: usize = 100_000;

/// An application: it reads, and what is not there it loads from the origin and stores.
pub(super) struct Application<'a> {
    client: BufReader<TcpStream>,
    origin: &'a HttpOrigin,
}

impl<'a> Application<'a> {
    pub(super) fn new(server: &Served, origin: &'a HttpOrigin) -> Self {
        Self { client: BufReader::new(server.connect()), origin }
    }

    fn ask(&mut self, command: &str) -> String {
        self.client.get_mut().write_all(format!("{command}\r\n").as_bytes()).expect("it listens");
        let mut line = String::new();
        self.client.read_line(&mut line).expect("it replies");
        line.trim_end().to_owned()
    }

    fn get(&mut self, key: &str) -> Option<String> {
        let line = self.ask(&format!("GET {key}"));
        if line == "$-1" {
            return None;
        }
        let length: usize = line.strip_prefix('$').and_then(|it| it.parse().ok()).expect(&line);
        let mut bulk = vec![0; length + 2];
        self.client.read_exact(&mut bulk).expect("the whole value");
        Some(String::from_utf8_lossy(&bulk[..length]).into_owned())
    }

    /// Whether it was there.
    pub(super) fn load(&mut self, key: &str) -> bool {
        if let Some(value) = self.get(key) {
            assert_eq!(value, HttpOrigin::value(key));
            return true;
        }
        let value = self.origin.load(key);
        assert_eq!(self.ask(&format!("SET {key} {value}")), "+OK");
        false
    }
}

pub(super) fn settings(folder: &Path, origin: &HttpOrigin, rest: &str) -> String {
    let file = folder.join("ostler.toml");
    let url = origin.url();
    let text = format!(
        "[[cache]]\ncapacity = '4MiB'\npolicy = 'lru'\nshards = 1\n\
         [cache.origin]\nurl = '{url}'\ntimeout = '60s'\n{rest}"
    );
    std::fs::write(&file, text).expect("a folder of our own");
    file.to_str().expect("a path in UTF-8").to_owned()
}

pub(super) fn status(server: &Served, what: &str) -> Value {
    let answer = server.ask("GET", &format!("/v1/caches/default/{what}"), b"");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// Asks for a status until it is as expected.
pub(super) fn wait_for(server: &Served, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let mut asked = (0..ASKS_MAX).map(|_| status(server, what));
    let found = asked.find(|status| is_so(status));
    found.unwrap_or_else(|| unreachable!("{}", status(server, what)))
}

/// Reads keys one after the other, as fast as the prefetcher follows. How many were there.
fn read_in_order(server: &Served, origin: &HttpOrigin, keys: u64) -> u64 {
    let mut application = Application::new(server, origin);
    let mut hits = 0;
    for key in 0..keys {
        hits += u64::from(application.load(&format!("block:{key}")));
        wait_for(server, "prefetch", |status| {
            let is_on = status["seat"]["policy"] != Value::Null;
            let heard = status["counts"]["requests"] == json!(key + 1) || !is_on;
            heard && status["under_way"] == 0
        });
    }
    hits
}

#[test]
fn prefetching_raises_the_hit_ratio_of_a_client_that_reads_in_order() {
    let (folder, origin) = (tempfile::tempdir().expect("a folder"), HttpOrigin::start(LATENCY));
    let prefetch = "[cache.prefetch]\npolicy = 'prefetch-stride'\nfetches_per_miss = 4.0";
    let with = serve(&["--config", &settings(folder.path(), &origin, prefetch)]);
    let hits = read_in_order(&with, &origin, 400);
    let without = serve(&["--config", &settings(folder.path(), &origin, "")]);
    assert_eq!(read_in_order(&without, &origin, 400), 0);
    let prefetch = status(&with, "prefetch");
    assert!(hits > 120, "{hits} hits: {prefetch}");
    assert_eq!(prefetch["counts"]["useful"], json!(hits), "{prefetch}");
    for figure in ["coverage", "accuracy", "hit_gain"] {
        assert!(prefetch["figures"][figure].as_f64() > Some(0.3), "{figure}: {prefetch}");
    }
    let cache = [("cache", "default")];
    assert_eq!(with.metric("ostler_prefetch_useful_total", &cache), hits as f64);
    let stored = [("cache", "default"), ("result", "stored")];
    assert!(with.metric("ostler_prefetch_fetches_total", &stored) >= hits as f64);
    let fetched = [("cache", "default"), ("purpose", "prefetch"), ("result", "ok")];
    assert!(with.metric("ostler_origin_requests_total", &fetched) >= hits as f64);
    assert_eq!(without.metric("ostler_origin_requests_total", &[]), 0.0);
}

#[test]
fn a_cache_is_warm_again_after_a_restart() {
    let (folder, origin) = (tempfile::tempdir().expect("a folder"), HttpOrigin::start(LATENCY));
    let warming = "[cache.warming]\npolicy = 'warm-decayed'\nshare = 0.5";
    let settings = settings(folder.path(), &origin, warming);
    let data = folder.path().join("data");
    let args = ["--config", &settings, "--data-dir", data.to_str().expect("a path in UTF-8")];
    let keys = || (0..1_000).map(|key| format!("item:{key}"));
    let server = serve(&args);
    let mut application = Application::new(&server, &origin);
    let first = keys().filter(|key| application.load(key)).count();
    let second = keys().filter(|key| application.load(key)).count();
    assert_eq!((first, second), (0, 1_000), "all of them fit");
    wait_for(&server, "warming", |status| status["history_keys"] == 1_000);
    let (status, log) = server.stop();
    assert!(status.success(), "{log}");

    let server = serve(&args);
    let warming = wait_for(&server, "warming", |status| status["rounds"] == 1);
    assert_eq!(warming["restored_keys"], 1_000, "{warming}");
    assert_eq!((&warming["failed"], &warming["phase"]), (&json!(0), &json!("idle")), "{warming}");
    let mut application = Application::new(&server, &origin);
    let warm = keys().filter(|key| application.get(key).is_some()).count();
    // Nothing without warming.
    assert!(warm > 900, "{warm} hits: {warming}");
    let stored = [("cache", "default"), ("result", "stored")];
    assert_eq!(server.metric("ostler_warming_fetches_total", &stored), warm as f64);
    server.kill();

    let file = data.join("warming/default.keys");
    let mut bytes = std::fs::read(&file).expect("a snapshot");
    let half = bytes.len() / 2;
    bytes[half] ^= 1;
    std::fs::write(&file, bytes).expect("a folder of our own");
    let server = serve(&args);
    let warming = self::status(&server, "warming");
    assert_eq!((&warming["restored_keys"], &warming["rounds"]), (&json!(0), &json!(0)));
    let mut application = Application::new(&server, &origin);
    assert!(!application.load("item:0") && application.load("item:0"), "it serves");
    let log = wait_for_log(&server, "are damaged");
    assert!(log.contains("default.keys"), "{log}");
}

fn wait_for_log(server: &Served, expected: &str) -> String {
    let mut logs = (0..ASKS_MAX).map(|_| server.log());
    let found = logs.find(|log| log.contains(expected));
    found.unwrap_or_else(|| unreachable!("{}", server.log()))
}

#[test]
fn an_origin_that_stalls_or_dies_keeps_no_client_waiting() {
    let (folder, origin) = (tempfile::tempdir().expect("a folder"), HttpOrigin::start(LATENCY));
    let prefetch = "[cache.prefetch]\nfetches_per_miss = 4.0";
    let server = serve(&["--config", &settings(folder.path(), &origin, prefetch)]);
    read_in_order(&server, &origin, 100);
    let mut application = Application::new(&server, &origin);
    let stored = HttpOrigin::value("x");
    for key in 0..1_000 {
        assert_eq!(application.ask(&format!("SET hot:{key} {stored}")), "+OK");
    }

    origin.hold();
    // Misses that go on where the run was, until prefetches hang.
    for key in 100..200 {
        let _ = application.get(&format!("block:{key}"));
    }
    origin.wait_for_held(1);
    let (_, answered) = origin.counts();
    for key in 0..1_000 {
        assert_eq!(application.get(&format!("hot:{key}")), Some(stored.clone()));
        // A miss is answered as well, and a write.
        assert_eq!(application.get(&format!("none:{key}")), None);
        assert_eq!(application.ask(&format!("SET own:{key} 1")), "+OK");
    }
    let (asked, still) = origin.counts();
    assert!(asked > still && still == answered, "it has held all its answers meanwhile");
    origin.release();
    wait_for(&server, "prefetch", |status| status["under_way"] == 0);

    origin.kill();
    for key in 200..400 {
        let _ = application.get(&format!("block:{key}"));
        assert_eq!(application.get(&format!("hot:{key}")), Some(stored.clone()));
        let _ = status(&server, "prefetch");
    }
    let prefetch = wait_for(&server, "prefetch", |status| status["under_way"] == 0);
    assert!(prefetch["counts"]["failed"].as_u64() > Some(0), "{prefetch}");
    assert!(prefetch["places"].as_u64() < Some(16) && prefetch["origin_error"].is_string());
    assert_eq!(server.metric("ostler_command_errors_total", &[]), 0.0);
    let (status, log) = server.stop();
    assert!(status.success(), "{log}");
}

#[test]
fn policies_sit_where_they_belong_and_go_back() {
    let (folder, origin) = (tempfile::tempdir().expect("a folder"), HttpOrigin::start(LATENCY));
    let server = serve(&["--config", &settings(folder.path(), &origin, "")]);
    let post = |path: &str, body: &str| {
        let answer = server.ask("POST", &format!("/v1/caches/default/{path}"), body.as_bytes());
        (answer.status, answer.json())
    };
    let kind = |(status, body): (u16, Value)| {
        (status, body["type"].as_str().and_then(|it| it.rsplit(':').next().map(str::to_owned)))
    };
    let refused = |kind: &str| (409, Some(kind.to_owned()));
    assert_eq!(status(&server, "prefetch")["seat"]["desired"], "off");
    assert_eq!(kind(post("policy", r#"{"policy":"prefetch-stride"}"#)), refused("wrong-kind"));
    assert_eq!(kind(post("prefetch", r#"{"policy":"lru"}"#)), refused("wrong-kind"));
    assert_eq!(kind(post("warming", r#"{"policy":"prefetch-assoc"}"#)), refused("wrong-kind"));
    assert_eq!(kind(post("prefetch", r#"{"policy":"nobody"}"#)).0, 404);
    let refused = post("prefetch", r#"{"policy":"prefetch-stride","params":{"places":1}}"#);
    assert_eq!(refused.0, 422, "{}", refused.1);
    for policy in ["prefetch-stride", "native:prefetch-assoc"] {
        let (status, body) = post("prefetch", &json!({"policy": policy}).to_string());
        assert_eq!((status, &body["policy"]), (200, &json!(policy)), "{body}");
        assert_eq!(self::status(&server, "prefetch")["seat"]["policy"], policy);
    }
    let (status, body) = post("prefetch/rollback", "");
    assert_eq!((status, &body["policy"]), (200, &json!("prefetch-stride")), "{body}");
    let seat = self::status(&server, "prefetch")["seat"].clone();
    assert_eq!(
        (&seat["policy"], &seat["previous"]),
        (&json!("prefetch-stride"), &json!("native:prefetch-assoc"))
    );
    assert!(seat["params"]["places"].is_u64(), "{seat}");
    assert_eq!(post("prefetch", r#"{"policy":"off"}"#).0, 200);
    assert_eq!(self::status(&server, "prefetch")["seat"]["policy"], Value::Null);
    assert_eq!(post("warming", r#"{"policy":"warm-decayed"}"#).0, 200);
    assert_eq!(post("warm", "").0, 200);
    wait_for(&server, "warming", |status| status["rounds"] == 1);
    assert_eq!(self::status(&server, "model")["published"], 0);
}
