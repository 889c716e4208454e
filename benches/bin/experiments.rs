//! Can the interval of a live experiment be trusted, and does it find what there is to find?
//!
//! Simulates experiments with known truth and looks at them after every window: shards of a model with
//! lasting differences, shocks and skewed traffic, and shards of the core under real policies, where
//! the truth is the same requests under either policy alone. Writes a table; exits 1 where the truth was inside
//! at all looks in fewer than 93 % of a row's experiments, or a judged effect was found in fewer than 80 %.
//!
//! Seeds: experiment number i of a row of the model draws with i and deals with i. Of the rows with
//! real policies, each seed of the workload serves several deals, with 20 times that seed and on.

#[path = "experiments/replayed.rs"]
mod replayed;
#[path = "experiments/score.rs"]
mod score;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use anyhow::Result;
use clap::Parser;
use ostler_adapt::experiment::simulation::{Look, Model};
use ostler_adapt::experiment::{Arm, Deal, ExperimentConfig};
use ostler_benches::replace_section;

use replayed::{DEALS_A_WORKLOAD, Replayed};
use score::{Row, Score};

/// Simulate live experiments and count how often the interval is right.
#[derive(Parser)]
struct Args {
    /// Experiments a row.
    #[arg(long, default_value_t = 1000)]
    experiments: u64,
    /// Only rows whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// Results file whose section `experiments` is replaced.
    #[arg(long)]
    results: Option<PathBuf>,
}

/// Where a row's experiments come from.
enum Origin {
    Model(Model),
    Replayed(Replayed),
}

/// One row of the table.
struct Scenario {
    name: &'static str,
    shards: u32,
    /// The control's share of the shards.
    control_share: f64,
    covariates_max: usize,
    origin: Origin,
    /// Whether the effect must be found in four of five.
    is_power_judged: bool,
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let mut rows = Vec::new();
    for scenario in scenarios().into_iter().filter(|one| one.name.contains(&args.only)) {
        let row = play(&scenario, args.experiments)?;
        eprintln!("{}", score::line(&row));
        rows.push(row);
    }
    let text = score::render(&rows, args.experiments);
    println!("{text}");
    if let Some(path) = &args.results {
        replace_section(path, "experiments", &text)?;
    }
    let failed = rows.iter().any(|row| !score::passes(row));
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// A row with the usual 64 shards in equal shares and both covariates.
fn scenario(name: &'static str, origin: Origin) -> Scenario {
    let (shards, control_share, covariates_max) = (64, 0.5, 2);
    Scenario { name, shards, control_share, covariates_max, origin, is_power_judged: false }
}

fn scenarios() -> Vec<Scenario> {
    let mut all = modelled();
    all.extend(replayed());
    all
}

fn modelled() -> Vec<Scenario> {
    let equal = Model::default();
    let found = Model { effect: 0.01, effect_spread: 0.005, ..Model::default() };
    let row = |name, model: &Model| scenario(name, Origin::Model(model.clone()));
    let uneven = Model { traffic_skew: 1.0, ..found.clone() };
    let noisy = Model { shadow_noise: 5.0, ..found.clone() };
    let turning = Model { turns: true, ..found.clone() };
    let large = Model { effect: 0.05, effect_spread: 0.03, ..Model::default() };
    vec![
        row("model: A/A", &equal),
        Scenario { is_power_judged: true, ..row("model: 1 pp", &found) },
        row("model: 1 pp, traffic Zipf 1", &uneven),
        row("model: 1 pp, all else turns half-way", &turning),
        row("model: 5 pp ± 3 pp", &large),
        row("model: 1 pp, shadow is noise", &noisy),
        Scenario { covariates_max: 1, ..row("model: 1 pp, shadow's ratio only", &found) },
        Scenario { covariates_max: 0, ..row("model: 1 pp, not adjusted", &found) },
        Scenario { control_share: 0.875, ..row("model: 1 pp, 56 : 8 shards", &found) },
        Scenario { shards: 16, ..row("model: 1 pp, 8 : 8 shards", &found) },
        Scenario { shards: 256, ..row("model: 1 pp, 128 : 128 shards", &found) },
    ]
}

fn replayed() -> Vec<Scenario> {
    let zipf = |arm: &'static str| Replayed {
        control: "native:lru",
        arm,
        workload: "zipf(n=2000000,alpha=0.9,keys=640000,seed=SEED)",
        capacity: 64_000,
        sample_rate: 1.0 / 16.0,
    };
    let shift = Replayed {
        workload: "shift(zipf(n=1000000,alpha=0.9,keys=640000,seed=SEED),\
                   zipf(n=1000000,alpha=0.7,keys=320000,start=10000000,seed=SEED))",
        ..zipf("native:slru(segments=2)")
    };
    let row = |name, replayed| scenario(name, Origin::Replayed(replayed));
    vec![
        row("replay: lru, lru", zipf("native:lru")),
        row("replay: lru, slru(segments=2)", zipf("native:slru(segments=2)")),
        Scenario { is_power_judged: true, ..row("replay: lru, clock", zipf("native:clock")) },
        row("replay: lru, fifo", zipf("native:fifo")),
        row("replay: lru, slru(segments=2), shift", shift),
    ]
}

/// Deals the scenario's shards with a seed.
fn deal(scenario: &Scenario, seed: u64) -> Result<Deal> {
    let shares = [scenario.control_share, 1.0 - scenario.control_share];
    let arm = |(index, share): (usize, f64)| Arm {
        name: format!("arm{index}"),
        code_id: format!("code{index}"),
        params: "{}".to_owned(),
        share,
    };
    let arms = shares.into_iter().enumerate().map(arm).collect();
    Ok(Deal::try_new(scenario.shards, arms, seed)?)
}

/// All experiments of a row, on all cores.
fn play(scenario: &Scenario, experiments: u64) -> Result<Row> {
    let config =
        ExperimentConfig { covariates_max: scenario.covariates_max, ..ExperimentConfig::default() };
    let batch = match scenario.origin {
        Origin::Model(_) => 1,
        Origin::Replayed(_) => DEALS_A_WORKLOAD,
    };
    let (next, score) = (AtomicU64::new(0), Mutex::new(Ok(Score::default())));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, std::num::NonZero::get) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Relaxed);
                    if seed * batch >= experiments {
                        return;
                    }
                    let looks = looks(scenario, &config, seed);
                    let mut score = score.lock().expect("nothing panics while it adds a result");
                    match (looks, score.as_mut()) {
                        (Ok(looks), Ok(score)) => looks.iter().for_each(|looks| score.add(looks)),
                        (Err(error), Ok(_)) => *score = Err(error),
                        (_, Err(_)) => return,
                    }
                }
            });
        }
    });
    let score = score.into_inner().expect("nothing panics while it adds a result")?;
    Ok(Row { name: scenario.name, is_power_judged: scenario.is_power_judged, score })
}

/// The looks of every experiment that one seed stands for.
fn looks(scenario: &Scenario, config: &ExperimentConfig, seed: u64) -> Result<Vec<Vec<Look>>> {
    match &scenario.origin {
        Origin::Model(model) => Ok(vec![model.run(&deal(scenario, seed)?, config, seed)?]),
        Origin::Replayed(replayed) => {
            let deals =
                (0..DEALS_A_WORKLOAD).map(|one| deal(scenario, seed * DEALS_A_WORKLOAD + one));
            replayed.run(&deals.collect::<Result<Vec<_>>>()?, config, seed)
        }
    }
}
