//! The settings of an origin, and of what is fetched from it before anybody asks.

use std::path::Path;

use ostler::{PolicySource, PolicySpec};
use ostler_abi::PolicyKind;

use super::wrong;
use crate::origin::template::Template;
use crate::policies;
use crate::settings::file::{OriginForm, PrefetchForm, WarmingForm};
use crate::settings::units::{Size, Span};
use crate::settings::{
    CacheSettings, OriginSettings, PrefetchSettings, SettingsError, WarmingSettings,
};

/// Most fetches at a time.
const CONNECTIONS_MAX: usize = 1_024;
/// Largest value that may be allowed.
const BODY_BYTES_MAX: u64 = 512 << 20;
/// Least and most bytes for keys, of policies and of the history.
const KEYS_BYTES: (u64, u64) = (64 << 10, 16 << 30);
/// Most fetches that a miss may earn.
const FETCHES_PER_MISS_MAX: f64 = 16.0;
/// Most fetches a second while a cache is warmed.
const FETCHES_PER_SECOND_MAX: u32 = 1_000_000;

/// Makes the name of a setting from its part.
type Named<'a> = &'a dyn Fn(&str) -> String;

/// What `form` stands for.
pub(super) fn origin(
    form: OriginForm,
    setting: Named<'_>,
) -> Result<OriginSettings, SettingsError> {
    let default = OriginSettings::default();
    let url = form.url.ok_or_else(|| {
        wrong(setting("origin: url"), "there is none; write \"http://127.0.0.1:9000/{key}\"")
    })?;
    Template::try_new(&url).map_err(|reason| wrong(setting("origin: url"), reason))?;
    let headers = form.headers.unwrap_or_default().into_iter().map(|(name, value)| {
        let name = name.to_ascii_lowercase();
        let named = axum::http::HeaderName::try_from(name.as_str());
        let valued = axum::http::HeaderValue::try_from(value.as_str());
        let reason = match (named, valued) {
            (Ok(_), Ok(_))
                if !matches!(name.as_str(), "host" | "connection" | "content-length") =>
            {
                return Ok((name, value));
            }
            (Ok(_), Ok(_)) => format!("`{name}` is set by the server itself"),
            _ => format!("`{name}` with this value is no header of HTTP"),
        };
        Err(wrong(setting("origin: headers"), reason))
    });
    let timeout = form.timeout.map_or(default.timeout, |Span(span)| span);
    if timeout.is_zero() {
        let reason = "a fetch needs some time; write 500ms or 2s";
        return Err(wrong(setting("origin: timeout"), reason));
    }
    let connections_max = form.connections_max.unwrap_or(default.connections_max);
    if !(1..=CONNECTIONS_MAX).contains(&connections_max) {
        let reason = format!("write a number from 1 to {CONNECTIONS_MAX}");
        return Err(wrong(setting("origin: connections_max"), reason));
    }
    let body_max = form.body_max.unwrap_or(Size(default.body_bytes_max as u64));
    Ok(OriginSettings {
        url,
        headers: headers.collect::<Result<_, _>>()?,
        timeout,
        connections_max,
        ttl: form.ttl.map(|Span(span)| span).filter(|span| !span.is_zero()),
        body_bytes_max: bytes(body_max, (1, BODY_BYTES_MAX), || setting("origin: body_max"))?,
        database: form.database,
    })
}

/// What `form` stands for.
pub(super) fn prefetch(
    form: PrefetchForm,
    setting: Named<'_>,
) -> Result<Option<PrefetchSettings>, SettingsError> {
    let default = PrefetchSettings::default();
    let fetches_per_miss = form.fetches_per_miss.unwrap_or(default.fetches_per_miss);
    if !(fetches_per_miss > 0.0 && fetches_per_miss <= FETCHES_PER_MISS_MAX) {
        let reason = format!("write a number above 0, at most {FETCHES_PER_MISS_MAX}");
        return Err(wrong(setting("prefetch: fetches_per_miss"), reason));
    }
    let known = form.known_max.unwrap_or(Size(default.known_bytes as u64));
    let settings = PrefetchSettings {
        policy: form.policy.unwrap_or(default.policy),
        fetches_per_miss,
        known_bytes: bytes(known, KEYS_BYTES, || setting("prefetch: known_max"))?,
    };
    Ok((form.enabled != Some(false)).then_some(settings))
}

