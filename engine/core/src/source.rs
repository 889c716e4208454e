//! Where policy instances come from: the core's word for "a policy", without knowing what it is.

use ostler_abi::Setup;

use crate::fault::PolicyFault;
use crate::instance::PolicyInstance;
use crate::seat::Wants;

/// A policy that can be put in charge: it makes instances, compiled in or sandboxed.
///
/// A cache keeps the source of the policy in charge, and that of the one before it for the way back.
///
/// Policies by name and from module files are in the crate `ostler`. One of your own, compiled in:
///
/// ```
/// use std::sync::Arc;
/// use ostler_abi::{InitRefused, Kind, NativePolicy, Record, Setup, Step};
/// use ostler_core::{Cache, InstanceSource, NativeInstance, PolicyFault, PolicyInstance, Wants};
///
/// /// First in, first out, where every entry weighs 1. The SDK makes the contract's rules easier.
/// struct FirstIn {
///     queue: std::collections::VecDeque<u32>,
///     capacity: usize,
/// }
///
/// impl Step for FirstIn {
///     fn step(&mut self, events: &[Record], victims: &mut [u32]) -> usize {
///         let mut count = 0;
///         for event in events {
///             match event.kind() {
///                 Some(Kind::Insert | Kind::Adopt) => self.queue.push_back(event.slot),
///                 Some(Kind::Remove | Kind::Expire) => self.queue.retain(|&slot| slot != event.slot),
///                 _ => {}
///             }
///             while self.queue.len() > self.capacity {
///                 victims[count] = self.queue.pop_front().expect("it is not empty");
///                 count += 1;
///             }
///         }
///         count
///     }
/// }
///
/// fn build(setup: Setup, _: &str) -> Result<Box<dyn Step + Send>, InitRefused> {
///     Ok(Box::new(FirstIn { queue: Default::default(), capacity: setup.capacity as usize }))
/// }
///
/// struct Mine;
///
/// impl InstanceSource for Mine {
///     fn label(&self) -> &str {
///         "first-in"
///     }
///     fn params(&self) -> &str {
///         "{}"
///     }
///     fn code_id(&self) -> String {
///         "first-in".to_owned()
///     }
///     fn wants(&self) -> Wants {
///         Wants::NONE
///     }
///     fn instance(&self, setup: Setup) -> Result<Box<dyn PolicyInstance>, PolicyFault> {
///         let policy = NativePolicy { manifest: "{}", build };
///         match NativeInstance::try_new(&policy, setup, self.params()) {
///             Ok(instance) => Ok(Box::new(instance)),
///             Err(_) => Err(PolicyFault::Refused { code: 1 }),
///         }
///     }
/// }
///
/// let cache = Cache::<u32, u32>::builder(2).shards(1).slack(0).policy(Arc::new(Mine)).build()?;
/// for key in [1, 2, 3] {
///     let _ = cache.insert(key, key);
/// }
/// assert!(!cache.contains(&1) && cache.contains(&3));
/// assert_eq!(cache.seat_status().actual, [Some("first-in".to_owned())]);
/// # Ok::<(), ostler_core::BuildError>(())
/// ```
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

    /// Whether its instances take models: whoever runs the cache may train one and publish it.
    fn takes_models(&self) -> bool {
        false
    }

    /// A fresh instance for an empty shard. Cost: some tens of microseconds for a module.
    ///
    /// # Errors
    ///
    /// The fault, where the policy fails before its first event.
    fn instance(&self, setup: Setup) -> Result<Box<dyn PolicyInstance>, PolicyFault>;
}
