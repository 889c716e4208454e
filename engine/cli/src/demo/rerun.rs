//! The same requests once more: every key that the client asked for, replayed exactly, under the selector
//! and under each policy of its portfolio alone.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use ostler::Host;
use ostler_core::Batch;
use ostler_replay::{
    Contender, Difference, Measure, Outcome, Paired, PairedOutcome, PairedSetup, Request, Run,
    RunConfig, RunOutcome, Swap, WeightMode,
};

use crate::adaptive::Adaptive;
use crate::usage;

/// Requests that are played between two looks at what is played next.
const BLOCK_REQUESTS: usize = 1 << 16;

/// What the demonstration compares.
pub(super) struct Contest {
    portfolio: Vec<String>,
    adaptive: Adaptive,
    policies: Vec<Arc<ostler::Policy>>,
    entries: u64,
}

/// What a policy, or the selector, would have done.
pub(super) struct Track {
    pub(super) label: String,
    /// Whether each request hit.
    pub(super) hits: Vec<bool>,
    /// Against the selector on the same requests, none for itself.
    pub(super) difference: Option<Gap>,
    /// Changes of the policy.
    pub(super) swaps: Vec<Swap>,
}

/// The index of a request, that of the end beyond it.
fn place<T>(requests: &[T], at: u64) -> usize {
    usize::try_from(at).map_or(requests.len(), |at| at.min(requests.len()))
}

/// What a policy misses more than the selector, as a share of all requests, with the ends of its 95 %
/// interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Gap {
    pub(super) estimate: f64,
    pub(super) low: f64,
    pub(super) high: f64,
}

impl Gap {
    /// One of several phases, each given with its share of the requests. The phases are what they are, and
    /// only what happens within each is a matter of chance. But one run goes through all of them, and what
    /// chance did to its state in one is felt in the next: the errors add up as if they went together,
    /// which is the most that they can come to.
    fn over(phases: &[(f64, Self)]) -> Self {
        let estimate = phases.iter().map(|(share, it)| share * it.estimate).sum();
        let error = |end: fn(&Self) -> f64| {
            phases.iter().map(|(share, it)| share * (end(it) - it.estimate).abs()).sum::<f64>()
        };
        Self {
            estimate,
            low: (estimate - error(|it| it.low)).max(-1.0),
            high: (estimate + error(|it| it.high)).min(1.0),
        }
    }
}

/// Share of the requests in `range` that hit; 0 where it is empty.
pub(super) fn hit_ratio(hits: &[bool], range: &Range<u64>) -> f64 {
    let start = place(hits, range.start);
    let hits = &hits[start..place(hits, range.end).max(start)];
    if hits.is_empty() {
        return 0.0;
    }
    hits.iter().filter(|&&hit| hit).count() as f64 / hits.len() as f64
}

/// A contender whose outcomes are kept, one by one.
struct Noted {
    contender: Box<dyn Contender>,
    hits: Arc<Mutex<Vec<bool>>>,
}

impl Contender for Noted {
    fn play(&mut self, block: &[Request], outcomes: &mut Vec<Outcome>) {
        let before = outcomes.len();
        self.contender.play(block, outcomes);
        let mut hits = self.hits.lock().unwrap_or_else(PoisonError::into_inner);
        hits.extend(outcomes[before..].iter().map(|outcome| !outcome.is_miss()));
    }

    fn finish(self: Box<Self>) -> RunOutcome {
        self.contender.finish()
    }
}

/// A contender that answers as one did before.
struct Told<'a> {
    hits: std::slice::Iter<'a, bool>,
}

impl Contender for Told<'_> {
    fn play(&mut self, block: &[Request], outcomes: &mut Vec<Outcome>) {
        let hits = self.hits.by_ref().take(block.len());
        outcomes.extend(hits.map(|&hit| if hit { Outcome::Hit } else { Outcome::Miss }));
    }

    fn finish(self: Box<Self>) -> RunOutcome {
        RunOutcome::default()
    }
}

impl Contest {
    /// Loads all policies of the `portfolio`, the first being in charge at the start.
    pub(super) fn open(portfolio: &[String], entries: u64) -> Result<Self> {
        let host = Host::for_replay();
        let text = format!("adaptive(portfolio={})", portfolio.join("+"));
        let adaptive = match Adaptive::parse(&host, &text) {
            Some(adaptive) => adaptive?,
            None => return Err(usage(format!("{text} cannot be read"))),
        };
        let open = |name: &String| {
            let policy = host.open(&name.parse().map_err(usage)?).map_err(usage)?;
            Ok(Arc::new(policy))
        };
        let policies = portfolio.iter().map(open).collect::<Result<_>>()?;
        let contest = Self { portfolio: portfolio.to_vec(), adaptive, policies, entries };
        // A portfolio that cannot be compared is found before anything starts.
        contest.adaptive.run(contest.config(), entries)?;
        Ok(contest)
    }

    fn config(&self) -> RunConfig {
        RunConfig {
            capacity: self.entries,
            weights: WeightMode::Objects,
            shards: 1,
            seed: 0,
            batch: Batch::Exact,
        }
    }

