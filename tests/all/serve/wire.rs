//! Whatever a network and a disk bring: crowds, slow clients, broken requests, a full disk, a kill.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::process::Command;

use ostler_tests::{Answered, BUILTINS, Served, connect, guests, module_of, read_to_end};
use sha2::Digest as _;

use super::{binary, serve};

/// Connections that say nothing.
const IDLE: usize = 10_000;
/// Connections that say something a byte at a time.
const SLOW: usize = 1_000;
/// Files that the server and this process may each need.
const FILES_MIN: u64 = (IDLE + SLOW + 1_500) as u64;

/// Lets this process, and those that it starts, open many files; false, after saying so, where the
/// system does not allow it.
fn may_open_many_files() -> bool {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: Some(FILES_MIN.max(current.unwrap_or(u64::MAX))), maximum };
    if current.is_none() || setrlimit(Resource::Nofile, wanted).is_ok() {
        return true;
    }
    let missing = format!("{FILES_MIN} open files are not allowed: see `ulimit -Hn`");
    assert_ne!(std::env::var("OSTLER_REQUIRE_CLIENTS").as_deref(), Ok("1"), "{missing}");
    // Past the test harness, which would keep what a passing test prints.
    writeln!(std::io::stderr(), "skipped: {missing}").expect("the error stream is open");
    false
}

/// Writes a file with settings and starts a server by it.
fn serve_with(settings: &str) -> (tempfile::TempDir, Served) {
    let folder = tempfile::tempdir().expect("a folder of our own");
    let path = folder.path().join("ostler.toml");
    std::fs::write(&path, settings).expect("writable");
    let server = serve(&["--config", path.to_str().expect("a path in UTF-8")]);
    (folder, server)
}

/// Sends what is one request and compares the reply.
fn assert_reply(stream: &mut TcpStream, request: &[u8], expected: &[u8]) {
    stream.write_all(request).expect("it takes a request");
    let mut reply = vec![0; expected.len()];
    stream.read_exact(&mut reply).expect("a reply");
    assert_eq!(String::from_utf8_lossy(&reply), String::from_utf8_lossy(expected));
}

#[test]
fn a_crowd_of_idle_and_slow_connections_is_served() {
    if !may_open_many_files() {
        return;
    }
    let (_folder, server) = serve_with("[limits]\nclients_max = 11100");
    let idle: Vec<TcpStream> = (0..IDLE).map(|_| server.connect()).collect();
    let mut slow: Vec<TcpStream> = (0..SLOW).map(|_| server.connect()).collect();
    let mut quick = server.connect();
    let request = b"*3\r\n$3\r\nSET\r\n$4\r\nslow\r\n$5\r\nvalue\r\n";
    for byte in request {
        for stream in &mut slow {
            stream.write_all(&[*byte]).expect("it takes a byte");
        }
        // Nobody else waits for the slow ones.
        assert_reply(&mut quick, b"PING\r\n", b"+PONG\r\n");
    }
    for stream in &mut slow {
        assert_reply(stream, b"", b"+OK\r\n");
    }
    assert_eq!(server.metric("ostler_clients", &[]), (IDLE + SLOW + 1) as f64);
    for mut stream in idle {
        assert_reply(&mut stream, b"*1\r\n$4\r\nPING\r\n", b"+PONG\r\n");
    }
    drop(slow);
    let (status, log) = server.stop();
    assert!(status.success(), "{log}");
}

#[test]
fn one_client_too_many_is_told_so() {
    let (_folder, server) = serve_with("[limits]\nclients_max = 3");
    let mut all: Vec<TcpStream> = (0..3).map(|_| server.connect()).collect();
    for stream in &mut all {
        assert_reply(stream, b"PING\r\n", b"+PONG\r\n");
    }
    let refused = read_to_end(&mut server.connect());
    assert_eq!(String::from_utf8_lossy(&refused), "-ERR max number of clients reached\r\n");
    for stream in &mut all {
        assert_reply(stream, b"PING\r\n", b"+PONG\r\n");
    }
}

