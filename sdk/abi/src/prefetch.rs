//! What a prefetch policy hears and answers: accesses with keys, asks, and the seam between.
//!
//! Prefetching is off the path of the requests: one instance for a cache, fed in order, and an ask
//! is a wish that the host may refuse. This file owns the two records and how keys travel beside
//! them; it must not know how an ask is fetched or paid for.

use alloc::boxed::Box;

use crate::bytes::{u32_at, u64_at};
use crate::{InitRefused, Setup};

/// Longest key that travels as bytes; a longer one comes, and is asked for, by its hash alone.
pub const KEY_BYTES_MAX: usize = 256;

/// Offset that stands for "no key bytes", in [`Access`] and in [`Ask`].
pub const NO_KEY: u32 = u32::MAX;

/// The confidence of an ask that cannot fail, in its author's opinion.
pub const CONFIDENCE_MAX: u32 = 65_535;

/// Size of an [`Access`] in bytes.
pub const ACCESS_BYTES: usize = 32;

/// Size of an [`Ask`] in bytes.
pub const ASK_BYTES: usize = 24;

/// Largest number of asks that a guest may return from one call.
pub const ASKS_CAP_MAX: u32 = 4096;

/// Smallest keys window of a policy that requires `keys`: one longest key fits.
pub const KEYS_CAP_MIN: u32 = KEY_BYTES_MAX as u32;

/// Largest keys window, bytes.
pub const KEYS_CAP_MAX: u32 = 1 << 20;

/// One access to the cache, or what came of an earlier ask. 32 bytes, little endian.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Access {
    /// Hash of the key, stable for the life of the cache.
    pub key_hash: u64,
    /// Milliseconds since the cache started. Data of the event, never a clock call.
    pub time_ms: u64,
    /// Where the key's bytes start in the keys window; [`NO_KEY`] where they do not come along.
    pub key_at: u32,
    /// Bytes of the key, at most [`KEY_BYTES_MAX`]; 0 with [`NO_KEY`].
    pub key_len: u32,
    /// For [`AccessKind::Landed`]: how many accesses went by since it was asked. For
    /// [`AccessKind::Refused`]: a [`Refusal`] as its number. Otherwise 0.
    pub value: u32,
    /// Accesses that this record stands for: 1.
    pub count: u8,
    /// The caller's request class or hint, 0 if none.
    pub class: u8,
    /// What happened: an [`AccessKind`] as its number. Unknown numbers are ignored by a guest.
    pub kind: u8,
    /// No bit is defined: 0.
    pub flags: u8,
}

/// A wish: fetch this key, for it will be asked for. 24 bytes, little endian.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ask {
    /// Hash of a key that the host has seen lately. Counts where `key_at` is [`NO_KEY`].
    pub key_hash: u64,
    /// Where the key's bytes start in the io buffer, or [`NO_KEY`].
    pub key_at: u32,
    /// Bytes of the key, 1 to [`KEY_BYTES_MAX`]; 0 with [`NO_KEY`].
    pub key_len: u32,
    /// How sure the policy is, 0 to [`CONFIDENCE_MAX`]. The host serves the surest first where its
    /// budget is short.
    pub confidence: u32,
    /// Kept for later versions: 0.
    pub reserved: u32,
}

const _: () = assert!(size_of::<Access>() == ACCESS_BYTES && align_of::<Access>() == 8);
const _: () = assert!(size_of::<Ask>() == ASK_BYTES && align_of::<Ask>() == 8);

/// What an [`Access`] reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum AccessKind {
    /// A request found its entry.
    Hit = 0,
    /// A request found nothing, and nothing was under way.
    Miss = 1,
    /// The first hit of an entry that a prefetch brought in.
    Useful = 2,
    /// A prefetch arrived; not an access.
    Landed = 3,
    /// A request came while the prefetch of its key was under way: a miss as well.
    Late = 4,
    /// A prefetched entry was evicted, removed or expired without a hit; not an access.
    Wasted = 5,
    /// The host did not fetch what was asked for; not an access.
    Refused = 6,
}

