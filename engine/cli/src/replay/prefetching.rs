//! `--prefetch`: a prefetch policy beside every policy of a replay, and the table of what it did.

use std::io::Write;

use anyhow::Result;
use comfy_table::{CellAlignment, Table, presets};
use ostler::{Host, OpenError, PolicySpec, PrefetchPolicy};
use ostler_abi::Setup;
use ostler_core::InstanceSource;
use ostler_replay::{
    FetchBudget, FetchLatency, PrefetchOutcome, PrefetchReport, PrefetchRun, PrefetchRunConfig,
    RunConfig, RunReport, RunSubject, TraceSource,
};

use super::Args;
use crate::usage;

/// What cannot be prefetched beside.
const USAGE: &str = "--prefetch goes with single policies in exact runs: leave --live, belady and \
                     adaptive(…)";

/// The prefetch policy of a replay, and the origin it fetches from.
pub(crate) struct Prefetching {
    policy: PrefetchPolicy,
    latency: FetchLatency,
    budget: FetchBudget,
}

impl Prefetching {
    /// What the arguments ask for; none where they name no prefetch policy.
    pub(super) fn open(args: &Args) -> Result<Option<Self>> {
        let Some(name) = &args.prefetch else { return Ok(None) };
        let is_single =
            |policy: &String| policy != super::belady::NAME && !policy.starts_with("adaptive");
        if args.live || !args.policy.iter().all(is_single) {
            return Err(usage(USAGE));
        }
        let spec: PolicySpec = name.parse().map_err(usage)?;
        let policy = Host::for_replay().open_prefetch(&spec).map_err(|error| match error {
            OpenError::Refused { .. } | OpenError::Read { .. } => error.into(),
            _ => usage(error),
        })?;
        Ok(Some(Self { policy, latency: args.fetch_latency, budget: args.fetch_budget }))
    }

    /// A run of `source` with the policy prefetching.
    pub(super) fn run(&self, source: &dyn InstanceSource, config: RunConfig) -> PrefetchRun {
        let setup = Setup { capacity: config.capacity, slots: 0, seed: config.seed };
        PrefetchRun::new(source, self.policy.instance(setup), self.config(config))
    }

    /// The row of such a run.
    pub(super) fn report(
        &self,
        subject: RunSubject<'_>,
        config: &RunConfig,
        outcome: &PrefetchOutcome,
    ) -> RunReport {
        let policy = (self.policy.name(), self.policy.params());
        let prefetch = PrefetchReport::new(policy, &self.config(*config), outcome);
        RunReport::new(subject, config, &outcome.with).with_prefetch(prefetch)
    }

    fn config(&self, run: RunConfig) -> PrefetchRunConfig {
        PrefetchRunConfig {
            run,
            latency: self.latency,
            budget: self.budget,
            wants_keys: self.policy.wants_keys(),
        }
    }
}

/// Writes the rows of one trace as a table for people.
pub(super) fn write(
    out: &mut dyn Write,
    trace: &TraceSource,
    reports: &[RunReport],
) -> std::io::Result<()> {
    let Some((first, prefetch)) =
        reports.first().and_then(|first| Some((first, first.prefetch.as_ref()?)))
    else {
        return Ok(());
    };
    writeln!(
        out,
        "{}: {} requests; {} with a latency of {} and {} fetches a miss",
        trace.name(),
        first.requests,
        prefetch.prefetch,
        prefetch.fetch_latency,
        prefetch.fetch_budget
    )?;
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header([
        "capacity",
        "policy",
        "without",
        "miss ratio",
        "fewer misses",
        "coverage",
        "accuracy",
        "late",
        "extra fetches",
        "pollution",
        "hit gain",
        "wasted",
    ]);
    for report in reports {
        let Some(prefetch) = &report.prefetch else { continue };
        let requests = report.requests.max(1) as f64;
        let without = prefetch.misses_without as f64 / requests;
        let fewer = 1.0 - report.misses as f64 / prefetch.misses_without.max(1) as f64;
        table.add_row([
            report.capacity.to_string(),
            report.policy.clone(),
            percent(without),
            percent(report.miss_ratio),
            percent(fewer),
            percent(prefetch.coverage),
            percent(prefetch.accuracy),
            percent(prefetch.late_fraction),
            format!("{:+.4}", prefetch.extra_fetches_per_request),
            format!("{:.4}", prefetch.pollution),
            format!("{:+.2} pp", prefetch.hit_gain * 100.0),
            percent(prefetch.wasted),
        ]);
    }
    for column in (0..12).filter(|&column| column != 1) {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    writeln!(out, "{table}\nExtra fetches and pollution are a request.\n")?;
    for report in reports {
        if let Some(PrefetchReport { prefetch_fault: Some(fault), .. }) = &report.prefetch {
            writeln!(out, "prefetching beside {} ended: {fault}", report.policy)?;
        }
    }
    Ok(())
}

fn percent(ratio: f64) -> String {
    format!("{:.2} %", ratio * 100.0)
}
