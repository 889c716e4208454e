//! The fetches under way.

use foldhash::fast::FixedState;
use hashbrown::HashMap;

/// One fetch under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flight {
    /// Number of the access after which it was asked.
    pub(super) asked: u64,
    /// When it was asked, milliseconds.
    pub(super) asked_ms: u64,
    /// A demand for the key came meanwhile.
    pub(super) is_late: bool,
}

/// The fetches under way, by the hash of their key.
#[derive(Clone, Debug)]
pub(super) struct Flights(HashMap<u64, Flight, FixedState>);

impl Flights {
    pub(super) fn new() -> Self {
        Self(HashMap::with_hasher(FixedState::default()))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn has(&self, hash: u64) -> bool {
        self.0.contains_key(&hash)
    }

    pub(super) fn begin(&mut self, hash: u64, flight: Flight) {
        self.0.insert(hash, flight);
    }

    pub(super) fn end(&mut self, hash: u64) -> Option<Flight> {
        self.0.remove(&hash)
    }

    /// Marks the fetch of `hash` late; true where it was under way and not late before.
    pub(super) fn overtake(&mut self, hash: u64) -> bool {
        match self.0.get_mut(&hash) {
            Some(flight) => !std::mem::replace(&mut flight.is_late, true),
            None => false,
        }
    }
}
