//! Exponential decay in integers: the same on every machine.

/// 2^(-i/16) × 65536.
const SIXTEENTHS: [u32; 16] = [
    65536, 62757, 60097, 57549, 55109, 52773, 50535, 48393, 46341, 44376, 42495, 40693, 38968,
    37316, 35734, 34219,
];

/// What is left of `counter` after `age`, when half of it is gone every `half_life`. Rounded down,
/// in steps of a sixteenth of the half-life.
pub(super) fn decayed(counter: u32, age: u64, half_life: u64) -> u32 {
    let half_life = half_life.max(1);
    let halvings = age / half_life;
    if halvings >= 32 {
        return 0;
    }
    // At most 15: the rest is smaller than the half-life.
    let sixteenth = u128::from(age % half_life) * 16 / u128::from(half_life);
    let factor = SIXTEENTHS[usize::try_from(sixteenth).unwrap_or(0) & 15];
    let left = (u64::from(counter) * u64::from(factor)) >> (16 + halvings);
    u32::try_from(left).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::decayed;

    #[test]
    fn half_is_gone_after_a_half_life() {
        let cases = [
            // counter, age, half-life, left
            (256, 0, 100, 256),
            (256, 100, 100, 128),
            (256, 200, 100, 64),
            (256, 50, 100, 181),
            (256, 99, 100, 133),
            (u32::MAX, 0, 1, u32::MAX),
            (u32::MAX, 31, 1, 1),
            (u32::MAX, 32, 1, 0),
            (u32::MAX, u64::MAX, 0, 0),
            (256, u64::MAX, u64::MAX, 128),
            (256, u64::MAX - 1, u64::MAX, 133),
        ];
        for (counter, age, half_life, left) in cases {
            assert_eq!(decayed(counter, age, half_life), left, "{counter} {age} {half_life}");
        }
    }
}
