//! Commands about a connection itself: who it is, what it speaks, which database it uses.

mod others;

use std::time::Duration;

use tokio::time::Instant;

use crate::auth::Role;
use crate::commands::parse::{NO_KEYS, SYNTAX, database, is};
use crate::commands::session::Replies;
use crate::commands::{Call, Command, Flag, Flow, Session};
use crate::pause::Extent;
use crate::resp::reply::Protocol;

/// The version of Redis that clients are told. What is here behaves as in 7.0.15, but redis-py offers
/// client-side caching only to servers from 7.4 on; nothing of strings, expiry and tracking that clients
/// use differs between the two.
pub(crate) const REDIS_VERSION: &str = "7.4.0";

const WRONG_PASSWORD: &str = "WRONGPASS invalid username-password pair or user is disabled.";
const NAME_REFUSED: &str =
    "ERR Client names cannot contain spaces, newlines or special characters.";
/// Longest name of a client, of its library and of that one's version, bytes: everybody can ask for
/// those of all clients.
const NAME_LEN_MAX: usize = 1 << 10;
const NAME_TOO_LONG: &str = "ERR Client names cannot be longer than 1024 bytes.";
const _: () = assert!(NAME_LEN_MAX == 1024);

fn ping(call: &mut Call<'_, '_>) -> Flow {
    let text = call.words.get(1).copied();
    if call.words.len() > 2 {
        return call.error("ERR wrong number of arguments for 'ping' command");
    }
    if call.session.subscriptions.any() && call.session.protocol == Protocol::Resp2 {
        call.reply.array(2);
        call.reply.bulk(b"pong");
        call.reply.bulk(text.unwrap_or_default());
    } else if let Some(text) = text {
        call.reply.bulk(text);
    } else {
        call.reply.simple("PONG");
    }
    Flow::Continue
}

fn echo(call: &mut Call<'_, '_>) -> Flow {
    call.reply.bulk(call.words[1]);
    Flow::Continue
}

fn quit(call: &mut Call<'_, '_>) -> Flow {
    call.reply.ok();
    Flow::Close
}

fn select(call: &mut Call<'_, '_>) -> Flow {
    match database(call.words[1]) {
        Ok(database) if call.service.keyspace(database).is_some() => {
            call.session.database = database;
            call.reply.ok();
        }
        Ok(_) => call.reply.error("ERR DB index is out of range"),
        Err(text) => call.reply.error(text),
    }
    Flow::Continue
}

/// The role that user and password give.
fn authenticate(call: &Call<'_, '_>, user: &[u8], password: &[u8]) -> Option<Role> {
    if user != b"default" {
        return None;
    }
    if call.service.grants.is_open() {
        return Some(Role::Admin);
    }
    call.service.grants.role_of(password)
}

fn auth(call: &mut Call<'_, '_>) -> Flow {
    let (user, password): (&[u8], &[u8]) = match call.words {
        [_, password] if call.service.grants.is_open() => {
            let _ = password;
            return call.error(
                "ERR AUTH <password> called without any password configured for the default user. \
                 Are you sure your configuration is correct?",
            );
        }
        [_, password] => (b"default", password),
        [_, user, password] => (user, password),
        _ => return call.error(SYNTAX),
    };
    match authenticate(call, user, password) {
        Some(role) => {
            call.session.role = Some(role);
            call.reply.ok();
            Flow::Continue
        }
        None => call.error(WRONG_PASSWORD),
    }
}

