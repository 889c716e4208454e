//! From what was said to settings that can be run, or the first setting that cannot.

mod adapt;
mod origin;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;

use ostler::{PolicySource, PolicySpec};

use super::file::{CacheForm, Form, LimitsForm, TlsForm, TokenForm};
use super::units::{Size, Span};
use super::{CacheSettings, Limits, Settings, SettingsError, TlsFiles};
use crate::auth::Grant;
use crate::keyspace::DATABASES;
use crate::{policies, tls};

/// Least capacity of a cache, bytes.
const CAPACITY_BYTES_MIN: u64 = 1 << 20;
/// Longest name of a cache.
const NAME_LEN_MAX: usize = 64;
/// Most threads.
const THREADS_MAX: usize = 256;

fn wrong(setting: impl Into<String>, reason: impl Into<String>) -> SettingsError {
    SettingsError::Setting { setting: setting.into(), reason: reason.into() }
}

/// The settings that `form` stands for.
pub(super) fn check(
    form: Form,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Settings, SettingsError> {
    let default = Settings::default();
    let settings = Settings {
        resp: address("resp", form.resp.as_deref(), default.resp)?,
        resp_unix: form.resp_unix,
        http: address("http", form.http.as_deref(), default.http)?,
        tls: form.tls.map(tls_files).transpose()?,
        caches: caches(form.caches)?,
        data_dir: form.data_dir,
        tokens: tokens(form.tokens, variable)?,
        limits: limits(&form.limits)?,
        threads: form.threads,
        allocator: default.allocator,
    };
    if settings.threads.is_some_and(|threads| !(1..=THREADS_MAX).contains(&threads)) {
        return Err(wrong("threads", format!("write a number from 1 to {THREADS_MAX}")));
    }
    check_listeners(&settings)?;
    for cache in &settings.caches {
        let data_dir = settings.data_dir.as_deref();
        check_policy(&cache.policy, data_dir, || format!("cache `{}`: policy", cache.name))?;
        adapt::check_portfolio(cache, data_dir)?;
        origin::check_fetching(cache, data_dir)?;
    }
    Ok(settings)
}

fn address(
    setting: &str,
    text: Option<&str>,
    default: Option<SocketAddr>,
) -> Result<Option<SocketAddr>, SettingsError> {
    match text {
        None => Ok(default),
        Some("off") => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| {
            wrong(
                setting,
                format!("`{text}` is no address: write 127.0.0.1:6379, [::1]:6379 or off"),
            )
        }),
    }
}

fn tls_files(form: TlsForm) -> Result<TlsFiles, SettingsError> {
    let half = |given: &str, missing: &str| {
        wrong("tls", format!("there is a {given}, and no {missing}: TLS needs both"))
    };
    let certificate = form.certificate.ok_or_else(|| half("key", "certificate"))?;
    let key = form.key.ok_or_else(|| half("certificate", "key"))?;
    let files = TlsFiles { certificate, key };
    // Read as the server will, so that whoever checks the settings hears of a key that does not fit.
    tls::acceptor(&files).map_err(|error| wrong("tls", error.to_string()))?;
    Ok(files)
}

/// Adds a cache's databases to those that are `taken`; the error says which cannot be.
fn check_databases(its: &[u8], taken: &mut BTreeSet<u8>) -> Result<(), String> {
    for &database in its {
        if database >= DATABASES {
            return Err(format!("there is no database {database}; they go from 0 to 15"));
        }
        if !taken.insert(database) {
            return Err(format!("database {database} is given twice; one cache has it"));
        }
    }
    Ok(())
}

