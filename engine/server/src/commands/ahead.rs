//! Keys of commands that have come but not yet run: what their look-ups will read is fetched for all at
//! a time, instead of one by one with the processor waiting.
//!
//! Nothing here changes what a command does: a key that is guessed wrong costs its time. It must not
//! know how the rest of a request is understood.

use crate::commands::{Call, Flag, Row, Session, row};
use crate::service::Service;

/// Keys that are fetched at a time: so many that their waits overlap, and so few that what was fetched
/// is still there when it is needed.
pub(crate) const AHEAD_KEYS: usize = 16;
/// Words of a request that is looked into.
const WORDS_MAX: usize = 8;
/// The longest name of a command that is looked into.
const NAME_LEN_MAX: usize = 16;
/// The longest key that is hashed twice for this, bytes.
const KEY_LEN_MAX: usize = 1 << 10;

/// Looks for requests at the start of `input`, which holds more than one, and fetches what those will
/// read that work on one key. Returns how many bytes it has seen: until then, it need not be asked
/// again.
pub(crate) fn expect(service: &Service, session: &mut Session, input: &[u8]) -> usize {
    let mut hashes = [0; AHEAD_KEYS];
    let (mut keys, mut writes, mut at) = (0, true, 0);
    let Some(keyspace) = service.keyspace(session.database) else { return input.len() };
    for _ in 0..AHEAD_KEYS {
        let Some((name, key, len)) = input.get(at..).and_then(request) else { break };
        at += len;
        let Some(row) = row_of(name) else { continue };
        if row.command.keys != (1, 1, 1) || key.len() > KEY_LEN_MAX {
            continue;
        }
        hashes[keys] = keyspace.hash(session.lookup(key));
        keys += 1;
        writes &= row.has(Flag::Write);
    }
    if keys > 1 {
        let hashes = &hashes[..keys];
        if writes { keyspace.warm_to_write(hashes) } else { keyspace.warm(hashes) }
    }
    at
}

impl Call<'_, '_> {
    /// Fetches what reads of the keys `names` will need; at most [`AHEAD_KEYS`] of them.
    pub(crate) fn expect_reads(&mut self, names: &[&[u8]]) {
        if names.len() < 2 {
            return;
        }
        let keyspace = self.keyspace();
        let mut hashes = [0; AHEAD_KEYS];
        for (hash, name) in hashes.iter_mut().zip(names) {
            *hash = keyspace.hash(self.lookup(name));
        }
        keyspace.warm(&hashes[..names.len().min(AHEAD_KEYS)]);
    }
}

/// The command's row; none where it has a long name.
#[inline]
fn row_of(name: &[u8]) -> Option<&'static Row> {
    let mut lower = [0; NAME_LEN_MAX];
    let lower = lower.get_mut(..name.len())?;
    for (to, from) in lower.iter_mut().zip(name) {
        *to = from.to_ascii_lowercase();
    }
    row(lower)
}

/// The first request of `input`: its first two words and its length. None where it is not whole, not
/// an array of a few words, or not understood, which is for the parser to say.
#[inline]
fn request(input: &[u8]) -> Option<(&[u8], &[u8], usize)> {
    let (count, mut at) = number(input, 0, b'*')?;
    if !(2..=WORDS_MAX).contains(&count) {
        return None;
    }
    let mut first: [&[u8]; 2] = [&[]; 2];
    for index in 0..count {
        let (len, start) = number(input, at, b'$')?;
        at = start + len + 2;
        let word = input.get(start..at)?;
        if let Some(slot) = first.get_mut(index) {
            *slot = &word[..len];
        }
    }
    Some((first[0], first[1], at))
}

/// The number on the line at `at`, which starts with `mark`, and where the next line starts.
#[inline]
fn number(input: &[u8], at: usize, mark: u8) -> Option<(usize, usize)> {
    if input.get(at) != Some(&mark) {
        return None;
    }
    let mut number = 0;
    for (index, &byte) in input.get(at + 1..)?.iter().take(9).enumerate() {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return (byte == b'\r' && index > 0).then_some((number, at + index + 3));
        }
        number = number * 10 + usize::from(digit);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_requests_are_seen_and_nothing_else() {
        for (input, expected) in [
            ("*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*2", Some(("GET", "k", 20))),
            ("*3\r\n$3\r\nset\r\n$0\r\n\r\n$2\r\n\r\n\r\n", Some(("set", "", 27))),
            ("*2\r\n$3\r\nGET\r\n$1\r\nk\r", None),
            ("*2\r\n$3\r\nGET\r\n$1", None),
            ("*1\r\n$4\r\nPING\r\n", None),
            ("*9\r\n$3\r\nDEL\r\n", None),
            ("*-1\r\n", None),
            ("*2\r\n$-1\r\n", None),
            ("*2\r\n$999999999\r\n", None),
            ("*2\r\n$9999999999\r\n", None),
            ("*2\r\n:3\r\nGET\r\n$1\r\nk\r\n", None),
            ("GET k\r\n", None),
            ("", None),
        ] {
            let found = request(input.as_bytes());
            let expected = expected
                .map(|(name, key, len): (&str, &str, _)| (name.as_bytes(), key.as_bytes(), len));
            assert_eq!(found, expected, "{input:?}");
        }
    }
}
