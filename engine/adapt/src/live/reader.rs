//! From records to requests: what the shadows are to play.
//!
//! Only gets are requests. A miss and the insert that answers it come as two records, maybe far apart;
//! the miss is held back until the insert comes. It knows neither shadows nor caches.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use ostler_abi::{Kind, Record};
use ostler_core::{Access, SampleShare};

use crate::panel::Panel;
use crate::shadow::{Sampled, Shadow};

/// Time within which an insert answers a miss, milliseconds: that of a slow origin.
const ANSWER_MS_MAX: u64 = 10_000;
/// Misses that are held back at most; beyond, the oldest is given up.
const WAITING_MAX: usize = 8192;
/// Places in the order of misses, those that were settled among them, beyond which it is tidied up.
const ORDER_MAX: usize = 4 * WAITING_MAX;

/// What requests are played to.
pub trait Requests {
    /// A get that a put follows where it misses: one that hit in the cache, or one that missed there and
    /// was answered by a put of this weight, which overwrites what is held under another weight. `live`
    /// says whether the cache hit.
    fn request(&mut self, request: &Sampled, live: bool);
    /// A get that missed in the cache and that no put followed.
    fn get(&mut self, request: &Sampled);
    /// A write that answers no get.
    fn put(&mut self, request: &Sampled);
    /// A removal or an expiry.
    fn remove(&mut self, request: &Sampled);
}

impl Requests for Panel {
    fn request(&mut self, request: &Sampled, live: bool) {
        self.set(request, live);
    }

    fn get(&mut self, request: &Sampled) {
        Self::get(self, request, false);
    }

    fn put(&mut self, request: &Sampled) {
        Self::put(self, request);
    }

    fn remove(&mut self, request: &Sampled) {
        Self::remove(self, request);
    }
}

impl Requests for Shadow {
    fn request(&mut self, request: &Sampled, _live: bool) {
        self.set(request);
    }

    fn get(&mut self, request: &Sampled) {
        Self::get(self, request);
    }

    fn put(&mut self, request: &Sampled) {
        Self::put(self, request);
    }

    fn remove(&mut self, request: &Sampled) {
        Self::remove(self, request);
    }
}

/// Keys of the table are hashes already, and salted ones.
#[derive(Clone, Copy, Debug, Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// Reads records of one or all shards as requests.
///
/// - A hit is as many gets as it counts. The first may miss in a shadow, which then stores the entry.
/// - A miss followed by the insert of its key is a get that missed and was answered. Where none comes
///   within ten seconds by the records' time, more than 8,192 misses wait, or something else happens to
///   the key, it is a get without an answer, and tells neither weight nor cost.
/// - An insert without a miss, and an update, is a write, and no request: also those gets that an update
///   counts in, which cannot be told from writes.
/// - A removal and an expiry are removals.
#[derive(Debug, Default)]
pub struct Reader {
    /// Misses without an answer so far, by the hash of their key, with their number.
    waiting: HashMap<u64, (u64, Sampled), BuildHasherDefault<AsItIs>>,
    /// The same in order; a miss whose number differs was settled.
    order: VecDeque<(u64, u64)>,
    /// Misses read.
    misses: u64,
    /// The latest time that a record named, milliseconds.
    now_ms: u64,
}

impl Reader {
    /// A reader that has read nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Plays what `records` say of keys in `share`. Cost: a look-up for each record while misses wait.
    pub fn read(&mut self, records: &[Record], share: SampleShare, to: &mut impl Requests) {
        for record in records {
            if share.includes(record.key_hash) {
                self.read_one(record, to);
            }
        }
    }

    fn read_one(&mut self, record: &Record, to: &mut impl Requests) {
        self.now_ms = self.now_ms.max(record.time_ms);
        if !self.order.is_empty() {
            self.give_up(to);
        }
        let Some(kind) = record.kind() else { return };
        let sampled = sampled(record);
        let waiting = if self.waiting.is_empty() {
            None
        } else {
            self.waiting.remove(&sampled.hash).map(|(_, miss)| miss)
        };
        if let Some(miss) = waiting
            && kind != Kind::Insert
        {
            to.get(&miss);
        }
        match kind {
            Kind::Hit => (0..record.count.max(1)).for_each(|_| to.request(&sampled, true)),
            Kind::Miss => {
                self.misses += 1;
                self.waiting.insert(sampled.hash, (self.misses, sampled));
                self.order.push_back((self.misses, sampled.hash));
            }
            Kind::Insert if waiting.is_some() => to.request(&sampled, false),
            Kind::Insert | Kind::Update => to.put(&sampled),
            Kind::Remove | Kind::Expire => to.remove(&sampled),
            _ => {}
        }
    }

    /// Plays the misses that waited too long.
    fn give_up(&mut self, to: &mut impl Requests) {
        while let Some(&(number, hash)) = self.order.front() {
            let miss = self.waiting.get(&hash).filter(|&&(other, _)| other == number);
            let is_patient = miss.is_some_and(|(_, miss)| {
                self.waiting.len() <= WAITING_MAX
                    && self.now_ms.saturating_sub(miss.access.time_ms) <= ANSWER_MS_MAX
            });
            if is_patient {
                break;
            }
            let is_given_up = miss.is_some();
            self.order.pop_front();
            if is_given_up && let Some((_, miss)) = self.waiting.remove(&hash) {
                to.get(&miss);
            }
        }
        if self.order.len() > ORDER_MAX {
            let waiting = &self.waiting;
            self.order.retain(|&(number, hash)| {
                waiting.get(&hash).is_some_and(|&(other, _)| other == number)
            });
        }
    }
}

