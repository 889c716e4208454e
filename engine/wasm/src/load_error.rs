//! Why a module was refused, by step of its admission.

use thiserror::Error;

use crate::manifest::ManifestError;

/// Why a module was refused. Each variant belongs to one [`step`](Self::step) of the admission.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The module is larger than the limit; nothing of it was read.
    #[error("the module is {bytes} bytes, the limit is {limit}")]
    TooLarge {
        /// Bytes of the module.
        bytes: usize,
        /// The limit in force.
        limit: usize,
    },
    /// A native object file, such as a precompiled module, which cannot be checked.
    #[error("a native or precompiled object (ELF), the WebAssembly module itself is needed")]
    Precompiled,
    /// The bytes are not a WebAssembly module.
    #[error("not a WebAssembly module: {reason}")]
    Malformed {
        /// What was wrong, and where.
        reason: String,
    },
    /// The manifest is missing or refused.
    #[error("manifest: {0}")]
    Manifest(#[from] ManifestError),
    /// The module imports something that a policy does not get.
    #[error(
        "import `{module}.{name}`: a policy may import only the function `ostler.log(i32, i32)`"
    )]
    Import {
        /// Module name of the import.
        module: String,
        /// Field name of the import.
        name: String,
    },
    /// An export of the contract is missing or has the wrong type.
    #[error("export `{name}`: {found}, must be {expected}")]
    Export {
        /// Name of the export.
        name: &'static str,
        /// What the module has under that name.
        found: String,
        /// What the contract asks for.
        expected: &'static str,
    },
    /// The module exports a name that is kept for a later version.
    #[error("export `{name}` is reserved for a later version of the contract")]
    Reserved {
        /// The reserved name.
        name: &'static str,
    },
    /// The module exports a call that its manifest does not go with.
    #[error("export `{name}`: {reason}")]
    Unasked {
        /// The name.
        name: &'static str,
        /// What the manifest says, and what it would have to.
        reason: String,
    },
    /// Something in the module exceeds a limit.
    #[error("{what}: {value}, the limit is {limit}")]
    Limit {
        /// What was counted.
        what: String,
        /// How much there is.
        value: u64,
        /// The limit in force.
        limit: u64,
    },
    /// The module uses a WebAssembly feature outside the frozen set.
    #[error("WebAssembly feature `{feature}` is not in the contract: {reason}")]
    Feature {
        /// Name of the feature or proposal.
        feature: String,
        /// Where it is used.
        reason: String,
    },
    /// The module does not validate.
    #[error("not a valid module: {reason}")]
    Invalid {
        /// What was wrong, and where.
        reason: String,
    },
    /// The compiler refused the module.
    #[error("{reason}")]
    Compile {
        /// What the compiler said.
        reason: String,
    },
}

impl LoadError {
    /// Name of the step that refuses with this error, one of [`STEPS`](crate::STEPS).
    #[must_use]
    pub const fn step(&self) -> &'static str {
        match self {
            LoadError::TooLarge { .. } | LoadError::Precompiled | LoadError::Malformed { .. } => {
                "parse"
            }
            LoadError::Manifest(_) => "manifest",
            LoadError::Import { .. } => "imports",
            LoadError::Export { .. } | LoadError::Reserved { .. } | LoadError::Unasked { .. } => {
                "exports"
            }
            LoadError::Limit { .. } => "limits",
            LoadError::Feature { .. } | LoadError::Invalid { .. } => "features",
            LoadError::Compile { .. } => "compile",
        }
    }
}
