//! A chooser with policies, a cache and a hand made for the purpose.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use ostler_abi::{InitRefused, NO_SLOT, NativePolicy, Setup, Step};
use ostler_core::{
    Cache, InstanceSource, NativeInstance, PolicyFault, PolicyInstance, Stats, Tap, Victims, Wants,
};

use super::*;
use crate::live::{Action, Adaptive, AdaptiveConfig, AdaptiveError, Refusal};
use crate::panel::PanelConfig;
use crate::shadow::Shadow;

/// First in, first out; or, the other way round, whoever came first stays.
struct Queue {
    order: VecDeque<(u32, u32)>,
    weight: u64,
    capacity: u64,
    stays: bool,
}

impl Step for Queue {
    fn step(&mut self, events: &[Record], victims: &mut [u32]) -> usize {
        let mut count = 0;
        for event in events {
            match event.kind() {
                Some(Kind::Insert | Kind::Adopt) => {
                    self.order.push_back((event.slot, event.weight));
                    self.weight += u64::from(event.weight);
                }
                Some(Kind::Remove | Kind::Expire) => self.forget(event.slot),
                Some(Kind::Capacity) => self.capacity = event.key_hash,
                _ => {}
            }
            while self.weight > self.capacity && count < victims.len() {
                let next = if self.stays { self.order.pop_back() } else { self.order.pop_front() };
                let Some((slot, weight)) = next else { break };
                self.weight -= u64::from(weight);
                victims[count] = slot;
                count += 1;
            }
        }
        count
    }
}

impl Queue {
    fn forget(&mut self, slot: u32) {
        if let Some(place) = self.order.iter().position(|&(other, _)| other == slot) {
            let gone = self.order.remove(place);
            self.weight -= gone.map_or(0, |(_, weight)| u64::from(weight));
        }
    }
}

fn build(setup: Setup, params: &str) -> Result<Box<dyn Step + Send>, InitRefused> {
    let stays = params.contains("true");
    Ok(Box::new(Queue { order: VecDeque::new(), weight: 0, capacity: setup.capacity, stays }))
}

/// A policy that takes a microsecond for each record.
struct Slow(NativeInstance, u64);

impl PolicyInstance for Slow {
    fn events(&mut self) -> &mut [Record] {
        self.0.events()
    }
    fn step(&mut self, n: usize) -> Result<Victims<'_>, PolicyFault> {
        self.1 += 1_000 * n as u64;
        self.0.step(n)
    }
    fn memory_bytes(&self) -> u64 {
        0
    }
    fn guest_ns(&self) -> u64 {
        self.1
    }
}

#[derive(Clone, Copy)]
enum Code {
    In,
    Stay,
    Broken,
    Slow,
    /// Fails so many times, and then does as the first one.
    Fickle(&'static AtomicU32),
}

impl InstanceSource for Code {
    fn label(&self) -> &str {
        match self {
            Self::In | Self::Stay => "queue",
            Self::Broken => "broken",
            Self::Slow => "slow",
            Self::Fickle(_) => "fickle",
        }
    }
    fn params(&self) -> &str {
        if matches!(self, Self::Stay) { "{\"stays\":true}" } else { "{}" }
    }
    fn code_id(&self) -> String {
        self.label().to_owned()
    }
    fn wants(&self) -> Wants {
        Wants::NONE
    }
    fn instance(&self, setup: Setup) -> Result<Box<dyn PolicyInstance>, PolicyFault> {
        let fails = match self {
            Self::Broken => true,
            Self::Fickle(left) => {
                left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok()
            }
            _ => false,
        };
        if fails {
            return Err(PolicyFault::Refused { code: 7 });
        }
        let policy = NativePolicy { manifest: "{}", build };
        let made = NativeInstance::try_new(&policy, setup, self.params());
        let made = made.map_err(|_| PolicyFault::Refused { code: 1 })?;
        Ok(if matches!(self, Self::Slow) { Box::new(Slow(made, 0)) } else { Box::new(made) })
    }
}

/// A cache that is only asked for its size.
struct Fake(Mutex<(u64, Stats)>);

impl LiveCache for Fake {
    fn set_tap(&self, _: Option<Arc<dyn Tap>>) {}

