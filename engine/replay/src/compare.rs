//! Comparing policies on the same requests.
//!
//! Owns the paired play of several contenders, what is counted meanwhile, the statistics of the
//! differences, and miss-ratio curves from samples. It knows a contender only as something that plays
//! blocks of requests and says hit or miss; it must not know how results are shown.
//!
//! - [`Paired`] plays all contenders in lock-step over the same blocks: one reading of the trace.
//! - [`Difference`] is what separates two of them, with its interval. How the interval is made, and how
//!   that was checked, stands in `compare/interval.rs`.
//! - [`Standings`] sums up many rows: wins, ties, losses, regret against the best of each row.
//! - [`MiniatureCurve`] is the miss-ratio curve of any policy, from a sample of the keys.

mod curve;
mod grid;
mod interval;
mod paired;
mod standings;

use crate::live::LiveRun;
use crate::run::{Player, Run, RunOutcome};
use crate::trace::Request;

pub use curve::{CurvePoint, MiniatureCurve, sizes_between};
pub use interval::{Difference, Verdict};
pub use paired::{Measure, Paired, PairedOutcome, PairedSetup, Stretch};
pub use standings::{Regret, Standing, Standings};

/// What one request found.
///
/// ```
/// use ostler_replay::Outcome;
///
/// assert!(Outcome::Miss.is_miss() && !Outcome::Hit.is_miss());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The key was resident.
    Hit,
    /// It was not.
    Miss,
}

impl Outcome {
    /// True for a miss.
    #[inline]
    #[must_use]
    pub const fn is_miss(self) -> bool {
        matches!(self, Self::Miss)
    }
}

/// What can take part in a comparison: anything that plays requests in order and tells hits from misses.
///
/// A [`Run`] of a policy is one, exact, and a [`LiveRun`], through the live cache; so can be a run that
/// changes its policy on the way, or a model of a cache:
///
/// ```
/// use ostler_replay::{Contender, Outcome, Paired, PairedSetup, Request, RunOutcome, WeightMode};
///
/// /// A cache of everything.
/// #[derive(Default)]
/// struct Boundless {
///     seen: std::collections::HashSet<u64>,
///     outcome: RunOutcome,
/// }
///
/// impl Contender for Boundless {
///     fn play(&mut self, block: &[Request], outcomes: &mut Vec<Outcome>) {
///         for request in block.iter().filter(|request| request.is_request()) {
///             let is_new = self.seen.insert(request.key);
///             self.outcome.requests += 1;
///             self.outcome.misses += u64::from(is_new);
///             outcomes.push(if is_new { Outcome::Miss } else { Outcome::Hit });
///         }
///     }
///
///     fn finish(self: Box<Self>) -> RunOutcome {
///         self.outcome
///     }
/// }
///
/// let contenders: Vec<Box<dyn Contender>> =
///     vec![Box::new(Boundless::default()), Box::new(Boundless::default())];
/// let setup = PairedSetup { capacity: 10, weights: WeightMode::Objects };
/// let mut paired = Paired::new(setup, contenders);
/// paired.play(&[Request::get(0, 1, 1), Request::get(1, 1, 1)]);
/// let outcome = paired.finish();
/// assert_eq!(outcome.runs()[0].misses, 1);
/// ```
pub trait Contender: Send {
    /// Plays a block of requests, in order, and appends to `outcomes` exactly one outcome for each get
    /// and set of the block ([`Request::is_request`]), in their order; nothing for a delete.
    fn play(&mut self, block: &[Request], outcomes: &mut Vec<Outcome>);

    /// Ends the run: what waits is handed over, and everything is added up.
    fn finish(self: Box<Self>) -> RunOutcome;
}

impl Contender for Run {
    fn play(&mut self, block: &[Request], outcomes: &mut Vec<Outcome>) {
        self.play_noting(block, outcomes);
    }

    fn finish(self: Box<Self>) -> RunOutcome {
        Player::finish(*self)
    }
}

impl Contender for LiveRun {
    fn play(&mut self, block: &[Request], outcomes: &mut Vec<Outcome>) {
        self.play_noting(block, outcomes);
    }

    fn finish(self: Box<Self>) -> RunOutcome {
        Player::finish(*self)
    }
}
