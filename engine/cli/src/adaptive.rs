//! `adaptive(portfolio=…,objective=…,rate=…)`: a contender that changes its policy by evidence.

use std::sync::Arc;

use anyhow::{Context, Result};
use ostler::{Host, OpenError, Policy, PolicySpec};
use ostler_adapt::{Objective, SelectorConfig};
use ostler_replay::{AdaptiveConfig, AdaptiveRun, RunConfig};

use crate::usage;

/// Why there is none of it under `--live`.
pub(crate) const LIVE_ADAPTIVE: &str =
    "adaptive is not played with --live: leave --live, or see it live with `ostler serve`";

/// How it starts on a command line.
const NAME: &str = "adaptive";

/// Candidates where none are named: what is best or close to it on most workloads, and each for
/// another reason. The first one is in charge at the start.
pub(crate) const PORTFOLIO: &str = "s3fifo+lru+sieve+wtinylfu";

const GRAMMAR: &str = "write adaptive(portfolio=s3fifo+lru+FILE.wasm(key=value),objective=object|byte|cost,\
                       rate=0.0625), every part of it optional";

/// A portfolio and how it is compared.
pub(crate) struct Adaptive {
    config: AdaptiveConfig,
    params: String,
}

impl Adaptive {
    /// Reads `text` where it names an adaptive contender.
    pub(crate) fn parse(host: &Host, text: &str) -> Option<Result<Self>> {
        let rest = text.strip_prefix(NAME)?;
        if rest.is_empty() {
            return Some(Self::open(host, ""));
        }
        let inner = rest.strip_prefix('(')?;
        Some(match inner.strip_suffix(')') {
            Some(inner) => Self::open(host, inner),
            None => Err(usage(format!("{text}: the parenthesis is not closed; {GRAMMAR}"))),
        })
    }

    fn open(host: &Host, settings: &str) -> Result<Self> {
        let mut portfolio = PORTFOLIO.to_owned();
        let mut objective = Objective::Object;
        let mut rate = AdaptiveConfig::RATE;
        for setting in split(settings, ',').filter(|setting| !setting.is_empty()) {
            let wrong = |why: String| usage(format!("adaptive: {why}; {GRAMMAR}"));
            match setting.split_once('=') {
                Some(("portfolio", value)) => portfolio = value.to_owned(),
                Some(("objective", value)) => {
                    objective = value.parse().map_err(|error| wrong(format!("{error}")))?;
                }
                Some(("rate", value)) => {
                    let number = value.parse().ok().filter(|rate| (0.0..=1.0).contains(rate));
                    rate = number.ok_or_else(|| wrong(format!("rate={value} is not 0 to 1")))?;
                }
                _ => return Err(wrong(format!("`{setting}` is not known"))),
            }
        }
        let params = serde_json::json!({
            "portfolio": portfolio, "objective": objective.name(), "rate": rate,
        });
        let candidates = split(&portfolio, '+').map(|text| open(host, text));
        let portfolio = candidates.collect::<Result<Vec<_>>>()?;
        let selector = SelectorConfig::default();
        let config = AdaptiveConfig { portfolio, objective, rate, selector };
        Ok(Self { config, params: params.to_string() })
    }

    /// The name in reports.
    pub(crate) fn name(&self) -> &'static str {
        NAME
    }

    /// Its settings as flat JSON.
    pub(crate) fn params(&self) -> &str {
        &self.params
    }

    /// A run in an empty cache that will hold about `entries`.
    pub(crate) fn run(&self, config: RunConfig, entries: u64) -> Result<AdaptiveRun> {
        AdaptiveRun::try_new(self.config.clone(), config, entries)
            .map_err(|error| usage(format!("adaptive: {error}; {GRAMMAR}")))
    }
}

fn open(host: &Host, text: &str) -> Result<Arc<dyn ostler_core::InstanceSource>> {
    let spec: PolicySpec = text.parse().map_err(usage)?;
    let policy: Result<Policy, OpenError> = host.open(&spec);
    let policy = policy.map_err(|error| match error {
        OpenError::Unknown { .. } | OpenError::Params { .. } => usage(error),
        _ => error.into(),
    });
    Ok(Arc::new(policy.with_context(|| format!("candidate {text}"))?))
}

/// The parts of `text` between `separator`s that stand in no parenthesis, trimmed.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut depth = 0_u32;
    text.split(move |letter: char| {
        match letter {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && letter == separator
    })
    .map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_in_parentheses_do_not_count() {
        let parts: Vec<&str> = split("a=b+c(x=1,y=2)+d, e=f", ',').collect();
        assert_eq!(parts, ["a=b+c(x=1,y=2)+d", "e=f"]);
        let parts: Vec<&str> = split("b+c(x=1,y=2)+d", '+').collect();
        assert_eq!(parts, ["b", "c(x=1,y=2)", "d"]);
    }

    #[test]
    fn settings_are_read_and_mistakes_named() {
        let host = Host::for_replay();
        let read = |text: &str| Adaptive::parse(&host, text);
        assert!(read("sieve").is_none() && read("adaptively").is_none());
        let adaptive =
            read("adaptive(portfolio=native:lru+native:s3fifo(small_percent=20),objective=byte)");
        let adaptive = adaptive.unwrap().unwrap();
        assert_eq!(adaptive.config.portfolio.len(), 2);
        assert_eq!(adaptive.config.objective, Objective::Byte);
        for (text, mistake) in [
            ("adaptive(portfolio=lru+sieva)", "sieva"),
            ("adaptive(objective=speed)", "objective `speed` is not known"),
            ("adaptive(rate=2)", "rate=2 is not 0 to 1"),
            ("adaptive(x)", "`x` is not known"),
            ("adaptive(portfolio=lru", "the parenthesis is not closed"),
        ] {
            let error = read(text).unwrap().err().unwrap();
            assert!(format!("{error:#}").contains(mistake), "{text}: {error:#}");
        }
    }
}
