//! The learner, on streams whose best model is known.

use super::*;

/// A loop of 300 keys, and between them keys that are asked for once.
fn requests(n: u64) -> impl Iterator<Item = u64> {
    (0..n)
        .map(|i| if i % 2 == 0 { i / 2 % 300 } else { 1_000_000 + i })
        .map(|key: u64| key.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

fn learner(entries: u64) -> Learner {
    Learner::new(LearnerConfig { capacity: 100, entries, ranking: Ranking::Objects })
}

#[test]
fn the_same_requests_give_the_same_models() {
    let models = || {
        let mut learner = learner(100);
        let mut models = Vec::new();
        for (at, hash) in requests(40_000).enumerate() {
            learner.observe(hash, 1);
            models.extend(learner.take().map(|model| (at, model)));
        }
        models
    };
    let first = models();
    assert!(first.len() > 3, "{}", first.len());
    assert_eq!(first, models());
    let versions: Vec<u32> = first.iter().map(|(_, model)| model.version).collect();
    assert_eq!(versions, (1..=first.len() as u32).collect::<Vec<_>>());
}

#[test]
fn what_is_published_is_a_model() {
    let mut learner = learner(100);
    for hash in requests(40_000) {
        learner.observe(hash, 1);
        if let Some(model) = learner.take() {
            assert_eq!(model.validate(), Ok(()));
            assert_eq!(Model::try_from_bytes(&model.to_bytes()), Ok(model));
        }
    }
    let report = learner.report();
    assert_eq!(report.requests, 40_000);
    assert!(report.error < report.error_prior, "{report:?}");
    assert!(report.bias.abs() < 0.05, "{report:?}");
}

#[test]
fn trained_garbage_is_refused_and_changes_nothing() {
    let mut learner = learner(100);
    learner.take();
    let before = learner.models.clone();
    for weights in [None, Some([f32::NAN; WEIGHTS]), Some([1e30; WEIGHTS])] {
        learner.propose(Training::Ridge(0), weights);
    }
    assert_eq!(learner.models, before);
    assert_eq!(learner.take(), None);
    let report = learner.report();
    assert_eq!((report.refused, report.unsolved), (3, 1));
}

/// Weights that are valid and evict whatever will be used next: the trials find out.
#[test]
fn a_model_that_misses_more_loses_its_place_to_the_prior() {
    let mut learner = learner(100);
    let hash = |key: u64| key.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let upside_down = ostler_features::RECENCY.map(|weight| -16.0 * weight);
    for at in 0..30_000_u64 {
        for training in [Training::Ridge(0), Training::Ridge(1), Training::Window] {
            learner.propose(training, Some(upside_down));
        }
        // Each key is asked for ten times within some requests, and never again.
        learner.observe(hash(at / 100 * 10 + at % 10), 1);
    }
    let report = learner.report();
    assert_eq!((report.leader, report.to_prior), ("prior", 1));
    assert_eq!(learner.take().map(|model| model.weights), Some(PRIOR));
}

#[test]
fn a_large_cache_is_learned_from_on_a_share_of_its_keys() {
    let mut known = Learner::new(LearnerConfig {
        capacity: 1 << 20,
        entries: 1 << 20,
        ranking: Ranking::Objects,
    });
    let mut unknown =
        Learner::new(LearnerConfig { capacity: 1 << 20, entries: 0, ranking: Ranking::Objects });
    for key in 0..400_000_u64 {
        let hash = ostler_abi::hash_u64(key, 0);
        known.observe(hash, 1);
        unknown.observe(hash, 1);
    }
    let report = known.report();
    assert!((report.share - 1.0 / 256.0).abs() < 1e-6);
    assert!(report.requests.abs_diff(400_000 / 256) < 200, "{}", report.requests);
    assert!(unknown.report().share < 0.1, "{}", unknown.report().share);
}
