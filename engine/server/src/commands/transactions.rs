//! `MULTI`, `EXEC`, `DISCARD`, `WATCH`, `UNWATCH`.

use std::collections::HashMap;

use crate::commands::dispatch::run;
use crate::commands::parse::NO_KEYS;
use crate::commands::{Call, Command, Flag, Flow, Row};
use crate::keyspace::{DatabaseIndex, Key};
use crate::service::Service;
use crate::tracking::Watch;
use ostler_core::Version;

/// What a queued command costs beside its words, bytes.
const QUEUED_OVERHEAD_BYTES: usize = 64;

/// Keys that a client can watch at a time: `EXEC` looks at all of them while nothing else runs.
const WATCHED_MAX: usize = 10_000;
/// Bytes of their names.
const WATCHED_BYTES_MAX: usize = 4 << 20;

/// What `MULTI` and `WATCH` have begun in a conversation.
#[derive(Default)]
pub struct Transaction {
    is_open: bool,
    /// A command could not be queued, so nothing will run.
    is_failed: bool,
    queue: Queue,
    watched: HashMap<Box<[u8]>, Watched>,
    /// Bytes of the names of watched keys.
    watched_bytes: usize,
    /// `EXEC` runs the queue.
    is_running: bool,
}

/// Queued commands, their words one after the other.
#[derive(Default)]
struct Queue {
    bytes: Vec<u8>,
    /// Where each word ends.
    ends: Vec<usize>,
    /// Each command, and how many words come up to its end.
    commands: Vec<(&'static Row, usize)>,
}

/// What was known of a key when it was watched.
struct Watched {
    database: DatabaseIndex,
    seen: Seen,
    /// How often its database had moved.
    moves: u64,
    /// Counts its changes from then on: what came and went is not seen otherwise.
    watch: Watch,
}

/// Version and end of an entry, none where there was no entry.
type Seen = Option<(Version, Option<u64>)>;

impl Transaction {
    /// True between `MULTI` and its end.
    #[must_use]
    #[inline]
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// Commands queued, none outside `MULTI`.
    #[must_use]
    pub fn queued(&self) -> Option<usize> {
        self.is_open.then_some(self.queue.commands.len())
    }

    /// Memory of the queue, bytes.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.queue.cost()
    }

    /// Keys under `WATCH`.
    #[must_use]
    pub fn watched(&self) -> usize {
        self.watched.len()
    }

    /// True while `EXEC` runs what was queued.
    pub(crate) fn is_running(&self) -> bool {
        self.is_running
    }

    /// Queues a command, or says why not.
    pub(crate) fn queue(
        &mut self,
        row: &'static Row,
        words: &[&[u8]],
        bytes_max: usize,
    ) -> Result<(), &'static str> {
        let words_bytes: usize = words.iter().map(|word| word.len() + 8).sum();
        if self.queue.cost() + words_bytes + QUEUED_OVERHEAD_BYTES > bytes_max {
            return Err("ERR the transaction is too large to be queued");
        }
        // What cannot run any more need not be kept.
        if self.is_failed {
            return Ok(());
        }
        for word in words {
            self.queue.bytes.extend_from_slice(word);
            self.queue.ends.push(self.queue.bytes.len());
        }
        self.queue.commands.push((row, self.queue.ends.len()));
        Ok(())
    }

    /// True where a queued command may need room for more bytes.
    pub(crate) fn stores(&self) -> bool {
        self.queue.commands.iter().any(|(row, _)| row.stores())
    }

    /// True where a queued command changes entries or reaches other clients.
    pub(crate) fn writes(&self) -> bool {
        let writes = |row: &Row| row.has(Flag::Write) || row.has(Flag::Sends);
        self.queue.commands.iter().any(|(row, _)| writes(row))
    }

    /// Makes an open transaction fail at its end.
    pub(crate) fn fail(&mut self) {
        self.is_failed |= self.is_open;
    }

    /// Ends it; nothing runs and nothing is watched any more.
    pub(crate) fn discard(&mut self) {
        *self = Self::default();
    }
}

impl Queue {
    fn cost(&self) -> usize {
        self.bytes.len() + self.ends.len() * 8 + self.commands.len() * QUEUED_OVERHEAD_BYTES
    }

    /// The words of each command.
    fn words(&self) -> impl Iterator<Item = (&'static Row, Vec<&[u8]>)> {
        let mut from = 0;
        self.commands.iter().map(move |&(row, to)| {
            let words = (from..to).map(|word| {
                let start = if word == 0 { 0 } else { self.ends[word - 1] };
                &self.bytes[start..self.ends[word]]
            });
            let words = words.collect();
            from = to;
            (row, words)
        })
    }
}

impl Watched {
    fn new(service: &Service, database: DatabaseIndex, name: &[u8]) -> Self {
        let key = Key::new(service.databases.home(database), name);
        // Before it looks, so that no change falls in between.
        let watch = service.tracking.watch(&key);
        let seen = seen(service, database, name);
        Self { database, seen, moves: service.databases.moves(database), watch }
    }

