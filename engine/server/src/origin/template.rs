//! The address of an entry at its origin: a URL with `{key}` where the key goes.

use axum::http::Uri;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

/// What stands for the key.
const KEY: &str = "{key}";

/// What is not written as it is: everything but what RFC 3986 calls unreserved. A slash in a key is
/// no part of the path, and dots of a key lead nowhere.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'~').remove(b'.');

/// A URL with a gap for the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template {
    before: String,
    after: String,
}

impl Template {
    /// The template that `text` is.
    ///
    /// # Errors
    ///
    /// What is wrong with it, and what would be right.
    pub(crate) fn try_new(text: &str) -> Result<Self, String> {
        let example = "write http://127.0.0.1:9000/{key}";
        if text.starts_with("https:") {
            let reason = "is spoken with a TLS that this server has for its clients only";
            return Err(format!(
                "`{text}` {reason}; put a proxy on this machine before the origin"
            ));
        }
        let parts: Vec<&str> = text.split(KEY).collect();
        let [before, after] = parts[..] else {
            return Err(format!("`{text}` must have {KEY} once; {example}"));
        };
        let template = Self { before: before.to_owned(), after: after.to_owned() };
        let uri = Uri::try_from(template.address(b"1"));
        let uri = uri.map_err(|error| format!("`{text}` is no address ({error}); {example}"))?;
        let has_host =
            uri.scheme_str() == Some("http") && uri.host().is_some_and(|it| !it.is_empty());
        // The key must not choose whom we ask.
        let in_path = before.find("://").is_some_and(|at| before[at + 3..].contains('/'));
        if !has_host || !in_path || uri.authority().is_some_and(|it| it.as_str().contains('@')) {
            return Err(format!("`{text}` is no address that can be asked; {example}"));
        }
        Ok(template)
    }

    /// The address of the entry of `key`.
    pub(crate) fn address(&self, key: &[u8]) -> String {
        let Self { before, after } = self;
        let encoded = percent_encode(key, ESCAPED);
        // A path's segment of dots alone would be taken for a step up.
        match key {
            b"." => format!("{before}%2E{after}"),
            b".." => format!("{before}%2E%2E{after}"),
            _ => format!("{before}{encoded}{after}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_encoded_whole() {
        let template = Template::try_new("http://h:9/v1/{key}?raw=1").unwrap();
        for (key, expected) in [
            (&b"user:7"[..], "http://h:9/v1/user%3A7?raw=1"),
            (b"a-b_c.d~", "http://h:9/v1/a-b_c.d~?raw=1"),
            (b"a/../b?c#d&e", "http://h:9/v1/a%2F..%2Fb%3Fc%23d%26e?raw=1"),
            (b"..", "http://h:9/v1/%2E%2E?raw=1"),
            (b"\x00\xff %", "http://h:9/v1/%00%FF%20%25?raw=1"),
            (b"", "http://h:9/v1/?raw=1"),
        ] {
            assert_eq!(template.address(key), expected);
            assert!(Uri::try_from(expected).is_ok());
        }
    }

    #[test]
    fn what_cannot_be_asked_is_refused() {
        for text in [
            "http://127.0.0.1:9000/{key}",
            "http://o.example/a/{key}.json",
            "http://[::1]/x?k={key}",
        ] {
            assert!(Template::try_new(text).is_ok(), "{text}");
        }
        for (text, expected) in [
            ("http://h/", "must have {key} once"),
            ("http://h/{key}/{key}", "must have {key} once"),
            ("https://h/{key}", "put a proxy"),
            ("ftp://h/{key}", "no address"),
            ("h/{key}", "no address"),
            ("http://{key}/", "no address"),
            ("http://h:9{key}", "no address"),
            ("http://u:p@h/{key}", "no address"),
            ("http:///{key}", "no address"),
            ("http://h/a b{key}", "no address"),
        ] {
            let error = Template::try_new(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
