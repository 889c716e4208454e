//! Memory: a million small values in both servers, and what the system counts at a full cache.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;

use super::contestant::Contestant;

/// What RSS may be above the capacity: a tenth, and this much.
const ALLOWANCE_BYTES: u64 = 64 << 20;
/// How often the capacity's worth of values is written before memory is read: a steady state.
const TURNOVERS: usize = 4;

/// A mix of values by their size: of the number of the entry.
type Sizes = fn(usize) -> usize;

const MIXES: [(&str, Sizes, usize); 3] = [
    ("64 B", |_| 64, 64),
    ("1 KiB", |_| 1_024, 1_024),
    // 16 B to 16 KiB, each power as often as the others: 2,978 bytes at the mean.
    ("16 B … 16 KiB", |number| 16 << ((number.wrapping_mul(0x9e37_79b9) >> 7) % 11), 2_978),
];

/// Both tables.
pub(super) fn measure(ostler: &Path, quick: bool) -> Result<String> {
    let keys = if quick { 100_000 } else { 1_000_000 };
    let mut text = format!(
        "Memory for {keys} values of 64 bytes under keys of 16 (no eviction):\n\n\
         | server | RSS | RSS an entry | used_memory |\n|---|--:|--:|--:|"
    );
    for name in ["redis-server", "ostler"] {
        let server = match name {
            "ostler" => Contestant::ostler(ostler, &["--capacity", "2GiB"])?,
            _ => Contestant::redis()?,
        };
        let before = server.resident_bytes()?;
        server.fill(keys, 64)?;
        let (after, used) = (server.resident_bytes()?, server.told("used_memory")?);
        let entry = (after - before) as f64 / keys as f64;
        write!(text, "\n| {name} | {} | {entry:.1} B | {} |", mib(after), mib(used))?;
    }
    let capacity = if quick { 64_u64 << 20 } else { 512 << 20 };
    write!(
        text,
        "\n\nRSS of `ostler serve --capacity {}`, after {TURNOVERS} times its capacity was written under new \
         keys; at most 1.10 × capacity + 64 MiB:\n\n| values | entries | RSS | at most | |\n|---|--:|--:|--:|---|",
        mib(capacity)
    )?;
    for (name, size, mean_bytes) in MIXES {
        let given = format!("{}MiB", capacity >> 20);
        let server = Contestant::ostler(ostler, &["--capacity", &given])?;
        let keys = TURNOVERS * capacity as usize / (mean_bytes + 16);
        server.write(keys, |number| (format!("key:{number:012}"), size(number)))?;
        let (resident, allowed) =
            (server.resident_bytes()?, capacity + capacity / 10 + ALLOWANCE_BYTES);
        let verdict = if resident <= allowed { "kept" } else { "**missed**" };
        let entries = server.entries()?;
        let (resident, allowed) = (mib(resident), mib(allowed));
        write!(text, "\n| {name} | {entries} | {resident} | {allowed} | {verdict} |")?;
    }
    Ok(text)
}

fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}
