//! The maintainer's side of a shard: the seat, and what is on its way to and from the policy.
//!
//! One thread at a time holds it, by a lock of its own that nobody waits for on the way of a hit. The
//! shard's lock is taken for moments only, to collect notes and to apply victims, never across a call
//! of a policy.

use std::sync::Arc;

use ostler_abi::{Kind, Record};

use crate::counters::Counters;
use crate::fault::PolicyFault;
use crate::guard::Accepted;
use crate::live::notes::Batch;
use crate::live::preparing::Preparing;
use crate::live::state::Seating;
use crate::seat::{Seat, Wants};
use crate::source::InstanceSource;
use crate::stats::PolicyCounts;
use crate::tap::{SampleShare, Tapped};

const HIT: u8 = Kind::Hit as u8;
const INSERT: u8 = Kind::Insert as u8;
const MISS: u8 = Kind::Miss as u8;

/// Places in the table of newcomers.
const FRESH_LEN: usize = 256;

/// The policy that a seat was given to.
#[derive(Clone)]
pub(crate) struct Charge {
    pub(crate) source: Arc<dyn InstanceSource>,
    /// Number of the appointment; a later one is greater.
    pub(crate) serial: u64,
}

/// What the maintainer's lock guards.
pub(crate) struct Maintainer {
    pub(crate) seat: Seat,
    pub(crate) charge: Option<Charge>,
    pub(crate) preparing: Option<Box<Preparing>>,
    pub(crate) tapped: Option<Tapped>,
    /// Records under delivery.
    pub(super) batch: Batch,
    /// Slots in quarantine until that delivery is through.
    pub(crate) freed: Vec<u32>,
    pub(crate) accepted: Vec<Accepted>,
    /// Slots evicted since the instance that is being prepared was last told.
    pub(crate) evicted: Vec<u32>,
    pub(crate) hashes: Vec<Option<u64>>,
    /// The record of an entry that waits outside with a slot of its own.
    pub(crate) reserved: Option<Record>,
    /// How often code had been quarantined when the policy in charge was last looked at.
    pub(crate) quarantined_seen: u64,
    /// A delivery is under way, or was when a panic ended it.
    torn: bool,
    counters: Counters,
    hits_delivered: u64,
    maintenances: u64,
    /// Guest time of the instances before this one.
    guest_ns_before: u64,
    /// Newcomers of the batch by their low bits, so that choosing one is told from evicting.
    fresh: Box<[u32; FRESH_LEN]>,
}

impl Maintainer {
    pub(crate) fn new(seat: Seat, charge: Option<Charge>) -> Self {
        Self {
            seat,
            charge,
            preparing: None,
            tapped: None,
            batch: Batch::default(),
            freed: Vec::new(),
            accepted: Vec::new(),
            evicted: Vec::new(),
            hashes: Vec::new(),
            reserved: None,
            quarantined_seen: 0,
            torn: false,
            counters: Counters::default(),
            hits_delivered: 0,
            maintenances: 0,
            guest_ns_before: 0,
            fresh: Box::new([u32::MAX; FRESH_LEN]),
        }
    }

    pub(crate) fn begin(&mut self) {
        self.maintenances += 1;
        self.torn = true;
    }

    /// What was begun is through.
    pub(crate) fn end(&mut self) {
        self.torn = false;
    }

    /// True where the last delivery was not brought to its end, because the user's `Hash` or `Eq`
    /// panicked in it.
    pub(crate) fn is_torn(&self) -> bool {
        self.torn
    }

    /// A delivery begins that is no maintenance.
    pub(crate) fn begin_apart(&mut self) {
        self.torn = true;
    }

    /// Entries that the instance that is being prepared may have yet to hear of.
    pub(crate) fn remaining(&self) -> usize {
        self.preparing.as_ref().map_or(0, |preparing| preparing.remaining())
    }

    /// True where none of them was resident when it began.
    pub(crate) fn only_late_remain(&self) -> bool {
        self.preparing.as_ref().is_none_or(|preparing| preparing.only_late_remain())
    }

    /// Lets the tap hear a batch, where there is one. Comes before every delivery, whoever makes it.
    #[inline]
    pub(crate) fn tell_tap(&mut self, batch: [&[Record]; 2]) {
        if let Some(tapped) = &mut self.tapped {
            tapped.hear(batch);
        }
    }

    /// Tells the instance that is being prepared what the policy in charge did and heard. Comes after
    /// every delivery, whoever made it.
    pub(crate) fn tell_preparing(&mut self, batch: [&[Record]; 2]) {
        if let Some(preparing) = &mut self.preparing {
            preparing.follow(&self.evicted, batch);
        }
        self.evicted.clear();
    }

