//! What callers can do who may not do everything: every command there is, tried with each role.

use super::*;
use crate::auth::{Grant, Role};
use crate::channels::Kind;
use crate::clients::Client;
use crate::commands::{Flag, Row, rows};
use crate::keyspace::Key;
use crate::settings::CacheSettings;

/// Names that commands are tried with; entries, channels and values are called so, too.
const NAMES: [&str; 3] = ["k", "1", "0"];

/// A server that knows tokens, with an owner who listens to everything.
struct Guarded {
    service: Arc<Service>,
    owner: Session,
}

impl Guarded {
    fn new() -> Self {
        let grant = |token: &str, role| Grant { token: token.to_owned(), role };
        let cache =
            CacheSettings { policy: "native:s3fifo".to_owned(), ..CacheSettings::default() };
        let settings = Settings {
            tokens: vec![grant("owner", Role::Admin)],
            caches: vec![cache],
            ..Settings::default()
        };
        let service = Service::try_new(settings, 1).unwrap();
        let mut guarded = Self { owner: session(&service, Some(Role::Admin)), service };
        guarded.owner.protocol = Protocol::Resp3;
        for name in NAMES {
            run(&guarded.service, &mut guarded.owner, &["SET", name, name]);
        }
        for kind in [Kind::Channel, Kind::Shard, Kind::Pattern] {
            for name in ["k", "1", "0", "*"] {
                let Session { client, subscriptions, .. } = &mut guarded.owner;
                guarded.service.channels.subscribe(kind, name.as_bytes(), client, subscriptions);
            }
        }
        guarded.owner.publish_profile();
        guarded
    }

    /// All that a caller without rights must not change.
    fn state(&mut self) -> Vec<String> {
        let service = &self.service;
        let mut state: Vec<String> = Vec::new();
        for database in 0..crate::keyspace::DATABASES {
            let home = service.databases.home(database);
            state.push(format!("{database} in {home}: {}", service.caches[0].size(home)));
            for name in NAMES {
                let entry = service.caches[0].entry(Key::new(home, name.as_bytes()).as_bytes());
                let entry = entry.map(|entry| (entry.value.to_vec(), entry.version));
                state.push(format!("{entry:?}"));
            }
        }
        state.push(format!("{:?}", service.pause.extent()));
        state.push(format!("{:?}", service.room.keeper()));
        state.push(format!("{:?}", service.caches[0].capacity_bytes()));
        let owner: &Client = &self.owner.client;
        let (unread, closing) = (owner.unread_bytes(), owner.is_closing());
        state.push(format!("{unread} {closing} {}", service.clients.len()));
        state.push(run(service, &mut self.owner, &["CONFIG", "GET", "*"]));
        state
    }
}

fn session(service: &Arc<Service>, role: Option<Role>) -> Session {
    let client = service.clients.admit(Peer::Unix, "unix".to_owned(), 0).unwrap();
    let mut session = Session::new(client, service);
    session.role = role;
    session
}

