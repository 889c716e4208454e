//! The streams in sequences of numbers: who comes after whom, how fast, and how surely.
//!
//! No stream is kept as such. A table remembers when each number went by; a number whose
//! predecessors by one of a few strides are in it continues a run, and their times tell its pace. So
//! any number of streams may be interleaved, within the table. Strides beside 1 and −1 are found by
//! counting the differences between numbers that no stride in use explains.

use alloc::vec;
use alloc::vec::Vec;
use core::cmp::Reverse;

use ostler_policy::{Access, AccessKind, Guesses, hash_u64};

/// Places for guesses.
const GUESSES: u32 = 1 << 13;
/// Strides that are always in use.
const STRIDES_FIXED: [i64; 2] = [1, -1];
/// Strides in use at once.
const STRIDES_MAX: usize = 6;
/// Steps of a run that count.
const RUN_MAX: u32 = 16;
/// Steps of a run that its pace is taken from.
const PACE_RUN_MAX: u32 = 4;
/// Steps beyond the fewest that the latency needs.
const AHEAD: [u32; 4] = [0, 1, 2, 4];
/// Classes that make up a context: the stride's, the run's, the pace's, the family's.
const STRIDE_CLASSES: u32 = 3;
const RUN_CLASSES: u32 = 5;
const PACE_CLASSES: u32 = 8;
const FAMILY_CLASSES: u32 = 8;
const CONTEXTS: u32 =
    STRIDE_CLASSES * RUN_CLASSES * PACE_CLASSES * FAMILY_CLASSES * AHEAD.len() as u32;
const _: () = assert!(CONTEXTS < u16::MAX as u32);
/// Numbers whose differences to the next are counted.
const RECENT: usize = 12;
/// Differences that are counted at once.
const DELTAS: usize = 32;
/// Largest stride that is found.
const STRIDE_FOUND_MAX: u64 = 1 << 20;
/// Requests between two elections of strides, and how often one must have come up.
const TERM: u32 = 512;
const ELECTED_MIN: u32 = 16;

/// A number and the family of keys it counts: the hash of what stands before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Numbered {
    pub(crate) family: u64,
    pub(crate) number: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    tag: u32,
    /// When, in accesses.
    time: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Delta {
    stride: i64,
    count: u32,
    /// What the count may be too high by: the count of whom it replaced.
    error: u32,
}

/// A run that a number continues.
#[derive(Clone, Copy)]
struct Run {
    steps: u32,
    /// Accesses a step.
    pace: u32,
}

/// The detector. See the file's header.
#[derive(Debug)]
pub(crate) struct Streams {
    /// Two places for each number, next to each other.
    seen: Vec<Seen>,
    guesses: Guesses,
    confidence_min: u32,
    recent: [Numbered; RECENT],
    recent_at: usize,
    deltas: [Delta; DELTAS],
    strides: [i64; STRIDES_MAX],
    strides_len: usize,
    /// Requests since the last election.
    term: u32,
}

impl Streams {
    /// Nothing seen so far, about `places` numbers remembered, and wishes from `confidence_min` on.
    pub(crate) fn new(places: u32, confidence_min: u32) -> Self {
        let mut strides = [0; STRIDES_MAX];
        strides[..STRIDES_FIXED.len()].copy_from_slice(&STRIDES_FIXED);
        Self {
            seen: vec![Seen::default(); places.max(2).next_power_of_two() as usize],
            guesses: Guesses::new(CONTEXTS as u16, GUESSES),
            confidence_min,
            recent: [Numbered { family: 0, number: 0 }; RECENT],
            recent_at: 0,
            deltas: [Delta::default(); DELTAS],
            strides,
            strides_len: STRIDES_FIXED.len(),
            term: 0,
        }
    }

    /// Takes in a record about `key`, none where it has no number, and tells `wish` the numbers of its
    /// family that are worth a fetch, each with its confidence.
    pub(crate) fn hear(
        &mut self,
        access: &Access,
        key: Option<Numbered>,
        wish: &mut dyn FnMut(u64, u32),
    ) {
        self.guesses.hear(access, key.map(name));
        let (Some(key), Some(kind)) = (key, access.kind()) else { return };
        if !kind.is_request() {
            return;
        }
        if kind != AccessKind::Hit {
            let mut is_explained = false;
            for index in 0..self.strides_len {
                is_explained |= self.follow(index, key, wish);
            }
            self.look_back(key, is_explained);
        }
        self.note(name(key));
    }

