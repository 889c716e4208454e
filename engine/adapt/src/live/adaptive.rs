//! The better policy takes over by itself, in a running cache.
//!
//! [`Adaptive`] is the handle: it puts a [`Chooser`] among the consumers of a watched cache, and shows
//! what that decided. Who changes the policy is an [`Actuator`].

use std::hash::{BuildHasher, Hash};
use std::sync::{Arc, Mutex, PoisonError};

use ostler_core::{Cache, InstanceSource, SeatError};
use serde::Serialize;

use super::chooser::Chooser;
use super::decisions::{Action, DecisionRecord, Decisions};
use super::worker::{ConsumerId, Live, LiveConfig, LiveError};
use crate::objective::Objective;
use crate::panel::{Panel, PanelConfig, PortfolioError};
use crate::selector::{Reason, SelectorConfig};

/// Who changes the policy of a cache, and knows who is in charge. Called on the thread that watches the
/// cache; a change may take its time there.
pub trait Actuator: Send {
    /// Puts a candidate in charge of the whole cache.
    ///
    /// # Errors
    ///
    /// [`Refusal`]; the policy before is in charge then.
    fn swap(&mut self, to: usize, reason: Reason) -> Result<(), Refusal>;

    /// The candidate in charge of the whole cache, none where it is another policy. Asked about once a
    /// second.
    fn in_charge(&mut self) -> Option<usize>;

    /// Why nothing is to be changed at the moment, such as an experiment that runs; none as a rule. Asked
    /// before each decision.
    fn pause(&mut self) -> Option<String> {
        None
    }
}

/// Why a candidate did not take over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why, in a sentence.
    pub reason: String,
    /// It would be refused again: the candidate is out for good.
    pub is_final: bool,
}

/// How a cache adapts.
#[derive(Clone)]
pub struct AdaptiveConfig {
    /// What policies are compared by.
    pub objective: Objective,
    /// The selector's settings.
    pub selector: SelectorConfig,
    /// Swaps within an hour, at most. What repairs something, after a fault or a swap that did harm, is
    /// not counted in.
    pub swaps_per_hour_max: u32,
    /// Seed of everything random in the shadows' policies.
    pub seed: u64,
    /// How the cache is watched; counts where the cache is not watched yet.
    pub live: LiveConfig,
}

impl Default for AdaptiveConfig {
    fn default() -> Self {
        Self {
            objective: Objective::Object,
            selector: SelectorConfig::default(),
            swaps_per_hour_max: 30,
            seed: 0x6f73_746c_6572,
            live: LiveConfig::default(),
        }
    }
}

/// Why a cache does not adapt.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdaptiveError {
    /// The portfolio cannot be compared.
    #[error(transparent)]
    Portfolio(#[from] PortfolioError),
    /// The cache cannot be watched.
    #[error(transparent)]
    Live(#[from] LiveError),
    /// The first policy of the portfolio cannot be put in charge.
    #[error(transparent)]
    Seat(#[from] SeatError),
}

/// A candidate and its shadow.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct CandidateStatus {
    /// Its name: the policy's, with its parameters where several have that name.
    pub policy: String,
    /// It is in charge of the cache.
    pub in_charge: bool,
    /// Why it is out of the comparison, none while it takes part.
    pub out: Option<String>,
    /// Requests that its shadow played.
    pub requests: u64,
    /// Share of the worth of the last requests that its shadow hit, 0 to 1.
    pub hit_ratio: f64,
    /// Entries in its shadow.
    pub entries: u64,
    /// Nanoseconds in its policy so far, estimated; 0 for one that is compiled in.
    pub guest_ns: u64,
    /// Bytes of memory of its policy in shadow.
    pub memory_bytes: u64,
}

/// What is compared and how it stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct AdaptiveStatus {
    /// What policies are compared by.
    pub objective: Objective,
    /// Why nothing is changed at the moment, none while everything is as it should be.
    pub hold: Option<String>,
    /// The shadows have been filled: from then on they are compared.
    pub is_warm: bool,
    /// Windows that were judged.
    pub windows: u64,
    /// Sampled requests heard.
    pub requests: u64,
    /// Those left out because the entry weighs more than a shadow holds.
    pub oversize: u64,
    /// Share of the worth of the last sampled requests that the cache itself hit, 0 to 1.
    pub live_hit_ratio: f64,
    /// The portfolio, in its order.
    pub candidates: Vec<CandidateStatus>,
}

/// What the handle and the chooser share.
#[derive(Default)]
pub(super) struct Shown {
    pub(super) decisions: Decisions,
    status: Mutex<AdaptiveStatus>,
}

impl Shown {
    pub(super) fn show(&self, status: AdaptiveStatus) {
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = status;
    }