#[test]
fn broken_http_is_refused_and_the_next_request_is_served() {
    let server = serve(&[]);
    let long = "x".repeat(1 << 20);
    let rows: Vec<Vec<u8>> = vec![
        b"\r\n\r\n\r\n".to_vec(),
        b"GET\r\n\r\n".to_vec(),
        b"GET / HTTP/9.9\r\n\r\n".to_vec(),
        b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n: no name\r\n\r\n".to_vec(),
        b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nbroken header\r\n\r\n".to_vec(),
        b"GET /\0 HTTP/1.1\r\nhost: localhost\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS greeting\r\n\r\n".to_vec(),
        b"*1\r\n$4\r\nPING\r\n".to_vec(),
        b"PUT /v1/policies/a HTTP/1.1\r\nhost: localhost\r\ncontent-length: -1\r\n\r\n".to_vec(),
        b"PUT /v1/policies/a HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab".to_vec(),
        b"PUT /v1/policies/a HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99999999999999999999\r\n\r\n".to_vec(),
        b"PUT /v1/policies/a HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n".to_vec(),
        b"PUT /v1/policies/a HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\n".to_vec(),
        format!("GET /{long} HTTP/1.1\r\nhost: localhost\r\n\r\n").into_bytes(),
        format!("GET / HTTP/1.1\r\nhost: localhost\r\nlong: {long}\r\n\r\n").into_bytes(),
        format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(10_000)).into_bytes(),
        (0..=255).cycle().take(100_000).collect(),
    ];
    for row in rows {
        let mut stream = connect(server.http());
        // It may hang up before it has taken all.
        drop(stream.write_all(&row));
        drop(stream.shutdown(Shutdown::Write));
        let answer = read_to_end(&mut stream);
        let start = String::from_utf8_lossy(&row[..row.len().min(60)]).into_owned();
        // Either it hangs up or it says that the mistake is the client's.
        let status = Answered::parse(&answer).map(|answer| answer.status);
        let is_refusal = |status: u16| (400..500).contains(&status) || status == 505;
        assert!(status.is_none_or(is_refusal), "{start:?}: {}", String::from_utf8_lossy(&answer));
        assert_eq!(server.ask("GET", "/healthz", b"").status, 200, "after {start:?}");
    }
}

/// The head of an upload, and as much of the body as is asked for, on a connection that stays open.
fn begin_upload(server: &Served, name: &str, (module, sent): (&[u8], usize)) -> TcpStream {
    let mut stream = connect(server.http());
    let head = format!(
        "PUT /v1/policies/{name} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        module.len()
    );
    stream.write_all(head.as_bytes()).expect("it takes the head");
    stream.write_all(&module[..sent]).expect("it takes a part");
    stream
}

/// The identifiers of all uploaded modules.
fn uploaded(server: &Served) -> BTreeSet<String> {
    let list = server.ask("GET", "/v1/policies", b"").json();
    let policies = list["policies"].as_array().expect("a list");
    let uploaded = policies.iter().filter(|policy| policy["origin"] == "uploaded");
    let versions = uploaded.flat_map(|policy| policy["versions"].as_array().expect("a list"));
    versions.map(|version| version["id"].as_str().expect("an identifier").to_owned()).collect()
}

/// The modules in a data directory, each checked against its name; nothing else may lie there.
fn stored(data_dir: &Path) -> BTreeSet<String> {
    let modules = std::fs::read_dir(data_dir.join("modules")).expect("a folder of modules");
    let stored = modules.map(|entry| {
        let path = entry.expect("readable").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let digest = sha2::Sha256::digest(std::fs::read(&path).expect("readable"));
        let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(name, format!("sha256-{digits}.wasm"), "every module is whole");
        format!("sha256:{digits}")
    });
    stored.collect()
}

