//! Guesses: how sure a prefetch policy may be, measured before it asks for anything.
//!
//! Idea: whatever a policy expects is noted as a guess in a *context*, a small number that says why
//! it was expected (how long the run was, how far ahead, …). When the key is requested, its guess
//! was right if a fetch would have brought it in time and the cache would still have had it; a guess
//! that others push out was wrong. A context's share of right guesses is its confidence, and only
//! guesses of confident contexts are asked for. So a policy learns from what it does not fetch, a
//! workload without structure is hardly asked for, and one that changes is noticed.
//! Related: the sandbox of S. Pugsley et al., "Sandbox prefetching", HPCA 2014; timely offsets as in
//! P. Michaud, "Best-offset hardware prefetching", HPCA 2016.
//!
//! Bytes: 12 a place, 4 a context. Cost: O(1) a record and a guess, one cache line each.

use alloc::boxed::Box;
use alloc::vec;

use ostler_abi::{Access, AccessKind, Refusal};

/// Verdicts of a context above which all are halved, so that what is newer counts more.
const VERDICTS_MAX: u16 = 256;
/// Verdicts that every context has against it from the start.
const DOUBT: u32 = 4;
/// Latency that is assumed before one was measured, in accesses.
const LATENCY_FIRST: u32 = 16;
/// Weight of what is new in latency and lifetime: one 16th.
const SMOOTHING_SHIFT: u32 = 4;
/// Accesses in which the lifetime grows by a 64th where nothing is wasted.
const LIFETIME_TERM: u32 = 1024;

