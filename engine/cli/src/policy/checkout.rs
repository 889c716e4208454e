//! Where Ostler's own sources are: policies are built against the SDK in them.
//!
//! The SDK is not on a registry, so a new policy names it by path. It knows the names of folders and
//! nothing else of a checkout.

use std::path::{Path, PathBuf};

/// The SDK's folder within a checkout.
const SDK: &str = "sdk";
/// What the manifest of the SDK's folder contains, and no other.
const SDK_PACKAGE: &str = "name = \"ostler-policy\"";

/// True where `dir` is the folder of the crate `ostler-policy`.
pub(crate) fn is_sdk(dir: &Path) -> bool {
    std::fs::read_to_string(dir.join("Cargo.toml")).is_ok_and(|text| text.contains(SDK_PACKAGE))
}

/// The root of the checkout that belongs to this run, or none.
///
/// Looked for upwards from `start`, then where the binary was compiled, then upwards from the running
/// binary.
pub(crate) fn find(start: &Path) -> Option<PathBuf> {
    let start = std::path::absolute(start).ok();
    let binary = std::env::current_exe().ok();
    let compiled = Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf();
    [start, Some(compiled), binary].into_iter().flatten().find_map(|place| {
        let root = place.ancestors().find(|dir| is_sdk(&dir.join(SDK)))?;
        root.canonicalize().ok()
    })
}

/// The SDK's folder of the checkout that [`find`] finds.
pub(crate) fn find_sdk(start: &Path) -> Option<PathBuf> {
    find(start).map(|root| root.join(SDK))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sources_are_found_from_within_and_from_elsewhere() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
        assert_eq!(find(&root.join("policies/lru")), Some(root.clone()));
        assert_eq!(find_sdk(Path::new("/")), Some(root.join("sdk")));
        assert!(is_sdk(&root.join("sdk")));
        assert!(!is_sdk(&root.join("sdk/abi")));
    }
}