    /// Wishes for what the run by one stride that ends at `key` will come to; false where there is no
    /// run.
    fn follow(&mut self, index: usize, key: Numbered, wish: &mut dyn FnMut(u64, u32)) -> bool {
        let stride = self.strides[index];
        let Some(run) = self.run(stride, key) else { return false };
        if index >= STRIDES_FIXED.len() {
            self.count(stride);
        }
        let fewest = (self.guesses.latency() + 1).div_ceil(run.pace);
        let context = context_of(index, run, key.family);
        for (more, at) in AHEAD.into_iter().zip(0..) {
            let Some(next) = after(key, stride, i64::from(fewest) + i64::from(more)) else { break };
            let guess = self.guesses.guess(name(next), context + at, self.confidence_min);
            if let Some(confidence) = guess {
                wish(next.number, confidence);
            }
        }
        true
    }

    /// The run by `stride` that `key` continues.
    fn run(&self, stride: i64, key: Numbered) -> Option<Run> {
        let (mut steps, mut age) = (0, 0);
        while steps < RUN_MAX {
            let before = after(key, stride, -1 - i64::from(steps));
            let Some(found) = before.and_then(|before| self.age(name(before))) else { break };
            steps += 1;
            if steps <= PACE_RUN_MAX {
                age = found;
            }
        }
        (steps > 0).then(|| Run { steps, pace: (age / steps.min(PACE_RUN_MAX)).max(1) })
    }

    /// How many accesses ago the number with this name went by.
    fn age(&self, name: u64) -> Option<u32> {
        let (at, tag) = place(name, self.seen.len());
        let seen = [at, at ^ 1].into_iter().map(|at| self.seen[at]).find(|seen| seen.tag == tag)?;
        Some(self.guesses.now().wrapping_sub(seen.time))
    }

    /// Remembers that the number with this name goes by, in place of the older of two.
    fn note(&mut self, name: u64) {
        let (at, tag) = place(name, self.seen.len());
        let now = self.guesses.now();
        let age = |at: usize| now.wrapping_sub(self.seen[at].time);
        let is_second =
            self.seen[at].tag != tag && (self.seen[at ^ 1].tag == tag || age(at ^ 1) > age(at));
        self.seen[if is_second { at ^ 1 } else { at }] = Seen { tag, time: now };
    }

    /// Counts the differences to the numbers before, unless the strides in use explain the number,
    /// and elects strides now and then.
    fn look_back(&mut self, key: Numbered, is_explained: bool) {
        for at in 0..RECENT {
            let other = self.recent[at];
            let delta = key.number.wrapping_sub(other.number).cast_signed();
            let is_near = delta != 0 && delta.unsigned_abs() <= STRIDE_FOUND_MAX;
            if !is_explained && other.family == key.family && is_near {
                self.count(delta);
            }
        }
        self.recent[self.recent_at] = key;
        self.recent_at = (self.recent_at + 1) % RECENT;
        self.term += 1;
        if self.term == TERM {
            self.term = 0;
            self.elect();
        }
    }

    /// Counts a stride. Where all places are taken, it takes over the place and the count of the
    /// rarest.
    fn count(&mut self, stride: i64) {
        let mut rarest = 0;
        for at in 0..DELTAS {
            if self.deltas[at].stride == stride {
                self.deltas[at].count += 1;
                return;
            }
            if self.deltas[at].count < self.deltas[rarest].count {
                rarest = at;
            }
        }
        let error = self.deltas[rarest].count;
        self.deltas[rarest] = Delta { stride, count: error + 1, error };
    }

    /// Takes the strides that came up most into use, but for multiples of others.
    fn elect(&mut self) {
        let rank = |delta: &Delta| (Reverse(delta.sure()), delta.stride.unsigned_abs());
        self.deltas.sort_by_key(rank);
        self.strides_len = STRIDES_FIXED.len();
        for at in 0..DELTAS {
            let Delta { stride, .. } = self.deltas[at];
            let elected = &self.strides[STRIDES_FIXED.len()..self.strides_len];
            let is_news = !STRIDES_FIXED.contains(&stride)
                && elected.iter().all(|elected| stride % elected != 0 || stride / elected < 0);
            let is_sure = self.deltas[at].sure() >= ELECTED_MIN;
            if is_sure && is_news && self.strides_len < STRIDES_MAX {
                self.strides[self.strides_len] = stride;
                self.strides_len += 1;
            }
            self.deltas[at].count /= 2;
            self.deltas[at].error /= 2;
        }
    }
}

