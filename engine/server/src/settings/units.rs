//! Sizes and spans of time as people write them: `256MiB`, `30s`.

use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error as _};

/// Bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size(pub(super) u64);

/// A span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span(pub(super) Duration);

const SIZE_UNITS: [(&str, u64); 9] = [
    ("b", 1),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
];

const SPAN_UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];

/// The number in front of `text` times its unit, rounded down; none where either is not understood.
fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale = match unit.trim() {
        "" if number == "0" => 1,
        unit => units.iter().find(|(name, _)| *name == unit)?.1,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole: u64 = whole.parse().ok()?;
    let mut total = whole.checked_mul(scale)?;
    if number.contains('.') {
        let tenths = u32::try_from(fraction.len()).ok().filter(|len| (1..=6).contains(len))?;
        let part = fraction.parse::<u64>().ok()?.checked_mul(scale)? / 10_u64.pow(tenths);
        total = total.checked_add(part)?;
    }
    Some(total)
}

impl std::str::FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        scaled(text, &SIZE_UNITS)
            .map(Self)
            .ok_or_else(|| format!("`{text}` is no size: write 64KiB, 256MiB, 1.5GiB or 100MB"))
    }
}

impl std::str::FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        scaled(text, &SPAN_UNITS)
            .map(|ms| Self(Duration::from_millis(ms)))
            .ok_or_else(|| format!("`{text}` is no span of time: write 500ms, 30s, 5m, 1h or 0"))
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("12B", 12),
            ("64KiB", 65_536),
            ("256 MiB", 268_435_456),
            ("1.5gib", 1_610_612_736),
            ("100MB", 100_000_000),
            ("2TiB", 2 << 40),
        ] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for text in ["", "MiB", "12", "1.MiB", "1..5MiB", "-1MiB", "1e3MiB", "1 XiB", "99999999TiB"]
        {
            assert!(text.parse::<Size>().unwrap_err().contains("256MiB"), "{text}");
        }
    }

    #[test]
    fn spans() {
        for (text, ms) in
            [("0", 0), ("250ms", 250), ("30s", 30_000), ("1.5m", 90_000), ("1h", 3_600_000)]
        {
            assert_eq!(text.parse(), Ok(Span(Duration::from_millis(ms))), "{text}");
        }
        for text in ["", "30", "30 seconds", "s"] {
            assert!(text.parse::<Span>().unwrap_err().contains("30s"), "{text}");
        }
    }
}
