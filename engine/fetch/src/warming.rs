//! Warming a cold cache: what it had before is fetched again, most valuable first, within a budget.
//!
//! A plain state machine in four parts. [`KeyHistory`] hears of every request and remembers keys,
//! within a bound of bytes, through a [snapshot](KeyHistory::to_snapshot) beyond the end of the
//! process. [`WarmingTrainer`] rehearses restarts on it and trains the model of policies that take
//! one. [`WarmPlan`] has a policy rank the keys and yields them in that order. [`Pace`] says when the
//! next may be fetched. It knows no thread, no network, no clock, and the policy only as a function
//! of the contract's records.

mod decay;
mod history;
mod hours;
mod pace;
mod plan;
mod snapshot;
#[cfg(test)]
mod tests;
mod trainer;

pub use history::{ENTRY_BYTES, HISTORY_KEY_BYTES_MAX, HistoryConfig, KeyHistory, Moment, Noted};
pub use pace::{Pace, PaceConfig};
pub use plan::{WarmKey, WarmPlan};
pub use snapshot::{SnapshotError, SnapshotHeader};
pub use trainer::{TrainerConfig, WarmingTrainer, facts_of};
