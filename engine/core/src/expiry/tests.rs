//! Worked tables, and random operations against a map of lifetimes.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;

const DAY_MS: u64 = 24 * 60 * 60 * 1000;
const YEAR_MS: u64 = 365 * DAY_MS;

fn to_live(ms: u64) -> Lifetime {
    Lifetime { to_live_ms: Some(ms), to_idle_ms: None }
}

fn to_idle(ms: u64) -> Lifetime {
    Lifetime { to_live_ms: None, to_idle_ms: Some(ms) }
}

/// Everything expired at `now_ms` in ascending order, and the work it took.
fn drain(expiry: &mut Expiry, now_ms: u64) -> (Vec<u32>, u32) {
    let mut work = u32::MAX;
    let mut slots: Vec<u32> =
        std::iter::from_fn(|| expiry.pop_expired(now_ms, &mut work)).collect();
    expiry.validate();
    slots.sort_unstable();
    (slots, u32::MAX - work)
}

#[test]
fn slots_expire_at_their_millisecond_whatever_their_level() {
    let ends = [1, 63, 64, 65, 4095, 4096, 300_000, DAY_MS, 3 * YEAR_MS, 200 * YEAR_MS];
    let mut expiry = Expiry::new(0);
    for (slot, end_ms) in (0..).zip(ends) {
        expiry.set(slot, to_live(end_ms), 0);
    }
    for (slot, end_ms) in (0..).zip(ends) {
        assert!(!expiry.is_expired(slot, end_ms - 1) && expiry.is_expired(slot, end_ms));
        assert_eq!(drain(&mut expiry, end_ms - 1).0, []);
        assert_eq!(expiry.next_due_ms(), Some(end_ms), "all levels above have been opened");
        assert_eq!(drain(&mut expiry, end_ms).0, [slot]);
        assert_eq!(expiry.deadline_ms(slot), None);
    }
    assert_eq!((expiry.len(), expiry.next_due_ms()), (0, None));
}

#[test]
fn the_earlier_of_two_ends_counts_and_an_access_moves_only_one() {
    let mut expiry = Expiry::new(0);
    expiry.set(3, Lifetime { to_live_ms: Some(100), to_idle_ms: Some(40) }, 10);
    // access at, end after it: idle ends 40 later, life at 110
    for (now_ms, end_ms) in [(10, 50), (30, 70), (65, 105), (69, 109), (71, 110), (90, 110)] {
        expiry.touch(3, now_ms);
        assert_eq!(expiry.deadline_ms(3), Some(end_ms), "access at {now_ms}");
        assert_eq!(drain(&mut expiry, now_ms).0, []);
    }
    expiry.set_deadline(3, None, 90);
    assert_eq!(expiry.deadline_ms(3), Some(130), "only the time to idle is left");
    expiry.set_deadline(3, Some(95), 90);
    assert_eq!(drain(&mut expiry, 94).0, []);
    assert_eq!(drain(&mut expiry, 95).0, [3]);
}

#[test]
fn a_write_replaces_both_ends_and_one_without_ends_clears() {
    let mut expiry = Expiry::new(0);
    expiry.set(0, Lifetime { to_live_ms: Some(100), to_idle_ms: Some(40) }, 0);
    expiry.set(0, to_live(500), 10);
    assert_eq!(expiry.deadline_ms(0), Some(510));
    expiry.set(0, to_idle(7), 20);
    assert_eq!(expiry.deadline_ms(0), Some(27));
    expiry.set(0, Lifetime::default(), 20);
    assert_eq!((expiry.deadline_ms(0), expiry.len()), (None, 0));
    expiry.set_deadline(0, None, 20);
    expiry.touch(0, 21);
    expiry.clear(0);
    expiry.clear(70_000);
    expiry.touch(70_000, 22);
    assert!(!expiry.is_expired(70_000, u64::MAX));
    assert_eq!((drain(&mut expiry, YEAR_MS).0, expiry.len()), (vec![], 0));
}

#[test]
fn an_end_that_has_passed_is_due_at_once() {
    let mut expiry = Expiry::new(0);
    assert_eq!(drain(&mut expiry, 1000).0, []);
    expiry.set(0, to_live(0), 1000);
    expiry.set_deadline(1, Some(3), 1000);
    expiry.set(2, to_live(1), 1000);
    expiry.set_deadline(3, Some(3), 1000);
    expiry.set_deadline(3, Some(1001), 1000);
    assert_eq!(expiry.next_due_ms(), Some(1000));
    assert_eq!(drain(&mut expiry, 1000).0, [0, 1]);
    assert_eq!(drain(&mut expiry, 1001).0, [2, 3]);
}

