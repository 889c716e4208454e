//! Requests of a cache, booked to the policy that was in charge.
//!
//! The engine counts requests for the cache as a whole. What came since the last look is booked to
//! the policy that was in charge then; whoever changes the policy looks right before and after.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use crate::keyspace::Keyspace;

/// Policies that get a row; those after them share one.
const ROWS_MAX: usize = 256;
/// What serves where no policy was ever appointed.
const NOBODY: &str = "fallback";
/// What serves while an experiment has the shards: several policies.
const MANY: &str = "experiment";

/// The book of one cache.
pub(crate) struct Ledger(Mutex<Book>);

#[derive(Default)]
struct Book {
    policy: String,
    hits_seen: u64,
    misses_seen: u64,
    /// Hits and misses by policy.
    rows: BTreeMap<String, (u64, u64)>,
}

impl Ledger {
    /// A book that begins with the policy now in charge.
    pub(crate) fn open(keyspace: &Keyspace) -> Self {
        let book = Book { policy: in_charge(keyspace), ..Book::default() };
        Self(Mutex::new(book))
    }

    /// Books what came since the last time, and returns all rows: policy, hits, misses.
    pub(crate) fn settle(&self, keyspace: &Keyspace) -> Vec<(String, u64, u64)> {
        let mut book = self.0.lock();
        let stats = keyspace.cache().stats();
        let policy = in_charge(keyspace);
        book.add(stats.hits, stats.misses);
        book.policy = policy;
        book.rows.iter().map(|(policy, &(hits, misses))| (policy.clone(), hits, misses)).collect()
    }
}

impl Book {
    fn add(&mut self, hits: u64, misses: u64) {
        let has_room = self.rows.len() < ROWS_MAX || self.rows.contains_key(&self.policy);
        let policy = if has_room { self.policy.as_str() } else { "other" };
        let row = self.rows.entry(policy.to_owned()).or_default();
        row.0 += hits.saturating_sub(self.hits_seen);
        row.1 += misses.saturating_sub(self.misses_seen);
        self.hits_seen = self.hits_seen.max(hits);
        self.misses_seen = self.misses_seen.max(misses);
    }
}

fn in_charge(keyspace: &Keyspace) -> String {
    let seats = keyspace.cache().seat_status();
    if !seats.arms.is_empty() {
        return MANY.to_owned();
    }
    seats.desired.unwrap_or_else(|| NOBODY.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_is_booked_to_who_was_in_charge() {
        let mut book = Book { policy: "a".into(), ..Book::default() };
        book.add(3, 1);
        book.policy = "b".into();
        book.add(5, 1);
        book.policy = "a".into();
        book.add(6, 2);
        assert_eq!(book.rows["a"], (4, 2));
        assert_eq!(book.rows["b"], (2, 0));
    }

    #[test]
    fn the_book_is_bounded() {
        let mut book = Book::default();
        for number in 0..1_000_u64 {
            book.policy = number.to_string();
            book.add(number + 1, 0);
        }
        assert_eq!(book.rows.len(), ROWS_MAX + 1);
        assert_eq!(book.rows.values().map(|row| row.0).sum::<u64>(), 1_000);
    }
}
