//! What shadows cost the cache that they watch: the same policy with four candidates in shadow and
//! without, under the same requests.
//!
//! Two caches are warmed up, then play the same stretches by turns, the order changing from round to
//! round; all ratios are medians of paired ones. Watching bounds its own processor time by lowering the
//! share of the keys, so rounds begin when that share has come to rest. The cache keeps its policy
//! whatever the selector says, or another policy's speed would be measured; what it asked for is counted.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use foldhash::fast::FixedState;
use ostler_adapt::Reason;
use ostler_adapt::live::{
    Action, Actuator, Adaptive, AdaptiveConfig, Live, LiveConfig, LiveStatus, Refusal,
};
use ostler_benches::live::{LiveCache, get_or_insert, zipf_keys};
use ostler_benches::{machine, median, replace_section};
use ostler_core::{Cache, InstanceSource};
use rustix::time::{ClockId, clock_gettime};

/// Measure what a cache loses by being watched.
#[derive(Parser)]
struct Args {
    /// A smoke test.
    #[arg(long)]
    quick: bool,
    /// Policies in shadow; the first is in charge of both caches.
    #[arg(long, num_args = 1.., default_values = ["s3fifo", "lru", "sieve", "wtinylfu"])]
    policy: Vec<String>,
    /// Entries of the caches.
    #[arg(long, num_args = 1.., default_values = ["100000", "1000000"])]
    entries: Vec<usize>,
    /// Threads that call.
    #[arg(long, num_args = 1.., default_values = ["1", "2"])]
    threads: Vec<usize>,
    /// Rounds.
    #[arg(long)]
    rounds: Option<usize>,
    /// Results file whose section `adaptive-tax` is replaced.
    #[arg(long)]
    results: Option<PathBuf>,
}

/// Keys that are asked for, for each entry of the cache, by Zipf's law with [`ALPHA`].
struct Load {
    name: &'static str,
    keys_per_entry: usize,
}

const LOADS: [Load; 2] = [
    Load { name: "≈ 90 % hits", keys_per_entry: 2 },
    Load { name: "many misses", keys_per_entry: 150 },
];

const ALPHA: f64 = 0.9;
/// Requests after which a load begins again, for each entry of the cache; a multiple of what it holds.
const REQUESTS_PER_ENTRY: usize = 10;
/// How long a stretch takes the cache that is not watched, about.
const STRETCH: Duration = Duration::from_secs(1);
/// After a stretch: time for what waits in the queue.
const PAUSE: Duration = Duration::from_millis(150);
/// Most keys of a generated workload. Where they do not suffice for the load, its hit ratio is higher.
const KEYS_MAX: usize = 1 << 24;

fn keys_of(entries: usize, load: &Load) -> usize {
    (entries * load.keys_per_entry).min(KEYS_MAX)
}

/// The share of the keys has come to rest once it stood for so long: a second that is not judged, since the
/// shadows begin anew, five that are, and one to be sure.
const REST: Duration = Duration::from_secs(8);
const REST_MAX: Duration = Duration::from_secs(60);
/// The name of the thread that plays the shadows, as the kernel keeps it.
const SHADOWS_THREAD: &str = "ostler-shadows";

/// What callers keep of their throughput at least, and what processor time grows to at most.
const BARS: [f64; 2] = [0.95, 1.10];

/// Says that the first candidate is in charge, and refuses every other.
struct Observer;

impl Actuator for Observer {
    fn swap(&mut self, _to: usize, _reason: Reason) -> Result<(), Refusal> {
        Err(Refusal { reason: "the policy stays while it is measured".to_owned(), is_final: false })
    }

    fn in_charge(&mut self) -> Option<usize> {
        Some(0)
    }
}

/// What one cache did in one round.
#[derive(Clone, Copy)]
struct Turn {
    wall_s: f64,
    /// Processor time of the callers, and whoever else works for the cache.
    callers_s: f64,
    /// Processor time of the shadows.
    shadows_s: f64,
    hits: u64,
}

/// What was measured under one load: a pair of turns each round, without shadows and with.
struct Outcome {
    stretch: usize,
    rounds: Vec<[Turn; 2]>,
    live: [LiveStatus; 2],
    /// Requests that the shadows played in the rounds.
    played: u64,
    refused: u64,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let rounds = args.rounds.unwrap_or(if args.quick { 3 } else { 9 });
    let policies =
        args.policy.iter().map(|name| Ok(ostler::policy(name)?)).collect::<Result<_>>()?;
    let mut text = preface(&args, rounds);
    for &entries in &args.entries {
        for load in &LOADS {
            let keys = zipf_keys(entries * REQUESTS_PER_ENTRY, keys_of(entries, load), (ALPHA, 1))?;
            for &threads in &args.threads {
                let mut bench = Bench::try_new(&policies, entries, (&keys, threads))?;
                let outcome = bench.measure(rounds)?;
                let row = row(load, (entries, threads), &outcome);
                eprintln!("{}", row.trim());
                text.push_str(&row);
            }
        }
    }
    println!("{text}");
    match &args.results {
        Some(path) => replace_section(path, "adaptive-tax", &text),
        None => Ok(()),
    }
}

