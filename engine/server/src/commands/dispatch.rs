//! From words to a command: look-up, what is checked before any command runs, and what is counted.
//!
//! Budget for a plain command: one hash, one probe, a few flags; no allocation.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::auth::Role;
use crate::commands::calls::Ran;
use crate::commands::parse::is;
use crate::commands::session::Replies;
use crate::commands::{Call, Flag, Flow, Row, Session, row, rows};
use crate::keyspace::KEY_LEN_MAX;
use crate::pause::Extent;
use crate::resp::reply::{Protocol, Reply};
use crate::room;
use crate::service::Service;

/// Longest name of a command, and of a subcommand.
const NAME_LEN_MAX: usize = 32;
/// Words of an unknown command that its error repeats, bytes.
const REPEATED_LEN_MAX: usize = 128;

/// Time between two warnings that a browser calls, milliseconds.
const BROWSER_WARNING_EVERY_MS: u64 = 60_000;
/// What is said of a key beyond what keys may have.
const KEY_TOO_LONG: &str = "ERR the key is longer than 1048576 bytes";
const _: () = assert!(KEY_LEN_MAX == 1_048_576);

/// Why a command does not run.
enum Refusal {
    /// A text of the server's own, with its code.
    Text(&'static str),
    /// A text made for the occasion.
    Made(Vec<u8>),
}

/// Runs the command of `words` and appends its reply to `out`. `words` must not be empty.
///
/// The caller holds a lane, or all of them where [`is_alone`] says so, lets them go where the command has
/// to wait ([`Flow::Pause`]) or is not through ([`Flow::Again`]), and calls [`settle`] when its
/// batch is through.
pub fn execute(
    service: &Arc<Service>,
    session: &mut Session,
    words: &[&[u8]],
    out: &mut Vec<u8>,
) -> Flow {
    if service.room.is_watched() {
        room::relieve(service);
        // What this client is told of evictions comes before the reply.
        session.client.collect(out);
    }
    let start = out.len();
    let found = lookup(words);
    let flow = match admit(service, session, found, words) {
        Ok(row) if has_to_wait(service, session, row) => return Flow::Pause,
        Ok(row) if session.transaction.is_open() && !row.has(Flag::Unqueued) => {
            let bytes_max = service.settings.limits.output_bytes_max;
            match session.transaction.queue(row, words, bytes_max) {
                Ok(()) => out.extend_from_slice(b"+QUEUED\r\n"),
                Err(text) => refuse(session, Some(row), &Refusal::Text(text), out),
            }
            Flow::Continue
        }
        Ok(row) => {
            let flow = run(service, session, row, words, out);
            if flow == Flow::Again {
                return flow;
            }
            session.following.end_command(row.command.name, session.transaction.is_open());
            flow
        }
        Err(_) if found.is_none() && is_of_browser(words) => {
            warn_of_browser(service, session);
            out.truncate(start);
            return Flow::Close;
        }
        Err(refusal) => {
            session.walk = None;
            refuse(session, found, &refusal, out);
            service.counters.errors.fetch_add(1, Relaxed);
            service.counters.calls.failed(found, &out[start..], Ran::No);
            Flow::Continue
        }
    };
    if session.replies != Replies::On {
        // What subscribing answers is a message, not a reply.
        let is_message = found
            .is_some_and(|row| row.has(Flag::PubSub) && row.has(Flag::Subscribed))
            && out.get(start) != Some(&b'-');
        silence(session, if is_message { out.len() } else { start }, out);
    }
    flow
}

/// True where the command of `words` must run while no other does.
#[must_use]
pub fn is_alone(session: &Session, words: &[&[u8]]) -> bool {
    let Some(name) = words.first() else { return false };
    if !may_be_alone(name) {
        return false;
    }
    let Some(row) = lookup(words) else { return false };
    // What will be refused need not keep others waiting.
    if !row.admits(words.len()) || admit_role(session, row).is_err() {
        return false;
    }
    if session.transaction.is_open() {
        return row.command.name == "exec";
    }
    row.has(Flag::Alone) && row.command.name != "exec"
}

/// True where the command of `row` has to wait for the end of a pause.
#[inline]
fn has_to_wait(service: &Service, session: &Session, row: &Row) -> bool {
    match service.pause.extent() {
        None => false,
        // Somebody must be able to end it, and to say who that is.
        Some(Extent::All) => row.command.name != "client|unpause" && !row.has(Flag::NoAuth),
        Some(Extent::Writes) => match row.command.name {
            "exec" => session.transaction.writes(),
            _ => row.has_any(Flag::Write.bit() | Flag::Sends.bit()),
        },
    }
}

/// Counts what the session did since the last time, and shows it to others. To be called after each
/// batch of commands.
pub fn settle(service: &Service, session: &mut Session) {
    let calls = session.tally.hand_over(&service.counters.calls);
    service.counters.commands.fetch_add(calls, Relaxed);
    session.publish_profile();
    session.rest();
    service.tracking.settle();
}

/// Runs an admitted command: also those of a transaction.
pub(crate) fn run(
    service: &Arc<Service>,
    session: &mut Session,
    row: &'static Row,
    words: &[&[u8]],
    out: &mut Vec<u8>,
) -> Flow {
    // What comes in several turns is one call.
    if session.walk.is_none() {
        let handed = session.tally.count(row, &service.counters.calls);
        if handed > 0 {
            service.counters.commands.fetch_add(handed, Relaxed);
        }
    }
    session.command = row.command.name;
    // Before it reads: a write that comes in between is told, if only once too often.
    if session.following.hears_reads() && row.has(Flag::ReadOnly) {
        follow(service, session, row, words);
    }
    let start = out.len();
    let reply = Reply::new(out, session.protocol);
    let flow = (row.command.run)(&mut Call { service, session, words, reply });
    if out.get(start) == Some(&b'-') {
        service.counters.errors.fetch_add(1, Relaxed);
        service.counters.calls.failed(Some(row), &out[start..], Ran::Yes);
    }
    flow
}

/// Remembers that the session reads the keys of `words`.
#[cold]
fn follow(service: &Service, session: &mut Session, row: &Row, words: &[&[u8]]) {
    for position in row.command.key_positions(words.len()) {
        let id = session.client.id;
        service.tracking.follow(id, session.lookup(words[position]));
    }
}

/// The row of `words`, a subcommand's where there is one.
#[inline]
pub(crate) fn lookup(words: &[&[u8]]) -> Option<&'static Row> {
    let name = *words.first()?;
    let mut lower = [0; 2 * NAME_LEN_MAX + 1];
    if name.len() > NAME_LEN_MAX || memchr::memchr(b'|', name).is_some() {
        return None;
    }
    for (to, from) in lower.iter_mut().zip(name) {
        *to = from.to_ascii_lowercase();
    }
    let found = row(&lower[..name.len()])?;
    if !found.has(Flag::Container) || words.len() < 2 {
        return Some(found);
    }
    let sub = words[1];
    if sub.len() > NAME_LEN_MAX {
        return None;
    }
    let len = name.len() + 1 + sub.len();
    lower[name.len()] = b'|';
    for (to, from) in lower[name.len() + 1..].iter_mut().zip(sub) {
        *to = from.to_ascii_lowercase();
    }
    row(&lower[..len])
}

