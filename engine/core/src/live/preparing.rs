//! An instance on its way to the seat: it adopts the entries while another is in charge.
//!
//! It hears of an event only if the slot is in its own view; every other entry is adopted later, with
//! what is then known of it, so no log is kept. Newcomers and overwritten entries queue for that. It
//! is told of departures, and proposes nothing: since its view is part of the view of the policy in
//! charge, there is never a reason to. An answer with a victim is a fault.

use std::collections::VecDeque;

use ostler_abi::{Kind, Record};

use crate::fault::PolicyFault;
use crate::live::maintainer::Charge;
use crate::model_shelf::Reception;
use crate::novice::Novice;
use crate::seat::Seat;

/// The instance, and which entries it has yet to hear of.
pub(crate) struct Preparing {
    novice: Novice,
    charge: Charge,
    /// Slots to adopt, the next last.
    queue: Vec<u32>,
    /// Slots that came in or were overwritten meanwhile; adopted after the queue, in order.
    late: VecDeque<u32>,
}

impl Preparing {
    /// An instance that has heard of nothing.
    pub(crate) fn new(seat: Seat, charge: Charge) -> Self {
        let novice = Novice::new(seat);
        Self { novice, charge, queue: Vec::new(), late: VecDeque::new() }
    }

    /// Names the slots to adopt, the coldest last.
    pub(crate) fn set_queue(&mut self, queue: Vec<u32>) {
        self.queue = queue;
    }

    /// Why it cannot take the seat any more.
    pub(crate) fn fault(&self) -> Option<&PolicyFault> {
        self.novice.fault()
    }

    /// It cannot take the seat: it was not told all that happened.
    pub(crate) fn fail(&mut self, reason: String) {
        self.novice.fail(reason);
    }

    /// Entries that it may have yet to hear of.
    pub(crate) fn remaining(&self) -> usize {
        if self.fault().is_some() { 0 } else { self.queue.len() + self.late.len() }
    }

    /// True where all that was resident at first has been looked at.
    pub(crate) fn only_late_remain(&self) -> bool {
        self.queue.is_empty()
    }

    /// The next slot to adopt, none where all is done or the instance has failed.
    pub(crate) fn next_slot(&mut self) -> Option<u32> {
        if self.fault().is_some() {
            return None;
        }
        self.queue.pop().or_else(|| self.late.pop_front())
    }

    /// Puts slots back whose news is still on its way.
    pub(crate) fn postpone(&mut self, slots: &[u32]) {
        self.late.extend(slots);
    }

    pub(crate) fn knows(&self, slot: u32) -> bool {
        self.novice.knows(slot)
    }

    pub(crate) fn seat(&self) -> &Seat {
        self.novice.seat()
    }

    pub(crate) fn memory_bytes(&self) -> u64 {
        self.seat().instance().map_or(0, |instance| instance.memory_bytes())
    }

    /// Introduces an entry: when it came in, and its last access if it had any.
    pub(crate) fn adopt(&mut self, adopt: Record, hit: Option<Record>) {
        self.novice.adopt(adopt, hit);
    }

    /// Follows what the policy in charge did and heard: `evicted` slots, then its batch.
    pub(crate) fn follow(&mut self, evicted: &[u32], batch: [&[Record]; 2]) {
        let Self { novice, late, .. } = self;
        for &slot in evicted {
            if novice.knows(slot) {
                novice.note(Record::new(Kind::Remove, slot));
            }
        }
        for record in batch.into_iter().flatten() {
            let known = novice.knows(record.slot);
            match record.kind() {
                Some(Kind::Hit) if known && novice.seat().wants(Kind::Hit) => novice.note(*record),
                Some(Kind::Remove | Kind::Expire) if known => novice.note(*record),
                Some(Kind::Update) if known => {
                    novice.note(Record { kind: Kind::Remove as u8, ..*record });
                    late.push_back(record.slot);
                }
                Some(Kind::Insert | Kind::Update) if !known => late.push_back(record.slot),
                _ => {}
            }
        }
    }

    /// Hands over what waits. The answer must be empty.
    pub(crate) fn call(&mut self) {
        self.novice.call();
    }

    /// Hands over a model, after what waits. A fault in it is one as any other.
    pub(crate) fn model(&mut self, message: &[u8]) -> Reception {
        self.novice.model(message)
    }

    /// The seat and who it was prepared for.
    pub(crate) fn into_parts(self) -> (Seat, Charge) {
        (self.novice.into_seat(), self.charge)
    }
}
