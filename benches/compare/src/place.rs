//! Where a measurement was made: machine, compiler, commit, versions; and the results file itself.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The lock file, which states what was measured.
const LOCK: &str = include_str!("../Cargo.lock");

/// The processor's name, its cores and the memory.
#[must_use]
pub fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name"));
    let model =
        model.and_then(|rest| rest.split_once(':')).map_or("unknown CPU", |(_, name)| name.trim());
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = meminfo.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok());
    let memory = kib.map_or(String::new(), |kib| format!(", {} GiB", kib >> 20));
    format!("{model}, {cores} cores{memory}, {}", std::env::consts::OS)
}

/// The first line that a command prints, or what stands for it where the command cannot be run.
fn first_line(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.lines().next().filter(|_| output.status.success()).map(str::to_owned)
}

/// The compiler's version.
#[must_use]
pub fn compiler() -> String {
    first_line("rustc", &["--version"]).unwrap_or_else(|| "rustc of unknown version".to_owned())
}

/// The commit, and whether the tree differs from it.
#[must_use]
pub fn commit() -> String {
    let folder = env!("CARGO_MANIFEST_DIR");
    let commit = first_line("git", &["-C", folder, "rev-parse", "--short=12", "HEAD"]);
    let is_changed = first_line("git", &["-C", folder, "status", "--porcelain"]).is_some();
    let commit = commit.unwrap_or_else(|| "unknown".to_owned());
    if is_changed { format!("{commit} with changes") } else { commit }
}

/// The version of a package as the lock file has it. Where it has two, the later: a rival depends on an
/// older dashmap than the one measured.
#[must_use]
pub fn version(package: &str) -> &'static str {
    let name = format!("name = \"{package}\"");
    let lines = LOCK.lines().zip(LOCK.lines().skip(1));
    let versions = lines.filter(|(line, _)| *line == name).map(|(_, next)| next);
    let version = versions.last().and_then(|line| line.strip_prefix("version = \""));
    version.and_then(|version| version.strip_suffix('"')).unwrap_or("unknown")
}

/// The middle value, and the lower of the two middle ones of an even number; `None` of no values.
#[must_use]
pub fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len().checked_sub(1)? / 2).copied()
}

/// Replaces the section `name` of a results file: what stands between its two marker comments. Without
/// a text it only checks that the section is there.
///
/// # Errors
///
/// Where the file cannot be read or written, or has no such section.
pub fn replace_section(path: &Path, name: &str, text: Option<&str>) -> Result<()> {
    let old = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let (open, close) = (format!("<!-- {name} -->"), format!("<!-- /{name} -->"));
    let (Some(start), Some(end)) = (old.find(&open), old.find(&close)) else {
        bail!("{} has no section {open} … {close}", path.display());
    };
    let Some(text) = text else { return Ok(()) };
    let new = format!("{}{open}\n\n{}\n\n{}", &old[..start], text.trim(), &old[end..]);
    std::fs::write(path, new).with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), Some(2.0));
        assert_eq!(median([]), None);
    }

    #[test]
    fn versions_come_from_the_lock_file() {
        assert!(version("quick_cache").starts_with("0."));
        assert!(version("dashmap").starts_with("6."));
        assert_eq!(version("nonesuch"), "unknown");
    }
}
