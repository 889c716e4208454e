//! The commands of RESP clients: the table, what is checked before any of them runs, and the call.
//!
//! A command is a row: name, arity, flags, keys, and the function that answers. It runs to its end
//! without waiting. It must not know sockets.

mod ahead;
pub mod calls;
pub mod connection;
mod dispatch;
pub mod expiry;
pub mod keys;
pub mod numbers;
pub(crate) mod parse;
pub mod publishing;
pub mod scan;
pub mod server;
pub mod session;
pub mod strings;
pub mod tracking;
pub mod transactions;

#[cfg(test)]
pub(crate) mod tests;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use crate::keyspace::{HomeIndex, Key, Keyspace};
use crate::notifications::Event;
use crate::resp::reply::Reply;
use crate::service::Service;

pub(crate) use self::ahead::expect;
pub use self::dispatch::{execute, is_alone, settle};
pub use self::session::Session;

/// A command that clients can send.
pub struct Command {
    /// Its name, lower case.
    pub name: &'static str,
    /// Words with the name; negative: at least so many.
    pub arity: i32,
    /// What it is like.
    pub flags: &'static [Flag],
    /// First key, last key (negative: from the end), step; zeros where it has none.
    pub keys: (i32, i32, i32),
    /// The group in Redis's documentation.
    pub group: &'static str,
    /// The version of Redis that had it first.
    pub since: &'static str,
    /// What it does, in a line.
    pub summary: &'static str,
    /// Answers.
    pub run: fn(&mut Call<'_, '_>) -> Flow,
}

impl Command {
    /// A command that is yet to be told about.
    const fn new(
        name: &'static str,
        arity: i32,
        flags: &'static [Flag],
        keys: (i32, i32, i32),
        run: fn(&mut Call<'_, '_>) -> Flow,
    ) -> Self {
        Self { name, arity, flags, keys, group: "", since: "", summary: "", run }
    }

    /// It, with what `COMMAND DOCS` tells.
    const fn about(self, group: &'static str, since: &'static str, summary: &'static str) -> Self {
        Self { group, since, summary, ..self }
    }

    /// Where its keys are among `count` words.
    pub(crate) fn key_positions(&self, count: usize) -> impl Iterator<Item = usize> + use<> {
        let (first, last, step) = self.keys;
        let last = if last < 0 { count as i64 + i64::from(last) } else { i64::from(last) };
        let last = last.min(count as i64 - 1);
        let first = if first <= 0 { i64::MAX } else { i64::from(first) };
        (first..last.saturating_add(1)).step_by(step.max(1) as usize).map(|at| at as usize)
    }
}

/// What a command is like, in Redis's words where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flag {
    /// Changes entries.
    Write,
    /// Reads entries.
    ReadOnly,
    /// Takes constant time.
    Fast,
    /// Needs more than the right to read.
    Admin,
    /// About channels.
    PubSub,
    /// Allowed before authentication.
    NoAuth,
    /// Not allowed within `MULTI`.
    NoMulti,
    /// Runs while no other command does.
    Alone,
    /// Allowed for a RESP2 client that is subscribed.
    Subscribed,
    /// Runs at once within `MULTI`, instead of being queued.
    Unqueued,
    /// Has subcommands, which are rows of their own, named `command|subcommand`.
    Container,
    /// Reaches other clients. Needs what writing entries needs.
    Sends,
}

impl Flag {
    /// Its bit in a row's mask.
    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// A command in its place: what the look-up finds.
pub(crate) struct Row {
    /// The command.
    pub(crate) command: &'static Command,
    /// Its flags as bits.
    mask: u16,
    /// Its number among all rows.
    pub(crate) index: usize,
}

impl Row {
    /// True where the command has `flag`.
    #[inline]
    pub(crate) fn has(&self, flag: Flag) -> bool {
        self.mask & flag.bit() != 0
    }

    /// True where the command may need room for more bytes.
    pub(crate) fn stores(&self) -> bool {
        const FREES: &[&str] = &[
            "del",
            "unlink",
            "getdel",
            "getex",
            "expire",
            "pexpire",
            "expireat",
            "pexpireat",
            "persist",
            "flushdb",
            "flushall",
            "swapdb",
            "function|flush",
            "move",
            "rename",
            "renamenx",
        ];
        self.has(Flag::Write) && !FREES.contains(&self.command.name)
    }

