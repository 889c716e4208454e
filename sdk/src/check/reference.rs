//! A plain cache that plays requests against a policy and judges its answers.

use std::collections::{HashMap, HashSet};

use ostler_abi::{Kind, Record, hash_u64};

use crate::check::Subject;

/// How many victims one answer may hold here; small, so that long answers are exercised.
const VICTIMS_CAP: usize = 64;

/// When records are handed to the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Batch {
    /// Hits wait for the next event that may need a victim; decisions equal one call a request.
    Exact,
    /// Every `n` events in one call, whatever they are; the cache overshoots meanwhile.
    Every(usize),
}

/// A rule of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rule {
    /// The call itself failed (trap, deadline, memory …).
    Call,
    /// A victim must be in the view, and named once.
    VictimInView,
    /// After a step the view must weigh at most the capacity.
    Budget,
    /// A policy must not evict far below the capacity.
    OverEviction,
    /// What is no valid model must be refused.
    Model,
    /// A policy must stop saying "more" after residents/cap + 1 calls.
    Endless,
}

/// A broken rule and how it was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// Which rule.
    pub rule: Rule,
    /// What happened, with the numbers.
    pub detail: String,
}

impl std::fmt::Display for Breach {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}: {}", self.rule, self.detail)
    }
}

/// What one request came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Served {
    /// The key was resident.
    Hit,
    /// It was not and came in (and may have been chosen as victim at once).
    Miss,
    /// It weighs more than the capacity: refused without asking the policy.
    Oversize,
}

#[derive(Clone, Copy)]
struct Entry {
    key: u64,
    weight: u32,
}

/// A cache over `u64` keys in plain std collections, one policy, no threads, every rule asserted.
///
/// The order of slots: the most recently freed first, then the lowest never used. A freed slot is
/// not taken again before the call that consumed its last event has returned.
pub struct ReferenceCache<S> {
    subject: S,
    batch: Batch,
    capacity: u64,
    slots_bound: u32,
    index: HashMap<u64, u32>,
    entries: Vec<Option<Entry>>,
    free: Vec<u32>,
    quarantine: Vec<u32>,
    pending: Vec<Record>,
    /// Delivered weights: the policy's view.
    view: HashMap<u32, u32>,
    departed: HashSet<u32>,
    departed_weight: u64,
    requests: u64,
    evicted: Vec<u64>,
}

impl<S: Subject> ReferenceCache<S> {
    /// An empty cache. `subject` was created with the same `capacity` and `slots_bound`.
    pub fn new(subject: S, capacity: u64, slots_bound: u32, batch: Batch) -> Self {
        Self {
            subject,
            batch,
            capacity,
            slots_bound,
            index: HashMap::new(),
            entries: Vec::new(),
            free: Vec::new(),
            quarantine: Vec::new(),
            pending: Vec::new(),
            view: HashMap::new(),
            departed: HashSet::new(),
            departed_weight: 0,
            requests: 0,
            evicted: Vec::new(),
        }
    }

