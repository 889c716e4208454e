//! The fixed workload that every prefetch policy must survive before it is admitted.

use std::collections::{HashMap, HashSet, VecDeque};

use ostler_abi::{
    Access, AccessKind, Ask, Asks, KEY_BYTES_MAX, NativePrefetch, Predict, Refusal, Setup,
    hash_bytes,
};

use crate::Rng;
use crate::check::{Check, ConformanceReport};

/// Asks that one call may make here, and bytes of keys: what the SDK's guests have.
const ASKS_CAP: usize = 1024;
const KEYS_CAP: usize = 32_768;

/// Longest batch that is tried.
const BATCH_MAX: usize = 64;

const SETUP: Setup = Setup { capacity: 1000, slots: 0, seed: 42 };

/// A prefetch policy under test. Native policies are infallible; a sandboxed one can fault.
pub trait PrefetchSubject {
    /// As [`Predict::predict`], but may fail with the fault's text.
    ///
    /// # Errors
    ///
    /// What the sandbox says about a call that faulted.
    fn predict(
        &mut self,
        accesses: &[Access],
        keys: &[u8],
        asks: &mut Asks<'_>,
    ) -> Result<(), String>;
}

impl PrefetchSubject for Box<dyn Predict + Send> {
    fn predict(
        &mut self,
        accesses: &[Access],
        keys: &[u8],
        asks: &mut Asks<'_>,
    ) -> Result<(), String> {
        (**self).predict(accesses, keys, asks);
        Ok(())
    }
}

type Factory<'a> = dyn FnMut(Setup) -> Result<Box<dyn PrefetchSubject>, String> + 'a;

/// A factory for [`prefetch_conformance`] that builds a compiled-in policy with `params`.
pub fn native_prefetch_factory<'a>(
    policy: &'a NativePrefetch,
    params: &'a str,
) -> impl FnMut(Setup) -> Result<Box<dyn PrefetchSubject>, String> + 'a {
    move |setup| {
        let policy = (policy.build)(setup, params).map_err(|refused| refused.reason)?;
        Ok(Box::new(policy) as Box<dyn PrefetchSubject>)
    }
}

/// Accesses and the keys that they point into.
#[derive(Default)]
struct Stream {
    accesses: Vec<Access>,
    keys: Vec<u8>,
}

impl Stream {
    fn push(&mut self, kind: u8, key: &[u8]) -> &mut Access {
        let key_at = self.keys.len() as u32;
        self.keys.extend_from_slice(key);
        self.accesses.push(Access {
            key_hash: hash_bytes(key, 0),
            time_ms: self.accesses.len() as u64,
            key_at,
            key_len: key.len() as u32,
            count: 1,
            kind,
            ..Access::ZERO
        });
        let last = self.accesses.len() - 1;
        &mut self.accesses[last]
    }

    fn number(&mut self, kind: AccessKind, number: u64) -> &mut Access {
        self.push(kind as u8, number.to_string().as_bytes())
    }
}

type Script = fn(&mut Stream, &mut Rng);

const SCENARIOS: [(&str, Script); 7] = [
    ("numbers in strides, several at once", strides),
    ("names with a number at their end", suffixes),
    ("pairs and chains of keys", chains),
    ("keys without order, many", unordered),
    ("keys that come without their bytes", without_bytes),
    ("garbage as keys", garbage),
    ("odd kinds, values and times", odd_records),
];

/// Runs the whole workload against policies that `factory` makes. The workload is the same every
/// time.
///
/// Checked in every scenario: the same accesses and seed give the same asks, however they are grouped
/// into calls of up to 64; and those 64 do not ask for more than an SDK guest's window of 1,024 asks
/// and 32 KiB of keys holds. A last one answers asks as a host does: with fetches that land later, are
/// useful, late, wasted or refused. About 100,000 accesses, five times each.
pub fn prefetch_conformance(factory: &mut Factory<'_>) -> ConformanceReport {
    let mut checks: Vec<Check> = SCENARIOS
        .iter()
        .map(|&(name, script)| Check { name, outcome: run(factory, script) })
        .collect();
    checks.push(Check { name: "asks that are answered", outcome: run_answered(factory) });
    ConformanceReport { checks }
}

fn run(factory: &mut Factory<'_>, script: Script) -> Result<(), String> {
    let mut stream = Stream::default();
    script(&mut stream, &mut Rng::new(7));
    let single = play(factory, &stream, 1)?;
    if play(factory, &stream, 1)? != single {
        return Err("the same accesses and seed gave different asks".into());
    }
    for len in [2, 16, BATCH_MAX] {
        if play(factory, &stream, len)? != single {
            return Err(format!("calls of {len} accesses ask unlike calls of one"));
        }
    }
    Ok(())
}

/// One ask: what for, and how sure.
type Asked = (Vec<u8>, u64, u32);

/// A subject with buffers for its answers, and all that it asked for.
struct Asking {
    subject: Box<dyn PrefetchSubject>,
    buffer: Vec<Ask>,
    written: Vec<u8>,
    asked: Vec<Asked>,
}

