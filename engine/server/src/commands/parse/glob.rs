//! Patterns of `KEYS` and `SCAN`: `*`, `?`, `[a-c]`, `[^x]` and `\` before a byte that means itself.
//!
//! As Redis matches them, oddities included: an empty text matches only an empty pattern, a class that
//! is not closed ends with the pattern, bytes of a range compare as signed. Where a `*` finds no match
//! for what follows, no `*` before it needs another try. A pattern is read once, into elements that each
//! match a byte at once, however long their text is; so the cost is at most elements × text, and since
//! what has more elements than the text has bytes fails early, text × text.

/// Longest pattern, bytes.
pub(crate) const PATTERN_LEN_MAX: usize = 1 << 10;
/// What is said of a longer one.
pub(crate) const TOO_LONG: &str = "ERR the pattern is longer than 1024 bytes";
const _: () = assert!(PATTERN_LEN_MAX == 1024);

/// A pattern that was read.
#[derive(Debug)]
pub(crate) struct Pattern(Vec<Element>);

/// What one byte of a text is matched against, or any number of them.
#[derive(Debug, PartialEq, Eq)]
enum Element {
    /// `*`.
    Star,
    /// `?`.
    Any,
    /// A byte that means itself.
    Byte(u8),
    /// A class, a bit for each byte in it.
    Class(Box<[u64; 4]>),
}

impl Element {
    /// The element at the start of `pattern`, and its length; none at the end.
    fn read(pattern: &[u8]) -> Option<(Self, usize)> {
        Some(match *pattern {
            [] => return None,
            [b'*', ..] => (Self::Star, 1),
            [b'?', ..] => (Self::Any, 1),
            [b'[', ref rest @ ..] => {
                let (bits, len) = class(rest);
                (Self::Class(Box::new(bits)), len + 1)
            }
            [b'\\', literal, ..] => (Self::Byte(literal), 2),
            [literal, ..] => (Self::Byte(literal), 1),
        })
    }

    /// True where it matches `byte`. Not for stars.
    fn has(&self, byte: u8) -> bool {
        match self {
            Self::Star => false,
            Self::Any => true,
            Self::Byte(literal) => *literal == byte,
            Self::Class(bits) => bits[usize::from(byte >> 6)] & (1 << (byte & 63)) != 0,
        }
    }
}

impl Pattern {
    /// Reads `pattern`; none where it is too long.
    pub(crate) fn new(pattern: &[u8]) -> Option<Self> {
        if pattern.len() > PATTERN_LEN_MAX {
            return None;
        }
        let (mut elements, mut at) = (Vec::with_capacity(pattern.len()), 0);
        while let Some((element, len)) = Element::read(&pattern[at..]) {
            at += len;
            elements.push(element);
        }
        Some(Self(elements))
    }

    /// True where all of `text` matches.
    pub(crate) fn matches(&self, text: &[u8]) -> bool {
        let elements = &self.0[..];
        if text.is_empty() {
            return elements.is_empty();
        }
        let (mut at, mut next) = (0, 0);
        // Behind the last star, and the first byte of the text that is not its share.
        let mut retry = None;
        while next < text.len() {
            if elements.get(at) == Some(&Element::Star) {
                at += 1;
                if at == elements.len() {
                    return true;
                }
                retry = Some((at, next));
                continue;
            }
            if elements.get(at).is_some_and(|element| element.has(text[next])) {
                at += 1;
                next += 1;
            } else if let Some((behind, share)) = retry {
                (at, next) = (behind, share + 1);
                retry = Some((behind, next));
            } else {
                return false;
            }
        }
        elements[at..].iter().all(|element| *element == Element::Star)
    }
}

/// The bytes of the class whose inside starts here, and its length with the bracket that ends it.
fn class(inside: &[u8]) -> ([u64; 4], usize) {
    let negated = inside.first() == Some(&b'^');
    let (mut at, mut bits) = (usize::from(negated), [0u64; 4]);
    let mut add = |byte: u8| bits[usize::from(byte >> 6)] |= 1 << (byte & 63);
    loop {
        match inside[at..] {
            [b'\\', literal, ..] => {
                add(literal);
                at += 2;
            }
            [b']', ..] => {
                at += 1;
                break;
            }
            [] => break,
            [first, b'-', last, ..] => {
                let (first, last) = (first as i8, last as i8);
                (first.min(last)..=first.max(last)).for_each(|byte| add(byte as u8));
                at += 3;
            }
            [literal, ..] => {
                add(literal);
                at += 1;
            }
        }
    }
    (if negated { bits.map(|bits| !bits) } else { bits }, at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &[u8], text: &[u8]) -> bool {
        Pattern::new(pattern).expect("it is short").matches(text)
    }

    #[test]
    fn patterns_have_a_bound_and_classes_cost_no_more_than_bytes() {
        assert!(Pattern::new(&[b'a'; PATTERN_LEN_MAX]).is_some());
        assert!(Pattern::new(&[b'a'; PATTERN_LEN_MAX + 1]).is_none());
        let class = format!("*[{}]", "b".repeat(1_000));
        let pattern = Pattern::new(class.as_bytes()).expect("it is short");
        assert_eq!(pattern.0.len(), 2);
        assert!(pattern.matches(b"aaab") && !pattern.matches(b"aaaa"));
        let signed = Pattern::new(b"[\xff-\x01]").expect("it is short");
        assert!(signed.matches(b"\xff") && signed.matches(b"\x00") && !signed.matches(b"\x02"));
    }

    #[test]
    fn patterns_match_as_in_redis() {
        let cases: &[(&str, &str, bool)] = &[
            ("", "", true),
            ("*", "", false),
            ("", "a", false),
            ("*", "a", true),
            ("**", "ab", true),
            ("a*", "a", true),
            ("a**", "a", true),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h[ae]llo", "hallo", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-b]llo", "hbllo", true),
            ("h[b-a]llo", "hallo", true),
            ("h[a-b]llo", "hcllo", false),
            ("[a-c]*x", "cxyx", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("[\\]]", "]", true),
            ("[]a", "a", false),
            ("[ab", "b", true),
            ("[^", "x", true),
            ("[", "x", false),
            ("a\\", "a\\", true),
            ("[a-]", "-", false),
            ("[a-", "-", true),
            ("*b*c", "abbcc", true),
            ("*b?c", "abbc", true),
            ("*a*b", "aaac", false),
            ("key:1??", "key:123", true),
            ("key:1??", "key:12", false),
        ];
        for &(pattern, text, expected) in cases {
            let matched = matches(pattern.as_bytes(), text.as_bytes());
            assert_eq!(matched, expected, "{pattern:?} on {text:?}");
        }
    }

    #[test]
    fn many_stars_take_no_exponential_time() {
        let pattern = "a*".repeat(200) + "b";
        assert!(!matches(pattern.as_bytes(), &[b'a'; 4096]));
    }
}
