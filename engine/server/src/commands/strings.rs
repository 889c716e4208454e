//! Commands that read and write whole values: `GET`, `SET` and their kin.
//!
//! Budget of a plain `GET`: one look-up and one copy, from the entry into the reply. Ranges, bits and
//! common subsequences have files of their own.

mod bits;
mod lcs;
mod ranges;

use crate::commands::ahead::AHEAD_KEYS;
use crate::commands::parse::{
    ALL_KEYS, NO_ROOM, NOT_AN_INTEGER, ONE_KEY, READ, READ_FAST, SYNTAX, TWO_KEYS, TimeForm, WRITE,
    WRITE_ALONE, WRITE_FAST, integer, is, no_room,
};
use crate::commands::{Call, Command, Flow};
use crate::keyspace::{End, Entry, Key, Keyspace, Value, WriteError, weight_of};
use crate::notifications::Event;

/// The longest value that is copied into the reply with its shard locked, bytes. Of a longer one only
/// the pointer is copied there.
const COPY_BYTES_MAX: usize = 16 << 10;

/// Every other word is a key.
const PAIRS: (i32, i32, i32) = (1, -1, 2);

/// The commands of this file.
pub const COMMANDS: &[Command] = &[
    Command::new("get", 2, READ_FAST, ONE_KEY, get).about(
        "string",
        "1.0.0",
        "Get the value of a key",
    ),
    Command::new("set", -3, WRITE, ONE_KEY, set).about(
        "string",
        "1.0.0",
        "Set the string value of a key",
    ),
    Command::new("setnx", 3, WRITE_FAST, ONE_KEY, setnx).about(
        "string",
        "1.0.0",
        "Set the value of a key, only if the key does not exist",
    ),
    Command::new("setex", 4, WRITE, ONE_KEY, setex).about(
        "string",
        "2.0.0",
        "Set the value and expiration of a key",
    ),
    Command::new("psetex", 4, WRITE, ONE_KEY, psetex).about(
        "string",
        "2.6.0",
        "Set the value and expiration in milliseconds of a key",
    ),
    Command::new("getset", 3, WRITE_FAST, ONE_KEY, getset).about(
        "string",
        "1.0.0",
        "Set the string value of a key and return its old value",
    ),
    Command::new("getdel", 2, WRITE_FAST, ONE_KEY, getdel).about(
        "string",
        "6.2.0",
        "Get the value of a key and delete the key",
    ),
    Command::new("getex", -2, WRITE_FAST, ONE_KEY, getex).about(
        "string",
        "6.2.0",
        "Get the value of a key and optionally set its expiration",
    ),
    Command::new("mget", -2, READ_FAST, ALL_KEYS, mget).about(
        "string",
        "1.0.0",
        "Get the values of all the given keys",
    ),
    Command::new("mset", -3, WRITE_ALONE, PAIRS, mset).about(
        "string",
        "1.0.1",
        "Set multiple keys to multiple values",
    ),
    Command::new("msetnx", -3, WRITE_ALONE, PAIRS, msetnx).about(
        "string",
        "1.0.1",
        "Set multiple keys to multiple values, only if none of the keys exist",
    ),
    Command::new("append", 3, WRITE_FAST, ONE_KEY, ranges::append).about(
        "string",
        "2.0.0",
        "Append a value to a key",
    ),
    Command::new("strlen", 2, READ_FAST, ONE_KEY, ranges::strlen).about(
        "string",
        "2.2.0",
        "Get the length of the value stored in a key",
    ),
    Command::new("getrange", 4, READ, ONE_KEY, ranges::getrange).about(
        "string",
        "2.4.0",
        "Get a substring of the string stored at a key",
    ),
    Command::new("substr", 4, READ, ONE_KEY, ranges::getrange).about(
        "string",
        "1.0.0",
        "Get a substring of the string stored at a key",
    ),
    Command::new("setrange", 4, WRITE, ONE_KEY, ranges::setrange).about(
        "string",
        "2.2.0",
        "Overwrite part of a string at key starting at the specified offset",
    ),
    Command::new("lcs", -3, READ, TWO_KEYS, lcs::lcs).about(
        "string",
        "7.0.0",
        "Find longest common substring",
    ),
    Command::new("setbit", 4, WRITE, ONE_KEY, bits::setbit).about(
        "bitmap",
        "2.2.0",
        "Sets or clears the bit at offset in the string value stored at key",
    ),
    Command::new("getbit", 3, READ_FAST, ONE_KEY, bits::getbit).about(
        "bitmap",
        "2.2.0",
        "Returns the bit value at offset in the string value stored at key",
    ),
    Command::new("bitcount", -2, READ, ONE_KEY, bits::bitcount).about(
        "bitmap",
        "2.6.0",
        "Count set bits in a string",
    ),
    Command::new("bitpos", -3, READ, ONE_KEY, bits::bitpos).about(
        "bitmap",
        "2.8.7",
        "Find first bit set or clear in a string",
    ),
];

