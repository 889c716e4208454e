//! Who is in charge: appointments, the way back, faults and restoration.

mod appointments;

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;
use std::thread::ThreadId;
use std::time::Duration;

use thiserror::Error;

use self::appointments::Appointments;
pub use self::appointments::Arm;
use crate::cache::Cache;
use crate::cache::builder::budget_of;
use crate::fault::PolicyFault;
use crate::hashing::shard_of;
use crate::live::{Aftermath, Charge};
use crate::source::InstanceSource;
use crate::sync::{Mutex, MutexGuard};

/// Back-off doubles at most this often.
const DOUBLINGS_MAX: u32 = 10;

/// The cache's side of its seats.
///
/// One change at a time, of the policy or of the capacity: whoever makes one holds the turn. Listeners
/// are called meanwhile, so a listener that wants a change of its own is told apart by its thread:
/// it would wait for itself.
pub(super) struct Control {
    turn: Mutex<()>,
    /// The thread that has the turn.
    holder: Mutex<Option<ThreadId>>,
    /// A capacity that a listener asked for during a change; set when that is through.
    capacity_next: Mutex<Option<u64>>,
    appointments: Mutex<Appointments>,
    restoration: Mutex<Restoration>,
    restore_after: Option<Duration>,
}

/// When policies that lost their seat get it back.
#[derive(Default)]
struct Restoration {
    due_ms: Option<u64>,
    attempts: u32,
}

impl Control {
    pub(super) fn new(restore_after: Option<Duration>, shards: usize) -> Self {
        Self {
            turn: Mutex::new(()),
            holder: Mutex::new(None),
            capacity_next: Mutex::new(None),
            appointments: Mutex::new(Appointments::new(shards)),
            restoration: Mutex::new(Restoration::default()),
            restore_after,
        }
    }
}

/// The right to make a change; given back when it drops.
struct Turn<'a> {
    control: &'a Control,
    _turn: MutexGuard<'a, ()>,
}

impl Control {
    /// Waits for the turn. None where this thread has it already.
    fn turn(&self) -> Option<Turn<'_>> {
        let me = std::thread::current().id();
        if *self.holder.lock() == Some(me) {
            return None;
        }
        let turn = self.turn.lock();
        *self.holder.lock() = Some(me);
        Some(Turn { control: self, _turn: turn })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.control.holder.lock() = None;
    }
}

/// Why a policy did not get the seat. The cache goes on with the one it had.
///
/// ```
/// use ostler_core::{Cache, SeatError};
///
/// let cache = Cache::<u32, u32>::builder(10).build()?;
/// assert_eq!(cache.rollback(), Err(SeatError::NoPrevious));
/// # Ok::<(), ostler_core::BuildError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SeatError {
    /// The policy broke its contract while it was made or prepared.
    #[error("policy `{policy}` in shard {shard}: {fault}; the policy before stays in charge")]
    Fault {
        /// Its name.
        policy: String,
        /// The shard, from 0.
        shard: usize,
        /// What it did.
        fault: PolicyFault,
    },
    /// The policy's code is quarantined for this cache.
    #[error("policy `{policy}` is quarantined after too many faults; pardon it to try again")]
    Quarantined {
        /// Its name.
        policy: String,
    },
    /// A listener asked for a change of the policy during another one.
    #[error(
        "policy `{policy}`: a change is under way on this thread; ask when its listener is through"
    )]
    Busy {
        /// Its name.
        policy: String,
    },
    /// There is no policy before this one.
    #[error("there is no earlier policy to go back to")]
    NoPrevious,
    /// The cache has no shard of this number.
    #[error("there is no shard {shard}: the cache has {shards}, numbered from 0")]
    NoShard {
        /// The number that was given.
        shard: usize,
        /// How many there are.
        shards: usize,
    },
}

/// What a change of the policy did.
///
/// ```
/// use ostler_core::Handover;
///
/// fn report(Handover { adopted, shards, .. }: Handover) -> String {
///     format!("{adopted} entries handed over in {shards} shards")
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Handover {
    /// Entries that the new policy was told of.
    pub adopted: u64,
    /// Shards whose seat changed.
    pub shards: usize,
}

