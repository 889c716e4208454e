//! Entries on their way out: kept until all locks are open, then heard of and dropped.

use crate::options::Cause;

/// Entries that left during an operation. The first has a place of its own, since most operations
/// that make any entry leave make one leave, and must not allocate for it.
pub(crate) struct Left<K, V> {
    first: Option<(K, V, Cause)>,
    more: Vec<(K, V, Cause)>,
}

impl<K, V> Default for Left<K, V> {
    #[inline]
    fn default() -> Self {
        Self { first: None, more: Vec::new() }
    }
}

impl<K, V> Left<K, V> {
    #[inline]
    pub(crate) fn push(&mut self, entry: (K, V, Cause)) {
        if self.first.is_none() {
            self.first = Some(entry);
        } else {
            self.more.push(entry);
        }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// The entries, in the order in which they left.
    pub(crate) fn into_entries(self) -> impl Iterator<Item = (K, V, Cause)> {
        self.first.into_iter().chain(self.more)
    }
}
