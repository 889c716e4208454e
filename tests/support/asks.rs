//! Any bytes as the answer of a prefetch policy: what the host must make of them, and what it does.
//!
//! The guest `prefetch/parrot` writes the bytes that it is given where asks and keys are read. A test and a
//! fuzz target share this.

use std::collections::BTreeSet;

use ostler_abi::{
    ASK_BYTES, Access, AccessKind, Ask, Asks, CONFIDENCE_MAX, KEY_BYTES_MAX, NO_KEY, Setup,
    hash_bytes,
};
use ostler_core::PrefetchInstance as _;
use ostler_fetch::prefetch::{Accessed, Catalog, PrefetchConfig, Prefetcher};
use ostler_wasm::{PolicyModule, Runtime};

use crate::guests::guests_of;

/// Asks that the parrot's window holds.
const ASKS_CAP: usize = 8;
/// Bytes of its io buffer.
const IO_CAP: usize = 512;
/// Bytes that it repeats: a count, asks, the io buffer.
const ANSWER_BYTES: usize = size_of::<i32>() + ASKS_CAP * ASK_BYTES + IO_CAP;
/// Keys that carry the bytes to it.
const KEYS: usize = ANSWER_BYTES.div_ceil(KEY_BYTES_MAX);
/// Keys that went by: what can be asked for by its hash, and what pays for asks.
const KNOWN: u64 = 40;

/// An ask as the host reads it: hash, key where there is one, confidence.
type Asked = (u64, Option<Vec<u8>>, u32);

/// A guest that answers what it is told to.
pub struct Parrot(PolicyModule);

impl Parrot {
    /// The guest of the checkout.
    ///
    /// # Panics
    ///
    /// Where it is not there, or not admitted.
    #[must_use]
    pub fn new(runtime: &Runtime) -> Self {
        let guest = guests_of("prefetch").into_iter().find(|guest| guest.name == "parrot");
        Self(runtime.load(&guest.expect("the guest is there").module).expect("it is admitted"))
    }

    /// Has it answer with `bytes` (what is missing is zeros, what is too much is left out), and checks that
    /// the host takes the whole answer or none of it, as the contract says, and fetches nothing else.
    ///
    /// # Errors
    ///
    /// What was otherwise.
    ///
    /// # Panics
    ///
    /// Where the host does.
    pub fn check(&self, bytes: &[u8]) -> Result<(), String> {
        let mut answer = bytes.to_vec();
        answer.resize(KEYS * KEY_BYTES_MAX, 0);
        let access = |at: usize| Access {
            key_at: (at * KEY_BYTES_MAX) as u32,
            key_len: KEY_BYTES_MAX as u32,
            ..Access::new(AccessKind::Miss, at as u64)
        };
        let accesses: [Access; KEYS] = std::array::from_fn(access);
        let setup = Setup { capacity: 100, slots: 0, seed: 1 };
        let instance = self.0.instantiate_prefetch(setup, "{}");
        let mut instance = instance.map_err(|fault| fault.to_string())?;
        let (mut buffer, mut keys) = ([Ask::ZERO; 2 * ASKS_CAP], [0; 2 * ASKS_CAP * KEY_BYTES_MAX]);
        let mut asks = Asks::new(&mut buffer, &mut keys);
        let outcome = instance.predict(&accesses, &answer, &mut asks);
        let made: Vec<Asked> = asks
            .iter()
            .map(|(ask, key)| (ask.key_hash, key.map(<[u8]>::to_vec), ask.confidence))
            .collect();
        match (outcome, contract(&answer)) {
            (Ok(()), Some(expected)) if made == expected => fetch(&asks),
            (Err(fault), None) if fault.kind() == "bad_answer" && made.is_empty() => {
                let again = instance.predict(&accesses, &answer, &mut asks);
                let is_out = again == Err(fault) && asks.is_empty();
                if is_out { Ok(()) } else { Err(format!("a faulted guest answers {again:?}")) }
            }
            (outcome, expected) => Err(format!("{outcome:?}, {made:?}; expected {expected:?}")),
        }
    }
}

/// The asks in an answer, none where it breaks the contract: `sdk/ABI.md` §16, read anew.
fn contract(answer: &[u8]) -> Option<Vec<Asked>> {
    let word = |at: usize| {
        let bytes = answer[at..at + 4].try_into().expect("four bytes");
        u32::from_le_bytes(bytes)
    };
    let count = word(0) as usize;
    if count > ASKS_CAP {
        return None;
    }
    let io = &answer[ANSWER_BYTES - IO_CAP..ANSWER_BYTES];
    let mut asked = Vec::new();
    for at in (4..).step_by(ASK_BYTES).take(count) {
        let hash = u64::from(word(at)) | u64::from(word(at + 4)) << 32;
        let (key_at, key_len, confidence) = (word(at + 8), word(at + 12), word(at + 16));
        if confidence > CONFIDENCE_MAX {
            return None;
        }
        if key_at == NO_KEY {
            asked.push((hash, None, confidence));
            continue;
        }
        let (start, len) = (key_at as usize, key_len as usize);
        if len == 0 || len > KEY_BYTES_MAX || start + len > IO_CAP {
            return None;
        }
        asked.push((0, Some(io[start..start + len].to_vec()), confidence));
    }
    Some(asked)
}

/// A cache that holds every key whose first byte is even.
struct Halves;

impl Catalog for Halves {
    fn hash_of(&self, key: &[u8]) -> Option<u64> {
        Some(hash_bytes(key, 0))
    }

    fn is_resident(&self, _hash: u64, key: &[u8]) -> bool {
        key.first().is_some_and(|byte| byte % 2 == 0)
    }
}

/// What the host makes of asks: each key is fetched once, and only where it is known and not resident.
fn fetch(asks: &Asks<'_>) -> Result<(), String> {
    let mut prefetcher = Prefetcher::new(PrefetchConfig::default());
    for number in 0..KNOWN {
        let key = number.to_le_bytes();
        let (hash, key) = (hash_bytes(&key, 0), Some(&key[..]));
        prefetcher.accessed(Accessed { hash, key, time_ms: number, class: 0, is_hit: false });
    }
    let mut fetches = Vec::new();
    prefetcher.answered(asks, &Halves, KNOWN, &mut fetches);
    let counters = prefetcher.counters();
    let refused = counters.refused_budget
        + counters.refused_resident
        + counters.refused_queue
        + counters.refused_unknown;
    let mut hashes = BTreeSet::new();
    let asked: Vec<_> = asks.iter().collect();
    for fetch in &fetches {
        let is_asked = asked.iter().any(|(ask, key)| match key {
            Some(key) => **key == *fetch.key,
            None => ask.key_hash == fetch.hash,
        });
        let is_sound = Halves.hash_of(&fetch.key) == Some(fetch.hash)
            && !Halves.is_resident(fetch.hash, &fetch.key)
            && (1..=KEY_BYTES_MAX).contains(&fetch.key.len());
        if !is_asked || !is_sound || !hashes.insert(fetch.hash) {
            return Err(format!("{fetch:?} is fetched, of {asked:?}"));
        }
    }
    let counts = (counters.asks, counters.fetches, prefetcher.under_way());
    let expected = (asked.len() as u64, fetches.len() as u64, fetches.len());
    let is_whole = counts == expected && refused + counters.fetches == counters.asks;
    if is_whole { Ok(()) } else { Err(format!("{counters:?} of {asked:?}")) }
}
