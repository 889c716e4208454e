//! The concurrency primitives of this crate, in one place, so that loom can stand in for them.
//!
//! What the threads of a shard share goes through these names, never through `std::sync` or
//! `parking_lot` directly. Build with `--cfg ostler_loom` to have the model checker's versions. Two
//! stand outside: the loads under way (`flight`), and the spin lock (`spin`), which the model checker's
//! own lock stands in for.

#[cfg(not(ostler_loom))]
pub(crate) use std::sync::atomic::AtomicU64;

#[cfg(ostler_loom)]
pub(crate) use loom::sync::atomic::AtomicU64;

pub(crate) use std::sync::Arc;
pub(crate) use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

#[cfg(not(ostler_loom))]
pub(crate) use lock_api::MutexGuard as RawGuard;

#[cfg(not(ostler_loom))]
use crate::spin::RawSpin;

/// Holds the lock of a shard's state.
#[cfg(not(ostler_loom))]
pub(crate) type StateGuard<'a, T> = RawGuard<'a, RawSpin, T>;
#[cfg(ostler_loom)]
pub(crate) type StateGuard<'a, T> = MutexGuard<'a, T>;

#[cfg(not(ostler_loom))]
pub(crate) use parking_lot::MutexGuard;

#[cfg(ostler_loom)]
pub(crate) use loom::sync::MutexGuard;

/// The lock of a shard's state: held for moments, see [`spin`](crate::spin).
#[cfg(not(ostler_loom))]
pub(crate) struct StateLock<T>(lock_api::Mutex<RawSpin, T>);

#[cfg(not(ostler_loom))]
impl<T> StateLock<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(lock_api::Mutex::new(value))
    }

    #[inline]
    pub(crate) fn lock(&self) -> StateGuard<'_, T> {
        self.0.lock()
    }

    #[inline]
    pub(crate) fn try_lock(&self) -> Option<StateGuard<'_, T>> {
        self.0.try_lock()
    }
}

/// The model checker's lock behind the same face.
#[cfg(ostler_loom)]
#[derive(Debug)]
pub(crate) struct StateLock<T>(loom::sync::Mutex<T>);

#[cfg(ostler_loom)]
impl<T> StateLock<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(loom::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> StateGuard<'_, T> {
        self.0.lock().expect("invariant: a model does not panic under a lock")
    }

    pub(crate) fn try_lock(&self) -> Option<StateGuard<'_, T>> {
        self.0.try_lock().ok()
    }
}

/// Looks at a lock in a row before the processor is given away.
#[cfg(not(ostler_loom))]
const LOOKS: u32 = 32;

/// A lock that may be held for long, so that waiting for it parks. A panic does not poison it:
/// whoever holds it keeps what it guards valid at every step that may panic.
#[cfg(not(ostler_loom))]
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(parking_lot::Mutex<T>);

#[cfg(not(ostler_loom))]
impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(parking_lot::Mutex::new(value))
    }

    #[inline]
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock()
    }

    #[inline]
    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.0.try_lock()
    }

    /// Tries for at most `wait`, without going to sleep: a wait is some microseconds as a rule, and
    /// waking up takes longer than that.
    pub(crate) fn try_lock_for(&self, wait: Duration) -> Option<MutexGuard<'_, T>> {
        let mut end = None;
        loop {
            for _ in 0..LOOKS {
                if let Some(guard) = self.0.try_lock() {
                    return Some(guard);
                }
                std::hint::spin_loop();
            }
            // The clock is read only where the lock was taken at first.
            let now = std::time::Instant::now();
            if now >= *end.get_or_insert(now + wait) {
                return None;
            }
            std::thread::yield_now();
        }
    }
}

/// The model checker's lock behind the same face. Waiting for a while is trying once: loom explores
/// both outcomes anyway.
#[cfg(ostler_loom)]
#[derive(Debug)]
pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

#[cfg(ostler_loom)]
impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Self(loom::sync::Mutex::new(T::default()))
    }
}

#[cfg(ostler_loom)]
impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(loom::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().expect("invariant: a model does not panic under a lock")
    }

    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.0.try_lock().ok()
    }

    pub(crate) fn try_lock_for(&self, _: Duration) -> Option<MutexGuard<'_, T>> {
        self.try_lock()
    }
}
