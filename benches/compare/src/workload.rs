//! The requests of every thread, written before the clock starts. Nothing here knows a cache.

use std::collections::HashSet;
use std::fmt;
use std::fs;
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, Zipf};

use crate::contender::{Key, SharedHasher};

/// Keys that a zipf workload draws from, for each entry of the capacity.
pub const KEYS_PER_ENTRY: usize = 10;

/// Keys offered for each entry before a load of hits: enough to fill every shard of a sharded cache.
const HIT_CANDIDATES_PER_ENTRY: f64 = 1.3;

/// The same where the capacity is large: shards of many entries fill more evenly.
const HIT_CANDIDATES_PER_ENTRY_OF_MANY: f64 = 1.05;

/// Where a capacity begins to be large.
const MANY_ENTRIES: usize = 1_000_000;

/// The share of the capacity that a load of hits reads: small enough that every cache holds as many.
pub const HIT_KEYS_SHARE: f64 = 0.9;

/// Requests that fill a cache and warm it up, for each entry of the capacity.
pub const WARM_REQUESTS_PER_ENTRY: usize = 6;

/// Out of a scan-polluted load, one run of requests in this many is a scan.
const SCAN_RUN_EVERY: usize = 5;

/// Where the numbers of scanned keys begin; the zipf ranks stay far below.
const SCAN_KEYS_START: u64 = 1 << 40;

/// Numbers of scanned keys that one thread may use.
const SCAN_KEYS_PER_THREAD: u64 = 1 << 32;

/// A record of the `oracleGeneral` format: u32 time, u64 object, u32 size, i64 next access.
const TRACE_RECORD_BYTES: usize = 24;

/// Requests of a trace that are played, at most.
const TRACE_REQUESTS_MAX: usize = 2_000_000;

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Reads, and leaves it at that.
    Get,
    /// Writes, whether the key is resident or not.
    Insert,
    /// Reads; on a miss, writes.
    GetOrInsert,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Request<K> {
    /// What it asks for.
    pub key: K,
    /// What it does.
    pub action: Action,
}

/// A kind of load; its name is what the command line and the tables call it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Workload {
    /// Gets of resident keys, drawn by zipf.
    Hits(f64),
    /// Gets and inserts of zipf-drawn keys.
    Mixed {
        /// Gets in a hundred requests; the others insert. A get that misses inserts nothing.
        gets_percent: u8,
        /// The exponent of the zipf distribution.
        exponent: f64,
    },
    /// Get-or-insert of zipf-drawn keys; every fifth run of requests scans keys never asked again.
    Scan(f64),
    /// Get-or-insert in the order of a recorded trace, dealt to the threads request by request.
    Trace,
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hits(exponent) => write!(f, "hits-{exponent:.1}"),
            Self::Mixed { gets_percent, exponent } => write!(f, "mix{gets_percent}-{exponent:.1}"),
            Self::Scan(exponent) => write!(f, "scan-{exponent:.1}"),
            Self::Trace => write!(f, "trace"),
        }
    }
}

impl FromStr for Workload {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> Result<Self> {
        let (kind, exponent) = name.split_once('-').unwrap_or((name, "1.0"));
        let exponent: f64 = exponent.parse().with_context(|| format!("exponent of {name}"))?;
        match (kind, kind.strip_prefix("mix")) {
            ("hits", _) => Ok(Self::Hits(exponent)),
            ("scan", _) => Ok(Self::Scan(exponent)),
            ("trace", _) => Ok(Self::Trace),
            (_, Some(percent)) => {
                let gets_percent = percent.parse().with_context(|| format!("share in {name}"))?;
                ensure!(gets_percent <= 100, "{name} asks for more than 100 % gets");
                Ok(Self::Mixed { gets_percent, exponent })
            }
            _ => bail!("no workload {name}: hits-1.0, mix90-1.0, mix50-0.8, scan-1.0 or trace"),
        }
    }
}

/// How much of a load to write.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// Entries that the caches hold.
    pub entries: usize,
    /// Threads that play.
    pub threads: usize,
    /// Requests of all threads together.
    pub requests: usize,
}

