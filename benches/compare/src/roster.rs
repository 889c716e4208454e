//! The rows of the tables: every cache that is measured, under its name.

use std::hash::RandomState;

use anyhow::Result;

use crate::contender::{Family, SharedHasher};
use crate::footprint::{self, Footprint};
use crate::measure::{self, Sample, Setting};
use crate::rivals::{
    DashMap, Foyer, FoyerS3Fifo, MiniMoka, Moka, MutexLru, QuickCache, Stretto, StrettoDefaults,
    TinyUfo,
};
use crate::workload::Script;

/// In what capacity a row takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Ostler.
    Ours,
    /// Ostler with one more option set: weighed for the option's price, and not played.
    Option,
    /// The design that Ostler might have had instead: played like a rival, and not one of them.
    Alternative,
    /// A published cache that evicts, with the shared hasher where it lets one choose.
    Rival,
    /// The same with everything as it comes.
    Defaults,
    /// A map that evicts nothing: as fast as it gets, and no rival.
    Ceiling,
}

/// A row: one cache, ready to be measured. Behind each function the cache is known statically.
#[derive(Clone, Copy)]
pub struct Row {
    /// The name in the tables and on the command line.
    pub name: &'static str,
    /// In what capacity it takes part.
    pub standing: Standing,
    /// The package it comes from.
    pub package: &'static str,
    /// What hashes its keys.
    pub hasher: &'static str,
    /// The most entries it is measured with.
    pub entries_max: usize,
    /// Plays a load with integer keys.
    pub play_integers: fn(&Setting, &Script<u64>) -> Result<Sample>,
    /// Plays a load with string keys.
    pub play_strings: fn(&Setting, &Script<String>) -> Result<Sample>,
    /// Fills a cache of so many entries and says what it takes, given the allocator's live bytes.
    pub weigh: fn(usize, &dyn Fn() -> u64) -> Result<Footprint>,
}

/// The name of [`SharedHasher`] in the tables.
pub const SHARED_HASHER: &str = "foldhash fast, fixed seed";

impl Row {
    /// The row of a family.
    #[must_use]
    pub fn of<F: Family>(
        name: &'static str,
        standing: Standing,
        package: &'static str,
        hasher: &'static str,
    ) -> Self {
        Self {
            name,
            standing,
            package,
            hasher,
            entries_max: usize::MAX,
            play_integers: measure::play::<u64, F::Cache<u64>>,
            play_strings: measure::play::<String, F::Cache<String>>,
            weigh: footprint::weigh::<F>,
        }
    }

    /// The row, measured with no more than `entries_max` entries.
    #[must_use]
    pub fn up_to(self, entries_max: usize) -> Self {
        Self { entries_max, ..self }
    }
}

/// The most entries that stretto 0.9 is measured with. Where it evicts it draws its sample from the whole
/// map, so that an insert into a full cache visits every entry: 40 µs at 10,000 entries.
const STRETTO_ENTRIES_MAX: usize = 10_000;

/// All rows, in the order of the tables.
#[must_use]
pub fn rows() -> Vec<Row> {
    use Standing::{Ceiling, Defaults, Rival};
    type Shared = SharedHasher;
    let shared = SHARED_HASHER;
    let std = "SipHash-1-3 of std";
    let mut rows = crate::ours::rows();
    rows.push(crate::dash_engine::row());
    rows.extend([
        Row::of::<QuickCache<Shared>>("quick_cache", Rival, "quick_cache", shared),
        Row::of::<Moka<Shared>>("moka", Rival, "moka", shared),
        Row::of::<MiniMoka<Shared>>("mini-moka", Rival, "mini-moka", shared),
        Row::of::<Foyer<Shared>>("foyer", Rival, "foyer-memory", shared),
        Row::of::<FoyerS3Fifo<Shared>>("foyer-s3fifo", Rival, "foyer-memory", shared),
        Row::of::<TinyUfo>("tinyufo", Rival, "TinyUFO", "ahash, built in: no choice"),
        Row::of::<Stretto>("stretto", Rival, "stretto", shared).up_to(STRETTO_ENTRIES_MAX),
        Row::of::<MutexLru<Shared>>("mutex-lru", Rival, "lru", shared),
        Row::of::<DashMap<Shared>>("dashmap", Ceiling, "dashmap", shared),
        Row::of::<QuickCache<quick_cache::DefaultHashBuilder>>(
            "quick_cache (defaults)",
            Defaults,
            "quick_cache",
            "foldhash",
        ),
        Row::of::<Moka<RandomState>>("moka (defaults)", Defaults, "moka", std),
        Row::of::<MiniMoka<RandomState>>("mini-moka (defaults)", Defaults, "mini-moka", std),
        Row::of::<Foyer<foyer_hash::code::DefaultHasher>>(
            "foyer (defaults)",
            Defaults,
            "foyer-memory",
            "xxHash64, fixed seed",
        ),
        Row::of::<StrettoDefaults>(
            "stretto (defaults)",
            Defaults,
            "stretto",
            "SeaHash, then xxHash64",
        )
        .up_to(STRETTO_ENTRIES_MAX),
        Row::of::<MutexLru<lru::DefaultHasher>>(
            "mutex-lru (defaults)",
            Defaults,
            "lru",
            "foldhash",
        ),
    ]);
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = rows().iter().map(|row| row.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), rows().len());
    }
}
