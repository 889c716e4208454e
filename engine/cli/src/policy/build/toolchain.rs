//! Which Rust toolchain here can compile for `wasm32-unknown-unknown`, and how.
//!
//! A toolchain can either because the target's standard library is installed (rustup, or a
//! distribution's package), or because the library's sources are, so that cargo compiles them along
//! (Debian's `rust-web-src`). It also owns the environment that an inner cargo gets.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

/// What policies are compiled for.
pub(super) const TARGET: &str = "wasm32-unknown-unknown";

/// Said where no toolchain can.
const MISSING: &str = "no Rust toolchain here compiles for wasm32-unknown-unknown: get one with \
    `rustup target add wasm32-unknown-unknown`, or on Debian with \
    `apt-get install rustc-web cargo-web rust-web-src lld`";

/// Variables of cargo that are the user's own settings, not what an outer cargo leaves behind.
const KEPT: [&str; 9] = [
    "CARGO_HOME",
    "CARGO_TARGET_DIR",
    "CARGO_BUILD_JOBS",
    "CARGO_NET_",
    "CARGO_HTTP_",
    "CARGO_REGISTRIES_",
    "CARGO_REGISTRY_",
    "CARGO_SOURCE_",
    "CARGO_TERM_",
];

/// Other variables that an outer cargo, rustup or clippy sets and that would change the build.
const DROPPED: [&str; 9] = [
    "RUSTUP_TOOLCHAIN",
    "RUSTC",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_BOOTSTRAP",
    "RUSTFLAGS",
    "RUSTDOCFLAGS",
    "MAKEFLAGS",
    "CLIPPY_ARGS",
];

/// Linkers for wasm, by the names they are installed under.
const LINKERS: [&str; 9] = [
    "wasm-ld",
    "wasm-ld-21",
    "wasm-ld-20",
    "wasm-ld-19",
    "wasm-ld-18",
    "wasm-ld-17",
    "wasm-ld-16",
    "wasm-ld-15",
    "wasm-ld-14",
];

/// A cargo and a rustc that belong together, and how they reach the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Toolchain {
    cargo: PathBuf,
    rustc: PathBuf,
    /// The linker, where the standard library has to be compiled along.
    build_std: Option<PathBuf>,
}

impl Toolchain {
    /// The first toolchain that can, as seen from `folder` (rustup chooses by folder): the one on the
    /// path, then the distribution's own.
    ///
    /// # Errors
    ///
    /// One line that names both ways to get a toolchain.
    pub(super) fn find(folder: &Path) -> Result<Self> {
        let on_path = ("cargo".into(), "rustc".into());
        let installed = ("/usr/bin/cargo".into(), "/usr/bin/rustc".into());
        let pairs: [(PathBuf, PathBuf); 2] = [on_path, installed];
        let able: Vec<Self> = pairs
            .into_iter()
            .filter_map(|(cargo, rustc)| Self::inspect(folder, (cargo, rustc)))
            .collect();
        let ready = able.iter().find(|toolchain| toolchain.build_std.is_none());
        match ready.or(able.first()) {
            Some(toolchain) => Ok(toolchain.clone()),
            None => bail!(MISSING),
        }
    }

    fn inspect(folder: &Path, (cargo, rustc): (PathBuf, PathBuf)) -> Option<Self> {
        let sysroot = output(clean(&rustc).current_dir(folder).args(["--print", "sysroot"]))?;
        output(clean(&cargo).current_dir(folder).arg("--version"))?;
        let rustlib = Path::new(sysroot.trim()).join("lib/rustlib");
        if rustlib.join(TARGET).join("lib").is_dir() {
            return Some(Self { cargo, rustc, build_std: None });
        }
        if !rustlib.join("src/rust/library/core/Cargo.toml").is_file() {
            return None;
        }
        let linker = find_linker(&rustlib)?;
        Some(Self { cargo, rustc, build_std: Some(linker) })
    }

    /// A cargo of this toolchain that runs in `folder` with nothing of an outer cargo about it.
    pub(super) fn cargo(&self, folder: &Path) -> Command {
        let mut cargo = clean(&self.cargo);
        cargo.current_dir(folder);
        if self.rustc.is_absolute() {
            cargo.env("RUSTC", &self.rustc);
        }
        cargo
    }

    /// Tells a build by [`cargo`](Self::cargo) how to reach the target.
    pub(super) fn aim(&self, cargo: &mut Command) {
        cargo.args(["--target", TARGET]);
        if let Some(linker) = &self.build_std {
            cargo.arg("-Zbuild-std=core,alloc,panic_abort").env("RUSTC_BOOTSTRAP", "1");
            cargo.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
        }
    }
}

/// The toolchain's own linker, or one that is installed.
fn find_linker(rustlib: &Path) -> Option<PathBuf> {
    let own =
        std::fs::read_dir(rustlib).ok()?.flatten().map(|host| host.path().join("bin/rust-lld"));
    own.into_iter().find(|path| path.is_file()).or_else(|| LINKERS.iter().find_map(on_path))
}

/// Where the program `name` is found on the path.
pub(super) fn on_path(name: impl AsRef<Path>) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name.as_ref())).find(|path| path.is_file())
}

/// `program`, without the environment that an outer cargo, rustup or clippy leaves behind.
fn clean(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if is_left_behind(&name) {
            command.env_remove(name);
        }
    }
    command
}

fn is_left_behind(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    let kept = || KEPT.iter().any(|kept| name.starts_with(kept));
    DROPPED.contains(&name) || name == "CARGO" || (name.starts_with("CARGO_") && !kept())
}

/// What a command that ends well prints; none where it does not start or does not end well.
fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_outer_cargo_leaves_behind_is_dropped() {
        let dropped = [
            "CARGO",
            "CARGO_MANIFEST_DIR",
            "CARGO_PKG_NAME",
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_PROFILE_RELEASE_LTO",
            "CARGO_BUILD_TARGET",
            "RUSTUP_TOOLCHAIN",
            "RUSTFLAGS",
            "RUSTC_WORKSPACE_WRAPPER",
        ];
        assert!(dropped.iter().all(|name| is_left_behind(OsStr::new(name))));
        let kept = ["CARGO_HOME", "CARGO_NET_OFFLINE", "RUSTUP_HOME", "PATH", "CARGOX"];
        assert!(!kept.iter().any(|name| is_left_behind(OsStr::new(name))));
    }

    #[test]
    fn the_message_names_both_ways() {
        assert!(MISSING.contains("rustup target add") && MISSING.contains("apt-get install"));
        assert_eq!(MISSING.lines().count(), 1);
    }

    #[test]
    fn programs_are_found_on_the_path() {
        assert!(on_path("cargo").is_some_and(|path| path.is_absolute()));
        assert_eq!(on_path("no-such-program-anywhere"), None);
    }
}
