//! `--capacity`: how large a cache is, as a count, a size or a share of the trace.
//!
//! Owns the grammar and the exact arithmetic; shares are decimal fractions, never floats, so 0.1 %
//! of 48,974 is 48 here and everywhere.

use std::fmt;
use std::str::FromStr;

/// Largest capacity: `ostler_init` takes it as a signed 64-bit number.
const CAPACITY_MAX: u64 = i64::MAX.unsigned_abs();

use thiserror::Error;

use crate::error::{TraceError, shown};
use crate::trace::{BLOCK_REQUESTS_MAX, KeyNumbers, Request, TraceReader};

/// Decimals that a percentage may have.
const PERCENT_DECIMALS_MAX: usize = 9;
/// Parts that make one whole: 100 percent with nine decimals.
const PARTS_PER_WHOLE: u128 = 100 * 10u128.pow(PERCENT_DECIMALS_MAX as u32);

/// What a capacity counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CapacityUnit {
    /// Every object weighs 1.
    Objects,
    /// An object weighs its size, at least 1 byte.
    Bytes,
}

/// What a trace needs: how much there is to cache. One pass over the trace, 20 to 40 bytes of
/// memory an object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    /// Gets and sets; deletes are no requests.
    pub requests: u64,
    /// Distinct keys among them.
    pub unique_objects: u64,
    /// Sum over the distinct keys of the size at the first request, where 0 counts 1. Saturates.
    pub unique_bytes: u64,
}

impl Footprint {
    /// About how many objects a cache of `capacity` holds: the capacity itself where the footprint is
    /// empty, as for equal weights, else the capacity in objects of the mean size.
    ///
    /// ```
    /// use ostler_replay::Footprint;
    ///
    /// let footprint = Footprint { unique_objects: 10, unique_bytes: 5000, ..Footprint::default() };
    /// assert_eq!(footprint.entries_within(1000), 2);
    /// assert_eq!(Footprint::default().entries_within(1000), 1000);
    /// ```
    #[must_use]
    pub fn entries_within(&self, capacity: u64) -> u64 {
        if self.unique_objects == 0 {
            return capacity;
        }
        let mean = (self.unique_bytes / self.unique_objects).max(1);
        (capacity / mean).clamp(1, self.unique_objects)
    }

    /// The footprint of a loaded trace.
    #[must_use]
    pub fn of(requests: &[Request]) -> Self {
        let mut keys = KeyNumbers::default();
        let mut footprint = Self::default();
        footprint.add(requests, &mut keys);
        footprint
    }

    /// The footprint of a trace that is streamed.
    ///
    /// # Errors
    ///
    /// Any error of the trace.
    pub fn read(mut trace: TraceReader) -> Result<Self, TraceError> {
        let mut keys = KeyNumbers::default();
        let mut footprint = Self::default();
        let mut block = Vec::with_capacity(BLOCK_REQUESTS_MAX);
        while trace.read_block(&mut block)? > 0 {
            footprint.add(&block, &mut keys);
        }
        Ok(footprint)
    }

    fn add(&mut self, requests: &[Request], keys: &mut KeyNumbers) {
        for request in requests.iter().filter(|request| request.is_request()) {
            self.requests += 1;
            if u64::from(keys.number(request.key)) == self.unique_objects {
                self.unique_objects += 1;
                self.unique_bytes =
                    self.unique_bytes.saturating_add(u64::from(request.weight_bytes()));
            }
        }
    }
}

/// A capacity as given on the command line: `100`, `64KiB`, `1.5GB`, `0.1%`.
///
/// A bare number counts objects or bytes, as the run does. A size has a unit: `B`, `KiB`, `MiB`,
/// `GiB`, `TiB` (powers of 1024) or `KB`, `MB`, `GB`, `TB` (powers of 1000), in upper or lower
/// case, and counts bytes only. A percentage is a share of the trace's unique objects or unique
/// bytes, rounded down, with at most nine decimals.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CapacitySpec {
    /// The argument as given.
    text: String,
    amount: Amount,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Amount {
    Count(u64),
    Bytes(u64),
    /// In parts of [`PARTS_PER_WHOLE`].
    Share(u64),
}

/// Why a capacity cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CapacityError {
    /// It does not parse.
    #[error(
        "capacity {text:?} {reason}; use a number such as 1000, a size such as 64KiB, 256MiB or \
         1GB, or a share such as 10% or 0.1%"
    )]
    Malformed {
        /// The argument as given.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A size in bytes for a cache that counts objects.
    #[error("capacity {text:?} is a size, but objects are counted; use a number or a percentage")]
    SizeOfObjects {
        /// The argument as given.
        text: String,
    },
    /// More than a policy can be told.
    #[error("capacity {text}: at most {CAPACITY_MAX} (2^63 - 1)")]
    TooLarge {
        /// The argument as given.
        text: String,
    },
}

