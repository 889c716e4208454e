//! A server whose policy changes by itself: under a loop larger than the cache, which the policy in charge
//! cannot hold, another one takes over, and no client notices.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

use ostler_tests::Served;
use serde_json::{Value, json};

use super::serve;

/// Some 2,000 entries of a kilobyte, where 1,000 fit.
const KEYS: usize = 2_000;
const BATCH: usize = 50;

const SETTINGS: &str = r#"
[[cache]]
capacity = "1MiB"
policy = "lru"
shards = 2

[cache.adaptive]
portfolio = ["lru", "s3fifo", "wtinylfu"]
# This machine is busy with other tests.
cpu_max = 1.0
"#;

struct Client(BufReader<TcpStream>);

impl Client {
    fn send(&mut self, requests: &str) {
        self.0.get_mut().write_all(requests.as_bytes()).expect("it takes requests");
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("it replies");
        line.trim_end().to_owned()
    }

    /// Reads these keys, and stores those that are not there, as an application does. What comes back is
    /// what was stored; how many were there.
    fn load(&mut self, keys: impl Iterator<Item = usize> + Clone) -> usize {
        let mut requests = String::new();
        for key in keys.clone() {
            write!(requests, "GET key:{key}\r\n").expect("a string takes everything");
        }
        self.send(&requests);
        let (mut missing, mut hits) = (Vec::new(), 0);
        for key in keys {
            let line = self.line();
            if line == "$-1" {
                missing.push(key);
                continue;
            }
            let length: usize =
                line.strip_prefix('$').and_then(|text| text.parse().ok()).expect(&line);
            let mut bulk = vec![0; length + 2];
            self.0.read_exact(&mut bulk).expect("the whole value");
            assert_eq!(String::from_utf8_lossy(&bulk).trim_end(), value(key));
            hits += 1;
        }
        let sets = missing.iter().map(|&key| format!("SET key:{key} {}\r\n", value(key)));
        self.send(&sets.collect::<String>());
        for _ in missing {
            assert_eq!(self.line(), "+OK");
        }
        hits
    }
}

fn value(key: usize) -> String {
    format!("{key:0>900}")
}

fn decisions(server: &Served) -> Vec<Value> {
    let answer = server.ask("GET", "/v1/caches/default/decisions", b"");
    assert_eq!(answer.status, 200);
    let body = answer.json();
    assert_eq!(body["adaptive"], json!(true));
    body["decisions"].as_array().expect("a list of decisions").clone()
}

#[test]
fn the_better_policy_takes_over_by_itself() {
    let folder = tempfile::tempdir().expect("a folder of our own");
    let file = folder.path().join("ostler.toml");
    std::fs::write(&file, SETTINGS).expect("a folder of our own");
    let server = serve(&["--config", file.to_str().expect("a path in UTF-8")]);
    let mut client = Client(BufReader::new(server.connect()));
    let mut laps = 0;
    let swap = loop {
        for start in (0..KEYS).step_by(BATCH) {
            client.load(start..start + BATCH);
        }
        laps += 1;
        let swap = decisions(&server).into_iter().find(|decision| decision["action"] == "swap");
        if let Some(swap) = swap {
            break swap;
        }
        assert!(laps < 2_000, "{}", server.ask("GET", "/v1/caches/default/stats", b"").text());
    };
    // Either of the two serves a loop; which of them leads first depends on how far they have filled.
    let to = swap["to"].as_str().expect("a name").to_owned();
    assert_eq!(swap["from"], json!("lru"), "{swap}");
    assert!(["s3fifo", "wtinylfu"].contains(&to.as_str()), "{swap}");
    assert!(swap["gain"].as_f64() > Some(0.1) && swap["z"].as_f64() > Some(2.0), "{swap}");
    assert_eq!(swap["candidates"].as_array().map(Vec::len), Some(3), "{swap}");
    let lap: usize = (0..KEYS).step_by(BATCH).map(|start| client.load(start..start + BATCH)).sum();
    assert!(lap > KEYS / 10, "{lap} hits under the policy that took over");

    // What is shown is a little behind.
    let stats = loop {
        let stats = server.ask("GET", "/v1/caches/default/stats", b"").json();
        if stats["adaptive"]["windows"].as_u64() > Some(10) {
            break stats;
        }
        laps += 1;
        assert!(laps < 4_000, "{stats}");
        for start in (0..KEYS).step_by(BATCH) {
            client.load(start..start + BATCH);
        }
    };
    let adaptive = &stats["adaptive"];
    assert!(adaptive["requests"].as_u64() > Some(1_000), "{adaptive}");
    let swaps = decisions(&server).into_iter().filter(|decision| decision["action"] == "swap");
    let swaps: Vec<Value> = swaps.collect();
    assert_eq!(stats["seat"]["desired"], swaps[0]["to"], "{swaps:?}");
    let labels = [("cache", "default"), ("reason", "selector")];
    assert_eq!(server.metric("ostler_policy_swaps_total", &labels), swaps.len() as f64);
    let labels = [("cache", "default"), ("action", "swap")];
    assert_eq!(server.metric("ostler_selector_decisions_total", &labels), swaps.len() as f64);
    let labels = [("cache", "default"), ("policy", to.as_str())];
    assert!(server.metric("ostler_shadow_requests_total", &labels) > 1_000.0);
    assert_eq!(server.metric("ostler_command_errors_total", &[]), 0.0);

    let (status, log) = server.stop();
    assert!(status.success(), "{log}");
}
