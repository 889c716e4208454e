//! Commands that walk over the keys: `SCAN`, `KEYS`, `RANDOMKEY`.
//!
//! Walks go by slots of the cache, which several databases may share; what belongs to another database
//! costs time and is not shown. No walk of a large cache keeps other clients waiting: `SCAN` ends after
//! so many slots, and `KEYS` gives others their turn.

use std::collections::HashSet;
use std::hash::{BuildHasher, Hasher, RandomState};

use crate::commands::parse::{NO_KEYS, NOT_AN_INTEGER, READ, SYNTAX, glob, integer, is};
use crate::commands::{Call, Command, Flow};
use crate::keyspace::{HomeIndex, Key, Keyspace};
use crate::resp::reply::{Protocol, Reply};

/// Keys that a step of `SCAN` looks for unless told.
const COUNT_DEFAULT: i64 = 10;
/// Slots that a step of `SCAN` looks at for each key that it looks for.
const SLOTS_PER_KEY: u64 = 10;
/// Slots that a step of `SCAN` looks at at most, however many keys it is to look for.
const STEP_SLOTS_MAX: u64 = 1 << 16;
/// Bytes of names after which a step of `SCAN` ends.
const STEP_BYTES_MAX: usize = 4 << 20;
/// Slots that a turn of `KEYS` looks at, about a millisecond's worth: then others have theirs.
const TURN_SLOTS: u32 = 4096;
/// Slots that are looked at with a shard locked.
const SLICE_SLOTS: u32 = 256;
/// Caches with at most so many entries are walked whole for a random key.
const WALK_ENTRIES_MAX: u64 = 1024;
/// Random places that are tried for a key before a cache is walked whole.
const TRIES: usize = 16;
/// Slots looked at in each of those places.
const TRY_SLOTS: u32 = 16;

/// The commands of this file.
pub const COMMANDS: &[Command] = &[
    Command::new("scan", -2, READ, NO_KEYS, scan).about(
        "generic",
        "2.8.0",
        "Incrementally iterate the keys space",
    ),
    Command::new("keys", 2, READ, NO_KEYS, keys).about(
        "generic",
        "1.0.0",
        "Find all keys matching the given pattern",
    ),
    Command::new("randomkey", 1, READ, NO_KEYS, randomkey).about(
        "generic",
        "1.0.0",
        "Return a random key from the keyspace",
    ),
];

/// What a step of `SCAN` shows.
struct Options {
    count: u64,
    pattern: Option<glob::Pattern>,
    /// False where another type than the only one is asked for.
    shows_strings: bool,
}

impl Options {
    fn parse(words: &[&[u8]]) -> Result<Self, &'static str> {
        let mut options = Self { count: COUNT_DEFAULT as u64, pattern: None, shows_strings: true };
        let (pairs, rest) = words.as_chunks::<2>();
        for &[option, word] in pairs {
            if is(option, "count") {
                let count = integer(word).ok_or(NOT_AN_INTEGER)?;
                if count < 1 {
                    return Err(SYNTAX);
                }
                options.count = count.unsigned_abs();
            } else if is(option, "match") {
                let pattern = glob::Pattern::new(word).ok_or(glob::TOO_LONG)?;
                options.pattern = (word != b"*").then_some(pattern);
            } else if is(option, "type") {
                options.shows_strings = is(word, "string");
            } else {
                return Err(SYNTAX);
            }
        }
        if rest.is_empty() { Ok(options) } else { Err(SYNTAX) }
    }

    fn shows(&self, key: &Key) -> bool {
        let has = |pattern: &glob::Pattern| pattern.matches(key.name());
        self.shows_strings && self.pattern.as_ref().is_none_or(has)
    }
}

