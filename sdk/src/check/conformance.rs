//! The fixed hard workload that every policy must survive before it is admitted.

use ostler_abi::{Kind, Setup};

use crate::Rng;
use crate::check::garbage::messages;
use crate::check::{Batch, Breach, ReferenceCache, Subject};

/// One scenario and how it went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What was tried.
    pub name: &'static str,
    /// The broken rule, or none.
    pub outcome: Result<(), String>,
}

/// What [`conformance`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct ConformanceReport {
    /// Every scenario, in order; all are run even where one fails.
    pub checks: Vec<Check>,
}

impl ConformanceReport {
    /// True where every scenario passed.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.checks.iter().all(|check| check.outcome.is_ok())
    }

    /// The first failure, as `scenario: what broke`.
    #[must_use]
    pub fn first_failure(&self) -> Option<String> {
        self.checks.iter().find_map(|check| {
            check.outcome.as_ref().err().map(|detail| format!("{}: {detail}", check.name))
        })
    }
}

type Factory<'a> = dyn FnMut(Setup) -> Result<Box<dyn Subject>, String> + 'a;
type Scenario = fn(&mut ReferenceCache<Box<dyn Subject>>, &mut Rng) -> Result<(), Breach>;

/// A scenario: name, capacity, first bound on slots, script.
const SCENARIOS: [(&str, u64, u32, Scenario); 10] = [
    ("equal weights, skewed keys", 100, 101, skewed),
    ("odd weights up to the capacity", 10_000, 16, odd_weights),
    ("weights up to u32::MAX", 1 << 40, 16, huge_weights),
    ("capacity 1", 1, 2, skewed),
    ("capacity 2", 2, 3, skewed),
    ("capacity 0", 0, 1, skewed),
    ("a loop larger than the cache, then hot keys", 64, 65, loop_then_hot),
    ("removals, expirations and updates", 500, 16, churn),
    ("resizes", 300, 16, resizes),
    ("adopted entries, then a reset", 200, 201, adopts),
];

/// Runs the whole workload against policies that `factory` makes. The workload is the same every
/// time; the factory gets the capacity, the bound and the seed of each run.
///
/// Three rules are checked in every scenario beside those of [`Rule`](crate::check::Rule): the same
/// events and seed give the same victims, a batch of hits decides like one call a request, and
/// batches of every kind of event keep the budget. About 200,000 events; well under a second.
pub fn conformance(factory: &mut Factory<'_>) -> ConformanceReport {
    let mut checks: Vec<Check> = SCENARIOS
        .iter()
        .map(|scenario| Check { name: scenario.0, outcome: run(factory, scenario) })
        .collect();
    checks.push(Check { name: "messages that are no models", outcome: refuse_garbage(factory) });
    ConformanceReport { checks }
}

/// A refused model changes no decision. Policies that take none refuse everything, and pass.
fn refuse_garbage(factory: &mut Factory<'_>) -> Result<(), String> {
    let mut play = |messages: &[Vec<u8>]| -> Result<Vec<u64>, String> {
        let subject = factory(Setup { capacity: 100, slots: 101, seed: 42 })?;
        let mut cache = ReferenceCache::new(subject, 100, 101, Batch::Exact);
        let mut rng = Rng::new(7);
        let mut messages = messages.iter();
        for _ in 0..4000 {
            if let Some(message) = messages.next() {
                cache.offer_garbage(message).map_err(|breach| breach.to_string())?;
            }
            let key = skewed_key(&mut rng, 400);
            cache.request(key, 1).map_err(|breach| breach.to_string())?;
        }
        cache.flush().map_err(|breach| breach.to_string())?;
        Ok(cache.take_evicted())
    };
    if play(&[])? == play(&messages())? {
        return Ok(());
    }
    Err("a model that was refused changed decisions".into())
}

