//! Compiling a policy crate: cargo, with the profile and the link flags that every module gets.
//!
//! Policies are plain libraries; the module's form is asked for here, so that the same crate links
//! natively. The profile is forced, so that a crate needs none of its own and what a workspace around
//! it says does not matter.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::STACK_BYTES;
use super::toolchain::Toolchain;
use crate::policy::checkout;

/// The release profile of every module.
const PROFILE: [(&str, &str); 8] = [
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "3"),
    ("CARGO_PROFILE_RELEASE_LTO", "fat"),
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1"),
    ("CARGO_PROFILE_RELEASE_PANIC", "abort"),
    ("CARGO_PROFILE_RELEASE_DEBUG", "0"),
    ("CARGO_PROFILE_RELEASE_STRIP", "true"),
    ("CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS", "false"),
    ("CARGO_PROFILE_RELEASE_INCREMENTAL", "false"),
];

/// Folder for the compiler's output, within the target folder of the crate's workspace. Its own, so
/// that an inner cargo never waits for an outer one.
const TARGET_SUBDIR: &str = "policies";

/// How crates of one workspace are compiled.
#[derive(Debug)]
pub(super) struct Job {
    toolchain: Toolchain,
    target_dir: PathBuf,
    workspace_root: PathBuf,
    /// True where the workspace's lock file must stay as it is.
    pub(super) locked: bool,
}

impl Job {
    /// Prepares compiling the crate in `folder`, an absolute path, and others of its workspace.
    ///
    /// # Errors
    ///
    /// Where cargo cannot read the crate.
    pub(super) fn try_new(
        toolchain: Toolchain,
        folder: &Path,
        target_dir: Option<&Path>,
    ) -> Result<Self> {
        let metadata = metadata(&toolchain, folder)?;
        let path = |name: &str| metadata[name].as_str().map(PathBuf::from);
        let workspace_root = path("workspace_root").context("cargo metadata names no workspace")?;
        let target_dir = match target_dir {
            Some(dir) => std::path::absolute(dir).context("cannot use the target folder")?,
            None => path("target_directory")
                .context("cargo metadata names no target folder")?
                .join(TARGET_SUBDIR),
        };
        Ok(Self { toolchain, target_dir, workspace_root, locked: false })
    }

    /// `rustc`'s flags, separated as cargo wants them: the stack, and no local path in the module.
    fn rustflags(&self) -> OsString {
        let mut flags = OsString::from(format!("-C\x1flink-arg=-zstack-size={STACK_BYTES}"));
        let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
        let home = home.or_else(|| std::env::home_dir().map(|home| home.join(".cargo")));
        let sources = checkout::find(&self.workspace_root);
        // A later flag wins over an earlier one, so the narrowest comes last.
        let renamed =
            [(home, "cargo"), (sources, "ostler"), (Some(self.workspace_root.clone()), ".")];
        for (path, name) in renamed {
            if let Some(path) = path {
                flags.push("\x1f--remap-path-prefix=");
                flags.push(path);
                flags.push("=");
                flags.push(name);
            }
        }
        flags
    }

    fn command(&self, folder: &Path) -> Command {
        let mut cargo = self.toolchain.cargo(folder);
        cargo.args(["rustc", "--release", "--lib", "--crate-type", "cdylib"]);
        cargo.args(["--message-format", "json-render-diagnostics"]);
        cargo.arg("--target-dir").arg(&self.target_dir);
        if self.locked {
            cargo.arg("--locked");
        }
        self.toolchain.aim(&mut cargo);
        cargo.envs(PROFILE).env("CARGO_ENCODED_RUSTFLAGS", self.rustflags());
        cargo
    }
}

/// Compiles the crate in `folder` and returns the module. What the compiler says goes to the
/// process's error stream.
pub(super) fn compile(job: &Job, folder: &Path) -> Result<Vec<u8>> {
    let output = job
        .command(folder)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start cargo")?;
    ensure!(output.status.success(), "the crate does not compile: cargo says why above");
    let path = module_path(&output.stdout, &folder.join("Cargo.toml"))
        .with_context(|| format!("cargo made no module of {}", folder.display()))?;
    std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// The module among the artifacts that cargo reports, one JSON object a line.
fn module_path(messages: &[u8], manifest: &Path) -> Option<PathBuf> {
    messages.split(|&byte| byte == b'\n').find_map(|line| {
        let message: Value = serde_json::from_slice(line).ok()?;
        let ours = message["reason"] == "compiler-artifact"
            && message["manifest_path"].as_str().is_some_and(|path| Path::new(path) == manifest);
        let files = message["filenames"].as_array().filter(|_| ours)?;
        let mut modules = files.iter().filter_map(Value::as_str);
        modules.find(|path| path.ends_with(".wasm")).map(PathBuf::from)
    })
}

/// What cargo knows of the crate in `folder` and its workspace. Needs no network.
fn metadata(toolchain: &Toolchain, folder: &Path) -> Result<Value> {
    let output = toolchain
        .cargo(folder)
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .output()
        .context("cannot start cargo")?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        let lines: Vec<&str> =
            text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        bail!("cargo cannot read {}: {}", folder.display(), lines.join(" "));
    }
    let metadata: Value =
        serde_json::from_slice(&output.stdout).context("cargo metadata is not JSON")?;
    let manifest = folder.join("Cargo.toml");
    let packages = metadata["packages"].as_array();
    let is_crate = packages.is_some_and(|packages| {
        let path = |package: &Value| package["manifest_path"].as_str().map(PathBuf::from);
        packages.iter().any(|package| path(package).is_some_and(|path| path == manifest))
    });
    ensure!(is_crate, "{} is a workspace: name the folder of one of its crates", folder.display());
    Ok(metadata)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_module_is_found_among_the_messages() {
        let messages = br#"{"reason":"compiler-artifact","manifest_path":"/sdk/Cargo.toml","filenames":["/t/libsdk.rlib"]}
not json
{"reason":"compiler-artifact","manifest_path":"/mine/Cargo.toml","filenames":["/t/mine.d","/t/mine.wasm"]}
{"reason":"build-finished","success":true}
"#;
        let found = module_path(messages, Path::new("/mine/Cargo.toml"));
        assert_eq!(found, Some(PathBuf::from("/t/mine.wasm")));
        assert_eq!(module_path(messages, Path::new("/sdk/Cargo.toml")), None);
    }
}
