//! Numbers as `INCRBYFLOAT` adds them: Redis computes with the 80-bit floats of the x87, 64 bits of
//! mantissa, and writes 17 places after the point, without the zeros at the end. That is why 0.1 + 0.2
//! is 0.3 there. Whole numbers of any length stand in for the hardware here: each result is exact, then
//! rounded once, to the nearest and to even.
//!
//! Not taken over: hexadecimal floats, and the smallest numbers losing precision below 2⁻¹⁶³⁸².

use std::fmt;

use num_bigint::{BigInt, BigUint, Sign};

/// Bits of a mantissa.
const MANTISSA_BITS: u64 = 64;
/// Numbers from two to this power on are infinite.
const POWER_MAX: i64 = 16_384;
/// Numbers below two to this power are zero.
const POWER_MIN: i64 = -16_445;
/// Places after the point when written.
const PLACES: usize = 17;
/// Longest text of a number, bytes.
const TEXT_LEN_MAX: usize = 5 * 1024 - 1;
/// Powers of ten beyond these are infinite or zero, whatever the digits before them: a text has at most
/// [`TEXT_LEN_MAX`] of those.
const DECIMAL_POWER_MAX: i64 = 2 * TEXT_LEN_MAX as i64;

/// A number or an infinity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Extended {
    /// `mantissa` × 2^`power`.
    Finite { mantissa: BigInt, power: i64 },
    /// Beyond all numbers, on one side or on the other.
    Infinite { is_negative: bool },
}

impl Default for Extended {
    fn default() -> Self {
        Self::Finite { mantissa: BigInt::ZERO, power: 0 }
    }
}

impl Extended {
    /// The number that `text` writes in decimals, with an exponent if need be; or `inf`, `infinity`.
    /// None where there is anything else in it, or where it is too large or too small.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        if text.len() > TEXT_LEN_MAX {
            return None;
        }
        let (is_negative, text) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            rest => (false, rest),
        };
        if [&b"inf"[..], b"infinity"].iter().any(|word| text.eq_ignore_ascii_case(word)) {
            return Some(Self::Infinite { is_negative });
        }
        let (digits, power) = decimal(text)?;
        let sign = if is_negative { Sign::Minus } else { Sign::Plus };
        if digits == BigUint::ZERO {
            return Some(Self::default());
        }
        if power.abs() > DECIMAL_POWER_MAX {
            return None;
        }
        let ten = BigUint::from(10u8).pow(power.unsigned_abs() as u32);
        let number = if power >= 0 {
            Self::rounded(BigInt::from_biguint(sign, digits * ten), 0)
        } else {
            // Enough bits that those beyond can only break a tie.
            let shift = (MANTISSA_BITS + 2 + ten.bits()).saturating_sub(digits.bits());
            let shifted = digits << shift;
            let quotient: BigUint = &shifted / &ten;
            let is_exact = &quotient * &ten == shifted;
            let mantissa = (quotient << 1u8) + BigUint::from(u8::from(!is_exact));
            Self::rounded(BigInt::from_biguint(sign, mantissa), -(shift as i64) - 1)
        };
        number.filter(|number| !matches!(number, Self::Infinite { .. }))
    }

    /// The sum, none where that is no number, or an infinity.
    pub(super) fn add(&self, other: &Self) -> Option<Self> {
        let (Self::Finite { mantissa: a, power: i }, Self::Finite { mantissa: b, power: j }) =
            (self, other)
        else {
            return None;
        };
        let power = *i.min(j);
        let aligned = |mantissa: &BigInt, of: i64| mantissa << (of - power).unsigned_abs();
        let sum = Self::rounded(aligned(a, *i) + aligned(b, *j), power)?;
        matches!(sum, Self::Finite { .. }).then_some(sum)
    }

    /// `mantissa` × 2^`power` with the bits that a mantissa has; none where it is too small.
    fn rounded(mantissa: BigInt, power: i64) -> Option<Self> {
        let (sign, magnitude) = mantissa.into_parts();
        let excess = magnitude.bits().saturating_sub(MANTISSA_BITS);
        let magnitude = shifted_right(magnitude, excess);
        let power = power + excess as i64;
        let top = power + magnitude.bits() as i64;
        if magnitude == BigUint::ZERO {
            return Some(Self::default());
        }
        if top > POWER_MAX {
            return Some(Self::Infinite { is_negative: sign == Sign::Minus });
        }
        let mantissa = BigInt::from_biguint(sign, magnitude);
        (top > POWER_MIN).then_some(Self::Finite { mantissa, power })
    }
}

/// Digits and the power of ten that they count.
fn decimal(text: &[u8]) -> Option<(BigUint, i64)> {
    let mark = text.iter().position(|byte| matches!(byte, b'e' | b'E'));
    let (digits, exponent) = match mark {
        Some(mark) => (&text[..mark], exponent(&text[mark + 1..])?),
        None => (text, 0),
    };
    let point = digits.iter().position(|&byte| byte == b'.');
    let (whole, places) = match point {
        Some(point) => (&digits[..point], &digits[point + 1..]),
        None => (digits, &digits[..0]),
    };
    let all = [whole, places].concat();
    if all.is_empty() || !all.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some((BigUint::parse_bytes(&all, 10)?, exponent.saturating_sub(places.len() as i64)))
}

