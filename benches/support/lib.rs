//! What the benches share: policies under their names, medians, and sections of `RESULTS.md`.

pub mod live;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use ostler::{Host, Policy, PolicySpec};
use ostler_abi::Setup;
use ostler_core::{InstanceSource, PolicyFault, PolicyInstance, Wants};

/// A policy that a bench replays.
pub struct Contender {
    name: String,
    policy: Policy,
}

impl Contender {
    /// Loads the policy that `name` stands for: `sieve`, `native:sieve`, `file.wasm`.
    ///
    /// # Errors
    ///
    /// Where there is no such policy.
    pub fn open(host: &Host, name: &str) -> Result<Self> {
        let spec: PolicySpec = name.parse()?;
        Ok(Self { name: name.to_owned(), policy: host.open(&spec)? })
    }
}

impl InstanceSource for Contender {
    fn label(&self) -> &str {
        &self.name
    }

    fn params(&self) -> &str {
        self.policy.params()
    }

    fn code_id(&self) -> String {
        self.policy.code_id()
    }

    fn wants(&self) -> Wants {
        self.policy.wants()
    }

    fn takes_models(&self) -> bool {
        InstanceSource::takes_models(&self.policy)
    }

    fn instance(&self, setup: Setup) -> Result<Box<dyn PolicyInstance>, PolicyFault> {
        self.policy.instance(setup)
    }
}

/// The median; the lower of the two middle values of an even number.
///
/// # Panics
///
/// Of no values at all.
#[must_use]
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[(sorted.len() - 1) / 2]
}

/// The processor's name, for a table that states where it was measured.
#[must_use]
pub fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name"));
    let model =
        model.and_then(|rest| rest.split_once(':')).map_or("unknown CPU", |(_, name)| name.trim());
    format!("{model}, {cores} cores, {}", std::env::consts::OS)
}

/// The oracleGeneral traces of a folder, plain or compressed, by name.
///
/// # Errors
///
/// Where the folder cannot be read or holds none.
pub fn trace_files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory)
        .with_context(|| directory.display().to_string())?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.to_string_lossy().contains(".oracleGeneral"))
        .collect();
    files.sort();
    ensure!(!files.is_empty(), "no .oracleGeneral files in {}", directory.display());
    Ok(files)
}

/// A trace's name: its file's, up to the first dot.
#[must_use]
pub fn trace_name(path: &Path) -> String {
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    file.split('.').next().unwrap_or_default().to_owned()
}

/// Replaces the section `name` of a results file: what stands between its two marker comments.
///
/// # Errors
///
/// Where the file cannot be read or written, or has no such section.
pub fn replace_section(path: &Path, name: &str, text: &str) -> Result<()> {
    let old = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let (open, close) = (format!("<!-- {name} -->"), format!("<!-- /{name} -->"));
    let (Some(start), Some(end)) = (old.find(&open), old.find(&close)) else {
        bail!("{} has no section {open} … {close}", path.display());
    };
    let new = format!("{}{open}\n\n{}\n\n{}", &old[..start], text.trim(), &old[end..]);
    std::fs::write(path, new).with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.0);
    }
}
