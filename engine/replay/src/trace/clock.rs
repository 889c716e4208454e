//! Request times: milliseconds since the first request, never going backwards.

/// Turns a trace's own times into milliseconds since its first request.
#[derive(Default)]
pub(crate) struct TraceClock {
    first_ms: Option<u64>,
    last_ms: u64,
}

impl TraceClock {
    /// `time_ms` on the trace's clock, as time since the first request. A time before an earlier
    /// one is taken as that one.
    #[inline]
    pub(crate) fn since_first(&mut self, time_ms: u64) -> u64 {
        let first_ms = *self.first_ms.get_or_insert(time_ms);
        self.last_ms = self.last_ms.max(time_ms.saturating_sub(first_ms));
        self.last_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_start_at_zero_and_never_go_back() {
        let mut clock = TraceClock::default();
        let times = [5_000, 5_000, 7_000, 4_000, 6_000, 8_000];
        let since: Vec<u64> = times.iter().map(|&time| clock.since_first(time)).collect();
        assert_eq!(since, [0, 0, 2_000, 2_000, 2_000, 3_000]);
    }
}
