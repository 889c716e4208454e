//! Parameters: declared with type, default and range, checked before a policy sees them.
//!
//! What reaches a guest is canonical: one flat JSON object, every declared parameter in the order of
//! the manifest, numbers and booleans only. So the parser inside a guest can be a few lines.

use std::fmt::Write as _;

use serde_json::{Map, Value};
use thiserror::Error;

use super::{Manifest, ManifestError, ParamText, check_name, check_text, field, shorten};

/// One declared parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct Param {
    pub(super) name: String,
    pub(super) range: ParamRange,
    pub(super) help: String,
}

impl Param {
    /// The parameter's name, `[a-z0-9_-]{1,64}`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Type, default and range.
    #[must_use]
    pub fn range(&self) -> ParamRange {
        self.range
    }

    /// What it does, for people; may be empty, holds no control characters.
    #[must_use]
    pub fn help(&self) -> &str {
        &self.help
    }
}

/// Type, default and inclusive range of a parameter. `min <= default <= max`, all finite.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum ParamRange {
    /// A 64-bit signed integer.
    Int {
        /// Value where none is given.
        default: i64,
        /// Smallest value allowed.
        min: i64,
        /// Largest value allowed.
        max: i64,
    },
    /// A finite double.
    Float {
        /// Value where none is given.
        default: f64,
        /// Smallest value allowed.
        min: f64,
        /// Largest value allowed.
        max: f64,
    },
    /// True or false.
    Bool {
        /// Value where none is given.
        default: bool,
    },
}

/// Why parameters were refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ParamsError {
    /// No parameter has this name.
    #[error("parameter `{name}` is unknown, {known}")]
    Unknown {
        /// The name given.
        name: String,
        /// The names declared, as a phrase.
        known: String,
    },
    /// The value has the wrong type.
    #[error("parameter `{name}`: {value} is not {expected}")]
    Type {
        /// Name of the parameter.
        name: String,
        /// The value given, as JSON.
        value: String,
        /// `an int`, `a float` or `a bool`.
        expected: &'static str,
    },
    /// The value is outside the declared range.
    #[error("parameter `{name}`: {value} is not within {min}..{max}")]
    Range {
        /// Name of the parameter.
        name: String,
        /// The value given.
        value: String,
        /// Smallest value allowed.
        min: String,
        /// Largest value allowed.
        max: String,
    },
}

impl ParamRange {
    /// The value as canonical JSON, if it has the type; `None` in the inner option if out of range.
    fn canonical(self, value: &Value) -> Option<Option<String>> {
        match self {
            ParamRange::Int { min, max, .. } => {
                let value = value.as_i64()?;
                Some((min..=max).contains(&value).then(|| value.to_string()))
            }
            ParamRange::Float { min, max, .. } => {
                let value = value.as_f64().filter(|value| value.is_finite())?;
                Some((min..=max).contains(&value).then(|| Value::from(value).to_string()))
            }
            ParamRange::Bool { .. } => Some(Some(value.as_bool()?.to_string())),
        }
    }

    fn default_json(self) -> Value {
        match self {
            ParamRange::Int { default, .. } => default.into(),
            ParamRange::Float { default, .. } => default.into(),
            ParamRange::Bool { default } => default.into(),
        }
    }

    fn noun(self) -> &'static str {
        match self {
            ParamRange::Int { .. } => "an int",
            ParamRange::Float { .. } => "a float",
            ParamRange::Bool { .. } => "a bool",
        }
    }

    fn bounds(self) -> (String, String) {
        match self {
            ParamRange::Int { min, max, .. } => (min.to_string(), max.to_string()),
            ParamRange::Float { min, max, .. } => (min.to_string(), max.to_string()),
            ParamRange::Bool { .. } => ("false".to_owned(), "true".to_owned()),
        }
    }
}

impl Manifest {
    /// Checks `given` against the declarations and writes what the policy gets: a flat JSON object
    /// with every parameter in the order of the manifest, defaults filled in.
    ///
    /// # Errors
    ///
    /// [`ParamsError`] for an unknown name, a wrong type or a value out of range.
    pub fn params(&self, given: &Map<String, Value>) -> Result<String, ParamsError> {
        if let Some(name) = given.keys().find(|name| self.param(name).is_none()) {
            return Err(self.unknown(name));
        }
        let mut json = String::from("{");
        for param in &self.params {
            let separator = if json.len() > 1 { "," } else { "" };
            let default = param.range.default_json();
            let value = given.get(&param.name).unwrap_or(&default);
            let text = check_value(param, value)?;
            write!(json, "{separator}\"{}\":{text}", param.name)
                .expect("invariant: writing to a string cannot fail");
        }
        json.push('}');
        Ok(json)
    }

    /// Reads the value of the parameter `name` from `text`, as a command line gives it.
    ///
    /// # Errors
    ///
    /// [`ParamsError`] as for [`params`](Self::params).
    pub fn param_from_text(&self, name: &str, text: &str) -> Result<Value, ParamsError> {
        let param = self.param(name).ok_or_else(|| self.unknown(name))?;
        let value = serde_json::from_str(text).unwrap_or_else(|_| Value::from(text));
        check_value(param, &value)?;
        Ok(value)
    }

    fn param(&self, name: &str) -> Option<&Param> {
        self.params.iter().find(|param| param.name == name)
    }

    fn unknown(&self, name: &str) -> ParamsError {
        let names: Vec<&str> = self.params.iter().map(Param::name).collect();
        let known = if names.is_empty() {
            format!("{} has no parameters", self.name)
        } else {
            format!("known are: {}", names.join(", "))
        };
        ParamsError::Unknown { name: shorten(name), known }
    }
}

