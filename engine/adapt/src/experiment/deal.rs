//! How the shards of a cache are dealt to the arms of an experiment.
//!
//! Owns the shares, their check and the draw; it must not know what is measured.

use std::fmt;

use ostler_abi::hash_u64;
use serde::{Deserialize, Serialize};

/// Least shards an arm. With fewer, the spread between an arm's shards is known from so few degrees
/// of freedom that no effect of a realistic size is ever told from zero, and one busy shard is most
/// of its arm.
pub const ARM_SHARDS_MIN: u32 = 8;

/// Most arms of an experiment.
pub const ARMS_MAX: usize = 16;

/// The index of the control arm: the first one.
pub const CONTROL: usize = 0;

/// Parts of a shard by which a share may miss a whole number, so that 0.3333 is a third.
const ROUNDING_MAX: f64 = 0.01;

/// One side of an experiment: a policy and the share of the shards that it runs on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arm {
    /// What people call it.
    pub name: String,
    /// What identifies the policy's code, as in `InstanceSource::code_id`.
    pub code_id: String,
    /// All its parameters, as flat JSON in a fixed order, as in `InstanceSource::params`.
    pub params: String,
    /// Share of the shards, above 0; all shares together are 1.
    pub share: f64,
}

impl Arm {
    /// Whether both arms run the same code with the same parameters.
    #[must_use]
    pub fn is_same_policy(&self, other: &Self) -> bool {
        self.code_id == other.code_id && self.params == other.params
    }
}

/// Why shards cannot be dealt as asked.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DealError {
    /// No arm to compare, or too many.
    #[error("an experiment has 2 to {ARMS_MAX} arms, the first is the control; these are {arms}")]
    Arms {
        /// Arms that were given.
        arms: usize,
    },
    /// A share that is no share.
    #[error("share {share} of arm `{arm}` is not between 0 and 1")]
    Share {
        /// The arm's name.
        arm: String,
        /// Its share.
        share: f64,
    },
    /// Shares of more or less than everything.
    #[error("the shares add up to {sum}, not to 1")]
    Sum {
        /// Their sum.
        sum: f64,
    },
    /// Not enough shards.
    #[error(
        "arm `{arm}` would get {dealt} of {shards} shards; a comparison needs at least \
         {ARM_SHARDS_MIN} an arm"
    )]
    FewShards {
        /// The arm's name.
        arm: String,
        /// Shards that its share comes to, rounded.
        dealt: u32,
        /// Shards of the cache.
        shards: u32,
    },
    /// Shares that are no whole shards.
    #[error("the shares are no whole shards of {shards}; the nearest that are: {nearest}")]
    NotWhole {
        /// Shards of the cache.
        shards: u32,
        /// Shards an arm that come nearest.
        nearest: Shares,
    },
}

/// Shards an arm; printed as the shares to ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shares {
    /// Shards of each arm, in the arms' order.
    pub shards: Vec<u32>,
}

impl fmt::Display for Shares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: u32 = self.shards.iter().sum();
        for (index, &dealt) in self.shards.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{} ({dealt} shards)", f64::from(dealt) / f64::from(all))?;
        }
        Ok(())
    }
}

/// Which shard belongs to which arm, for as long as the experiment lasts.
///
/// ```
/// use ostler_adapt::experiment::{Arm, Deal};
///
/// let arm = |name: &str, share| Arm {
///     name: name.to_owned(),
///     code_id: name.to_owned(),
///     params: "{}".to_owned(),
///     share,
/// };
/// let deal = Deal::try_new(64, vec![arm("lru", 0.75), arm("sieve", 0.25)], 7)?;
/// assert_eq!((deal.shards_of(0), deal.shards_of(1)), (48, 16));
///
/// let error = Deal::try_new(64, vec![arm("lru", 0.7), arm("sieve", 0.3)], 7).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "the shares are no whole shards of 64; the nearest that are: \
///      0.703125 (45 shards), 0.296875 (19 shards)"
/// );
/// # Ok::<(), ostler_adapt::experiment::DealError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Deal {
    arms: Vec<Arm>,
    /// The arm of each shard.
    dealt: Vec<u8>,
    seed: u64,
}

