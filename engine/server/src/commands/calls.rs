//! How often each command ran, and how long: what `INFO commandstats` and `errorstats` say.
//!
//! A session counts runs of one command and hands them over when another follows or its batch ends,
//! so that a pipeline costs no shared counter for each of its commands.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use parking_lot::Mutex;

use crate::commands::{Command, Row, rows};

/// Error codes that are counted apart; what comes later counts as `OTHER`.
const CODES_MAX: usize = 64;

/// Counters of every command since the start, or since `CONFIG RESETSTAT`.
pub struct Calls {
    rows: Vec<Counts>,
    errors: Mutex<BTreeMap<String, u64>>,
}

/// Counters of one command.
#[derive(Debug, Default)]
struct Counts {
    calls: AtomicU64,
    spent_us: AtomicU64,
    rejected: AtomicU64,
    failed: AtomicU64,
}

/// What one command's counters said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Times that it ran.
    pub calls: u64,
    /// Microseconds that this took, reading its words included.
    pub spent_us: u64,
    /// Times that it was refused before it ran.
    pub rejected: u64,
    /// Times that it answered with an error.
    pub failed: u64,
}

impl Default for Calls {
    fn default() -> Self {
        Self { rows: rows().iter().map(|_| Counts::default()).collect(), errors: Mutex::default() }
    }
}

impl std::fmt::Debug for Calls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Calls").field("rows", &self.rows.len()).finish_non_exhaustive()
    }
}

impl Calls {
    /// Every command that was called, with its counters.
    pub fn all(&self) -> impl Iterator<Item = (&'static Command, Counted)> {
        rows().iter().zip(&self.rows).filter_map(|(row, counts)| {
            let counted = Counted {
                calls: counts.calls.load(Relaxed),
                spent_us: counts.spent_us.load(Relaxed),
                rejected: counts.rejected.load(Relaxed),
                failed: counts.failed.load(Relaxed),
            };
            let seen = counted.calls + counted.rejected + counted.failed > 0;
            seen.then_some((row.command, counted))
        })
    }

    /// Errors by their code.
    #[must_use]
    pub fn errors(&self) -> BTreeMap<String, u64> {
        self.errors.lock().clone()
    }

    /// Starts again from zero.
    pub fn reset(&self) {
        for counts in &self.rows {
            counts.calls.store(0, Relaxed);
            counts.spent_us.store(0, Relaxed);
            counts.rejected.store(0, Relaxed);
            counts.failed.store(0, Relaxed);
        }
        self.errors.lock().clear();
    }

    /// Counts the error that `reply` holds, of `row` where its command is known.
    #[cold]
    pub(crate) fn failed(&self, row: Option<&Row>, reply: &[u8], ran: Ran) {
        if let Some(row) = row {
            let counts = &self.rows[row.index];
            let counter = if ran == Ran::Yes { &counts.failed } else { &counts.rejected };
            counter.fetch_add(1, Relaxed);
        }
        let text = reply.get(1..).unwrap_or_default();
        let end = text.iter().position(|byte| matches!(byte, b' ' | b'\r')).unwrap_or(text.len());
        let code = String::from_utf8_lossy(&text[..end.min(32)]).into_owned();
        let mut errors = self.errors.lock();
        let known = errors.len() < CODES_MAX || errors.contains_key(&code);
        *errors.entry(if known { code } else { "OTHER".to_owned() }).or_default() += 1;
    }

    fn add(&self, index: usize, calls: u64, spent_us: u64) {
        self.rows[index].calls.fetch_add(calls, Relaxed);
        self.rows[index].spent_us.fetch_add(spent_us, Relaxed);
    }
}

/// Whether a command ran before it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ran {
    /// It did.
    Yes,
    /// It was refused.
    No,
}

/// A session's calls of one command in a row, not yet handed over.
#[derive(Default)]
pub(crate) struct Tally {
    run: Option<(usize, Instant)>,
    calls: u64,
}

impl Tally {
    /// Counts a call of `row` that begins now; hands over what was another's.
    #[inline]
    pub(crate) fn count(&mut self, row: &Row, calls: &Calls) -> u64 {
        let mut handed = 0;
        if self.run.is_none_or(|(index, _)| index != row.index) {
            handed = self.hand_over(calls);
            self.run = Some((row.index, Instant::now()));
        }
        self.calls += 1;
        handed
    }

    /// Hands over all, and tells how many calls that were.
    pub(crate) fn hand_over(&mut self, calls: &Calls) -> u64 {
        let Some((index, since)) = self.run.take() else { return 0 };
        let spent_us = u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX);
        calls.add(index, self.calls, spent_us);
        std::mem::take(&mut self.calls)
    }
}
