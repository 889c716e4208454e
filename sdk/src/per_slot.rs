//! Arrays indexed by slot that grow without moving.
//!
//! A policy keeps one value a slot in plain arrays. A `Vec` would do, but it grows by copying: a
//! million slots of 12 bytes copied inside one call, and twice the memory while it happens. These
//! arrays grow by whole chunks, so growing costs the new slots only, nothing moves, and the memory
//! is what the slots need plus at most one chunk. Price: one more load per access, usually from L1.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::{Index, IndexMut};

/// Slots in a chunk: a power of two. 4,096 slots of 8 bytes are half a 64 KiB page of Wasm.
pub const CHUNK_SLOTS: usize = 4096;

/// One `T` for every slot below a bound, all `T::default()` at first.
///
/// A chunk has `CHUNK` slots, a power of two: fewer where `T` is large. Indexing takes the slot as
/// `u32` and panics at or above [`len`](Self::len): a policy that does so has broken its contract,
/// and its call traps.
#[derive(Clone, Debug)]
pub struct PerSlot<T, const CHUNK: usize = CHUNK_SLOTS> {
    chunks: Vec<Box<[T; CHUNK]>>,
}

impl<T, const CHUNK: usize> PerSlot<T, CHUNK> {
    const SHIFT: u32 = {
        assert!(CHUNK.is_power_of_two(), "a slot's chunk is its high bits");
        CHUNK.trailing_zeros()
    };
    const MASK: usize = CHUNK - 1;
}

impl<T: Copy + Default, const CHUNK: usize> PerSlot<T, CHUNK> {
    /// Values for `slots` slots, all default.
    #[must_use]
    pub fn new(slots: u32) -> Self {
        let mut array = Self { chunks: Vec::new() };
        array.grow(slots);
        array
    }

    /// Makes room for slots below `slots`. Never shrinks. O(new slots); nothing is copied but the
    /// table of chunks (one pointer a chunk).
    pub fn grow(&mut self, slots: u32) {
        let chunks = (slots as usize).div_ceil(CHUNK);
        if chunks > self.chunks.len() {
            self.chunks.reserve_exact(chunks - self.chunks.len());
        }
        while self.chunks.len() < chunks {
            let filled: Box<[T]> = alloc::vec![T::default(); CHUNK].into_boxed_slice();
            let Ok(chunk) = filled.try_into() else {
                unreachable!("a slice of CHUNK values is a chunk")
            };
            self.chunks.push(chunk);
        }
    }

    /// Slots there is room for: the bound rounded up to whole chunks.
    #[must_use]
    pub fn len(&self) -> usize {
        self.chunks.len() * CHUNK
    }

    /// True where there is room for no slot at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Sets every value to `T::default()`. O(slots).
    pub fn clear(&mut self) {
        for chunk in &mut self.chunks {
            chunk.fill(T::default());
        }
    }
}

impl<T, const CHUNK: usize> Index<u32> for PerSlot<T, CHUNK> {
    type Output = T;

    #[inline(always)]
    fn index(&self, slot: u32) -> &T {
        &self.chunks[(slot >> Self::SHIFT) as usize][slot as usize & Self::MASK]
    }
}

impl<T, const CHUNK: usize> IndexMut<u32> for PerSlot<T, CHUNK> {
    #[inline(always)]
    fn index_mut(&mut self, slot: u32) -> &mut T {
        &mut self.chunks[(slot >> Self::SHIFT) as usize][slot as usize & Self::MASK]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stay_while_it_grows() {
        let mut array = PerSlot::<u32>::new(3);
        assert_eq!(array.len(), CHUNK_SLOTS);
        for slot in 0..CHUNK_SLOTS as u32 {
            array[slot] = slot + 1;
        }
        array.grow(CHUNK_SLOTS as u32 * 2 + 1);
        assert_eq!(array.len(), CHUNK_SLOTS * 3);
        assert!((0..CHUNK_SLOTS as u32).all(|slot| array[slot] == slot + 1));
        assert_eq!(array[CHUNK_SLOTS as u32], 0);
        array.clear();
        assert!((0..array.len() as u32).all(|slot| array[slot] == 0));
    }

    #[test]
    #[should_panic(expected = "index out of bounds")]
    fn a_slot_beyond_the_bound_panics() {
        let array = PerSlot::<u32>::new(1);
        let _ = array[CHUNK_SLOTS as u32];
    }
}