/// What happened to the policy of a cache.
///
/// A cache tells it to the listener of [`on_policy`](crate::CacheBuilder::on_policy).
///
/// ```
/// use ostler_core::PolicyEvent;
///
/// fn line(event: &PolicyEvent) -> String {
///     match event {
///         PolicyEvent::Changed { to, adopted, .. } => format!("{to} adopted {adopted} entries"),
///         PolicyEvent::Faulted { policy, fault } => format!("{policy} lost a seat: {fault}"),
///         PolicyEvent::Quarantined { policy, .. } => format!("{policy} gets no seat any more"),
///         PolicyEvent::Restored { policy, shards } => format!("{policy} is back in {shards} shards"),
///         _ => "something new".to_owned(),
///     }
/// }
/// let (policy, code) = ("mine".to_owned(), "sha256:0123…".to_owned());
/// let event = PolicyEvent::Quarantined { policy, code };
/// assert_eq!(line(&event), "mine gets no seat any more");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PolicyEvent {
    /// A policy took the seats, by [`Cache::set_policy`] or [`Cache::rollback`].
    Changed {
        /// The policy before, none where the engine served by itself.
        from: Option<String>,
        /// The policy in charge now.
        to: String,
        /// Entries handed over.
        adopted: u64,
    },
    /// A policy took the seats of some shards, by [`Cache::set_policy_on`].
    Dealt {
        /// The policy in charge of them now.
        policy: String,
        /// The shards, ascending.
        shards: Vec<usize>,
        /// Entries handed over.
        adopted: u64,
    },
    /// A policy broke its contract and lost the seat of a shard; the fallback serves it.
    Faulted {
        /// Its name.
        policy: String,
        /// What it did.
        fault: PolicyFault,
    },
    /// A panic in the user's `Hash` or `Eq` ended a delivery to a policy: what it believes is not what
    /// is resident any more, so it lost the seat of a shard, for no fault of its own. It gets it back
    /// at the next [`run_pending`](Cache::run_pending).
    Interrupted {
        /// Its name.
        policy: String,
    },
    /// A policy faulted too often: it has lost all its seats and gets none any more.
    Quarantined {
        /// Its name.
        policy: String,
        /// Its code, as [`InstanceSource::code_id`] names it: that is what is quarantined, under
        /// whatever name, and what a cache made later can be [told](crate::CacheBuilder::quarantined).
        code: String,
    },
    /// A policy that had lost seats has them back.
    Restored {
        /// Its name.
        policy: String,
        /// How many shards.
        shards: usize,
    },
}

/// Who is wanted in charge and who is.
///
/// ```
/// let cache = ostler_core::Cache::<u32, u32>::builder(10).shards(2).build()?;
/// let status = cache.seat_status();
/// assert_eq!((status.desired, status.actual), (None, vec![None, None]), "the fallback serves");
/// # Ok::<(), ostler_core::BuildError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SeatStatus {
    /// The policy that was appointed to all shards last, none where there was none.
    pub desired: Option<String>,
    /// Its parameters, flat JSON.
    pub params: Option<String>,
    /// The policy that a rollback would appoint.
    pub previous: Option<String>,
    /// Shards with a policy of their own, those that got it at once together; empty where all have the
    /// desired one.
    pub arms: Vec<Arm>,
    /// The policy in charge of each shard, none where the fallback serves.
    pub actual: Vec<Option<String>>,
    /// Why the last holder of each shard's seat lost it.
    pub faults: Vec<Option<PolicyFault>>,
}