    /// True where the key may have changed. A database that has moved shows other entries: then only
    /// a key that was missing before and after has not changed, and after several moves it is not known.
    fn has_changed(&self, service: &Service, name: &[u8]) -> bool {
        let seen = seen(service, self.database, name);
        match service.databases.moves(self.database) - self.moves {
            0 => seen != self.seen || self.watch.has_changed(),
            1 => seen.is_some() || self.seen.is_some(),
            _ => true,
        }
    }
}

fn seen(service: &Service, database: DatabaseIndex, name: &[u8]) -> Seen {
    let key = Key::new(service.databases.home(database), name);
    service.keyspace(database)?.with_entry(&key, 0, |entry| {
        let version = entry.peek()?.version;
        Some((version, entry.end_unix_ms()?))
    })
}

fn multi(call: &mut Call<'_, '_>) -> Flow {
    if call.session.transaction.is_open {
        return call.error("ERR MULTI calls can not be nested");
    }
    call.session.transaction.is_open = true;
    call.reply.ok();
    Flow::Continue
}

fn discard(call: &mut Call<'_, '_>) -> Flow {
    if !call.session.transaction.is_open {
        return call.error("ERR DISCARD without MULTI");
    }
    call.session.transaction.discard();
    call.reply.ok();
    Flow::Continue
}

fn watch(call: &mut Call<'_, '_>) -> Flow {
    if call.session.transaction.is_open {
        return call.error("ERR WATCH inside MULTI is not allowed");
    }
    let (service, database) = (call.service, call.session.database);
    let transaction = &mut call.session.transaction;
    for name in &call.words[1..] {
        let place = [&[database][..], name].concat();
        if transaction.watched.contains_key(&place[..]) {
            continue;
        }
        let bytes = transaction.watched_bytes + place.len();
        if transaction.watched.len() >= WATCHED_MAX || bytes > WATCHED_BYTES_MAX {
            return call.error("ERR too many keys are watched");
        }
        transaction.watched_bytes = bytes;
        transaction.watched.insert(place.into(), Watched::new(service, database, name));
    }
    call.reply.ok();
    Flow::Continue
}

fn unwatch(call: &mut Call<'_, '_>) -> Flow {
    let transaction = &mut call.session.transaction;
    (transaction.watched, transaction.watched_bytes) = Default::default();
    call.reply.ok();
    Flow::Continue
}

fn exec(call: &mut Call<'_, '_>) -> Flow {
    if !call.session.transaction.is_open {
        return call.error("ERR EXEC without MULTI");
    }
    let transaction = std::mem::take(&mut call.session.transaction);
    if transaction.is_failed {
        return call.error("EXECABORT Transaction discarded because of previous errors.");
    }
    let service = call.service;
    let mut watched = transaction.watched.iter();
    if watched.any(|(place, watched)| watched.has_changed(service, &place[1..])) {
        call.reply.null_array();
        return Flow::Continue;
    }
    let (mut flow, start) = (Flow::Continue, call.reply.len());
    call.reply.array(transaction.queue.commands.len());
    call.session.transaction.is_running = true;
    for (row, words) in transaction.queue.words() {
        if run(service, call.session, row, &words, call.reply.buffer()) == Flow::Close {
            flow = Flow::Close;
        }
        if call.session.client.is_overrun() || call.is_overrun(start) {
            flow = Flow::Close;
            break;
        }
    }
    call.session.transaction.is_running = false;
    call.reply.set_protocol(call.session.protocol);
    flow
}

const fn row(name: &'static str, arity: i32, flags: &'static [Flag]) -> Command {
    Command::new(name, arity, flags, NO_KEYS, unwatch).about("transactions", "1.2.0", "")
}

/// The commands of this file.
pub const COMMANDS: &[Command] = &[
    Command {
        summary: "Starts a transaction.",
        run: multi,
        ..row("multi", 1, &[Flag::Fast, Flag::Unqueued])
    },
    Command {
        summary: "Runs all commands of the transaction.",
        run: exec,
        ..row("exec", 1, &[Flag::Alone, Flag::Unqueued])
    },
    Command {
        summary: "Discards the transaction.",
        since: "2.0.0",
        run: discard,
        ..row("discard", 1, &[Flag::Fast, Flag::Unqueued])
    },
    Command {
        summary: "Watches keys: a change to one of them makes the next EXEC do nothing.",
        since: "2.2.0",
        keys: (1, -1, 1),
        run: watch,
        ..row("watch", -2, &[Flag::Fast, Flag::Unqueued])
    },
    Command {
        summary: "Forgets the watched keys.",
        since: "2.2.0",
        run: unwatch,
        ..row("unwatch", 1, &[Flag::Fast])
    },
];
