//! Any bytes as a manifest: refused, or the defaults it declares are valid parameters.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ostler_wasm::{Manifest, ManifestLimits};

fuzz_target!(|bytes: &[u8]| {
    let limits = ManifestLimits::default();
    let Ok(manifest) = Manifest::parse(bytes, &limits) else { return };
    assert!(bytes.len() <= limits.manifest_bytes_max);
    assert!(manifest.base_bytes() <= limits.base_bytes_max);
    let json = manifest.params(&serde_json::Map::new()).expect("defaults are valid");
    let given: serde_json::Map<_, _> = serde_json::from_str(&json).expect("flat JSON");
    assert_eq!(given.len(), manifest.declared_params().len());
    assert_eq!(manifest.params(&given).as_deref(), Ok(json.as_str()));
});
