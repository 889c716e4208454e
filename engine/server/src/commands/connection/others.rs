//! `CLIENT LIST`, `INFO` and `KILL`: connections as others see them.

use std::fmt::Write as _;
use std::sync::Arc;

use crate::clients::{Client, Peer};
use crate::commands::parse::{SYNTAX, integer, is};
use crate::commands::{Call, Flow};
use crate::resp::reply::Protocol;

/// What kind of client `CLIENT LIST TYPE` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Normal,
    PubSub,
    /// Masters and replicas, of which there are none.
    Peer,
}

impl Type {
    fn of_word(word: &[u8]) -> Option<Self> {
        match word {
            word if is(word, "normal") => Some(Self::Normal),
            word if is(word, "pubsub") => Some(Self::PubSub),
            word if is(word, "master") || is(word, "replica") || is(word, "slave") => {
                Some(Self::Peer)
            }
            _ => None,
        }
    }

    fn of(client: &Client) -> Self {
        let profile = client.profile.lock();
        let listens = profile.channels + profile.patterns + profile.shard_channels > 0;
        if listens { Self::PubSub } else { Self::Normal }
    }
}

fn unknown_type(word: &[u8]) -> String {
    format!("ERR Unknown client type '{}'", String::from_utf8_lossy(word))
}

/// The line that describes `client`. `running_len` is what it has sent of the command that runs, none
/// where it waits.
fn describe(line: &mut String, client: &Client, now_unix_ms: u64, running_len: Option<usize>) {
    let profile = client.profile.lock().clone();
    let unread = client.unread_bytes();
    let mut flags = String::new();
    let mut flag = |mark: char, is_set: bool| {
        if is_set {
            flags.push(mark);
        }
    };
    flag('P', profile.channels + profile.patterns + profile.shard_channels > 0);
    flag('x', profile.queued.is_some());
    flag('t', profile.tracking);
    flag('B', profile.broadcasts);
    flag('c', client.is_closing());
    flag('U', client.peer == Peer::Unix);
    flag('e', profile.no_evict);
    if flags.is_empty() {
        flags.push('N');
    }
    let seconds = |since: u64| now_unix_ms.saturating_sub(since) / 1000;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (query_len, query_room) = running_len.map_or_else(|| client.query(), |len| (len, 0));
    let argument_bytes = running_len.unwrap_or(0);
    let memory = unread + profile.queued_bytes + query_len + query_room + size_of::<Client>();
    let _ = write!(
        line,
        "id={} addr={} laddr={} fd=-1 name={} age={} idle={} flags={flags} db={} sub={} psub={} \
         ssub={} multi={} qbuf={query_len} qbuf-free={query_room} argv-mem={argument_bytes} multi-mem={} rbs=0 \
         rbp=0 obl=0 oll={} omem={unread} tot-mem={memory} events=r cmd={} user={} redir={} resp={} \
         lib-name={} lib-ver={}",
        client.id,
        client.peer,
        client.local,
        text(&profile.name),
        seconds(client.connected_unix_ms),
        seconds(profile.active_unix_ms),
        profile.database,
        profile.channels,
        profile.patterns,
        profile.shard_channels,
        profile.queued.map_or(-1, |queued| queued as i64),
        profile.queued_bytes,
        u8::from(unread > 0),
        profile.command,
        profile.user,
        profile.redirect.map_or(-1, |id| id as i64),
        if profile.protocol == Protocol::Resp3 { 3 } else { 2 },
        text(&profile.library),
        text(&profile.library_version),
    );
}

/// Bytes of the command that runs, as clients write it.
fn query_len(words: &[&[u8]]) -> usize {
    let digits = |number: usize| number.checked_ilog10().unwrap_or(0) as usize + 1;
    let words_len = words.iter().map(|word| digits(word.len()) + word.len() + 5);
    digits(words.len()) + 3 + words_len.sum::<usize>()
}

