//! What a server starts with: the registry as it was kept, or what can be made of the modules, and
//! the policies that are built in.

use std::path::Path;

use ostler_wasm::{Manifest, ManifestLimits, ModuleId};

use super::judge::Judge;
use super::registry::{PolicyVersion, ReadError, Registry, check_name};
use super::sides::kind_of;
use super::store::Store;
use super::{Origin, PolicyError, PolicyInfo, now_unix_ms};

/// The registry as it was kept, without what is damaged.
pub(super) fn load(store: &Store, judge: &Judge) -> Result<Registry, PolicyError> {
    let Some(text) = store.registry()? else { return recover(store, judge) };
    let mut registry = match Registry::read(&text) {
        Ok(registry) => registry,
        Err(ReadError::Newer(format)) => return Err(PolicyError::Newer { format }),
        Err(ReadError::Damaged(error)) => {
            let aside = store.set_registry_aside()?;
            tracing::error!(%error, file = %aside.display(), "the list of policies is damaged");
            return recover(store, judge);
        }
    };
    let names: Vec<String> = registry.policies.keys().cloned().collect();
    for name in names {
        let versions = registry.policies.get(&name).cloned().unwrap_or_default();
        for version in versions {
            if store.read(version.id)?.is_none() {
                tracing::error!(policy = name, module = %version.id, "a version is lost");
                registry.remove(&name, Some(version.id));
            }
        }
    }
    for id in store.modules()? {
        if !registry.has_module(id) {
            store.remove(id)?;
        }
    }
    Ok(registry)
}

/// True where the data directory `dir` keeps an uploaded policy of this name. Reads and changes nothing,
/// and may be asked while a server uses the directory.
///
/// # Errors
///
/// [`PolicyError`] where that cannot be found out.
pub fn is_kept(dir: &Path, name: &str) -> Result<bool, PolicyError> {
    let Some(text) = Store::peek_registry(dir)? else { return Ok(false) };
    match Registry::read(&text) {
        Ok(registry) => Ok(registry.policies.contains_key(name)),
        Err(ReadError::Newer(format)) => Err(PolicyError::Newer { format }),
        // The next start puts it aside, and lists what it finds.
        Err(ReadError::Damaged(_)) => Ok(false),
    }
}

/// A registry of the modules that are there, each under the name in its manifest.
///
/// They were judged before they were kept, and are judged again by whoever uploads them again. A server
/// that starts has no time for that: a thousand modules would take hours.
fn recover(store: &Store, judge: &Judge) -> Result<Registry, PolicyError> {
    let mut registry = Registry::default();
    for id in store.modules()? {
        let Some(bytes) = store.read(id)? else { continue };
        let manifest = match judge.manifest(&bytes) {
            Ok(manifest) => manifest,
            Err(error) => {
                tracing::error!(module = %id, %error, "a module is not listed");
                continue;
            }
        };
        let name = manifest.name();
        if check_name(name).is_err() || kind_of(name).is_some() {
            tracing::error!(module = %id, name, "a module is not listed, upload it again");
            continue;
        }
        let version = PolicyVersion::new(id, bytes.len() as u64, &manifest);
        registry.add(name, PolicyVersion { uploaded_unix_ms: Some(now_unix_ms()), ..version });
        tracing::warn!(policy = name, module = %id, "found again");
    }
    // Also an empty one: a directory that cannot be written shows at the start, and from now on a
    // module that is not listed is one whose upload came to no end.
    store.save_registry(&registry.to_json())?;
    Ok(registry)
}

/// The policies that come with the server.
pub(super) fn builtins() -> Vec<PolicyInfo> {
    let evicting = ostler::BUILTINS.iter().map(|it| (it.name, it.native.manifest, it.module));
    let prefetching = ostler::PREFETCHERS.iter().map(|it| (it.name, it.native.manifest, it.module));
    let warming = ostler::WARMERS.iter().map(|it| (it.name, it.native.manifest, it.module));
    let all = evicting.chain(prefetching).chain(warming);
    let described = all.filter_map(|(name, manifest, module)| {
        let manifest = Manifest::parse(manifest.as_bytes(), &ManifestLimits::default()).ok()?;
        let version = PolicyVersion::new(ModuleId::of(module), module.len() as u64, &manifest);
        Some(PolicyInfo {
            name: name.to_owned(),
            origin: Origin::BuiltIn,
            versions: vec![version],
            used_by: Vec::new(),
            quarantined_in: Vec::new(),
        })
    });
    let mut described: Vec<PolicyInfo> = described.collect();
    described.sort_by(|one, other| one.name.cmp(&other.name));
    described
}
