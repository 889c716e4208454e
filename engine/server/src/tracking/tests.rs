//! Tracking as two clients see it: one that follows keys and one that writes them.

use std::sync::Arc;

use crate::clients::Peer;
use crate::commands::{Session, execute, settle};
use crate::service::Service;
use crate::settings::Settings;

fn service() -> Arc<Service> {
    Service::try_new(Settings::default(), 1).unwrap()
}

fn session(service: &Arc<Service>) -> Session {
    let client = service.clients.admit(Peer::Unix, "unix".to_owned(), 0).unwrap();
    Session::new(client, service)
}

/// The replies to `line`, then what was posted to the session, its line ends as spaces.
fn run(service: &Arc<Service>, session: &mut Session, line: &str) -> String {
    let words: Vec<&[u8]> = line.split_whitespace().map(str::as_bytes).collect();
    let mut out = Vec::new();
    if !words.is_empty() {
        execute(service, session, &words, &mut out);
    }
    settle(service, session);
    session.client.collect(&mut out);
    String::from_utf8_lossy(&out).replace("\r\n", " ").trim_end().to_owned()
}

/// Runs lines of a follower (`f`) and a writer (`w`), and checks the replies of both.
fn check(lines: &[(&str, &str)]) {
    let service = service();
    let (mut follower, mut writer) = (session(&service), session(&service));
    run(&service, &mut follower, "HELLO 3");
    for &(line, expected) in lines {
        let (who, line) = line.split_at(1);
        let session = if who == "f" { &mut follower } else { &mut writer };
        assert_eq!(run(&service, session, line), expected, "{who}{line}");
    }
}

#[test]
fn a_key_that_was_read_is_told_once() {
    check(&[
        ("f CLIENT TRACKING ON", "+OK"),
        ("w SET a 1", "+OK"),
        ("f", ""),
        ("f GET a", "$1 1"),
        ("w SET a 2", "+OK"),
        ("f", ">2 $10 invalidate *1 $1 a"),
        ("w SET a 3", "+OK"),
        ("f", ""),
        ("f GET a", "$1 3"),
        ("w DEL a", ":1"),
        ("f", ">2 $10 invalidate *1 $1 a"),
        ("f CLIENT TRACKING OFF", "+OK"),
        ("f GET a", "_"),
        ("w SET a 1", "+OK"),
        ("f", ""),
    ]);
}

#[test]
fn options_choose_which_reads_count() {
    check(&[
        ("f CLIENT TRACKING ON OPTIN", "+OK"),
        ("f GET a", "_"),
        ("w SET a 1", "+OK"),
        ("f", ""),
        ("f CLIENT CACHING YES", "+OK"),
        ("f GET a", "$1 1"),
        ("f GET b", "_"),
        ("w MSET a 2 b 2", "+OK"),
        ("f", ">2 $10 invalidate *1 $1 a"),
        ("f CLIENT TRACKING OFF", "+OK"),
        ("f CLIENT TRACKING ON NOLOOP", "+OK"),
        ("f GET a", "$1 2"),
        ("f SET a 3", "+OK"),
    ]);
}

#[test]
fn broadcasts_tell_of_prefixes_and_flushes_of_all() {
    check(&[
        ("f CLIENT TRACKING ON BCAST PREFIX ab PREFIX c", "+OK"),
        (
            "f CLIENT TRACKING ON BCAST PREFIX a",
            "-ERR Prefix 'a' overlaps with an existing prefix 'ab'. Prefixes for a single client \
             must not overlap.",
        ),
        ("w SET abc 1", "+OK"),
        ("f", ">2 $10 invalidate *1 $3 abc"),
        ("w SET b 1", "+OK"),
        ("f", ""),
        ("w MSET c2 1 ab2 1 c1 1", "+OK"),
        ("f", ">2 $10 invalidate *1 $3 ab2 >2 $10 invalidate *2 $2 c1 $2 c2"),
        ("w FLUSHALL", "+OK"),
        ("f", ">2 $10 invalidate _"),
    ]);
}

#[test]
fn the_table_is_bounded() {
    let service = service();
    let mut follower = session(&service);
    run(&service, &mut follower, "HELLO 3");
    run(&service, &mut follower, "CLIENT TRACKING ON");
    service.tracking.set_keys_max(2);
    for key in ["a", "b", "c"] {
        run(&service, &mut follower, &format!("GET {key}"));
    }
    assert_eq!(service.tracking.sizes().keys, 2);
    drop(follower);
    assert_eq!(service.tracking.sizes(), crate::tracking::TrackingSizes::default());
    assert!(service.clients.is_empty());
}
