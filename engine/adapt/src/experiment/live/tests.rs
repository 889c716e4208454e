//! Live experiments with records and counts made by hand, and on a cache of the engine.

use std::collections::VecDeque;
use std::sync::Arc;

use ostler_abi::{InitRefused, Kind, NO_SLOT, NativePolicy, Setup, Step};
use ostler_core::{Cache, NativeInstance, PolicyFault, PolicyInstance, Wants};

use super::*;
use crate::experiment::{Arm, Deal, ExperimentConfig, Rule, StopReason};

/// First in, first out, every entry of weight 1.
struct FirstIn {
    queue: VecDeque<u32>,
    capacity: usize,
}

impl Step for FirstIn {
    fn step(&mut self, events: &[Record], victims: &mut [u32]) -> usize {
        let mut count = 0;
        for event in events {
            match event.kind() {
                Some(Kind::Insert | Kind::Adopt) => self.queue.push_back(event.slot),
                Some(Kind::Remove | Kind::Expire) => self.queue.retain(|&slot| slot != event.slot),
                Some(Kind::Capacity) => self.capacity = event.key_hash as usize,
                _ => {}
            }
            while self.queue.len() > self.capacity {
                victims[count] = self.queue.pop_front().unwrap();
                count += 1;
            }
        }
        count
    }
}

fn build(setup: Setup, _: &str) -> Result<Box<dyn Step + Send>, InitRefused> {
    Ok(Box::new(FirstIn { queue: VecDeque::new(), capacity: setup.capacity as usize }))
}

struct Source;

impl InstanceSource for Source {
    fn label(&self) -> &str {
        "first-in"
    }
    fn params(&self) -> &str {
        "{}"
    }
    fn code_id(&self) -> String {
        "first-in".to_owned()
    }
    fn wants(&self) -> Wants {
        Wants::NONE
    }
    fn instance(&self, setup: Setup) -> Result<Box<dyn PolicyInstance>, PolicyFault> {
        let policy = NativePolicy { manifest: "{}", build };
        match NativeInstance::try_new(&policy, setup, self.params()) {
            Ok(instance) => Ok(Box::new(instance)),
            Err(_) => Err(PolicyFault::Refused { code: 1 }),
        }
    }
}

fn experiment(config: ExperimentConfig) -> Experiment {
    let arm = |name: &str| Arm {
        name: name.to_owned(),
        code_id: name.to_owned(),
        params: "{}".to_owned(),
        share: 0.5,
    };
    let deal = Deal::try_new(16, vec![arm("a"), arm("b")], 3).unwrap();
    Experiment::try_new(deal, config).unwrap()
}

fn stats(hits: u64, misses: u64) -> Stats {
    let mut stats = Stats::default();
    (stats.hits, stats.misses, stats.capacity) = (hits, misses, 4);
    stats
}

fn live(objective: Objective, share: SampleShare) -> LiveExperiment {
    let config = ExperimentConfig { objective, ..ExperimentConfig::default() };
    LiveExperiment::new(experiment(config), Arc::new(Source), share, &[stats(0, 0); 16])
}

fn record(kind: Kind, key: u64, (weight, count): (u32, u8)) -> Record {
    Record { key_hash: key, weight, cost_us: 10 * weight, count, ..Record::new(kind, NO_SLOT) }
}

/// What shard 0 has counted: worth, hits and the shadow's hits.
fn tally(live: &LiveExperiment) -> [u64; 3] {
    let Tally { worth, hit_worth, shadow_hit_worth } = live.sides[0].heard.sampled;
    [worth, hit_worth, shadow_hit_worth]
}

#[test]
fn records_are_gets_of_the_shard_and_of_the_shadow() {
    use Kind::{Hit, Insert, Miss, Remove, Update};
    // After each record: what was counted for objects, and for bytes.
    /// Kind, key, weight and count; what was counted.
    type Row = (Kind, u64, (u32, u8), [u64; 3], [u64; 3]);
    let course: [Row; 9] = [
        // A miss waits for the put that answers it.
        (Miss, 1, (1, 1), [0, 0, 0], [0, 0, 0]),
        (Insert, 1, (2, 1), [1, 0, 0], [2, 0, 0]),
        (Hit, 1, (2, 3), [4, 3, 3], [8, 6, 6]),
        // The live cache had it before: the shadow takes it in with the first hit of two.
        (Hit, 2, (1, 2), [6, 5, 4], [10, 8, 7]),
        (Remove, 1, (2, 1), [6, 5, 4], [10, 8, 7]),
        (Miss, 1, (1, 1), [6, 5, 4], [10, 8, 7]),
        (Miss, 2, (1, 1), [6, 5, 4], [10, 8, 7]),
        // The miss on 2 was not answered, and the shadow holds it.
        (Update, 2, (1, 2), [7, 5, 5], [11, 8, 8]),
        (Insert, 3, (1, 1), [7, 5, 5], [11, 8, 8]),
    ];
    let mut objects = live(Objective::Object, SampleShare::ALL);
    let mut bytes = live(Objective::Byte, SampleShare::ALL);
    let mut costs = live(Objective::Cost, SampleShare::ALL);
    for (step, (kind, key, shape, in_objects, in_bytes)) in course.into_iter().enumerate() {
        for live in [&mut objects, &mut bytes, &mut costs] {
            live.take(0, &[record(kind, key, shape)]);
        }
        assert_eq!((tally(&objects), tally(&bytes)), (in_objects, in_bytes), "step {step}");
        assert_eq!(tally(&costs), in_bytes.map(|worth| 10 * worth), "step {step}");
    }
}