/// Why the host did not fetch: the `value` of an [`AccessKind::Refused`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
#[non_exhaustive]
pub enum Refusal {
    /// The budget is used up, or the key is not known any more.
    Budget = 0,
    /// The key is resident or under way already.
    Resident = 1,
    /// All fetch slots are taken, or the origin is not in order.
    Queue = 2,
}

impl AccessKind {
    /// Every kind of version 1, in the order of its number.
    pub const ALL: [AccessKind; 7] = [
        AccessKind::Hit,
        AccessKind::Miss,
        AccessKind::Useful,
        AccessKind::Landed,
        AccessKind::Late,
        AccessKind::Wasted,
        AccessKind::Refused,
    ];

    /// The kind with this number, or none where the number is not of this version.
    #[inline]
    #[must_use]
    pub const fn from_u8(number: u8) -> Option<AccessKind> {
        match number {
            0 => Some(AccessKind::Hit),
            1 => Some(AccessKind::Miss),
            2 => Some(AccessKind::Useful),
            3 => Some(AccessKind::Landed),
            4 => Some(AccessKind::Late),
            5 => Some(AccessKind::Wasted),
            6 => Some(AccessKind::Refused),
            _ => None,
        }
    }

    /// True where a request stands behind the record; false for what became of an ask.
    #[inline]
    #[must_use]
    pub const fn is_request(self) -> bool {
        matches!(self, AccessKind::Hit | AccessKind::Miss | AccessKind::Useful | AccessKind::Late)
    }

    /// The name that reports use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            AccessKind::Hit => "hit",
            AccessKind::Miss => "miss",
            AccessKind::Useful => "useful",
            AccessKind::Landed => "landed",
            AccessKind::Late => "late",
            AccessKind::Wasted => "wasted",
            AccessKind::Refused => "refused",
        }
    }
}

impl Access {
    /// All zero: what an event window holds before anything is written.
    pub const ZERO: Access = Access {
        key_hash: 0,
        time_ms: 0,
        key_at: 0,
        key_len: 0,
        value: 0,
        count: 0,
        class: 0,
        kind: 0,
        flags: 0,
    };

    /// A record of `kind` for the key with this hash, without its bytes.
    #[inline]
    #[must_use]
    pub const fn new(kind: AccessKind, key_hash: u64) -> Self {
        Access { key_hash, key_at: NO_KEY, count: 1, kind: kind as u8, ..Access::ZERO }
    }

    /// The record's kind, or none where its number is not of this version.
    #[inline]
    #[must_use]
    pub const fn kind(&self) -> Option<AccessKind> {
        AccessKind::from_u8(self.kind)
    }

    /// The key's bytes in `keys`, the keys window; none where they did not come along or lie
    /// outside.
    #[inline]
    #[must_use]
    pub fn key<'a>(&self, keys: &'a [u8]) -> Option<&'a [u8]> {
        slice_at(keys, self.key_at, self.key_len)
    }

    /// The record as it lies in a guest's memory.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; ACCESS_BYTES] {
        let mut bytes = [0; ACCESS_BYTES];
        bytes[0..8].copy_from_slice(&self.key_hash.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.time_ms.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.key_at.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.key_len.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.value.to_le_bytes());
        bytes[28..32].copy_from_slice(&[self.count, self.class, self.kind, self.flags]);
        bytes
    }

    /// Reads a record from its little-endian bytes; every pattern is one.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; ACCESS_BYTES]) -> Self {
        let &[.., count, class, kind, flags] = bytes;
        Self {
            key_hash: u64_at(bytes, 0),
            time_ms: u64_at(bytes, 8),
            key_at: u32_at(bytes, 16),
            key_len: u32_at(bytes, 20),
            value: u32_at(bytes, 24),
            count,
            class,
            kind,
            flags,
        }
    }
}

impl Ask {
    /// All zero: what the answers window holds before anything is written.
    pub const ZERO: Ask = Ask { key_hash: 0, key_at: 0, key_len: 0, confidence: 0, reserved: 0 };

