//! `MULTI`, `EXEC`, `DISCARD`, `WATCH`, `UNWATCH`.

use crate::commands::dispatch::run;
use crate::commands::{Call, Command, Flag, Flow, Row};
use crate::keyspace::{Key, Keyspace};
use ostler_core::Version;

/// What a queued command costs beside its words, bytes.
const QUEUED_OVERHEAD_BYTES: usize = 64;

/// What `MULTI` and `WATCH` have begun in a conversation.
#[derive(Default)]
pub struct Transaction {
    is_open: bool,
    /// A command could not be queued, so nothing will run.
    is_failed: bool,
    queue: Queue,
    watched: Vec<Watched>,
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

/// A key and what was known of it when it was watched.
struct Watched {
    key: Key,
    seen: Seen,
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

    /// True where a queued command changes entries or publishes.
    pub(crate) fn writes(&self) -> bool {
        let writes =
            |row: &Row| row.has(Flag::Write) || matches!(row.command.name, "publish" | "spublish");
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

fn seen(keyspace: &Keyspace, key: &Key) -> Seen {
    keyspace.with_entry(key, 0, |entry| {
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
    for name in &call.words[1..] {
        let key = call.key(name);
        if !call.session.transaction.watched.iter().any(|watched| watched.key == key) {
            let seen = seen(call.keyspace(), &key);
            call.session.transaction.watched.push(Watched { key, seen });
        }
    }
    call.reply.ok();
    Flow::Continue
}

fn unwatch(call: &mut Call<'_, '_>) -> Flow {
    call.session.transaction.watched.clear();
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
    let has_changed = |watched: &Watched| {
        let keyspace = service.keyspace(watched.key.database());
        keyspace.is_some_and(|keyspace| seen(keyspace, &watched.key) != watched.seen)
    };
    if transaction.watched.iter().any(has_changed) {
        call.reply.null_array();
        return Flow::Continue;
    }
    let mut flow = Flow::Continue;
    call.reply.array(transaction.queue.commands.len());
    for (row, words) in transaction.queue.words() {
        if run(service, call.session, row, &words, call.reply.buffer()) == Flow::Close {
            flow = Flow::Close;
        }
    }
    call.reply.set_protocol(call.session.protocol);
    flow
}

const fn row(name: &'static str, arity: i32, flags: &'static [Flag]) -> Command {
    Command {
        name,
        arity,
        flags,
        keys: (0, 0, 0),
        group: "transactions",
        since: "1.2.0",
        summary: "",
        run: unwatch,
    }
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
