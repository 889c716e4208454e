//! What the environment and the command line say, each over what was said before.

use std::path::PathBuf;
use std::str::FromStr;

use super::SettingsError;
use super::file::{CacheForm, Form, TlsForm, TokenForm};
use crate::auth::Role;

/// Settings that can be given outside the file, as text. What is none leaves the file's word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// Where clients of Redis connect: `ADDRESS:PORT` or `off`.
    pub resp: Option<String>,
    /// A Unix socket for them.
    pub resp_unix: Option<PathBuf>,
    /// Where the HTTP API listens: `ADDRESS:PORT` or `off`.
    pub http: Option<String>,
    /// Bytes of the cache, such as `256MiB`; only where there is one cache.
    pub capacity: Option<String>,
    /// Its policy; only where there is one cache.
    pub policy: Option<String>,
    /// Where its entries come from, `http://…/{key}`; only where there is one cache.
    pub origin: Option<String>,
    /// Its prefetch policy; only where there is one cache.
    pub prefetch: Option<String>,
    /// Its warming policy; only where there is one cache.
    pub warming: Option<String>,
    /// Where uploaded policies are kept.
    pub data_dir: Option<PathBuf>,
    /// Threads that serve RESP.
    pub threads: Option<String>,
    /// A token that may do everything. Not for command lines, which others can read.
    pub token: Option<String>,
    /// A file with a token that may do everything.
    pub token_file: Option<PathBuf>,
    /// Certificate chain for TLS, PEM.
    pub tls_cert: Option<PathBuf>,
    /// Its key, PEM.
    pub tls_key: Option<PathBuf>,
}

/// Who says something, for errors: as the flag or as the variable is written.
#[derive(Clone, Copy)]
pub(super) enum Speaker {
    Environment,
    CommandLine,
}

impl Speaker {
    fn name(self, flag: &str) -> String {
        match self {
            Self::Environment => format!("OSTLER_{}", flag.to_uppercase().replace('-', "_")),
            Self::CommandLine => format!("--{flag}"),
        }
    }
}

impl Flags {
    /// What the variables `OSTLER_RESP`, `OSTLER_CAPACITY` and so on say; empty ones say nothing.
    #[must_use]
    pub fn from_environment(variable: &dyn Fn(&str) -> Option<String>) -> Self {
        let text =
            |flag: &str| variable(&Speaker::Environment.name(flag)).filter(|text| !text.is_empty());
        let path = |flag: &str| text(flag).map(PathBuf::from);
        Self {
            resp: text("resp"),
            resp_unix: path("resp-unix"),
            http: text("http"),
            capacity: text("capacity"),
            policy: text("policy"),
            origin: text("origin"),
            prefetch: text("prefetch"),
            warming: text("warming"),
            data_dir: path("data-dir"),
            threads: text("threads"),
            token: text("token"),
            token_file: path("token-file"),
            tls_cert: path("tls-cert"),
            tls_key: path("tls-key"),
        }
    }

    /// Writes what is said here over `form`.
    pub(super) fn apply(self, form: &mut Form, speaker: Speaker) -> Result<(), SettingsError> {
        over(&mut form.resp, self.resp);
        over(&mut form.resp_unix, self.resp_unix);
        over(&mut form.http, self.http);
        over(&mut form.data_dir, self.data_dir);
        if let Some(threads) = self.threads {
            form.threads = Some(parsed(&threads, speaker.name("threads"))?);
        }
        if let Some(capacity) = self.capacity {
            let name = speaker.name("capacity");
            let size = parsed(&capacity, name.clone())?;
            the_cache(form, name)?.capacity = Some(size);
        }
        if let Some(policy) = self.policy {
            the_cache(form, speaker.name("policy"))?.policy = Some(policy);
        }
        if let Some(url) = self.origin {
            the_cache(form, speaker.name("origin"))?.origin.get_or_insert_default().url = Some(url);
        }
        if let Some(policy) = self.prefetch {
            let cache = the_cache(form, speaker.name("prefetch"))?;
            cache.prefetch.get_or_insert_default().policy = Some(policy);
        }
        if let Some(policy) = self.warming {
            let cache = the_cache(form, speaker.name("warming"))?;
            cache.warming.get_or_insert_default().policy = Some(policy);
        }
        if self.tls_cert.is_some() || self.tls_key.is_some() {
            let tls = form.tls.get_or_insert_with(TlsForm::default);
            over(&mut tls.certificate, self.tls_cert);
            over(&mut tls.key, self.tls_key);
        }
        if self.token.is_some() || self.token_file.is_some() {
            if self.token.is_some() && self.token_file.is_some() {
                let setting = speaker.name("token-file");
                let reason = "a token is given as well; one of them is enough".to_owned();
                return Err(SettingsError::Setting { setting, reason });
            }
            // Over what an earlier speaker said, beside the file's own tokens.
            form.tokens.retain(|token| !token.is_outside);
            let (token, token_file) = (self.token, self.token_file);
            let outside = TokenForm {
                role: Role::Admin,
                token,
                token_file,
                token_env: None,
                is_outside: true,
            };
            form.tokens.push(outside);
        }
        Ok(())
    }
}

fn over<T>(value: &mut Option<T>, said: Option<T>) {
    if said.is_some() {
        *value = said;
    }
}

fn parsed<T: FromStr<Err: ToString>>(text: &str, setting: String) -> Result<T, SettingsError> {
    text.parse()
        .map_err(|error: T::Err| SettingsError::Setting { setting, reason: error.to_string() })
}

/// The one cache that a flag can mean.
fn the_cache(form: &mut Form, setting: String) -> Result<&mut CacheForm, SettingsError> {
    let caches = form.caches.get_or_insert_with(|| vec![CacheForm::default()]);
    let count = caches.len();
    match &mut caches[..] {
        [cache] => Ok(cache),
        _ => {
            let reason = format!("the settings' file has {count} caches; set it there for each");
            Err(SettingsError::Setting { setting, reason })
        }
    }
}
