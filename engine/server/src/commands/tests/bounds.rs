//! What one client can ask for is bounded, whatever it asks.

use super::*;
use crate::clients::ClientId;
use crate::commands::Flow;
use crate::keyspace::{End, KEY_LEN_MAX, Key, Value};
use crate::settings::{CacheSettings, Limits};

/// Bytes that a client may leave unread in these tests.
const OUTPUT_BYTES_MAX: usize = 100_000;
const VALUE_BYTES: usize = 10_000;

fn bench() -> Bench {
    let cache = CacheSettings { policy: "native:s3fifo".to_owned(), ..CacheSettings::default() };
    let limits = Limits { output_bytes_max: OUTPUT_BYTES_MAX, ..Limits::default() };
    let mut bench = Bench::with(Settings { caches: vec![cache], limits, ..Settings::default() });
    assert_eq!(bench.reply(&[b"SET", b"big", &[b'x'; VALUE_BYTES]]), b"+OK\r\n");
    bench
}

#[test]
fn replies_are_bounded_where_requests_are_small() {
    let mget = "MGET ".to_owned() + &"big ".repeat(1_000);
    let list = "CLIENT LIST ID ".to_owned() + &"1 ".repeat(10_000);
    let docs = "COMMAND DOCS ".to_owned() + &"get ".repeat(10_000);
    let info = "COMMAND INFO ".to_owned() + &"get ".repeat(10_000);
    for line in [mget, list, docs, info] {
        let mut bench = bench();
        let words: Vec<&[u8]> = line.split_whitespace().map(str::as_bytes).collect();
        let reply = bench.reply(&words);
        let name = &line[..12];
        assert!(reply.len() <= OUTPUT_BYTES_MAX + 2 * VALUE_BYTES, "{name}: {}", reply.len());
        assert!(bench.session.client.is_overrun(), "{name}");
        assert!(bench.session.client.is_closing(), "{name}");
    }
    let mut bench = bench();
    bench.line("MULTI");
    for _ in 0..100 {
        assert_eq!(bench.line("GET big"), "+QUEUED");
    }
    let reply = bench.reply(&[b"EXEC"]);
    assert!(reply.len() <= OUTPUT_BYTES_MAX + 2 * VALUE_BYTES, "{}", reply.len());
    assert!(bench.session.client.is_overrun());
}

#[test]
fn what_fits_is_answered_whole() {
    let mut bench = bench();
    let line = "MGET ".to_owned() + &"big ".repeat(9);
    assert_eq!(bench.line(&line).matches("$10000").count(), 9);
    // One value may be longer than all that.
    bench.reply(&[b"SET", b"huge", &[b'x'; 2 * OUTPUT_BYTES_MAX]]);
    assert!(bench.line("GET huge").len() > 2 * OUTPUT_BYTES_MAX);
    assert!(!bench.session.client.is_overrun());
}

#[test]
fn keys_names_and_patterns_have_a_longest() {
    let mut bench = bench();
    let (key, too_long) = (vec![b'k'; KEY_LEN_MAX], vec![b'k'; KEY_LEN_MAX + 1]);
    let refused = b"-ERR the key is longer than 1048576 bytes\r\n";
    assert_eq!(bench.reply(&[b"SET", &key, b"1"]), b"+OK\r\n");
    assert_eq!(bench.reply(&[b"GET", &key]), b"$1\r\n1\r\n");
    assert!(bench.session.scratch.capacity() > KEY_LEN_MAX);
    settle(&bench.service, &mut bench.session);
    assert!(bench.session.scratch.capacity() <= 1024);
    assert_eq!(bench.reply(&[b"GET", &too_long]), refused);
    assert_eq!(bench.reply(&[b"SET", &too_long, b"1"]), refused);
    assert_eq!(bench.reply(&[b"MGET", b"a", &too_long]), refused);
    assert_eq!(bench.reply(&[b"RENAME", b"a", &too_long]), refused);
    assert_eq!(bench.reply(&[b"WATCH", b"a", &too_long]), refused);
    assert_eq!(bench.reply(&[b"OBJECT", b"ENCODING", &too_long]), refused);
    let refused = b"-ERR Client names cannot be longer than 1024 bytes.\r\n";
    let (name, too_long) = ([b'n'; 1024], [b'n'; 1025]);
    assert_eq!(bench.reply(&[b"CLIENT", b"SETNAME", &name]), b"+OK\r\n");
    assert_eq!(bench.reply(&[b"CLIENT", b"SETNAME", &too_long]), refused);
    assert_eq!(bench.reply(&[b"HELLO", b"3", b"SETNAME", &too_long]), refused);
    assert_eq!(bench.reply(&[b"CLIENT", b"SETINFO", b"LIB-NAME", &too_long]), refused);
    let refused = b"-ERR the pattern is longer than 1024 bytes\r\n";
    assert_eq!(bench.reply(&[b"KEYS", &name]), b"*0\r\n");
    assert_eq!(bench.reply(&[b"KEYS", &too_long]), refused);
    assert_eq!(bench.reply(&[b"SCAN", b"0", b"MATCH", &too_long]), refused);
    assert_eq!(bench.reply(&[b"PSUBSCRIBE", b"a", &too_long]), refused);
    assert_eq!(bench.reply(&[b"PUBSUB", b"CHANNELS", &too_long]), refused);
    assert_eq!(bench.reply(&[b"COMMAND", b"LIST", b"FILTERBY", b"PATTERN", &too_long]), refused);
    assert!(!bench.session.subscriptions.any());
    let many: Vec<String> = (0..1_001).map(|number| format!("p{number}")).collect();
    let mut words: Vec<&[u8]> = vec![b"PSUBSCRIBE"];
    words.extend(many.iter().map(|pattern| pattern.as_bytes()));
    assert_eq!(bench.reply(&words), b"-ERR too many patterns for a single client\r\n");
    bench.reply(&words[..1_001]);
    assert_eq!(bench.session.subscriptions.patterns(), 1_000);
}