fn check_value(param: &Param, value: &Value) -> Result<String, ParamsError> {
    let shown = || shorten(&value.to_string());
    match param.range.canonical(value) {
        Some(Some(text)) => Ok(text),
        Some(None) => {
            let (min, max) = param.range.bounds();
            Err(ParamsError::Range { name: param.name.clone(), value: shown(), min, max })
        }
        None => Err(ParamsError::Type {
            name: param.name.clone(),
            value: shown(),
            expected: param.range.noun(),
        }),
    }
}

/// Checks one declaration of the manifest.
pub(super) fn check_param(text: ParamText) -> Result<Param, ManifestError> {
    let path = |part: &str| format!("params.{}.{part}", shorten(&text.name));
    check_name(&path("name"), &text.name)?;
    check_text(&path("help"), &text.help)?;
    let range = match text.kind.as_str() {
        "int" => {
            let read = |part, value: &Value| {
                let not = || field(path(part), format!("{} is not an int", shown(value)));
                value.as_i64().ok_or_else(not)
            };
            let min = text.min.as_ref().map_or(Ok(i64::MIN), |value| read("min", value))?;
            let max = text.max.as_ref().map_or(Ok(i64::MAX), |value| read("max", value))?;
            let default = read("default", &text.default)?;
            check_order(&path, (default, min, max))?;
            ParamRange::Int { default, min, max }
        }
        "float" => {
            let read = |part, value: &Value| {
                let not = || field(path(part), format!("{} is not a float", shown(value)));
                value.as_f64().filter(|value| value.is_finite()).ok_or_else(not)
            };
            let min = text.min.as_ref().map_or(Ok(f64::MIN), |value| read("min", value))?;
            let max = text.max.as_ref().map_or(Ok(f64::MAX), |value| read("max", value))?;
            let default = read("default", &text.default)?;
            check_order(&path, (default, min, max))?;
            ParamRange::Float { default, min, max }
        }
        "bool" => {
            if text.min.is_some() || text.max.is_some() {
                return Err(field(path("min"), "a bool has no range"));
            }
            let not = || field(path("default"), format!("{} is not a bool", shown(&text.default)));
            ParamRange::Bool { default: text.default.as_bool().ok_or_else(not)? }
        }
        other => {
            let reason = format!("`{}` is not int, float or bool", shorten(other));
            return Err(field(path("type"), reason));
        }
    };
    Ok(Param { name: text.name, range, help: text.help })
}

fn shown(value: &Value) -> String {
    shorten(&value.to_string())
}

fn check_order<T: PartialOrd + std::fmt::Display>(
    path: &dyn Fn(&str) -> String,
    (default, min, max): (T, T, T),
) -> Result<(), ManifestError> {
    if min > max {
        return Err(field(path("min"), format!("min: {min} is above max: {max}")));
    }
    if default < min || default > max {
        return Err(field(path("default"), format!("{default} is not within {min}..{max}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ManifestLimits;
    use serde_json::json;

    fn manifest() -> Manifest {
        let text = json!({
            "abi": 1, "name": "demo", "version": "1", "kinds": ["eviction"],
            "bytes_per_slot": 1, "base_bytes": 1,
            "params": [
                {"name": "share", "type": "int", "default": 10, "min": 1, "max": 900},
                {"name": "decay", "type": "float", "default": 0.5, "min": 0, "max": 1},
                {"name": "adaptive", "type": "bool", "default": true},
            ],
        });
        Manifest::parse(text.to_string().as_bytes(), &ManifestLimits::default()).unwrap()
    }

    fn params(given: &Value) -> Result<String, String> {
        manifest().params(given.as_object().unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_are_filled_in_and_the_order_is_the_manifests() {
        let canonical = |text: &str| Ok(text.to_owned());
        assert_eq!(params(&json!({})), canonical(r#"{"share":10,"decay":0.5,"adaptive":true}"#));
        assert_eq!(
            params(&json!({"adaptive": false, "decay": 1, "share": 900})),
            canonical(r#"{"share":900,"decay":1.0,"adaptive":false}"#)
        );
    }

    #[test]
    fn names_types_and_ranges_are_checked() {
        let rows = [
            (json!({"window": 1}), "`window` is unknown, known are: share, decay, adaptive"),
            (json!({"share": 0}), "`share`: 0 is not within 1..900"),
            (json!({"share": 1.0}), "`share`: 1.0 is not an int"),
            (json!({"share": "1"}), "not an int"),
            (json!({"share": u64::MAX}), "not an int"),
            (json!({"decay": -0.1}), "`decay`: -0.1 is not within 0..1"),
            (json!({"decay": null}), "not a float"),
            (json!({"adaptive": 1}), "not a bool"),
        ];
        for (given, expected) in rows {
            let error = params(&given).unwrap_err();
            assert!(error.contains(expected), "{given}: {error}");
        }
    }

    #[test]
    fn values_are_read_from_a_command_line() {
        let manifest = manifest();
        assert_eq!(manifest.param_from_text("share", "90"), Ok(json!(90)));
        assert_eq!(manifest.param_from_text("decay", "1"), Ok(json!(1)));
        assert_eq!(manifest.param_from_text("adaptive", "false"), Ok(json!(false)));
        for (name, text) in [("share", "many"), ("share", "901"), ("decay", ""), ("other", "1")] {
            assert!(manifest.param_from_text(name, text).is_err(), "{name}={text}");
        }
    }
}
