//! How long an entry would live in a FIFO cache of this size: the yardstick of all features.

use crate::quarter_octaves;

/// An estimate of the FIFO lifetime: requests a miss, times residents, smoothed with weight ½ over
/// windows of a quarter of the residents' misses. Integers only.
#[derive(Clone, Debug)]
pub struct Lifetime {
    requests: u32,
    quarters: u8,
    recent_sixteenth: u32,
    steady_sixteenth: u32,
    /// Requests and misses in this window.
    window_requests: u64,
    window_misses: u64,
    /// True once a window has ended.
    measured: bool,
}

/// Shortest and longest lifetime: a feature of eleven octaves below it is still above one request,
/// and four times it fits the clock.
const LIFETIME_MIN: u64 = 16;
const LIFETIME_MAX: u64 = 1 << 29;
/// Fewest misses in a window.
const WINDOW_MISSES_MIN: u64 = 32;
/// A window ends after so many times the residents' number of requests, however few the misses.
const WINDOW_TURNS_MAX: u64 = 32;

impl Lifetime {
    /// For a cache of about `residents` entries of which nothing is known yet: as if every second
    /// request missed.
    #[must_use]
    pub fn new(residents: u32) -> Self {
        let mut lifetime = Self {
            requests: 0,
            quarters: 0,
            recent_sixteenth: 1,
            steady_sixteenth: 1,
            window_requests: 0,
            window_misses: 0,
            measured: false,
        };
        lifetime.set(u64::from(residents) * 2);
        lifetime
    }

    /// A lifetime known from elsewhere.
    #[must_use]
    pub fn of(requests: u64) -> Self {
        let mut lifetime = Self::new(1);
        lifetime.set(requests);
        lifetime.measured = true;
        lifetime
    }

    /// Counts `count` hits.
    #[inline]
    pub fn hit(&mut self, count: u32) {
        self.window_requests += u64::from(count);
    }

    /// Counts a miss in a full cache of `residents` entries. True where a window ended, so that the
    /// estimate changed.
    #[inline]
    pub fn miss(&mut self, residents: u32) -> bool {
        self.window_requests += 1;
        self.window_misses += 1;
        let residents = u64::from(residents).max(1);
        let enough = self.window_misses >= (residents / 4).max(WINDOW_MISSES_MIN)
            || self.window_requests >= WINDOW_TURNS_MAX * residents.max(WINDOW_MISSES_MIN);
        if enough {
            let now = self.window_requests.saturating_mul(residents) / self.window_misses;
            let before = u64::from(self.requests);
            self.set(if self.measured { (before + now.min(LIFETIME_MAX)) / 2 } else { now });
            self.measured = true;
            (self.window_requests, self.window_misses) = (0, 0);
        }
        enough
    }

    /// The lifetime in requests.
    #[inline]
    #[must_use]
    pub const fn requests(&self) -> u32 {
        self.requests
    }

    /// The lifetime in quarter octaves.
    #[inline]
    #[must_use]
    pub const fn quarters(&self) -> u8 {
        self.quarters
    }

    /// A sixteenth of the half-life of [`Facts::recent`](crate::Facts::recent).
    #[inline]
    pub(crate) const fn recent_sixteenth(&self) -> u32 {
        self.recent_sixteenth
    }

    /// A sixteenth of the half-life of [`Facts::steady`](crate::Facts::steady).
    #[inline]
    pub(crate) const fn steady_sixteenth(&self) -> u32 {
        self.steady_sixteenth
    }

    fn set(&mut self, requests: u64) {
        let requests = requests.clamp(LIFETIME_MIN, LIFETIME_MAX) as u32;
        self.requests = requests;
        self.quarters = quarter_octaves(requests);
        self.recent_sixteenth = (requests / 64).max(1);
        self.steady_sixteenth = (requests / 8).max(1);
    }
}
