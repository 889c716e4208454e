//! The policies of a server, built in and uploaded, and which of them is in charge of which cache.
//!
//! It owns the way of an upload (judged and compiled on one thread behind a bounded queue, then kept
//! in the data directory) and remembers over restarts who is in charge. What it says of itself
//! changes only once it is kept: where the disk is full, nothing has happened. It must not know HTTP.
//!
//! Locks, in this order: `changing`, `store`, `state`, `compiled`, `quarantines`, `tried`.

pub mod conformance;
mod errors;
mod judge;
mod keeper;
mod load;
mod portfolio;
mod quarantine;
mod queue;
mod registry;
mod sides;
mod store;
mod trials;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use ostler::{Host, Policy, PolicySpec};
use ostler_abi::PolicyKind;
use ostler_core::{Handover, InstanceSource};
use ostler_wasm::{ModuleId, PolicyModule, Verdict};
use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::keyspace::Keyspace;
use crate::settings::{CacheSettings, Limits};
pub use errors::{ActivateError, DeleteError, PolicyError, UploadError};
use judge::Judge;
pub use load::is_kept;
use load::{builtins, load};
use quarantine::Quarantines;
pub use quarantine::{Quarantine, QuarantinedIn};
use queue::Queue;
pub use registry::{Charge, Parameter, PolicyVersion};
use registry::{Registry, Seat, StandIn, VERSIONS_MAX, check_name};
use sides::{Located, kind_of, seat_of};
pub(crate) use sides::{OFF, Side, SideSeat, Sided, names};
use store::Store;
pub use store::{StoreError, StoreOpenError};

/// Modules that stay compiled after their upload or use, for the next one who wants them.
const COMPILED_MAX: usize = 16;

/// All policies that a server can put in charge.
pub struct Policies {
    shared: Arc<Shared>,
    queue: Queue,
    module_bytes_max: usize,
    queue_len_max: usize,
}

struct Shared {
    host: Host,
    judge: Judge,
    builtins: Vec<PolicyInfo>,
    /// Held while a cache changes its policy, so that nobody deletes what it changes to.
    changing: Mutex<()>,
    store: Mutex<Store>,
    /// Replaced whole, after it was saved.
    state: RwLock<Arc<Registry>>,
    /// The last used ones, newest at the end.
    compiled: Mutex<Vec<PolicyModule>>,
    /// As they are now; saved with the registry.
    quarantines: Quarantines,
    /// What experiments try, by cache.
    tried: Mutex<BTreeMap<String, Vec<Charge>>>,
    /// Threads that save a quarantine.
    keepers: Mutex<Vec<JoinHandle<()>>>,
}

/// A policy and its versions.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PolicyInfo {
    /// Its name.
    pub name: String,
    /// Where it comes from.
    pub origin: Origin,
    /// Its versions, newest first, at least one.
    pub versions: Vec<PolicyVersion>,
    /// The caches that use it.
    pub used_by: Vec<Use>,
    /// The caches that do not trust a version of it any more, by faults under whatever name.
    pub quarantined_in: Vec<QuarantinedIn>,
}

/// Where a policy comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// It comes with the server.
    BuiltIn,
    /// Somebody uploaded it.
    Uploaded,
}

/// A cache that uses a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Use {
    /// The cache.
    pub cache: String,
    /// The seat: `eviction`, `prefetch` or `warming`.
    pub seat: String,
    /// The version it uses, none where the policy is not an uploaded one.
    pub version: Option<ModuleId>,
    /// As what.
    pub role: UseRole,
}

/// As what a cache uses a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UseRole {
    /// It is in charge.
    InCharge,
    /// A rollback would put it in charge.
    Previous,
}

/// What came of an upload.
#[derive(Clone, Debug, PartialEq)]
pub struct Uploaded {
    /// The SHA-256 of the module.
    pub id: ModuleId,
    /// How it was judged.
    pub verdict: Verdict,
    /// Whether it was there before.
    pub outcome: UploadOutcome,
}

/// Whether an upload was there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UploadOutcome {
    /// The policy did not have this version.
    New,
    /// It had; this version is its newest again.
    Known,
}

