//! Parameters: a flat JSON object in, a typed struct out.
//!
//! The engine checks parameters against the manifest before a policy sees them; this parser is what
//! runs inside the guest, so it is small, allocates only for error texts and understands just the
//! flat objects that the contract allows: names without escapes, numbers, `true` and `false`.

use alloc::string::String;

use ostler_abi::InitRefused;

/// The parameters of a policy. [`export!`](crate::export) implements it for the struct it declares.
pub trait Params: Sized + Default {
    /// Sets the parameter `name` from the text of a JSON value.
    ///
    /// # Errors
    ///
    /// [`InitRefused`] where the name is unknown, the type wrong or the value out of range.
    fn set(&mut self, name: &str, value: &str) -> Result<(), InitRefused>;

    /// The defaults, with what `json` (a flat object, or empty) says instead.
    ///
    /// # Errors
    ///
    /// [`InitRefused`] where `json` is not such an object or [`set`](Self::set) refuses.
    fn from_json(json: &str) -> Result<Self, InitRefused> {
        let mut params = Self::default();
        read_flat_object(json, |name, value| params.set(name, value))?;
        Ok(params)
    }
}

/// A type that a parameter can have: `i64`, `f64` or `bool`.
pub trait ParamValue: Sized + PartialOrd + core::fmt::Display {
    /// Reads the JSON text of a value.
    fn parse(text: &str) -> Option<Self>;
}

impl ParamValue for i64 {
    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl ParamValue for f64 {
    fn parse(text: &str) -> Option<Self> {
        text.parse().ok().filter(|value: &f64| value.is_finite())
    }
}

impl ParamValue for bool {
    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

/// Reads `text` as a value of `name` within its range. Used by [`export!`](crate::export).
///
/// # Errors
///
/// [`InitRefused`] that names the parameter, the value and what is allowed.
pub fn read_value<T: ParamValue>(
    name: &str,
    text: &str,
    range: core::ops::RangeInclusive<T>,
) -> Result<T, InitRefused> {
    match T::parse(text) {
        Some(value) if range.contains(&value) => Ok(value),
        _ => Err(refused(format_args!(
            "parameter {name}: {text} is not a value from {} to {}",
            range.start(),
            range.end()
        ))),
    }
}

/// Refuses a name that the policy does not declare.
///
/// # Errors
///
/// Always; `known` is listed in the message.
pub fn unknown_name(name: &str, known: &[&str]) -> Result<(), InitRefused> {
    Err(refused(format_args!("parameter {name} is unknown, known are: {known:?}")))
}

/// A refusal with its reason; in a module the reason has no way out, and so no code.
fn refused(reason: core::fmt::Arguments<'_>) -> InitRefused {
    if cfg!(target_arch = "wasm32") {
        return InitRefused { reason: String::new() };
    }
    InitRefused { reason: alloc::fmt::format(reason) }
}

/// Calls `set` with the name and the value's text of every member of a flat JSON object.
fn read_flat_object(
    json: &str,
    mut set: impl FnMut(&str, &str) -> Result<(), InitRefused>,
) -> Result<(), InitRefused> {
    let malformed = || refused(format_args!("parameters are not a flat JSON object: {json}"));
    let text = json.trim();
    if text.is_empty() {
        return Ok(());
    }
    let inner = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    let mut rest = inner.ok_or_else(malformed)?.trim();
    while !rest.is_empty() {
        let quoted = rest.strip_prefix('"').ok_or_else(malformed)?;
        let (name, after) = quoted.split_once('"').ok_or_else(malformed)?;
        let value_on = after.trim_start().strip_prefix(':').ok_or_else(malformed)?;
        let (value, tail) = match value_on.split_once(',') {
            Some((value, tail)) if !tail.trim().is_empty() => (value, tail),
            Some(_) => return Err(malformed()),
            None => (value_on, ""),
        };
        set(name, value.trim())?;
        rest = tail.trim();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn members(json: &str) -> Result<Vec<(String, String)>, InitRefused> {
        let mut members = Vec::new();
        read_flat_object(json, |name, value| {
            members.push((name.to_string(), value.to_string()));
            Ok(())
        })?;
        Ok(members)
    }

    #[test]
    fn flat_objects_are_read() {
        let expected = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect::<Vec<_>>()
        };
        assert_eq!(members(""), Ok(expected(&[])));
        assert_eq!(members(" { } "), Ok(expected(&[])));
        assert_eq!(members(r#"{"a":1}"#), Ok(expected(&[("a", "1")])));
        assert_eq!(
            members(r#"{ "a" : -1.5e3 , "b" : true }"#),
            Ok(expected(&[("a", "-1.5e3"), ("b", "true")]))
        );
    }

    #[test]
    fn anything_else_is_refused() {
        for json in ["1", "{", r#"{"a"}"#, r#"{"a":1,}"#, r#"{a:1}"#, r#"{"a:1}"#, r#"["a"]"#] {
            assert!(members(json).is_err(), "{json}");
        }
    }

    #[test]
    fn values_are_checked_against_type_and_range() {
        assert_eq!(read_value::<i64>("n", "7", 1..=9), Ok(7));
        assert_eq!(read_value::<bool>("n", "true", false..=true), Ok(true));
        assert_eq!(read_value::<f64>("n", "0.5", 0.0..=1.0), Ok(0.5));
        for text in ["0", "10", "1.5", "true", "\"7\"", ""] {
            let refusal = read_value::<i64>("n", text, 1..=9).unwrap_err();
            assert!(refusal.reason.contains("from 1 to 9"), "{refusal}");
        }
        assert!(read_value::<f64>("n", "NaN", 0.0..=1.0).is_err());
    }

    proptest! {
        #[test]
        fn reads_what_serde_writes(numbers in proptest::collection::btree_map("[a-z_]{1,12}", any::<i64>(), 0..8)) {
            let json = serde_json::to_string(&numbers).unwrap();
            let expected: Vec<_> = numbers.into_iter().map(|(n, v)| (n, v.to_string())).collect();
            prop_assert_eq!(members(&json), Ok(expected));
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,64}") {
            if let Ok(members) = members(&text) {
                prop_assert!(members.len() <= text.len());
            }
        }
    }
}
