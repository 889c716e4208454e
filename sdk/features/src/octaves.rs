//! Logarithms in integers: quarter octaves, from leading zeros and two bits of mantissa.

/// `4 × floor(log2 value)` plus the next two bits: 0 for 0 and 1, at most 127. Monotonic; a step is
/// between 12.5 and 25 %.
#[inline]
#[must_use]
pub const fn quarter_octaves(value: u32) -> u8 {
    let value = if value == 0 { 1 } else { value };
    let exponent = 31 - value.leading_zeros();
    // The mantissa's two highest bits: the value shifted so that its top bit is bit 2.
    let mantissa = if exponent >= 2 { value >> (exponent - 2) } else { value << (2 - exponent) };
    (exponent * 4 + (mantissa & 3)) as u8
}

/// The least value of which [`quarter_octaves`] is `quarters`; saturates where there is none below
/// 2^32.
#[inline]
#[must_use]
pub(crate) const fn from_quarter_octaves(quarters: u8) -> u32 {
    if quarters > 127 {
        return u32::MAX;
    }
    let (exponent, mantissa) = ((quarters / 4) as u32, (quarters % 4) as u32 + 4);
    if exponent >= 2 { mantissa << (exponent - 2) } else { mantissa >> (2 - exponent) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quarters_follow_the_octaves() {
        let cases = [
            (0, 0),
            (1, 0),
            (2, 4),
            (3, 6),
            (4, 8),
            (5, 9),
            (6, 10),
            (7, 11),
            (8, 12),
            (9, 12),
            (10, 13),
            (16, 16),
            (1 << 20, 80),
            (3 << 19, 82),
            (u32::MAX, 127),
        ];
        for (value, quarters) in cases {
            assert_eq!(quarter_octaves(value), quarters, "{value}");
        }
    }

    #[test]
    fn the_least_value_of_a_step_is_in_it() {
        for quarters in 9..=127_u8 {
            let least = from_quarter_octaves(quarters);
            assert_eq!(quarter_octaves(least), quarters);
            assert_eq!(quarter_octaves(least - 1), quarters - 1);
        }
    }
}