/// Guesses about what will be requested, and how often they were right. See the file's header.
///
/// A *name* is a well mixed 64-bit number that stands for a key: the key's hash, or a policy's own.
#[derive(Clone, Debug)]
pub struct Guesses {
    places: Box<[Guess]>,
    scores: Box<[Score]>,
    /// Accesses so far.
    now: u32,
    /// Accesses that a fetch takes, smoothed, in 16ths.
    latency: u32,
    /// Accesses that an unused entry stays in the cache, smoothed; `u32::MAX` until one left.
    lifetime: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Guess {
    tag: u32,
    /// When it was made, in accesses.
    time: u32,
    /// Number of the context and 1; 0 where there is nothing to judge.
    context: u16,
    /// It was asked for.
    is_asked: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Score {
    right: u16,
    all: u16,
}

impl Guesses {
    /// No guesses, in `contexts` contexts (at most 65,535) and about `places` places, rounded up to a
    /// power of two: as many guesses as there are places may pass before a guess was wrong.
    #[must_use]
    pub fn new(contexts: u16, places: u32) -> Self {
        Self {
            places: vec![Guess::default(); places.max(1).next_power_of_two() as usize]
                .into_boxed_slice(),
            scores: vec![Score::default(); usize::from(contexts)].into_boxed_slice(),
            now: 0,
            latency: LATENCY_FIRST << SMOOTHING_SHIFT,
            lifetime: u32::MAX,
        }
    }

    /// Takes in a record about the key with this name: judges its guess, and measures how long
    /// fetches take and how long entries stay. Every record comes here, those of keys that have no
    /// name as well, and before the guesses that follow from it.
    pub fn hear(&mut self, access: &Access, name: Option<u64>) {
        let Some(kind) = access.kind() else { return };
        if kind.is_request() {
            self.now = self.now.wrapping_add(1);
            if self.now.is_multiple_of(LIFETIME_TERM) {
                self.lifetime = self.lifetime.saturating_add(self.lifetime / 64);
            }
        } else if kind == AccessKind::Landed {
            let accesses = access.value.min(1 << 24);
            self.latency = self.latency - (self.latency >> SMOOTHING_SHIFT) + accesses;
            return;
        }
        let Some(name) = name else { return };
        let at = self.place(name);
        let guess = self.places[at];
        if guess.tag != tag(name) {
            return;
        }
        if guess.context == 0 {
            // There is nothing to judge, but from now on it may be asked for again.
            if kind.is_request() {
                self.places[at] = Guess::default();
            }
            return;
        }
        let waited = self.now.wrapping_sub(guess.time);
        let is_right = match kind {
            AccessKind::Useful => {
                self.lifetime = self.lifetime.max(waited);
                true
            }
            AccessKind::Miss => waited > self.latency() && waited <= self.lifetime,
            AccessKind::Late => false,
            AccessKind::Wasted => {
                self.note_lifetime(waited);
                false
            }
            AccessKind::Refused => {
                // What is resident was guessed neither right nor wrong, but need not be asked again.
                if access.value == Refusal::Resident as u32 {
                    self.places[at].context = 0;
                } else {
                    self.places[at].is_asked = false;
                }
                return;
            }
            _ => {
                self.places[at] = Guess::default();
                return;
            }
        };
        self.places[at] = Guess::default();
        self.judge(guess, is_right);
    }

    /// Guesses, for the reason `context`, that the key with this name will be requested. Returns the
    /// confidence, 0 to 65,535, where it is at least `confidence_min` and the key was not asked for
    /// already: then it is worth asking.
    pub fn guess(&mut self, name: u64, context: u16, confidence_min: u32) -> Option<u32> {
        let confidence = self.confidence(context);
        let is_asked = confidence >= confidence_min;
        let at = self.place(name);
        let place = &mut self.places[at];
        if place.tag == tag(name) && (place.context != 0 || place.is_asked) {
            let was_asked = place.is_asked;
            place.is_asked |= is_asked;
            return (is_asked && !was_asked).then_some(confidence);
        }
        let new = Guess { tag: tag(name), time: self.now, context: context + 1, is_asked };
        let old = core::mem::replace(place, new);
        if old.context != 0 {
            self.judge(old, false);
        }
        is_asked.then_some(confidence)
    }

    /// The share of right guesses in `context`, 0 to 65,535; low until there were some.
    #[must_use]
    pub fn confidence(&self, context: u16) -> u32 {
        let Score { right, all } = self.scores[usize::from(context)];
        (u32::from(right) * 65_535) / (u32::from(all) + DOUBT)
    }

    /// Accesses between an ask and its arrival, smoothed.
    #[must_use]
    pub const fn latency(&self) -> u32 {
        self.latency >> SMOOTHING_SHIFT
    }

    /// Accesses so far; wraps around.
    #[must_use]
    pub const fn now(&self) -> u32 {
        self.now
    }

    #[expect(clippy::cast_possible_truncation, reason = "the low bits choose the place")]
    fn place(&self, name: u64) -> usize {
        name as usize & (self.places.len() - 1)
    }

    fn judge(&mut self, guess: Guess, is_right: bool) {
        let score = &mut self.scores[usize::from(guess.context) - 1];
        score.all += 1;
        score.right += u16::from(is_right);
        if score.all > VERDICTS_MAX {
            score.all /= 2;
            score.right /= 2;
        }
    }

    /// An entry left `accesses` accesses after it was asked for.
    fn note_lifetime(&mut self, accesses: u32) {
        self.lifetime = if self.lifetime == u32::MAX {
            accesses
        } else {
            self.lifetime - (self.lifetime >> SMOOTHING_SHIFT) + (accesses >> SMOOTHING_SHIFT)
        };
    }
}

/// The high half of a name: the low one chooses the place.
const fn tag(name: u64) -> u32 {
    (name >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: u64 = 7 << 32 | 5;

    fn hear(guesses: &mut Guesses, kind: AccessKind, name: u64) {
        guesses.hear(&Access::new(kind, name), Some(name));
    }

    /// Other requests, `count` of them.
    fn pass(guesses: &mut Guesses, count: u32) {
        (0..count).for_each(|_| guesses.hear(&Access::new(AccessKind::Miss, 0), None));
    }

    #[test]
    fn guesses_are_judged_by_what_a_fetch_would_have_brought() {
        use AccessKind::{Hit, Late, Miss, Useful, Wasted};
        // What came of the guess, after how many other requests, with a latency of 16: right of all.
        for (kind, others, right, all) in [
            (Miss, 16, 1, 1),
            (Miss, 15, 0, 1),
            (Useful, 20, 1, 1),
            (Late, 3, 0, 1),
            (Wasted, 100, 0, 1),
            (Hit, 50, 0, 0),
        ] {
            let mut guesses = Guesses::new(1, 16);
            guesses.guess(NAME, 0, 0);
            pass(&mut guesses, others);
            hear(&mut guesses, kind, NAME);
            let score = guesses.scores[0];
            assert_eq!((score.right, score.all), (right, all), "{kind:?} after {others}");
            // It is judged once.
            hear(&mut guesses, kind, NAME);
            assert_eq!(guesses.scores[0].all, all, "{kind:?} after {others}");
        }
    }

    #[test]
    fn what_is_pushed_out_was_wrong_and_confidence_needs_proof() {
        let mut guesses = Guesses::new(2, 1);
        for name in 0..=20 {
            guesses.guess(name << 32, 1, 0);
        }
        assert_eq!((guesses.scores[1].all, guesses.confidence(1)), (20, 0));
        for (right, confidence) in [(1, 13_107), (4, 32_767), (60, 61_439)] {
            guesses.scores[0] = Score { right, all: right };
            assert_eq!(guesses.confidence(0), confidence);
        }
    }

    #[test]
    fn a_key_is_asked_once_unless_the_host_had_no_room() {
        let mut guesses = Guesses::new(1, 16);
        guesses.scores[0] = Score { right: 100, all: 100 };
        let refused = |refusal: Refusal| Access {
            value: refusal as u32,
            ..Access::new(AccessKind::Refused, NAME)
        };
        assert_eq!(guesses.guess(NAME, 0, 65_535), None);
        assert!(guesses.guess(NAME, 0, 32_768).is_some());
        assert_eq!(guesses.guess(NAME, 0, 32_768), None);
        guesses.hear(&refused(Refusal::Budget), Some(NAME));
        assert!(guesses.guess(NAME, 0, 32_768).is_some());
        guesses.hear(&refused(Refusal::Resident), Some(NAME));
        assert_eq!(guesses.guess(NAME, 0, 32_768), None);
        hear(&mut guesses, AccessKind::Hit, NAME);
        assert!(guesses.guess(NAME, 0, 32_768).is_some(), "it was requested meanwhile");
        assert_eq!(guesses.scores[0].all, 100, "nothing was judged");
    }

    #[test]
    fn latency_and_lifetime_follow_what_happens() {
        let mut guesses = Guesses::new(1, 16);
        let landed = Access { value: 200, ..Access::new(AccessKind::Landed, 1) };
        (0..200).for_each(|_| guesses.hear(&landed, None));
        assert!((190..=200).contains(&guesses.latency()), "{}", guesses.latency());
        // Entries leave after 300 accesses, so what comes after 400 would be gone.
        guesses.guess(NAME, 0, 0);
        pass(&mut guesses, 300);
        hear(&mut guesses, AccessKind::Wasted, NAME);
        for (others, right) in [(250, 1), (400, 1), (299, 2)] {
            guesses.guess(NAME, 0, 0);
            pass(&mut guesses, others);
            hear(&mut guesses, AccessKind::Miss, NAME);
            assert_eq!(guesses.scores[0].right, right, "after {others}");
        }
    }
}