impl Asking {
    fn new(subject: Box<dyn PrefetchSubject>) -> Self {
        let (buffer, written) = (vec![Ask::ZERO; ASKS_CAP], vec![0; KEYS_CAP]);
        Self { subject, buffer, written, asked: Vec::new() }
    }

    fn call(&mut self, batch: &[Access], keys: &[u8]) -> Result<(), String> {
        let mut asks = Asks::new(&mut self.buffer, &mut self.written);
        self.subject.predict(batch, keys, &mut asks)?;
        if batch.is_empty() && !asks.is_empty() {
            return Err("asks without having heard of anything".into());
        }
        let key_bytes: usize = asks.iter().filter_map(|(_, key)| Some(key?.len())).sum();
        if asks.is_full() || key_bytes + KEY_BYTES_MAX > KEYS_CAP {
            let accesses = batch.len();
            return Err(format!("{accesses} accesses ask for more than the windows hold"));
        }
        let asked = asks
            .iter()
            .map(|(ask, key)| (key.unwrap_or_default().to_vec(), ask.key_hash, ask.confidence));
        self.asked.extend(asked);
        Ok(())
    }
}

fn play(
    factory: &mut Factory<'_>,
    stream: &Stream,
    batch_len: usize,
) -> Result<Vec<Asked>, String> {
    let mut asking = Asking::new(factory(SETUP)?);
    // An empty call says nothing and asks for nothing.
    asking.call(&[], &[])?;
    for (index, batch) in stream.accesses.chunks(batch_len).enumerate() {
        asking
            .call(batch, &stream.keys)
            .map_err(|reason| format!("access {}: {reason}", index * batch_len))?;
    }
    Ok(asking.asked)
}

fn strides(stream: &mut Stream, rng: &mut Rng) {
    let mut streams: Vec<(u64, u64)> =
        [1, 2, 7, 64, 1 << 33].iter().map(|&stride| (stride * 1000, stride)).collect();
    for _ in 0..6000 {
        let (at, stride) = &mut streams[rng.below(5) as usize];
        *at = at.wrapping_add(*stride);
        let at = *at;
        stream.number(AccessKind::Miss, at);
        if rng.below(200) == 0 {
            streams[rng.below(5) as usize].0 = u64::from(rng.below(u32::MAX));
        }
    }
    // Down to zero, and up to the last number there is.
    for step in 0..40u64 {
        stream.number(AccessKind::Miss, 39 - step);
        stream.number(AccessKind::Hit, u64::MAX - (39 - step) * 3);
    }
}

fn suffixes(stream: &mut Stream, rng: &mut Rng) {
    for step in 0..4000u32 {
        let name = ["user:", "img/", "a", "ключ-"][rng.below(4) as usize];
        let width = rng.below(3) as usize * 4;
        stream.push(AccessKind::Miss as u8, format!("{name}{:0width$}", step / 4).as_bytes());
    }
}

fn chains(stream: &mut Stream, rng: &mut Rng) {
    for _ in 0..3000 {
        let first = u64::from(rng.below(300)) * 1_000_003;
        for next in 0..=rng.below(4) {
            let kind = if rng.below(3) == 0 { AccessKind::Miss } else { AccessKind::Hit };
            stream.number(kind, first ^ (u64::from(next) * 7_777_777));
        }
    }
}

/// Enough of them that what is remembered for each must be bounded.
fn unordered(stream: &mut Stream, rng: &mut Rng) {
    for _ in 0..60_000 {
        let number = u64::from(rng.below(u32::MAX)) << 20 | u64::from(rng.below(1 << 20));
        stream.number(AccessKind::Miss, number);
    }
}

fn without_bytes(stream: &mut Stream, rng: &mut Rng) {
    for number in 0..4000u64 {
        let hash = ostler_abi::hash_u64(number % 500, 1);
        let kind = if rng.below(2) == 0 { AccessKind::Miss } else { AccessKind::Hit };
        stream.accesses.push(Access { time_ms: number, ..Access::new(kind, hash) });
    }
}

fn garbage(stream: &mut Stream, rng: &mut Rng) {
    let digits = [
        "18446744073709551615",
        "18446744073709551616",
        "99999999999999999999999999",
        "-1",
        "-0",
        "+5",
        "0x10",
        "1e9",
        "1.5",
        " 7",
        "7 ",
        "00000000000000000000000000001",
        "0",
        "٣",
        "",
    ];
    for digits in digits.iter().cycle().take(600) {
        stream.push(AccessKind::Miss as u8, digits.as_bytes());
    }
    for _ in 0..2000 {
        let len = rng.below(KEY_BYTES_MAX as u32 + 1);
        let key: Vec<u8> = (0..len).map(|_| rng.below(256) as u8).collect();
        stream.push(AccessKind::Miss as u8, &key);
    }
    for len in 0..=KEY_BYTES_MAX {
        stream.push(AccessKind::Hit as u8, &vec![b'9'; len]);
        stream.push(AccessKind::Hit as u8, &vec![0xff; len]);
    }
}

