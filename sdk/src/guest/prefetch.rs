//! What a prefetch policy's module keeps.

use ostler_abi::{Access, Ask, Asks, PREFETCH_LAYOUT_BYTES, Predict, PrefetchLayout};

use super::{Kept, Started, address, first, layout_of};
use crate::{Prefetch, PrefetchDriver};

/// Accesses in the event window; equals the longest batch.
const ACCESSES_CAP: usize = 256;
/// Asks that fit into one answer.
const ASKS_CAP: usize = 1024;
/// Bytes of the io buffer: the keys that the policy writes itself.
const IO_CAP: usize = 32_768;

/// All zero before `ostler_init`, so that it costs the module's file nothing.
struct State<P: Prefetch, const KEYS_CAP: usize> {
    layout: PrefetchLayout,
    accesses: [Access; ACCESSES_CAP],
    asks: [Ask; ASKS_CAP],
    io: [u8; IO_CAP],
    keys: [u8; KEYS_CAP],
    policy: Started<PrefetchDriver<P>>,
}

/// Everything a module keeps: one static of this type is behind the exports. `KEYS_CAP` is the size
/// of the keys window, 0 for a policy that does not require keys.
pub struct PrefetchGuest<P: Prefetch, const KEYS_CAP: usize> {
    kept: Kept<State<P, KEYS_CAP>>,
}

impl<P: Prefetch, const KEYS_CAP: usize> PrefetchGuest<P, KEYS_CAP> {
    /// A guest before `ostler_init`.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            kept: Kept::new(State {
                layout: PrefetchLayout::ZERO,
                accesses: [Access::ZERO; ACCESSES_CAP],
                asks: [Ask::ZERO; ASKS_CAP],
                io: [0; IO_CAP],
                keys: [0; KEYS_CAP],
                policy: Started::NOT_YET,
            }),
        }
    }

    /// `ostler_layout`: fills in the addresses and returns the layout's own.
    pub fn layout(&self) -> *const PrefetchLayout {
        let state = self.kept.state();
        state.layout = PrefetchLayout {
            base: layout_of(
                PREFETCH_LAYOUT_BYTES,
                &mut state.accesses,
                &mut state.asks,
                &mut state.io,
            ),
            keys_ptr: address(&mut state.keys),
            keys_cap: KEYS_CAP as u32,
        };
        &raw const state.layout
    }

    /// `ostler_init`: 0, or why it refuses.
    pub fn init(&self, capacity: i64, slots: i32, seed: i64) -> i32 {
        let state = self.kept.state();
        state.policy.init(&state.io, (capacity, slots, seed), |setup, params| {
            PrefetchDriver::new(&setup, &params)
        })
    }

    /// `ostler_predict`: consumes the first `accesses` records of the window.
    ///
    /// # Panics
    ///
    /// Traps before `ostler_init`, and where `accesses` is outside the window.
    pub fn predict(&self, accesses: i32) -> i32 {
        let state = self.kept.state();
        let batch = first(&state.accesses, accesses);
        let mut asks = Asks::new(&mut state.asks, &mut state.io);
        state.policy.driver().predict(batch, &state.keys, &mut asks);
        asks.len() as i32
    }
}
