//! Entries on their way out: kept until all locks are open, then heard of and dropped.

use crate::options::Cause;

/// Entries that left during an operation. The first has a place of its own, since most operations
/// that make any entry leave make one leave, and must not allocate for it. Where there are no more,
/// making this and dropping it costs one comparison each.
pub(crate) struct Left<K, V> {
    first: Option<(K, V, Cause)>,
    more: Option<Box<More<K, V>>>,
}

/// Those after the first.
struct More<K, V>(Vec<(K, V, Cause)>);

impl<K, V> Default for Left<K, V> {
    #[inline]
    fn default() -> Self {
        Self { first: None, more: None }
    }
}

impl<K, V> Left<K, V> {
    #[inline]
    pub(crate) fn push(&mut self, entry: (K, V, Cause)) {
        if self.first.is_none() {
            // Assigning would look for an old entry to drop.
            self.first.get_or_insert(entry);
        } else {
            self.push_more(entry);
        }
    }

    #[inline(never)]
    fn push_more(&mut self, entry: (K, V, Cause)) {
        self.more.get_or_insert_with(|| Box::new(More(Vec::new()))).0.push(entry);
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// The entries, in the order in which they left.
    pub(crate) fn into_entries(self) -> impl Iterator<Item = (K, V, Cause)> {
        let more = self.more.map_or_else(Vec::new, |more| more.0);
        self.first.into_iter().chain(more)
    }
}
