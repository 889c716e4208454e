//! What a cache is to be good at.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a hit is worth when policies are compared.
///
/// ```
/// use ostler_adapt::Objective;
///
/// assert_eq!("byte".parse(), Ok(Objective::Byte));
/// assert_eq!(Objective::Byte.worth(512, 80), 512);
/// assert_eq!(Objective::Cost.worth(512, 80), 80);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Objective {
    /// Every request counts the same: the object hit ratio.
    #[default]
    Object,
    /// A request counts its weight: the byte hit ratio.
    Byte,
    /// A request counts what it costs to load, in microseconds; an unknown cost counts 1.
    Cost,
}

impl Objective {
    /// What a hit on an entry of this weight and load cost (microseconds, 0 if unknown) is worth;
    /// at least 1.
    #[inline]
    #[must_use]
    pub fn worth(self, weight: u32, cost_us: u32) -> u32 {
        match self {
            Objective::Object => 1,
            Objective::Byte => weight.max(1),
            Objective::Cost => cost_us.max(1),
        }
    }

    /// The name, as it is written in a config.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Objective::Object => "object",
            Objective::Byte => "byte",
            Objective::Cost => "cost",
        }
    }
}

impl fmt::Display for Objective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An objective that does not exist.
///
/// ```
/// use ostler_adapt::Objective;
///
/// let error = "latency".parse::<Objective>().unwrap_err();
/// assert_eq!(error.to_string(), "objective `latency` is not known; use object, byte or cost");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("objective `{0}` is not known; use object, byte or cost")]
pub struct UnknownObjective(String);

impl FromStr for Objective {
    type Err = UnknownObjective;

    fn from_str(text: &str) -> Result<Self, UnknownObjective> {
        let all = [Objective::Object, Objective::Byte, Objective::Cost];
        let found = all.into_iter().find(|objective| objective.name() == text);
        found.ok_or_else(|| UnknownObjective(text.to_owned()))
    }
}
