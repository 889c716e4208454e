//! The settings' file: TOML, every key optional, unknown ones refused with their line.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::SettingsError;
use super::units::{Size, Span};
use crate::auth::Role;

/// What the file says, before defaults and checks.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Form {
    pub(super) resp: Option<String>,
    pub(super) resp_unix: Option<PathBuf>,
    pub(super) http: Option<String>,
    pub(super) data_dir: Option<PathBuf>,
    pub(super) threads: Option<usize>,
    pub(super) tls: Option<TlsForm>,
    #[serde(default, rename = "cache")]
    pub(super) caches: Option<Vec<CacheForm>>,
    #[serde(default, rename = "token")]
    pub(super) tokens: Vec<TokenForm>,
    #[serde(default)]
    pub(super) limits: LimitsForm,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TlsForm {
    pub(super) certificate: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CacheForm {
    pub(super) name: Option<String>,
    pub(super) capacity: Option<Size>,
    pub(super) policy: Option<String>,
    pub(super) shards: Option<usize>,
    pub(super) databases: Option<Vec<u8>>,
    pub(super) adaptive: Option<AdaptiveForm>,
    pub(super) origin: Option<OriginForm>,
    pub(super) prefetch: Option<PrefetchForm>,
    pub(super) warming: Option<WarmingForm>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OriginForm {
    pub(super) url: Option<String>,
    pub(super) headers: Option<BTreeMap<String, String>>,
    pub(super) timeout: Option<Span>,
    pub(super) connections_max: Option<usize>,
    pub(super) ttl: Option<Span>,
    pub(super) body_max: Option<Size>,
    pub(super) database: Option<u8>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PrefetchForm {
    pub(super) enabled: Option<bool>,
    pub(super) policy: Option<String>,
    pub(super) fetches_per_miss: Option<f64>,
    pub(super) known_max: Option<Size>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WarmingForm {
    pub(super) enabled: Option<bool>,
    pub(super) policy: Option<String>,
    pub(super) share: Option<f64>,
    pub(super) fetches_per_second: Option<u32>,
    pub(super) history_max: Option<Size>,
    pub(super) snapshot_interval: Option<Span>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AdaptiveForm {
    pub(super) enabled: Option<bool>,
    pub(super) portfolio: Option<Vec<String>>,
    pub(super) objective: Option<String>,
    pub(super) rate: Option<f64>,
    pub(super) cpu_max: Option<f64>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenForm {
    pub(super) role: Role,
    pub(super) token: Option<String>,
    pub(super) token_file: Option<PathBuf>,
    pub(super) token_env: Option<String>,
    /// Given by the environment or the command line.
    #[serde(skip)]
    pub(super) is_outside: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LimitsForm {
    pub(super) clients_max: Option<usize>,
    pub(super) arguments_max: Option<usize>,
    pub(super) bulk_max: Option<Size>,
    pub(super) output_max: Option<Size>,
    pub(super) inline_max: Option<Size>,
    pub(super) idle_timeout: Option<Span>,
    pub(super) module_max: Option<Size>,
    pub(super) compile_queue_max: Option<usize>,
    pub(super) stop_lead: Option<Span>,
    pub(super) drain_timeout: Option<Span>,
}

impl Form {
    /// The file at `path`.
    pub(super) fn read(path: &Path) -> Result<Self, SettingsError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| SettingsError::Read { path: path.into(), source })?;
        Self::parse(&text, path)
    }

    /// The text of a file; errors call it `path`.
    pub(super) fn parse(text: &str, path: &Path) -> Result<Self, SettingsError> {
        toml::from_str(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            let before = text.get(..start).unwrap_or_default();
            SettingsError::Syntax {
                path: path.into(),
                line: before.bytes().filter(|&byte| byte == b'\n').count() + 1,
                message: error.message().replace('\n', ", "),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_told_with_their_line() {
        for (text, line, expected) in [
            ("resp = 'off'\nrespp = 'x'", 2, "unknown field `respp`"),
            ("\n[limits]\nidle_timeout = '5 parsecs'", 3, "write 500ms, 30s"),
            ("[[cache]]\nname = 'a'\ncapacity = 5", 3, "expected a string"),
            ("[[cache]]\ndatabases = [300]", 2, "300"),
            ("[[token]]\nrole = 'root'", 2, "unknown variant `root`"),
            ("[[token]]\ntoken = 'x'", 1, "missing field `role`"),
            ("a = = b", 1, ""),
        ] {
            let error = Form::parse(text, Path::new("x.toml")).unwrap_err().to_string();
            assert!(error.starts_with(&format!("x.toml:{line}: ")), "{error}");
            assert!(error.contains(expected) && !error.contains('\n'), "{error}");
        }
        let error = Form::read(Path::new("/nowhere/x.toml")).unwrap_err().to_string();
        assert!(error.starts_with("/nowhere/x.toml: "), "{error}");
    }
}
