//! Dispatch, connections, channels and transactions as one client sees them.

use crate::auth::{Grant, Role};
use crate::clients::Peer;
use crate::commands::{Flow, Session, execute, is_alone};
use crate::service::Service;
use crate::settings::Settings;

/// Checks the replies to lines that one client sends.
fn check(settings: Settings, lines: &[(&str, &str)]) {
    let service = Service::try_new(settings, 1).unwrap();
    let client = service.clients.admit(Peer::Unix, "unix".to_owned(), 0).unwrap();
    let mut session = Session::new(client, &service);
    for &(line, expected) in lines {
        let words: Vec<&[u8]> = line.split_whitespace().map(str::as_bytes).collect();
        let mut out = Vec::new();
        execute(&service, &mut session, &words, &mut out);
        session.client.collect(&mut out);
        let reply = String::from_utf8_lossy(&out).replace("\r\n", " ");
        assert_eq!(reply.trim_end(), expected, "{line}");
    }
}

#[test]
fn what_cannot_run_is_refused_in_the_words_of_redis() {
    check(
        Settings::default(),
        &[
            ("foo a b", "-ERR unknown command 'foo', with args beginning with: 'a' 'b'"),
            ("client|id", "-ERR unknown command 'client|id', with args beginning with:"),
            ("get", "-ERR wrong number of arguments for 'get' command"),
            ("CLIENT", "-ERR wrong number of arguments for 'client' command"),
            ("CLIENT SETNAME", "-ERR wrong number of arguments for 'client|setname' command"),
            ("client foo", "-ERR unknown subcommand 'foo'. Try CLIENT HELP."),
            ("select 16", "-ERR DB index is out of range"),
            (
                "auth x",
                "-ERR AUTH <password> called without any password configured for the \
                        default user. Are you sure your configuration is correct?",
            ),
            ("hello 4", "-NOPROTO unsupported protocol version"),
        ],
    );
}

#[test]
fn a_token_is_needed_and_gives_its_role() {
    let tokens = vec![
        Grant { token: "reader".to_owned(), role: Role::Read },
        Grant { token: "owner".to_owned(), role: Role::Admin },
    ];
    check(
        Settings { tokens, ..Settings::default() },
        &[
            ("GET a", "-NOAUTH Authentication required."),
            ("AUTH wrong", "-WRONGPASS invalid username-password pair or user is disabled."),
            ("AUTH reader", "+OK"),
            ("GET a", "$-1"),
            ("SET a 1", "-NOPERM this user has no permissions to run the 'set' command"),
            ("AUTH default owner", "+OK"),
            ("SET a 1", "+OK"),
            ("RESET", "+RESET"),
            ("GET a", "-NOAUTH Authentication required."),
        ],
    );
}

#[test]
fn transactions_queue_run_and_fail_as_a_whole() {
    check(
        Settings::default(),
        &[
            ("EXEC", "-ERR EXEC without MULTI"),
            ("MULTI", "+OK"),
            ("MULTI", "-ERR MULTI calls can not be nested"),
            ("SET a x", "+QUEUED"),
            ("INCR a", "+QUEUED"),
            ("GET a", "+QUEUED"),
            ("EXEC", "*3 +OK -ERR value is not an integer or out of range $1 x"),
            ("MULTI", "+OK"),
            ("nope", "-ERR unknown command 'nope', with args beginning with:"),
            ("SET a y", "+QUEUED"),
            ("EXEC", "-EXECABORT Transaction discarded because of previous errors."),
            ("WATCH a", "+OK"),
            ("EXPIRE a 100", ":1"),
            ("MULTI", "+OK"),
            ("PING", "+QUEUED"),
            ("EXEC", "*-1"),
            ("MULTI", "+OK"),
            (
                "EXEC x",
                "-EXECABORT Transaction discarded because of: ERR wrong number of \
                        arguments for 'exec' command",
            ),
            ("GET a", "$1 x"),
        ],
    );
}

#[test]
fn a_listener_in_resp2_may_only_listen() {
    check(
        Settings::default(),
        &[
            ("SUBSCRIBE a", "*3 $9 subscribe $1 a :1"),
            ("PSUBSCRIBE a*", "*3 $10 psubscribe $2 a* :2"),
            (
                "GET a",
                "-ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / \
                       QUIT / RESET are allowed in this context",
            ),
            ("PING", "*2 $4 pong $0"),
            ("UNSUBSCRIBE", "*3 $11 unsubscribe $1 a :1"),
            ("PUNSUBSCRIBE", "*3 $12 punsubscribe $2 a* :0"),
            (
                "HELLO 3 SETNAME x",
                "%7 $6 server $5 redis $7 version $5 7.4.0 $5 proto :3 $2 id :1 \
                         $4 mode $10 standalone $4 role $6 master $7 modules *0",
            ),
            ("SUBSCRIBE a", ">3 $9 subscribe $1 a :1"),
            ("PUBLISH a hi", ":1 >3 $7 message $1 a $2 hi"),
        ],
    );
}

#[test]
fn replies_can_be_turned_off() {
    check(
        Settings::default(),
        &[
            ("CLIENT REPLY SKIP", ""),
            ("PING", ""),
            ("PING", "+PONG"),
            ("CLIENT REPLY OFF", ""),
            ("PING", ""),
            ("SUBSCRIBE a", "*3 $9 subscribe $1 a :1"),
            ("UNSUBSCRIBE a", "*3 $11 unsubscribe $1 a :0"),
            ("CLIENT REPLY ON", "+OK"),
            ("CLIENT REPLY SKIP", ""),
            ("CLIENT REPLY ON", "+OK"),
            ("PING", "+PONG"),
        ],
    );
}

#[test]
fn only_what_needs_it_runs_alone() {
    let service = Service::try_new(Settings::default(), 1).unwrap();
    let client = service.clients.admit(Peer::Unix, "unix".to_owned(), 0).unwrap();
    let mut session = Session::new(client, &service);
    let mut out = Vec::new();
    assert!(is_alone(&session, &[b"MSET", b"a", b"1"]));
    assert!(!is_alone(&session, &[b"MGET", b"a"]));
    assert!(!is_alone(&session, &[b"exec"]), "it only fails");
    execute(&service, &mut session, &[b"multi"], &mut out);
    assert!(!is_alone(&session, &[b"MSET", b"a", b"1"]), "it is queued");
    assert!(is_alone(&session, &[b"Exec"]));
    assert_eq!(execute(&service, &mut session, &[b"quit"], &mut out), Flow::Close);
}
