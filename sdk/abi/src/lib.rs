//! The contract between Ostler's engine and a cache policy, version 1.
//!
//! This crate owns the words both sides speak: the 32-byte event [`Record`], the [`Layout`] a guest
//! publishes, the names and limits of the contract, the stable hash, and the seams that a compiled-in
//! policy and a WebAssembly policy both fit behind: [`Step`] for eviction, [`Predict`] for
//! prefetching, [`Rank`] for warming. It has no dependencies, no unsafe code and no opinion: it must
//! not know the engine, the SDK or any policy. `ABI.md` beside the SDK
//! tells the same contract to authors in other languages.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod bytes;
mod hash;
mod native;
mod policy_kind;
mod prefetch;
mod record;
mod warming;

pub use hash::{hash_bytes, hash_u64};
pub use native::{BuildNative, InitRefused, ModelRefused, NativePolicy, Setup, Step};
pub use policy_kind::PolicyKind;
pub use prefetch::{
    ACCESS_BYTES, ASK_BYTES, ASKS_CAP_MAX, Access, AccessKind, Ask, Asks, BuildPrefetch,
    CONFIDENCE_MAX, KEY_BYTES_MAX, KEYS_CAP_MAX, KEYS_CAP_MIN, NO_KEY, NativePrefetch, Predict,
    Refusal,
};
pub use record::{Kind, RECORD_BYTES, Record};
pub use warming::{
    BuildWarming, CANDIDATE_BYTES, Candidate, DECAYED_ONE, FLAG_RESIDENT, NativeWarming,
    OUTLOOK_BYTES, Outlook, Rank,
};

/// Version of the contract that this crate describes.
pub const ABI_VERSION: u32 = 1;

/// The slot number that stands for "no slot", in records and in lists.
pub const NO_SLOT: u32 = u32::MAX;

/// Flag bit of a [`Record`]: the entry was brought in by a prefetch policy.
pub const FLAG_PREFETCHED: u8 = 1;

/// Flag bit of a [`Record`]: the entry was brought in by a warming policy.
pub const FLAG_WARMED: u8 = 2;

/// Name of the custom section that carries a policy's manifest.
pub const MANIFEST_SECTION: &str = "ostler.policy";

/// Names of the functions and the memory that a policy module exports.
pub mod export {
    /// The linear memory.
    pub const MEMORY: &str = "memory";
    /// `() -> i32`: address of the [`Layout`](crate::Layout).
    pub const LAYOUT: &str = "ostler_layout";
    /// `(capacity: i64, slots: i32, seed: i64) -> i32`: zero accepts, anything else refuses.
    pub const INIT: &str = "ostler_init";
    /// Eviction, `(n: i32) -> i32`: consumes `n` events, returns the number of victims.
    pub const STEP: &str = "ostler_step";
    /// Prefetch, `(n: i32) -> i32`: consumes `n` accesses, returns the number of asks.
    pub const PREDICT: &str = "ostler_predict";
    /// Warming, `(n: i32) -> i32`: scores `n` candidates, returns `n`.
    pub const RANK: &str = "ostler_rank";
    /// With the feature `model`, `(len: i32) -> i32`: zero takes the model, anything else refuses.
    pub const MODEL: &str = "ostler_model";
    /// Names kept for later minor versions; no module may export them.
    pub const RESERVED: [&str; 2] = ["ostler_save", "ostler_load"];
}

/// Names of the feature bits that a manifest may require.
pub mod feature {
    /// Eviction and warming: the policy takes models, through
    /// [`ostler_model`](crate::export::MODEL).
    pub const MODEL: &str = "model";
    /// Prefetch: the policy wants the bytes of the keys.
    pub const KEYS: &str = "keys";
}

/// The one import that a policy may have, `ostler.log(ptr: i32, len: i32)`.
pub mod import {
    /// Module name of the import.
    pub const MODULE: &str = "ostler";
    /// Field name of the import.
    pub const LOG: &str = "log";
}