fn run(
    factory: &mut Factory<'_>,
    &(_, capacity, slots, script): &(&str, u64, u32, Scenario),
) -> Result<(), String> {
    let mut play = |batch: Batch| -> Result<Vec<u64>, String> {
        let subject = factory(Setup { capacity, slots, seed: 42 })?;
        let mut cache = ReferenceCache::new(subject, capacity, slots, batch);
        let mut rng = Rng::new(7);
        script(&mut cache, &mut rng)
            .and_then(|()| cache.flush())
            .map_err(|breach| format!("{breach} ({batch:?})"))?;
        Ok(cache.take_evicted())
    };
    let exact = play(Batch::Exact)?;
    if play(Batch::Exact)? != exact {
        return Err("the same events and seed gave different victims".into());
    }
    if play(Batch::Every(1))? != exact {
        return Err("hits in a batch decide unlike one call a request".into());
    }
    for len in [2, 16, 256] {
        play(Batch::Every(len))?;
    }
    Ok(())
}

type Cache = ReferenceCache<Box<dyn Subject>>;

fn skewed(cache: &mut Cache, rng: &mut Rng) -> Result<(), Breach> {
    for _ in 0..4000 {
        cache.request(skewed_key(rng, 400), 1)?;
    }
    Ok(())
}

fn odd_weights(cache: &mut Cache, rng: &mut Rng) -> Result<(), Breach> {
    for _ in 0..4000 {
        let key = skewed_key(rng, 300);
        cache.request(key, weight_of(key, 10_050))?;
    }
    Ok(())
}

fn huge_weights(cache: &mut Cache, rng: &mut Rng) -> Result<(), Breach> {
    for _ in 0..3000 {
        let key = skewed_key(rng, 2000);
        let weight = if key.is_multiple_of(3) { u32::MAX } else { weight_of(key, 1 << 30) };
        cache.request(key, weight)?;
    }
    Ok(())
}

fn loop_then_hot(cache: &mut Cache, rng: &mut Rng) -> Result<(), Breach> {
    for key in (0..80).cycle().take(2000) {
        cache.request(key, 1)?;
    }
    for _ in 0..3000 {
        cache.request(u64::from(rng.below(3)), 1)?;
    }
    for key in 1000..1500 {
        cache.request(key, 1)?;
    }
    Ok(())
}

fn churn(cache: &mut Cache, rng: &mut Rng) -> Result<(), Breach> {
    for _ in 0..6000 {
        let key = skewed_key(rng, 200);
        match rng.below(10) {
            0 => cache.remove(key, Kind::Remove)?,
            1 => cache.remove(key, Kind::Expire)?,
            2 | 3 => cache.update(key, 1 + rng.below(40))?,
            4 => cache.update(key, 600)?,
            _ => cache.request(key, 1 + (key % 13) as u32).map(|_| ())?,
        }
    }
    Ok(())
}

fn resizes(cache: &mut Cache, rng: &mut Rng) -> Result<(), Breach> {
    for capacity in [300, 40, 1000, 7, 0, 1, 2, 65, 64, 5000, 300, 3] {
        cache.resize(capacity)?;
        for _ in 0..600 {
            let key = skewed_key(rng, 2000);
            cache.request(key, 1 + (key % 5) as u32)?;
        }
    }
    Ok(())
}

fn adopts(cache: &mut Cache, rng: &mut Rng) -> Result<(), Breach> {
    for round in 0..3u64 {
        for key in 0..190 {
            cache.adopt(round * 1000 + key, 1, (key % 4) as u8)?;
        }
        cache.flush()?;
        for _ in 0..1500 {
            cache.request(round * 1000 + skewed_key(rng, 600), 1)?;
        }
        cache.reset()?;
    }
    Ok(())
}

/// A key below `keys`, small ones far more often: the product of two uniform draws.
fn skewed_key(rng: &mut Rng, keys: u32) -> u64 {
    u64::from(rng.below(keys)) * u64::from(rng.below(keys)) / u64::from(keys)
}

/// A weight from 1 to `max` that depends on the key alone.
fn weight_of(key: u64, max: u32) -> u32 {
    1 + (ostler_abi::hash_u64(key, 99) % u64::from(max)) as u32
}
