//! Guest memory: where the guest said its buffers are, checked once, and the views on them.
//!
//! Nothing a guest says is an address until it was checked here. This file holds the crate's only
//! unsafe code: views of guest bytes as the plain numbers they are.
#![expect(unsafe_code, reason = "records and slots are read and written in place in guest memory")]

use std::sync::atomic::AtomicPtr;

use ostler_abi::{
    ABI_VERSION, ACCESS_BYTES, ASK_BYTES, ASKS_CAP_MAX, Ask, CANDIDATE_BYTES, EVENTS_CAP_MAX,
    EVENTS_CAP_MIN, IO_CAP_MAX, IO_CAP_MIN, KEYS_CAP_MAX, KEYS_CAP_MIN, LAYOUT_BYTES, Layout,
    MODEL_BYTES_MAX, PREFETCH_LAYOUT_BYTES, PolicyKind, PrefetchLayout, RECORD_BYTES, Record,
    VICTIMS_CAP_MAX, feature,
};
use ostler_core::PolicyFault;
use ostler_manifest::Manifest;
use wasmtime::{Memory, Store};

const _: () = assert!(cfg!(target_endian = "little"), "records are little endian in guest memory");
const _: () = assert!(size_of::<usize>() >= 8, "a guest address fits, and so do 4 GiB");

/// Bytes `start..end` of guest memory, within it for good: a memory never shrinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Region {
    start: usize,
    end: usize,
}

impl Region {
    #[inline]
    pub(crate) fn of(self, memory: &[u8]) -> &[u8] {
        &memory[self.start..self.end]
    }

    #[inline]
    pub(crate) fn of_mut(self, memory: &mut [u8]) -> &mut [u8] {
        &mut memory[self.start..self.end]
    }

    /// Bytes of the region.
    pub(crate) fn len(self) -> usize {
        self.end - self.start
    }

    fn overlaps(self, other: Region) -> bool {
        self.start < other.end && other.start < self.end
    }
}

/// What the windows of a policy hold, by its kind and features.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    kind: PolicyKind,
    event_bytes: usize,
    answer_bytes: usize,
    answer_align: usize,
    answers_cap_max: u32,
    io_cap_min: u32,
    keys_cap_min: u32,
}

impl Shape {
    /// The windows of an eviction policy that takes no models.
    const EVICTION: Shape = Shape {
        kind: PolicyKind::Eviction,
        event_bytes: RECORD_BYTES,
        answer_bytes: size_of::<u32>(),
        answer_align: align_of::<u32>(),
        answers_cap_max: VICTIMS_CAP_MAX,
        io_cap_min: IO_CAP_MIN,
        keys_cap_min: 0,
    };

    /// The windows of the policy that this manifest describes.
    pub(crate) fn of(manifest: &Manifest) -> Self {
        let io_cap_min =
            if manifest.requires(feature::MODEL) { MODEL_BYTES_MAX as u32 } else { IO_CAP_MIN };
        let plain = Self { kind: manifest.kind(), io_cap_min, ..Self::EVICTION };
        match manifest.kind() {
            PolicyKind::Prefetch => Self {
                event_bytes: ACCESS_BYTES,
                answer_bytes: ASK_BYTES,
                answer_align: align_of::<Ask>(),
                answers_cap_max: ASKS_CAP_MAX,
                keys_cap_min: if manifest.requires(feature::KEYS) { KEYS_CAP_MIN } else { 0 },
                ..plain
            },
            PolicyKind::Warming => Self { event_bytes: CANDIDATE_BYTES, ..plain },
            _ => plain,
        }
    }

    /// The layout that lies at `address`. Kinds without a keys window have an empty one.
    fn read(&self, memory: &[u8], address: u32) -> Result<PrefetchLayout, PolicyFault> {
        let rest = memory.get(address as usize..).unwrap_or_default();
        let outside = || bad(format!("the layout at {address} is outside the memory"));
        let base = rest.first_chunk::<{ LAYOUT_BYTES as usize }>().ok_or_else(outside)?;
        let base = Layout::from_bytes(base);
        let is_prefetch = self.kind == PolicyKind::Prefetch;
        let len_min = if is_prefetch { PREFETCH_LAYOUT_BYTES } else { LAYOUT_BYTES };
        if base.len < len_min {
            return Err(bad(format!("len {}, at least {len_min}", base.len)));
        }
        if !is_prefetch {
            return Ok(PrefetchLayout { base, keys_ptr: 0, keys_cap: 0 });
        }
        let bytes = rest.first_chunk::<{ PREFETCH_LAYOUT_BYTES as usize }>().ok_or_else(outside)?;
        Ok(PrefetchLayout::from_bytes(bytes))
    }
}

