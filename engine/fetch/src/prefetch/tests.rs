//! The host, step by step and against a plain model.

use ostler_abi::{Access, AccessKind, Ask, Asks, Refusal, hash_bytes};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;

/// A cache that holds what it is told to.
#[derive(Default)]
struct Residents(std::collections::BTreeSet<u64>);

impl Catalog for Residents {
    fn hash_of(&self, key: &[u8]) -> Option<u64> {
        (!key.starts_with(b"?")).then(|| hash(key))
    }

    fn is_resident(&self, hash: u64, _: &[u8]) -> bool {
        self.0.contains(&hash)
    }
}

fn hash(key: &[u8]) -> u64 {
    hash_bytes(key, 0)
}

fn access(host: &mut Prefetcher, key: &str, is_hit: bool) -> AccessKind {
    let key = key.as_bytes();
    host.accessed(Accessed { hash: hash(key), key: Some(key), time_ms: 0, class: 0, is_hit })
}

/// Answers with asks for these keys; the fetches that come of it.
fn ask(host: &mut Prefetcher, residents: &Residents, keys: &[(&str, u32)]) -> Vec<String> {
    let (mut buffer, mut bytes) = ([Ask::ZERO; 16], [0; 1024]);
    let mut asks = Asks::new(&mut buffer, &mut bytes);
    for (key, confidence) in keys {
        assert!(match key.strip_prefix('#') {
            Some(hashed) => asks.ask_hash(hash(hashed.as_bytes()), *confidence),
            None => asks.ask_key(key.as_bytes(), *confidence),
        });
    }
    let mut fetches = Vec::new();
    host.answered(&asks, residents, 0, &mut fetches);
    fetches.into_iter().map(|fetch| String::from_utf8(fetch.key.to_vec()).unwrap()).collect()
}

/// The records of the batch, as kind, key and value.
fn heard(host: &Prefetcher) -> Vec<(AccessKind, &str, u32)> {
    let (accesses, keys) = host.batch();
    let text = |access: &Access| {
        access.key(keys).map_or("", |key| std::str::from_utf8(key).unwrap_or("no text"))
    };
    let told = |access: &Access| Some((access.kind()?, text(access), access.value));
    accesses.iter().filter_map(told).collect()
}

fn landed(host: &mut Prefetcher, key: &str, landing: Landing) {
    host.landed(hash(key.as_bytes()), landing, 0);
}

#[test]
fn a_prefetch_from_ask_to_use() {
    let (mut host, none) = (Prefetcher::new(PrefetchConfig::default()), Residents::default());
    assert_eq!(access(&mut host, "a", true), AccessKind::Hit);
    assert!(!host.is_due(), "hits wait");
    assert_eq!(access(&mut host, "a", false), AccessKind::Miss);
    assert!(host.is_due());
    assert_eq!(ask(&mut host, &none, &[("b", 1)]), ["b"]);
    access(&mut host, "a", true);
    access(&mut host, "a", true);
    landed(&mut host, "b", Landing::Stored);
    assert_eq!(access(&mut host, "b", true), AccessKind::Useful);
    assert_eq!(access(&mut host, "b", true), AccessKind::Hit);
    let expected = [
        (AccessKind::Hit, "a", 0),
        (AccessKind::Hit, "a", 0),
        (AccessKind::Landed, "", 2),
        (AccessKind::Useful, "b", 0),
        (AccessKind::Hit, "b", 0),
    ];
    assert_eq!(heard(&host), expected);
    let counters = host.counters();
    assert_eq!((counters.fetches, counters.landed, counters.useful), (1, 1, 1));
}

#[test]
fn a_demand_that_overtakes_its_prefetch_is_late_once() {
    let (mut host, none) = (Prefetcher::new(PrefetchConfig::default()), Residents::default());
    access(&mut host, "a", false);
    ask(&mut host, &none, &[("b", 1)]);
    assert_eq!(access(&mut host, "b", false), AccessKind::Late);
    assert_eq!(access(&mut host, "b", false), AccessKind::Miss);
    landed(&mut host, "b", Landing::Unneeded);
    assert_eq!(access(&mut host, "b", true), AccessKind::Hit);
    let counters = host.counters();
    assert_eq!((counters.late, counters.misses, counters.useful), (1, 3, 0));
}

