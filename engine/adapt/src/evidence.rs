//! What the candidates did on the same requests, and what that says about their difference.
//!
//! Requests to one key stand or fall together, so they are not counted as independent: keys are
//! dealt to 32 groups by their hash, and the spread of the difference between the groups is its
//! error (a sample of clusters: Cochran, "Sampling Techniques", ch. 9; the paired count of McNemar,
//! Psychometrika 1947, is kept as the least error). An attacker who hammers a few
//! keys moves a few groups, which raises the error faster than the difference.

use serde::Serialize;

/// Most candidates of one cache, the policy in charge included.
pub const CANDIDATES_MAX: usize = 8;

/// Groups of keys.
pub(crate) const GROUPS: usize = 32;

/// Outcomes of one request: bit `i` is set where candidate `i` hit; bit [`LIVE`] is the cache itself.
pub(crate) type Outcomes = u16;

/// The place of the cache itself among the outcomes.
pub(crate) const LIVE: usize = CANDIDATES_MAX;

const PLACES: usize = CANDIDATES_MAX + 1;

/// Sums over a stretch of requests, weighted by what a hit is worth.
#[derive(Clone, Debug)]
pub struct Evidence {
    worth: [f64; GROUPS],
    hits: [[f64; PLACES]; GROUPS],
    /// Squared worths of the requests that the row's candidate hit and the column's missed.
    only: [[f64; PLACES]; PLACES],
    /// What the candidates' own running cost, as far as it is told, in units of worth.
    spent: [f64; PLACES],
    requests: f64,
}

impl Default for Evidence {
    fn default() -> Self {
        Self {
            worth: [0.0; GROUPS],
            hits: [[0.0; PLACES]; GROUPS],
            only: [[0.0; PLACES]; PLACES],
            spent: [0.0; PLACES],
            requests: 0.0,
        }
    }
}

/// How one candidate compares with another on the same requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Pairing {
    /// What the candidate's hits are worth more than the other's, as a share of what the other
    /// missed.
    pub gain: f64,
    /// The difference in standard errors.
    pub z: f64,
    /// Median of the groups' gains.
    pub median_gain: f64,
    /// What the other one missed.
    pub missed: f64,
    /// The difference itself, in units of worth.
    pub difference: f64,
}

impl Evidence {
    /// Counts one request of a key of `hash` that is worth `worth`.
    #[inline]
    pub(crate) fn count(&mut self, hash: u64, outcomes: Outcomes, worth: u32) {
        let group = (hash >> 59) as usize;
        let worth = f64::from(worth);
        self.requests += 1.0;
        self.worth[group] += worth;
        let hits = &mut self.hits[group];
        for (place, sum) in hits.iter_mut().enumerate() {
            *sum += worth * f64::from(outcomes >> place & 1);
        }
        let all: Outcomes = (1 << PLACES) - 1;
        if outcomes != 0 && outcomes != all {
            self.count_discordant(outcomes, worth * worth);
        }
    }

    fn count_discordant(&mut self, outcomes: Outcomes, square: f64) {
        for (place, row) in self.only.iter_mut().enumerate() {
            if outcomes >> place & 1 == 0 {
                continue;
            }
            for (other, sum) in row.iter_mut().enumerate() {
                *sum += square * f64::from(!outcomes >> other & 1);
            }
        }
    }

    /// Multiplies what was counted so far by `keep`.
    pub(crate) fn decay(&mut self, keep: f64) {
        self.requests *= keep;
        self.worth.iter_mut().for_each(|sum| *sum *= keep);
        self.hits.iter_mut().flatten().for_each(|sum| *sum *= keep);
        self.only.iter_mut().flatten().for_each(|sum| *sum *= keep);
        self.spent.iter_mut().for_each(|sum| *sum *= keep);
    }

    /// Charges the cache itself for the time that the policy in charge took, as its shadow did.
    pub(crate) fn charge_live(&mut self, place: usize) {
        self.spent[LIVE] += self.spent.get(place).copied().unwrap_or(0.0);
    }

    /// Charges a candidate for the time it took, in units of worth.
    pub fn charge(&mut self, place: usize, worth: f64) {
        if let Some(spent) = self.spent.get_mut(place) {
            *spent += worth;
        }
    }

    /// Adds what another stretch counted.
    pub fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        for (sum, more) in self.worth.iter_mut().zip(&other.worth) {
            *sum += more;
        }
        for (sum, more) in self.spent.iter_mut().zip(&other.spent) {
            *sum += more;
        }
        for (sum, more) in self.hits.iter_mut().flatten().zip(other.hits.iter().flatten()) {
            *sum += more;
        }
        for (sum, more) in self.only.iter_mut().flatten().zip(other.only.iter().flatten()) {
            *sum += more;
        }
    }

    /// Requests counted, decayed.
    #[must_use]
    pub fn requests(&self) -> f64 {
        self.requests
    }

    /// Mean worth of a request, 1 where nothing was counted.
    #[must_use]
    pub fn worth_mean(&self) -> f64 {
        let worth: f64 = self.worth.iter().sum();
        if self.requests > 0.0 { worth / self.requests } else { 1.0 }
    }

    /// Share of the worth that a candidate hit, 0 where nothing was counted.
    pub(crate) fn hit_ratio(&self, place: usize) -> f64 {
        let worth: f64 = self.worth.iter().sum();
        let hits: f64 = self.hits.iter().map(|group| group[place]).sum();
        if worth > 0.0 { hits / worth } else { 0.0 }
    }

    /// Compares `candidate` with `other`.
    #[must_use]
    pub fn pairing(&self, candidate: usize, other: usize) -> Pairing {
        self.pairing_against(candidate, other, 0.0)
    }

    /// Compares `candidate` with `other`, of which `expected` of every unit of worth is taken for
    /// granted: what is shown is how far the difference is from that.
    pub(crate) fn pairing_against(&self, candidate: usize, other: usize, expected: f64) -> Pairing {
        let worth: f64 = self.worth.iter().sum();
        if worth <= 0.0 {
            return Pairing::default();
        }
        // Time that was charged is the same for every unit of worth.
        let offset = (self.spent[candidate] - self.spent[other]) / worth + expected;
        let gained = |group: usize| {
            let hits = &self.hits[group];
            hits[candidate] - hits[other] - offset * self.worth[group]
        };
        let lost = |group: usize| self.worth[group] - self.hits[group][other];
        let difference: f64 = (0..GROUPS).map(gained).sum();
        let missed: f64 = (0..GROUPS).map(lost).sum();
        // Not a share of the group's worth: a key that makes up most of a group's requests would take
        // its own difference for granted.
        let mean = difference / GROUPS as f64;
        let rest = |group: usize| gained(group) - mean;
        let squares: f64 = (0..GROUPS).map(|group| rest(group) * rest(group)).sum();
        let between = squares * GROUPS as f64 / (GROUPS - 1) as f64;
        let paired = self.only[candidate][other] + self.only[other][candidate];
        let error = between.max(paired).sqrt();
        let share = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 0.0 };
        let mut gains: [f64; GROUPS] =
            std::array::from_fn(|group| share(gained(group), lost(group)));
        gains.sort_unstable_by(f64::total_cmp);
        Pairing {
            gain: share(difference, missed),
            z: share(difference, error),
            median_gain: gains[GROUPS / 2 - 1].midpoint(gains[GROUPS / 2]),
            missed,
            difference,
        }
    }
}

#[cfg(test)]
mod tests;
