//! Runs with prefetching, worked by hand and against a plain model.

use ostler::PrefetchPolicy;
use ostler_abi::{Access as Heard, AccessKind, Setup};
use ostler_core::Batch;

use super::*;
use crate::trace::TraceSource;

fn config(capacity: u64, latency: &str) -> PrefetchRunConfig {
    let run = RunConfig {
        capacity,
        weights: WeightMode::Objects,
        shards: 1,
        seed: 0,
        batch: Batch::Exact,
    };
    let latency = latency.parse().unwrap();
    PrefetchRunConfig { run, latency, budget: FetchBudget::ONE, wants_keys: true }
}

fn run(
    policy: Box<dyn PrefetchInstance>,
    config: PrefetchRunConfig,
    requests: &[Request],
) -> PrefetchOutcome {
    let lru = ostler::policy("native:lru").unwrap();
    PrefetchRun::new(&*lru, Ok(policy), config).play_loaded(requests, &|_| {})
}

fn builtin(name: &str, config: PrefetchRunConfig, requests: &[Request]) -> PrefetchOutcome {
    let policy = PrefetchPolicy::open_native(&name.parse().unwrap()).unwrap();
    let setup = Setup { capacity: config.run.capacity, slots: 0, seed: 0 };
    run(policy.instance(setup).unwrap(), config, requests)
}

fn trace(keys: impl IntoIterator<Item = u64>) -> Vec<Request> {
    keys.into_iter().zip(0..).map(|(key, at)| Request::get(at, key, 1)).collect()
}

/// Asks, on a miss or a late demand for key `k`, for key `k + 1`; keeps what it heard.
#[derive(Default)]
struct Next {
    heard: std::sync::Arc<std::sync::Mutex<Vec<(AccessKind, String, u32)>>>,
}

impl PrefetchInstance for Next {
    fn predict(
        &mut self,
        accesses: &[Heard],
        keys: &[u8],
        asks: &mut Asks<'_>,
    ) -> Result<(), PolicyFault> {
        for access in accesses {
            let (kind, key) = (access.kind().unwrap(), access.key(keys).unwrap_or_default());
            let text = String::from_utf8(key.to_vec()).unwrap();
            if matches!(kind, AccessKind::Miss | AccessKind::Late) {
                let next = text.parse::<u64>().unwrap() + 1;
                asks.ask_key(next.to_string().as_bytes(), 1);
            }
            self.heard.lock().unwrap().push((kind, text, access.value));
        }
        Ok(())
    }
}

#[test]
fn a_prefetch_in_time_is_a_hit_and_one_under_way_a_miss() {
    use AccessKind::{Hit, Landed, Late, Miss, Useful};
    // Asked for after the first request: late for the next two, in time for the third.
    for (keys, misses, heard) in [
        (vec![1, 2], 2, vec![(Miss, "1", 0), (Late, "2", 0)]),
        (vec![1, 1, 2], 2, vec![(Miss, "1", 0), (Hit, "1", 0), (Late, "2", 0)]),
        (
            vec![1, 1, 1, 2, 2],
            1,
            vec![(Miss, "1", 0), (Hit, "1", 0), (Hit, "1", 0), (Landed, "", 2), (Useful, "2", 0)],
        ),
    ] {
        let policy = Next::default();
        let told = std::sync::Arc::clone(&policy.heard);
        let outcome = run(Box::new(policy), config(10, "2"), &trace(keys.clone()));
        assert_eq!(outcome.with.misses, misses, "{keys:?}");
        let told = told.lock().unwrap();
        let told: Vec<_> = told.iter().map(|(kind, key, value)| (*kind, &**key, *value)).collect();
        assert_eq!(told, heard, "{keys:?}");
    }
}

#[test]
fn latency_may_be_told_in_milliseconds() {
    // A request every 10 ms; 15 ms are late for one of them.
    let requests: Vec<Request> =
        [1, 5, 2].into_iter().zip(0..).map(|(key, at)| Request::get(10 * at, key, 1)).collect();
    for (latency, misses) in [("10ms", 2), ("20ms", 2), ("21ms", 3), ("0", 2), ("1", 2), ("2", 3)] {
        let outcome = run(Box::new(Next::default()), config(10, latency), &requests);
        assert_eq!(outcome.with.misses, misses, "{latency}");
    }
}

