//! `PUBLISH`, `SUBSCRIBE` and their kin.

use crate::channels::Kind;
use crate::commands::parse::{NO_KEYS, glob};
use crate::commands::{Call, Command, Flag, Flow};

/// Patterns that one client may listen to: every message is matched against all of them.
const PATTERNS_MAX: usize = 1_000;

fn subscribe(call: &mut Call<'_, '_>, kind: Kind) -> Flow {
    let verb: &[u8] = match kind {
        Kind::Channel => b"subscribe",
        Kind::Pattern => b"psubscribe",
        Kind::Shard => b"ssubscribe",
    };
    let names = &call.words[1..];
    if kind == Kind::Pattern {
        if names.iter().any(|name| name.len() > glob::PATTERN_LEN_MAX) {
            return call.error(glob::TOO_LONG);
        }
        if call.session.subscriptions.patterns() + names.len() > PATTERNS_MAX {
            return call.error("ERR too many patterns for a single client");
        }
    }
    for &name in names {
        let session = &mut *call.session;
        call.service.channels.subscribe(kind, name, &session.client, &mut session.subscriptions);
        let count = session.subscriptions.count(kind);
        acknowledge(call, verb, Some(name), count);
    }
    // Whoever sends an invalidation looks there whether the client listens.
    call.session.publish_profile();
    Flow::Continue
}

fn unsubscribe(call: &mut Call<'_, '_>, kind: Kind) -> Flow {
    let verb: &[u8] = match kind {
        Kind::Channel => b"unsubscribe",
        Kind::Pattern => b"punsubscribe",
        Kind::Shard => b"sunsubscribe",
    };
    // What was sent before the reply is read before it, but not as a part of what EXEC answers.
    if !call.session.transaction.is_running() {
        call.session.client.collect(call.reply.buffer());
    }
    let all;
    let names: Vec<&[u8]> = if call.words.len() > 1 {
        call.words[1..].to_vec()
    } else {
        all = call.session.subscriptions.names(kind);
        all.iter().map(|name| &**name).collect()
    };
    if names.is_empty() {
        let count = call.session.subscriptions.count(kind);
        acknowledge(call, verb, None, count);
    }
    for name in names {
        let session = &mut *call.session;
        let id = session.client.id;
        call.service.channels.unsubscribe(kind, name, id, &mut session.subscriptions);
        let count = session.subscriptions.count(kind);
        acknowledge(call, verb, Some(name), count);
    }
    call.session.publish_profile();
    Flow::Continue
}

fn acknowledge(call: &mut Call<'_, '_>, verb: &[u8], name: Option<&[u8]>, count: usize) {
    call.reply.push(3);
    call.reply.bulk(verb);
    match name {
        Some(name) => call.reply.bulk(name),
        None => call.reply.null(),
    }
    call.reply.integer(count as i64);
}

fn publish(call: &mut Call<'_, '_>) -> Flow {
    let count = call.service.channels.publish(call.words[1], call.words[2]);
    call.reply.integer(count as i64);
    Flow::Continue
}

fn spublish(call: &mut Call<'_, '_>) -> Flow {
    let count = call.service.channels.publish_shard(call.words[1], call.words[2]);
    call.reply.integer(count as i64);
    Flow::Continue
}

fn active(call: &mut Call<'_, '_>, kind: Kind) -> Flow {
    if call.words.len() > 3 {
        return call.wrong_subcommand();
    }
    let pattern = match call.words.get(2).map(|word| glob::Pattern::new(word)) {
        Some(None) => return call.error(glob::TOO_LONG),
        Some(pattern) => pattern,
        None => None,
    };
    let names = call.service.channels.active(kind, pattern.as_ref());
    call.reply.array(names.len());
    for name in names {
        call.reply.bulk(&name);
    }
    Flow::Continue
}

fn listeners(call: &mut Call<'_, '_>, kind: Kind) -> Flow {
    let names = &call.words[2..];
    call.reply.array(names.len() * 2);
    for name in names {
        call.reply.bulk(name);
        call.reply.integer(call.service.channels.listeners(kind, name) as i64);
    }
    Flow::Continue
}

