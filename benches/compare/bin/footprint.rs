//! Fills one cache in a process of its own, under a counting allocator, and prints what it takes.
//!
//! `footprint ROW ENTRIES`; the program `compare` starts it once a row.

use std::alloc::System;

use anyhow::{Context, Result};
use ostler_compare::roster;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn live_bytes() -> u64 {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated.wrapping_sub(stats.bytes_deallocated) as u64
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().context("which row?")?;
    let entries = arguments.next().context("how many entries?")?.parse().context("entries")?;
    let row = roster::rows().into_iter().find(|row| row.name == name);
    let row = row.with_context(|| format!("no row {name}"))?;
    println!("{}", (row.weigh)(entries, &live_bytes)?);
    Ok(())
}