impl<K: Hash + Eq, V, S: BuildHasher + Clone> Cache<K, V, S> {
    /// Puts `policy` in charge of all shards, one after the other, while the cache serves: its
    /// instances are prepared beside those in charge, adopt all entries, and then take the seats.
    /// No entry is lost and no request fails.
    ///
    /// Cost: some microseconds for each instance and some hundred nanoseconds for each entry, on the
    /// calling thread; other threads are held up for a slice of 128 entries at most.
    ///
    /// Where shards had policies [of their own](Self::set_policy_on), that is over.
    ///
    /// # Errors
    ///
    /// [`SeatError`]; the policy before is in charge of all shards then.
    ///
    /// See the crate `ostler` for policies by name and from module files.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// use ostler_core::{Cache, InstanceSource, SeatError};
    ///
    /// fn change(cache: &Cache<String, u32>, policy: Arc<dyn InstanceSource>) -> Result<(), SeatError> {
    ///     let handover = cache.set_policy(policy)?;
    ///     println!("{} entries handed over", handover.adopted);
    ///     Ok(())
    /// }
    /// ```
    pub fn set_policy(&self, policy: Arc<dyn InstanceSource>) -> Result<Handover, SeatError> {
        self.appoint(Some(policy), None)
    }

    /// Puts `policy` in charge of some shards, as [`set_policy`](Self::set_policy) does of all: the arms
    /// of a comparison on live requests. The others keep what they have, and `shards` that had a policy
    /// of their own lose that one. A fault, quarantine and restoration concern each shard's own policy.
    ///
    /// It lasts until [`set_policy`](Self::set_policy) or [`rollback`](Self::rollback) unites the
    /// shards. Naming every shard is [`set_policy`](Self::set_policy), naming none does nothing.
    ///
    /// # Errors
    ///
    /// [`SeatError`]; every shard has the policy then that it had before.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// use ostler_core::{Cache, InstanceSource, SeatError};
    ///
    /// fn try_out(cache: &Cache<String, u32>, policy: Arc<dyn InstanceSource>) -> Result<(), SeatError> {
    ///     let odd: Vec<usize> = (0..cache.shards()).filter(|shard| shard % 2 == 1).collect();
    ///     cache.set_policy_on(&odd, policy)?;
    ///     let ratios: Vec<f64> = cache.shard_stats().iter().map(|stats| stats.hit_ratio()).collect();
    ///     println!("{ratios:?}");
    ///     cache.rollback()?;
    ///     Ok(())
    /// }
    /// ```
    pub fn set_policy_on(
        &self,
        shards: &[usize],
        policy: Arc<dyn InstanceSource>,
    ) -> Result<Handover, SeatError> {
        let count = self.inner.shards.len();
        if let Some(&shard) = shards.iter().find(|&&shard| shard >= count) {
            return Err(SeatError::NoShard { shard, shards: count });
        }
        let mut places = shards.to_vec();
        places.sort_unstable();
        places.dedup();
        if places.is_empty() {
            return Ok(Handover { adopted: 0, shards: 0 });
        }
        self.appoint(Some(policy), (places.len() < count).then_some(places))
    }

    /// Puts the policy before this one in charge again, as a fresh instance that adopts all entries.
    /// Where shards have policies [of their own](Self::set_policy_on), that is the one that was in
    /// charge of all before: a rollback ends a comparison, and after a promotion by
    /// [`set_policy`](Self::set_policy) it goes back to what was there before the comparison.
    ///
    /// # Errors
    ///
    /// [`SeatError::NoPrevious`] where there was none, and whatever [`set_policy`](Self::set_policy)
    /// may say.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// use ostler_core::{Cache, InstanceSource, SeatError};
    ///
    /// fn try_out(cache: &Cache<String, u32>, policy: Arc<dyn InstanceSource>) -> Result<(), SeatError> {
    ///     cache.set_policy(policy)?;
    ///     // … and if it does worse:
    ///     cache.rollback()?;
    ///     Ok(())
    /// }
    /// ```
    pub fn rollback(&self) -> Result<Handover, SeatError> {
        self.appoint(None, None)
    }

    /// Trusts a quarantined policy again. It gets no seat by that.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// use ostler_core::{Cache, InstanceSource, SeatError};
    ///
    /// fn insist(cache: &Cache<String, u32>, policy: Arc<dyn InstanceSource>) -> Result<(), SeatError> {
    ///     cache.pardon(&*policy);
    ///     cache.set_policy(policy).map(|_| ())
    /// }
    /// ```
    pub fn pardon(&self, policy: &dyn InstanceSource) {
        self.inner.quarantine.pardon(&policy.code_id());
    }