    /// The ask as it lies in a guest's memory.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; ASK_BYTES] {
        let mut bytes = [0; ASK_BYTES];
        bytes[0..8].copy_from_slice(&self.key_hash.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.key_at.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.key_len.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.confidence.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.reserved.to_le_bytes());
        bytes
    }

    /// Reads an ask from its little-endian bytes. Nothing is checked: see [`Ask::key`].
    #[must_use]
    pub fn from_bytes(bytes: &[u8; ASK_BYTES]) -> Self {
        Self {
            key_hash: u64_at(bytes, 0),
            key_at: u32_at(bytes, 8),
            key_len: u32_at(bytes, 12),
            confidence: u32_at(bytes, 16),
            reserved: u32_at(bytes, 20),
        }
    }

    /// The asked key's bytes in `written`, the io buffer; none where it is asked for by its hash, or
    /// where the range lies outside.
    #[inline]
    #[must_use]
    pub fn key<'a>(&self, written: &'a [u8]) -> Option<&'a [u8]> {
        slice_at(written, self.key_at, self.key_len)
    }
}

/// Bytes `at..at + len` of `bytes`; none for [`NO_KEY`] and where the range lies outside.
fn slice_at(bytes: &[u8], at: u32, len: u32) -> Option<&[u8]> {
    if at == NO_KEY {
        return None;
    }
    bytes.get(at as usize..)?.get(..len as usize)
}

/// The answer of one call: asks, and the keys that the policy wrote itself, in borrowed buffers.
///
/// What does not fit is dropped: an ask is a wish. In a guest the buffers are the answers window
/// and the io buffer, on the host any two that it keeps.
#[derive(Debug)]
pub struct Asks<'a> {
    asks: &'a mut [Ask],
    len: usize,
    keys: &'a mut [u8],
    keys_len: usize,
}

impl<'a> Asks<'a> {
    /// An empty answer that can hold as many asks as `asks` is long and `keys.len()` bytes of keys.
    #[must_use]
    pub fn new(asks: &'a mut [Ask], keys: &'a mut [u8]) -> Self {
        Self { asks, len: 0, keys, keys_len: 0 }
    }

    /// Asks for a key that went by lately, by its hash. False where there is no room for it.
    pub fn ask_hash(&mut self, key_hash: u64, confidence: u32) -> bool {
        self.push(Ask { key_hash, key_at: NO_KEY, confidence, ..Ask::ZERO })
    }

    /// Asks for the key with these bytes, 1 to [`KEY_BYTES_MAX`] of them. False where there is no
    /// room for it, or where its length is outside that range.
    pub fn ask_key(&mut self, key: &[u8], confidence: u32) -> bool {
        let (start, end) = (self.keys_len, self.keys_len.saturating_add(key.len()));
        if !(1..=KEY_BYTES_MAX).contains(&key.len()) || self.is_full() || end > self.keys.len() {
            return false;
        }
        let (Ok(key_at), Ok(key_len)) = (u32::try_from(start), u32::try_from(key.len())) else {
            return false;
        };
        self.keys[start..end].copy_from_slice(key);
        self.keys_len = end;
        self.push(Ask { key_hash: 0, key_at, key_len, confidence, reserved: 0 })
    }

    fn push(&mut self, ask: Ask) -> bool {
        let Some(place) = self.asks.get_mut(self.len) else {
            return false;
        };
        *place = Ask { confidence: ask.confidence.min(CONFIDENCE_MAX), ..ask };
        self.len += 1;
        true
    }

    /// How many asks there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// True where nothing was asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// True where no further ask fits.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.len == self.asks.len()
    }

    /// The asks in the order in which they were made, each with its key's bytes where it is not
    /// asked for by its hash.
    pub fn iter(&self) -> impl Iterator<Item = (&Ask, Option<&[u8]>)> {
        self.asks[..self.len].iter().map(|ask| (ask, ask.key(self.keys)))
    }

    /// Forgets every ask.
    pub fn clear(&mut self) {
        self.len = 0;
        self.keys_len = 0;
    }
}

