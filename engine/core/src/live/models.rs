//! Models of a live shard for loom, which runs them in every order that threads can take: the ring and
//! the log, the hand-off of maintenance, and the change of the seat.
//!
//! Run with `RUSTFLAGS="--cfg ostler_loom" cargo test -p ostler-core --release --lib models`.

use std::collections::VecDeque;
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::sync::Arc;
use std::time::Duration;

use loom::thread;
use ostler_abi::{Kind, Record, Setup};

use crate::clock::ManualClock;
use crate::fault::PolicyFault;
use crate::flight::Flights;
use crate::hashing::Keys;
use crate::instance::{PolicyInstance, Victims};
use crate::live::{Aftermath, Budget, Charge, Lifetimes, LiveShard, Newcomer, ShardSetup};
use crate::model_shelf::ModelShelf;
use crate::quarantine::Quarantine;
use crate::seat::Wants;
use crate::source::InstanceSource;
use crate::stats::Stats;

/// First in, first out, written without the SDK; faults at its `fault_at`-th record.
struct Fifo {
    events: Vec<Record>,
    victims: Vec<u32>,
    queue: VecDeque<u32>,
    capacity: usize,
    records: usize,
    fault_at: usize,
}

impl PolicyInstance for Fifo {
    fn events(&mut self) -> &mut [Record] {
        &mut self.events
    }

    fn step(&mut self, n: usize) -> Result<Victims<'_>, PolicyFault> {
        self.victims.clear();
        for record in &self.events[..n] {
            self.records += 1;
            if self.records == self.fault_at {
                return Err(PolicyFault::Refused { code: 7 });
            }
            match record.kind() {
                Some(Kind::Insert | Kind::Adopt) => self.queue.push_back(record.slot),
                Some(Kind::Remove | Kind::Expire) => self.queue.retain(|&slot| slot != record.slot),
                Some(Kind::Capacity) => self.capacity = record.key_hash as usize,
                _ => {}
            }
            if record.kind() != Some(Kind::Adopt) {
                while self.queue.len() > self.capacity {
                    self.victims.extend(self.queue.pop_front());
                }
            }
        }
        Ok(Victims { slots: &self.victims, more: false })
    }

    fn memory_bytes(&self) -> u64 {
        0
    }

    fn guest_ns(&self) -> u64 {
        0
    }
}

struct Fifos {
    fault_at: usize,
}

impl InstanceSource for Fifos {
    fn label(&self) -> &str {
        "fifo"
    }

    fn params(&self) -> &str {
        "{}"
    }

    fn code_id(&self) -> String {
        "fifo".to_owned()
    }

    fn wants(&self) -> Wants {
        Wants { hits: true, misses: false }
    }

    fn instance(&self, setup: Setup) -> Result<Box<dyn PolicyInstance>, PolicyFault> {
        Ok(Box::new(Fifo {
            events: vec![Record::ZERO; 4],
            victims: Vec::new(),
            queue: VecDeque::new(),
            capacity: usize::try_from(setup.capacity).expect("a small capacity"),
            records: 0,
            fault_at: self.fault_at,
        }))
    }
}

/// Hashes alike in every run, so that loom can repeat one.
type Hasher = BuildHasherDefault<DefaultHasher>;
type Shard = LiveShard<u32, u32, Hasher>;

fn hash_of(key: u32) -> u64 {
    Keys(Hasher::default()).hash(&key)
}

fn charge(serial: u64, fault_at: usize) -> Charge {
    Charge { source: Arc::new(Fifos { fault_at }), serial }
}

/// A shard of capacity 2 and slack 1 whose ring holds two notes.
fn shard(first: &Charge) -> Arc<Shard> {
    let setup = ShardSetup {
        budget: Budget { capacity: 2, slack: 1 },
        expected_entries: 8,
        slots_expected: 8,
        notes_len_max: 2,
        insert_wait: Duration::ZERO,
        lifetimes: Lifetimes::default(),
        seed: 1,
        quarantine: Arc::new(Quarantine::new(0, std::collections::HashSet::new())),
        models: Arc::new(ModelShelf::default()),
        clock: Arc::new(ManualClock::default()),
    };
    let hasher = Hasher::default();
    let shard = Shard::new(&setup, hasher.clone(), Arc::new(Flights::new(hasher)));
    assert_eq!(appoint(&shard, first), None);
    Arc::new(shard)
}

/// The fault that kept `charge` out of the seat, if any.
fn appoint(shard: &Shard, charge: &Charge) -> Option<PolicyFault> {
    let mut settle = |after: &mut Aftermath<u32, u32>| drop(std::mem::take(after));
    shard.appoint(charge, &mut Aftermath::default(), &mut settle).err()
}

