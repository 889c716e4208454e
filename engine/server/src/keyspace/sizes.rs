//! How many entries each home has, counted by many threads.

use std::cell::Cell;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering::Relaxed};

use super::{DATABASES, HomeIndex};

/// Stripes of a counter that several threads move.
pub(crate) const STRIPES: usize = 8;

/// Entries of each home. The engine tells of every entry that leaves, and every one that was put
/// in leaves once, so the difference is what is there.
#[derive(Default)]
pub(super) struct Sizes {
    stripes: [Stripe; STRIPES],
}

#[derive(Default)]
#[repr(align(128))]
struct Stripe([AtomicI64; DATABASES as usize]);

impl Sizes {
    #[inline]
    pub(super) fn add(&self, home: HomeIndex, change: i64) {
        self.stripes[stripe()].0[usize::from(home % DATABASES)].fetch_add(change, Relaxed);
    }

    pub(super) fn get(&self, home: HomeIndex) -> u64 {
        let column = usize::from(home % DATABASES);
        let sum: i64 = self.stripes.iter().map(|stripe| stripe.0[column].load(Relaxed)).sum();
        sum.max(0) as u64
    }
}

/// The stripe of this thread.
#[inline]
pub(crate) fn stripe() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static MINE: Cell<usize> = Cell::new(NEXT.fetch_add(1, Relaxed) % STRIPES);
    }
    MINE.with(Cell::get)
}