#[test]
fn a_step_of_a_scan_ends_however_many_keys_it_is_to_look_for() {
    let cache = CacheSettings { policy: "native:s3fifo".to_owned(), ..CacheSettings::default() };
    let mut bench = Bench::with(Settings { caches: vec![cache], ..Settings::default() });
    for number in 0..100_000 {
        bench.reply(&[b"SET", format!("key:{number}").as_bytes(), b"1"]);
    }
    let (mut cursor, mut steps, mut seen) = (b"0".to_vec(), 0, 0);
    loop {
        let reply = bench.reply(&[b"SCAN", &cursor, b"COUNT", b"9223372036854775807"]);
        let reply = String::from_utf8_lossy(&reply).into_owned();
        let mut lines = reply.split("\r\n").skip(2);
        cursor = lines.next().expect("a cursor").as_bytes().to_vec();
        let step = reply.matches("key:").count();
        // Slots are looked at by groups, which may go somewhat beyond.
        assert!(step < 70_000, "{step}");
        (steps, seen) = (steps + 1, seen + step);
        if cursor == b"0" {
            break;
        }
        assert!(steps < 100);
    }
    assert!(steps > 1);
    assert_eq!(seen, 100_000);
    // Names of many bytes end it sooner.
    for number in 0..20u8 {
        bench.reply(&[b"SET", &[&[number][..], &[b'x'; 1_000_000]].concat(), b"1"]);
    }
    let reply = bench.reply(&[b"SCAN", b"0", b"COUNT", b"100000000"]);
    assert!(reply.len() < 20_000_000, "{}", reply.len());
}

#[test]
fn only_so_many_keys_are_watched() {
    let mut bench = bench();
    let names: Vec<String> = (0..10_001).map(|number| format!("w{number}")).collect();
    let mut words: Vec<&[u8]> = vec![b"WATCH"];
    words.extend(names.iter().map(|name| name.as_bytes()));
    // Twice the same keys are not more.
    assert_eq!(bench.reply(&words[..10_001]), b"+OK\r\n");
    assert_eq!(bench.reply(&words[..10_001]), b"+OK\r\n");
    assert_eq!(bench.session.transaction.watched(), 10_000);
    assert_eq!(bench.reply(&words), b"-ERR too many keys are watched\r\n");
    assert_eq!(bench.line("UNWATCH"), "+OK");
    let key = vec![b'k'; KEY_LEN_MAX - 10];
    for number in 0..3u8 {
        assert_eq!(bench.reply(&[b"WATCH", &[&[number][..], &key].concat()]), b"+OK\r\n");
    }
    let long = [&[3][..], &key, &[0; 9]].concat();
    assert_eq!(bench.reply(&[b"WATCH", &long]), b"+OK\r\n");
    assert_eq!(bench.reply(&[b"WATCH", &key]), b"-ERR too many keys are watched\r\n");
    drop(bench.session);
    assert!(!bench.service.tracking.is_on(), "nobody watches any more");
}

#[test]
fn what_came_and_went_is_a_change_of_what_is_watched() {
    for (lines, reply) in [
        (&["SET k 1", "DEL k"][..], "*-1"),
        (&["SET k 1 PXAT 1"], "*-1"),
        (&["SETEX k 10 1", "PEXPIREAT k 1"], "*-1"),
        (&["APPEND k 1", "GETDEL k"], "*-1"),
        (&["SET k 1", "FLUSHALL"], "*-1"),
        (&["SET other 1", "DEL other"], "*1 +PONG"),
        (&["DEL k", "GET k", "EXPIRE k 10"], "*1 +PONG"),
        (&[], "*1 +PONG"),
    ] {
        let mut bench = bench();
        let client = bench.service.clients.admit(Peer::Unix, "unix".to_owned(), 0).unwrap();
        let mut other = Session::new(client, &bench.service);
        assert_eq!(bench.line("WATCH k"), "+OK");
        for line in lines {
            let words: Vec<&[u8]> = line.split_whitespace().map(str::as_bytes).collect();
            execute(&bench.service, &mut other, &words, &mut Vec::new());
        }
        bench.line("MULTI");
        bench.line("PING");
        assert_eq!(bench.line("EXEC"), reply, "{lines:?}");
        assert!(!bench.service.tracking.is_on());
    }
}

