//! Requests of RESP clients: arrays of bulk strings, and lines for people with telnet.
//!
//! The parser is handed the bytes that have come so far and says where the words of the first request
//! are; it copies only the words of a line. It remembers how far it got, so a request that comes in a
//! thousand pieces costs no more than one that comes in one. What a client announces is checked against
//! the limits before anything is reserved for it. Cost: some 20 ns a word.
//!
//! It must not know sockets nor commands.

use crate::settings::Limits;

#[cfg(test)]
mod tests;

/// Words of a request before its client has authenticated, as in Redis.
const STRANGER_WORDS_MAX: u64 = 10;
/// Bytes of a word before its client has authenticated, as in Redis.
const STRANGER_BULK_BYTES_MAX: u64 = 16 << 10;
/// Bytes of a whole request, as a multiple of the longest word; Redis's query buffer has the same ratio.
const REQUEST_BULKS_MAX: usize = 2;
/// Room that the list of words keeps from one request to the next.
const WORDS_KEPT: usize = 1024;

/// Why a client's bytes are no request. The connection ends after its text was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// The number after `*` is none, or too large.
    #[error("ERR Protocol error: invalid multibulk length")]
    MultibulkLength,
    /// The number after `$` is none, negative, or too large.
    #[error("ERR Protocol error: invalid bulk length")]
    BulkLength,
    /// A word starts otherwise than with `$`.
    #[error("ERR Protocol error: expected '$', got '{}'", char::from(*.0))]
    Dollar(u8),
    /// The line that starts with `*` has no end.
    #[error("ERR Protocol error: too big mbulk count string")]
    MultibulkLine,
    /// The line that starts with `$` has no end.
    #[error("ERR Protocol error: too big bulk count string")]
    BulkLine,
    /// A request in a line is too long.
    #[error("ERR Protocol error: too big inline request")]
    InlineLength,
    /// A quote in a line is not closed, or followed by something else than a space.
    #[error("ERR Protocol error: unbalanced quotes in request")]
    Quotes,
    /// Too many words for somebody who has not authenticated.
    #[error("ERR Protocol error: unauthenticated multibulk length")]
    StrangerMultibulk,
    /// Too long a word for somebody who has not authenticated.
    #[error("ERR Protocol error: unauthenticated bulk length")]
    StrangerBulk,
    /// No line end where a word should end: its length was wrong.
    #[error("ERR Protocol error: expected a line end after the bulk")]
    BulkEnd,
    /// The words are too long together.
    #[error("ERR Protocol error: too big request")]
    RequestLength,
}

/// What the bytes so far are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Parsed {
    /// A whole request, of so many bytes.
    Request(usize),
    /// Nothing to answer, of so many bytes: an empty line or array.
    Nothing(usize),
    /// The start of a request; at least so many more bytes are to come.
    Incomplete(usize),
}

/// Whether the client may send large requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// It has authenticated, or need not.
    #[default]
    Known,
    /// It has yet to authenticate.
    Stranger,
}

/// Where the words of a request are.
#[derive(Debug, Default)]
pub struct Words {
    /// Start and end, in the request's bytes or in `line`.
    ranges: Vec<(usize, usize)>,
    /// The words of a line, without quotes and escapes.
    line: Vec<u8>,
    is_line: bool,
}

impl Words {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// True where there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The words, in order. `buffer` is what they were parsed from.
    pub fn iter<'a>(&'a self, buffer: &'a [u8]) -> impl ExactSizeIterator<Item = &'a [u8]> {
        let bytes = if self.is_line { &self.line[..] } else { buffer };
        self.ranges.iter().map(|&(start, end)| bytes.get(start..end).unwrap_or_default())
    }

    fn clear(&mut self) {
        self.ranges.clear();
        self.line.clear();
        self.is_line = false;
        self.rest();
    }

