//! The history, its snapshot and the plan, against plain models and against garbage.

use ostler_abi::{Candidate, Outlook, hash_u64};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;
use crate::prefetch::OriginConfig;

const MOMENT: Moment = Moment { now_ms: 1_700_000_000_000, lifetime: 100 };

fn history(keys_max: usize) -> KeyHistory {
    KeyHistory::new(HistoryConfig { bytes_max: keys_max * (ENTRY_BYTES + 4), seed: 1 })
}

fn note(history: &mut KeyHistory, key: u32) {
    note_weighing(history, key, 1);
}

fn note_weighing(history: &mut KeyHistory, key: u32, weight: u32) {
    let bytes = key.to_le_bytes();
    let hash = hash_u64(u64::from(key), 0);
    history.note(&Noted { hash, key: &bytes, weight, cost_us: 0, class: 0 }, MOMENT);
}

fn candidate(history: &KeyHistory, key: u32) -> Option<Candidate> {
    history.candidate_of(hash_u64(u64::from(key), 0), MOMENT)
}

fn outlook(budget: u64) -> Outlook {
    Outlook { now_ms: MOMENT.now_ms, lifetime: MOMENT.lifetime, horizon: 10, budget }
}

fn key_of(key: &WarmKey) -> u32 {
    u32::from_le_bytes((*key.key).try_into().unwrap())
}

#[test]
fn candidates_tell_what_was_seen() {
    let mut history = history(10);
    for key in [1, 2, 1, 3, 3, 1] {
        note(&mut history, key);
    }
    let seen = candidate(&history, 1).unwrap();
    assert_eq!((seen.age, seen.gap, seen.gap2), (0, 3, 2));
    assert_eq!((seen.life, seen.accesses, seen.weight), (5, 3, 1));
    // 3 and 5 requests ago, at a half-life of 100: both within the first sixteenth.
    assert_eq!(seen.decayed, 3 * 256);
    let seen = candidate(&history, 2).unwrap();
    assert_eq!((seen.age, seen.gap, seen.accesses, seen.decayed), (4, 0, 1, 256));
    assert_eq!(candidate(&history, 4), None);
    history.forget(hash_u64(1, 0));
    assert_eq!((candidate(&history, 1), history.len()), (None, 2));
    history.validate().unwrap();
}

#[test]
fn what_is_used_stays_in_a_full_history() {
    let mut history = history(100);
    for round in 0..2_000_u32 {
        note(&mut history, round % 20);
        note(&mut history, 1_000 + round);
    }
    assert_eq!(history.len(), 100);
    assert!((0..20).all(|key| candidate(&history, key).is_some()));
}

#[test]
fn a_history_without_room_remembers_nothing() {
    let mut history = KeyHistory::new(HistoryConfig { bytes_max: ENTRY_BYTES, seed: 0 });
    note(&mut history, 1);
    assert!(history.is_empty());
    let mut history = KeyHistory::new(HistoryConfig { bytes_max: 1 << 20, seed: 0 });
    let key = vec![0; HISTORY_KEY_BYTES_MAX + 1];
    history.note(&Noted { hash: 1, key: &key, weight: 1, cost_us: 0, class: 0 }, MOMENT);
    assert_eq!((history.len(), history.requests()), (0, 1));
}

#[test]
fn plans_keep_order_and_budget() {
    let mut history = history(10);
    for (key, weight) in [(1, 2), (2, 5), (3, 1), (4, 3), (5, 1), (6, 9)] {
        note_weighing(&mut history, key, weight);
    }
    // Scores: the later, the higher; key 4 is left out.
    let rank = |_: &Outlook, candidates: &[Candidate], scores: &mut [u32]| {
        for (candidate, score) in candidates.iter().zip(scores) {
            *score = if candidate.weight == 3 { 0 } else { 100 - candidate.age };
        }
        Ok::<(), ()>(())
    };
    let taken = |budget, resident: u32| {
        let mut plan = WarmPlan::ranked(&history, &outlook(budget), rank).unwrap();
        assert_eq!(plan.ranked_len(), 5);
        let resident = hash_u64(u64::from(resident), 0);
        let next = || plan.next_key(|hash, _| hash == resident).map(|key| key_of(&key));
        std::iter::from_fn(next).collect::<Vec<u32>>()
    };
    assert_eq!(taken(100, 0), [6, 5, 3, 2, 1]);
    assert_eq!(taken(100, 3), [6, 5, 2, 1]);
    assert_eq!(taken(8, 0), [5, 3, 2], "6 is too heavy, then 1 is");
    assert_eq!(taken(0, 0), []);
    let failing = |_: &Outlook, _: &[Candidate], _: &mut [u32]| Err("a fault");
    assert_eq!(WarmPlan::ranked(&history, &outlook(5), failing).unwrap_err(), "a fault");
}

