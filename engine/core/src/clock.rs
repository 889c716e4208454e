//! Time, as far as a cache needs it: milliseconds since it started.
//!
//! Everything that depends on time gets it from here, so that tests and replay can set it.

use std::sync::Arc;
use std::time::Instant;

use crate::sync::{AtomicU64, Relaxed};

/// A source of time.
///
/// It is read once an operation where entries can expire, and once a maintenance otherwise.
///
/// ```
/// use ostler_core::{Cache, Clock};
///
/// /// A server's own coarse clock, set once a tick of its event loop.
/// struct LoopTime(std::sync::Arc<std::sync::atomic::AtomicU64>);
///
/// impl Clock for LoopTime {
///     fn now_ms(&self) -> u64 {
///         self.0.load(std::sync::atomic::Ordering::Relaxed)
///     }
/// }
///
/// let cache: Cache<u32, u32> = Cache::builder(10).clock(LoopTime(Default::default())).build()?;
/// # let _ = cache.insert(1, 1);
/// # Ok::<(), ostler_core::BuildError>(())
/// ```
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since some fixed moment, never less than what it said before.
    fn now_ms(&self) -> u64;
}

/// The system's monotonic clock, from the moment it was made.
///
/// ```
/// use ostler_core::{Clock, SystemClock};
///
/// let clock = SystemClock::new();
/// let before = clock.now_ms();
/// assert!(before <= clock.now_ms());
/// ```
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock that stands at 0 now.
    #[must_use]
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[inline]
    fn now_ms(&self) -> u64 {
        // 64 bits of milliseconds are half a billion years.
        self.start.elapsed().as_millis() as u64
    }
}

/// A clock that stands still until it is told otherwise. Clones show the same time.
///
/// ```
/// use ostler_core::{Clock, ManualClock};
///
/// let clock = ManualClock::default();
/// let shared = clock.clone();
/// clock.advance_ms(40);
/// assert_eq!(shared.now_ms(), 40);
/// shared.set_ms(30);
/// assert_eq!(clock.now_ms(), 40, "it never goes back");
/// ```
#[derive(Clone, Debug)]
pub struct ManualClock {
    now_ms: Arc<AtomicU64>,
}

impl Default for ManualClock {
    fn default() -> Self {
        Self { now_ms: Arc::new(AtomicU64::new(0)) }
    }
}

impl ManualClock {
    /// Sets the time, unless it is later already.
    pub fn set_ms(&self, now_ms: u64) {
        self.now_ms.fetch_max(now_ms, Relaxed);
    }

    /// Lets `ms` milliseconds pass.
    pub fn advance_ms(&self, ms: u64) {
        self.now_ms.fetch_add(ms, Relaxed);
    }
}

impl Clock for ManualClock {
    #[inline]
    fn now_ms(&self) -> u64 {
        self.now_ms.load(Relaxed)
    }
}