fn hello(call: &mut Call<'_, '_>) -> Flow {
    let protocol = match call.words.get(1) {
        None => call.session.protocol,
        Some(word) => match crate::commands::parse::integer(word) {
            None => {
                return call.error("ERR Protocol version is not an integer or out of range");
            }
            Some(2) => Protocol::Resp2,
            Some(3) => Protocol::Resp3,
            Some(_) => return call.error("NOPROTO unsupported protocol version"),
        },
    };
    // Nothing changes before all options are known to be right.
    let (words, mut role, mut name) = (call.words, call.session.role, None);
    let mut at = 2;
    while at < words.len() {
        let left = words.len() - at - 1;
        if is(words[at], "auth") && left >= 2 {
            role = authenticate(call, words[at + 1], words[at + 2]);
            if role.is_none() {
                return call.error(WRONG_PASSWORD);
            }
            at += 3;
        } else if is(words[at], "setname") && left >= 1 {
            name = Some(words[at + 1]);
            if let Some(text) = name_refusal(words[at + 1]) {
                return call.error(text);
            }
            at += 2;
        } else {
            let option = String::from_utf8_lossy(words[at]);
            return call.error(&format!("ERR Syntax error in HELLO option '{option}'"));
        }
    }
    if role.is_none() {
        return call.error(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the \
             HELLO AUTH <user> <pass> option can be used to authenticate the client and select the \
             RESP protocol version at the same time",
        );
    }
    call.session.role = role;
    if let Some(name) = name {
        call.session.client.profile.lock().name = name.to_vec();
    }
    call.session.protocol = protocol;
    call.reply.set_protocol(protocol);
    call.session.publish_profile();
    introduce(call, protocol);
    Flow::Continue
}

/// The map that answers `HELLO`.
fn introduce(call: &mut Call<'_, '_>, protocol: Protocol) {
    let reply = &mut call.reply;
    reply.map(7);
    reply.bulk(b"server");
    reply.bulk(b"redis");
    reply.bulk(b"version");
    reply.bulk(REDIS_VERSION.as_bytes());
    reply.bulk(b"proto");
    reply.integer(if protocol == Protocol::Resp3 { 3 } else { 2 });
    reply.bulk(b"id");
    reply.integer(call.session.client.id as i64);
    reply.bulk(b"mode");
    reply.bulk(b"standalone");
    reply.bulk(b"role");
    reply.bulk(b"master");
    reply.bulk(b"modules");
    reply.array(0);
}

fn reset(call: &mut Call<'_, '_>) -> Flow {
    let (service, session) = (call.service, &mut *call.session);
    let id = session.client.id;
    session.transaction.discard();
    service.tracking.stop(id, &mut session.following);
    service.channels.forget(id, &mut session.subscriptions);
    session.database = 0;
    session.protocol = Protocol::Resp2;
    session.replies = Replies::On;
    session.role = Session::role_unasked(service);
    let mut profile = session.client.profile.lock();
    profile.name.clear();
    (profile.tracking, profile.broadcasts, profile.redirect) = (false, false, None);
    profile.no_evict = false;
    drop(profile);
    session.publish_profile();
    call.reply.set_protocol(Protocol::Resp2);
    call.reply.simple("RESET");
    Flow::Continue
}

/// Why a client cannot have this name, none where it can.
fn name_refusal(name: &[u8]) -> Option<&'static str> {
    if !name.iter().all(u8::is_ascii_graphic) {
        return Some(NAME_REFUSED);
    }
    (name.len() > NAME_LEN_MAX).then_some(NAME_TOO_LONG)
}

fn id(call: &mut Call<'_, '_>) -> Flow {
    call.reply.integer(call.session.client.id as i64);
    Flow::Continue
}

fn getname(call: &mut Call<'_, '_>) -> Flow {
    let profile = call.session.client.profile.lock();
    if profile.name.is_empty() {
        call.reply.null();
    } else {
        call.reply.bulk(&profile.name);
    }
    Flow::Continue
}

fn setname(call: &mut Call<'_, '_>) -> Flow {
    let name = call.words[2];
    if let Some(text) = name_refusal(name) {
        return call.error(text);
    }
    call.session.client.profile.lock().name = name.to_vec();
    call.reply.ok();
    Flow::Continue
}

fn setinfo(call: &mut Call<'_, '_>) -> Flow {
    let (attribute, value) = (call.words[2], call.words[3]);
    let (is_name, is_version) = (is(attribute, "lib-name"), is(attribute, "lib-ver"));
    let shown = String::from_utf8_lossy(attribute);
    if !is_name && !is_version {
        return call.error(&format!("ERR Unrecognized option '{shown}'"));
    }
    if !value.iter().all(u8::is_ascii_graphic) {
        let text = format!("ERR {shown} cannot contain spaces, newlines or special characters.");
        return call.error(&text);
    }
    if value.len() > NAME_LEN_MAX {
        return call.error(NAME_TOO_LONG);
    }
    let mut profile = call.session.client.profile.lock();
    let place = if is_name { &mut profile.library } else { &mut profile.library_version };
    *place = value.to_vec();
    drop(profile);
    call.reply.ok();
    Flow::Continue
}

