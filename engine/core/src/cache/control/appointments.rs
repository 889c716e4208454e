//! Who is wanted in charge of each shard.
//!
//! It remembers and answers; it appoints nobody.

use std::sync::Arc;

use crate::live::Charge;
use crate::source::InstanceSource;

/// Some shards with a policy of their own, by [`Cache::set_policy_on`](crate::Cache::set_policy_on).
///
/// ```
/// use ostler_core::{Arm, SeatStatus};
///
/// fn lines(status: &SeatStatus) -> Vec<String> {
///     let line = |arm: &Arm| format!("{} {} in shards {:?}", arm.policy, arm.params, arm.shards);
///     status.arms.iter().map(line).collect()
/// }
/// # let cache = ostler_core::Cache::<u32, u32>::builder(10).build()?;
/// # assert!(lines(&cache.seat_status()).is_empty());
/// # Ok::<(), ostler_core::BuildError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Arm {
    /// The policy that is wanted in charge of them.
    pub policy: String,
    /// Its parameters, flat JSON.
    pub params: String,
    /// The shards, ascending.
    pub shards: Vec<usize>,
}

/// What was appointed, and what a rollback goes back to.
pub(super) struct Appointments {
    /// By shard; none where nobody was appointed.
    desired: Vec<Option<Charge>>,
    /// What was appointed to all shards last.
    whole: Option<Charge>,
    /// The one before that.
    previous: Option<Arc<dyn InstanceSource>>,
    serial: u64,
}

impl Appointments {
    pub(super) fn new(shards: usize) -> Self {
        Self { desired: vec![None; shards], whole: None, previous: None, serial: 0 }
    }

    /// A number greater than all before.
    pub(super) fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// Who is wanted in each shard.
    pub(super) fn desired(&self) -> Vec<Option<Charge>> {
        self.desired.clone()
    }

    /// What was appointed to all shards last.
    pub(super) fn whole(&self) -> Option<&Arc<dyn InstanceSource>> {
        self.whole.as_ref().map(|charge| &charge.source)
    }

    /// What a rollback appoints to all shards: where there are arms, what was in charge before them.
    pub(super) fn fallen_back_to(&self) -> Option<&Arc<dyn InstanceSource>> {
        if self.has_arms() { self.whole() } else { self.previous.as_ref() }
    }

    /// Notes that `charge` has all the seats. Returns what had been appointed to all before.
    pub(super) fn unite(&mut self, charge: Charge) -> Option<Arc<dyn InstanceSource>> {
        let divided = self.has_arms();
        let former = self.whole.replace(charge.clone()).map(|former| former.source);
        // Where arms came to an end and it is back alone, there is no other before it by that.
        if let Some(former) = &former
            && !(divided && is_same(&**former, &*charge.source))
        {
            self.previous = Some(Arc::clone(former));
        }
        self.desired.fill(Some(charge));
        former
    }

    /// Notes that `charge` has the seats of some shards.
    pub(super) fn deal(&mut self, shards: &[usize], charge: &Charge) {
        for &shard in shards {
            self.desired[shard] = Some(charge.clone());
        }
    }

    /// The shards that have a policy of their own, together with those that got it at once.
    pub(super) fn arms(&self) -> Vec<Arm> {
        let mut arms: Vec<(u64, Arm)> = Vec::new();
        for (shard, charge) in self.desired.iter().enumerate() {
            let Some(Charge { source, serial }) = charge else { continue };
            if !self.is_arm(charge.as_ref()) {
                continue;
            }
            match arms.iter_mut().find(|(other, _)| other == serial) {
                Some((_, arm)) => arm.shards.push(shard),
                None => {
                    let (policy, params) = (source.label().to_owned(), source.params().to_owned());
                    arms.push((*serial, Arm { policy, params, shards: vec![shard] }));
                }
            }
        }
        arms.into_iter().map(|(_, arm)| arm).collect()
    }

    fn has_arms(&self) -> bool {
        self.desired.iter().any(|charge| self.is_arm(charge.as_ref()))
    }

    /// Seats that were dealt are an arm's, also where the policy is that of the others.
    fn is_arm(&self, charge: Option<&Charge>) -> bool {
        let serial = |charge: &Charge| charge.serial;
        charge.map(serial) != self.whole.as_ref().map(serial)
    }
}

/// The same code with the same parameters.
fn is_same(one: &dyn InstanceSource, other: &dyn InstanceSource) -> bool {
    one.code_id() == other.code_id() && one.params() == other.params()
}
