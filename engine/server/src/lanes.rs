//! Who runs commands when: many at a time, or one alone.
//!
//! Every thread that runs commands has a lane, and holds it while it runs a batch of them. What has to
//! be alone (`EXEC`, `MSET`, `RENAME`) takes all lanes. So an ordinary command costs an uncontended lock
//! for its whole batch, and a transaction sees nothing half-done. Who wants to be alone holds no lane
//! while it waits for one that is busy for long: one slow command delays what must be alone, and nobody
//! else.

use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

/// How long whoever wants to be alone keeps its lanes while it waits for the next one; longer than most
/// batches take. Each round in which that was not enough doubles it, so that it comes to an end.
const PATIENCE: Duration = Duration::from_millis(4);

/// The lanes of a server.
pub struct Lanes {
    lanes: Box<[Lane]>,
    /// Held by the one who is taking all lanes: two would take them from each other.
    gate: Mutex<()>,
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
        let lanes = (0..count.max(1)).map(|_| Lane(Mutex::new(()))).collect();
        Self { lanes, gate: Mutex::new(()) }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.lanes.len()
    }

    /// Takes a lane; numbers wrap. Waits while somebody runs alone. Not to be held across an `await`.
    pub fn shared(&self, lane: usize) -> Shared<'_> {
        Shared { _lane: self.lanes[lane % self.lanes.len()].0.lock() }
    }

    /// Takes the last lane, which is the API's. Else as [`shared`](Self::shared).
    pub fn of_api(&self) -> Shared<'_> {
        self.shared(self.lanes.len() - 1)
    }

    /// As [`of_api`](Self::of_api), none where that would wait.
    #[must_use]
    pub fn try_of_api(&self) -> Option<Shared<'_>> {
        let lane = self.lanes[self.lanes.len() - 1].0.try_lock()?;
        Some(Shared { _lane: lane })
    }

    /// Takes all lanes. The caller must hold none.
    pub fn alone(&self) -> Alone<'_> {
        let _gate = self.gate.lock();
        let (mut patience, mut busy) = (PATIENCE, 0);
        loop {
            // Waits for the lane that was busy while it holds no other.
            let first = self.lanes[busy].0.lock();
            match self.rest(busy, patience) {
                Ok(mut lanes) => {
                    lanes.push(first);
                    return Alone { _lanes: lanes };
                }
                Err(lane) => busy = lane,
            }
            drop(first);
            patience = patience.saturating_mul(2);
        }
    }

    /// All lanes but `held`, or one for which `patience` was not enough.
    fn rest(&self, held: usize, patience: Duration) -> Result<Vec<MutexGuard<'_, ()>>, usize> {
        let mut lanes = Vec::with_capacity(self.lanes.len());
        for (index, lane) in self.lanes.iter().enumerate().filter(|(index, _)| *index != held) {
            lanes.push(lane.0.try_lock_for(patience).ok_or(index)?);
        }
        Ok(lanes)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn who_waits_to_be_alone_holds_nobody_else_up() {
        let lanes = Lanes::new(3);
        std::thread::scope(|scope| {
            let slow = lanes.shared(1);
            let (done, is_done) = mpsc::channel();
            let taker = scope.spawn({
                let lanes = &lanes;
                move || {
                    let _alone = lanes.alone();
                    done.send(()).expect("somebody listens");
                }
            });
            while !lanes.gate.is_locked() {
                std::thread::yield_now();
            }
            // Both other lanes can be had, again and again, while the slow one is busy.
            for lane in [0, 2].repeat(100) {
                let had = lanes.lanes[lane].0.try_lock_for(Duration::from_secs(60));
                assert!(had.is_some(), "lane {lane} is kept by one who only waits");
            }
            assert!(is_done.try_recv().is_err(), "it runs alone only");
            drop(slow);
            taker.join().expect("no panic");
            assert!(is_done.try_recv().is_ok());
        });
        drop(lanes.alone());
        drop(lanes.shared(5));
    }

    #[test]
    fn many_who_want_to_be_alone_are_so_one_after_the_other() {
        let (lanes, counter) = (Lanes::new(2), Mutex::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        let _alone = lanes.alone();
                        let mut counter = counter.try_lock().expect("nobody else is here");
                        *counter += 1;
                    }
                });
            }
        });
        assert_eq!(*counter.lock(), 400);
    }
}
