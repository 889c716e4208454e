//! What a warming policy's module keeps.

use ostler_abi::{Candidate, LAYOUT_BYTES, Layout, OUTLOOK_BYTES, Outlook, Rank};

use super::{Kept, Started, first, layout_of, model_code};
use crate::{Warm, WarmDriver};

/// Candidates in the event window, and scores in the answer.
const CANDIDATES_CAP: usize = 256;
/// Bytes of the io buffer.
const IO_CAP: usize = 4096;

/// All zero before `ostler_init`, so that it costs the module's file nothing.
struct State<P: Warm> {
    layout: Layout,
    candidates: [Candidate; CANDIDATES_CAP],
    scores: [u32; CANDIDATES_CAP],
    io: [u8; IO_CAP],
    policy: Started<WarmDriver<P>>,
}

/// Everything a module keeps: one static of this type is behind the exports.
pub struct WarmingGuest<P: Warm> {
    kept: Kept<State<P>>,
}

impl<P: Warm> WarmingGuest<P> {
    /// A guest before `ostler_init`.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            kept: Kept::new(State {
                layout: Layout::ZERO,
                candidates: [Candidate::ZERO; CANDIDATES_CAP],
                scores: [0; CANDIDATES_CAP],
                io: [0; IO_CAP],
                policy: Started::NOT_YET,
            }),
        }
    }

    /// `ostler_layout`: fills in the addresses and returns the layout's own.
    pub fn layout(&self) -> *const Layout {
        let state = self.kept.state();
        state.layout =
            layout_of(LAYOUT_BYTES, &mut state.candidates, &mut state.scores, &mut state.io);
        &raw const state.layout
    }

    /// `ostler_init`: 0, or why it refuses.
    pub fn init(&self, capacity: i64, slots: i32, seed: i64) -> i32 {
        let state = self.kept.state();
        state.policy.init(&state.io, (capacity, slots, seed), |setup, params| {
            WarmDriver::new(&setup, &params)
        })
    }

    /// `ostler_rank`: scores the first `candidates` of the window under the outlook that starts the
    /// io buffer.
    ///
    /// # Panics
    ///
    /// Traps before `ostler_init`, and where `candidates` is outside the window.
    pub fn rank(&self, candidates: i32) -> i32 {
        let state = self.kept.state();
        let Some(outlook) = state.io.first_chunk::<OUTLOOK_BYTES>() else {
            unreachable!("the buffer is longer than an outlook")
        };
        let batch = first(&state.candidates, candidates);
        let scores = &mut state.scores[..batch.len()];
        state.policy.driver().rank(&Outlook::from_bytes(outlook), batch, scores);
        candidates
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
