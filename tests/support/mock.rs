//! A policy instance that a test scripts: it writes down what it is told and answers as it is bid.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use ostler_abi::{Kind, Record};
use ostler_core::{PolicyFault, PolicyInstance, Victims};

/// What a script says to a batch: all its victims, or a fault.
pub type Answer = Result<Vec<u32>, PolicyFault>;

type Script = Box<dyn FnMut(&[Record]) -> Answer + Send>;

/// Everything that a mock was told, call by call. Clones share the same log.
#[derive(Clone, Debug, Default)]
pub struct Told(Arc<Mutex<Log>>);

#[derive(Debug, Default)]
struct Log {
    batches: Vec<Vec<Record>>,
    announced: Vec<u32>,
}

impl Told {
    /// The records of every call, in order; a call without records is empty.
    #[must_use]
    pub fn batches(&self) -> Vec<Vec<Record>> {
        self.log().batches.clone()
    }

    /// The bounds on slots that were announced outside the window, in order.
    #[must_use]
    pub fn announced(&self) -> Vec<u32> {
        self.log().announced.clone()
    }

    /// All records, in order.
    #[must_use]
    pub fn records(&self) -> Vec<Record> {
        self.batches().concat()
    }

    /// Calls so far.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.log().batches.len()
    }

    /// The calls as text, such as `insert 0:1 | hit 0, insert 1:3 | -`.
    #[must_use]
    pub fn text(&self) -> String {
        let batches: Vec<String> = self.batches().iter().map(|batch| batch_text(batch)).collect();
        batches.join(" | ")
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.0.lock().expect("invariant: nothing panics while it logs")
    }
}

fn batch_text(batch: &[Record]) -> String {
    if batch.is_empty() {
        return "-".to_owned();
    }
    let records: Vec<String> = batch.iter().map(record_text).collect();
    records.join(", ")
}

fn record_text(record: &Record) -> String {
    let Some(kind) = record.kind() else { return format!("kind {}", record.kind) };
    let (name, slot) = (kind.name(), record.slot);
    match kind {
        Kind::Insert | Kind::Update | Kind::Adopt => format!("{name} {slot}:{}", record.weight),
        Kind::Capacity => format!("{name} {}", record.key_hash),
        Kind::Miss | Kind::Reset => name.to_owned(),
        _ => format!("{name} {slot}"),
    }
}

/// The scripted instance. Victims beyond its buffer are handed out in further calls.
pub struct Mock {
    events: Vec<Record>,
    victims_cap: usize,
    waiting: VecDeque<u32>,
    answer: Vec<u32>,
    script: Script,
    told: Told,
}

impl Mock {
    /// An instance with a window of `window_len` records and 64 places for victims, and its log.
    pub fn instance(
        window_len: usize,
        script: impl FnMut(&[Record]) -> Answer + Send + 'static,
    ) -> (Box<dyn PolicyInstance>, Told) {
        Self::with_cap(window_len, 64, script)
    }

    /// The same with `victims_cap` places for victims.
    pub fn with_cap(
        window_len: usize,
        victims_cap: usize,
        script: impl FnMut(&[Record]) -> Answer + Send + 'static,
    ) -> (Box<dyn PolicyInstance>, Told) {
        let told = Told::default();
        let mock = Self {
            events: vec![Record::ZERO; window_len],
            victims_cap,
            waiting: VecDeque::new(),
            answer: Vec::new(),
            script: Box::new(script),
            told: told.clone(),
        };
        (Box::new(mock), told)
    }
}

impl PolicyInstance for Mock {
    fn events(&mut self) -> &mut [Record] {
        &mut self.events
    }

    fn step(&mut self, n: usize) -> Result<Victims<'_>, PolicyFault> {
        let events = &self.events[..n];
        self.told.log().batches.push(events.to_vec());
        if !events.is_empty() {
            self.waiting.extend((self.script)(events)?);
        }
        let count = self.waiting.len().min(self.victims_cap);
        self.answer.clear();
        self.answer.extend(self.waiting.drain(..count));
        Ok(Victims { slots: &self.answer, more: count == self.victims_cap })
    }

    fn announce_slots(&mut self, bound: u32) {
        self.told.log().announced.push(bound);
    }

    fn memory_bytes(&self) -> u64 {
        0
    }

    fn guest_ns(&self) -> u64 {
        0
    }
}
