//! `COMMAND`: the table of commands, for clients.

use crate::commands::parse::{SYNTAX, glob, is};
use crate::commands::server::REFUSED;
use crate::commands::{Call, Command, Flag, Flow, Row, row, rows};

/// Commands, without what is only refused; subcommands are below their container.
fn commands() -> impl Iterator<Item = &'static Row> {
    rows().iter().filter(|row| row.command.group != REFUSED && !row.command.name.contains('|'))
}

fn subcommands(container: &Command) -> Vec<&'static Row> {
    let is_below = |row: &&Row| {
        let rest = row.command.name.strip_prefix(container.name);
        rest.is_some_and(|rest| rest.starts_with('|'))
    };
    rows().iter().filter(is_below).collect()
}

/// The command that clients mean by `name`.
fn named(name: &[u8]) -> Option<&'static Row> {
    row(&name.to_ascii_lowercase()).filter(|row| row.command.group != REFUSED)
}

/// Redis's word for a flag, where it has one.
fn word(flag: Flag) -> Option<&'static str> {
    match flag {
        Flag::Write => Some("write"),
        Flag::ReadOnly => Some("readonly"),
        Flag::Fast => Some("fast"),
        Flag::Admin => Some("admin"),
        Flag::PubSub => Some("pubsub"),
        Flag::NoAuth => Some("no_auth"),
        Flag::NoMulti => Some("no_multi"),
        Flag::Alone | Flag::Subscribed | Flag::Unqueued | Flag::Container | Flag::Sends => None,
    }
}

fn describe(call: &mut Call<'_, '_>, row: &Row) {
    let command = row.command;
    let reply = &mut call.reply;
    reply.array(10);
    reply.bulk(command.name.as_bytes());
    reply.integer(i64::from(command.arity));
    let flags: Vec<_> = command.flags.iter().filter_map(|&flag| word(flag)).collect();
    reply.set(flags.len());
    for flag in &flags {
        reply.simple(flag);
    }
    let (first, last, step) = command.keys;
    for number in [first, last, step] {
        reply.integer(i64::from(number));
    }
    let mut categories: Vec<&str> = Vec::new();
    categories.extend(row.has(Flag::Write).then_some("@write"));
    categories.extend(row.has(Flag::ReadOnly).then_some("@read"));
    categories.extend(row.has(Flag::Admin).then_some("@admin"));
    categories.extend(row.has(Flag::PubSub).then_some("@pubsub"));
    categories.push(if row.has(Flag::Fast) { "@fast" } else { "@slow" });
    reply.set(categories.len());
    for category in categories {
        reply.simple(category);
    }
    reply.array(0);
    reply.array(0);
    let below = if row.has(Flag::Container) { subcommands(command) } else { Vec::new() };
    reply.array(below.len());
    for row in below {
        describe(call, row);
    }
}

pub(super) fn all(call: &mut Call<'_, '_>) -> Flow {
    call.reply.array(commands().count());
    for row in commands() {
        describe(call, row);
    }
    Flow::Continue
}

pub(super) fn count(call: &mut Call<'_, '_>) -> Flow {
    call.number(Ok(commands().count() as i64))
}

pub(super) fn info(call: &mut Call<'_, '_>) -> Flow {
    let names = &call.words[2..];
    if names.is_empty() {
        return all(call);
    }
    call.reply.array(names.len());
    let start = call.reply.len();
    for name in names {
        match named(name) {
            Some(row) => describe(call, row),
            None => call.reply.null_array(),
        }
        if call.is_overrun(start) {
            return Flow::Close;
        }
    }
    Flow::Continue
}

fn document(call: &mut Call<'_, '_>, row: &Row) {
    let command = row.command;
    let below = if row.has(Flag::Container) { subcommands(command) } else { Vec::new() };
    call.reply.bulk(command.name.as_bytes());
    call.reply.map(3 + usize::from(!below.is_empty()));
    let fields = [("summary", command.summary), ("since", command.since), ("group", command.group)];
    for (name, text) in fields {
        call.reply.bulk(name.as_bytes());
        call.reply.bulk(text.as_bytes());
    }
    if !below.is_empty() {
        call.reply.bulk(b"subcommands");
        call.reply.map(below.len());
        for row in below {
            document(call, row);
        }
    }
}

