//! The trait that a policy author implements.

use ostler_abi::{ModelRefused, Record, Setup};

use crate::{Budget, Params};

/// An eviction policy: it hears what happens to the residents and says which one to give up.
///
/// The [`Driver`](crate::Driver) calls it, one event at a time, in the order of the requests. Who
/// does what:
///
/// - The driver keeps the budget: which slots are resident, what each weighs, the capacity. A
///   policy reads it from [`Budget`] and keeps only its own order.
/// - The driver hears about dead slots (evicted earlier in the same batch) and drops their events;
///   the policy never sees an event for a slot that is not resident.
/// - A newcomer goes: [`admit`](Self::admit) once, [`victim`](Self::victim) until it fits,
///   [`insert`](Self::insert). That is the order of the literature: evict, then insert.
///
/// A policy must be deterministic: the same events and seed give the same victims, natively and in
/// Wasm. No clock, no addresses, no state as wide as `usize`; use the `libm` crate where you need
/// more of floating point than `+ − × ÷`. A panic is a fault: the engine drops the policy and
/// carries on with its fallback.
pub trait Policy: Sized {
    /// The parameters, declared in [`export!`](crate::export).
    type Params: Params;

    /// A policy for an empty cache. Slot numbers stay below `setup.slots` until [`grow`](Self::grow).
    fn new(setup: &Setup, params: &Self::Params) -> Self;

    /// Slot numbers below `slots` may come from now on. The only place where per-slot memory grows.
    fn grow(&mut self, slots: u32);

    /// A resident entry was read `event.count` times.
    fn hit(&mut self, event: &Record, budget: &Budget);

    /// A new entry is resident now: `budget` already counts it.
    fn insert(&mut self, event: &Record, budget: &Budget);

    /// Chooses the entry to evict and forgets it. Called only while something has to go.
    ///
    /// `budget` still counts the victim, so its weight can be read; the newcomer, if one is waiting,
    /// is `budget.incoming()`. Returning the newcomer's slot rejects it: `insert` is not called.
    /// Must return a resident (or the newcomer) each time.
    fn victim(&mut self, budget: &Budget) -> u32;

    /// The user removed the entry, or it expired: forget it. `budget` still counts it.
    fn remove(&mut self, slot: u32, budget: &Budget);

    /// Asks whether a newcomer is worth an eviction; `false` rejects it where it does not fit as it
    /// is. While there is room it comes in whatever the answer: a cache that stays empty by choice
    /// would send every request to the origin.
    ///
    /// Called exactly once a newcomer, before any `victim`: the place to look it up among ghosts.
    fn admit(&mut self, _event: &Record, _budget: &Budget) -> bool {
        true
    }

    /// The entry in `slot` weighs `new` instead of `old` from now on. Comes right before
    /// [`update`](Self::update). A policy that keeps sums of weights must follow.
    fn reweigh(&mut self, _slot: u32, _old: u32, _new: u32) {}

    /// A resident entry was overwritten. By default an access like any other.
    fn update(&mut self, event: &Record, budget: &Budget) {
        self.hit(event, budget);
    }

    /// A request found nothing. Comes only if the manifest asks for `miss`, and may be lost.
    fn miss(&mut self, _event: &Record, _budget: &Budget) {}

    /// An entry that was resident before this policy took over; coldest first. `last` is its last
    /// access, with the hits since insertion as its count. By default an insert, then a hit.
    fn adopt(&mut self, entry: &Record, last: Option<&Record>, budget: &Budget) {
        self.insert(entry, budget);
        if let Some(hit) = last {
            self.hit(hit, budget);
        }
    }

    /// The capacity changed; `budget` has the new one. Victims are asked for afterwards.
    fn capacity(&mut self, _budget: &Budget) {}

    /// A model arrived, between two batches. Comes only if the manifest requires `model`; until the
    /// first, and for good where none comes, the policy works without. The driver remembers the
    /// message and delivers it again after a reset.
    ///
    /// # Errors
    ///
    /// [`ModelRefused`] for whatever is not a whole, valid model of this policy: check everything
    /// before anything changes, for a refused message must change no decision.
    fn model(&mut self, _message: &[u8]) -> Result<(), ModelRefused> {
        Err(ModelRefused::TAKES_NONE)
    }
}
