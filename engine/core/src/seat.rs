//! The seat: the policy in charge of one shard, what it was told and what it answered.
//!
//! The seat owns the instance, its event window and its guard. It knows slots and weights, never
//! keys or values. It returns victims; the shard evicts.
//!
//! Cost of a note: one virtual call and a 32-byte store into the window, which for a sandboxed policy
//! is the guest's own memory.

use ostler_abi::{Kind, ModelRefused, NO_SLOT, Record};

use crate::counters::Counters;
use crate::fault::PolicyFault;
use crate::guard::{Accepted, Guard};
use crate::instance::PolicyInstance;
use crate::shard::ShardConfig;

/// Which optional events a policy asked for in its manifest.
///
/// ```
/// use ostler_core::Wants;
///
/// let hits = Wants { hits: true, misses: false };
/// assert_eq!(Wants::NONE.or(hits), hits);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wants {
    /// Hits on residents.
    pub hits: bool,
    /// Requests that found nothing.
    pub misses: bool,
}

impl Wants {
    /// Neither.
    pub const NONE: Wants = Wants { hits: false, misses: false };

    /// What either of two policies wants.
    #[must_use]
    pub const fn or(self, other: Wants) -> Wants {
        Wants { hits: self.hits | other.hits, misses: self.misses | other.misses }
    }
}

/// When the records in the window are handed to the policy.
///
/// ```
/// use ostler_core::{Batch, ShardConfig, Wants};
///
/// let config = ShardConfig {
///     capacity: 100,
///     slots: 101,
///     batch: Batch::Exact,
///     evict_ahead_max: None,
///     seed: 0,
///     wants: Wants { hits: true, misses: false },
/// };
/// # assert_eq!(config.batch, Batch::Exact);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Batch {
    /// Hits wait for the next event that may need a victim, or until the window is full: the
    /// decisions equal those of one call a request, and the capacity holds after every request.
    Exact,
    /// Whatever comes, `n` records at a time; the shard may overshoot by what comes meanwhile.
    /// Bounded by the window's length.
    Every(u32),
}

/// One shard's seat.
pub(crate) struct Seat {
    instance: Option<Box<dyn PolicyInstance>>,
    wants: Wants,
    batch: Batch,
    guard: Guard,
    /// Records written to the window since the last step.
    pending: usize,
    batch_len_max: usize,
    slots_bound: u32,
    fault: Option<PolicyFault>,
    /// What the policy had logged when it lost the seat.
    last_log: Vec<String>,
}

/// Slots that the first bound is raised to at least.
const SLOTS_STEP_MIN: u32 = 1024;

impl Seat {
    /// A seat with `instance` in charge, created for slots below `slots_bound`; or, where creating
    /// it failed, with its fault and the fallback in charge.
    pub(crate) fn new(
        instance: Result<Box<dyn PolicyInstance>, PolicyFault>,
        config: &ShardConfig,
    ) -> Self {
        let mut guard = Guard::new(config.capacity, config.evict_ahead_max);
        guard.grow(config.slots);
        let (mut instance, fault) = match instance {
            Ok(instance) => (Some(instance), None),
            Err(fault) => (None, Some(fault)),
        };
        let window_len = instance.as_mut().map_or(0, |instance| instance.events().len());
        let batch_len_max = match config.batch {
            Batch::Exact => window_len,
            Batch::Every(len) => window_len.min(len.max(1) as usize),
        };
        Self {
            instance,
            wants: config.wants,
            batch: config.batch,
            guard,
            pending: 0,
            batch_len_max,
            slots_bound: config.slots,
            fault,
            last_log: Vec::new(),
        }
    }

    /// True while a policy is in charge; false once the fallback is.
    #[inline]
    pub(crate) fn is_taken(&self) -> bool {
        self.instance.is_some()
    }

    /// Why the policy lost the seat.
    pub(crate) fn fault(&self) -> Option<&PolicyFault> {
        self.fault.as_ref()
    }

    pub(crate) fn instance(&self) -> Option<&dyn PolicyInstance> {
        self.instance.as_deref()
    }

    pub(crate) fn guard(&self) -> &Guard {
        &self.guard
    }

    /// True where the policy wants to hear of `kind`.
    #[inline]
    pub(crate) fn wants(&self, kind: Kind) -> bool {
        self.instance.is_some()
            && match kind {
                Kind::Hit => self.wants.hits,
                Kind::Miss => self.wants.misses,
                _ => true,
            }
    }

