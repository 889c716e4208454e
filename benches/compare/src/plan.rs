//! Which cells are measured, in what order, and the measuring of them.
//!
//! A cell is a load, a size and a number of threads; every contender plays each cell, in an order drawn
//! anew for every repeat.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::str::FromStr;
use std::time::Instant;

use anyhow::{Result, anyhow, bail};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use crate::contender::Key;
use crate::measure::{Observe, Sample, Setting, Values};
use crate::roster::{Row, Standing};
use crate::workload::{Extent, Script, Trace, Workload};

/// The capacity of every cell that does not vary it.
pub const ENTRIES: usize = 100_000;

/// The type of the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// `u64`.
    Integers,
    /// `String` of 32 characters.
    Strings,
}

/// What a cell is measured for: the part of the report that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Throughput over threads.
    Threads,
    /// Nanoseconds a request over entries.
    Entries,
    /// Throughput with string keys.
    Strings,
    /// Throughput with values allocated at the insert.
    Allocated,
    /// Latency.
    Latency,
}

/// One load at one size with so many threads.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cell {
    /// What it is measured for.
    pub subject: Subject,
    /// The load.
    pub workload: Workload,
    /// Entries that the caches are built for; a trace decides itself.
    pub entries: usize,
    /// Threads that play.
    pub threads: usize,
}

impl Cell {
    /// The type of its keys.
    #[must_use]
    pub fn keys(&self) -> Keys {
        if self.subject == Subject::Strings { Keys::Strings } else { Keys::Integers }
    }

    fn setting(&self) -> Setting {
        let values = match self.subject {
            Subject::Allocated => Values::Allocated,
            _ => Values::Pooled,
        };
        let observe = match self.subject {
            Subject::Latency => Observe::Latency,
            _ => Observe::Throughput,
        };
        Setting::new(self.entries, values, observe)
    }

    /// Whether rows with a rival's own defaults play too: where the targets are judged.
    fn has_defaults(&self) -> bool {
        self.subject == Subject::Threads
            && self.threads <= 2
            && !matches!(self.workload, Workload::Scan(_) | Workload::Trace)
            && !self.workload.to_string().ends_with("0.8")
    }

    /// Whether the design that was rejected plays too: integer keys, one and two threads.
    fn has_alternative(&self) -> bool {
        self.subject == Subject::Threads && self.threads <= 2 && self.workload != Workload::Trace
    }

    /// Whether `row` plays this cell.
    #[must_use]
    pub fn seats(&self, row: &Row) -> bool {
        let is_played = match row.standing {
            Standing::Ours | Standing::Rival | Standing::Ceiling => true,
            Standing::Alternative => self.has_alternative(),
            Standing::Defaults => self.has_defaults(),
            Standing::Option => false,
        };
        is_played && self.entries <= row.entries_max
    }
}

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// A smoke test, two to three minutes.
    Quick,
    /// Everything, at most about 20 minutes on two quiet cores.
    Full,
}

impl Depth {
    /// Repeats of a cell, unless the command line says otherwise.
    #[must_use]
    pub fn repeats(self) -> usize {
        match self {
            Self::Quick => 3,
            Self::Full => 5,
        }
    }

    /// Requests of all threads together.
    #[must_use]
    pub fn requests(self) -> usize {
        match self {
            Self::Quick => 400_000,
            Self::Full => 1_000_000,
        }
    }