#[test]
fn decayed_frequency_needs_no_policy() {
    let mut history = history(10);
    for key in [1, 1, 1, 2, 3, 3] {
        note(&mut history, key);
    }
    let mut plan = WarmPlan::by_decayed(&history, &outlook(2));
    let next = || plan.next_key(|_, _| false).map(|key| key_of(&key));
    assert_eq!(std::iter::from_fn(next).collect::<Vec<u32>>(), [1, 3]);
    assert!(plan.is_done() && plan.budget() == 0 && !plan.is_empty());
    plan.stop();
    assert!(plan.is_empty());
}

#[test]
fn a_pace_spreads_fetches_and_spares_a_failing_origin() {
    let origin = OriginConfig { fetches_max: 4, ..OriginConfig::default() };
    let mut pace = Pace::new(PaceConfig { fetches_per_second: 100, origin });
    assert!(pace.begin(1_000));
    // Since nothing was fetched in the first second, it may catch up a tenth of one.
    assert!(pace.begin(1_000) && pace.begin(1_000) && pace.begin(1_000));
    assert!(!pace.begin(1_000), "four are under way");
    (0..4).for_each(|_| pace.answered(1));
    assert_eq!(pace.under_way(), 0);
    let begun = (2_000..3_000)
        .filter(|&now_ms| {
            let begun = pace.begin(now_ms);
            if begun {
                pace.answered(1);
            }
            begun
        })
        .count();
    assert!((100..=111).contains(&begun), "{begun}");
    assert!(pace.begin(3_010));
    pace.failed(3_010);
    assert!(!pace.begin(3_109) && pace.begin(3_110));
}

#[test]
fn rehearsals_teach_what_is_asked_for_again() {
    let mut history = history(4_000);
    let config = TrainerConfig { horizon: 200, draws: 400, labels_max: 20_000, seed: 3 };
    let mut trainer = WarmingTrainer::new(config);
    assert_eq!(trainer.train(), None);
    // A hundred keys in a circle, and as many that never come back.
    for round in 0..20_000_u32 {
        note(&mut history, round % 100);
        note(&mut history, 1_000 + round);
        trainer.rehearse(&history, MOMENT);
    }
    assert!(trainer.labels() > 10_000);
    let model = trainer.train().unwrap();
    assert_eq!((model.version, model.validate()), (1, Ok(())));
    let lifetime = ostler_features::Lifetime::of(MOMENT.lifetime);
    let odds = |key| {
        let facts = facts_of(&candidate(&history, key).unwrap());
        model.odds(&ostler_features::WarmingFeatures::of(&facts, &lifetime))
    };
    assert!(odds(7) > 2.0 && odds(20_990) < -2.0, "{} {}", odds(7), odds(20_990));
    let mut again = WarmingTrainer::new(config);
    again.clone_from(&trainer);
    assert_eq!(again.train().unwrap().weights, trainer.train().unwrap().weights);
}

/// The hash of the tests' keys, which are numbers of four bytes; of others, some hash.
fn hash_of(key: &[u8]) -> u64 {
    match key.try_into() {
        Ok(bytes) => hash_u64(u64::from(u32::from_le_bytes(bytes)), 0),
        Err(_) => ostler_abi::hash_bytes(key, 0),
    }
}

fn snapshot_of(history: &KeyHistory, keys_max: usize) -> Vec<u8> {
    let header = SnapshotHeader { saved_ms: 17, lifetime: 100, model: vec![1, 2, 3] };
    history.to_snapshot(&header, keys_max, &|hash, _| hash == hash_u64(1, 0))
}

