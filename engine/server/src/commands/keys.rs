//! Commands on entries as a whole, whatever their values: `DEL`, `RENAME`, `FLUSHALL` and their kin.
//!
//! What looks into the server's own books (`OBJECT`, `MEMORY`) and what moves entries from key to key
//! have files of their own.

mod books;
mod moves;

use crate::commands::parse::{
    ALL_KEYS, NO_KEYS, ONE_KEY, READ_FAST, SECOND_KEY, SYNTAX, TWO_KEYS, WRITE, WRITE_ALONE,
    WRITE_FAST, is,
};
use crate::commands::{Call, Command, Flag, Flow};
use crate::notifications::Event;

/// A command whose subcommands do the work.
const CONTAINER: &[Flag] = &[Flag::Container];
/// Reads what is known of an entry.
const INSPECT: &[Flag] = &[Flag::ReadOnly];

/// The commands of this file.
pub const COMMANDS: &[Command] = &[
    Command::new("del", -2, WRITE, ALL_KEYS, del).about("generic", "1.0.0", "Delete a key"),
    Command::new("unlink", -2, WRITE_FAST, ALL_KEYS, del).about(
        "generic",
        "4.0.0",
        "Delete a key; the memory is given back outside all locks, as with DEL",
    ),
    Command::new("exists", -2, READ_FAST, ALL_KEYS, exists).about(
        "generic",
        "1.0.0",
        "Determine if a key exists",
    ),
    Command::new("touch", -2, READ_FAST, ALL_KEYS, touch).about(
        "generic",
        "3.2.1",
        "Alters the last access time of a key(s). Returns the number of existing keys specified.",
    ),
    Command::new("type", 2, READ_FAST, ONE_KEY, type_of).about(
        "generic",
        "1.0.0",
        "Determine the type stored at key",
    ),
    Command::new("rename", 3, WRITE_ALONE, TWO_KEYS, moves::rename).about(
        "generic",
        "1.0.0",
        "Rename a key",
    ),
    Command::new("renamenx", 3, WRITE_ALONE, TWO_KEYS, moves::renamenx).about(
        "generic",
        "1.0.0",
        "Rename a key, only if the new key does not exist",
    ),
    Command::new("copy", -3, WRITE_ALONE, TWO_KEYS, moves::copy).about(
        "generic",
        "6.2.0",
        "Copy a key",
    ),
    Command::new("move", 3, WRITE_ALONE, ONE_KEY, moves::move_over).about(
        "generic",
        "1.0.0",
        "Move a key to another database",
    ),
    Command::new("swapdb", 3, WRITE_ALONE, NO_KEYS, moves::swap).about(
        "server",
        "4.0.0",
        "Let two databases trade places: no entry moves, each stays in its cache",
    ),
    Command::new("dbsize", 1, READ_FAST, NO_KEYS, dbsize).about(
        "server",
        "1.0.0",
        "Return the number of keys in the selected database",
    ),
    Command::new("flushdb", -1, WRITE_ALONE, NO_KEYS, flushdb).about(
        "server",
        "1.0.0",
        "Remove all keys from the current database",
    ),
    Command::new("flushall", -1, WRITE_ALONE, NO_KEYS, flushall).about(
        "server",
        "1.0.0",
        "Remove all keys from all databases",
    ),
    Command::new("object", -2, CONTAINER, NO_KEYS, subcommandless).about(
        "generic",
        "2.2.3",
        "A container for object introspection commands",
    ),
    Command::new("object|encoding", 3, INSPECT, SECOND_KEY, books::encoding).about(
        "generic",
        "2.2.3",
        "Inspect the internal encoding of a Redis object",
    ),
    Command::new("object|freq", 3, INSPECT, SECOND_KEY, books::freq).about(
        "generic",
        "4.0.0",
        "Get the hits of an entry since it came in, at most 15",
    ),
    Command::new("object|idletime", 3, INSPECT, SECOND_KEY, books::idletime).about(
        "generic",
        "2.2.3",
        "Get the time between uses of an entry, estimated from its age and its hits",
    ),
    Command::new("object|refcount", 3, INSPECT, SECOND_KEY, books::refcount).about(
        "generic",
        "2.2.3",
        "Get the number of references to the value of the key",
    ),
    Command::new("object|help", 2, &[], NO_KEYS, books::object_help).about(
        "generic",
        "6.2.0",
        "Show helpful text about the different subcommands",
    ),
    Command::new("memory", -2, CONTAINER, NO_KEYS, subcommandless).about(
        "server",
        "4.0.0",
        "A container for memory diagnostics commands",
    ),
    Command::new("memory|usage", -3, INSPECT, SECOND_KEY, books::usage).about(
        "server",
        "4.0.0",
        "Estimate the memory usage of a key",
    ),
    Command::new("memory|stats", 2, &[], NO_KEYS, books::stats).about(
        "server",
        "4.0.0",
        "Show memory usage details",
    ),
    Command::new("memory|doctor", 2, &[], NO_KEYS, books::doctor).about(
        "server",
        "4.0.0",
        "Outputs memory problems report",
    ),
    Command::new("memory|malloc-stats", 2, &[], NO_KEYS, books::malloc_stats).about(
        "server",
        "4.0.0",
        "Show allocator internal stats",
    ),
    Command::new("memory|purge", 2, &[], NO_KEYS, books::purge).about(
        "server",
        "4.0.0",
        "Ask the allocator to release memory",
    ),
    Command::new("memory|help", 2, &[], NO_KEYS, books::memory_help).about(
        "server",
        "4.0.0",
        "Show helpful text about the different subcommands",
    ),
];

