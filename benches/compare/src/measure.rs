//! Plays a load against one cache: prepares it, starts the threads at a barrier, and counts the work that
//! the cache has put off into the time.

use std::borrow::Cow;
use std::hint::black_box;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use hdrhistogram::Histogram;

use crate::contender::{Bytes, Contender, Key};
use crate::workload::{Action, Request, Script};

/// Bytes of a value.
pub const VALUE_BYTES: usize = 64;

/// Values made beforehand, at most: enough that their reference counts do not stay in a cache.
const POOL_VALUES_MAX: usize = 1 << 20;

/// In a latency run, one operation in this many is timed.
pub const LATENCY_EVERY: usize = 16;

/// The longest latency that a histogram tells apart, nanoseconds: ten seconds.
const LATENCY_MAX_NS: u64 = 10_000_000_000;

/// Where the values inserted come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    /// Made beforehand, cloned at the insert: the allocator is not measured.
    Pooled,
    /// Allocated at the insert, and freed with the eviction.
    Allocated,
}

/// What is observed while a load is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observe {
    /// The time of the whole.
    Throughput,
    /// The time of one operation in [`LATENCY_EVERY`]; the whole is slower for it.
    Latency,
}

/// How a load is played.
pub struct Setting {
    capacity: usize,
    observe: Observe,
    pool: Pool,
}

impl Setting {
    /// A setting for caches of `capacity` entries. Makes the values, some hundred bytes an entry up to a
    /// million of them, which all plays share.
    #[must_use]
    pub fn new(capacity: usize, values: Values, observe: Observe) -> Self {
        Self { capacity, observe, pool: Pool::new(capacity, values) }
    }
}

/// What came of playing a load once.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Requests played.
    pub requests: usize,
    /// From the first thread's start to the last one's end, and the settling after that.
    pub elapsed: Duration,
    /// Reads among the requests.
    pub gets: u64,
    /// Reads that found their key.
    pub hits: u64,
    /// Entries resident after the warm-up, or at the end where the warm-up is none or the cache cannot
    /// count.
    pub resident: usize,
    /// The share of the hits that the policy was told of, where the cache accounts for it.
    pub noted_share: Option<f64>,
    /// Latencies in nanoseconds, if they were observed.
    pub latency: Option<Histogram<u64>>,
}

impl Sample {
    /// Hits out of gets; `None` without gets.
    #[must_use]
    pub fn hit_ratio(&self) -> Option<f64> {
        (self.gets > 0).then(|| self.hits as f64 / self.gets as f64)
    }

    /// Nanoseconds a request, of all threads together.
    #[must_use]
    pub fn ns_per_request(&self) -> f64 {
        self.elapsed.as_nanos() as f64 / self.requests as f64
    }

    /// Million requests a second, of all threads together.
    #[must_use]
    pub fn million_per_second(&self) -> f64 {
        1_000.0 / self.ns_per_request()
    }
}

/// A store of values, taken in turn.
struct Pool {
    values: Vec<Bytes>,
    source: Values,
}

impl Pool {
    fn new(capacity: usize, source: Values) -> Self {
        let value = |n: usize| {
            let value = Bytes::from(vec![n as u8; VALUE_BYTES]);
            // The first clone of such a value moves its reference count to the heap: done here, so
            // that it is not measured.
            drop(value.clone());
            value
        };
        Self { values: (0..capacity.clamp(1, POOL_VALUES_MAX)).map(value).collect(), source }
    }

    #[inline]
    fn take(&self, cursor: &mut usize) -> Bytes {
        *cursor = if *cursor + 1 < self.values.len() { *cursor + 1 } else { 0 };
        let value = &self.values[*cursor];
        match self.source {
            Values::Pooled => value.clone(),
            Values::Allocated => Bytes::copy_from_slice(value),
        }
    }
}

/// What one thread counted.
struct Tally {
    start: Instant,
    end: Instant,
    gets: u64,
    hits: u64,
    latency: Option<Histogram<u64>>,
}

