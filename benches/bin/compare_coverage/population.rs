//! Workloads of which every seed makes another trace.

use ostler_abi::hash_u64;
use ostler_replay::Request;

/// A workload to draw traces from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Population {
    /// Zipf 0.9: the same keys with the same popularity in every trace.
    Fixed,
    /// Each key's popularity is drawn anew in every trace, from a Pareto law with the tail 1.2.
    Drawn,
    /// Zipf 0.9, but one request in twenty a random key is replaced by a new one.
    Drift,
    /// Some sixty phases of random kind and length: Zipf, loops, moving hot sets, scans.
    Phases,
}

/// Splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(1);
        hash_u64(self.0, 0x7261_6e64)
    }

    /// In [0, 1).
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }
}

/// Ranks drawn by their weights.
struct Law(Vec<f64>);

impl Law {
    fn of(weights: impl Iterator<Item = f64>) -> Self {
        let mut sum = 0.0;
        let cumulative = weights.map(|weight| {
            sum += weight;
            sum
        });
        Self(cumulative.collect())
    }

    fn zipf(keys: u64, alpha: f64) -> Self {
        Self::of((1..=keys).map(|rank| (rank as f64).powf(-alpha)))
    }

    fn draw(&self, random: &mut Random) -> u64 {
        let drawn = random.unit() * self.0.last().copied().unwrap_or(0.0);
        let rank = self.0.partition_point(|&sum| sum <= drawn);
        rank.min(self.0.len().saturating_sub(1)) as u64
    }
}

impl Population {
    pub(super) const ALL: [Self; 4] = [Self::Fixed, Self::Drawn, Self::Drift, Self::Phases];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Fixed => "zipf, same popularities",
            Self::Drawn => "popularities drawn anew",
            Self::Drift => "drifting popularity",
            Self::Phases => "sixty random phases",
        }
    }

    /// The trace of a seed.
    pub(super) fn trace(self, requests: u64, seed: u64) -> Vec<Request> {
        let mut random = Random(hash_u64(seed, 0x636f_7665_7261_6765));
        let objects = match self {
            Self::Fixed => {
                let law = Law::zipf(requests / 10, 0.9);
                (0..requests).map(|_| law.draw(&mut random)).collect()
            }
            Self::Drawn => {
                let keys = requests / 10;
                let weights = (0..keys).map(|_| (1.0 - random.unit()).powf(-1.0 / 1.2));
                let law = Law::of(weights);
                (0..requests).map(|_| law.draw(&mut random)).collect()
            }
            Self::Drift => drift(requests, &mut random),
            Self::Phases => phases(requests, &mut random),
        };
        let objects: Vec<u64> = objects;
        let times = 0..requests;
        times
            .zip(objects)
            .map(|(time, object)| Request::get(time, hash_u64(object, 0), 1))
            .collect()
    }
}

fn drift(requests: u64, random: &mut Random) -> Vec<u64> {
    let ranks = requests / 20;
    let law = Law::zipf(ranks, 0.9);
    let mut object_of: Vec<u64> = (0..ranks).collect();
    let mut fresh = ranks;
    let mut objects = Vec::new();
    for _ in 0..requests {
        if random.unit() < 0.05 {
            let rank = usize::try_from(random.below(ranks)).unwrap_or(0);
            object_of[rank] = fresh;
            fresh += 1;
        }
        objects.push(object_of[usize::try_from(law.draw(random)).unwrap_or(0)]);
    }
    objects
}

fn phases(requests: u64, random: &mut Random) -> Vec<u64> {
    let keys = requests / 20;
    let (broad, narrow) = (Law::zipf(keys, 0.9), Law::zipf(keys / 5, 1.1));
    let (mut scanned, mut hot) = (1u64 << 32, 0u64);
    let mut objects = Vec::new();
    while (objects.len() as u64) < requests {
        let length = (-(1.0 - random.unit()).ln() * requests as f64 / 60.0).ceil();
        let length = 0..(length.max(1.0) as u64);
        match random.below(20) {
            0..10 => objects.extend(length.map(|_| broad.draw(random))),
            10..15 => {
                let (looped, start) = (keys / 4, (1 << 40) + random.below(3) * (keys / 4));
                objects.extend(length.map(|index| start + index % looped));
            }
            15..18 => {
                hot += keys / 8;
                objects.extend(length.map(|_| (1 << 50) + hot + narrow.draw(random)));
            }
            _ => {
                let first = scanned;
                scanned += length.end;
                objects.extend(length.map(|index| first + index));
            }
        }
    }
    objects.truncate(usize::try_from(requests).unwrap_or(usize::MAX));
    objects
}
