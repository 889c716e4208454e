//! Words of commands: numbers, times, options, and the errors that several commands share.
//!
//! Texts of errors are Redis's own, since clients compare them. It must not know keys or values.

pub(crate) mod glob;

use crate::commands::{Call, Flag, Flow};
use crate::keyspace::WriteError;

/// A word that is no integer, or one beyond 64 bits.
pub(crate) const NOT_AN_INTEGER: &str = "ERR value is not an integer or out of range";
/// A word that is no number.
pub(crate) const NOT_A_FLOAT: &str = "ERR value is not a valid float";
/// Words that no rule of the command takes.
pub(crate) const SYNTAX: &str = "ERR syntax error";
/// A value that would get longer than a value may be.
pub(crate) const TOO_LONG: &str = "ERR string exceeds maximum allowed size (proto-max-bulk-len)";
/// An entry that the cache has no room for, whatever it evicts.
pub(crate) const NO_ROOM: &str = "OOM command not allowed when used memory > 'maxmemory'.";

/// A database that the server does not have.
pub(crate) const NO_DATABASE: &str = "ERR DB index is out of range";
/// One key given as source and as destination.
pub(crate) const SAME_KEY: &str = "ERR source and destination objects are the same";

/// Changes entries.
pub(crate) const WRITE: &[Flag] = &[Flag::Write];
/// Changes entries in constant time.
pub(crate) const WRITE_FAST: &[Flag] = &[Flag::Write, Flag::Fast];
/// Changes several entries at once.
pub(crate) const WRITE_ALONE: &[Flag] = &[Flag::Write, Flag::Alone];
/// Reads entries.
pub(crate) const READ: &[Flag] = &[Flag::ReadOnly];
/// Reads entries in constant time.
pub(crate) const READ_FAST: &[Flag] = &[Flag::ReadOnly, Flag::Fast];

/// No keys.
pub(crate) const NO_KEYS: (i32, i32, i32) = (0, 0, 0);
/// The first word is the key.
pub(crate) const ONE_KEY: (i32, i32, i32) = (1, 1, 1);
/// The first two words are keys.
pub(crate) const TWO_KEYS: (i32, i32, i32) = (1, 2, 1);
/// All words are keys.
pub(crate) const ALL_KEYS: (i32, i32, i32) = (1, -1, 1);
/// The second word is the key, where there is one.
pub(crate) const SECOND_KEY: (i32, i32, i32) = (2, 2, 1);

/// True where `word` is `option`, in any case.
pub(crate) fn is(word: &[u8], option: &str) -> bool {
    word.eq_ignore_ascii_case(option.as_bytes())
}

/// The integer that `word` writes in the one way in which the server itself would write it: no plus, no
/// spaces, no zeros in front.
pub(crate) fn integer(word: &[u8]) -> Option<i64> {
    let (negative, digits) = match word {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        b"0" if !negative => return Some(0),
        [b'1'..=b'9', ..] if digits.len() <= 19 => {}
        _ => return None,
    }
    let mut magnitude = 0u64;
    for byte in digits {
        // Nineteen digits stay below 2⁶⁴.
        magnitude = magnitude * 10 + u64::from(byte.checked_sub(b'0').filter(|&digit| digit < 10)?);
    }
    if negative { 0i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() }
}

/// The database that `word` names, or the error that Redis has for it.
pub(crate) fn database(word: &[u8]) -> Result<u8, &'static str> {
    let number = integer(word).ok_or(NOT_AN_INTEGER)?;
    if i32::try_from(number).is_err() {
        return Err("ERR value is out of range, value must between -2147483648 and 2147483647");
    }
    let index = u8::try_from(number).ok().filter(|&index| index < crate::keyspace::DATABASES);
    index.ok_or(NO_DATABASE)
}

/// How a command gives a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimeForm {
    /// Seconds from now: `EX`.
    Seconds,
    /// Milliseconds from now: `PX`.
    Milliseconds,
    /// Seconds since 1970: `EXAT`.
    AtSeconds,
    /// Milliseconds since 1970: `PXAT`.
    AtMilliseconds,
}

