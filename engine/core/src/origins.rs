//! What is known about the load of each entry: a side table, so that only those who name costs or
//! classes pay for them.

use ostler_abi::{Kind, NO_SLOT, Record};

use crate::chunked::Chunked;

/// Where an entry came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) cost_us: u32,
    pub(crate) class: u8,
    /// Flags of the record that introduces it; no other record has them.
    pub(crate) flags: u8,
}

impl Origin {
    /// A record without a slot, standing for one event.
    #[inline]
    pub(crate) fn record(self, kind: Kind, key_hash: u64, weight: u32, time_ms: u64) -> Record {
        let Self { cost_us, class, flags } = self;
        let flags = if matches!(kind, Kind::Insert) { flags } else { 0 };
        let (count, kind) = (1, kind as u8);
        Record { key_hash, time_ms, slot: NO_SLOT, weight, cost_us, count, class, kind, flags }
    }
}

/// Origins by slot. Nothing is kept until the first one says something.
#[derive(Debug, Default)]
pub(crate) struct Origins(Option<Box<Chunked<Origin>>>);

impl Origins {
    /// True where there is a table.
    #[inline]
    pub(crate) fn are_kept(&self) -> bool {
        self.0.is_some()
    }

    /// The origin of the entry in `slot`.
    #[inline(always)]
    pub(crate) fn of(&self, slot: u32) -> Origin {
        self.0.as_deref().and_then(|origins| origins.get(slot)).copied().unwrap_or_default()
    }

    /// Keeps the origin of what was written into `slot`.
    #[inline]
    pub(crate) fn set(&mut self, slot: u32, origin: Origin) {
        if self.0.is_some() || origin != Origin::default() {
            let origins = self.0.get_or_insert_default();
            origins.reach(slot);
            origins[slot] = origin;
        }
    }
}
