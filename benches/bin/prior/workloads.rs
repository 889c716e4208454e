//! Generated workloads to learn from: streams of different habits, several at a time, in phases.

use ostler_abi::hash_u64;

/// SplitMix64, and what is drawn from it.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        hash_of(self.0)
    }

    /// In [0, 1).
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// About normal: mean 0, deviation 1.
    pub(crate) fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }

    fn below(&mut self, n: usize) -> usize {
        (self.unit() * n as f64) as usize
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Every octave as likely as another.
    fn log_between(&mut self, low: f64, high: f64) -> f64 {
        self.between(low.ln(), high.ln()).exp()
    }
}

fn hash_of(state: u64) -> u64 {
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// What prevails in a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Loops,
    Popularity,
    Recency,
}

/// A stream of requests with one habit.
enum Stream {
    /// Skewed popularity; every `shift` requests, if not 0, a third of the objects moves on.
    Zipf { cumulative: Vec<f64>, offset: u64, shift: u64, requests: u64 },
    /// The same objects in a circle.
    Loop { len: u64, at: u64 },
    /// Each object once.
    Scan { at: u64 },
    /// The object used a log-normal number of objects ago; a share are new.
    Stack { used: Vec<u64>, mean: f64, deviation: f64, new: f64, next: u64 },
    /// Objects used a few times within a short while, and never again.
    Burst { alive: Vec<(u64, u32)>, len: usize, mean: f64, next: u64 },
}

#[derive(Clone, Copy)]
enum Habit {
    Zipf,
    Shifting,
    Loop,
    Scan,
    Stack,
    Burst,
}

impl Stream {
    fn new(habit: Habit, size: f64, random: &mut Random) -> Self {
        match habit {
            Habit::Zipf | Habit::Shifting => {
                let objects = random.log_between(size * 0.3, size * 3.0) as usize + 2;
                let alpha = random.between(0.6, 1.2);
                let mut total = 0.0;
                let cumulative = (1..=objects).map(|rank| {
                    total += (rank as f64).powf(-alpha);
                    total
                });
                let cumulative = cumulative.collect();
                let shifts = matches!(habit, Habit::Shifting);
                let shift = if shifts { random.log_between(500.0, 8000.0) as u64 } else { 0 };
                Self::Zipf { cumulative, offset: 0, shift, requests: 0 }
            }
            Habit::Loop => {
                Self::Loop { len: random.log_between(size * 0.05, size) as u64 + 4, at: 0 }
            }
            Habit::Scan => Self::Scan { at: 0 },
            Habit::Stack => Self::Stack {
                used: Vec::new(),
                mean: random.between(1.5, (size * 0.5).ln()),
                deviation: random.between(0.8, 2.2),
                new: random.between(0.02, 0.35),
                next: 0,
            },
            Habit::Burst => Self::Burst {
                alive: Vec::new(),
                mean: random.between(1.2, 4.0),
                len: random.log_between(4.0, 200.0) as usize,
                next: 0,
            },
        }
    }

    fn next(&mut self, random: &mut Random) -> u64 {
        match self {
            Self::Zipf { cumulative, offset, shift, requests } => {
                *requests += 1;
                if *shift > 0 && *requests % *shift == 0 {
                    *offset += cumulative.len() as u64 / 3;
                }
                let drawn = random.unit() * cumulative.last().copied().unwrap_or(1.0);
                *offset + cumulative.partition_point(|&sum| sum <= drawn) as u64
            }
            Self::Loop { len, at } => {
                *at = (*at + 1) % *len;
                *at
            }
            Self::Scan { at } => {
                *at += 1;
                *at
            }
            Self::Stack { used, mean, deviation, new, next } => {
                let depth = (*mean + *deviation * random.normal()).exp() as usize;
                let object = if random.unit() < *new || depth >= used.len() {
                    *next += 1;
                    *next
                } else {
                    used.remove(used.len() - 1 - depth)
                };
                used.push(object);
                object
            }
            Self::Burst { alive, len, mean, next } => {
                if alive.len() < *len {
                    *next += 1;
                    let more = -(1.0 - random.unit()).ln() * (*mean - 1.0);
                    alive.push((*next, 1 + more as u32));
                }
                let at = random.below(alive.len());
                let (object, left) = &mut alive[at];
                let object = *object;
                *left -= 1;
                if *left == 0 {
                    alive.swap_remove(at);
                }
                object
            }
        }
    }
}

/// Requests, as hashes, and the capacity they are played at.
pub(crate) struct Workload {
    pub(crate) requests: Vec<u64>,
    pub(crate) capacity: u64,
}

impl Workload {
    pub(crate) fn new(seed: u64, class: Class) -> Self {
        use Habit::{Burst, Loop, Scan, Shifting, Stack, Zipf};
        let habits: &[Habit] = match class {
            Class::Loops => &[Loop, Loop, Loop, Scan, Zipf, Burst],
            Class::Popularity => &[Zipf, Zipf, Zipf, Scan, Burst],
            Class::Recency => &[Shifting, Stack, Stack, Burst, Scan],
        };
        let mut random = Random::new(seed * 7919 + class as u64 * 104_729);
        let len = random.log_between(6000.0, 30_000.0) as usize;
        let size = random.log_between(800.0, 6000.0);
        let phases = 1 + random.below(3);
        let mut streams = Vec::new();
        let mut requests = Vec::new();
        for phase in 1..=phases {
            let active = active(habits, size, &mut streams, &mut random);
            let run = random.log_between(1.0, 60.0) as usize;
            let total: f64 = active.iter().map(|(_, weight)| weight).sum();
            while requests.len() < len * phase / phases {
                let mut drawn = random.unit() * total;
                let found = active.iter().find(|(_, weight)| {
                    drawn -= weight;
                    drawn < 0.0
                });
                let at = found.unwrap_or(&active[0]).0;
                for _ in 0..run {
                    let object = streams[at].next(&mut random) + ((at as u64) << 40);
                    requests.push(hash_u64(object, 3));
                }
            }
        }
        requests.truncate(len);
        let mut unique = requests.clone();
        unique.sort_unstable();
        unique.dedup();
        let capacity = (unique.len() as f64 * random.log_between(0.01, 0.25)).max(60.0) as u64;
        Self { requests, capacity }
    }
}

/// The streams of a phase with their weights: one to four, some of them of the phases before.
fn active(
    habits: &[Habit],
    size: f64,
    streams: &mut Vec<Stream>,
    random: &mut Random,
) -> Vec<(usize, f64)> {
    let mut active = Vec::new();
    for _ in 0..1 + random.below(4) {
        let at = if !streams.is_empty() && random.unit() < 0.4 {
            random.below(streams.len())
        } else {
            let habit = habits[random.below(habits.len())];
            streams.push(Stream::new(habit, size, random));
            streams.len() - 1
        };
        active.push((at, random.between(0.1, 1.0)));
    }
    active
}