    /// The cells, in the order of the report.
    #[must_use]
    pub fn cells(self) -> Vec<Cell> {
        let mixed = |gets_percent, exponent| Workload::Mixed { gets_percent, exponent };
        let hits = Workload::Hits(1.0);
        let mut cells = Vec::new();
        let mut add = |subject, workloads: &[Workload], entries: &[usize], threads: &[usize]| {
            for workload in workloads.iter().copied() {
                for entries in entries.iter().copied() {
                    for threads in threads.iter().copied() {
                        cells.push(Cell { subject, workload, entries, threads });
                    }
                }
            }
        };
        match self {
            Self::Quick => {
                let loads = [hits, mixed(90, 1.0), mixed(50, 1.0)];
                add(Subject::Threads, &loads, &[ENTRIES], &[1, 2]);
                add(Subject::Threads, &[Workload::Scan(1.0)], &[ENTRIES], &[1]);
                add(Subject::Threads, &[Workload::Trace], &[0], &[1]);
                add(Subject::Entries, &[hits], &[1_000, 10_000], &[1]);
                add(Subject::Strings, &[mixed(90, 1.0)], &[ENTRIES], &[1]);
                add(Subject::Latency, &[hits, mixed(90, 1.0)], &[ENTRIES], &[2]);
            }
            Self::Full => {
                let loads = [hits, mixed(90, 1.0), mixed(50, 1.0)];
                add(Subject::Threads, &loads, &[ENTRIES], &[1, 2, 4, 8]);
                let flatter = [Workload::Hits(0.8), mixed(90, 0.8), mixed(50, 0.8)];
                add(Subject::Threads, &flatter, &[ENTRIES], &[1, 2]);
                add(Subject::Threads, &[Workload::Scan(1.0)], &[ENTRIES], &[1, 2]);
                add(Subject::Threads, &[Workload::Trace], &[0], &[1, 2]);
                let sizes = [1_000, 10_000, 1_000_000, 10_000_000];
                add(Subject::Entries, &[hits], &sizes, &[1]);
                add(Subject::Entries, &[mixed(90, 1.0)], &sizes[..3], &[1]);
                add(Subject::Strings, &[hits, mixed(90, 1.0)], &[ENTRIES], &[1, 2]);
                add(Subject::Allocated, &[mixed(50, 1.0)], &[ENTRIES], &[1, 2]);
                add(Subject::Latency, &[hits, mixed(90, 1.0)], &[ENTRIES], &[1, 2]);
            }
        }
        cells
    }

    /// Repeats of one cell: fewer where filling a million entries and more would take the whole time,
    /// with four threads and more, and for latencies, whose samples are merged.
    #[must_use]
    pub fn repeats_of(self, cell: &Cell, repeats: usize) -> usize {
        match cell.entries {
            _ if cell.subject == Subject::Latency => repeats.min(2),
            ..1_000_000 if cell.threads <= 2 => repeats,
            ..1_000_000 => repeats.min(3),
            1_000_000..10_000_000 => repeats.min(3),
            _ => 1,
        }
    }
}

/// Which cells and rows the command line chose. An empty list chooses all.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// Names of rows; a name without a standing in brackets means that row alone.
    pub only: Vec<String>,
    /// Names of loads, or their beginnings.
    pub workloads: Vec<String>,
    /// Numbers of threads.
    pub threads: Vec<usize>,
    /// Numbers of entries.
    pub entries: Vec<usize>,
}

impl Choice {
    /// Whether a cell is chosen. The entries of a trace are its own, so `entries` leaves traces alone.
    #[must_use]
    pub fn takes_cell(&self, cell: &Cell) -> bool {
        let name = cell.workload.to_string();
        let is_trace = cell.workload == Workload::Trace;
        (self.workloads.is_empty() || self.workloads.iter().any(|start| name.starts_with(start)))
            && (self.threads.is_empty() || self.threads.contains(&cell.threads))
            && (self.entries.is_empty() || is_trace || self.entries.contains(&cell.entries))
    }

    /// The rows chosen.
    ///
    /// # Errors
    ///
    /// Where there is no row of a name asked for.
    pub fn take_rows(&self, rows: Vec<Row>) -> Result<Vec<Row>> {
        if let Some(name) = self.only.iter().find(|name| rows.iter().all(|row| row.name != **name))
        {
            let known: Vec<_> = rows.iter().map(|row| row.name).collect();
            bail!("no row {name}; there are {}", known.join(", "));
        }
        let is_taken = |row: &Row| self.only.is_empty() || self.only.iter().any(|n| n == row.name);
        Ok(rows.into_iter().filter(is_taken).collect())
    }

    /// Checks the names of loads before anything is measured.
    ///
    /// # Errors
    ///
    /// Where a load asked for is none.
    pub fn check(&self) -> Result<()> {
        for name in self.workloads.iter().filter(|name| *name != "mix") {
            Workload::from_str(name)?;
        }
        Ok(())
    }
}

/// What one row made of one cell.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The cell; its entries are those that a trace decided.
    pub cell: Cell,
    /// The row's place in the roster.
    pub row: usize,
    /// One sample a repeat.
    pub samples: Vec<Sample>,
}