#[test]
fn what_a_prefetch_displaces_is_pollution() {
    let outcome = run(Box::new(Next::default()), config(2, "0"), &trace([1, 2, 2, 1]));
    assert_eq!((outcome.without.misses, outcome.with.misses), (2, 1));
    assert_eq!((outcome.figures.coverage, outcome.figures.hit_gain), (0.5, 0.25));
    // Both places go to the latest key and the one after it, which nobody asks for.
    let policy = Box::new(Next::default());
    let outcome = run(policy, config(2, "0"), &trace([10, 20, 10, 20, 10]));
    assert_eq!((outcome.without.misses, outcome.with.misses), (2, 5));
    let (counters, figures) = (outcome.counters, outcome.figures);
    assert_eq!((counters.fetches, counters.wasted), (5, 3));
    // All three by the run without: live, they were evicted by demands and could not be told.
    assert_eq!(counters.polluted, 0);
    assert_eq!((figures.pollution, figures.hit_gain, figures.wasted), (0.6, -0.6, 0.6));
    assert_eq!(figures.extra_fetches_per_request, (5 + 5 - 2) as f64 / 5.0);
}

#[test]
fn a_fault_ends_prefetching_and_nothing_else() {
    struct Broken;
    impl PrefetchInstance for Broken {
        fn predict(
            &mut self,
            _: &[Heard],
            _: &[u8],
            asks: &mut Asks<'_>,
        ) -> Result<(), PolicyFault> {
            asks.ask_hash(1, 1);
            Err(PolicyFault::Trap { reason: "a test".into() })
        }
    }
    let outcome = run(Box::new(Broken), config(10, "0"), &trace(0..50));
    assert_eq!(outcome.fault.map(|(request, fault)| (request, fault.kind())), Some((1, "trap")));
    assert_eq!((outcome.with.misses, outcome.counters.fetches), (50, 0));
}

/// The bar at a small scale: streams are prefetched, whatever has no structure is left alone.
#[test]
fn streams_are_fetched_ahead_and_nothing_is_where_there_are_none() {
    let streams = trace((0..4000).flat_map(|step| (1..=5).map(move |run| run * 1_000_000 + step)));
    let outcome = builtin("native:prefetch-stride", config(500, "16"), &streams);
    assert!(outcome.misses_saved() > 0.4, "{}", outcome.misses_saved());
    assert!(outcome.extra_fetches() < 0.02, "{}", outcome.extra_fetches());

    let round = |_| (0..2000).map(|key| hash_u64(key, 7));
    let outcome =
        builtin("native:prefetch-assoc", config(500, "16"), &trace((0..10).flat_map(round)));
    assert!(outcome.misses_saved() > 0.4, "{}", outcome.misses_saved());
    assert!(outcome.extra_fetches() < 0.02, "{}", outcome.extra_fetches());

    let zipf: TraceSource = "zipf(n=200000,keys=20000)".parse().unwrap();
    let zipf = zipf.load(usize::MAX).unwrap();
    for name in ["native:prefetch-stride", "native:prefetch-assoc"] {
        let outcome = builtin(name, config(2000, "16"), &zipf);
        assert!(outcome.extra_fetches() <= 0.01, "{name}: {}", outcome.extra_fetches());
        assert!(outcome.with.hits >= outcome.without.hits, "{name}");
    }
}

/// A policy that asks for nonsense is throttled: it costs little.
#[test]
fn wrong_guesses_are_switched_off() {
    let zipf: TraceSource = "zipf(n=300000,keys=20000)".parse().unwrap();
    let zipf = zipf.load(usize::MAX).unwrap();
    let outcome = run(Box::new(Next::default()), config(2000, "16"), &zipf);
    assert!(outcome.extra_fetches() <= 0.01, "{}", outcome.extra_fetches());
    let lost = outcome.without.hits.saturating_sub(outcome.with.hits);
    assert!(lost <= outcome.with.requests / 1000, "{lost} hits lost");
}

#[test]
fn keys_are_their_digits_and_nothing_else_is_a_key() {
    for key in [0, 9, 10, 12_345, u64::MAX] {
        let (digits, at) = digits_of(key);
        assert_eq!(str::from_utf8(&digits[at..]).unwrap(), key.to_string());
        assert_eq!(number_of(&digits[at..]), Some(key));
    }
    for text in ["", "00", "01", "+1", "-1", "1 ", "18446744073709551616", "x"] {
        assert_eq!(number_of(text.as_bytes()), None, "{text}");
    }
}
