//! Ostler's control: what compares policies while they run, and what decides between them.
//!
//! Deciding code in here returns values and changes nothing; whoever runs the cache acts. It knows
//! policies as [`InstanceSource`](ostler_core::InstanceSource); it must not know the network, the
//! command line or the replay's traces.

mod evidence;
pub mod experiment;
mod learner;
pub mod live;
mod objective;
mod panel;
mod sample;
mod selector;
mod shadow;
mod worth;

pub use evidence::{CANDIDATES_MAX, Evidence, Pairing};
pub use learner::{CandidateReport, Learner, LearnerConfig, LearnerReport, trial_misses};
pub use objective::{Objective, UnknownObjective};
pub use panel::{Heard, Panel, PanelConfig, PortfolioError};
pub use sample::{Sampler, shadow_rate};
pub use selector::{Decision, Reason, Selector, SelectorConfig};
pub use shadow::{Sampled, Shadow};
