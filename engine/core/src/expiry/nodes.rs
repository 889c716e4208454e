//! What expiry remembers of each slot: its ends, its last access and its links.
//!
//! It owns the memory: chunks of [`CHUNK_SLOTS`] slots, allocated when a slot in them is first
//! given a lifetime and never moved or freed after, so growth copies no node. It must not know
//! buckets beyond their number.
//!
//! Bytes a slot: 16 for time to live, 12 more in chunks where some slot has a time to idle, and
//! 1/32 for the chunk's two pointers.

use ostler_abi::NO_SLOT;

/// Slots in a chunk.
const CHUNK_SLOTS: usize = 512;

/// The last moment there is, in milliseconds, some 8,900 years after the start. Later ones are
/// taken for this one: so six bytes hold every moment and "none", and no sum of two overflows.
pub(super) const LAST_MS: u64 = NEVER_MS - 1;

/// Stands for "no end" and "no time to idle".
const NEVER_MS: u64 = (1 << 48) - 1;

/// The bucket of a slot that has no lifetime.
pub(super) const NO_BUCKET: u16 = u16::MAX;

/// A moment or a span of at most [`NEVER_MS`] milliseconds in six bytes, lowest part first.
#[derive(Clone, Copy)]
struct Millis([u16; 3]);

impl Millis {
    const NEVER: Self = Self([u16::MAX; 3]);

    /// None becomes [`NEVER`](Self::NEVER), more than [`LAST_MS`] becomes that.
    fn new(ms: Option<u64>) -> Self {
        let ms = ms.map_or(NEVER_MS, |ms| ms.min(LAST_MS));
        Self([ms as u16, (ms >> 16) as u16, (ms >> 32) as u16])
    }

    fn get(self) -> u64 {
        let [low, middle, high] = self.0.map(u64::from);
        low | middle << 16 | high << 32
    }
}

/// A slot's time to live and its place in the wheel.
#[derive(Clone, Copy)]
pub(super) struct Node {
    live_end: Millis,
    /// The list the slot is linked in, [`NO_BUCKET`] where it has no lifetime.
    pub(super) bucket: u16,
    /// The slot behind it in the list, [`NO_SLOT`] for the last.
    pub(super) next: u32,
    /// The slot before it in the list, [`NO_SLOT`] for the first.
    pub(super) prev: u32,
}

impl Node {
    const VACANT: Self =
        Self { live_end: Millis::NEVER, bucket: NO_BUCKET, next: NO_SLOT, prev: NO_SLOT };
}

/// A slot's time to idle.
#[derive(Clone, Copy)]
struct Idle {
    to_idle: Millis,
    accessed: Millis,
}

impl Idle {
    const NONE: Self = Self { to_idle: Millis::NEVER, accessed: Millis::NEVER };

    fn end_ms(self) -> u64 {
        match self.to_idle.get() {
            NEVER_MS => NEVER_MS,
            to_idle_ms => (self.accessed.get() + to_idle_ms).min(LAST_MS),
        }
    }
}

const _: () = assert!(size_of::<Node>() == 16 && size_of::<Idle>() == 12);

#[derive(Default)]
struct Chunk {
    nodes: Option<Box<[Node; CHUNK_SLOTS]>>,
    idle: Option<Box<[Idle; CHUNK_SLOTS]>>,
}

/// The nodes of all slots. A slot never set reads as one without lifetime.
#[derive(Default)]
pub(super) struct Nodes {
    chunks: Vec<Chunk>,
}

impl Nodes {
    /// The node of a slot that has, or had, a lifetime.
    pub(super) fn node(&self, slot: u32) -> &Node {
        let nodes = self.chunks[chunk_of(slot)].nodes.as_ref();
        &nodes.expect("invariant: the chunk of a slot once set is kept")[place_of(slot)]
    }

    /// The node of a slot that has, or had, a lifetime.
    pub(super) fn node_mut(&mut self, slot: u32) -> &mut Node {
        let nodes = self.chunks[chunk_of(slot)].nodes.as_mut();
        &mut nodes.expect("invariant: the chunk of a slot once set is kept")[place_of(slot)]
    }

    /// The earlier of the slot's two ends, none where it has no lifetime.
    #[inline]
    pub(super) fn end_ms(&self, slot: u32) -> Option<u64> {
        let chunk = self.chunks.get(chunk_of(slot))?;
        let live_end_ms = chunk.nodes.as_ref()?[place_of(slot)].live_end.get();
        let idle_end_ms =
            chunk.idle.as_ref().map_or(NEVER_MS, |idle| idle[place_of(slot)].end_ms());
        let end_ms = live_end_ms.min(idle_end_ms);
        (end_ms < NEVER_MS).then_some(end_ms)
    }

    /// The end of `slot`'s time to live alone.
    pub(super) fn live_end_ms(&self, slot: u32) -> Option<u64> {
        let chunk = self.chunks.get(chunk_of(slot))?;
        let end_ms = chunk.nodes.as_ref()?[place_of(slot)].live_end.get();
        (end_ms < NEVER_MS).then_some(end_ms)
    }