    fn clear_tap(&self, _: &Arc<dyn Tap>) -> bool {
        true
    }
    fn shards(&self) -> usize {
        1
    }
    fn sample(&self, _: usize, _: SampleShare) -> Vec<Resident> {
        Vec::new()
    }
    fn stats(&self) -> Stats {
        self.0.lock().unwrap().1
    }
    fn capacity(&self) -> u64 {
        self.0.lock().unwrap().0
    }
}

#[derive(Default)]
struct Hand {
    in_charge: Option<usize>,
    swaps: Vec<(usize, Reason)>,
    refusal: Option<Refusal>,
    pause: Option<String>,
}

struct Handle(Arc<Mutex<Hand>>);

impl Actuator for Handle {
    fn swap(&mut self, to: usize, reason: Reason) -> Result<(), Refusal> {
        let mut hand = self.0.lock().unwrap();
        if let Some(refusal) = &hand.refusal {
            return Err(refusal.clone());
        }
        hand.swaps.push((to, reason));
        hand.in_charge = Some(to);
        Ok(())
    }
    fn in_charge(&mut self) -> Option<usize> {
        self.0.lock().unwrap().in_charge
    }
    fn pause(&mut self) -> Option<String> {
        self.0.lock().unwrap().pause.clone()
    }
}

const CAPACITY: u64 = 1000;

/// A chooser and what is around it. The cache runs a loop of twice its capacity.
struct Bench {
    chooser: Chooser,
    cache: Arc<Fake>,
    hand: Arc<Mutex<Hand>>,
    shown: Arc<Shown>,
    unix_ms: u64,
    next: u64,
}

impl Bench {
    fn new(portfolio: &[Code]) -> Self {
        let sources = portfolio.iter().map(|&code| Arc::new(code) as Arc<dyn InstanceSource>);
        let config = PanelConfig { capacity: 1, objective: Objective::Object, seed: 1 };
        let panel = Panel::try_new(sources.collect(), &config).unwrap();
        let cache = Arc::new(Fake(Mutex::new((CAPACITY, Stats::default()))));
        let hand = Hand { in_charge: Some(0), ..Hand::default() };
        let hand = Arc::new(Mutex::new(hand));
        let shown = Arc::new(Shown::default());
        let config = (Objective::Object, SelectorConfig::default());
        let handle = Box::new(Handle(Arc::clone(&hand)));
        let chooser = Chooser::new(cache.clone(), panel, config, handle);
        let chooser = chooser.shown_in(Arc::clone(&shown));
        let mut bench = Self { chooser, cache, hand, shown, unix_ms: 1, next: 0 };
        bench.tick(SampleShare::ALL);
        bench
    }

    fn tick(&mut self, share: SampleShare) {
        self.unix_ms += 1000;
        self.chooser.tick(Moment::new(self.unix_ms, share));
    }

    /// Requests of the loop, each `cost_us` to load. In the cache itself the first half stays where
    /// candidate 1 is in charge, and nothing else is hit.
    fn run(&mut self, requests: u64, cost_us: u32) {
        for _ in 0..requests {
            let key = self.next % (2 * CAPACITY);
            self.next += 1;
            let key_hash = ostler_abi::hash_u64(key, 3);
            let record = Record { key_hash, cost_us, ..Record::new(Kind::Hit, NO_SLOT) };
            let hit = self.hand.lock().unwrap().in_charge == Some(1) && key < CAPACITY;
            let kind = |kind: Kind| Record { kind: kind as u8, ..record };
            if hit {
                self.chooser.take(0, &[record]);
            } else {
                self.chooser.take(0, &[kind(Kind::Miss), kind(Kind::Insert)]);
            }
            if self.next.is_multiple_of(100) {
                self.tick(self.chooser.now.share);
            }
        }
    }

    fn actions(&self) -> Vec<Action> {
        self.shown.decisions.newest_first().iter().map(|decision| decision.action).collect()
    }

