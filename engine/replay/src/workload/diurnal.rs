//! Objects with a time of day: each is mostly asked for in two hours of it.
//!
//! A rank is drawn from a Zipf distribution and kept if its hours are now, otherwise one time in
//! thirty-two; what is not kept is drawn again. So over a day every object gets the share that the
//! distribution gives it, and in its hours about twelve times as much.

use ostler_abi::hash_u64;

use super::random::SplitMix64;
use super::zipf::Zipf;

/// Milliseconds in an hour.
const HOUR_MS: u64 = 3_600_000;
/// Hours that an object is asked for in.
const HOURS: u64 = 2;
/// A rank out of its hours is kept one time in so many.
const KEPT: u64 = 32;
/// Draws after which a rank is kept whatever its hours: a bound on a request's cost that is hardly
/// ever reached.
const DRAWS_MAX: u32 = 512;
/// Seed that gives objects their hour.
const HOUR_SEED: u64 = 0x686f_7572;

/// Draws ranks by the time of day.
pub(super) struct Diurnal {
    zipf: Zipf,
    random: SplitMix64,
}

impl Diurnal {
    pub(super) fn new(keys: u64, alpha: f64, seed: u64) -> Self {
        Self { zipf: Zipf::new(keys, alpha, seed), random: SplitMix64::new(!seed) }
    }

    /// The next rank at this time.
    pub(super) fn next_rank(&mut self, time_ms: u64) -> u64 {
        let now = time_ms / HOUR_MS % 24;
        let mut rank = self.zipf.next_rank();
        for _ in 0..DRAWS_MAX {
            let since = (now + 24 - first_hour(rank)) % 24;
            if since < HOURS || self.random.next_u64().is_multiple_of(KEPT) {
                break;
            }
            rank = self.zipf.next_rank();
        }
        rank
    }
}

/// The hour of the day at which an object's hours begin.
fn first_hour(rank: u64) -> u64 {
    hash_u64(rank, HOUR_SEED) % 24
}

/// When the request at `position` of a phase happens, counted from the phase's beginning.
pub(super) fn time_ms(position: u64, requests: u64, days: u64) -> u64 {
    let span_ms = u128::from(days * 24 * HOUR_MS);
    let time_ms = span_ms * u128::from(position) / u128::from(requests.max(1));
    // At most the span, which fits.
    u64::try_from(time_ms).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_asked_for_in_their_hours() {
        let mut diurnal = Diurnal::new(5_000, 0.5, 3);
        let mut in_hours = 0;
        for draw in 0..24_000_u64 {
            let time_ms = draw * HOUR_MS / 1_000;
            let rank = diurnal.next_rank(time_ms);
            in_hours += u32::from((time_ms / HOUR_MS + 24 - first_hour(rank)) % 24 < HOURS);
        }
        // Of 24 hours 2 are kept always and 22 one time in 32: 74 % of the requests.
        assert!((17_000..18_600).contains(&in_hours), "{in_hours}");
    }

    #[test]
    fn requests_are_spread_over_the_days() {
        assert_eq!(time_ms(0, 48, 2), 0);
        assert_eq!(time_ms(1, 48, 2), HOUR_MS);
        assert_eq!(time_ms(48, 48, 2), 48 * HOUR_MS);
        assert_eq!(time_ms(3, 7, 1), 3 * 24 * HOUR_MS / 7);
    }
}
