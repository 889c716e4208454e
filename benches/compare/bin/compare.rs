//! Measures Ostler's live cache beside its rivals and writes tables and figures.
//!
//! `cargo run --release --bin compare -- --full --trace FILE.oracleGeneral --out ../RESULTS.md`

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use ostler_compare::footprint::Footprint;
use ostler_compare::measure::timer_cost_ns;
use ostler_compare::pace::Pace;
use ostler_compare::place::replace_section;
use ostler_compare::plan::{Cell, Choice, Depth, Effort, play_cell};
use ostler_compare::report::Report;
use ostler_compare::roster::{self, Row};
use ostler_compare::workload::{Trace, Workload};

/// The section of the results file.
const SECTION: &str = "compare";

/// The folder of the figures, beside the results file.
const FIGURES: &str = "plots";

/// Minutes given to the loads of the full run.
const MINUTES_FULL: f64 = 17.0;

/// Entries that caches are weighed at.
const FOOTPRINT_ENTRIES: usize = 1_000_000;

/// The cache beside its rivals: throughput, latency, hit ratio and memory.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// A smoke test of two to three minutes (the default).
    #[arg(long, conflicts_with = "full")]
    quick: bool,
    /// Everything, at most about 20 minutes on two quiet cores.
    #[arg(long)]
    full: bool,
    /// Minutes given to the loads: a cell that is late goes without further repeats, and all cells are
    /// played. By default 17 with --full; weighing comes on top.
    #[arg(long)]
    minutes: Option<f64>,
    /// Rows, by name, separated by commas.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Loads, by name or beginning: hits, mix90-0.8, scan, trace; or `memory` and nothing else.
    #[arg(long, value_delimiter = ',')]
    workloads: Vec<String>,
    /// Numbers of threads.
    #[arg(long, value_delimiter = ',')]
    threads: Vec<usize>,
    /// Numbers of entries.
    #[arg(long, value_delimiter = ',')]
    entries: Vec<usize>,
    /// Repeats of every cell.
    #[arg(long)]
    repeats: Option<usize>,
    /// Requests of a cell, all threads together.
    #[arg(long)]
    requests: Option<usize>,
    /// An uncompressed oracleGeneral trace.
    #[arg(long)]
    trace: Option<PathBuf>,
    /// The results file whose section between `<!-- compare -->` and `<!-- /compare -->` is replaced, with
    /// the figures in the folder `plots` beside it. Without it the text goes to the standard output.
    #[arg(long)]
    out: Option<PathBuf>,
}

impl Arguments {
    fn depth(&self) -> Depth {
        if self.full { Depth::Full } else { Depth::Quick }
    }

    /// Whether memory is weighed: always, unless loads or threads or entries were chosen without it.
    fn weighs(&self) -> bool {
        let asked = self.workloads.iter().any(|name| name == "memory");
        let chose = [self.workloads.len(), self.threads.len(), self.entries.len()];
        asked || chose.iter().all(|chosen| *chosen == 0)
    }