/// Replies with the value of `name`, or with null.
#[inline]
fn reply_value(call: &mut Call<'_, '_>, name: &[u8]) {
    let keyspace = call.keyspace();
    let Call { session, reply, .. } = call;
    let found = keyspace.read(session.lookup(name), |value| {
        if value.len() <= COPY_BYTES_MAX {
            reply.bulk(value);
            None
        } else {
            Some(value.clone())
        }
    });
    match found {
        Some(None) => {}
        Some(Some(value)) => reply.bulk(&value),
        None => reply.null(),
    }
}

/// The value of `name`, a request.
fn value_of(call: &mut Call<'_, '_>, name: &[u8]) -> Option<Value> {
    let keyspace = call.keyspace();
    keyspace.read(call.lookup(name), Value::clone)
}

/// Replies with `value`, or with null.
fn reply_option(call: &mut Call<'_, '_>, value: Option<Value>) {
    match value {
        Some(value) => call.reply.bulk(&value),
        None => call.reply.null(),
    }
}

/// Replies `+OK`, or says why nothing was stored.
fn reply_stored<T>(call: &mut Call<'_, '_>, stored: Result<T, WriteError>) -> Flow {
    match stored {
        Ok(_) => call.reply.ok(),
        Err(error) => call.reply.error(no_room(error)),
    }
    Flow::Continue
}

/// Stores, replies `+OK` or says why not, and tells of it.
fn store(call: &mut Call<'_, '_>, name: &[u8], value: &[u8], end: End) -> Flow {
    // The key before the value: it is put together from pieces and read back at once, which waits for
    // all writes before it, and those of a value are slow.
    let key = call.key(name);
    let stored = call.keyspace().set(key, Value::new(value), end, call.session.client.id);
    if stored.is_ok() {
        tell_set(call, name, end);
    }
    reply_stored(call, stored)
}

/// Tells that a value was stored under `name`, to end at `end`.
#[inline]
fn tell_set(call: &Call<'_, '_>, name: &[u8], end: End) {
    if call.service.notifications.is_on() {
        tell_set_with_end(call, name, end);
    }
}

#[cold]
fn tell_set_with_end(call: &Call<'_, '_>, name: &[u8], end: End) {
    call.tell(Event::SET, name);
    let End::At(unix_ms) = end else { return };
    call.tell(Event::WILL_END, name);
    // What is over at once is not stored, so that it cannot expire later.
    let keyspace = call.keyspace();
    let is_over = unix_ms <= keyspace.clock().now_unix_ms();
    if is_over && keyspace.version(call.key(name).as_bytes()).is_none() {
        call.tell(Event::EXPIRED, name);
    }
}

/// False where an entry of these lengths cannot be stored: to be asked before its value is made.
fn fits(keyspace: &Keyspace, key: &Key, value_len: usize) -> bool {
    u64::from(weight_of(key.name().len(), value_len)) <= keyspace.weight_max()
}

fn get(call: &mut Call<'_, '_>) -> Flow {
    reply_value(call, call.words[1]);
    Flow::Continue
}

fn mget(call: &mut Call<'_, '_>) -> Flow {
    let (names, start) = (&call.words[1..], call.reply.len());
    call.reply.array(names.len());
    for names in names.chunks(AHEAD_KEYS) {
        call.expect_reads(names);
        for name in names {
            reply_value(call, name);
            if call.is_overrun(start) {
                return Flow::Close;
            }
        }
    }
    Flow::Continue
}

/// When `SET` and `GETEX` write.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Condition {
    Always,
    /// `NX`.
    Absent,
    /// `XX`.
    Present,
}

/// What `SET` and `GETEX` are told of the entry's end.
#[derive(Clone, Copy)]
enum Lifetime<'a> {
    Unsaid,
    /// `KEEPTTL`.
    Keep,
    /// `PERSIST`.
    Persist,
    /// `EX` and the like, with the word that follows.
    Given(TimeForm, &'a [u8]),
}

/// The commands that take these options.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    Set,
    Get,
}

/// The words behind the key, or key and value.
struct Options<'a> {
    condition: Condition,
    lifetime: Lifetime<'a>,
    /// `GET`.
    returns_old: bool,
}

