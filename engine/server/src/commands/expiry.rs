//! Commands on the ends of entries: `EXPIRE`, `TTL` and their kin.

use crate::commands::parse::{
    NOT_AN_INTEGER, ONE_KEY, READ_FAST, TimeForm, WRITE_FAST, integer, is,
};
use crate::commands::strings::event_of;
use crate::commands::{Call, Command, Flow};
use crate::keyspace::End;
use crate::notifications::Event;

/// The commands of this file.
pub const COMMANDS: &[Command] = &[
    Command::new("expire", -3, WRITE_FAST, ONE_KEY, expire).about(
        "generic",
        "1.0.0",
        "Set a key's time to live in seconds",
    ),
    Command::new("pexpire", -3, WRITE_FAST, ONE_KEY, pexpire).about(
        "generic",
        "2.6.0",
        "Set a key's time to live in milliseconds",
    ),
    Command::new("expireat", -3, WRITE_FAST, ONE_KEY, expireat).about(
        "generic",
        "1.2.0",
        "Set the expiration for a key as a UNIX timestamp",
    ),
    Command::new("pexpireat", -3, WRITE_FAST, ONE_KEY, pexpireat).about(
        "generic",
        "2.6.0",
        "Set the expiration for a key as a UNIX timestamp specified in milliseconds",
    ),
    Command::new("ttl", 2, READ_FAST, ONE_KEY, ttl).about(
        "generic",
        "1.0.0",
        "Get the time to live for a key in seconds",
    ),
    Command::new("pttl", 2, READ_FAST, ONE_KEY, pttl).about(
        "generic",
        "2.6.0",
        "Get the time to live for a key in milliseconds",
    ),
    Command::new("expiretime", 2, READ_FAST, ONE_KEY, expiretime).about(
        "generic",
        "7.0.0",
        "Get the expiration Unix timestamp for a key",
    ),
    Command::new("pexpiretime", 2, READ_FAST, ONE_KEY, pexpiretime).about(
        "generic",
        "7.0.0",
        "Get the expiration Unix timestamp for a key in milliseconds",
    ),
    Command::new("persist", 2, WRITE_FAST, ONE_KEY, persist).about(
        "generic",
        "2.2.0",
        "Remove the expiration from a key",
    ),
];

fn expire(call: &mut Call<'_, '_>) -> Flow {
    expire_by(call, TimeForm::Seconds)
}

fn pexpire(call: &mut Call<'_, '_>) -> Flow {
    expire_by(call, TimeForm::Milliseconds)
}

fn expireat(call: &mut Call<'_, '_>) -> Flow {
    expire_by(call, TimeForm::AtSeconds)
}

fn pexpireat(call: &mut Call<'_, '_>) -> Flow {
    expire_by(call, TimeForm::AtMilliseconds)
}

/// Moves the end of an entry where the options allow it. A time that is over deletes the entry.
fn expire_by(call: &mut Call<'_, '_>, form: TimeForm) -> Flow {
    let words = call.words;
    let options = match Options::parse(&words[3..]) {
        Ok(options) => options,
        Err(text) => return call.error(&text),
    };
    let Some(number) = integer(words[2]) else { return call.error(NOT_AN_INTEGER) };
    let keyspace = call.keyspace();
    let Some(unix_ms) = form.unix_ms(number, keyspace.clock().now_unix_ms()) else {
        return call.wrong_time();
    };
    // What is before 1970 is over.
    let unix_ms = u64::try_from(unix_ms).unwrap_or(0);
    let moved = keyspace.with_entry(&call.key(words[1]), call.session.client.id, |entry| {
        let current = entry.end_unix_ms()?;
        let moved = options.allow(current, unix_ms) && entry.set_end(End::At(unix_ms));
        moved.then(|| event_of(entry, End::At(unix_ms)))
    });
    if let Some(event) = moved {
        call.tell(event, words[1]);
    }
    call.reply.integer(i64::from(moved.is_some()));
    Flow::Continue
}

/// When an end may be moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Options {
    /// `NX`: where there is none.
    none: bool,
    /// `XX`: where there is one.
    some: bool,
    /// `GT`: to a later one; none counts as the latest.
    later: bool,
    /// `LT`: to an earlier one.
    earlier: bool,
}