/// Builds a cache, warms it up and plays `script` against it.
///
/// # Errors
///
/// Where the cache cannot be built or a thread panicked.
pub fn play<K: Key, C: Contender<K>>(setting: &Setting, script: &Script<K>) -> Result<Sample> {
    let cache = C::build(setting.capacity)?;
    let pool = &setting.pool;
    let (threads, resident_warm) = prepare(&cache, pool, script);
    let heard_before = cache.account().map(|account| account.heard);

    let tallies = play_threads(&cache, pool, &threads, setting.observe)?;
    let start = tallies.iter().map(|tally| tally.start).min().context("no thread played")?;
    let end = tallies.iter().map(|tally| tally.end).max().context("no thread played")?;
    let settling = Instant::now();
    cache.settle();
    let elapsed = end.duration_since(start) + settling.elapsed();

    let count_now = || cache.resident().unwrap_or_else(|| count(&cache, script));
    let hits = tallies.iter().map(|tally| tally.hits).sum();
    let mut latency: Option<Histogram<u64>> = None;
    for of_thread in tallies.iter().filter_map(|tally| tally.latency.as_ref()) {
        match &mut latency {
            Some(merged) => merged.add(of_thread).context("latencies do not add up")?,
            None => latency = Some(of_thread.clone()),
        }
    }
    Ok(Sample {
        requests: threads.iter().map(Vec::len).sum(),
        elapsed,
        gets: tallies.iter().map(|tally| tally.gets).sum(),
        hits,
        resident: resident_warm.unwrap_or_else(count_now),
        noted_share: heard_before
            .zip(cache.account())
            .and_then(|(before, account)| account.heard.share_since(before, hits)),
        latency,
    })
}

/// What every thread plays, borrowed where it is the same for every cache.
type Played<'a, K> = Cow<'a, [Vec<Request<K>>]>;

/// Fills the cache and warms it up. Returns what the threads play and how many entries are resident,
/// unless nothing warmed up or the cache cannot say.
fn prepare<'a, K: Key, C: Contender<K>>(
    cache: &C,
    pool: &Pool,
    script: &'a Script<K>,
) -> (Played<'a, K>, Option<usize>) {
    let mut cursor = 0;
    match script {
        Script::Hits { candidates, distinct, draws } => {
            for key in candidates {
                cache.insert(key.clone(), pool.take(&mut cursor));
            }
            cache.settle();
            let popular_first = candidates.iter().rev();
            let held: Vec<&K> = popular_first.filter(|key| cache.get(key).is_some()).collect();
            cache.settle();
            let read = held.len().clamp(1, *distinct);
            let request = |draw: &u32| Request {
                // A cache that holds nothing at all reads an absent key: its hit ratio shows it.
                key: held.get(*draw as usize % read).map_or(K::of(u64::MAX), |key| (*key).clone()),
                action: Action::Get,
            };
            let threads = draws.iter().map(|draws| draws.iter().map(request).collect()).collect();
            (Cow::Owned(threads), Some(held.len()))
        }
        Script::Requests { warm, threads } => {
            for key in warm {
                if cache.get(key).is_none() {
                    cache.insert(key.clone(), pool.take(&mut cursor));
                }
            }
            cache.settle();
            let resident = if warm.is_empty() { None } else { cache.resident() };
            (Cow::Borrowed(threads.as_slice()), resident)
        }
    }
}

/// How many of the load's keys are resident.
fn count<K: Key, C: Contender<K>>(cache: &C, script: &Script<K>) -> usize {
    script.keys().into_iter().filter(|key| cache.get(key).is_some()).count()
}

fn play_threads<K: Key, C: Contender<K>>(
    cache: &C,
    pool: &Pool,
    threads: &[Vec<Request<K>>],
    observe: Observe,
) -> Result<Vec<Tally>> {
    let barrier = Barrier::new(threads.len());
    let barrier = &barrier;
    thread::scope(|scope| {
        let running: Vec<_> = threads
            .iter()
            .enumerate()
            .map(|(number, requests)| {
                let cursor = number * pool.values.len() / threads.len();
                scope.spawn(move || {
                    barrier.wait();
                    match observe {
                        Observe::Throughput => Ok(play_requests(cache, pool, requests, cursor)),
                        Observe::Latency => play_timed(cache, pool, requests, cursor),
                    }
                })
            })
            .collect();
        let joined = running.into_iter().map(|thread| {
            thread.join().unwrap_or_else(|_| Err(anyhow!("a thread of the cache panicked")))
        });
        joined.collect()
    })
}

