//! Models on their way to the policies of a live cache: who gets which, when, and what a refusal or a
//! fault comes to.

use std::sync::{Arc, Mutex};

use ostler_abi::{ModelRefused, Record, Setup};
use ostler_core::{
    Cache, InstanceSource, ModelLength, PolicyEvent, PolicyFault, PolicyInstance, Victims, Wants,
};
use ostler_tests::{TestShard, guests_of, native};

type Live = Cache<u64, u64>;

/// What instances heard, in order: `step 3`, `model good 1`.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

impl Heard {
    fn note(&self, line: String) {
        self.0.lock().expect("no panic").push(line);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().expect("no panic"))
    }

    fn models(&self) -> Vec<String> {
        self.take().into_iter().filter(|line| line.starts_with("model")).collect()
    }
}

/// First in, first out, and a taker of models: `good …` is taken, `trap` is a fault, the rest refused.
struct Student {
    fifo: Box<dyn PolicyInstance>,
    heard: Heard,
    model: String,
}

impl PolicyInstance for Student {
    fn events(&mut self) -> &mut [Record] {
        self.fifo.events()
    }

    fn step(&mut self, n: usize) -> Result<Victims<'_>, PolicyFault> {
        self.heard.note(format!("step {n} by {}", self.model));
        self.fifo.step(n)
    }

    fn model(&mut self, message: &[u8]) -> Result<Result<(), ModelRefused>, PolicyFault> {
        let message = String::from_utf8_lossy(message).into_owned();
        self.heard.note(format!("model {message}"));
        match message.split(' ').next() {
            Some("good") => {
                self.model = message;
                Ok(Ok(()))
            }
            Some("trap") => Err(PolicyFault::Trap { reason: "unreachable".to_owned() }),
            _ => Ok(Err(ModelRefused::WEIGHTS)),
        }
    }

    fn memory_bytes(&self) -> u64 {
        0
    }

    fn guest_ns(&self) -> u64 {
        0
    }
}

struct School {
    label: &'static str,
    heard: Heard,
}

impl School {
    fn new(label: &'static str) -> (Arc<Self>, Heard) {
        let heard = Heard::default();
        (Arc::new(Self { label, heard: heard.clone() }), heard)
    }
}

impl InstanceSource for School {
    fn label(&self) -> &str {
        self.label
    }

    fn params(&self) -> &str {
        "{}"
    }

    fn code_id(&self) -> String {
        self.label.to_owned()
    }

    fn wants(&self) -> Wants {
        Wants::NONE
    }

    fn instance(&self, setup: Setup) -> Result<Box<dyn PolicyInstance>, PolicyFault> {
        let fifo = native("fifo").instance(setup)?;
        Ok(Box::new(Student { fifo, heard: self.heard.clone(), model: "none".to_owned() }))
    }
}

fn cache(policy: Arc<dyn InstanceSource>, shards: usize) -> Live {
    Cache::builder(100).shards(shards).policy(policy).build().expect("it is made")
}

#[test]
fn what_was_noted_before_a_model_comes_before_it() {
    let (school, heard) = School::new("school");
    let cache = cache(school, 1);
    for key in 0..3 {
        let _ = cache.insert(key, key);
    }
    cache.run_pending();
    let _ = heard.take();
    for key in 3..5 {
        let _ = cache.insert(key, key);
    }
    let published = cache.publish_model(b"good 1").expect("its length is right");
    assert_eq!((published.taken, published.refused, published.ignored), (1, 0, 0));
    let _ = cache.insert(5, 5);
    cache.run_pending();
    assert_eq!(heard.take(), ["step 2 by none", "model good 1", "step 1 by good 1"]);
}

