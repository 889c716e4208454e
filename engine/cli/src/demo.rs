//! `ostler demo`: a server whose cache adapts, and a client whose requests change their ways.
//!
//! Server and client are in this process and talk RESP over loopback, as they would over a network. What
//! is shown every second is read from the server's HTTP API. At the end everything is counted, and the
//! same requests are replayed exactly, with the selector and with each policy alone.

mod client;
mod host;
mod outcome;
mod page;
mod plot;
mod report;
mod rerun;
mod watch;
mod workload;

use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::channel;

use anyhow::{Context, Result, anyhow, bail};
use clap::Args as ClapArgs;
use ostler_replay::{CapacitySpec, CapacityUnit, Footprint};

use self::client::{Client, Recording, Tally};
use self::host::Host;
use self::outcome::{Checks, Outcome};
use self::report::Folder;
use self::rerun::Contest;
use self::watch::Watch;
use self::workload::Plan;
use crate::adaptive::PORTFOLIO;
use crate::{EXIT_DONE, usage};

/// Requests a second. Little enough for two shared cores and a build that is not optimised; how many
/// there are in all, and not the time, decides where a phase ends.
const RATE: u64 = 30_000;
/// What an entry weighs in the server.
const ENTRY_BYTES: u64 = 256;
/// Capacities that can be asked for. Larger ones would need longer phases than anybody waits for.
const CAPACITY_BYTES: std::ops::RangeInclusive<u64> = 1 << 20..=256 << 20;
/// The policy in charge at the start: the wrong one for the first phase, so that there is something to see.
const START: &str = "lru";

/// Watch the better policy take over: a server, a workload that shifts, and what the swaps gained.
///
/// Ends by itself after about a minute, with a table and a page with plots. Fails where a request failed
/// or an entry was lost.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// How long the client asks, in seconds of 30,000 requests each; a slow machine takes longer.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(2..=600))]
    seconds: u64,
    /// The policy in charge at the start, one of the portfolio [default: lru, or the portfolio's first].
    #[arg(long, value_name = "POLICY")]
    policy: Option<String>,
    /// The candidates, two to eight: NAME, native:NAME or FILE.wasm, with (key=value,…) for parameters
    /// [default: s3fifo lru sieve wtinylfu].
    #[arg(long, value_name = "POLICY", num_args = 1..)]
    portfolio: Vec<String>,
    /// What the cache may hold, from 1MiB to 256MiB; an entry weighs 256 bytes.
    #[arg(long, value_name = "SIZE", default_value = "1MiB")]
    capacity: CapacitySpec,
    /// Where the page and its tables go [default: a new folder for temporary files].
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
}

impl Args {
    /// The portfolio with the policy that is in charge at the start in front.
    fn candidates(&self) -> Result<Vec<String>> {
        let is_default = self.portfolio.is_empty();
        let mut candidates = match is_default {
            true => PORTFOLIO.split('+').map(str::to_owned).collect(),
            false => self.portfolio.clone(),
        };
        let start = match &self.policy {
            Some(policy) => policy,
            None if is_default => START,
            None => return Ok(candidates),
        };
        let Some(place) = candidates.iter().position(|candidate| candidate == start) else {
            let shown = candidates.join(" ");
            return Err(usage(format!("--policy: `{start}` is none of the portfolio: {shown}")));
        };
        candidates[..=place].rotate_right(1);
        Ok(candidates)
    }

    fn capacity_bytes(&self) -> Result<u64> {
        let bytes = match self.capacity.needs_footprint() {
            true => Err("a share of nothing that is known".to_owned()),
            false => self
                .capacity
                .resolve(&Footprint::default(), CapacityUnit::Bytes)
                .map_err(|error| error.to_string()),
        };
        let fits = |bytes: &u64| CAPACITY_BYTES.contains(bytes);
        bytes.ok().filter(fits).ok_or_else(|| {
            usage(format!("--capacity: `{}` is no size from 1MiB to 256MiB", self.capacity))
        })
    }
}