/// A load, ready to be played.
pub enum Script<K> {
    /// The keys to read are those that a cache turns out to hold.
    Hits {
        /// Keys to insert, the most popular last.
        candidates: Vec<K>,
        /// How many resident keys to read.
        distinct: usize,
        /// For each thread, which of the resident keys to read, most popular first.
        draws: Vec<Vec<u32>>,
    },
    /// The same keys for every cache.
    Requests {
        /// Keys to get or insert first. A cache fills with what its own policy keeps of them: content put
        /// there by hand would favour the policies that forget it sooner, or later, as it is bad or good.
        warm: Vec<K>,
        /// For each thread, what it plays while the clock runs.
        threads: Vec<Vec<Request<K>>>,
    },
}

impl<K: Key> Script<K> {
    /// Writes the load; the same arguments write the same load. A trace is [`Self::of_trace`].
    ///
    /// # Errors
    ///
    /// Where the exponent makes no distribution, or the load is a trace.
    pub fn new(workload: Workload, extent: Extent) -> Result<Self> {
        let (exponent, gets_percent) = match workload {
            Workload::Hits(exponent) => return Self::of_hits(exponent, extent),
            Workload::Mixed { gets_percent, exponent } => (exponent, gets_percent),
            Workload::Scan(exponent) => (exponent, 0),
            Workload::Trace => bail!("a trace is read, not generated"),
        };
        let zipf = zipf(extent.entries * KEYS_PER_ENTRY, exponent)?;
        let mut random = StdRng::seed_from_u64(0x057);
        let warm_requests = extent.entries * WARM_REQUESTS_PER_ENTRY;
        let warm = (0..warm_requests).map(|_| K::of(draw(&zipf, &mut random))).collect();
        let is_scan = matches!(workload, Workload::Scan(_));
        let run = (extent.entries / SCAN_RUN_EVERY).clamp(1, 10_000);
        let threads = (0..extent.threads).map(|thread| {
            let mut random = StdRng::seed_from_u64(thread as u64);
            let scanned = SCAN_KEYS_START + thread as u64 * SCAN_KEYS_PER_THREAD;
            let request = |n: usize| {
                if is_scan && (n / run) % SCAN_RUN_EVERY == SCAN_RUN_EVERY - 1 {
                    return Request { key: K::of(scanned + n as u64), action: Action::GetOrInsert };
                }
                let key = K::of(draw(&zipf, &mut random));
                let is_get = random.random_range(0..100) < gets_percent;
                let action = match (is_scan, is_get) {
                    (true, _) => Action::GetOrInsert,
                    (false, true) => Action::Get,
                    (false, false) => Action::Insert,
                };
                Request { key, action }
            };
            (0..extent.requests / extent.threads).map(request).collect()
        });
        Ok(Self::Requests { warm, threads: threads.collect() })
    }

    fn of_hits(exponent: f64, extent: Extent) -> Result<Self> {
        let distinct = ((extent.entries as f64 * HIT_KEYS_SHARE) as usize).max(1);
        let per_entry = if extent.entries < MANY_ENTRIES {
            HIT_CANDIDATES_PER_ENTRY
        } else {
            HIT_CANDIDATES_PER_ENTRY_OF_MANY
        };
        let candidates = (extent.entries as f64 * per_entry) as u64;
        let zipf = zipf(distinct, exponent)?;
        let draws = (0..extent.threads).map(|thread| {
            let mut random = StdRng::seed_from_u64(thread as u64);
            let draw = |_| (draw(&zipf, &mut random) - 1) as u32;
            (0..extent.requests / extent.threads).map(draw).collect()
        });
        Ok(Self::Hits {
            candidates: (1..=candidates).rev().map(K::of).collect(),
            distinct,
            draws: draws.collect(),
        })
    }

    /// Deals a trace to `threads` threads, request by request. Nothing warms up: every cache starts
    /// empty, as in the trace simulators.
    #[must_use]
    pub fn of_trace(trace: &Trace, threads: usize) -> Self {
        let dealt = (0..threads).map(|thread| {
            let objects = trace.objects.iter().skip(thread).step_by(threads);
            let request =
                |object: &u64| Request { key: K::of(*object), action: Action::GetOrInsert };
            objects.map(request).collect()
        });
        Self::Requests { warm: Vec::new(), threads: dealt.collect() }
    }

