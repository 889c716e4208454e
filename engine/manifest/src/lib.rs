//! The manifest: what a policy says about itself, read before any of its code is.
//!
//! It owns the JSON of the custom section `ostler.policy`, its bounds and the check of parameters
//! against it. It must not know WebAssembly: a compiled-in policy carries the same text and passes
//! the same checks, also where no guest can run.
//!
//! ```
//! use ostler_manifest::{Manifest, ManifestLimits};
//!
//! let text = br#"{"abi": 1, "name": "mine", "version": "0.1.0", "kinds": ["eviction"],
//!     "params": [{"name": "hands", "type": "int", "default": 1, "min": 1, "max": 4}],
//!     "bytes_per_slot": 13, "base_bytes": 65536}"#;
//! let manifest = Manifest::parse(text, &ManifestLimits::default())?;
//! assert_eq!(manifest.name(), "mine");
//! assert_eq!(manifest.params(&serde_json::Map::new()).as_deref(), Ok(r#"{"hands":1}"#));
//! # Ok::<(), ostler_manifest::ManifestError>(())
//! ```

mod params;

pub use params::{Param, ParamRange, ParamsError};

use ostler_abi::{ABI_VERSION, Kind, PolicyKind, feature};
use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

/// Feature bits that this host knows.
const FEATURES: [&str; 2] = [feature::MODEL, feature::KEYS];
/// Events that a policy may ask for or leave; all other kinds are always delivered.
const OPTIONAL_EVENTS: [Kind; 2] = [Kind::Hit, Kind::Miss];
/// Longest name of a policy or a parameter, bytes.
const NAME_BYTES_MAX: usize = 64;
/// Longest version, bytes.
const VERSION_BYTES_MAX: usize = 64;
/// Longest summary, and longest help of a parameter, bytes.
const TEXT_BYTES_MAX: usize = 512;
/// Most parameters.
const PARAMS_MAX: usize = 64;

/// Bounds on a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ManifestLimits {
    /// Longest manifest, bytes. Default 64 KiB.
    pub manifest_bytes_max: usize,
    /// Most guest memory per slot, bytes. Default 4,096.
    pub bytes_per_slot_max: u64,
    /// Most guest memory beside the slots, bytes. Default 64 MiB.
    pub base_bytes_max: u64,
}

impl Default for ManifestLimits {
    fn default() -> Self {
        Self { manifest_bytes_max: 65_536, bytes_per_slot_max: 4_096, base_bytes_max: 64 << 20 }
    }
}

/// Why a manifest was refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// The module has no custom section `ostler.policy`.
    #[error("the module has no custom section `ostler.policy`")]
    Missing,
    /// The module has the section more than once.
    #[error("the module has the custom section `ostler.policy` more than once")]
    Duplicate,
    /// The text is longer than the limit.
    #[error("{bytes} bytes, the limit is {limit}")]
    TooLong {
        /// Bytes of the text.
        bytes: usize,
        /// The limit in force.
        limit: usize,
    },
    /// The text is not the JSON object that the contract describes.
    #[error("not a manifest: {reason}")]
    Json {
        /// What the parser expected and where.
        reason: String,
    },
    /// The policy was built for a version of the contract that this host does not speak.
    #[error("abi {found}, this host speaks {ABI_VERSION}")]
    Abi {
        /// The version in the manifest.
        found: u32,
    },
    /// A required feature is not known here.
    #[error("the policy requires the feature `{feature}`, which this host does not have")]
    UnknownFeature {
        /// Name of the feature bit.
        feature: String,
    },
    /// A field is outside its bounds.
    #[error("{field}: {reason}")]
    Field {
        /// Name of the field, `params.NAME.FIELD` within a parameter.
        field: String,
        /// The offending value and its bound.
        reason: String,
    },
}

/// What a policy says about itself: checked, so every value is within its bounds.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    name: String,
    version: String,
    summary: String,
    kind: PolicyKind,
    features: Vec<&'static str>,
    wants_hits: bool,
    wants_misses: bool,
    params: Vec<Param>,
    bytes_per_slot: u32,
    base_bytes: u64,
}

