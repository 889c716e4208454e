//! What happened to the policies of all caches since the start, counted for `/metrics`.

use std::collections::BTreeMap;

use ostler_core::PolicyEvent;
use parking_lot::Mutex;

/// Rows of a table; what comes after counts under the policy `other`.
const ROWS_MAX: usize = 4_096;

/// Faults and changes of policies. They are rare, so that a lock and sorted maps will do.
#[derive(Debug, Default)]
pub struct Tallies {
    faults: Mutex<BTreeMap<FaultRow, u64>>,
    swaps: Mutex<BTreeMap<(String, &'static str), u64>>,
}

/// What faults are counted by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FaultRow {
    /// The cache's name.
    pub cache: String,
    /// The policy's name.
    pub policy: String,
    /// The fault's kind.
    pub kind: &'static str,
}

/// Why a policy took the seats of a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SwapReason {
    /// Somebody asked for it.
    Request,
    /// Somebody went back to the one before.
    Rollback,
    /// An experiment ended with it.
    Experiment,
    /// It did better on the same requests.
    Selector,
    /// It had lost seats by a fault and was given another chance.
    Restored,
}

impl SwapReason {
    /// The reason as metrics name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Rollback => "rollback",
            Self::Experiment => "experiment",
            Self::Selector => "selector",
            Self::Restored => "restored",
        }
    }
}

impl Tallies {
    /// Counts what `cache` tells of its policy. Changes are counted by those who ask for them, since
    /// the event does not know why.
    pub fn heard(&self, cache: &str, event: &PolicyEvent) {
        match event {
            PolicyEvent::Faulted { policy, fault } => {
                let mut faults = self.faults.lock();
                let (cache, policy) = (cache.to_owned(), policy.clone());
                let mut row = FaultRow { cache, policy, kind: fault.kind() };
                if faults.len() >= ROWS_MAX && !faults.contains_key(&row) {
                    row.policy = "other".to_owned();
                }
                *faults.entry(row).or_default() += 1;
            }
            PolicyEvent::Restored { .. } => self.swapped(cache, SwapReason::Restored),
            _ => {}
        }
    }

    /// Counts a change of the policy of `cache`.
    pub fn swapped(&self, cache: &str, reason: SwapReason) {
        *self.swaps.lock().entry((cache.to_owned(), reason.name())).or_default() += 1;
    }

    /// All faults.
    #[must_use]
    pub fn faults(&self) -> Vec<(FaultRow, u64)> {
        self.faults.lock().iter().map(|(row, &count)| (row.clone(), count)).collect()
    }

    /// All changes: cache, reason, count.
    #[must_use]
    pub fn swaps(&self) -> Vec<(String, &'static str, u64)> {
        let swaps = self.swaps.lock();
        swaps.iter().map(|((cache, reason), &count)| (cache.clone(), *reason, count)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ostler_core::PolicyFault;

    #[test]
    fn faults_and_changes_are_counted_by_cache_and_cause() {
        let tallies = Tallies::default();
        let fault = PolicyFault::Refused { code: 3 };
        let faulted = PolicyEvent::Faulted { policy: "mine".into(), fault };
        tallies.heard("a", &faulted);
        tallies.heard("a", &faulted);
        tallies.heard("b", &PolicyEvent::Restored { policy: "mine".into(), shards: 1 });
        tallies.swapped("b", SwapReason::Rollback);
        let row = FaultRow { cache: "a".into(), policy: "mine".into(), kind: "refused" };
        assert_eq!(tallies.faults(), [(row, 2)]);
        let swaps = [("b".into(), "restored", 1), ("b".into(), "rollback", 1)];
        assert_eq!(tallies.swaps(), swaps);
    }

    #[test]
    fn a_policy_that_has_a_row_keeps_it_when_the_table_is_full() {
        let tallies = Tallies::default();
        let fault = |policy: &str| {
            let fault = PolicyFault::Refused { code: 3 };
            tallies.heard("a", &PolicyEvent::Faulted { policy: policy.into(), fault });
        };
        for number in 0..ROWS_MAX {
            fault(&format!("policy-{number}"));
        }
        fault("late");
        fault("policy-7");
        let count = |policy: &str| {
            let faults = tallies.faults();
            faults.into_iter().find(|(row, _)| row.policy == policy).map(|(_, count)| count)
        };
        assert_eq!(["policy-7", "other", "late"].map(count), [Some(2), Some(1), None]);
    }
}
