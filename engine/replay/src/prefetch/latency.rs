//! How long fetches take and how many may be made, as given on a command line.

use std::fmt;
use std::str::FromStr;

/// How long the modelled origin takes for a fetch: `16` requests or `5ms` of the trace's time.
///
/// ```
/// use ostler_replay::FetchLatency;
///
/// assert_eq!("16".parse(), Ok(FetchLatency::Requests(16)));
/// assert_eq!("5ms".parse(), Ok(FetchLatency::Ms(5)));
/// assert!("5s".parse::<FetchLatency>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchLatency {
    /// What is asked for after one request is late for so many that follow.
    Requests(u64),
    /// What is asked for is there at the first request so many milliseconds later.
    Ms(u64),
}

impl FromStr for FetchLatency {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, unit): (&str, fn(u64) -> Self) = match text.strip_suffix("ms") {
            Some(number) => (number, Self::Ms),
            None => (text, Self::Requests),
        };
        match number.parse() {
            Ok(number) => Ok(unit(number)),
            Err(_) => Err(format!("{text:?} is no latency; use requests, as 16, or time, as 5ms")),
        }
    }
}

impl fmt::Display for FetchLatency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Requests(requests) => write!(f, "{requests}"),
            Self::Ms(milliseconds) => write!(f, "{milliseconds}ms"),
        }
    }
}

/// How many fetches each miss allows, from 0 to 1000: `1`, `0.25`.
///
/// ```
/// use ostler_replay::FetchBudget;
///
/// let budget: FetchBudget = "0.25".parse()?;
/// assert_eq!((budget.asks_per_miss(), budget.to_string()), (16_384, "0.25".to_owned()));
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FetchBudget(f64);

impl FetchBudget {
    /// One fetch a miss.
    pub const ONE: Self = Self(1.0);

    /// The budget in 65,536ths of a fetch.
    #[must_use]
    pub fn asks_per_miss(self) -> u32 {
        (self.0 * 65_536.0) as u32
    }

    /// The budget in fetches a miss.
    #[must_use]
    pub const fn as_f64(self) -> f64 {
        self.0
    }
}

impl FromStr for FetchBudget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse::<f64>() {
            Ok(budget) if (0.0..=1000.0).contains(&budget) => Ok(Self(budget)),
            _ => Err(format!("{text:?} is no budget; use fetches a miss, from 0 to 1000")),
        }
    }
}

impl fmt::Display for FetchBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
