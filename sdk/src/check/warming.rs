//! The fixed workload that every warming policy must survive before it is admitted.

use ostler_abi::{Candidate, ModelRefused, NativeWarming, Outlook, Rank, Setup, hash_u64};

use crate::Rng;
use crate::check::garbage::messages;
use crate::check::{Check, ConformanceReport};

const SETUP: Setup = Setup { capacity: 1000, slots: 0, seed: 42 };

/// A warming policy under test. Native policies are infallible; a sandboxed one can fault.
pub trait WarmingSubject {
    /// As [`Rank::rank`], but may fail with the fault's text.
    ///
    /// # Errors
    ///
    /// What the sandbox says about a call that faulted.
    fn rank(
        &mut self,
        outlook: &Outlook,
        candidates: &[Candidate],
        scores: &mut [u32],
    ) -> Result<(), String>;

    /// As [`Rank::model`], but may fail with the fault's text. The inner result is the policy's own.
    ///
    /// # Errors
    ///
    /// What the sandbox says about a call that faulted.
    fn model(&mut self, message: &[u8]) -> Result<Result<(), ModelRefused>, String>;
}

impl WarmingSubject for Box<dyn Rank + Send> {
    fn rank(
        &mut self,
        outlook: &Outlook,
        candidates: &[Candidate],
        scores: &mut [u32],
    ) -> Result<(), String> {
        (**self).rank(outlook, candidates, scores);
        Ok(())
    }

    fn model(&mut self, message: &[u8]) -> Result<Result<(), ModelRefused>, String> {
        Ok((**self).model(message))
    }
}

type Factory<'a> = dyn FnMut(Setup) -> Result<Box<dyn WarmingSubject>, String> + 'a;

/// A factory for [`warming_conformance`] that builds a compiled-in policy with `params`.
pub fn native_warming_factory<'a>(
    policy: &'a NativeWarming,
    params: &'a str,
) -> impl FnMut(Setup) -> Result<Box<dyn WarmingSubject>, String> + 'a {
    move |setup| {
        let policy = (policy.build)(setup, params).map_err(|refused| refused.reason)?;
        Ok(Box::new(policy) as Box<dyn WarmingSubject>)
    }
}

/// Makes the candidate of this number, and its outlook's numbers.
type Script = fn(&mut Rng) -> Candidate;

const SCENARIOS: [(&str, Script, Outlook); 5] = [
    ("histories as they come", plain, PLAIN),
    ("numbers at their bounds", extreme, PLAIN),
    ("an outlook of nothing", plain, Outlook { now_ms: 0, lifetime: 0, horizon: 0, budget: 0 }),
    ("an outlook without end", plain, ENDLESS),
    ("everything at its bound", extreme, ENDLESS),
];

const PLAIN: Outlook =
    Outlook { now_ms: 1_700_000_000_000, lifetime: 5000, horizon: 1000, budget: 250 };
const ENDLESS: Outlook =
    Outlook { now_ms: u64::MAX, lifetime: u64::MAX, horizon: u64::MAX, budget: u64::MAX };

/// Candidates of a scenario.
const CANDIDATES: usize = 2000;

/// Runs the whole workload against policies that `factory` makes. The workload is the same every
/// time.
///
/// Checked in every scenario: the same candidates and seed give the same scores, whatever came before
/// and however they are grouped into calls. In a last one, every message that is no model is refused
/// and changes no score.
pub fn warming_conformance(factory: &mut Factory<'_>) -> ConformanceReport {
    let mut checks: Vec<Check> = SCENARIOS
        .iter()
        .map(|(name, script, outlook)| Check { name, outcome: run(factory, *script, outlook) })
        .collect();
    checks.push(Check { name: "messages that are no models", outcome: refuse_garbage(factory) });
    ConformanceReport { checks }
}

fn run(factory: &mut Factory<'_>, script: Script, outlook: &Outlook) -> Result<(), String> {
    let candidates = draw(script);
    let mut subject = factory(SETUP)?;
    rank(&mut *subject, outlook, &[], 1)?;
    let scores = rank(&mut *subject, outlook, &candidates, CANDIDATES)?;
    if rank(&mut *factory(SETUP)?, outlook, &candidates, CANDIDATES)? != scores {
        return Err("the same candidates and seed gave different scores".into());
    }
    for len in [1, 7, 256] {
        if rank(&mut *subject, outlook, &candidates, len)? != scores {
            return Err(format!("calls of {len} candidates score unlike one of all"));
        }
    }
    Ok(())
}

