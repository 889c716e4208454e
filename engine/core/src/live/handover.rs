//! The warm change of a shard's policy: prepare beside, adopt in slices, change the seat.
//!
//! One thread does it, the one that asked for it; it holds the maintainer's lock for a slice at a
//! time, so that maintenance goes on in between and tells the newcomer what it must know. The state's
//! lock is held to read one slice of entries. Nothing is resident, evicted or refused because of a
//! change; where the new instance fails, the old one stays.

use std::hash::{BuildHasher, Hash};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use ostler_abi::{Kind, NO_SLOT, Record, Setup};

use crate::fault::PolicyFault;
use crate::live::maintainer::{Charge, Maintainer};
use crate::live::maintenance::Aftermath;
use crate::live::preparing::Preparing;
use crate::live::shard::{LiveShard, SLICE_SLOTS};
use crate::live::state::Budget;
use crate::seat::{Batch, Seat};
use crate::shard::ShardConfig;
use crate::tap::Tapped;

/// Entries adopted in one slice: with their hits, twice as many records.
const SLICE_ADOPTS: usize = 128;

/// Slices of latecomers that are adopted with the maintainer's lock open in between.
const ROUNDS_LATE_MAX: u32 = 32;
/// Slices without a single entry to adopt, after which a change is given up while the lock is held: each
/// is followed by a maintenance, which brings news of hundreds of slots.
const ROUNDS_IDLE_MAX: u32 = 100_000;

/// Slots that an instance is made for at least.
const SLOTS_FIRST_MIN: u32 = 1024;

impl<K: Hash + Eq, V, S: BuildHasher + Clone> LiveShard<K, V, S> {
    /// Puts `charge` in the seat, warm. Returns how many entries were adopted.
    ///
    /// # Errors
    ///
    /// The fault of the new instance; the old one is in charge as before.
    pub(crate) fn appoint(
        &self,
        charge: &Charge,
        after: &mut Aftermath<K, V>,
        settle: &mut dyn FnMut(&mut Aftermath<K, V>),
    ) -> Result<u64, PolicyFault> {
        self.prepare(charge, after)?;
        // Where the user's `Hash` panics, nobody comes back to go on with what was prepared.
        let adopted = catch_unwind(AssertUnwindSafe(|| self.adopt_all(after, settle)));
        adopted.unwrap_or_else(|panic| {
            self.give_up(&mut self.maintainer.lock());
            resume_unwind(panic)
        })
    }

    fn adopt_all(
        &self,
        after: &mut Aftermath<K, V>,
        settle: &mut dyn FnMut(&mut Aftermath<K, V>),
    ) -> Result<u64, PolicyFault> {
        let (mut adopted, mut rounds_late, mut rounds_idle) = (0, 0, 0);
        loop {
            let turn = {
                let mut maintainer = self.maintainer.lock();
                self.maintain(&mut maintainer, after);
                adopted += self.adopt_slice(&mut maintainer);
                rounds_late += u32::from(maintainer.only_late_remain());
                // Latecomers could come as fast as they are adopted; none comes while the lock is held.
                while rounds_late > ROUNDS_LATE_MAX && maintainer.remaining() > 0 {
                    let before = adopted;
                    adopted += self.adopt_slice(&mut maintainer);
                    if adopted == before {
                        self.maintain(&mut maintainer, after);
                        rounds_idle += 1;
                    }
                    if rounds_idle > ROUNDS_IDLE_MAX {
                        maintainer.fail_preparing("its entries are overwritten too fast");
                    }
                }
                match self.give_up_failed(&mut maintainer) {
                    Some(fault) => Some(Err(fault)),
                    None if maintainer.remaining() == 0 => {
                        self.change_seat(&mut maintainer, after);
                        Some(Ok(adopted))
                    }
                    None => None,
                }
            };
            settle(after);
            if let Some(end) = turn {
                return end;
            }
        }
    }

