//! Every built-in policy keeps the contract: random events, odd weights, tiny capacities, and
//! parameters at both ends of their range; compiled in and as its module, which must decide alike.

use std::collections::HashMap;

use ostler_abi::{Kind, Setup};
use ostler_policy::check::{Batch, ReferenceCache, Served, Subject, conformance};
use ostler_tests::{BUILTINS, Builtin, Tested, cases, check, extreme_params, module_of, runtime};
use proptest::prelude::*;

macro_rules! policies {
    ($($name:ident)*) => {
        $(mod $name {
            #[test]
            fn keeps_the_contract_on_random_events_natively_and_in_wasm() {
                super::random_events(super::builtin(stringify!($name)));
            }

            #[test]
            fn keeps_the_contract_with_parameters_at_both_ends() {
                super::extreme_parameters(super::builtin(stringify!($name)));
            }

            #[test]
            fn keeps_the_contract_as_a_module() {
                super::conforms(super::builtin(stringify!($name)));
            }
        })*

        #[test]
        fn every_policy_is_tested() {
            let tested: Vec<&str> = [$(stringify!($name)),*].to_vec();
            assert_eq!(BUILTINS.map(|builtin| builtin.name).to_vec(), tested);
        }
    };
}

policies! {
    arc clock fifo gdsf hyperbolic learned lecar lfu lhd lirs lru qdlp s3fifo sieve slru twoq wtinylfu
}

fn builtin(name: &str) -> &'static Builtin {
    BUILTINS.iter().find(|builtin| builtin.name == name).expect("a built-in policy")
}

/// One event of a random sequence.
#[derive(Clone, Copy, Debug)]
enum Event {
    Request(u64, u32),
    Update(u64, u32),
    Remove(u64),
    Expire(u64),
    Resize(u64),
    Flush,
}

fn event() -> impl Strategy<Value = Event> {
    let key = 0u64..48;
    let weight = prop_oneof![
        4 => Just(1u32),
        4 => 0u32..8,
        2 => 8u32..80,
        1 => (1u32 << 30)..=u32::MAX,
        1 => Just(u32::MAX),
    ];
    prop_oneof![
        16 => (key.clone(), weight.clone()).prop_map(|(key, weight)| Event::Request(key, weight)),
        3 => (key.clone(), weight).prop_map(|(key, weight)| Event::Update(key, weight)),
        1 => key.clone().prop_map(Event::Remove),
        1 => key.prop_map(Event::Expire),
        1 => capacity().prop_map(Event::Resize),
        1 => Just(Event::Flush),
    ]
}

fn capacity() -> impl Strategy<Value = u64> + Clone {
    prop_oneof![
        3 => 0u64..=2,
        6 => 3u64..60,
        1 => Just(u64::from(u32::MAX) + 7),
        1 => (1u64 << 40)..(1 << 62),
    ]
}

/// A cache to start from: capacity, first bound on slots, entries that are resident already.
type Start = (u64, u32, u32);

/// Plays `events`; the checker judges every answer, and what is resident is weighed on its own.
fn play(
    tested: &Tested,
    (capacity, slots, adopted): Start,
    batch: Batch,
    events: &[Event],
) -> Result<Vec<u64>, String> {
    let subject = tested.subject(Setup { capacity, slots, seed: 5 })?;
    let mut cache = ReferenceCache::new(subject, capacity, slots, batch);
    let mut books = Books { weights: HashMap::new(), capacity };
    for key in (0..u64::from(adopted)).take_while(|&key| key < capacity) {
        cache.adopt(key, 1, (key % 3) as u8).map_err(|breach| breach.to_string())?;
        books.weights.insert(key, 1);
    }
    // A hit that follows an adopt in its batch would belong to the adopt.
    cache.flush().map_err(|breach| breach.to_string())?;
    for (index, event) in events.iter().enumerate() {
        let at = |problem: String| format!("event {index}, {event:?}: {problem}");
        books.apply(&mut cache, event).map_err(at)?;
        // The slot of a removed entry is free only after the call; a newcomer of the same batch takes
        // another than it would with one record a call.
        let removes = matches!(event, Event::Remove(_) | Event::Expire(_) | Event::Update(..));
        if removes && matches!(batch, Batch::Exact | Batch::Every(1)) {
            cache.flush().map_err(|breach| at(breach.to_string()))?;
        }
        if batch == Batch::Exact {
            books.weigh(&cache.residents()).map_err(at)?;
        }
    }
    cache.flush().map_err(|breach| breach.to_string())?;
    books.weigh(&cache.residents())?;
    Ok(cache.take_evicted())
}

