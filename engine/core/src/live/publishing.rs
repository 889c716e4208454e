//! A model on its way to the policy of a live shard.
//!
//! It arrives between two batches: what was noted before is delivered first. As with every call of a
//! policy, the maintainer's lock is held meanwhile and the state's is not.

use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use crate::live::maintenance::Aftermath;
use crate::live::preparing::Preparing;
use crate::live::shard::LiveShard;
use crate::model_shelf::Reception;

impl<K: Hash + Eq, V, S: BuildHasher + Clone> LiveShard<K, V, S> {
    /// Hands a model to the policy in charge, and to one that is being prepared. A fault in it is a
    /// fault as any other. Returns what the one in charge said.
    pub(crate) fn publish_model(&self, message: &[u8], after: &mut Aftermath<K, V>) -> Reception {
        let mut maintainer = self.maintainer.lock();
        self.maintain(&mut maintainer, after);
        if let Some(preparing) = &mut maintainer.preparing {
            self.models.count(preparing.model(message));
        }
        if !maintainer.seat.is_taken() {
            return Reception::Ignored;
        }
        maintainer.begin_apart();
        let answer = maintainer.seat.model(message);
        let reception = Reception::of(&answer);
        self.models.count(reception);
        if let Err(fault) = answer {
            self.fall_back(&mut maintainer, fault, after);
        }
        self.publish(&mut maintainer);
        reception
    }

    /// Gives a new instance the model in force, or the one before where it refuses that. Called with
    /// the maintainer's lock held: a model that is published later finds the instance in its place.
    pub(super) fn teach(&self, preparing: &mut Preparing) {
        let models: [Option<Arc<[u8]>>; 2] = self.models.for_newcomer();
        for message in models.iter().flatten() {
            let reception = preparing.model(message);
            self.models.count(reception);
            if !matches!(reception, Reception::Refused(_)) {
                return;
            }
        }
    }
}