impl<'a> Options<'a> {
    /// None where they break a rule: `NX` with `XX`, two kinds of ends, a word that is no option.
    fn parse(words: &[&'a [u8]], family: Family) -> Option<Self> {
        let mut options =
            Self { condition: Condition::Always, lifetime: Lifetime::Unsaid, returns_old: false };
        let mut words = words.iter();
        while let Some(&word) = words.next() {
            if let Some(form) = TimeForm::of_option(word) {
                match options.lifetime {
                    Lifetime::Unsaid => {}
                    Lifetime::Given(before, _) if before == form => {}
                    _ => return None,
                }
                options.lifetime = Lifetime::Given(form, words.next()?);
                continue;
            }
            options.take(word, family)?;
        }
        Some(options)
    }

    /// Takes an option of one word.
    fn take(&mut self, word: &[u8], family: Family) -> Option<()> {
        match family {
            Family::Set if is(word, "nx") && self.condition != Condition::Present => {
                self.condition = Condition::Absent;
            }
            Family::Set if is(word, "xx") && self.condition != Condition::Absent => {
                self.condition = Condition::Present;
            }
            Family::Set if is(word, "get") => self.returns_old = true,
            Family::Set if is(word, "keepttl") => match self.lifetime {
                Lifetime::Unsaid | Lifetime::Keep => self.lifetime = Lifetime::Keep,
                _ => return None,
            },
            Family::Get if is(word, "persist") => match self.lifetime {
                Lifetime::Unsaid | Lifetime::Persist => self.lifetime = Lifetime::Persist,
                _ => return None,
            },
            _ => return None,
        }
        Some(())
    }
}

/// Why a time cannot be taken.
enum TimeError {
    NotAnInteger,
    OutOfRange,
}

impl TimeError {
    fn reply(self, call: &mut Call<'_, '_>) -> Flow {
        match self {
            Self::NotAnInteger => call.error(NOT_AN_INTEGER),
            Self::OutOfRange => call.wrong_time(),
        }
    }
}

/// The end that `word` gives: a time above zero.
fn end_of(call: &Call<'_, '_>, form: TimeForm, word: &[u8]) -> Result<End, TimeError> {
    let number = integer(word).ok_or(TimeError::NotAnInteger)?;
    let now_unix_ms = call.keyspace().clock().now_unix_ms();
    let unix_ms = if number > 0 { form.unix_ms(number, now_unix_ms) } else { None };
    Ok(End::At(unix_ms.ok_or(TimeError::OutOfRange)?.unsigned_abs()))
}

fn set(call: &mut Call<'_, '_>) -> Flow {
    let (name, value, words) = (call.words[1], call.words[2], &call.words[3..]);
    let (keyspace, writer) = (call.keyspace(), call.session.client.id);
    if words.is_empty() {
        return store(call, name, value, End::Never);
    }
    let Some(options) = Options::parse(words, Family::Set) else { return call.error(SYNTAX) };
    let end = match options.lifetime {
        Lifetime::Unsaid | Lifetime::Persist => End::Never,
        Lifetime::Keep => End::Keep,
        Lifetime::Given(form, word) => match end_of(call, form, word) {
            Ok(end) => end,
            Err(error) => return error.reply(call),
        },
    };
    if !options.returns_old && options.condition == Condition::Always && end != End::Keep {
        return store(call, name, value, end);
    }
    let value = Value::new(value);
    let outcome = keyspace.with_entry(&call.key(name), writer, |entry| {
        let old = if options.returns_old {
            entry.get()
        } else {
            entry.peek().map(|snapshot| snapshot.value)
        };
        let writes = match options.condition {
            Condition::Always => true,
            Condition::Absent => old.is_none(),
            Condition::Present => old.is_some(),
        };
        if writes {
            entry.set(value, end)?;
        }
        Ok((old, writes))
    });
    if matches!(outcome, Ok((_, true))) {
        tell_set(call, name, end);
    }
    match outcome {
        Err(error) => call.reply.error(no_room(error)),
        Ok((old, _)) if options.returns_old => reply_option(call, old),
        Ok((_, true)) => call.reply.ok(),
        Ok((_, false)) => call.reply.null(),
    }
    Flow::Continue
}

fn setnx(call: &mut Call<'_, '_>) -> Flow {
    let (key, value) = (call.key(call.words[1]), Value::new(call.words[2]));
    let stored = call.keyspace().with_entry(&key, call.session.client.id, |entry| {
        if entry.peek().is_some() {
            return Ok(0);
        }
        entry.set(value, End::Never).map(|()| 1)
    });
    if stored == Ok(1) {
        call.tell(Event::SET, key.name());
    }
    call.number(stored.map_err(no_room))
}

fn setex(call: &mut Call<'_, '_>) -> Flow {
    set_with_time(call, TimeForm::Seconds)
}

fn psetex(call: &mut Call<'_, '_>) -> Flow {
    set_with_time(call, TimeForm::Milliseconds)
}

fn set_with_time(call: &mut Call<'_, '_>, form: TimeForm) -> Flow {
    let end = match end_of(call, form, call.words[2]) {
        Ok(end) => end,
        Err(error) => return error.reply(call),
    };
    store(call, call.words[1], call.words[3], end)
}

fn getset(call: &mut Call<'_, '_>) -> Flow {
    let (key, value) = (call.key(call.words[1]), Value::new(call.words[2]));
    let outcome = call.keyspace().with_entry(&key, call.session.client.id, |entry| {
        let old = entry.get();
        entry.set(value, End::Never).map(|()| old)
    });
    match outcome {
        Ok(old) => {
            call.tell(Event::SET, key.name());
            reply_option(call, old);
        }
        Err(error) => call.reply.error(no_room(error)),
    }
    Flow::Continue
}

fn getdel(call: &mut Call<'_, '_>) -> Flow {
    let key = call.key(call.words[1]);
    let old = call.keyspace().with_entry(&key, call.session.client.id, |entry| {
        let old = entry.get();
        entry.remove();
        old
    });
    if old.is_some() {
        call.tell(Event::REMOVED, key.name());
    }
    reply_option(call, old);
    Flow::Continue
}

fn getex(call: &mut Call<'_, '_>) -> Flow {
    let (name, words) = (call.words[1], &call.words[2..]);
    let Some(options) = Options::parse(words, Family::Get) else { return call.error(SYNTAX) };
    // A time that cannot be taken is an error only where there is an entry.
    let end = match options.lifetime {
        Lifetime::Unsaid | Lifetime::Keep => {
            reply_value(call, name);
            return Flow::Continue;
        }
        Lifetime::Persist => Ok(End::Never),
        Lifetime::Given(form, word) => end_of(call, form, word),
    };
    let key = call.key(name);
    let outcome = call.keyspace().with_entry(&key, call.session.client.id, |entry| {
        let Some(value) = entry.get() else { return Ok(None) };
        let event = match end? {
            End::Never if entry.end_unix_ms() == Some(None) => None,
            end => {
                entry.set_end(end);
                Some(event_of(entry, end))
            }
        };
        Ok(Some((value, event)))
    });
    match outcome {
        Ok(found) => {
            if let Some((_, Some(event))) = found {
                call.tell(event, name);
            }
            reply_option(call, found.map(|(value, _)| value));
        }
        Err(error) => return TimeError::reply(error, call),
    }
    Flow::Continue
}

/// What happened to `entry` when it was told to end at `end`.
pub(crate) fn event_of(entry: &mut Entry<'_, '_>, end: End) -> Event {
    match end {
        End::Never => Event::PERSIST,
        _ if entry.peek().is_none() => Event::REMOVED,
        _ => Event::WILL_END,
    }
}

fn mset(call: &mut Call<'_, '_>) -> Flow {
    set_pairs(call, Condition::Always)
}

fn msetnx(call: &mut Call<'_, '_>) -> Flow {
    set_pairs(call, Condition::Absent)
}

/// Stores all pairs or none. It runs alone, so that nobody sees some of them.
fn set_pairs(call: &mut Call<'_, '_>, condition: Condition) -> Flow {
    let (pairs, rest) = call.words[1..].as_chunks::<2>();
    if !rest.is_empty() {
        return call.wrong_arity();
    }
    let (keyspace, writer) = (call.keyspace(), call.session.client.id);
    if condition == Condition::Absent
        && pairs.iter().any(|[name, _]| keyspace.version(call.lookup(name)).is_some())
    {
        call.reply.integer(0);
        return Flow::Continue;
    }
    if !pairs.iter().all(|[name, value]| fits(keyspace, &call.key(name), value.len())) {
        return call.error(NO_ROOM);
    }
    for [name, value] in pairs {
        if let Err(error) = keyspace.set(call.key(name), Value::new(value), End::Never, writer) {
            return call.error(no_room(error));
        }
        call.tell(Event::SET, name);
    }
    match condition {
        Condition::Absent => call.reply.integer(1),
        _ => call.reply.ok(),
    }
    Flow::Continue
}
