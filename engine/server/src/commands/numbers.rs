//! Commands on values that are numbers: `INCR` and its kin.

mod extended;

use self::extended::Extended;
use crate::commands::parse::{NOT_A_FLOAT, NOT_AN_INTEGER, ONE_KEY, WRITE_FAST, integer, no_room};
use crate::commands::{Call, Command, Flow};
use crate::keyspace::{End, Value};
use crate::notifications::Event;

/// The commands of this file.
pub const COMMANDS: &[Command] = &[
    Command::new("incr", 2, WRITE_FAST, ONE_KEY, incr).about(
        "string",
        "1.0.0",
        "Increment the integer value of a key by one",
    ),
    Command::new("decr", 2, WRITE_FAST, ONE_KEY, decr).about(
        "string",
        "1.0.0",
        "Decrement the integer value of a key by one",
    ),
    Command::new("incrby", 3, WRITE_FAST, ONE_KEY, incrby).about(
        "string",
        "1.0.0",
        "Increment the integer value of a key by the given amount",
    ),
    Command::new("decrby", 3, WRITE_FAST, ONE_KEY, decrby).about(
        "string",
        "1.0.0",
        "Decrement the integer value of a key by the given number",
    ),
    Command::new("incrbyfloat", 3, WRITE_FAST, ONE_KEY, incrbyfloat).about(
        "string",
        "2.6.0",
        "Increment the float value of a key by the given amount",
    ),
];

fn incr(call: &mut Call<'_, '_>) -> Flow {
    add(call, 1)
}

fn decr(call: &mut Call<'_, '_>) -> Flow {
    add(call, -1)
}

fn incrby(call: &mut Call<'_, '_>) -> Flow {
    match integer(call.words[2]) {
        Some(change) => add(call, change),
        None => call.error(NOT_AN_INTEGER),
    }
}

fn decrby(call: &mut Call<'_, '_>) -> Flow {
    match integer(call.words[2]).map(i64::checked_neg) {
        Some(Some(change)) => add(call, change),
        Some(None) => call.error("ERR decrement would overflow"),
        None => call.error(NOT_AN_INTEGER),
    }
}

fn add(call: &mut Call<'_, '_>, change: i64) -> Flow {
    let key = call.key(call.words[1]);
    let sum = call.keyspace().with_entry(&key, call.session.client.id, |entry| {
        let old = match entry.peek() {
            Some(snapshot) => integer(&snapshot.value).ok_or(NOT_AN_INTEGER)?,
            None => 0,
        };
        let sum = old.checked_add(change).ok_or("ERR increment or decrement would overflow")?;
        let mut digits = itoa::Buffer::new();
        let value = Value::new(digits.format(sum).as_bytes());
        entry.set(value, End::Keep).map(|()| sum).map_err(no_room)
    });
    if sum.is_ok() {
        call.tell(Event::INCREMENT, key.name());
    }
    call.number(sum)
}

fn incrbyfloat(call: &mut Call<'_, '_>) -> Flow {
    let key = call.key(call.words[1]);
    let Some(change) = Extended::parse(call.words[2]) else { return call.error(NOT_A_FLOAT) };
    let sum = call.keyspace().with_entry(&key, call.session.client.id, |entry| {
        let old = match entry.peek() {
            Some(snapshot) => Extended::parse(&snapshot.value).ok_or(NOT_A_FLOAT)?,
            None => Extended::default(),
        };
        let sum = old.add(&change).ok_or("ERR increment would produce NaN or Infinity")?;
        let text = sum.to_string();
        entry.set(Value::new(text.as_bytes()), End::Keep).map(|()| text).map_err(no_room)
    });
    match sum {
        Ok(text) => {
            call.tell(Event::INCREMENT_FLOAT, key.name());
            call.reply.bulk(text.as_bytes());
        }
        Err(text) => call.reply.error(text),
    }
    Flow::Continue
}
