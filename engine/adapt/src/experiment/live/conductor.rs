//! The course of a live experiment: deals the seats, closes the windows, and acts on what the rule or
//! somebody says.
//!
//! It must not know how policies get their seats ([`Actuator`] does) or where the time comes from.

use ostler_core::Stats;
use serde::{Deserialize, Serialize};

use super::LiveExperiment;
use crate::experiment::{CONTROL, StopReason, Verdict};

/// Gives the policies of an experiment their seats.
pub trait Actuator {
    /// Why it could not.
    type Error: std::fmt::Display;

    /// Puts the policy of an arm in charge of its shards, as fresh instances.
    ///
    /// # Errors
    ///
    /// Its own; those shards have what they had.
    fn deal(&mut self, arm: usize, shards: &[usize]) -> Result<(), Self::Error>;

    /// Puts the policy of an arm in charge of all shards.
    ///
    /// # Errors
    ///
    /// Its own; all shards have what they had.
    fn unite(&mut self, arm: usize) -> Result<(), Self::Error>;

    /// Puts back what was in charge of all shards before the experiment, as far as that can be.
    ///
    /// # Errors
    ///
    /// Its own; the shards keep what they have.
    fn withdraw(&mut self) -> Result<(), Self::Error>;
}

/// How an experiment stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
#[non_exhaustive]
pub enum State {
    /// The arms have their shards.
    Running,
    /// An arm's policy got all shards.
    Promoted {
        /// The arm.
        arm: usize,
        /// Whether the rule said so, and not somebody.
        by_rule: bool,
    },
    /// The control got all shards back.
    Stopped {
        /// What the rule said; none where somebody stopped it.
        reason: Option<StopReason>,
    },
    /// Something broke; the control got all shards back, or what was there before it.
    Aborted {
        /// What.
        reason: String,
    },
}

/// Why a call came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConductorError<E: std::fmt::Display> {
    /// It is over.
    #[error("the experiment is over")]
    Over,
    /// There is no such arm.
    #[error("there is no arm {arm}: the experiment has {arms}, numbered from 0")]
    NoArm {
        /// The arm.
        arm: usize,
        /// How many there are.
        arms: usize,
    },
    /// The policy did not get its seats.
    #[error("{0}")]
    Seat(E),
}

/// Runs one experiment from its deal to its end.
pub struct Conductor<A> {
    live: LiveExperiment,
    actuator: A,
    state: State,
    verdict: Verdict,
    window_ms: u64,
    /// When the window that runs is over.
    due_ms: Option<u64>,
}

impl<A: Actuator> Conductor<A> {
    /// Deals the seats, the control's too: its instances begin as fresh as those it is compared with.
    /// Windows are `window_ms` long, milliseconds, at least 1.
    ///
    /// # Errors
    ///
    /// The actuator's; all shards have then what they had, as far as that can be.
    pub fn start(live: LiveExperiment, mut actuator: A, window_ms: u64) -> Result<Self, A::Error> {
        let deal = live.experiment().deal();
        for arm in 0..deal.arms().len() {
            let shards: Vec<usize> = (0..deal.shards())
                .filter(|&shard| deal.arm_of(shard) == Some(arm))
                .map(|shard| shard as usize)
                .collect();
            if let Err(error) = actuator.deal(arm, &shards) {
                if arm > 0 {
                    // What matters is why it came to this.
                    let _ = actuator.withdraw();
                }
                return Err(error);
            }
        }
        let (state, verdict) = (State::Running, Verdict::Continue);
        Ok(Self { live, actuator, state, verdict, window_ms: window_ms.max(1), due_ms: None })
    }

    /// The experiment, to read it or to let it hear records.
    pub fn live(&mut self) -> &mut LiveExperiment {
        &mut self.live
    }

    /// How it stands.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// What the rule said at the last window.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// True where the window that runs is over at `now_ms`. The first call begins the first window. A
    /// clock that was set back ends it too, since it cannot say when it is over.
    #[must_use]
    pub fn is_due(&mut self, now_ms: u64) -> bool {
        let due_ms = *self.due_ms.get_or_insert(now_ms.saturating_add(self.window_ms));
        let is_set_back = due_ms.saturating_sub(now_ms) > self.window_ms;
        self.state == State::Running && (now_ms >= due_ms || is_set_back)
    }

    /// Ends the window and does what the rule says.
    pub fn close(&mut self, now_ms: u64, stats: &[Stats]) {
        if self.state != State::Running {
            return;
        }
        self.due_ms = Some(now_ms.saturating_add(self.window_ms));
        self.verdict = self.live.close(stats);
        match self.verdict {
            Verdict::Promote { arm, .. } => {
                if let Err(error) = self.actuator.unite(arm) {
                    self.abort(format!("arm {arm} could not be promoted: {error}"));
                } else {
                    self.state = State::Promoted { arm, by_rule: true };
                }
            }
            Verdict::Stop { reason } => {
                self.give_back();
                if self.state == State::Running {
                    self.state = State::Stopped { reason: Some(reason) };
                }
            }
            Verdict::Continue => {}
        }
    }

    /// Puts an arm's policy in charge of all shards, since somebody says so.
    ///
    /// # Errors
    ///
    /// [`ConductorError`]; the experiment goes on where it ran.
    pub fn promote(&mut self, arm: usize) -> Result<(), ConductorError<A::Error>> {
        self.must_run()?;
        let arms = self.live.experiment().deal().arms().len();
        if arm >= arms {
            return Err(ConductorError::NoArm { arm, arms });
        }
        self.actuator.unite(arm).map_err(ConductorError::Seat)?;
        self.state = State::Promoted { arm, by_rule: false };
        Ok(())
    }

    /// Puts the control in charge of all shards, since somebody says so.
    ///
    /// # Errors
    ///
    /// [`ConductorError::Over`]. A control that cannot take the seats aborts the experiment.
    pub fn stop(&mut self) -> Result<(), ConductorError<A::Error>> {
        self.must_run()?;
        self.give_back();
        if self.state == State::Running {
            self.state = State::Stopped { reason: None };
        }
        Ok(())
    }

    /// Ends it, since something broke.
    pub fn abort(&mut self, reason: String) {
        if self.state == State::Running {
            self.give_back();
            self.state = match std::mem::replace(&mut self.state, State::Running) {
                State::Aborted { reason: control } => {
                    State::Aborted { reason: format!("{reason}; {control}") }
                }
                _ => State::Aborted { reason },
            };
        }
    }

    fn must_run(&self) -> Result<(), ConductorError<A::Error>> {
        if self.state == State::Running { Ok(()) } else { Err(ConductorError::Over) }
    }

    /// Puts the control in charge of all shards, or else what was before it: then that is the state.
    fn give_back(&mut self) {
        let Err(error) = self.actuator.unite(CONTROL) else { return };
        let reason = match self.actuator.withdraw() {
            Ok(()) => {
                format!("the control did not get its seats back, what was before did: {error}")
            }
            Err(before) => format!(
                "neither the control got its seats back ({error}) nor what was before ({before})"
            ),
        };
        self.state = State::Aborted { reason };
    }
}