fn caches(forms: Option<Vec<CacheForm>>) -> Result<Vec<CacheSettings>, SettingsError> {
    let forms = forms.unwrap_or_else(|| vec![CacheForm::default()]);
    if forms.is_empty() {
        return Err(wrong("cache", "there is none; write [[cache]] with a name and a capacity"));
    }
    let several = forms.len() > 1;
    let taken: Vec<u8> = forms.iter().filter_map(|form| form.databases.clone()).flatten().collect();
    let rest: Vec<u8> = (0..DATABASES).filter(|database| !taken.contains(database)).collect();
    let mut rest = Some(rest);
    let (mut names, mut databases) = (BTreeSet::new(), BTreeSet::new());
    let mut caches = Vec::new();
    for form in forms {
        let default = CacheSettings::default();
        let name = match form.name {
            Some(name) => name,
            None if several => return Err(wrong("cache", "one of several has no name; add one")),
            None => default.name,
        };
        let setting = |part: &str| format!("cache `{name}`: {part}");
        check_name(&name).map_err(|reason| wrong(setting("name"), reason))?;
        if !names.insert(name.clone()) {
            return Err(wrong(setting("name"), "another cache has it; names are unique"));
        }
        let capacity_bytes = form.capacity.map_or(default.capacity_bytes, |Size(bytes)| bytes);
        if capacity_bytes < CAPACITY_BYTES_MIN {
            let reason = format!("{capacity_bytes} bytes are too few; at least 1MiB is needed");
            return Err(wrong(setting("capacity"), reason));
        }
        let its = match form.databases {
            Some(databases) => databases,
            None => rest.take().ok_or_else(|| {
                let reason = "two caches name none; at most one can have those that are left";
                wrong(setting("databases"), reason)
            })?,
        };
        check_databases(&its, &mut databases)
            .map_err(|reason| wrong(setting("databases"), reason))?;
        let adaptive = match form.adaptive {
            Some(adaptive) => adapt::adaptive(adaptive, &|part| setting(part))?,
            None => None,
        };
        let named = |part: &str| setting(part);
        let origin = form.origin.map(|form| origin::origin(form, &named)).transpose()?;
        let prefetch = form.prefetch.map(|form| origin::prefetch(form, &named)).transpose()?;
        let warming = form.warming.map(|form| origin::warming(form, &named)).transpose()?;
        let first = adaptive.as_ref().and_then(|adaptive| adaptive.portfolio.first()).cloned();
        let policy = form.policy.or(first).unwrap_or(default.policy);
        if form.shards == Some(0) {
            return Err(wrong(setting("shards"), "there must be one at least; or leave it out"));
        }
        let shards = form.shards;
        let databases = its;
        let (prefetch, warming) = (prefetch.flatten(), warming.flatten());
        caches.push(CacheSettings {
            name,
            capacity_bytes,
            policy,
            shards,
            databases,
            adaptive,
            origin,
            prefetch,
            warming,
        });
    }
    Ok(caches)
}

fn check_name(name: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let fits = name.starts_with(plain)
        && name.len() <= NAME_LEN_MAX
        && name.chars().all(|c| plain(c) || "._-".contains(c));
    if fits {
        return Ok(());
    }
    Err(format!(
        "a name has 1 to {NAME_LEN_MAX} of a-z, 0-9, `.`, `_`, `-`, a letter or digit first"
    ))
}

/// Whether the policy can be there: an unknown name may have been uploaded, where uploads are kept.
fn check_policy(
    policy: &str,
    data_dir: Option<&Path>,
    setting: impl Fn() -> String,
) -> Result<(), SettingsError> {
    let spec: PolicySpec =
        policy.parse().map_err(|error: ostler::SpecError| wrong(setting(), error.to_string()))?;
    let known = match &spec.source {
        PolicySource::Native(name) => ostler::builtin(name).is_some(),
        PolicySource::Builtin(name) => ostler::builtin(name).is_some() || data_dir.is_some(),
        PolicySource::File(path) => path.is_file(),
        _ => true,
    };
    if known {
        return Ok(());
    }
    let names = ostler::BUILTINS.map(|builtin| builtin.name).join(", ");
    let reason = format!("there is no `{}`; there are {names}, or a FILE.wasm", spec.source);
    Err(wrong(setting(), reason))
}

/// Whether the uploaded policies that the settings name are where uploads are kept.
///
/// A start does not ask for that: a policy that the disk has lost is no reason not to serve.
///
/// # Errors
///
/// [`SettingsError`] that names the cache.
pub(super) fn check_kept(settings: &Settings) -> Result<(), SettingsError> {
    let Some(data_dir) = settings.data_dir.as_deref() else { return Ok(()) };
    for cache in &settings.caches {
        let Ok(PolicySpec { source: PolicySource::Builtin(name), .. }) = cache.policy.parse()
        else {
            continue;
        };
        let setting = || format!("cache `{}`: policy", cache.name);
        let is_kept = ostler::builtin(&name).is_some()
            || policies::is_kept(data_dir, &name)
                .map_err(|error| wrong(setting(), error.to_string()))?;
        if !is_kept {
            let dir = data_dir.display();
            let reason = format!("there is no `{name}`: it is not built in, nor kept in {dir}");
            return Err(wrong(setting(), reason));
        }
    }
    Ok(())
}