    fn choice(&self) -> Result<Choice> {
        let choice = Choice {
            only: self.only.clone(),
            workloads: self.workloads.iter().filter(|name| *name != "memory").cloned().collect(),
            threads: self.threads.clone(),
            entries: self.entries.clone(),
        };
        choice.check()?;
        Ok(choice)
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if let Some(out) = &arguments.out {
        replace_section(out, SECTION, None)?;
    }
    let choice = arguments.choice()?;
    let rows = choice.take_rows(roster::rows())?;
    let trace = arguments.trace.as_deref().map(Trace::open).transpose()?;
    let depth = arguments.depth();
    let mut report = Report {
        requests: arguments.requests.unwrap_or_else(|| depth.requests()),
        repeats: arguments.repeats.unwrap_or_else(|| depth.repeats()).max(1),
        command: command(),
        timer_cost_ns: timer_cost_ns(),
        trace: trace.as_ref().map(|t| (t.name.clone(), t.objects.len(), t.capacity)),
        rows,
        ..Report::default()
    };
    if arguments.weighs() {
        report.footprints = (FOOTPRINT_ENTRIES, footprints(&report.rows, &mut report.failures)?);
    }
    if arguments.workloads.is_empty() || !choice.workloads.is_empty() {
        play(&mut report, &arguments, &choice, trace.as_ref())?;
    }
    let Some(out) = &arguments.out else {
        println!("{}", report.text(&report.figures(), FIGURES));
        return Ok(());
    };
    write(&report, out)
}

/// The command as it can be run again from this package's folder; of absolute paths only the file's name,
/// since the folder is this machine's.
fn command() -> String {
    let shown = |argument: String| match Path::new(&argument) {
        path if path.is_absolute() => {
            path.file_name().unwrap_or_default().to_string_lossy().into_owned()
        }
        _ => argument,
    };
    let arguments: Vec<String> = env::args().skip(1).map(shown).collect();
    format!("cargo run --release --bin compare -- {}", arguments.join(" "))
}

/// Plays every cell, and writes what there is so far after each.
fn play(
    report: &mut Report,
    arguments: &Arguments,
    choice: &Choice,
    trace: Option<&Trace>,
) -> Result<()> {
    let depth = arguments.depth();
    let cells = depth.cells().into_iter().filter(|cell| choice.takes_cell(cell));
    let cells: Vec<_> =
        cells.filter(|cell| trace.is_some() || cell.workload != Workload::Trace).collect();
    ensure!(!cells.is_empty(), "no cell is left to measure; --full has more of them");
    let minutes = arguments.minutes.or(arguments.full.then_some(MINUTES_FULL));
    let given = minutes.map(|minutes| Duration::from_secs_f64(minutes.max(0.0) * 60.0));
    let wanted = report.repeats;
    let repeats_of = |cell: &Cell| depth.repeats_of(cell, wanted);
    let pace = Pace::begin(&cells, repeats_of, given);
    for (number, cell) in cells.iter().enumerate() {
        let Cell { subject, workload, entries, threads } = cell;
        let (at, of) = (number + 1, cells.len());
        let seconds = pace.elapsed_s();
        eprintln!(
            "{seconds:4} s  {at} of {of}: {subject:?}, {workload}, {entries} entries, threads: {threads}"
        );
        let (requests, repeats) = (report.requests, repeats_of(cell));
        let effort = Effort { requests, repeats, until: pace.until(number) };
        let played = play_cell(*cell, &report.rows, trace, effort)?;
        for failure in &played.failures {
            eprintln!("        {failure}");
        }
        report.failures.extend(played.failures);
        let played_least = played.outcomes.iter().map(|outcome| outcome.samples.len()).min();
        report.cut_short += usize::from(played_least.is_some_and(|least| least < repeats));
        report.outcomes.extend(played.outcomes);
        report.cells_open = cells.len() - number - 1;
        if let Some(out) = &arguments.out {
            write(report, out)?;
        }
    }
    eprintln!("{:4} s  done", pace.elapsed_s());
    Ok(())
}

/// Weighs every row in a process of its own, by the program that counts allocations. What fails is left out.
fn footprints(rows: &[Row], failures: &mut Vec<String>) -> Result<Vec<(usize, Footprint)>> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--quiet", "--release", "--bin", "footprint"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .context("cargo, to build the program that weighs")?;
    ensure!(built.success(), "the program that weighs does not build");
    let program = env::current_exe()?.with_file_name("footprint");
    let mut footprints = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        eprintln!("weighing {}", row.name);
        match weigh(&program, row) {
            Ok(footprint) => footprints.push((number, footprint)),
            Err(error) => {
                eprintln!("        {error:#}");
                failures.push(format!("weighing {}: {error:#}", row.name));
            }
        }
    }
    Ok(footprints)
}

fn weigh(program: &Path, row: &Row) -> Result<Footprint> {
    let entries = FOOTPRINT_ENTRIES.min(row.entries_max).to_string();
    let output = Command::new(program).args([row.name, &entries]).output();
    let output = output.with_context(|| program.display().to_string())?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
    String::from_utf8(output.stdout).context("the weight is no text")?.parse()
}

fn write(report: &Report, out: &Path) -> Result<()> {
    let figures = report.figures();
    let text = report.text(&figures, FIGURES);
    let folder = out.parent().unwrap_or(Path::new(".")).join(FIGURES);
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    for (name, svg) in &figures {
        let path = folder.join(name);
        fs::write(&path, svg).with_context(|| path.display().to_string())?;
    }
    replace_section(out, SECTION, Some(&text))
}
