//! One thread against a plain map: what is said to be there is there, and what has ended is not.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ostler_core::{Cache, Cause, Change, InsertOptions, ManualClock, Ttl};
use ostler_tests::{Scripted, assert_within, cases, check, native};
use proptest::prelude::*;

use super::Fixed;

const KEYS: u64 = 14;
const POLICIES: [&str; 6] = ["fifo", "lru", "sieve", "s3fifo", "lfu", "frail"];

/// One operation; times in milliseconds, where 0 in a time to live or to idle stands for none.
#[derive(Clone, Copy, Debug)]
enum Step {
    Insert { key: u64, weight: u32, ttl: u64, tti: u64 },
    Get(u64),
    Remove(u64),
    Compute { key: u64, weight: u32 },
    Forget(u64),
    ExpireAfter { key: u64, ttl: u64 },
    Advance(u64),
    Resize(u64),
    Clear,
    RunPending,
    SetPolicy(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let key = || 0..KEYS;
    // Capacities are 20 and more, so that 60 is heavier than any shard may hold at times.
    let weight = || prop_oneof![8 => 0u32..6, 2 => 6u32..25, 1 => Just(60), 1 => Just(u32::MAX)];
    let time = || prop_oneof![4 => Just(0u64), 1 => 1u64..40];
    prop_oneof![
        8 => (key(), weight(), time(), time())
            .prop_map(|(key, weight, ttl, tti)| Step::Insert { key, weight, ttl, tti }),
        6 => key().prop_map(Step::Get),
        2 => key().prop_map(Step::Remove),
        2 => (key(), weight()).prop_map(|(key, weight)| Step::Compute { key, weight }),
        1 => key().prop_map(Step::Forget),
        1 => (key(), time()).prop_map(|(key, ttl)| Step::ExpireAfter { key, ttl }),
        3 => (1u64..30).prop_map(Step::Advance),
        1 => (0u64..70).prop_map(Step::Resize),
        1 => Just(Step::Clear),
        2 => Just(Step::RunPending),
        1 => (0..POLICIES.len()).prop_map(Step::SetPolicy),
    ]
}

/// A value: a number of its own, and what it weighs.
type Value = (u64, u32);

/// What the model knows of an entry. An end is at its moment.
#[derive(Clone, Copy, Debug)]
struct Known {
    number: u64,
    live_end_ms: Option<u64>,
    tti_ms: Option<u64>,
    accessed_ms: u64,
}

impl Known {
    fn has_ended(&self, now_ms: u64) -> bool {
        let idle_end_ms = self.tti_ms.map(|tti_ms| self.accessed_ms + tti_ms);
        self.live_end_ms.into_iter().chain(idle_end_ms).any(|end_ms| end_ms <= now_ms)
    }
}

struct Model {
    cache: Cache<u64, Value, Fixed>,
    clock: ManualClock,
    heard: Arc<Mutex<Vec<(u64, Value, Cause)>>>,
    known: BTreeMap<u64, Known>,
    now_ms: u64,
    numbers: u64,
}

impl Model {
    fn new(shards: usize, notes_len_max: usize, policy: Option<usize>) -> Self {
        let (clock, heard) = (ManualClock::default(), Arc::new(Mutex::new(Vec::new())));
        let ears = Arc::clone(&heard);
        let builder = Cache::builder(40).hasher(Fixed::default()).shards(shards);
        let builder = builder.weigher(|_: &u64, value: &Value| value.1).clock(clock.clone());
        let builder = builder.notes_len_max(notes_len_max).on_removal(move |key, value, cause| {
            ears.lock().expect("no panic").push((key, value, cause));
        });
        let cache = builder.build().expect("it is made");
        let model = Self { cache, clock, heard, known: BTreeMap::new(), now_ms: 0, numbers: 0 };
        policy.into_iter().for_each(|policy| model.set_policy(policy));
        model
    }

