//! The built-in policies: their modules, as committed or as rebuilt, and what parameters they take.

use std::path::PathBuf;

use ostler::Builtin;
use ostler_wasm::{Manifest, ManifestLimits};
use serde_json::{Map, Value};

/// The module of a built-in policy: `NAME.wasm` in the folder that `OSTLER_MODULES_DIR` names where
/// that is set, else the committed one.
///
/// # Panics
///
/// Where the file is not there.
#[must_use]
pub fn module_of(builtin: &Builtin) -> Vec<u8> {
    let Some(folder) = std::env::var_os("OSTLER_MODULES_DIR").map(PathBuf::from) else {
        return builtin.module.to_vec();
    };
    let path = folder.join(format!("{}.wasm", builtin.name));
    let module = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()));
    module.expect("the module is readable")
}

/// The manifest of a compiled-in policy.
///
/// # Panics
///
/// Where it is not valid.
#[must_use]
pub fn manifest_of(native: &ostler_abi::NativePolicy) -> Manifest {
    Manifest::parse(native.manifest.as_bytes(), &ManifestLimits::default())
        .expect("the manifest of a built-in policy is valid")
}

/// Parameters, as a policy gets them, with each at its least and at its greatest value, alone and
/// all together. Empty for a policy without any.
///
/// # Panics
///
/// Where the manifest is not valid.
#[must_use]
pub fn extreme_params(builtin: &Builtin) -> Vec<String> {
    let declared: Value = serde_json::from_str(builtin.native.manifest).expect("JSON");
    let mut all = [Map::new(), Map::new()];
    let mut sets = Vec::new();
    for param in declared["params"].as_array().expect("a list of parameters") {
        let name = param["name"].as_str().expect("a name").to_owned();
        let ends = match param["type"].as_str() {
            Some("bool") => [Value::from(false), Value::from(true)],
            _ => [param["min"].clone(), param["max"].clone()],
        };
        for (end, all) in ends.into_iter().zip(&mut all) {
            sets.push(Map::from_iter([(name.clone(), end.clone())]));
            all.insert(name.clone(), end);
        }
    }
    if all[0].len() > 1 {
        sets.extend(all);
    }
    let manifest = manifest_of(&builtin.native);
    let params = |given: &Map<String, Value>| manifest.params(given);
    sets.iter().map(|set| params(set).expect("the ends of a range belong to it")).collect()
}