    /// Before a wait between two requests: gives back what a large one needed.
    pub(crate) fn rest(&mut self) {
        self.ranges.shrink_to(WORDS_KEPT);
        self.line.shrink_to(WORDS_KEPT);
    }
}

/// Finds requests in one client's bytes.
#[derive(Debug)]
pub struct Parser {
    words_max: u64,
    bulk_bytes_max: u64,
    inline_bytes_max: usize,
    request_bytes_max: usize,
    trust: Trust,
    stage: Stage,
    /// What was parsed, from the start of the request.
    at: usize,
    /// What was searched for a line end, from the start of the request.
    searched: usize,
}

/// Where in a request the parser is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Start,
    /// Before the length of a word, with so many words to come.
    Length(u64),
    /// Before a word of this length, with so many words to come, itself included.
    Word(usize, u64),
}

/// A number's line.
enum Line {
    /// The number, and where the next line starts.
    Number(i64, usize),
    /// The line has not ended yet.
    Incomplete,
    /// It is not a number.
    Malformed,
    /// It is too long.
    TooLong,
}

impl Parser {
    /// A parser of one client's requests.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self {
            words_max: limits.arguments_max as u64,
            bulk_bytes_max: limits.bulk_bytes_max as u64,
            inline_bytes_max: limits.inline_bytes_max,
            request_bytes_max: limits
                .bulk_bytes_max
                .saturating_mul(REQUEST_BULKS_MAX)
                .max(limits.inline_bytes_max),
            trust: Trust::Known,
            stage: Stage::Start,
            at: 0,
            searched: 0,
        }
    }

    /// Says how far the client is trusted from now on.
    pub fn set_trust(&mut self, trust: Trust) {
        self.trust = trust;
    }

    /// Changes how long a word may be.
    pub fn set_bulk_bytes_max(&mut self, bytes: usize) {
        self.bulk_bytes_max = bytes as u64;
        self.request_bytes_max = bytes.saturating_mul(REQUEST_BULKS_MAX).max(self.inline_bytes_max);
    }

    /// Parses the first request of `buffer`. Until it is whole, `buffer` must be what it was with more
    /// at its end, and `words` the same; afterwards the caller takes the bytes that it had away.
    ///
    /// # Errors
    ///
    /// [`ProtocolError`]: what follows cannot be understood.
    #[inline]
    pub fn parse(&mut self, buffer: &[u8], words: &mut Words) -> Result<Parsed, ProtocolError> {
        if self.stage == Stage::Start {
            match buffer.first() {
                None => return Ok(Parsed::Incomplete(1)),
                Some(b'*') => {}
                Some(_) => return self.line_of_words(buffer, words),
            }
            let count = match self.number(buffer) {
                Line::Incomplete => return Ok(Parsed::Incomplete(1)),
                Line::Malformed => return Err(ProtocolError::MultibulkLength),
                Line::TooLong => return Err(ProtocolError::MultibulkLine),
                Line::Number(count, next) => {
                    self.at = next;
                    count
                }
            };
            // As in Redis, an array that is no array is as good as an empty one.
            let count = u64::try_from(count).unwrap_or_default();
            if count > self.words_max {
                return Err(ProtocolError::MultibulkLength);
            }
            if count > STRANGER_WORDS_MAX && self.trust == Trust::Stranger {
                return Err(ProtocolError::StrangerMultibulk);
            }
            if count == 0 {
                return Ok(Parsed::Nothing(self.restart()));
            }
            words.clear();
            self.stage = Stage::Length(count);
        }
        self.bulks(buffer, words)
    }

    /// The words of an array, from where the last call left off.
    #[inline]
    fn bulks(&mut self, buffer: &[u8], words: &mut Words) -> Result<Parsed, ProtocolError> {
        loop {
            match self.stage {
                Stage::Start | Stage::Length(0) => return Ok(Parsed::Request(self.restart())),
                Stage::Length(left) => {
                    let len = match self.number(buffer) {
                        Line::Incomplete => return Ok(Parsed::Incomplete(1)),
                        Line::TooLong => return Err(ProtocolError::BulkLine),
                        line => match (buffer.get(self.at), line) {
                            (Some(b'$'), Line::Number(len, next)) => {
                                self.at = next;
                                len
                            }
                            (Some(b'$'), _) => return Err(ProtocolError::BulkLength),
                            (mark, _) => {
                                let mark = mark.copied().unwrap_or_default();
                                return Err(ProtocolError::Dollar(mark));
                            }
                        },
                    };
                    self.stage = Stage::Word(self.bulk_len(len)?, left);
                }
                Stage::Word(len, left) => {
                    let end = self.at + len;
                    let Some(line_end) = buffer.get(end..end + 2) else {
                        return Ok(Parsed::Incomplete(end + 2 - buffer.len()));
                    };
                    if line_end != b"\r\n" {
                        return Err(ProtocolError::BulkEnd);
                    }
                    words.ranges.push((self.at, end));
                    self.at = end + 2;
                    self.searched = self.at;
                    self.stage = Stage::Length(left - 1);
                }
            }
        }
    }

    /// The length of a word, if it is one that this client may send.
    #[inline]
    fn bulk_len(&self, len: i64) -> Result<usize, ProtocolError> {
        let len = u64::try_from(len).map_err(|_| ProtocolError::BulkLength)?;
        if len > self.bulk_bytes_max {
            return Err(ProtocolError::BulkLength);
        }
        if len > STRANGER_BULK_BYTES_MAX && self.trust == Trust::Stranger {
            return Err(ProtocolError::StrangerBulk);
        }
        let len = usize::try_from(len).map_err(|_| ProtocolError::BulkLength)?;
        if self.at.saturating_add(len) > self.request_bytes_max {
            return Err(ProtocolError::RequestLength);
        }
        Ok(len)
    }

    /// The number on the line that starts at `at`, after its mark.
    #[inline]
    fn number(&mut self, buffer: &[u8]) -> Line {
        let start = self.at + 1;
        // Nearly every line is one to nine digits and has come whole.
        let mut number = 0;
        let mut digits = 0;
        for &byte in buffer.get(start..).unwrap_or_default().iter().take(9) {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                break;
            }
            number = number * 10 + i64::from(digit);
            digits += 1;
        }
        let end = start + digits;
        if number > 0
            && buffer.get(start) != Some(&b'0')
            && buffer.get(end..end + 2) == Some(b"\r\n")
        {
            return Line::Number(number, end + 2);
        }
        self.number_of_any_form(buffer)
    }

    /// As `number`, for lines that are unusual or not yet whole.
    #[cold]
    fn number_of_any_form(&mut self, buffer: &[u8]) -> Line {
        let start = self.at + 1;
        let from = self.searched.max(self.at);
        let found = memchr::memchr(b'\r', buffer.get(from..).unwrap_or_default());
        let line_end = found.map_or(buffer.len(), |index| from + index);
        self.searched = line_end;
        if line_end - self.at > self.inline_bytes_max {
            return Line::TooLong;
        }
        match buffer.get(line_end + 1) {
            None => Line::Incomplete,
            Some(b'\n') => match integer(buffer.get(start..line_end).unwrap_or_default()) {
                Some(number) => Line::Number(number, line_end + 2),
                None => Line::Malformed,
            },
            Some(_) => Line::Malformed,
        }
    }

    /// A request in one line.
    #[cold]
    fn line_of_words(&mut self, buffer: &[u8], words: &mut Words) -> Result<Parsed, ProtocolError> {
        let found = memchr::memchr(b'\n', buffer.get(self.searched..).unwrap_or_default());
        let line_end = found.map_or(buffer.len(), |index| self.searched + index);
        self.searched = line_end;
        if line_end > self.inline_bytes_max {
            return Err(ProtocolError::InlineLength);
        }
        if found.is_none() {
            return Ok(Parsed::Incomplete(1));
        }
        self.at = line_end + 1;
        let len = self.restart();
        let line = &buffer[..line_end];
        words.clear();
        words.is_line = true;
        split(line.strip_suffix(b"\r").unwrap_or(line), words)?;
        if words.ranges.len() as u64 > self.words_max {
            return Err(ProtocolError::InlineLength);
        }
        Ok(if words.is_empty() { Parsed::Nothing(len) } else { Parsed::Request(len) })
    }

    /// Ready for the next request; the length of the one before.
    #[inline]
    fn restart(&mut self) -> usize {
        self.stage = Stage::Start;
        self.searched = 0;
        std::mem::take(&mut self.at)
    }
}