    /// True where the window has no place: the policy must be called before the next note.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.pending >= self.batch_len_max
    }

    /// Records that can be noted before the policy must be called.
    pub(crate) fn room(&self) -> usize {
        self.batch_len_max - self.pending
    }

    /// Which optional events the policy asked for; none where it has lost the seat.
    pub(crate) fn wanted(&self) -> Wants {
        if self.instance.is_some() { self.wants } else { Wants::NONE }
    }

    /// An empty seat: the fallback is in charge, for no fault.
    pub(crate) fn empty(capacity: u64) -> Self {
        Self {
            instance: None,
            wants: Wants::NONE,
            batch: Batch::Every(1),
            guard: Guard::new(capacity, None),
            pending: 0,
            batch_len_max: 0,
            slots_bound: 0,
            fault: None,
            last_log: Vec::new(),
        }
    }

    /// The instance, which the seat gives up.
    pub(crate) fn into_instance(self) -> Option<Box<dyn PolicyInstance>> {
        self.instance
    }

    /// Takes the seat from the policy, which did nothing wrong in here.
    pub(crate) fn dismiss(&mut self) {
        self.last_log = self.take_log();
        self.instance = None;
        self.pending = 0;
    }

    /// Writes a record into the window, which must not [be full](Self::is_full).
    #[inline]
    pub(crate) fn note(&mut self, record: Record) {
        let Some(instance) = &mut self.instance else { return };
        if record.kind != Kind::Hit as u8 {
            self.guard.delivered(&record);
        }
        debug_assert!(self.pending < self.batch_len_max, "a full window is emptied before a note");
        instance.events()[self.pending] = record;
        self.pending += 1;
    }

    /// Writes those records of `batch` that are `wanted` into the window, until it is full or a slot
    /// has no place in the view yet. Returns how many of the batch are through, wanted or not.
    #[inline]
    pub(crate) fn note_slice(
        &mut self,
        batch: &[Record],
        mut wanted: impl FnMut(&Guard, Wants, &Record) -> bool,
    ) -> usize {
        let Self { instance, guard, wants, pending, batch_len_max, slots_bound, .. } = self;
        let Some(instance) = instance else { return batch.len() };
        let window = instance.events();
        let window = &mut window[..*batch_len_max];
        for (index, record) in batch.iter().enumerate() {
            let beyond = record.slot >= *slots_bound && record.slot != NO_SLOT;
            let Some(place) = window.get_mut(*pending) else { return index };
            if beyond {
                return index;
            }
            if wanted(guard, *wants, record) {
                if record.kind != Kind::Hit as u8 {
                    guard.delivered(record);
                }
                *place = *record;
                *pending += 1;
            }
        }
        batch.len()
    }

    /// True where a slots record must be noted before `slot` may be.
    #[inline]
    pub(crate) fn needs_slots(&self, slot: u32) -> bool {
        slot >= self.slots_bound && self.instance.is_some()
    }

    /// Announces a larger bound on slots, in steps of a quarter or, live, an eighth, so that
    /// `slot` may be used.
    pub(crate) fn announce_slots(&mut self, slot: u32) {
        // Live, memory counts; in replay, policies whose ghosts follow the bound keep their digests.
        let share = if self.is_exact() { 4 } else { 8 };
        let step = self.slots_bound.div_ceil(share).max(SLOTS_STEP_MIN);
        let bound = self.slots_bound.saturating_add(step).max(slot.saturating_add(1));
        self.slots_bound = bound;
        self.guard.grow(bound);
        if let Some(instance) = &mut self.instance {
            instance.announce_slots(bound);
        }
        self.note(Record::new(Kind::Slots, bound));
    }

    /// True where an event that may need a victim must be answered at once.
    #[inline]
    pub(crate) fn is_exact(&self) -> bool {
        self.batch == Batch::Exact
    }

    /// How many records wait.
    #[inline]
    pub(crate) fn pending(&self) -> usize {
        self.pending
    }

    /// Calls the policy with what is pending, or with nothing for the rest of its answer. Appends
    /// the victims that the guard accepted to `accepted`; returns whether there are more.
    ///
    /// # Errors
    ///
    /// The fault, where the call or its answer breaks the contract. The policy has lost the seat.
    #[inline]
    pub(crate) fn call(
        &mut self,
        accepted: &mut Vec<Accepted>,
        counters: &mut Counters,
    ) -> Result<bool, PolicyFault> {
        let Some(instance) = &mut self.instance else { return Ok(false) };
        let pending = std::mem::take(&mut self.pending);
        counters.calls += 1;
        counters.records += pending as u64;
        let answer = instance.step(pending).and_then(|victims| {
            let stale = self.guard.accept(victims.slots, accepted)?;
            counters.stale_victims += stale;
            Ok(victims.more)
        });
        if answer.is_err() { self.vacate(answer) } else { answer }
    }

    /// Hands over a model. Nothing is pending.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    pub(crate) fn model(
        &mut self,
        message: &[u8],
    ) -> Result<Result<(), ModelRefused>, PolicyFault> {
        debug_assert_eq!(self.pending, 0, "a model arrives between two batches");
        let Some(instance) = &mut self.instance else { return Ok(Err(ModelRefused::TAKES_NONE)) };
        let answer = instance.model(message);
        if answer.is_err() { self.vacate(answer) } else { answer }
    }

    /// Ends the batch: judges the budget.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    #[inline]
    pub(crate) fn judge(&mut self) -> Result<(), PolicyFault> {
        if self.instance.is_none() {
            return Ok(());
        }
        let judgement = self.guard.judge();
        if judgement.is_err() { self.vacate(judgement) } else { judgement }
    }

    /// A policy that never stops saying "more".
    ///
    /// # Errors
    ///
    /// Always: the fault.
    pub(crate) fn endless(&mut self, calls: u64) -> Result<bool, PolicyFault> {
        let reason = format!("still more victims after {calls} calls");
        self.vacate(Err(PolicyFault::BadVictim { reason }))
    }

    /// Lines that the policy logged since the last call of this, the last ones before a fault too.
    pub(crate) fn take_log(&mut self) -> Vec<String> {
        let mut lines = std::mem::take(&mut self.last_log);
        if let Some(instance) = &mut self.instance {
            lines.extend(instance.take_log());
        }
        lines
    }

    /// Lines of the policy that had the seat before: they come before this one's.
    pub(crate) fn inherit_log(&mut self, lines: Vec<String>) {
        self.last_log = lines;
    }

    /// Drops the instance and keeps the fault.
    #[cold]
    fn vacate<T>(&mut self, answer: Result<T, PolicyFault>) -> Result<T, PolicyFault> {
        self.last_log = self.take_log();
        self.instance = None;
        self.pending = 0;
        self.fault = answer.as_ref().err().cloned();
        answer
    }
}