    fn set_policy(&self, policy: usize) {
        let policy = match POLICIES[policy] {
            "frail" => Scripted::failing("frail", 4),
            name => native(name),
        };
        self.cache.pardon(&*policy);
        // The frail one may fail while it is prepared.
        drop(self.cache.set_policy(policy));
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn apply(&mut self, step: Step) -> Result<(), String> {
        let now_ms = self.now_ms;
        match step {
            Step::Insert { key, weight, ttl, tti } => self.insert((key, weight), ttl, tti),
            Step::Compute { key, weight } => self.compute(key, weight)?,
            Step::Get(key) => {
                let found = self.cache.get(&key).map(|value| value.0);
                self.agree(key, found)?;
                if let Some(known) = self.known.get_mut(&key).filter(|_| found.is_some()) {
                    known.accessed_ms = now_ms;
                }
            }
            Step::Remove(key) => {
                let there = self.lives(key);
                if self.cache.remove(&key) != there {
                    return Err(format!("removing {key}, which is there: {there}"));
                }
            }
            Step::Forget(key) => drop(self.cache.compute(key, |_| Change::Remove)),
            Step::ExpireAfter { key, ttl } => {
                let ttl = (ttl > 0).then_some(ttl);
                if self.cache.expire_after(&key, ttl.map(Duration::from_millis))
                    && let Some(known) = self.known.get_mut(&key)
                {
                    known.live_end_ms = ttl.map(|ttl| now_ms + ttl);
                }
            }
            Step::Advance(ms) => {
                self.now_ms += ms;
                self.clock.advance_ms(ms);
            }
            Step::Resize(capacity) => self.cache.resize(capacity),
            Step::Clear => self.cache.clear(),
            Step::RunPending => self.cache.run_pending(),
            Step::SetPolicy(policy) => self.set_policy(policy),
        }
        self.listen()?;
        self.compare(step)
    }

    fn insert(&mut self, (key, weight): (u64, u32), ttl: u64, tti: u64) {
        let (number, now_ms) = (self.number(), self.now_ms);
        let mut options = InsertOptions::new();
        if ttl > 0 {
            options = options.end(Ttl::After(Duration::from_millis(ttl)));
        }
        if tti > 0 {
            options = options.tti(Duration::from_millis(tti));
        }
        let live_end_ms = (ttl > 0).then_some(now_ms + ttl);
        let tti_ms = (tti > 0).then_some(tti);
        let _ = self.cache.insert_with(key, (number, weight), options);
        // Should it be gone at once, the listener has heard of this very number.
        self.known.insert(key, Known { number, live_end_ms, tti_ms, accessed_ms: now_ms });
    }

    fn compute(&mut self, key: u64, weight: u32) -> Result<(), String> {
        let (number, now_ms) = (self.number(), self.now_ms);
        let mut seen = None;
        let stored = self.cache.compute(key, |old| {
            seen = old.map(|value| value.0);
            Change::Put((number, weight))
        });
        self.agree(key, seen)?;
        let former = self.known.get(&key).copied().filter(|_| seen.is_some());
        let (live_end_ms, tti_ms) =
            former.map_or((None, None), |old| (old.live_end_ms, old.tti_ms));
        self.known.insert(key, Known { number, live_end_ms, tti_ms, accessed_ms: now_ms });
        if stored.is_none() {
            let rejected =
                self.heard.lock().expect("no panic").iter().any(|heard| heard.1.0 == number);
            return if rejected {
                Ok(())
            } else {
                Err(format!("{number} is neither here nor there"))
            };
        }
        Ok(())
    }

    /// Takes out of the map what the listener heard of.
    fn listen(&mut self) -> Result<(), String> {
        for (key, (number, _), cause) in std::mem::take(&mut *self.heard.lock().expect("no panic"))
        {
            // Of a key that was overwritten the map holds the successor already.
            let known = self.known.get(&key).copied().filter(|known| known.number == number);
            let Some(known) = known else { continue };
            if (cause == Cause::Expired) && !known.has_ended(self.now_ms) {
                return Err(format!("{key} expired early: {known:?} at {}", self.now_ms));
            }
            if cause == Cause::Replaced && self.cache.contains(&key) {
                return Err(format!("{key} was replaced by nothing: {known:?}"));
            }
            self.known.remove(&key);
        }
        Ok(())
    }

    fn lives(&self, key: u64) -> bool {
        self.known.get(&key).is_some_and(|known| !known.has_ended(self.now_ms))
    }

    /// What the cache says of `key` is what the map says.
    fn agree(&self, key: u64, found: Option<u64>) -> Result<(), String> {
        let expected = self.known.get(&key).filter(|known| !known.has_ended(self.now_ms));
        let expected = expected.map(|known| known.number);
        if found == expected {
            return Ok(());
        }
        Err(format!("{key} at {} ms: {found:?}, expected {expected:?}", self.now_ms))
    }

    fn compare(&self, step: Step) -> Result<(), String> {
        for key in 0..KEYS {
            let found = self.cache.peek(&key).map(|value| value.0);
            self.agree(key, found).map_err(|reason| format!("after {step:?}: {reason}"))?;
        }
        let stats = self.cache.stats();
        assert_within(&stats);
        if stats.entries != self.known.len() as u64 {
            return Err(format!(
                "after {step:?}: {} entries, not {}",
                stats.entries,
                self.known.len()
            ));
        }
        self.cache.validate();
        Ok(())
    }
}

#[test]
fn any_operations_agree_with_a_plain_map() {
    let steps = prop::collection::vec(step(), 1..120);
    let policy = prop::option::weighted(0.8, 0..POLICIES.len());
    let strategy = (steps, policy, 1usize..4, prop_oneof![Just(1usize), Just(3), Just(256)]);
    check(cases(400), &strategy, |(steps, policy, shards, notes_len_max)| {
        let mut model = Model::new(shards, notes_len_max, policy);
        steps.iter().try_for_each(|&step| model.apply(step))
    });
}
