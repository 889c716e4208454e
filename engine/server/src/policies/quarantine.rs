//! Which code which cache does not trust any more. The caches decide that, by the faults of a policy;
//! this remembers it for the next start.
//!
//! It must not touch files. Its lock is held for no longer than a copy takes: caches tell of a
//! quarantine from a thread that serves.

use std::collections::BTreeMap;

use ostler_wasm::ModuleId;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// Quarantines that are remembered of one cache; the oldest go first.
const QUARANTINES_MAX: usize = 1_000;

/// Code that a cache does not trust any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantine {
    /// The policy under whose name it faulted.
    pub policy: String,
    /// Its code: the SHA-256 of a module as `sha256:…`, the name of a policy that is compiled in.
    pub code: String,
    /// Since when, milliseconds since 1970.
    pub since_unix_ms: u64,
}

/// A cache that does not trust a version of a policy any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct QuarantinedIn {
    /// The cache.
    pub cache: String,
    /// The version.
    pub version: ModuleId,
    /// Since when, milliseconds since 1970.
    pub since_unix_ms: u64,
}

/// Quarantines by cache, oldest first.
pub(super) type ByCache = BTreeMap<String, Vec<Quarantine>>;

/// The quarantines of all caches.
#[derive(Debug)]
pub(super) struct Quarantines(Mutex<ByCache>);

impl Quarantines {
    /// Those that were kept.
    pub(super) fn new(kept: ByCache) -> Self {
        Self(Mutex::new(kept))
    }

    /// All of them.
    pub(super) fn all(&self) -> ByCache {
        self.0.lock().clone()
    }

    /// Those of one cache.
    pub(super) fn of(&self, cache: &str) -> Vec<Quarantine> {
        self.0.lock().get(cache).cloned().unwrap_or_default()
    }

    /// Notes one, instead of what was noted of the same code.
    pub(super) fn add(&self, cache: &str, quarantine: Quarantine) {
        let mut all = self.0.lock();
        let its = all.entry(cache.to_owned()).or_default();
        its.retain(|known| known.code != quarantine.code);
        if its.len() >= QUARANTINES_MAX {
            its.remove(0);
        }
        its.push(quarantine);
    }

    /// Forgets one. True where there was one.
    pub(super) fn pardon(&self, cache: &str, code: &str) -> bool {
        let mut all = self.0.lock();
        let Some(its) = all.get_mut(cache) else { return false };
        let before = its.len();
        its.retain(|known| known.code != code);
        let pardoned = its.len() < before;
        if its.is_empty() {
            all.remove(cache);
        }
        pardoned
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quarantine(code: &str, since_unix_ms: u64) -> Quarantine {
        Quarantine { policy: "mine".to_owned(), code: code.to_owned(), since_unix_ms }
    }

    #[test]
    fn each_cache_has_its_own_until_they_are_pardoned() {
        let all = Quarantines::new(ByCache::new());
        all.add("a", quarantine("x", 1));
        all.add("a", quarantine("y", 2));
        all.add("a", quarantine("x", 3));
        all.add("b", quarantine("x", 4));
        assert_eq!(all.of("a"), [quarantine("y", 2), quarantine("x", 3)]);
        assert!(all.pardon("a", "x") && !all.pardon("a", "x") && !all.pardon("c", "x"));
        assert_eq!((all.of("a"), all.of("c")), (vec![quarantine("y", 2)], vec![]));
        let again = Quarantines::new(all.all());
        assert!(again.pardon("a", "y") && again.pardon("b", "x"));
        assert!(again.all().is_empty());
    }

    #[test]
    fn they_are_bounded_and_the_oldest_go_first() {
        let all = Quarantines::new(ByCache::new());
        for number in 0..=QUARANTINES_MAX as u64 {
            all.add("a", quarantine(&number.to_string(), number));
        }
        let its = all.of("a");
        assert_eq!((its.len(), its[0].since_unix_ms), (QUARANTINES_MAX, 1));
    }
}
