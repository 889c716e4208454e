//! The commands that speak to a server, against one in the same process.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;

use ostler_server::auth::{Grant, Role};
use ostler_server::server::Server;
use ostler_server::settings::Settings;

use crate::{EXIT_DONE, EXIT_FAILED, EXIT_USAGE};

/// A server on ports that were free.
fn server(tokens: Vec<Grant>) -> (Server, String) {
    let any = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
    let settings =
        Settings { resp: None, http: any, tokens, threads: Some(1), ..Settings::default() };
    let server = Server::start(settings).unwrap();
    let url = format!("http://{}", server.http_address().unwrap());
    (server, url)
}

fn module(dir: &Path, name: &str) -> String {
    let path = dir.join(format!("{name}.wasm"));
    std::fs::write(&path, ostler::builtin(name).unwrap().module).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Runs `ostler policy ARGS --server URL`; the status and what was said, on either stream.
fn policy(url: &str, args: &[&str]) -> (u8, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let words = [&["ostler", "policy"], args, &["--server", url]].concat();
    let status = crate::run(words.iter().map(OsString::from), &mut out, &mut err);
    let (out, err) = (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap());
    assert!(out.is_empty() || err.is_empty(), "{out}{err}");
    (status, out + &err)
}

#[test]
fn a_policy_goes_up_takes_the_seat_and_leaves_again() {
    let dir = tempfile::tempdir().unwrap();
    let (server, url) = server(Vec::new());
    let ostler = |args: &[&str]| {
        let (status, said) = policy(&url, args);
        assert_eq!(status, EXIT_DONE, "{args:?}: {said}");
        said
    };
    let refused = |args: &[&str]| {
        let (status, said) = policy(&url, args);
        assert_eq!((status, said.lines().count()), (EXIT_FAILED, 1), "{args:?}: {said}");
        said
    };
    let (lru, s3fifo) = (module(dir.path(), "lru"), module(dir.path(), "s3fifo"));

    let said = refused(&["push", &lru]);
    assert!(said.contains("another name"), "the manifest's name is a built-in one: {said}");
    let said = ostler(&["push", &lru, "--name", "mine"]);
    let first = said.trim_start_matches("mine is ").trim_end().to_owned();
    assert!(first.starts_with("sha256:"), "{said}");
    assert!(ostler(&["push", &lru, "--name", "mine"]).contains("which it had already"));
    ostler(&["push", &s3fifo, "--name", "mine"]);

    let said = ostler(&["activate", "default", "mine", "--params", r#"{"small_percent": 20}"#]);
    assert!(said.starts_with("mine is in charge of default: 0 entries handed over in "), "{said}");
    assert!(refused(&["rm", "mine"]).contains("in charge"));
    ostler(&["activate", "default", "mine", "--version", &first]);
    assert_eq!(
        server.service().policies.in_charge("default").unwrap().previous.unwrap().policy,
        "mine"
    );
    let table = ostler(&["list"]);
    let line = |text: &str| table.lines().find(|line| line.contains(text)).unwrap_or_default();
    assert!(line(&first).contains("mine") && line(&first).contains("| default"), "{table}");
    assert!(line("for a rollback").contains("uploaded"), "{table}");
    assert!(line("sieve").contains("built in"), "{table}");

    ostler(&["rollback", "default"]);
    ostler(&["activate", "default", "lru"]);
    ostler(&["activate", "default", "sieve"]);
    assert!(ostler(&["rm", "mine", "--version", &first]).ends_with("is gone\n"));
    ostler(&["rm", "mine"]);
    assert!(!ostler(&["list"]).contains("uploaded"));

    assert!(refused(&["activate", "default", "mine"]).contains("no such policy"));
    assert!(refused(&["activate", "nowhere", "lru"]).contains("nowhere"));
    assert!(refused(&["activate", "default", "s3fifo", "--params", r#"{"a": 1}"#]).contains("`a`"));
    server.stop();
}

#[test]
fn a_refused_module_is_told_with_the_step() {
    let dir = tempfile::tempdir().unwrap();
    let (server, url) = server(Vec::new());
    let path = dir.path().join("empty.wasm");
    std::fs::write(&path, b"\0asm\x01\0\0\0").unwrap();
    let path = path.to_str().unwrap();
    let (status, said) = policy(&url, &["push", path, "--name", "mine"]);
    assert_eq!(status, EXIT_FAILED);
    assert!(said.starts_with("error: refused: manifest: "), "{said}");
    let (status, said) = policy(&url, &["push", path]);
    assert!(status == EXIT_FAILED && said.contains("no manifest"), "{said}");
    server.stop();
}

#[test]
fn a_token_is_needed_where_the_server_has_one() {
    let dir = tempfile::tempdir().unwrap();
    let grant = Grant { token: "secret".to_owned(), role: Role::Policy };
    let (server, url) = server(vec![grant]);
    let (status, said) = policy(&url, &["list"]);
    assert_eq!((status, said.lines().count()), (EXIT_FAILED, 1));
    assert!(said.contains("OSTLER_TOKEN or --token-file"), "{said}");
    let file = dir.path().join("token");
    std::fs::write(&file, "secret\n").unwrap();
    let (status, said) = policy(&url, &["list", "--token-file", file.to_str().unwrap()]);
    assert_eq!(status, EXIT_DONE, "{said}");
    server.stop();
}

#[test]
fn mistakes_of_arguments_are_found_before_anything_is_sent() {
    let nowhere = "http://127.0.0.1:1";
    let (status, said) = policy(nowhere, &["activate", "default", "lru", "--params", "[1]"]);
    assert!(status == EXIT_USAGE && said.contains("not a JSON object"), "{said}");
    let (status, said) = policy(nowhere, &["list"]);
    assert_eq!((status, said.lines().count()), (EXIT_FAILED, 1), "{said}");
    assert!(said.contains("is `ostler serve` running there?"), "{said}");
}
