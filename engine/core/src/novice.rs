//! A policy that is introduced to what is resident before it may take a seat.
//!
//! It hears of entries one by one, in bounded batches, and has nothing to propose yet: all it knows of
//! fits, since another policy or the engine keeps the capacity meanwhile. An answer with a victim is a
//! fault.

use ostler_abi::{Kind, Record};

use crate::counters::Counters;
use crate::fault::PolicyFault;
use crate::model_shelf::Reception;
use crate::seat::Seat;

/// A seat apart from those that count.
pub(crate) struct Novice {
    seat: Seat,
    fault: Option<PolicyFault>,
    counters: Counters,
}

impl Novice {
    /// A policy that has heard of nothing.
    pub(crate) fn new(seat: Seat) -> Self {
        Self { seat, fault: None, counters: Counters::default() }
    }

    /// Why it cannot take the seat any more.
    pub(crate) fn fault(&self) -> Option<&PolicyFault> {
        self.fault.as_ref()
    }

    /// It cannot take the seat: it was not told all that happened.
    pub(crate) fn fail(&mut self, reason: String) {
        self.fault = Some(PolicyFault::Trap { reason });
    }

    pub(crate) fn knows(&self, slot: u32) -> bool {
        self.seat.guard().has(slot)
    }

    pub(crate) fn seat(&self) -> &Seat {
        &self.seat
    }

    /// The seat, which counts from here on: there was no [fault](Self::fault).
    pub(crate) fn into_seat(self) -> Seat {
        debug_assert!(self.fault.is_none(), "a policy that failed takes no seat");
        self.seat
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

    /// Hands over a model, after what waits.
    pub(crate) fn model(&mut self, message: &[u8]) -> Reception {
        self.call();
        if self.fault.is_some() {
            return Reception::Ignored;
        }
        let answer = self.seat.model(message);
        let reception = Reception::of(&answer);
        self.fault = answer.err();
        reception
    }

    /// Tells it of an event.
    pub(crate) fn note(&mut self, record: Record) {
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
