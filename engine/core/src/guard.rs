//! The guard: what a policy was told, and whether its answer keeps the contract.
//!
//! A policy proposes, the engine disposes. The guard keeps the policy's *view*, the delivered weight
//! of every slot the policy believes resident, checks each answer whole before any of it counts, and
//! judges the budget when a batch is through. It decides and returns; it evicts nothing.

use ostler_abi::{Kind, Record};

use crate::fault::PolicyFault;

/// The view of one policy instance, and the judgement of its answers. A bit a slot, and 4 bytes a
/// slot from the first weight on that is not 1.
#[derive(Debug)]
pub(crate) struct Guard {
    view: View,
    weight: u64,
    capacity: u64,
    /// None stands for a 64th of the capacity.
    evict_ahead_max: Option<u64>,
    /// Slots whose remove or expire record is in the batch under way: naming one is stale, no fault.
    departed: Vec<u32>,
    /// Weight that left the view in this batch by no choice of the policy.
    departed_weight: u64,
    /// Weight of the last victim of the batch, 0 where there was none.
    last_victim_weight: u32,
}

/// A victim that the guard accepted: no longer in the view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Accepted {
    pub(crate) slot: u32,
    weight: u32,
}

impl Guard {
    pub(crate) fn new(capacity: u64, evict_ahead_max: Option<u64>) -> Self {
        Self {
            view: View::default(),
            weight: 0,
            capacity,
            evict_ahead_max,
            departed: Vec::new(),
            departed_weight: 0,
            last_victim_weight: 0,
        }
    }

    /// Weight of the view.
    pub(crate) fn weight(&self) -> u64 {
        self.weight
    }

    /// True where `slot` is in the view.
    pub(crate) fn has(&self, slot: u32) -> bool {
        self.view.weight(slot) != 0
    }

    /// Delivered weight of `slot`, 0 where it is not in the view.
    #[inline]
    pub(crate) fn weight_of(&self, slot: u32) -> u32 {
        self.view.weight(slot)
    }

    /// Bound on slots that there is room for.
    #[inline]
    pub(crate) fn slots(&self) -> u32 {
        self.view.slots
    }

    /// Makes room for slots below `bound`.
    pub(crate) fn grow(&mut self, bound: u32) {
        self.view.grow(bound);
    }

    /// Follows a record that is being delivered.
    #[inline(always)]
    pub(crate) fn delivered(&mut self, record: &Record) {
        match record.kind() {
            // Most overwrites: nothing changes.
            Some(Kind::Update) if self.view.weight(record.slot) == record.weight => {}
            Some(Kind::Insert | Kind::Adopt | Kind::Update) => self.set(record.slot, record.weight),
            Some(Kind::Remove | Kind::Expire) => {
                let weight = self.take(record.slot);
                if weight != 0 {
                    self.departed.push(record.slot);
                    self.departed_weight += u64::from(weight);
                }
            }
            Some(Kind::Capacity) => self.capacity = record.key_hash,
            Some(Kind::Reset) => {
                self.view.clear();
                self.weight = 0;
            }
            Some(Kind::Hit | Kind::Miss | Kind::Slots) | Some(_) | None => {}
        }
    }

    /// Checks one answer whole. All its victims leave the view and are appended to `accepted`, but
    /// for the stale ones, which are counted in the result; or, on a fault, nothing changes.
    ///
    /// # Errors
    ///
    /// [`PolicyFault::BadVictim`] for a slot that is outside the view or named twice.
    #[inline]
    pub(crate) fn accept(
        &mut self,
        victims: &[u32],
        accepted: &mut Vec<Accepted>,
    ) -> Result<u64, PolicyFault> {
        let accepted_before = accepted.len();
        let mut stale = 0;
        for &slot in victims {
            let weight = self.take(slot);
            if weight != 0 {
                accepted.push(Accepted { slot, weight });
            } else if let Some(place) = self.departed.iter().position(|&gone| gone == slot) {
                self.departed.swap_remove(place);
                stale += 1;
            } else {
                for undone in accepted.drain(accepted_before..) {
                    self.set(undone.slot, undone.weight);
                }
                return Err(PolicyFault::BadVictim {
                    reason: format!("slot {slot} is not in the view or was named twice"),
                });
            }
        }
        if let Some(last) = accepted.get(accepted_before..).and_then(<[_]>::last) {
            self.last_victim_weight = last.weight;
        }
        Ok(stale)
    }