fn describe_all(call: &mut Call<'_, '_>, clients: &[Arc<Client>]) -> Flow {
    call.session.publish_profile();
    let now_unix_ms = call.service.clock.now_unix_ms();
    let mut text = String::new();
    let bytes_max = call.service.settings.limits.output_bytes_max;
    for client in clients {
        if text.len() > bytes_max {
            // The same number can be asked for a million times.
            call.session.client.cut_off();
            return Flow::Close;
        }
        let own = client.id == call.session.client.id;
        describe(&mut text, client, now_unix_ms, own.then(|| query_len(call.words)));
        text.push('\n');
    }
    call.reply.verbatim(&text);
    Flow::Continue
}

pub(super) fn info(call: &mut Call<'_, '_>) -> Flow {
    let own = Arc::clone(&call.session.client);
    describe_all(call, &[own])
}

pub(super) fn list(call: &mut Call<'_, '_>) -> Flow {
    let clients = &call.service.clients;
    let chosen = match call.words {
        [_, _] => clients.all(),
        [_, _, option, word] if is(option, "type") => {
            let Some(asked) = Type::of_word(word) else { return call.error(&unknown_type(word)) };
            clients.all().into_iter().filter(|client| Type::of(client) == asked).collect()
        }
        [_, _, option, ids @ ..] if is(option, "id") && !ids.is_empty() => {
            let mut chosen = Vec::new();
            for id in ids {
                let Some(id) = integer(id) else { return call.error("ERR Invalid client ID") };
                chosen.extend(u64::try_from(id).ok().and_then(|id| clients.get(id)));
            }
            chosen
        }
        _ => return call.error(SYNTAX),
    };
    describe_all(call, &chosen)
}

/// Which clients are to go.
#[derive(Default)]
struct Chosen<'a> {
    address: Option<&'a [u8]>,
    local: Option<&'a [u8]>,
    kind: Option<Type>,
    id: Option<u64>,
    spares_caller: bool,
}

impl<'a> Chosen<'a> {
    fn of_words(words: &[&'a [u8]]) -> Result<Self, String> {
        let mut chosen = Self { spares_caller: true, ..Self::default() };
        for pair in words.chunks(2) {
            let &[option, value] = pair else { return Err(SYNTAX.to_owned()) };
            if is(option, "id") {
                let id = integer(value).filter(|&id| id > 0);
                let id = id.ok_or("ERR client-id should be greater than 0")?;
                chosen.id = Some(id.unsigned_abs());
            } else if is(option, "type") {
                chosen.kind = Some(Type::of_word(value).ok_or_else(|| unknown_type(value))?);
            } else if is(option, "addr") {
                chosen.address = Some(value);
            } else if is(option, "laddr") {
                chosen.local = Some(value);
            } else if is(option, "user") {
                if value != b"default" {
                    return Err(format!("ERR No such user '{}'", String::from_utf8_lossy(value)));
                }
            } else if is(option, "skipme") && (is(value, "yes") || is(value, "no")) {
                chosen.spares_caller = is(value, "yes");
            } else {
                return Err(SYNTAX.to_owned());
            }
        }
        Ok(chosen)
    }

    fn has(&self, client: &Client) -> bool {
        self.address.is_none_or(|address| client.peer.to_string().as_bytes() == address)
            && self.local.is_none_or(|local| client.local.as_bytes() == local)
            && self.kind.is_none_or(|kind| Type::of(client) == kind)
            && self.id.is_none_or(|id| client.id == id)
    }
}

pub(super) fn kill(call: &mut Call<'_, '_>) -> Flow {
    let is_old_form = call.words.len() == 3;
    let chosen = if is_old_form {
        Chosen { address: Some(call.words[2]), ..Chosen::default() }
    } else {
        match Chosen::of_words(&call.words[2..]) {
            Ok(chosen) => chosen,
            Err(text) => return call.error(&text),
        }
    };
    let own_id = call.session.client.id;
    let (mut killed, mut flow) = (0, Flow::Continue);
    for client in call.service.clients.all() {
        if !chosen.has(&client) || (chosen.spares_caller && client.id == own_id) {
            continue;
        }
        killed += 1;
        if client.id == own_id {
            flow = Flow::Close;
        } else {
            // Its connection ends soon; nobody is to see it until then.
            call.service.clients.forget(client.id);
            client.close();
        }
    }
    match (is_old_form, killed) {
        (true, 0) => call.reply.error("ERR No such client"),
        (true, _) => call.reply.ok(),
        (false, killed) => call.reply.integer(killed),
    }
    flow
}
