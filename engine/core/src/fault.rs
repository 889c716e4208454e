//! Policy faults: the ways in which a policy can break its contract.

use thiserror::Error;

/// How a policy broke its contract. A faulted instance is never called again.
///
/// A fault is a value for counters, listeners and reports; it never reaches a caller of the cache.
///
/// ```
/// use ostler_core::PolicyFault;
///
/// let fault = PolicyFault::OverBudget { weight: 11, capacity: 10 };
/// assert_eq!(fault.kind(), "over_budget");
/// assert_eq!(fault.to_string(), "over budget: the view weighs 11, the capacity is 10");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PolicyFault {
    /// The guest executed a trapping instruction (unreachable, out of bounds, division by zero …).
    #[error("trap: {reason}")]
    Trap {
        /// The trap as the sandbox reports it.
        reason: String,
    },
    /// One call ran longer than its deadline: CPU time live, fuel in replay.
    #[error("deadline: the call passed its limit of {limit} {unit}")]
    Deadline {
        /// The limit in force.
        limit: u64,
        /// `us of CPU time` or `fuel`.
        unit: &'static str,
    },
    /// The calls kept their deadlines, but over the rolling window they took too long per event.
    #[error(
        "slow: {ns_per_event} ns an event over the last {events} events, the budget is {limit}"
    )]
    Slow {
        /// Measured guest nanoseconds per event.
        ns_per_event: u64,
        /// Length of the window in events.
        events: u64,
        /// The budget in nanoseconds per event.
        limit: u64,
    },
    /// The guest asked for more memory or table elements than its manifest and slots allow.
    #[error("memory: wanted {wanted} bytes, the limit is {limit}")]
    Memory {
        /// Bytes (or table elements) asked for.
        wanted: u64,
        /// The limit in force.
        limit: u64,
    },
    /// The call stack, the guest's or the caller's native one, has no room for the call.
    #[error("stack: {reason}")]
    Stack {
        /// Which stack, and what was left of it.
        reason: String,
    },
    /// The published layout does not fit the memory or the contract.
    #[error("bad layout: {reason}")]
    BadLayout {
        /// The offending field and its bound.
        reason: String,
    },
    /// `ostler_init` returned a non-zero code.
    #[error("refused: init returned {code}")]
    Refused {
        /// The code returned.
        code: i32,
    },
    /// A victim is not in the view, is named twice, or the count of victims is impossible.
    #[error("bad victim: {reason}")]
    BadVictim {
        /// The offending slot or count.
        reason: String,
    },
    /// The policy is of another kind than the place it was put in.
    #[error("wrong kind: a policy of the kind {found} where {wanted} is wanted")]
    WrongKind {
        /// The kind in its manifest.
        found: &'static str,
        /// The kind that was wanted.
        wanted: &'static str,
    },
    /// An answer of a prefetch or warming policy is outside its bounds: a count, an offset, a key.
    #[error("bad answer: {reason}")]
    BadAnswer {
        /// What is wrong with it, and its bound.
        reason: String,
    },
    /// After the step the view weighs more than the capacity.
    #[error("over budget: the view weighs {weight}, the capacity is {capacity}")]
    OverBudget {
        /// Weight of the guest's view.
        weight: u64,
        /// Capacity it had to keep.
        capacity: u64,
    },
    /// The policy evicted far more than it had to.
    #[error("over eviction: evicted down to {weight}, the floor is {floor}")]
    OverEviction {
        /// Weight of the view after the step.
        weight: u64,
        /// Weight below which eviction counts as excessive.
        floor: u64,
    },
}

impl PolicyFault {
    /// The fault's kind as reports and metrics name it.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            PolicyFault::Trap { .. } => "trap",
            PolicyFault::Deadline { .. } => "deadline",
            PolicyFault::Slow { .. } => "slow",
            PolicyFault::Memory { .. } => "memory",
            PolicyFault::Stack { .. } => "stack",
            PolicyFault::BadLayout { .. } => "bad_layout",
            PolicyFault::Refused { .. } => "refused",
            PolicyFault::BadVictim { .. } => "bad_victim",
            PolicyFault::WrongKind { .. } => "wrong_kind",
            PolicyFault::BadAnswer { .. } => "bad_answer",
            PolicyFault::OverBudget { .. } => "over_budget",
            PolicyFault::OverEviction { .. } => "over_eviction",
        }
    }
}