/// The JSON as written. Unknown fields are tolerated, so that later versions can add some.
#[derive(Deserialize)]
struct ManifestText {
    abi: u32,
    name: String,
    version: String,
    #[serde(default)]
    summary: String,
    kinds: Vec<String>,
    #[serde(default)]
    features: Vec<String>,
    #[serde(default)]
    events: Vec<String>,
    #[serde(default)]
    params: Vec<ParamText>,
    bytes_per_slot: u32,
    base_bytes: u64,
}

/// One parameter as written.
#[derive(Deserialize)]
struct ParamText {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    default: Value,
    min: Option<Value>,
    max: Option<Value>,
    #[serde(default)]
    help: String,
}

impl Manifest {
    /// Reads and checks a manifest. Cost: microseconds, bounded by `limits.manifest_bytes_max`.
    ///
    /// # Errors
    ///
    /// A [`ManifestError`] that names the field and its bound. Never panics, whatever the bytes.
    pub fn parse(text: &[u8], limits: &ManifestLimits) -> Result<Self, ManifestError> {
        if text.len() > limits.manifest_bytes_max {
            let limit = limits.manifest_bytes_max;
            return Err(ManifestError::TooLong { bytes: text.len(), limit });
        }
        // The version is judged first: a manifest of another version may have other fields.
        #[derive(Deserialize)]
        struct Version {
            abi: u32,
        }
        let json = |error: serde_json::Error| ManifestError::Json { reason: error.to_string() };
        let version: Version = serde_json::from_slice(text).map_err(json)?;
        if version.abi != ABI_VERSION {
            return Err(ManifestError::Abi { found: version.abi });
        }
        let text: ManifestText = serde_json::from_slice(text).map_err(json)?;
        debug_assert_eq!(text.abi, ABI_VERSION, "both readings see the same text");
        Self::check(text, limits)
    }

    fn check(text: ManifestText, limits: &ManifestLimits) -> Result<Self, ManifestError> {
        check_name("name", &text.name)?;
        check_version(&text.version)?;
        check_text("summary", &text.summary)?;
        let kind = check_kinds(&text.kinds)?;
        let features = check_features(&text.features, kind)?;
        let wants = |kind: Kind| text.events.iter().any(|event| event == kind.name());
        let (wants_hits, wants_misses) = (wants(Kind::Hit), wants(Kind::Miss));
        check_events(&text.events)?;
        check_at_most("bytes_per_slot", text.bytes_per_slot.into(), limits.bytes_per_slot_max)?;
        check_at_most("base_bytes", text.base_bytes, limits.base_bytes_max)?;
        check_at_most("params", text.params.len() as u64, PARAMS_MAX as u64)?;
        let mut params: Vec<Param> = Vec::with_capacity(text.params.len());
        for param in text.params {
            let param = params::check_param(param)?;
            if params.iter().any(|earlier| earlier.name == param.name) {
                return Err(field(format!("params.{}", param.name), "declared twice"));
            }
            params.push(param);
        }
        Ok(Self {
            name: text.name,
            version: text.version,
            summary: text.summary,
            kind,
            features,
            wants_hits,
            wants_misses,
            params,
            bytes_per_slot: text.bytes_per_slot,
            base_bytes: text.base_bytes,
        })
    }

    /// The policy's name, `[a-z0-9_-]{1,64}`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The policy's own version, `[0-9A-Za-z.+-]{1,64}`.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// One sentence on what the policy does; may be empty, holds no control characters.
    #[must_use]
    pub fn summary(&self) -> &str {
        &self.summary
    }

    /// What the policy is for.
    #[must_use]
    pub fn kind(&self) -> PolicyKind {
        self.kind
    }

    /// Whether the policy requires a [feature of the contract](ostler_abi::feature).
    #[must_use]
    pub fn requires(&self, feature: &str) -> bool {
        self.features.contains(&feature)
    }

    /// Whether records of `kind` are to be delivered. Only hits and misses can be left out.
    #[must_use]
    pub fn wants(&self, kind: Kind) -> bool {
        match kind {
            Kind::Hit => self.wants_hits,
            Kind::Miss => self.wants_misses,
            _ => true,
        }
    }

    /// The declared parameters, in the order of the manifest.
    #[must_use]
    pub fn declared_params(&self) -> &[Param] {
        &self.params
    }