    /// The slot's time to idle.
    pub(super) fn to_idle_ms(&self, slot: u32) -> Option<u64> {
        let idle = self.chunks.get(chunk_of(slot))?.idle.as_ref()?;
        let to_idle_ms = idle[place_of(slot)].to_idle.get();
        (to_idle_ms < NEVER_MS).then_some(to_idle_ms)
    }

    /// Whether the slot has a lifetime.
    pub(super) fn is_set(&self, slot: u32) -> bool {
        let nodes = self.chunks.get(chunk_of(slot)).and_then(|chunk| chunk.nodes.as_ref());
        nodes.is_some_and(|nodes| nodes[place_of(slot)].bucket != NO_BUCKET)
    }

    /// Replaces the slot's end of life, saturating at [`LAST_MS`].
    pub(super) fn set_live_end(&mut self, slot: u32, end_ms: Option<u64>) {
        let nodes = &mut self.chunk_mut(slot).nodes;
        let nodes = nodes.get_or_insert_with(|| Box::new([Node::VACANT; CHUNK_SLOTS]));
        nodes[place_of(slot)].live_end = Millis::new(end_ms);
    }

    /// Replaces the slot's time to idle, which begins at `now_ms`.
    pub(super) fn set_idle(&mut self, slot: u32, to_idle_ms: Option<u64>, now_ms: u64) {
        let idle = &mut self.chunk_mut(slot).idle;
        if to_idle_ms.is_some() {
            idle.get_or_insert_with(|| Box::new([Idle::NONE; CHUNK_SLOTS]));
        }
        if let Some(idle) = idle {
            let accessed = Millis::new(Some(now_ms));
            idle[place_of(slot)] = Idle { to_idle: Millis::new(to_idle_ms), accessed };
        }
    }

    /// Notes an access. Costs one look at the chunk where no slot near has a time to idle.
    #[inline]
    pub(super) fn touch(&mut self, slot: u32, now_ms: u64) {
        let chunk = self.chunks.get_mut(chunk_of(slot));
        if let Some(idle) = chunk.and_then(|chunk| chunk.idle.as_mut()) {
            idle[place_of(slot)].accessed = Millis::new(Some(now_ms));
        }
    }

    /// Forgets both ends of a slot that has been unlinked.
    pub(super) fn forget(&mut self, slot: u32) {
        debug_assert_eq!(self.node(slot).bucket, NO_BUCKET, "a linked slot keeps its ends");
        self.node_mut(slot).live_end = Millis::NEVER;
        if let Some(idle) = &mut self.chunks[chunk_of(slot)].idle {
            idle[place_of(slot)] = Idle::NONE;
        }
    }

    /// Every slot of every chunk in use. For validation.
    pub(super) fn slots(&self) -> impl Iterator<Item = u32> {
        let chunks = self.chunks.iter().enumerate().filter(|(_, chunk)| chunk.nodes.is_some());
        chunks
            .flat_map(|(index, _)| index * CHUNK_SLOTS..(index + 1) * CHUNK_SLOTS)
            .map(|at| at as u32)
    }

    /// Bytes on the heap.
    pub(super) fn bytes(&self) -> usize {
        let of_chunk = |chunk: &Chunk| {
            chunk.nodes.as_deref().map_or(0, size_of_val)
                + chunk.idle.as_deref().map_or(0, size_of_val)
        };
        let chunks = self.chunks.iter().map(of_chunk).sum::<usize>();
        self.chunks.capacity() * size_of::<Chunk>() + chunks
    }

    fn chunk_mut(&mut self, slot: u32) -> &mut Chunk {
        let index = chunk_of(slot);
        if index >= self.chunks.len() {
            self.chunks.resize_with(index + 1, Chunk::default);
        }
        &mut self.chunks[index]
    }
}

fn chunk_of(slot: u32) -> usize {
    slot as usize / CHUNK_SLOTS
}

fn place_of(slot: u32) -> usize {
    slot as usize % CHUNK_SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_survive_six_bytes_and_saturate() {
        let table = [
            (Some(0), 0),
            (Some(0x1234_5678_9abc), 0x1234_5678_9abc),
            (Some(LAST_MS), LAST_MS),
            (Some(LAST_MS + 1), LAST_MS),
            (Some(u64::MAX), LAST_MS),
            (None, NEVER_MS),
        ];
        for (given, kept) in table {
            assert_eq!(Millis::new(given).get(), kept, "{given:?}");
        }
    }

    #[test]
    fn a_slot_pays_for_idling_only_where_a_neighbour_idles() {
        let mut nodes = Nodes::default();
        assert_eq!(nodes.bytes(), 0);
        nodes.set_live_end(600, Some(7));
        let pointers = nodes.chunks.capacity() * size_of::<Chunk>();
        assert_eq!(nodes.bytes() - pointers, 16 * CHUNK_SLOTS);
        nodes.set_idle(601, None, 3);
        assert_eq!(nodes.bytes() - pointers, 16 * CHUNK_SLOTS);
        nodes.set_idle(601, Some(9), 3);
        assert_eq!(nodes.bytes() - pointers, 28 * CHUNK_SLOTS);
        assert_eq!(
            [0, 600, 601, 602, 9999].map(|slot| nodes.end_ms(slot)),
            [None, Some(7), Some(12), None, None]
        );
    }
}
