//! An experiment on a running cache: what its shards count and its sampled keys tell becomes windows.
//!
//! Owns the control's shadow of every shard and the sums of the window that runs. It deals no seats:
//! [`Conductor`] does. It must not know a thread, a clock or where records come from.
//!
//! # What is counted where
//!
//! For the object objective the whole shard is counted by the cache itself, exactly. A cache does not
//! sum weights or costs of requests, so for the byte and the cost objective what a shard's requests are
//! worth is what those to its sampled keys are worth, divided by the share: such an experiment sees only
//! the sample, and its second covariate, the sample's distance from the shard, is 0. A get that finds
//! nothing has the weight of the put that answers it; one that nobody answers that under which the shadow
//! holds its key, or else as much as others lately.
//!
//! A hit's record can arrive after the window in which the cache counted it. Where a shard's sample is
//! ahead of its counts, the shard waits: its next window covers both.

mod conductor;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use ostler_abi::Record;
use ostler_core::{Access, InstanceSource, Resident, SampleShare, Stats};

use super::{Experiment, SampleWindow, ShardWindow, Verdict};
use crate::Objective;
use crate::live::{Reader, Requests};
use crate::sample::scaled;
use crate::shadow::{Sampled, Shadow};
use crate::worth::WorthMean;

pub use conductor::{Actuator, Conductor, ConductorError, State};

/// A running experiment: its statistics, and what it hears of each shard.
pub struct LiveExperiment {
    experiment: Experiment,
    control: Arc<dyn InstanceSource>,
    share: SampleShare,
    sides: Vec<Side>,
}

/// One shard.
struct Side {
    reader: Reader,
    heard: Heard,
    /// Hits and misses of the cache up to the last window that was reported.
    seen: [u64; 2],
    /// False where the sample was not heard for the whole window.
    is_whole: bool,
}

/// What the requests to sampled keys of a shard are played to.
struct Heard {
    objective: Objective,
    shadow: Shadow,
    sampled: Tally,
    usual: WorthMean,
}

/// What the gets to sampled keys were worth since the last window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    worth: u64,
    hit_worth: u64,
    shadow_hit_worth: u64,
}

impl LiveExperiment {
    /// An experiment that begins now, with empty shadows of `control` for `share` of the keys. `stats`
    /// are those of each shard, in order; shards that are missing there are counted from 0.
    #[must_use]
    pub fn new(
        experiment: Experiment,
        control: Arc<dyn InstanceSource>,
        share: SampleShare,
        stats: &[Stats],
    ) -> Self {
        let shards = experiment.deal().shards() as usize;
        let mut live = Self { experiment, control, share, sides: Vec::new() };
        live.sides = (0..shards).map(|shard| live.side(&stats_of(stats, shard))).collect();
        live
    }

    /// A shard of which nothing was heard yet.
    fn side(&self, stats: &Stats) -> Side {
        let seed = self.experiment.deal().seed();
        let capacity = scaled(stats.capacity, self.share.ratio());
        Side {
            reader: Reader::new(),
            heard: Heard {
                objective: self.experiment.config().objective,
                shadow: Shadow::new(Arc::clone(&self.control), capacity, seed),
                sampled: Tally::default(),
                usual: WorthMean::default(),
            },
            seen: [stats.hits, stats.misses],
            is_whole: true,
        }
    }

    /// What was dealt and what has been seen.
    #[must_use]
    pub fn experiment(&self) -> &Experiment {
        &self.experiment
    }

    /// The share of the keys that the shadows hear of.
    #[must_use]
    pub fn share(&self) -> SampleShare {
        self.share
    }

    /// Introduces residents to a shard's shadow, coldest first; those of other keys are left out.
    pub fn introduce(&mut self, shard: u32, residents: &[Resident]) {
        let share = self.share;
        let Some(side) = self.sides.get_mut(shard as usize) else { return };
        for resident in residents.iter().filter(|resident| share.includes(resident.key_hash)) {
            let Resident { key_hash, weight, cost_us, class, .. } = *resident;
            let at = |time_ms| Access { time_ms, cost_us, class };
            let put = Sampled { hash: key_hash, weight, access: at(resident.born_ms) };
            side.heard.shadow.put(&put);
            if resident.hits > 0 {
                side.heard.shadow.get(&Sampled { access: at(resident.accessed_ms), ..put });
            }
        }
    }

    /// Counts from now on, with empty shadows for `share` of the keys: what the shards did while the seats
    /// were dealt belongs to no arm. A share of at most a half keeps samples well below their counts.
    pub fn begin(&mut self, share: SampleShare, stats: &[Stats]) {
        self.share = share;
        self.sides =
            (0..self.sides.len()).map(|shard| self.side(&stats_of(stats, shard))).collect();
    }

