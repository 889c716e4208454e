//! Policies change while clients work: every built-in policy and every hostile guest is uploaded, put in
//! charge and taken out again, and no client notices.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ostler_tests::{BUILTINS, Expect, Guest, Served, cheats, connect, guests, module_of};
use serde_json::{Value, json};

use super::serve;

/// Keys that must be there at the end; there is ample room for them.
const KEPT_KEYS: u64 = 20_000;
/// Commands that a client sends at once.
const PIPELINE: u64 = 16;
/// Clients of each cache.
const CLIENTS: u64 = 2;
/// Longest wait for a fault, or for another change to end.
const WAIT: Duration = Duration::from_secs(60);
/// The policy in charge at first, and after each rollback.
const FIRST: &str = "lru";

/// Room for all keys in the one, room for few in the other: there a policy has to choose victims.
const SETTINGS: &str = r#"
[[cache]]
name = "kept"
capacity = "64MiB"
policy = "lru"
databases = [0]

[[cache]]
name = "churning"
capacity = "2MiB"
policy = "lru"
shards = 2
databases = [1]
"#;

/// A client of Redis that knows what it expects.
struct Client {
    reader: BufReader<TcpStream>,
    requests: Vec<u8>,
}

impl Client {
    fn open(address: SocketAddr, database: u64) -> Self {
        let mut client = Self { reader: BufReader::new(connect(address)), requests: Vec::new() };
        client.ask(&["SELECT", &database.to_string()]);
        client.send();
        assert_eq!(client.reply(), "+OK");
        client
    }

    fn ask(&mut self, words: &[&str]) {
        self.requests.extend(format!("*{}\r\n", words.len()).bytes());
        for word in words {
            self.requests.extend(format!("${}\r\n{word}\r\n", word.len()).bytes());
        }
    }

    fn send(&mut self) {
        self.reader.get_mut().write_all(&self.requests).expect("the server takes requests");
        self.requests.clear();
    }

    /// The next reply: a line with its first letter, a bulk string after `$`, `$` alone for none.
    fn reply(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).expect("the server replies");
        let line = line.trim_end();
        match line.strip_prefix('$') {
            None => line.to_owned(),
            Some("-1") => "$".to_owned(),
            Some(length) => {
                let mut bulk = vec![0; length.parse::<usize>().expect("a length") + 2];
                self.reader.read_exact(&mut bulk).expect("the whole bulk string");
                bulk.truncate(bulk.len() - 2);
                format!("${}", String::from_utf8(bulk).expect("text"))
            }
        }
    }
}

/// The value of a key: 64 bytes that tell keys apart.
fn value(number: u64) -> String {
    format!("{number:0>64}")
}

/// Writes the keys that must stay.
fn fill(address: SocketAddr) {
    let mut client = Client::open(address, 0);
    for start in (0..KEPT_KEYS).step_by(100) {
        for number in start..start + 100 {
            client.ask(&["SET", &format!("kept:{number}"), &value(number)]);
        }
        client.send();
        for _ in 0..100 {
            assert_eq!(client.reply(), "+OK");
        }
    }
}

/// Reads the kept keys and overwrites some with what they hold, until told to stop.
fn read_kept(address: SocketAddr, seed: u64, (stop, commands): (&AtomicBool, &AtomicU64)) {
    let mut client = Client::open(address, 0);
    let mut number = seed * 7_919;
    while !stop.load(Ordering::Relaxed) {
        let first = number;
        for turn in 0..PIPELINE {
            let key = (first + turn * 31) % KEPT_KEYS;
            if turn == 0 {
                client.ask(&["SET", &format!("kept:{key}"), &value(key)]);
            } else {
                client.ask(&["GET", &format!("kept:{key}")]);
            }
        }
        client.send();
        for turn in 0..PIPELINE {
            let key = (first + turn * 31) % KEPT_KEYS;
            let expected = if turn == 0 { "+OK".to_owned() } else { format!("${}", value(key)) };
            assert_eq!(client.reply(), expected, "kept:{key}");
        }
        number += 1;
        commands.fetch_add(PIPELINE, Ordering::Relaxed);
    }
}

