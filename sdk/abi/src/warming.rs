//! What a warming policy is shown and answers: candidates, the outlook, scores, and the seam.
//!
//! Warming fills a cold cache with what it had: after a restart, a resize, or for a new node. The
//! host keeps the history of keys and fetches; a warming policy says what is worth it. This file
//! owns the two records; it must not know how the history is kept.

use alloc::boxed::Box;

use crate::bytes::{u16_at, u32_at, u64_at};
use crate::{InitRefused, ModelRefused, Setup};

/// Size of a [`Candidate`] in bytes.
pub const CANDIDATE_BYTES: usize = 96;

/// Size of an [`Outlook`] in bytes.
pub const OUTLOOK_BYTES: usize = 32;

/// Flag bit of a [`Candidate`]: the key was resident when the history ended.
pub const FLAG_RESIDENT: u8 = 1;

/// The fixed point of [`Candidate::decayed`]: this many parts are one access.
pub const DECAYED_ONE: u32 = 256;

/// A key that could be fetched, as its history tells it. 96 bytes, little endian.
///
/// Requests are counted over the whole cache: "17 requests ago" is 17 requests for any key.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Candidate {
    /// Hash of the key, stable for the life of the cache.
    pub key_hash: u64,
    /// Requests since the key's last access.
    pub age: u32,
    /// Requests between its last two accesses; 0 where it had one.
    pub gap: u32,
    /// Requests between the two accesses before those; 0 where it had fewer.
    pub gap2: u32,
    /// Requests since it was first seen.
    pub life: u32,
    /// Accesses seen, saturating.
    pub accesses: u32,
    /// Accesses with a half-life of [`Outlook::lifetime`], in parts of [`DECAYED_ONE`].
    pub decayed: u32,
    /// Weight of the entry in the cache's unit, at least 1.
    pub weight: u32,
    /// What it cost to load, microseconds; 0 if unknown.
    pub cost_us: u32,
    /// The class of its last request, 0 if none.
    pub class: u8,
    /// Bit 0: [`FLAG_RESIDENT`]. Other bits are zero.
    pub flags: u8,
    /// Kept for later versions: 0.
    pub reserved: u16,
    /// Kept for later versions: 0.
    pub reserved2: u32,
    /// Accesses by hour of the day (UTC), halved each day, saturating.
    pub hours: [u16; 24],
}

/// What the warmed cache has before it. 32 bytes, little endian.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Outlook {
    /// Milliseconds since 1970 (UTC) at which warming starts.
    pub now_ms: u64,
    /// Requests that an entry lived in the cache before, in the first-in-first-out estimate.
    pub lifetime: u64,
    /// Requests that the warmed cache shall serve well: what comes later does not count.
    pub horizon: u64,
    /// Weight that may be fetched.
    pub budget: u64,
}

const _: () = assert!(size_of::<Candidate>() == CANDIDATE_BYTES && align_of::<Candidate>() == 8);
const _: () = assert!(size_of::<Outlook>() == OUTLOOK_BYTES && align_of::<Outlook>() == 8);

impl Candidate {
    /// All zero: what an event window holds before anything is written.
    pub const ZERO: Candidate = Candidate {
        key_hash: 0,
        age: 0,
        gap: 0,
        gap2: 0,
        life: 0,
        accesses: 0,
        decayed: 0,
        weight: 0,
        cost_us: 0,
        class: 0,
        flags: 0,
        reserved: 0,
        reserved2: 0,
        hours: [0; 24],
    };

    /// The candidate as it lies in a guest's memory.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; CANDIDATE_BYTES] {
        let mut bytes = [0; CANDIDATE_BYTES];
        bytes[0..8].copy_from_slice(&self.key_hash.to_le_bytes());
        let words = [
            self.age,
            self.gap,
            self.gap2,
            self.life,
            self.accesses,
            self.decayed,
            self.weight,
            self.cost_us,
        ];
        for (place, word) in bytes[8..40].chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes[40..42].copy_from_slice(&[self.class, self.flags]);
        bytes[42..44].copy_from_slice(&self.reserved.to_le_bytes());
        bytes[44..48].copy_from_slice(&self.reserved2.to_le_bytes());
        for (place, hour) in bytes[48..].chunks_exact_mut(2).zip(self.hours) {
            place.copy_from_slice(&hour.to_le_bytes());
        }
        bytes
    }

    /// Reads a candidate from its little-endian bytes; every pattern is one.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; CANDIDATE_BYTES]) -> Self {
        let mut hours = [0; 24];
        for (index, hour) in hours.iter_mut().enumerate() {
            *hour = u16_at(bytes, 48 + 2 * index);
        }
        Self {
            key_hash: u64_at(bytes, 0),
            age: u32_at(bytes, 8),
            gap: u32_at(bytes, 12),
            gap2: u32_at(bytes, 16),
            life: u32_at(bytes, 20),
            accesses: u32_at(bytes, 24),
            decayed: u32_at(bytes, 28),
            weight: u32_at(bytes, 32),
            cost_us: u32_at(bytes, 36),
            class: bytes[40],
            flags: bytes[41],
            reserved: u16_at(bytes, 42),
            reserved2: u32_at(bytes, 44),
            hours,
        }
    }
}

