//! The commands of RESP clients: the table, what is checked before any of them runs, and the call.
//!
//! A command is a row: name, arity, flags, keys, and the function that answers. It runs to its end
//! without waiting. It must not know sockets.

pub mod connection;
pub mod expiry;
pub mod keys;
pub mod numbers;
pub mod publishing;
pub mod scan;
pub mod server;
pub mod session;
pub mod strings;
pub mod tracking;
pub mod transactions;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use crate::keyspace::{Key, Keyspace};
use crate::resp::reply::Reply;
use crate::service::Service;

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
}

/// What becomes of the conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// It goes on.
    Continue,
    /// It ends when the replies are through.
    Close,
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
        Key::new(self.session.database, name)
    }

    /// `name` as the cache looks it up, without an allocation for it.
    pub fn lookup(&mut self, name: &[u8]) -> &[u8] {
        let scratch = &mut self.session.scratch;
        scratch.clear();
        scratch.push(self.session.database);
        scratch.extend_from_slice(name);
        scratch
    }

    /// Replies with an error. For a one-line `return call.error(…)`.
    pub fn error(&mut self, text: &str) -> Flow {
        self.reply.error(text);
        Flow::Continue
    }
}

/// All commands, by name.
pub fn table() -> &'static HashMap<&'static [u8], &'static Command, foldhash::fast::FixedState> {
    static TABLE: LazyLock<HashMap<&[u8], &Command, foldhash::fast::FixedState>> =
        LazyLock::new(|| {
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
            groups.into_iter().flatten().map(|command| (command.name.as_bytes(), command)).collect()
        });
    &TABLE
}