    /// Makes an instance and puts it beside the seat, with all that is resident to adopt.
    fn prepare(&self, charge: &Charge, after: &mut Aftermath<K, V>) -> Result<(), PolicyFault> {
        let (capacity, slots) = {
            let state = self.state.lock();
            (state.budget.capacity, state.residents.slots())
        };
        let slots = slots.saturating_add(slots / 8).max(SLOTS_FIRST_MIN).max(self.slots_expected);
        let setup = Setup { capacity, slots, seed: self.seed };
        let instance = charge.source.instance(setup)?;
        let config = ShardConfig {
            capacity,
            slots,
            batch: Batch::Every(u32::MAX),
            evict_ahead_max: None,
            seed: self.seed,
            wants: charge.source.wants(),
        };
        let seat = Seat::new(Ok(instance), &config);
        let mut maintainer = self.maintainer.lock();
        // What a panic tore is no fault of the newcomer's.
        if maintainer.is_torn() {
            self.mend(&mut maintainer, after);
        }
        let mut preparing = Preparing::new(seat, charge.clone());
        self.teach(&mut preparing);
        maintainer.preparing = Some(Box::new(preparing));
        // From here on newcomers are noted, so whatever the queue misses comes in late.
        self.state.lock().seating = maintainer.seating();
        drop(maintainer);
        let queue = self.coldest_last();
        if let Some(preparing) = &mut self.maintainer.lock().preparing {
            preparing.set_queue(queue);
        }
        Ok(())
    }

    /// All residents, the one that was used last first.
    fn coldest_last(&self) -> Vec<u32> {
        let mut ages = Vec::new();
        let mut first = 0;
        loop {
            let mut state = self.state.lock();
            let end = state.residents.slots().min(first + SLICE_SLOTS);
            state.counts.held((end - first) as usize);
            ages.extend((first..end).filter_map(|slot| Some((state.age(slot)?, slot))));
            if end == state.residents.slots() {
                break;
            }
            first = end;
        }
        ages.sort_unstable();
        ages.into_iter().map(|(_, slot)| slot).collect()
    }

    /// Introduces one slice of entries to the new instance. Returns how many.
    fn adopt_slice(&self, maintainer: &mut Maintainer) -> u64 {
        let Maintainer { preparing, seat, .. } = maintainer;
        let Some(preparing) = preparing else { return 0 };
        let mut pairs = Vec::with_capacity(SLICE_ADOPTS);
        let mut postponed = Vec::new();
        {
            let mut state = self.state.lock();
            let mut looked_at = 0;
            // Where the engine serves by itself, what it did since the last batch is not followed yet:
            // an entry that came in for another must not be known beside it.
            let unheard = if seat.is_taken() { Vec::new() } else { state.notes.written() };
            while looked_at < SLICE_ADOPTS {
                let Some(slot) = preparing.next_slot() else { break };
                looked_at += 1;
                // What waits to be heard of comes in late, by its own record.
                let heard = if seat.is_taken() {
                    seat.guard().has(slot)
                } else {
                    unheard.binary_search(&slot).is_err() && !state.notes.is_logged(slot)
                };
                if preparing.knows(slot) {
                    continue;
                }
                if !heard {
                    // A newcomer's own record introduces it, even after the change. An overwritten one's
                    // does not: the seat must not change before that was heard.
                    if !seat.is_taken() {
                        postponed.push(slot);
                    }
                    continue;
                }
                let Some((adopt, hit)) = state.introduce(slot) else { continue };
                let delivered =
                    if seat.is_taken() { seat.guard().weight_of(slot) } else { adopt.weight };
                let hit = (state.residents.word(slot).hits() > 0).then_some(hit);
                pairs.push((Record { weight: delivered, ..adopt }, hit));
            }
            state.counts.held(looked_at);
        }
        let mut adopted = 0;
        for &(adopt, hit) in &pairs {
            // A slot may be in the queue and have come in late.
            if !preparing.knows(adopt.slot) {
                preparing.adopt(adopt, hit);
                adopted += 1;
            }
        }
        preparing.postpone(&postponed);
        preparing.call();
        adopted
    }