    /// The keys evicted since the last call of this, in order.
    pub fn take_evicted(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.evicted)
    }

    /// The resident keys, sorted.
    pub fn residents(&self) -> Vec<u64> {
        let mut keys: Vec<u64> = self.index.keys().copied().collect();
        keys.sort_unstable();
        keys
    }

    /// Serves one get-or-insert request.
    ///
    /// # Errors
    ///
    /// The [`Breach`] where the policy breaks a rule; the cache is not usable afterwards.
    pub fn request(&mut self, key: u64, weight: u32) -> Result<Served, Breach> {
        self.requests += 1;
        if let Some(&slot) = self.index.get(&key) {
            self.note(Kind::Hit, slot, key)?;
            return Ok(Served::Hit);
        }
        let weight = weight.max(1);
        if u64::from(weight) > self.capacity {
            return Ok(Served::Oversize);
        }
        let slot = self.take_slot(key, weight)?;
        self.note(Kind::Insert, slot, key)?;
        if self.batch == Batch::Exact {
            self.flush()?;
        }
        Ok(Served::Miss)
    }

    /// Overwrites `key` where it is resident.
    ///
    /// # Errors
    ///
    /// As [`request`](Self::request).
    pub fn update(&mut self, key: u64, weight: u32) -> Result<(), Breach> {
        let weight = weight.max(1);
        let Some(&slot) = self.index.get(&key) else { return Ok(()) };
        if u64::from(weight) > self.capacity {
            return self.remove(key, Kind::Remove);
        }
        if let Some(entry) = &mut self.entries[slot as usize] {
            entry.weight = weight;
        }
        self.note(Kind::Update, slot, key)?;
        if self.batch == Batch::Exact { self.flush() } else { Ok(()) }
    }

    /// Removes `key` where it is resident; `kind` is remove or expire.
    ///
    /// # Errors
    ///
    /// As [`request`](Self::request).
    pub fn remove(&mut self, key: u64, kind: Kind) -> Result<(), Breach> {
        let Some(slot) = self.index.remove(&key) else { return Ok(()) };
        let weight = self.entries[slot as usize].take().map_or(1, |entry| entry.weight);
        self.quarantine.push(slot);
        self.note_with(Record { weight, ..Record::new(kind, slot) }, key)?;
        if self.batch == Batch::Exact { self.flush() } else { Ok(()) }
    }

    /// Adopts an entry that is resident already, with its last access.
    ///
    /// # Errors
    ///
    /// As [`request`](Self::request).
    pub fn adopt(&mut self, key: u64, weight: u32, hits: u8) -> Result<(), Breach> {
        if self.index.contains_key(&key) {
            return Ok(());
        }
        self.flush()?;
        let slot = self.take_slot(key, weight.max(1))?;
        // The two records introduce one entry: they are never in different batches.
        let batch = std::mem::replace(&mut self.batch, Batch::Exact);
        self.note(Kind::Adopt, slot, key)?;
        if hits > 0 {
            let entry = self.pending.last().copied();
            let adopt = entry.unwrap_or(Record::new(Kind::Adopt, slot));
            self.pending.push(Record { kind: Kind::Hit as u8, count: hits, ..adopt });
        }
        self.batch = batch;
        self.flush()
    }

    /// Changes the capacity, always in a batch of its own.
    ///
    /// # Errors
    ///
    /// As [`request`](Self::request).
    pub fn resize(&mut self, capacity: u64) -> Result<(), Breach> {
        self.flush()?;
        self.capacity = capacity;
        self.pending.push(Record {
            key_hash: capacity,
            ..Record::new(Kind::Capacity, ostler_abi::NO_SLOT)
        });
        self.flush()
    }

    /// Tells the policy to forget everything and forgets everything.
    ///
    /// # Errors
    ///
    /// As [`request`](Self::request).
    pub fn reset(&mut self) -> Result<(), Breach> {
        self.flush()?;
        self.pending.push(Record::new(Kind::Reset, ostler_abi::NO_SLOT));
        self.view.clear();
        self.index.clear();
        let resident: Vec<u32> = (0u32..)
            .zip(&mut self.entries)
            .filter_map(|(slot, entry)| entry.take().map(|_| slot))
            .collect();
        self.quarantine.extend(resident);
        self.flush()
    }

    /// Offers a message that is no model, after everything that is pending: the policy must refuse it.
    ///
    /// # Errors
    ///
    /// As [`request`](Self::request).
    pub fn offer_garbage(&mut self, message: &[u8]) -> Result<(), Breach> {
        self.flush()?;
        let requests = self.requests;
        match self.subject.model(message) {
            Ok(Err(_)) => Ok(()),
            Ok(Ok(())) => {
                let (len, start) = (message.len(), &message[..message.len().min(8)]);
                let detail = format!("took {len} bytes that are no model: {start:02x?}…");
                Err(breach(Rule::Model, format!("request {requests}: {detail}")))
            }
            Err(fault) => Err(breach(Rule::Call, format!("request {requests}: model: {fault}"))),
        }
    }

    /// Hands over what is pending and applies the victims.
    ///
    /// # Errors
    ///
    /// As [`request`](Self::request).
    pub fn flush(&mut self) -> Result<(), Breach> {
        let events = std::mem::take(&mut self.pending);
        let mut victims = [0; VICTIMS_CAP];
        let mut last_victim_weight = None;
        let calls_max = (self.view.len() + self.departed.len()) / VICTIMS_CAP + 2;
        let mut batch: &[Record] = &events;
        for _ in 0..calls_max {
            let count = self.subject.step(batch, &mut victims).map_err(|fault| {
                breach(Rule::Call, format!("request {}: {fault}", self.requests))
            })?;
            for &victim in &victims[..count] {
                if let Some(weight) = self.evict(victim)? {
                    last_victim_weight = Some(weight);
                }
            }
            if count < VICTIMS_CAP {
                self.free.append(&mut self.quarantine);
                self.departed.clear();
                self.judge_budget(last_victim_weight)?;
                self.departed_weight = 0;
                return Ok(());
            }
            batch = &[];
        }
        Err(breach(Rule::Endless, format!("still more victims after {calls_max} calls")))
    }

    fn take_slot(&mut self, key: u64, weight: u32) -> Result<u32, Breach> {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => u32::try_from(self.entries.len())
                .map_err(|_| breach(Rule::Call, "more than u32::MAX slots".into()))?,
        };
        if slot as usize == self.entries.len() {
            self.entries.push(None);
            if slot >= self.slots_bound {
                self.slots_bound += (self.slots_bound / 8).max(1);
                self.note_record(Record::new(Kind::Slots, self.slots_bound))?;
            }
        }
        self.entries[slot as usize] = Some(Entry { key, weight });
        self.index.insert(key, slot);
        Ok(slot)
    }

    fn note(&mut self, kind: Kind, slot: u32, key: u64) -> Result<(), Breach> {
        let weight = self.entries[slot as usize].map_or(1, |entry| entry.weight);
        self.note_with(Record { weight, ..Record::new(kind, slot) }, key)
    }

    /// Follows `record` in the view, completes it and hands it on.
    fn note_with(&mut self, record: Record, key: u64) -> Result<(), Breach> {
        let Record { slot, weight, .. } = record;
        match record.kind() {
            Some(Kind::Insert | Kind::Adopt) => {
                self.view.insert(slot, weight);
            }
            Some(Kind::Update) => {
                if let Some(old) = self.view.insert(slot, weight) {
                    self.departed_weight += u64::from(old.saturating_sub(weight));
                }
            }
            Some(Kind::Remove | Kind::Expire) => {
                if let Some(old) = self.view.remove(&slot) {
                    self.departed_weight += u64::from(old);
                    self.departed.insert(slot);
                }
            }
            _ => {}
        }
        self.note_record(Record { key_hash: hash_u64(key, 0), time_ms: self.requests, ..record })
    }

    fn note_record(&mut self, record: Record) -> Result<(), Breach> {
        self.pending.push(record);
        let len_max = match self.batch {
            Batch::Exact => 256,
            Batch::Every(len) => len,
        };
        if self.pending.len() >= len_max { self.flush() } else { Ok(()) }
    }

    /// Applies one victim; returns its weight, or none where its entry was removed in this batch.
    fn evict(&mut self, slot: u32) -> Result<Option<u32>, Breach> {
        let Some(weight) = self.view.remove(&slot) else {
            if self.departed.remove(&slot) {
                return Ok(None);
            }
            return Err(breach(
                Rule::VictimInView,
                format!("request {}: victim {slot} is not in the view", self.requests),
            ));
        };
        let entry = self.entries[slot as usize].take();
        let Some(entry) = entry else { unreachable!("the view holds only resident slots") };
        self.index.remove(&entry.key);
        self.quarantine.push(slot);
        self.evicted.push(entry.key);
        Ok(Some(weight))
    }

    fn judge_budget(&self, last_victim_weight: Option<u32>) -> Result<(), Breach> {
        let weight: u64 = self.view.values().map(|&weight| u64::from(weight)).sum();
        if weight > self.capacity {
            return Err(breach(
                Rule::Budget,
                format!("request {}: the view weighs {weight} of {}", self.requests, self.capacity),
            ));
        }
        let Some(last) = last_victim_weight else { return Ok(()) };
        let ahead = u64::from(last).max(self.capacity / 64) + self.departed_weight;
        let floor = self.capacity.saturating_sub(ahead);
        if weight < floor {
            return Err(breach(
                Rule::OverEviction,
                format!("request {}: evicted to {weight}, the floor is {floor}", self.requests),
            ));
        }
        Ok(())
    }
}

fn breach(rule: Rule, detail: String) -> Breach {
    Breach { rule, detail }
}