fn insert(shard: &Shard, key: u32) {
    let entry = Some((key, key));
    let mut newcomer = Newcomer { entry, hash: hash_of(key), weight: 1, options: None };
    let mut after = Aftermath::default();
    let _ = shard.insert(&mut newcomer, &mut after);
    assert!(shard.state.lock().residents.weight() <= 3, "capacity and slack hold at every instant");
}

fn get(shard: &Shard, key: u32) {
    let mut due = crate::live::Due::No;
    let value = shard.read(hash_of(key), &key, |&value| value, &mut due);
    assert!(value.is_none_or(|value| value == key));
    if due == crate::live::Due::Yes {
        shard.catch_up(&mut Aftermath::default());
    }
}

/// Everything is handed over, every invariant holds, every entry is accounted for.
fn settle(shard: &Shard) -> Stats {
    let mut after = Aftermath::default();
    while shard.run_pending(&mut after) {}
    shard.validate();
    let mut stats = Stats::default();
    shard.add_stats(&mut stats);
    stats
}

/// A shard with two entries, which is what fits, and a thread that plays `other` beside the caller.
fn full_beside(
    charge: &Charge,
    other: impl FnOnce(&Shard) + Send + 'static,
) -> (Arc<Shard>, thread::JoinHandle<()>) {
    let shard = shard(charge);
    insert(&shard, 1);
    insert(&shard, 2);
    let shared = Arc::clone(&shard);
    let thread = thread::spawn(move || other(&shared));
    (shard, thread)
}

fn explore(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(4);
    builder.check(model);
}

#[test]
fn inserts_of_two_threads_keep_the_limit_and_lose_nothing() {
    explore(|| {
        let shard = shard(&charge(1, usize::MAX));
        let other = Arc::clone(&shard);
        let thread = thread::spawn(move || {
            insert(&other, 1);
            insert(&other, 2);
        });
        insert(&shard, 3);
        insert(&shard, 4);
        thread.join().expect("no panic");
        let stats = settle(&shard);
        assert_eq!((stats.inserted, stats.entries + stats.evicted + stats.rejected), (4, 4));
        assert_eq!((stats.entries, stats.policy_faults), (2, 0));
    });
}

#[test]
fn hits_removals_and_inserts_hand_over_to_each_other() {
    explore(|| {
        let (shard, thread) = full_beside(&charge(1, usize::MAX), |shard| {
            get(shard, 1);
            get(shard, 2);
        });
        let removed = shard.remove(hash_of(1), &1, &mut Aftermath::default());
        insert(&shard, 3);
        thread.join().expect("no panic");
        let stats = settle(&shard);
        assert_eq!((removed, stats.removed, stats.policy_faults), (true, 1, 0));
        assert_eq!((stats.entries, stats.evicted), (2, 0));
    });
}

#[test]
fn the_seat_changes_beside_inserts() {
    explore(|| {
        let (shard, thread) = full_beside(&charge(1, usize::MAX), |shard| {
            insert(shard, 3);
            get(shard, 3);
        });
        assert_eq!(appoint(&shard, &charge(2, usize::MAX)), None);
        thread.join().expect("no panic");
        let stats = settle(&shard);
        assert_eq!(shard.charge().map(|charge| charge.serial), Some(2));
        assert_eq!((stats.inserted, stats.entries, stats.evicted), (3, 2, 1));
        assert_eq!(stats.policy_faults, 0);
    });
}

#[test]
fn the_capacity_shrinks_beside_inserts() {
    explore(|| {
        let (shard, thread) = full_beside(&charge(1, usize::MAX), |shard| {
            insert(shard, 3);
            get(shard, 2);
        });
        shard.resize(Budget { capacity: 1, slack: 1 }, &mut Aftermath::default());
        thread.join().expect("no panic");
        let stats = settle(&shard);
        assert_eq!((stats.inserted, stats.entries, stats.evicted), (3, 1, 2));
        assert_eq!(stats.policy_faults, 0);
    });
}

#[test]
fn a_fault_beside_inserts_leaves_the_fallback_in_charge() {
    explore(|| {
        let shard = shard(&charge(1, 3));
        let other = Arc::clone(&shard);
        let thread = thread::spawn(move || {
            insert(&other, 1);
            insert(&other, 2);
        });
        insert(&shard, 3);
        insert(&shard, 4);
        thread.join().expect("no panic");
        let stats = settle(&shard);
        assert_eq!((stats.policy_faults, stats.shards_in_charge), (1, 0));
        assert_eq!((stats.inserted, stats.entries, stats.evicted), (4, 2, 2));
    });
}