/// The buffers of a guest, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Regions {
    pub(crate) events: Region,
    pub(crate) victims: Region,
    pub(crate) io: Region,
    pub(crate) keys: Region,
}

impl Regions {
    /// Reads and checks the layout that lies at `address`.
    pub(crate) fn try_read(
        memory: &[u8],
        address: u32,
        shape: &Shape,
    ) -> Result<Self, PolicyFault> {
        let PrefetchLayout { base: layout, keys_ptr, keys_cap } = shape.read(memory, address)?;
        if layout.abi != ABI_VERSION {
            return Err(bad(format!("abi {}, this host speaks {ABI_VERSION}", layout.abi)));
        }
        let memory_len = memory.len();
        let events = Buffer {
            name: "events",
            ptr: layout.events_ptr,
            cap: layout.events_cap,
            cap_range: (EVENTS_CAP_MIN, EVENTS_CAP_MAX),
            item_bytes: shape.event_bytes,
            align: align_of::<Record>(),
        };
        let victims = Buffer {
            name: "victims",
            ptr: layout.victims_ptr,
            cap: layout.victims_cap,
            cap_range: (1, shape.answers_cap_max),
            item_bytes: shape.answer_bytes,
            align: shape.answer_align,
        };
        let io = Buffer {
            name: "io",
            ptr: layout.io_ptr,
            cap: layout.io_cap,
            cap_range: (shape.io_cap_min, IO_CAP_MAX),
            item_bytes: 1,
            align: 1,
        };
        let keys = Buffer {
            name: "keys",
            ptr: if keys_cap == 0 { 0 } else { keys_ptr },
            cap: keys_cap,
            cap_range: (shape.keys_cap_min, KEYS_CAP_MAX),
            item_bytes: 1,
            align: 1,
        };
        if shape.kind == PolicyKind::Warming && layout.victims_cap < layout.events_cap {
            let (scores, candidates) = (layout.victims_cap, layout.events_cap);
            return Err(bad(format!("victims_cap {scores}, at least events_cap {candidates}")));
        }
        let regions = Self {
            events: events.check(memory_len)?,
            victims: victims.check(memory_len)?,
            io: io.check(memory_len)?,
            keys: keys.check(memory_len)?,
        };
        let Self { events, victims, io, keys } = regions;
        for (names, a, b) in [
            ("events and victims", events, victims),
            ("events and io", events, io),
            ("victims and io", victims, io),
            ("keys and events", keys, events),
            ("keys and victims", keys, victims),
            ("keys and io", keys, io),
        ] {
            if a.overlaps(b) {
                return Err(bad(format!("{names} overlap")));
            }
        }
        Ok(regions)
    }
}

/// One pointer/capacity pair of a layout, not yet checked.
struct Buffer {
    name: &'static str,
    ptr: u32,
    cap: u32,
    cap_range: (u32, u32),
    item_bytes: usize,
    align: usize,
}

impl Buffer {
    fn check(&self, memory_len: usize) -> Result<Region, PolicyFault> {
        let Buffer { name, ptr, cap, cap_range: (min, max), item_bytes, align } = *self;
        if !(min..=max).contains(&cap) {
            return Err(bad(format!("{name}_cap {cap} is not within {min}..{max}")));
        }
        let start = ptr as usize;
        if !start.is_multiple_of(align) {
            return Err(bad(format!("{name}_ptr {ptr} is not a multiple of {align}")));
        }
        let end = start + cap as usize * item_bytes;
        if end > memory_len {
            let reason = format!("{name} end at {end}, the memory has {memory_len} bytes");
            return Err(bad(reason));
        }
        Ok(Region { start, end })
    }
}

fn bad(reason: String) -> PolicyFault {
    PolicyFault::BadLayout { reason }
}

/// The event window of one instance: where its records lie in the host's address space.
///
/// Found once. Deriving it again for every record, as a view on the memory's bytes, cost 1.3 ns a
/// record, which is more than writing the record.
pub(crate) struct Window {
    memory: Memory,
    start: usize,
    /// Atomic only so that an instance can move between threads; never shared.
    first: AtomicPtr<Record>,
    len: usize,
}