/// The row that may run now.
#[inline]
fn admit(
    service: &Service,
    session: &Session,
    found: Option<&'static Row>,
    words: &[&[u8]],
) -> Result<&'static Row, Refusal> {
    let Some(row) = found else { return Err(Refusal::Made(unknown(words))) };
    if !row.admits(words.len()) {
        return Err(made(&["ERR wrong number of arguments for '", row.command.name, "' command"]));
    }
    if session.role != Some(Role::Admin) {
        admit_role(session, row)?;
    }
    let (first_key, last_key, _) = row.command.keys;
    if words.get(first_key as usize).is_some_and(|key| key.len() > KEY_LEN_MAX)
        || last_key != first_key && has_long_key(row, words)
    {
        return Err(Refusal::Text(KEY_TOO_LONG));
    }
    let is_open = session.transaction.is_open();
    if service.room.is_watched() && needs_room(session, row) && room::is_full(service) {
        return Err(Refusal::Text(crate::commands::parse::NO_ROOM));
    }
    if is_open && row.has(Flag::NoMulti) {
        return Err(Refusal::Text("ERR Command not allowed inside a transaction"));
    }
    let listens = session.subscriptions.any() && session.protocol == Protocol::Resp2;
    if listens && !row.has(Flag::Subscribed) {
        return Err(made(&[
            "ERR Can't execute '",
            row.command.name,
            "': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this \
             context",
        ]));
    }
    Ok(row)
}

/// True where one of several keys is longer than a key may be.
fn has_long_key(row: &Row, words: &[&[u8]]) -> bool {
    row.command.key_positions(words.len()).any(|position| words[position].len() > KEY_LEN_MAX)
}

/// True for what lines of HTTP look like here that every request of a browser has: no client of ours
/// means them, but any page of the Web can make a browser send them, with commands in between.
fn is_of_browser(words: &[&[u8]]) -> bool {
    let name = words.first().copied().unwrap_or_default();
    is(name, "post") || is(name, "host:")
}

/// Says once a minute at most that somebody speaks HTTP.
#[cold]
fn warn_of_browser(service: &Service, session: &Session) {
    let now_ms = service.clock.now_unix_ms();
    let warned_ms = service.counters.browser_warned_unix_ms.load(Relaxed);
    if now_ms.saturating_sub(warned_ms) >= BROWSER_WARNING_EVERY_MS {
        service.counters.browser_warned_unix_ms.store(now_ms, Relaxed);
        let peer = &session.client.peer;
        tracing::warn!(%peer, "closed a connection that speaks HTTP to the port for RESP");
    }
}

