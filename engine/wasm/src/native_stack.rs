//! The caller's native stack: has it room for a guest?
//!
//! A guest's stack is a part of the stack of the thread that calls it. The sandbox stops a guest at 64
//! KiB, wherever that is; without this check a deep recursion on a small thread would run off its end
//! and take the process with it.

use ostler_core::PolicyFault;

use crate::runtime::WASM_STACK_BYTES;

/// Native stack that a call needs: the guest's own, and as much again for the host below it.
const NEEDED_BYTES: usize = WASM_STACK_BYTES + (64 << 10);

/// Requires [`NEEDED_BYTES`] of native stack below the caller. Cost: two nanoseconds. Where the
/// platform does not know the bounds of a stack, the call goes on.
///
/// # Errors
///
/// [`PolicyFault::Stack`] with what is left.
#[inline]
pub(crate) fn check() -> Result<(), PolicyFault> {
    match stacker::remaining_stack() {
        Some(left) if left < NEEDED_BYTES => Err(too_small(left)),
        Some(_) | None => Ok(()),
    }
}

#[cold]
fn too_small(left: usize) -> PolicyFault {
    let reason = format!("the calling thread has {left} bytes left, a call needs {NEEDED_BYTES}");
    PolicyFault::Stack { reason }
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
