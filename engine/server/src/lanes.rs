//! Who runs commands when: many at a time, or one alone.
//!
//! Every thread that runs commands has a lane, and holds it while it runs a batch of them. What has to
//! be alone (`EXEC`, `MSET`, `RENAME`) takes all lanes, in their order. So an ordinary command costs an
//! uncontended lock for its whole batch, and a transaction sees nothing half-done.

use parking_lot::{Mutex, MutexGuard};

/// The lanes of a server.
pub struct Lanes {
    lanes: Box<[Lane]>,
}

#[repr(align(128))]
struct Lane(Mutex<()>);

/// The right to run ordinary commands; ends when it drops.
#[must_use]
pub struct Shared<'a> {
    _lane: MutexGuard<'a, ()>,
}

/// The right to run alone; ends when it drops.
#[must_use]
pub struct Alone<'a> {
    _lanes: Vec<MutexGuard<'a, ()>>,
}

impl Lanes {
    /// `count` lanes, at least one.
    #[must_use]
    pub fn new(count: usize) -> Self {
        Self { lanes: (0..count.max(1)).map(|_| Lane(Mutex::new(()))).collect() }
    }

    /// Takes a lane; numbers wrap. Waits while somebody runs alone. Not to be held across an `await`.
    pub fn shared(&self, lane: usize) -> Shared<'_> {
        Shared { _lane: self.lanes[lane % self.lanes.len()].0.lock() }
    }

    /// Takes the last lane, which is the API's. Else as [`shared`](Self::shared).
    pub fn of_api(&self) -> Shared<'_> {
        self.shared(self.lanes.len() - 1)
    }

    /// Takes all lanes. The caller must hold none.
    pub fn alone(&self) -> Alone<'_> {
        Alone { _lanes: self.lanes.iter().map(|lane| lane.0.lock()).collect() }
    }
}
