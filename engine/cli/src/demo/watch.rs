//! A line a second: what the client sees, and who is in charge. Plain lines, for terminals and pipes alike.

use std::io::Write;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::client::Tally;
use super::host::Host;
use super::outcome::grouped;
use super::workload::{PHASES, Plan};

/// A rest that is shorter than this gets no line.
const REST_MIN: Duration = Duration::from_millis(300);

/// The column where decisions begin.
const DECISIONS_AT: usize = 66;

/// Who watches.
pub(super) struct Watch<'a> {
    host: &'a Host,
    plan: &'a Plan,
    tally: &'a Tally,
    start: Instant,
    /// Time, requests and hits when the last line was written.
    last: (Duration, u64, u64),
    /// Decisions that were told.
    told: u64,
}

impl<'a> Watch<'a> {
    /// Starts its clock.
    pub(super) fn new(host: &'a Host, plan: &'a Plan, tally: &'a Tally) -> Self {
        let start = Instant::now();
        let last = (Duration::ZERO, 0, 0);
        Self { host, plan, tally, start, last, told: 0 }
    }

    /// Writes lines until the other end of `ended` is dropped.
    pub(super) fn show(mut self, ended: &Receiver<()>, out: &mut dyn Write) -> Result<()> {
        writeln!(
            out,
            "   time  phase          in charge   hit ratio  requests/s  swaps  decision"
        )?;
        loop {
            let elapsed = self.start.elapsed();
            let due = Duration::from_secs(elapsed.as_secs() + 1);
            let is_over = match ended.recv_timeout(due - elapsed) {
                Err(RecvTimeoutError::Timeout) => false,
                Ok(()) | Err(RecvTimeoutError::Disconnected) => true,
            };
            if !is_over || self.start.elapsed() >= self.last.0 + REST_MIN {
                self.line(out)?;
            }
            if is_over {
                return Ok(());
            }
        }
    }

    fn line(&mut self, out: &mut dyn Write) -> Result<()> {
        let (gets, hits) = (self.tally.gets.load(Relaxed), self.tally.hits.load(Relaxed));
        let now = self.start.elapsed();
        let (before, gets_before, hits_before) =
            std::mem::replace(&mut self.last, (now, gets, hits));
        let asked = gets - gets_before;
        let hit_ratio = (hits - hits_before) as f64 / asked.max(1) as f64;
        let rate = asked as f64 / (now - before).as_secs_f64();
        let policy = self.host.stats()?.seat.desired.unwrap_or_else(|| "nobody".to_owned());
        let decisions = self.host.decisions()?;
        let swaps = decisions.iter().filter(|decision| decision.is_swap()).count();
        let new = decisions.iter().filter(|decision| decision.number > self.told);
        // What happened first is said first, each on a line.
        let words: Vec<String> = new.map(super::host::Decided::words).collect();
        let words = words.join(&format!("\n{:DECISIONS_AT$}", ""));
        self.told = decisions.last().map_or(self.told, |decision| decision.number);
        let phase = self.plan.phase_of(gets.saturating_sub(1));
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rounded rate, not negative"
        )]
        let rate = grouped(rate.round() as u64);
        let line = format!(
            "{:5.1} s  {} {:<11}  {policy:<10} {:>8.1} %  {rate:>10}  {swaps:>5}  {words}",
            now.as_secs_f64(),
            phase + 1,
            PHASES[phase],
            100.0 * hit_ratio,
        );
        writeln!(out, "{}", line.trim_end())?;
        out.flush()?;
        Ok(())
    }
}
