//! Quarantines on their way from a cache to the disk, and to those who ask. Who is in quarantine is the
//! business of the caches; the disk is touched only by threads that serve nobody.

use std::sync::Arc;

use ostler_core::PolicyEvent;
use ostler_wasm::ModuleId;

use super::registry::{PolicyVersion, Registry};
use super::sides::seat_of;
use super::{Policies, Quarantine, QuarantinedIn, Shared, now_unix_ms};

impl Policies {
    /// Code that a cache does not trust any more, oldest first: so it was told to a
    /// [listener](Self::listener), before the last start too, and nobody has activated it with a
    /// pardon since.
    #[must_use]
    pub fn quarantines(&self, cache: &str) -> Vec<Quarantine> {
        self.shared.quarantines.of(cache)
    }

    /// Hears what happens to the policy of a cache, and remembers a quarantine over restarts. It never
    /// waits for the disk, since a caller of the cache may be who calls it.
    pub fn listener(&self, cache: &str) -> impl Fn(&PolicyEvent) + Send + Sync + 'static {
        let (shared, cache) = (Arc::clone(&self.shared), cache.to_owned());
        move |event| {
            if let PolicyEvent::Quarantined { policy, code } = event {
                let (policy, code, since_unix_ms) = (policy.clone(), code.clone(), now_unix_ms());
                shared.quarantines.add(&cache, Quarantine { policy, code, since_unix_ms });
                Shared::keep_soon(&shared);
            }
        }
    }
}

impl Drop for Policies {
    /// Waits until the quarantines are on the disk.
    fn drop(&mut self) {
        let keepers = std::mem::take(&mut *self.shared.keepers.lock());
        for keeper in keepers {
            // One that panicked has said so.
            let _ = keeper.join();
        }
    }
}

impl Shared {
    /// Saves the quarantines. Where that fails they count until the server ends, and the next change
    /// that is saved takes them along.
    pub(super) fn keep(&self) {
        let store = self.store.lock();
        if let Err(error) = self.save(&store, |_| {}) {
            tracing::error!(%error, "the next start will not know which policies are quarantined");
        }
    }

    /// The same on a thread of its own. Quarantines are rare: code gets into each once, and out of it
    /// only by a pardon.
    pub(super) fn keep_soon(shared: &Arc<Self>) {
        let keeper = Arc::clone(shared);
        let thread = std::thread::Builder::new().name("ostler-keep".to_owned());
        match thread.spawn(move || keeper.keep()) {
            Ok(keeper) => {
                let mut keepers = shared.keepers.lock();
                keepers.retain(|keeper| !keeper.is_finished());
                keepers.push(keeper);
            }
            Err(error) => tracing::error!(%error, "no thread to save a quarantine"),
        }
    }

    /// The caches of this server that do not trust one of `versions`.
    pub(super) fn quarantined_in(
        &self,
        registry: &Registry,
        versions: &[PolicyVersion],
    ) -> Vec<QuarantinedIn> {
        let mut found = Vec::new();
        let all = self.quarantines.all();
        for (cache, its) in all.iter().filter(|(cache, _)| registry.caches.contains(*cache)) {
            for quarantine in its {
                let Ok(version) = quarantine.code.parse::<ModuleId>() else { continue };
                if versions.iter().any(|known| known.id == version) {
                    let cache = seat_of(cache).0.to_owned();
                    let since_unix_ms = quarantine.since_unix_ms;
                    found.push(QuarantinedIn { cache, version, since_unix_ms });
                }
            }
        }
        found
    }
}