fn sampled(record: &Record) -> Sampled {
    let Record { key_hash, time_ms, weight, cost_us, class, .. } = *record;
    Sampled { hash: key_hash, weight, access: Access { time_ms, cost_us, class } }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes down what is played.
    #[derive(Default)]
    struct Script(Vec<(&'static str, u64, u32)>);

    impl Requests for Script {
        fn request(&mut self, request: &Sampled, live: bool) {
            let word = if live { "hit" } else { "answered" };
            self.0.push((word, request.hash, request.weight));
        }
        fn get(&mut self, request: &Sampled) {
            self.0.push(("unanswered", request.hash, 0));
        }
        fn put(&mut self, request: &Sampled) {
            self.0.push(("put", request.hash, request.weight));
        }
        fn remove(&mut self, request: &Sampled) {
            self.0.push(("remove", request.hash, 0));
        }
    }

    fn record(kind: Kind, key_hash: u64, weight: u32) -> Record {
        Record { key_hash, weight, ..Record::new(kind, 0) }
    }

    fn played(records: &[Record]) -> Vec<(&'static str, u64, u32)> {
        let mut script = Script::default();
        Reader::new().read(records, SampleShare::ALL, &mut script);
        script.0
    }

    #[test]
    fn records_become_requests() {
        let hits = Record { count: 3, ..record(Kind::Hit, 7, 5) };
        for (records, expected) in [
            (vec![hits], vec![("hit", 7, 5); 3]),
            (
                vec![record(Kind::Miss, 7, 1), hits, record(Kind::Insert, 7, 9)],
                vec![
                    ("unanswered", 7, 0),
                    ("hit", 7, 5),
                    ("hit", 7, 5),
                    ("hit", 7, 5),
                    ("put", 7, 9),
                ],
            ),
            (
                vec![
                    record(Kind::Miss, 7, 1),
                    record(Kind::Miss, 8, 1),
                    record(Kind::Insert, 7, 9),
                ],
                vec![("answered", 7, 9)],
            ),
            (
                vec![
                    record(Kind::Miss, 7, 1),
                    record(Kind::Miss, 7, 1),
                    record(Kind::Insert, 7, 9),
                ],
                vec![("unanswered", 7, 0), ("answered", 7, 9)],
            ),
            (
                vec![record(Kind::Insert, 7, 4), record(Kind::Update, 7, 6)],
                vec![("put", 7, 4), ("put", 7, 6)],
            ),
            (
                vec![record(Kind::Remove, 7, 4), record(Kind::Expire, 8, 6)],
                vec![("remove", 7, 0), ("remove", 8, 0)],
            ),
        ] {
            assert_eq!(played(&records), expected, "{records:?}");
        }
    }

    /// What is played of key 7: a miss, so many hits of another key, and its insert so much later.
    fn answered_after(hits: u64, ms: u64) -> Vec<(&'static str, u64, u32)> {
        let mut records = vec![record(Kind::Miss, 7, 1)];
        records.extend((0..hits).map(|_| record(Kind::Hit, 8, 1)));
        records.push(Record { time_ms: ms, ..record(Kind::Insert, 7, 2) });
        played(&records).into_iter().filter(|played| played.1 == 7).collect()
    }

    #[test]
    fn a_miss_that_nobody_answers_is_a_get_in_the_end() {
        let unanswered = [("unanswered", 7, 0), ("put", 7, 2)];
        assert_eq!(answered_after(0, ANSWER_MS_MAX + 1), unanswered);
        assert_eq!(answered_after(0, ANSWER_MS_MAX), [("answered", 7, 2)]);
    }

    #[test]
    fn a_late_answer_is_one_however_much_came_between() {
        assert_eq!(answered_after(100_000, 3), [("answered", 7, 2)]);
    }

    #[test]
    fn what_waits_is_bounded() {
        let (mut reader, mut script) = (Reader::new(), Script::default());
        let misses: Vec<_> = (0..20_000).map(|key| record(Kind::Miss, key, 1)).collect();
        reader.read(&misses, SampleShare::ALL, &mut script);
        let bound = WAITING_MAX + 1;
        assert!(reader.waiting.len() <= bound && reader.order.len() <= bound);
        assert_eq!(script.0.len() + reader.waiting.len(), 20_000);
        // Those that are answered leave no trail, though the oldest is not.
        let answered = |key| [record(Kind::Miss, key, 1), record(Kind::Insert, key, 1)];
        let many: Vec<_> = (0..200_000).flat_map(|_| answered(7)).collect();
        reader.read(&many, SampleShare::ALL, &mut script);
        assert!(reader.order.len() <= ORDER_MAX + 1 && reader.waiting.len() <= bound);
    }

    #[test]
    fn keys_of_a_larger_share_are_left_out() {
        let share = SampleShare::one_in(4);
        let hits: Vec<_> =
            (0..1000).map(|key| record(Kind::Hit, ostler_abi::hash_u64(key, 1), 1)).collect();
        let mut script = Script::default();
        Reader::new().read(&hits, share, &mut script);
        let expected = hits.iter().filter(|record| share.includes(record.key_hash)).count();
        assert!((150..350).contains(&expected) && script.0.len() == expected);
    }
}
