//! The reference file: miss ratios that libCacheSim gives.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result};

/// Miss ratios by trace, capacity in objects and algorithm.
pub(crate) struct Reference {
    ratios: BTreeMap<(String, u64, String), f64>,
}

impl Reference {
    /// Reads the rows with equal weights; others do not take part.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let mut reader =
            csv::Reader::from_path(path).with_context(|| path.display().to_string())?;
        let header = reader.headers()?.clone();
        let column = |name: &str| {
            let place = header.iter().position(|column| column == name);
            place.with_context(|| format!("{}: no column {name}", path.display()))
        };
        let columns = ["trace", "ignore_size", "cache_size", "algo", "miss_ratio"];
        let mut places = Vec::new();
        for name in columns {
            places.push(column(name)?);
        }
        let mut ratios = BTreeMap::new();
        for row in reader.records() {
            let row = row?;
            let field = |index: usize| row.get(places[index]).unwrap_or_default();
            if field(1) == "1" {
                let key = (field(0).to_owned(), field(2).parse()?, field(3).to_owned());
                ratios.insert(key, field(4).parse()?);
            }
        }
        Ok(Self { ratios })
    }

    /// The capacities that the reference has for `trace`, ascending.
    pub(crate) fn capacities(&self, trace: &str) -> impl Iterator<Item = u64> {
        let all: BTreeSet<u64> = self
            .ratios
            .keys()
            .filter(|(name, _, _)| name == trace)
            .map(|&(_, capacity, _)| capacity)
            .collect();
        all.into_iter()
    }

    /// The miss ratio, none where the reference has no such row.
    pub(crate) fn miss_ratio(&self, trace: &str, capacity: u64, algorithm: &str) -> Option<f64> {
        self.ratios.get(&(trace.to_owned(), capacity, algorithm.to_owned())).copied()
    }
}