    pub(super) fn status(&self) -> AdaptiveStatus {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A cache whose policy changes by evidence: candidates in shadow on a share of its keys, and a
/// selector. Stops when it drops; the policy in charge then stays there.
///
/// ```
/// use std::sync::Arc;
///
/// use ostler_adapt::live::{Adaptive, AdaptiveConfig};
/// use ostler_core::{Cache, InstanceSource};
///
/// # fn start(portfolio: Vec<Arc<dyn InstanceSource>>) -> Result<(), Box<dyn std::error::Error>> {
/// let cache = Cache::<String, u32>::builder(10_000).build()?;
/// let adaptive = Adaptive::start(&cache, portfolio, AdaptiveConfig::default())?;
/// // … the cache serves …
/// for decision in adaptive.decisions() {
///     println!("{:?} {:?} -> {:?}: {}", decision.action, decision.from, decision.to, decision.reason);
/// }
/// # Ok(())
/// # }
/// ```
pub struct Adaptive {
    live: Arc<Live>,
    id: ConsumerId,
    shown: Arc<Shown>,
}

impl Adaptive {
    /// Lets `cache` adapt: its policy is that of the `portfolio`, 2 to 8 policies, that does best. Where
    /// the one in charge is none of them, the first takes over. A policy that is put in charge by other
    /// means goes on from there if it is in the portfolio; else nothing is changed until one is.
    ///
    /// # Errors
    ///
    /// [`AdaptiveError`]; the cache goes on with the policy that it has.
    pub fn start<K, V, S>(
        cache: &Cache<K, V, S>,
        portfolio: Vec<Arc<dyn InstanceSource>>,
        config: AdaptiveConfig,
    ) -> Result<Self, AdaptiveError>
    where
        K: Hash + Eq + Send + Sync + 'static,
        V: Send + Sync + 'static,
        S: BuildHasher + Clone + Send + Sync + 'static,
    {
        let mut actuator = CacheActuator { cache: cache.clone(), portfolio: portfolio.clone() };
        let first = portfolio.first().filter(|_| actuator.in_charge().is_none()).cloned();
        let live = Arc::new(Live::new(Arc::new(cache.clone()), config.live.clone()));
        let adaptive = Self::start_on(live, portfolio, Box::new(actuator), &config)?;
        // Last, so that nothing has changed where anything else fails.
        if let Some(first) = first {
            cache.set_policy(first)?;
        }
        Ok(adaptive)
    }

    /// The same for a cache that is watched, with an `actuator` of one's own.
    ///
    /// # Errors
    ///
    /// [`AdaptiveError`] where the portfolio is too small or too large, or there is no thread.
    pub fn start_on(
        live: Arc<Live>,
        portfolio: Vec<Arc<dyn InstanceSource>>,
        actuator: Box<dyn Actuator>,
        config: &AdaptiveConfig,
    ) -> Result<Self, AdaptiveError> {
        let AdaptiveConfig { objective, selector, seed, swaps_per_hour_max, .. } = *config;
        let panel = PanelConfig { capacity: 1, objective, seed };
        let panel = Panel::try_new(portfolio, &panel)?;
        let shown = Arc::new(Shown::default());
        let chooser =
            Chooser::new(Arc::clone(live.cache()), panel, (objective, selector), actuator);
        let chooser = chooser.limited_to(swaps_per_hour_max).shown_in(Arc::clone(&shown));
        let id = live.add(Box::new(chooser))?;
        Ok(Self { live, id, shown })
    }

    /// The last decisions, 256 at most, newest first.
    #[must_use]
    pub fn decisions(&self) -> Vec<DecisionRecord> {
        self.shown.decisions.newest_first()
    }

    /// How many decisions of each action there were.
    #[must_use]
    pub fn counts(&self) -> [(Action, u64); Action::ALL.len()] {
        self.shown.decisions.counts()
    }

    /// What is compared and how it stands, as of the last tenth of a second or so.
    #[must_use]
    pub fn status(&self) -> AdaptiveStatus {
        self.shown.status()
    }

    /// The watched cache, and what watching costs.
    #[must_use]
    pub fn live(&self) -> &Arc<Live> {
        &self.live
    }
}

impl Drop for Adaptive {
    fn drop(&mut self) {
        self.live.remove(self.id);
    }
}

/// Changes the policy of a cache that nobody else watches over.
struct CacheActuator<K, V, S> {
    cache: Cache<K, V, S>,
    portfolio: Vec<Arc<dyn InstanceSource>>,
}

impl<K, V, S> Actuator for CacheActuator<K, V, S>
where
    K: Hash + Eq + Send + Sync,
    V: Send + Sync,
    S: BuildHasher + Clone + Send + Sync,
{
    fn swap(&mut self, to: usize, _reason: Reason) -> Result<(), Refusal> {
        let Some(source) = self.portfolio.get(to) else {
            return Err(Refusal { reason: format!("there is no candidate {to}"), is_final: true });
        };
        match self.cache.set_policy(Arc::clone(source)) {
            Ok(_) => Ok(()),
            Err(error) => {
                let is_final = !matches!(error, SeatError::Busy { .. });
                Err(Refusal { reason: error.to_string(), is_final })
            }
        }
    }

    fn in_charge(&mut self) -> Option<usize> {
        let status = self.cache.seat_status();
        let (policy, params) = (status.desired?, status.params?);
        let mut sources = self.portfolio.iter();
        sources.position(|source| source.label() == policy && source.params() == params)
    }

    fn pause(&mut self) -> Option<String> {
        let has_arms = !self.cache.seat_status().arms.is_empty();
        has_arms.then(|| "shards have policies of their own".to_owned())
    }
}
