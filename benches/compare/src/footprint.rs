//! Bytes an entry: what a full cache holds beside the keys and values themselves, for a process that
//! measures one cache and ends.

use std::fmt;
use std::fs;
use std::str::FromStr;

use anyhow::{Context, Result};

use crate::contender::{Bytes, Contender, Family, Key};
use crate::measure::VALUE_BYTES;

/// Keys inserted for each entry of the capacity, so that whatever remembers evicted keys is full too.
const INSERTS_PER_ENTRY: usize = 2;

/// Gets of absent keys after the load: they turn the epochs over by which some caches free memory.
const FLUSHING_GETS: u64 = 100_000;

/// Pairs built to learn what a key and a value take by themselves: few, since the process keeps the memory
/// when they are gone, and the cache would seem to grow it by so much less.
const PAYLOAD_PAIRS: usize = 1_000;

/// Bytes of a page as `/proc/self/statm` counts them.
const PAGE_BYTES: u64 = 4_096;

/// What a full cache takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footprint {
    /// Entries resident.
    pub resident: u64,
    /// What the cache made the allocator hold, bytes, keys and values included.
    pub live_bytes: u64,
    /// What a key and a value take by themselves, bytes, in a vector of pairs.
    pub payload_bytes: u64,
    /// Memory of sandboxed guests, bytes, which the allocator does not see.
    pub guest_bytes: u64,
    /// How much the process grew by, bytes.
    pub rss_bytes: u64,
}

impl Footprint {
    /// Bytes an entry beside its key and value, as the allocator counts.
    #[must_use]
    pub fn allocator_overhead(&self) -> f64 {
        self.live_bytes as f64 / self.resident as f64 - self.payload_bytes as f64
    }

    /// Bytes an entry of guests' memory.
    #[must_use]
    pub fn guest_overhead(&self) -> f64 {
        self.guest_bytes as f64 / self.resident as f64
    }

    /// Bytes an entry beside its key and value, guests included.
    #[must_use]
    pub fn overhead(&self) -> f64 {
        self.allocator_overhead() + self.guest_overhead()
    }

    /// Bytes an entry by which the process grew, key and value included.
    #[must_use]
    pub fn rss_per_entry(&self) -> f64 {
        self.rss_bytes as f64 / self.resident as f64
    }
}

/// One line, for the process that asked.
impl fmt::Display for Footprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { resident, live_bytes, payload_bytes, guest_bytes, rss_bytes } = self;
        write!(f, "{resident} {live_bytes} {payload_bytes} {guest_bytes} {rss_bytes}")
    }
}

impl FromStr for Footprint {
    type Err = anyhow::Error;

    fn from_str(line: &str) -> Result<Self> {
        let mut numbers = line.split_whitespace().map(str::parse);
        let mut next = || numbers.next().context("a number is missing")?.context("no number");
        Ok(Self {
            resident: next()?,
            live_bytes: next()?,
            payload_bytes: next()?,
            guest_bytes: next()?,
            rss_bytes: next()?,
        })
    }
}

/// Fills a cache for `entries` entries and reads what it takes. `live_bytes` reads the counting
/// allocator.
///
/// # Errors
///
/// Where the cache cannot be built, or the size of the process cannot be read.
pub fn weigh<F: Family>(entries: usize, live_bytes: &dyn Fn() -> u64) -> Result<Footprint> {
    let payload_bytes = payload_bytes::<u64>(live_bytes);
    let (live_before, rss_before) = (live_bytes(), rss_bytes()?);
    let cache = F::Cache::<u64>::build(entries)?;
    let inserted = (entries * INSERTS_PER_ENTRY) as u64;
    for index in 0..inserted {
        cache.insert(u64::of(index), value(index));
    }
    cache.settle();
    for index in inserted..inserted + FLUSHING_GETS {
        cache.get(&u64::of(index));
    }
    cache.settle();
    let (live_after, rss_after) = (live_bytes(), rss_bytes()?);
    let probed = || (0..inserted).filter(|index| cache.get(&u64::of(*index)).is_some()).count();
    Ok(Footprint {
        resident: cache.resident().unwrap_or_else(probed).max(1) as u64,
        live_bytes: live_after.saturating_sub(live_before),
        payload_bytes,
        guest_bytes: cache.account().map_or(0, |account| account.guest_memory_bytes),
        rss_bytes: rss_after.saturating_sub(rss_before),
    })
}

fn value(index: u64) -> Bytes {
    Bytes::from(vec![index as u8; VALUE_BYTES])
}

fn payload_bytes<K: Key>(live_bytes: &dyn Fn() -> u64) -> u64 {
    let before = live_bytes();
    let mut pairs = Vec::with_capacity(PAYLOAD_PAIRS);
    pairs.extend((0..PAYLOAD_PAIRS as u64).map(|index| (K::of(index), value(index))));
    let payload = live_bytes().saturating_sub(before) / pairs.len() as u64;
    drop(pairs);
    payload
}

fn rss_bytes() -> Result<u64> {
    let statm = fs::read_to_string("/proc/self/statm").context("/proc/self/statm")?;
    let pages = statm.split_whitespace().nth(1).context("/proc/self/statm has no second number")?;
    Ok(pages.parse::<u64>().context("pages resident")? * PAGE_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOOTPRINT: Footprint = Footprint {
        resident: 10,
        live_bytes: 1_500,
        payload_bytes: 104,
        guest_bytes: 160,
        rss_bytes: 2_000,
    };

    #[test]
    fn the_overhead_is_what_payloads_leave() {
        assert_eq!(FOOTPRINT.allocator_overhead(), 46.0);
        assert_eq!(FOOTPRINT.overhead(), 62.0);
        assert_eq!(FOOTPRINT.rss_per_entry(), 200.0);
    }

    #[test]
    fn a_line_reads_back() {
        assert_eq!(FOOTPRINT.to_string().parse::<Footprint>().unwrap(), FOOTPRINT);
        assert!("1 2 3".parse::<Footprint>().is_err());
    }
}
