//! The driver: batches of records in, policy calls, victims out.
//!
//! It owns everything of the contract that would otherwise be written in every policy: the budget,
//! the order "evict, then insert", dead slots, adopt pairs, and what happens when a batch yields
//! more victims than fit into one answer. It must not know any policy.

use alloc::vec::Vec;

use ostler_abi::{Kind, ModelRefused, NO_SLOT, Record, Setup, Step};

use crate::{Budget, Policy};

/// Runs a [`Policy`] behind the contract: the implementation of [`Step`] for everything written
/// with this SDK, compiled in or as Wasm.
pub struct Driver<P: Policy> {
    policy: P,
    budget: Budget,
    setup: Setup,
    params: P::Params,
    /// Events of a batch that wait because the victims' buffer was full; the first is the one that
    /// was being served. Never longer than one batch.
    rest: Vec<Record>,
    /// The first event of `rest`, an insert or an update, was begun in an earlier call: it only waits
    /// for room. Set where such an event pauses, cleared where it is served whole.
    begun: bool,
    /// The message of the model in force, for the policy that follows after a reset; empty: none.
    model: Vec<u8>,
}

/// The victims of one call.
struct Answer<'a> {
    victims: &'a mut [u32],
    len: usize,
}

/// Whether an event was served whole.
#[derive(PartialEq, Eq)]
enum Served {
    Whole,
    /// It needs more victims than fit: it goes on in the next call.
    Paused,
}

impl<P: Policy> Driver<P> {
    /// A driver with an empty policy.
    #[must_use]
    pub fn new(setup: Setup, params: P::Params) -> Self {
        Self {
            policy: P::new(&setup, &params),
            budget: Budget::new(setup.capacity, setup.slots),
            setup,
            params,
            rest: Vec::new(),
            begun: false,
            model: Vec::new(),
        }
    }

    /// The policy's books. For tests and tools.
    #[must_use]
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// The policy. For tests and tools.
    #[must_use]
    pub fn policy(&self) -> &P {
        &self.policy
    }

    /// Serves events until all are done or the answer is full; returns how many were served whole.
    ///
    /// Hits, inserts and plain overwrites, nearly all events there are, are served here in line; the
    /// rest is cold.
    #[inline(always)]
    fn serve_all(&mut self, events: &[Record], answer: &mut Answer<'_>) -> usize {
        let mut next = 0;
        while let Some(event) = events.get(next) {
            debug_assert!(!self.begun || next == 0 && waits_for_room(event), "only a pause begins");
            if event.kind == Kind::Hit as u8 {
                if self.budget.is_resident(event.slot) {
                    self.policy.hit(event, &self.budget);
                }
                next += 1;
                continue;
            }
            if answer.is_full() {
                return next;
            }
            if event.kind == Kind::Insert as u8 && event.weight != 0 {
                if self.insert(event, answer) == Served::Paused {
                    return next;
                }
                next += 1;
                continue;
            }
            if self.is_plain_update(event) {
                self.policy.update(event, &self.budget);
                next += 1;
                continue;
            }
            let last = events.get(next + 1).filter(|hit| is_last_access(event, hit));
            if self.serve(event, last, answer) == Served::Paused {
                return next;
            }
            next += 1 + usize::from(last.is_some());
        }
        next
    }

    /// True for an overwrite that leaves the weight as it is: an access and no more.
    #[inline(always)]
    fn is_plain_update(&self, event: &Record) -> bool {
        event.kind == Kind::Update as u8
            && !self.begun
            && self.budget.is_resident(event.slot)
            && self.budget.weight(event.slot) == event.weight
            && !self.budget.is_over()
    }

    /// Serves one event that is neither. `last` is the hit that belongs to an adopt.
    #[cold]
    #[inline(never)]
    fn serve(&mut self, event: &Record, last: Option<&Record>, answer: &mut Answer<'_>) -> Served {
        match event.kind() {
            Some(Kind::Insert) => return self.insert(&Record { weight: 1, ..*event }, answer),
            // A begun update goes on making room even where its own entry had to go meanwhile.
            Some(Kind::Update) if self.begun || self.budget.is_resident(event.slot) => {
                return self.update(event, answer);
            }
            Some(Kind::Remove | Kind::Expire) if self.budget.is_resident(event.slot) => {
                self.policy.remove(event.slot, &self.budget);
                self.budget.drop_slot(event.slot);
            }
            Some(Kind::Adopt) => {
                self.forget_stale(event.slot);
                self.budget.add(event.slot, event.weight.max(1));
                self.policy.adopt(event, last, &self.budget);
            }
            Some(Kind::Capacity) => {
                if event.key_hash != self.budget.capacity() {
                    self.budget.set_capacity(event.key_hash);
                    self.setup.capacity = event.key_hash;
                    self.policy.capacity(&self.budget);
                }
                return self.make_room(NO_SLOT, answer).1;
            }
            Some(Kind::Miss) => self.policy.miss(event, &self.budget),
            Some(Kind::Slots) => {
                self.setup.slots = self.setup.slots.max(event.slot);
                self.budget.grow(self.setup.slots);
                self.policy.grow(self.setup.slots);
            }
            Some(Kind::Reset) => {
                self.budget.clear();
                // The old policy gives its memory back before the new one takes its own.
                self.policy = P::new(&Setup { slots: 0, ..self.setup }, &self.params);
                self.policy = P::new(&self.setup, &self.params);
                if !self.model.is_empty() {
                    // It was taken before, by a policy of the same parameters.
                    let _ = self.policy.model(&self.model);
                }
            }
            Some(_) | None => {}
        }
        Served::Whole
    }

