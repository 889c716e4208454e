//! Entity tags and the conditions that callers put on them (RFC 9110, section 13).

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use ostler_core::Version;

use super::problem::{Kind, Problem};
use crate::service::Service;

/// Makes tags of versions. A version is unique within a process, so the tag names the process, too:
/// else a tag kept over a restart could fit another value.
#[derive(Clone, Copy)]
pub(crate) struct Tagger {
    start_unix_ms: u64,
}

impl Tagger {
    pub(crate) fn of(service: &Service) -> Self {
        Self { start_unix_ms: service.clock.start_unix_ms() }
    }

    /// The strong tag of a version, without quotes.
    pub(crate) fn tag(self, version: Version) -> String {
        format!("{:x}-{:x}", self.start_unix_ms, version.as_u64())
    }

    /// The tag as a header.
    pub(crate) fn header(self, version: Version) -> HeaderValue {
        let quoted = format!("\"{}\"", self.tag(version));
        HeaderValue::from_str(&quoted).unwrap_or(HeaderValue::from_static("\"\""))
    }
}

/// `If-Match` and `If-None-Match`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Conditions {
    matching: Option<Tags>,
    none_matching: Option<Tags>,
}

/// What a condition names.
#[derive(Debug, PartialEq, Eq)]
enum Tags {
    /// `*`: whatever there is.
    Any,
    /// These, weak ones marked.
    These(Vec<(String, bool)>),
}

/// Whether the conditions hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// They do.
    Yes,
    /// `If-Match` does not.
    MatchFailed,
    /// `If-None-Match` does not: the caller has what there is.
    NoneMatchFailed,
}

impl Conditions {
    /// Those of a request.
    ///
    /// # Errors
    ///
    /// A header that is no list of entity tags.
    pub(crate) fn read(headers: &HeaderMap) -> Result<Self, Problem> {
        Ok(Self {
            matching: tags(headers, header::IF_MATCH)?,
            none_matching: tags(headers, header::IF_NONE_MATCH)?,
        })
    }

    /// Whether they hold for the entry with this tag, none where there is no entry.
    pub(crate) fn hold(&self, tag: Option<&str>) -> Held {
        let fits = |tags: &Tags, weak_too: bool| match (tags, tag) {
            (_, None) => false,
            (Tags::Any, Some(_)) => true,
            (Tags::These(tags), Some(tag)) => {
                tags.iter().any(|(known, weak)| known == tag && (weak_too || !weak))
            }
        };
        match (&self.matching, &self.none_matching) {
            (Some(tags), _) if !fits(tags, false) => Held::MatchFailed,
            (_, Some(tags)) if fits(tags, true) => Held::NoneMatchFailed,
            _ => Held::Yes,
        }
    }
}

fn tags(headers: &HeaderMap, name: HeaderName) -> Result<Option<Tags>, Problem> {
    let wrong = || {
        let detail = format!("the header {name} is * or a list of quoted entity tags");
        Problem::new(Kind::BadRequest, detail)
    };
    let mut found = None;
    for line in headers.get_all(&name) {
        let mut rest = line.to_str().map_err(|_| wrong())?.trim();
        if rest == "*" {
            found = Some(Tags::Any);
            continue;
        }
        if rest.is_empty() {
            return Err(wrong());
        }
        let Tags::These(list) = found.get_or_insert(Tags::These(Vec::new())) else { continue };
        while !rest.is_empty() {
            let (weak, quoted) = match rest.strip_prefix("W/") {
                Some(quoted) => (true, quoted),
                None => (false, rest),
            };
            let (tag, after) =
                quoted.strip_prefix('"').and_then(|tag| tag.split_once('"')).ok_or_else(wrong)?;
            list.push((tag.to_owned(), weak));
            rest = after.trim_start();
            if !rest.is_empty() {
                rest = rest.strip_prefix(',').ok_or_else(wrong)?.trim_start();
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conditions(lines: &[(&'static str, &str)]) -> Result<Conditions, Problem> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        Conditions::read(&headers)
    }

    #[test]
    fn conditions_hold_as_the_standard_says() {
        use Held::{MatchFailed, NoneMatchFailed, Yes};
        type Row<'a> = (&'a [(&'static str, &'a str)], Option<&'a str>, Held);
        let table: &[Row<'_>] = &[
            (&[], None, Yes),
            (&[("if-match", "*")], Some("a"), Yes),
            (&[("if-match", "*")], None, MatchFailed),
            (&[("if-match", "\"b\", \"a\"")], Some("a"), Yes),
            (&[("if-match", "\"b\"")], Some("a"), MatchFailed),
            (&[("if-match", "W/\"a\"")], Some("a"), MatchFailed),
            (&[("if-none-match", "*")], None, Yes),
            (&[("if-none-match", "*")], Some("a"), NoneMatchFailed),
            (&[("if-none-match", "W/\"a\"")], Some("a"), NoneMatchFailed),
            (&[("if-none-match", "\"b\"")], Some("a"), Yes),
            (&[("if-none-match", "\"b\""), ("if-none-match", "\"a\"")], Some("a"), NoneMatchFailed),
            (&[("if-match", "\"a\""), ("if-none-match", "\"a\"")], Some("a"), NoneMatchFailed),
        ];
        for (lines, tag, held) in table {
            assert_eq!(conditions(lines).unwrap().hold(*tag), *held, "{lines:?} {tag:?}");
        }
        for wrong in ["", " ", "a", "\"a", "\"a\" \"b\"", "W/a"] {
            assert!(conditions(&[("if-match", wrong)]).is_err(), "{wrong}");
        }
    }
}
