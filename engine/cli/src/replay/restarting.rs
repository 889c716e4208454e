//! `--restart-at`: a restart in mid-trace, with every warming policy that was named.

use std::io::Write;
use std::str::FromStr;

use anyhow::{Context, Result};
use clap::Args as ClapArgs;
use comfy_table::{CellAlignment, Table, presets};
use ostler::{Host, OpenError, PolicySpec, WARMERS, WarmingPolicy};
use ostler_abi::Setup;
use ostler_core::Batch;
use ostler_replay::{
    CapacityUnit, Footprint, Models, Request, RestartConfig, RestartOutcome, RunConfig,
    TraceSource, WeightMode, replay_restart,
};
use serde_json::{Value, json};

use super::plan::Contender;
use super::{Args, Format};
use crate::usage;

/// What goes with no restart.
const USAGE: &str = "--restart-at goes with single policies in exact runs: leave --live, --prefetch, \
                     --batch, belady and adaptive(…)";

/// Bytes that the history of keys takes at most.
const HISTORY_BYTES: usize = 64 << 20;

/// The options of a restart.
#[derive(Debug, ClapArgs)]
pub(super) struct RestartArgs {
    /// Restart the cache after this share of the requests, and say what warming it is worth over as many
    /// requests as it holds entries.
    #[arg(long, value_name = "P%")]
    restart_at: Option<Share>,
    /// Warming policies: NAME, native:NAME or FILE.wasm, with (key=value,…) for parameters; several may
    /// follow. By default all built-in ones.
    #[arg(long, value_name = "POLICY", num_args = 1.., requires = "restart_at")]
    warm: Vec<String>,
    /// Share of the capacity that may be fetched.
    #[arg(long, value_name = "P%", default_value = "25%", requires = "restart_at")]
    warm_budget: Share,
}

/// A share in percent, from 0 to 100.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Share(f64);

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.strip_suffix('%').and_then(|number| number.parse::<f64>().ok());
        match number {
            Some(percent) if (0.0..=100.0).contains(&percent) => Ok(Self(percent / 100.0)),
            _ => Err(format!("`{text}` is no share, use 0% to 100%")),
        }
    }
}

impl Share {
    fn of(self, whole: u64) -> u64 {
        (whole as f64 * self.0) as u64
    }
}

/// One restart with one policy.
struct Row {
    capacity: u64,
    policy: String,
    warming: String,
    config: RestartConfig,
    outcome: RestartOutcome,
}

/// Runs what the arguments ask for, if it is a restart; false where it is none.
pub(super) fn run(args: &Args, out: &mut dyn Write) -> Result<bool> {
    let Some(at) = args.restart.restart_at else { return Ok(false) };
    let is_single = |name: &String| name != super::belady::NAME && !name.starts_with("adaptive");
    let is_exact = !args.live && args.prefetch.is_none() && args.batch.is_none();
    if !is_exact || !args.policy.iter().all(is_single) {
        return Err(usage(USAGE));
    }
    let host = Host::for_replay();
    let warmers = warmers(&host, &args.restart.warm)?;
    let default = ["lru".to_owned()];
    let names = if args.policy.is_empty() { &default[..] } else { &args.policy };
    let mut header = true;
    for trace in &args.trace {
        let requests = trace.load(usize::MAX)?;
        let mut rows = Vec::new();
        for name in names {
            let spec: PolicySpec = name.parse().map_err(usage)?;
            let Contender::Policy(policy) = Contender::open(&host, &spec)? else {
                return Err(usage(USAGE));
            };
            for config in configs(args, at, &requests)? {
                for warmer in &warmers {
                    let capacity = config.run.capacity;
                    let setup = Setup { capacity, slots: 0, seed: config.run.seed };
                    let takes = warmer.takes_models();
                    let models = if takes { Models::Taken } else { Models::Untaken };
                    let warming = (warmer.instance(setup), models);
                    let outcome = replay_restart(&*policy, &config, &requests, warming)
                        .with_context(|| format!("{} failed", warmer.name()))?;
                    let (policy, warming) = (name.clone(), warmer.name().to_owned());
                    rows.push(Row { capacity, policy, warming, config, outcome });
                }
            }
        }
        match args.format {
            Format::Table => write_table(out, trace, &rows)?,
            Format::Json => write_json(out, trace, &rows)?,
            Format::Csv => write_csv(out, (trace, &mut header), &rows)?,
        }
    }
    Ok(true)
}

fn warmers(host: &Host, names: &[String]) -> Result<Vec<WarmingPolicy>> {
    let builtin: Vec<String> = WARMERS.iter().map(|builtin| builtin.name.to_owned()).collect();
    let names = if names.is_empty() { &builtin } else { names };
    let open = |name: &String| {
        let spec: PolicySpec = name.parse().map_err(usage)?;
        host.open_warming(&spec).map_err(|error| match error {
            OpenError::Refused { .. } | OpenError::Read { .. } => error.into(),
            _ => usage(error),
        })
    };
    names.iter().map(open).collect()
}