    /// Plays `keys` under the selector and each policy; the selector comes first. `phases` cover them.
    pub(super) fn play(&self, keys: &[u64], phases: &[Range<u64>]) -> Result<Vec<Track>> {
        let config = self.config();
        let mut contenders: Vec<Box<dyn Contender>> =
            vec![Box::new(self.adaptive.run(config, self.entries)?)];
        for policy in &self.policies {
            contenders.push(Box::new(Run::new(&**policy, config)));
        }
        let heard: Vec<_> = contenders
            .iter()
            .map(|_| Arc::new(Mutex::new(Vec::with_capacity(keys.len()))))
            .collect();
        let noted = contenders.into_iter().zip(&heard).map(|(contender, hits)| {
            Box::new(Noted { contender, hits: Arc::clone(hits) }) as Box<dyn Contender>
        });
        let runs = self.paired(keys, noted.collect());
        let labels = ["adaptive"].into_iter().chain(self.portfolio.iter().map(String::as_str));
        let mut tracks: Vec<Track> = labels
            .zip(heard)
            .zip(runs.runs())
            .map(|((label, hits), run)| Track {
                label: label.to_owned(),
                hits: std::mem::take(&mut hits.lock().unwrap_or_else(PoisonError::into_inner)),
                difference: None,
                swaps: run.swaps.clone(),
            })
            .collect();
        let by_phase = self.by_phase(keys, &tracks, phases);
        for (place, track) in tracks.iter_mut().enumerate().skip(1) {
            let of_phase = |(share, outcome): &(f64, PairedOutcome)| {
                let Difference { estimate, low, high, .. } =
                    outcome.difference(place, Measure::Requests);
                (*share, Gap { estimate, low, high })
            };
            track.difference = Some(Gap::over(&by_phase.iter().map(of_phase).collect::<Vec<_>>()));
        }
        Ok(tracks)
    }

    fn paired(&self, keys: &[u64], contenders: Vec<Box<dyn Contender + '_>>) -> PairedOutcome {
        let setup = PairedSetup { capacity: self.entries, weights: WeightMode::Objects };
        let mut paired = Paired::new(setup, contenders);
        let (mut block, mut played) = (Vec::new(), 0);
        for part in keys.chunks(BLOCK_REQUESTS) {
            block.clear();
            block.extend(part.iter().zip(played..).map(|(&key, at)| Request::get(at, key, 1)));
            paired.play(&block);
            played += part.len() as u64;
        }
        paired.finish()
    }

    /// What was found in each phase, and the phase's share of all requests.
    fn by_phase(
        &self,
        keys: &[u64],
        tracks: &[Track],
        phases: &[Range<u64>],
    ) -> Vec<(f64, PairedOutcome)> {
        let places = phases.iter().map(|phase| place(keys, phase.start)..place(keys, phase.end));
        places
            .filter(|phase| !phase.is_empty())
            .map(|phase| {
                let told = tracks.iter().map(|track| {
                    let hits = track.hits[phase.clone()].iter();
                    Box::new(Told { hits }) as Box<dyn Contender + '_>
                });
                let outcome = self.paired(&keys[phase.clone()], told.collect());
                (phase.len() as f64 / keys.len() as f64, outcome)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_of_their_range() {
        let hits = [true, false, true, true];
        for (range, expected) in [(0..4, 0.75), (1..2, 0.0), (2..9, 1.0), (7..9, 0.0), (2..2, 0.0)]
        {
            assert_eq!(hit_ratio(&hits, &range), expected, "{range:?}");
        }
    }

    #[test]
    fn errors_of_phases_add_up_as_if_they_went_together() {
        let one = Gap { estimate: 0.1, low: 0.06, high: 0.2 };
        let other = Gap { estimate: -0.1, low: -0.12, high: -0.09 };
        let Gap { estimate, low, high } = Gap::over(&[(0.25, one), (0.75, other)]);
        assert!((estimate + 0.05).abs() < 1e-12);
        assert!((low - (-0.05 - 0.01 - 0.015)).abs() < 1e-12, "{low}");
        assert!((high - (-0.05 + 0.025 + 0.0075)).abs() < 1e-12, "{high}");
    }

    #[test]
    fn everything_is_played_by_everyone() {
        let portfolio = ["native:lru", "native:sieve"].map(str::to_owned);
        let contest = Contest::open(&portfolio, 100).unwrap();
        let keys: Vec<u64> = (0..70_000).map(|at| at % 150).collect();
        let tracks = contest.play(&keys, &[0..35_000, 35_000..70_000]).unwrap();
        let labels: Vec<&str> = tracks.iter().map(|track| track.label.as_str()).collect();
        assert_eq!(labels, ["adaptive", "native:lru", "native:sieve"]);
        assert!(tracks.iter().all(|track| track.hits.len() == keys.len()));
        assert_eq!(hit_ratio(&tracks[1].hits, &(0..70_000)), 0.0, "a loop that does not fit");
        assert!(tracks[0].difference.is_none());
        for track in &tracks[1..] {
            let Gap { estimate, low, high } = track.difference.unwrap();
            let ratios = [&tracks[0], track].map(|track| hit_ratio(&track.hits, &(0..70_000)));
            assert!((estimate - (ratios[0] - ratios[1])).abs() < 1e-9);
            assert!(low <= estimate && estimate <= high);
        }
        assert!(Contest::open(&portfolio[..1], 100).is_err());
        assert!(Contest::open(&["sieva".to_owned(), "lru".to_owned()], 100).is_err());
    }
}