    fn swaps(&self) -> Vec<(usize, Reason)> {
        self.hand.lock().unwrap().swaps.clone()
    }
}

#[test]
fn the_better_one_takes_over_and_the_evidence_is_kept() {
    let mut bench = Bench::new(&[Code::In, Code::Stay]);
    bench.run(20_000, 0);
    assert_eq!(bench.swaps().iter().map(|swap| swap.0).collect::<Vec<_>>(), [1]);
    let decisions = bench.shown.decisions.newest_first();
    let [swap] = &decisions[..] else { panic!("{decisions:?}") };
    assert_eq!(swap.action, Action::Tune, "the same code with other parameters");
    assert_eq!(swap.from.as_deref(), Some("queue{}"));
    assert_eq!(swap.to.as_deref(), Some("queue{\"stays\":true}"));
    assert!(swap.gain > 0.2 && swap.z > 2.5 && swap.requests > CAPACITY, "{swap:?}");
    let [inwards, stays] = &swap.candidates[..] else { panic!("{swap:?}") };
    assert!(inwards.hit_ratio < 0.01 && stays.hit_ratio > 0.2, "{swap:?}");
    let status = bench.shown.status();
    assert!(status.is_warm && status.windows > 10 && status.hold.is_none(), "{status:?}");
    assert!(status.candidates[1].in_charge && status.live_hit_ratio > 0.3, "{status:?}");
}

#[test]
fn a_pause_and_a_stranger_in_charge_hold() {
    let mut bench = Bench::new(&[Code::In, Code::Stay]);
    bench.hand.lock().unwrap().pause = Some("an experiment runs".to_owned());
    bench.run(10_000, 0);
    assert_eq!((bench.swaps().len(), bench.actions()), (0, vec![Action::Hold]));
    bench.hand.lock().unwrap().pause = None;
    bench.hand.lock().unwrap().in_charge = None;
    bench.run(10_000, 0);
    assert_eq!((bench.swaps().len(), bench.actions()), (0, vec![Action::Hold; 2]));
    let reason = bench.shown.decisions.newest_first()[0].reason.clone();
    assert_eq!(reason, "the policy in charge is not in the portfolio");
    bench.hand.lock().unwrap().in_charge = Some(0);
    bench.run(10_000, 0);
    assert_eq!(bench.swaps().len(), 1);
}

#[test]
fn who_is_put_in_charge_by_others_is_where_it_goes_on() {
    let mut bench = Bench::new(&[Code::In, Code::Stay]);
    bench.hand.lock().unwrap().in_charge = Some(1);
    bench.run(20_000, 0);
    assert_eq!((bench.swaps(), bench.actions()), (vec![], vec![]));
    assert_eq!(bench.chooser.selector.in_charge(), 1);
}

#[test]
fn a_refused_swap_is_tried_again_later_unless_it_is_final() {
    let mut bench = Bench::new(&[Code::In, Code::Stay]);
    let refusal = |is_final| Refusal { reason: "no".to_owned(), is_final };
    bench.hand.lock().unwrap().refusal = Some(refusal(false));
    bench.run(20_000, 0);
    let refusals = bench.actions();
    assert!((1..10).contains(&refusals.len()), "at most one in 30 seconds: {refusals:?}");
    assert!(refusals.iter().all(|&action| action == Action::Refused));
    bench.hand.lock().unwrap().refusal = Some(refusal(true));
    bench.run(20_000, 0);
    assert_eq!(bench.actions()[..2], [Action::Demoted, Action::Refused]);
    bench.hand.lock().unwrap().refusal = None;
    bench.run(20_000, 0);
    assert_eq!(bench.swaps(), []);
    let status = bench.shown.status();
    assert_eq!(status.candidates[1].out.as_deref(), Some("no"));
}

#[test]
fn a_policy_that_fails_is_out_and_one_in_charge_is_replaced() {
    let mut bench = Bench::new(&[Code::In, Code::In, Code::Broken]);
    bench.run(5_000, 0);
    let decisions = bench.shown.decisions.newest_first();
    assert_eq!((decisions.len(), decisions[0].action), (1, Action::Demoted));
    assert_eq!(decisions[0].to.as_deref(), Some("broken"));
    {
        let mut size = bench.cache.0.lock().unwrap();
        (size.1.shards_in_charge, size.1.policy_faults) = (0, 1);
    }
    bench.run(5_000, 0);
    assert_eq!(bench.swaps()[..1], [(1, Reason::Fault)]);
}

/// A microsecond a request, where a load takes 50: as if it had missed two of a hundred more.
#[test]
fn time_in_the_policy_is_charged_against_what_loads_cost() {
    let mut bench = Bench::new(&[Code::In, Code::Slow]);
    bench.run(5_000, 50);
    assert_eq!(bench.chooser.loads.mean_us(), Some(50.0));
    let standing = bench.chooser.selector.standing(1);
    assert!((standing.gain + 0.02).abs() < 1e-3, "{standing:?}");
    assert!((bench.chooser.guest_ns_per_request[1] - 1_000.0).abs() < 1.0);
    let status = bench.shown.status();
    assert_eq!(status.candidates[0].guest_ns, 0);
    assert!(status.candidates[1].guest_ns >= 5_000_000, "{status:?}");
    // Where nobody says what a load costs, time is not weighed against anything.
    let mut bench = Bench::new(&[Code::In, Code::Slow]);
    bench.run(5_000, 0);
    assert_eq!(bench.chooser.selector.standing(1).difference, 0.0);
}

#[test]
fn nothing_is_concluded_where_too_much_does_not_fit_the_shadows() {
    // One request in so many is for an entry of this weight.
    let cases = [(10, 2_000, true), (50, 100_000, true), (50, 900, false), (1_000, 2_000, true)];
    for (every, weight, holds) in cases {
        let mut bench = Bench::new(&[Code::In, Code::Stay]);
        bench.hand.lock().unwrap().pause = None;
        for number in 0..20_000_u64 {
            let weight = if number % every == 0 { weight } else { 1 };
            let key_hash = ostler_abi::hash_u64(number % 1_500, 3);
            let record = Record { key_hash, weight, ..Record::new(Kind::Miss, NO_SLOT) };
            let answer = Record { kind: Kind::Insert as u8, ..record };
            bench.chooser.take(0, &[record, answer]);
        }
        let is_held =
            bench.chooser.hold.as_ref().is_some_and(|reason| reason.contains("too large"));
        assert_eq!(is_held, holds, "one in {every} of {weight}: {:?}", bench.chooser.hold);
    }
}

#[test]
fn swaps_within_an_hour_are_limited() {
    let mut bench = Bench::new(&[Code::In, Code::Stay]);
    bench.chooser.swaps_per_hour_max = 1;
    bench.chooser.swapped_ms.push_back(bench.unix_ms);
    bench.run(20_000, 0);
    assert_eq!((bench.swaps(), bench.actions()), (vec![], vec![Action::Hold]));
    let reason = bench.shown.decisions.newest_first()[0].reason.clone();
    assert_eq!(reason, "there were 1 swaps within an hour, as many as may be");
    bench.unix_ms += HOUR_MS;
    bench.run(1_000, 0);
    assert_eq!(bench.swaps().len(), 1);
    assert!(bench.chooser.hold.is_none());
}

#[test]
fn a_clock_that_is_set_back_stalls_nothing() {
    let mut bench = Bench::new(&[Code::In, Code::Stay]);
    bench.unix_ms = 10 * HOUR_MS;
    bench.hand.lock().unwrap().refusal = Some(Refusal { reason: "no".to_owned(), is_final: false });
    while bench.actions().is_empty() {
        bench.run(100, 0);
    }
    bench.hand.lock().unwrap().refusal = None;
    bench.unix_ms = HOUR_MS;
    bench.run(1_000, 0);
    assert_eq!(bench.swaps().len(), 1);
}

#[test]
fn who_failed_once_is_trusted_again_where_somebody_appoints_it() {
    // It fails where the panel is made and at the first filling.
    let left = Box::leak(Box::new(AtomicU32::new(2)));
    let mut bench = Bench::new(&[Code::In, Code::In, Code::Fickle(left)]);
    bench.run(5_000, 0);
    assert_eq!(bench.actions(), [Action::Demoted]);
    bench.hand.lock().unwrap().in_charge = Some(2);
    {
        // It had lost all seats of the cache too, and has them back.
        let mut size = bench.cache.0.lock().unwrap();
        (size.1.shards_in_charge, size.1.policy_faults) = (1, 1);
    }
    bench.run(20_000, 0);
    assert_eq!((bench.swaps(), bench.actions()), (vec![], vec![Action::Demoted]));
    assert_eq!(bench.chooser.selector.in_charge(), 2);
    assert!(bench.shown.status().candidates[2].out.is_none());
    // Until it fails anew.
    bench.cache.0.lock().unwrap().1.shards_in_charge = 0;
    bench.run(5_000, 0);
    assert_eq!(bench.swaps(), [], "that is what was known when it was appointed");
    bench.cache.0.lock().unwrap().1.policy_faults = 2;
    bench.run(5_000, 0);
    assert_eq!(bench.swaps()[0].1, Reason::Fault);
}

#[test]
fn a_selector_that_panicked_says_so() {
    let mut bench = Bench::new(&[Code::In, Code::Stay]);
    bench.run(500, 0);
    bench.chooser.ended();
    let status = bench.shown.status();
    assert!(status.hold.is_some_and(|reason| reason.contains("panicked")));
    assert_eq!(status.candidates.len(), 2, "what was known is shown still");
    assert_eq!(bench.actions(), [Action::Hold]);
}

#[test]
fn a_portfolio_that_cannot_be_compared_changes_nothing() {
    for count in [0, 1, 9] {
        let cache = Cache::<u64, u64>::builder(400).build().unwrap();
        let portfolio = (0..count).map(|_| Arc::new(Code::In) as Arc<dyn InstanceSource>);
        let error = Adaptive::start(&cache, portfolio.collect(), AdaptiveConfig::default());
        let is_expected =
            matches!(error.err(), Some(AdaptiveError::Portfolio(error)) if error.count == count);
        assert!(is_expected, "{count}");
        assert_eq!(cache.seat_status().desired, None, "{count}");
    }
    let cache = Cache::<u64, u64>::builder(400).build().unwrap();
    let portfolio = vec![Arc::new(Code::Broken) as Arc<dyn InstanceSource>, Arc::new(Code::In)];
    let error = Adaptive::start(&cache, portfolio, AdaptiveConfig::default()).err();
    assert!(matches!(error, Some(AdaptiveError::Seat(_))), "{error:?}");
    assert_eq!(cache.seat_status().desired, None);
}

#[test]
fn the_capacity_and_the_share_reach_the_shadows() {
    let mut bench = Bench::new(&[Code::In, Code::Stay]);
    assert_eq!(bench.chooser.panel.capacity(), CAPACITY);
    bench.cache.0.lock().unwrap().0 = 500;
    bench.tick(SampleShare::ALL);
    assert_eq!(bench.chooser.panel.capacity(), 500);
    bench.run(3000, 0);
    let requests = bench.chooser.panel.requests();
    assert!(bench.chooser.take_acted(), "the first filling is no work of a listener's");
    bench.tick(SampleShare::one_in(4));
    assert_eq!((bench.chooser.panel.capacity(), bench.chooser.panel.requests()), (125, requests));
    assert!(bench.chooser.take_acted() && !bench.chooser.take_acted());
}

#[test]
fn shadows_begin_with_what_the_cache_holds_coldest_first() {
    let cache = Cache::<u64, u64>::builder(400).shards(2).build().unwrap();
    for key in 0..300 {
        let _ = cache.insert(key, key);
    }
    cache.run_pending();
    let _ = cache.get(&0);
    cache.run_pending();
    let mut residents = LiveCache::sample_all(&cache, SampleShare::ALL);
    residents.sort_by_key(|resident| resident.accessed_ms);
    assert_eq!(residents.len(), 300);
    let mut shadow = Shadow::filled(Arc::new(Code::In), 300, 1, &residents);
    assert_eq!(
        (shadow.len(), shadow.fault().is_none(), shadow.has_turned_over()),
        (300, true, true)
    );
    let part = Shadow::filled(Arc::new(Code::In), 310, 1, &residents);
    assert!(!part.has_turned_over(), "a part that has never been in it is no turn");
    // The policy evicts in the order in which the entries were introduced.
    let hot = residents.iter().find(|resident| resident.hits > 0).unwrap().key_hash;
    let access = ostler_core::Access { time_ms: 10, ..Default::default() };
    for hash in 0..299 {
        shadow.put(&crate::Sampled { hash, weight: 1, access });
    }
    assert!(shadow.weight_of(hot).is_some(), "it was used last, so it goes last");
    assert!(Shadow::filled(Arc::new(Code::Broken), 300, 1, &residents).fault().is_some());
}