    /// Every key that may be resident after the load, each once.
    #[must_use]
    pub fn keys(&self) -> HashSet<&K, SharedHasher> {
        match self {
            Self::Hits { candidates, .. } => candidates.iter().collect(),
            Self::Requests { warm, threads } => {
                let played = threads.iter().flatten().map(|request| &request.key);
                warm.iter().chain(played).collect()
            }
        }
    }
}

fn zipf(keys: usize, exponent: f64) -> Result<Zipf<f64>> {
    Zipf::new(keys as f64, exponent).with_context(|| format!("zipf of {keys} keys, {exponent}"))
}

/// A rank, 1 the most popular.
fn draw(zipf: &Zipf<f64>, random: &mut StdRng) -> u64 {
    zipf.sample(random) as u64
}

/// The objects of a recorded trace, in order.
pub struct Trace {
    /// The file's name, without its folder.
    pub name: String,
    /// Object numbers.
    pub objects: Vec<u64>,
    /// A tenth of the distinct objects: what the caches hold.
    pub capacity: usize,
}

impl Trace {
    /// Reads an uncompressed `oracleGeneral` trace, up to its first two million requests.
    ///
    /// # Errors
    ///
    /// Where the file cannot be read or is not made of whole records.
    pub fn open(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).with_context(|| path.display().to_string())?;
        ensure!(
            !bytes.is_empty() && bytes.len() % TRACE_RECORD_BYTES == 0,
            "{} is not made of {TRACE_RECORD_BYTES}-byte records",
            path.display()
        );
        let records = bytes.chunks_exact(TRACE_RECORD_BYTES).take(TRACE_REQUESTS_MAX);
        let object = |record: &[u8]| {
            record[4..12].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
        };
        let objects: Vec<u64> = records.map(object).collect();
        let distinct = objects.iter().collect::<HashSet<_, SharedHasher>>().len();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { name, objects, capacity: (distinct / 10).max(1) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_reads_back() {
        for name in ["hits-0.8", "mix90-1.0", "mix50-0.8", "scan-1.0", "trace"] {
            assert_eq!(name.parse::<Workload>().unwrap().to_string(), name);
        }
        assert!("mix101-1.0".parse::<Workload>().is_err());
        assert!("writes".parse::<Workload>().is_err());
    }

    #[test]
    fn a_mix_has_its_shares() {
        let extent = Extent { entries: 100, threads: 2, requests: 20_000 };
        let workload = Workload::Mixed { gets_percent: 90, exponent: 1.0 };
        let Script::Requests { warm, threads } = Script::<u64>::new(workload, extent).unwrap()
        else {
            panic!("a mix has requests");
        };
        assert_eq!((warm.len(), threads.len(), threads[0].len()), (600, 2, 10_000));
        let inserts = threads[0].iter().filter(|request| request.action == Action::Insert).count();
        assert!((900..1_100).contains(&inserts), "{inserts}");
    }

    /// At exponent 1 over ten keys the first has a share of 1 / H(10) = 0.341.
    #[test]
    fn the_first_rank_has_its_zipf_share() {
        let distribution = zipf(10, 1.0).unwrap();
        let mut random = StdRng::seed_from_u64(1);
        let firsts = (0..100_000).filter(|_| draw(&distribution, &mut random) == 1).count();
        assert!((33_500..34_700).contains(&firsts), "{firsts}");
    }

    #[test]
    fn a_fifth_of_a_scan_is_scanned() {
        let extent = Extent { entries: 100, threads: 1, requests: 1_000 };
        let Script::Requests { threads, .. } =
            Script::<u64>::new(Workload::Scan(1.0), extent).unwrap()
        else {
            panic!("a scan has requests");
        };
        let known: HashSet<u64> = (1..=1_000).map(u64::of).collect();
        let scanned = threads[0].iter().filter(|request| !known.contains(&request.key)).count();
        assert_eq!(scanned, 200);
    }
}
