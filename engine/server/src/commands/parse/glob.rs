//! Patterns of `KEYS` and `SCAN`: `*`, `?`, `[a-c]`, `[^x]` and `\` before a byte that means itself.
//!
//! As Redis matches them, oddities included: an empty text matches only an empty pattern, a class that
//! is not closed ends with the pattern, bytes of a range compare as signed. Where a `*` finds no match
//! for what follows, no `*` before it needs another try; so the cost is at most pattern × text.

/// True where all of `text` matches `pattern`.
pub(crate) fn matches(pattern: &[u8], text: &[u8]) -> bool {
    if text.is_empty() {
        return pattern.is_empty();
    }
    let (mut at, mut next) = (0, 0);
    // Behind the last star, and the first byte of the text that is not its share.
    let mut retry = None;
    while next < text.len() {
        if pattern.get(at) == Some(&b'*') {
            at += 1;
            if at == pattern.len() {
                return true;
            }
            retry = Some((at, next));
            continue;
        }
        let step = pattern.get(at..).and_then(|rest| element(rest, text[next]));
        if let Some(len) = step {
            at += len;
            next += 1;
        } else if let Some((behind, share)) = retry {
            (at, next) = (behind, share + 1);
            retry = Some((behind, next));
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|&byte| byte == b'*')
}

/// The length of the element at the start of `pattern` where it matches `byte`. Not for stars.
fn element(pattern: &[u8], byte: u8) -> Option<usize> {
    let (matched, len) = match *pattern {
        [] => return None,
        [b'?', ..] => (true, 1),
        [b'[', ref rest @ ..] => {
            let (matched, len) = class(rest, byte);
            (matched, len + 1)
        }
        [b'\\', literal, ..] => (literal == byte, 2),
        [literal, ..] => (literal == byte, 1),
    };
    matched.then_some(len)
}

/// Whether the class whose inside starts here has `byte`, and its length with the bracket that ends it.
fn class(inside: &[u8], byte: u8) -> (bool, usize) {
    let negated = inside.first() == Some(&b'^');
    let (mut at, mut found) = (usize::from(negated), false);
    loop {
        match inside[at..] {
            [b'\\', literal, ..] => {
                found |= literal == byte;
                at += 2;
            }
            [b']', ..] => {
                at += 1;
                break;
            }
            [] => break,
            [first, b'-', last, ..] => {
                let (first, last) = (first as i8, last as i8);
                found |= (first.min(last)..=first.max(last)).contains(&(byte as i8));
                at += 3;
            }
            [literal, ..] => {
                found |= literal == byte;
                at += 1;
            }
        }
    }
    (found != negated, at)
}

#[cfg(test)]
mod tests {
    use super::*;

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
