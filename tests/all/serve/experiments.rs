//! Live experiments against a server under load: a difference is found, none is made up, and a policy
//! that breaks ends its experiment.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

use ostler_tests::{Served, cheats};
use serde_json::{Value, json};

use super::serve;

/// Shards enough for 32 an arm; some hundred entries each.
const SETTINGS: &str = r#"
[[cache]]
name = "default"
capacity = "4MiB"
policy = "fifo"
shards = 64
"#;
const EXPERIMENTS: &str = "/v1/caches/default/experiments";
/// Keys that are asked for, about five times what fits.
const KEYS: u64 = 100_000;
/// Gets that go out together.
const BATCH: usize = 500;
/// Gets after which a test has failed.
const GETS_MAX: u64 = 20_000_000;

/// A server with those settings.
fn started() -> (Served, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder of our own");
    let file = folder.path().join("ostler.toml");
    std::fs::write(&file, SETTINGS).expect("room for it");
    let server = serve(&["--config", file.to_str().expect("a path in UTF-8")]);
    (server, folder)
}

/// A client that gets keys by Zipf's law and sets those that are not there.
struct Client {
    stream: BufReader<TcpStream>,
    random: u64,
    gets: u64,
    /// Sums of the keys' shares.
    law: Vec<f64>,
}

impl Client {
    fn new(server: &Served) -> Self {
        let mut sum = 0.0;
        let weights = (1..=KEYS).map(|rank| {
            sum += (rank as f64).powf(-0.8);
            sum
        });
        let law = weights.collect();
        Self { stream: BufReader::new(server.connect()), random: 1, gets: 0, law }
    }

    /// The next key: its rank is drawn by the law.
    fn key(&mut self) -> usize {
        // The middle bits of a linear congruence (Knuth's MMIX).
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005);
        self.random = self.random.wrapping_add(1_442_695_040_888_963_407);
        let whole = self.law[self.law.len() - 1];
        let drawn = (self.random >> 11) as f64 / (1_u64 << 53) as f64 * whole;
        self.law.partition_point(|&sum| sum < drawn)
    }

    /// A batch of gets, and the sets that answer its misses.
    fn work(&mut self) {
        self.gets += BATCH as u64;
        assert!(self.gets < GETS_MAX, "{} gets were not enough", self.gets);
        let keys: Vec<usize> = (0..BATCH).map(|_| self.key()).collect();
        let gets: String = keys.iter().map(|key| format!("GET key:{key}\r\n")).collect();
        self.send(&gets);
        let misses: Vec<usize> = keys.into_iter().filter(|_| !self.reply()).collect();
        let value = "v".repeat(64);
        let sets: String = misses.iter().map(|key| format!("SET key:{key} {value}\r\n")).collect();
        self.send(&sets);
        for _ in misses {
            assert!(self.reply(), "a set is taken");
        }
    }

    fn send(&mut self, requests: &str) {
        self.stream.get_mut().write_all(requests.as_bytes()).expect("it takes requests");
    }

    /// One reply: false where it is nothing.
    fn reply(&mut self) -> bool {
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("it answers");
        match line.trim_end().strip_prefix('$') {
            Some("-1") => false,
            Some(len) => {
                let len: usize = len.parse().expect("a length");
                let mut value = vec![0; len + 2];
                self.stream.read_exact(&mut value).expect("a value");
                true
            }
            None => {
                assert_eq!(line, "+OK\r\n");
                true
            }
        }
    }
}

/// Begins an experiment that ends by a call only, and returns its path.
fn start(server: &Served, policies: [&str; 2], confidence: f64) -> String {
    let arms = policies.map(|policy| json!({"policy": policy, "share": 0.5}));
    let plan = json!({
        "arms": arms, "confidence": confidence, "effect": 0.02, "window_ms": 200, "seed": 1,
        "rule": {"least_effect": 1.0, "equivalence": 0.0},
    });
    let answer = server.ask("POST", EXPERIMENTS, plan.to_string().as_bytes());
    assert_eq!(answer.status, 201, "{}", answer.text());
    format!("{EXPERIMENTS}/{}", answer.json()["id"].as_str().expect("an id"))
}

