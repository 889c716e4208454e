//! Commands that walk over the keys: `SCAN`, `KEYS`, `RANDOMKEY`.
//!
//! Walks go by slots of the cache, which several databases may share; what belongs to another database
//! costs time and is not shown.

use std::hash::{BuildHasher, Hasher, RandomState};

use crate::commands::parse::{NO_KEYS, NOT_AN_INTEGER, READ, SYNTAX, glob, integer, is};
use crate::commands::{Call, Command, Flow};
use crate::keyspace::{DatabaseIndex, Key, Keyspace};

/// Keys that a step of `SCAN` looks for unless told.
const COUNT_DEFAULT: i64 = 10;
/// Slots that a step of `SCAN` looks at for each key that it looks for.
const SLOTS_PER_KEY: u64 = 10;
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
struct Options<'a> {
    count: u64,
    pattern: Option<&'a [u8]>,
    /// False where another type than the only one is asked for.
    shows_strings: bool,
}

impl<'a> Options<'a> {
    fn parse(words: &[&'a [u8]]) -> Result<Self, &'static str> {
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
                options.pattern = (word != b"*").then_some(word);
            } else if is(option, "type") {
                options.shows_strings = is(word, "string");
            } else {
                return Err(SYNTAX);
            }
        }
        if rest.is_empty() { Ok(options) } else { Err(SYNTAX) }
    }

    fn shows(&self, key: &Key) -> bool {
        self.shows_strings && self.pattern.is_none_or(|pattern| glob::matches(pattern, key.name()))
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
    let (keyspace, database) = (call.keyspace(), call.session.database);
    let mut slots_left = options.count.saturating_mul(SLOTS_PER_KEY);
    let (mut seen, mut shown) = (0, Vec::new());
    loop {
        let slots = (options.count - seen).min(slots_left).min(u64::from(SLICE_SLOTS)) as u32;
        let (entries, next) = keyspace.scan(cursor, slots);
        cursor = next;
        for (key, _) in entries.into_iter().filter(|(key, _)| key.database() == database) {
            seen += 1;
            if options.shows(&key) {
                shown.push(key);
            }
        }
        slots_left -= u64::from(slots);
        if cursor == 0 || seen >= options.count || slots_left == 0 {
            break;
        }
    }
    call.reply.array(2);
    let mut digits = itoa::Buffer::new();
    call.reply.bulk(digits.format(cursor).as_bytes());
    reply_names(call, &shown)
}

fn keys(call: &mut Call<'_, '_>) -> Flow {
    let (pattern, database) = (call.words[1], call.session.database);
    let mut shown = Vec::new();
    walk(call.keyspace(), database, |key| {
        if pattern == b"*" || glob::matches(pattern, key.name()) {
            shown.push(key);
        }
    });
    reply_names(call, &shown)
}

fn reply_names(call: &mut Call<'_, '_>, keys: &[Key]) -> Flow {
    call.reply.array(keys.len());
    for key in keys {
        call.reply.bulk(key.name());
    }
    Flow::Continue
}

/// Lets `visit` see every key of `database`.
fn walk(keyspace: &Keyspace, database: DatabaseIndex, mut visit: impl FnMut(Key)) {
    let mut cursor = 0;
    loop {
        let (entries, next) = keyspace.scan(cursor, SLICE_SLOTS);
        for (key, _) in entries.into_iter().filter(|(key, _)| key.database() == database) {
            visit(key);
        }
        cursor = next;
        if cursor == 0 {
            break;
        }
    }
}

fn randomkey(call: &mut Call<'_, '_>) -> Flow {
    match random_key(call.keyspace(), call.session.database) {
        Some(key) => call.reply.bulk(key.name()),
        None => call.reply.null(),
    }
    Flow::Continue
}

/// A key of `database`: about equally likely each, as long as slots in use lie about evenly.
fn random_key(keyspace: &Keyspace, database: DatabaseIndex) -> Option<Key> {
    if keyspace.size(database) == 0 {
        return None;
    }
    let stats = keyspace.cache().stats();
    if stats.entries > WALK_ENTRIES_MAX {
        let slots = stats.entries / stats.shards + 1;
        for _ in 0..TRIES {
            let cursor = below(stats.shards) << 32 | below(slots);
            let (entries, _) = keyspace.scan(cursor, TRY_SLOTS);
            let mut keys: Vec<Key> = entries.into_iter().map(|(key, _)| key).collect();
            keys.retain(|key| key.database() == database);
            if !keys.is_empty() {
                let index = below(keys.len() as u64) as usize;
                return Some(keys.swap_remove(index));
            }
        }
    }
    // The n-th key takes the place of the one chosen before in one of n cases.
    let (mut chosen, mut seen) = (None, 0);
    walk(keyspace, database, |key| {
        seen += 1;
        if below(seen) == 0 {
            chosen = Some(key);
        }
    });
    chosen
}

/// A random number below `bound`. Good enough to choose keys by: every hasher of the standard library
/// starts from other random bits.
fn below(bound: u64) -> u64 {
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
