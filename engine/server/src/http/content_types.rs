//! Content types of entries that were stored over HTTP, beside the cache.
//!
//! A row holds for one version of an entry; once the entry has changed or gone, the row is worth
//! nothing. Such rows are swept out when the table has doubled, so it has at most about twice as many
//! rows as there are entries with a type.
//!
//! Lock order: a shard of the cache, then a shard of the table. The sweep takes them one at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;
use ostler_core::Version;

use crate::keyspace::{Key, Keyspace};

/// The type of entries without a row.
pub(crate) const DEFAULT: &str = "application/octet-stream";
/// Rows below which nothing is swept.
const ROWS_MIN: usize = 1_024;

/// The types of one cache's entries.
pub(crate) struct ContentTypes {
    rows: DashMap<Key, (Version, Arc<str>)>,
    /// Rows from which on the next sweep is due.
    sweep_at: AtomicUsize,
}

impl Default for ContentTypes {
    fn default() -> Self {
        Self { rows: DashMap::new(), sweep_at: AtomicUsize::new(ROWS_MIN) }
    }
}

impl ContentTypes {
    /// Notes the type of a version of `key`.
    pub(crate) fn note(&self, key: &Key, version: Version, content_type: &str) {
        if content_type == DEFAULT {
            self.rows.remove(key);
        } else {
            self.rows.insert(key.clone(), (version, Arc::from(content_type)));
        }
    }

    /// The type of a version of `key`, none where it is the default.
    pub(crate) fn get(&self, key: &Key, version: Version) -> Option<Arc<str>> {
        let row = self.rows.get(key)?;
        (row.0 == version).then(|| Arc::clone(&row.1))
    }

    /// Sweeps where that is due. Cost: O(1) a write on average.
    pub(crate) fn tidy(&self, keyspace: &Keyspace) {
        let sweep_at = self.sweep_at.load(Ordering::Relaxed);
        if self.rows.len() < sweep_at {
            return;
        }
        // One sweeper at a time: others find a bound that they do not reach.
        let taken = self.sweep_at.compare_exchange(
            sweep_at,
            usize::MAX,
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
        if taken.is_err() {
            return;
        }
        let rows: Vec<_> = self.rows.iter().map(|row| (row.key().clone(), row.0)).collect();
        for (key, version) in rows {
            if keyspace.version(key.as_bytes()) != Some(version) {
                self.rows.remove_if(&key, |_, row| row.0 == version);
            }
        }
        self.sweep_at.store((self.rows.len() * 2).max(ROWS_MIN), Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }
}