#[test]
fn a_sample_ahead_of_its_counts_waits() {
    let mut live = live(Objective::Object, SampleShare::ALL);
    live.take(0, &[record(Kind::Hit, 1, (1, 2))]);
    let mut counts = [stats(1, 0); 16];
    assert_eq!(live.close(&counts), Verdict::Continue);
    assert_eq!(live.experiment().requests(), 15, "shard 0 waits");
    counts[0] = stats(2, 1);
    let _ = live.close(&counts);
    assert_eq!(live.experiment().requests(), 18);
    let _ = live.close(&counts);
    assert_eq!(live.experiment().windows(), 2, "nothing happened in the third");
}

#[test]
fn a_smaller_share_begins_anew_and_keeps_what_the_shards_count() {
    let mut live = live(Objective::Object, SampleShare::ALL);
    live.take(0, &[record(Kind::Miss, 1, (1, 1)), record(Kind::Insert, 1, (1, 1))]);
    assert_eq!(live.sides[0].heard.shadow.len(), 1);
    let counts = [stats(0, 5); 16];
    live.reduce(SampleShare::one_in(4), &counts);
    assert_eq!((tally(&live), live.sides[0].heard.shadow.len()), ([0; 3], 0));
    assert_eq!(live.sides[0].heard.shadow.capacity(), 1);
    let _ = live.close(&counts);
    assert_eq!((live.experiment().requests(), live.sides[0].is_whole), (80, true));
    let share = live.share();
    let (inside, outside): (Vec<u64>, Vec<u64>) =
        (0..100).map(|key| ostler_abi::hash_u64(key, 1)).partition(|&hash| share.includes(hash));
    for hash in outside.into_iter().chain(inside.iter().copied().take(7)) {
        live.take(0, &[record(Kind::Hit, hash, (1, 1))]);
    }
    assert_eq!(tally(&live), [7, 7, 0], "of other keys nothing is heard");
}

#[test]
fn residents_are_introduced_coldest_first() {
    let cache = Cache::<u64, u64>::builder(4).shards(1).policy(Arc::new(Source)).build().unwrap();
    for key in 0..4 {
        let _ = cache.insert(key, key);
    }
    let mut live = live(Objective::Object, SampleShare::ALL);
    live.introduce(0, &cache.sample(0, SampleShare::ALL));
    live.introduce(99, &cache.sample(0, SampleShare::ALL));
    assert_eq!((live.sides[0].heard.shadow.len(), tally(&live)), (4, [0; 3]));
}

/// Notes what it was told; fails where the name stands in `fails`.
#[derive(Default)]
struct Notes {
    done: Vec<String>,
    fails: &'static [&'static str],
}

impl Notes {
    fn note(&mut self, what: String) -> Result<(), String> {
        let fails = self.fails.contains(&what.as_str());
        self.done.push(what.clone());
        if fails { Err(format!("{what} failed")) } else { Ok(()) }
    }
}

impl Actuator for &mut Notes {
    type Error = String;

    fn deal(&mut self, arm: usize, shards: &[usize]) -> Result<(), String> {
        assert_eq!(shards.len(), 8);
        self.note(format!("deal {arm}"))
    }

    fn unite(&mut self, arm: usize) -> Result<(), String> {
        self.note(format!("unite {arm}"))
    }

    fn withdraw(&mut self) -> Result<(), String> {
        self.note("withdraw".to_owned())
    }
}

/// Windows of 1,000 gets a shard, in which those of arm 1 hit `gain` more of them.
fn run(notes: &mut Notes, gain: u64, rule: Rule) -> State {
    let config = ExperimentConfig { rule, ..ExperimentConfig::default() };
    let experiment = experiment(config);
    let deal = experiment.deal().clone();
    let live =
        LiveExperiment::new(experiment, Arc::new(Source), SampleShare::NONE, &[stats(0, 0); 16]);
    let mut conductor = Conductor::start(live, notes, 100).unwrap();
    for now_ms in (0..5_000).step_by(50) {
        if !conductor.is_due(now_ms) {
            continue;
        }
        let windows = now_ms / 100;
        let hits = |shard: u32| {
            let arm = deal.arm_of(shard).unwrap() as u64;
            windows * (500 + u64::from(shard % 3) + gain * arm)
        };
        let counts: Vec<Stats> =
            (0..16).map(|shard| stats(hits(shard), windows * 1_000 - hits(shard))).collect();
        conductor.close(now_ms, &counts);
    }
    conductor.state().clone()
}

