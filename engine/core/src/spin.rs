//! The lock of a shard's state: taken by one exchange, opened by one plain store.
//!
//! What it guards is held for a hundred nanoseconds at a time, or for a slice that is bounded by
//! count, so nobody waits long unless the holder loses its processor. A lock that wakes waiters must
//! look for them when it opens, which on x86 is a second locked instruction on the way of every hit,
//! 8 ns of 60 where this was measured. This one lets waiters look again by themselves: they spin,
//! then give their processor away, then sleep for longer and longer, at most a millisecond. Not
//! fair; a thread that is starved retries at once when the others are through.

#[cfg(not(ostler_loom))]
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
#[cfg(not(ostler_loom))]
use std::time::Duration;

#[cfg(not(ostler_loom))]
use lock_api::{GuardSend, RawMutex};
#[cfg(ostler_loom)]
use loom::sync::atomic::AtomicBool;

/// Looks in a row before the processor is given away.
#[cfg(not(ostler_loom))]
const SPINS: u32 = 64;
/// Times that the processor is given away before sleeping.
#[cfg(not(ostler_loom))]
const YIELDS: u32 = 16;
/// Longest sleep, as a power of two of microseconds: a millisecond.
#[cfg(not(ostler_loom))]
const SLEEP_SHIFT_MAX: u32 = 10;

/// The lock by itself; [`lock_api::Mutex`] puts a value into it.
pub(crate) struct RawSpin {
    locked: AtomicBool,
}

// SAFETY: `try_take` returns true for exactly one caller until `unlock`, because the exchange is
// atomic and only the holder stores false; acquire and release order what is done in between.
#[cfg(not(ostler_loom))]
#[expect(unsafe_code, reason = "the trait of locks is unsafe to implement")]
unsafe impl RawMutex for RawSpin {
    const INIT: Self = Self { locked: AtomicBool::new(false) };

    type GuardMarker = GuardSend;

    #[inline]
    fn lock(&self) {
        if !self.try_take() {
            self.wait();
        }
    }

    #[inline]
    fn try_lock(&self) -> bool {
        self.try_take()
    }

    #[inline]
    unsafe fn unlock(&self) {
        self.open();
    }
}

impl RawSpin {
    /// Takes the lock, if nobody has it.
    #[inline]
    fn try_take(&self) -> bool {
        !self.locked.swap(true, Ordering::Acquire)
    }

    /// Opens the lock; only its holder may.
    #[inline]
    fn open(&self) {
        self.locked.store(false, Ordering::Release);
    }

    #[cfg(not(ostler_loom))]
    #[cold]
    fn wait(&self) {
        let mut rounds = 0u32;
        loop {
            for _ in 0..SPINS {
                std::hint::spin_loop();
                if !self.locked.load(Ordering::Relaxed) && self.try_take() {
                    return;
                }
            }
            if rounds < YIELDS {
                std::thread::yield_now();
            } else {
                let shift = (rounds - YIELDS).min(SLEEP_SHIFT_MAX);
                std::thread::sleep(Duration::from_micros(1 << shift));
            }
            rounds += 1;
        }
    }
}

#[cfg(all(test, ostler_loom))]
mod models {
    use std::sync::Arc;

    use loom::sync::atomic::AtomicU32;

    use super::*;

    /// A count that is read and written apart, without an ordering of its own: only the lock can make
    /// it right.
    #[test]
    fn what_one_holder_wrote_the_next_one_reads() {
        loom::model(|| {
            let shared = Arc::new((RawSpin { locked: AtomicBool::new(false) }, AtomicU32::new(0)));
            // Two tries each instead of waiting: the model checker cannot end a wait.
            let step = |(lock, count): &(RawSpin, AtomicU32)| {
                let mut taken = 0;
                for _ in 0..2 {
                    if lock.try_take() {
                        count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
                        lock.open();
                        taken += 1;
                    }
                }
                taken
            };
            let other = Arc::clone(&shared);
            let thread = loom::thread::spawn(move || step(&other));
            let taken = step(&shared) + thread.join().expect("no panic");
            assert!(taken >= 1);
            assert_eq!(shared.1.load(Ordering::Relaxed), taken);
        });
    }
}

#[cfg(all(test, not(ostler_loom)))]
mod tests {
    use super::RawSpin;
    use lock_api::Mutex;

    #[test]
    fn increments_of_many_threads_all_count() {
        let count = Mutex::<RawSpin, u64>::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..10_000).for_each(|_| *count.lock() += 1));
            }
        });
        assert_eq!(*count.lock(), 40_000);
        let held = count.lock();
        assert!(count.try_lock().is_none());
        drop(held);
        assert!(count.try_lock().is_some());
    }

    #[test]
    fn a_panic_under_the_lock_opens_it() {
        let count = Mutex::<RawSpin, u64>::new(0);
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _held = count.lock();
            std::panic::resume_unwind(Box::new(()));
        }));
        assert!(panicked.is_err() && count.try_lock().is_some());
    }
}
