//! The server's time: steady milliseconds since its start, and what they are since 1970.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ostler_core::Clock;

/// Steps of the wall clock against steady time that are heeded, milliseconds. Smaller ones are the
/// work of those who keep clocks right, and would make the times that clients are told flicker.
const STEP_MIN_MS: i64 = 100;

/// Time between two readings of a clock that still counts as the same moment.
const READ_MAX: Duration = Duration::from_millis(5);
/// Readings after which the last one has to do.
const READ_TRIES: u32 = 100;

/// How the wall clock of this machine and steady time stand to each other.
#[derive(Debug)]
struct Joint {
    base: Instant,
    base_unix_ms: u64,
    /// How far the wall clock was set forth since, negative for back.
    step_ms: AtomicI64,
    step_min_ms: i64,
}

impl Joint {
    fn new(step_min_ms: i64) -> Self {
        let (since, base) = read(Instant::now);
        let base_unix_ms = since.as_millis() as u64;
        Self { base, base_unix_ms, step_ms: AtomicI64::new(0), step_min_ms }
    }

    /// Takes note of what the wall clock says at `steady` time.
    fn look(&self, since: Duration, steady: Instant) {
        let passed = steady.saturating_duration_since(self.base);
        let steady_ms = self.base_unix_ms.saturating_add(passed.as_millis() as u64);
        let step_ms = (since.as_millis() as u64).wrapping_sub(steady_ms) as i64;
        if (step_ms - self.step_ms.load(Relaxed)).abs() >= self.step_min_ms {
            self.step_ms.store(step_ms, Relaxed);
        }
    }
}

/// Wall clock and steady time of the same moment: read again where the thread had to wait in between.
fn read(steady_now: impl Fn() -> Instant) -> (Duration, Instant) {
    let mut tries = 0;
    loop {
        let before = steady_now();
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let apart = steady_now().saturating_duration_since(before);
        tries += 1;
        if apart < READ_MAX || tries == READ_TRIES {
            return (since, before);
        }
    }
}

/// The joint of this process. Tests of the server heed no step: what they compare to the millisecond
/// would depend on whether somebody sets this machine's clock meanwhile.
static JOINT: LazyLock<Joint> =
    LazyLock::new(|| Joint::new(if cfg!(test) { i64::MAX } else { STEP_MIN_MS }));

/// A steady clock that knows when it started.
///
/// Clients name ends of entries in wall-clock time; entries end by steady time. What a client names is
/// meant by the wall clock as it is then; an entry that has its end keeps it by steady time, so that a
/// wall clock that is set back or forth expires nothing.
#[derive(Clone, Copy, Debug)]
pub struct ServerClock {
    start: Instant,
    start_unix_ms: u64,
    joint: &'static Joint,
    /// What `start_unix_ms` already holds of the joint's step.
    step_before_ms: i64,
}

impl ServerClock {
    /// A clock that starts now.
    #[must_use]
    pub fn new() -> Self {
        Self::joined(&JOINT)
    }

    fn joined(joint: &'static Joint) -> Self {
        let (since, now) = read(Instant::now);
        // It starts at a whole millisecond of the wall clock, so that both tick together.
        let beyond = Duration::from_nanos(u64::from(since.subsec_nanos() % 1_000_000));
        let start = now.checked_sub(beyond).unwrap_or(now);
        joint.look(since, now);
        let step_before_ms = joint.step_ms.load(Relaxed);
        Self { start, start_unix_ms: since.as_millis() as u64, joint, step_before_ms }
    }

    /// Looks whether the wall clock was set meanwhile. To be called now and then.
    pub fn look_at_wall_clock(&self) {
        let (since, now) = read(Instant::now);
        self.joint.look(since, now);
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub fn now_unix_ms(&self) -> u64 {
        self.to_unix_ms(self.now_ms())
    }

    /// When it started, milliseconds since 1970, by the wall clock as it was then.
    #[must_use]
    pub fn start_unix_ms(&self) -> u64 {
        self.start_unix_ms
    }

    /// The same by the wall clock as it is now.
    fn origin_unix_ms(&self) -> u64 {
        let step_ms = self.joint.step_ms.load(Relaxed).wrapping_sub(self.step_before_ms);
        self.start_unix_ms.saturating_add_signed(step_ms)
    }

    /// A time of this clock as milliseconds since 1970.
    #[must_use]
    pub fn to_unix_ms(&self, ms: u64) -> u64 {
        self.origin_unix_ms().saturating_add(ms)
    }

    /// Milliseconds since 1970 as a time of this clock, 0 for times before its start.
    #[must_use]
    pub fn from_unix_ms(&self, unix_ms: u64) -> u64 {
        unix_ms.saturating_sub(self.origin_unix_ms())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_times_go_by_the_wall_clock_as_it_is_and_old_ends_stay() {
        static OWN: LazyLock<Joint> = LazyLock::new(|| Joint::new(STEP_MIN_MS));
        let clock = ServerClock::joined(&OWN);
        let end_unix_ms = clock.start_unix_ms() + 1_000_000;
        assert_eq!(clock.from_unix_ms(end_unix_ms), 1_000_000);
        let (base, base_unix_ms) = (OWN.base, OWN.base_unix_ms);
        for (step_ms, heeded_ms) in [(0, 0), (99, 0), (7_200_000, 7_200_000), (-5_000, -5_000)] {
            let passed = Duration::from_millis(300);
            let unix_ms = base_unix_ms.saturating_add_signed(300 + step_ms);
            OWN.look(Duration::from_millis(unix_ms), base + passed);
            // The same word of a client means a sooner end once the wall clock was set forth.
            assert_eq!(clock.from_unix_ms(end_unix_ms) as i64, (1_000_000 - heeded_ms).max(0));
            let stored = clock.to_unix_ms(1_000_000);
            assert_eq!(stored, end_unix_ms.saturating_add_signed(heeded_ms));
        }
    }

    #[test]
    fn a_thread_that_had_to_wait_between_two_clocks_reads_them_again() {
        let (start, calls) = (Instant::now(), std::cell::Cell::new(0));
        // The first two pairs are a second apart, the third is not.
        let steady_now = || {
            calls.set(calls.get() + 1);
            start + Duration::from_secs(calls.get().min(5))
        };
        assert_eq!(read(steady_now).1, start + Duration::from_secs(5));
        assert_eq!(calls.get(), 6);
    }
}
