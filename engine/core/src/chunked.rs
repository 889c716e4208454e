//! Arrays indexed by slot that grow without moving: by whole chunks.
//!
//! A shard keeps what it knows about its entries in these. A `Vec` would copy everything when it
//! grows, under the shard's lock, and hold up to twice the memory; here growing costs the new chunk
//! only. The price is one more load an access, of a pointer that is nearly always in the first cache.

use std::ops::{Index, IndexMut};

/// Slots in a chunk, a power of two: small enough that a cache of a hundred entries stays small.
pub(crate) const CHUNK_SLOTS: usize = 256;

const SHIFT: u32 = CHUNK_SLOTS.trailing_zeros();
const MASK: usize = CHUNK_SLOTS - 1;

/// One `T` for every slot below a bound, `T::default()` at first.
///
/// Indexing panics at or above [`len`](Self::len).
#[derive(Debug)]
pub(crate) struct Chunked<T> {
    chunks: Vec<Box<[T; CHUNK_SLOTS]>>,
}

impl<T> Default for Chunked<T> {
    fn default() -> Self {
        Self { chunks: Vec::new() }
    }
}

impl<T: Default> Chunked<T> {
    /// Makes room for `slot`. Cost: none where there is room, else one chunk.
    #[inline]
    pub(crate) fn reach(&mut self, slot: u32) {
        while (slot >> SHIFT) as usize >= self.chunks.len() {
            self.add_chunk();
        }
    }

    #[cold]
    fn add_chunk(&mut self) {
        let values: Vec<T> = std::iter::repeat_with(T::default).take(CHUNK_SLOTS).collect();
        let Ok(chunk) = values.into_boxed_slice().try_into() else {
            unreachable!("a slice of CHUNK_SLOTS values is a chunk")
        };
        self.chunks.push(chunk);
    }
}

impl<T> Chunked<T> {
    /// Slots there is room for: whole chunks.
    pub(crate) fn len(&self) -> usize {
        self.chunks.len() * CHUNK_SLOTS
    }

    /// The value of `slot`, none where there is no room for it.
    #[inline]
    pub(crate) fn get(&self, slot: u32) -> Option<&T> {
        self.chunks.get((slot >> SHIFT) as usize).map(|chunk| &chunk[slot as usize & MASK])
    }

    /// As [`get`](Self::get), to change it.
    #[inline]
    pub(crate) fn get_mut(&mut self, slot: u32) -> Option<&mut T> {
        self.chunks.get_mut((slot >> SHIFT) as usize).map(|chunk| &mut chunk[slot as usize & MASK])
    }
}

impl<T> Index<u32> for Chunked<T> {
    type Output = T;

    #[inline]
    fn index(&self, slot: u32) -> &T {
        &self.chunks[(slot >> SHIFT) as usize][slot as usize & MASK]
    }
}

impl<T> IndexMut<u32> for Chunked<T> {
    #[inline]
    fn index_mut(&mut self, slot: u32) -> &mut T {
        &mut self.chunks[(slot >> SHIFT) as usize][slot as usize & MASK]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stay_while_it_grows() {
        let mut array = Chunked::<u32>::default();
        assert_eq!((array.len(), array.get(0)), (0, None));
        array.reach(0);
        array[255] = 7;
        assert_eq!(array.get(256), None);
        array.reach(600);
        assert_eq!((array.len(), array[255], array[600]), (768, 7, 0));
        assert_eq!(array.get_mut(768), None);
    }
}