    /// Guest memory per slot that the policy asks for, bytes.
    #[must_use]
    pub fn bytes_per_slot(&self) -> u32 {
        self.bytes_per_slot
    }

    /// Guest memory beside the slots, bytes.
    #[must_use]
    pub fn base_bytes(&self) -> u64 {
        self.base_bytes
    }

    /// Guest memory allowed for `slots` slots: base + slots × bytes × 1.25, in whole pages.
    #[must_use]
    pub fn memory_bytes_max(&self, slots: u32) -> u64 {
        let for_slots = u64::from(slots) * u64::from(self.bytes_per_slot) * 5 / 4;
        (self.base_bytes + for_slots).next_multiple_of(PAGE_BYTES)
    }
}

/// Size of a WebAssembly page, the unit of guest memory.
pub const PAGE_BYTES: u64 = 65_536;

fn check_kinds(kinds: &[String]) -> Result<PolicyKind, ManifestError> {
    let known = || PolicyKind::ALL.map(PolicyKind::name).join(", ");
    let of = |name: &String| {
        PolicyKind::from_name(name).ok_or_else(|| {
            let (name, known) = (shorten(name), known());
            field("kinds", format!("`{name}` is not run by this host, known are: {known}"))
        })
    };
    let kinds = kinds.iter().map(of).collect::<Result<Vec<_>, _>>()?;
    match kinds[..] {
        [kind] => Ok(kind),
        [] => Err(field("kinds", format!("empty, must name one of: {}", known()))),
        _ => {
            let names: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
            Err(field("kinds", format!("{}: a policy is of one kind", names.join(" and "))))
        }
    }
}

/// The features required, each known and meant for policies of this kind.
fn check_features(names: &[String], kind: PolicyKind) -> Result<Vec<&'static str>, ManifestError> {
    let mut features = Vec::new();
    for name in names {
        let Some(&known) = FEATURES.iter().find(|known| *known == name) else {
            return Err(ManifestError::UnknownFeature { feature: shorten(name) });
        };
        let wanted = if known == feature::KEYS { "prefetch" } else { "eviction and warming" };
        if (known == feature::KEYS) != (kind == PolicyKind::Prefetch) {
            let kind = kind.name();
            return Err(field("features", format!("`{known}` is for {wanted}, this is {kind}")));
        }
        if !features.contains(&known) {
            features.push(known);
        }
    }
    Ok(features)
}

fn check_events(events: &[String]) -> Result<(), ManifestError> {
    let known = |name: &String| Kind::ALL.iter().any(|kind| kind.name() == name);
    match events.iter().find(|name| !known(name)) {
        None => Ok(()),
        Some(name) => {
            let optional = OPTIONAL_EVENTS.map(Kind::name).join(", ");
            let reason = format!("`{}` is unknown, optional are: {optional}", shorten(name));
            Err(field("events", reason))
        }
    }
}

fn check_name(path: &str, name: &str) -> Result<(), ManifestError> {
    let allowed = |c: u8| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
    if (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(allowed) {
        return Ok(());
    }
    Err(field(path, format!("`{}` is not [a-z0-9_-]{{1,{NAME_BYTES_MAX}}}", shorten(name))))
}

fn check_version(version: &str) -> Result<(), ManifestError> {
    let allowed = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'+' | b'-');
    if (1..=VERSION_BYTES_MAX).contains(&version.len()) && version.bytes().all(allowed) {
        return Ok(());
    }
    let reason = format!("`{}` is not [0-9A-Za-z.+-]{{1,{VERSION_BYTES_MAX}}}", shorten(version));
    Err(field("version", reason))
}

/// Text that people read: bounded, and without control characters, which a terminal would obey.
fn check_text(path: &str, text: &str) -> Result<(), ManifestError> {
    if text.len() > TEXT_BYTES_MAX {
        let reason = format!("{} bytes, the limit is {TEXT_BYTES_MAX}", text.len());
        return Err(field(path, reason));
    }
    if text.chars().any(char::is_control) {
        return Err(field(path, "holds a control character"));
    }
    Ok(())
}

fn check_at_most(path: &str, value: u64, limit: u64) -> Result<(), ManifestError> {
    if value <= limit {
        return Ok(());
    }
    Err(field(path, format!("{value}, the limit is {limit}")))
}

