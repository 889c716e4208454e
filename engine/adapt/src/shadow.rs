//! One candidate beside the policy in charge: the same module on a share of the keys, in a cache
//! scaled by the same share.
//!
//! It owns an exact shard of the core without values. It knows neither where its events come from
//! nor which policies it is compared with.

use std::sync::Arc;

use ostler_abi::Setup;
use ostler_core::{
    Access, Batch, Inserted, InstanceSource, KeyHash, PolicyFault, Resident, Shard, ShardConfig,
    Wants,
};

/// Keys of a shadow are hashes already.
#[derive(Clone, Copy, Debug, Default)]
struct Hashed;

impl KeyHash<u64> for Hashed {
    #[inline]
    fn hash_of(&self, key: &u64) -> u64 {
        *key
    }
}

/// A request that the shadows hear of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sampled {
    /// Hash of the key.
    pub hash: u64,
    /// Weight of the entry in the cache's unit; 0 counts 1.
    pub weight: u32,
    /// Time and load cost, as they go into the policies' records.
    pub access: Access,
}

/// First bound on slots of a shadow; it is raised as the shadow fills.
const SLOTS_FIRST_MAX: u64 = 4096;

fn config(capacity: u64, seed: u64, wants: Wants) -> ShardConfig {
    let slots = u32::try_from(capacity.saturating_add(1).min(SLOTS_FIRST_MAX)).unwrap_or(1);
    ShardConfig {
        capacity,
        slots: slots.max(2),
        batch: Batch::Exact,
        evict_ahead_max: None,
        seed,
        wants,
    }
}

/// A candidate in shadow.
pub struct Shadow {
    source: Arc<dyn InstanceSource>,
    shard: Shard<u64, (), Hashed>,
    capacity: u64,
    /// Weight inserted since the start, up to which the shadow has turned over once.
    inserted: u64,
    requests: u64,
}

impl Shadow {
    /// A shadow of `source` in an empty cache of `capacity`. A policy that fails before its first
    /// event gives a shadow that is [faulty](Self::fault) from the start.
    #[must_use]
    pub fn new(source: Arc<dyn InstanceSource>, capacity: u64, seed: u64) -> Self {
        let config = config(capacity, seed, source.wants());
        let instance = source.instance(Setup { capacity, slots: config.slots, seed });
        let shard = Shard::new(&config, instance, Hashed);
        Self { source, shard, capacity, inserted: 0, requests: 0 }
    }

    /// A shadow that holds `residents` already, as if the policy had taken over a cache of them by a
    /// hand-over. Where they are more than `capacity` holds, the engine's fallback says what goes; where
    /// they are fewer, the rest has to come in before it [has turned over](Self::has_turned_over). A
    /// policy that fails meanwhile gives a shadow that is [faulty](Self::fault).
    ///
    /// Cost: a sort of the residents, and some hundred nanoseconds each.
    #[must_use]
    pub fn filled(
        source: Arc<dyn InstanceSource>,
        capacity: u64,
        seed: u64,
        residents: &[Resident],
    ) -> Self {
        let config = config(capacity, seed, Wants::NONE);
        // Nobody is in charge while the entries come in.
        let nobody = || PolicyFault::Refused { code: 0 };
        let mut shard = Shard::new(&config, Err(nobody()), Hashed);
        // What happened to them, in order: each came in, and was used last.
        let births = residents.iter().map(|resident| (resident.born_ms, 0, resident));
        let used = residents.iter().filter(|resident| resident.hits > 0);
        let uses = used.map(|resident| (resident.accessed_ms, resident.hits, resident));
        let mut events: Vec<(u64, u8, &Resident)> = births.chain(uses).collect();
        events.sort_by_key(|&(time_ms, ..)| time_ms);
        let mut inserted = 0_u64;
        for (time_ms, hits, resident) in events {
            let Resident { key_hash: hash, weight, cost_us, class, .. } = *resident;
            let access = Access { time_ms, cost_us, class };
            if hits > 0 && shard.weight_of(hash, &hash).is_none() {
                continue;
            }
            // The last of the hits is an overwrite, which ends the tick, so that the order of uses shows.
            for _ in 1..hits {
                shard.get(hash, &hash, access);
            }
            if shard.insert(hash, (hash, ()), weight, access) == Inserted::New {
                inserted = inserted.saturating_add(u64::from(weight.max(1)));
            }
            shard.drain_evicted();
        }
        if let Err(fault) = shard.set_policy(&*source) {
            shard = Shard::new(&config, Err(fault), Hashed);
        }
        Self { source, shard, capacity, inserted, requests: 0 }
    }