    /// Begins anew with a smaller share: new shadows, empty. What was heard of the window that runs does
    /// not count; what the shards count does.
    pub fn reduce(&mut self, share: SampleShare, stats: &[Stats]) {
        self.share = share;
        for shard in 0..self.sides.len() {
            let seen = self.sides[shard].seen;
            let side = self.side(&stats_of(stats, shard));
            self.sides[shard] = Side { seen, is_whole: false, ..side };
        }
    }

    /// Takes records of one shard, in the order of [`Tap`](ostler_core::Tap). Cost: a shadow's request
    /// for each get to a key in the share.
    pub fn take(&mut self, shard: u32, records: &[Record]) {
        let share = self.share;
        if let Some(Side { reader, heard, .. }) = self.sides.get_mut(shard as usize) {
            reader.read(records, share, heard);
        }
    }

    /// Ends the window: counts what each shard did since the last one, and returns what the rule says.
    /// A window without requests is none.
    pub fn close(&mut self, stats: &[Stats]) -> Verdict {
        let share = self.share;
        let sides = (0..).zip(self.sides.iter_mut().zip(stats));
        let window: Vec<ShardWindow> = sides
            .filter_map(|(shard, (side, stats))| {
                side.follow(scaled(stats.capacity, share.ratio()));
                side.close(shard, stats, share)
            })
            .collect();
        if window.iter().all(|one| one.requests == 0) {
            return Verdict::Continue;
        }
        // Each shard is there once, and none is ahead of itself.
        let counted = self.experiment.observe(&window);
        debug_assert!(counted.is_ok(), "{counted:?}");
        self.experiment.verdict()
    }
}

fn stats_of(stats: &[Stats], shard: usize) -> Stats {
    stats.get(shard).copied().unwrap_or_default()
}

impl Side {
    /// Keeps the shadow's capacity with the shard's.
    fn follow(&mut self, capacity: u64) {
        if self.heard.shadow.capacity() != capacity {
            self.heard.shadow.set_capacity(capacity);
        }
    }

    /// The shard's window; none where it waits.
    fn close(&mut self, shard: u32, stats: &Stats, share: SampleShare) -> Option<ShardWindow> {
        let [hits, misses] = [(stats.hits, self.seen[0]), (stats.misses, self.seen[1])]
            .map(|(now, before)| now.saturating_sub(before));
        let sampled = self.heard.sampled;
        let rate = share.ratio();
        let is_heard = self.is_whole && rate > 0.0;
        let requests = hits.saturating_add(misses);
        let sample = is_heard.then_some(SampleWindow {
            rate,
            worth: sampled.worth,
            hit_worth: sampled.hit_worth,
            shadow_hit_worth: sampled.shadow_hit_worth,
        });
        let window = match self.heard.objective {
            Objective::Object => {
                ShardWindow { shard, requests, worth: requests, hit_worth: hits, sample }
            }
            Objective::Byte | Objective::Cost => {
                let whole = |part: u64| if is_heard { (part as f64 / rate) as u64 } else { 0 };
                let (worth, hit_worth) = (whole(sampled.worth), whole(sampled.hit_worth));
                ShardWindow { shard, requests, worth, hit_worth, sample }
            }
        };
        if window.check().is_err() {
            return None;
        }
        self.seen = [stats.hits, stats.misses];
        self.heard.sampled = Tally::default();
        self.is_whole = true;
        Some(window)
    }
}

impl Heard {
    fn count(&mut self, worth: u32, live: bool, shadow: bool) {
        let worth = u64::from(worth);
        let Tally { worth: all, hit_worth, shadow_hit_worth } = &mut self.sampled;
        for (sum, counts) in [(all, true), (hit_worth, live), (shadow_hit_worth, shadow)] {
            *sum = sum.saturating_add(if counts { worth } else { 0 });
        }
    }
}

impl Requests for Heard {
    fn request(&mut self, request: &Sampled, live: bool) {
        let shadow = self.shadow.set(request);
        let worth = self.objective.worth(request.weight, request.access.cost_us);
        self.usual.hear(worth);
        self.count(worth, live, shadow);
    }

    fn get(&mut self, request: &Sampled) {
        let held = || self.shadow.weight_of(request.hash);
        let worth = self.usual.of_unanswered(self.objective, request, held);
        let shadow = self.shadow.get(request);
        self.count(worth, false, shadow);
    }

    fn put(&mut self, request: &Sampled) {
        self.shadow.put(request);
    }

    fn remove(&mut self, request: &Sampled) {
        self.shadow.remove(request);
    }
}
