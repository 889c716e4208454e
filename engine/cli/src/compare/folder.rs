//! The folder of a report: its page, and the CSV behind every plot.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use ostler_replay::write_csv;
use serde::Serialize;

use super::rows::{Comparison, records};
use super::{page, standings};

/// The page.
pub(crate) const PAGE: &str = "index.html";
/// What the page begins with; a folder whose page does not is not ours.
pub(super) const MARK: &str = "<!doctype html>\n<!-- written by ostler compare -->\n";
/// The CSV files beside it.
pub(super) const TABLES: [&str; 4] =
    ["comparison.csv", "standings.csv", "curves.csv", "over_time.csv"];

/// A folder that a report may be written to.
pub(super) struct Folder {
    path: PathBuf,
}

#[derive(Serialize)]
struct StandingRecord<'a> {
    policy: &'a str,
    wins: u32,
    ties: u32,
    losses: u32,
    best: u32,
    regret_mean: f64,
    regret_median: f64,
    regret_worst: f64,
}

#[derive(Serialize)]
struct CurveRecord<'a> {
    trace: &'a str,
    policy: &'a str,
    capacity: u64,
    miss_ratio: f64,
    byte_miss_ratio: f64,
    sampled_keys: f64,
}

#[derive(Serialize)]
struct StretchRecord<'a> {
    trace: &'a str,
    capacity: u64,
    policy: &'a str,
    first_request: u64,
    requests: u64,
    baseline_miss_ratio: f64,
    difference: f64,
}

impl Folder {
    /// Makes sure that `path` may be written to: it is not there yet, is empty, or holds a report and
    /// nothing else. Creates it. Comes before anything is played, so that nobody waits for a refusal.
    pub(super) fn claim(path: &Path) -> Result<Self> {
        claim(path, MARK, &TABLES)?;
        Ok(Self { path: path.to_owned() })
    }

    /// Writes everything and returns the path of the page, which comes last.
    pub(super) fn write(&self, comparison: &Comparison) -> Result<PathBuf> {
        let [rows, standings, curves, over_time] = TABLES;
        write_table(&self.path, rows, &records(&comparison.rows))?;
        write_table(&self.path, standings, &standing_records(comparison))?;
        write_table(&self.path, curves, &curve_records(comparison))?;
        write_table(&self.path, over_time, &stretch_records(comparison))?;
        write_page(&self.path, &page::html(comparison))
    }
}

/// Writes the CSV file `name` into `folder`.
pub(crate) fn write_table<R: Serialize>(folder: &Path, name: &str, records: &[R]) -> Result<()> {
    let path = folder.join(name);
    let write = || -> io::Result<()> {
        let mut file = io::BufWriter::new(File::create(&path)?);
        write_csv(&mut file, records)?;
        file.flush()
    };
    write().with_context(|| path.display().to_string())
}

/// Writes the page into `folder` and returns its path.
pub(crate) fn write_page(folder: &Path, html: &str) -> Result<PathBuf> {
    let page = folder.join(PAGE);
    fs::write(&page, html).with_context(|| page.display().to_string())?;
    Ok(page)
}

/// Makes sure that a page which begins with `mark`, and `tables` beside it, may be written to `path`: it is
/// not there yet, is empty, or holds such a page and nothing else. Creates it.
pub(crate) fn claim(path: &Path, mark: &str, tables: &[&str]) -> Result<()> {
    let shown = path.display();
    fs::create_dir_all(path).with_context(|| format!("report folder {shown}"))?;
    let entries = fs::read_dir(path).with_context(|| format!("report folder {shown}"))?;
    let mut is_empty = true;
    for entry in entries {
        let name = entry.with_context(|| format!("report folder {shown}"))?.file_name();
        let is_ours = name == PAGE || tables.iter().any(|table| name == *table);
        if !is_ours {
            anyhow::bail!(
                "report folder {shown} holds {}, which is no part of a report; give a new or empty folder",
                name.to_string_lossy()
            );
        }
        is_empty = false;
    }
    let page = fs::read(path.join(PAGE)).unwrap_or_default();
    if !is_empty && !page.starts_with(mark.as_bytes()) {
        anyhow::bail!(
            "report folder {shown} holds a page that is no report; give a new or empty folder"
        );
    }
    Ok(())
}

fn standing_records(comparison: &Comparison) -> Vec<StandingRecord<'_>> {
    let labels = comparison.labels.iter().zip(standings(comparison));
    labels
        .map(|(policy, standing)| StandingRecord {
            policy,
            wins: standing.wins,
            ties: standing.ties,
            losses: standing.losses,
            best: standing.best,
            regret_mean: standing.regret.mean,
            regret_median: standing.regret.median,
            regret_worst: standing.regret.worst,
        })
        .collect()
}

fn curve_records(comparison: &Comparison) -> Vec<CurveRecord<'_>> {
    let mut records = Vec::new();
    for curves in &comparison.curves {
        for (policy, points) in comparison.labels.iter().zip(&curves.curves) {
            records.extend(points.iter().map(|point| CurveRecord {
                trace: &curves.trace,
                policy,
                capacity: point.capacity,
                miss_ratio: point.miss_ratio,
                byte_miss_ratio: point.byte_miss_ratio,
                sampled_keys: curves.rate,
            }));
        }
    }
    records
}

fn stretch_records(comparison: &Comparison) -> Vec<StretchRecord<'_>> {
    let mut records = Vec::new();
    for row in &comparison.rows {
        for (policy, versus) in comparison.labels[1..].iter().zip(&row.challengers) {
            records.extend(versus.stretches.iter().map(|stretch| StretchRecord {
                trace: &row.trace,
                capacity: row.capacity,
                policy,
                first_request: stretch.first_request,
                requests: stretch.requests,
                baseline_miss_ratio: stretch.baseline,
                difference: stretch.difference,
            }));
        }
    }
    records
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_new_empty_and_own_folders_are_claimed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        assert!(Folder::claim(&path).is_ok());
        assert!(path.is_dir() && Folder::claim(&path).is_ok());
        fs::write(path.join(PAGE), "<html>mine</html>").unwrap();
        let error = Folder::claim(&path).err().unwrap().to_string();
        assert!(error.contains("no report"), "{error}");
        fs::write(path.join(PAGE), format!("{MARK}<html>")).unwrap();
        fs::write(path.join(TABLES[0]), "").unwrap();
        assert!(Folder::claim(&path).is_ok());
        fs::write(path.join("thesis.tex"), "").unwrap();
        let error = Folder::claim(&path).err().unwrap().to_string();
        assert!(error.contains("thesis.tex"), "{error}");
        assert!(Folder::claim(&dir.path().join("a/b/thesis.tex")).is_err());
    }
}