/// Writes ever new keys and reads old ones, which may have gone but never changed.
fn churn(address: SocketAddr, seed: u64, (stop, commands): (&AtomicBool, &AtomicU64)) {
    let mut client = Client::open(address, 1);
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        for turn in 0..PIPELINE / 2 {
            let new = number + turn;
            let old = new.saturating_sub(new % 5_000);
            client.ask(&["SET", &format!("new:{seed}:{new}"), &value(new)]);
            client.ask(&["GET", &format!("new:{seed}:{old}")]);
        }
        client.send();
        for turn in 0..PIPELINE / 2 {
            let new = number + turn;
            let old = new.saturating_sub(new % 5_000);
            assert_eq!(client.reply(), "+OK", "new:{seed}:{new}");
            let found = client.reply();
            assert!(
                found == "$" || found == format!("${}", value(old)),
                "new:{seed}:{old}: {found}"
            );
        }
        number += PIPELINE / 2;
        commands.fetch_add(PIPELINE, Ordering::Relaxed);
    }
}

/// Whether `found` is the fault that was announced. What is announced is what fuel finds. On CPU time a
/// guest that burns little in each call may pass for slow, or, where it never evicts either, be found
/// out by that first.
fn is_expected(expected: &str, found: &str) -> bool {
    found == expected || (expected == "deadline" && matches!(found, "slow" | "over_budget"))
}

/// Neither cache holds more than it may.
fn assert_capacity(server: &Served) {
    for cache in ["kept", "churning"] {
        let stats = server.ask("GET", &format!("/v1/caches/{cache}/stats"), b"").json();
        let count = |name: &str| stats["counts"][name].as_u64().expect("a count");
        let bound = count("capacity") + count("slack");
        assert!(count("weight") <= bound, "{cache}: {} of {bound}", count("weight"));
    }
}

/// Asks to change the policy of a cache; again while another change is under way.
fn change(server: &Served, cache: &str, (last, body): (&str, &Value)) -> (u16, Value) {
    let end = Instant::now() + WAIT;
    loop {
        let path = format!("/v1/caches/{cache}/{last}");
        let answer = server.ask("POST", &path, body.to_string().as_bytes());
        let document = answer.json();
        if document["type"] != "urn:ostler:problem:busy" {
            return (answer.status, document);
        }
        assert!(Instant::now() < end, "{cache}: busy for {WAIT:?}");
    }
}

fn activate(server: &Served, cache: &str, policy: &str) -> (u16, Value) {
    change(server, cache, ("policy", &json!({ "policy": policy })))
}

fn roll_back(server: &Served, cache: &str) {
    let (status, document) = change(server, cache, ("rollback", &json!({})));
    assert_eq!((status, &document["policy"]), (200, &json!(FIRST)), "{cache}: {document}");
}

/// Puts an honest policy in charge of both caches, and takes it out again.
fn take_turns(server: &Served, name: &str, module: &[u8]) {
    let answer = server.ask("PUT", &format!("/v1/policies/{name}"), module);
    assert_eq!(answer.status, 201, "{name}: {}", answer.text());
    for cache in ["kept", "churning"] {
        let (status, document) = activate(server, cache, name);
        assert_eq!(status, 200, "{name} in {cache}: {document}");
        assert_eq!(faults_of(server, cache, name), Vec::<String>::new());
        roll_back(server, cache);
    }
    assert_capacity(server);
}

/// The kinds of the faults of a policy, from the metrics.
fn faults_of(server: &Served, cache: &str, policy: &str) -> Vec<String> {
    let metrics = server.ask("GET", "/metrics", b"").text();
    let rows = metrics.lines().filter(|line| line.starts_with("ostler_policy_faults_total{"));
    let label = |line: &str, name: &str| {
        let (_, rest) = line.split_once(&format!("{name}=\""))?;
        rest.split_once('"').map(|(value, _)| value.to_owned())
    };
    let of_policy = |line: &&str| {
        label(line, "cache").as_deref() == Some(cache)
            && label(line, "policy").is_some_and(|found| found.split('@').next() == Some(policy))
    };
    rows.filter(of_policy).filter_map(|line| label(line, "kind")).collect()
}

