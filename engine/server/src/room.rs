//! Who makes room where the bound on memory is reached.
//!
//! As a rule the engine does, by the policy of each cache, and no command waits for it. Clients of Redis
//! may ask for what a policy cannot do: that nothing is evicted (`noeviction`), or only what will end
//! (`volatile-random`, `volatile-ttl`). Then the engine holds whatever comes, and the server looks before
//! each command, as Redis does: it evicts until no more is held than may be, or refuses what needs room.
//! One command may overrun the bound by what it stores.
//!
//! Cost: one relaxed load a command; where the server makes room, each shard's lock once a command.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use ostler_core::Clock;

use crate::commands::scan::below;
use crate::keyspace::{Key, Keyspace};
use crate::service::Service;

/// Least capacity that policies as the settings have them work with, bytes.
const CAPACITY_BYTES_MIN: u64 = 1 << 20;
/// Entries among which the one is looked for that ends soonest.
const SAMPLE_LEN: usize = 16;
/// Slots that are looked at with a shard locked.
const SLICE_SLOTS: u32 = 256;
/// Time for which nobody looks again where no entry was found that will end.
const PAUSE_MS: u64 = 100;

/// Who makes room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Keeper {
    /// The policy, with the capacity of the settings. Where clients leave it less than settings could,
    /// it keeps what it has, and nothing more is stored.
    Configured,
    /// The policy, because a client asked for one: it gives up what is too much whatever the capacity.
    Policy,
    /// Nobody: what needs room is refused.
    Nobody,
    /// The server, any of the entries that will end.
    EndingAtRandom,
    /// The server, of the entries that will end one that ends soon.
    EndingSoonest,
}

impl Keeper {
    const ALL: [Self; 5] =
        [Self::Configured, Self::Policy, Self::Nobody, Self::EndingAtRandom, Self::EndingSoonest];

    fn of(number: &AtomicU8) -> Self {
        Self::ALL.get(usize::from(number.load(Relaxed))).copied().unwrap_or(Self::Policy)
    }

    /// True where the policy is not asked.
    #[must_use]
    pub fn is_server(self) -> bool {
        !matches!(self, Self::Configured | Self::Policy)
    }

    /// How many of the entries that will end are compared, none where none of them is evicted.
    fn sample_len(self) -> Option<usize> {
        match self {
            Self::EndingAtRandom => Some(1),
            Self::EndingSoonest => Some(SAMPLE_LEN),
            Self::Configured | Self::Policy | Self::Nobody => None,
        }
    }
}

/// Who makes room in a server, and when. Only a server with a single cache can be told otherwise than
/// by its settings.
#[derive(Debug, Default)]
pub struct Room {
    keeper: AtomicU8,
    /// Who made room last that was not the server.
    policy_keeper: AtomicU8,
    /// Bytes that the cache may hold, 0 for what the settings say.
    capacity_bytes: AtomicU64,
    /// There is something to look after before each command.
    is_watched: AtomicBool,
    /// When it is worth looking again for entries that will end, milliseconds.
    search_ms: AtomicU64,
}

impl Room {
    /// Who makes room.
    #[must_use]
    pub fn keeper(&self) -> Keeper {
        Keeper::of(&self.keeper)
    }

    /// Who makes room once the server does so no more.
    #[must_use]
    pub fn policy_keeper(&self) -> Keeper {
        Keeper::of(&self.policy_keeper)
    }

    /// True where [`relieve`] and [`is_full`] have to be asked.
    #[must_use]
    #[inline]
    pub fn is_watched(&self) -> bool {
        self.is_watched.load(Relaxed)
    }
}

/// Bytes that all caches may hold.
#[must_use]
pub fn capacity_bytes(service: &Service) -> u64 {
    match service.room.capacity_bytes.load(Relaxed) {
        0 => service.settings.caches.iter().map(|cache| cache.capacity_bytes).sum(),
        bytes => bytes,
    }
}

/// Changes what the only cache may hold, 0 for what the settings say.
pub fn set_capacity(service: &Service, bytes: u64) {
    service.room.capacity_bytes.store(bytes, Relaxed);
    apply(service);
}

/// Changes who makes room in the only cache.
pub fn set_keeper(service: &Service, keeper: Keeper) {
    service.room.keeper.store(keeper as u8, Relaxed);
    if !keeper.is_server() {
        service.room.policy_keeper.store(keeper as u8, Relaxed);
    }
    service.room.search_ms.store(0, Relaxed);
    apply(service);
}

fn apply(service: &Service) {
    let (room, bytes) = (&service.room, capacity_bytes(service));
    let keeper = room.keeper();
    let starves = keeper == Keeper::Configured && bytes < CAPACITY_BYTES_MIN;
    let Some(cache) = service.caches.first() else { return };
    if keeper.is_server() {
        // Watched first: nothing may come in unbounded.
        room.is_watched.store(true, Relaxed);
        cache.release(bytes);
    } else {
        if !starves {
            cache.resize(bytes);
        }
        room.is_watched.store(starves, Relaxed);
    }
}

/// Evicts until no more is held than may be, as far as that is the server's business.
pub fn relieve(service: &Service) {
    let (room, clock) = (&service.room, &service.clock);
    let Some((sample_len, cache)) = room.keeper().sample_len().zip(service.caches.first()) else {
        return;
    };
    if !is_over(cache) || clock.now_ms() < room.search_ms.load(Relaxed) {
        return;
    }
    // What is over makes room, too.
    cache.cache().run_pending();
    while is_over(cache) {
        let sample = ending(cache, sample_len);
        let soonest = sample.into_iter().min_by_key(|(_, left)| *left);
        let Some((key, _)) = soonest else {
            room.search_ms.store(clock.now_ms() + PAUSE_MS, Relaxed);
            return;
        };
        // Somebody else may have removed it: that made room as well.
        cache.evict_ending(&key);
    }
}

/// True where what needs room is to be refused. To be asked where [`Room::is_watched`] says so.
#[must_use]
pub fn is_full(service: &Service) -> bool {
    !service.room.keeper().is_server() || service.caches.first().is_some_and(|cache| is_over(cache))
}

fn is_over(cache: &Keyspace) -> bool {
    cache.cache().weight() > cache.capacity_bytes()
}

/// At least `count` entries that will end, from a random place on, and the time that each has left;
/// fewer where there are not so many. Cost: as many look-ups as it takes to find them.
fn ending(cache: &Keyspace, count: usize) -> Vec<(Key, Duration)> {
    let stats = cache.cache().stats();
    let shards = stats.shards.max(1);
    let start = below(shards) << 32 | below(stats.entries / shards + 1);
    let (mut cursor, mut is_second_round, mut found) = (start, false, Vec::new());
    while found.len() < count {
        let (entries, next) = cache.scan(cursor, SLICE_SLOTS);
        found.extend(entries.into_iter().filter_map(|(key, _)| {
            let left = cache.entry(key.as_bytes())?.remaining?;
            Some((key, left))
        }));
        cursor = next;
        if cursor == 0 && std::mem::replace(&mut is_second_round, true)
            || is_second_round && cursor >= start
        {
            break;
        }
    }
    if count == 1 && !found.is_empty() {
        let chosen = below(found.len() as u64) as usize;
        found = vec![found.swap_remove(chosen)];
    }
    found
}

#[cfg(test)]
mod tests;