impl Deal {
    /// Deals `shards` shards to `arms`, the first of which is the control: every way to give each arm
    /// its number of shards is equally likely, and the same `seed` deals the same way everywhere.
    ///
    /// # Errors
    ///
    /// [`DealError`] where the shares are none, are no whole shards, or leave an arm fewer than
    /// [`ARM_SHARDS_MIN`].
    pub fn try_new(shards: u32, arms: Vec<Arm>, seed: u64) -> Result<Self, DealError> {
        if !(2..=ARMS_MAX).contains(&arms.len()) {
            return Err(DealError::Arms { arms: arms.len() });
        }
        for arm in &arms {
            if !(arm.share > 0.0 && arm.share < 1.0) {
                return Err(DealError::Share { arm: arm.name.clone(), share: arm.share });
            }
        }
        let counts = whole_shards(shards, &arms)?;
        let mut dealt: Vec<u8> = Vec::with_capacity(shards as usize);
        for (arm, &count) in (0u8..).zip(&counts) {
            dealt.resize(dealt.len() + count as usize, arm);
        }
        shuffle(&mut dealt, seed);
        Ok(Self { arms, dealt, seed })
    }

    /// The arm of a shard; `None` where there is no such shard.
    #[must_use]
    pub fn arm_of(&self, shard: u32) -> Option<usize> {
        self.dealt.get(shard as usize).map(|&arm| usize::from(arm))
    }

    /// The arms, the control first.
    #[must_use]
    pub fn arms(&self) -> &[Arm] {
        &self.arms
    }

    /// Number of shards dealt.
    #[must_use]
    pub fn shards(&self) -> u32 {
        u32::try_from(self.dealt.len()).expect("invariant: dealt from a u32 of shards")
    }

    /// Number of shards of an arm; 0 where there is no such arm.
    #[must_use]
    pub fn shards_of(&self, arm: usize) -> u32 {
        self.dealt.iter().map(|&dealt| u32::from(usize::from(dealt) == arm)).sum()
    }

    /// The seed of the draw.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }
}

/// Shards of each arm, where the shares come to whole ones and to enough.
fn whole_shards(shards: u32, arms: &[Arm]) -> Result<Vec<u32>, DealError> {
    let exact: Vec<f64> = arms.iter().map(|arm| arm.share * f64::from(shards)).collect();
    let sum: f64 = arms.iter().map(|arm| arm.share).sum();
    if (sum - 1.0).abs() * f64::from(shards) > ROUNDING_MAX * arms.len() as f64 {
        return Err(DealError::Sum { sum });
    }
    let counts: Vec<u32> = exact.iter().map(|exact| exact.round() as u32).collect();
    if let Some((arm, &dealt)) = arms.iter().zip(&counts).find(|&(_, &n)| n < ARM_SHARDS_MIN) {
        return Err(DealError::FewShards { arm: arm.name.clone(), dealt, shards });
    }
    let is_whole =
        |(&exact, &count): (&f64, &u32)| (exact - f64::from(count)).abs() <= ROUNDING_MAX;
    if exact.iter().zip(&counts).all(is_whole) && counts.iter().sum::<u32>() == shards {
        return Ok(counts);
    }
    Err(DealError::NotWhole { shards, nearest: Shares { shards: nearest(shards, &exact, counts) } })
}

/// Rounded numbers of shards, moved one by one where that does least harm until they add up.
fn nearest(shards: u32, exact: &[f64], mut counts: Vec<u32>) -> Vec<u32> {
    let lacking = |counts: &[u32], arm: usize| exact[arm] - f64::from(counts[arm]);
    let by = |counts: &[u32], a: usize, b: usize| lacking(counts, a).total_cmp(&lacking(counts, b));
    while counts.iter().sum::<u32>() < shards {
        let most = (0..counts.len()).max_by(|&a, &b| by(&counts, a, b)).unwrap_or(CONTROL);
        counts[most] += 1;
    }
    while counts.iter().sum::<u32>() > shards {
        let spare = (0..counts.len()).filter(|&arm| counts[arm] > ARM_SHARDS_MIN);
        let Some(most) = spare.min_by(|&a, &b| by(&counts, a, b)) else { break };
        counts[most] -= 1;
    }
    counts
}