/// The cursor that a client gives back. Nothing at all counts as the first.
fn cursor_of(word: &[u8]) -> Option<u64> {
    word.iter().try_fold(0u64, |cursor, byte| {
        let digit = byte.checked_sub(b'0').filter(|&digit| digit < 10)?;
        cursor.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

fn scan(call: &mut Call<'_, '_>) -> Flow {
    let words = call.words;
    let Some(mut cursor) = cursor_of(words[1]) else { return call.error("ERR invalid cursor") };
    let options = match Options::parse(&words[2..]) {
        Ok(options) => options,
        Err(text) => return call.error(text),
    };
    let (keyspace, home) = (call.keyspace(), call.home());
    let mut slots_left = options.count.saturating_mul(SLOTS_PER_KEY).min(STEP_SLOTS_MAX);
    let (mut seen, mut shown, mut shown_bytes) = (0, Vec::new(), 0);
    loop {
        let slots = (options.count - seen).min(slots_left).min(u64::from(SLICE_SLOTS)) as u32;
        let (entries, next) = keyspace.scan(cursor, slots);
        cursor = next;
        for (key, _) in entries.into_iter().filter(|(key, _)| key.home() == home) {
            seen += 1;
            if options.shows(&key) {
                shown_bytes += key.name().len();
                shown.push(key);
            }
        }
        slots_left -= u64::from(slots);
        let is_enough = seen >= options.count || slots_left == 0 || shown_bytes > STEP_BYTES_MAX;
        if cursor == 0 || is_enough {
            break;
        }
    }
    call.reply.array(2);
    let mut digits = itoa::Buffer::new();
    call.reply.bulk(digits.format(cursor).as_bytes());
    reply_names(call, &shown)
}

fn keys(call: &mut Call<'_, '_>) -> Flow {
    let word = call.words[1];
    let Some(pattern) = glob::Pattern::new(word) else { return call.error(glob::TOO_LONG) };
    let mut walk = call.session.walk.take().unwrap_or_else(|| Box::new(Walk::new(call.home())));
    let keyspace = call.keyspace();
    let shows = |key: &Key| word == b"*" || pattern.matches(key.name());
    // What `EXEC` runs has no turns.
    let bytes_max = call.service.settings.limits.output_bytes_max;
    while !walk.turn(keyspace, bytes_max, shows) {
        if walk.names.len() > bytes_max {
            call.session.client.cut_off();
            return Flow::Close;
        }
        if !call.session.transaction.is_running() {
            call.session.walk = Some(walk);
            return Flow::Again;
        }
    }
    let start = call.reply.len();
    call.reply.array(walk.count);
    call.reply.raw(&walk.names);
    if call.is_overrun(start) { Flow::Close } else { Flow::Continue }
}

/// A walk over the keys of a home in turns. Keys that come or go meanwhile may be seen or not.
pub(crate) struct Walk {
    home: HomeIndex,
    cursor: u64,
    /// The names so far, as bulk strings, and how many they are.
    names: Vec<u8>,
    count: usize,
    /// Hashes of their keys: what is removed and comes again meanwhile may lie further on.
    hashes: HashSet<u64, foldhash::fast::FixedState>,
}

impl Walk {
    fn new(home: HomeIndex) -> Self {
        Self { home, cursor: 0, names: Vec::new(), count: 0, hashes: HashSet::default() }
    }

    /// Goes on by a turn, or until the names are longer than `bytes_max`. True where that was the last.
    fn turn(
        &mut self,
        keyspace: &Keyspace,
        bytes_max: usize,
        shows: impl Fn(&Key) -> bool,
    ) -> bool {
        for _ in 0..TURN_SLOTS / SLICE_SLOTS {
            let (entries, next) = keyspace.scan(self.cursor, SLICE_SLOTS);
            for (key, _) in entries {
                if key.home() == self.home
                    && shows(&key)
                    && self.hashes.insert(keyspace.hash(key.as_bytes()))
                {
                    // Both protocols write a bulk string alike.
                    Reply::new(&mut self.names, Protocol::Resp2).bulk(key.name());
                    self.count += 1;
                }
                if self.names.len() > bytes_max {
                    return false;
                }
            }
            self.cursor = next;
            if next == 0 {
                return true;
            }
        }
        false
    }
}

fn reply_names(call: &mut Call<'_, '_>, keys: &[Key]) -> Flow {
    let start = call.reply.len();
    call.reply.array(keys.len());
    for key in keys {
        call.reply.bulk(key.name());
        if call.is_overrun(start) {
            return Flow::Close;
        }
    }
    Flow::Continue
}

/// Lets `visit` see every key of `home`.
fn walk(keyspace: &Keyspace, home: HomeIndex, mut visit: impl FnMut(Key)) {
    let mut cursor = 0;
    loop {
        let (entries, next) = keyspace.scan(cursor, SLICE_SLOTS);
        for (key, _) in entries.into_iter().filter(|(key, _)| key.home() == home) {
            visit(key);
        }
        cursor = next;
        if cursor == 0 {
            break;
        }
    }
}

fn randomkey(call: &mut Call<'_, '_>) -> Flow {
    match random_key(call.keyspace(), call.home()) {
        Some(key) => call.reply.bulk(key.name()),
        None => call.reply.null(),
    }
    Flow::Continue
}

/// A key of `home`: about equally likely each, as long as slots in use lie about evenly.
fn random_key(keyspace: &Keyspace, home: HomeIndex) -> Option<Key> {
    if keyspace.size(home) == 0 {
        return None;
    }
    let stats = keyspace.cache().stats();
    if stats.entries > WALK_ENTRIES_MAX {
        let slots = stats.entries / stats.shards + 1;
        for _ in 0..TRIES {
            let cursor = below(stats.shards) << 32 | below(slots);
            let (entries, _) = keyspace.scan(cursor, TRY_SLOTS);
            let mut keys: Vec<Key> = entries.into_iter().map(|(key, _)| key).collect();
            keys.retain(|key| key.home() == home);
            if !keys.is_empty() {
                let index = below(keys.len() as u64) as usize;
                return Some(keys.swap_remove(index));
            }
        }
    }
    // The n-th key takes the place of the one chosen before in one of n cases.
    let (mut chosen, mut seen) = (None, 0);
    walk(keyspace, home, |key| {
        seen += 1;
        if below(seen) == 0 {
            chosen = Some(key);
        }
    });
    chosen
}

/// A random number below `bound`. Good enough to choose keys by: every hasher of the standard library
/// starts from other random bits.
pub(crate) fn below(bound: u64) -> u64 {
    RandomState::new().build_hasher().finish() % bound.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_plain_numbers() {
        let cases: [(&[u8], Option<u64>); 7] = [
            (b"0", Some(0)),
            (b"", Some(0)),
            (b"18446744073709551615", Some(u64::MAX)),
            (b"18446744073709551616", None),
            (b" 1", None),
            (b"-1", None),
            (b"1x", None),
        ];
        for (word, cursor) in cases {
            assert_eq!(cursor_of(word), cursor, "{word:?}");
        }
    }
}
