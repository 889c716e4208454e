//! How a policy is named on a command line or in a config: `sieve`, `native:lru`, `my.wasm`, each
//! with parameters if need be: `s3fifo(small_percent=20,ghost_percent=50)`.

use std::path::PathBuf;
use std::str::FromStr;

use serde_json::{Map, Value};
use thiserror::Error;

/// A policy as it was named.
///
/// ```
/// use ostler::{PolicySource, PolicySpec};
///
/// let spec: PolicySpec = "native:s3fifo(small_percent=20)".parse()?;
/// assert_eq!(spec.source, PolicySource::Native("s3fifo".to_owned()));
/// assert_eq!(spec.params["small_percent"], 20);
/// # Ok::<(), ostler::SpecError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct PolicySpec {
    /// Which policy.
    pub source: PolicySource,
    /// The parameters that were given, as JSON values.
    pub params: Map<String, Value>,
}

/// Where a policy comes from.
///
/// ```
/// use ostler::{PolicySource, PolicySpec};
///
/// let source = |text: &str| text.parse::<PolicySpec>().map(|spec| spec.source);
/// assert_eq!(source("sieve"), Ok(PolicySource::Builtin("sieve".to_owned())));
/// assert_eq!(source("out/mine.wasm"), Ok(PolicySource::File("out/mine.wasm".into())));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PolicySource {
    /// A built-in policy's module.
    Builtin(String),
    /// A built-in policy compiled in: `native:NAME`.
    Native(String),
    /// A module in a file: anything that ends in `.wasm`.
    File(PathBuf),
}

/// Why a policy's name was not understood.
///
/// ```
/// let error = "lru(a".parse::<ostler::PolicySpec>().unwrap_err();
/// assert_eq!(error.reason, "the parenthesis is not closed");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "policy `{text}`: {reason}; write NAME, native:NAME or FILE.wasm, with (key=value,…) if need be"
)]
pub struct SpecError {
    /// The text.
    pub text: String,
    /// What is wrong with it.
    pub reason: String,
}

impl FromStr for PolicySpec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let wrong = |reason: &str| SpecError { text: text.into(), reason: reason.into() };
        let (name, given) = match text.split_once('(') {
            None => (text, ""),
            Some((name, rest)) => {
                let inner = rest.strip_suffix(')');
                (name, inner.ok_or_else(|| wrong("the parenthesis is not closed"))?)
            }
        };
        let source = match name.strip_prefix("native:") {
            _ if name.is_empty() => return Err(wrong("no name")),
            Some("") => return Err(wrong("no name after native:")),
            Some(native) => PolicySource::Native(native.into()),
            None if name.ends_with(".wasm") => PolicySource::File(name.into()),
            None => PolicySource::Builtin(name.into()),
        };
        let mut params = Map::new();
        for pair in given.split(',').filter(|pair| !pair.trim().is_empty()) {
            let (key, value) =
                pair.split_once('=').ok_or_else(|| wrong("a parameter is key=value"))?;
            let value = serde_json::from_str(value.trim())
                .map_err(|_| wrong("a value is a number, true or false"))?;
            if params.insert(key.trim().into(), value).is_some() {
                return Err(wrong("a parameter is given twice"));
            }
        }
        Ok(Self { source, params })
    }
}

impl std::fmt::Display for PolicySource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            PolicySource::Builtin(name) => f.write_str(name),
            PolicySource::Native(name) => write!(f, "native:{name}"),
            PolicySource::File(path) => write!(f, "{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_files_and_parameters_are_read() {
        let read = |text: &str| {
            let spec: PolicySpec = text.parse().unwrap();
            (spec.source.to_string(), Value::Object(spec.params).to_string())
        };
        assert_eq!(read("sieve"), ("sieve".into(), "{}".into()));
        assert_eq!(read("native:lru"), ("native:lru".into(), "{}".into()));
        assert_eq!(read("./out/a.wasm(b=2)"), ("./out/a.wasm".into(), r#"{"b":2}"#.into()));
    }

    #[test]
    fn parameters_keep_their_type() {
        let spec: PolicySpec = "s3fifo(small_percent=20, fast = true,x=-0.5)".parse().unwrap();
        let json = Value::Object(spec.params).to_string();
        assert_eq!(json, r#"{"small_percent":20,"fast":true,"x":-0.5}"#);
    }

    #[test]
    fn mistakes_are_named() {
        for text in ["", "native:", "lru(", "lru(a)", "lru(a=b)", "lru(a=1,a=2)"] {
            assert!(text.parse::<PolicySpec>().is_err(), "{text}");
        }
    }
}