    /// Drops an instance that failed before it had the seat.
    fn give_up_failed(&self, maintainer: &mut Maintainer) -> Option<PolicyFault> {
        let fault = maintainer.preparing.as_ref()?.fault().cloned()?;
        maintainer.count_fault();
        self.give_up(maintainer);
        Some(fault)
    }

    /// Drops the instance that is being prepared; the seat stays as it is.
    fn give_up(&self, maintainer: &mut Maintainer) {
        maintainer.preparing = None;
        self.reseat(maintainer);
    }

    /// Lets the state know who is to be told and asked.
    fn reseat(&self, maintainer: &Maintainer) {
        let mut state = self.state.lock();
        state.seating = maintainer.seating();
        state.tapped = maintainer.share();
        if !state.seating.noting {
            state.silence();
        }
    }

    /// Lets `tap` hear from now on, and nobody else; what waits is handed to the one before it.
    pub(crate) fn set_tap(&self, tap: Option<Tapped>, after: &mut Aftermath<K, V>) {
        let mut maintainer = self.maintainer.lock();
        self.maintain(&mut maintainer, after);
        maintainer.tapped = tap;
        self.reseat(&maintainer);
    }

    /// The prepared instance takes the seat.
    fn change_seat(&self, maintainer: &mut Maintainer, after: &mut Aftermath<K, V>) {
        let Some(preparing) = maintainer.preparing.take() else { return };
        let (seat, charge) = preparing.into_parts();
        let mut old = maintainer.change(seat, charge);
        after.rare().logs.extend(old.take_log());
        after.rare().retired.extend(old.into_instance());
        let mut state = self.state.lock();
        state.seating = maintainer.seating();
        state.counts.policy = maintainer.counts();
    }

    /// Takes the policy out of the seat; the fallback serves.
    pub(crate) fn dismiss(&self, after: &mut Aftermath<K, V>) {
        let mut maintainer = self.maintainer.lock();
        self.maintain(&mut maintainer, after);
        let old = std::mem::replace(&mut maintainer.seat, Seat::empty(0));
        after.rare().retired.extend(old.into_instance());
        maintainer.charge = None;
        self.engage_fallback(&mut maintainer, after);
    }

    /// Changes what the shard may hold. Where that is less, the policy says what goes.
    pub(crate) fn resize(&self, budget: Budget, after: &mut Aftermath<K, V>) {
        let mut maintainer = self.maintainer.lock();
        self.maintain(&mut maintainer, after);
        let grows = {
            let mut state = self.state.lock();
            let grows = budget.capacity >= state.budget.capacity;
            if grows {
                state.budget = budget;
            }
            grows
        };
        let record = Record { key_hash: budget.capacity, ..Record::new(Kind::Capacity, NO_SLOT) };
        maintainer.begin_apart();
        self.deliver(&mut maintainer, &record, after);
        self.consult(&mut maintainer, after);
        maintainer.end();
        if !grows {
            // What came in meanwhile is heard, too, before the lower limit is in force.
            self.maintain(&mut maintainer, after);
            maintainer.begin_apart();
            self.lower(budget, after);
            maintainer.end();
        }
    }

    /// Puts a lower budget in force; what is still above it goes by the engine's choice, in slices.
    fn lower(&self, budget: Budget, after: &mut Aftermath<K, V>) {
        loop {
            let mut state = self.state.lock();
            let limit = if state.seating.taken { budget.limit() } else { budget.capacity };
            state.evict_slice(limit, &mut after.left);
            if state.residents.weight() <= limit {
                state.budget = budget;
                return;
            }
        }
    }

    /// Who has the seat now, none where the fallback serves.
    pub(crate) fn charge(&self) -> Option<Charge> {
        let maintainer = self.maintainer.lock();
        maintainer.charge.clone().filter(|_| maintainer.seat.is_taken())
    }

    /// Why the last holder of the seat lost it.
    pub(crate) fn seat_fault(&self) -> Option<PolicyFault> {
        self.maintainer.lock().seat.fault().cloned()
    }

    /// Lines that the policy logged since the last call of this.
    pub(crate) fn take_log(&self) -> Vec<String> {
        self.maintainer.lock().seat.take_log()
    }
}
