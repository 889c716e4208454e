//! Policies for live caches, by name or from a module's bytes, on one host for the whole process.

use std::sync::Arc;
#[cfg(feature = "wasm")]
use std::sync::{Mutex, PoisonError};

use ostler_core::InstanceSource;
#[cfg(feature = "builtin")]
use ostler_core::{CacheBuilder, DefaultHashBuilder};
#[cfg(feature = "wasm")]
use serde_json::Map;

#[cfg(feature = "wasm")]
use crate::host::Host;
use crate::policy::OpenError;
#[cfg(not(feature = "wasm"))]
use crate::{loaded::Loaded, policy::Policy};

/// The policy that [`builder`] puts in charge: the module where there is Wasm, else the same source
/// compiled in.
#[cfg(feature = "builtin")]
const POLICY_DEFAULT: &str = if cfg!(feature = "wasm") { "s3fifo" } else { "native:s3fifo" };

/// The host that all live caches of the process share: one Wasm engine, one thread that watches the
/// guests' time and sleeps while there are none.
#[cfg(feature = "wasm")]
static HOST: Mutex<Option<Host>> = Mutex::new(None);

/// The host for live caches; made at the first call.
///
/// # Errors
///
/// [`OpenError::Host`] where this machine cannot run Wasm policies.
///
/// ```
/// let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../policies/artifacts/lru.wasm");
/// let policy = ostler::host()?.open(&file.parse()?)?;
/// assert_eq!(policy.manifest().name(), "lru");
/// # Ok::<(), ostler::OpenError>(())
/// ```
#[cfg(feature = "wasm")]
pub fn host() -> Result<Host, OpenError> {
    let mut host = HOST.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(host) = &*host {
        return Ok(host.clone());
    }
    let made = Host::try_live()?;
    *host = Some(made.clone());
    Ok(made)
}

/// The policy that `spec` names, for a live cache: a built-in module (`s3fifo`), one compiled in
/// (`native:s3fifo`), a file (`my.wasm`), each with parameters if need be
/// (`s3fifo(small_percent=20)`). Without the feature `wasm` only those compiled in.
///
/// Cost: compiling the module, some milliseconds for a built-in one.
///
/// # Errors
///
/// [`OpenError`] that names the policy and says what would be right.
///
/// ```
/// let policy = ostler::policy("sieve")?;
/// assert_eq!(policy.label(), "sieve");
/// assert!(ostler::policy("no-such-policy").is_err());
/// # Ok::<(), ostler::OpenError>(())
/// ```
pub fn policy(spec: &str) -> Result<Arc<dyn InstanceSource>, OpenError> {
    let spec = spec.parse()?;
    #[cfg(feature = "wasm")]
    let policy = host()?.open(&spec)?;
    #[cfg(not(feature = "wasm"))]
    let policy = Policy { loaded: Loaded::open_native(&spec)? };
    Ok(Arc::new(policy))
}

/// A policy from the bytes of its module, for a live cache, with default parameters. `name` is what
/// reports call it.
///
/// # Errors
///
/// [`OpenError::Refused`] with the step of admission that refused it, and why.
///
/// ```
/// # let module = ostler::builtin("lru").map_or(&[][..], |builtin| builtin.module);
/// let policy = ostler::policy_from_module("mine", module)?;
/// assert_eq!(policy.label(), "mine");
/// # Ok::<(), ostler::OpenError>(())
/// ```
#[cfg(feature = "wasm")]
pub fn policy_from_module(name: &str, module: &[u8]) -> Result<Arc<dyn InstanceSource>, OpenError> {
    Ok(Arc::new(host()?.open_module(module, &Map::new(), name.to_owned())?))
}

/// Settings for a cache of this capacity with the policy `s3fifo` in charge: a good start where
/// nothing is known about the workload. Without the feature `wasm` it is the one compiled in.
///
/// # Errors
///
/// [`OpenError::Host`] where this machine cannot run Wasm policies.
///
/// ```
/// let cache = ostler::builder::<String, u32>(10_000)?.build()?;
/// let _ = cache.insert("seven".to_owned(), 7);
/// assert_eq!(cache.get("seven"), Some(7));
/// assert_eq!(cache.seat_status().desired.as_deref(), Some("s3fifo"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[cfg(feature = "builtin")]
pub fn builder<K, V>(capacity: u64) -> Result<CacheBuilder<K, V, DefaultHashBuilder>, OpenError>
where
    K: std::hash::Hash + Eq,
{
    Ok(ostler_core::Cache::builder(capacity).policy(policy(POLICY_DEFAULT)?))
}

#[cfg(all(test, feature = "builtin", not(feature = "wasm")))]
mod tests {
    use super::*;

    #[test]
    fn without_wasm_policies_are_native_ones() {
        let cache = builder::<u32, u32>(100).unwrap().build().unwrap();
        assert_eq!(cache.seat_status().desired.as_deref(), Some("native:s3fifo"));
        cache.set_policy(policy("native:sieve").unwrap()).unwrap();
        for name in ["sieve", "mine.wasm"] {
            let Err(error) = policy(name) else { unreachable!("modules cannot run here") };
            assert!(error.to_string().contains("write native:NAME"), "{error}");
        }
        assert!(matches!(policy("native:sieva"), Err(OpenError::Unknown { .. })));
    }
}
