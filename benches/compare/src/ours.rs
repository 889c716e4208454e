//! Ostler's live cache behind [`Contender`]: its policies in Wasm and compiled in, and its options.
//!
//! The shards, the window of notes and all else are the cache's own defaults; only the policy and the
//! hasher are set.

use std::marker::PhantomData;
use std::time::Duration;

use anyhow::{Context, Result};
use ostler::{Cache, CacheBuilder};

use crate::contender::{Account, Bytes, Contender, Family, Heard, Key, SharedHasher};
use crate::roster::{Row, SHARED_HASHER, Standing};

/// The name of the row with everything as it comes.
pub const OWN_SHARDS: &str = "ostler-s3fifo";

/// A builder of ours with the types of the comparison.
type Builder<K> = CacheBuilder<K, Bytes, SharedHasher>;

/// How a row of ours is built.
pub trait Variant: 'static {
    /// The policy in charge, as the library names it.
    const POLICY: &'static str;

    /// What is set beside policy and hasher: nothing, unless the row is about an option.
    #[must_use]
    fn configure<K: Key>(builder: Builder<K>) -> Builder<K> {
        builder
    }
}

/// S3-FIFO in Wasm.
pub struct S3Fifo;
/// SIEVE in Wasm.
pub struct Sieve;
/// LRU in Wasm.
pub struct Lru;
/// S3-FIFO compiled in.
pub struct NativeS3Fifo;
/// SIEVE compiled in.
pub struct NativeSieve;
/// S3-FIFO in Wasm, and every entry with a time to live.
pub struct WithTimeToLive;
/// S3-FIFO in Wasm, and every entry with a time to idle.
pub struct WithTimeToIdle;
/// S3-FIFO in Wasm, and every entry weighed: 1 all the same.
pub struct WithWeigher;

impl Variant for S3Fifo {
    const POLICY: &'static str = "s3fifo";
}

impl Variant for Sieve {
    const POLICY: &'static str = "sieve";
}

impl Variant for Lru {
    const POLICY: &'static str = "lru";
}

impl Variant for NativeS3Fifo {
    const POLICY: &'static str = "native:s3fifo";
}

impl Variant for NativeSieve {
    const POLICY: &'static str = "native:sieve";
}

/// Long enough that nothing expires while it is weighed.
const AN_HOUR: Duration = Duration::from_secs(3_600);

impl Variant for WithTimeToLive {
    const POLICY: &'static str = "s3fifo";

    fn configure<K: Key>(builder: Builder<K>) -> Builder<K> {
        builder.time_to_live(AN_HOUR)
    }
}

impl Variant for WithTimeToIdle {
    const POLICY: &'static str = "s3fifo";

    fn configure<K: Key>(builder: Builder<K>) -> Builder<K> {
        builder.time_to_idle(AN_HOUR)
    }
}

impl Variant for WithWeigher {
    const POLICY: &'static str = "s3fifo";

    fn configure<K: Key>(builder: Builder<K>) -> Builder<K> {
        builder.weigher(|_, _| 1)
    }
}

/// The family of a variant.
pub struct Ours<V>(PhantomData<V>);

/// A cache of ours, built as its variant says.
pub struct OursCache<K, V> {
    cache: Cache<K, Bytes, SharedHasher>,
    variant: PhantomData<fn() -> V>,
}

impl<V: Variant> Family for Ours<V> {
    type Cache<K: Key> = OursCache<K, V>;
}

impl<K: Key, V: Variant> Contender<K> for OursCache<K, V> {
    fn build(capacity: usize) -> Result<Self> {
        let policy = ostler::policy(V::POLICY).context(V::POLICY)?;
        let builder = Cache::<K, Bytes>::builder(capacity as u64);
        let builder = builder.hasher(SharedHasher::default()).policy(policy);
        let cache = V::configure(builder).build().context(V::POLICY)?;
        Ok(Self { cache, variant: PhantomData })
    }

    fn get(&self, key: &K) -> Option<Bytes> {
        self.cache.get(key)
    }

    fn insert(&self, key: K, value: Bytes) {
        let _stored = self.cache.insert(key, value);
    }

    fn settle(&self) {
        self.cache.run_pending();
    }

    fn resident(&self) -> Option<usize> {
        usize::try_from(self.cache.len()).ok()
    }

    fn account(&self) -> Option<Account> {
        let stats = self.cache.stats();
        Some(Account {
            // Hits whose entry left before they were handed over are in neither of the two.
            heard: Heard::Of {
                hits: stats.hits,
                noted: stats.hits_delivered + stats.hits_coalesced,
            },
            guest_memory_bytes: stats.guest_memory_bytes,
        })
    }
}

/// The rows of ours.
#[must_use]
pub fn rows() -> Vec<Row> {
    let played = Standing::Ours;
    let weighed = Standing::Option;
    let package = "ostler";
    vec![
        Row::of::<Ours<S3Fifo>>(OWN_SHARDS, played, package, SHARED_HASHER),
        Row::of::<Ours<Sieve>>("ostler-sieve", played, package, SHARED_HASHER),
        Row::of::<Ours<Lru>>("ostler-lru", played, package, SHARED_HASHER),
        Row::of::<Ours<NativeS3Fifo>>("ostler-native-s3fifo", played, package, SHARED_HASHER),
        Row::of::<Ours<NativeSieve>>("ostler-native-sieve", played, package, SHARED_HASHER),
        Row::of::<Ours<WithTimeToLive>>("ostler-s3fifo + TTL", weighed, package, SHARED_HASHER),
        Row::of::<Ours<WithTimeToIdle>>("ostler-s3fifo + TTI", weighed, package, SHARED_HASHER),
        Row::of::<Ours<WithWeigher>>("ostler-s3fifo + weigher", weighed, package, SHARED_HASHER),
    ]
}
