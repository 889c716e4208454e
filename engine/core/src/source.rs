//! Where policy instances come from: the core's word for "a policy", without knowing what it is.

use ostler_abi::Setup;

use crate::fault::PolicyFault;
use crate::instance::PolicyInstance;
use crate::seat::Wants;

/// A policy that can be put in charge: it makes instances, compiled in or sandboxed.
///
/// A cache keeps the source of the policy in charge, and that of the one before it for the way back.
pub trait InstanceSource: Send + Sync {
    /// The name that reports and errors use, such as `s3fifo` or `native:lru`.
    fn label(&self) -> &str;

    /// The parameters, every one of them, as flat JSON.
    fn params(&self) -> &str;

    /// What identifies the code, whatever its parameters: a module's digest, or the name of a
    /// compiled-in policy. Faults are counted against it.
    fn code_id(&self) -> String;

    /// Which optional events the policy asks for.
    fn wants(&self) -> Wants;

    /// A fresh instance for an empty shard. Cost: some tens of microseconds for a module.
    ///
    /// # Errors
    ///
    /// The fault, where the policy fails before its first event.
    fn instance(&self, setup: Setup) -> Result<Box<dyn PolicyInstance>, PolicyFault>;
}
