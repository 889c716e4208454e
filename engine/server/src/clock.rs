//! The server's time: steady milliseconds since its start, and what they are since 1970.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ostler_core::Clock;

/// A steady clock that knows when it started.
///
/// Clients name ends of entries in wall-clock time; entries end by steady time. The two are joined
/// once, at the start, so that a wall clock that is set back expires nothing.
#[derive(Clone, Copy, Debug)]
pub struct ServerClock {
    start: Instant,
    start_unix_ms: u64,
}

impl ServerClock {
    /// A clock that starts now.
    #[must_use]
    pub fn new() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = Instant::now();
        // It starts at a whole millisecond of the wall clock, so that both tick together.
        let beyond = Duration::from_nanos(u64::from(since.subsec_nanos() % 1_000_000));
        let start = now.checked_sub(beyond).unwrap_or(now);
        Self { start, start_unix_ms: since.as_millis() as u64 }
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub fn now_unix_ms(&self) -> u64 {
        self.to_unix_ms(self.now_ms())
    }

    /// When it started, milliseconds since 1970.
    #[must_use]
    pub fn start_unix_ms(&self) -> u64 {
        self.start_unix_ms
    }

    /// A time of this clock as milliseconds since 1970.
    #[must_use]
    pub fn to_unix_ms(&self, ms: u64) -> u64 {
        self.start_unix_ms.saturating_add(ms)
    }

    /// Milliseconds since 1970 as a time of this clock, 0 for times before its start.
    #[must_use]
    pub fn from_unix_ms(&self, unix_ms: u64) -> u64 {
        unix_ms.saturating_sub(self.start_unix_ms)
    }
}

impl Default for ServerClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for ServerClock {
    fn now_ms(&self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }
}
