//! A module that was admitted: compiled once, shared by all its instances.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use ostler_abi::{PolicyKind, Setup};
use ostler_core::PolicyFault;
use serde::de::{Deserialize, Deserializer, Error as _};
use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};
use thiserror::Error;
use wasmtime::InstancePre;

use crate::host::HostState;
use crate::instance::WasmInstance;
use crate::manifest::Manifest;
use crate::prefetch::WasmPrefetch;
use crate::runtime::Runtime;
use crate::warming::WasmRanker;

/// Identity of a module: the SHA-256 of its bytes. Shown as `sha256:` and 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModuleId([u8; 32]);

impl ModuleId {
    /// The identity of these bytes. Cost: about a millisecond for a module of 512 KiB.
    #[must_use]
    pub fn of(module: &[u8]) -> Self {
        Self(Sha256::digest(module).into())
    }

    /// The digest.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for ModuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ModuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Reads what [`Display`](fmt::Display) writes: `sha256:` and 64 lower-case hexadecimal digits.
impl FromStr for ModuleId {
    type Err = ModuleIdError;

    fn from_str(text: &str) -> Result<Self, ModuleIdError> {
        let digits = text.strip_prefix("sha256:").ok_or(ModuleIdError)?.as_bytes();
        let (pairs, rest) = digits.as_chunks::<2>();
        if pairs.len() != 32 || !rest.is_empty() {
            return Err(ModuleIdError);
        }
        let mut id = [0; 32];
        for (byte, &[high, low]) in id.iter_mut().zip(pairs) {
            *byte = digit(high)? << 4 | digit(low)?;
        }
        Ok(Self(id))
    }
}

/// A text that is no [`ModuleId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a module's identity is sha256: and 64 lower-case hexadecimal digits")]
pub struct ModuleIdError;

fn digit(digit: u8) -> Result<u8, ModuleIdError> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        _ => Err(ModuleIdError),
    }
}

impl<'de> Deserialize<'de> for ModuleId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl Serialize for ModuleId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// An admitted module. Cloning shares the compiled code.
#[derive(Clone)]
pub struct PolicyModule {
    shared: Arc<Shared>,
}

struct Shared {
    id: ModuleId,
    manifest: Manifest,
    pre: InstancePre<HostState>,
    runtime: Runtime,
}

impl PolicyModule {
    pub(crate) fn new(
        id: ModuleId,
        manifest: Manifest,
        pre: InstancePre<HostState>,
        runtime: Runtime,
    ) -> Self {
        Self { shared: Arc::new(Shared { id, manifest, pre, runtime }) }
    }

    /// Identity of the module.
    #[must_use]
    pub fn id(&self) -> ModuleId {
        self.shared.id
    }

    /// What the policy says about itself.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.shared.manifest
    }

    /// The runtime that compiled it; its instances are metered as that says.
    #[must_use]
    pub fn runtime(&self) -> &Runtime {
        &self.shared.runtime
    }

    pub(crate) fn pre(&self) -> &InstancePre<HostState> {
        &self.shared.pre
    }

    /// Makes an instance: instantiates (running `start`), checks the layout, writes the parameters
    /// and calls `ostler_init`, all metered.
    ///
    /// `params` is what [`Manifest::params`] returned. Cost: some tens of microseconds and 4 GiB of
    /// address space, beside what the guest does.
    ///
    /// # Errors
    ///
    /// A [`PolicyFault`] for whatever the guest did wrong on the way, [`PolicyFault::Refused`] where
    /// `ostler_init` returned non-zero.
    /// [`PolicyFault::WrongKind`] where this is no eviction policy.
    pub fn instantiate(&self, setup: Setup, params: &str) -> Result<WasmInstance, PolicyFault> {
        self.check_kind(PolicyKind::Eviction)?;
        WasmInstance::try_new(self, setup, params)
    }

    /// As [`instantiate`](Self::instantiate), of a prefetch policy; `setup.slots` does not count.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn instantiate_prefetch(
        &self,
        setup: Setup,
        params: &str,
    ) -> Result<WasmPrefetch, PolicyFault> {
        self.check_kind(PolicyKind::Prefetch)?;
        WasmPrefetch::try_new(self, setup, params)
    }

    /// As [`instantiate`](Self::instantiate), of a warming policy; `setup.slots` does not count.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn instantiate_warming(
        &self,
        setup: Setup,
        params: &str,
    ) -> Result<WasmRanker, PolicyFault> {
        self.check_kind(PolicyKind::Warming)?;
        WasmRanker::try_new(self, setup, params)
    }

    fn check_kind(&self, wanted: PolicyKind) -> Result<(), PolicyFault> {
        let found = self.manifest().kind();
        if found == wanted {
            return Ok(());
        }
        Err(PolicyFault::WrongKind { found: found.name(), wanted: wanted.name() })
    }
}

impl fmt::Debug for PolicyModule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolicyModule")
            .field("id", &self.shared.id)
            .field("name", &self.shared.manifest.name())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_read_as_it_is_written() {
        let id = ModuleId::of(b"module");
        assert_eq!(id.to_string().parse(), Ok(id));
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(serde_json::from_str::<ModuleId>(&json).unwrap(), id);
        let text = id.to_string();
        for wrong in
            ["", "sha256:", &text[7..], &text[..70], &text.to_uppercase(), &(text.clone() + "0")]
        {
            assert_eq!(wrong.parse::<ModuleId>(), Err(ModuleIdError), "{wrong}");
        }
        assert!(text.replace('0', "g").parse::<ModuleId>().is_err() || !text.contains('0'));
    }
}