    /// Who is wanted in charge and who is. Waits for each shard's maintainer.
    ///
    /// ```
    /// # let cache = ostler_core::Cache::<u32, u32>::builder(10).build()?;
    /// assert_eq!(cache.seat_status().desired, None);
    /// # Ok::<(), ostler_core::BuildError>(())
    /// ```
    #[must_use]
    pub fn seat_status(&self) -> SeatStatus {
        let appointments = self.inner.control.appointments.lock();
        let desired = appointments.whole();
        let label = |charge: Charge| charge.source.label().to_owned();
        SeatStatus {
            desired: desired.map(|source| source.label().to_owned()),
            params: desired.map(|source| source.params().to_owned()),
            previous: appointments.fallen_back_to().map(|source| source.label().to_owned()),
            arms: appointments.arms(),
            actual: self.inner.shards.iter().map(|shard| shard.charge().map(label)).collect(),
            faults: self.inner.shards.iter().map(|shard| shard.seat_fault()).collect(),
        }
    }

    /// The shard that `key` belongs to, from 0: the place of its seat in [`SeatStatus::actual`].
    ///
    /// ```
    /// # let cache = ostler_core::Cache::<u32, u32>::builder(10).shards(3).build()?;
    /// assert!(cache.shard_of(&7) < cache.seat_status().actual.len());
    /// # Ok::<(), ostler_core::BuildError>(())
    /// ```
    #[must_use]
    pub fn shard_of<Q>(&self, key: &Q) -> usize
    where
        K: Borrow<Q>,
        Q: Hash + ?Sized,
    {
        shard_of(self.inner.keys.hash(key), self.inner.shards.len())
    }

    /// Lines that the policies logged since the last call of this, bounded by their sandboxes.
    ///
    /// ```
    /// # let cache = ostler_core::Cache::<u32, u32>::builder(10).build()?;
    /// assert!(cache.take_policy_log().is_empty());
    /// # Ok::<(), ostler_core::BuildError>(())
    /// ```
    #[must_use]
    pub fn take_policy_log(&self) -> Vec<String> {
        self.inner.shards.iter().flat_map(|shard| shard.take_log()).collect()
    }

    /// Changes the capacity while the cache serves. Where it shrinks, the policies say what goes.
    ///
    /// Shares are dealt to the shards anew; the number of shards stays. So below one for each shard some
    /// shards hold nothing and refuse what belongs to them. Memory that entries took is kept for later
    /// ones. Waits for a change of the
    /// policy that is under way; called by a listener during one, it takes effect right after.
    ///
    /// ```
    /// # let cache = ostler_core::Cache::<u32, u32>::builder(10).build()?;
    /// for key in 0..10 {
    ///     let _ = cache.insert(key, key);
    /// }
    /// cache.resize(4);
    /// assert_eq!(cache.capacity(), 4);
    /// assert!(cache.len() <= 4 + cache.stats().slack);
    /// # Ok::<(), ostler_core::BuildError>(())
    /// ```
    pub fn resize(&self, capacity: u64) {
        let Some(turn) = self.inner.control.turn() else {
            *self.inner.control.capacity_next.lock() = Some(capacity);
            return;
        };
        self.resize_shards(capacity);
        self.end(turn);
    }

    /// Ends a change, and makes up for a capacity that was asked for meanwhile.
    fn end(&self, turn: Turn<'_>) {
        loop {
            let next = self.inner.control.capacity_next.lock().take();
            let Some(capacity) = next else { break };
            self.resize_shards(capacity);
        }
        drop(turn);
    }

    fn resize_shards(&self, capacity: u64) {
        let shards = self.inner.shards.len();
        for (index, shard) in self.inner.shards.iter().enumerate() {
            let mut after = self.after();
            shard.resize(budget_of(capacity, self.inner.slack, (index, shards)), &mut after);
        }
    }