#[test]
fn messages_of_a_transaction_follow_its_replies() {
    let mut bench = bench();
    for line in ["MULTI", "SUBSCRIBE c", "PUBLISH c x", "UNSUBSCRIBE c"] {
        bench.line(line);
    }
    let reply = bench.line("EXEC");
    let expected = "*3 *3 $9 subscribe $1 c :1 :1 *3 $11 unsubscribe $1 c :0";
    assert_eq!(reply, expected);
    let mut out = Vec::new();
    bench.session.client.collect(&mut out);
    assert_eq!(out, b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nx\r\n");
    // Outside, what was sent before is read before.
    bench.line("SUBSCRIBE c");
    bench.service.channels.publish(b"c", b"y");
    let reply = bench.line("UNSUBSCRIBE c");
    assert_eq!(reply, "*3 $7 message $1 c $1 y *3 $11 unsubscribe $1 c :0");
}

/// A client that hears `bytes` posted to it.
fn posted(service: &Arc<Service>, bytes: usize) -> Session {
    let client = service.clients.admit(Peer::Unix, "unix".to_owned(), 0).unwrap();
    client.post(&vec![b'x'; bytes]);
    Session::new(client, service)
}

#[test]
fn what_waits_for_all_clients_together_is_bounded() {
    let limits = Limits { output_bytes_max: 1_000, bulk_bytes_max: 1_000, ..Limits::default() };
    let Bench { service, session } = Bench::with(Settings { limits, ..Settings::default() });
    let held = || service.clients.held_bytes();
    let few: Vec<Session> = (0..7).map(|number| posted(&service, 900 + number)).collect();
    let largest: ClientId = few[6].client.id;
    session.client.hold(1_600);
    let is_cut = |id| service.clients.get(id).is_some_and(|client| client.is_overrun());
    assert_eq!(held(), 7 * 900 + 21 + 1_600);
    assert!(!is_cut(session.client.id) && !is_cut(largest));
    // Eight thousand are too many: the one goes that has most, whoever sent the last straw.
    let straw = posted(&service, 100);
    assert!(is_cut(session.client.id) && session.client.is_closing());
    assert!(!is_cut(largest) && !is_cut(straw.client.id));
    assert_eq!(held(), 7 * 900 + 21 + 100);
    // What its connection says from then on is not counted.
    session.client.hold(5_000);
    session.client.post(b"more");
    assert_eq!(held(), 7 * 900 + 21 + 100);
    few[0].client.collect(&mut Vec::new());
    assert_eq!(held(), 6 * 900 + 21 + 100);
    drop((few, straw, session));
    assert_eq!(held(), 0);
}

#[test]
fn a_walk_over_all_keys_gives_others_their_turn() {
    const KEYS: usize = 20_000;
    let mut bench = Bench::new();
    let (keyspace, home) = (Arc::clone(&bench.service.caches[0]), 0);
    let key = |number: usize| Key::new(home, format!("key:{number}").as_bytes());
    let write = |number| {
        assert!(keyspace.set(key(number), Value::new(b"v"), End::Never, 0).is_ok());
    };
    (0..KEYS).for_each(write);
    let mut walk = |others: &dyn Fn(usize)| {
        let (mut out, mut turns) = (Vec::new(), 1);
        while execute(&bench.service, &mut bench.session, &[b"KEYS", b"key:*"], &mut out)
            == Flow::Again
        {
            assert!(out.is_empty(), "the reply comes whole");
            others(turns);
            turns += 1;
        }
        let reply = String::from_utf8(out).unwrap();
        let mut names: Vec<String> =
            reply.lines().filter(|line| line.starts_with("key:")).map(str::to_owned).collect();
        assert!(reply.starts_with(&format!("*{}\r\n", names.len())));
        names.sort_unstable();
        let shown = names.len();
        names.dedup();
        assert_eq!(names.len(), shown, "no key is shown twice");
        (shown, turns)
    };
    let (shown, turns) = walk(&|_| {});
    assert_eq!(shown, KEYS);
    assert!(turns > 3, "{turns}");
    // What comes again while it walks may lie before or behind it.
    let (shown, _) = walk(&|turn| {
        (0..KEYS).filter(|number| number % 7 == turn % 7).for_each(|number| {
            assert!(keyspace.remove(&key(number), 0));
            write(number);
        });
    });
    assert!((KEYS / 7..=KEYS).contains(&shown), "{shown}");
    bench.line("MULTI");
    bench.line("KEYS key:*");
    assert!(bench.line("EXEC").starts_with("*1 *20000 "), "a transaction has no turns");
    let calls = bench.line("INFO commandstats");
    assert!(calls.contains("cmdstat_keys:calls=3,"), "{calls}");
}
