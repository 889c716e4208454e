//! Traces: from a `--trace` argument to a stream of requests.
//!
//! [`TraceSource`] is the argument, [`TraceReader`] the stream. A source is parsed once and opened
//! as often as a run needs it; a trace can be streamed in blocks, or loaded once and shared by
//! several runs at 24 bytes a request ([`TraceSource::load`]).
//!
//! Whatever the bytes are, a reader ends in requests or in an error: it never panics, and it never
//! holds more than a block of requests, a line of [`LINE_BYTES_MAX`] and a zstd window of 128 MiB.
//! Formats are described in the modules that read them; none of them knows the cache.

mod blocks;
mod clock;
mod fields;
mod input;
mod keys;
mod lines;
mod number;
mod oracle;
mod request;
mod source;
mod table;
mod text;
mod twitter;

#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod tests_support;

use std::io::Read;
use std::path::Path;

pub use input::Packing;
pub(crate) use keys::KeyNumbers;
pub use lines::LINE_BYTES_MAX;
pub use number::TimeUnit;
pub use request::{Operation, Request};
pub use source::TraceSource;
pub use table::CsvOptions;

use crate::error::TraceError;
use crate::workload::{Generator, Workload};
use input::Input;
use lines::LineReader;
use oracle::OracleReader;
use table::Table;
use text::{Layout, TextReader};

/// Most requests that [`TraceReader::read_block`] returns at once: 96 KiB of them, so that a block
/// and the bytes it was read from stay in a core's own cache.
pub const BLOCK_REQUESTS_MAX: usize = 4096;

/// How the bytes of a trace become requests.
///
/// Where a format has no sizes every size is 1; where it has no times, one request happens a
/// millisecond. Keys that are 64-bit numbers are kept, other keys are hashed with
/// [`ostler_abi::hash_bytes`] under seed 0. Blank lines are skipped, and a last line needs no end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// libCacheSim's binary records of 24 bytes: time in seconds, key, size.
    OracleGeneral,
    /// Delimited text with a header; columns by name, quotes as in RFC 4180 within a line.
    Csv(CsvOptions),
    /// ARC's block ranges, `start count ignored request_number`: one request a block.
    Arc,
    /// LIRS' block numbers, one a line; lines that start with `*` are skipped.
    Lirs,
    /// Storage Performance Council, `unit,address,bytes,operation,seconds`: one request for each
    /// block of 512 bytes, as in Caffeine's simulator, but with the unit in the key
    /// (unit × 2^48 + block) and with writes as [`Operation::Set`].
    Spc,
    /// Twitter's `timestamp,key,key size,value size,client id,operation,TTL`. The size is key plus
    /// value; `get` and `gets` are gets, `delete` deletes, every other operation is a set.
    Twitter,
    /// Meta's (CacheLib's) key-value traces, by the names in their header: `key`, `op` and `size`,
    /// optionally `key_size` (added to the size), `op_count` (the line stands for so many
    /// requests) and `op_time` (seconds). `GET` and `GET_LEASE` are gets, `SET` and `SET_LEASE`
    /// sets, `DELETE` deletes.
    Meta,
}

/// A stream of requests.
///
/// Read it in blocks ([`read_block`](Self::read_block)) where speed matters, or as an iterator.
/// Requests before a fault come first, then the error once, then nothing.
pub struct TraceReader {
    decoder: Decoder,
    ended: bool,
    /// The error that ended the trace, still to be returned.
    error: Option<TraceError>,
    /// Requests read so far.
    requests: u64,
    /// The iterator's block and its place in it.
    block: Vec<Request>,
    next: usize,
}

enum Decoder {
    Oracle(OracleReader),
    Text(TextReader),
    Workload(Generator),
}

impl TraceReader {
    /// Opens a file.
    ///
    /// # Errors
    ///
    /// [`TraceError::Open`] if the file does not open. What is in it shows on reading.
    pub fn open(path: &Path, format: &Format, packing: Packing) -> Result<Self, TraceError> {
        Ok(Self::with_input(Input::open(path, packing)?, format))
    }

    /// Reads a trace from any reader; errors call it `name`. The reader need not be buffered.
    ///
    /// # Errors
    ///
    /// [`TraceError::Open`] if the decompressor does not start.
    pub fn from_reader(
        name: &str,
        reader: Box<dyn Read + Send>,
        format: &Format,
        packing: Packing,
    ) -> Result<Self, TraceError> {
        Ok(Self::with_input(Input::new(name, reader, packing)?, format))
    }

    fn with_input(input: Input, format: &Format) -> Self {
        let layout = match format {
            Format::OracleGeneral => {
                return Self::new(Decoder::Oracle(OracleReader::new(input)));
            }
            Format::Csv(options) => Layout::Table(Box::new(Table::csv(options.clone()))),
            Format::Meta => Layout::Table(Box::new(Table::meta())),
            Format::Arc => Layout::Arc,
            Format::Lirs => Layout::Lirs,
            Format::Spc => Layout::Spc,
            Format::Twitter => Layout::Twitter,
        };
        Self::new(Decoder::Text(TextReader::new(LineReader::new(input), layout)))
    }

    /// Streams a generated workload; it cannot fail.
    #[must_use]
    pub fn generate(workload: &Workload) -> Self {
        Self::new(Decoder::Workload(workload.generate()))
    }

    fn new(decoder: Decoder) -> Self {
        Self { decoder, ended: false, error: None, requests: 0, block: Vec::new(), next: 0 }
    }

