//! Compiling a policy in C: clang to wasm32, then the manifest goes in.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};

use super::{STACK_BYTES, toolchain};
use crate::policy::{module, pack};

/// The file that makes a folder a policy in C.
pub(super) const SOURCE: &str = "policy.c";
/// Its manifest.
const MANIFEST: &str = "manifest.json";

/// How the source is compiled, as the template's README says.
const COMPILE: [&str; 5] = ["--target=wasm32", "-O2", "-ffreestanding", "-c", SOURCE];

/// How the object is linked. A step of its own without `-O`: with it, clang would run whatever
/// `wasm-opt` is installed, and the module would depend on that. The stack comes first in memory, so
/// that one that overflows traps.
const LINK: [&str; 5] =
    ["--target=wasm32", "-nostdlib", "-Wl,--no-entry", "-Wl,--strip-all", "-Wl,--stack-first"];

/// Builds of this process so far, so that no two share a file.
static BUILDS: AtomicU32 = AtomicU32::new(0);

/// Said where there is no compiler, and as a hint where it fails.
const COMPILER: &str = "on Debian `apt-get install clang lld`";

/// Compiles and packs the policy in `folder`. What the compiler says goes to the process's error
/// stream.
pub(super) fn compile(folder: &Path) -> Result<Vec<u8>> {
    let manifest = pack::read_manifest(&folder.join(MANIFEST))?;
    let clang = toolchain::on_path("clang")
        .with_context(|| format!("a policy in C needs clang and wasm-ld: {COMPILER}"))?;
    let build = BUILDS.fetch_add(1, Ordering::Relaxed);
    let name = format!("ostler-policy-{}-{build}", std::process::id());
    let beside = std::env::temp_dir().join(name);
    let (object, linked) = (beside.with_extension("o"), beside.with_extension("wasm"));
    let compiled = Command::new(&clang)
        .current_dir(folder)
        .args(COMPILE)
        .arg("-o")
        .arg(&object)
        .stdin(Stdio::null())
        .status()
        .context("cannot start clang")?;
    ensure!(
        compiled.success(),
        "{SOURCE} does not compile: clang says why above (where it has no wasm32: {COMPILER})"
    );
    let stack = format!("-Wl,-z,stack-size={STACK_BYTES}");
    let link = Command::new(&clang)
        .args(LINK)
        .args([stack.as_ref(), object.as_os_str()])
        .arg("-o")
        .arg(&linked)
        .stdin(Stdio::null())
        .status();
    let bytes = std::fs::read(&linked);
    for path in [object, linked] {
        // The second may not exist; neither is needed any more.
        let _ = std::fs::remove_file(path);
    }
    ensure!(
        link.context("cannot start clang")?.success(),
        "{SOURCE} does not link: clang says why above (where it has no wasm-ld: {COMPILER})"
    );
    module::with_manifest(&bytes.context("clang wrote no module")?, &manifest)
}
