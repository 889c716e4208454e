//! Warm-diurnal: fetches first what the coming hour will ask for, going by the same hour of earlier
//! days.
//!
//! Idea: a key's long-run rate, times how much more the coming hour usually asks for it than an hour
//! of its day does on average, forecasts the coming hour; two parts of that and one of the decayed
//! frequency make the score. A key that has been known for less than a day has no such record and is
//! ranked by its decayed frequency alone, so without days of history this is `warm-decayed`.
//!
//! Reference: the seasonal index of classical time-series decomposition, with the counts of P. R.
//! Winters, "Forecasting sales by exponentially weighted moving averages", Management Science 6(3),
//! 1960: yesterday counts half of today.
//!
//! Parameters: `per_weight` (true); `season` (2), parts of the forecast to one of the decayed
//! frequency. Memory: the windows. Cost: 24 additions a candidate.
//!
//! Weak where the day has no rhythm: the forecast then is the long-run rate, which is slow to follow.
#![no_std]
#![forbid(unsafe_code)]

use ostler_policy::{Candidate, Outlook, Setup, Warm};

/// Milliseconds in an hour.
const HOUR_MS: u64 = 3_600_000;

/// Counts of an hour that are assumed of every key, so that few accesses make no rhythm.
const ASSUMED: f32 = 0.25;

/// A counter whose half-life is T holds T ÷ ln 2 requests' worth of a steady rate.
const STEADY: f32 = core::f32::consts::LOG2_E;

/// One access, as decayed counters have it.
const ONE: f32 = ostler_policy::DECAYED_ONE as f32;

/// By the hour of the day.
#[derive(Debug)]
pub struct WarmDiurnal {
    per_weight: bool,
    season: f32,
}

/// Where in the day the outlook is.
struct Clock {
    /// The hour under way, below 24.
    hour: usize,
    /// How much of it is over, 0 to 1.
    over: f32,
}

impl Clock {
    fn of(now_ms: u64) -> Self {
        Self {
            hour: (now_ms / HOUR_MS % 24) as usize,
            over: (now_ms % HOUR_MS) as f32 / HOUR_MS as f32,
        }
    }

    /// How much more the coming 60 minutes ask for the key than an hour of its day does on average.
    fn lift(&self, hours: &[u16; 24]) -> f32 {
        let next = (self.hour + 1) % 24;
        let mut day = 0.0;
        for hour in 0..24 {
            day += self.steady(hours, hour);
        }
        let now = self.steady(hours, self.hour);
        let coming = (1.0 - self.over) * now + self.over * self.steady(hours, next);
        (coming + ASSUMED) / (day / 24.0 + ASSUMED)
    }

    /// The count of an hour as if today were over. Today counts whole, yesterday half, and so on: n
    /// accesses in that hour of every day make 2 n once it has passed today, and n before that.
    fn steady(&self, hours: &[u16; 24], hour: usize) -> f32 {
        let count = f32::from(hours[hour]);
        match hour.cmp(&self.hour) {
            core::cmp::Ordering::Less => count,
            core::cmp::Ordering::Equal => count * 2.0 / (1.0 + self.over),
            core::cmp::Ordering::Greater => count * 2.0,
        }
    }
}

impl Warm for WarmDiurnal {
    type Params = WarmDiurnalParams;

    fn new(_: &Setup, params: &WarmDiurnalParams) -> Self {
        Self { per_weight: params.per_weight, season: params.season as f32 }
    }

    fn rank(&mut self, outlook: &Outlook, candidates: &[Candidate], scores: &mut [u32]) {
        let clock = Clock::of(outlook.now_ms);
        for (candidate, score) in candidates.iter().zip(scores) {
            let recent = candidate.decayed.max(1) as f32;
            let value = if candidate.hours == [0; 24] {
                recent
            } else {
                let rate = candidate.accesses as f32 / candidate.life.max(1) as f32;
                let steady = rate * outlook.lifetime.max(1) as f32 * STEADY * ONE;
                let forecast = steady * clock.lift(&candidate.hours);
                (recent + self.season * forecast) / (1.0 + self.season)
            };
            let weight = if self.per_weight { candidate.weight.max(1) } else { 1 };
            // Positive numbers are in the order of their bits.
            *score = (value / weight as f32).to_bits();
        }
    }
}

ostler_policy::export_warming! {
    policy: WarmDiurnal,
    name: "warm-diurnal",
    summary: "Fetches first what the coming hour asks for, going by the same hour of earlier days.",
    base_bytes: 262_144,
    params: WarmDiurnalParams {
        per_weight: bool = true, false..=true, "Divide by the weight: most hits for what is fetched.";
        season: int = 2, 0..=1000, "Parts of the forecast to one of the decayed frequency.";
    }
}

#[cfg(test)]
mod tests {
    use ostler_policy::check::{native_warming_factory, warming_conformance};
    use ostler_policy::{Candidate, Outlook, Setup};

    use super::{Clock, HOUR_MS};

    #[test]
    fn an_even_day_has_no_lift_and_an_hour_of_its_own_has() {
        // Seven accesses in every hour, for many days, at half past eight.
        let mut hours = [14; 24];
        hours[8] = 10;
        hours[9..].fill(7);
        let clock = Clock::of(1000 * 24 * HOUR_MS + 8 * HOUR_MS + HOUR_MS / 2);
        assert_eq!((clock.hour, clock.over), (8, 0.5));
        assert!((clock.lift(&hours) - 1.0).abs() < 0.05);
        let mut morning = [0; 24];
        morning[9] = 24;
        // Half of the coming hour is nine o'clock's.
        assert!((clock.lift(&morning) - (24.0 + 0.25) / (2.0 + 0.25)).abs() < 1e-3);
        let mut night = [0; 24];
        night[3] = 24;
        assert!(clock.lift(&night) < 0.25);
    }

    #[test]
    fn the_coming_hour_wins_and_without_days_it_is_decayed_frequency() {
        let setup = Setup { capacity: 100, slots: 0, seed: 0 };
        let mut policy = (super::NATIVE.build)(setup, "{}").unwrap();
        let outlook = Outlook { now_ms: 9 * HOUR_MS, lifetime: 1_000, horizon: 500, budget: 10 };
        let mut of_nine = Candidate {
            age: 20_000,
            life: 100_000,
            accesses: 100,
            decayed: 1,
            weight: 1,
            ..Candidate::ZERO
        };
        let mut of_eight = Candidate { age: 100, decayed: 700, ..of_nine };
        let mut scores = [0; 2];
        policy.rank(&outlook, &[of_nine, of_eight], &mut scores);
        assert!(scores[0] < scores[1]);
        (of_nine.hours[9], of_eight.hours[8]) = (20, 40);
        policy.rank(&outlook, &[of_nine, of_eight], &mut scores);
        assert!(scores[0] > scores[1]);
    }

    #[test]
    fn keeps_the_contract() {
        let mut factory = native_warming_factory(&super::NATIVE, "");
        assert_eq!(warming_conformance(&mut factory).first_failure(), None);
    }
}
