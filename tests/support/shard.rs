//! A shard that is easy to drive: letters for keys, text for requests.

use ostler_abi::hash_u64;
use ostler_core::{
    Access, Batch, Inserted, KeyHash, PolicyFault, PolicyInstance, Shard, ShardConfig, Wants,
};

/// A policy that wants hits.
pub const HITS: Wants = Wants { hits: true, misses: false };
/// A policy that wants neither hits nor misses.
pub const NO_HITS: Wants = Wants { hits: false, misses: false };

/// Hashes keys as the replay does.
#[derive(Clone, Copy, Debug)]
pub struct Keys;

impl KeyHash<u64> for Keys {
    fn hash_of(&self, key: &u64) -> u64 {
        hash_u64(*key, 0)
    }
}

/// A shard over `u64` keys whose values count the puts, so that no two are alike.
pub struct TestShard {
    /// The shard under test.
    pub shard: Shard<u64, u64, Keys>,
    /// Circumstances of the next operation.
    pub access: Access,
    puts: u64,
}

impl TestShard {
    /// What a shard of this capacity is made with: exact batches, hits wanted, 16 slots at first.
    #[must_use]
    pub fn config(capacity: u64) -> ShardConfig {
        let (batch, wants) = (Batch::Exact, HITS);
        ShardConfig { capacity, slots: 16, batch, evict_ahead_max: None, seed: 1, wants }
    }

    /// A shard with `instance` in charge.
    #[must_use]
    pub fn new(config: &ShardConfig, instance: Box<dyn PolicyInstance>) -> Self {
        Self::try_new(config, Ok(instance))
    }

    /// A shard whose instance may have failed before its first event.
    #[must_use]
    pub fn try_new(
        config: &ShardConfig,
        instance: Result<Box<dyn PolicyInstance>, PolicyFault>,
    ) -> Self {
        let shard = Shard::new(config, instance, Keys);
        Self { shard, access: Access::default(), puts: 0 }
    }

    /// Looks `key` up.
    pub fn get(&mut self, key: u64) -> Option<u64> {
        self.shard.get(hash_u64(key, 0), &key, self.access).copied()
    }

    /// Stores a new value under `key` and returns it with what became of it.
    pub fn put(&mut self, key: u64, weight: u32) -> (u64, Inserted) {
        self.puts += 1;
        let entry = (key, self.puts);
        (self.puts, self.shard.insert(hash_u64(key, 0), entry, weight, self.access))
    }

    /// Looks `key` up and stores it where it is not resident. True for a hit.
    pub fn request(&mut self, key: u64, weight: u32) -> bool {
        let hit = self.get(key).is_some();
        if !hit {
            let _ = self.put(key, weight);
        }
        hit
    }

    /// Removes `key`. True where it was resident.
    pub fn remove(&mut self, key: u64) -> bool {
        self.shard.remove(hash_u64(key, 0), &key, self.access).is_some()
    }

    /// The weight of `key`, none where it is not resident. The policy does not hear of it.
    #[must_use]
    pub fn weight_of(&self, key: u64) -> Option<u32> {
        self.shard.weight_of(hash_u64(key, 0), &key)
    }

    /// The keys and values evicted since the last call of this, in order.
    pub fn evicted(&mut self) -> Vec<(u64, u64)> {
        self.shard.drain_evicted().map(|evicted| (evicted.key, evicted.value)).collect()
    }

    /// Plays text and returns the letters evicted, in order, separated by spaces.
    ///
    /// `a` looks a letter up and stores it where it is missing, `a:3` with weight 3; `a=3` stores it
    /// in any case; `-a` removes it; `@40` sets the capacity; `!` flushes.
    ///
    /// # Panics
    ///
    /// Where the text is not of this form.
    pub fn play(&mut self, operations: &str) -> String {
        for operation in operations.split_whitespace() {
            self.play_one(operation);
        }
        let letter = |key: u64| u8::try_from(key).map_or('?', char::from).to_string();
        let evicted: Vec<String> = self.evicted().iter().map(|&(key, _)| letter(key)).collect();
        evicted.join(" ")
    }

    fn play_one(&mut self, operation: &str) {
        let number = |text: &str| text.parse::<u32>().expect("a number");
        let key = |text: &str| text.bytes().next().map(u64::from).expect("a letter");
        if operation == "!" {
            self.shard.flush();
        } else if let Some(capacity) = operation.strip_prefix('@') {
            self.shard.set_capacity(u64::from(number(capacity)));
        } else if let Some(letter) = operation.strip_prefix('-') {
            self.remove(key(letter));
        } else if let Some((letter, weight)) = operation.split_once('=') {
            let _ = self.put(key(letter), number(weight));
        } else {
            let (letter, weight) = operation.split_once(':').unwrap_or((operation, "1"));
            self.request(key(letter), number(weight));
        }
    }
}
