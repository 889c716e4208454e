//! `SWAPDB` as clients see it that watch, track and listen.

use std::sync::Arc;

use crate::commands::tests::{run, session};
use crate::keyspace::Key;
use crate::service::Service;
use crate::settings::{CacheSettings, Settings};

/// Checks the replies to lines that one client sends.
fn check(service: &Arc<Service>, lines: &[(&str, &str)]) {
    let mut session = session(service);
    for &(line, expected) in lines {
        assert_eq!(run(service, &mut session, line), expected, "{line}");
    }
}

/// Two caches: `a` with the databases 0 and 1, `b` with 2.
fn two_caches() -> Arc<Service> {
    let cache = |name: &str, databases: &[u8]| CacheSettings {
        name: name.to_owned(),
        databases: databases.to_vec(),
        ..CacheSettings::default()
    };
    let caches = vec![cache("a", &[0, 1]), cache("b", &[2])];
    Service::try_new(Settings { caches, ..Settings::default() }, 1).unwrap()
}

#[test]
fn two_databases_trade_places() {
    for other in ["1", "2"] {
        let select = format!("SELECT {other}");
        let swap = format!("SWAPDB 0 {other}");
        let move_back = format!("MOVE y {other}");
        let copy = format!("COPY x z DB {other}");
        let lines = [
            ("SET x zero", "+OK"),
            ("SET y zero", "+OK"),
            (&select, "+OK"),
            ("SET x other EX 1000", "+OK"),
            ("SELECT 0", "+OK"),
            (&swap, "+OK"),
            ("GET x", "$5 other"),
            ("TTL x", ":1000"),
            ("DBSIZE", ":1"),
            ("KEYS *", "*1 $1 x"),
            ("SCAN 0", "*2 $1 0 *1 $1 x"),
            ("RANDOMKEY", "$1 x"),
            (&copy, ":1"),
            (&select, "+OK"),
            ("MGET x y z", "*3 $4 zero $4 zero $5 other"),
            ("DBSIZE", ":3"),
            ("SELECT 0", "+OK"),
            ("SET y new", "+OK"),
            (&move_back, ":0"),
            ("FLUSHDB", "+OK"),
            ("DBSIZE", ":0"),
            (&select, "+OK"),
            ("DBSIZE", ":3"),
            ("MULTI", "+OK"),
            (&swap, "+QUEUED"),
            ("DBSIZE", "+QUEUED"),
            ("EXEC", "*2 +OK :0"),
        ];
        let lines = lines.map(|(line, reply): (&str, &str)| (line, reply));
        check(&two_caches(), &lines);
    }
}

#[test]
fn what_cannot_be_swapped_is_refused() {
    check(
        &two_caches(),
        &[
            ("SWAPDB 0 x", "-ERR invalid second DB index"),
            ("SWAPDB x 0", "-ERR invalid first DB index"),
            ("SWAPDB 0 16", "-ERR DB index is out of range"),
            ("SWAPDB -1 0", "-ERR DB index is out of range"),
            // No cache has it.
            ("SWAPDB 0 3", "-ERR DB index is out of range"),
            ("SWAPDB 1 1", "+OK"),
            ("SWAPDB 0", "-ERR wrong number of arguments for 'swapdb' command"),
        ],
    );
}

#[test]
fn watched_keys_of_both_are_touched() {
    // What is done before and after WATCH x in database 0, and whether EXEC runs.
    for (before, after, runs) in [
        (&["SET x 1"][..], &["SWAPDB 0 1"][..], false),
        (&["SELECT 1", "SET x 1", "SELECT 0"], &["SWAPDB 0 1"], false),
        (&["SET x 1"], &["SWAPDB 0 1", "SWAPDB 1 0"], false),
        (&["SET y 1"], &["SWAPDB 0 1"], true),
        (&["SET x 1"], &["SWAPDB 1 2"], true),
        (&["SET x 1"], &["SELECT 1", "SET x 2", "SELECT 0"], true),
    ] {
        let service = two_caches();
        let mut session = session(&service);
        for line in before.iter().chain(&["WATCH x"]).chain(after).chain(&["MULTI", "PING"]) {
            let reply = run(&service, &mut session, line);
            assert!(reply.starts_with('+'), "{line}: {reply}");
        }
        let expected = if runs { "*1 +PONG" } else { "*-1" };
        assert_eq!(run(&service, &mut session, "EXEC"), expected, "{before:?} {after:?}");
    }
}

#[test]
fn those_who_track_are_told_that_everything_changed() {
    let service = two_caches();
    let (mut follower, mut writer) = (session(&service), session(&service));
    for line in ["SET x 1", "SELECT 1", "SET x 2"] {
        run(&service, &mut writer, line);
    }
    for line in ["HELLO 3", "CLIENT TRACKING on", "GET x"] {
        run(&service, &mut follower, line);
    }
    assert_eq!(run(&service, &mut writer, "SWAPDB 0 1"), "+OK");
    assert_eq!(run(&service, &mut follower, "GET x"), "$1 2 >2 $10 invalidate _");
    // It follows what it has read since, under its number of now: that is 0 for both.
    for line in ["SELECT 0", "SET x 3"] {
        run(&service, &mut writer, line);
    }
    assert_eq!(run(&service, &mut follower, "PING"), "+PONG >2 $10 invalidate *1 $1 x");
}

#[test]
fn events_and_figures_have_the_number_of_now() {
    let service = two_caches();
    let (mut listener, mut writer) = (session(&service), session(&service));
    run(&service, &mut listener, "PSUBSCRIBE __keyevent*");
    for line in ["SET x 1", "SWAPDB 0 2", "CONFIG SET notify-keyspace-events EAmn", "GET x"] {
        run(&service, &mut writer, line);
    }
    let mut heard = Vec::new();
    listener.client.collect(&mut heard);
    assert!(String::from_utf8_lossy(&heard).contains("__keyevent@0__:keymiss"));
    // What the engine itself tells of lives where database 0 did at the start.
    assert!(!service.caches[0].evict_ending(&Key::new(0, b"x")));
    run(&service, &mut writer, "SELECT 2");
    run(&service, &mut writer, "EXPIRE x 1000");
    assert!(service.caches[0].evict_ending(&Key::new(0, b"x")));
    heard.clear();
    listener.client.collect(&mut heard);
    assert!(String::from_utf8_lossy(&heard).contains("__keyevent@2__:evicted"));
    run(&service, &mut writer, "SET y 1");
    let said = run(&service, &mut writer, "INFO keyspace");
    assert!(said.contains("db2:keys=1,") && !said.contains("db0"), "{said}");
    assert_eq!((service.databases_of(0), service.databases_of(1)), (vec![1, 2], vec![0]));
}