#[test]
fn snapshots_bring_everything_back() {
    let mut before = history(100);
    for key in [1, 2, 1, 3, 3, 1, 4, 1] {
        note(&mut before, key);
    }
    let bytes = snapshot_of(&before, usize::MAX);
    let config = HistoryConfig { bytes_max: 1 << 20, seed: 0 };
    let (after, header) = KeyHistory::try_from_snapshot(&bytes, config, &hash_of).unwrap();
    after.validate().unwrap();
    assert_eq!((header.saved_ms, header.lifetime, &*header.model), (17, 100, &[1, 2, 3][..]));
    assert_eq!((after.len(), after.requests()), (4, before.requests()));
    for key in 1..=4 {
        let mut expected = candidate(&before, key).unwrap();
        expected.flags = u8::from(key == 1);
        assert_eq!(candidate(&after, key), Some(expected));
    }
    // The best ones first: in a smaller history, and in a smaller snapshot.
    let small = HistoryConfig { bytes_max: ENTRY_BYTES + 4, seed: 0 };
    let (one, _) = KeyHistory::try_from_snapshot(&bytes, small, &hash_of).unwrap();
    let (same, _) =
        KeyHistory::try_from_snapshot(&snapshot_of(&before, 1), config, &hash_of).unwrap();
    assert_eq!((one.key(0).unwrap().0, one.len()), (hash_u64(1, 0), 1));
    assert_eq!((same.key(0).unwrap().0, same.len()), (hash_u64(1, 0), 1));
}

/// Bytes with a fitting checksum, so that what comes after it is reached.
fn sealed(payload: &[u8]) -> Vec<u8> {
    let mut bytes = b"OSTWARM1".to_vec();
    bytes.extend(ostler_abi::hash_bytes(payload, 0x7761_726d).to_le_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig {
        rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn the_bound_holds_whatever_is_noted(
        keys in proptest::collection::vec((0u32..200, 0usize..40, any::<bool>()), 0..400),
        bytes_max in 0usize..20_000,
    ) {
        let mut history = KeyHistory::new(HistoryConfig { bytes_max, seed: 7 });
        let mut requests = 0;
        for (key, len, is_removed) in keys {
            let hash = hash_u64(u64::from(key), 0);
            if is_removed {
                history.forget(hash);
            } else {
                requests += 1;
                let key = vec![0; len];
                history.note(&Noted { hash, key: &key, weight: 1, cost_us: 0, class: 0 }, MOMENT);
            }
            prop_assert!(history.bytes() <= bytes_max);
            prop_assert_eq!(history.validate(), Ok(()));
        }
        prop_assert_eq!(history.requests(), requests);
    }

    #[test]
    fn garbage_is_no_snapshot(garbage in proptest::collection::vec(any::<u8>(), 0..300)) {
        let config = HistoryConfig { bytes_max: 10_000, seed: 0 };
        prop_assert!(KeyHistory::try_from_snapshot(&garbage, config, &hash_of).is_err());
        if let Ok((history, _)) = KeyHistory::try_from_snapshot(&sealed(&garbage), config, &hash_of) {
            prop_assert_eq!(history.validate(), Ok(()));
        }
    }

    #[test]
    fn a_changed_snapshot_is_refused(
        keys in 1u32..20, at in any::<prop::sample::Index>(), flip in 1u8..=255, cut in any::<bool>(),
    ) {
        let mut history = history(100);
        (0..keys).for_each(|key| note(&mut history, key));
        let mut bytes = snapshot_of(&history, usize::MAX);
        let config = HistoryConfig { bytes_max: 1 << 20, seed: 0 };
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] ^= flip }
        prop_assert!(KeyHistory::try_from_snapshot(&bytes, config, &hash_of).is_err());
        // The same with a checksum that fits: it decodes to something sound, or is refused.
        if let Some(payload) = bytes.get(16..)
            && let Ok((history, _)) = KeyHistory::try_from_snapshot(&sealed(payload), config, &hash_of)
        {
            prop_assert_eq!(history.validate(), Ok(()));
        }
    }
}