/// `OBJECT` and `MEMORY` by themselves.
fn subcommandless(call: &mut Call<'_, '_>) -> Flow {
    call.wrong_arity()
}

fn del(call: &mut Call<'_, '_>) -> Flow {
    let (keyspace, writer) = (call.keyspace(), call.session.client.id);
    let mut removed = 0;
    for name in &call.words[1..] {
        if keyspace.remove(&call.key(name), writer) {
            removed += 1;
            call.tell(Event::REMOVED, name);
        }
    }
    call.reply.integer(removed);
    Flow::Continue
}

/// True where the key `name` is there. No request.
fn is_there(call: &mut Call<'_, '_>, name: &[u8]) -> bool {
    let keyspace = call.keyspace();
    let found = keyspace.version(call.lookup(name)).is_some();
    if !found {
        call.tell(Event::MISS, name);
    }
    found
}

/// Counts keys that are there, each as often as it is named. No request.
fn exists(call: &mut Call<'_, '_>) -> Flow {
    let names = call.words[1..].iter();
    let found = names.filter(|name| is_there(call, name)).count();
    call.reply.integer(found as i64);
    Flow::Continue
}

/// As `EXISTS`, and a request for each.
fn touch(call: &mut Call<'_, '_>) -> Flow {
    let keyspace = call.keyspace();
    let names = call.words[1..].iter();
    let found = names.filter(|name| keyspace.read(call.lookup(name), |_| ()).is_some()).count();
    call.reply.integer(found as i64);
    Flow::Continue
}

fn type_of(call: &mut Call<'_, '_>) -> Flow {
    let found = is_there(call, call.words[1]);
    call.reply.simple(if found { "string" } else { "none" });
    Flow::Continue
}

fn dbsize(call: &mut Call<'_, '_>) -> Flow {
    let keyspace = call.keyspace();
    // What is over is not to be counted.
    keyspace.cache().run_pending();
    let size = keyspace.size(call.home());
    call.reply.integer(size as i64);
    Flow::Continue
}

/// True where the words are those of `FLUSHDB` and `FLUSHALL`. Memory is given back slice by slice
/// either way.
fn is_flush(words: &[&[u8]]) -> bool {
    match *words {
        [_] => true,
        [_, mode] => is(mode, "sync") || is(mode, "async"),
        _ => false,
    }
}

fn flushdb(call: &mut Call<'_, '_>) -> Flow {
    if !is_flush(call.words) {
        return call.error(SYNTAX);
    }
    call.keyspace().clear(call.home());
    call.reply.ok();
    Flow::Continue
}

fn flushall(call: &mut Call<'_, '_>) -> Flow {
    if !is_flush(call.words) {
        return call.error(SYNTAX);
    }
    for keyspace in &call.service.caches {
        keyspace.clear_all();
    }
    call.reply.ok();
    Flow::Continue
}

#[cfg(test)]
mod tests;
