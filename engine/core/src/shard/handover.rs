//! The warm change of an exact shard's policy: a fresh instance hears of all that is resident, and then
//! takes the seat.
//!
//! As in the live cache, but at one moment: nothing comes in between, so nothing has to be followed.

use std::hash::Hash;

use ostler_abi::{Kind, Record, Setup};

use crate::fault::PolicyFault;
use crate::novice::Novice;
use crate::residents::KeyHash;
use crate::seat::Seat;
use crate::shard::{BORN_MS, Shard, ShardConfig};
use crate::source::InstanceSource;

impl<K: Hash + Eq, V, H: KeyHash<K>> Shard<K, V, H> {
    /// Puts a fresh instance of `source` in charge, warm: what waits is handed to the policy before it,
    /// and then the instance adopts all residents, coldest first, each as an adopt record (when it came
    /// in) and, where it was used since, a hit record (how often, and about when last). Nothing is
    /// evicted by that. Also where the fallback is in charge. Returns how many entries were adopted;
    /// [`Counters::swaps`](crate::Counters::swaps) counts it.
    ///
    /// Cost: a sort of the residents by age, and two records each.
    ///
    /// # Errors
    ///
    /// The fault of the instance: it could not be made, a call of it failed, or it named a victim before
    /// it had the seat. It is counted; whoever was in charge stays so.
    ///
    /// ```
    /// use ostler_core::{InstanceSource, KeyHash, PolicyFault, Shard};
    ///
    /// fn swap<H: KeyHash<u64>>(
    ///     shard: &mut Shard<u64, (), H>,
    ///     policy: &dyn InstanceSource,
    /// ) -> Result<(), PolicyFault> {
    ///     let adopted = shard.set_policy(policy)?;
    ///     assert_eq!(adopted, shard.len() as u64);
    ///     Ok(())
    /// }
    /// ```
    pub fn set_policy(&mut self, source: &dyn InstanceSource) -> Result<u64, PolicyFault> {
        self.flush();
        let seat = self.introduce_all(source).inspect_err(|_| self.counters.faults += 1)?;
        self.guest_ns_before = self.guest_ns();
        let lines = self.seat.take_log();
        self.seat = seat;
        self.seat.inherit_log(lines);
        let adopted = self.residents.len() as u64;
        self.counters.swaps += 1;
        self.counters.adopted += adopted;
        Ok(adopted)
    }

    /// A seat whose instance knows all residents.
    fn introduce_all(&mut self, source: &dyn InstanceSource) -> Result<Seat, PolicyFault> {
        let used = self.residents.slots();
        let enough = if used > self.config.slots { used.div_ceil(4) } else { 0 };
        let slots = self.config.slots.max(used.saturating_add(enough));
        let ShardConfig { capacity, seed, .. } = self.config;
        let instance = source.instance(Setup { capacity, slots, seed })?;
        let config = ShardConfig { slots, wants: source.wants(), ..self.config };
        let mut novice = Novice::new(Seat::new(Ok(instance), &config));
        if let Some(model) = &self.model {
            let _ = novice.model(model);
        }
        let tick = self.ticks.now();
        let ages = (0..used).filter_map(|slot| Some((self.residents.age(slot, tick)?, slot)));
        let mut ages: Vec<(u32, u32)> = ages.collect();
        // As the live cache orders them: of equal ages, the higher slot first.
        ages.sort_unstable();
        for &(age, slot) in ages.iter().rev() {
            if let Some((adopt, hit)) = self.introduction(slot, age) {
                novice.adopt(adopt, hit);
            }
        }
        novice.call();
        match novice.fault() {
            Some(fault) => Err(fault.clone()),
            None => Ok(novice.into_seat()),
        }
    }

    /// What is known of the entry in `slot`, last used `age` ticks ago: when it came in, and its last
    /// access with all its hits if it had any.
    fn introduction(&self, slot: u32, age: u32) -> Option<(Record, Option<Record>)> {
        let (hash, weight) = (self.residents.hash_at(slot)?, self.residents.weight_of(slot));
        let born_ms =
            self.start_ms.unwrap_or_default() + u64::from(self.residents.born(slot)) * BORN_MS;
        let record = self.origins.of(slot).record(Kind::Adopt, hash, weight, born_ms);
        let adopt = Record { slot, ..record };
        let hits = self.residents.word(slot).hits();
        let hit = Record {
            time_ms: self.ticks.time_ms(age).max(born_ms),
            count: hits,
            kind: Kind::Hit as u8,
            ..adopt
        };
        Some((adopt, (hits > 0).then_some(hit)))
    }
}
