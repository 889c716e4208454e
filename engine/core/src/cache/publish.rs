//! Models on their way to the policies.

use std::hash::{BuildHasher, Hash};

use crate::cache::Cache;
use crate::model_shelf::{ModelLength, ModelStats, Publication};

impl<K: Hash + Eq, V, S: BuildHasher + Clone> Cache<K, V, S> {
    /// Hands a model to the policies in charge, shard by shard, each between two batches, and keeps
    /// it for instances that come later: after a change of the policy, a rollback or a restoration.
    ///
    /// A policy that refuses it goes on with what it had, and one that takes no models does not hear
    /// of it. A model that nobody takes and somebody refuses is not kept: the one before stays in
    /// force. A policy that breaks its contract over it loses the seat like for any other fault.
    ///
    /// Cost: a maintenance and one call of the policy for each shard, on the calling thread.
    ///
    /// # Errors
    ///
    /// [`ModelLength`] where the message is empty or longer than
    /// [`MODEL_BYTES_MAX`](ostler_abi::MODEL_BYTES_MAX).
    ///
    /// ```
    /// use ostler_core::{Cache, ModelLength};
    ///
    /// fn publish(cache: &Cache<String, u32>, message: &[u8]) -> Result<(), ModelLength> {
    ///     let published = cache.publish_model(message)?;
    ///     if let Some(refusal) = published.refusal {
    ///         println!("refused in {} shards: {refusal}", published.refused);
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub fn publish_model(&self, message: &[u8]) -> Result<Publication, ModelLength> {
        ModelLength::check(message)?;
        let models = &self.inner.models;
        let mut published = Publication::default();
        // Listeners are called when the turn is over: one of them may publish, too.
        let mut afters = Vec::with_capacity(self.inner.shards.len());
        let turn = models.turn.lock();
        models.offer(message);
        for shard in &self.inner.shards {
            let mut after = self.after();
            published.count(shard.publish_model(message, &mut after));
            afters.push(after);
        }
        models.settle(&published);
        drop(turn);
        drop(afters);
        let Publication { taken, refused, faulted, .. } = published;
        tracing::debug!(target: "ostler::policy", taken, refused, faulted, "model published");
        Ok(published)
    }

    /// What policies said to the models published so far.
    ///
    /// ```
    /// # let cache = ostler_core::Cache::<u32, u32>::builder(10).build()?;
    /// assert_eq!(cache.model_stats().refused, 0);
    /// # Ok::<(), ostler_core::BuildError>(())
    /// ```
    #[must_use]
    pub fn model_stats(&self) -> ModelStats {
        self.inner.models.stats()
    }
}