#[test]
fn every_shard_hears_of_it_and_so_does_every_later_instance() {
    let (first, first_heard) = School::new("first");
    let (second, second_heard) = School::new("second");
    let cache = cache(first, 4);
    let published = cache.publish_model(b"good 1").expect("its length is right");
    assert_eq!((published.taken, first_heard.models().len()), (4, 4));
    cache.set_policy(second).expect("it takes the seats");
    assert_eq!(second_heard.models(), ["model good 1"; 4]);
    cache.rollback().expect("there is one before");
    assert_eq!(first_heard.models(), ["model good 1"; 4]);
    let stats = cache.model_stats();
    assert_eq!((stats.published, stats.taken, stats.refused), (1, 12, 0));
    cache.set_policy(native("lru")).expect("it takes the seats");
    let published = cache.publish_model(b"good 2").expect("its length is right");
    assert_eq!((published.taken, published.ignored), (0, 4), "it takes no models");
    cache.rollback().expect("there is one before");
    assert_eq!(first_heard.models(), ["model good 2"; 4], "it was kept for whoever takes it");
}

#[test]
fn a_refused_model_changes_nothing_and_is_not_kept() {
    let (first, first_heard) = School::new("first");
    let (second, second_heard) = School::new("second");
    let cache = cache(first, 2);
    let _ = cache.publish_model(b"good 1").expect("its length is right");
    let published = cache.publish_model(b"bad").expect("its length is right");
    assert_eq!((published.taken, published.refused, published.faulted), (0, 2, 0));
    assert_eq!(published.refusal, Some(ModelRefused::WEIGHTS));
    let stats = cache.model_stats();
    assert_eq!((stats.published, stats.taken, stats.refused), (2, 2, 2));
    assert_eq!(stats.refusal, Some(ModelRefused::WEIGHTS));
    let _ = first_heard.take();
    for key in 0..200 {
        let _ = cache.insert(key, key);
    }
    cache.run_pending();
    assert!(first_heard.take().iter().all(|line| line.ends_with("by good 1")));
    assert_eq!(cache.stats().policy_faults, 0);
    cache.set_policy(second).expect("it takes the seats");
    assert_eq!(second_heard.models(), ["model good 1"; 2]);
    for length in [0, 1025] {
        let refused = cache.publish_model(&vec![7; length]);
        assert_eq!(refused, Err(ModelLength { bytes: length }));
    }
}

#[test]
fn a_fault_over_a_model_costs_the_seat_and_the_cache_goes_on() {
    let events = Arc::new(Mutex::new(Vec::new()));
    let ears = Arc::clone(&events);
    let (school, heard) = School::new("school");
    let cache: Live = Cache::builder(100)
        .shards(2)
        .policy(school)
        .on_policy(move |event| ears.lock().expect("no panic").push(event.clone()))
        .build()
        .expect("it is made");
    let _ = cache.publish_model(b"good 1").expect("its length is right");
    for key in 0..50 {
        let _ = cache.insert(key, key);
    }
    let published = cache.publish_model(b"trap").expect("its length is right");
    assert_eq!((published.taken, published.faulted), (0, 2));
    let stats = cache.stats();
    assert_eq!((stats.policy_faults, stats.shards_in_charge, stats.entries), (2, 0, 50));
    for key in 0..500 {
        let _ = cache.insert(key, key);
    }
    cache.validate();
    assert!(cache.stats().evicted_natively > 0, "the fallback serves");
    let faults = events
        .lock()
        .expect("no panic")
        .iter()
        .filter(|event| {
            matches!(event, PolicyEvent::Faulted { fault: PolicyFault::Trap { .. }, .. })
        })
        .count();
    assert_eq!(faults, 2);
    // What cost the seat is not given to the next instance; the one before it is.
    let _ = heard.take();
    cache.rollback().expect_err("there was no policy before");
    let (second, second_heard) = School::new("second");
    cache.set_policy(second).expect("it takes the seats");
    assert_eq!(second_heard.models(), ["model good 1"; 2]);
}