/// Which policy to put in charge of a cache.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Activation {
    /// An uploaded policy, a built-in one, or `native:NAME` for one that is compiled in.
    pub policy: String,
    /// Which version, the newest where none is named.
    #[serde(default)]
    pub version: Option<ModuleId>,
    /// Parameters; those that are left out have the defaults of its manifest.
    #[serde(default)]
    pub params: Map<String, Value>,
    /// Trust it again where its faults put it into quarantine.
    #[serde(default)]
    pub pardon: bool,
}

/// What a change of the policy in charge did.
#[derive(Clone, Debug, PartialEq)]
pub struct Activated {
    /// Who is in charge now.
    pub charge: Charge,
    /// How the entries were handed over.
    pub handover: Handover,
    /// Why the next start will not know of it; none where it is kept.
    pub not_kept: Option<String>,
}

/// Who is in charge of a cache, and who was before.
#[derive(Clone, Debug, PartialEq)]
pub struct InCharge {
    /// Who is.
    pub current: Charge,
    /// Whom a rollback puts in charge.
    pub previous: Option<Charge>,
    /// Whom the current one stands in for; none as a rule.
    pub missing: Option<Missing>,
}

/// A policy that should be in charge of a cache, and cannot be used. The next start tries again.
#[derive(Clone, Debug, PartialEq)]
pub struct Missing {
    /// Which.
    pub charge: Charge,
    /// Why it cannot be used.
    pub reason: String,
}

/// Who names a policy: the settings may name files, callers of the API may not.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asker {
    Operator,
    Caller,
}

impl Policies {
    /// The policies kept in `data_dir`, and those built in. Without a directory uploads live as long
    /// as the server.
    ///
    /// What is damaged is put aside and logged, and the rest loads.
    ///
    /// # Errors
    ///
    /// [`PolicyError`] where the directory cannot be used, is in use, or was written by a later
    /// release.
    pub fn open(data_dir: Option<&Path>, limits: &Limits) -> Result<Self, PolicyError> {
        Self::with_store(Store::open(data_dir)?, limits)
    }

    fn with_store(store: Store, limits: &Limits) -> Result<Self, PolicyError> {
        let host = ostler::host()?;
        let judge = Judge::try_new(&host).map_err(ostler::OpenError::from)?;
        let registry = load(&store, &judge)?;
        let quarantines = Quarantines::new(registry.quarantines.clone());
        let shared = Shared {
            host,
            judge,
            builtins: builtins(),
            changing: Mutex::new(()),
            store: Mutex::new(store),
            state: RwLock::new(Arc::new(registry)),
            compiled: Mutex::new(Vec::new()),
            quarantines,
            tried: Mutex::default(),
            keepers: Mutex::default(),
        };
        let queue_len_max = limits.compile_queue_max.max(1);
        Ok(Self {
            shared: Arc::new(shared),
            queue: Queue::try_start(queue_len_max).map_err(PolicyError::Thread)?,
            module_bytes_max: limits.module_bytes_max,
            queue_len_max,
        })
    }

    /// Judges a module, compiles it and keeps it as the newest version of `name`. An upload goes on
    /// where the caller stops waiting.
    ///
    /// # Errors
    ///
    /// [`UploadError`]; then nothing has changed.
    pub async fn upload(&self, name: &str, module: Bytes) -> Result<Uploaded, UploadError> {
        if let Err(reason) = check_name(name) {
            return Err(UploadError::Name { name: name.to_owned(), reason });
        }
        if kind_of(name).is_some() {
            return Err(UploadError::BuiltIn { name: name.to_owned() });
        }
        if module.len() > self.module_bytes_max {
            let (bytes, limit) = (module.len(), self.module_bytes_max);
            return Err(UploadError::TooLarge { bytes, limit });
        }
        let (shared, name) = (Arc::clone(&self.shared), name.to_owned());
        let answer = self.queue.run(move || shared.upload(&name, &module));
        let answer =
            answer.map_err(|queue::Full| UploadError::QueueFull { limit: self.queue_len_max })?;
        answer.await.unwrap_or(Err(UploadError::Compiler))
    }