impl Delta {
    /// What it counts at least.
    fn sure(&self) -> u32 {
        self.count - self.error
    }
}

/// The key of the same family `steps` strides on; none where there is no such number.
fn after(key: Numbered, stride: i64, steps: i64) -> Option<Numbered> {
    let number = key.number.checked_add_signed(stride.checked_mul(steps)?)?;
    Some(Numbered { number, ..key })
}

/// A class for everything that may tell how sure a run goes on: the first of `AHEAD.len()` contexts.
fn context_of(stride: usize, run: Run, family: u64) -> u16 {
    let stride = (stride as u32).min(STRIDE_CLASSES - 1);
    let steps = match run.steps {
        1 => 0,
        2 => 1,
        3..=4 => 2,
        5..=8 => 3,
        _ => 4,
    };
    let pace = (run.pace.ilog2() / 2).min(PACE_CLASSES - 1);
    let family = (family >> 32) as u32 % FAMILY_CLASSES;
    let class = ((stride * RUN_CLASSES + steps) * PACE_CLASSES + pace) * FAMILY_CLASSES + family;
    (class * AHEAD.len() as u32) as u16
}

/// The number's name among all families.
fn name(key: Numbered) -> u64 {
    hash_u64(key.number, key.family)
}

/// Where a name is remembered, and the tag, never 0, that tells it from others there.
fn place(name: u64, places: usize) -> (usize, u32) {
    (name as usize & (places - 1), (name >> 32) as u32 | 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Requests for numbers that all miss, played to a detector with fetches that take `latency`; what
    /// it wished for at the last.
    fn wishes(latency: u32, numbers: impl IntoIterator<Item = u64>) -> Vec<u64> {
        let mut streams = Streams::new(1 << 10, 60 * 655);
        let landed = Access { value: latency, ..Access::new(AccessKind::Landed, 0) };
        (0..200).for_each(|_| streams.hear(&landed, None, &mut |_, _| {}));
        let mut last = Vec::new();
        for number in numbers {
            last.clear();
            let key = Some(Numbered { family: 0, number });
            let miss = Access::new(AccessKind::Miss, 0);
            streams.hear(&miss, key, &mut |number, _| last.push(number));
        }
        last
    }

    #[test]
    fn a_run_is_asked_for_as_far_ahead_as_a_fetch_takes() {
        assert_eq!(wishes(0, 1..=100), [105]);
        assert_eq!(wishes(16, 1..=100), [121]);
        assert_eq!(wishes(16, (0..=1000).rev().map(|n| n + 500).take(100)), [1380]);
    }

    #[test]
    fn interleaved_runs_need_fewer_steps_each() {
        let runs = (0..200).flat_map(|step| (1..=8).map(move |run| run * 100_000 + step));
        // A run steps once in eight accesses, so three steps take longer than 16.
        assert_eq!(wishes(16, runs), [800_199 + 3 + 4]);
    }

    #[test]
    fn other_strides_are_found() {
        assert_eq!(wishes(16, (0..2000).map(|step| 1_000_000 + 7 * step)), [1_000_000 + 7 * 2020]);
        assert_eq!(
            wishes(16, (0..2000).map(|step| 1_000_000 - 96 * step)),
            [1_000_000 - 96 * 2020]
        );
    }

    #[test]
    fn no_structure_no_wishes() {
        let mut streams = Streams::new(1 << 14, 60 * 655);
        for request in 0..200_000 {
            let number = hash_u64(request, 1) % 1_000_000;
            let miss = Access::new(AccessKind::Miss, 0);
            let key = Some(Numbered { family: 0, number });
            streams.hear(&miss, key, &mut |_, _| panic!("a wish at request {request}"));
        }
    }

    #[test]
    fn numbers_end_at_both_ends() {
        wishes(16, (0..100).rev());
        wishes(16, u64::MAX - 99..=u64::MAX);
    }
}
