//! The sequences in which keys come again: what followed a key the last time.
//!
//! A ring holds the hashes of the requests that missed, or would have without prefetching, in order
//! and with their times. A key that comes again finds its latest place there; what followed it then,
//! later than a fetch takes, is expected again. How much of what came before also agrees tells how
//! sure that is.

use alloc::vec;
use alloc::vec::Vec;

use ostler_policy::{Access, AccessKind, Guesses};

/// Places for guesses.
const GUESSES: u32 = 1 << 13;
/// Requests before a place that are compared, and how many of the latest with them.
const CONTEXT_LEN: u32 = 8;
/// Followers that are guessed, from the first that a fetch would not be late for.
const FOLLOWERS: u32 = 8;
/// Followers looked through for that first one.
const SKIPPED_MAX: u32 = 1024;
/// Classes of how long ago the last time was, in requests of the ring.
const AGE_CLASSES: u32 = 4;
const CONTEXTS: u32 = (CONTEXT_LEN + 1) * FOLLOWERS * AGE_CLASSES;

/// The miner. See the file's header.
#[derive(Debug)]
pub(crate) struct Sequences {
    /// Hash and time, at the number of its request modulo the length, a power of two.
    hashes: Vec<u64>,
    times: Vec<u32>,
    /// The latest request of a hash, by some of its bits: its number and 1, modulo 2^32.
    latest: Vec<u32>,
    /// Requests in the ring so far, modulo 2^32.
    len: u32,
    guesses: Guesses,
    confidence_min: u32,
}

impl Sequences {
    /// Nothing heard so far, about `history` requests remembered, and wishes from `confidence_min` on.
    pub(crate) fn new(history: u32, confidence_min: u32) -> Self {
        let places = history.clamp(64, 1 << 24).next_power_of_two() as usize;
        Self {
            hashes: vec![0; places],
            times: vec![0; places],
            latest: vec![0; 2 * places],
            len: 0,
            guesses: Guesses::new(CONTEXTS as u16, GUESSES),
            confidence_min,
        }
    }

    /// Takes in a record and tells `wish` the hashes of keys that are worth a fetch, each with its
    /// confidence.
    pub(crate) fn hear(&mut self, access: &Access, wish: &mut dyn FnMut(u64, u32)) {
        self.guesses.hear(access, Some(access.key_hash));
        if !matches!(access.kind(), Some(AccessKind::Miss | AccessKind::Useful | AccessKind::Late))
        {
            return;
        }
        if let Some(before) = self.find(access.key_hash) {
            self.follow(before, wish);
        }
        self.note(access.key_hash);
    }

    /// Guesses what followed the request with this number.
    fn follow(&mut self, before: u32, wish: &mut dyn FnMut(u64, u32)) {
        let (time, latency) = (self.time(before), self.guesses.latency());
        let newer = self.len.wrapping_sub(before);
        let is_in_time =
            |more: &u32| self.time(before.wrapping_add(*more)).wrapping_sub(time) > latency;
        let Some(first) = (1..newer.min(SKIPPED_MAX)).find(is_in_time) else { return };
        let age = (newer.ilog2() / 4).saturating_sub(1).min(AGE_CLASSES - 1);
        let context = (age * (CONTEXT_LEN + 1) + self.agreement(before)) * FOLLOWERS;
        for at in 0..FOLLOWERS.min(newer - first) {
            let hash = self.hash(before.wrapping_add(first + at));
            let guess = self.guesses.guess(hash, (context + at) as u16, self.confidence_min);
            if let Some(confidence) = guess {
                wish(hash, confidence);
            }
        }
    }

    /// How many of the latest requests came before this one as well, in whatever order.
    fn agreement(&self, before: u32) -> u32 {
        let held = (self.hashes.len() as u32).min(self.len);
        (1..=CONTEXT_LEN.min(held))
            .filter(|back| {
                let latest = self.hash(self.len.wrapping_sub(*back));
                (1..=CONTEXT_LEN + CONTEXT_LEN / 2)
                    .any(|back| self.hash(before.wrapping_sub(back)) == latest)
            })
            .count() as u32
    }

    /// The number of the latest request of `hash` that the ring still holds.
    fn find(&self, hash: u64) -> Option<u32> {
        let number = self.latest[self.index(hash)].wrapping_sub(1);
        let age = self.len.wrapping_sub(number);
        // The oldest leave room for what is compared before them.
        let held = self.hashes.len() as u32 - 2 * CONTEXT_LEN;
        (self.hash(number) == hash && (1..=held).contains(&age)).then_some(number)
    }

    fn note(&mut self, hash: u64) {
        let (at, index) = (self.at(self.len), self.index(hash));
        self.hashes[at] = hash;
        self.times[at] = self.guesses.now();
        self.len = self.len.wrapping_add(1);
        self.latest[index] = self.len;
    }

    fn hash(&self, number: u32) -> u64 {
        self.hashes[self.at(number)]
    }

    fn time(&self, number: u32) -> u32 {
        self.times[self.at(number)]
    }

    fn at(&self, number: u32) -> usize {
        number as usize & (self.hashes.len() - 1)
    }

    fn index(&self, hash: u64) -> usize {
        (hash >> 20) as usize & (self.latest.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ostler_policy::hash_u64;

    /// Requests for keys by number, all of them misses; what was wished for at the last.
    fn wishes(keys: impl IntoIterator<Item = u64>) -> Vec<u64> {
        let mut sequences = Sequences::new(1 << 10, 60 * 655);
        let mut last = Vec::new();
        for key in keys {
            last.clear();
            let miss = Access::new(AccessKind::Miss, hash_u64(key, 0));
            sequences.hear(&miss, &mut |hash, _| last.push(hash));
        }
        last
    }

    #[test]
    fn a_loop_is_asked_for_ahead_of_the_latency() {
        let rounds = (0..4).flat_map(|_| 0..500).chain(0..100);
        // The latest is 99; a fetch takes 16, so 116 is the first follower in time, 123 the last.
        assert_eq!(wishes(rounds), [hash_u64(123, 0)]);
    }

    #[test]
    fn a_loop_longer_than_the_history_is_not_known() {
        assert_eq!(wishes((0..4).flat_map(|_| 0..1100)), []);
    }

    #[test]
    fn no_structure_no_wishes() {
        let mut sequences = Sequences::new(1 << 16, 60 * 655);
        for request in 0..200_000 {
            let miss = Access::new(AccessKind::Miss, hash_u64(hash_u64(request, 1) % 50_000, 0));
            sequences.hear(&miss, &mut |_, _| panic!("a wish at request {request}"));
        }
    }

    #[test]
    fn only_what_would_miss_is_remembered() {
        let mut sequences = Sequences::new(256, 60 * 655);
        for kind in AccessKind::ALL {
            sequences.hear(&Access::new(kind, hash_u64(1, 0)), &mut |_, _| {});
        }
        // A miss, a useful hit and a late demand.
        assert_eq!(sequences.len, 3);
    }
}