#[test]
fn a_listener_may_publish() {
    type Place = Mutex<Option<Live>>;
    let place: Arc<Place> = Arc::default();
    let inside = Arc::clone(&place);
    let (school, heard) = School::new("school");
    let cache: Live = Cache::builder(100)
        .shards(2)
        .policy(school)
        .on_policy(move |event| {
            let cache = inside.lock().expect("no panic").clone();
            if let (Some(cache), PolicyEvent::Faulted { .. }) = (cache, event) {
                let _ = cache.publish_model(b"good 2").expect("its length is right");
            }
        })
        .build()
        .expect("it is made");
    *place.lock().expect("no panic") = Some(cache.clone());
    let _ = cache.publish_model(b"trap").expect("its length is right");
    assert_eq!(cache.model_stats().published, 3, "one for each shard that lost its policy");
    assert!(!heard.models().is_empty());
    *place.lock().expect("no panic") = None;
}

/// Models and changes of the policy at once: in the end every shard decides by the last model.
#[test]
fn publishing_and_changing_the_policy_at_once_ends_with_the_last_model() {
    let (first, first_heard) = School::new("first");
    let (second, second_heard) = School::new("second");
    let cache = cache(Arc::clone(&first) as Arc<dyn InstanceSource>, 2);
    for key in 0..90 {
        let _ = cache.insert(key, key);
    }
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..200 {
                let message = format!("good {number}");
                let _ = cache.publish_model(message.as_bytes()).expect("its length is right");
            }
        });
        scope.spawn(|| {
            for round in 0..60 {
                let policy = if round % 2 == 0 { &second } else { &first };
                cache.set_policy(Arc::clone(policy) as _).expect("it takes the seats");
            }
        });
    });
    let _ = (first_heard.take(), second_heard.take());
    for key in 1000..1100 {
        let _ = cache.insert(key, key);
    }
    cache.run_pending();
    let mut lines = first_heard.take();
    lines.extend(second_heard.take());
    assert!(
        lines.len() >= 2 && lines.iter().all(|line| line.ends_with("by good 199")),
        "{lines:?}"
    );
    cache.validate();
}

/// The exact shard of replay: the same order, the same rules.
#[test]
fn an_exact_shard_delivers_between_two_batches_and_keeps_what_is_not_refused() {
    let (first, heard) = School::new("first");
    let (second, second_heard) = School::new("second");
    let config = TestShard::config(10);
    let setup = Setup { capacity: 10, slots: 16, seed: 1 };
    let mut test = TestShard::try_new(&config, first.instance(setup));
    let _ = (test.put(1, 1), test.get(1), heard.take());
    assert_eq!(test.shard.publish_model(b"good 1"), Ok(()));
    assert_eq!(heard.take(), ["step 1 by none", "model good 1"], "the hit was heard of before");
    assert_eq!(test.shard.publish_model(b"bad"), Err(ModelRefused::WEIGHTS));
    test.shard.set_policy(&*second).expect("it takes the seat");
    assert_eq!(second_heard.models(), ["model good 1"]);
    assert_eq!(test.shard.publish_model(b"trap"), Err(ModelRefused::TAKES_NONE));
    let counters = test.shard.counters();
    assert_eq!((counters.faults, counters.models), (1, 1));
    assert_eq!(test.shard.fault().map(PolicyFault::kind), Some("trap"));
    for key in 0..50 {
        let _ = test.request(key, 1);
    }
    test.shard.validate();
}

/// The hostile takers of models, in charge of a live cache.
#[test]
fn invariant_3_no_guest_takes_the_cache_down_over_a_model() {
    let host = ostler::host().expect("there is a host");
    let none = serde_json::Map::new();
    let mut tried = 0;
    for guest in guests_of("model").into_iter().filter(|guest| guest.name != "io_small") {
        let opened = host.open_module(&guest.module, &none, guest.name.clone());
        let cache = cache(Arc::new(opened.expect("it is admitted")), 1);
        let _ = cache.insert(1, 1);
        let published = cache.publish_model(&[0; 9]).expect("its length is right");
        let honest = guest.name.starts_with("good");
        assert_eq!((published.refused, published.faulted), if honest { (1, 0) } else { (0, 1) });
        for key in 0..90 {
            let _ = cache.insert(key, key);
        }
        cache.run_pending();
        cache.validate();
        assert_eq!((cache.get(&1), cache.stats().shards_in_charge), (Some(1), u64::from(honest)));
        tried += 1;
    }
    assert!(tried >= 5, "{tried} guests");
}
