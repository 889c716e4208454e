//! The server of the demonstration, in this process on free ports of loopback, and what it says of itself
//! over HTTP. Everything that is shown or checked is read where any user could read it.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result};
use ostler_server::server::Server;
use ostler_server::settings::{AdaptiveSettings, CacheSettings, Settings};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use ureq::Agent;

use crate::ALLOCATOR;

/// Longest wait for an answer. Changes of the policy go on meanwhile.
const CALL_TIMEOUT: Duration = Duration::from_secs(20);
/// The server's only cache.
const CACHE: &str = "default";

/// A server with one adaptive cache.
pub(super) struct Host {
    server: Server,
    agent: Agent,
    api: SocketAddr,
    resp: SocketAddr,
}

/// What the cache says of itself.
#[derive(Debug, Deserialize)]
pub(super) struct Stats {
    pub(super) seat: Seat,
    pub(super) counts: Counts,
    pub(super) adaptive: Option<Shadows>,
}

/// What the comparison costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
pub(super) struct Shadows {
    /// Share of the keys in shadow.
    pub(super) share: f64,
    /// Share of one core spent on it lately.
    pub(super) cpu_share: f64,
}

/// Who is in charge.
#[derive(Debug, Deserialize)]
pub(super) struct Seat {
    pub(super) desired: Option<String>,
}

/// What the cache counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Counts {
    pub(super) entries: u64,
    pub(super) hits: u64,
    pub(super) misses: u64,
    pub(super) inserted: u64,
    pub(super) evicted: u64,
    pub(super) expired: u64,
    pub(super) removed: u64,
    pub(super) replaced: u64,
    pub(super) cleared: u64,
    pub(super) rejected: u64,
    pub(super) policy_faults: u64,
}

/// A decision of the selector.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct Decided {
    pub(super) number: u64,
    pub(super) unix_ms: u64,
    pub(super) action: String,
    pub(super) from: Option<String>,
    pub(super) to: Option<String>,
    pub(super) reason: String,
    pub(super) gain: f64,
    pub(super) z: f64,
}

#[derive(Deserialize)]
struct DecisionList {
    decisions: Vec<Decided>,
}

impl Counts {
    /// Values that were put in and that no count says where they are.
    pub(super) fn unaccounted(&self) -> u64 {
        let left = self.evicted + self.expired + self.removed;
        let other = self.replaced + self.cleared + self.rejected;
        self.inserted.abs_diff(self.entries + left + other)
    }
}

impl Decided {
    /// Another policy, or other parameters, took over.
    pub(super) fn is_swap(&self) -> bool {
        ["swap", "tune", "rollback"].contains(&self.action.as_str())
    }

    /// What was decided, in words.
    pub(super) fn words(&self) -> String {
        let name = |name: &Option<String>| name.clone().unwrap_or_else(|| "another".to_owned());
        let (from, to) = (name(&self.from), name(&self.to));
        let evidence = format!("{:.0} % fewer misses, z {:.1}", 100.0 * self.gain, self.z);
        match self.action.as_str() {
            "swap" | "tune" => format!("{from} → {to}: {evidence}, {}", self.reason),
            "rollback" => format!("{from} → {to}: taken back, it missed more than before"),
            "demoted" => format!("{to} is out: {}", self.reason),
            "refused" => format!("{from} stays, {to} was refused: {}", self.reason),
            _ => format!("{from} stays: {}", self.reason),
        }
    }
}

impl Host {
    /// Starts it. The first of the `portfolio` is in charge.
    pub(super) fn start(portfolio: &[String], capacity_bytes: u64) -> Result<Self> {
        let free = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let adaptive = AdaptiveSettings { portfolio: portfolio.to_vec(), ..Default::default() };
        let cache = CacheSettings {
            name: CACHE.to_owned(),
            capacity_bytes,
            policy: portfolio.first().cloned().unwrap_or_default(),
            adaptive: Some(adaptive),
            ..CacheSettings::default()
        };
        let defaults = Settings::default();
        let server = Server::start(Settings {
            resp: free,
            http: free,
            caches: vec![cache],
            allocator: ALLOCATOR.get().copied().unwrap_or(defaults.allocator),
            ..defaults
        })?;
        let resp = server.resp_address().context("the server has no address for RESP")?;
        let api = server.http_address().context("the server has no address for HTTP")?;
        let agent = Agent::config_builder()
            .timeout_global(Some(CALL_TIMEOUT))
            .proxy(None)
            .build()
            .new_agent();
        Ok(Self { server, agent, api, resp })
    }

    /// Where clients of Redis connect.
    pub(super) fn resp(&self) -> SocketAddr {
        self.resp
    }

    /// Where the HTTP API is.
    pub(super) fn api(&self) -> SocketAddr {
        self.api
    }

    /// What the cache says of itself.
    pub(super) fn stats(&self) -> Result<Stats> {
        self.get("stats")
    }

    /// The last decisions, oldest first.
    pub(super) fn decisions(&self) -> Result<Vec<Decided>> {
        let mut list: DecisionList = self.get("decisions")?;
        list.decisions.sort_by_key(|decision| decision.number);
        Ok(list.decisions)
    }

    /// Stops it.
    pub(super) fn stop(self) {
        self.server.stop();
    }

    fn get<T: DeserializeOwned>(&self, what: &str) -> Result<T> {
        let path = format!("/v1/caches/{CACHE}/{what}");
        let answer = self.agent.get(format!("http://{}{path}", self.api)).call();
        let body = answer.and_then(|mut answer| answer.body_mut().read_to_string());
        let body = body.with_context(|| format!("the server does not answer GET {path}"))?;
        serde_json::from_str(&body).with_context(|| format!("GET {path} is not understood"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decided(action: &str, reason: &str) -> Decided {
        Decided {
            number: 1,
            unix_ms: 0,
            action: action.to_owned(),
            from: Some("lru".to_owned()),
            to: Some("sieve".to_owned()),
            reason: reason.to_owned(),
            gain: 0.123,
            z: 6.04,
        }
    }

    #[test]
    fn decisions_are_told_in_words() {
        for (action, reason, expected, is_swap) in [
            ("swap", "drift", "lru → sieve: 12 % fewer misses, z 6.0, drift", true),
            ("rollback", "rollback", "lru → sieve: taken back, it missed more than before", true),
            ("demoted", "it faulted", "sieve is out: it faulted", false),
            ("hold", "an experiment runs", "lru stays: an experiment runs", false),
        ] {
            let decided = decided(action, reason);
            assert_eq!((decided.words().as_str(), decided.is_swap()), (expected, is_swap));
        }
    }

    #[test]
    fn what_no_count_explains_is_unaccounted() {
        let counts =
            Counts { inserted: 10, entries: 4, evicted: 5, replaced: 1, ..Counts::default() };
        assert_eq!(counts.unaccounted(), 0);
        assert_eq!(Counts { evicted: 3, ..counts }.unaccounted(), 2);
    }
}