#[test]
fn a_truncated_upload_leaves_nothing() {
    let data = tempfile::tempdir().expect("a folder of our own");
    let server = serve(&["--data-dir", data.path().to_str().expect("a path in UTF-8")]);
    let module = module_of(&BUILTINS[0]);
    for sent in [0, 1, module.len() / 2, module.len() - 1] {
        let mut stream = begin_upload(&server, "cut", (&module, sent));
        stream.shutdown(Shutdown::Write).expect("a socket");
        let answer = read_to_end(&mut stream);
        let status = Answered::parse(&answer).map(|answer| answer.status);
        assert!(status.is_none_or(|status| (400..500).contains(&status)), "{sent}: {status:?}");
        // Nor does one that breaks off without a word.
        drop(begin_upload(&server, "cut", (&module, sent)));
        assert!(uploaded(&server).is_empty() && stored(data.path()).is_empty(), "{sent}");
    }
    assert_eq!(server.ask("PUT", "/v1/policies/cut", &module).status, 201);
    assert_eq!(uploaded(&server), stored(data.path()));
    assert_eq!(uploaded(&server).len(), 1);
}

#[test]
fn a_kill_during_an_upload_loses_nothing_that_was_confirmed() {
    let data = tempfile::tempdir().expect("a folder of our own");
    let args = ["--data-dir", data.path().to_str().expect("a path in UTF-8")];
    let mut confirmed = BTreeSet::new();
    let mut server = serve(&args);
    for (round, builtin) in BUILTINS.iter().enumerate() {
        let module = module_of(builtin);
        // In the middle of the body, right after it, and after the answer.
        let sent = if round % 3 == 0 { module.len() / 2 } else { module.len() };
        let mut stream = begin_upload(&server, &format!("my-{}", builtin.name), (&module, sent));
        if round % 3 == 2 {
            let answer = Answered::parse(&read_to_end(&mut stream)).expect("an answer");
            assert_eq!(answer.status, 201, "{}", answer.text());
            confirmed.insert(answer.json()["id"].as_str().expect("an identifier").to_owned());
        }
        server.kill();
        server = serve(&args);
        let there = uploaded(&server);
        assert_eq!(there, stored(data.path()), "round {round}: what is listed is what is kept");
        assert!(confirmed.is_subset(&there), "round {round}: {confirmed:?} of {there:?}");
        confirmed = there;
    }
    assert!(confirmed.len() >= BUILTINS.len() / 3);
    for policy in ["my-lru", "my-sieve"] {
        assert!([200, 201].contains(
            &server.ask("PUT", &format!("/v1/policies/{policy}"), &module_of(&BUILTINS[0])).status
        ));
    }
}

