//! Accesses of a key by hour of the day.

/// Milliseconds in an hour.
const HOUR_MS: u64 = 3_600_000;

/// Hours in a day.
const DAY_HOURS: u64 = 24;

/// Accesses by hour of the day (UTC), halved at every midnight, saturating. 56 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Hours {
    counts: [u16; 24],
    /// Hour since 1970 of the first access.
    first_hour: u32,
    /// Day since 1970 that the counts are of.
    day: u32,
}

impl Hours {
    /// Of a key that was never used before `now_ms` (since 1970).
    pub(super) fn new(now_ms: u64) -> Self {
        let hour = hour_of(now_ms);
        Self { counts: [0; 24], first_hour: clamped(hour), day: clamped(hour / DAY_HOURS) }
    }

    /// Of a key, as a snapshot tells it.
    pub(super) fn restored(counts: [u16; 24], first_hour: u32, day: u32) -> Self {
        Self { counts, first_hour, day }
    }

    /// The counts as they lie here, the first hour and the day they are of: what a snapshot keeps.
    pub(super) fn parts(&self) -> (&[u16; 24], u32, u32) {
        (&self.counts, self.first_hour, self.day)
    }

    /// Counts an access. A time before the last one counts for the same day.
    pub(super) fn note(&mut self, now_ms: u64) {
        self.turn(now_ms);
        // Below 24.
        let hour = (hour_of(now_ms) % DAY_HOURS) as usize;
        self.counts[hour] = self.counts[hour].saturating_add(1);
    }

    /// The counts at `now_ms`; all zero until the key has been known for a day, since less than a day
    /// says nothing of the hours that it has not seen.
    pub(super) fn counts(&self, now_ms: u64) -> [u16; 24] {
        if hour_of(now_ms).saturating_sub(u64::from(self.first_hour)) < DAY_HOURS {
            return [0; 24];
        }
        let mut now = *self;
        now.turn(now_ms);
        now.counts
    }

    /// Halves the counts for every midnight that has passed.
    fn turn(&mut self, now_ms: u64) {
        let day = clamped(hour_of(now_ms) / DAY_HOURS);
        let days = day.saturating_sub(self.day);
        if days == 0 {
            return;
        }
        for count in &mut self.counts {
            *count = count.checked_shr(days).unwrap_or(0);
        }
        self.day = day;
    }
}

fn hour_of(now_ms: u64) -> u64 {
    now_ms / HOUR_MS
}

/// Hours since 1970 fit 32 bits for half a million years.
fn clamped(hours: u64) -> u32 {
    u32::try_from(hours).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(day: u64, hour: u64) -> u64 {
        (day * 24 + hour) * HOUR_MS + 17
    }

    #[test]
    fn counts_halve_at_midnight_and_start_after_a_day() {
        let mut hours = Hours::new(ms(100, 22));
        for _ in 0..8 {
            hours.note(ms(100, 22));
        }
        hours.note(ms(100, 23));
        assert_eq!(hours.counts(ms(100, 23)), [0; 24]);
        assert_eq!(hours.counts(ms(101, 21)), [0; 24], "not a day yet");
        let at = |hours: &Hours, day, hour| {
            let counts = hours.counts(ms(day, hour));
            (counts[22], counts[23], counts.iter().map(|&count| u32::from(count)).sum::<u32>())
        };
        assert_eq!(at(&hours, 101, 22), (4, 0, 4));
        assert_eq!(at(&hours, 103, 0), (1, 0, 1));
        assert_eq!(at(&hours, 99_999, 0), (0, 0, 0));
        hours.note(ms(102, 22));
        assert_eq!(at(&hours, 102, 23), (3, 0, 3));
        // A clock that goes back counts, and halves nothing.
        hours.note(ms(90, 22));
        assert_eq!(at(&hours, 102, 23), (4, 0, 4));
        assert_eq!(hours.counts(0), [0; 24]);
    }

    #[test]
    fn counts_saturate() {
        let mut hours = Hours::new(0);
        for _ in 0..70_000 {
            hours.note(5);
        }
        assert_eq!(hours.parts().0[0], u16::MAX);
        assert_eq!(hours.counts(ms(1, 0))[0], u16::MAX / 2);
    }
}
