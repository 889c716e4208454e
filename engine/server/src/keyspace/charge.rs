//! Memory that is held without entries, and how it comes out of a cache's capacity.
//!
//! An entry is charged for its place and for what a policy keeps of it. Places stay when their entries
//! leave, and so does the memory of policies: where values have become larger, there are fewer entries
//! than places, and nobody is charged for the rest. Some policies keep more than entries are charged
//! for. What is too much is taken from what the entries may weigh. It must not know protocols.

use std::sync::atomic::Ordering::Relaxed;

use ostler_core::Stats;

use super::{ENTRY_OVERHEAD_BYTES, Keyspace, UNBOUND_BYTES, weight_max_of};

/// What the place of an entry takes without the policy's share, of [`ENTRY_OVERHEAD_BYTES`].
const PLACE_BYTES: u64 = 62;
/// What may be held uncharged: this part of the capacity, and so many bytes, about what a policy takes
/// before there are entries. The bound on memory has room for both.
const UNCHARGED_PART: u64 = 16;
const UNCHARGED_BYTES: u64 = 8 << 20;
/// The part of the capacity that entries may weigh whatever else is held.
const ENTRIES_PART_MIN: u64 = 4;
/// The part of the capacity below which nothing is changed: policies are told of each change.
const CHANGE_PART_MIN: u64 = 64;
/// The part of the capacity that is taken at a time, and at most so many bytes: the entries that make
/// room for it leave at once.
const TAKEN_PART_MAX: u64 = 256;
const TAKEN_BYTES_MAX: u64 = 4 << 20;

impl Keyspace {
    /// Takes from the entries what is held without them, or gives it back. To be called now and then;
    /// each call takes a little. Cost: each shard's lock once, and what has to leave.
    pub fn settle(&self) {
        let mut engine_bytes = self.engine_bytes.lock();
        if *engine_bytes == UNBOUND_BYTES {
            return;
        }
        let capacity_bytes = self.capacity_bytes();
        let due_bytes = room_of(capacity_bytes, &self.cache.stats());
        let Some(next_bytes) = step(capacity_bytes, *engine_bytes, due_bytes) else { return };
        *engine_bytes = next_bytes;
        self.weight_max.store(weight_max_of(next_bytes, self.shards), Relaxed);
        self.cache.resize(next_bytes);
    }
}

/// What the entries may weigh together where a cache that does `stats` may hold `capacity_bytes`.
fn room_of(capacity_bytes: u64, stats: &Stats) -> u64 {
    let held = stats.slots.saturating_mul(PLACE_BYTES).saturating_add(stats.guest_memory_bytes);
    let charged = stats.entries.saturating_mul(u64::from(ENTRY_OVERHEAD_BYTES));
    let free = capacity_bytes / UNCHARGED_PART + UNCHARGED_BYTES;
    let uncharged = held.saturating_sub(charged).saturating_sub(free);
    capacity_bytes.saturating_sub(uncharged).max(capacity_bytes / ENTRIES_PART_MIN)
}

/// What the entries may weigh next, none where that stays as it is.
fn step(capacity_bytes: u64, now_bytes: u64, due_bytes: u64) -> Option<u64> {
    let change = capacity_bytes / CHANGE_PART_MIN;
    if due_bytes + change < now_bytes {
        let taken_bytes = (capacity_bytes / TAKEN_PART_MAX).min(TAKEN_BYTES_MAX);
        return Some(due_bytes.max(now_bytes - taken_bytes));
    }
    let rises = now_bytes + change < due_bytes || due_bytes == capacity_bytes;
    (rises && now_bytes < due_bytes).then_some(due_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn what_is_held_without_entries_is_taken_from_them() {
        let cases = [
            // capacity, entries, places, the policies' memory, all for 64 of capacity; room
            (64, 0, 0, 0, 64),
            // As many entries as places: each is charged for 34 bytes of the policy's.
            (64, 100_000, 100_000, 3_400_000, 64),
            // A sixteenth and 8 MiB may be held uncharged.
            (64, 0, 0, 12 * MIB, 64),
            (64, 0, 0, 13 * MIB, 63),
            // A place without an entry counts, and so does what the policy keeps of it.
            (64, 0, 4 * MIB / 62 + 1, 15 * MIB, 57),
            // Never less than a quarter.
            (64, 0, 10 * MIB, 0, 16),
            (64, 0, u64::MAX, u64::MAX, 16),
        ];
        for (capacity, entries, slots, guest_memory_bytes, room) in cases {
            let mut stats = Stats::default();
            (stats.entries, stats.slots) = (entries, slots);
            stats.guest_memory_bytes = guest_memory_bytes;
            let got = room_of(capacity * MIB, &stats);
            assert!(got.abs_diff(room * MIB) < 1024, "{stats:?}: {got}");
        }
    }

    #[test]
    fn little_is_taken_at_a_time_and_all_is_given_back() {
        let cases = [
            // now, due, next, of a capacity of 256
            (256, 256, None),
            (256, 253, None),
            (256, 252, None),
            (256, 251, Some(255)),
            (256, 64, Some(255)),
            (100, 103, None),
            (100, 105, Some(105)),
            (254, 256, Some(256)),
        ];
        for (now, due, next) in cases {
            let got = step(256 * MIB, now * MIB, due * MIB);
            assert_eq!(got, next.map(|next| next * MIB), "{now} to {due}");
        }
        assert_eq!(step(4096 * MIB, 4096 * MIB, 1024 * MIB), Some(4092 * MIB), "in bytes");
    }
}