/// A prefetch policy that runs: hears accesses, asks for keys.
///
/// Implemented by the SDK's driver around every prefetch policy. The host reaches it directly for a
/// compiled-in policy and through `ostler_predict` for a sandboxed one; nothing else differs.
pub trait Predict {
    /// Consumes all `accesses` in order and adds to `asks`, which the caller hands over empty.
    /// `keys` is the keys window that the accesses point into.
    fn predict(&mut self, accesses: &[Access], keys: &[u8], asks: &mut Asks<'_>);
}

/// Makes an instance of a compiled-in prefetch policy from its setup (`slots` is 0) and its
/// parameters as JSON.
pub type BuildPrefetch = fn(Setup, &str) -> Result<Box<dyn Predict + Send>, InitRefused>;

/// A prefetch policy compiled into the program.
#[derive(Clone, Copy)]
pub struct NativePrefetch {
    /// The manifest, as JSON; the same text that the module carries in its custom section.
    pub manifest: &'static str,
    /// Creates an instance. The second argument is the parameters as a flat JSON object.
    pub build: BuildPrefetch,
}

impl core::fmt::Debug for NativePrefetch {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("NativePrefetch").field("manifest", &self.manifest).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn bytes_follow_the_tables_of_the_contract() {
        let access = Access {
            key_hash: 0x0807_0605_0403_0201,
            time_ms: 0x1817_1615_1413_1211,
            key_at: 0x2423_2221,
            key_len: 0x3433_3231,
            value: 0x4443_4241,
            count: 0x51,
            class: 0x52,
            kind: 0x53,
            flags: 0x54,
        };
        let expected = [
            0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16,
            0x17, 0x18, 0x21, 0x22, 0x23, 0x24, 0x31, 0x32, 0x33, 0x34, 0x41, 0x42, 0x43, 0x44,
            0x51, 0x52, 0x53, 0x54,
        ];
        assert_eq!(access.to_bytes(), expected);
        assert_eq!(Access::from_bytes(&expected), access);
        let ask = Ask {
            key_hash: 0x0807_0605_0403_0201,
            key_at: 0x1413_1211,
            key_len: 0x2423_2221,
            confidence: 0x3433_3231,
            reserved: 0x4443_4241,
        };
        let expected = [
            0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x11, 0x12, 0x13, 0x14, 0x21, 0x22,
            0x23, 0x24, 0x31, 0x32, 0x33, 0x34, 0x41, 0x42, 0x43, 0x44,
        ];
        assert_eq!(ask.to_bytes(), expected);
        assert_eq!(Ask::from_bytes(&expected), ask);
    }

    #[test]
    fn kinds_and_numbers_agree() {
        for (number, kind) in (0u8..).zip(AccessKind::ALL) {
            assert_eq!(kind as u8, number);
            assert_eq!(AccessKind::from_u8(number), Some(kind));
        }
        assert_eq!(AccessKind::from_u8(7), None);
    }

    #[test]
    fn keys_outside_the_window_are_none() {
        let keys = b"abcdef";
        let at = |key_at, key_len| Access { key_at, key_len, ..Access::ZERO };
        assert_eq!(at(1, 3).key(keys), Some(&b"bcd"[..]));
        assert_eq!(at(6, 0).key(keys), Some(&b""[..]));
        for (key_at, key_len) in [(NO_KEY, 0), (NO_KEY, 3), (4, 3), (7, 0), (1, u32::MAX)] {
            assert_eq!(at(key_at, key_len).key(keys), None, "{key_at} {key_len}");
        }
    }

    #[test]
    fn an_answer_takes_what_fits_and_drops_the_rest() {
        let (mut asks, mut keys) = ([Ask::ZERO; 3], [0; 5]);
        let mut answer = Asks::new(&mut asks, &mut keys);
        assert!(answer.ask_key(b"abc", 9));
        assert!(!answer.ask_key(b"def", 9), "the bytes do not fit");
        assert!(!answer.ask_key(b"", 9));
        assert!(answer.ask_hash(7, u32::MAX));
        assert!(answer.ask_key(b"gh", 1));
        assert!(!answer.ask_hash(8, 1), "three asks are there");
        let made: Vec<_> =
            answer.iter().map(|(ask, key)| (ask.key_hash, ask.confidence, key)).collect();
        let expected: [(u64, u32, Option<&[u8]>); 3] =
            [(0, 9, Some(b"abc")), (7, CONFIDENCE_MAX, None), (0, 1, Some(b"gh"))];
        assert_eq!(made, expected);
        answer.clear();
        assert!(answer.is_empty() && !answer.is_full());
    }
}