fn no_evict(call: &mut Call<'_, '_>) -> Flow {
    let on = match call.words[2] {
        word if is(word, "on") => true,
        word if is(word, "off") => false,
        _ => return call.error(SYNTAX),
    };
    call.session.client.profile.lock().no_evict = on;
    call.reply.ok();
    Flow::Continue
}

fn reply(call: &mut Call<'_, '_>) -> Flow {
    match call.words[2] {
        word if is(word, "on") => {
            call.session.replies = Replies::On;
            call.reply.ok();
        }
        word if is(word, "off") => call.session.replies = Replies::Off,
        word if is(word, "skip") => {
            if call.session.replies != Replies::Off {
                call.session.replies = Replies::SkipNext;
            }
        }
        _ => return call.error(SYNTAX),
    }
    Flow::Continue
}

fn unblock(call: &mut Call<'_, '_>) -> Flow {
    let reason_known = match call.words.get(3) {
        None => true,
        Some(word) => is(word, "timeout") || is(word, "error"),
    };
    if call.words.len() > 4 {
        return call.wrong_subcommand();
    }
    if !reason_known {
        return call.error("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
    }
    if crate::commands::parse::integer(call.words[2]).is_none() {
        return call.error(crate::commands::parse::NOT_AN_INTEGER);
    }
    // No command ever waits.
    call.reply.integer(0);
    Flow::Continue
}

/// The longest pause, milliseconds: a hundred years.
const PAUSE_MS_MAX: u64 = 100 * 365 * 24 * 3_600 * 1_000;

fn pause(call: &mut Call<'_, '_>) -> Flow {
    let extent = match call.words {
        [_, _, _] => Extent::All,
        [_, _, _, word] if is(word, "write") => Extent::Writes,
        [_, _, _, word] if is(word, "all") => Extent::All,
        [_, _, _, _] => return call.error("ERR CLIENT PAUSE mode must be WRITE or ALL"),
        _ => return call.wrong_subcommand(),
    };
    let ms = match crate::commands::parse::integer(call.words[2]).map(u64::try_from) {
        Some(Ok(ms)) => ms.min(PAUSE_MS_MAX),
        Some(Err(_)) => return call.error("ERR timeout is negative"),
        None => return call.error("ERR timeout is not an integer or out of range"),
    };
    call.service.pause.begin(extent, Instant::now() + Duration::from_millis(ms));
    call.reply.ok();
    Flow::Continue
}

fn unpause(call: &mut Call<'_, '_>) -> Flow {
    call.service.pause.end();
    call.reply.ok();
    Flow::Continue
}

fn client_help(call: &mut Call<'_, '_>) -> Flow {
    call.help(&[
        "CACHING (YES|NO)",
        "    Enable/disable tracking of the keys for next command in OPTIN/OPTOUT modes.",
        "GETREDIR",
        "    Return the client ID we are redirecting to when tracking is enabled.",
        "GETNAME",
        "    Return the name of the current connection.",
        "ID",
        "    Return the ID of the current connection.",
        "INFO",
        "    Return information about the current client connection.",
        "KILL <ip:port>",
        "    Kill connection made from <ip:port>.",
        "KILL <option> <value> [<option> <value> [...]]",
        "    Kill connections. Options are:",
        "    * ADDR (<ip:port>|<unixsocket>:0)",
        "    * LADDR (<ip:port>|<unixsocket>:0)",
        "    * ID <client-id>",
        "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
        "    * USER <username>",
        "    * SKIPME (YES|NO)",
        "LIST [options ...]",
        "    Return information about client connections. Options:",
        "    * ID <client-id> [<client-id> ...]",
        "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
        "NO-EVICT (ON|OFF)",
        "    Protect current client connection from eviction.",
        "PAUSE <timeout> [WRITE|ALL]",
        "    Suspend all, or just write, clients for <timeout> milliseconds.",
        "REPLY (ON|OFF|SKIP)",
        "    Control the replies sent to the current connection.",
        "SETINFO (LIB-NAME|LIB-VER) <value>",
        "    Tell the name or the version of the client's library.",
        "SETNAME <name>",
        "    Assign the name <name> to the current connection.",
        "TRACKING (ON|OFF) [REDIRECT <id>] [BCAST] [PREFIX <prefix> [...]]",
        "         [OPTIN] [OPTOUT] [NOLOOP]",
        "    Control server assisted client side caching.",
        "TRACKINGINFO",
        "    Report tracking status for the current connection.",
        "UNBLOCK <clientid> [TIMEOUT|ERROR]",
        "    Unblock the specified blocked client.",
        "UNPAUSE",
        "    Stop the current client pause, resuming traffic.",
    ])
}

/// Allowed to everybody, at any time, and never queued.
const ALWAYS: &[Flag] = &[Flag::Fast, Flag::NoAuth, Flag::Unqueued, Flag::Subscribed];

const fn row(
    name: &'static str,
    arity: i32,
    flags: &'static [Flag],
    run: fn(&mut Call<'_, '_>) -> Flow,
) -> Command {
    Command::new(name, arity, flags, NO_KEYS, run).about("connection", "1.0.0", "")
}

const fn client(
    name: &'static str,
    arity: i32,
    summary: &'static str,
    run: fn(&mut Call<'_, '_>) -> Flow,
) -> Command {
    Command { summary, since: "2.6.9", ..row(name, arity, &[], run) }
}

/// The commands of this file.
pub const COMMANDS: &[Command] = &[
    Command {
        summary: "Returns PONG, or its argument.",
        ..row("ping", -1, &[Flag::Fast, Flag::Subscribed], ping)
    },
    Command { summary: "Returns its argument.", ..row("echo", 2, &[Flag::Fast], echo) },
    Command { summary: "Closes the connection.", ..row("quit", -1, ALWAYS, quit) },
    Command {
        summary: "Makes the connection as if it were new.",
        since: "6.2.0",
        ..row("reset", 1, ALWAYS, reset)
    },
    Command { summary: "Changes the database.", ..row("select", 2, &[Flag::Fast], select) },
    Command {
        summary: "Authenticates the connection.",
        ..row("auth", -2, &[Flag::Fast, Flag::NoAuth], auth)
    },
    Command {
        summary: "Shakes hands, and chooses the protocol.",
        since: "6.0.0",
        ..row("hello", -1, &[Flag::Fast, Flag::NoAuth], hello)
    },
    Command {
        summary: "A container for commands about connections.",
        since: "2.4.0",
        ..row("client", -2, &[Flag::Container], |call| call.wrong_subcommand())
    },
    client("client|id", 2, "Returns the connection's number.", id),
    client("client|getname", 2, "Returns the connection's name.", getname),
    client("client|setname", 3, "Names the connection.", setname),
    Command {
        since: "7.2.0",
        ..client("client|setinfo", 4, "Tells the client's library and its version.", setinfo)
    },
    client("client|info", 2, "Describes the connection.", others::info),
    client("client|list", -2, "Describes all connections.", others::list),
    Command {
        flags: &[Flag::Admin],
        ..client("client|kill", -3, "Ends connections.", others::kill)
    },
    Command {
        since: "3.0.0",
        flags: &[Flag::Admin, Flag::Alone],
        ..client("client|pause", -3, "Lets commands wait.", pause)
    },
    Command {
        since: "6.2.0",
        flags: &[Flag::Admin],
        ..client("client|unpause", 2, "Lets commands run again.", unpause)
    },
    Command {
        since: "7.0.0",
        ..client("client|no-evict", 3, "Protects the connection from eviction.", no_evict)
    },
    Command {
        since: "3.2.0",
        ..client("client|reply", 3, "Says whether the connection hears replies.", reply)
    },
    Command {
        since: "5.0.0",
        ..client("client|unblock", -3, "Unblocks a connection; here, none ever blocks.", unblock)
    },
    Command {
        since: "5.0.0",
        ..client("client|help", 2, "Returns a text about the subcommands.", client_help)
    },
];

#[cfg(test)]
mod tests;
