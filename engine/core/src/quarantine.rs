//! Which code is not trusted any more, for all shards of a cache.

use std::collections::{HashSet, VecDeque};

use crate::sync::{AtomicU64, Mutex, Relaxed};

/// Length of the window in which faults are counted: an hour.
const WINDOW_MS: u64 = 3_600_000;

/// Counts faults, and says when it is enough.
#[derive(Debug)]
pub(crate) struct Quarantine {
    /// How often code was quarantined, so that shards know when to look.
    count: AtomicU64,
    faults_max: u32,
    ledger: Mutex<Ledger>,
}

#[derive(Debug, Default)]
struct Ledger {
    /// Faults of the last hour: when, and whose.
    faults: VecDeque<(u64, String)>,
    codes: HashSet<String>,
}

/// Faults remembered at most; a module is quarantined long before.
const FAULTS_KEPT_MAX: usize = 1024;

impl Quarantine {
    /// Quarantines code at its `faults_max`-th fault within an hour; 0 stands for never. The `codes`
    /// are quarantined from the start.
    pub(crate) fn new(faults_max: u32, codes: HashSet<String>) -> Self {
        let ledger = Mutex::new(Ledger { codes, ..Ledger::default() });
        Self { count: AtomicU64::new(0), faults_max, ledger }
    }

    /// How often code was quarantined so far: a policy that was trusted before need not be now if this
    /// has changed.
    #[inline]
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Relaxed)
    }

    /// True where `code` may not take a seat any more.
    pub(crate) fn holds_code(&self, code: &str) -> bool {
        self.ledger.lock().codes.contains(code)
    }

    /// Counts a fault of `code`. True where that was one too many.
    pub(crate) fn note(&self, code: &str, now_ms: u64) -> bool {
        let mut ledger = self.ledger.lock();
        ledger.faults.push_back((now_ms, code.to_owned()));
        while ledger.faults.len() > FAULTS_KEPT_MAX
            || ledger.faults.front().is_some_and(|fault| fault.0 + WINDOW_MS <= now_ms)
        {
            ledger.faults.pop_front();
        }
        let faults = ledger.faults.iter().filter(|fault| fault.1 == code).count();
        if self.faults_max == 0 || faults < self.faults_max as usize {
            return false;
        }
        let fresh = ledger.codes.insert(code.to_owned());
        self.count.fetch_add(u64::from(fresh), Relaxed);
        fresh
    }

    /// Trusts `code` again.
    pub(crate) fn pardon(&self, code: &str) {
        let mut ledger = self.ledger.lock();
        ledger.codes.remove(code);
        ledger.faults.retain(|fault| fault.1 != code);
    }
}

#[cfg(all(test, not(ostler_loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_third_fault_within_an_hour_is_too_many() {
        for (times, too_many) in
            [([0, 1, 2], true), ([0, 10, WINDOW_MS - 1], true), ([0, 10, WINDOW_MS], false)]
        {
            let quarantine = Quarantine::new(3, HashSet::new());
            let verdicts = times.map(|time| quarantine.note("a", time));
            assert_eq!(verdicts, [false, false, too_many], "{times:?}");
            assert_eq!((quarantine.holds_code("a"), quarantine.count() == 1), (too_many, too_many));
            assert!(!quarantine.holds_code("b"));
            quarantine.pardon("a");
            assert!(!quarantine.holds_code("a"));
            assert!(!quarantine.note("a", times[2]), "it starts anew");
        }
    }

    #[test]
    fn each_code_has_its_own_count() {
        let quarantine = Quarantine::new(2, HashSet::new());
        assert!(!quarantine.note("a", 0));
        assert!(!quarantine.note("b", 0));
        assert!(quarantine.note("b", 0));
        assert!(!Quarantine::new(0, HashSet::new()).note("a", 0));
    }

    #[test]
    fn what_was_quarantined_before_is_so_until_it_is_pardoned() {
        let quarantine = Quarantine::new(1, HashSet::from(["a".to_owned()]));
        assert!(quarantine.holds_code("a") && !quarantine.holds_code("b"));
        assert_eq!(quarantine.count(), 0, "no seat is looked at for that");
        quarantine.pardon("a");
        assert!(!quarantine.holds_code("a"));
    }
}