fn tokens(
    forms: Vec<TokenForm>,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<Grant>, SettingsError> {
    let mut grants: Vec<Grant> = Vec::new();
    for (number, form) in (1..).zip(forms) {
        let setting = if form.is_outside { "token".to_owned() } else { format!("token {number}") };
        let (token, place) = match (form.token, form.token_file, form.token_env) {
            (Some(token), None, None) => (token, String::new()),
            (None, Some(path), None) => {
                let text = std::fs::read_to_string(&path);
                let text = text.map_err(|error| {
                    wrong(&setting, format!("token_file {}: {error}", path.display()))
                })?;
                (text.trim().to_owned(), format!("{}: ", path.display()))
            }
            (None, None, Some(name)) => {
                let token = variable(&name);
                let unset = || wrong(&setting, format!("the variable {name} is not set"));
                (token.ok_or_else(unset)?, format!("{name}: "))
            }
            _ => {
                let reason = "give exactly one of token, token_file and token_env";
                return Err(wrong(setting, reason));
            }
        };
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            let reason =
                format!("{place}a token is one or more printable ASCII characters without blanks");
            return Err(wrong(setting, reason));
        }
        if grants.iter().any(|grant| grant.token == token && grant.role != form.role) {
            return Err(wrong(setting, "the same token is given with two roles"));
        }
        grants.push(Grant { token, role: form.role });
    }
    Ok(grants)
}

fn limits(form: &LimitsForm) -> Result<Limits, SettingsError> {
    let default = Limits::default();
    let bytes = |name: &str, size: Option<Size>, default: usize, range: (u64, u64)| {
        let size = size.map_or(default as u64, |Size(bytes)| bytes);
        let wrong =
            || wrong(format!("limits: {name}"), format!("write {} to {} bytes", range.0, range.1));
        if !(range.0..=range.1).contains(&size) {
            return Err(wrong());
        }
        usize::try_from(size).map_err(|_| wrong())
    };
    let count = |name: &str, count: Option<usize>, default: usize, max: usize| {
        let count = count.unwrap_or(default);
        let range = format!("write a number from 1 to {max}");
        if (1..=max).contains(&count) {
            Ok(count)
        } else {
            Err(wrong(format!("limits: {name}"), range))
        }
    };
    let span = |span: Option<Span>, default| span.map_or(default, |Span(span)| span);
    Ok(Limits {
        clients_max: count("clients_max", form.clients_max, default.clients_max, 1_000_000)?,
        arguments_max: count("arguments_max", form.arguments_max, default.arguments_max, 1 << 24)?,
        bulk_bytes_max: bytes(
            "bulk_max",
            form.bulk_max,
            default.bulk_bytes_max,
            (1 << 10, 512 << 20),
        )?,
        output_bytes_max: bytes(
            "output_max",
            form.output_max,
            default.output_bytes_max,
            (64 << 10, 16 << 30),
        )?,
        inline_bytes_max: bytes(
            "inline_max",
            form.inline_max,
            default.inline_bytes_max,
            (1 << 10, 1 << 20),
        )?,
        idle_timeout: span(form.idle_timeout, default.idle_timeout),
        module_bytes_max: bytes(
            "module_max",
            form.module_max,
            default.module_bytes_max,
            (1 << 10, default.module_bytes_max as u64),
        )?,
        compile_queue_max: count(
            "compile_queue_max",
            form.compile_queue_max,
            default.compile_queue_max,
            1_000,
        )?,
        stop_lead: span(form.stop_lead, default.stop_lead),
        drain_timeout: span(form.drain_timeout, default.drain_timeout),
    })
}

fn check_listeners(settings: &Settings) -> Result<(), SettingsError> {
    let Settings { resp, http, resp_unix, .. } = settings;
    if resp.is_none() && http.is_none() && resp_unix.is_none() {
        return Err(wrong("resp", "nothing listens; set resp, resp_unix or http"));
    }
    if resp.is_some_and(|address| address.port() != 0) && resp == http {
        return Err(wrong("http", "it has the address of resp; give it another port"));
    }
    for (setting, address) in [("resp", resp), ("http", http)] {
        if let Some(address) = address
            && !address.ip().is_loopback()
            && settings.tokens.is_empty()
        {
            let reason = format!(
                "other machines reach {address}, and there is no token; give one \
                 (OSTLER_TOKEN, --token-file or [[token]]), or listen on 127.0.0.1"
            );
            return Err(wrong(setting, reason));
        }
    }
    Ok(())
}