/// What a guest publishes through `ostler_layout`: where the host writes and reads.
///
/// Eight little-endian `u32` words. New pointer/capacity pairs are only ever appended, and `len`
/// tells the host how many bytes the guest knows about, so an old guest runs on a newer host.
///
/// The events window holds what a policy of the kind is told ([`Record`], [`Access`] or
/// [`Candidate`]), the victims window what it answers (slot numbers, [`Ask`] or scores).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Bytes of this struct that the guest filled in, at least [`LAYOUT_BYTES`].
    pub len: u32,
    /// Contract version the guest was built for: [`ABI_VERSION`].
    pub abi: u32,
    /// Address of the event records, a multiple of 8.
    pub events_ptr: u32,
    /// How many records fit there, [`EVENTS_CAP_MIN`] to [`EVENTS_CAP_MAX`].
    pub events_cap: u32,
    /// Address of the victims, `u32` slot numbers, a multiple of 4.
    pub victims_ptr: u32,
    /// How many victims fit there, 1 to [`VICTIMS_CAP_MAX`].
    pub victims_cap: u32,
    /// Address of the io buffer (parameters as JSON), any alignment.
    pub io_ptr: u32,
    /// Bytes of the io buffer, [`IO_CAP_MIN`] to [`IO_CAP_MAX`].
    pub io_cap: u32,
}

/// Size of the version 1 [`Layout`] in bytes.
pub const LAYOUT_BYTES: u32 = 32;
/// Smallest event window: an adopt and its hit are never in different batches.
pub const EVENTS_CAP_MIN: u32 = 2;
/// Largest number of event records a guest may ask the host to batch.
pub const EVENTS_CAP_MAX: u32 = 4096;
/// Largest number of victims a guest may return from one call.
pub const VICTIMS_CAP_MAX: u32 = 65_536;
/// Smallest io buffer, bytes.
pub const IO_CAP_MIN: u32 = 256;
/// Largest io buffer, bytes.
pub const IO_CAP_MAX: u32 = 1 << 20;
/// Longest message of a model, bytes. The io buffer of a policy that takes models is no smaller.
pub const MODEL_BYTES_MAX: usize = 1024;

/// The [`Layout`] of a prefetch policy: the eight words, and where the host writes keys.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefetchLayout {
    /// The words that every kind has; `len` is [`PREFETCH_LAYOUT_BYTES`] or more.
    pub base: Layout,
    /// Address of the keys window, any alignment.
    pub keys_ptr: u32,
    /// Bytes of the keys window: [`KEYS_CAP_MIN`] to [`KEYS_CAP_MAX`] for a policy that requires
    /// [`feature::KEYS`], otherwise 0 to [`KEYS_CAP_MAX`].
    pub keys_cap: u32,
}

/// Size of a [`PrefetchLayout`] in bytes.
pub const PREFETCH_LAYOUT_BYTES: u32 = 40;

const _: () = assert!(size_of::<PrefetchLayout>() == PREFETCH_LAYOUT_BYTES as usize);

impl PrefetchLayout {
    /// All zero: a layout before it is filled in.
    pub const ZERO: PrefetchLayout =
        PrefetchLayout { base: Layout::ZERO, keys_ptr: 0, keys_cap: 0 };

    /// Reads a layout from its little-endian bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; PREFETCH_LAYOUT_BYTES as usize]) -> Self {
        let mut base = [0; LAYOUT_BYTES as usize];
        base.copy_from_slice(&bytes[..LAYOUT_BYTES as usize]);
        Self {
            base: Layout::from_bytes(&base),
            keys_ptr: bytes::u32_at(bytes, 32),
            keys_cap: bytes::u32_at(bytes, 36),
        }
    }
}

const _: () = assert!(size_of::<Layout>() == LAYOUT_BYTES as usize);

impl Layout {
    /// All zero: a layout before it is filled in.
    pub const ZERO: Layout = Layout {
        len: 0,
        abi: 0,
        events_ptr: 0,
        events_cap: 0,
        victims_ptr: 0,
        victims_cap: 0,
        io_ptr: 0,
        io_cap: 0,
    };

    /// Reads a layout from its little-endian bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; LAYOUT_BYTES as usize]) -> Self {
        let mut words = [0u32; 8];
        for (word, chunk) in words.iter_mut().zip(bytes.chunks_exact(4)) {
            *word = u32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]);
        }
        let [len, abi, events_ptr, events_cap, victims_ptr, victims_cap, io_ptr, io_cap] = words;
        Self { len, abi, events_ptr, events_cap, victims_ptr, victims_cap, io_ptr, io_cap }
    }
}