/// What `form` stands for.
pub(super) fn warming(
    form: WarmingForm,
    setting: Named<'_>,
) -> Result<Option<WarmingSettings>, SettingsError> {
    let default = WarmingSettings::default();
    let share = form.share.unwrap_or(default.share);
    if !(share > 0.0 && share <= 1.0) {
        let reason = format!("{share} is no share; write a number above 0, at most 1");
        return Err(wrong(setting("warming: share"), reason));
    }
    let fetches_per_second = form.fetches_per_second.unwrap_or(default.fetches_per_second);
    if !(1..=FETCHES_PER_SECOND_MAX).contains(&fetches_per_second) {
        let reason = format!("write a number from 1 to {FETCHES_PER_SECOND_MAX}");
        return Err(wrong(setting("warming: fetches_per_second"), reason));
    }
    let history = form.history_max.unwrap_or(Size(default.history_bytes as u64));
    let Span(snapshot_interval) = form.snapshot_interval.unwrap_or(Span(default.snapshot_interval));
    if snapshot_interval.as_secs() == 0 {
        let reason = "too often; write 1s at least, such as 5m";
        return Err(wrong(setting("warming: snapshot_interval"), reason));
    }
    let settings = WarmingSettings {
        policy: form.policy.unwrap_or(default.policy),
        share,
        fetches_per_second,
        history_bytes: bytes(history, KEYS_BYTES, || setting("warming: history_max"))?,
        snapshot_interval,
    };
    Ok((form.enabled != Some(false)).then_some(settings))
}

fn bytes(
    Size(bytes): Size,
    (min, max): (u64, u64),
    setting: impl Fn() -> String,
) -> Result<usize, SettingsError> {
    let fits = usize::try_from(bytes).ok().filter(|_| (min..=max).contains(&bytes));
    fits.ok_or_else(|| wrong(setting(), format!("write {min} to {max} bytes")))
}

/// Whether the policies can be there, and somebody can be asked for entries.
pub(super) fn check_fetching(
    cache: &CacheSettings,
    data_dir: Option<&Path>,
) -> Result<(), SettingsError> {
    let setting = |part: &str| format!("cache `{}`: {part}", cache.name);
    let wanted = [
        ("prefetch", PolicyKind::Prefetch, cache.prefetch.as_ref().map(|it| it.policy.as_str())),
        ("warming", PolicyKind::Warming, cache.warming.as_ref().map(|it| it.policy.as_str())),
    ];
    for (part, kind, policy) in wanted {
        let Some(policy) = policy else { continue };
        if cache.origin.is_none() {
            let reason = "there is no origin to fetch from; add [cache.origin] with a url";
            return Err(wrong(setting(part), reason));
        }
        let setting = setting(&format!("{part}: policy"));
        check_policy(policy, kind, data_dir, setting)?;
    }
    let Some(origin) = &cache.origin else { return Ok(()) };
    match origin.database {
        Some(database) if !cache.databases.contains(&database) => {
            let reason = format!("database {database} is not one of this cache's");
            Err(wrong(setting("origin: database"), reason))
        }
        None if cache.databases.is_empty() => {
            Err(wrong(setting("origin"), "the cache has no database, so nobody can ask it"))
        }
        _ => Ok(()),
    }
}

fn check_policy(
    policy: &str,
    kind: PolicyKind,
    data_dir: Option<&Path>,
    setting: String,
) -> Result<(), SettingsError> {
    let parsed: Result<PolicySpec, ostler::SpecError> = policy.parse();
    let spec = parsed.map_err(|error| wrong(&setting, error.to_string()))?;
    let names = policies::names(kind);
    let is_built_in = |name: &str| names.contains(&name);
    let known = match &spec.source {
        PolicySource::Native(name) => is_built_in(name),
        PolicySource::Builtin(name) => {
            is_built_in(name) || data_dir.is_some() && ostler::builtin(name).is_none()
        }
        PolicySource::File(path) => path.is_file(),
        _ => true,
    };
    if known {
        return Ok(());
    }
    let (kind, names) = (kind.name(), names.join(", "));
    let source = &spec.source;
    let reason =
        format!("there is no `{source}` of the kind {kind}; there are {names}, or a FILE.wasm");
    Err(wrong(setting, reason))
}