impl Window {
    /// The window over the region `events`, checked, of a memory in `store`.
    pub(crate) fn new<T: 'static>(memory: Memory, store: &Store<T>, events: Region) -> Self {
        let len = events.of(memory.data(store)).len() / RECORD_BYTES;
        // From the memory's own pointer, not from a borrow of its bytes, which would end.
        let first = memory.data_ptr(store).wrapping_add(events.start).cast::<Record>();
        assert!(
            first.is_aligned(),
            "`Regions` checked the alignment, and memories are page-aligned"
        );
        Self { memory, start: events.start, first: AtomicPtr::new(first), len }
    }

    /// How many records fit.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The records. `store` must be the store that the window was made with; borrowing it keeps the
    /// memory alive and the guest from running for as long as the records are in use.
    #[inline]
    pub(crate) fn records<'a, T: 'static>(
        &'a mut self,
        store: &'a mut Store<T>,
    ) -> &'a mut [Record] {
        let first = *self.first.get_mut();
        debug_assert_eq!(
            self.memory.data_ptr(&*store).wrapping_add(self.start).cast::<Record>(),
            first,
            "the memory has not moved"
        );
        // SAFETY: `new` found `len` records at `first`, aligned and within the memory. They are still
        // there: the memory cannot move (`Config::memory_may_move(false)` in `runtime`), never
        // shrinks, and lives as long as its store, which is borrowed. That borrow also excludes the
        // guest and every other view, so these records are reached through this slice alone; and any
        // bytes are valid records.
        unsafe { std::slice::from_raw_parts_mut(first, self.len) }
    }
}

