//! Content types of entries that were stored over HTTP, beside the cache.
//!
//! A row holds for one version of an entry; once the entry has changed or gone, the row is worth
//! nothing. Such rows are swept out when the table has doubled, and when the cache has lost a quarter
//! as many entries as the table has rows: few are left over, whatever made the entries go. A row takes
//! a key, a version and a number, since types are kept once; there are few of them.
//!
//! Lock order: a shard of the cache, then a shard of the table, then the kinds. The sweep takes them one
//! at a time.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use dashmap::DashMap;
use ostler_core::Version;
use parking_lot::RwLock;

use crate::keyspace::{Key, Keyspace};

/// The type of entries without a row.
pub(crate) const DEFAULT: &str = "application/octet-stream";
/// Rows below which nothing is swept.
const ROWS_MIN: usize = 1_024;
/// Types that are told apart; entries of any other have the default.
const KINDS_MAX: usize = 1_024;

/// The number of a type.
type Kind = u16;

/// The types of one cache's entries.
pub(crate) struct ContentTypes {
    rows: DashMap<Key, (Version, Kind)>,
    kinds: RwLock<Kinds>,
    /// Rows from which on the next sweep is due.
    sweep_at: AtomicUsize,
    /// Entries that the cache had lost at the last sweep.
    lost: AtomicU64,
}

/// Types that came up; they stay, being few.
#[derive(Default)]
struct Kinds {
    numbers: HashMap<Arc<str>, Kind>,
    names: Vec<Arc<str>>,
}

impl Default for ContentTypes {
    fn default() -> Self {
        Self {
            rows: DashMap::new(),
            kinds: RwLock::default(),
            sweep_at: AtomicUsize::new(ROWS_MIN),
            lost: AtomicU64::new(0),
        }
    }
}

impl ContentTypes {
    /// Notes the type of a version of `key`.
    pub(crate) fn note(&self, key: &Key, version: Version, content_type: &str) {
        match self.kind(content_type) {
            None => drop(self.rows.remove(key)),
            Some(kind) => drop(self.rows.insert(key.clone(), (version, kind))),
        }
    }

    /// The number of a type, none for the default and for one too many.
    fn kind(&self, content_type: &str) -> Option<Kind> {
        if content_type == DEFAULT {
            return None;
        }
        if let Some(kind) = self.kinds.read().numbers.get(content_type) {
            return Some(*kind);
        }
        let mut kinds = self.kinds.write();
        if let Some(kind) = kinds.numbers.get(content_type) {
            return Some(*kind);
        }
        let kind = Kind::try_from(kinds.names.len()).ok()?;
        if kinds.names.len() >= KINDS_MAX {
            return None;
        }
        let name: Arc<str> = Arc::from(content_type);
        kinds.names.push(Arc::clone(&name));
        kinds.numbers.insert(name, kind);
        Some(kind)
    }

    /// The type of a version of `key`, none where it is the default.
    pub(crate) fn get(&self, key: &Key, version: Version) -> Option<Arc<str>> {
        let (noted, kind) = *self.rows.get(key)?;
        let name = || self.kinds.read().names.get(usize::from(kind)).cloned();
        (noted == version).then(name)?
    }

    /// Sweeps where the table has doubled. Cost: O(1) a write on average.
    pub(crate) fn tidy(&self, keyspace: &Keyspace) {
        if self.rows.len() >= self.sweep_at.load(Ordering::Relaxed) {
            self.sweep(keyspace);
        }
    }

    /// Sweeps where the cache has lost many entries; to be called now and then. Cost: each shard's lock
    /// once, and O(1) a lost entry on average.
    pub(crate) fn settle(&self, keyspace: &Keyspace) {
        let rows = self.rows.len() as u64;
        if rows == 0 {
            return;
        }
        let stats = keyspace.stats();
        let lost = [stats.evicted, stats.expired, stats.removed, stats.replaced, stats.cleared];
        let lost = lost.into_iter().chain([stats.rejected]).fold(0, u64::saturating_add);
        if lost.saturating_sub(self.lost.load(Ordering::Relaxed)) > rows / 4 {
            self.lost.store(lost, Ordering::Relaxed);
            self.sweep(keyspace);
        }
    }

    /// Removes the rows of entries that have changed or gone.
    fn sweep(&self, keyspace: &Keyspace) {
        // One sweeper at a time: others find a bound that they do not reach.
        if self.sweep_at.swap(usize::MAX, Ordering::Relaxed) == usize::MAX {
            return;
        }
        let rows: Vec<_> = self.rows.iter().map(|row| (row.key().clone(), row.0)).collect();
        for (key, version) in rows {
            if keyspace.version(key.as_bytes()) != Some(version) {
                self.rows.remove_if(&key, |_, row| row.0 == version);
            }
        }
        self.sweep_at.store((self.rows.len() * 2).max(ROWS_MIN), Ordering::Relaxed);
        if self.rows.capacity() > (self.rows.len() * 4).max(ROWS_MIN) {
            self.rows.shrink_to_fit();
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }
}