impl Options {
    /// They, or Redis's error.
    fn parse(words: &[&[u8]]) -> Result<Self, String> {
        let mut options = Self::default();
        for word in words {
            match *word {
                word if is(word, "nx") => options.none = true,
                word if is(word, "xx") => options.some = true,
                word if is(word, "gt") => options.later = true,
                word if is(word, "lt") => options.earlier = true,
                word => {
                    return Err(format!(
                        "ERR Unsupported option {}",
                        String::from_utf8_lossy(word)
                    ));
                }
            }
        }
        let Self { none, some, later, earlier } = options;
        if none && (some || later || earlier) {
            let text = "ERR NX and XX, GT or LT options at the same time are not compatible";
            return Err(text.to_owned());
        }
        if later && earlier {
            return Err("ERR GT and LT options at the same time are not compatible".to_owned());
        }
        Ok(options)
    }

    /// True where an end at `current`, none for never, may move to `unix_ms`.
    fn allow(self, current: Option<u64>, unix_ms: u64) -> bool {
        let is_later = current.is_some_and(|current| unix_ms > current);
        let is_earlier = current.is_none_or(|current| unix_ms < current);
        !(self.none && current.is_some()
            || self.some && current.is_none()
            || self.later && !is_later
            || self.earlier && !is_earlier)
    }
}

fn ttl(call: &mut Call<'_, '_>) -> Flow {
    reply_remaining(call, in_seconds)
}

fn pttl(call: &mut Call<'_, '_>) -> Flow {
    reply_remaining(call, |ms| ms)
}

fn expiretime(call: &mut Call<'_, '_>) -> Flow {
    reply_end(call, in_seconds)
}

fn pexpiretime(call: &mut Call<'_, '_>) -> Flow {
    reply_end(call, |ms| ms)
}

/// Rounded, as Redis does it.
fn in_seconds(ms: u64) -> u64 {
    ms.saturating_add(500) / 1000
}

fn reply_remaining(call: &mut Call<'_, '_>, unit: fn(u64) -> u64) -> Flow {
    let keyspace = call.keyspace();
    let entry = keyspace.entry(call.lookup(call.words[1]));
    if entry.is_none() {
        call.tell(Event::MISS, call.words[1]);
    }
    let remaining = entry.map(|snapshot| snapshot.remaining.map(|left| left.as_millis() as u64));
    reply_time(call, remaining, unit)
}

fn reply_end(call: &mut Call<'_, '_>, unit: fn(u64) -> u64) -> Flow {
    let key = call.key(call.words[1]);
    let writer = call.session.client.id;
    let end = call.keyspace().with_entry(&key, writer, |entry| entry.end_unix_ms());
    if end.is_none() {
        call.tell(Event::MISS, key.name());
    }
    reply_time(call, end, unit)
}

/// Replies with a time; −1 for never, −2 where there is no entry.
fn reply_time(call: &mut Call<'_, '_>, ms: Option<Option<u64>>, unit: fn(u64) -> u64) -> Flow {
    call.reply.integer(match ms {
        None => -2,
        Some(None) => -1,
        Some(Some(ms)) => i64::try_from(unit(ms)).unwrap_or(i64::MAX),
    });
    Flow::Continue
}

fn persist(call: &mut Call<'_, '_>) -> Flow {
    let key = call.key(call.words[1]);
    let moved = call.keyspace().with_entry(&key, call.session.client.id, |entry| {
        matches!(entry.end_unix_ms(), Some(Some(_))) && entry.set_end(End::Never)
    });
    if moved {
        call.tell(Event::PERSIST, key.name());
    }
    call.reply.integer(i64::from(moved));
    Flow::Continue
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_allow_what_redis_allows() {
        // options; current end (0 for never); new end; allowed
        let cases = [
            ("", 0, 5, true),
            ("NX", 0, 5, true),
            ("NX", 9, 5, false),
            ("XX", 0, 5, false),
            ("XX", 9, 5, true),
            ("GT", 0, 5, false),
            ("GT", 5, 5, false),
            ("GT", 4, 5, true),
            ("LT", 0, 5, true),
            ("LT", 5, 5, false),
            ("LT", 6, 5, true),
            ("xx lt", 0, 5, false),
            ("xx gt", 4, 5, true),
        ];
        for (words, current, unix_ms, allowed) in cases {
            let split: Vec<&[u8]> = words.split_whitespace().map(str::as_bytes).collect();
            let options = Options::parse(&split).unwrap();
            let current = (current > 0).then_some(current);
            assert_eq!(options.allow(current, unix_ms), allowed, "{words} {current:?} {unix_ms}");
        }
    }
}