fn field(field: impl Into<String>, reason: impl Into<String>) -> ManifestError {
    ManifestError::Field { field: field.into(), reason: reason.into() }
}

/// A stranger's text as an error shows it: at most 80 characters, control characters escaped.
#[must_use]
pub fn shorten(text: &str) -> String {
    let mut short: String = text.chars().take(80).flat_map(char::escape_debug).collect();
    if text.chars().nth(80).is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn parse(value: &Value) -> Result<Manifest, ManifestError> {
        Manifest::parse(value.to_string().as_bytes(), &ManifestLimits::default())
    }

    fn good() -> Value {
        json!({
            "abi": 1, "name": "sieve", "version": "0.1.0", "summary": "Lazy promotion.",
            "kinds": ["eviction"], "features": [], "events": ["hit"],
            "params": [
                {"name": "small_permille", "type": "int", "default": 100, "min": 1, "max": 900,
                 "help": "Share of the small queue."},
                {"name": "decay", "type": "float", "default": 0.5, "min": 0, "max": 1.0},
                {"name": "adaptive", "type": "bool", "default": true},
            ],
            "bytes_per_slot": 16, "base_bytes": 131_072,
        })
    }

    #[test]
    fn a_good_manifest_is_read() {
        let manifest = parse(&good()).unwrap();
        assert_eq!((manifest.name(), manifest.version()), ("sieve", "0.1.0"));
        assert!(manifest.wants(Kind::Hit) && !manifest.wants(Kind::Miss));
        assert!(manifest.wants(Kind::Insert));
        assert_eq!(manifest.declared_params().len(), 3);
        assert_eq!(manifest.memory_bytes_max(10_000), 6 * 65_536, "131,072 + 200,000, in pages");
    }

    #[test]
    fn unknown_fields_are_tolerated_and_optional_ones_may_be_left_out() {
        let mut later = good();
        later["homepage"] = json!("https://example.org");
        later["params"][0]["unit"] = json!("permille");
        assert!(parse(&later).is_ok());
        let least = json!({"abi": 1, "name": "a", "version": "1", "kinds": ["eviction"],
                           "bytes_per_slot": 0, "base_bytes": 0});
        assert!(parse(&least).is_ok());
    }

    /// Each row changes one field of the good manifest and names what the error must mention.
    #[test]
    fn every_bound_is_checked() {
        let long = |n: usize| json!("x".repeat(n));
        let many: Vec<Value> = (0..65)
            .map(|i| json!({"name": format!("p{i}"), "type": "bool", "default": true}))
            .collect();
        let twice = json!([{"name": "a", "type": "bool", "default": true},
                           {"name": "a", "type": "bool", "default": true}]);
        let rows = [
            ("/abi", json!(2), "abi 2, this host speaks 1"),
            ("/abi", json!("1"), "not a manifest"),
            ("/name", json!("Sieve"), "name: `Sieve`"),
            ("/name", json!(""), "{1,64}"),
            ("/name", long(65), "{1,64}"),
            ("/name", json!("a/../b"), "name"),
            ("/version", json!("1 0"), "version"),
            ("/summary", long(513), "summary: 513 bytes, the limit is 512"),
            ("/summary", json!("\u{1b}[2J"), "control character"),
            ("/kinds", json!([]), "kinds: empty, must name one of: eviction, prefetch, warming"),
            (
                "/kinds",
                json!(["eviction", "prefetch"]),
                "eviction and prefetch: a policy is of one",
            ),
            ("/kinds", json!(["eviction", "eviction"]), "a policy is of one kind"),
            (
                "/kinds",
                json!(["admission"]),
                "`admission` is not run by this host, known are: evic",
            ),
            ("/features", json!(["keys"]), "features: `keys` is for prefetch, this is eviction"),
            ("/features", json!(["teleport"]), "feature `teleport`"),
            ("/events", json!(["hits"]), "`hits` is unknown"),
            ("/bytes_per_slot", json!(4097), "bytes_per_slot: 4097, the limit is 4096"),
            ("/bytes_per_slot", json!(-1), "not a manifest"),
            ("/base_bytes", json!(67_108_865), "base_bytes: 67108865, the limit is 67108864"),
            ("/params", json!(many), "params: 65, the limit is 64"),
            ("/params", twice, "params.a: declared twice"),
            (
                "/params/0/default",
                json!(0),
                "params.small_permille.default: 0 is not within 1..900",
            ),
            ("/params/0/default", json!(1.5), "not an int"),
            ("/params/0/min", json!(901), "min: 901 is above max: 900"),
            ("/params/0/type", json!("string"), "`string` is not int, float or bool"),
            ("/params/0/name", json!("A"), "params.A.name"),
            ("/params/0/help", long(513), "params.small_permille.help"),
            ("/params/1/default", json!(1.5), "params.decay.default: 1.5 is not within 0..1"),
            ("/params/1/max", json!("1"), "params.decay.max"),
            ("/params/2/default", json!(1), "not a bool"),
            ("/params/2/min", json!(false), "params.adaptive.min"),
        ];
        for (path, value, expected) in rows {
            let mut changed = good();
            *changed.pointer_mut(path).unwrap_or(&mut json!(null)) = value.clone();
            if changed.pointer(path) != Some(&value) {
                // The path did not exist: `min` of a bool.
                changed["params"][2]["min"] = value.clone();
            }
            let error = parse(&changed).unwrap_err().to_string();
            assert!(error.contains(expected), "{path} = {value}: {error}");
        }
    }

    #[test]
    fn each_kind_has_its_features() {
        let kinds = [
            ("eviction", "model", PolicyKind::Eviction),
            ("prefetch", "keys", PolicyKind::Prefetch),
            ("warming", "model", PolicyKind::Warming),
        ];
        for (name, feature, kind) in kinds {
            let mut changed = good();
            changed["kinds"] = json!([name]);
            let plain = parse(&changed).unwrap();
            assert_eq!((plain.kind(), plain.requires(feature)), (kind, false));
            changed["features"] = json!([feature, feature]);
            assert!(parse(&changed).unwrap().requires(feature), "{name}");
        }
        let mut changed = good();
        changed["kinds"] = json!(["prefetch"]);
        changed["features"] = json!(["model"]);
        let error = parse(&changed).unwrap_err().to_string();
        assert!(error.contains("`model` is for eviction and warming, this is prefetch"), "{error}");
    }

    #[test]
    fn a_long_text_is_refused_before_it_is_read() {
        let limits = ManifestLimits::default();
        let error = Manifest::parse(&vec![b'['; limits.manifest_bytes_max + 1], &limits);
        let limit = limits.manifest_bytes_max;
        assert_eq!(error, Err(ManifestError::TooLong { bytes: limit + 1, limit }));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "[a-z]{0,8}".prop_map(Value::from),
            Just(json!("int")),
            Just(json!("float")),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map(
                    "name|type|default|min|max|[a-z]{1,4}",
                    inner,
                    0..5
                )
                .prop_map(|map| map.into_iter().collect::<serde_json::Map<_, _>>().into()),
            ]
        })
    }

    proptest! {
        /// Bytes are read or refused; what is read satisfies the bounds that the fields promise.
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            prop_assert!(Manifest::parse(&bytes, &ManifestLimits::default()).is_err());
        }

        #[test]
        fn any_json_in_any_field_is_read_or_refused(
            at in 0usize..11, nested in 0usize..6, value in any_json(),
        ) {
            let fields = ["abi", "name", "version", "summary", "kinds", "features", "events",
                          "params", "bytes_per_slot", "base_bytes", "other"];
            let inner = ["name", "type", "default", "min", "max", "help"];
            let mut outer_changed = good();
            outer_changed[fields[at]] = value.clone();
            let mut inner_changed = good();
            inner_changed["params"][1][inner[nested]] = value;
            for changed in [outer_changed, inner_changed] {
                if let Ok(manifest) = parse(&changed) {
                    prop_assert!(manifest.name().len() <= NAME_BYTES_MAX);
                    prop_assert!(manifest.bytes_per_slot() <= 4096);
                    let defaults = manifest.params(&serde_json::Map::new()).unwrap();
                    let map = serde_json::from_str(&defaults).unwrap();
                    prop_assert_eq!(manifest.params(&map).unwrap(), defaults);
                }
            }
        }
    }
}
