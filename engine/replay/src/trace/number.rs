//! Numbers, times and keys as text traces write them.
//!
//! Everything is exact integer arithmetic; surrounding blanks are allowed, signs and exponents not.

use ostler_abi::hash_bytes;

/// The unit of a column of times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimeUnit {
    /// Seconds, the default.
    #[default]
    Seconds,
    /// Milliseconds.
    Milliseconds,
    /// Microseconds.
    Microseconds,
    /// Nanoseconds.
    Nanoseconds,
}

/// A whole number, `None` if it is none or does not fit.
pub(super) fn whole(text: &[u8]) -> Option<u64> {
    let text = text.trim_ascii();
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |number, &byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// A whole number that saturates at `u32::MAX`, `None` if it is none.
pub(super) fn whole_u32(text: &[u8]) -> Option<u32> {
    match whole(text) {
        Some(number) => Some(u32::try_from(number).unwrap_or(u32::MAX)),
        None => is_digits(text.trim_ascii()).then_some(u32::MAX),
    }
}

/// A time with or without decimals, in milliseconds rounded down.
pub(super) fn time_ms(text: &[u8], unit: TimeUnit) -> Option<u64> {
    let text = text.trim_ascii();
    let (whole_part, decimals) = match memchr::memchr(b'.', text) {
        Some(point) => (&text[..point], &text[point + 1..]),
        None => (text, &b"0"[..]),
    };
    if !is_digits(decimals) {
        return None;
    }
    let number = whole(whole_part)?;
    match unit {
        TimeUnit::Seconds => {
            let thousandths = decimals.iter().chain(b"000").take(3);
            let ms = thousandths.fold(0, |ms, digit| ms * 10 + u64::from(digit - b'0'));
            number.checked_mul(1000)?.checked_add(ms)
        }
        TimeUnit::Milliseconds => Some(number),
        TimeUnit::Microseconds => Some(number / 1_000),
        TimeUnit::Nanoseconds => Some(number / 1_000_000),
    }
}

/// The key a text stands for: the number if it is a 64-bit number in its shortest form, otherwise
/// the hash of the text. `None` if there is no text.
pub(super) fn key(text: &[u8]) -> Option<u64> {
    let text = text.trim_ascii();
    match text {
        [] => None,
        [b'0', _, ..] => Some(hash_bytes(text, 0)),
        _ => Some(whole(text).unwrap_or_else(|| hash_bytes(text, 0))),
    }
}

fn is_digits(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers() {
        for (text, number) in [
            ("0", Some(0)),
            (" 42 ", Some(42)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("", None),
            ("-1", None),
            ("+1", None),
            ("1.0", None),
            ("1e3", None),
            ("4 2", None),
        ] {
            assert_eq!(whole(text.as_bytes()), number, "{text:?}");
        }
    }

    #[test]
    fn sizes_saturate() {
        for (text, number) in [
            ("4294967294", Some(4_294_967_294)),
            ("4294967296", Some(u32::MAX)),
            ("99999999999999999999999999", Some(u32::MAX)),
            ("9999999999999999999999999x", None),
            ("", None),
        ] {
            assert_eq!(whole_u32(text.as_bytes()), number, "{text:?}");
        }
    }

    #[test]
    fn times_become_milliseconds() {
        use TimeUnit::{Microseconds, Milliseconds, Nanoseconds, Seconds};
        for (text, unit, ms) in [
            ("12", Seconds, Some(12_000)),
            ("12.5", Seconds, Some(12_500)),
            ("0.0009", Seconds, Some(0)),
            ("1.23456", Seconds, Some(1_234)),
            ("1234.9", Milliseconds, Some(1_234)),
            ("1999", Microseconds, Some(1)),
            ("1640995200000000000", Nanoseconds, Some(1_640_995_200_000)),
            ("18446744073709551", Seconds, Some(18_446_744_073_709_551_000)),
            ("18446744073709552", Seconds, None),
            ("1.", Seconds, None),
            (".5", Seconds, None),
            ("-3", Seconds, None),
            ("1.2.3", Seconds, None),
            ("", Seconds, None),
        ] {
            assert_eq!(time_ms(text.as_bytes(), unit), ms, "{text:?}");
        }
    }

    #[test]
    fn keys_are_numbers_or_hashes() {
        assert_eq!(key(b"0"), Some(0));
        assert_eq!(key(b" 17 "), Some(17));
        assert_eq!(key(b"17x"), Some(hash_bytes(b"17x", 0)));
        // 007 and 7 are different strings, so they are different keys.
        assert_eq!(key(b"007"), Some(hash_bytes(b"007", 0)));
        let big = b"18446744073709551616";
        assert_eq!(key(big), Some(hash_bytes(big, 0)));
        assert_eq!(key(b"  "), None);
    }
}