    /// Every policy: the uploaded ones by name, then those built in.
    #[must_use]
    pub fn list(&self) -> Vec<PolicyInfo> {
        let registry = self.shared.registry();
        let uploaded = registry.policies.keys();
        let builtins = self.shared.builtins.iter().map(|builtin| &builtin.name);
        let builtins = builtins.filter(|&name| !registry.policies.contains_key(name));
        uploaded.chain(builtins).filter_map(|name| self.shared.policy(&registry, name)).collect()
    }

    /// One policy.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<PolicyInfo> {
        self.shared.policy(&self.shared.registry(), name)
    }

    /// Forgets a version of an uploaded policy, or all. Blocks while a policy changes anywhere.
    ///
    /// # Errors
    ///
    /// [`DeleteError`] where it is in use, unknown or built in, or where this cannot be kept.
    pub fn delete(&self, name: &str, version: Option<ModuleId>) -> Result<(), DeleteError> {
        self.shared.delete(name, version)
    }

    /// What makes instances of a policy, of its newest version where none is named. Compiles where it
    /// must: at most a second.
    ///
    /// # Errors
    ///
    /// [`PolicyError`] where it is unknown or its parameters are refused.
    pub fn find(
        &self,
        name: &str,
        version: Option<ModuleId>,
        params: &Map<String, Value>,
    ) -> Result<Arc<dyn InstanceSource>, PolicyError> {
        let charge = self.shared.pin(name, version, params);
        self.shared.resolve(&charge, Asker::Caller)
    }

    /// Puts a policy in charge of a cache and remembers it. Blocks until all entries are handed over.
    ///
    /// # Errors
    ///
    /// [`ActivateError`]; the policy before stays in charge.
    pub fn activate(
        &self,
        cache: &Keyspace,
        wanted: &Activation,
    ) -> Result<Activated, ActivateError> {
        let _changing = self.shared.changing.lock();
        let charge = self.shared.pin(&wanted.policy, wanted.version, &wanted.params);
        let source = self.shared.resolve(&charge, Asker::Caller)?;
        let mut pardoned = false;
        if wanted.pardon {
            cache.cache().pardon(&*source);
            pardoned = self.shared.quarantines.pardon(cache.name(), &source.code_id());
        }
        let changed = self.shared.change(cache, charge, source);
        if pardoned && changed.is_err() {
            // The cache trusts it, though it came to nothing, and a change would have saved that.
            self.shared.keep();
        }
        changed
    }

    /// Puts the policy before this one in charge of a cache again, with its parameters; also after a
    /// restart. Blocks until all entries are handed over.
    ///
    /// # Errors
    ///
    /// [`ActivateError`]; the policy in charge stays there.
    pub fn rollback(&self, cache: &Keyspace) -> Result<Activated, ActivateError> {
        let _changing = self.shared.changing.lock();
        let previous = self.in_charge(cache.name()).and_then(|seat| seat.previous);
        let previous = previous.ok_or(ostler_core::SeatError::NoPrevious)?;
        let source = self.shared.resolve(&previous, Asker::Operator)?;
        self.shared.change(cache, previous, source)
    }

    /// Who is in charge of a cache, none where this server has no such cache.
    #[must_use]
    pub fn in_charge(&self, cache: &str) -> Option<InCharge> {
        let registry = self.shared.registry();
        let seat = registry.caches.contains(cache).then(|| registry.seats.get(cache))??;
        let missing = seat.stand_in.as_ref().map(|stand_in| Missing {
            charge: seat.current.clone(),
            reason: stand_in.reason.clone(),
        });
        Some(InCharge { current: seat.acting().clone(), previous: seat.previous.clone(), missing })
    }

    /// What makes instances of the policy for `cache` at the start: the one last activated there,
    /// unless the settings have named another since, else `configured`, which the settings name. Where
    /// an uploaded one is damaged or lost another stands in: a cache that serves under a policy that
    /// nobody chose is better than none. [`in_charge`](Self::in_charge) tells of it.
    ///
    /// # Errors
    ///
    /// [`PolicyError`] that names it, where the settings are wrong.
    pub fn source(
        &self,
        cache: &str,
        configured: &str,
    ) -> Result<Arc<dyn InstanceSource>, PolicyError> {
        self.shared.source(cache, configured)
    }

    /// What makes instances of another policy for `cache`, where the last one that this or
    /// [`source`](Self::source) named there broke its contract before its first event, for that
    /// `reason`. None where there is no other: the engine evicts by itself.
    /// [`in_charge`](Self::in_charge) tells of it; the next start tries the first one again.
    pub(crate) fn stand_in(&self, cache: &str, reason: &str) -> Option<Arc<dyn InstanceSource>> {
        self.shared.stand_in(cache, reason)
    }
}

