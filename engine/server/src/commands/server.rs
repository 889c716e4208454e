//! Commands about the server: what it is, how it does, how it is set.

mod census;
pub(crate) mod config;
mod describe;
mod eviction;
mod info;

use std::time::{SystemTime, UNIX_EPOCH};

use crate::commands::parse::{NO_KEYS, NOT_AN_INTEGER, SYNTAX, integer};
use crate::commands::{Call, Command, Flag, Flow};

/// The group of what is only there to be refused in clear words.
const REFUSED: &str = "refused";

fn time(call: &mut Call<'_, '_>) -> Flow {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    call.reply.array(2);
    call.reply.bulk(now.as_secs().to_string().as_bytes());
    call.reply.bulk(now.subsec_micros().to_string().as_bytes());
    Flow::Continue
}

fn role(call: &mut Call<'_, '_>) -> Flow {
    call.reply.array(3);
    call.reply.bulk(b"master");
    call.reply.integer(0);
    call.reply.array(0);
    Flow::Continue
}

fn wait(call: &mut Call<'_, '_>) -> Flow {
    if integer(call.words[1]).is_none() {
        return call.error(NOT_AN_INTEGER);
    }
    match integer(call.words[2]) {
        None => call.error("ERR timeout is not an integer or out of range"),
        Some(..0) => call.error("ERR timeout is negative"),
        // There are no replicas to wait for.
        Some(_) => call.number(Ok(0)),
    }
}

fn ok(call: &mut Call<'_, '_>) -> Flow {
    call.reply.ok();
    Flow::Continue
}

fn zero(call: &mut Call<'_, '_>) -> Flow {
    call.reply.integer(0);
    Flow::Continue
}

fn nothing(call: &mut Call<'_, '_>) -> Flow {
    call.reply.array(0);
    Flow::Continue
}

fn function_flush(call: &mut Call<'_, '_>) -> Flow {
    let is_known = call.words.len() <= 3
        && call.words.get(2).is_none_or(|word| {
            word.eq_ignore_ascii_case(b"async") || word.eq_ignore_ascii_case(b"sync")
        });
    if is_known { ok(call) } else { call.error(SYNTAX) }
}

fn whoami(call: &mut Call<'_, '_>) -> Flow {
    call.reply.bulk(b"default");
    Flow::Continue
}

fn users(call: &mut Call<'_, '_>) -> Flow {
    call.reply.array(1);
    whoami(call)
}

fn refuse_saving(call: &mut Call<'_, '_>) -> Flow {
    call.error("ERR this server keeps nothing on disk: there is no saving")
}

fn refuse_replication(call: &mut Call<'_, '_>) -> Flow {
    call.error("ERR this server does not replicate")
}

fn refuse_shutdown(call: &mut Call<'_, '_>) -> Flow {
    call.error("ERR clients cannot stop this server: send it SIGTERM")
}

fn refuse_monitor(call: &mut Call<'_, '_>) -> Flow {
    call.error("ERR this server cannot be monitored by clients: see its metrics")
}

fn refuse_debug(call: &mut Call<'_, '_>) -> Flow {
    call.error("ERR DEBUG command not allowed: this server has none")
}

const fn row(
    name: &'static str,
    arity: i32,
    summary: &'static str,
    run: fn(&mut Call<'_, '_>) -> Flow,
) -> Command {
    Command::new(name, arity, &[], NO_KEYS, run).about("server", "2.8.13", summary)
}

const fn container(name: &'static str, summary: &'static str) -> Command {
    Command { flags: &[Flag::Container], ..row(name, -2, summary, |call| call.wrong_subcommand()) }
}

const fn admin(
    name: &'static str,
    arity: i32,
    summary: &'static str,
    run: fn(&mut Call<'_, '_>) -> Flow,
) -> Command {
    Command { flags: &[Flag::Admin], ..row(name, arity, summary, run) }
}

const fn refused(
    name: &'static str,
    arity: i32,
    flags: &'static [Flag],
    run: fn(&mut Call<'_, '_>) -> Flow,
) -> Command {
    Command { flags, group: REFUSED, ..row(name, arity, "Not supported.", run) }
}

/// The commands of this file.
pub const COMMANDS: &[Command] = &[
    Command {
        since: "1.0.0",
        ..row("info", -1, "Returns what is known of the server.", info::info)
    },
    Command { flags: &[Flag::Fast], since: "2.6.0", ..row("time", 1, "Returns the time.", time) },
    row("role", 1, "Returns that the server is a master.", role),
    Command { since: "3.0.0", ..row("wait", 3, "Returns 0: there are no replicas.", wait) },
    Command {
        // It is both: without a subcommand it returns all commands.
        flags: &[Flag::Container],
        ..row("command", -1, "Returns all commands.", describe::all)
    },
    row("command|count", 2, "Returns how many commands there are.", describe::count),
    row("command|docs", -2, "Returns what commands do.", describe::docs),
    row("command|info", -2, "Returns what commands are like.", describe::info),
    row("command|list", -2, "Returns the names of commands.", describe::list),
    row("command|getkeys", -3, "Returns the keys of a command.", describe::getkeys),
    row(
        "command|getkeysandflags",
        -3,
        "Returns the keys of a command and what it does to them.",
        describe::getkeysandflags,
    ),
    row("command|help", 2, "Returns a text about the subcommands.", describe::help),
    container("config", "A container for commands about settings."),
    admin("config|get", -3, "Returns settings.", config::get),
    admin("config|set", -4, "Changes settings.", config::set),
    admin("config|resetstat", 2, "Starts counting anew.", config::resetstat),
    admin("config|rewrite", 2, "Not supported.", config::rewrite),
    admin("config|help", 2, "Returns a text about the subcommands.", config::help),
    container("function", "A container for commands about functions, of which there are none."),
    Command {
        flags: &[Flag::Write],
        ..row("function|flush", -2, "Deletes all functions: none.", function_flush)
    },
    row("function|list", -2, "Returns all functions: none.", nothing),
    container("acl", "A container for commands about users."),
    row("acl|whoami", 2, "Returns the user of the connection.", whoami),
    admin("acl|users", 2, "Returns all users.", users),
    container("slowlog", "A container for commands about slow commands, which are not kept."),
    admin("slowlog|get", -2, "Returns slow commands: none.", nothing),
    admin("slowlog|len", 2, "Returns how many slow commands were kept: none.", zero),
    admin("slowlog|reset", 2, "Forgets slow commands.", ok),
    container("latency", "A container for commands about latency, which is in the metrics."),
    admin("latency|latest", 2, "Returns spikes of latency: none.", nothing),
    admin("latency|history", 3, "Returns past spikes of latency: none.", nothing),
    admin("latency|reset", -2, "Forgets spikes of latency.", zero),
    refused("save", 1, &[Flag::Admin, Flag::NoMulti], refuse_saving),
    refused("bgsave", -1, &[Flag::Admin], refuse_saving),
    refused("bgrewriteaof", 1, &[Flag::Admin], refuse_saving),
    refused("lastsave", 1, &[], refuse_saving),
    refused("replicaof", 3, &[Flag::Admin], refuse_replication),
    refused("slaveof", 3, &[Flag::Admin], refuse_replication),
    refused("shutdown", -1, &[Flag::Admin, Flag::NoMulti], refuse_shutdown),
    refused("monitor", 1, &[Flag::Admin, Flag::NoMulti], refuse_monitor),
    refused("debug", -2, &[Flag::Admin], refuse_debug),
];

#[cfg(test)]
mod tests;
