//! Keys as a number and the family around it, there and back.

use ostler_policy::{KEY_BYTES_MAX, hash_bytes};

use crate::streams::Numbered;

/// Most digits of a number: what is longer counts by its last ones.
const DIGITS_MAX: usize = 18;

/// A key with a number in it: the last digits there are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key<'a> {
    pub(crate) numbered: Numbered,
    /// What stands before the number and after it.
    before: &'a [u8],
    after: &'a [u8],
    /// Digits that the number has at least, as it begins with zeros.
    digits_min: usize,
}

/// The bytes of a key.
#[derive(Debug)]
pub(crate) struct KeyBytes {
    bytes: [u8; KEY_BYTES_MAX],
    len: usize,
}

impl<'a> Key<'a> {
    /// Takes a key apart; none where it has no digit.
    pub(crate) fn parse(key: &'a [u8]) -> Option<Self> {
        let end = 1 + key.iter().rposition(u8::is_ascii_digit)?;
        let start =
            key[..end].iter().rposition(|byte| !byte.is_ascii_digit()).map_or(0, |at| at + 1);
        let kept = start.max(end.saturating_sub(DIGITS_MAX));
        let digits = &key[kept..end];
        let number = digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0'));
        let (before, after) = (&key[..kept], &key[end..]);
        let is_padded = digits[0] == b'0' || kept > start;
        Some(Self {
            numbered: Numbered { family: hash_bytes(after, hash_bytes(before, 0)), number },
            before,
            after,
            digits_min: if is_padded { digits.len() } else { 1 },
        })
    }

    /// The key of the same family with another number; none where that would be too long.
    pub(crate) fn with_number(&self, number: u64) -> Option<KeyBytes> {
        let mut digits = [b'0'; 20];
        let (mut rest, mut start) = (number, digits.len());
        while rest > 0 {
            start -= 1;
            digits[start] = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        let digits = &digits[start.min(digits.len() - self.digits_min)..];
        let mut key = KeyBytes { bytes: [0; KEY_BYTES_MAX], len: 0 };
        for part in [self.before, digits, self.after] {
            key.bytes.get_mut(key.len..)?.get_mut(..part.len())?.copy_from_slice(part);
            key.len += part.len();
        }
        Some(key)
    }
}

impl KeyBytes {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_taken_apart_and_put_together() {
        // A key, its number, another number, the key with that.
        for (key, number, other, expected) in [
            ("17", 17, 18, "18"),
            ("0", 0, 1, "1"),
            ("user:9", 9, 10, "user:10"),
            ("user:10", 10, 9, "user:9"),
            ("img0009.png", 9, 10, "img0010.png"),
            ("img0999.png", 999, 1000, "img1000.png"),
            ("2024/page7", 7, 8, "2024/page8"),
            ("a:1:b", 1, 0, "a:0:b"),
            (
                "123456789012345678901",
                456789012345678901,
                456789012345678902,
                "123456789012345678902",
            ),
            ("1000000000000000005", 5, 6, "1000000000000000006"),
        ] {
            let parsed = Key::parse(key.as_bytes()).unwrap();
            assert_eq!(parsed.numbered.number, number, "{key}");
            let next = parsed.with_number(other).unwrap();
            assert_eq!(core::str::from_utf8(next.as_bytes()), Ok(expected), "{key}");
            assert_eq!(parsed.with_number(number).unwrap().as_bytes(), key.as_bytes(), "and back");
        }
        assert!(Key::parse(b"no number").is_none());
        assert!(Key::parse(b"").is_none());
    }

    #[test]
    fn families_are_told_apart_and_padding_does_not_matter() {
        let family = |key: &[u8]| Key::parse(key).unwrap().numbered.family;
        assert_eq!(family(b"img09.png"), family(b"img10.png"));
        for other in ["img10.jpg", "im10.png", "10.png", "img10", "img.png10"] {
            assert_ne!(family(b"img10.png"), family(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn a_key_does_not_outgrow_its_bound() {
        let mut key = [b'k'; KEY_BYTES_MAX];
        key[KEY_BYTES_MAX - 1] = b'9';
        let parsed = Key::parse(&key).unwrap();
        assert!(parsed.with_number(8).is_some());
        assert!(parsed.with_number(10).is_none());
    }
}
