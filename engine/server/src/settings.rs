//! What a server is to be: listeners, caches, limits, tokens. Plain values; how files, variables and
//! flags become them is the business of `settings/`.

mod check;
mod file;
mod flags;
mod origin;
mod units;
mod variables;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ostler_adapt::Objective;
use ostler_adapt::live::LiveConfig;

use crate::auth::Grant;
pub use flags::Flags;
pub use origin::{OriginSettings, PrefetchSettings, WarmingSettings};

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

/// Looks for misspelt variables: of those called `names`, it returns the ones that start with `OSTLER_` and
/// are no setting, nor named by the file at `path` for a token. They say nothing, and may belong to
/// somebody else: Kubernetes makes `OSTLER_PORT` and the like for a service named `ostler`.
///
/// # Errors
///
/// [`SettingsError`] that names a variable which is nearly one of the settings', and that one.
pub fn unknown_variables(
    path: Option<&Path>,
    names: impl IntoIterator<Item = String>,
) -> Result<Vec<String>, SettingsError> {
    let form = path.map(file::Form::read).transpose()?.unwrap_or_default();
    let tokens: Vec<String> = form.tokens.into_iter().filter_map(|it| it.token_env).collect();
    variables::unknown(names, &tokens)
}

/// Checks what only matters to those who ask whether settings are right: that the uploaded policies they
/// name are in the data directory. A server starts all the same, with another policy in its place.
///
/// # Errors
///
/// [`SettingsError`] that names the cache.
pub fn check_kept(settings: &Settings) -> Result<(), SettingsError> {
    check::check_kept(settings)
}

/// Everything that a server is started with.
#[derive(Clone, Debug, PartialEq)]
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
    /// What the program's allocator is called, for `INFO`: only the program knows.
    pub allocator: &'static str,
}

/// One cache.
#[derive(Clone, Debug, PartialEq)]
pub struct CacheSettings {
    /// Its name, as in the paths of the API.
    pub name: String,
    /// Bytes it may hold.
    pub capacity_bytes: u64,
    /// The policy at the start: a name, with parameters if need be, as `ostler replay` takes it.
    pub policy: String,
    /// Shards, none for the server's choice.
    pub shards: Option<usize>,
    /// The databases that live in it.
    pub databases: Vec<u8>,
    /// How its policy changes by itself, none where it does not.
    pub adaptive: Option<AdaptiveSettings>,
    /// Where its entries come from, none where only its clients know.
    pub origin: Option<OriginSettings>,
    /// What is fetched before it is asked for, none for nothing; needs an origin.
    pub prefetch: Option<PrefetchSettings>,
    /// What is fetched of what was there before a restart, none for nothing; needs an origin.
    pub warming: Option<WarmingSettings>,
}

/// How the policy of a cache changes by itself: candidates in shadow on a share of its keys, and the
/// better one takes over.
#[derive(Clone, Debug, PartialEq)]
pub struct AdaptiveSettings {
    /// The candidates, each as `policy` of the cache is written; that one is among them.
    pub portfolio: Vec<String>,
    /// What they are compared by.
    pub objective: Objective,
    /// Share of the keys in shadow, above 0 and at most 1. A small cache takes more.
    pub rate: f64,
    /// Share of one core that shadows may take, above 0 and at most 1. More halves the share of the keys.
    pub cpu_max: f64,
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
    /// Time for which a server that is to stop goes on, and says over HTTP that it is not ready.
    pub stop_lead: Duration,
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
            stop_lead: Duration::ZERO,
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
            allocator: "unknown",
        }
    }
}

impl Default for AdaptiveSettings {
    fn default() -> Self {
        let live = LiveConfig::default();
        Self {
            portfolio: ["s3fifo", "lru", "sieve", "wtinylfu"].map(str::to_owned).to_vec(),
            objective: Objective::Object,
            rate: live.rate,
            cpu_max: live.cpu_max,
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
            adaptive: None,
            origin: None,
            prefetch: None,
            warming: None,
        }
    }
}

#[cfg(test)]
mod tests;
