//! How many entries of a database will end, and when: counted where there are few, estimated from a
//! sample where there are many. The engine keeps the ends with its slots and no count of them.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::keyspace::{DATABASES, HomeIndex, Keyspace};

/// Entries of a cache up to which all of them are looked at.
const COUNTED_MAX: u64 = 4096;
/// Slots that are looked at in a larger cache, dealt to its shards.
const SAMPLE_SLOTS: u64 = 4096;

/// What was seen of a database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seen {
    entries: u64,
    /// Those that will end.
    ending: u64,
    /// The time that they have left together, milliseconds.
    left_ms: u64,
}

/// Entries of each home that will end, and the time that they have left.
pub(super) struct Census([Seen; DATABASES as usize]);

impl Census {
    /// Looks at the entries of `keyspace`. Cost: some thousand look-ups at most.
    pub(super) fn take(keyspace: &Keyspace) -> Self {
        let mut census = Self([Seen::default(); DATABASES as usize]);
        let stats = keyspace.cache().stats();
        if stats.entries <= COUNTED_MAX {
            census.walk(keyspace, 0, u32::MAX);
            return census;
        }
        // Every call looks elsewhere. Slots are used again by whoever comes next, so that any stretch
        // of them is as good as another.
        static CALLS: AtomicU32 = AtomicU32::new(0);
        let turn = u64::from(CALLS.fetch_add(1, Relaxed));
        let slots_each = (SAMPLE_SLOTS / stats.shards.max(1)).max(16);
        let starts = (stats.entries / stats.shards.max(1)).saturating_sub(slots_each).max(1);
        for shard in 0..stats.shards {
            let slot = (turn * stats.shards + shard).wrapping_mul(0x9E37_79B9) % starts;
            census.walk(keyspace, shard << 32 | slot, slots_each as u32);
        }
        census
    }

    /// Looks at `slots_max` slots from `cursor` on.
    fn walk(&mut self, keyspace: &Keyspace, cursor: u64, slots_max: u32) {
        let (entries, _) = keyspace.scan(cursor, slots_max);
        for (key, _) in entries {
            let Some(entry) = keyspace.entry(key.as_bytes()) else { continue };
            let seen = &mut self.0[usize::from(key.home() % DATABASES)];
            seen.entries += 1;
            if let Some(left) = entry.remaining {
                seen.ending += 1;
                seen.left_ms += left.as_millis() as u64;
            }
        }
    }

    /// How many of the `size` entries of `home` will end, and the milliseconds that each of those
    /// has left on average.
    pub(super) fn of(&self, home: HomeIndex, size: u64) -> (u64, u64) {
        let seen = self.0[usize::from(home % DATABASES)];
        let ending = u128::from(seen.ending) * u128::from(size);
        let half = u128::from(seen.entries / 2);
        let ending = (ending + half).checked_div(u128::from(seen.entries)).unwrap_or(0);
        (ending as u64, seen.left_ms.checked_div(seen.ending).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::{End, Key, Value};
    use crate::service::Service;
    use crate::settings::Settings;

    /// A cache with so many entries in each of two databases; every fourth of the second will end.
    fn filled(count: u64) -> (Census, u64) {
        let service = Service::try_new(Settings::default(), 1).unwrap();
        let keyspace = &service.caches[0];
        let end = End::At(service.clock.now_unix_ms() + 1_000_000);
        for number in 0..count {
            let name = number.to_string();
            let set = |database, end| {
                keyspace.set(Key::new(database, name.as_bytes()), Value::new(b"v"), end, 0).unwrap()
            };
            let _ = set(0, End::Never);
            let _ = set(1, if number % 4 == 0 { end } else { End::Never });
        }
        (Census::take(keyspace), keyspace.size(1))
    }

    #[test]
    fn few_entries_are_counted() {
        let (census, size) = filled(1000);
        let (ending, left_ms) = census.of(1, size);
        assert_eq!((size, ending), (1000, 250));
        assert!((900_000..=1_000_000).contains(&left_ms), "{left_ms}");
        assert_eq!(census.of(0, 1000), (0, 0));
        assert_eq!(census.of(2, 0), (0, 0));
    }

    #[test]
    fn many_entries_are_estimated() {
        let (census, size) = filled(20_000);
        let (ending, _) = census.of(1, size);
        assert!((4_000..=6_000).contains(&ending), "{ending} of {size}");
        assert_eq!(census.of(0, 20_000), (0, 0));
    }
}