/// A decimal integer as Redis reads it: no plus, no leading zeros, no minus zero.
fn integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        [b'1'..=b'9', ..] => {}
        _ => return None,
    }
    let mut number: i64 = 0;
    for &byte in digits {
        let digit = i64::from(byte.checked_sub(b'0').filter(|digit| *digit <= 9)?);
        let digit = if negative { -digit } else { digit };
        number = number.checked_mul(10)?.checked_add(digit)?;
    }
    Some(number)
}

/// Splits a line into words, with quotes and escapes as Redis has them: `"a\x0ab"`, `'it\'s'`.
fn split(line: &[u8], words: &mut Words) -> Result<(), ProtocolError> {
    let mut rest = line;
    loop {
        rest = rest.trim_ascii_start();
        // Redis counts the vertical tab as a space, ASCII trimming does not.
        if let [0x0b, after @ ..] = rest {
            rest = after;
            continue;
        }
        // A zero ends a line for Redis.
        if matches!(rest, [] | [0, ..]) {
            return Ok(());
        }
        let start = words.line.len();
        rest = word(rest, &mut words.line)?;
        words.ranges.push((start, words.line.len()));
    }
}

/// Takes one word from the start of `rest`, without its quotes and escapes. Quotes can open in the
/// middle of a word and end it.
fn word<'a>(mut rest: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], ProtocolError> {
    loop {
        match rest {
            [] => return Ok(rest),
            [byte, ..] if is_space(*byte) => return Ok(rest),
            [0, ..] => return Ok(&[]),
            [b'"', after @ ..] => return double_quoted(after, out),
            [b'\'', after @ ..] => return single_quoted(after, out),
            [byte, after @ ..] => {
                out.push(*byte);
                rest = after;
            }
        }
    }
}