fn patterns(call: &mut Call<'_, '_>) -> Flow {
    call.reply.integer(call.service.channels.patterns() as i64);
    Flow::Continue
}

fn help(call: &mut Call<'_, '_>) -> Flow {
    call.help(&[
        "CHANNELS [<pattern>]",
        "    Return the currently active channels matching a <pattern> (default: '*').",
        "NUMPAT",
        "    Return number of subscriptions to patterns.",
        "NUMSUB [<channel> ...]",
        "    Return the number of subscribers for the specified channels, excluding",
        "    pattern subscriptions(default: no channels).",
        "SHARDCHANNELS [<pattern>]",
        "    Return the currently active shard level channels matching a <pattern> (default: '*').",
        "SHARDNUMSUB [<shardchannel> ...]",
        "    Return the number of subscribers for the specified shard level channel(s)",
    ])
}

const LISTEN: &[Flag] = &[Flag::PubSub, Flag::Subscribed];
const SEND: &[Flag] = &[Flag::PubSub, Flag::Fast, Flag::Sends];
const LOOK: &[Flag] = &[Flag::PubSub];

const fn row(
    name: &'static str,
    arity: i32,
    flags: &'static [Flag],
    run: fn(&mut Call<'_, '_>) -> Flow,
) -> Command {
    Command::new(name, arity, flags, NO_KEYS, run).about("pubsub", "2.0.0", "")
}

/// The commands of this file.
pub const COMMANDS: &[Command] = &[
    Command {
        summary: "Listens for messages published to channels.",
        ..row("subscribe", -2, LISTEN, |call| subscribe(call, Kind::Channel))
    },
    Command {
        summary: "Stops listening to messages posted to channels.",
        ..row("unsubscribe", -1, LISTEN, |call| unsubscribe(call, Kind::Channel))
    },
    Command {
        summary: "Listens for messages published to channels that match patterns.",
        ..row("psubscribe", -2, LISTEN, |call| subscribe(call, Kind::Pattern))
    },
    Command {
        summary: "Stops listening to channels that match patterns.",
        ..row("punsubscribe", -1, LISTEN, |call| unsubscribe(call, Kind::Pattern))
    },
    Command {
        summary: "Listens for messages published to shard channels.",
        since: "7.0.0",
        ..row("ssubscribe", -2, LISTEN, |call| subscribe(call, Kind::Shard))
    },
    Command {
        summary: "Stops listening to messages posted to shard channels.",
        since: "7.0.0",
        ..row("sunsubscribe", -1, LISTEN, |call| unsubscribe(call, Kind::Shard))
    },
    Command { summary: "Posts a message to a channel.", ..row("publish", 3, SEND, publish) },
    Command {
        summary: "Posts a message to a shard channel.",
        since: "7.0.0",
        ..row("spublish", 3, SEND, spublish)
    },
    Command {
        summary: "A container for commands about channels.",
        since: "2.8.0",
        ..row("pubsub", -2, &[Flag::Container], |call| call.wrong_subcommand())
    },
    Command {
        summary: "Returns the channels that somebody listens to.",
        since: "2.8.0",
        ..row("pubsub|channels", -2, LOOK, |call| active(call, Kind::Channel))
    },
    Command {
        summary: "Returns how many listen to channels.",
        since: "2.8.0",
        ..row("pubsub|numsub", -2, LOOK, |call| listeners(call, Kind::Channel))
    },
    Command {
        summary: "Returns how many patterns somebody listens to.",
        since: "2.8.0",
        ..row("pubsub|numpat", 2, LOOK, patterns)
    },
    Command {
        summary: "Returns the shard channels that somebody listens to.",
        since: "7.0.0",
        ..row("pubsub|shardchannels", -2, LOOK, |call| active(call, Kind::Shard))
    },
    Command {
        summary: "Returns how many listen to shard channels.",
        since: "7.0.0",
        ..row("pubsub|shardnumsub", -2, LOOK, |call| listeners(call, Kind::Shard))
    },
    Command {
        summary: "Returns a text about the subcommands.",
        since: "6.2.0",
        ..row("pubsub|help", 2, LOOK, help)
    },
];