pub(super) fn docs(call: &mut Call<'_, '_>) -> Flow {
    let names = &call.words[2..];
    let chosen: Vec<&Row> = if names.is_empty() {
        commands().collect()
    } else {
        names.iter().filter_map(|name| named(name)).collect()
    };
    call.reply.map(chosen.len());
    let start = call.reply.len();
    for row in chosen {
        document(call, row);
        if call.is_overrun(start) {
            return Flow::Close;
        }
    }
    Flow::Continue
}

pub(super) fn list(call: &mut Call<'_, '_>) -> Flow {
    let all = || rows().iter().filter(|row| row.command.group != REFUSED);
    let names = all().map(|row| row.command.name);
    let chosen: Vec<&str> = match call.words {
        [_, _] => names.collect(),
        [_, _, filter, kind, pattern] if is(filter, "filterby") && is(kind, "pattern") => {
            let Some(pattern) = glob::Pattern::new(pattern) else {
                return call.error(glob::TOO_LONG);
            };
            names.filter(|name| pattern.matches(name.as_bytes())).collect()
        }
        [_, _, filter, kind, category] if is(filter, "filterby") && is(kind, "aclcat") => {
            let flag = match category {
                word if is(word, "write") => Some(Flag::Write),
                word if is(word, "read") => Some(Flag::ReadOnly),
                word if is(word, "fast") => Some(Flag::Fast),
                word if is(word, "admin") => Some(Flag::Admin),
                word if is(word, "pubsub") => Some(Flag::PubSub),
                _ => None,
            };
            let has = |row: &&Row| flag.is_some_and(|flag| row.has(flag));
            all().filter(has).map(|row| row.command.name).collect()
        }
        [_, _, filter, kind, _] if is(filter, "filterby") && is(kind, "module") => Vec::new(),
        _ => return call.error(SYNTAX),
    };
    call.reply.array(chosen.len());
    for name in chosen {
        call.reply.bulk(name.as_bytes());
    }
    Flow::Continue
}

/// The command after `COMMAND GETKEYS`, and where its keys are.
fn keys_of(words: &[&[u8]]) -> Result<(&'static Row, Vec<usize>), &'static str> {
    let row = crate::commands::dispatch::lookup(words).ok_or("ERR Invalid command specified")?;
    if row.command.keys.0 == 0 {
        return Err("ERR The command has no key arguments");
    }
    if !row.admits(words.len()) {
        return Err("ERR Invalid number of arguments specified for command");
    }
    Ok((row, row.command.key_positions(words.len()).collect()))
}

pub(super) fn getkeys(call: &mut Call<'_, '_>) -> Flow {
    let words = &call.words[2..];
    let positions = match keys_of(words) {
        Ok((_, positions)) => positions,
        Err(text) => return call.error(text),
    };
    call.reply.array(positions.len());
    for position in positions {
        call.reply.bulk(words[position]);
    }
    Flow::Continue
}

pub(super) fn getkeysandflags(call: &mut Call<'_, '_>) -> Flow {
    let words = &call.words[2..];
    let (row, positions) = match keys_of(words) {
        Ok(found) => found,
        Err(text) => return call.error(text),
    };
    let flags = if row.has(Flag::Write) { ["RW", "UPDATE"] } else { ["RO", "ACCESS"] };
    call.reply.array(positions.len());
    for position in positions {
        call.reply.array(2);
        call.reply.bulk(words[position]);
        call.reply.set(flags.len());
        for flag in flags {
            call.reply.simple(flag);
        }
    }
    Flow::Continue
}

pub(super) fn help(call: &mut Call<'_, '_>) -> Flow {
    call.help(&[
        "(no subcommand)",
        "    Return details about all commands.",
        "COUNT",
        "    Return the total number of commands in this server.",
        "LIST",
        "    Return a list of all commands in this server.",
        "INFO [<command-name> ...]",
        "    Return details about multiple commands.",
        "    If no command names are given, details about all commands are returned.",
        "DOCS [<command-name> ...]",
        "    Return documentation details about multiple commands.",
        "    If no command names are given, documentation details about all",
        "    commands are returned.",
        "GETKEYS <full-command>",
        "    Return the keys from a full command.",
        "GETKEYSANDFLAGS <full-command>",
        "    Return the keys and the access flags from a full command.",
    ])
}
