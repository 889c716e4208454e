//! Tests of the selector, worked by hand where that goes.

use super::*;

const ENTRIES: u64 = 1000;

/// A window of `requests` over many keys; candidate `i` misses every `misses[i]`-th request.
fn window(requests: u64, start: u64, misses: &[u64], live: u64) -> Evidence {
    let mut evidence = Evidence::default();
    for number in start..start + requests {
        let hash = ostler_abi::hash_u64(number, 1);
        let mut outcomes = u16::from(!hash.is_multiple_of(live)) << LIVE;
        for (place, every) in misses.iter().enumerate() {
            outcomes |= u16::from(!(hash >> place).is_multiple_of(*every)) << place;
        }
        evidence.count(hash, outcomes, 1);
    }
    evidence
}

/// The cache does as the shadow of the policy in charge.
const AS_ITS_SHADOW: u64 = 0;

/// Feeds `windows` windows; the swaps and the window they happened in.
fn play(selector: &mut Selector, windows: u64, misses: &[u64], live: u64) -> Vec<(u64, usize)> {
    let mut swaps = Vec::new();
    for number in 0..windows {
        let live = if live == AS_ITS_SHADOW { misses[selector.in_charge()] } else { live };
        let seen = window(250, number * 250, misses, live);
        if let Decision::Swap { to, reason, .. } = selector.decide(&seen, ENTRIES) {
            selector.swapped(to, reason, ENTRIES);
            swaps.push((number, to));
        }
    }
    swaps
}

#[test]
fn equals_are_left_alone() {
    let mut selector = Selector::new(SelectorConfig::default(), 3);
    assert_eq!(play(&mut selector, 400, &[4, 4, 4], 4), []);
}

#[test]
fn the_better_one_takes_over_once() {
    let mut selector = Selector::new(SelectorConfig::default(), 3);
    let swaps = play(&mut selector, 400, &[4, 4, 8], 8);
    assert_eq!(swaps.len(), 1);
    assert_eq!(swaps[0].1, 2);
    // An eighth of all requests is gained: 350 of them take some 11 windows.
    assert!((8..20).contains(&swaps[0].0), "{swaps:?}");
    assert_eq!(selector.in_charge(), 2);
}

#[test]
fn a_change_is_followed_however_long_it_was_otherwise() {
    let mut selector = Selector::new(SelectorConfig::default(), 2);
    assert_eq!(play(&mut selector, 2000, &[8, 4], 8), []);
    let swaps = play(&mut selector, 1000, &[4, 8], 8);
    assert_eq!(swaps.iter().map(|swap| swap.1).collect::<Vec<_>>(), [1]);
}

#[test]
fn a_policy_that_failed_leaves_at_once() {
    let mut selector = Selector::new(SelectorConfig::default(), 3);
    selector.take_out(0);
    let decision = selector.decide(&window(250, 0, &[2, 8, 4], 4), ENTRIES);
    let Decision::Swap { to: 1, reason: Reason::Fault, .. } = decision else {
        panic!("{decision:?}")
    };
    selector.swapped(1, Reason::Fault, ENTRIES);
    assert_eq!(play(&mut selector, 100, &[16, 8, 8], 8), []);
}

#[test]
fn a_swap_that_does_not_keep_its_promise_is_taken_back() {
    let mut selector = Selector::new(SelectorConfig::default(), 2);
    let swaps = play(&mut selector, 28, &[4, 8], 4);
    // In shadow the second one misses half as much; the cache itself goes on as with the first. That
    // is no loss, so it stays.
    assert_eq!(swaps.iter().map(|swap| swap.1).collect::<Vec<_>>(), [1]);
    let swaps = play(&mut selector, 40, &[4, 8], 3);
    assert_eq!(swaps.iter().map(|swap| swap.1).collect::<Vec<_>>(), [0]);
    // And the one that was taken back is left out for a while.
    assert_eq!(play(&mut selector, 100, &[4, 8], 4), []);
}

#[test]
fn a_small_loss_is_taken_back_too() {
    let mut selector = Selector::new(SelectorConfig::default(), 2);
    let swaps = play(&mut selector, 40, &[10, 20], AS_ITS_SHADOW);
    assert_eq!(swaps.iter().map(|swap| swap.1).collect::<Vec<_>>(), [1]);
    // The policy before would miss 10 % of the requests; the cache misses 14.3 %.
    let swaps = play(&mut selector, 40, &[10, 20], 7);
    assert_eq!(swaps.iter().map(|swap| swap.1).collect::<Vec<_>>(), [0]);
}