#[test]
fn asks_are_refused_for_a_reason_and_the_surest_come_first() {
    let mut host = Prefetcher::new(PrefetchConfig {
        origin: OriginConfig { fetches_max: 2, ..Default::default() },
        ..Default::default()
    });
    let residents = Residents([hash(b"r")].into());
    for key in ["a", "b", "c"] {
        access(&mut host, key, false);
    }
    let asks = [("x", 1), ("y", 9), ("z", 5), ("r", 7), ("?", 8), ("#never seen", 3), ("#a", 6)];
    assert_eq!(ask(&mut host, &residents, &asks), ["y", "a"]);
    let reasons: Vec<u32> = heard(&host).iter().map(|(_, _, value)| *value).collect();
    let [budget, resident, queue] =
        [Refusal::Budget, Refusal::Resident, Refusal::Queue].map(|refusal| refusal as u32);
    // In the order of confidence: `?`, `r`, then what is left once two are under way.
    assert_eq!(reasons, [budget, resident, queue, budget, queue]);
    landed(&mut host, "y", Landing::Absent);
    landed(&mut host, "a", Landing::Failed);
    let counters = *host.counters();
    assert_eq!((counters.refused_unknown, counters.refused_queue), (2, 2));
    assert_eq!((counters.absent, counters.failed, counters.landed), (1, 1, 0));
    access(&mut host, "a", false);
    assert_eq!(ask(&mut host, &residents, &[("z", 1)]), [""; 0], "the origin failed just now");
    assert_eq!(host.counters().refused_queue, 3);
}

#[test]
fn unused_entries_are_wasted_once_and_pollute_where_they_displaced() {
    let (mut host, none) = (Prefetcher::new(PrefetchConfig::default()), Residents::default());
    for _ in 0..4 {
        access(&mut host, "a", false);
    }
    ask(&mut host, &none, &[("b", 3), ("c", 2), ("d", 1)]);
    for (key, victim) in [("b", "u"), ("c", "v"), ("d", "w")] {
        landed(&mut host, key, Landing::Stored);
        host.displaced(hash(victim.as_bytes()), hash(key.as_bytes()));
    }
    host.left(hash(b"b"), 0);
    host.left(hash(b"b"), 0);
    assert_eq!(access(&mut host, "c", true), AccessKind::Useful);
    // Gone without anybody telling: the miss says so.
    assert_eq!(access(&mut host, "d", false), AccessKind::Miss);
    assert_eq!(host.counters().wasted, 2);
    for victim in ["u", "v", "w"] {
        access(&mut host, victim, false);
    }
    assert_eq!(host.counters().polluted, 2, "what was useful would have displaced v anyway");
}

#[test]
fn keys_come_along_only_where_they_fit() {
    let config = PrefetchConfig { keys_bytes_max: 0, ..Default::default() };
    let mut host = Prefetcher::new(config);
    access(&mut host, "a", false);
    assert_eq!(heard(&host), [(AccessKind::Miss, "", 0)]);
    let mut host = Prefetcher::new(PrefetchConfig::default());
    access(&mut host, &"k".repeat(257), false);
    access(&mut host, &"k".repeat(256), false);
    assert_eq!(heard(&host)[0].1, "");
    assert_eq!(heard(&host)[1].1.len(), 256);
}