/// Puts a hostile guest in charge of both caches: it is found out at once or under load.
fn attack(server: &Served, guest: &Guest, expected: &str) {
    let name = guest.name.replace('_', "-");
    let answer = server.ask("PUT", &format!("/v1/policies/{name}"), &guest.module);
    assert_eq!(answer.status, 201, "{name}: {}", answer.text());
    for cache in ["kept", "churning"] {
        let (status, document) = activate(server, cache, &name);
        if status != 200 {
            let kind = document["kind"].as_str().unwrap_or_default();
            assert!(status == 422 && is_expected(expected, kind), "{name} in {cache}: {document}");
            continue;
        }
        if cache == "churning" {
            let end = Instant::now() + WAIT;
            while faults_of(server, cache, &name).is_empty() {
                assert!(Instant::now() < end, "{name}: no fault within {WAIT:?}");
            }
        }
        for kind in faults_of(server, cache, &name) {
            assert!(is_expected(expected, &kind), "{name} in {cache}: {kind}, not {expected}");
        }
        roll_back(server, cache);
    }
    assert_capacity(server);
}

/// A guest that is refused is refused at its step, and nobody hears of it again.
fn refuse(server: &Served, guest: &Guest, step: &str) {
    let name = guest.name.replace('_', "-");
    let path = format!("/v1/policies/{name}");
    let answer = server.ask("PUT", &path, &guest.module);
    let document = answer.json();
    assert_eq!((answer.status, &document["step"]), (422, &json!(step)), "{name}: {document}");
    assert_eq!(server.ask("GET", &path, b"").status, 404, "{name}");
}

/// Everything that a policy's author could send.
fn send_everything(server: &Served) {
    for builtin in &BUILTINS {
        take_turns(server, &format!("my-{}", builtin.name), &module_of(builtin));
    }
    let mut refused = 0;
    for guest in guests() {
        let step = match &guest.expect {
            Expect::Ok => {
                take_turns(server, &guest.name.replace('_', "-"), &guest.module);
                continue;
            }
            Expect::Refused(step) => step,
            // What breaks the contract in a cache breaks it in the conformance run before.
            Expect::Fault(_) => "conformance",
        };
        refuse(server, &guest, step);
        refused += 1;
    }
    assert!(refused >= 70, "{refused} refused");
    for cheat in cheats() {
        let Expect::Fault(kind) = &cheat.expect else { continue };
        attack(server, &cheat, kind);
    }
}

#[test]
fn no_client_notices_what_policies_are_put_in_charge() {
    let folder = tempfile::tempdir().expect("a folder of our own");
    let settings = folder.path().join("ostler.toml");
    std::fs::write(&settings, SETTINGS).expect("writable");
    let server = serve(&["--config", settings.to_str().expect("a path in UTF-8")]);
    fill(server.resp());
    let (stop, commands) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        // Also where a check below fails: the clients would go on for ever.
        let _stopped = StopAtDrop(&stop);
        for seed in 0..CLIENTS {
            let (address, ways) = (server.resp(), (&stop, &commands));
            scope.spawn(move || read_kept(address, seed, ways));
            scope.spawn(move || churn(address, seed, ways));
        }
        send_everything(&server);
    });
    let mut client = Client::open(server.resp(), 0);
    for number in 0..KEPT_KEYS {
        client.ask(&["GET", &format!("kept:{number}")]);
        client.send();
        assert_eq!(client.reply(), format!("${}", value(number)), "kept:{number} is lost");
    }
    assert_eq!(server.metric("ostler_command_errors_total", &[]), 0.0);
    assert!(commands.into_inner() > 10_000, "the clients had their turns");
    assert_capacity(&server);
    let (status, log) = server.stop();
    assert!(status.success(), "{log}");
}

struct StopAtDrop<'flag>(&'flag AtomicBool);

impl Drop for StopAtDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