impl Shared {
    fn registry(&self) -> Arc<Registry> {
        Arc::clone(&self.state.read())
    }

    /// Changes the registry, once the change is kept.
    fn save(&self, store: &Store, edit: impl FnOnce(&mut Registry)) -> Result<(), StoreError> {
        let mut registry = Registry::clone(&self.registry());
        edit(&mut registry);
        registry.quarantines = self.quarantines.all();
        store.save_registry(&registry.to_json())?;
        *self.state.write() = Arc::new(registry);
        Ok(())
    }

    fn upload(&self, name: &str, module: &[u8]) -> Result<Uploaded, UploadError> {
        let id = ModuleId::of(module);
        let known = self.registry().policies.get(name).and_then(|versions| {
            versions.iter().find(|version| version.id == id && version.verdict.is_some()).cloned()
        });
        let mut version = match known {
            Some(version) => version,
            None => self.judge(id, module)?,
        };
        version.uploaded_unix_ms = Some(now_unix_ms());
        let verdict = version.verdict.clone().ok_or(UploadError::Compiler)?;

        let store = self.store.lock();
        let registry = self.registry();
        let is_known = registry.version(name, Some(id)).is_some();
        if !is_known && registry.versions_len() >= VERSIONS_MAX {
            return Err(UploadError::Full { versions_max: VERSIONS_MAX });
        }
        let edit = |registry: &mut Registry| registry.add(name, version);
        let kept = store.put(id, module).and_then(|()| self.save(&store, edit));
        if let Err(error) = kept {
            tracing::error!(policy = name, %error, "a module that was uploaded cannot be kept");
            self.sweep(&store, [id]);
            return Err(error.into());
        }
        let outcome = if is_known { UploadOutcome::Known } else { UploadOutcome::New };
        Ok(Uploaded { id, verdict, outcome })
    }

    fn judge(&self, id: ModuleId, module: &[u8]) -> Result<PolicyVersion, UploadError> {
        let (verdict, compiled) = self.judge.judge(module);
        let Some(compiled) = compiled else {
            return Err(UploadError::Refused { verdict: Box::new(verdict) });
        };
        let version = PolicyVersion::new(id, module.len() as u64, compiled.manifest());
        self.keep_compiled(compiled);
        Ok(PolicyVersion { verdict: Some(verdict), ..version })
    }

    fn delete(&self, name: &str, version: Option<ModuleId>) -> Result<(), DeleteError> {
        let _changing = self.changing.lock();
        let store = self.store.lock();
        let registry = self.registry();
        if registry.version(name, version).is_none() {
            let name = name.to_owned();
            return Err(match kind_of(&name) {
                Some(_) => DeleteError::BuiltIn { name },
                None => DeleteError::Unknown { name, version },
            });
        }
        let mut caches = registry.users(name, version);
        caches.extend(self.tried_in(name, version));
        caches.sort_unstable();
        caches.dedup();
        if !caches.is_empty() {
            return Err(DeleteError::InUse { name: name.to_owned(), caches });
        }
        self.save(&store, |registry| registry.remove(name, version))?;
        let versions = registry.policies.get(name).into_iter().flatten();
        self.sweep(&store, versions.map(|version| version.id));
        Ok(())
    }

    /// Removes modules that no policy has any more. One that stays behind is removed at the next
    /// start.
    fn sweep(&self, store: &Store, modules: impl IntoIterator<Item = ModuleId>) {
        let registry = self.registry();
        for id in modules {
            if registry.has_module(id) {
                continue;
            }
            self.compiled.lock().retain(|module| module.id() != id);
            if let Err(error) = store.remove(id) {
                tracing::warn!(%error, "a module that nobody has any more stays behind");
            }
        }
    }

