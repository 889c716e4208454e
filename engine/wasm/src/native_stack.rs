//! The caller's native stack: has it room for a guest?
//!
//! A guest's stack is a part of the stack of the thread that calls it. The sandbox stops a guest at 64
//! KiB, wherever that is; without this check a deep recursion on a small thread would run off its end
//! and take the process with it.

use std::cell::Cell;

use ostler_core::PolicyFault;

use crate::runtime::WASM_STACK_BYTES;

/// Native stack that a call needs: the guest's own, and as much again for the host below it.
const NEEDED_BYTES: usize = WASM_STACK_BYTES + (64 << 10);

thread_local! {
    /// Addresses between which a frame of this thread is known to have that much below it.
    static KNOWN_GOOD: Cell<(usize, usize)> = const { Cell::new((usize::MAX, 0)) };
}

/// Requires [`NEEDED_BYTES`] of native stack below the caller. Cost: a nanosecond once the thread's
/// bounds are known.
///
/// # Errors
///
/// [`PolicyFault::Stack`] with what is left.
#[inline]
pub(crate) fn check() -> Result<(), PolicyFault> {
    let marker = 0u8;
    let here = (&raw const marker).addr();
    let (lowest, highest) = KNOWN_GOOD.get();
    if (lowest..=highest).contains(&here) { Ok(()) } else { check_and_note(here) }
}

/// Asks for the bounds of the thread's stack. Where the platform does not know them, the call goes on.
#[cold]
fn check_and_note(here: usize) -> Result<(), PolicyFault> {
    let Some(left) = stacker::remaining_stack() else {
        return Ok(());
    };
    if left < NEEDED_BYTES {
        return Err(PolicyFault::Stack {
            reason: format!(
                "the calling thread has {left} bytes left, a call needs {NEEDED_BYTES}"
            ),
        });
    }
    // A frame lower than this one, down to where exactly enough is left, is as good. Another stack of
    // the same thread (one grown on the heap) lies outside and is asked for anew.
    let lowest = here.saturating_sub(left - NEEDED_BYTES);
    KNOWN_GOOD.set((lowest, here));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on_stack_of<R: Send + 'static>(bytes: usize, run: fn() -> R) -> R {
        std::thread::Builder::new().stack_size(bytes).spawn(run).unwrap().join().unwrap()
    }

    /// Uses up stack until the check fails; returns what the fault says is left.
    fn descend() -> usize {
        let frame = std::hint::black_box([0u8; 4096]);
        match check() {
            Ok(()) => descend() + usize::from(frame[0]),
            Err(PolicyFault::Stack { reason }) => {
                reason.split(' ').find_map(|word| word.parse().ok()).unwrap()
            }
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn the_check_fails_before_the_stack_is_used_up() {
        assert!(on_stack_of(100 << 10, || check().is_err()));
        assert!(on_stack_of(1 << 20, || check().is_ok()));
        let left = on_stack_of(1 << 20, descend);
        assert!((NEEDED_BYTES - 32_768..NEEDED_BYTES).contains(&left), "{left}");
    }

    #[test]
    fn a_second_stack_of_the_thread_is_asked_for_anew() {
        assert!(on_stack_of(1 << 20, || {
            let outer = check().is_ok();
            let small = stacker::grow(64 << 10, || check().is_err());
            outer && small && check().is_ok()
        }));
    }
}
