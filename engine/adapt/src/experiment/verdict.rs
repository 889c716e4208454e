//! What an experiment has shown: the rule by which it ends.
//!
//! Owns the rule and its answer; it must not know how an interval came about, and acts on nothing.

use serde::{Deserialize, Serialize};

use super::Comparison;

/// When an experiment ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rule {
    /// An arm is promoted once its interval lies above 0 and its lower end is at least this; a ratio,
    /// 0 to 1.
    pub least_effect: f64,
    /// The experiment stops once the intervals of all arms lie within ± this; a ratio, 0 to 1, and 0
    /// for never.
    pub equivalence: f64,
    /// The experiment stops after so many requests in all arms; `None` for never.
    pub requests_max: Option<u64>,
}

impl Default for Rule {
    /// Any effect above 0 promotes, ±0.2 pp are as good as equal, and there is no end.
    fn default() -> Self {
        Self { least_effect: 0.0, equivalence: 0.002, requests_max: None }
    }
}

/// Why an experiment stops with the control in charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StopReason {
    /// Every arm is as good as the control, within the rule's equivalence.
    Equivalent,
    /// Every arm is worse than the control.
    Worse,
    /// The maximum of requests is reached.
    Requests,
    /// An arm with the control's own policy differs from it: the intervals cannot be trusted here.
    SelfCheck,
}

/// What the rule says at one look.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
#[non_exhaustive]
#[must_use]
pub enum Verdict {
    /// Not decided.
    Continue,
    /// Put the policy of this arm in charge of all shards.
    Promote {
        /// The arm.
        arm: usize,
        /// The least that it is better than the control, a ratio.
        gain: f64,
    },
    /// Put the control back in charge of all shards.
    Stop {
        /// Why.
        reason: StopReason,
    },
}

impl Rule {
    /// The rule's answer to the comparisons of all arms but the control, each with an interval that
    /// holds for all of them together.
    pub(super) fn judge(&self, comparisons: &[Comparison], requests: u64) -> Verdict {
        let is_over = self.requests_max.is_some_and(|requests_max| requests >= requests_max);
        let last = if is_over {
            Verdict::Stop { reason: StopReason::Requests }
        } else {
            Verdict::Continue
        };
        let excludes_zero = |one: &&Comparison| one.interval.is_some_and(|i| !i.contains(0.0));
        if comparisons.iter().filter(excludes_zero).any(|one| one.self_check) {
            return Verdict::Stop { reason: StopReason::SelfCheck };
        }
        let tested: Vec<&Comparison> = comparisons.iter().filter(|one| !one.self_check).collect();
        let better = tested.iter().filter_map(|one| {
            let low = one.interval?.low;
            (low > 0.0 && low >= self.least_effect).then_some((one, low))
        });
        let best = better.max_by(|(a, _), (b, _)| a.difference.total_cmp(&b.difference));
        if let Some((best, gain)) = best {
            return Verdict::Promote { arm: best.arm, gain };
        }
        let all = |holds: &dyn Fn(super::Interval) -> bool| {
            !tested.is_empty() && tested.iter().all(|one| one.interval.is_some_and(holds))
        };
        if all(&|interval| interval.high < 0.0) {
            return Verdict::Stop { reason: StopReason::Worse };
        }
        if all(&|i| -self.equivalence < i.low && i.high < self.equivalence) {
            return Verdict::Stop { reason: StopReason::Equivalent };
        }
        last
    }
}

#[cfg(test)]
mod tests {
    use super::super::Interval;
    use super::*;

    fn comparison(arm: usize, (low, high): (f64, f64), self_check: bool) -> Comparison {
        let interval = low.is_finite().then_some(Interval { low, high });
        Comparison {
            arm,
            name: format!("arm{arm}"),
            self_check,
            difference: f64::midpoint(low, high),
            interval,
            confidence: 0.95,
            standard_error: 0.0,
            degrees: 60.0,
            ratio: 0.5,
            control_ratio: 0.5,
            slopes: [1.0, -1.0],
            requests: 100,
            windows: 10,
        }
    }

    #[test]
    fn intervals_decide() {
        let rule = Rule { least_effect: 0.01, equivalence: 0.005, requests_max: Some(1000) };
        let none = (f64::NAN, f64::NAN);
        let stop = |reason| Verdict::Stop { reason };
        type Case<'a> = (&'a [(f64, f64)], u64, Verdict);
        let cases: [Case<'_>; 11] = [
            (&[none], 10, Verdict::Continue),
            (&[none], 1000, stop(StopReason::Requests)),
            (&[(-0.01, 0.02)], 10, Verdict::Continue),
            (&[(0.001, 0.02)], 10, Verdict::Continue),
            (&[(0.01, 0.02)], 10, Verdict::Promote { arm: 1, gain: 0.01 }),
            (&[(0.01, 0.02)], 1000, Verdict::Promote { arm: 1, gain: 0.01 }),
            (&[(0.02, 0.05), (0.03, 0.05)], 10, Verdict::Promote { arm: 2, gain: 0.03 }),
            (&[(-0.02, -0.01), (-0.2, 0.1)], 10, Verdict::Continue),
            (&[(-0.02, -0.01), (-0.2, -0.1)], 10, stop(StopReason::Worse)),
            (&[(-0.004, 0.004), (-0.001, 0.003)], 10, stop(StopReason::Equivalent)),
            (&[(-0.004, 0.004), (-0.001, 0.006)], 10, Verdict::Continue),
        ];
        for (intervals, requests, expected) in cases {
            let comparisons: Vec<Comparison> = (1..)
                .zip(intervals)
                .map(|(arm, &interval)| comparison(arm, interval, false))
                .collect();
            assert_eq!(rule.judge(&comparisons, requests), expected, "{intervals:?}");
        }
    }

    #[test]
    fn a_self_check_is_never_promoted() {
        let rule = Rule::default();
        let found = rule.judge(&[comparison(1, (0.01, 0.02), true)], 10);
        assert_eq!(found, Verdict::Stop { reason: StopReason::SelfCheck });
        let found = rule.judge(&[comparison(1, (-0.0001, 0.0001), true)], 10);
        assert_eq!(found, Verdict::Continue);
        let both = [comparison(1, (-0.01, 0.01), true), comparison(2, (0.01, 0.02), false)];
        assert_eq!(rule.judge(&both, 10), Verdict::Promote { arm: 2, gain: 0.01 });
    }
}