    /// Appoints `source`, or the policy to go back to where that is none, to the shards in `places`,
    /// ascending, or to all.
    fn appoint(
        &self,
        source: Option<Arc<dyn InstanceSource>>,
        places: Option<Vec<usize>>,
    ) -> Result<Handover, SeatError> {
        let control = &self.inner.control;
        let previous = || control.appointments.lock().fallen_back_to().cloned();
        let label = |source: &Arc<dyn InstanceSource>| source.label().to_owned();
        let Some(turn) = control.turn() else {
            let policy = source.or_else(previous).as_ref().map(label).unwrap_or_default();
            return Err(SeatError::Busy { policy });
        };
        let source = source.or_else(previous).ok_or(SeatError::NoPrevious)?;
        let policy = label(&source);
        if self.inner.quarantine.holds_code(&source.code_id()) {
            return Err(SeatError::Quarantined { policy });
        }
        let charge = Charge { source, serial: control.appointments.lock().next_serial() };
        let appointed = match &places {
            Some(places) => self.appoint_shards(places, &charge),
            None => self.appoint_all(&charge),
        };
        let former = appointed.is_ok().then(|| {
            let mut appointments = control.appointments.lock();
            match &places {
                Some(places) => appointments.deal(places, &charge),
                None => return appointments.unite(charge),
            }
            None
        });
        self.end(turn);
        let adopted = appointed?;
        tracing::info!(target: "ostler::policy", policy, adopted, "policy in charge");
        let shards = places.as_ref().map_or(self.inner.shards.len(), Vec::len);
        self.tell(&match places {
            Some(shards) => PolicyEvent::Dealt { policy, shards, adopted },
            None => {
                let from = former.flatten().as_ref().map(label);
                PolicyEvent::Changed { from, to: policy, adopted }
            }
        });
        Ok(Handover { adopted, shards })
    }

    /// Changes all seats, or none in the end. Returns the entries handed over.
    fn appoint_all(&self, charge: &Charge) -> Result<u64, SeatError> {
        // What the policies before have lost is given back only if they stay. From here on a fault is
        // the new one's.
        let before = std::mem::take(&mut *self.inner.control.restoration.lock());
        let places: Vec<usize> = (0..self.inner.shards.len()).collect();
        self.appoint_shards(&places, charge)
            .inspect_err(|_| *self.inner.control.restoration.lock() = before)
    }

    /// Changes the seats of these shards, or none in the end. Returns the entries handed over.
    fn appoint_shards(&self, places: &[usize], charge: &Charge) -> Result<u64, SeatError> {
        let mut adopted = 0;
        for (changed, &shard) in places.iter().enumerate() {
            match self.appoint_shard(shard, charge) {
                Ok(entries) => adopted += entries,
                Err(fault) => {
                    self.go_back(&places[..changed]);
                    let policy = charge.source.label().to_owned();
                    return Err(SeatError::Fault { policy, shard, fault });
                }
            }
        }
        Ok(adopted)
    }

    /// Appoints a quarantined policy in a new cache: it is the one that is wanted, and gets no seat.
    pub(super) fn desire(&self, source: Arc<dyn InstanceSource>) {
        let mut appointments = self.inner.control.appointments.lock();
        let charge = Charge { source, serial: appointments.next_serial() };
        appointments.unite(charge);
    }

    fn appoint_shard(&self, index: usize, charge: &Charge) -> Result<u64, PolicyFault> {
        let mut after = self.after();
        let mut settle = |after: &mut Aftermath<K, V>| self.finish(std::mem::take(after));
        self.inner.shards[index].appoint(charge, &mut after, &mut settle)
    }

    /// These shards had changed when another one failed: they get back what they had.
    fn go_back(&self, places: &[usize]) {
        let desired = self.inner.control.appointments.lock().desired();
        for &index in places {
            let trusted = desired[index].as_ref().filter(|charge| self.is_trusted(charge));
            let back = trusted.map(|charge| (charge, self.appoint_shard(index, charge)));
            if !matches!(back, Some((_, Ok(_)))) {
                let mut after = self.after();
                self.inner.shards[index].dismiss(&mut after);
            }
            if let Some((charge, Err(fault))) = back {
                self.note_fault(&*charge.source, fault);
            }
        }
    }

