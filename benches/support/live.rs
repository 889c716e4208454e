//! Loads for a live cache, what its callers' requests take, and how long a thread was on a processor.

use std::hint::black_box;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use anyhow::{Context, Result};
use foldhash::fast::FixedState;
use hdrhistogram::Histogram;
use ostler_core::Cache;
use ostler_replay::TraceSource;

/// The cache that the benches of the live path use: a value equals its key, and the hasher has a fixed seed.
pub type LiveCache = Cache<u64, u64, FixedState>;

/// Of so many requests of a [`Load`], one inserts; the others read.
pub const INSERT_EVERY: usize = 10;

/// The longest latency that is told from longer ones: ten seconds.
const LATENCY_NS_MAX: u64 = 10_000_000_000;

/// Significant digits of a latency.
const LATENCY_DIGITS: u8 = 2;

/// So many keys, drawn by Zipf's law from `0..keys`.
///
/// # Errors
///
/// Where the numbers make no workload.
pub fn zipf_keys(requests: usize, keys: usize, (alpha, seed): (f64, u64)) -> Result<Vec<u64>> {
    let spec = format!("zipf(n={requests},alpha={alpha},keys={keys},seed={seed})");
    let source: TraceSource = spec.parse()?;
    Ok(source.load(requests)?.iter().map(|request| request.key).collect())
}

/// Plays get-or-insert and returns the hits.
pub fn get_or_insert(cache: &LiveCache, keys: &[u64]) -> u64 {
    let mut hits = 0;
    for &key in keys {
        if black_box(cache.get(&key)).is_some() {
            hits += 1;
        } else {
            let _ = cache.insert(key, key);
        }
    }
    hits
}

/// Which requests of a load are timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timed {
    /// Reads.
    Gets,
    /// Reads and inserts.
    All,
}

/// In which of several phases a load's requests are counted; shared by its threads and whoever directs it.
#[derive(Debug, Default)]
pub struct Phase(AtomicUsize);

/// The phase in which the threads come home.
const OVER: usize = usize::MAX;

impl Phase {
    /// Requests that begin from now on count for phase `number`; 0 is for those that are not shown.
    pub fn set(&self, number: usize) {
        self.0.store(number, Relaxed);
    }

    /// The threads come home.
    pub fn end(&self) {
        self.set(OVER);
    }
}

/// What a thread of a load does: it walks through its keys again and again, reads them, and inserts every
/// tenth, until the phase is over.
#[derive(Clone, Copy)]
pub struct Load<'a> {
    /// The cache.
    pub cache: &'a LiveCache,
    /// The keys, at least one.
    pub keys: &'a [u64],
    /// Which requests are timed.
    pub timed: Timed,
    /// Phases, that of number 0 included.
    pub phases: usize,
}

/// What a thread saw.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Nanoseconds a request, by phase.
    pub latencies: Vec<Histogram<u64>>,
    /// Requests.
    pub requests: u64,
    /// Reads that returned another value than was stored.
    pub wrong: u64,
}

impl Load<'_> {
    /// Plays on this thread.
    ///
    /// # Errors
    ///
    /// Where there is no memory for the histograms.
    pub fn play(&self, phase: &Phase) -> Result<Tally> {
        let empty = Histogram::new_with_bounds(1, LATENCY_NS_MAX, LATENCY_DIGITS)?;
        let mut tally = Tally { latencies: vec![empty; self.phases], requests: 0, wrong: 0 };
        for (number, &key) in self.keys.iter().cycle().enumerate() {
            let current = phase.0.load(Relaxed);
            if current == OVER {
                break;
            }
            // Other keys in every round, or after some rounds all that is ever inserted would be resident.
            let round = number / self.keys.len();
            let inserts = number % INSERT_EVERY == round % INSERT_EVERY;
            let timed = (self.timed == Timed::All || !inserts).then(Instant::now);
            if inserts {
                let _ = black_box(self.cache.insert(key, key));
            } else {
                let value = black_box(self.cache.get(&key));
                tally.wrong += u64::from(value.is_some_and(|value| value != key));
            }
            if let (Some(start), Some(latency)) = (timed, tally.latencies.get_mut(current)) {
                latency.saturating_record(start.elapsed().as_nanos() as u64);
            }
            tally.requests += 1;
        }
        Ok(tally)
    }
}

/// Adds up what threads saw.
///
/// # Errors
///
/// Where there was no thread.
pub fn merged(tallies: Vec<Tally>) -> Result<Tally> {
    let mut tallies = tallies.into_iter();
    let mut sum = tallies.next().context("a load has at least one thread")?;
    for tally in tallies {
        for (all, latency) in sum.latencies.iter_mut().zip(&tally.latencies) {
            all.add(latency)?;
        }
        sum.requests += tally.requests;
        sum.wrong += tally.wrong;
    }
    Ok(sum)
}

/// Milliseconds that this thread was on a processor, as Linux counts them; none elsewhere.
#[must_use]
pub fn thread_cpu_ms() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let ns: u64 = text.split_whitespace().next()?.parse().ok()?;
    Some(ns as f64 / 1e6)
}

/// A number of nanoseconds as a table shows it: in the unit that leaves few digits.
#[must_use]
pub fn shown_ns(ns: u64) -> String {
    match ns {
        0..10_000 => format!("{ns} ns"),
        10_000..10_000_000 => format!("{:.0} µs", ns as f64 / 1e3),
        _ => format!("{:.1} ms", ns as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_counts_by_phase_and_comes_home() {
        let cache: LiveCache = Cache::builder(100)
            .hasher(FixedState::default())
            .build()
            .expect("a cache of the engine's own eviction");
        let keys = zipf_keys(1_000, 50, (1.0, 1)).expect("a workload");
        let phase = Phase::default();
        phase.set(1);
        let load = Load { cache: &cache, keys: &keys, timed: Timed::Gets, phases: 2 };
        let tally = std::thread::scope(|scope| {
            let thread = scope.spawn(|| load.play(&phase));
            while cache.stats().hits < 1_000 {
                std::thread::yield_now();
            }
            phase.end();
            thread.join().expect("it does not panic").expect("there is memory")
        });
        assert_eq!((tally.wrong, tally.latencies[0].len()), (0, 0));
        let every = INSERT_EVERY as u64;
        let inserts = (0..tally.requests).filter(|number| number % every == number / 1_000 % every);
        assert_eq!(tally.latencies[1].len(), tally.requests - inserts.count() as u64);
    }

    #[test]
    fn units_leave_few_digits() {
        let shown = [87, 25_400, 12_340_000].map(shown_ns);
        assert_eq!(shown, ["87 ns", "25 µs", "12.3 ms"]);
    }
}