/// Guest bytes as slot numbers. `bytes` is the victims region: 4-aligned, whole words.
#[inline]
pub(crate) fn slots(bytes: &[u8]) -> &[u32] {
    // SAFETY: every bit pattern is a valid `u32`.
    let (before, slots, after) = unsafe { bytes.align_to::<u32>() };
    debug_assert!(before.is_empty() && after.is_empty(), "`Regions` checked the alignment");
    slots
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: [u32; 8] = [32, 1, 1024, 16, 2048, 8, 4096, 256];

    /// A memory of 8 KiB with the words of a layout at `address`; 8-aligned as a real one is.
    fn memory_with(words: [u32; 8], address: usize) -> Vec<u64> {
        let mut memory = vec![0u64; 1024];
        for (i, word) in words.into_iter().enumerate() {
            let at = address + i * 4;
            memory[at / 8] |= u64::from(word) << (at % 8 * 8);
        }
        memory
    }

    fn bytes_of(memory: &[u64]) -> Vec<u8> {
        memory.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    fn read(words: [u32; 8]) -> Result<Regions, String> {
        let memory = bytes_of(&memory_with(words, 64));
        Regions::try_read(&memory, 64, &Shape::EVICTION).map_err(|fault| fault.to_string())
    }

    #[test]
    fn a_good_layout_gives_its_regions() {
        let region = |start, end| Region { start, end };
        let expected = Regions {
            events: region(1024, 1024 + 16 * 32),
            victims: region(2048, 2048 + 8 * 4),
            io: region(4096, 4096 + 256),
            keys: region(0, 0),
        };
        assert_eq!(read(GOOD), Ok(expected));
    }

    /// Word by word: what is wrong with it, and what the fault must mention.
    #[test]
    fn every_word_is_checked() {
        let rows = [
            (0, 31, "len 31"),
            (1, 2, "abi 2"),
            (2, 1028, "events_ptr 1028 is not a multiple of 8"),
            (2, 8192, "events end at 8704"),
            (2, u32::MAX - 7, "events end"),
            (3, 0, "events_cap 0 is not within 2..4096"),
            (3, 1, "events_cap 1"),
            (3, 4097, "events_cap 4097"),
            (3, 33, "events and victims overlap"),
            (4, 2050, "victims_ptr 2050 is not a multiple of 4"),
            (4, 1532, "events and victims overlap"),
            (5, 0, "victims_cap 0"),
            (5, 65_537, "victims_cap 65537"),
            (6, 2079, "victims and io overlap"),
            (6, 1000, "events and io overlap"),
            (6, 8000, "io end at 8256"),
            (7, 255, "io_cap 255"),
            (7, 1 << 21, "io_cap"),
        ];
        for (word, value, expected) in rows {
            let mut words = GOOD;
            words[word] = value;
            let fault = read(words).unwrap_err();
            assert!(fault.contains(expected), "word {word} = {value}: {fault}");
        }
        let memory = bytes_of(&memory_with(GOOD, 64));
        for address in [8192 - 31, 8192, u32::MAX] {
            assert!(Regions::try_read(&memory, address, &Shape::EVICTION).is_err(), "{address}");
        }
    }

    fn shape(kind: &str, features: &str) -> Shape {
        let text = format!(
            r#"{{"abi":1,"name":"a","version":"1","kinds":["{kind}"],"features":[{features}],
                "bytes_per_slot":0,"base_bytes":0}}"#
        );
        let limits = ostler_manifest::ManifestLimits::default();
        Shape::of(&Manifest::parse(text.as_bytes(), &limits).unwrap())
    }

    /// As [`read`], with two more words, the keys window, behind the eight.
    fn read_as(shape: &Shape, words: [u32; 10]) -> Result<Regions, String> {
        let (base, keys) = words.split_first_chunk::<8>().unwrap();
        let mut memory = bytes_of(&memory_with(*base, 64));
        for (place, word) in memory[96..104].chunks_exact_mut(4).zip(keys) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        Regions::try_read(&memory, 64, shape).map_err(|fault| fault.to_string())
    }

    #[test]
    fn each_kind_has_its_windows() {
        let region = |start, end| Region { start, end };
        let good = [40, 1, 1024, 8, 2048, 8, 4096, 1024, 6000, 256];
        let keys = shape("prefetch", r#""keys""#);
        let regions = read_as(&keys, good).unwrap();
        assert_eq!(regions.victims, region(2048, 2048 + 8 * 24));
        assert_eq!(regions.keys, region(6000, 6256));
        let warming = shape("warming", r#""model""#);
        assert_eq!(read_as(&warming, [40, 1, 128, 8, 2048, 8, 4096, 1024, 0, 0]), {
            let events = region(128, 128 + 8 * 96);
            let (victims, io) = (region(2048, 2080), region(4096, 5120));
            Ok(Regions { events, victims, io, keys: region(0, 0) })
        });
        let with = |at: usize, value| {
            let mut words = good;
            words[at] = value;
            words
        };
        let rows = [
            (keys, with(0, 39), "len 39, at least 40"),
            (keys, with(4, 2052), "victims_ptr 2052 is not a multiple of 8"),
            (keys, with(5, 4097), "victims_cap 4097 is not within 1..4096"),
            (keys, with(9, 255), "keys_cap 255 is not within 256..1048576"),
            (keys, with(8, 8000), "keys end at 8256"),
            (keys, with(8, 4100), "keys and io overlap"),
            (keys, with(8, 1100), "keys and events overlap"),
            (warming, with(5, 7), "victims_cap 7, at least events_cap 8"),
            (warming, with(7, 1023), "io_cap 1023 is not within 1024..1048576"),
            (shape("eviction", r#""model""#), with(7, 1023), "io_cap 1023"),
        ];
        for (shape, words, expected) in rows {
            let fault = read_as(&shape, words).unwrap_err();
            assert!(fault.contains(expected), "{expected}: {fault}");
        }
        let without = read_as(&shape("prefetch", ""), with(9, 0)).unwrap();
        assert_eq!(without.keys, region(0, 0), "a window that nobody writes");
    }

    #[test]
    fn views_are_in_place_and_whole() {
        let mut bytes = bytes_of(&memory_with(GOOD, 64));
        let skip = bytes.as_ptr().align_offset(8);
        let record = Record { weight: 7, ..Record::new(ostler_abi::Kind::Insert, 3) };
        bytes[skip + 32..skip + 64].copy_from_slice(&record.to_bytes());
        assert_eq!(slots(&bytes[skip + 48..skip + 56]), [3, 7]);
    }

    proptest! {
        /// Whatever the words: the regions lie within the memory, or there is a fault.
        #[test]
        fn any_layout_is_within_or_refused(words in any::<[u32; 8]>(), small in any::<[u16; 6]>()) {
            let mut near = GOOD;
            for (word, value) in near[2..].iter_mut().zip(small) {
                *word = u32::from(value);
            }
            for words in [words, near] {
                let memory = bytes_of(&memory_with(words, 64));
                if let Ok(regions) = Regions::try_read(&memory, 64, &Shape::EVICTION) {
                    let ends = [regions.events.end, regions.victims.end, regions.io.end];
                    prop_assert!(ends.iter().all(|&end| end <= memory.len()));
                    prop_assert!(!regions.events.overlaps(regions.victims));
                }
            }
        }
    }
}
