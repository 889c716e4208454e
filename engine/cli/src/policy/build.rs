//! `ostler policy build`: sources in, a module out.
//!
//! It owns what is built and where the module goes. How a language is compiled is each module's own.

mod builtin;
mod c;
mod rust;
mod toolchain;

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::module;
use toolchain::Toolchain;

/// Bytes of the stack a guest is linked with. The engine has its own, and a policy needs little.
const STACK_BYTES: u32 = 16_384;

/// Arguments of `ostler policy build`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The policy's folder: a Rust crate, or a folder with `policy.c` and `manifest.json`.
    #[arg(default_value = ".", conflicts_with = "builtin")]
    path: PathBuf,
    /// Where to write the module: a file, or with --builtin a folder. By default it is the policy's
    /// name with .wasm in its own folder, and policies/artifacts for the built-in ones.
    #[arg(long, value_name = "PATH")]
    out: Option<PathBuf>,
    /// Where the compiler puts what it makes on the way.
    #[arg(long, value_name = "DIR")]
    target_dir: Option<PathBuf>,
    /// Build every built-in policy of the checkout, and the file DIGESTS beside the modules.
    #[arg(long)]
    builtin: bool,
    /// With --builtin: write nothing, compare what would be built with what is there.
    #[arg(long, requires = "builtin", conflicts_with = "out")]
    check: bool,
}

/// Builds and reports what was written.
pub(crate) fn run(args: &Args, out: &mut dyn Write) -> Result<()> {
    if args.builtin {
        return builtin::run(args, out);
    }
    let bytes = compile(&args.path, args.target_dir.as_deref())?;
    let manifest = module::manifest(&bytes)?;
    let beside = || args.path.join(format!("{}.wasm", manifest.name()));
    let path = args.out.clone().unwrap_or_else(beside);
    module::write_atomically(&path, &bytes)?;
    report(&path, &bytes, out)?;
    writeln!(out, "next: ostler policy check {}", path.display())?;
    Ok(())
}

/// Says which module was written, how large it is and its digest.
pub(crate) fn report(path: &Path, bytes: &[u8], out: &mut dyn Write) -> Result<()> {
    let (path, len, digest) = (path.display(), bytes.len(), module::sha256_hex(bytes));
    writeln!(out, "wrote {path}: {len} bytes, sha256:{digest}")?;
    Ok(())
}

/// Compiles the policy in `folder` with whatever its language needs.
fn compile(folder: &Path, target_dir: Option<&Path>) -> Result<Vec<u8>> {
    if folder.join("Cargo.toml").is_file() {
        let folder = folder.canonicalize().context("cannot read the policy's folder")?;
        let toolchain = Toolchain::find(&folder)?;
        return rust::compile(&rust::Job::try_new(toolchain, &folder, target_dir)?, &folder);
    }
    if folder.join(c::SOURCE).is_file() {
        return c::compile(folder);
    }
    bail!(
        "{} is no policy: it has neither a Cargo.toml nor a {} (`ostler policy new` makes one)",
        folder.display(),
        c::SOURCE
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_without_sources_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = compile(dir.path(), None).unwrap_err().to_string();
        assert!(error.contains("neither a Cargo.toml nor a policy.c"), "{error}");
    }
}
