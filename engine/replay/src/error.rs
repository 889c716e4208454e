//! What can be wrong with a `--trace` argument or with the trace behind it.
//!
//! Owns the texts: every error names the file, the record or line (from 1), the offending value and
//! what to do about it. It knows no format in detail; the readers fill in the facts.

use std::fmt;
use std::io;

use thiserror::Error;

use crate::trace::LINE_BYTES_MAX;

/// Characters of an offending value that an error repeats; the rest becomes `…`.
const SHOWN_CHARS_MAX: usize = 80;

/// Where in a trace something is: both counts start at 1, and a header line counts as a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The n-th record of a binary trace.
    Record(u64),
    /// The n-th line of a text trace.
    Line(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Record(number) => write!(f, "record {number}"),
            Self::Line(number) => write!(f, "line {number}"),
        }
    }
}

/// Why a trace cannot be opened or read on. After one, a reader yields nothing more.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TraceError {
    /// Neither a prefix nor the suffix tells the format.
    #[error(
        "cannot tell the format of {input:?}: use a known suffix ({suffixes}), a prefix \
         FORMAT:PATH ({formats}), or a workload ({workloads})"
    )]
    UnknownFormat {
        /// The argument as given.
        input: String,
        /// The suffixes there are.
        suffixes: &'static str,
        /// The format prefixes there are.
        formats: &'static str,
        /// The workload generators there are.
        workloads: &'static str,
    },
    /// An option after `?` in a `csv:PATH?…` argument is unknown or has a bad value.
    #[error("{input}: option {option:?} {reason}")]
    BadOption {
        /// The argument as given.
        input: String,
        /// The option as given.
        option: String,
        /// What is wrong with it and what is allowed.
        reason: String,
    },
    /// A workload spec does not parse, or a parameter is out of range.
    #[error("workload {spec:?}: {part:?} {reason}")]
    BadWorkload {
        /// The whole spec as given.
        spec: String,
        /// The offending part of it.
        part: String,
        /// What is wrong with it and what is allowed.
        reason: String,
    },
    /// The file does not open.
    #[error("{file}: {source}; check the path")]
    Open {
        /// The file.
        file: String,
        /// What the system says.
        source: io::Error,
    },
    /// The system reports an error in the middle of the file.
    #[error("{file}: reading on at {place}: {source}; check the disk and the path")]
    Read {
        /// The file.
        file: String,
        /// Where reading stopped.
        place: Place,
        /// What the system says.
        source: io::Error,
    },
    /// The compressed stream is damaged, cut off, or wants too large a window.
    #[error(
        "{file}: the zstd stream breaks in {place}: {source}; check it with `zstd -t` and fetch \
         it again, or decompress it first"
    )]
    Zstd {
        /// The file.
        file: String,
        /// The record or line that the stream breaks in.
        place: Place,
        /// What the decompressor says.
        source: io::Error,
    },
    /// A binary trace ends within a record.
    #[error(
        "{file}: record {record} is cut off after {have_bytes} of {record_bytes} bytes; fetch or \
         convert the trace again"
    )]
    Truncated {
        /// The file.
        file: String,
        /// The record that is cut off, from 1.
        record: u64,
        /// Bytes of it that are there.
        have_bytes: usize,
        /// Bytes of a whole record.
        record_bytes: usize,
    },
    /// A line has no end within [`LINE_BYTES_MAX`].
    #[error(
        "{file}: line {line} is longer than {max} bytes; check that the format is right: it starts \
         with {start:?}", max = LINE_BYTES_MAX
    )]
    LineTooLong {
        /// The file.
        file: String,
        /// The line, from 1.
        line: u64,
        /// How it starts.
        start: String,
    },
    /// A field does not hold what its column asks for.
    #[error("{file}: line {line}: {column} is {value:?}, expected {expected}")]
    BadField {
        /// The file.
        file: String,
        /// The line, from 1.
        line: u64,
        /// The column by name.
        column: String,
        /// The offending value, shortened.
        value: String,
        /// What is allowed there.
        expected: &'static str,
    },
    /// A line has fewer fields than the columns in use need.
    #[error("{file}: line {line} has {have} fields, expected {expected}; fix or remove the line")]
    MissingField {
        /// The file.
        file: String,
        /// The line, from 1.
        line: u64,
        /// Fields there are.
        have: usize,
        /// The fields that there should be.
        expected: String,
    },
    /// The header has no column of that name.
    #[error("{file}: no column {wanted} in the header, it has: {have}; {hint}")]
    MissingColumn {
        /// The file.
        file: String,
        /// The column or the names tried for it.
        wanted: String,
        /// The header's columns.
        have: String,
        /// How to name the column.
        hint: &'static str,
    },
    /// The trace holds no request.
    #[error("{file}: the trace is empty; check the path and the format")]
    Empty {
        /// The file.
        file: String,
    },
    /// The trace has more requests than the caller wants in memory.
    #[error("{file}: more than {requests_max} requests; stream the trace or cut it")]
    TooLong {
        /// The file or workload.
        file: String,
        /// The limit.
        requests_max: usize,
    },
}

/// Makes bytes from a trace fit to print: invalid UTF-8 replaced, at most 80 characters.
pub(crate) fn shown(bytes: &[u8]) -> String {
    // A character has at most four bytes, so the cut below never loses one of the first 80.
    let head = bytes.get(..4 * SHOWN_CHARS_MAX + 4).unwrap_or(bytes);
    let text = String::from_utf8_lossy(head);
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_or_invalid_values_are_shortened() {
        assert_eq!(shown(b"12x"), "12x");
        assert_eq!(shown(b"\xff1"), "\u{fffd}1");
        assert_eq!(shown(&[b'a'; 80]), "a".repeat(80));
        assert_eq!(shown(&[b'a'; 81]), format!("{}…", "a".repeat(80)));
        assert_eq!(shown("é".repeat(5000).as_bytes()), format!("{}…", "é".repeat(80)));
    }
}
