//! Tracking as two clients see it: one that follows keys and one that writes them.

use super::*;
use crate::commands::tests::{run, session};
use crate::commands::{Session, execute};
use crate::service::Service;
use crate::settings::Settings;

fn service() -> Arc<Service> {
    Service::try_new(Settings::default(), 1).unwrap()
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
    assert!(service.tracking.is_stale());
    service.tracking.tidy();
    assert_eq!(service.tracking.sizes(), TrackingSizes::default());
    assert!(service.clients.is_empty() && !service.tracking.is_on());
}

#[test]
fn the_last_one_to_leave_takes_nothing_from_the_next_one_to_come() {
    let service = service();
    let (mut first, mut writer) = (session(&service), session(&service));
    run(&service, &mut first, "HELLO 3");
    run(&service, &mut first, "CLIENT TRACKING ON");
    run(&service, &mut first, "GET old");
    // What leaving does later must not reach what another client has read meanwhile: it does nothing
    // to the table.
    drop(first);
    assert_eq!(service.tracking.sizes().keys, 1);
    let mut next = session(&service);
    run(&service, &mut next, "HELLO 3");
    run(&service, &mut next, "CLIENT TRACKING ON");
    assert_eq!(service.tracking.sizes().keys, 0, "nobody is left who read it");
    run(&service, &mut next, "GET k");
    // Another one comes and goes by RESET and by leaving.
    let mut other = session(&service);
    run(&service, &mut other, "CLIENT TRACKING ON");
    run(&service, &mut other, "GET k2");
    run(&service, &mut other, "RESET");
    drop(other);
    service.tracking.tidy();
    assert_eq!(service.tracking.sizes().keys, 2);
    run(&service, &mut writer, "SET k 1");
    assert_eq!(run(&service, &mut next, ""), ">2 $10 invalidate *1 $1 k");
}

#[test]
fn clients_that_come_and_go_on_other_threads_lose_nobody_a_message() {
    let service = &Service::try_new(Settings::default(), 3).unwrap();
    // As the connections do it: what must be alone is so, what ends a session is not.
    let alone = |session: &mut Session, line: &str| {
        let _alone = service.lanes.alone();
        run(service, session, line)
    };
    let beside = |lane: usize, session: &mut Session, line: &str| {
        let _lane = service.lanes.shared(lane);
        run(service, session, line)
    };
    std::thread::scope(|scope| {
        let (done, is_done) = std::sync::mpsc::channel::<()>();
        let (alone, beside) = (&alone, &beside);
        scope.spawn(move || {
            while is_done.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
                let mut passing = session(service);
                alone(&mut passing, "CLIENT TRACKING ON");
                for number in 0..50 {
                    beside(0, &mut passing, &format!("GET p{number}"));
                }
            }
        });
        for round in 0..50 {
            let mut follower = session(service);
            beside(1, &mut follower, "HELLO 3");
            alone(&mut follower, "CLIENT TRACKING ON");
            let mut writer = session(service);
            for number in 0..20 {
                beside(1, &mut follower, &format!("GET k{number}"));
            }
            for number in 0..20 {
                beside(1, &mut writer, &format!("SET k{number} {round}"));
            }
            let told = beside(1, &mut follower, "");
            assert_eq!(told.matches("invalidate").count(), 20, "round {round}: {told}");
        }
        drop(done);
    });
}

#[test]
fn numbers_of_clients_that_have_gone_do_not_pile_up() {
    let service = service();
    let mut staying = session(&service);
    run(&service, &mut staying, "CLIENT TRACKING ON");
    run(&service, &mut staying, "GET hot");
    for _ in 0..1_000 {
        let mut passing = session(&service);
        run(&service, &mut passing, "CLIENT TRACKING ON");
        run(&service, &mut passing, "GET hot");
    }
    let items = service.tracking.sizes().items;
    assert!(items <= 8, "{items} readers are remembered, and there is one");
}