#[test]
fn time_that_goes_back_is_taken_for_the_latest_seen() {
    let mut expiry = Expiry::new(0);
    expiry.touch(0, 500);
    expiry.set(0, to_live(10), 20);
    assert_eq!(expiry.deadline_ms(0), Some(510));
    assert!(!expiry.is_expired(0, 509));
    expiry.set(1, to_live(5), 505);
    assert_eq!(drain(&mut expiry, 510).0, [0, 1]);
    expiry.set(2, to_live(0), 0);
    assert_eq!(drain(&mut expiry, 0).0, [2], "it is still 510");
}

#[test]
fn the_far_future_saturates() {
    let mut expiry = Expiry::new(5);
    expiry.set(0, to_live(u64::MAX), 5);
    expiry.set(1, to_idle(u64::MAX), 5);
    expiry.set_deadline(2, Some(u64::MAX), 5);
    expiry.set(3, to_live(LAST_MS - 6), 5);
    assert_eq!(
        [0, 1, 2, 3].map(|slot| expiry.deadline_ms(slot)),
        [Some(LAST_MS), Some(LAST_MS), Some(LAST_MS), Some(LAST_MS - 1)]
    );
    assert_eq!(drain(&mut expiry, LAST_MS - 1).0, [3]);
    expiry.touch(1, LAST_MS - 1);
    assert_eq!(drain(&mut expiry, u64::MAX).0, [0, 1, 2]);
    expiry.set(4, to_live(1), u64::MAX);
    assert_eq!(drain(&mut expiry, u64::MAX).0, [4], "the last moment has no successor");
}

#[test]
fn a_jump_over_years_costs_by_slots_and_not_by_its_length() {
    let mut expiry = Expiry::new(0);
    expiry.set(0, to_live(1), 0);
    expiry.set(1, to_live(DAY_MS), 0);
    expiry.set(2, to_live(90 * YEAR_MS), 0);
    // A bucket opened and a slot looked at for each of the first two.
    assert_eq!(drain(&mut expiry, 10 * YEAR_MS), (vec![0, 1], 4));
    expiry.set(0, to_live(1), 10 * YEAR_MS);
    assert_eq!(expiry.next_due_ms(), Some(10 * YEAR_MS + 1), "the position has come along");
    expiry.clear(0);
    expiry.clear(2);
    expiry.set(0, to_live(1), 500 * YEAR_MS);
    assert_eq!(expiry.next_due_ms(), Some(500 * YEAR_MS + 1), "an empty wheel skips ahead");
    assert_eq!(drain(&mut expiry, 900 * YEAR_MS), (vec![0], 2));
}

#[test]
fn an_accessed_slot_is_moved_only_when_its_old_place_comes_up() {
    let mut expiry = Expiry::new(0);
    expiry.set(0, to_idle(50), 0);
    let mut moves = 0;
    for now_ms in 0..1000 {
        expiry.touch(0, now_ms);
        moves += drain(&mut expiry, now_ms).1 / 2;
    }
    // Once in 50 ms at its old end, and where that lies beyond the next multiple of 64, there too.
    assert!((20..=40).contains(&moves), "{moves}");
    assert_eq!(drain(&mut expiry, 1048).0, []);
    assert_eq!(drain(&mut expiry, 1049).0, [0]);
}

#[test]
fn work_is_never_exceeded_and_the_next_call_goes_on() {
    let mut expiry = Expiry::new(0);
    for slot in 0..1000 {
        expiry.set(slot, to_live(5000 + u64::from(slot % 2) * DAY_MS), 0);
    }
    let (mut popped, mut calls) = (Vec::new(), 0);
    loop {
        let mut work = 3;
        popped.extend(std::iter::from_fn(|| expiry.pop_expired(6000, &mut work)));
        expiry.validate();
        if work > 0 {
            break;
        }
        calls += 1;
    }
    popped.sort_unstable();
    assert!(popped.iter().copied().eq((0..1000).step_by(2)));
    assert!(calls >= 500 / 3);
    assert_eq!(expiry.len(), 500);
    let mut none = 0;
    assert_eq!(expiry.pop_expired(u64::MAX, &mut none), None);
}