#[test]
fn a_policy_in_charge_comes_back_after_a_kill() {
    let data = tempfile::tempdir().expect("a folder of our own");
    let args = ["--data-dir", data.path().to_str().expect("a path in UTF-8")];
    let server = serve(&args);
    let module = module_of(&BUILTINS[0]);
    assert_eq!(server.ask("PUT", "/v1/policies/mine", &module).status, 201);
    let answer = server.ask("POST", "/v1/caches/default/policy", br#"{"policy":"mine"}"#);
    assert_eq!(answer.status, 200, "{}", answer.text());
    server.kill();
    let server = serve(&args);
    let stats = server.ask("GET", "/v1/caches/default/stats", b"").json();
    assert_eq!(stats["seat"]["desired"], "mine", "{stats}");
}

/// A module that is larger than the disk: an honest guest with a section that nobody reads.
fn large_module() -> Vec<u8> {
    let guest = guests().into_iter().find(|guest| guest.name == "good_fifo");
    let mut module = guest.expect("the guest is there").module;
    let payload_len = 200_000_u32;
    // Section 0, its length in LEB128, and a name of one letter.
    module.push(0);
    let mut rest = payload_len + 2;
    while rest >= 0x80 {
        module.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    module.push(rest as u8);
    module.extend([1, b'x']);
    module.resize(module.len() + payload_len as usize, 7);
    module
}

#[test]
fn a_full_disk_is_told_and_nothing_is_left_half_written() {
    let data = tempfile::tempdir().expect("a folder of our own");
    let data_dir = data.path().to_str().expect("a path in UTF-8");
    // No file may grow beyond some 50 KiB. A write beyond fails as on a full disk, once the signal that
    // comes with it is ignored.
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; ulimit -f 100; exec \"$0\" \"$@\""]).arg(binary());
    command.args([
        "serve",
        "--resp",
        "127.0.0.1:0",
        "--http",
        "127.0.0.1:0",
        "--data-dir",
        data_dir,
    ]);
    let server = Served::run(command);
    let small = module_of(&BUILTINS[0]);
    assert!(small.len() < 50_000);
    assert_eq!(server.ask("PUT", "/v1/policies/small", &small).status, 201);
    let before = uploaded(&server);
    let answer = server.ask("PUT", "/v1/policies/large", &large_module());
    let document = answer.json();
    assert_eq!(
        (answer.status, &document["type"]),
        (507, &"urn:ostler:problem:storage".into()),
        "{document}"
    );
    assert!(
        document["detail"].as_str().is_some_and(|detail| detail.contains("modules")),
        "{document}"
    );
    assert_eq!(uploaded(&server), before);
    assert_eq!(stored(data.path()), before);
    assert_eq!(server.ask("GET", "/v1/policies/large", b"").status, 404);
    // It goes on: entries, and policies that fit.
    assert_reply(&mut server.connect(), b"SET key value\r\n", b"+OK\r\n");
    let answer = server.ask("POST", "/v1/caches/default/policy", br#"{"policy":"small"}"#);
    assert_eq!(answer.status, 200, "{}", answer.text());
    server.kill();
    // With room again, what was kept is there and the rest can be uploaded.
    let server = serve(&["--data-dir", data_dir]);
    assert_eq!(uploaded(&server), before);
    assert_eq!(server.ask("PUT", "/v1/policies/large", &large_module()).status, 201);
}

#[test]
fn a_stop_lets_clients_have_their_replies() {
    let server = serve(&[]);
    let mut stream = server.connect();
    let mut requests = Vec::new();
    for number in 0..1_000 {
        requests.extend(format!("SET key:{number} {number}\r\n").bytes());
    }
    stream.write_all(&requests).expect("it takes requests");
    // All have been run once the last one can be seen; their replies may still be on their way.
    let mut other = server.connect();
    loop {
        other.write_all(b"EXISTS key:999\r\n").expect("it takes a request");
        let mut reply = [0; 4];
        other.read_exact(&mut reply).expect("a reply");
        if &reply == b":1\r\n" {
            break;
        }
    }
    let (status, log) = server.stop();
    assert!(status.success(), "{log}");
    let replies = BufReader::new(stream).lines().map_while(Result::ok).collect::<Vec<String>>();
    assert_eq!(replies, vec!["+OK"; 1_000]);
}

#[test]
fn clients_leave_files_for_probes_where_the_system_allows_few() {
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 300; exec \"$0\" \"$@\""]).arg(binary());
    command.args(["serve", "--resp", "127.0.0.1:0", "--http", "127.0.0.1:0", "--threads", "1"]);
    let server = Served::run(command);
    // A quarter for HTTP, 68 for the server itself.
    let clients_max = 300 - 75 - 68;
    assert_eq!(server.metric("ostler_clients_max", &[]), f64::from(clients_max));
    let mut clients: Vec<TcpStream> = (0..clients_max).map(|_| server.connect()).collect();
    for stream in &mut clients {
        assert_reply(stream, b"PING\r\n", b"+PONG\r\n");
    }
    let refused = format!(
        "-ERR CONFIG SET failed (possibly related to argument 'maxclients') - The operating system is \
         not able to handle the specified number of clients, try with {clients_max}\r\n"
    );
    assert_reply(&mut clients[0], b"CONFIG SET maxclients 5000\r\n", refused.as_bytes());
    assert_eq!(server.metric("ostler_clients_max", &[]), f64::from(clients_max));
    for _ in 0..20 {
        let refused = read_to_end(&mut server.connect());
        assert_eq!(String::from_utf8_lossy(&refused), "-ERR max number of clients reached\r\n");
    }
    // Whoever holds connections to the API makes room for the next one.
    let silent: Vec<TcpStream> = (0..100).map(|_| connect(server.http())).collect();
    assert_eq!(server.ask("GET", "/healthz", b"").status, 200);
    drop((silent, clients));
    let (status, log) = server.stop();
    assert!(status.success(), "{log}");
    assert_eq!(log.matches("fewer clients than the settings say").count(), 1, "{log}");
    assert_eq!(log.matches("could not be taken").count(), 0, "{log}");
}
