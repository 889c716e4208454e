//! Text traces: line by line, each line one request or a run of them.
//!
//! Owns the loop from lines to requests, so that a format only says what one line means. Runs (a
//! range of blocks, a repeated operation) are expanded while reading and never stored.

use super::blocks::{self, RUN_REQUESTS_MAX};
use super::clock::TraceClock;
use super::lines::LineReader;
use super::table::Table;
use super::twitter;
use super::{BLOCK_REQUESTS_MAX, Operation, Request};
use crate::error::{TraceError, shown};

/// What one line means, by format.
pub(super) enum Layout {
    Arc,
    Lirs,
    Spc,
    Twitter,
    Table(Box<Table>),
}

impl Layout {
    /// The requests of one line, `None` for a line that has none by its nature (blank, comment,
    /// header).
    fn parse(&mut self, line: &[u8]) -> Result<Option<Run>, LineFault> {
        if line.trim_ascii().is_empty() {
            return Ok(None);
        }
        match self {
            Self::Arc => blocks::parse_arc(line).map(Some),
            Self::Lirs => blocks::parse_lirs(line),
            Self::Spc => blocks::parse_spc(line).map(Some),
            Self::Twitter => twitter::parse(line).map(Some),
            Self::Table(table) => table.parse(line),
        }
    }
}

/// Consecutive requests that one line stands for, at most [`RUN_REQUESTS_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// The first of them. Its time counts only if `timed`.
    pub(super) first: Request,
    /// Whether the trace has times; otherwise the n-th request happens at n milliseconds.
    pub(super) timed: bool,
    /// How many requests, 0 allowed.
    pub(super) count: u64,
    /// What the key grows by from request to request.
    pub(super) key_step: u64,
}

impl Run {
    /// A single request without a time.
    pub(super) fn single(first: Request) -> Self {
        Self { first, timed: false, count: 1, key_step: 0 }
    }
}

/// What is wrong with a line; file and line number come later.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum LineFault {
    /// A field does not hold what its column asks for.
    Field { column: String, value: String, expected: &'static str },
    /// There are too few fields.
    Missing { have: usize, expected: String },
    /// The header lacks a column.
    Column { wanted: String, have: String, hint: &'static str },
}

impl LineFault {
    /// `value`, found in `column`, is not what is `expected`.
    pub(super) fn field(column: &str, value: &[u8], expected: &'static str) -> Self {
        Self::Field { column: column.to_owned(), value: shown(value), expected }
    }

    fn at(self, file: &str, line: u64) -> TraceError {
        let file = file.to_owned();
        match self {
            Self::Field { column, value, expected } => {
                TraceError::BadField { file, line, column, value, expected }
            }
            Self::Missing { have, expected } => {
                TraceError::MissingField { file, line, have, expected }
            }
            Self::Column { wanted, have, hint } => {
                TraceError::MissingColumn { file, wanted, have, hint }
            }
        }
    }
}

/// Reads requests from a text trace.
pub(super) struct TextReader {
    lines: LineReader,
    layout: Layout,
    /// What is left of the current line's run.
    run: Option<Run>,
    clock: TraceClock,
    /// Requests so far.
    requests: u64,
}

impl TextReader {
    pub(super) fn new(lines: LineReader, layout: Layout) -> Self {
        Self { lines, layout, run: None, clock: TraceClock::default(), requests: 0 }
    }

    /// The trace's name, for errors.
    pub(super) fn file(&self) -> &str {
        self.lines.file()
    }

    /// Appends the next block to `out`, nothing at the end. On an error the requests before it
    /// have been appended.
    pub(super) fn read(&mut self, out: &mut Vec<Request>) -> Result<(), TraceError> {
        while out.len() < BLOCK_REQUESTS_MAX {
            if let Some(run) = self.run.take() {
                self.run = self.expand(run, out);
                continue;
            }
            let Some(line) = self.lines.next_line()? else { break };
            match self.layout.parse(line) {
                Ok(run) => self.run = run,
                Err(fault) => return Err(fault.at(self.lines.file(), self.lines.number())),
            }
        }
        Ok(())
    }

    /// Appends the requests of `run` as far as the block goes; returns the rest.
    fn expand(&mut self, mut run: Run, out: &mut Vec<Request>) -> Option<Run> {
        assert!(run.count <= RUN_REQUESTS_MAX, "a format passed on a run that is too long");
        let since_ms = if run.timed { self.clock.since_first(run.first.time_ms()) } else { 0 };
        while run.count > 0 && out.len() < BLOCK_REQUESTS_MAX {
            let time_ms = if run.timed { since_ms } else { self.requests };
            out.push(run.first.at(time_ms));
            self.requests += 1;
            run.first.key = run.first.key.wrapping_add(run.key_step);
            run.count -= 1;
        }
        (run.count > 0).then_some(run)
    }
}

/// Names that a column of operations may use, for errors.
pub(super) const OPERATION_NAMES: &str = "an operation: get, gets, get_lease, read or r; set, \
     set_lease, add, replace, cas, append, prepend, incr, decr, put, write or w; delete, del or \
     remove";

/// The operation of that name, upper or lower case.
pub(super) fn operation(name: &[u8]) -> Option<Operation> {
    const GET: [&[u8]; 5] = [b"get", b"gets", b"get_lease", b"read", b"r"];
    const SET: [&[u8]; 12] = [
        b"set",
        b"set_lease",
        b"add",
        b"replace",
        b"cas",
        b"append",
        b"prepend",
        b"incr",
        b"decr",
        b"put",
        b"write",
        b"w",
    ];
    const DELETE: [&[u8]; 3] = [b"delete", b"del", b"remove"];
    let name = name.trim_ascii();
    let is_in = |names: &[&[u8]]| names.iter().any(|known| known.eq_ignore_ascii_case(name));
    if is_in(&GET) {
        Some(Operation::Get)
    } else if is_in(&SET) {
        Some(Operation::Set)
    } else if is_in(&DELETE) {
        Some(Operation::Delete)
    } else {
        None
    }
}
