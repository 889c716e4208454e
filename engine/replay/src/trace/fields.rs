//! Fields of one delimited line, with or without quotes.
//!
//! Owns the splitting and its buffers, which are reused from line to line. It must not know what
//! the fields mean.

use std::ops::Range;

/// Number of fields that an unquoted split of `line` has.
pub(super) fn count(line: &[u8], delimiter: u8) -> usize {
    memchr::memchr_iter(delimiter, line).count() + 1
}

/// The fields of the line split last.
#[derive(Default)]
pub(super) struct Fields {
    /// Where the fields stand, in the line or in `unquoted`.
    ranges: Vec<Range<usize>>,
    /// The fields one after the other, if the line had quotes.
    unquoted: Vec<u8>,
    /// Where they end there.
    ends: Vec<usize>,
    is_quoted: bool,
}

/// A quote was opened and not closed on the line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct UnclosedQuote;

impl Fields {
    /// Splits `line` at `delimiter`. Fields may be quoted as in RFC 4180, but a quoted field must
    /// end on its line.
    pub(super) fn split(&mut self, line: &[u8], delimiter: u8) -> Result<(), UnclosedQuote> {
        self.is_quoted = memchr::memchr(b'"', line).is_some();
        if self.is_quoted {
            return self.split_quoted(line, delimiter);
        }
        self.ranges.clear();
        let mut start = 0;
        for end in memchr::memchr_iter(delimiter, line) {
            self.ranges.push(start..end);
            start = end + 1;
        }
        self.ranges.push(start..line.len());
        Ok(())
    }

    fn split_quoted(&mut self, line: &[u8], delimiter: u8) -> Result<(), UnclosedQuote> {
        use csv_core::ReadRecordResult::{InputEmpty, Record};

        let mut parser = csv_core::ReaderBuilder::new().delimiter(delimiter).build();
        // Fields are never longer than the text they stand in, nor more than the delimiters allow;
        // one place more, because the parser stops at a full buffer even if it has nothing to add.
        self.unquoted.resize(line.len() + 1, 0);
        self.ends.resize(count(line, delimiter) + 1, 0);
        let (result, _, written, ended) =
            parser.read_record(line, &mut self.unquoted, &mut self.ends);
        if result != InputEmpty {
            return Err(UnclosedQuote);
        }
        // The line end closes the record unless a quote is open, of which it would be part.
        let (result, _, _, last) =
            parser.read_record(b"\n", &mut self.unquoted[written..], &mut self.ends[ended..]);
        if result != Record {
            return Err(UnclosedQuote);
        }
        self.ranges.clear();
        let mut start = 0;
        for &end in &self.ends[..ended + last] {
            self.ranges.push(start..end);
            start = end;
        }
        Ok(())
    }

    /// Number of fields.
    pub(super) fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Field `index` of the line split last, which must be `line`.
    pub(super) fn get<'a>(&'a self, line: &'a [u8], index: usize) -> Option<&'a [u8]> {
        let text = if self.is_quoted { &self.unquoted } else { line };
        text.get(self.ranges.get(index)?.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(line: &str) -> Result<Vec<String>, UnclosedQuote> {
        let mut fields = Fields::default();
        // Leftovers of an earlier line must not show.
        fields.split(b"\"old\",\"line\",with,many,fields", b',').unwrap();
        fields.split(line.as_bytes(), b',')?;
        let text = |i| String::from_utf8_lossy(fields.get(line.as_bytes(), i).unwrap()).into();
        Ok((0..fields.len()).map(text).collect())
    }

    #[test]
    fn fields_with_and_without_quotes() {
        for (line, expected) in [
            ("a", &["a"][..]),
            ("a,b", &["a", "b"]),
            (",", &["", ""]),
            ("a,,c", &["a", "", "c"]),
            ("\"a\",b", &["a", "b"]),
            ("\"a,b\",c", &["a,b", "c"]),
            ("\"a\"\"b\",c", &["a\"b", "c"]),
            ("\"\",\"\"", &["", ""]),
            ("a,\"b\"", &["a", "b"]),
            ("a\"b,c", &["a\"b", "c"]),
        ] {
            assert_eq!(split(line).unwrap(), expected, "{line:?}");
        }
    }

    #[test]
    fn a_quote_must_close_on_its_line() {
        for line in ["\"", "a,\"b", "\"a\"\"", "\"a,b,c"] {
            assert_eq!(split(line), Err(UnclosedQuote), "{line:?}");
        }
    }
}