fn draw(script: Script) -> Vec<Candidate> {
    let mut rng = Rng::new(7);
    (0..CANDIDATES as u64)
        .map(|number| Candidate { key_hash: hash_u64(number, 3), ..script(&mut rng) })
        .collect()
}

fn rank(
    subject: &mut dyn WarmingSubject,
    outlook: &Outlook,
    candidates: &[Candidate],
    batch_len: usize,
) -> Result<Vec<u32>, String> {
    let mut scores = vec![0; candidates.len()];
    for (candidates, scores) in candidates.chunks(batch_len).zip(scores.chunks_mut(batch_len)) {
        subject.rank(outlook, candidates, scores)?;
    }
    if candidates.is_empty() {
        subject.rank(outlook, candidates, &mut scores)?;
    }
    Ok(scores)
}

fn refuse_garbage(factory: &mut Factory<'_>) -> Result<(), String> {
    let candidates = draw(plain);
    let mut subject = factory(SETUP)?;
    let scores = rank(&mut *subject, &PLAIN, &candidates, CANDIDATES)?;
    for message in messages() {
        if subject.model(&message)?.is_ok() {
            let (len, start) = (message.len(), &message[..message.len().min(8)]);
            return Err(format!("took {len} bytes that are no model: {start:02x?}…"));
        }
    }
    if rank(&mut *subject, &PLAIN, &candidates, CANDIDATES)? == scores {
        return Ok(());
    }
    Err("a model that was refused changed scores".into())
}

fn plain(rng: &mut Rng) -> Candidate {
    let accesses = 1 + rng.below(6) * rng.below(30);
    let age = rng.below(20_000);
    let gap = if accesses > 1 { 1 + rng.below(4000) } else { 0 };
    let gap2 = if accesses > 2 { 1 + rng.below(4000) } else { 0 };
    let mut hours = [0; 24];
    for _ in 0..accesses.min(48) {
        hours[rng.below(24) as usize] += 1;
    }
    Candidate {
        age,
        gap,
        gap2,
        life: age + gap + gap2 + rng.below(9000),
        accesses,
        decayed: rng.below(accesses * 256 + 1),
        weight: 1 + rng.below(4096),
        cost_us: rng.below(20_000),
        class: rng.below(4) as u8,
        flags: rng.below(2) as u8,
        hours,
        ..Candidate::ZERO
    }
}

fn extreme(rng: &mut Rng) -> Candidate {
    let mut draw = || [0, 1, 2, u32::MAX / 2, u32::MAX - 1, u32::MAX][rng.below(6) as usize];
    Candidate {
        age: draw(),
        gap: draw(),
        gap2: draw(),
        life: draw(),
        accesses: draw(),
        decayed: draw(),
        weight: draw().max(1),
        cost_us: draw(),
        class: draw() as u8,
        flags: draw() as u8,
        hours: std::array::from_fn(|_| draw() as u16),
        ..Candidate::ZERO
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Scripted {
        score: fn(&Candidate, usize) -> u32,
        credulous: bool,
    }

    impl Rank for Scripted {
        fn rank(&mut self, _: &Outlook, candidates: &[Candidate], scores: &mut [u32]) {
            for (index, (candidate, score)) in candidates.iter().zip(scores).enumerate() {
                *score = (self.score)(candidate, index);
            }
        }

        fn model(&mut self, message: &[u8]) -> Result<(), ModelRefused> {
            if self.credulous && message.len() == 1024 {
                return Ok(());
            }
            Err(ModelRefused::FORMAT)
        }
    }

    fn failure(score: fn(&Candidate, usize) -> u32, credulous: bool) -> Option<String> {
        let mut factory = |_| {
            let policy: Box<dyn Rank + Send> = Box::new(Scripted { score, credulous });
            Ok(Box::new(policy) as Box<dyn WarmingSubject>)
        };
        warming_conformance(&mut factory).first_failure()
    }

    #[test]
    fn an_honest_policy_passes_and_others_are_found() {
        assert_eq!(failure(|candidate, _| candidate.decayed, false), None);
        let place = failure(|_, index| index as u32, false).unwrap();
        assert!(place.contains("calls of 1 candidates score unlike one of all"), "{place}");
        let credulous = failure(|candidate, _| candidate.age, true).unwrap();
        assert!(credulous.contains("took 1024 bytes that are no model"), "{credulous}");
    }
}