    /// True where the policy may take a seat.
    fn is_trusted(&self, charge: &Charge) -> bool {
        !self.inner.quarantine.holds_code(&charge.source.code_id())
    }

    /// Counts a fault, and quarantines the code where it was one too many.
    pub(super) fn note_fault(&self, source: &dyn InstanceSource, fault: PolicyFault) {
        let policy = source.label().to_owned();
        let now_ms = self.inner.clock.now_ms();
        tracing::warn!(target: "ostler::policy", policy, %fault, "a policy lost its seat");
        self.tell(&PolicyEvent::Faulted { policy: policy.clone(), fault });
        let code = source.code_id();
        if self.inner.quarantine.note(&code, now_ms) {
            tracing::warn!(target: "ostler::policy", policy, "policy quarantined");
            self.tell(&PolicyEvent::Quarantined { policy, code });
        }
        let Some(wait) = self.inner.control.restore_after else { return };
        let mut restoration = self.inner.control.restoration.lock();
        if restoration.due_ms.is_none() {
            let doublings = restoration.attempts.min(DOUBLINGS_MAX);
            let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            restoration.due_ms =
                Some(now_ms.saturating_add(wait_ms.saturating_mul(1 << doublings)));
        }
    }

    /// A policy lost a seat because the user's code panicked: it gets it back at the next occasion.
    pub(super) fn note_bereaved(&self, source: &dyn InstanceSource) {
        let policy = source.label().to_owned();
        tracing::warn!(target: "ostler::policy", policy, "a panic of the user's code cost a seat");
        let now_ms = self.inner.clock.now_ms();
        let mut restoration = self.inner.control.restoration.lock();
        restoration.due_ms = Some(restoration.due_ms.map_or(now_ms, |due_ms| due_ms.min(now_ms)));
        drop(restoration);
        self.tell(&PolicyEvent::Interrupted { policy });
    }

    /// Gives seats back that were lost, where their time has come.
    pub(super) fn restore_due(&self) {
        let now_ms = self.inner.clock.now_ms();
        let due = |restoration: &Restoration| restoration.due_ms.is_some_and(|due| due <= now_ms);
        if !due(&self.inner.control.restoration.lock()) {
            return;
        }
        let Some(turn) = self.inner.control.turn() else { return };
        // A quarantined policy gets its seats back when it has been pardoned: it stays due.
        let (trusted, held): (Vec<_>, Vec<_>) =
            self.vacancies().into_iter().partition(|(_, charge)| self.is_trusted(charge));
        if trusted.is_empty() && !held.is_empty() {
            return;
        }
        {
            // Another thread may have been faster.
            let mut restoration = self.inner.control.restoration.lock();
            if !due(&restoration) {
                return;
            }
            restoration.due_ms = None;
            restoration.attempts += 1;
        }
        let mut restored = BTreeMap::new();
        for (index, charge) in trusted {
            match self.appoint_shard(index, &charge) {
                Ok(_) => *restored.entry(charge.source.label().to_owned()).or_default() += 1,
                Err(fault) => self.note_fault(&*charge.source, fault),
            }
        }
        if !held.is_empty() {
            self.inner.control.restoration.lock().due_ms.get_or_insert(now_ms);
        }
        self.end(turn);
        for (policy, shards) in restored {
            self.tell(&PolicyEvent::Restored { policy, shards });
        }
    }

    /// Shards that have lost the policy that is wanted there, after a fault only where that is to be
    /// given back.
    fn vacancies(&self) -> Vec<(usize, Charge)> {
        let restores = self.inner.control.restore_after.is_some();
        let desired = self.inner.control.appointments.lock().desired();
        let vacant = |(index, charge): (usize, Option<Charge>)| {
            let shard = &self.inner.shards[index];
            let vacant = shard.charge().is_none() && (restores || shard.seat_fault().is_none());
            charge.filter(|_| vacant).map(|charge| (index, charge))
        };
        desired.into_iter().enumerate().filter_map(vacant).collect()
    }
}
