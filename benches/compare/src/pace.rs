//! How the time given to a run is shared out among its cells.
//!
//! A cell's share follows the requests that it plays. A cell that is late goes without its further
//! repeats; the first is always played, so a run on a slow machine takes longer than it was given, and
//! shows every cell all the same.

use std::time::{Duration, Instant};

use crate::plan::{Cell, Depth};
use crate::workload::WARM_REQUESTS_PER_ENTRY;

/// When each cell should be through.
pub struct Pace {
    /// From the start, as a share of the time given.
    shares: Vec<f64>,
    start: Instant,
    given: Option<Duration>,
}

impl Pace {
    /// Begins the run. Without a time that is given everything is played.
    #[must_use]
    pub fn begin(
        cells: &[Cell],
        repeats_of: impl Fn(&Cell) -> usize,
        given: Option<Duration>,
    ) -> Self {
        let work = |cell: &Cell| (repeats_of(cell) * requests_of(cell)) as f64;
        let total: f64 = cells.iter().map(work).sum();
        let mut done = 0.0;
        let shares = cells.iter().map(|cell| {
            done += work(cell);
            done / total
        });
        Self { shares: shares.collect(), start: Instant::now(), given }
    }

    /// When the cell of this number should be through; `None` where it has all the time it needs.
    #[must_use]
    pub fn until(&self, number: usize) -> Option<Instant> {
        Some(self.start + self.given?.mul_f64(self.shares[number]))
    }

    /// Seconds since the start.
    #[must_use]
    pub fn elapsed_s(&self) -> u64 {
        self.start.elapsed().as_secs()
    }
}

/// Requests of one repeat, the warm-up included.
fn requests_of(cell: &Cell) -> usize {
    Depth::Full.requests() + WARM_REQUESTS_PER_ENTRY * cell.entries
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Subject;
    use crate::workload::Workload;

    #[test]
    fn shares_follow_the_requests() {
        let cell = |entries| Cell {
            subject: Subject::Entries,
            workload: Workload::Hits(1.0),
            entries,
            threads: 1,
        };
        let (small, large) = (cell(0), cell(500_000));
        let minute = Duration::from_secs(60);
        let pace =
            Pace::begin(&[small, large], |cell| 1 + usize::from(cell.entries == 0), Some(minute));
        let due = |number| pace.until(number).map(|until| (until - pace.start).as_secs());
        // Twice a million requests, then four million.
        assert_eq!((due(0), due(1)), (Some(20), Some(60)));
        assert_eq!(Pace::begin(&[small], |_| 1, None).until(0), None);
    }
}
