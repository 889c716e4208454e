//! The offline optimum for equal weights.
//!
//! On a miss with a full cache the entry goes whose next request lies farthest ahead (L. Belady,
//! "A study of replacement algorithms for a virtual-storage computer", IBM Systems Journal 5(2),
//! 1966, there called MIN). No policy that must keep every newcomer has more hits; a policy that
//! may reject newcomers is bounded by the same rule with the newcomer among the candidates
//! ([`Admission::Optional`]).
//!
//! Next requests are found by a pass over the trace from its end; nothing is taken from the trace's
//! own annotations. Time O(n log c) for n records and capacity c, memory 12 bytes a record, 16 bytes a
//! key and at most 32 bytes an entry of capacity (at the start 20 to 40 bytes a key more).

use std::collections::BinaryHeap;

use crate::trace::{KeyNumbers, Operation, Request};

/// Whether newcomers may be turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Every miss inserts: Belady's MIN, and what libCacheSim's `belady` computes.
    Always,
    /// A newcomer whose next request is farthest is not admitted.
    Optional,
}

/// What a record did to the optimal cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BeladyStep {
    /// The key was resident.
    Hit,
    /// The key was not resident. If the cache was full (and has a capacity at all), `victim` is the
    /// key that went: the request's own if it was not admitted.
    Miss {
        /// The key evicted or rejected, if any.
        victim: Option<u64>,
    },
    /// The record is a delete, no request.
    Deleted,
}

/// Stands for "not resident" where the next request of a resident entry is kept.
const ABSENT: u64 = 0;

/// The optimal cache, one step a record.
///
/// An iterator over [`BeladyStep`]s; the n-th belongs to the n-th record.
pub struct Belady<'a> {
    requests: &'a [Request],
    capacity: u64,
    admission: Admission,
    /// The dense number of each record's key.
    numbers: Vec<u32>,
    /// When the key of each record is requested next, see [`next_requests`].
    next: Vec<u64>,
    /// By key number: the key.
    keys: Vec<u64>,
    /// By key number: when a resident entry is requested next, or [`ABSENT`].
    resident_next: Vec<u64>,
    residents: u64,
    /// (next request, key number) of all residents, the farthest on top, and of entries that have
    /// since been requested again or removed. Next requests are unique, so an entry counts exactly
    /// if `resident_next` agrees.
    farthest: BinaryHeap<(u64, u32)>,
    index: usize,
}

impl<'a> Belady<'a> {
    /// The optimum for a cache of `capacity` objects, each of weight 1. Reads the trace once.
    #[must_use]
    pub fn new(requests: &'a [Request], capacity: u64, admission: Admission) -> Self {
        let mut seen = KeyNumbers::default();
        let mut keys = Vec::new();
        let number = |request: &Request| {
            let number = seen.number(request.key);
            if number as usize == keys.len() {
                keys.push(request.key);
            }
            number
        };
        let numbers: Vec<u32> = requests.iter().map(number).collect();
        let next = next_requests(requests, &numbers, keys.len());
        let resident_next = vec![ABSENT; keys.len()];
        Self {
            requests,
            capacity,
            admission,
            numbers,
            next,
            keys,
            resident_next,
            residents: 0,
            farthest: BinaryHeap::new(),
            index: 0,
        }
    }

    fn step(&mut self, request: &Request) -> BeladyStep {
        let (number, next) = (self.numbers[self.index], self.next[self.index]);
        let is_resident = self.resident_next[number as usize] != ABSENT;
        if request.operation() == Operation::Delete {
            self.resident_next[number as usize] = ABSENT;
            self.residents -= u64::from(is_resident);
            return BeladyStep::Deleted;
        }
        if is_resident {
            self.keep(number, next);
            return BeladyStep::Hit;
        }
        if self.capacity == 0 {
            return BeladyStep::Miss { victim: None };
        }
        let mut victim = None;
        if self.residents == self.capacity {
            let (victim_next, victim_number) = self.farthest_resident();
            if self.admission == Admission::Optional && next > victim_next {
                return BeladyStep::Miss { victim: Some(request.key) };
            }
            self.farthest.pop();
            self.resident_next[victim_number as usize] = ABSENT;
            self.residents -= 1;
            victim = Some(self.keys[victim_number as usize]);
        }
        self.residents += 1;
        self.keep(number, next);
        BeladyStep::Miss { victim }
    }