fn configs(args: &Args, at: Share, requests: &[Request]) -> Result<Vec<RestartConfig>> {
    let footprint = Footprint::of(requests);
    let (weights, unit) = if args.objects {
        (WeightMode::Objects, CapacityUnit::Objects)
    } else {
        (WeightMode::Bytes, CapacityUnit::Bytes)
    };
    let config = |spec: &ostler_replay::CapacitySpec| {
        let capacity = spec.resolve(&footprint, unit).map_err(usage)?;
        let entries = if args.objects { capacity } else { footprint.entries_within(capacity) };
        let (shards, seed) = (args.shards, args.seed);
        Ok(RestartConfig {
            run: RunConfig { capacity, weights, shards, seed, batch: Batch::Exact },
            at: usize::try_from(at.of(requests.len() as u64))?,
            horizon: usize::try_from(entries.max(1))?,
            budget: args.restart.warm_budget.of(capacity),
            history_bytes: HISTORY_BYTES,
        })
    };
    args.capacity.iter().map(config).collect()
}

fn write_table(out: &mut dyn Write, trace: &TraceSource, rows: &[Row]) -> std::io::Result<()> {
    let Some(first) = rows.first() else { return Ok(()) };
    writeln!(out, "{}: restarted before request {}", trace.name(), first.config.at)?;
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header([
        "capacity",
        "policy",
        "warming",
        "fetched",
        "cold",
        "warmed",
        "oracle",
        "no restart",
        "gap closed",
    ]);
    for Row { capacity, policy, warming, outcome, .. } in rows {
        table.add_row([
            capacity.to_string(),
            policy.clone(),
            warming.clone(),
            outcome.fetched.to_string(),
            percent(outcome.cold),
            percent(outcome.warmed),
            percent(outcome.oracle),
            percent(outcome.no_restart),
            percent(outcome.gap_closed()),
        ]);
    }
    for column in (0..9).filter(|column| ![1, 2].contains(column)) {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    writeln!(
        out,
        "{table}\nHit ratios over as many requests as the cache holds entries. The oracle fetches as much, \
         those of the known\nkeys that five times as many requests ask for most.\n"
    )?;
    for Row { warming, outcome, .. } in rows {
        if let Some(fault) = &outcome.fault {
            writeln!(out, "{warming} was dropped: {fault}")?;
        }
    }
    Ok(())
}

/// The fields of a row, in the order in which they are printed.
fn fields(trace: &TraceSource, row: &Row) -> Value {
    let Row { capacity, policy, warming, config, outcome } = row;
    json!({
        "trace": trace.name(),
        "policy": policy,
        "warming": warming,
        "capacity": capacity,
        "shards": config.run.shards,
        "seed": config.run.seed,
        "restart_at": config.at,
        "horizon": outcome.horizon,
        "budget": config.budget,
        "candidates": outcome.candidates,
        "fetched": outcome.fetched,
        "snapshot_bytes": outcome.snapshot_bytes,
        "model": outcome.model,
        "hit_ratio_cold": outcome.cold,
        "hit_ratio": outcome.warmed,
        "hit_ratio_oracle": outcome.oracle,
        "hit_ratio_possible": outcome.clairvoyant,
        "hit_ratio_no_restart": outcome.no_restart,
        "gap_closed": outcome.gap_closed(),
        "fault": outcome.fault,
    })
}

fn write_json(out: &mut dyn Write, trace: &TraceSource, rows: &[Row]) -> std::io::Result<()> {
    rows.iter().try_for_each(|row| writeln!(out, "{}", fields(trace, row)))
}

/// Rows with a header above the first of all.
fn write_csv(
    out: &mut dyn Write,
    (trace, header): (&TraceSource, &mut bool),
    rows: &[Row],
) -> std::io::Result<()> {
    for row in rows {
        let Value::Object(fields) = fields(trace, row) else { continue };
        if std::mem::take(header) {
            let names: Vec<&str> = fields.keys().map(String::as_str).collect();
            writeln!(out, "{}", names.join(","))?;
        }
        let cell = |value: &Value| match value {
            Value::Null => String::new(),
            Value::String(text) => format!("\"{}\"", text.replace('"', "\"\"")),
            value => value.to_string(),
        };
        let cells: Vec<String> = fields.values().map(cell).collect();
        writeln!(out, "{}", cells.join(","))?;
    }
    Ok(())
}

fn percent(ratio: f64) -> String {
    format!("{:.2} %", ratio * 100.0)
}

#[cfg(test)]
mod tests {
    use super::Share;

    #[test]
    fn shares_are_percentages() {
        for (text, share) in [("50%", Some(0.5)), ("0%", Some(0.0)), ("12.5%", Some(0.125))] {
            assert_eq!(text.parse().ok(), share.map(Share), "{text}");
        }
        for text in ["50", "101%", "-1%", "NaN%", "%", ""] {
            assert!(text.parse::<Share>().is_err(), "{text}");
        }
        assert_eq!(Share(0.25).of(9_344), 2_336);
    }
}
