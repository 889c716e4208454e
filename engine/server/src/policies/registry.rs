//! What is known about uploaded policies and about who is in charge where: plain values, as they
//! stand in `policies.json`. It must not touch files.

use std::collections::{BTreeMap, BTreeSet};

use ostler_wasm::manifest::ParamRange;
use ostler_wasm::{Manifest, ModuleId, Verdict};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::quarantine::ByCache;

/// The form of `policies.json` that this release writes.
const FORMAT: u32 = 1;
/// Longest name of a policy.
const NAME_LEN_MAX: usize = 64;
/// Most versions of all uploaded policies together.
pub(super) const VERSIONS_MAX: usize = 1_000;

/// A policy that somebody put in charge, or will.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Charge {
    /// Its name, as it was asked for: uploaded, built in, `native:…`, or a file that the settings name.
    pub policy: String,
    /// Which version, none where it is not an uploaded one.
    pub version: Option<ModuleId>,
    /// The parameters that were given.
    pub params: Map<String, Value>,
}

/// One uploaded version of a policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PolicyVersion {
    /// The SHA-256 of the module.
    pub id: ModuleId,
    /// Bytes of the module.
    pub bytes: u64,
    /// When it was uploaded, milliseconds since 1970; none for a built-in policy.
    pub uploaded_unix_ms: Option<u64>,
    /// The version that its manifest names.
    pub manifest_version: String,
    /// What it says of itself, may be empty.
    pub summary: String,
    /// Which seat it is for: `eviction`, `prefetch` or `warming`.
    #[serde(default = "eviction")]
    pub kind: String,
    /// Its parameters.
    pub parameters: Vec<Parameter>,
    /// How it was judged when it was uploaded; none for a built-in policy.
    pub verdict: Option<Verdict>,
}

/// The kind of all policies, as long as there was one.
fn eviction() -> String {
    "eviction".to_owned()
}

/// A parameter of a policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// `int`, `float` or `bool`.
    pub kind: String,
    /// Its value where none is given.
    pub default: Value,
    /// Smallest value, none for `bool`.
    pub min: Option<Value>,
    /// Largest value, none for `bool`.
    pub max: Option<Value>,
    /// What it does, may be empty.
    pub help: String,
}

impl PolicyVersion {
    /// What there is to say about a module with this manifest.
    pub(super) fn new(id: ModuleId, bytes: u64, manifest: &Manifest) -> Self {
        let parameters = manifest.declared_params().iter().map(|param| {
            let (kind, default, bounds) = match param.range() {
                ParamRange::Int { default, min, max } => {
                    ("int", json!(default), Some((json!(min), json!(max))))
                }
                ParamRange::Float { default, min, max } => {
                    ("float", json!(default), Some((json!(min), json!(max))))
                }
                ParamRange::Bool { default } => ("bool", json!(default), None),
                _ => ("unknown", Value::Null, None),
            };
            let (min, max) = bounds.unzip();
            let (name, help) = (param.name().to_owned(), param.help().to_owned());
            Parameter { name, kind: kind.to_owned(), default, min, max, help }
        });
        Self {
            id,
            bytes,
            uploaded_unix_ms: None,
            manifest_version: manifest.version().to_owned(),
            summary: manifest.summary().to_owned(),
            kind: manifest.kind().name().to_owned(),
            parameters: parameters.collect(),
            verdict: None,
        }
    }
}

/// Who is in charge of a cache.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Seat {
    /// The policy that the settings named when this was written.
    pub(super) configured: String,
    /// In charge.
    pub(super) current: Charge,
    /// What a rollback would put in charge.
    pub(super) previous: Option<Charge>,
    /// Who is in charge instead of `current`, which cannot be used; none as a rule. The next start tries
    /// again, so that this is not kept.
    #[serde(skip)]
    pub(super) stand_in: Option<StandIn>,
}

/// A policy in charge in another one's place.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct StandIn {
    /// Which.
    pub(super) charge: Charge,
    /// Why the other one cannot be used.
    pub(super) reason: String,
}

impl Seat {
    /// Who is in charge.
    pub(super) fn acting(&self) -> &Charge {
        self.stand_in.as_ref().map_or(&self.current, |stand_in| &stand_in.charge)
    }
}

/// All that is kept beside the modules themselves.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Registry {
    /// Versions of each uploaded policy, newest first, at least one.
    pub(super) policies: BTreeMap<String, Vec<PolicyVersion>>,
    /// Caches by name. Those that the settings do not name any more stay, and hold nobody back.
    pub(super) seats: BTreeMap<String, Seat>,
    /// The caches that this server has.
    pub(super) caches: BTreeSet<String>,
    /// The quarantines, as they were when this was saved.
    pub(super) quarantines: ByCache,
}