    /// The instance that is being prepared cannot take the seat.
    pub(crate) fn fail_preparing(&mut self, reason: &str) {
        if let Some(preparing) = &mut self.preparing {
            preparing.fail(reason.to_owned());
        }
    }

    /// Who is to be told and asked from now on.
    pub(crate) fn seating(&self) -> Seating {
        let preparing = self.preparing.as_ref().map(|preparing| preparing.seat().wanted());
        let taken = self.seat.is_taken();
        let wants = self.seat.wanted().or(preparing.unwrap_or(Wants::NONE));
        let noting = taken || preparing.is_some() || self.tapped.is_some();
        let all = Wants { hits: true, misses: true };
        let heard = if self.tapped.is_some() { all } else { wants };
        Seating { taken, noting, wants: heard, all_misses: wants.misses }
    }

    /// The keys that a tap wants to hear of.
    pub(crate) fn share(&self) -> SampleShare {
        self.tapped.as_ref().map_or(SampleShare::NONE, Tapped::share)
    }

    /// Counts a failed appointment.
    pub(crate) fn count_fault(&mut self) {
        self.counters.faults += 1;
    }

    /// Notes the records of `batch` that concern the policy, as many as go into the window as it is.
    /// Returns how many are through. The short way for all but a few records.
    #[inline]
    pub(crate) fn note_slice(&mut self, batch: &[Record]) -> usize {
        let Self { seat, fresh, hits_delivered, .. } = self;
        seat.note_slice(batch, |guard, wants, record| match record.kind {
            HIT => {
                let told = wants.hits && guard.has(record.slot);
                *hits_delivered += u64::from(told);
                told
            }
            INSERT => {
                fresh[record.slot as usize % FRESH_LEN] = record.slot;
                !guard.has(record.slot)
            }
            MISS => wants.misses,
            _ => guard.has(record.slot),
        })
    }

    /// True where the policy is to hear of `record`: it asked for such, and knows the slot or, for a
    /// newcomer, does not know it yet. Judge it right before it is noted, since a call may change it.
    #[inline]
    pub(crate) fn concerns(&mut self, record: &Record) -> bool {
        let guard = self.seat.guard();
        match record.kind() {
            Some(Kind::Hit) => {
                let told = guard.has(record.slot) && self.seat.wants(Kind::Hit);
                self.hits_delivered += u64::from(told);
                told
            }
            Some(Kind::Insert) => {
                self.fresh[record.slot as usize % FRESH_LEN] = record.slot;
                !guard.has(record.slot)
            }
            Some(Kind::Miss) => self.seat.wants(Kind::Miss),
            Some(Kind::Update | Kind::Remove | Kind::Expire) => guard.has(record.slot),
            _ => true,
        }
    }

    /// True where `slot` came in so lately that its eviction is a rejection, as far as that is known.
    #[inline]
    pub(crate) fn is_fresh(&self, slot: u32) -> bool {
        self.fresh[slot as usize % FRESH_LEN] == slot
    }

    /// What came in so far is not fresh any more.
    pub(crate) fn age(&mut self) {
        self.fresh.fill(u32::MAX);
    }

    /// Calls the policy once. As [`Seat::call`].
    pub(crate) fn call(&mut self) -> Result<bool, PolicyFault> {
        self.seat.call(&mut self.accepted, &mut self.counters)
    }

    pub(crate) fn count_stale(&mut self) {
        self.counters.stale_victims += 1;
    }

    /// Puts another seat in place of this one, which it returns.
    pub(crate) fn change(&mut self, seat: Seat, charge: Charge) -> Seat {
        self.guest_ns_before += self.seat.instance().map_or(0, |instance| instance.guest_ns());
        self.charge = Some(charge);
        // Its code may have been quarantined while it was prepared.
        self.quarantined_seen = u64::MAX;
        std::mem::replace(&mut self.seat, seat)
    }

    /// The counts as they are now.
    pub(crate) fn counts(&self) -> PolicyCounts {
        let instance = self.seat.instance();
        let preparing = self.preparing.as_ref().map_or(0, |preparing| preparing.memory_bytes());
        PolicyCounts {
            calls: self.counters.calls,
            records: self.counters.records,
            stale_victims: self.counters.stale_victims,
            hits_delivered: self.hits_delivered,
            faults: self.counters.faults,
            maintenances: self.maintenances,
            guest_ns: self.guest_ns_before + instance.map_or(0, |instance| instance.guest_ns()),
            guest_memory_bytes: preparing + instance.map_or(0, |instance| instance.memory_bytes()),
            in_charge: instance.is_some(),
        }
    }
}
