//! What can go wrong with policies, for whoever shows it.

use ostler_core::SeatError;
use ostler_wasm::{ModuleId, Verdict};

use super::store::{StoreError, StoreOpenError};

/// Why a policy cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// It cannot be opened.
    #[error(transparent)]
    Open(#[from] ostler::OpenError),
    /// Nobody has uploaded it, and it is not built in.
    #[error(
        "policy `{name}`{}: no such policy; upload it, or name a built-in one: {}",
        version_text(version.as_ref()),
        ostler::BUILTINS.map(|builtin| builtin.name).join(", ")
    )]
    Unknown {
        /// Its name.
        name: String,
        /// The version that was asked for.
        version: Option<ModuleId>,
    },
    /// Its module is damaged or lost.
    #[error("policy `{name}`: the stored module {id} is damaged or lost; upload it again")]
    Damaged {
        /// Its name.
        name: String,
        /// The module.
        id: ModuleId,
    },
    /// The data directory cannot be used.
    #[error(transparent)]
    StoreOpen(#[from] StoreOpenError),
    /// The data directory cannot be read or written.
    #[error("data directory: {0}")]
    Store(#[from] StoreError),
    /// A later release wrote the data directory.
    #[error("data directory: policies.json has the form {format} of a later release; use that one")]
    Newer {
        /// The form it has.
        format: u32,
    },
    /// There is no thread for the compiler.
    #[error("compiler thread: {0}")]
    Thread(std::io::Error),
}

/// Why an upload came to nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UploadError {
    /// No policy may have this name.
    #[error("the name `{name}` is not possible: {reason}")]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The name is that of a policy that comes with the server.
    #[error("policy `{name}` comes with the server; upload under another name")]
    BuiltIn {
        /// The name.
        name: String,
    },
    /// The module is too large.
    #[error("the module has {bytes} bytes, at most {limit} are allowed")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The bound.
        limit: usize,
    },
    /// Too many uploads wait for the compiler.
    #[error("{limit} uploads wait for the compiler already; try again in a few seconds")]
    QueueFull {
        /// How many may wait.
        limit: usize,
    },
    /// There are too many versions.
    #[error("{versions_max} versions of policies are kept already; delete some")]
    Full {
        /// How many are kept.
        versions_max: usize,
    },
    /// The module is no policy that this server runs.
    #[error("refused: {}", failure_text(verdict))]
    Refused {
        /// Every step, and which one failed why.
        verdict: Box<Verdict>,
    },
    /// The compiler broke down on it.
    #[error("the compiler broke down on this module")]
    Compiler,
    /// It cannot be kept.
    #[error("the module cannot be kept: {0}")]
    Store(#[from] StoreError),
}

/// Why a policy was not deleted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeleteError {
    /// Caches use it.
    #[error(
        "policy `{name}` is in charge of, next in line for a rollback of, or tried in {}; activate \
         others first",
        caches.join(", ")
    )]
    InUse {
        /// Its name.
        name: String,
        /// The caches.
        caches: Vec<String>,
    },
    /// There is none.
    #[error("policy `{name}`{}: no such policy", version_text(version.as_ref()))]
    Unknown {
        /// Its name.
        name: String,
        /// The version that was named.
        version: Option<ModuleId>,
    },
    /// It comes with the server.
    #[error("policy `{name}` comes with the server and stays")]
    BuiltIn {
        /// Its name.
        name: String,
    },
    /// This cannot be kept.
    #[error("the deletion cannot be kept: {0}")]
    Store(#[from] StoreError),
}

/// Why a policy was not put in charge.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ActivateError {
    /// It cannot be had.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The cache does not take it.
    #[error(transparent)]
    Seat(#[from] SeatError),
    /// An experiment runs in the cache: a change would spoil it.
    #[error("experiment {id} runs in this cache; promote one of its arms or stop it first")]
    Experiment {
        /// Its id.
        id: u64,
    },
    /// The server is on its end.
    #[error("the server is stopping")]
    Stopping,
}

fn version_text(version: Option<&ModuleId>) -> String {
    version.map(|version| format!(" version {version}")).unwrap_or_default()
}

fn failure_text(verdict: &Verdict) -> String {
    match verdict.failure() {
        Some(step) => format!("{}: {}", step.name, step.detail),
        None => "for no reason that the verdict tells".to_owned(),
    }
}