fn run(service: &Arc<Service>, session: &mut Session, words: &[&str]) -> String {
    let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    let mut out = Vec::new();
    execute(service, session, &words, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// Calls of `row` with as many words as it takes, and with some more.
fn calls(row: &Row) -> Vec<Vec<&'static str>> {
    let len = row.command.arity.unsigned_abs() as usize;
    let lens = if row.command.arity < 0 { len..=len + 3 } else { len..=len };
    let mut calls = Vec::new();
    for len in lens {
        for name in NAMES {
            let mut call: Vec<&str> = row.command.name.split('|').collect();
            call.resize(len.max(call.len()), name);
            calls.push(call);
        }
    }
    calls
}

#[test]
fn nobody_changes_anything_without_the_right_to() {
    let mut guarded = Guarded::new();
    let before = guarded.state();
    for role in [None, Some(Role::Read), Some(Role::Policy)] {
        for row in rows() {
            let needs_more =
                [Flag::Write, Flag::Admin, Flag::Sends].into_iter().any(|flag| row.has(flag));
            for call in calls(row) {
                let mut caller = session(&guarded.service, role);
                let reply = run(&guarded.service, &mut caller, &call);
                drop(caller);
                let words: Vec<&[u8]> = call.iter().map(|word| word.as_bytes()).collect();
                let found = crate::commands::dispatch::lookup(&words).is_some();
                let expected = match role {
                    // A container without a subcommand that there is.
                    _ if !found => "-ERR unknown subcommand",
                    None if !row.has(Flag::NoAuth) => "NOAUTH",
                    Some(_) if needs_more => "NOPERM",
                    _ => "",
                };
                assert!(reply.contains(expected), "{role:?} {call:?}: {reply}");
                // Within a transaction, too.
                let mut caller = session(&guarded.service, role);
                run(&guarded.service, &mut caller, &["MULTI"]);
                run(&guarded.service, &mut caller, &call);
                run(&guarded.service, &mut caller, &["EXEC"]);
                drop(caller);
                assert_eq!(guarded.state(), before, "{role:?} {call:?}");
            }
        }
    }
}

#[test]
fn what_changes_something_needs_a_right() {
    for row in rows() {
        let reads = [Flag::Write, Flag::Admin, Flag::Sends].into_iter().all(|flag| !row.has(flag));
        if !reads {
            continue;
        }
        let mut guarded = Guarded::new();
        let before = guarded.state();
        for call in calls(row) {
            let mut caller = session(&guarded.service, Some(Role::Admin));
            run(&guarded.service, &mut caller, &call);
            drop(caller);
            assert_eq!(guarded.state(), before, "{call:?} takes no right and changes something");
        }
    }
}

#[test]
fn messages_to_others_need_the_right_to_write() {
    let mut guarded = Guarded::new();
    let service = Arc::clone(&guarded.service);
    settle(&service, &mut guarded.owner);
    let mut reader = session(&service, Some(Role::Read));
    let owner = guarded.owner.client.id.to_string();
    for (words, reply) in [
        (
            &["PUBLISH", "k", "x"][..],
            "-NOPERM this user has no permissions to run the 'publish' command\r\n",
        ),
        (
            &["SPUBLISH", "k", "x"],
            "-NOPERM this user has no permissions to run the 'spublish' command\r\n",
        ),
        (
            &["CLIENT", "TRACKING", "ON", "BCAST", "REDIRECT", &owner],
            "-NOPERM this user has no permissions to redirect to a client that may do more than \
             itself\r\n",
        ),
    ] {
        assert_eq!(run(&service, &mut reader, words), reply);
    }
    assert_eq!(guarded.owner.client.unread_bytes(), 0);
    assert_eq!(run(&service, &mut guarded.owner, &["PUBLISH", "k", "x"]), ":3\r\n");
    let mut other = session(&service, Some(Role::Read));
    settle(&service, &mut other);
    let own = other.client.id.to_string();
    let words = ["CLIENT", "TRACKING", "ON", "REDIRECT", &own];
    assert_eq!(run(&service, &mut reader, &words), "+OK\r\n");
}

#[test]
fn who_will_be_refused_does_not_run_alone() {
    let guarded = Guarded::new();
    let words: [&[u8]; 3] = [b"MSET", b"k", b"x"];
    for role in [None, Some(Role::Read), Some(Role::Policy)] {
        let caller = session(&guarded.service, role);
        assert!(!crate::commands::is_alone(&caller, &words), "{role:?}");
    }
    let caller = session(&guarded.service, Some(Role::Admin));
    assert!(crate::commands::is_alone(&caller, &words));
    assert!(!crate::commands::is_alone(&caller, &words[..2]), "its words are too few");
}

#[test]
fn a_handshake_that_fails_changes_nothing() {
    let guarded = Guarded::new();
    let mut caller = session(&guarded.service, None);
    for (words, reply) in [
        (&["HELLO", "3", "SETNAME", "me"][..], "-NOAUTH"),
        (&["HELLO", "3", "AUTH", "default", "owner", "SETNAME", "me", "FOO"], "-ERR Syntax error"),
        (&["HELLO", "3", "AUTH", "default", "owner", "SETNAME", "a b"], "-ERR Client names"),
        (&["HELLO", "3", "SETNAME", "me", "AUTH", "default", "no"], "-WRONGPASS"),
        (&["GET", "k"], "-NOAUTH"),
    ] {
        let reply_seen = run(&guarded.service, &mut caller, words);
        assert!(reply_seen.starts_with(reply), "{words:?}: {reply_seen}");
    }
    assert!(caller.client.profile.lock().name.is_empty());
    assert_eq!((caller.role, caller.protocol), (None, Protocol::Resp2));
}
