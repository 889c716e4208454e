//! The event record: one observed cache operation, 32 bytes, little endian.

/// One observed operation, as the engine writes it into a guest's memory.
///
/// The layout is fixed (`repr(C)`, no padding, every bit pattern valid) and equals the table in
/// `ABI.md`, so the engine writes records in place and a guest on a little-endian machine reads
/// them in place.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Record {
    /// Hash of the key, stable for the life of the cache. For [`Kind::Capacity`]: the new capacity.
    pub key_hash: u64,
    /// Milliseconds since the cache started. Data of the event, never a clock call.
    pub time_ms: u64,
    /// The entry's slot, or [`NO_SLOT`](crate::NO_SLOT). For [`Kind::Slots`]: the new bound.
    pub slot: u32,
    /// Weight of the entry in the cache's unit, at least 1.
    pub weight: u32,
    /// What the entry cost to load, microseconds; 0 if unknown.
    pub cost_us: u32,
    /// Hits this record stands for (coalesced), at least 1, saturating at 255.
    pub count: u8,
    /// The caller's request class or hint, 0 if none.
    pub class: u8,
    /// What happened: a [`Kind`] as its number. Unknown numbers are ignored by a guest.
    pub kind: u8,
    /// Bit 0 prefetched, bit 1 warmed; other bits zero.
    pub flags: u8,
}

/// Size of a [`Record`] in bytes.
pub const RECORD_BYTES: usize = 32;

const _: () = assert!(size_of::<Record>() == RECORD_BYTES && align_of::<Record>() == 8);

/// What a [`Record`] reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum Kind {
    /// A resident entry was read `count` times.
    Hit = 0,
    /// A new entry took `slot`.
    Insert = 1,
    /// A resident entry was overwritten: an access, with the new weight.
    Update = 2,
    /// The user removed the entry.
    Remove = 3,
    /// Time removed the entry.
    Expire = 4,
    /// An entry that was resident before this policy took the seat; `time_ms` is its insertion.
    Adopt = 5,
    /// The capacity changed; the new one is in `key_hash`. Always a batch of its own.
    Capacity = 6,
    /// A request for a key that is not resident. May be lost.
    Miss = 7,
    /// Slot numbers below `slot` may be used from now on. Comes before any record that uses them.
    Slots = 8,
    /// Forget everything: nothing is resident any more.
    Reset = 9,
}

impl Kind {
    /// Every kind of version 1, in the order of its number.
    pub const ALL: [Kind; 10] = [
        Kind::Hit,
        Kind::Insert,
        Kind::Update,
        Kind::Remove,
        Kind::Expire,
        Kind::Adopt,
        Kind::Capacity,
        Kind::Miss,
        Kind::Slots,
        Kind::Reset,
    ];

    /// The kind with this number, or none where the number is not of this version.
    #[inline]
    #[must_use]
    pub const fn from_u8(number: u8) -> Option<Kind> {
        match number {
            0 => Some(Kind::Hit),
            1 => Some(Kind::Insert),
            2 => Some(Kind::Update),
            3 => Some(Kind::Remove),
            4 => Some(Kind::Expire),
            5 => Some(Kind::Adopt),
            6 => Some(Kind::Capacity),
            7 => Some(Kind::Miss),
            8 => Some(Kind::Slots),
            9 => Some(Kind::Reset),
            _ => None,
        }
    }

    /// The name that manifests and reports use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Hit => "hit",
            Kind::Insert => "insert",
            Kind::Update => "update",
            Kind::Remove => "remove",
            Kind::Expire => "expire",
            Kind::Adopt => "adopt",
            Kind::Capacity => "capacity",
            Kind::Miss => "miss",
            Kind::Slots => "slots",
            Kind::Reset => "reset",
        }
    }
}

impl Record {
    /// All zero: what an event window holds before anything is written.
    pub const ZERO: Record = Record {
        key_hash: 0,
        time_ms: 0,
        slot: 0,
        weight: 0,
        cost_us: 0,
        count: 0,
        class: 0,
        kind: 0,
        flags: 0,
    };

    /// A record of `kind` for `slot`, with weight 1, count 1 and everything else zero.
    #[inline]
    #[must_use]
    pub const fn new(kind: Kind, slot: u32) -> Self {
        Record {
            key_hash: 0,
            time_ms: 0,
            slot,
            weight: 1,
            cost_us: 0,
            count: 1,
            class: 0,
            kind: kind as u8,
            flags: 0,
        }
    }

    /// The record's kind, or none where its number is not of this version.
    #[inline]
    #[must_use]
    pub const fn kind(&self) -> Option<Kind> {
        Kind::from_u8(self.kind)
    }

    /// The record as it lies in a guest's memory.
    #[inline]
    #[must_use]
    pub fn to_bytes(&self) -> [u8; RECORD_BYTES] {
        let mut bytes = [0; RECORD_BYTES];
        bytes[0..8].copy_from_slice(&self.key_hash.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.time_ms.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.slot.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.weight.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.cost_us.to_le_bytes());
        bytes[28..32].copy_from_slice(&[self.count, self.class, self.kind, self.flags]);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_follow_the_table_of_the_contract() {
        let record = Record {
            key_hash: 0x0807_0605_0403_0201,
            time_ms: 0x1817_1615_1413_1211,
            slot: 0x2423_2221,
            weight: 0x3433_3231,
            cost_us: 0x4443_4241,
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
        assert_eq!(record.to_bytes(), expected);
    }

    #[test]
    fn kinds_and_numbers_agree() {
        for (number, kind) in (0u8..).zip(Kind::ALL) {
            assert_eq!(kind as u8, number);
            assert_eq!(Kind::from_u8(number), Some(kind));
        }
        assert_eq!(Kind::from_u8(10), None);
    }
}
