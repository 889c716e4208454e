//! Lines of a text trace, of bounded length.
//!
//! Owns the buffer and the line numbers. It must not know what a line means.

use std::io;
use std::ops::Range;

use super::input::Input;
use crate::error::{Place, TraceError, shown};

/// Longest line a text trace may have, bytes without the line end. Endless lines are a sign of a
/// binary file read as text.
pub const LINE_BYTES_MAX: usize = 64 * 1024;

/// Bytes read at once; more than a longest line, so that one always fits.
const BUFFER_BYTES: usize = 256 * 1024;

const _: () = assert!(BUFFER_BYTES > LINE_BYTES_MAX + 1);

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads lines from an input, without allocating per line.
pub(super) struct LineReader {
    input: Input,
    buffer: Vec<u8>,
    /// The bytes of the buffer not yet handed out.
    unread: Range<usize>,
    /// The input ended, with this error if any.
    ended: bool,
    error: Option<io::Error>,
    /// Number of the line last handed out, from 1.
    number: u64,
}

impl LineReader {
    pub(super) fn new(input: Input) -> Self {
        let buffer = vec![0; BUFFER_BYTES];
        Self { input, buffer, unread: 0..0, ended: false, error: None, number: 0 }
    }

    /// The trace's name, for errors.
    pub(super) fn file(&self) -> &str {
        self.input.file()
    }

    /// Number of the line last handed out, from 1.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// The next line without its end (`\n` or `\r\n`), `None` after the last. The last line needs
    /// no end.
    pub(super) fn next_line(&mut self) -> Result<Option<&[u8]>, TraceError> {
        let Some(range) = self.next_range()? else { return Ok(None) };
        let mut line = &self.buffer[range];
        if self.number == 1 {
            line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
        }
        Ok(Some(line.strip_suffix(b"\r").unwrap_or(line)))
    }

    fn next_range(&mut self) -> Result<Option<Range<usize>>, TraceError> {
        loop {
            let unread = &self.buffer[self.unread.clone()];
            // One byte more than a longest line: where its `\n` would stand.
            let window = unread.get(..=LINE_BYTES_MAX).unwrap_or(unread);
            let start = self.unread.start;
            if let Some(len) = memchr::memchr(b'\n', window) {
                self.unread.start += len + 1;
                self.number += 1;
                return Ok(Some(start..start + len));
            }
            if unread.len() > LINE_BYTES_MAX {
                return Err(TraceError::LineTooLong {
                    file: self.file().to_owned(),
                    line: self.number + 1,
                    start: shown(unread),
                });
            }
            if !self.ended {
                self.refill();
            } else if let Some(source) = self.error.take() {
                return Err(self.input.error_at(Place::Line(self.number + 1), source));
            } else if unread.is_empty() {
                return Ok(None);
            } else {
                self.number += 1;
                self.unread.start = self.unread.end;
                return Ok(Some(start..self.unread.end));
            }
        }
    }

    /// Moves the unread bytes to the front and fills the rest of the buffer.
    fn refill(&mut self) {
        let kept = self.unread.len();
        self.buffer.copy_within(self.unread.clone(), 0);
        let (more, error) = self.input.fill(&mut self.buffer[kept..]);
        self.unread = 0..kept + more;
        self.ended = error.is_some() || kept + more < BUFFER_BYTES;
        self.error = error;
    }
}

#[cfg(test)]
mod tests {
    use super::super::input::Packing;
    use super::*;

    fn lines(bytes: Vec<u8>) -> (Vec<String>, Option<TraceError>) {
        let input = Input::new("test", Box::new(io::Cursor::new(bytes)), Packing::Plain).unwrap();
        let mut reader = LineReader::new(input);
        let mut lines = Vec::new();
        loop {
            match reader.next_line() {
                Ok(Some(line)) => lines.push(String::from_utf8(line.to_vec()).unwrap()),
                Ok(None) => return (lines, None),
                Err(error) => return (lines, Some(error)),
            }
        }
    }

    #[test]
    fn lines_end_in_newline_carriage_return_or_the_end() {
        for (bytes, expected) in [
            (&b""[..], &[][..]),
            (b"\n", &[""]),
            (b"a", &["a"]),
            (b"a\nb\n", &["a", "b"]),
            (b"a\r\n\r\nb", &["a", "", "b"]),
            (b"\xef\xbb\xbfa\nb", &["a", "b"]),
        ] {
            let (found, error) = lines(bytes.to_vec());
            assert_eq!(found, expected, "{bytes:?}");
            assert!(error.is_none());
        }
    }

    #[test]
    fn lines_across_buffer_ends_are_whole() {
        let line = "x".repeat(40_000);
        let (found, error) = lines(format!("{line}\n").repeat(30).into_bytes());
        assert!(error.is_none());
        assert_eq!(found.len(), 30);
        assert!(found.iter().all(|found| *found == line));
    }

    #[test]
    fn the_longest_line_passes_and_one_byte_more_is_an_error() {
        let longest = "x".repeat(LINE_BYTES_MAX);
        assert_eq!(lines(format!("a\n{longest}\nb").into_bytes()).0.len(), 3);
        assert_eq!(lines(longest.clone().into_bytes()).0.len(), 1);
        for text in [format!("a\n{longest}x\nb"), format!("a\n{longest}x")] {
            let (found, error) = lines(text.into_bytes());
            assert_eq!(found, ["a"]);
            let Some(TraceError::LineTooLong { line: 2, start, .. }) = error else {
                panic!("{error:?}");
            };
            assert!(start.starts_with("xxx"));
        }
    }
}