#[test]
fn the_rule_ends_it() {
    let rule = Rule { equivalence: 0.01, ..Rule::default() };
    let aborted = |reason: &str| State::Aborted { reason: reason.to_owned() };
    let stopped = |reason| State::Stopped { reason: Some(reason) };
    let limited = Rule { equivalence: 0.0, requests_max: Some(64_000), ..rule };
    type Row = (u64, Rule, &'static [&'static str], State, &'static [&'static str]);
    let cases: [Row; 5] = [
        (100, rule, &[], State::Promoted { arm: 1, by_rule: true }, &["unite 1"]),
        (0, rule, &[], stopped(StopReason::Equivalent), &["unite 0"]),
        (0, limited, &[], stopped(StopReason::Requests), &["unite 0"]),
        (
            100,
            rule,
            &["unite 1"],
            aborted("arm 1 could not be promoted: unite 1 failed"),
            &["unite 1", "unite 0"],
        ),
        (
            0,
            rule,
            &["unite 0"],
            aborted("the control did not get its seats back, what was before did: unite 0 failed"),
            &["unite 0", "withdraw"],
        ),
    ];
    for (gain, rule, fails, state, done) in cases {
        let mut notes = Notes { fails, ..Notes::default() };
        assert_eq!(run(&mut notes, gain, rule), state);
        assert_eq!(notes.done[..2], ["deal 0", "deal 1"]);
        assert_eq!(notes.done[2..], *done);
    }
}

fn start(notes: &mut Notes) -> Conductor<&mut Notes> {
    Conductor::start(live(Objective::Object, SampleShare::ALL), notes, 100).unwrap()
}

#[test]
fn somebody_ends_it_once() {
    let mut notes = Notes::default();
    let mut conductor = start(&mut notes);
    assert_eq!(conductor.promote(2), Err(ConductorError::NoArm { arm: 2, arms: 2 }));
    assert_eq!(conductor.promote(1), Ok(()));
    assert_eq!(conductor.state(), &State::Promoted { arm: 1, by_rule: false });
    assert_eq!(
        (conductor.stop(), conductor.promote(1)),
        (Err(ConductorError::Over), Err(ConductorError::Over))
    );
    assert!(!conductor.is_due(0) && !conductor.is_due(1_000));

    let mut notes = Notes { fails: &["unite 1"], ..Notes::default() };
    let mut conductor = start(&mut notes);
    assert_eq!(conductor.promote(1), Err(ConductorError::Seat("unite 1 failed".to_owned())));
    assert_eq!(conductor.state(), &State::Running, "it goes on");
    assert_eq!(conductor.stop(), Ok(()));
    assert_eq!(conductor.state(), &State::Stopped { reason: None });

    let mut notes = Notes { fails: &["unite 0", "withdraw"], ..Notes::default() };
    let mut conductor = start(&mut notes);
    conductor.abort("a fault".to_owned());
    let State::Aborted { reason } = conductor.state() else { panic!("it is aborted") };
    assert!(reason.starts_with("a fault; neither the control"), "{reason}");
}

#[test]
fn a_clock_that_is_set_back_stalls_nothing() {
    let mut notes = Notes::default();
    let mut conductor = start(&mut notes);
    assert!(!conductor.is_due(1_000_000) && !conductor.is_due(1_000_099));
    assert!(conductor.is_due(999_999));
    conductor.close(5_000, &[stats(0, 0); 16]);
    assert!(!conductor.is_due(5_099) && conductor.is_due(5_100));
    conductor.close(u64::MAX, &[stats(0, 0); 16]);
    assert!(conductor.is_due(u64::MAX - 101));
}

#[test]
fn a_get_that_nobody_answers_counts_what_is_known_of_it() {
    let mut live = live(Objective::Byte, SampleShare::ALL);
    live.take(0, &[record(Kind::Miss, 1, (1, 1)), record(Kind::Insert, 1, (700, 1))]);
    // Not answered: the shadow holds nothing of them, or it does.
    live.take(0, &[record(Kind::Miss, 2, (1, 1)), record(Kind::Remove, 2, (1, 1))]);
    assert_eq!(tally(&live), [1400, 0, 0]);
}

#[test]
fn a_deal_that_fails_is_taken_back() {
    for (fails, done) in [
        (&["deal 0"] as &'static [&'static str], &["deal 0"] as &[&str]),
        (&["deal 1"], &["deal 0", "deal 1", "withdraw"]),
    ] {
        let mut notes = Notes { fails, ..Notes::default() };
        let live = live(Objective::Object, SampleShare::ALL);
        assert!(Conductor::start(live, &mut notes, 100).is_err());
        assert_eq!(notes.done, done);
    }
}