/// Works until `is_it` holds of the experiment.
fn run(
    server: &Served,
    (client, path): (&mut Client, &str),
    is_it: impl Fn(&Value) -> bool,
) -> Value {
    loop {
        for _ in 0..100 {
            client.work();
        }
        let shown = server.ask("GET", path, b"").json();
        if is_it(&shown) {
            return shown;
        }
        assert_eq!(shown["state"], "running", "{shown}");
    }
}

fn seats(server: &Served) -> Vec<Value> {
    let stats = server.ask("GET", "/v1/caches/default/stats", b"").json();
    let shards = stats["seat"]["shards"].as_array().expect("a list").iter();
    shards.map(|shard| shard["policy"].clone()).collect()
}

fn low(shown: &Value) -> Option<f64> {
    shown["comparisons"][0]["interval"]["low"].as_f64()
}

#[test]
fn the_better_policy_is_found_and_promoted() {
    let (server, _folder) = started();
    let mut client = Client::new(&server);
    (0..400).for_each(|_| client.work());
    let path = start(&server, ["fifo", "s3fifo"], 0.95);
    let shown = run(&server, (&mut client, &path), |shown| low(shown).is_some_and(|low| low > 0.0));
    let comparison = &shown["comparisons"][0];
    assert_eq!(comparison["self_check"], false, "{shown}");
    assert!(comparison["difference"].as_f64() > low(&shown), "{shown}");
    assert!(shown["share_sampled"].as_f64() > Some(0.0), "{shown}");
    let difference = server.metric("ostler_experiment_difference", &[("arm", "1")]);
    assert!(difference > 0.0 && server.metric("ostler_experiment_running", &[]) == 1.0);
    let answer = server.ask("POST", &format!("{path}/promote"), br#"{"arm":1}"#);
    assert_eq!((answer.status, &answer.json()["state"]), (200, &json!("promoted")));
    assert!(seats(&server).iter().all(|policy| policy == "s3fifo"));
    client.work();
}

#[test]
fn between_a_policy_and_itself_no_difference_is_made_up() {
    let (server, _folder) = started();
    let mut client = Client::new(&server);
    // The hash is another in each run, so that the confidence is such that this never fails in practice.
    let path = start(&server, ["fifo", "fifo"], 0.9999);
    let shown =
        run(&server, (&mut client, &path), |shown| shown["requests"].as_u64() >= Some(1_000_000));
    let comparison = &shown["comparisons"][0];
    assert_eq!(comparison["self_check"], true, "{shown}");
    let high = comparison["interval"]["high"].as_f64();
    assert!(low(&shown).is_some_and(|low| low <= 0.0) && high >= Some(0.0), "{shown}");
    assert_eq!(server.ask("POST", &format!("{path}/stop"), b"").json()["state"], "stopped");
}

#[test]
fn a_policy_that_is_quarantined_ends_its_experiment() {
    let (server, _folder) = started();
    let module = cheats().into_iter().find(|cheat| cheat.name == "cheat_over_budget");
    let module = module.expect("the guest is there").module;
    assert_eq!(server.ask("PUT", "/v1/policies/cheat", &module).status, 201);
    let mut client = Client::new(&server);
    let path = start(&server, ["fifo", "cheat"], 0.95);
    loop {
        client.work();
        let shown = server.ask("GET", &path, b"").json();
        if shown["state"] == "aborted" {
            let reason = shown["reason"].as_str().unwrap_or_default();
            assert!(reason.contains("`cheat` of arm 1 was quarantined"), "{reason}");
            break;
        }
        assert_eq!(shown["state"], "running", "{shown}");
    }
    assert!(seats(&server).iter().all(|policy| policy == "fifo"));
    client.work();
}