    /// Ends a batch: the view must fit the capacity and must not have been emptied for nothing.
    ///
    /// # Errors
    ///
    /// [`PolicyFault::OverBudget`] or [`PolicyFault::OverEviction`].
    #[inline]
    pub(crate) fn judge(&mut self) -> Result<(), PolicyFault> {
        let last_victim_weight = std::mem::take(&mut self.last_victim_weight);
        let departed_weight = std::mem::take(&mut self.departed_weight);
        self.departed.clear();
        if self.weight > self.capacity {
            return Err(PolicyFault::OverBudget { weight: self.weight, capacity: self.capacity });
        }
        if last_victim_weight != 0 {
            let ahead = self.evict_ahead_max.unwrap_or(self.capacity / 64);
            let ahead = ahead.max(u64::from(last_victim_weight)).saturating_add(departed_weight);
            let floor = self.capacity.saturating_sub(ahead);
            if self.weight < floor {
                return Err(PolicyFault::OverEviction { weight: self.weight, floor });
            }
        }
        Ok(())
    }

    /// Puts `slot` into the view with `weight`, or changes its weight.
    #[inline]
    fn set(&mut self, slot: u32, weight: u32) {
        let old = self.view.replace(slot, weight);
        self.weight = self.weight - u64::from(old) + u64::from(weight);
        self.departed_weight += u64::from(old.saturating_sub(weight));
    }

    /// Takes `slot` out of the view and returns its weight, 0 where it was not there.
    #[inline]
    fn take(&mut self, slot: u32) -> u32 {
        if slot >= self.view.slots {
            return 0;
        }
        let weight = self.view.replace(slot, 0);
        self.weight -= u64::from(weight);
        weight
    }

    /// Asserts that the weight of the view is the sum of its slots. O(slots).
    pub(crate) fn validate(&self) {
        let sum: u64 = (0..self.view.slots).map(|slot| u64::from(self.view.weight(slot))).sum();
        assert_eq!(sum, self.weight, "the view weighs what its slots weigh");
    }
}

/// Delivered weight of each slot in the view; 0 stands for "not in the view".
#[derive(Debug, Default)]
struct View {
    slots: u32,
    /// Which slots are in the view: all there is while every weight is 1.
    bits: Vec<u64>,
    /// Weights, from the first one on that is not 1; the bits are not kept any more.
    weights: Option<Vec<u32>>,
}

impl View {
    fn grow(&mut self, bound: u32) {
        if bound > self.slots {
            self.slots = bound;
            match &mut self.weights {
                Some(weights) => weights.resize(bound as usize, 0),
                None => self.bits.resize((bound as usize).div_ceil(64), 0),
            }
        }
    }

    #[inline]
    fn weight(&self, slot: u32) -> u32 {
        match &self.weights {
            Some(weights) => weights.get(slot as usize).copied().unwrap_or(0),
            None => {
                let word = self.bits.get(slot as usize / 64).copied().unwrap_or(0);
                (word >> (slot % 64) & 1) as u32
            }
        }
    }

    /// Sets the weight of `slot`, which there is room for, and returns the old one.
    #[inline]
    fn replace(&mut self, slot: u32, weight: u32) -> u32 {
        if self.weights.is_none() && weight > 1 {
            self.weights = Some((0..self.slots).map(|slot| self.weight(slot)).collect());
            self.bits = Vec::new();
        }
        match &mut self.weights {
            Some(weights) => std::mem::replace(&mut weights[slot as usize], weight),
            None => {
                let word = &mut self.bits[slot as usize / 64];
                let old = *word >> (slot % 64) & 1;
                *word = *word & !(1 << (slot % 64)) | u64::from(weight) << (slot % 64);
                old as u32
            }
        }
    }

