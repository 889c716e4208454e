//! The guest's side of the exports. Exists only on wasm32.
//!
//! It owns the buffers that the host writes into and reads from, and the one policy of the module.
//! A module has one thread and no export calls another, so every access here is exclusive.
#![expect(unsafe_code, reason = "the host reaches these buffers by address, between calls")]

use alloc::boxed::Box;
use core::cell::UnsafeCell;

pub use ostler_abi::Layout;
use ostler_abi::{ABI_VERSION, LAYOUT_BYTES, Record, Setup, Step};

use crate::{Driver, Params, Policy};

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
    driver: Option<Box<Driver<P>>>,
}

/// Everything a module keeps: one static of this type is behind the three exports.
pub struct Guest<P: Policy> {
    state: UnsafeCell<State<P>>,
}

// SAFETY: a module of the contract has one thread, since shared memories and atomics are refused.
unsafe impl<P: Policy> Sync for Guest<P> {}

impl<P: Policy> Guest<P> {
    /// A guest before `ostler_init`.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            state: UnsafeCell::new(State {
                layout: Layout::ZERO,
                events: [Record::ZERO; EVENTS_CAP],
                victims: [0; VICTIMS_CAP],
                io: [0; IO_CAP],
                driver: None,
            }),
        }
    }

    #[expect(
        clippy::mut_from_ref,
        reason = "each export borrows the state once and calls no other"
    )]
    fn state(&self) -> &mut State<P> {
        // SAFETY: one thread, and the exports do not nest: this is the only borrow alive.
        unsafe { &mut *self.state.get() }
    }

    /// `ostler_layout`: fills in the addresses and returns the layout's own.
    pub fn layout(&self) -> *const Layout {
        let state = self.state();
        state.layout = Layout {
            len: LAYOUT_BYTES,
            abi: ABI_VERSION,
            events_ptr: state.events.as_mut_ptr().expose_provenance() as u32,
            events_cap: EVENTS_CAP as u32,
            victims_ptr: state.victims.as_mut_ptr().expose_provenance() as u32,
            victims_cap: VICTIMS_CAP as u32,
            io_ptr: state.io.as_mut_ptr().expose_provenance() as u32,
            io_cap: IO_CAP as u32,
        };
        &raw const state.layout
    }

    /// `ostler_init`: parameters are a NUL-terminated flat JSON object in the io buffer.
    ///
    /// Returns 0, or 1 for a negative capacity, 2 for parameters that are not UTF-8, 3 for
    /// parameters that the policy refuses.
    pub fn init(&self, capacity: i64, slots: i32, seed: i64) -> i32 {
        let state = self.state();
        let Ok(capacity) = u64::try_from(capacity) else {
            return 1;
        };
        let len = state.io.iter().position(|&byte| byte == 0).unwrap_or(IO_CAP);
        let Ok(json) = core::str::from_utf8(&state.io[..len]) else {
            return 2;
        };
        let Ok(params) = P::Params::from_json(json) else {
            return 3;
        };
        let setup = Setup { capacity, slots: slots.cast_unsigned(), seed: seed.cast_unsigned() };
        state.driver = Some(Box::new(Driver::new(setup, params)));
        0
    }

    /// `ostler_step`: consumes the first `events` records of the window.
    ///
    /// # Panics
    ///
    /// Traps before `ostler_init`, and where `events` is outside the window.
    pub fn step(&self, events: i32) -> i32 {
        let state = self.state();
        let Some(driver) = &mut state.driver else {
            unreachable!("the host calls ostler_init first")
        };
        let batch = &state.events[..events.cast_unsigned() as usize];
        driver.step(batch, &mut state.victims) as i32
    }
}

/// The bytes of `text` as an array, for the manifest's section.
///
/// # Panics
///
/// At compile time, where `N` is not the text's length.
#[must_use]
pub const fn bytes_of<const N: usize>(text: &str) -> [u8; N] {
    let (mut bytes, mut at) = ([0; N], 0);
    while at < N {
        bytes[at] = text.as_bytes()[at];
        at += 1;
    }
    assert!(text.len() == N, "the array is as long as the text");
    bytes
}