    /// Replaces `out` with the next requests, at most [`BLOCK_REQUESTS_MAX`], and returns how many:
    /// 0 at the end. Reuse `out`, then nothing is allocated after the first block.
    ///
    /// # Errors
    ///
    /// The [`TraceError`] that ends the trace, after all requests before it; an empty trace is one.
    /// After an error the trace is at its end.
    pub fn read_block(&mut self, out: &mut Vec<Request>) -> Result<usize, TraceError> {
        out.clear();
        if self.next < self.block.len() {
            out.extend_from_slice(&self.block[self.next..]);
            self.next = self.block.len();
            return Ok(out.len());
        }
        if self.ended {
            return self.error.take().map_or(Ok(0), Err);
        }
        let result = match &mut self.decoder {
            Decoder::Oracle(reader) => reader.read(out),
            Decoder::Text(reader) => reader.read(out),
            Decoder::Workload(generator) => {
                generator.read(out);
                Ok(())
            }
        };
        assert!(out.len() <= BLOCK_REQUESTS_MAX, "a reader overran its block");
        self.requests += out.len() as u64;
        match result {
            Err(error) => {
                self.ended = true;
                if out.is_empty() {
                    return Err(error);
                }
                self.error = Some(error);
            }
            Ok(()) if out.is_empty() => {
                self.ended = true;
                if self.requests == 0 {
                    return Err(TraceError::Empty { file: self.file().to_owned() });
                }
            }
            Ok(()) => {}
        }
        Ok(out.len())
    }

    /// Reads the rest of the trace into memory, 24 bytes a request.
    ///
    /// # Errors
    ///
    /// The trace's own error, or [`TraceError::TooLong`] at the first request beyond
    /// `requests_max`.
    pub fn read_all(self, requests_max: usize) -> Result<Vec<Request>, TraceError> {
        self.read_all_expecting(0, requests_max)
    }

    /// The same with room for `expected` requests from the start.
    fn read_all_expecting(
        mut self,
        expected: usize,
        requests_max: usize,
    ) -> Result<Vec<Request>, TraceError> {
        let mut all = Vec::new();
        // A wish: if the memory is not there, growing will tell.
        let _ = all.try_reserve_exact(expected);
        let mut block = Vec::with_capacity(BLOCK_REQUESTS_MAX);
        while self.read_block(&mut block)? > 0 {
            if block.len() > requests_max - all.len() {
                return Err(TraceError::TooLong { file: self.file().to_owned(), requests_max });
            }
            all.extend_from_slice(&block);
        }
        Ok(all)
    }

    /// The trace's name as its errors give it.
    fn file(&self) -> &str {
        match &self.decoder {
            Decoder::Oracle(reader) => reader.file(),
            Decoder::Text(reader) => reader.file(),
            Decoder::Workload(_) => "workload",
        }
    }
}

impl Iterator for TraceReader {
    type Item = Result<Request, TraceError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next == self.block.len() {
            let mut block = std::mem::take(&mut self.block);
            self.next = 0;
            let result = self.read_block(&mut block);
            self.block = block;
            match result {
                Ok(0) => return None,
                Ok(_) => {}
                Err(error) => return Some(Err(error)),
            }
        }
        let request = self.block.get(self.next).copied()?;
        self.next += 1;
        Some(Ok(request))
    }
}

#[cfg(test)]
mod tests {
    use super::tests_support::{collect, reader};
    use super::*;

    fn lirs(text: &str) -> TraceReader {
        reader(Format::Lirs, text.as_bytes().to_vec(), Packing::Plain)
    }

    #[test]
    fn an_error_comes_once_after_the_requests_before_it() {
        let mut trace = lirs("1\n2\nx\n3\n");
        let mut block = Vec::new();
        assert_eq!(trace.read_block(&mut block).unwrap(), 2);
        assert!(matches!(trace.read_block(&mut block), Err(TraceError::BadField { .. })));
        assert_eq!(trace.read_block(&mut block).unwrap(), 0);
        assert!(trace.next().is_none());
    }

    #[test]
    fn blocks_go_on_where_the_iterator_stopped() {
        let mut trace = lirs("1\n2\n3\n");
        assert_eq!(trace.next().unwrap().unwrap().key, 1);
        let mut block = vec![Request::get(0, 99, 1); 5];
        assert_eq!(trace.read_block(&mut block).unwrap(), 2);
        assert_eq!(block.iter().map(|request| request.key).collect::<Vec<u64>>(), [2, 3]);
        assert!(trace.next().is_none());
    }

    #[test]
    fn loading_stops_at_the_limit() {
        let text = "7\n".repeat(BLOCK_REQUESTS_MAX + 1);
        assert_eq!(lirs(&text).read_all(BLOCK_REQUESTS_MAX + 1).unwrap().len(), 4097);
        for limit in [0, 10, BLOCK_REQUESTS_MAX] {
            let error = lirs(&text).read_all(limit).unwrap_err();
            assert!(
                matches!(&error, TraceError::TooLong { requests_max, .. } if *requests_max == limit)
            );
        }
    }

    #[test]
    fn iterator_and_blocks_agree() {
        let text: String = (0..10_000).map(|block| format!("{block}\n")).collect();
        let (blocks, error) = collect(lirs(&text));
        assert!(error.is_none());
        let one_by_one: Vec<Request> = lirs(&text).map(Result::unwrap).collect();
        assert_eq!(blocks, one_by_one);
        assert_eq!(blocks.len(), 10_000);
    }
}