    fn clear(&mut self) {
        self.bits.fill(0);
        if let Some(weights) = &mut self.weights {
            weights.fill(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(capacity: u64, weights: &[u32]) -> Guard {
        let mut guard = Guard::new(capacity, None);
        guard.grow(weights.len() as u32);
        for (slot, &weight) in (0u32..).zip(weights) {
            guard.delivered(&Record { weight, ..Record::new(Kind::Insert, slot) });
        }
        guard
    }

    fn accept(guard: &mut Guard, victims: &[u32]) -> Result<(Vec<u32>, u64), PolicyFault> {
        let mut accepted = Vec::new();
        let stale = guard.accept(victims, &mut accepted)?;
        Ok((accepted.iter().map(|a| a.slot).collect(), stale))
    }

    #[test]
    fn an_answer_counts_whole_or_not_at_all() {
        let mut guard = guard(10, &[3, 4, 5]);
        for bad in [&[0, 3][..], &[0, 0], &[1, u32::MAX], &[0, 1, 2, 1]] {
            let before = guard.weight();
            assert!(
                matches!(accept(&mut guard, bad), Err(PolicyFault::BadVictim { .. })),
                "{bad:?}"
            );
            assert_eq!(guard.weight(), before);
            guard.validate();
        }
        assert_eq!(accept(&mut guard, &[2, 0]), Ok((vec![2, 0], 0)));
        assert_eq!(guard.weight(), 4);
        assert!(guard.has(1) && !guard.has(2) && !guard.has(99));
    }

    #[test]
    fn a_victim_removed_in_the_same_batch_is_stale_once() {
        let mut guard = guard(10, &[3, 4, 5]);
        guard.delivered(&Record::new(Kind::Remove, 1));
        assert_eq!(accept(&mut guard, &[0, 1]), Ok((vec![0], 1)));
        assert!(accept(&mut guard, &[1]).is_err());
        assert_eq!(guard.judge(), Ok(()));
        assert!(accept(&mut guard, &[1]).is_err(), "the batch is over");
    }

    #[test]
    fn the_budget_is_judged_after_the_batch() {
        let mut over = guard(10, &[3, 4, 5]);
        assert_eq!(over.judge(), Err(PolicyFault::OverBudget { weight: 12, capacity: 10 }));

        let mut emptied = guard(1000, &[400, 400, 200, 5]);
        accept(&mut emptied, &[0, 1, 2]).unwrap();
        assert_eq!(emptied.judge(), Err(PolicyFault::OverEviction { weight: 5, floor: 800 }));

        let mut last_was_big = guard(1000, &[400, 400, 200, 5]);
        accept(&mut last_was_big, &[3, 0]).unwrap();
        assert_eq!(last_was_big.judge(), Ok(()));
    }

    #[test]
    fn the_rule_against_over_eviction_can_be_switched_off() {
        let mut guard = Guard::new(10, Some(u64::MAX));
        guard.grow(4);
        for slot in 0..4 {
            guard.delivered(&Record { weight: 2, ..Record::new(Kind::Insert, slot) });
        }
        accept(&mut guard, &[0, 1, 2]).unwrap();
        guard.delivered(&Record::new(Kind::Remove, 3));
        assert_eq!(guard.judge(), Ok(()));
    }

    #[test]
    fn what_leaves_by_itself_is_not_the_policys_doing() {
        let mut guard = guard(1000, &[400, 400, 200, 5]);
        accept(&mut guard, &[3]).unwrap();
        guard.delivered(&Record::new(Kind::Expire, 0));
        guard.delivered(&Record { weight: 10, ..Record::new(Kind::Update, 1) });
        assert_eq!(guard.judge(), Ok(()));
    }
}