fn double_quoted<'a>(mut rest: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], ProtocolError> {
    loop {
        rest = match rest {
            [] | [0, ..] | [b'\\'] | [b'\\', 0, ..] => return Err(ProtocolError::Quotes),
            [b'\\', b'x', high, low, after @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                out.push(hex(*high) << 4 | hex(*low));
                after
            }
            [b'\\', byte, after @ ..] => {
                out.push(match byte {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    byte => *byte,
                });
                after
            }
            [b'"', after @ ..] => return closed(after),
            [byte, after @ ..] => {
                out.push(*byte);
                after
            }
        };
    }
}

fn single_quoted<'a>(mut rest: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], ProtocolError> {
    loop {
        rest = match rest {
            [] | [0, ..] => return Err(ProtocolError::Quotes),
            [b'\\', b'\'', after @ ..] => {
                out.push(b'\'');
                after
            }
            [b'\'', after @ ..] => return closed(after),
            [byte, after @ ..] => {
                out.push(*byte);
                after
            }
        };
    }
}

/// What follows a closing quote: a space, or nothing.
fn closed(after: &[u8]) -> Result<&[u8], ProtocolError> {
    match after {
        [byte, ..] if !is_space(*byte) && *byte != 0 => Err(ProtocolError::Quotes),
        after => Ok(after),
    }
}

fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}

fn hex(digit: u8) -> u8 {
    char::from(digit).to_digit(16).unwrap_or_default() as u8
}