fn odd_records(stream: &mut Stream, rng: &mut Rng) {
    for _ in 0..6000 {
        let kind = rng.below(256) as u8;
        let number = u64::from(rng.below(50));
        let draw = u64::from(rng.below(u32::MAX)) << 32 | u64::from(rng.below(u32::MAX));
        let extreme = [0, 1, u32::MAX, draw as u32][rng.below(4) as usize];
        let access = stream.push(kind % 9, number.to_string().as_bytes());
        access.time_ms = draw;
        access.value = extreme;
        access.count = (draw >> 8) as u8;
        access.class = (draw >> 16) as u8;
        access.flags = (draw >> 24) as u8;
        if kind > 200 {
            access.kind = kind;
        }
    }
}

/// What became of a key that was asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fetched {
    UnderWay,
    Landed,
}

/// Accesses that a fetch takes here.
const LATENCY: u64 = 8;

fn run_answered(factory: &mut Factory<'_>) -> Result<(), String> {
    let mut play = || answered(Asking::new(factory(SETUP)?));
    if play()? == play()? {
        return Ok(());
    }
    Err("the same accesses, seed and answers gave different asks".into())
}

/// A host in small: every ask is fetched, but for one in seven, which is refused.
fn answered(mut asking: Asking) -> Result<Vec<Asked>, String> {
    let mut rng = Rng::new(11);
    let mut fetched: HashMap<u64, Fetched> = HashMap::new();
    let mut under_way: VecDeque<(u64, u64)> = VecDeque::new();
    let (mut seen, mut answered) = (HashSet::new(), 0);
    for tick in 0..8000u64 {
        let mut stream = Stream::default();
        while let Some((since, hash)) = under_way.pop_front_if(|fetch| fetch.0 + LATENCY <= tick) {
            fetched.insert(hash, Fetched::Landed);
            let value = (tick - since) as u32;
            stream.accesses.push(Access { value, ..Access::new(AccessKind::Landed, hash) });
        }
        let key = if rng.below(4) == 0 { u64::from(rng.below(500)) } else { tick };
        let hash = hash_bytes(key.to_string().as_bytes(), 0);
        let kind = match fetched.remove(&hash) {
            Some(Fetched::Landed) => AccessKind::Useful,
            Some(Fetched::UnderWay) => AccessKind::Late,
            None if seen.contains(&hash) => AccessKind::Hit,
            None => AccessKind::Miss,
        };
        seen.insert(hash);
        stream.number(kind, key);
        if tick % 64 == 0
            && let Some(&wasted) = fetched.keys().min()
        {
            fetched.remove(&wasted);
            stream.accesses.push(Access::new(AccessKind::Wasted, wasted));
        }
        for (index, (key, hash, _)) in asking.asked[answered..].iter().enumerate() {
            let hash = if key.is_empty() { *hash } else { hash_bytes(key, 0) };
            if index % 7 == 6 {
                let value = Refusal::Budget as u32;
                stream.accesses.push(Access { value, ..Access::new(AccessKind::Refused, hash) });
            } else if fetched.insert(hash, Fetched::UnderWay).is_none() {
                under_way.push_back((tick, hash));
            }
        }
        answered = asking.asked.len();
        for access in &stream.accesses {
            asking
                .call(std::slice::from_ref(access), &stream.keys)
                .map_err(|reason| format!("access {tick}: {reason}"))?;
        }
    }
    Ok(asking.asked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ostler_abi::CONFIDENCE_MAX;

    /// What a policy does with a record, given how many it has heard of in this call.
    type Answer = fn(&Access, usize, &mut Asks<'_>);

    struct Scripted(Answer);

    impl Predict for Scripted {
        fn predict(&mut self, accesses: &[Access], _: &[u8], asks: &mut Asks<'_>) {
            for (index, access) in accesses.iter().enumerate() {
                (self.0)(access, index, asks);
            }
        }
    }

    fn failure(answer: Answer) -> Option<String> {
        let mut factory = |_| {
            let policy: Box<dyn Predict + Send> = Box::new(Scripted(answer));
            Ok(Box::new(policy) as Box<dyn PrefetchSubject>)
        };
        prefetch_conformance(&mut factory).first_failure()
    }

    #[test]
    fn honest_policies_pass() {
        assert_eq!(failure(|_, _, _| {}), None);
        let again: Answer = |access, _, asks| _ = asks.ask_hash(access.key_hash, CONFIDENCE_MAX);
        assert_eq!(failure(again), None);
        let other: Answer = |access, _, asks| {
            asks.ask_key(&access.key_hash.to_le_bytes(), 1);
        };
        assert_eq!(failure(other), None);
    }

    #[test]
    fn what_depends_on_the_grouping_is_found() {
        let first_only: Answer = |access, index, asks| {
            if index == 0 {
                asks.ask_hash(access.key_hash, 1);
            }
        };
        let found = failure(first_only).unwrap();
        assert!(found.contains("calls of 2 accesses ask unlike calls of one"), "{found}");
    }

    #[test]
    fn asking_for_everything_is_found() {
        let greedy: Answer = |access, _, asks| {
            while asks.ask_hash(access.key_hash, 1) {}
        };
        let found = failure(greedy).unwrap();
        assert!(found.contains("ask for more than the windows hold"), "{found}");
    }
}