    /// Plays a get that is followed by a put where it misses; true where it hits.
    #[inline]
    pub fn request(&mut self, request: &Sampled) -> bool {
        let hit = self.get(request);
        if !hit {
            self.put(request);
        }
        hit
    }

    /// Plays a set as replay does: a hit where the key is held, which overwrites it where the weight
    /// differs.
    #[inline]
    pub fn set(&mut self, request: &Sampled) -> bool {
        if self.weight_of(request.hash).is_some_and(|weight| weight != request.weight.max(1)) {
            self.requests += 1;
            self.put(request);
            return true;
        }
        self.request(request)
    }

    /// Plays a get; true where it hits.
    #[inline]
    pub fn get(&mut self, request: &Sampled) -> bool {
        self.requests += 1;
        self.shard.get(request.hash, &request.hash, request.access).is_some()
    }

    /// Plays a write: an insert or an update.
    #[inline]
    pub fn put(&mut self, request: &Sampled) {
        let Sampled { hash, weight, access } = *request;
        let outcome = self.shard.insert(hash, (hash, ()), weight, access);
        if outcome == Inserted::New {
            self.inserted = self.inserted.saturating_add(u64::from(weight.max(1)));
        }
        self.shard.drain_evicted();
    }

    /// Plays a removal or an expiry.
    pub fn remove(&mut self, request: &Sampled) {
        self.shard.remove(request.hash, &request.hash, request.access);
        self.shard.drain_evicted();
    }

    /// The weight under which a key is held, none where it is not.
    #[must_use]
    pub fn weight_of(&self, hash: u64) -> Option<u32> {
        self.shard.weight_of(hash, &hash)
    }

    /// Changes the capacity, after the cache's own changed.
    pub fn set_capacity(&mut self, capacity: u64) {
        self.capacity = capacity;
        self.shard.set_capacity(capacity);
        self.shard.drain_evicted();
    }

    /// Hands a model to the policy; one that takes none, or not this one, goes on as it is.
    pub fn publish_model(&mut self, message: &[u8]) {
        // Whether it was taken shows in the shadow's hits; a fault, in its fault.
        let _ = self.shard.publish_model(message);
        self.shard.drain_evicted();
    }

    /// The policy.
    #[must_use]
    pub fn source(&self) -> &Arc<dyn InstanceSource> {
        &self.source
    }

    /// Why the policy is out, none while it runs.
    #[must_use]
    pub fn fault(&self) -> Option<&PolicyFault> {
        self.shard.fault()
    }

    /// Gets so far.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests
    }

    /// The capacity.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.capacity
    }

    /// True once as much was inserted as the cache holds: from then on the policy's choices, not
    /// the empty start, decide what hits.
    #[must_use]
    pub fn has_turned_over(&self) -> bool {
        self.inserted >= self.capacity
    }

    /// Number of entries it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shard.len()
    }

    /// True where it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shard.is_empty()
    }

    /// Bytes of guest memory, 0 for a native policy.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.shard.instance().map_or(0, ostler_core::PolicyInstance::memory_bytes)
    }

    /// Nanoseconds in the guest so far, estimated; 0 where the instance does not measure.
    #[must_use]
    pub fn guest_ns(&self) -> u64 {
        self.shard.instance().map_or(0, ostler_core::PolicyInstance::guest_ns)
    }
}