    /// A newcomer: admit, evict until it fits, insert. The order of the literature.
    #[inline(always)]
    fn insert(&mut self, event: &Record, answer: &mut Answer<'_>) -> Served {
        if !self.begun {
            self.forget_stale(event.slot);
            self.budget.set_incoming(event.weight);
            let admitted = u64::from(event.weight) <= self.budget.capacity()
                && self.policy.admit(event, &self.budget);
            if !admitted && self.budget.is_over() {
                self.budget.set_incoming(0);
                answer.push(event.slot);
                return Served::Whole;
            }
        }
        let (fits, served) = self.make_room(event.slot, answer);
        if served == Served::Paused {
            self.begun = true;
            return Served::Paused;
        }
        self.begun = false;
        self.budget.set_incoming(0);
        if fits {
            self.budget.add(event.slot, event.weight);
            self.policy.insert(event, &self.budget);
        }
        Served::Whole
    }

    /// An overwrite: new weight, then an access, then room for what it grew by.
    fn update(&mut self, event: &Record, answer: &mut Answer<'_>) -> Served {
        let weight = event.weight.max(1);
        if !self.begun {
            let old = self.budget.reweigh(event.slot, weight);
            if old != weight {
                self.policy.reweigh(event.slot, old, weight);
            }
            self.policy.update(event, &self.budget);
        }
        let served = self.make_room(NO_SLOT, answer).1;
        self.begun = served == Served::Paused;
        served
    }

    /// Asks for victims until the residents and the newcomer fit. False where the policy gave up
    /// the newcomer itself.
    #[inline]
    fn make_room(&mut self, newcomer: u32, answer: &mut Answer<'_>) -> (bool, Served) {
        while self.budget.is_over() {
            if answer.is_full() {
                return (true, Served::Paused);
            }
            let victim = self.policy.victim(&self.budget);
            answer.push(victim);
            if victim == newcomer {
                return (false, Served::Whole);
            }
            assert!(
                self.budget.is_resident(victim),
                "the policy chose slot {victim}, not resident"
            );
            self.budget.drop_slot(victim);
        }
        (true, Served::Whole)
    }

    /// The engine reuses a slot only after its entry is gone; a policy that missed that forgets it.
    #[inline]
    fn forget_stale(&mut self, slot: u32) {
        if self.budget.is_resident(slot) {
            self.policy.remove(slot, &self.budget);
            self.budget.drop_slot(slot);
        }
    }
}

/// True where `event` is of a kind that can be begun and paused.
fn waits_for_room(event: &Record) -> bool {
    event.kind == Kind::Insert as u8 || event.kind == Kind::Update as u8
}

/// True where `hit` is the second half of the pair that introduces an adopted entry.
fn is_last_access(event: &Record, hit: &Record) -> bool {
    event.kind == Kind::Adopt as u8 && hit.kind == Kind::Hit as u8 && event.slot == hit.slot
}

impl Answer<'_> {
    #[inline]
    fn is_full(&self) -> bool {
        self.len == self.victims.len()
    }

    #[inline]
    fn push(&mut self, victim: u32) {
        self.victims[self.len] = victim;
        self.len += 1;
    }
}

impl<P: Policy> Driver<P> {
    /// Goes on with a batch whose answer was full.
    #[cold]
    #[inline(never)]
    fn resume(&mut self, events: &[Record], victims: &mut [u32]) -> usize {
        let mut answer = Answer { victims, len: 0 };
        let mut rest = core::mem::take(&mut self.rest);
        rest.extend_from_slice(events);
        let served = self.serve_all(&rest, &mut answer);
        rest.drain(..served);
        self.rest = rest;
        answer.len
    }

    /// Keeps what was not served for the next call.
    #[cold]
    #[inline(never)]
    fn keep(&mut self, rest: &[Record]) {
        self.rest.extend_from_slice(rest);
    }
}

impl<P: Policy> Step for Driver<P> {
    #[inline]
    fn step(&mut self, events: &[Record], victims: &mut [u32]) -> usize {
        if !self.rest.is_empty() {
            return self.resume(events, victims);
        }
        let mut answer = Answer { victims, len: 0 };
        let served = self.serve_all(events, &mut answer);
        if served < events.len() {
            self.keep(&events[served..]);
        }
        answer.len
    }

