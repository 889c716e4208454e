//! `ostler policy pack`: a module from any language gets its manifest.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use ostler_wasm::{Manifest, ManifestLimits};

use super::module;

/// Arguments of `ostler policy pack`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The module, core WebAssembly.
    module: PathBuf,
    /// The manifest, JSON; sdk/ABI.md describes its fields.
    #[arg(long, value_name = "FILE.json")]
    manifest: PathBuf,
    /// Where to write the packed module; without it the module itself is replaced.
    #[arg(long, value_name = "FILE.wasm")]
    out: Option<PathBuf>,
}

/// Packs and reports what was written.
pub(crate) fn run(args: &Args, out: &mut dyn Write) -> Result<()> {
    let module = fs::read(&args.module)
        .with_context(|| format!("cannot read the module {}", args.module.display()))?;
    let manifest = read_manifest(&args.manifest)?;
    let packed = module::with_manifest(&module, &manifest)
        .with_context(|| format!("cannot pack {}", args.module.display()))?;
    let path = args.out.as_ref().unwrap_or(&args.module);
    module::write_atomically(path, &packed)?;
    super::build::report(path, &packed, out)
}

/// Reads and checks a manifest; returns it as compact JSON, which is what a module carries.
pub(crate) fn read_manifest(path: &Path) -> Result<String> {
    let text =
        fs::read(path).with_context(|| format!("cannot read the manifest {}", path.display()))?;
    let invalid = || format!("the manifest {} is not valid", path.display());
    Manifest::parse(&text, &ManifestLimits::default()).with_context(invalid)?;
    let value: serde_json::Value = serde_json::from_slice(&text).with_context(invalid)?;
    Ok(value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{ "abi": 1, "name": "demo", "version": "1", "kinds": ["eviction"],
        "bytes_per_slot": 4, "base_bytes": 65536 }"#;

    /// Packs an empty module with `manifest`; the module written and what was said, or the error.
    fn pack(manifest: &str) -> Result<(Vec<u8>, String), String> {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::write(path("raw.wasm"), b"\0asm\x01\0\0\0").unwrap();
        fs::write(path("manifest.json"), manifest).unwrap();
        let out = Some(path("packed.wasm"));
        let args = Args { module: path("raw.wasm"), manifest: path("manifest.json"), out };
        let mut said = Vec::new();
        run(&args, &mut said).map_err(|error| format!("{error:#}"))?;
        Ok((fs::read(path("packed.wasm")).unwrap(), String::from_utf8(said).unwrap()))
    }

    #[test]
    fn the_packed_module_carries_the_manifest_without_blanks() {
        let (packed, said) = pack(GOOD).unwrap();
        assert_eq!(module::manifest(&packed).unwrap().name(), "demo");
        assert!(!module::manifest_text(&packed).unwrap().unwrap().contains(&b' '));
        assert!(said.contains(&module::sha256_hex(&packed)), "{said}");
    }

    #[test]
    fn a_manifest_that_is_not_valid_is_refused_before_anything_is_written() {
        for (manifest, expected) in [("{", "not a manifest"), (&GOOD.replace("demo", "De"), "name")]
        {
            let error = pack(manifest).unwrap_err();
            assert!(
                error.contains("manifest.json is not valid") && error.contains(expected),
                "{error}"
            );
        }
    }
}