/// What every key weighs, and what all may weigh.
struct Books {
    weights: HashMap<u64, u32>,
    capacity: u64,
}

impl Books {
    fn apply<S: Subject>(
        &mut self,
        cache: &mut ReferenceCache<S>,
        event: &Event,
    ) -> Result<(), String> {
        let played = match *event {
            Event::Request(key, weight) => cache.request(key, weight).map(|served| {
                if served == Served::Miss {
                    self.weights.insert(key, weight.max(1));
                }
            }),
            Event::Update(key, weight) => {
                if u64::from(weight.max(1)) <= self.capacity && cache.residents().contains(&key) {
                    self.weights.insert(key, weight.max(1));
                }
                cache.update(key, weight)
            }
            Event::Remove(key) => cache.remove(key, Kind::Remove),
            Event::Expire(key) => cache.remove(key, Kind::Expire),
            Event::Resize(capacity) => {
                self.capacity = capacity;
                cache.resize(capacity)
            }
            Event::Flush => cache.flush(),
        };
        played.map_err(|breach| breach.to_string())
    }

    fn weigh(&self, residents: &[u64]) -> Result<(), String> {
        let weight: u64 = residents.iter().map(|key| u64::from(self.weights[key])).sum();
        if weight > self.capacity {
            return Err(format!("{weight} of {} resident: {residents:?}", self.capacity));
        }
        Ok(())
    }
}

fn random_events(builtin: &Builtin) {
    let native = Tested::native(builtin.native, "{}");
    let module = Tested::module(&runtime().load(&module_of(builtin)).expect("it is admitted"));
    let slots = prop_oneof![Just(1u32), 2u32..80];
    let strategy =
        ((capacity(), slots, 0u32..20), prop::collection::vec(event(), 1..300), 2usize..40);
    check(cases(80), &strategy, |(start, events, len)| {
        let exact = play(&native, start, Batch::Exact, &events)?;
        let one_a_call = play(&native, start, Batch::Every(1), &events)?;
        same("one record a call", &one_a_call, &exact)?;
        same("the module", &play(&module, start, Batch::Exact, &events)?, &exact)?;
        let batched = play(&native, start, Batch::Every(len), &events)?;
        same("the module in batches", &play(&module, start, Batch::Every(len), &events)?, &batched)
    });
}

fn same(what: &str, found: &[u64], expected: &[u64]) -> Result<(), String> {
    if found == expected {
        return Ok(());
    }
    let place = found.iter().zip(expected).position(|(found, expected)| found != expected);
    let place = place.unwrap_or(found.len().min(expected.len()));
    Err(format!("{what} decides otherwise from eviction {place} on: {found:?}, {expected:?}"))
}

fn extreme_parameters(builtin: &Builtin) {
    for params in extreme_params(builtin) {
        let tested = Tested::native(builtin.native, &params);
        let report = conformance(&mut |setup| tested.subject(setup));
        assert_eq!(report.first_failure(), None, "{} with {params}", builtin.name);
    }
}

fn conforms(builtin: &Builtin) {
    let module = runtime().load(&module_of(builtin)).expect("it is admitted");
    assert_eq!(module.manifest().name(), builtin.name);
    let declared = ostler_tests::manifest_of(&builtin.native);
    assert_eq!(module.manifest().version(), declared.version(), "{}", builtin.name);
    let tested = Tested::module(&module);
    let report = conformance(&mut |setup| tested.subject(setup));
    assert_eq!(report.first_failure(), None, "{}", builtin.name);
}