#[test]
fn a_swap_after_a_change_is_watched_like_any_other() {
    let mut selector = Selector::new(SelectorConfig::default(), 2);
    assert_eq!(play(&mut selector, 600, &[16, 8], AS_ITS_SHADOW), []);
    // Now the first one is bad, and the cache does even worse under the second.
    let mut swaps = Vec::new();
    for number in 0..200 {
        let live = if selector.in_charge() == 0 { 4 } else { 3 };
        let seen = window(250, number * 250, &[4, 8], live);
        if let Decision::Swap { to, reason, .. } = selector.decide(&seen, ENTRIES) {
            selector.swapped(to, reason, ENTRIES);
            swaps.push((to, reason));
        }
    }
    assert_eq!(swaps[..2], [(1, Reason::Drift), (0, Reason::Rollback)]);
}

#[test]
fn a_loss_that_came_with_another_workload_is_not_the_swaps() {
    let mut selector = Selector::new(SelectorConfig::default(), 2);
    assert_eq!(play(&mut selector, 28, &[4, 8], 4).len(), 1);
    // Everything misses more now, the policy before as well.
    assert_eq!(play(&mut selector, 40, &[2, 4], 2), []);
}

#[test]
fn swaps_are_limited() {
    let config = SelectorConfig { swaps_max: 2, ..SelectorConfig::default() };
    let mut selector = Selector::new(config, 2);
    let mut swaps = 0;
    for phase in 0..12 {
        let misses = if phase % 2 == 0 { [4, 16] } else { [16, 4] };
        swaps += play(&mut selector, 60, &misses, AS_ITS_SHADOW).len();
    }
    // 12 phases of 15,000 requests; two swaps in any 64,000.
    assert!((2..=6).contains(&swaps), "{swaps}");
}

#[test]
fn what_somebody_else_appointed_is_where_it_goes_on() {
    let mut selector = Selector::new(SelectorConfig::default(), 3);
    selector.take_out(2);
    selector.appointed(2);
    assert_eq!((selector.in_charge(), selector.is_out(2)), (2, false));
    selector.appointed(7);
    assert_eq!(selector.in_charge(), 2, "there is no such candidate");
    let swaps = play(&mut selector, 400, &[8, 4, 4], AS_ITS_SHADOW);
    assert_eq!(swaps.iter().map(|swap| swap.1).collect::<Vec<_>>(), [0]);
}

#[test]
fn another_share_of_the_keys_counts_the_past_at_that_share() {
    let mut selector = Selector::new(SelectorConfig::default(), 2);
    assert_eq!(play(&mut selector, 4, &[4, 5], 4), []);
    let before = selector.standing(1);
    selector.rescale(0.25);
    let after = selector.standing(1);
    assert!((after.difference - before.difference / 4.0).abs() < 1e-9);
    assert!((after.gain - before.gain).abs() < 1e-9);
}

/// Windows in which both are as good as each other do not say which of two cases is the better one.
#[test]
fn cases_are_compared_on_the_same_requests() {
    let config = SelectorConfig {
        drift_effect_min: 0.5,
        drift_lead_min: 0.3,
        drift_debt: 0.0,
        ..SelectorConfig::default()
    };
    let never = SelectorConfig { lead_min: f64::INFINITY, drift_lead_min: f64::INFINITY, ..config };
    let mut selector = Selector::new(never, 3);
    // The second one is ahead for long, and then the third one far ahead of both.
    assert_eq!(play(&mut selector, 300, &[8, 10, 4], AS_ITS_SHADOW), []);
    assert_eq!(play(&mut selector, 19, &[8, 10, 32], AS_ITS_SHADOW), []);
    selector.config = config;
    let seen = window(250, 19 * 250, &[8, 10, 32], 8);
    let decision = selector.decide(&seen, ENTRIES);
    let (long, short) = (selector.standing(1), selector.stretches[2].evidence.pairing(2, 0));
    assert!(long.difference > short.difference, "by their own leads the second would win");
    let Decision::Swap { to: 2, reason: Reason::Drift, .. } = decision else {
        panic!("{decision:?}")
    };
}

/// What was usual under another policy is not what is usual under this one.
#[test]
fn what_is_usual_is_of_the_tenure_that_ends() {
    let mut selector = Selector::new(SelectorConfig::default(), 2);
    // Long under the first: the cache hits as its shadow. Then somebody appoints the second, under which
    // the cache misses an eighth more of all requests than the shadow does.
    for number in 0..200 {
        let _ = selector.decide(&window(250, number * 250, &[8, 8], 8), ENTRIES);
    }
    selector.appointed(1);
    for number in 200..220 {
        let _ = selector.decide(&window(250, number * 250, &[8, 8], 4), ENTRIES);
    }
    selector.swapped(0, Reason::Steady, ENTRIES);
    let usual = selector.watch.as_ref().map(|watch| watch.usual).unwrap();
    assert!((-0.14..-0.11).contains(&usual), "{usual}");
}