#[test]
fn a_slot_takes_sixteen_bytes_and_with_idling_twenty_eight() {
    const SLOTS: u32 = 1 << 16;
    let mut expiry = Expiry::new(0);
    assert_eq!(expiry.bytes(), 0);
    for (lifetime, bytes_a_slot) in [(to_live(9), 16), (to_idle(9), 28)] {
        (0..SLOTS).for_each(|slot| expiry.set(slot, lifetime, 0));
        let chunks = expiry.bytes() - bytes_a_slot * SLOTS as usize;
        assert!(chunks < 2052 + SLOTS as usize / 16, "{chunks} bytes of buckets and pointers");
    }
}

/// What [`Expiry`] means, without a wheel.
#[derive(Default)]
struct Model {
    /// By slot: end of life, time to idle, last access.
    slots: BTreeMap<u32, (Option<u64>, Option<u64>, u64)>,
    seen_ms: u64,
}

impl Model {
    fn see(&mut self, now_ms: u64) -> u64 {
        self.seen_ms = self.seen_ms.max(now_ms.min(LAST_MS));
        self.seen_ms
    }

    fn set(&mut self, slot: u32, lifetime: Lifetime, now_ms: u64) {
        let now_ms = self.see(now_ms);
        let live_end_ms = lifetime.to_live_ms.map(|ms| now_ms.saturating_add(ms));
        self.slots.insert(slot, (live_end_ms, lifetime.to_idle_ms, now_ms));
        self.drop_endless();
    }

    fn set_deadline(&mut self, slot: u32, deadline_ms: Option<u64>, now_ms: u64) {
        let now_ms = self.see(now_ms);
        self.slots.entry(slot).or_insert((None, None, now_ms)).0 = deadline_ms;
        self.drop_endless();
    }

    fn touch(&mut self, slot: u32, now_ms: u64) {
        let now_ms = self.see(now_ms);
        if let Some((_, _, accessed_ms)) = self.slots.get_mut(&slot) {
            *accessed_ms = now_ms;
        }
    }

    fn drop_endless(&mut self) {
        self.slots.retain(|_, (live_end, to_idle, _)| live_end.is_some() || to_idle.is_some());
    }

    fn end_ms(&self, slot: u32) -> Option<u64> {
        let &(live_end_ms, to_idle_ms, accessed_ms) = self.slots.get(&slot)?;
        let idle_end_ms = to_idle_ms.map(|ms| accessed_ms.saturating_add(ms));
        let end_ms = live_end_ms.into_iter().chain(idle_end_ms).min()?;
        Some(end_ms.min(LAST_MS))
    }

    fn expired(&self) -> Vec<u32> {
        let ended = |&slot: &u32| self.end_ms(slot).is_some_and(|end_ms| end_ms <= self.seen_ms);
        self.slots.keys().copied().filter(ended).collect()
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Set(u32, Lifetime),
    /// The deadline is the offset from now, half a minute less.
    Deadline(u32, Option<u64>),
    Touch(u32),
    Clear(u32),
    Forward(u64),
    /// The next steps are given an earlier time.
    Back(u64),
    Pop {
        work: u32,
    },
    Drain,
}

/// Slots at both ends of chunks, and one in a chunk of its own.
const SLOTS: [u32; 12] = [0, 1, 2, 3, 4, 5, 510, 511, 512, 513, 1023, 9000];
const HALF_MINUTE_MS: u64 = 30_000;

/// Spans of all sizes, and those next to a power of 64.
fn span_ms() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => 0..130u64,
        4 => 0..10_000u64,
        2 => 0..DAY_MS,
        1 => 0..500 * YEAR_MS,
        2 => (1..8u32, 0..3u64).prop_map(|(level, more)| (1 << (6 * level)) - 1 + more),
        1 => (0..3u64).prop_map(|less| LAST_MS - less),
        1 => (0..3u64).prop_map(|less| u64::MAX - less),
    ]
}