fn admit_role(session: &Session, row: &Row) -> Result<(), Refusal> {
    if session.role == Some(Role::Admin) {
        return Ok(());
    }
    if session.role.is_none() {
        let text = "NOAUTH Authentication required.";
        return if row.has(Flag::NoAuth) { Ok(()) } else { Err(Refusal::Text(text)) };
    }
    if row.has_any(Flag::Write.bit() | Flag::Admin.bit() | Flag::Sends.bit()) {
        let name = row.command.name;
        return Err(made(&["NOPERM this user has no permissions to run the '", name, "' command"]));
    }
    Ok(())
}

/// True for a command that is refused where there is no room: what stores, what is queued, and a
/// transaction that stores.
#[cold]
fn needs_room(session: &Session, row: &Row) -> bool {
    match row.command.name {
        "exec" => session.transaction.stores(),
        "discard" | "quit" | "reset" => false,
        _ => session.transaction.is_open() || row.stores(),
    }
}

#[cold]
fn made(parts: &[&str]) -> Refusal {
    Refusal::Made(parts.concat().into_bytes())
}

/// Replies with why it does not run; a transaction that was to hold it fails.
#[cold]
fn refuse(session: &mut Session, row: Option<&Row>, refusal: &Refusal, out: &mut Vec<u8>) {
    let text = match refusal {
        Refusal::Text(text) => text.as_bytes(),
        Refusal::Made(text) => text,
    };
    session.transaction.fail();
    let mut reply = Reply::new(out, session.protocol);
    if row.is_some_and(|row| row.command.name == "exec") {
        session.transaction.discard();
        reply.raw(b"-EXECABORT Transaction discarded because of: ");
    } else {
        reply.raw(b"-");
    }
    for &byte in text {
        reply.raw(&[if matches!(byte, b'\r' | b'\n') { b' ' } else { byte }]);
    }
    reply.raw(b"\r\n");
}

/// What Redis says of a command that it does not have.
#[cold]
fn unknown(words: &[&[u8]]) -> Vec<u8> {
    let name = words.first().copied().unwrap_or_default();
    let name_shown = &name[..name.len().min(REPEATED_LEN_MAX)];
    let lower = name.to_ascii_lowercase();
    let is_container = row(&lower).is_some_and(|row| row.has(Flag::Container));
    let mut text = Vec::with_capacity(256);
    if is_container && words.len() > 1 {
        let sub = words[1];
        text.extend_from_slice(b"ERR unknown subcommand '");
        text.extend_from_slice(&sub[..sub.len().min(REPEATED_LEN_MAX)]);
        text.extend_from_slice(b"'. Try ");
        text.extend_from_slice(&name.to_ascii_uppercase());
        text.extend_from_slice(b" HELP.");
        return text;
    }
    text.extend_from_slice(b"ERR unknown command '");
    text.extend_from_slice(name_shown);
    text.extend_from_slice(b"', with args beginning with: ");
    let start = text.len();
    for word in &words[1..] {
        let left = REPEATED_LEN_MAX.saturating_sub(text.len() - start);
        if left == 0 {
            break;
        }
        text.push(b'\'');
        text.extend_from_slice(&word[..word.len().min(left)]);
        text.extend_from_slice(b"' ");
    }
    text
}

/// Takes the reply back where the client does not want it.
#[cold]
fn silence(session: &mut Session, start: usize, out: &mut Vec<u8>) {
    match session.replies {
        Replies::On => {}
        Replies::Off => out.truncate(start),
        Replies::Skip => {
            out.truncate(start);
            session.replies = Replies::On;
        }
        Replies::SkipNext => session.replies = Replies::Skip,
    }
}

/// False for most names of commands that run beside others, by length and first letter alone.
#[inline]
fn may_be_alone(name: &[u8]) -> bool {
    static LETTERS: std::sync::LazyLock<[u32; NAME_LEN_MAX + 1]> = std::sync::LazyLock::new(|| {
        let mut letters = [0; NAME_LEN_MAX + 1];
        for row in rows().iter().filter(|row| row.has(Flag::Alone)) {
            let first = row.command.name.split('|').next().unwrap_or_default().as_bytes();
            letters[first.len()] |= 1 << (first[0] & 31);
        }
        letters
    });
    match (LETTERS.get(name.len()), name.first()) {
        (Some(letters), Some(first)) => letters & (1 << (first & 31)) != 0,
        _ => false,
    }
}

impl Call<'_, '_> {
    /// Refuses the words of a subcommand; what a container answers that was called without one, too.
    pub(crate) fn wrong_subcommand(&mut self) -> Flow {
        let subcommand = self.words.get(1).copied().unwrap_or_default();
        let shown = String::from_utf8_lossy(&subcommand[..subcommand.len().min(REPEATED_LEN_MAX)]);
        let command = String::from_utf8_lossy(self.words[0]).to_ascii_uppercase();
        let text = format!(
            "ERR unknown subcommand or wrong number of arguments for '{shown}'. Try {command} HELP."
        );
        self.error(&text)
    }
}
