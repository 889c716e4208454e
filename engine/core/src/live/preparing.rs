//! An instance on its way to the seat: it adopts the entries while another is in charge.
//!
//! It hears of an event only if the slot is in its own view; every other entry is adopted later, with
//! what is then known of it, so no log is kept. Newcomers and overwritten entries queue for that. It
//! is told of departures, and proposes nothing: since its view is part of the view of the policy in
//! charge, there is never a reason to. An answer with a victim is a fault.

use std::collections::VecDeque;

use ostler_abi::{Kind, Record};

use crate::counters::Counters;
use crate::fault::PolicyFault;
use crate::live::maintainer::Charge;
use crate::seat::Seat;

/// The instance, and which entries it has yet to hear of.
pub(crate) struct Preparing {
    seat: Seat,
    charge: Charge,
    /// Slots to adopt, the next last.
    queue: Vec<u32>,
    /// Slots that came in or were overwritten meanwhile; adopted after the queue, in order.
    late: VecDeque<u32>,
    fault: Option<PolicyFault>,
    counters: Counters,
}

impl Preparing {
    /// An instance that has heard of nothing.
    pub(crate) fn new(seat: Seat, charge: Charge) -> Self {
        Self {
            seat,
            charge,
            queue: Vec::new(),
            late: VecDeque::new(),
            fault: None,
            counters: Counters::default(),
        }
    }

    /// Names the slots to adopt, the coldest last.
    pub(crate) fn set_queue(&mut self, queue: Vec<u32>) {
        self.queue = queue;
    }

    /// Why it cannot take the seat any more.
    pub(crate) fn fault(&self) -> Option<&PolicyFault> {
        self.fault.as_ref()
    }

    /// It cannot take the seat: it was not told all that happened.
    pub(crate) fn fail(&mut self, reason: String) {
        self.fault = Some(PolicyFault::Trap { reason });
    }

    /// Entries that it may have yet to hear of.
    pub(crate) fn remaining(&self) -> usize {
        if self.fault.is_some() { 0 } else { self.queue.len() + self.late.len() }
    }

    /// True where all that was resident at first has been looked at.
    pub(crate) fn only_late_remain(&self) -> bool {
        self.queue.is_empty()
    }

    /// The next slot to adopt, none where all is done or the instance has failed.
    pub(crate) fn next_slot(&mut self) -> Option<u32> {
        if self.fault.is_some() {
            return None;
        }
        self.queue.pop().or_else(|| self.late.pop_front())
    }

    /// Puts slots back whose news is still on its way.
    pub(crate) fn postpone(&mut self, slots: &[u32]) {
        self.late.extend(slots);
    }

    pub(crate) fn knows(&self, slot: u32) -> bool {
        self.seat.guard().has(slot)
    }

    pub(crate) fn seat(&self) -> &Seat {
        &self.seat
    }

    pub(crate) fn memory_bytes(&self) -> u64 {
        self.seat.instance().map_or(0, |instance| instance.memory_bytes())
    }

    /// Introduces an entry: when it came in, and its last access if it had any.
    pub(crate) fn adopt(&mut self, adopt: Record, hit: Option<Record>) {
        let hit = hit.filter(|_| self.seat.wants(Kind::Hit));
        // The pair must be in one batch.
        if self.seat.room() < 1 + usize::from(hit.is_some()) {
            self.call();
        }
        self.note(adopt);
        if let Some(hit) = hit {
            self.note(hit);
        }
    }

    /// Follows what the policy in charge did and heard: `evicted` slots, then its batch.
    pub(crate) fn follow(&mut self, evicted: &[u32], batch: [&[Record]; 2]) {
        for &slot in evicted {
            if self.knows(slot) {
                self.note(Record::new(Kind::Remove, slot));
            }
        }
        for record in batch.into_iter().flatten() {
            let known = self.knows(record.slot);
            match record.kind() {
                Some(Kind::Hit) if known && self.seat.wants(Kind::Hit) => self.note(*record),
                Some(Kind::Remove | Kind::Expire) if known => self.note(*record),
                Some(Kind::Update) if known => {
                    self.note(Record { kind: Kind::Remove as u8, ..*record });
                    self.late.push_back(record.slot);
                }
                Some(Kind::Insert | Kind::Update) if !known => self.late.push_back(record.slot),
                _ => {}
            }
        }
    }

    /// Hands over what waits. The answer must be empty.
    pub(crate) fn call(&mut self) {
        if self.seat.pending() == 0 {
            return;
        }
        let mut accepted = Vec::new();
        match self.seat.call(&mut accepted, &mut self.counters) {
            Ok(false) if accepted.is_empty() => {}
            Ok(_) => {
                let named = accepted.len();
                let reason = format!("{named} victims while the instance was being prepared");
                self.fault = Some(PolicyFault::BadVictim { reason });
            }
            Err(fault) => self.fault = Some(fault),
        }
    }

    /// The seat and who it was prepared for.
    pub(crate) fn into_parts(self) -> (Seat, Charge) {
        (self.seat, self.charge)
    }

    fn note(&mut self, record: Record) {
        if self.fault.is_some() {
            return;
        }
        if self.seat.is_full() {
            self.call();
        }
        if self.seat.needs_slots(record.slot) {
            self.seat.announce_slots(record.slot);
            if self.seat.room() < 2 {
                self.call();
            }
        }
        self.seat.note(record);
    }
}