impl Outlook {
    /// The outlook as it lies in a guest's memory.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; OUTLOOK_BYTES] {
        let mut bytes = [0; OUTLOOK_BYTES];
        let words = [self.now_ms, self.lifetime, self.horizon, self.budget];
        for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// Reads an outlook from its little-endian bytes; every pattern is one.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; OUTLOOK_BYTES]) -> Self {
        Self {
            now_ms: u64_at(bytes, 0),
            lifetime: u64_at(bytes, 8),
            horizon: u64_at(bytes, 16),
            budget: u64_at(bytes, 24),
        }
    }
}

/// A warming policy that runs: it is shown candidates and says what each is worth.
///
/// Implemented by the SDK's driver around every warming policy. The host reaches it directly for a
/// compiled-in policy and through `ostler_rank` for a sandboxed one; nothing else differs.
pub trait Rank {
    /// Scores every candidate: higher is fetched first, 0 is left out. `scores` is as long as
    /// `candidates`. A candidate's score must not depend on which others come in the same call.
    fn rank(&mut self, outlook: &Outlook, candidates: &[Candidate], scores: &mut [u32]);

    /// Takes a model, as [`Step::model`](crate::Step::model).
    ///
    /// # Errors
    ///
    /// [`ModelRefused`] where the policy takes none or not this one; an earlier model stays.
    fn model(&mut self, message: &[u8]) -> Result<(), ModelRefused> {
        let _ = message;
        Err(ModelRefused::TAKES_NONE)
    }
}

/// Makes an instance of a compiled-in warming policy from its setup (`slots` is 0) and its
/// parameters as JSON.
pub type BuildWarming = fn(Setup, &str) -> Result<Box<dyn Rank + Send>, InitRefused>;

/// A warming policy compiled into the program.
#[derive(Clone, Copy)]
pub struct NativeWarming {
    /// The manifest, as JSON; the same text that the module carries in its custom section.
    pub manifest: &'static str,
    /// Creates an instance. The second argument is the parameters as a flat JSON object.
    pub build: BuildWarming,
}

impl core::fmt::Debug for NativeWarming {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("NativeWarming").field("manifest", &self.manifest).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every byte of a record is another number, so a field at the wrong place shows.
    #[test]
    fn bytes_follow_the_tables_of_the_contract() {
        let mut bytes = [0; CANDIDATE_BYTES];
        for (number, byte) in (1u8..).zip(&mut bytes) {
            *byte = number;
        }
        let candidate = Candidate::from_bytes(&bytes);
        assert_eq!(candidate.key_hash, 0x0807_0605_0403_0201);
        assert_eq!((candidate.age, candidate.cost_us), (0x0c0b_0a09, 0x2827_2625));
        assert_eq!((candidate.decayed, candidate.weight), (0x201f_1e1d, 0x2423_2221));
        assert_eq!((candidate.class, candidate.flags), (41, 42));
        assert_eq!((candidate.reserved, candidate.reserved2), (0x2c2b, 0x302f_2e2d));
        assert_eq!((candidate.hours[0], candidate.hours[23]), (0x3231, 0x605f));
        assert_eq!(candidate.to_bytes(), bytes);
        let Some(bytes) = bytes.first_chunk() else { unreachable!("96 bytes hold 32") };
        let outlook = Outlook::from_bytes(bytes);
        assert_eq!(outlook.now_ms, 0x0807_0605_0403_0201);
        assert_eq!(outlook.budget, 0x201f_1e1d_1c1b_1a19);
        assert_eq!(outlook.to_bytes(), *bytes);
    }
}
