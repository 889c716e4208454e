//! Notifications as a client hears them that listens to every channel while another writes.

use std::sync::Arc;

use super::*;
use crate::commands::Session;
use crate::commands::tests::{run, session};
use crate::service::Service;
use crate::settings::Settings;

/// The events that `line` brings about in their order, as `event key` or `__keyspace@0__:key event`.
fn heard(service: &Arc<Service>, [listener, writer]: [&mut Session; 2], line: &str) -> String {
    let reply = run(service, writer, line);
    assert!(!reply.starts_with('-'), "{line}: {reply}");
    let mut out = Vec::new();
    listener.client.collect(&mut out);
    let text = String::from_utf8_lossy(&out).into_owned();
    let words: Vec<&str> = text.lines().filter(|line| !line.starts_with(['*', '$'])).collect();
    let events = words.chunks(3).map(|message| format!("{} {}", message[1], message[2]));
    events.collect::<Vec<_>>().join(", ").replace("__keyevent@0__:", "")
}

/// Checks what is heard of each line where `letters` say what is published.
fn check(letters: &str, lines: &[(&str, &str)]) {
    let service = Service::try_new(Settings::default(), 1).unwrap();
    let (mut listener, mut writer) = (session(&service), session(&service));
    run(&service, &mut listener, "PSUBSCRIBE *");
    let set = format!("CONFIG SET notify-keyspace-events {letters}");
    assert_eq!(run(&service, &mut writer, &set), "+OK");
    for &(line, expected) in lines {
        let events = heard(&service, [&mut listener, &mut writer], line);
        assert_eq!(events, expected, "{letters}: {line}");
    }
}

#[test]
fn every_write_has_its_event() {
    check(
        "EA",
        &[
            ("SET a 1", "set a"),
            ("SET a 1 EX 100", "set a, expire a"),
            ("SET a 1 XX KEEPTTL", "set a"),
            ("SET a 1 NX", ""),
            ("SET c 1 PXAT 1", "set c, expire c, expired c"),
            ("SETEX a 100 1", "set a, expire a"),
            ("SETNX a 1", ""),
            ("SETNX b 1", "set b"),
            ("GETSET a 5", "set a"),
            ("MSET a 1 b 2", "set a, set b"),
            ("MSETNX a 1 c 2", ""),
            ("APPEND a 0", "append a"),
            ("SETRANGE a 0 2", "setrange a"),
            ("SETBIT a 7 1", "setbit a"),
            ("SETBIT a 7 1", ""),
            ("SET a 1", "set a"),
            ("INCR a", "incrby a"),
            ("DECRBY a 3", "incrby a"),
            ("INCRBYFLOAT a 1.5", "incrbyfloat a"),
            ("EXPIRE a 100", "expire a"),
            ("EXPIRE a 100 NX", ""),
            ("GETEX a", ""),
            ("GETEX a PERSIST", "persist a"),
            ("GETEX a PERSIST", ""),
            ("GETEX a EX 100", "expire a"),
            ("PERSIST a", "persist a"),
            ("PERSIST a", ""),
            ("COPY a d", "copy_to d"),
            ("RENAME d e", "rename_from d, rename_to e"),
            ("MOVE e 3", "move_from e, __keyevent@3__:move_to e"),
            ("EXPIRE a -1", "del a"),
            ("DEL a b", "del b"),
            ("SET a 1", "set a"),
            ("GETDEL a", "del a"),
            ("GETDEL a", ""),
            ("FLUSHALL", ""),
        ],
    );
}

#[test]
fn misses_and_new_keys_are_told_on_demand() {
    check(
        "Emn",
        &[
            ("GET a", "keymiss a"),
            ("EXISTS a b", "keymiss a, keymiss b"),
            ("TTL a", "keymiss a"),
            ("SET a 1", "new a"),
            ("SET a 2", ""),
            ("GET a", ""),
            ("INCR n", "new n"),
            ("GETSET m 1", "keymiss m, new m"),
        ],
    );
}

#[test]
fn the_letters_say_where_and_what() {
    check("Kg", &[("SET a 1", ""), ("DEL a", "__keyspace@0__:a del")]);
    check("KE$", &[("SET a 1", "__keyspace@0__:a set, set a"), ("DEL a", "")]);
    check("g", &[("SET a 1", ""), ("DEL a", "")]);
    check("KEl", &[("SET a 1", ""), ("DEL a", "")]);
}

#[test]
fn letters_are_written_as_redis_writes_them() {
    let cases = [
        ("", ""),
        ("gKE", "gKE"),
        ("$lshzxeKE", "$lshzxeKE"),
        ("KA", "AK"),
        ("EA", "AE"),
        ("mKEA", "AKEm"),
        ("nA", "An"),
        ("g$lshzxetd", "A"),
        ("dtm", "tdm"),
    ];
    let notifications = Notifications::default();
    for (letters, written) in cases {
        assert!(notifications.set_letters(letters), "{letters}");
        assert_eq!(notifications.letters(), written, "{letters}");
    }
    assert!(!notifications.set_letters("Kq"));
    assert_eq!(notifications.letters(), "tdm");
}
