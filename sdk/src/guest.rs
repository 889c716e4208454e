//! The guest's side of the exports. Exists only on wasm32.
//!
//! It owns the buffers that the host writes into and reads from, and the one policy of the module:
//! [`Guest`] for eviction, [`PrefetchGuest`] and [`WarmingGuest`] for the other kinds. A module has
//! one thread and no export calls another, so every access here is exclusive.
#![expect(unsafe_code, reason = "the host reaches these buffers by address, between calls")]

mod eviction;
mod prefetch;
mod warming;

pub use eviction::Guest;
pub use prefetch::PrefetchGuest;
pub use warming::WarmingGuest;

use alloc::boxed::Box;
use core::cell::UnsafeCell;

use ostler_abi::{ABI_VERSION, ModelRefused, Setup};
pub use ostler_abi::{Layout, PrefetchLayout};

use crate::Params;
use crate::macro_support::driver;

/// What a module keeps in a static: reached by one export at a time.
struct Kept<T> {
    cell: UnsafeCell<T>,
}

// SAFETY: a module of the contract has one thread, since shared memories and atomics are refused.
unsafe impl<T> Sync for Kept<T> {}

impl<T> Kept<T> {
    const fn new(value: T) -> Self {
        Self { cell: UnsafeCell::new(value) }
    }

    #[expect(
        clippy::mut_from_ref,
        reason = "each export borrows the state once and calls no other"
    )]
    fn state(&self) -> &mut T {
        // SAFETY: one thread, and the exports do not nest: this is the only borrow alive.
        unsafe { &mut *self.cell.get() }
    }
}

/// The address of a buffer, as the layout names it.
fn address<T>(buffer: &mut [T]) -> u32 {
    buffer.as_mut_ptr().expose_provenance() as u32
}

/// The words that every kind of layout starts with; `len` is the whole layout's.
fn layout_of<E, A>(len: u32, events: &mut [E], answers: &mut [A], io: &mut [u8]) -> Layout {
    Layout {
        len,
        abi: ABI_VERSION,
        events_ptr: address(events),
        events_cap: events.len() as u32,
        victims_ptr: address(answers),
        victims_cap: answers.len() as u32,
        io_ptr: address(io),
        io_cap: io.len() as u32,
    }
}

/// The first `count` of a window, as the host counts.
///
/// # Panics
///
/// Traps where `count` is outside the window.
fn first<T>(window: &[T], count: i32) -> &[T] {
    &window[..count.cast_unsigned() as usize]
}

/// The policy of the module behind its driver, from `ostler_init` on.
struct Started<D> {
    driver: Option<Box<D>>,
}

impl<D> Started<D> {
    const NOT_YET: Self = Self { driver: None };

    /// `ostler_init`: makes the driver with `new` of a setup, and of parameters as a NUL-terminated
    /// flat JSON object in `io`.
    ///
    /// Returns 0, or why it refuses: 1 for a negative capacity, 2 for parameters that are not UTF-8,
    /// 3 for parameters that the policy refuses.
    fn init<P: Params>(
        &mut self,
        io: &[u8],
        (capacity, slots, seed): (i64, i32, i64),
        new: impl FnOnce(Setup, P) -> D,
    ) -> i32 {
        let Ok(capacity) = u64::try_from(capacity) else { return 1 };
        let len = io.iter().position(|&byte| byte == 0).unwrap_or(io.len());
        let Ok(json) = core::str::from_utf8(&io[..len]) else { return 2 };
        let setup = Setup { capacity, slots: slots.cast_unsigned(), seed: seed.cast_unsigned() };
        let Ok(driver) = driver(setup, json, new) else { return 3 };
        self.driver = Some(driver);
        0
    }

    /// The driver.
    ///
    /// # Panics
    ///
    /// Traps before `ostler_init`.
    fn driver(&mut self) -> &mut D {
        let Some(driver) = &mut self.driver else {
            unreachable!("the host calls ostler_init first")
        };
        driver
    }
}

/// What `ostler_model` returns: 0 where the model was taken, and never 0 where it was not.
fn model_code(taken: Result<(), ModelRefused>) -> i32 {
    match taken {
        Ok(()) => 0,
        Err(ModelRefused { code: 0 }) => ModelRefused::FORMAT.code,
        Err(ModelRefused { code }) => code,
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
