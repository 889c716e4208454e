//! What an eviction policy's module keeps.

use ostler_abi::{LAYOUT_BYTES, Layout, Record, Step};

use super::{Kept, Started, first, layout_of, model_code};
use crate::{Driver, Policy};

/// Records in the event window; equals the longest batch.
const EVENTS_CAP: usize = 256;
/// Victims that fit into one answer.
const VICTIMS_CAP: usize = 256;
/// Bytes of the io buffer.
const IO_CAP: usize = 4096;

/// All zero before `ostler_init`, so that it costs the module's file nothing.
struct State<P: Policy> {
    layout: Layout,
    events: [Record; EVENTS_CAP],
    victims: [u32; VICTIMS_CAP],
    io: [u8; IO_CAP],
    policy: Started<Driver<P>>,
}

/// Everything a module keeps: one static of this type is behind the exports.
pub struct Guest<P: Policy> {
    kept: Kept<State<P>>,
}

impl<P: Policy> Guest<P> {
    /// A guest before `ostler_init`.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            kept: Kept::new(State {
                layout: Layout::ZERO,
                events: [Record::ZERO; EVENTS_CAP],
                victims: [0; VICTIMS_CAP],
                io: [0; IO_CAP],
                policy: Started::NOT_YET,
            }),
        }
    }

    /// `ostler_layout`: fills in the addresses and returns the layout's own.
    pub fn layout(&self) -> *const Layout {
        let state = self.kept.state();
        state.layout =
            layout_of(LAYOUT_BYTES, &mut state.events, &mut state.victims, &mut state.io);
        &raw const state.layout
    }

    /// `ostler_init`: 0, or why it refuses.
    pub fn init(&self, capacity: i64, slots: i32, seed: i64) -> i32 {
        let state = self.kept.state();
        state.policy.init(&state.io, (capacity, slots, seed), Driver::new)
    }

    /// `ostler_step`: consumes the first `events` records of the window.
    ///
    /// # Panics
    ///
    /// Traps before `ostler_init`, and where `events` is outside the window.
    pub fn step(&self, events: i32) -> i32 {
        let state = self.kept.state();
        let batch = first(&state.events, events);
        state.policy.driver().step(batch, &mut state.victims) as i32
    }

    /// `ostler_model`: the message is the first `len` bytes of the io buffer.
    ///
    /// # Panics
    ///
    /// Traps before `ostler_init`, and where `len` is outside the buffer.
    pub fn model(&self, len: i32) -> i32 {
        let state = self.kept.state();
        model_code(state.policy.driver().model(first(&state.io, len)))
    }
}
