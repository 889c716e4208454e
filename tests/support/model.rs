//! The plain map that a shard must agree with, whatever its policy does.

use std::collections::{BTreeMap, VecDeque};

use ostler_core::{Batch, Inserted};
use proptest::prelude::*;

use crate::TestShard;

/// One operation on a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Look a key up.
    Get(u64),
    /// Look a key up and store it with this weight where it is missing.
    Request(u64, u32),
    /// Store a key with this weight in any case.
    Put(u64, u32),
    /// Remove a key.
    Remove(u64),
    /// Change the capacity.
    Capacity(u64),
    /// Hand over what waits.
    Flush,
}

impl Operation {
    /// Any operation on `keys` keys: weights of every size from 0 to `u32::MAX`, capacities of 0, 1,
    /// 2 and more.
    pub fn any(keys: u64) -> impl Strategy<Value = Operation> + Clone {
        let key = 0..keys;
        let weight = prop_oneof![
            4 => Just(1u32),
            4 => 1u32..8,
            1 => Just(0u32),
            2 => 8u32..80,
            1 => Just(u32::MAX),
        ];
        let capacity = prop_oneof![
            2 => 0u64..=2,
            4 => 3u64..60,
            1 => Just(u64::from(u32::MAX) + 7),
            1 => Just(u64::MAX >> 1),
        ];
        prop_oneof![
            3 => key.clone().prop_map(Operation::Get),
            12 => (key.clone(), weight.clone()).prop_map(|(key, w)| Operation::Request(key, w)),
            3 => (key.clone(), weight).prop_map(|(key, w)| Operation::Put(key, w)),
            2 => key.prop_map(Operation::Remove),
            1 => capacity.prop_map(Operation::Capacity),
            1 => Just(Operation::Flush),
        ]
    }
}

/// What a shard should hold: the keys put, less the keys removed and those it said it evicted.
#[derive(Debug)]
pub struct Model {
    /// Value and weight by key.
    entries: BTreeMap<u64, (u64, u32)>,
    capacity: u64,
    batch: Batch,
    /// Weights that came in lately, as many as a batch may hold.
    recent: VecDeque<u32>,
    recent_len_max: usize,
}

impl Model {
    /// The model of an empty shard whose policy has a window of `window_len` records.
    #[must_use]
    pub fn new(capacity: u64, batch: Batch, window_len: usize) -> Self {
        let recent_len_max = match batch {
            Batch::Every(len) => window_len.min(len.max(1) as usize),
            _ => 0,
        };
        Self { entries: BTreeMap::new(), capacity, batch, recent: VecDeque::new(), recent_len_max }
    }

    /// Does `operation` on `shard` and compares everything that can be seen of it.
    ///
    /// # Errors
    ///
    /// What differs, in words.
    ///
    /// # Panics
    ///
    /// Where the shard's own validation does.
    pub fn apply(&mut self, shard: &mut TestShard, operation: Operation) -> Result<(), String> {
        match operation {
            Operation::Get(key) => self.get(shard, key)?,
            Operation::Request(key, weight) => {
                self.get(shard, key)?;
                if !self.entries.contains_key(&key) {
                    self.put(shard, key, weight)?;
                }
            }
            Operation::Put(key, weight) => self.put(shard, key, weight)?,
            Operation::Remove(key) => {
                let removed = shard.remove(key);
                self.follow_evictions(shard)?;
                same("remove finds", removed, self.entries.remove(&key).is_some())?;
            }
            Operation::Capacity(capacity) => {
                shard.shard.set_capacity(capacity);
                self.capacity = capacity;
                self.recent.clear();
                self.follow_evictions(shard)?;
            }
            Operation::Flush => {
                shard.shard.flush();
                self.recent.clear();
                self.follow_evictions(shard)?;
            }
        }
        self.compare(shard)
    }

    fn get(&mut self, shard: &mut TestShard, key: u64) -> Result<(), String> {
        let found = shard.get(key);
        self.follow_evictions(shard)?;
        same("get finds", found, self.entries.get(&key).map(|entry| entry.0))
    }

    fn put(&mut self, shard: &mut TestShard, key: u64, weight: u32) -> Result<(), String> {
        let (value, outcome) = shard.put(key, weight);
        let weight = weight.max(1);
        // A full window is emptied before the key is looked up, and that may evict it.
        let evicted = shard.evicted();
        let (before, after) = match self.entries.get(&key) {
            Some(&(old, _)) => {
                let gone = evicted.iter().position(|&entry| entry == (key, old));
                evicted.split_at(gone.map_or(0, |place| place + 1))
            }
            None => (&[][..], &evicted[..]),
        };
        self.follow(before)?;
        let was_resident = self.entries.contains_key(&key);
        let expected = match (u64::from(weight) > self.capacity, was_resident) {
            (true, _) => Inserted::Oversize,
            (false, true) => Inserted::Updated,
            (false, false) => Inserted::New,
        };
        same("put returns", outcome, expected)?;
        if expected == Inserted::Oversize {
            self.entries.remove(&key);
        } else {
            self.entries.insert(key, (value, weight));
            self.recent.push_back(weight);
            if self.recent.len() > self.recent_len_max {
                self.recent.pop_front();
            }
        }
        self.follow(after)
    }

    fn follow_evictions(&mut self, shard: &mut TestShard) -> Result<(), String> {
        self.follow(&shard.evicted())
    }

    /// Every entry said to be evicted was resident with that value, and is not any more.
    fn follow(&mut self, evicted: &[(u64, u64)]) -> Result<(), String> {
        for &(key, value) in evicted {
            let entry = self.entries.remove(&key).map(|entry| entry.0);
            same(&format!("evicted key {key} held"), Some(value), entry)?;
        }
        Ok(())
    }

    fn compare(&self, test: &TestShard) -> Result<(), String> {
        test.shard.validate();
        same("length", test.shard.len(), self.entries.len())?;
        let weight: u64 = self.entries.values().map(|entry| u64::from(entry.1)).sum();
        same("weight", test.shard.weight(), weight)?;
        for (&key, &(_, weight)) in &self.entries {
            same(&format!("weight of key {key}"), test.weight_of(key), Some(weight))?;
        }
        let batched = matches!(self.batch, Batch::Every(_)) && test.shard.instance().is_some();
        let recent = self.recent.iter().map(|&weight| u64::from(weight)).sum();
        let slack: u64 = if batched { recent } else { 0 };
        if weight > self.capacity.saturating_add(slack) {
            return Err(format!("weighs {weight} of {} with a slack of {slack}", self.capacity));
        }
        Ok(())
    }
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: T, expected: T) -> Result<(), String> {
    if found == expected {
        return Ok(());
    }
    Err(format!("{what} {found:?}, expected {expected:?}"))
}