#[derive(Serialize, Deserialize)]
struct Saved {
    format: u32,
    policies: BTreeMap<String, Vec<PolicyVersion>>,
    seats: BTreeMap<String, Seat>,
    /// The first form had none.
    #[serde(default)]
    quarantines: ByCache,
}

/// Why a registry cannot be read.
#[derive(Debug)]
pub(super) enum ReadError {
    /// It is damaged.
    Damaged(serde_json::Error),
    /// A later release wrote it.
    Newer(u32),
}

impl Registry {
    /// What [`to_json`](Self::to_json) wrote.
    pub(super) fn read(text: &[u8]) -> Result<Self, ReadError> {
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let head: Head = serde_json::from_slice(text).map_err(ReadError::Damaged)?;
        if head.format > FORMAT {
            return Err(ReadError::Newer(head.format));
        }
        let saved: Saved = serde_json::from_slice(text).map_err(ReadError::Damaged)?;
        let Saved { policies, seats, quarantines, .. } = saved;
        Ok(Self { policies, seats, caches: BTreeSet::new(), quarantines })
    }

    /// As it is kept.
    pub(super) fn to_json(&self) -> Vec<u8> {
        let (policies, seats) = (self.policies.clone(), self.seats.clone());
        let quarantines = self.quarantines.clone();
        let saved = Saved { format: FORMAT, policies, seats, quarantines };
        serde_json::to_vec_pretty(&saved)
            .expect("invariant: strings, numbers and maps with string keys have a JSON form")
    }

    /// Adds a version as the newest of its policy, wherever it stood before.
    pub(super) fn add(&mut self, name: &str, version: PolicyVersion) {
        let versions = self.policies.entry(name.to_owned()).or_default();
        versions.retain(|known| known.id != version.id);
        versions.insert(0, version);
    }

    /// Removes one version, or all.
    pub(super) fn remove(&mut self, name: &str, version: Option<ModuleId>) {
        if let Some(versions) = self.policies.get_mut(name) {
            versions.retain(|known| version.is_some_and(|version| known.id != version));
        }
        self.policies.retain(|_, versions| !versions.is_empty());
    }

    /// One version of a policy, the newest where none is named.
    pub(super) fn version(&self, name: &str, id: Option<ModuleId>) -> Option<&PolicyVersion> {
        let versions = self.policies.get(name)?;
        versions.iter().find(|known| id.is_none_or(|id| known.id == id))
    }

    /// True where some policy has this module.
    pub(super) fn has_module(&self, id: ModuleId) -> bool {
        self.policies.values().flatten().any(|version| version.id == id)
    }

    /// Versions of all policies.
    pub(super) fn versions_len(&self) -> usize {
        self.policies.values().map(Vec::len).sum()
    }

    /// The caches in which a version of `name` is in charge or next in line: this one, or any.
    pub(super) fn users(&self, name: &str, version: Option<ModuleId>) -> Vec<String> {
        let uses = |charge: &Charge| {
            charge.policy == name && (version.is_none() || charge.version == version)
        };
        let seats = self.seats.iter().filter(|(cache, _)| self.caches.contains(*cache));
        let used = seats
            .filter(|(_, seat)| uses(seat.acting()) || seat.previous.as_ref().is_some_and(&uses));
        used.map(|(cache, _)| cache.clone()).collect()
    }

    /// Notes who is in charge now; who was, is next in line.
    pub(super) fn put_in_charge(&mut self, cache: &str, charge: Charge) {
        match self.seats.get_mut(cache) {
            Some(seat) => {
                seat.previous = Some(seat.acting().clone());
                (seat.current, seat.stand_in) = (charge, None);
            }
            None => {
                let configured = String::new();
                let seat = Seat { configured, current: charge, previous: None, stand_in: None };
                self.seats.insert(cache.to_owned(), seat);
            }
        }
    }
}

/// Whether a policy may be uploaded under this name: `[a-z0-9][a-z0-9._-]{0,63}`, and not as the
/// settings write a file.
pub(super) fn check_name(name: &str) -> Result<(), &'static str> {
    let plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let Some(first) = name.as_bytes().first() else { return Err("it is empty") };
    if name.len() > NAME_LEN_MAX {
        return Err("it has more than 64 characters");
    }
    if !name.as_bytes().iter().all(|byte| plain(byte) || b"._-".contains(byte)) {
        return Err("it has characters other than a-z, 0-9, `.`, `_` and `-`");
    }
    if !plain(first) {
        return Err("it does not start with a letter or digit");
    }
    if name.ends_with(".wasm") {
        return Err("it ends in .wasm, which names a file");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
