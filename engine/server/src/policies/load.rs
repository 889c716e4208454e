//! What a server starts with: the registry as it was kept, or what can be made of the modules, and
//! the policies that are built in.

use ostler_wasm::{Manifest, ManifestLimits, ModuleId};

use super::judge::Judge;
use super::registry::{PolicyVersion, ReadError, Registry, check_name};
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

/// A registry of the modules that are there, each under the name in its manifest.
fn recover(store: &Store, judge: &Judge) -> Result<Registry, PolicyError> {
    let mut registry = Registry::default();
    for id in store.modules()? {
        let Some(bytes) = store.read(id)? else { continue };
        let (verdict, module) = judge.judge(&bytes);
        let Some(module) = module else { continue };
        let name = module.manifest().name();
        if check_name(name).is_err() || ostler::builtin(name).is_some() {
            tracing::error!(module = %id, name, "a module is not listed, upload it again");
            continue;
        }
        let version = PolicyVersion::new(id, bytes.len() as u64, module.manifest());
        let (uploaded_unix_ms, verdict) = (Some(now_unix_ms()), Some(verdict));
        registry.add(name, PolicyVersion { uploaded_unix_ms, verdict, ..version });
        tracing::warn!(policy = name, module = %id, "found again");
    }
    // Also an empty one: a directory that cannot be written shows at the start, and from now on a
    // module that is not listed is one whose upload came to no end.
    store.save_registry(&registry.to_json())?;
    Ok(registry)
}

/// The policies that come with the server.
pub(super) fn builtins() -> Vec<PolicyInfo> {
    let policy = |builtin: &ostler::Builtin| {
        let text = builtin.native.manifest.as_bytes();
        let manifest = Manifest::parse(text, &ManifestLimits::default()).ok()?;
        let bytes = builtin.module.len() as u64;
        let version = PolicyVersion::new(ModuleId::of(builtin.module), bytes, &manifest);
        Some(PolicyInfo {
            name: builtin.name.to_owned(),
            origin: Origin::BuiltIn,
            versions: vec![version],
            used_by: Vec::new(),
        })
    };
    ostler::BUILTINS.iter().filter_map(policy).collect()
}