/// Two caches, the second of them watched.
struct Bench<'a> {
    caches: [LiveCache; 2],
    adaptive: Adaptive,
    keys: &'a [u64],
    threads: usize,
    /// Requests played so far, and so the place in the keys, by cache.
    places: [usize; 2],
}

impl<'a> Bench<'a> {
    fn try_new(
        policies: &Vec<Arc<dyn InstanceSource>>,
        entries: usize,
        (keys, threads): (&'a [u64], usize),
    ) -> Result<Self> {
        let first = policies.first().context("a portfolio has a first policy")?;
        let cache = || -> Result<LiveCache> {
            let cache = Cache::builder(entries as u64).hasher(FixedState::default());
            Ok(cache.policy(Arc::clone(first)).build()?)
        };
        let caches = [cache()?, cache()?];
        let config = AdaptiveConfig::default();
        let live = Live::new(Arc::new(caches[1].clone()), LiveConfig::default());
        for cache in &caches {
            get_or_insert(cache, keys);
        }
        let adaptive =
            Adaptive::start_on(Arc::new(live), policies.clone(), Box::new(Observer), &config)?;
        Ok(Self { caches, adaptive, keys, threads, places: [0; 2] })
    }

    fn measure(&mut self, rounds: usize) -> Result<Outcome> {
        let probe = self.keys.len() / 2;
        let turn = self.turn(0, probe)?;
        let stretch = (probe as f64 * STRETCH.as_secs_f64() / turn.wall_s) as usize;
        self.come_to_rest(stretch)?;
        self.places = [self.places[0].max(self.places[1]); 2];
        let (live, played) = (self.live(), self.adaptive.status().requests);
        let mut pairs = Vec::new();
        for round in 0..rounds {
            let first = round % 2;
            let one = self.turn(first, stretch)?;
            let other = self.turn(1 - first, stretch)?;
            pairs.push(if first == 0 { [one, other] } else { [other, one] });
        }
        let status = self.adaptive.status();
        for candidate in &status.candidates {
            ensure!(candidate.out.is_none(), "{}: {:?}", candidate.policy, candidate.out);
        }
        let counts = self.adaptive.counts();
        let refused = counts.iter().find(|(action, _)| *action == Action::Refused);
        Ok(Outcome {
            stretch,
            rounds: pairs,
            live: [live, self.live()],
            played: status.requests - played,
            refused: refused.map_or(0, |&(_, count)| count),
        })
    }

    fn live(&self) -> LiveStatus {
        self.adaptive.live().status()
    }

    /// Keeps the watched cache busy until the share of its keys that is heard changes no more.
    fn come_to_rest(&mut self, stretch: usize) -> Result<()> {
        let start = Instant::now();
        let (mut share, mut since) = (self.live().share, start);
        while since.elapsed() < REST && start.elapsed() < REST_MAX {
            self.play(1, stretch / 10)?;
            let now = self.live().share;
            if now != share {
                eprintln!("{:.1} s: share {now}", start.elapsed().as_secs_f64());
                (share, since) = (now, Instant::now());
            }
        }
        Ok(())
    }

    /// Plays so many requests in all, each thread from a place of its own, and returns the hits.
    fn play(&mut self, side: usize, requests: usize) -> Result<u64> {
        let Self { caches, keys, threads, places, .. } = self;
        let (cache, keys, each) = (&caches[side], *keys, requests / *threads);
        let place = places[side];
        places[side] += each;
        let apart = keys.len() / *threads;
        thread::scope(|scope| {
            let callers: Vec<_> = (0..*threads)
                .map(|number| {
                    scope.spawn(move || walk(cache, keys, (place + number * apart, each)))
                })
                .collect();
            callers.into_iter().map(|caller| caller.join().ok().context("a caller died")).sum()
        })
    }

    fn turn(&mut self, side: usize, requests: usize) -> Result<Turn> {
        let (process_s, shadows_s) = (process_cpu_s(), shadows_cpu_s()?);
        let start = Instant::now();
        let hits = self.play(side, requests)?;
        let wall_s = start.elapsed().as_secs_f64();
        thread::sleep(PAUSE);
        let shadows_s = shadows_cpu_s()? - shadows_s;
        Ok(Turn { wall_s, callers_s: process_cpu_s() - process_s - shadows_s, shadows_s, hits })
    }
}

/// Plays so many requests from a place on, round and round, and returns the hits.
fn walk(cache: &LiveCache, keys: &[u64], (place, requests): (usize, usize)) -> u64 {
    let (mut hits, mut left, mut start) = (0, requests, place % keys.len());
    while left > 0 {
        let end = keys.len().min(start + left);
        hits += get_or_insert(cache, &keys[start..end]);
        left -= end - start;
        start = 0;
    }
    hits
}

/// Processor time of this process, seconds, the kernel's for it included.
fn process_cpu_s() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Processor time of the thread that plays the shadows, seconds, as Linux counts it.
fn shadows_cpu_s() -> Result<f64> {
    let mut ns = 0.0;
    for task in std::fs::read_dir("/proc/self/task").context("this needs Linux")? {
        let path = task?.path();
        let name = std::fs::read_to_string(path.join("comm")).unwrap_or_default();
        if name.trim() == SHADOWS_THREAD {
            let text = std::fs::read_to_string(path.join("schedstat"))?;
            ns += text.split_whitespace().next().unwrap_or_default().parse::<f64>()?;
        }
    }
    Ok(ns / 1e9)
}

fn preface(args: &Args, rounds: usize) -> String {
    let quick = if args.quick { " --quick" } else { "" };
    format!(
        "`u64` keys and values, get-or-insert by Zipf's law with {ALPHA}; {} in charge, and in shadow {}, all \
         Wasm, asked for at a sixteenth of the keys; {rounds} rounds of about a second each, medians with \
         quartiles, {}.\n\n```\ncargo run --release -p ostler-benches --bin adaptive-tax --{quick} \
         --results benches/RESULTS.md\n```\n\n\
         \"Keys\" is the share that is left when the bound on the shadows' time, a tenth of a core, has done \
         its work; \"played\" the share of all requests that the shadows played, \"shadows\" their share of \
         a core while callers call. \"Callers\" is the processor time of all but the shadows' thread.\n\n\
         | entries | load | threads | hits | with | keys | played | dropped | Mreq/s | throughput × | \
         CPU × | callers × | shadows | swaps wanted | |\n\
         |--:|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|",
        args.policy.first().map_or("", String::as_str),
        args.policy.join(", "),
        machine()
    )
}

fn row(load: &Load, (entries, threads): (usize, usize), outcome: &Outcome) -> String {
    let Outcome { stretch, rounds, live, played, refused } = outcome;
    let column = |of: fn(&[Turn; 2]) -> f64| rounds.iter().map(of).collect::<Vec<_>>();
    let total = |turn: &Turn| turn.callers_s + turn.shadows_s;
    let throughput = column(|[without, with]| without.wall_s / with.wall_s);
    let cpu: Vec<f64> =
        rounds.iter().map(|[without, with]| total(with) / without.callers_s).collect();
    let callers = column(|[without, with]| with.callers_s / without.callers_s);
    let shadows = median(&column(|[_, with]| with.shadows_s / with.wall_s));
    let requests = (stretch * rounds.len()) as f64;
    let hits = |side: usize| {
        rounds.iter().map(|pair| pair[side].hits as f64).sum::<f64>() / requests * 100.0
    };
    let is_spare = thread::available_parallelism().is_ok_and(|cores| cores.get() > threads);
    let kept = (!is_spare || median(&throughput) >= BARS[0]) && median(&cpu) <= BARS[1];
    let [heard, dropped] =
        [live[1].records - live[0].records, live[1].dropped - live[0].dropped].map(|n| n as f64);
    format!(
        "\n| {entries} | {} | {threads} | {:.2} % | {:.2} % | 1/{:.0} | {:.2} % | {:.1} % | {:.1} | {} | {} | {} \
         | {:.1} % | {refused} | {} |",
        load.name,
        hits(0),
        hits(1),
        1.0 / live[1].share,
        *played as f64 / requests * 100.0,
        dropped / (heard + dropped).max(1.0) * 100.0,
        *stretch as f64 / 1e6 / median(&column(|[without, _]| without.wall_s)),
        with_quartiles(&throughput),
        with_quartiles(&cpu),
        with_quartiles(&callers),
        shadows * 100.0,
        if kept { "kept" } else { "missed" }
    )
}

/// The median and, in brackets, the quartiles.
fn with_quartiles(values: &[f64]) -> String {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |quarter: usize| sorted[(sorted.len() - 1) * quarter / 4];
    format!("{:.3} ({:.3}–{:.3})", at(2), at(1), at(3))
}
