//! A module as bytes: its manifest's section, its digest, its way to the disk.
//!
//! It must not judge a module; admission does, in the crate that hosts guests.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use ostler_abi::MANIFEST_SECTION;
use ostler_wasm::{Manifest, ManifestLimits};
use sha2::{Digest, Sha256};
use wasm_encoder::{CustomSection, Module, RawSection};
use wasmparser::{Encoding, Parser, Payload};

/// The text of the manifest in `module`, or none where it has none.
///
/// # Errors
///
/// Where `module` is not a core WebAssembly module.
pub(crate) fn manifest_text(module: &[u8]) -> Result<Option<&[u8]>> {
    for payload in Parser::new(0).parse_all(module) {
        match payload.context("not a WebAssembly module")? {
            Payload::Version { encoding: Encoding::Component, .. } => {
                bail!("this is a component, a policy is a core module")
            }
            Payload::CustomSection(section) if section.name() == MANIFEST_SECTION => {
                return Ok(Some(section.data()));
            }
            _ => {}
        }
    }
    Ok(None)
}

/// The checked manifest in `module`.
///
/// # Errors
///
/// Where there is none, or where it is not valid.
pub(crate) fn manifest(module: &[u8]) -> Result<Manifest> {
    let Some(text) = manifest_text(module)? else {
        bail!(
            "the module has no manifest: declare the policy with ostler_policy::export!, \
             or add a manifest with `ostler policy pack`"
        )
    };
    Manifest::parse(text, &ManifestLimits::default()).context("the module's manifest is not valid")
}

/// `module` with `manifest` as its only section `ostler.policy`; all else stays byte for byte.
///
/// # Errors
///
/// Where `module` is not a core WebAssembly module.
pub(crate) fn with_manifest(module: &[u8], manifest: &str) -> Result<Vec<u8>> {
    manifest_text(module)?;
    let mut packed = Module::new();
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload.context("not a WebAssembly module")?;
        if let Payload::CustomSection(section) = &payload
            && section.name() == MANIFEST_SECTION
        {
            continue;
        }
        if let Some((id, range)) = payload.as_section() {
            packed.section(&RawSection { id, data: &module[range] });
        }
    }
    let data = manifest.as_bytes().into();
    packed.section(&CustomSection { name: MANIFEST_SECTION.into(), data });
    Ok(packed.finish())
}

/// The SHA-256 of `bytes` in lower-case hex.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(bytes).iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("invariant: writing to a string cannot fail");
        hex
    })
}

/// Writes a file so that readers see the old content or the new, never a part.
///
/// # Errors
///
/// Where the folder does not exist or cannot be written.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let name = path.file_name().with_context(|| format!("{} is not a file", path.display()))?;
    let mut beside = std::ffi::OsString::from(".");
    beside.push(name);
    beside.push(format!(".{}.new", std::process::id()));
    let beside = path.with_file_name(beside);
    let written = fs::write(&beside, bytes).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // Whatever went wrong is reported; a half-written file must not stay behind as well.
        let _ = fs::remove_file(&beside);
    }
    written.with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = r#"{"abi":1,"name":"demo","version":"1","kinds":["eviction"],"bytes_per_slot":4,"base_bytes":65536}"#;

    fn module() -> Vec<u8> {
        wat::parse_str(
            r#"(module (@custom "before" "abc") (memory (export "memory") 1)
                 (func (export "f") (result i32) i32.const 7) (data (i32.const 8) "xyz")
                 (@custom "after" "def"))"#,
        )
        .unwrap()
    }

    #[test]
    fn a_packed_manifest_is_found_and_the_rest_is_untouched() {
        let plain = module();
        assert_eq!(manifest_text(&plain).unwrap(), None);
        assert!(manifest(&plain).unwrap_err().to_string().contains("policy pack"));
        let packed = with_manifest(&plain, MANIFEST).unwrap();
        assert_eq!(manifest_text(&packed).unwrap(), Some(MANIFEST.as_bytes()));
        assert_eq!(manifest(&packed).unwrap().name(), "demo");
        assert_eq!(&packed[..plain.len()], &plain[..]);
    }

    #[test]
    fn packing_again_replaces_the_manifest() {
        let once = with_manifest(&module(), "{}").unwrap();
        assert!(manifest(&once).is_err());
        let twice = with_manifest(&once, MANIFEST).unwrap();
        assert_eq!(twice, with_manifest(&module(), MANIFEST).unwrap());
    }

    #[test]
    fn what_is_no_core_module_is_refused() {
        let component = wat::parse_str("(component)").unwrap();
        for bytes in [&b""[..], b"\0asm", b"#!/bin/sh", &component, &module()[..20]] {
            assert!(with_manifest(bytes, MANIFEST).is_err());
        }
    }

    #[test]
    fn digests_are_lower_case_hex() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(sha256_hex(b""), empty);
    }

    #[test]
    fn a_file_is_replaced_whole_and_nothing_stays_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.wasm");
        for content in ["one", "two"] {
            write_atomically(&path, content.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(write_atomically(&dir.path().join("missing/a.wasm"), b"").is_err());
    }
}