impl CapacitySpec {
    /// The capacity for a trace with this footprint, in `unit`. May be 0 for a small share.
    ///
    /// # Errors
    ///
    /// [`CapacityError::SizeOfObjects`] if a size in bytes meets a cache that counts objects,
    /// [`CapacityError::TooLarge`] above 2^63 − 1, the most that the policy contract has.
    pub fn resolve(&self, footprint: &Footprint, unit: CapacityUnit) -> Result<u64, CapacityError> {
        let capacity = match (self.amount, unit) {
            (Amount::Count(count), _) | (Amount::Bytes(count), CapacityUnit::Bytes) => count,
            (Amount::Bytes(_), CapacityUnit::Objects) => {
                return Err(CapacityError::SizeOfObjects { text: self.text.clone() });
            }
            (Amount::Share(parts), CapacityUnit::Objects) => share(footprint.unique_objects, parts),
            (Amount::Share(parts), CapacityUnit::Bytes) => share(footprint.unique_bytes, parts),
        };
        if capacity > CAPACITY_MAX {
            return Err(CapacityError::TooLarge { text: self.text.clone() });
        }
        Ok(capacity)
    }

    /// Whether [`resolve`](Self::resolve) looks at the footprint at all.
    #[must_use]
    pub const fn needs_footprint(&self) -> bool {
        matches!(self.amount, Amount::Share(_))
    }
}

/// `parts` parts of `whole`, rounded down, saturating.
fn share(whole: u64, parts: u64) -> u64 {
    let exact = u128::from(whole) * u128::from(parts) / PARTS_PER_WHOLE;
    u64::try_from(exact).unwrap_or(u64::MAX)
}

impl fmt::Display for CapacitySpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for CapacitySpec {
    type Err = CapacityError;

    fn from_str(text: &str) -> Result<Self, CapacityError> {
        let text = text.trim();
        match amount(text) {
            Ok(amount) => Ok(Self { text: text.to_owned(), amount }),
            Err(reason) => Err(CapacityError::Malformed { text: shown(text.as_bytes()), reason }),
        }
    }
}

fn amount(text: &str) -> Result<Amount, &'static str> {
    let is_number = |letter: char| letter.is_ascii_digit() || letter == '.';
    let len = text.find(|letter| !is_number(letter)).unwrap_or(text.len());
    let (number, unit) = (&text[..len], text[len..].trim_start());
    let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || decimals.is_empty() || decimals.contains('.') {
        return Err("is no number");
    }
    if decimals.len() > PERCENT_DECIMALS_MAX {
        return Err("has more than 9 decimals");
    }
    // In billionths, so that one exact number stands for whole and decimals.
    let billionths = whole
        .parse::<u64>()
        .ok()
        .zip(format!("{decimals:0<PERCENT_DECIMALS_MAX$}").parse::<u64>().ok())
        .map(|(whole, rest)| u128::from(whole) * 1_000_000_000 + u128::from(rest))
        .ok_or(TOO_LARGE)?;
    let times = |factor: u64| {
        u64::try_from(billionths * u128::from(factor) / 1_000_000_000).map_err(|_| TOO_LARGE)
    };
    match unit.to_ascii_lowercase().as_str() {
        "" if len != number_digits(text) => Err("is a count with decimals"),
        "" => times(1).map(Amount::Count),
        "%" => u64::try_from(billionths).map(Amount::Share).map_err(|_| TOO_LARGE),
        "b" => times(1).map(Amount::Bytes),
        "kib" => times(1 << 10).map(Amount::Bytes),
        "mib" => times(1 << 20).map(Amount::Bytes),
        "gib" => times(1 << 30).map(Amount::Bytes),
        "tib" => times(1 << 40).map(Amount::Bytes),
        "kb" => times(1_000).map(Amount::Bytes),
        "mb" => times(1_000_000).map(Amount::Bytes),
        "gb" => times(1_000_000_000).map(Amount::Bytes),
        "tb" => times(1_000_000_000_000).map(Amount::Bytes),
        _ => Err("has an unknown unit"),
    }
}

const TOO_LARGE: &str = "is too large";

