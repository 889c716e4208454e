//! follow-up: asks for the key that came after this one the last times.
//!
//! Idea: for each key, the one that was requested right after it is remembered, and how often in a row
//! that was so. When the key comes again and that is sure enough, the other one is asked for.
//!
//! Memory: 24 bytes a place in a table of fixed size. Cost: O(1) a record.
#![cfg_attr(target_arch = "wasm32", no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::boxed::Box;
use alloc::vec;

use ostler_policy::{Access, Asks, Prefetch, Setup};

/// A key is sure to be followed by another after this many times in a row.
const SURE_MAX: u32 = 3;

/// What is remembered of one key; keys are known by their hash.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    key: u64,
    next: u64,
    /// How often `next` came after `key` again, less how often it did not.
    sure: u32,
}

/// The state. There is one instance for a whole cache, and it hears of all requests in their order.
#[derive(Debug)]
pub struct FollowUp {
    /// A newer key takes the place of an older one: memory is bounded.
    places: Box<[Place]>,
    last: Option<u64>,
    sure_min: u32,
}

impl FollowUp {
    fn place(&mut self, key: u64) -> &mut Place {
        let index = key % self.places.len() as u64;
        &mut self.places[index as usize]
    }

    /// Remembers that `next` came after `key`.
    fn learn(&mut self, key: u64, next: u64) {
        let place = self.place(key);
        if place.key != key {
            *place = Place { key, next, sure: 0 };
        } else if place.next == next {
            place.sure = (place.sure + 1).min(SURE_MAX);
        } else if place.sure > 0 {
            place.sure -= 1;
        } else {
            place.next = next;
        }
    }
}

impl Prefetch for FollowUp {
    type Params = FollowUpParams;

    /// A policy that has heard nothing.
    fn new(_: &Setup, params: &Self::Params) -> Self {
        let places = usize::try_from(params.places).unwrap_or(1);
        let sure_min = u32::try_from(params.sure).unwrap_or(SURE_MAX);
        Self { places: vec![Place::default(); places].into(), last: None, sure_min }
    }

    /// One record: a request, or what became of an ask.
    fn access(&mut self, access: &Access, _: Option<&[u8]>, asks: &mut Asks<'_>) {
        if !access.kind().is_some_and(|kind| kind.is_request()) {
            return;
        }
        let key = access.key_hash;
        if let Some(last) = self.last.replace(key) {
            self.learn(last, key);
        }
        let Place { key: known, next, sure } = *self.place(key);
        if known == key && sure >= self.sure_min {
            // The host fetches the surest first where it may not fetch everything.
            asks.ask_hash(next, sure * 20_000);
        }
    }
}

// What the policy says about itself, and on wasm32 the exports of the module.
ostler_policy::export_prefetch! {
    policy: FollowUp,
    name: "follow-up",
    summary: "Asks for the key that came after this one the last times.",
    base_bytes: 1048576,
    params: FollowUpParams {
        places: int = 16384, 1..=32768, "How many keys are remembered.";
        sure: int = 1, 1..=3, "How often in a row it must have been the same key.";
    }
}

#[cfg(test)]
mod tests {
    use ostler_policy::check::{native_prefetch_factory, prefetch_conformance};
    use ostler_policy::{Access, AccessKind, Ask, Asks, Setup};

    /// What is asked for while these keys, a letter each, are requested.
    fn asked(params: &str, requests: &str) -> String {
        let setup = Setup { capacity: 100, slots: 0, seed: 0 };
        let mut policy = (super::NATIVE.build)(setup, params).expect("the parameters are valid");
        let mut letters = String::new();
        for letter in requests.bytes() {
            let (mut buffer, mut keys) = ([Ask::ZERO; 4], [0; 64]);
            let mut asks = Asks::new(&mut buffer, &mut keys);
            let access = Access::new(AccessKind::Miss, u64::from(letter));
            policy.predict(&[access], &[], &mut asks);
            letters.extend(asks.iter().map(|(ask, _)| ask.key_hash as u8 as char));
        }
        letters
    }

    #[test]
    fn what_came_twice_in_a_row_is_asked_for() {
        let cases = [
            // requests, what is asked for
            ("ab", ""),
            ("abab", ""),
            ("ababa", "b"),
            ("abcabcabc", "bca"),
            ("abxabxacxa", "ba"),
        ];
        for (requests, asks) in cases {
            assert_eq!(asked("", requests), asks, "{requests}");
        }
        assert_eq!(asked(r#"{"sure": 3}"#, "ababab"), "");
    }

    #[test]
    fn keeps_the_contract() {
        let report = prefetch_conformance(&mut native_prefetch_factory(&super::NATIVE, ""));
        assert_eq!(report.first_failure(), None);
    }
}