/// Whether a request read, and whether it found its key.
#[inline]
fn play_request<K: Key, C: Contender<K>>(
    cache: &C,
    pool: &Pool,
    request: &Request<K>,
    cursor: &mut usize,
) -> (bool, bool) {
    match request.action {
        Action::Get => (true, black_box(cache.get(&request.key)).is_some()),
        Action::Insert => {
            cache.insert(request.key.clone(), pool.take(cursor));
            (false, false)
        }
        Action::GetOrInsert => {
            let is_hit = black_box(cache.get(&request.key)).is_some();
            if !is_hit {
                cache.insert(request.key.clone(), pool.take(cursor));
            }
            (true, is_hit)
        }
    }
}

fn play_requests<K: Key, C: Contender<K>>(
    cache: &C,
    pool: &Pool,
    requests: &[Request<K>],
    mut cursor: usize,
) -> Tally {
    let (mut gets, mut hits) = (0, 0);
    let start = Instant::now();
    for request in requests {
        let (is_get, is_hit) = play_request(cache, pool, request, &mut cursor);
        gets += u64::from(is_get);
        hits += u64::from(is_hit);
    }
    Tally { start, end: Instant::now(), gets, hits, latency: None }
}

fn play_timed<K: Key, C: Contender<K>>(
    cache: &C,
    pool: &Pool,
    requests: &[Request<K>],
    mut cursor: usize,
) -> Result<Tally> {
    let mut latency = Histogram::new_with_bounds(1, LATENCY_MAX_NS, 3).context("histogram")?;
    let (mut gets, mut hits) = (0, 0);
    let start = Instant::now();
    for (number, request) in requests.iter().enumerate() {
        let timed = (number % LATENCY_EVERY == 0).then(Instant::now);
        let (is_get, is_hit) = play_request(cache, pool, request, &mut cursor);
        if let Some(timed) = timed {
            latency.saturating_record(timed.elapsed().as_nanos() as u64);
        }
        gets += u64::from(is_get);
        hits += u64::from(is_hit);
    }
    Ok(Tally { start, end: Instant::now(), gets, hits, latency: Some(latency) })
}

/// What timing an operation costs by itself, nanoseconds: the median of many timings of nothing.
#[must_use]
pub fn timer_cost_ns() -> u64 {
    let mut costs: Vec<u64> = (0..10_001)
        .map(|_| {
            let start = Instant::now();
            start.elapsed().as_nanos() as u64
        })
        .collect();
    costs.sort_unstable();
    costs[costs.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contender::{Family, SharedHasher};
    use crate::rivals::{MutexLru, TinyUfo};
    use crate::workload::{Extent, Workload};

    type Lru = <MutexLru<SharedHasher> as Family>::Cache<u64>;
    type Ufo = <TinyUfo as Family>::Cache<u64>;

    fn setting(observe: Observe) -> Setting {
        Setting::new(100, Values::Pooled, observe)
    }

    #[test]
    fn a_load_of_hits_hits() {
        let extent = Extent { entries: 100, threads: 2, requests: 1_000 };
        let script = Script::new(Workload::Hits(1.0), extent).unwrap();
        let sample = play::<u64, Lru>(&setting(Observe::Throughput), &script).unwrap();
        assert_eq!((sample.requests, sample.gets, sample.hits), (1_000, 1_000, 1_000));
        assert_eq!(sample.resident, 100);
    }

    #[test]
    fn a_mix_counts_gets_alone() {
        let extent = Extent { entries: 100, threads: 1, requests: 1_000 };
        let workload = Workload::Mixed { gets_percent: 50, exponent: 1.0 };
        let script = Script::new(workload, extent).unwrap();
        let sample = play::<u64, Ufo>(&setting(Observe::Throughput), &script).unwrap();
        assert!((400..600).contains(&sample.gets), "{}", sample.gets);
        assert!((90..=110).contains(&sample.resident), "{}", sample.resident);
    }

    #[test]
    fn latencies_are_sampled() {
        let extent = Extent { entries: 100, threads: 2, requests: 3_200 };
        let script = Script::new(Workload::Hits(1.0), extent).unwrap();
        let sample = play::<u64, Lru>(&setting(Observe::Latency), &script).unwrap();
        assert_eq!(sample.latency.unwrap().len(), 3_200 / LATENCY_EVERY as u64);
    }
}
