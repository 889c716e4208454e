//! The section of the results file: rules, tables and the names of the figures.

mod figures;
mod judge;
mod tables;

use crate::footprint::Footprint;
use crate::measure::{LATENCY_EVERY, VALUE_BYTES};
use crate::place;
use crate::plan::{Cell, Outcome};
use crate::roster::{Row, SHARED_HASHER, Standing};
use crate::workload::{HIT_KEYS_SHARE, KEYS_PER_ENTRY};

/// A figure: the name of its file and its SVG text.
pub type Figure = (String, String);

/// All that was measured, and where.
#[derive(Default)]
pub struct Report {
    /// The rows that took part.
    pub rows: Vec<Row>,
    /// What came of every cell, cell by cell.
    pub outcomes: Vec<Outcome>,
    /// The entries that caches were weighed at, and what they took, by row.
    pub footprints: (usize, Vec<(usize, Footprint)>),
    /// The command that was run.
    pub command: String,
    /// What timing an operation costs, nanoseconds.
    pub timer_cost_ns: u64,
    /// Requests in a cell.
    pub requests: usize,
    /// Repeats of a cell.
    pub repeats: usize,
    /// What failed, one line each.
    pub failures: Vec<String>,
    /// Cells that had fewer repeats than planned, for want of time or by a failure.
    pub cut_short: usize,
    /// Cells that are still to be played.
    pub cells_open: usize,
    /// The trace played: its name, its requests and the capacity.
    pub trace: Option<(String, usize, usize)>,
}

impl Report {
    /// The figures.
    #[must_use]
    pub fn figures(&self) -> Vec<Figure> {
        figures::figures(self)
    }

    /// The section's text, with links to `figures`, which stand in the folder `folder`.
    #[must_use]
    pub fn text(&self, figures: &[Figure], folder: &str) -> String {
        let mut text = self.preface();
        text.push_str(&self.shortcomings());
        text.push_str(&tables::targets(self));
        text.push_str(&tables::alternative(self));
        text.push_str(&tables::throughput(self));
        text.push_str(&tables::latency(self));
        text.push_str(&tables::memory(self));
        if !figures.is_empty() {
            text.push_str("\n### Figures\n\n");
            for (name, _) in figures {
                let title = name.trim_end_matches(".svg").replace('-', " ");
                text.push_str(&format!("![{title}]({folder}/{name})\n"));
            }
        }
        text
    }

    /// The cells, each once, in the order in which they were played.
    fn cells(&self) -> Vec<Cell> {
        let mut cells: Vec<Cell> = self.outcomes.iter().map(|outcome| outcome.cell).collect();
        cells.dedup();
        cells
    }

    /// What is missing from the tables, and why.
    fn shortcomings(&self) -> String {
        let mut text = String::new();
        if self.cells_open > 0 {
            text.push_str(&format!("\n**Not finished**: {} cells are missing.\n", self.cells_open));
        }
        if self.cut_short > 0 {
            let cells = self.cells().len();
            text.push_str(&format!(
                "\n{} of {cells} cells had fewer repeats than planned, for want of time.\n",
                self.cut_short
            ));
        }
        if !self.failures.is_empty() {
            text.push_str("\nWhat failed and is missing:\n\n");
            for failure in &self.failures {
                text.push_str(&format!("- {failure}\n"));
            }
        }
        text
    }

    fn preface(&self) -> String {
        let mut packages: Vec<&str> = self.rows.iter().map(|row| row.package).collect();
        packages.dedup();
        packages.sort_unstable();
        packages.dedup();
        let is_rival = |package: &&&str| **package != "ostler";
        let versions: Vec<String> = packages
            .iter()
            .filter(is_rival)
            .map(|package| format!("{package} {}", place::version(package)))
            .collect();
        let hashers: Vec<String> = self
            .rows
            .iter()
            .filter(|row| row.hasher != SHARED_HASHER)
            .map(|row| format!("{}: {}", row.name, row.hasher))
            .collect();
        let trace = self.trace.as_ref().map_or(
            "No trace was given, so its rows are missing.".to_owned(),
            |(name, requests, capacity)| {
                format!(
                    "`trace` is get-or-insert in the order of {name}, {requests} requests, at \
                     {capacity} entries, a tenth of its objects, from empty, dealt to the threads \
                     request by request."
                )
            },
        );
        let Self { command, requests, repeats, timer_cost_ns, .. } = self;
        let others = if hashers.is_empty() { "none".to_owned() } else { hashers.join("; ") };
        format!(
            "{}, {}, commit {}.\n{}.\n\n```\n{command}\n```\n\n\
             All contenders are built with one profile (release, thin LTO, one codegen unit) on the \
             system's allocator, and get the same keys in the same order.\n\
             Keys are `u64` unless a table says otherwise, values `Bytes` of {VALUE_BYTES} bytes, made \
             beforehand and cloned at the insert; every entry weighs 1.\n\
             The hasher is {SHARED_HASHER}, but for {others}. tinyufo and stretto keep hashes \
             instead of keys.\n\
             A cell is {requests} requests of all threads together (a trace: all of its requests), \
             written beforehand, after a warm-up from empty by get-or-insert of six times \
             the capacity. Repeats run interleaved in a drawn order: the median \
             of {repeats} (3 at a million entries or with 4 threads and more, 2 for \
             latencies, 1 at ten million), least and greatest in brackets.\n\
             The clock runs from the first thread's start at the barrier to the last one's end, and on \
             while the cache does what it has put off (moka, mini-moka: pending tasks; stretto: \
             `wait`). stretto applies its log on a thread of its own, which a free core makes look \
             cheap; where it evicts it visits every entry it holds, so it plays no cell above 10,000 \
             entries and is weighed there.\n\n\
             `hits-s`: gets alone, of zipf(s) over as many resident keys as {:.0} % of the capacity; \
             each cache is asked for keys that it holds. `mix90-s`, `mix50-s`: 90 or 50 % gets, the \
             rest inserts, all keys from zipf(s) over {KEYS_PER_ENTRY} times the capacity; a get that \
             misses inserts nothing. `scan-s`: get-or-insert from the same zipf, every fifth run of \
             requests over keys that never return. {trace}\n\n\
             A row **counts** if its hit ratio is within 1 pp of the best rival's, it holds no more than \
             5 % over the capacity (and, for a load of hits, no less than the keys read), and \
             its policy was told of at least 99 % of the hits, where the cache accounts for that. \
             dashmap evicts nothing and ignores the capacity: a ceiling, no rival. \
             ostler-on-dashmap is the design that was rejected: the same engine and policy around a \
             DashMap instead of shards of its own. \
             Latencies come from runs of their own, one operation in {LATENCY_EVERY} timed; the timer \
             itself costs {timer_cost_ns} ns, which is not taken off.\n",
            place::machine(),
            place::compiler(),
            place::commit(),
            versions.join(", "),
            HIT_KEYS_SHARE * 100.0,
        )
    }

    fn standing(&self, row: usize) -> Standing {
        self.rows[row].standing
    }
}