#[derive(Clone, Debug)]
enum Step {
    Access { key: u8, is_hit: bool },
    Ask(Vec<u8>),
    Land { at: usize, landing: u8 },
    Leave(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = || 0u8..12;
    prop::collection::vec(
        prop_oneof![
            4 => (key(), any::<bool>()).prop_map(|(key, is_hit)| Step::Access { key, is_hit }),
            2 => prop::collection::vec(key(), 0..4).prop_map(Step::Ask),
            2 => (any::<usize>(), 0u8..4).prop_map(|(at, landing)| Step::Land { at, landing }),
            1 => key().prop_map(Step::Leave),
        ],
        0..300,
    )
}

proptest! {
    #![proptest_config(ProptestConfig {
        rng_seed: RngSeed::Fixed(1),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Whatever happens in whatever order, every fetch is accounted for once.
    #[test]
    fn the_books_balance(steps in steps(), batch_len_max in 8u32..40) {
        let config = PrefetchConfig {
            bucket: BucketConfig { unproven_max: 1000, ..Default::default() },
            batch_len_max,
            keys_bytes_max: 600,
            ..Default::default()
        };
        let (mut host, none) = (Prefetcher::new(config), Residents::default());
        // A key's fetch under way (late or not), its unused entry.
        let mut flights: Vec<(String, bool)> = Vec::new();
        let mut unused: std::collections::BTreeSet<String> = Default::default();
        let (mut misses, mut useful, mut late, mut wasted, mut fetches) = (0, 0, 0, 0, 0);
        for step in steps {
            match step {
                Step::Access { key, is_hit } => {
                    let key = key.to_string();
                    let was_unused = unused.remove(&key);
                    let flight = flights.iter_mut().find(|(name, is_late)| *name == key && !is_late);
                    let expected = match (is_hit, flight) {
                        (true, _) if was_unused => AccessKind::Useful,
                        (true, _) => AccessKind::Hit,
                        (false, Some((_, is_late))) => {
                            *is_late = true;
                            AccessKind::Late
                        }
                        (false, None) => AccessKind::Miss,
                    };
                    misses += u64::from(!is_hit);
                    useful += u64::from(expected == AccessKind::Useful);
                    late += u64::from(expected == AccessKind::Late);
                    wasted += u64::from(was_unused && !is_hit);
                    prop_assert_eq!(access(&mut host, &key, is_hit), expected);
                }
                Step::Ask(keys) => {
                    let keys: Vec<String> = keys.iter().map(u8::to_string).collect();
                    let asks: Vec<(&str, u32)> = keys.iter().map(|key| (&**key, 0)).collect();
                    for key in ask(&mut host, &none, &asks) {
                        prop_assert!(flights.iter().all(|(name, _)| *name != key));
                        flights.push((key, false));
                        fetches += 1;
                    }
                    prop_assert!(host.batch().0.len() <= batch_len_max as usize / 2);
                }
                Step::Land { .. } if flights.is_empty() => {}
                Step::Land { at, landing } => {
                    let (key, is_late) = flights.swap_remove(at % flights.len());
                    let landing = [
                        Landing::Stored, Landing::Unneeded, Landing::Absent, Landing::Failed,
                    ][usize::from(landing)];
                    landed(&mut host, &key, landing);
                    if landing == Landing::Stored && !is_late {
                        unused.insert(key);
                    }
                }
                Step::Leave(key) => {
                    let key = key.to_string();
                    wasted += u64::from(unused.remove(&key));
                    host.left(hash(key.as_bytes()), 0);
                }
            }
            let counters = *host.counters();
            prop_assert_eq!(
                (counters.misses, counters.useful, counters.late, counters.wasted, counters.fetches),
                (misses, useful, late, wasted, fetches)
            );
            prop_assert!(fetches <= misses, "one fetch a miss");
            prop_assert_eq!(host.under_way(), flights.len());
            prop_assert!(host.batch().0.len() <= batch_len_max as usize);
            prop_assert!(host.batch().1.len() <= 600);
            let (accesses, keys) = host.batch();
            let is_whole =
                |access: &Access| access.key_at == ostler_abi::NO_KEY || access.key(keys).is_some();
            prop_assert!(accesses.iter().all(is_whole), "keys lie in the window");
        }
    }
}