fn jump_ms() -> impl Strategy<Value = u64> {
    prop_oneof![
        8 => 1..3u64,
        8 => 1..200u64,
        4 => 1..20_000u64,
        2 => 1..DAY_MS,
        1 => 1..20 * YEAR_MS,
        1 => (1..7u32, 0..3u64).prop_map(|(level, more)| (1 << (6 * level)) - 1 + more),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let slot = || prop::sample::select(&SLOTS[..]);
    let some_span = || prop::option::weighted(0.7, span_ms());
    let lifetime = (some_span(), some_span())
        .prop_map(|(to_live_ms, to_idle_ms)| Lifetime { to_live_ms, to_idle_ms });
    prop_oneof![
        6 => (slot(), lifetime).prop_map(|(slot, lifetime)| Step::Set(slot, lifetime)),
        3 => (slot(), some_span()).prop_map(|(slot, offset)| Step::Deadline(slot, offset)),
        4 => slot().prop_map(Step::Touch),
        1 => slot().prop_map(Step::Clear),
        6 => jump_ms().prop_map(Step::Forward),
        1 => (1..100_000u64).prop_map(Step::Back),
        5 => (0..4u32).prop_map(|work| Step::Pop { work }),
        2 => Just(Step::Drain),
    ]
}

struct Run {
    expiry: Expiry,
    model: Model,
    now_ms: u64,
}

impl Run {
    fn take(&mut self, step: Step) {
        let now_ms = self.now_ms;
        match step {
            Step::Set(slot, lifetime) => {
                self.expiry.set(slot, lifetime, now_ms);
                self.model.set(slot, lifetime, now_ms);
            }
            Step::Deadline(slot, offset_ms) => {
                let deadline_ms =
                    offset_ms.map(|ms| now_ms.saturating_add(ms).saturating_sub(HALF_MINUTE_MS));
                self.expiry.set_deadline(slot, deadline_ms, now_ms);
                self.model.set_deadline(slot, deadline_ms, now_ms);
            }
            Step::Touch(slot) => {
                self.expiry.touch(slot, now_ms);
                self.model.touch(slot, now_ms);
            }
            Step::Clear(slot) => {
                self.expiry.clear(slot);
                self.model.slots.remove(&slot);
            }
            Step::Forward(ms) => self.now_ms = now_ms.max(self.model.seen_ms) + ms,
            Step::Back(ms) => self.now_ms = now_ms.saturating_sub(ms),
            Step::Pop { work } => self.pop(work),
            Step::Drain => self.drain(),
        }
    }

    fn pop(&mut self, budget: u32) {
        let mut work = budget;
        self.model.see(self.now_ms);
        let due_ms = self.expiry.next_due_ms();
        let popped = self.expiry.pop_expired(self.now_ms, &mut work);
        assert!(work <= budget);
        match popped {
            Some(slot) => {
                assert!(self.model.expired().contains(&slot), "slot {slot} was popped too early");
                assert!(due_ms.expect("something was due") <= self.model.seen_ms);
                self.model.slots.remove(&slot);
            }
            None => assert!(work == 0 || self.model.expired().is_empty()),
        }
    }

    fn drain(&mut self) {
        self.model.see(self.now_ms);
        let linked = self.expiry.len() as u32;
        let (popped, work) = drain(&mut self.expiry, self.now_ms);
        assert_eq!(popped, self.model.expired(), "a drain takes exactly what has expired");
        popped.iter().for_each(|slot| assert!(self.model.slots.remove(slot).is_some()));
        // Down the levels to the old place, and once more from where an access has put it.
        assert!(work <= linked * 2 * 16, "{work} of work for {linked} slots");
    }

    fn check(&self) {
        self.expiry.validate();
        assert_eq!(self.expiry.len(), self.model.slots.len());
        assert_eq!(self.expiry.next_due_ms().is_some(), self.expiry.len() > 0);
        for slot in SLOTS {
            let end_ms = self.model.end_ms(slot);
            assert_eq!(self.expiry.deadline_ms(slot), end_ms, "slot {slot}");
            let near = end_ms.map_or([0; 3], |ms| [ms.saturating_sub(1), ms, ms + 1]);
            for now_ms in near.into_iter().chain([self.now_ms, self.model.seen_ms, 0, u64::MAX]) {
                let is_expired = end_ms.is_some_and(|end_ms| end_ms <= now_ms);
                assert_eq!(self.expiry.is_expired(slot, now_ms), is_expired, "{slot} {now_ms}");
            }
            if let (Some(end_ms), Some(due_ms)) = (end_ms, self.expiry.next_due_ms()) {
                assert!(due_ms <= end_ms.max(self.model.seen_ms), "slot {slot} would be late");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1000,
        rng_seed: RngSeed::Fixed(1),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_wheel_agrees_with_a_map_of_lifetimes(
        start_ms in prop_oneof![Just(0), span_ms().prop_map(|ms| ms.min(LAST_MS))],
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let model = Model { seen_ms: start_ms, ..Model::default() };
        let mut run = Run { expiry: Expiry::new(start_ms), model, now_ms: start_ms };
        run.check();
        for step in steps {
            run.take(step);
            run.check();
        }
        run.drain();
        run.check();
        run.now_ms = u64::MAX;
        run.drain();
        assert_eq!(run.expiry.len(), 0, "at the last moment everything has expired");
    }
}