    /// Notes that a resident key is requested next at `next`.
    fn keep(&mut self, number: u32, next: u64) {
        self.resident_next[number as usize] = next;
        self.farthest.push((next, number));
        // Outdated entries are dropped once they outnumber the residents: O(1) a push.
        if self.farthest.len() as u64 > 2 * self.residents + 64 {
            let resident_next = &self.resident_next;
            self.farthest.retain(|&(next, number)| resident_next[number as usize] == next);
        }
    }

    /// The resident that is requested last, left on top. There must be a resident.
    fn farthest_resident(&mut self) -> (u64, u32) {
        loop {
            let &(next, number) = self.farthest.peek().expect("invariant: residents are queued");
            if self.resident_next[number as usize] == next {
                return (next, number);
            }
            self.farthest.pop();
        }
    }
}

impl Iterator for Belady<'_> {
    type Item = BeladyStep;

    fn next(&mut self) -> Option<BeladyStep> {
        let request = self.requests.get(self.index)?;
        let step = self.step(request);
        self.index += 1;
        Some(step)
    }
}

/// For each record the index of the next request of its key. A key that is not requested again, or
/// deleted before, gets `u64::MAX` minus the record's index: farther than any request, and unique,
/// so that among those the one that has lain longest goes first.
fn next_requests(requests: &[Request], numbers: &[u32], keys: usize) -> Vec<u64> {
    let mut upcoming: Vec<Option<u64>> = vec![None; keys];
    let mut next = vec![0; requests.len()];
    for (index, request) in requests.iter().enumerate().rev() {
        let upcoming = &mut upcoming[numbers[index] as usize];
        next[index] = upcoming.unwrap_or(u64::MAX - index as u64);
        *upcoming = request.is_request().then_some(index as u64);
    }
    next
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Requests from letters; a letter after `-` is deleted.
    fn requests(text: &str) -> Vec<Request> {
        text.split_whitespace()
            .map(|word| match word.strip_prefix('-') {
                Some(key) => Request::get(0, key_of(key), 1).with_operation(Operation::Delete),
                None => Request::get(0, key_of(word), 1),
            })
            .collect()
    }

    fn key_of(word: &str) -> u64 {
        u64::from(word.as_bytes()[0])
    }

    /// One word a record: `+` hit, `.` miss, `.x` miss that evicts x, `_` delete.
    fn outcome(text: &str, capacity: u64, admission: Admission) -> String {
        let requests = requests(text);
        let words: Vec<String> = Belady::new(&requests, capacity, admission)
            .map(|step| match step {
                BeladyStep::Hit => "+".to_owned(),
                BeladyStep::Miss { victim: None } => ".".to_owned(),
                BeladyStep::Miss { victim: Some(key) } => {
                    format!(".{}", char::from(u8::try_from(key).unwrap()))
                }
                BeladyStep::Deleted => "_".to_owned(),
            })
            .collect();
        words.join(" ")
    }

    #[test]
    fn worked_examples() {
        use Admission::{Always, Optional};
        for (text, capacity, admission, expected) in [
            // The textbook's page references with three frames: nine faults.
            (
                "7 0 1 2 0 3 0 4 2 3 0 3 2 1 2 0 1 7 0 1",
                3,
                Always,
                ". . . .7 + .1 + .0 + + .4 + + .3 + + + .2 + +",
            ),
            ("a b a", 1, Always, ". .a .b"),
            ("a b a", 1, Optional, ". .b +"),
            // Among keys that are never requested again, the one that has lain longest goes.
            ("a b c d", 2, Always, ". . .a .b"),
            ("a b a", 0, Always, ". . ."),
            ("a a a", 1, Always, ". + +"),
            // A delete makes room, and a key that will be deleted is worth nothing.
            ("a b -a c b", 2, Always, ". . _ . +"),
            ("a b c -a a b c", 2, Always, ". . .a _ .c + .a"),
            ("-a a -a -a a", 1, Always, "_ . _ _ ."),
        ] {
            assert_eq!(outcome(text, capacity, admission), expected, "{text:?} at {capacity}");
        }
    }

    fn hits(requests: &[Request], capacity: u64, admission: Admission) -> usize {
        Belady::new(requests, capacity, admission).filter(|step| *step == BeladyStep::Hit).count()
    }

    /// The most hits that any choice of victims gives, by trying them all.
    fn most_hits(rest: &[Request], cache: &[u64], rule: (usize, Admission)) -> usize {
        let (capacity, admission) = rule;
        let Some((request, rest)) = rest.split_first() else { return 0 };
        let mut without = cache.to_vec();
        without.retain(|&key| key != request.key);
        if request.operation() == Operation::Delete {
            return most_hits(rest, &without, rule);
        }
        if cache.contains(&request.key) {
            return 1 + most_hits(rest, cache, rule);
        }
        let mut most = 0;
        if admission == Admission::Optional || capacity == 0 {
            most = most_hits(rest, cache, rule);
        }
        if capacity == 0 {
            return most;
        }
        let with_newcomer = |mut kept: Vec<u64>| {
            kept.push(request.key);
            kept
        };
        if cache.len() < capacity {
            return most.max(most_hits(rest, &with_newcomer(cache.to_vec()), rule));
        }
        for victim in 0..cache.len() {
            let mut kept = cache.to_vec();
            kept.remove(victim);
            most = most.max(most_hits(rest, &with_newcomer(kept), rule));
        }
        most
    }

    fn short_trace() -> impl Strategy<Value = Vec<Request>> {
        let record = (0u64..6, 0u8..8).prop_map(|(key, operation)| match operation {
            0 => Request::get(0, key, 1).with_operation(Operation::Delete),
            1 => Request::get(0, key, 1).with_operation(Operation::Set),
            _ => Request::get(0, key, 1),
        });
        prop::collection::vec(record, 0..14)
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None, ..ProptestConfig::default()
        })]

        #[test]
        fn no_choice_of_victims_has_more_hits(trace in short_trace(), capacity in 0usize..4) {
            for admission in [Admission::Always, Admission::Optional] {
                let best = most_hits(&trace, &[], (capacity, admission));
                prop_assert_eq!(hits(&trace, capacity as u64, admission), best);
            }
        }
    }

    /// The queue of next requests is cleaned often enough to stay near the capacity.
    #[test]
    fn memory_stays_near_the_capacity() {
        let loops: Vec<Request> = (0..50_000).map(|i| Request::get(0, i % 10, 1)).collect();
        let mut belady = Belady::new(&loops, 10, Admission::Always);
        let mut longest = 0;
        while let Some(step) = belady.next() {
            assert!(step == BeladyStep::Hit || belady.index <= 10);
            longest = longest.max(belady.farthest.len());
        }
        assert!(longest <= 2 * 10 + 64, "{longest}");
    }

    #[test]
    fn more_capacity_never_means_fewer_hits() {
        let source: crate::TraceSource = "zipf(n=20000,keys=2000,seed=5)".parse().unwrap();
        let trace = source.load(20_000).unwrap();
        let counts: Vec<usize> = [1, 10, 100, 1000, 2000]
            .iter()
            .map(|&capacity| hits(&trace, capacity, Admission::Always))
            .collect();
        assert!(counts.is_sorted(), "{counts:?}");
        let unique = crate::Footprint::of(&trace).unique_objects;
        assert_eq!(counts[4] as u64, 20_000 - unique);
    }
}
