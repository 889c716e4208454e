//! Miss ratios of other algorithms, read from a table.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use ostler_replay::Request;

use super::table::Unit;

/// A capacity of a trace, and the miss ratios of the algorithms there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Size {
    /// In objects or in bytes.
    pub(crate) capacity: u64,
    /// The same as a share of the trace's.
    pub(crate) share: f64,
    /// By algorithm: miss ratio and byte miss ratio.
    pub(crate) algorithms: BTreeMap<String, (f64, Option<f64>)>,
}

impl Size {
    /// What share of the trace's objects the capacity is, in objects.
    pub(crate) fn objects(&self, requests: &[Request]) -> f64 {
        let mut keys: Vec<u64> = requests.iter().map(|request| request.key).collect();
        keys.sort_unstable();
        keys.dedup();
        keys.len() as f64 * self.share
    }
}

/// The whole table: by trace, whether objects weigh 1, and line of the size.
#[derive(Default)]
pub(crate) struct Reference(BTreeMap<(String, bool), Vec<Size>>);

impl Reference {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let mut reader =
            csv::Reader::from_path(path).with_context(|| path.display().to_string())?;
        let headers = reader.headers()?.clone();
        let column = |name: &str| {
            headers
                .iter()
                .position(|header| header == name)
                .with_context(|| format!("no column {name}"))
        };
        let (trace, ignore, capacity) =
            (column("trace")?, column("ignore_size")?, column("cache_size")?);
        let (share, algorithm) = (column("cache_frac")?, column("algo")?);
        let (miss, byte_miss) = (column("miss_ratio")?, column("byte_miss_ratio")?);
        let mut reference = Self::default();
        for record in reader.records() {
            let record = record?;
            let capacity: u64 = record[capacity].parse()?;
            let sizes =
                reference.0.entry((record[trace].to_owned(), &record[ignore] == "1")).or_default();
            let at = sizes.iter().position(|size| size.capacity == capacity);
            let at = match at {
                Some(at) => at,
                None => {
                    let share = record[share].parse()?;
                    sizes.push(Size { capacity, share, ..Size::default() });
                    sizes.len() - 1
                }
            };
            let ratios = (record[miss].parse()?, record[byte_miss].parse().ok());
            sizes[at].algorithms.insert(record[algorithm].to_owned(), ratios);
        }
        Ok(reference)
    }

    /// The sizes of a trace, smallest first; none where the table has none for this unit.
    pub(crate) fn sizes(&self, trace: &str, unit: Unit) -> Vec<Size> {
        let key = (trace.to_owned(), unit == Unit::Objects);
        self.0.get(&key).cloned().unwrap_or_default()
    }
}