#[test]
fn the_table_is_bounded_by_bytes_too() {
    let tracking = Tracking::default();
    let key = |number: usize| {
        let mut key = vec![b'k'; 1 << 20];
        key[..8].copy_from_slice(&number.to_be_bytes());
        key
    };
    for number in 0..300 {
        tracking.follow(1, &key(number));
    }
    assert_eq!(tracking.sizes().keys, KEYS_BYTES_MAX >> 20);
    assert_eq!(tracking.keys_bytes.load(Relaxed), KEYS_BYTES_MAX);
}

#[test]
fn what_others_wrote_is_told_even_if_oneself_wrote_it_last() {
    let service = service();
    let (mut follower, mut writer) = (session(&service), session(&service));
    run(&service, &mut follower, "HELLO 3");
    run(&service, &mut follower, "CLIENT TRACKING ON BCAST NOLOOP");
    // Both write within a batch: nothing is told in between.
    for who in [&mut writer, &mut follower] {
        execute(&service, who, &[b"SET", b"k", b"1"], &mut Vec::new());
    }
    assert_eq!(run(&service, &mut follower, ""), ">2 $10 invalidate *1 $1 k");
    run(&service, &mut follower, "SET k 2");
    assert_eq!(run(&service, &mut follower, ""), "");
}

#[test]
fn prefixes_must_not_overlap_and_are_not_too_many() {
    let overlap = |one: &str, what: &str, other: &str| {
        format!(
            "-ERR Prefix '{one}' overlaps with {what} prefix '{other}'. Prefixes for a single client \
             must not overlap."
        )
    };
    for (prefixes, expected) in [
        ("FOO FOOBAR", overlap("FOO", "another provided", "FOOBAR")),
        ("FOOBAR FOO", overlap("FOOBAR", "another provided", "FOO")),
        ("a b c b", overlap("b", "another provided", "b")),
        ("z knownX", overlap("knownX", "an existing", "known")),
        ("kno", overlap("kno", "an existing", "known")),
        ("b bb known", overlap("b", "another provided", "bb")),
        ("a b c", "+OK".to_owned()),
    ] {
        let service = service();
        let mut follower = session(&service);
        run(&service, &mut follower, "CLIENT TRACKING ON BCAST PREFIX known");
        let words: Vec<String> =
            prefixes.split(' ').map(|prefix| format!("PREFIX {prefix}")).collect();
        let line = format!("CLIENT TRACKING ON BCAST {}", words.join(" "));
        assert_eq!(run(&service, &mut follower, &line), expected, "{prefixes}");
    }
    for (count, expected) in [
        (1_000, "+OK"),
        (1_001, "-ERR too many prefixes for a single client"),
        (100_000, "-ERR too many prefixes for a single client"),
    ] {
        let service = service();
        let mut follower = session(&service);
        let words: Vec<String> = (0..count).map(|number| format!("PREFIX p{number:06}")).collect();
        let line = format!("CLIENT TRACKING ON BCAST {}", words.join(" "));
        assert_eq!(run(&service, &mut follower, &line), expected);
        let again = run(&service, &mut follower, "CLIENT TRACKING ON BCAST PREFIX q");
        assert_eq!(again == "+OK", count > 1_000);
    }
}

#[test]
fn the_prefixes_of_a_name_are_found() {
    let all = ["", "a", "ab", "abc", "abd", "ac", "b", "ba", "bab", "c\u{7f}"];
    let names = ["", "a", "ab", "abce", "abcd", "acb", "b", "bb", "babab", "c", "d", "aa", "abb"];
    for chosen in 0..1u32 << all.len() {
        let mut prefixes = BTreeMap::new();
        for (_, prefix) in all.iter().enumerate().filter(|(bit, _)| chosen & (1 << bit) != 0) {
            let broadcast = Broadcast::default();
            broadcast.untold.lock().insert(prefix.as_bytes().into(), 0);
            prefixes.insert(Box::from(prefix.as_bytes()), broadcast);
        }
        for name in names {
            let found: Vec<Box<[u8]>> = starts_of(&prefixes, name.as_bytes())
                .filter_map(|broadcast| broadcast.untold.lock().keys().next().cloned())
                .collect();
            let starts = prefixes.keys().rev().filter(|prefix| name.as_bytes().starts_with(prefix));
            let expected: Vec<Box<[u8]>> = starts.cloned().collect();
            assert_eq!(found, expected, "{name} {chosen}");
        }
    }
}