fn number_digits(text: &str) -> usize {
    text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::Operation;

    const FOOTPRINT: Footprint =
        Footprint { requests: 113_872, unique_objects: 48_974, unique_bytes: 2_029_769_728 };

    fn resolve(text: &str, unit: CapacityUnit) -> u64 {
        text.parse::<CapacitySpec>().unwrap().resolve(&FOOTPRINT, unit).unwrap()
    }

    #[test]
    fn shares_are_exact_and_rounded_down() {
        for (text, objects, bytes) in [
            ("0.1%", 48, 2_029_769),
            ("1%", 489, 20_297_697),
            ("10%", 4_897, 202_976_972),
            ("10.0 %", 4_897, 202_976_972),
            ("100%", 48_974, 2_029_769_728),
            ("250%", 122_435, 5_074_424_320),
            ("0.002%", 0, 40_595),
            ("0%", 0, 0),
            ("33.333333333%", 16_324, 676_589_909),
        ] {
            assert_eq!(resolve(text, CapacityUnit::Objects), objects, "{text}");
            assert_eq!(resolve(text, CapacityUnit::Bytes), bytes, "{text}");
        }
    }

    #[test]
    fn a_share_of_everything_there_can_be_does_not_overflow() {
        let huge = Footprint { requests: 1, unique_objects: u64::MAX, unique_bytes: u64::MAX };
        for (text, expected) in [
            ("100%", None),
            ("50%", Some(u64::MAX / 2)),
            ("18446744073%", None),
            ("0.000000001%", Some(184_467_440)),
            ("9223372036854775807", Some(CAPACITY_MAX)),
            ("9223372036854775808", None),
        ] {
            let spec: CapacitySpec = text.parse().unwrap();
            let resolved = spec.resolve(&huge, CapacityUnit::Bytes);
            let too_large = CapacityError::TooLarge { text: text.to_owned() };
            assert_eq!(resolved, expected.ok_or(too_large), "{text}");
        }
    }

    #[test]
    fn counts_and_sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("100", 100),
            ("9223372036854775807", CAPACITY_MAX),
            ("100B", 100),
            ("64KiB", 65_536),
            ("64 kib", 65_536),
            ("256MiB", 268_435_456),
            ("1GB", 1_000_000_000),
            ("1.5GiB", 1_610_612_736),
            ("0.5KB", 500),
            ("2TiB", 2 << 40),
            ("3tb", 3_000_000_000_000),
        ] {
            assert_eq!(resolve(text, CapacityUnit::Bytes), bytes, "{text}");
        }
        assert_eq!(resolve("100", CapacityUnit::Objects), 100);
        let size: CapacitySpec = "64KiB".parse().unwrap();
        let error = size.resolve(&FOOTPRINT, CapacityUnit::Objects).unwrap_err();
        assert!(error.to_string().starts_with("capacity \"64KiB\" is a size, but objects are"));
    }

    #[test]
    fn only_shares_need_the_footprint_and_all_print_as_given() {
        for (text, needs) in [("10%", true), ("10", false), ("1MiB", false)] {
            let spec: CapacitySpec = text.parse().unwrap();
            assert_eq!(spec.needs_footprint(), needs);
            assert_eq!(spec.to_string(), text);
        }
    }

    #[test]
    fn malformed_capacities_say_why() {
        for (text, reason) in [
            ("", "is no number"),
            ("%", "is no number"),
            ("KiB", "is no number"),
            ("-1", "is no number"),
            ("1.", "is no number"),
            (".5%", "is no number"),
            ("1.2.3%", "is no number"),
            ("1.0", "is a count with decimals"),
            ("0.0000000001%", "has more than 9 decimals"),
            ("18446744073709551616", "is too large"),
            ("18446744074%", "is too large"),
            ("99999999TiB", "is too large"),
            ("10K", "has an unknown unit"),
            ("10%%", "has an unknown unit"),
            ("10 MiBs", "has an unknown unit"),
        ] {
            let error = text.parse::<CapacitySpec>().unwrap_err();
            let CapacityError::Malformed { reason: found, .. } = &error else {
                panic!("{text}: {error}");
            };
            assert_eq!(*found, reason, "{text}");
            assert!(error.to_string().contains("such as 64KiB"), "{error}");
        }
    }

    #[test]
    fn the_footprint_counts_requests_objects_and_first_sizes() {
        let requests = [
            Request::get(0, 1, 10),
            Request::get(1, 2, 0),
            Request::get(2, 1, 99),
            Request::get(3, 3, 5).with_operation(Operation::Delete),
            Request::get(4, 4, 7).with_operation(Operation::Set),
        ];
        let footprint = Footprint::of(&requests);
        let expected = Footprint { requests: 4, unique_objects: 3, unique_bytes: 18 };
        assert_eq!(footprint, expected);
        assert_eq!(Footprint::of(&[]), Footprint::default());
    }

    #[test]
    fn streamed_and_loaded_footprints_agree() {
        let source: crate::TraceSource = "zipf(n=20000,keys=3000,size=1..1000)".parse().unwrap();
        let loaded = Footprint::of(&source.load(1 << 20).unwrap());
        assert_eq!(Footprint::read(source.open().unwrap()).unwrap(), loaded);
        assert_eq!(loaded.requests, 20_000);
        assert!(loaded.unique_bytes > loaded.unique_objects);
    }
}