/// Runs the demonstration.
pub(crate) fn run(args: Args, out: &mut dyn Write) -> Result<u8> {
    let (candidates, capacity_bytes) = (args.candidates()?, args.capacity_bytes()?);
    let entries = capacity_bytes / ENTRY_BYTES;
    let contest = Contest::open(&candidates, entries)?;
    let plan = Plan::try_new(args.seconds * RATE, entries)?;
    let folder = Folder::claim(args.report.as_deref())?;
    let host = Host::start(&candidates, capacity_bytes)?;
    introduce(out, &host, (&candidates, entries), &plan)?;

    let tally = Tally::default();
    let recording = serve(&host, &plan, &tally, out)?;
    let checks = Checks::make(&host, &tally, &recording)?;
    let decisions = host.decisions()?;
    host.stop();
    writeln!(out, "\nthe same requests again, exactly, under each policy …")?;
    out.flush()?;
    let tracks = contest.play(&recording.keys, &plan.phases())?;
    let outcome = Outcome { plan, entries, candidates, recording, decisions, checks, tracks };
    outcome.write(out)?;
    let page = folder.write(&outcome)?;
    writeln!(out, "\nreport: {}", page.display())?;
    match outcome.checks.complaint(&outcome.recording) {
        Some(complaint) => bail!(complaint),
        None => Ok(EXIT_DONE),
    }
}

/// Says what is there and what will happen.
fn introduce(
    out: &mut dyn Write,
    host: &Host,
    (candidates, entries): (&[String], u64),
    plan: &Plan,
) -> std::io::Result<()> {
    writeln!(out, "RESP      redis://{}", host.resp())?;
    writeln!(out, "HTTP      http://{}  (as long as this runs)", host.api())?;
    writeln!(out, "cache     {} entries", outcome::grouped(entries))?;
    writeln!(out, "policies  {}; {} is in charge", candidates.join(", "), candidates[0])?;
    let requests = outcome::grouped(plan.requests());
    writeln!(out, "requests  {requests} in four phases of the same length")?;
    for (phase, (name, story)) in workload::PHASES.iter().zip(workload::STORIES).enumerate() {
        writeln!(out, "  {} {name:<11} {story}", phase + 1)?;
    }
    writeln!(out)
}

/// Lets the client ask on a thread of its own, and shows what happens meanwhile.
fn serve(host: &Host, plan: &Plan, tally: &Tally, out: &mut dyn Write) -> Result<Recording> {
    let mut client = Client::connect(host.resp())?;
    std::thread::scope(|scope| {
        let (end, ended) = channel::<()>();
        let asking = scope.spawn(move || {
            // Dropped at the end, however that comes.
            let _end = end;
            client.drive(plan.keys(), RATE as f64, tally)
        });
        let watched = Watch::new(host, plan, tally).show(&ended, out);
        tally.stop.store(true, Relaxed);
        let recording = asking.join().map_err(|_| anyhow!("the client panicked"));
        // Why the client ended says more than what was seen of it.
        let recording = recording?.context("a request failed")?;
        watched?;
        Ok(recording)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(policy: Option<&str>, portfolio: &[&str], capacity: &str) -> Args {
        Args {
            seconds: 60,
            policy: policy.map(str::to_owned),
            portfolio: portfolio.iter().map(|&it| it.to_owned()).collect(),
            capacity: capacity.parse().unwrap(),
            report: None,
        }
    }

    #[test]
    fn the_first_policy_is_the_one_in_charge() {
        for (policy, portfolio, expected) in [
            (None, &[][..], "lru s3fifo sieve wtinylfu"),
            (Some("sieve"), &[], "sieve s3fifo lru wtinylfu"),
            (None, &["fifo", "arc"], "fifo arc"),
            (Some("arc"), &["fifo", "arc"], "arc fifo"),
        ] {
            let found = args(policy, portfolio, "1MiB").candidates().unwrap();
            assert_eq!(found.join(" "), expected);
        }
        let error = args(Some("mru"), &[], "1MiB").candidates().unwrap_err();
        assert!(error.to_string().contains("`mru` is none of the portfolio"), "{error}");
    }

    #[test]
    fn capacities_are_sizes() {
        for (text, expected) in
            [("1MiB", Some(1 << 20)), ("4MiB", Some(4 << 20)), ("10%", None), ("512KiB", None)]
        {
            assert_eq!(args(None, &[], text).capacity_bytes().ok(), expected, "{text}");
        }
    }
}
