//! What the tests of the live cache share: policies as sources, and the books of what came and went.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ostler::Policy;
use ostler_abi::{Record, Setup};
use ostler_core::{
    Cause, InstanceSource, PolicyFault, PolicyInstance, SeatError, Stats, Victims, Wants,
};

use crate::fifo::Fifo;
use crate::mock::{Answer, Mock};

type Make = Box<dyn Fn(Setup) -> Result<Box<dyn PolicyInstance>, PolicyFault> + Send + Sync>;

/// A built-in policy, compiled in, for a seat.
///
/// # Panics
///
/// Where there is none of that name.
#[must_use]
pub fn native(name: &str) -> Arc<dyn InstanceSource> {
    let builtin = ostler::builtin(name).expect("a built-in policy");
    let policy = Policy::from_native(builtin.native, &serde_json::Map::new(), name.to_owned());
    Arc::new(policy.expect("the manifest of a built-in policy is valid"))
}

/// A source of instances that a test makes.
pub struct Scripted {
    label: String,
    make: Make,
}

impl Scripted {
    /// A source whose instances `make` makes.
    pub fn source(
        label: &str,
        make: impl Fn(Setup) -> Result<Box<dyn PolicyInstance>, PolicyFault> + Send + Sync + 'static,
    ) -> Arc<dyn InstanceSource> {
        Arc::new(Self { label: label.to_owned(), make: Box::new(make) })
    }

    /// First in, first out; `spoil` sees every batch and its honest victims, and says what is
    /// answered. The first argument counts the instance's calls from 1.
    pub fn fifo(
        label: &str,
        spoil: impl Fn(u64, &[Record], Vec<u32>) -> Answer + Send + Sync + 'static,
    ) -> Arc<dyn InstanceSource> {
        let spoil = Arc::new(spoil);
        Self::source(label, move |setup| {
            let (mut fifo, spoil, mut calls) = (Fifo::new(setup.capacity), Arc::clone(&spoil), 0);
            let script = move |events: &[Record]| {
                calls += 1;
                spoil(calls, &introduced(events), fifo.serve(&introduced(events)))
            };
            Ok(Box::new(Unlogged(Mock::instance(256, script).0)))
        })
    }

    /// First in, first out, and a fault at each instance's call with this number.
    #[must_use]
    pub fn failing(label: &str, at_call: u64) -> Arc<dyn InstanceSource> {
        Self::fifo(label, move |call, _, victims| {
            let fault = PolicyFault::Trap { reason: "unreachable".to_owned() };
            if call >= at_call { Err(fault) } else { Ok(victims) }
        })
    }
}

/// The records with adoptions as inserts, which is all that the plain queue has to know of them.
fn introduced(events: &[Record]) -> Vec<Record> {
    let insert = ostler_abi::Kind::Insert as u8;
    let adopt = Some(ostler_abi::Kind::Adopt);
    let known = |record: &Record| match record.kind() == adopt {
        true => Record { kind: insert, ..*record },
        false => *record,
    };
    events.iter().map(known).collect()
}

/// A mock under load, whose log nobody reads.
struct Unlogged(Box<dyn PolicyInstance>);

impl PolicyInstance for Unlogged {
    fn events(&mut self) -> &mut [Record] {
        self.0.events()
    }

    fn step(&mut self, n: usize) -> Result<Victims<'_>, PolicyFault> {
        self.0.step(n)
    }

    fn memory_bytes(&self) -> u64 {
        0
    }

    fn guest_ns(&self) -> u64 {
        0
    }
}

impl InstanceSource for Scripted {
    fn label(&self) -> &str {
        &self.label
    }

    fn params(&self) -> &str {
        "{}"
    }

    fn code_id(&self) -> String {
        self.label.clone()
    }

    fn wants(&self) -> Wants {
        Wants { hits: true, misses: false }
    }

    fn instance(&self, setup: Setup) -> Result<Box<dyn PolicyInstance>, PolicyFault> {
        (self.make)(setup)
    }
}

/// The books of a cache, kept outside of it: what its listener heard, and which values are alive.
/// Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Books(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    heard: [AtomicU64; 6],
    made: AtomicU64,
    dropped: AtomicU64,
}

/// A value that is written down when it is made and when it is gone. A clone is the same value.
#[derive(Clone, Debug)]
pub struct Counted(Arc<Mark>);

#[derive(Debug)]
struct Mark {
    number: u64,
    counts: Arc<Counts>,
}

impl Drop for Mark {
    fn drop(&mut self) {
        self.counts.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

impl Counted {
    /// The number it was made with.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.0.number
    }
}

const CAUSES: [Cause; 6] = [
    Cause::Evicted,
    Cause::Expired,
    Cause::Removed,
    Cause::Replaced,
    Cause::Cleared,
    Cause::Rejected,
];

impl Books {
    /// A new value.
    #[must_use]
    pub fn value(&self, number: u64) -> Counted {
        self.0.made.fetch_add(1, Ordering::Relaxed);
        Counted(Arc::new(Mark { number, counts: Arc::clone(&self.0) }))
    }

    /// Writes down that an entry left.
    ///
    /// # Panics
    ///
    /// With a cause that is none of the six.
    pub fn hear(&self, cause: Cause) {
        let index = CAUSES.iter().position(|&other| other == cause).expect("one of six causes");
        self.0.heard[index].fetch_add(1, Ordering::Relaxed);
    }

    /// Values that are alive, wherever.
    #[must_use]
    pub fn alive(&self) -> u64 {
        self.0.made.load(Ordering::Relaxed) - self.0.dropped.load(Ordering::Relaxed)
    }

    /// Asserts that every count of `stats` is exact, when nobody is at work and nobody else holds a
    /// value: what came in is there or has left by one of six ways, the listener heard of each, and
    /// the values that left are gone.
    ///
    /// # Panics
    ///
    /// Where a count is off.
    pub fn check(&self, stats: &Stats) {
        let left = left_of(stats);
        assert_eq!(stats.inserted, stats.entries + left.iter().sum::<u64>(), "{stats:?}");
        let heard = self.0.heard.each_ref().map(|count| count.load(Ordering::Relaxed));
        assert_eq!(heard, left, "what the listener heard of {CAUSES:?}");
        assert_eq!(self.alive(), stats.entries, "values alive");
    }
}

/// The six ways of leaving, in one order.
fn left_of(stats: &Stats) -> [u64; 6] {
    [stats.evicted, stats.expired, stats.removed, stats.replaced, stats.cleared, stats.rejected]
}

/// Asserts what holds at every instant, whatever other threads do.
///
/// # Panics
///
/// Where it does not.
pub fn assert_within(stats: &Stats) {
    assert!(stats.weight <= stats.capacity + stats.slack, "the limit is kept: {stats:?}");
    let left: u64 = left_of(stats).iter().sum();
    assert_eq!(stats.inserted, stats.entries + left, "every entry is accounted for: {stats:?}");
    assert!(stats.held_records_max <= 1024, "a lock was held for {}", stats.held_records_max);
}

/// The kind of fault by which a policy did not get the seat.
#[must_use]
pub fn refusal(error: &SeatError) -> &'static str {
    match error {
        SeatError::Fault { fault, .. } => fault.kind(),
        SeatError::Quarantined { .. } => "quarantined",
        _ => "no previous",
    }
}
