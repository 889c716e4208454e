//! The settings of a cache whose policy changes by itself.

use std::path::Path;

use ostler::PolicySpec;
use ostler_adapt::CANDIDATES_MAX;

use super::{check_policy, wrong};
use crate::settings::file::AdaptiveForm;
use crate::settings::{AdaptiveSettings, CacheSettings, SettingsError};

/// What `form` stands for, none where it is switched off. `setting` names its parts.
pub(super) fn adaptive(
    form: AdaptiveForm,
    setting: &dyn Fn(&str) -> String,
) -> Result<Option<AdaptiveSettings>, SettingsError> {
    let default = AdaptiveSettings::default();
    let share = |name: &str, share: Option<f64>, default: f64| {
        let share = share.unwrap_or(default);
        if share > 0.0 && share <= 1.0 {
            return Ok(share);
        }
        let reason = format!("{share} is no share; write a number above 0, at most 1");
        Err(wrong(setting(&format!("adaptive: {name}")), reason))
    };
    let objective = match form.objective {
        None => default.objective,
        Some(text) => text.parse().map_err(|error: ostler_adapt::UnknownObjective| {
            wrong(setting("adaptive: objective"), error.to_string())
        })?,
    };
    let settings = AdaptiveSettings {
        portfolio: form.portfolio.unwrap_or(default.portfolio),
        objective,
        rate: share("rate", form.rate, default.rate)?,
        cpu_max: share("cpu_max", form.cpu_max, default.cpu_max)?,
    };
    let count = settings.portfolio.len();
    if !(2..=CANDIDATES_MAX).contains(&count) {
        let reason = format!("write 2 to {CANDIDATES_MAX} policies; these are {count}");
        return Err(wrong(setting("adaptive: portfolio"), reason));
    }
    Ok((form.enabled != Some(false)).then_some(settings))
}

/// Whether the candidates can be there, are different, and the cache's policy is one of them.
pub(super) fn check_portfolio(
    cache: &CacheSettings,
    data_dir: Option<&Path>,
) -> Result<(), SettingsError> {
    let Some(adaptive) = &cache.adaptive else { return Ok(()) };
    let setting = || format!("cache `{}`: adaptive: portfolio", cache.name);
    let mut specs: Vec<PolicySpec> = Vec::new();
    for policy in &adaptive.portfolio {
        check_policy(policy, data_dir, setting)?;
        let spec: PolicySpec = policy
            .parse()
            .map_err(|error: ostler::SpecError| wrong(setting(), error.to_string()))?;
        if specs.contains(&spec) {
            return Err(wrong(setting(), format!("`{policy}` is given twice")));
        }
        specs.push(spec);
    }
    if cache.policy.parse().is_ok_and(|policy: PolicySpec| specs.contains(&policy)) {
        return Ok(());
    }
    let reason = format!("`{}`, the cache's policy, is missing; add it", cache.policy);
    Err(wrong(setting(), reason))
}