    fn policy(&self, registry: &Registry, name: &str) -> Option<PolicyInfo> {
        let policy = match registry.policies.get(name) {
            Some(versions) => PolicyInfo {
                name: name.to_owned(),
                origin: Origin::Uploaded,
                versions: versions.clone(),
                used_by: Vec::new(),
                quarantined_in: Vec::new(),
            },
            None => self.builtins.iter().find(|builtin| builtin.name == name)?.clone(),
        };
        let seats = registry.seats.iter().filter(|(cache, _)| registry.caches.contains(*cache));
        let used_by = seats.flat_map(|(cache, seat)| {
            let charges = [
                Some((seat.acting(), UseRole::InCharge)),
                seat.previous.as_ref().map(|previous| (previous, UseRole::Previous)),
            ];
            charges.into_iter().flatten().filter(|(charge, _)| charge.policy == name).map(
                |(charge, role)| {
                    let (cache, seat) = seat_of(cache);
                    let (cache, seat) = (cache.to_owned(), seat.to_owned());
                    Use { cache, seat, version: charge.version, role }
                },
            )
        });
        let used_by = used_by.collect();
        let quarantined_in = self.quarantined_in(registry, &policy.versions);
        Some(PolicyInfo { used_by, quarantined_in, ..policy })
    }

    /// What was asked for, with its version where it is an uploaded policy.
    fn pin(&self, name: &str, version: Option<ModuleId>, params: &Map<String, Value>) -> Charge {
        let registry = self.registry();
        let newest = registry.version(name, version).map(|version| version.id);
        Charge { policy: name.to_owned(), version: version.or(newest), params: params.clone() }
    }

    fn resolve(
        &self,
        charge: &Charge,
        asker: Asker,
    ) -> Result<Arc<dyn InstanceSource>, PolicyError> {
        match self.locate(charge, PolicyKind::Eviction, asker)? {
            Located::Module(module) => {
                let name = charge.policy.clone();
                Ok(Arc::new(Policy::from_module(*module, &charge.params, name)?))
            }
            Located::Source(source) => {
                let spec = PolicySpec { source, params: charge.params.clone() };
                Ok(Arc::new(self.host.open(&spec)?))
            }
        }
    }

    /// An uploaded module, compiled.
    fn module(&self, name: &str, id: ModuleId) -> Result<PolicyModule, PolicyError> {
        let compiled = self.compiled.lock().iter().find(|module| module.id() == id).cloned();
        if let Some(module) = compiled {
            return Ok(module);
        }
        let bytes = self.store.lock().read(id)?;
        let bytes = bytes.ok_or_else(|| PolicyError::Damaged { name: name.to_owned(), id })?;
        let refused = |source| ostler::OpenError::Refused { name: name.to_owned(), source };
        let module = self.host.runtime().load(&bytes).map_err(refused)?;
        self.keep_compiled(module.clone());
        Ok(module)
    }

    fn keep_compiled(&self, module: PolicyModule) {
        let mut compiled = self.compiled.lock();
        compiled.retain(|known| known.id() != module.id());
        if compiled.len() >= COMPILED_MAX {
            compiled.remove(0);
        }
        compiled.push(module);
    }

    /// Changes a cache's policy and remembers that. A change that was made is not taken back where it
    /// cannot be kept: the cache runs with it, and the caller is told.
    fn change(
        &self,
        cache: &Keyspace,
        charge: Charge,
        source: Arc<dyn InstanceSource>,
    ) -> Result<Activated, ActivateError> {
        let handover = cache.cache().set_policy(source)?;
        let not_kept = self.put_in_charge(cache.name(), &charge).err();
        if let Some(error) = &not_kept {
            tracing::error!(cache = cache.name(), %error, "the next start will not know the policy");
        }
        Ok(Activated { charge, handover, not_kept: not_kept.map(|error| error.to_string()) })
    }

