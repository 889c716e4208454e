//! Which database lives where.
//!
//! What is stored lives in a home: a stretch of one cache, told by the first byte of its keys. At the
//! start every database is at the home of its own number. `SWAPDB` lets two databases trade homes: no
//! entry moves, and each stays in its cache, under that cache's capacity and policy. A restart forgets
//! the trades, as it forgets the entries.
//!
//! Reads cost one relaxed load. Whoever swaps runs alone, so nobody sees half a trade.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

use crate::keyspace::{DATABASES, DatabaseIndex, HomeIndex};

const COUNT: usize = DATABASES as usize;

/// Which database lives in which home, and which home in which cache.
#[derive(Debug)]
pub struct Databases {
    homes: [AtomicU8; COUNT],
    /// The other way round: the database of each home.
    tenants: [AtomicU8; COUNT],
    /// How often each database has moved.
    moves: [AtomicU64; COUNT],
    /// The cache of each home, none where the settings give it none.
    caches: [Option<usize>; COUNT],
}

impl Databases {
    /// Databases as the settings deal them: for each cache, in its order, its databases.
    pub fn new<'a>(dealt: impl IntoIterator<Item = &'a [DatabaseIndex]>) -> Self {
        let mut caches = [None; COUNT];
        for (cache, databases) in dealt.into_iter().enumerate() {
            for &database in databases {
                caches[place(database)] = Some(cache);
            }
        }
        let own = || std::array::from_fn(|number| AtomicU8::new(number as u8));
        Self { homes: own(), tenants: own(), moves: Default::default(), caches }
    }

    /// The home of `database`.
    #[inline]
    #[must_use]
    pub fn home(&self, database: DatabaseIndex) -> HomeIndex {
        self.homes[place(database)].load(Relaxed)
    }

    /// The database that lives in `home`.
    #[must_use]
    pub fn tenant(&self, home: HomeIndex) -> DatabaseIndex {
        self.tenants[place(home)].load(Relaxed)
    }

    /// The number of the cache in which `database` lives, none where the settings give it none.
    #[inline]
    #[must_use]
    pub fn cache(&self, database: DatabaseIndex) -> Option<usize> {
        if database >= DATABASES {
            return None;
        }
        self.caches[place(self.home(database))]
    }

    /// How often `database` has moved.
    #[must_use]
    pub fn moves(&self, database: DatabaseIndex) -> u64 {
        self.moves[place(database)].load(Relaxed)
    }

    /// The databases that live in the cache with this number: first those of `dealt`, which the settings
    /// gave it, in their order, then those that came by a swap.
    #[must_use]
    pub fn living_in(&self, cache: usize, dealt: &[DatabaseIndex]) -> Vec<DatabaseIndex> {
        let lives_here = |database: &DatabaseIndex| self.cache(*database) == Some(cache);
        let stayed = dealt.iter().copied().filter(lives_here);
        let came = (0..DATABASES).filter(|database| !dealt.contains(database)).filter(lives_here);
        stayed.chain(came).collect()
    }

    /// Lets two databases trade homes. To be called while nothing else runs.
    pub fn swap(&self, one: DatabaseIndex, other: DatabaseIndex) {
        let (home, other_home) = (self.home(one), self.home(other));
        for (database, home) in [(one, other_home), (other, home)] {
            self.homes[place(database)].store(home, Relaxed);
            self.tenants[place(home)].store(database, Relaxed);
            self.moves[place(database)].fetch_add(1, Relaxed);
        }
    }
}

impl Default for Databases {
    /// All of them in the first cache.
    fn default() -> Self {
        let all: Vec<DatabaseIndex> = (0..DATABASES).collect();
        Self::new([all.as_slice()])
    }
}

/// Where a database or home stands in the tables. Numbers that cannot be wrap.
#[inline]
fn place(number: u8) -> usize {
    usize::from(number % DATABASES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_databases_trade_homes() {
        let databases = Databases::new([&[3, 0][..], &[1, 5]]);
        assert_eq!(
            [0, 1, 2, 3, 16].map(|it| databases.cache(it)),
            [Some(0), Some(1), None, Some(0), None]
        );
        databases.swap(0, 1);
        assert_eq!((databases.home(0), databases.home(1), databases.home(3)), (1, 0, 3));
        assert_eq!((databases.tenant(0), databases.tenant(1), databases.tenant(3)), (1, 0, 3));
        assert_eq!((databases.cache(0), databases.cache(1)), (Some(1), Some(0)));
        assert_eq!(databases.living_in(0, &[3, 0]), [3, 1]);
        assert_eq!(databases.living_in(1, &[1, 5]), [5, 0]);
        // A third one joins the ring.
        databases.swap(1, 3);
        assert_eq!((databases.home(1), databases.home(3)), (3, 0));
        assert_eq!((databases.tenant(3), databases.tenant(0)), (1, 3));
        assert_eq!([0, 1, 3, 5].map(|it| databases.moves(it)), [1, 2, 1, 0]);
        for database in 0..DATABASES {
            assert_eq!(databases.tenant(databases.home(database)), database);
        }
    }
}