    /// True where the command has any of the flags of `mask`.
    #[inline]
    pub(crate) fn has_any(&self, mask: u16) -> bool {
        self.mask & mask != 0
    }

    /// True where the command takes `count` words.
    #[inline]
    pub(crate) fn admits(&self, count: usize) -> bool {
        let arity = self.command.arity;
        if arity >= 0 { count == arity as usize } else { count >= arity.unsigned_abs() as usize }
    }
}

/// What becomes of the conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// It goes on.
    Continue,
    /// It ends when the replies are through.
    Close,
    /// The command did not run: it is to be tried again when the pause is over.
    Pause,
    /// The command is not through: it is to be called again after others had their turn, and goes on
    /// from what it left in the session. It has not replied yet.
    Again,
}

/// One command on its way: who sent it, its words, and where its reply goes.
pub struct Call<'a, 'b> {
    /// The server.
    pub service: &'a Arc<Service>,
    /// The conversation.
    pub session: &'a mut Session,
    /// Its words; the first is its name.
    pub words: &'a [&'a [u8]],
    /// The reply.
    pub reply: Reply<'b>,
}

impl<'a> Call<'a, '_> {
    /// The cache in which the session's database lives. `SELECT` admits no other database.
    pub fn keyspace(&self) -> &'a Arc<Keyspace> {
        let service = self.service;
        service.keyspace(self.session.database).unwrap_or(&service.caches[0])
    }

    /// A key of the session's database.
    #[must_use]
    pub fn key(&self, name: &[u8]) -> Key {
        Key::new(self.home(), name)
    }

    /// Where the session's database lives.
    #[inline]
    pub(crate) fn home(&self) -> HomeIndex {
        self.service.databases.home(self.session.database)
    }

    /// `name` as the cache looks it up, without an allocation for it.
    pub fn lookup(&mut self, name: &[u8]) -> &[u8] {
        self.session.lookup(name)
    }

    /// Tells those who listen for it that `event` happened to the key `name` of the session's database.
    #[inline]
    pub(crate) fn tell(&self, event: Event, name: &[u8]) {
        self.service.notifications.tell(event, self.session.database, name);
    }

    /// True where the reply at hand, which began when `start` bytes were there, has grown beyond what
    /// a client may leave unread. Then the client is cut off, and the command has to stop. For replies
    /// that can be much longer than their requests.
    pub(crate) fn is_overrun(&self, start: usize) -> bool {
        let is_overrun = self.reply.len() - start > self.service.settings.limits.output_bytes_max;
        if is_overrun {
            self.session.client.cut_off();
        }
        is_overrun
    }

    /// Replies with an error. For a one-line `return call.error(…)`.
    pub fn error(&mut self, text: &str) -> Flow {
        self.reply.error(text);
        Flow::Continue
    }
}

/// All commands and subcommands, in the order of their groups.
pub(crate) fn rows() -> &'static [Row] {
    static ROWS: LazyLock<Vec<Row>> = LazyLock::new(|| {
        let groups = [
            connection::COMMANDS,
            expiry::COMMANDS,
            keys::COMMANDS,
            numbers::COMMANDS,
            publishing::COMMANDS,
            scan::COMMANDS,
            server::COMMANDS,
            strings::COMMANDS,
            tracking::COMMANDS,
            transactions::COMMANDS,
        ];
        let numbered = groups.into_iter().flatten().enumerate();
        numbered
            .map(|(index, command)| {
                let mask = command.flags.iter().fold(0, |mask, flag| mask | flag.bit());
                Row { command, mask, index }
            })
            .collect()
    });
    &ROWS
}

type ByName<T> = HashMap<&'static [u8], T, foldhash::fast::FixedState>;

/// All commands, by name; subcommands as `command|subcommand`.
pub fn table() -> &'static HashMap<&'static [u8], &'static Command, foldhash::fast::FixedState> {
    static TABLE: LazyLock<ByName<&Command>> = LazyLock::new(|| {
        rows().iter().map(|row| (row.command.name.as_bytes(), row.command)).collect()
    });
    &TABLE
}

/// The row of `name`, lower case.
#[inline]
pub(crate) fn row(name: &[u8]) -> Option<&'static Row> {
    static BY_NAME: LazyLock<ByName<&Row>> =
        LazyLock::new(|| rows().iter().map(|row| (row.command.name.as_bytes(), row)).collect());
    BY_NAME.get(name).copied()
}