impl TimeForm {
    /// The form that this option announces.
    pub(crate) fn of_option(word: &[u8]) -> Option<Self> {
        let forms = [
            ("ex", Self::Seconds),
            ("px", Self::Milliseconds),
            ("exat", Self::AtSeconds),
            ("pxat", Self::AtMilliseconds),
        ];
        forms.into_iter().find(|(option, _)| is(word, option)).map(|(_, form)| form)
    }

    /// `number` in this form as milliseconds since 1970, none where 64 bits do not hold it.
    pub(crate) fn unix_ms(self, number: i64, now_unix_ms: u64) -> Option<i64> {
        let ms = match self {
            Self::Seconds | Self::AtSeconds => number.checked_mul(1000)?,
            Self::Milliseconds | Self::AtMilliseconds => number,
        };
        match self {
            Self::Seconds | Self::Milliseconds => ms.checked_add_unsigned(now_unix_ms),
            Self::AtSeconds | Self::AtMilliseconds => Some(ms),
        }
    }
}

/// Redis's error for an entry that does not fit.
pub(crate) fn no_room(_: WriteError) -> &'static str {
    NO_ROOM
}

impl Call<'_, '_> {
    /// The command's name in lower case, as errors have it.
    pub(crate) fn name(&self) -> String {
        let name = self.words.first().copied().unwrap_or_default();
        String::from_utf8_lossy(name).to_ascii_lowercase()
    }

    /// Refuses: too few words, or too many.
    pub(crate) fn wrong_arity(&mut self) -> Flow {
        let text = format!("ERR wrong number of arguments for '{}' command", self.name());
        self.error(&text)
    }

    /// Refuses: a time that is over before it begins, or beyond 64 bits.
    pub(crate) fn wrong_time(&mut self) -> Flow {
        let text = format!("ERR invalid expire time in '{}' command", self.name());
        self.error(&text)
    }

    /// Replies with the lines of a subcommand `HELP`.
    pub(crate) fn help(&mut self, lines: &[&str]) -> Flow {
        let command = self.name().to_ascii_uppercase();
        self.reply.array(lines.len() + 3);
        let head = format!("{command} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:");
        self.reply.simple(&head);
        for line in lines.iter().chain(&["HELP", "    Prints this help."]) {
            self.reply.simple(line);
        }
        Flow::Continue
    }

    /// Replies with a number, or says why there is none.
    pub(crate) fn number(&mut self, result: Result<i64, &'static str>) -> Flow {
        match result {
            Ok(number) => self.reply.integer(number),
            Err(text) => self.reply.error(text),
        }
        Flow::Continue
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_taken_in_one_spelling() {
        let good: &[(&str, i64)] = &[
            ("0", 0),
            ("7", 7),
            ("-1", -1),
            ("9223372036854775807", i64::MAX),
            ("-9223372036854775808", i64::MIN),
        ];
        for &(word, number) in good {
            assert_eq!(integer(word.as_bytes()), Some(number), "{word}");
        }
        let bad = [
            "",
            "-",
            "-0",
            "+1",
            "00",
            "01",
            " 1",
            "1 ",
            "1.0",
            "0x1",
            "1e3",
            "9223372036854775808",
            "-9223372036854775809",
            "99999999999999999999",
            "1\0",
        ];
        for word in bad {
            assert_eq!(integer(word.as_bytes()), None, "{word}");
        }
    }

    #[test]
    fn times_know_their_unit_and_their_bounds() {
        use TimeForm::{AtMilliseconds, AtSeconds, Milliseconds, Seconds};
        let cases = [
            (Seconds, 3, Some(4000)),
            (Milliseconds, 3, Some(1003)),
            (AtSeconds, 3, Some(3000)),
            (AtMilliseconds, 3, Some(3)),
            (Seconds, -3, Some(-2000)),
            (Seconds, 9_223_372_036_854_775, None),
            (AtSeconds, 9_223_372_036_854_775, Some(9_223_372_036_854_775_000)),
            (AtSeconds, 9_223_372_036_854_776, None),
            (AtSeconds, -9_223_372_036_854_776, None),
            (Milliseconds, i64::MAX - 1000, Some(i64::MAX)),
            (Milliseconds, i64::MAX - 999, None),
        ];
        for (form, number, unix_ms) in cases {
            assert_eq!(form.unix_ms(number, 1000), unix_ms, "{form:?} {number}");
        }
    }
}
