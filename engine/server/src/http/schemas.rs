//! The form of answers whose types are not the API's own, for the OpenAPI document. Tests check that
//! what is sent has this form.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// `sha256:` and 64 lower-case hexadecimal digits.
#[derive(Serialize, Deserialize, JsonSchema)]
#[schemars(transparent)]
pub(crate) struct ModuleIdText(
    #[schemars(regex(pattern = r"^sha256:[0-9a-f]{64}$"))] pub(crate) String,
);

/// What an admission found out about a module.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct VerdictBody {
    /// The module.
    id: ModuleIdText,
    /// Its size.
    bytes: u64,
    /// Name and version from its manifest, once that was read.
    policy: Option<(String, String)>,
    /// The steps in order.
    steps: Vec<StepBody>,
    /// Things that are allowed and yet likely a mistake.
    warnings: Vec<String>,
}

/// One step of an admission.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct StepBody {
    /// Its name.
    name: String,
    /// What came of it.
    outcome: OutcomeText,
    /// What was measured, or why it failed.
    detail: String,
}

/// What came of a step.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OutcomeText {
    /// The module satisfies it.
    Passed,
    /// The module was refused here.
    Failed,
    /// An earlier step failed.
    NotRun,
}

/// A policy and its versions.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PolicyBody {
    /// Its name.
    pub(crate) name: String,
    /// Where it comes from.
    origin: OriginText,
    /// Its versions, newest first.
    versions: Vec<VersionBody>,
    /// The caches that use it.
    used_by: Vec<UseBody>,
    /// The caches that do not trust a version of it any more, by faults under whatever name. An
    /// activation with `pardon` ends that.
    quarantined_in: Vec<QuarantinedInBody>,
}

/// A cache that does not trust a version of a policy any more.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct QuarantinedInBody {
    /// The cache.
    cache: String,
    /// The version.
    version: ModuleIdText,
    /// Since when, milliseconds since 1970.
    since_unix_ms: u64,
}

/// Code that a cache does not trust any more.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct QuarantineBody {
    /// The policy under whose name it faulted.
    policy: String,
    /// The SHA-256 of its module as `sha256:…`, or the name of a policy that is compiled in.
    code: String,
    /// Since when, milliseconds since 1970.
    since_unix_ms: u64,
}

/// Where a policy comes from.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OriginText {
    /// It comes with the server.
    BuiltIn,
    /// Somebody uploaded it.
    Uploaded,
}

/// A version of a policy.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct VersionBody {
    /// The SHA-256 of the module.
    id: ModuleIdText,
    /// Its size.
    bytes: u64,
    /// When it was uploaded, milliseconds since 1970; none for a built-in policy.
    uploaded_unix_ms: Option<u64>,
    /// The version that its manifest names.
    manifest_version: String,
    /// What it says of itself.
    summary: String,
    /// Which seat it is for: `eviction`, `prefetch` or `warming`.
    kind: String,
    /// Its parameters.
    parameters: Vec<ParameterBody>,
    /// How it was judged; none for a built-in policy.
    verdict: Option<VerdictBody>,
}

/// A parameter of a policy.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ParameterBody {
    /// Its name.
    name: String,
    /// `int`, `float` or `bool`.
    kind: String,
    /// Its value where none is given.
    default: Value,
    /// Smallest value.
    min: Option<Value>,
    /// Largest value.
    max: Option<Value>,
    /// What it does.
    help: String,
}

/// A cache that uses a policy.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UseBody {
    /// The cache.
    cache: String,
    /// The seat: `eviction`, `prefetch` or `warming`.
    seat: String,
    /// The version it uses.
    version: Option<ModuleIdText>,
    /// As what.
    role: UseText,
}

/// As what a cache uses a policy.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum UseText {
    /// It is in charge.
    InCharge,
    /// A rollback would put it in charge.
    Previous,
}

/// Which policy to put in charge.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ActivationBody {
    /// An uploaded policy, a built-in one, or `native:NAME` for one that is compiled in.
    policy: String,
    /// Which version, the newest where none is named.
    version: Option<ModuleIdText>,
    /// Parameters; those that are left out have the defaults of its manifest.
    #[serde(default)]
    params: Map<String, Value>,
    /// Trust it again where its faults put it into quarantine.
    #[serde(default)]
    pardon: bool,
}

/// A problem document (RFC 9457). Some kinds have members of their own, such as `step`.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(crate) struct ProblemBody {
    /// What kind of problem, as a URN.
    #[serde(rename = "type")]
    kind: String,
    /// The kind in words.
    title: String,
    /// The status.
    status: u16,
    /// What is wrong here, and what would be right.
    detail: String,
}
