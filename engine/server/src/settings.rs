//! What a server is to be: listeners, caches, limits, tokens. Plain values; how files, variables and
//! flags become them is the business of `settings/`.

mod check;
mod file;
mod flags;
mod units;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::auth::Grant;
pub use flags::Flags;

/// The settings' file that comes with the server: every setting with its default, and what it means.
pub const EXAMPLE: &str = include_str!("../ostler.toml");

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The file is not understood.
    #[error("{}:{line}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        message: String,
    },
    /// A setting cannot be.
    #[error("{setting}: {reason}")]
    Setting {
        /// Which.
        setting: String,
        /// Why, and what would be right.
        reason: String,
    },
}

/// The settings of the file at `path`, of the defaults where there is none; over them what the
/// environment says, over that what the command line says.
///
/// `variable` looks an environment variable up.
///
/// # Errors
///
/// [`SettingsError`] that names the setting and says what would be right.
pub fn load(
    path: Option<&Path>,
    variable: &dyn Fn(&str) -> Option<String>,
    flags: Flags,
) -> Result<Settings, SettingsError> {
    let mut form = path.map(file::Form::read).transpose()?.unwrap_or_default();
    Flags::from_environment(variable).apply(&mut form, flags::Speaker::Environment)?;
    flags.apply(&mut form, flags::Speaker::CommandLine)?;
    check::check(form, variable)
}

/// Everything that a server is started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where clients of Redis connect, none for nowhere.
    pub resp: Option<SocketAddr>,
    /// A Unix socket for them.
    pub resp_unix: Option<PathBuf>,
    /// Where the HTTP API listens, none for nowhere.
    pub http: Option<SocketAddr>,
    /// Certificate chain and key, PEM files: both fronts speak TLS with them.
    pub tls: Option<TlsFiles>,
    /// The caches; at least one.
    pub caches: Vec<CacheSettings>,
    /// Where uploaded policies are kept, none for memory only.
    pub data_dir: Option<PathBuf>,
    /// Tokens; without any, everybody may do everything, which only loopback may offer.
    pub tokens: Vec<Grant>,
    /// Bounds.
    pub limits: Limits,
    /// Threads that serve RESP, none for the engine's choice.
    pub threads: Option<usize>,
}

/// One cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheSettings {
    /// Its name, as in the paths of the API.
    pub name: String,
    /// Bytes it may hold.
    pub capacity_bytes: u64,
    /// The policy at the start: a name, with parameters if need be, as `ostler replay` takes it.
    pub policy: String,
    /// Shards, none for the engine's choice.
    pub shards: Option<usize>,
    /// The databases that live in it.
    pub databases: Vec<u8>,
}

/// Files for TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate chain.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// Bounds of what callers can ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time.
    pub clients_max: usize,
    /// Arguments of a command.
    pub arguments_max: usize,
    /// Bytes of an argument.
    pub bulk_bytes_max: usize,
    /// Bytes that a client may leave unread.
    pub output_bytes_max: usize,
    /// Bytes of an inline command, and of a command before authentication.
    pub inline_bytes_max: usize,
    /// Silence after which a client is cut off, zero for never.
    pub idle_timeout: Duration,
    /// Bytes of a policy module; by default what the Wasm host admits, which is also the most.
    pub module_bytes_max: usize,
    /// Uploads that wait for the compiler.
    pub compile_queue_max: usize,
    /// Time that a stop waits for clients.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            clients_max: 10_000,
            arguments_max: 1 << 20,
            bulk_bytes_max: 512 << 20,
            output_bytes_max: 64 << 20,
            inline_bytes_max: 64 << 10,
            idle_timeout: Duration::ZERO,
            module_bytes_max: ostler_wasm::Limits::default().module_bytes_max,
            compile_queue_max: 16,
            drain_timeout: Duration::from_secs(5),
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            resp: Some(SocketAddr::from(([127, 0, 0, 1], 6379))),
            resp_unix: None,
            http: Some(SocketAddr::from(([127, 0, 0, 1], 7379))),
            tls: None,
            caches: vec![CacheSettings::default()],
            data_dir: None,
            tokens: Vec::new(),
            limits: Limits::default(),
            threads: None,
        }
    }
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self {
            name: "default".to_owned(),
            capacity_bytes: 256 << 20,
            policy: "s3fifo".to_owned(),
            shards: None,
            databases: (0..crate::keyspace::DATABASES).collect(),
        }
    }
}

#[cfg(test)]
mod tests;
