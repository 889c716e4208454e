//! Write cache policies for Ostler.
//!
//! A policy implements [`Policy`]: what to do on a hit, on an insert, on a removal, and which entry
//! to give up. [`Driver`] turns the engine's batches of records into those calls and keeps the
//! budget; [`export!`] writes the module's exports and manifest. The rest are building blocks:
//! arrays over slots that grow without copying ([`PerSlot`]), lists ([`Links`], [`List`]), ghosts
//! ([`GhostTable`], small; [`Ghosts`], exact), a frequency sketch ([`CountMin`]), a priority queue
//! ([`SlotHeap`]) and seeded random numbers ([`Rng`]).
//!
//! Two further kinds of policy serve a cache beside eviction, each with a trait and a macro of its
//! own: [`Prefetch`] asks for keys before they are requested ([`export_prefetch!`]), [`Warm`] says
//! what a cold cache should fetch first ([`export_warming!`]).
//!
//! ```
//! use ostler_policy::{Budget, Links, List, Policy, Record, Setup};
//!
//! /// Least recently used.
//! struct Recency {
//!     links: Links,
//!     order: List,
//! }
//!
//! impl Policy for Recency {
//!     type Params = Params;
//!
//!     fn new(setup: &Setup, _: &Params) -> Self {
//!         Self { links: Links::new(setup.slots), order: List::new() }
//!     }
//!     fn grow(&mut self, slots: u32) {
//!         self.links.grow(slots);
//!     }
//!     fn hit(&mut self, event: &Record, _: &Budget) {
//!         self.links.move_to_head(&mut self.order, event.slot);
//!     }
//!     fn insert(&mut self, event: &Record, _: &Budget) {
//!         self.links.push_head(&mut self.order, event.slot, event.weight);
//!     }
//!     fn victim(&mut self, budget: &Budget) -> u32 {
//!         let slot = self.order.tail();
//!         self.remove(slot, budget);
//!         slot
//!     }
//!     fn remove(&mut self, slot: u32, budget: &Budget) {
//!         self.links.remove(&mut self.order, slot, budget.weight(slot));
//!     }
//!     fn reweigh(&mut self, _: u32, old: u32, new: u32) {
//!         self.order.reweigh(old, new);
//!     }
//! }
//!
//! ostler_policy::export! {
//!     policy: Recency,
//!     name: "recency",
//!     summary: "Evicts the entry that was not used for longest.",
//!     events: ["hit"],
//!     bytes_per_slot: 12,
//!     base_bytes: 262_144,
//!     params: Params {}
//! }
//! # fn main() {
//! # use ostler_policy::Step;
//! let setup = Setup { capacity: 2, slots: 3, seed: 0 };
//! let mut policy = (NATIVE.build)(setup, "{}").expect("the defaults are valid");
//! let mut victims = [0; 4];
//! use ostler_policy::Kind::{Hit, Insert};
//! let events =
//!     [(Insert, 0), (Insert, 1), (Hit, 0), (Insert, 2)].map(|(kind, slot)| Record::new(kind, slot));
//! assert_eq!(policy.step(&events, &mut victims), 1);
//! assert_eq!(victims[0], 1);
//! # }
//! ```
#![cfg_attr(not(any(test, feature = "check")), no_std)]

extern crate alloc;

mod bits;
mod budget;
#[cfg(feature = "check")]
pub mod check;
mod count_min;
mod driver;
mod export;
mod ghost_table;
mod ghosts;
mod guesses;
#[cfg(target_arch = "wasm32")]
pub mod guest;
mod heap;
mod index;
mod lists;
mod params;
mod per_slot;
mod policy;
mod prefetch;
mod rng;
mod sample;
mod warming;

pub use bits::Bits;
pub use budget::Budget;
pub use count_min::CountMin;
pub use driver::Driver;
pub use ghost_table::GhostTable;
pub use ghosts::Ghosts;
pub use guesses::Guesses;
pub use heap::SlotHeap;
pub use index::HashIndex;
pub use lists::{Links, List};
pub use ostler_abi::{
    Access, AccessKind, Ask, Asks, CONFIDENCE_MAX, Candidate, DECAYED_ONE, FLAG_RESIDENT,
    InitRefused, KEY_BYTES_MAX, Kind, ModelRefused, NO_SLOT, NativePolicy, NativePrefetch,
    NativeWarming, Outlook, Predict, Rank, Record, Refusal, Setup, Step, hash_bytes, hash_u64,
};
pub use params::{ParamValue, Params};
#[doc(hidden)]
pub use params::{read_value, unknown_name};
pub use per_slot::{CHUNK_SLOTS, PerSlot};
pub use policy::Policy;
pub use prefetch::{Prefetch, PrefetchDriver};
pub use rng::Rng;
pub use sample::SlotSet;
pub use warming::{Warm, WarmDriver};

/// What [`export!`] expands to names these; not for direct use.
#[doc(hidden)]
pub mod macro_support {
    use alloc::boxed::Box;

    #[cfg(target_arch = "wasm32")]
    pub use dlmalloc::GlobalDlmalloc;

    use crate::{InitRefused, Params, Setup};

    /// A driver that `new` makes of a setup and of parameters as JSON.
    pub fn driver<P: Params, D>(
        setup: Setup,
        params: &str,
        new: impl FnOnce(Setup, P) -> D,
    ) -> Result<Box<D>, InitRefused> {
        Ok(Box::new(new(setup, P::from_json(params)?)))
    }
}