    fn model(&mut self, message: &[u8]) -> Result<(), ModelRefused> {
        self.policy.model(message)?;
        self.model.clear();
        self.model.extend_from_slice(message);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{InitRefused, Params};

    /// First in, first out, by a queue of slots; admits nothing where it would have to evict.
    struct Queue(Vec<u32>);

    #[derive(Clone, Copy, Debug, Default)]
    struct NoParams;

    impl Params for NoParams {
        fn set(&mut self, name: &str, _: &str) -> Result<(), InitRefused> {
            crate::unknown_name(name, &[])
        }
    }

    impl Policy for Queue {
        type Params = NoParams;

        fn new(_: &Setup, _: &NoParams) -> Self {
            Self(Vec::new())
        }
        fn grow(&mut self, _: u32) {}
        fn hit(&mut self, _: &Record, _: &Budget) {}
        fn admit(&mut self, event: &Record, _: &Budget) -> bool {
            event.class == 0
        }
        fn insert(&mut self, event: &Record, _: &Budget) {
            self.0.push(event.slot);
        }
        fn victim(&mut self, _: &Budget) -> u32 {
            self.0.remove(0)
        }
        fn remove(&mut self, slot: u32, _: &Budget) {
            self.0.retain(|resident| *resident != slot);
        }
    }

    /// Takes the one message `new`; everything else is refused.
    struct Taught(bool);

    impl Policy for Taught {
        type Params = NoParams;

        fn new(_: &Setup, _: &NoParams) -> Self {
            Self(false)
        }
        fn grow(&mut self, _: u32) {}
        fn hit(&mut self, _: &Record, _: &Budget) {}
        fn insert(&mut self, _: &Record, _: &Budget) {}
        fn victim(&mut self, _: &Budget) -> u32 {
            0
        }
        fn remove(&mut self, _: u32, _: &Budget) {}
        fn model(&mut self, message: &[u8]) -> Result<(), ModelRefused> {
            if message != b"new" {
                return Err(ModelRefused::FORMAT);
            }
            self.0 = true;
            Ok(())
        }
    }

    fn event(kind: Kind, slot: u32, weight: u32) -> Record {
        Record { weight, ..Record::new(kind, slot) }
    }

    fn driver(capacity: u64) -> Driver<Queue> {
        Driver::new(Setup { capacity, slots: 16, seed: 0 }, NoParams)
    }

    /// The victims of `events`, at most `cap` a call, each call's in brackets, until one is not full.
    fn answers(driver: &mut Driver<Queue>, events: &[Record], cap: usize) -> String {
        let mut buffer = alloc::vec![0; cap];
        let mut text = String::new();
        let mut batch = events;
        loop {
            let len = driver.step(batch, &mut buffer);
            text += &format!("{:?}", &buffer[..len]);
            if len < cap {
                return text;
            }
            batch = &[];
        }
    }

    #[test]
    fn a_paused_event_goes_on_in_the_next_call() {
        use Kind::{Insert, Update};
        let mut driver = driver(4);
        let fill: Vec<Record> = (0..4).map(|slot| event(Insert, slot, 1)).collect();
        assert_eq!(answers(&mut driver, &fill, 2), "[]");
        // The newcomer needs three to go; the update after it, of an entry gone by then, is dropped.
        let batch = [event(Insert, 4, 3), event(Update, 0, 1), event(Insert, 5, 1)];
        assert_eq!(answers(&mut driver, &batch, 2), "[0, 1][2, 3][]");
        assert_eq!((driver.budget().used(), driver.begun), (4, false));
    }

    #[test]
    fn an_update_makes_room_though_its_own_entry_went() {
        use Kind::{Adopt, Insert, Update};
        let mut driver = driver(5);
        // Adopted beyond the capacity, as where it shrank meanwhile.
        let adopts: Vec<Record> = (0..4).map(|slot| event(Adopt, slot, 2)).collect();
        assert_eq!(answers(&mut driver, &adopts, 1), "[]");
        let mut refused = event(Insert, 4, 2);
        refused.class = 1;
        // Slot 0, overwritten, goes first and leaves 6; the newcomer after it is asked about anew.
        let batch = [event(Update, 0, 3), refused, event(Insert, 5, 1)];
        assert_eq!(answers(&mut driver, &batch, 1), "[0][1][4][]");
        assert_eq!(
            (driver.budget().used(), driver.budget().incoming(), driver.begun),
            (5, 0, false)
        );
    }

    #[test]
    fn a_model_outlives_a_reset_and_a_refused_one_is_not_remembered() {
        let mut driver = Driver::<Taught>::new(Setup { capacity: 4, slots: 4, seed: 0 }, NoParams);
        let reset = [Record::new(Kind::Reset, NO_SLOT)];
        assert_eq!(driver.model(b"old"), Err(ModelRefused::FORMAT));
        assert_eq!(driver.step(&reset, &mut [0]), 0);
        assert!(!driver.policy().0);
        assert_eq!(driver.model(b"new"), Ok(()));
        assert_eq!(driver.model(b"old"), Err(ModelRefused::FORMAT));
        assert_eq!(driver.step(&reset, &mut [0]), 0);
        assert!(driver.policy().0, "the model that was taken last");
    }

    #[test]
    fn a_policy_takes_no_models_unless_it_says_so() {
        assert_eq!(driver(4).model(b"new"), Err(ModelRefused::TAKES_NONE));
    }
}