/// How much of a cell is played.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Requests of all threads together.
    pub requests: usize,
    /// Repeats.
    pub repeats: usize,
    /// No further repeat begins after this.
    pub until: Option<Instant>,
}

/// What came of a cell.
#[derive(Clone, Debug, Default)]
pub struct Played {
    /// By row, in the order of the roster; rows that failed every time have no samples.
    pub outcomes: Vec<Outcome>,
    /// What failed, one line each.
    pub failures: Vec<String>,
}

/// Plays one cell: every row, in an order drawn anew for every repeat. A row that fails is left out, and
/// the others go on.
///
/// # Errors
///
/// Where the load cannot be written.
pub fn play_cell(
    cell: Cell,
    rows: &[Row],
    trace: Option<&Trace>,
    effort: Effort,
) -> Result<Played> {
    let cell = match (cell.workload, trace) {
        (Workload::Trace, Some(trace)) => Cell { entries: trace.capacity, ..cell },
        (Workload::Trace, None) => bail!("the trace cell needs a trace"),
        _ => cell,
    };
    Ok(match cell.keys() {
        Keys::Integers => {
            let script = script(&cell, trace, effort.requests)?;
            play_rows(cell, rows, effort, |row, setting| (row.play_integers)(setting, &script))
        }
        Keys::Strings => {
            let script = script(&cell, trace, effort.requests)?;
            play_rows(cell, rows, effort, |row, setting| (row.play_strings)(setting, &script))
        }
    })
}

fn script<K: Key>(cell: &Cell, trace: Option<&Trace>, requests: usize) -> Result<Script<K>> {
    match (cell.workload, trace) {
        (Workload::Trace, Some(trace)) => Ok(Script::of_trace(trace, cell.threads)),
        _ => {
            let Cell { entries, threads, .. } = *cell;
            Script::new(cell.workload, Extent { entries, threads, requests })
        }
    }
}

fn play_rows(
    cell: Cell,
    rows: &[Row],
    effort: Effort,
    play: impl Fn(&Row, &Setting) -> Result<Sample>,
) -> Played {
    let seated = rows.iter().enumerate().filter(|(_, row)| cell.seats(row));
    let mut outcomes: Vec<Outcome> =
        seated.map(|(row, _)| Outcome { cell, row, samples: Vec::new() }).collect();
    let mut random = StdRng::seed_from_u64(cell.entries as u64 ^ (cell.threads as u64) << 32);
    let setting = cell.setting();
    let mut order: Vec<usize> = (0..outcomes.len()).collect();
    let mut failures = Vec::new();
    for repeat in 0..effort.repeats {
        if repeat > 0 && effort.until.is_some_and(|until| Instant::now() >= until) {
            break;
        }
        order.shuffle(&mut random);
        for place in &order {
            let outcome = &mut outcomes[*place];
            let row = &rows[outcome.row];
            let sample = catch_unwind(AssertUnwindSafe(|| play(row, &setting)));
            match sample.unwrap_or_else(|_| Err(anyhow!("it panicked"))) {
                Ok(sample) => outcome.samples.push(sample),
                Err(error) => {
                    failures.push(format!("{} in {}: {error:#}", row.name, cell.workload))
                }
            }
        }
    }
    Played { outcomes, failures }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_filters_cells() {
        let choice = Choice {
            workloads: vec!["hits".into()],
            threads: vec![1, 2],
            entries: vec![ENTRIES],
            ..Choice::default()
        };
        let cells = Depth::Full.cells();
        let taken: Vec<_> = cells.iter().filter(|cell| choice.takes_cell(cell)).collect();
        assert!(taken.iter().all(|cell| matches!(cell.workload, Workload::Hits(_))));
        // Two exponents over threads, strings and latencies, with one and two threads each.
        assert_eq!(taken.len(), 8);
    }

    #[test]
    fn an_unknown_row_is_named() {
        let choice = Choice { only: vec!["nonesuch".into()], ..Choice::default() };
        let error = choice.take_rows(crate::roster::rows()).err().unwrap().to_string();
        assert!(error.starts_with("no row nonesuch"), "{error}");
    }
}