/// The number behind the `e`, cut to what makes any number infinite or zero.
fn exponent(text: &[u8]) -> Option<i64> {
    let (sign, digits) = match text {
        [b'-', digits @ ..] => (-1, digits),
        [b'+', digits @ ..] => (1, digits),
        digits => (1, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let bounded = digits.iter().fold(0, |number: i64, digit| {
        (number * 10 + i64::from(digit - b'0')).min(2 * DECIMAL_POWER_MAX)
    });
    Some(sign * bounded)
}

/// `number` / 2^`bits`, to the nearest, ties to even.
fn shifted_right(number: BigUint, bits: u64) -> BigUint {
    if bits == 0 {
        return number;
    }
    let quotient: BigUint = &number >> bits;
    let is_half = number.bit(bits - 1);
    let is_more = is_half && number.trailing_zeros().is_some_and(|zeros| zeros < bits - 1);
    let up = is_more || is_half && quotient.bit(0);
    quotient + BigUint::from(u8::from(up))
}

impl fmt::Display for Extended {
    /// With at most 17 places after the point; never `-0`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mantissa, power) = match self {
            Self::Finite { mantissa, power } => (mantissa, *power),
            Self::Infinite { is_negative } => {
                return f.write_str(if *is_negative { "-inf" } else { "inf" });
            }
        };
        let scale = BigUint::from(10u8).pow(PLACES as u32);
        let scaled = mantissa.magnitude() * scale;
        let scaled = if power >= 0 {
            scaled << power.unsigned_abs()
        } else {
            shifted_right(scaled, power.unsigned_abs())
        };
        let digits = scaled.to_string();
        let digits = format!("{digits:0>width$}", width = PLACES + 1);
        let (whole, places) = digits.split_at(digits.len() - PLACES);
        let places = places.trim_end_matches('0');
        if mantissa.sign() == Sign::Minus && scaled != BigUint::ZERO {
            f.write_str("-")?;
        }
        f.write_str(whole)?;
        if !places.is_empty() {
            write!(f, ".{places}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(a: &str, b: &str) -> Option<String> {
        let (a, b) = (Extended::parse(a.as_bytes())?, Extended::parse(b.as_bytes())?);
        a.add(&b).map(|sum| sum.to_string())
    }

    /// Answers of Redis 7.0.15 on x86-64.
    #[test]
    fn sums_are_those_of_the_hardware() {
        let cases = [
            ("0", "1", "1"),
            ("1", "0.25", "1.25"),
            ("1.1", "0.1", "1.2"),
            ("0.1", "0.2", "0.3"),
            ("3.0e3", "0", "3000"),
            ("3.0e3", "200", "3200"),
            ("1", "-1.1", "-0.1"),
            ("17179869184", "1.5", "17179869185.5"),
            ("0.024390243902439025", "-0.024390243902439025", "0"),
            ("-0", "-0.0", "0"),
            ("-1e-30", "0", "0"),
            ("1e20", "0.1", "100000000000000000000"),
            ("18446744073709551615", "1", "18446744073709551616"),
            ("18446744073709551616", "1", "18446744073709551616"),
            ("18446744073709551616", "3", "18446744073709551620"),
            (".5", "5.", "5.5"),
            ("+1", "1E+2", "101"),
            ("1e-17", "0", "0.00000000000000001"),
            ("1e-18", "0", "0"),
        ];
        for (a, b, expected) in cases {
            assert_eq!(sum(a, b).as_deref(), Some(expected), "{a} + {b}");
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        let words = [
            "",
            " ",
            "1 ",
            " 1",
            "a",
            "1a",
            "e1",
            "1e",
            "1e+",
            ".",
            "-",
            "--1",
            "1.2.3",
            "nan",
            "1e5000",
            "1e99999999999999999999",
            "1e-5000",
            "0x10",
            "1\0",
            "infin",
        ];
        for word in words {
            assert_eq!(Extended::parse(word.as_bytes()), None, "{word:?}");
        }
        assert_eq!(Extended::parse(&[b'1'; TEXT_LEN_MAX + 1]), None);
        assert!(Extended::parse(b"0e99999999999999999999").is_some());
    }

    #[test]
    fn infinities_have_no_sum() {
        for (a, b) in [("inf", "1"), ("0", "+inf"), ("-Infinity", "inf"), ("1e4932", "1e4932")] {
            assert_eq!(sum(a, b), None, "{a} + {b}");
        }
    }

    #[test]
    fn a_tie_goes_to_even() {
        let shifted = |number: u32, bits| shifted_right(BigUint::from(number), bits).to_string();
        for (number, bits, expected) in [
            (2, 2, "0"),
            (6, 2, "2"),
            (10, 2, "2"),
            (11, 2, "3"),
            (5, 1, "2"),
            (7, 1, "4"),
            (1, 9, "0"),
        ] {
            assert_eq!(shifted(number, bits), expected, "{number} / 2^{bits}");
        }
    }
}
