//! The history on disk: what a cache knows of its keys survives its process.
//!
//! Owns the bytes: a magic word, a checksum of the rest, then postcard: a header and one record a key,
//! those with the highest decayed frequency first. Reading trusts nothing: lengths are checked before
//! anything is kept, and no more is kept than the history's own bound. It opens no file; whoever does
//! writes it beside and renames.

use ostler_abi::hash_bytes;
use serde::{Deserialize, Serialize};

use super::history::{Entry, HISTORY_KEY_BYTES_MAX, HistoryConfig, KeyHistory};
use super::hours::Hours;

/// What a snapshot begins with; the digit is the format.
const MAGIC: &[u8; 8] = b"OSTWARM1";

/// Seed of the checksum.
const CHECKSUM_SEED: u64 = 0x7761_726d;

/// Bytes before the header: magic and checksum.
const PREFIX_BYTES: usize = 16;

/// Longest message of a model that a snapshot carries, bytes.
const MODEL_BYTES_MAX: usize = ostler_abi::MODEL_BYTES_MAX;

/// What a snapshot says beside the keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotHeader {
    /// Milliseconds since 1970 when it was taken.
    pub saved_ms: u64,
    /// The lifetime of an entry then, in requests.
    pub lifetime: u64,
    /// The warming policy's model as its message, empty if there is none; at most 1,024 bytes.
    pub model: Vec<u8>,
}

/// Why bytes are no snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// Shorter than any, or not one of this format.
    #[error("no snapshot of a key history, or one of another format")]
    Magic,
    /// Cut short, or changed.
    #[error("the snapshot's checksum does not fit its bytes")]
    Checksum,
    /// The checksum fits, but the bytes do not decode.
    #[error("the snapshot does not decode after {keys} keys")]
    Malformed {
        /// Keys that did.
        keys: u64,
    },
    /// A key, or the model, is longer than any that is written.
    #[error("the snapshot holds something of {bytes} bytes, longer than what is ever written")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
}

/// The header as it lies in the bytes.
#[derive(Serialize, Deserialize)]
struct Head<'a> {
    saved_ms: u64,
    lifetime: u64,
    #[serde(borrow)]
    model: &'a [u8],
    requests: u64,
    keys: u64,
}

/// A key as it lies in the bytes.
#[derive(Serialize, Deserialize)]
struct Row<'a> {
    #[serde(borrow)]
    key: &'a [u8],
    /// Requests ago.
    last: u64,
    first: u64,
    gap: u32,
    gap2: u32,
    accesses: u32,
    decayed: u32,
    weight: u32,
    cost_us: u32,
    class: u8,
    resident: bool,
    hours: [u16; 24],
    first_hour: u32,
    day: u32,
}

impl KeyHistory {
    /// The history as bytes, up to `keys_max` keys. `is_resident` says what is in the cache now.
    ///
    /// # Panics
    ///
    /// Never: numbers and byte strings can be encoded.
    #[must_use]
    pub fn to_snapshot(
        &self,
        header: &SnapshotHeader,
        keys_max: usize,
        is_resident: &dyn Fn(u64, &[u8]) -> bool,
    ) -> Vec<u8> {
        let mut order: Vec<&Entry> = self.entries().iter().collect();
        let requests = self.requests();
        order.sort_by_cached_key(|entry| {
            (std::cmp::Reverse(entry.decayed_now(header.lifetime, requests)), entry.hash)
        });
        order.truncate(keys_max);
        let model = if header.model.len() > MODEL_BYTES_MAX { &[] } else { &*header.model };
        let keys = order.len() as u64;
        let SnapshotHeader { saved_ms, lifetime, .. } = *header;
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&[0; 8]);
        let mut bytes = encoded(&Head { saved_ms, lifetime, model, requests, keys }, bytes);
        for entry in order {
            bytes = encoded(&Row::of(entry, requests, is_resident(entry.hash, &entry.key)), bytes);
        }
        let checksum = hash_bytes(&bytes[PREFIX_BYTES..], CHECKSUM_SEED);
        bytes[MAGIC.len()..PREFIX_BYTES].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// The history that `bytes` hold, within the bound of `config`: where it is smaller than that of
    /// the cache that wrote them, the first keys, which are the best. `hash_of` is the hash of the
    /// cache that reads them: hashes are not kept, since a cache may have other ones at every start.
    ///
    /// # Errors
    ///
    /// [`SnapshotError`], for whatever is not a whole snapshot.
    pub fn try_from_snapshot(
        bytes: &[u8],
        config: HistoryConfig,
        hash_of: &dyn Fn(&[u8]) -> u64,
    ) -> Result<(Self, SnapshotHeader), SnapshotError> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(SnapshotError::Magic)?;
        let (checksum, rest) = rest.split_first_chunk().ok_or(SnapshotError::Magic)?;
        if u64::from_le_bytes(*checksum) != hash_bytes(rest, CHECKSUM_SEED) {
            return Err(SnapshotError::Checksum);
        }
        let (head, mut rest) = postcard::take_from_bytes::<Head<'_>>(rest)
            .map_err(|_| SnapshotError::Malformed { keys: 0 })?;
        if head.model.len() > MODEL_BYTES_MAX {
            return Err(SnapshotError::TooLong { bytes: head.model.len() });
        }
        let mut history = Self::new(config);
        history.restore_requests(head.requests);
        // The number of keys is only believed as far as the bytes go.
        for keys in 0..head.keys {
            let (row, left) = postcard::take_from_bytes::<Row<'_>>(rest)
                .map_err(|_| SnapshotError::Malformed { keys })?;
            if row.key.len() > HISTORY_KEY_BYTES_MAX {
                return Err(SnapshotError::TooLong { bytes: row.key.len() });
            }
            rest = left;
            // One that does not fit is left out; a smaller one may still come.
            let _: bool = history.restore(row.entry(hash_of(row.key), head.requests));
        }
        if !rest.is_empty() {
            return Err(SnapshotError::Malformed { keys: head.keys });
        }
        let (saved_ms, lifetime) = (head.saved_ms, head.lifetime);
        Ok((history, SnapshotHeader { saved_ms, lifetime, model: head.model.to_vec() }))
    }
}

impl<'a> Row<'a> {
    fn of(entry: &'a Entry, requests: u64, resident: bool) -> Self {
        let (hours, first_hour, day) = entry.hours.parts();
        Self {
            key: &entry.key,
            last: requests.saturating_sub(entry.last),
            first: requests.saturating_sub(entry.first),
            gap: entry.gap,
            gap2: entry.gap2,
            accesses: entry.accesses,
            decayed: entry.decayed,
            weight: entry.weight,
            cost_us: entry.cost_us,
            class: entry.class,
            resident,
            hours: *hours,
            first_hour,
            day,
        }
    }

    fn entry(&self, hash: u64, requests: u64) -> Entry {
        let last = requests.saturating_sub(self.last);
        Entry {
            hash,
            key: self.key.into(),
            last,
            first: requests.saturating_sub(self.first).min(last),
            hours: Hours::restored(self.hours, self.first_hour, self.day),
            gap: self.gap,
            gap2: self.gap2,
            accesses: self.accesses.max(1),
            decayed: self.decayed,
            weight: self.weight.max(1),
            cost_us: self.cost_us,
            class: self.class,
            resident: self.resident,
        }
    }
}

fn encoded<T: Serialize>(value: &T, bytes: Vec<u8>) -> Vec<u8> {
    postcard::to_extend(value, bytes)
        .expect("invariant: numbers and byte strings can be encoded, and a vector grows")
}
