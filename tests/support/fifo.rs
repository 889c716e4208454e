//! The smallest policy that keeps the contract, from the records alone.

use std::collections::VecDeque;

use ostler_abi::{Kind, Record};

/// First in, first out, in plain std collections. It owes the SDK nothing, so it checks the engine
/// without assuming what the SDK assumes.
#[derive(Clone, Debug)]
pub struct Fifo {
    capacity: u64,
    /// Slot and weight, oldest first.
    queue: VecDeque<(u32, u32)>,
}

impl Fifo {
    /// An empty queue for a cache of this capacity.
    #[must_use]
    pub fn new(capacity: u64) -> Self {
        Self { capacity, queue: VecDeque::new() }
    }

    /// Serves a batch and returns the victims, in order.
    pub fn serve(&mut self, events: &[Record]) -> Vec<u32> {
        let mut victims = Vec::new();
        for event in events {
            match event.kind() {
                Some(Kind::Insert) => {
                    self.make_room(u64::from(event.weight), &mut victims);
                    self.queue.push_back((event.slot, event.weight));
                }
                Some(Kind::Update) => {
                    let entry = self.queue.iter_mut().find(|entry| entry.0 == event.slot);
                    if let Some(entry) = entry {
                        entry.1 = event.weight;
                    }
                    self.make_room(0, &mut victims);
                }
                Some(Kind::Remove | Kind::Expire) => {
                    self.queue.retain(|entry| entry.0 != event.slot);
                }
                Some(Kind::Capacity) => {
                    self.capacity = event.key_hash;
                    self.make_room(0, &mut victims);
                }
                Some(Kind::Reset) => self.queue.clear(),
                _ => {}
            }
        }
        victims
    }

    /// Slots that the policy believes resident, oldest first.
    pub fn residents(&self) -> impl Iterator<Item = u32> + '_ {
        self.queue.iter().map(|entry| entry.0)
    }

    fn make_room(&mut self, incoming: u64, victims: &mut Vec<u32>) {
        let weight = |queue: &VecDeque<(u32, u32)>| -> u64 {
            queue.iter().map(|entry| u64::from(entry.1)).sum()
        };
        while weight(&self.queue) + incoming > self.capacity {
            let Some((slot, _)) = self.queue.pop_front() else { return };
            victims.push(slot);
        }
    }
}