    fn put_in_charge(&self, cache: &str, charge: &Charge) -> Result<(), StoreError> {
        let store = self.store.lock();
        let edit = |registry: &mut Registry| registry.put_in_charge(cache, charge.clone());
        self.save(&store, edit).inspect_err(|_| {
            let mut registry = Registry::clone(&self.registry());
            edit(&mut registry);
            *self.state.write() = Arc::new(registry);
        })
    }

    fn source(
        &self,
        cache: &str,
        configured: &str,
    ) -> Result<Arc<dyn InstanceSource>, PolicyError> {
        let _changing = self.changing.lock();
        let registry = self.registry();
        let kept = registry.seats.get(cache).filter(|seat| seat.configured == configured).cloned();
        let by_settings = |policy: &str| {
            let spec: PolicySpec = policy.parse().map_err(ostler::OpenError::from)?;
            Ok::<_, PolicyError>(self.pin(&spec.source.to_string(), None, &spec.params))
        };
        let mut seat = match kept {
            Some(seat) => seat,
            None => Seat {
                configured: configured.to_owned(),
                current: by_settings(configured)?,
                previous: None,
                stand_in: None,
            },
        };
        let default = CacheSettings::default().policy;
        let others = [configured, default.as_str()].map(by_settings);
        let mut charge = seat.current.clone();
        let mut others = others.into_iter();
        let source = loop {
            let error = match self.resolve(&charge, Asker::Operator) {
                Ok(source) => break source,
                Err(error) => error,
            };
            // What was activated once has been right; what the settings name may be a mistake.
            let was_activated = charge == seat.current && seat.previous.is_some();
            if !was_activated && !self.may_be_lost(&error) {
                return Err(error);
            }
            tracing::error!(cache, policy = charge.policy, %error, "the policy cannot be used");
            let Some(other) = others.find(|it| it.as_ref().is_ok_and(|it| *it != charge)) else {
                return Err(error);
            };
            let reason = match seat.stand_in.take() {
                Some(before) => before.reason,
                None => error.to_string(),
            };
            charge = other?;
            seat.stand_in = Some(StandIn { charge: charge.clone(), reason });
        };
        // Under the store's lock, as every change: an upload must not overwrite it.
        let _store = self.store.lock();
        let mut registry = Registry::clone(&self.registry());
        registry.seats.insert(cache.to_owned(), seat);
        registry.caches.insert(cache.to_owned());
        *self.state.write() = Arc::new(registry);
        Ok(source)
    }

    fn stand_in(&self, cache: &str, reason: &str) -> Option<Arc<dyn InstanceSource>> {
        let _changing = self.changing.lock();
        let mut seat = self.registry().seats.get(cache)?.clone();
        let default = CacheSettings::default().policy;
        let others = [seat.configured.as_str(), default.as_str()].map(|policy| {
            let spec: PolicySpec = policy.parse().ok()?;
            Some(self.pin(&spec.source.to_string(), None, &spec.params))
        });
        let mut tried = vec![seat.current.clone()];
        tried.extend(others.into_iter().flatten().filter(|it| *it != seat.current));
        tried.dedup();
        let acting = seat.acting().clone();
        let at = tried.iter().position(|charge| *charge == acting).unwrap_or_default();
        let found = tried[at + 1..].iter().find_map(|charge| {
            let source = self.resolve(charge, Asker::Operator).ok()?;
            Some((charge.clone(), source))
        });
        let (charge, source) = found.unzip();
        let reason = match seat.stand_in.take() {
            Some(before) => before.reason,
            None => reason.to_owned(),
        };
        seat.stand_in = Some(StandIn { charge: charge.unwrap_or(acting), reason });
        // Under the store's lock, as every change.
        let _store = self.store.lock();
        let mut registry = Registry::clone(&self.registry());
        registry.seats.insert(cache.to_owned(), seat);
        *self.state.write() = Arc::new(registry);
        source
    }

    /// True where it may be that somebody has uploaded the policy, and the disk has lost it since.
    fn may_be_lost(&self, error: &PolicyError) -> bool {
        match error {
            PolicyError::Damaged { .. } => true,
            PolicyError::Unknown { name, .. } => {
                check_name(name).is_ok() && self.store.lock().is_lasting()
            }
            _ => false,
        }
    }
}

fn now_unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
