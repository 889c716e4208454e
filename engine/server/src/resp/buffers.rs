//! Buffers that the connections of a thread pass on to each other.
//!
//! A connection has a buffer only while there is something in it. So ten thousand idle clients hold no
//! memory, busy ones find their buffer in the processor's cache, and what a large value needed is given
//! back at once.

use std::cell::RefCell;

/// Bytes of a buffer: what one read takes at most, unless a large request is under way.
pub(crate) const BUFFER_BYTES: usize = 64 << 10;
/// Buffers that a thread keeps.
const BUFFERS_MAX: usize = 8;

thread_local! {
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Makes sure that `buffer` has room, with a spare one if it has none at all.
pub(crate) fn lend(buffer: &mut Vec<u8>) {
    if buffer.capacity() == 0 {
        let spare = SPARE.with_borrow_mut(Vec::pop);
        *buffer = spare.unwrap_or_else(|| Vec::with_capacity(BUFFER_BYTES));
    }
}

/// Takes an empty `buffer` back; one that has grown, or is none of these, is freed.
pub(crate) fn give_back(buffer: &mut Vec<u8>) {
    if !buffer.is_empty() || buffer.capacity() == 0 {
        return;
    }
    let buffer = std::mem::take(buffer);
    if (BUFFER_BYTES..=4 * BUFFER_BYTES).contains(&buffer.capacity()) {
        SPARE.with_borrow_mut(|spare| {
            if spare.len() < BUFFERS_MAX {
                spare.push(buffer);
            }
        });
    }
}