/// Fisher and Yates: every order is equally likely, up to a bias of shards ÷ 2⁶⁴.
fn shuffle(dealt: &mut [u8], seed: u64) {
    for last in (1..dealt.len()).rev() {
        let random = u128::from(hash_u64(last as u64, seed));
        let other = (random * (last as u128 + 1)) >> 64;
        dealt.swap(last, other as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arms(shares: &[f64]) -> Vec<Arm> {
        let arm = |(index, &share): (usize, &f64)| Arm {
            name: format!("arm{index}"),
            code_id: format!("code{index}"),
            params: "{}".to_owned(),
            share,
        };
        shares.iter().enumerate().map(arm).collect()
    }

    #[test]
    fn shares_become_whole_shards_or_are_refused() {
        let cases: [(u32, &[f64], &str); 13] = [
            (64, &[0.5, 0.5], "32 32"),
            (64, &[0.25, 0.5, 0.25], "16 32 16"),
            (48, &[0.3333, 0.3333, 0.3334], "16 16 16"),
            (16, &[0.5, 0.5], "8 8"),
            (64, &[1.0], "an experiment has 2 to 16 arms, the first is the control; these are 1"),
            (64, &[0.5, -0.5], "share -0.5 of arm `arm1` is not between 0 and 1"),
            (64, &[0.5, f64::NAN], "share NaN of arm `arm1` is not between 0 and 1"),
            (64, &[0.5, 0.25], "the shares add up to 0.75, not to 1"),
            (
                8,
                &[0.5, 0.5],
                "arm `arm0` would get 4 of 8 shards; a comparison needs at least 8 an arm",
            ),
            (
                0,
                &[0.5, 0.5],
                "arm `arm0` would get 0 of 0 shards; a comparison needs at least 8 an arm",
            ),
            (
                64,
                &[0.9, 0.1],
                "arm `arm1` would get 6 of 64 shards; a comparison needs at least 8 an arm",
            ),
            (
                64,
                &[0.4, 0.6],
                "the shares are no whole shards of 64; the nearest that are: \
                 0.40625 (26 shards), 0.59375 (38 shards)",
            ),
            (
                32,
                &[0.33, 0.33, 0.34],
                "the shares are no whole shards of 32; the nearest that are: \
                 0.3125 (10 shards), 0.34375 (11 shards), 0.34375 (11 shards)",
            ),
        ];
        for (shards, shares, expected) in cases {
            let outcome = match Deal::try_new(shards, arms(shares), 1) {
                Ok(deal) => {
                    let counts = (0..shares.len()).map(|arm| deal.shards_of(arm).to_string());
                    counts.collect::<Vec<_>>().join(" ")
                }
                Err(error) => error.to_string(),
            };
            assert_eq!(outcome, expected, "{shards} {shares:?}");
        }
    }

    #[test]
    fn the_nearest_shares_are_dealt() {
        for shards in [17, 40, 64, 100, 1024] {
            for shares in [[0.5, 0.5], [0.4, 0.6], [0.47, 0.53]] {
                let Err(error) = Deal::try_new(shards, arms(&shares), 1) else { continue };
                let DealError::NotWhole { nearest, .. } = error else { continue };
                let shares: Vec<f64> =
                    nearest.shards.iter().map(|&n| f64::from(n) / f64::from(shards)).collect();
                let deal = Deal::try_new(shards, arms(&shares), 1).unwrap();
                assert_eq!([deal.shards_of(0), deal.shards_of(1)], nearest.shards[..]);
            }
        }
    }

    /// Over 2,000 seeds each shard is in the second arm in about a quarter of the deals, and each pair
    /// of shards together in about 16·15 ÷ (64·63): five standard deviations are allowed.
    #[test]
    fn every_deal_is_as_likely() {
        let (mut single, mut pairs) = ([0u32; 64], [[0u32; 64]; 64]);
        for seed in 0..2000 {
            let deal = Deal::try_new(64, arms(&[0.75, 0.25]), seed).unwrap();
            let chosen: Vec<usize> =
                (0..64).filter(|&shard| deal.arm_of(shard as u32) == Some(1)).collect();
            assert_eq!(chosen.len(), 16);
            for &one in &chosen {
                single[one] += 1;
                chosen.iter().for_each(|&other| pairs[one][other] += 1);
            }
        }
        assert!(single.iter().all(|&n| (403..597).contains(&n)), "{single:?}");
        for (one, row) in pairs.iter().enumerate() {
            let others = row.iter().enumerate().filter(|&(other, _)| other != one);
            for (_, together) in others {
                assert!((64..=174).contains(together), "{together}");
            }
        }
    }

    #[test]
    fn a_seed_deals_the_same_way_forever() {
        let deal = Deal::try_new(16, arms(&[0.5, 0.5]), 42).unwrap();
        let text: String = (0..16).map(|shard| deal.arm_of(shard).unwrap().to_string()).collect();
        assert_eq!((text.as_str(), deal.arm_of(16)), ("1100101100101100", None));
    }
}
