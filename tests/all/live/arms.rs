//! Shards with a policy of their own: how they come, what befalls them, and how they end.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ostler_core::{Cache, InstanceSource, ManualClock, PolicyEvent, SeatError};
use ostler_tests::{Scripted, cases, check, refusal};
use proptest::prelude::*;

use super::Fixed;

/// First in, first out, under this name.
fn honest(label: &str) -> Arc<dyn InstanceSource> {
    Scripted::fifo(label, |_, _, victims| Ok(victims))
}

/// A cache of this many shards with 1,000 entries and `a` in charge.
fn filled(shards: usize) -> Cache<u64, u64, Fixed> {
    let cache = Cache::builder(2_000).hasher(Fixed::default()).shards(shards).policy(honest("a"));
    let cache = cache.build().expect("it is made");
    for key in 0..1_000 {
        let _ = cache.insert(key, key);
    }
    cache
}

/// The policies in charge as one word, `-` for the fallback.
fn seats<H>(cache: &Cache<u64, u64, H>) -> String
where
    H: std::hash::BuildHasher + Clone,
{
    let status = cache.seat_status();
    status.actual.iter().map(|policy| policy.as_deref().unwrap_or("-")).collect()
}

#[test]
fn some_shards_get_a_policy_of_their_own_and_are_united_again() {
    let cache = filled(4);
    let handover = cache.set_policy_on(&[3, 1, 3], honest("b")).expect("the seats change");
    let entries = cache.shard_stats();
    assert_eq!(handover.shards, 2);
    assert_eq!(handover.adopted, entries[1].entries + entries[3].entries);
    assert_eq!(seats(&cache), "abab");
    let status = cache.seat_status();
    assert_eq!((status.desired.as_deref(), status.previous.as_deref()), (Some("a"), Some("a")));
    assert_eq!(status.arms.len(), 1);
    assert_eq!((status.arms[0].policy.as_str(), &status.arms[0].shards[..]), ("b", &[1, 3][..]));
    cache.set_policy_on(&[0, 1], honest("c")).expect("the seats change");
    assert_eq!(seats(&cache), "ccab");
    let arms = cache.seat_status().arms;
    let arms: Vec<_> = arms.iter().map(|arm| (arm.policy.as_str(), arm.shards.clone())).collect();
    assert_eq!(arms, [("c", vec![0, 1]), ("b", vec![3])]);
    cache.set_policy(honest("b")).expect("the seats change");
    let status = cache.seat_status();
    assert_eq!((seats(&cache).as_str(), status.arms.len()), ("bbbb", 0));
    assert_eq!(status.previous.as_deref(), Some("a"), "what was there before the arms");
    assert_eq!((cache.len(), cache.stats().evicted), (1_000, 0));
    cache.validate();
}

#[test]
fn a_rollback_ends_the_arms() {
    let cache = filled(3);
    cache.set_policy(honest("b")).expect("the seats change");
    cache.set_policy_on(&[2], honest("c")).expect("the seats change");
    for (in_charge, previous) in [("bbb", "a"), ("aaa", "b"), ("bbb", "a")] {
        cache.rollback().expect("the seats change back");
        assert_eq!(seats(&cache), in_charge);
        assert_eq!(cache.seat_status().previous.as_deref(), Some(previous));
    }
    // Promoted: the way back leads before the comparison. Given up by a call: likewise.
    cache.set_policy_on(&[0], honest("c")).expect("the seats change");
    cache.set_policy(honest("c")).expect("the seats change");
    assert_eq!(cache.seat_status().previous.as_deref(), Some("b"));
    cache.set_policy_on(&[0], honest("d")).expect("the seats change");
    cache.set_policy(honest("c")).expect("the seats change");
    assert_eq!(cache.seat_status().previous.as_deref(), Some("b"));
    let bare = Cache::<u64, u64>::builder(100).shards(2).build().expect("it is made");
    bare.set_policy_on(&[1], honest("a")).expect("the seat changes");
    assert_eq!((seats(&bare).as_str(), bare.seat_status().desired), ("-a", None));
    assert_eq!(bare.rollback(), Err(SeatError::NoPrevious));
}

#[test]
fn all_shards_are_no_arm_and_none_are_nothing() {
    let cache = filled(2);
    assert_eq!(cache.set_policy_on(&[], honest("b")).map(|handover| handover.shards), Ok(0));
    let missing = cache.set_policy_on(&[0, 2], honest("b"));
    assert_eq!(missing, Err(SeatError::NoShard { shard: 2, shards: 2 }));
    assert_eq!(seats(&cache), "aa");
    cache.set_policy_on(&[1, 0], honest("b")).expect("the seats change");
    let status = cache.seat_status();
    assert_eq!((status.desired.as_deref(), status.arms.len()), (Some("b"), 0));
    // The same policy on both sides is a comparison, too.
    cache.set_policy_on(&[1], honest("b")).expect("the seat changes");
    assert_eq!(cache.seat_status().arms.len(), 1);
}

#[test]
fn an_arm_that_fails_while_it_is_prepared_changes_nothing() {
    let cache = filled(4);
    cache.set_policy_on(&[1], honest("b")).expect("the seat changes");
    let made = Arc::new(Mutex::new(0));
    let bad = Scripted::source("bad", move |setup| {
        *made.lock().expect("no panic") += 1;
        let third = *made.lock().expect("no panic") == 3;
        Scripted::failing("bad", if third { 1 } else { 99 }).instance(setup)
    });
    let refused = cache.set_policy_on(&[0, 1, 3], bad).expect_err("it fails");
    assert!(matches!(&refused, SeatError::Fault { shard: 3, .. }), "{refused}");
    assert_eq!((refusal(&refused), seats(&cache).as_str()), ("trap", "abaa"));
    let arms = cache.seat_status().arms;
    assert_eq!((arms.len(), &arms[0].shards[..]), (1, &[1][..]));
    cache.validate();
}

#[test]
fn each_shard_gets_its_own_policy_back_and_each_arm_its_own_quarantine() {
    let (clock, events) = (ManualClock::default(), Arc::new(Mutex::new(Vec::new())));
    let ears = Arc::clone(&events);
    let cache = Cache::<u64, u64, _>::builder(400).hasher(Fixed::default()).shards(4);
    let cache = cache.clock(clock.clone()).faults_max(2).restore_after(Duration::from_secs(10));
    let cache = cache.on_policy(move |event| ears.lock().expect("no panic").push(event.clone()));
    let cache = cache.policy(honest("a")).build().expect("it is made");
    cache.set_policy_on(&[1], Scripted::failing("b", 2)).expect("the seat changes");
    cache.set_policy_on(&[2, 3], Scripted::failing("c", 3)).expect("the seats change");
    let provoke = |first: u64| {
        for key in first..first + 2_000 {
            let _ = cache.insert(key, key);
        }
        cache.run_pending();
    };
    provoke(0);
    // Two faults of `c`, one in each of its shards, are too many; `b` has had one.
    assert_eq!(seats(&cache), "a---");
    clock.advance_ms(10_000);
    cache.run_pending();
    assert_eq!(seats(&cache), "ab--", "`b` is back, `c` is quarantined");
    provoke(10_000);
    assert_eq!(seats(&cache), "a---");
    clock.advance_ms(100_000);
    cache.run_pending();
    assert_eq!(seats(&cache), "a---", "both are quarantined");
    let told = events.lock().expect("no panic").clone();
    let quarantined = told.iter().filter_map(|event| match event {
        PolicyEvent::Quarantined { policy, .. } => Some(policy.as_str()),
        _ => None,
    });
    assert!(quarantined.eq(["c", "b"]), "{told:?}");
    assert!(told.contains(&PolicyEvent::Restored { policy: "b".to_owned(), shards: 1 }));
    assert!(
        matches!(&told[1], PolicyEvent::Dealt { policy, shards, .. } if policy == "b" && shards == &[1])
    );
    cache.pardon(&*honest("c"));
    cache.run_pending();
    assert_eq!(seats(&cache), "a-cc");
    cache.rollback().expect("the seats change back");
    assert_eq!(seats(&cache), "aaaa");
    cache.validate();
}

#[test]
fn quarantine_of_one_arm_takes_all_its_seats_and_of_two_both() {
    let cache = Cache::<u64, u64, _>::builder(600).hasher(Fixed::default()).shards(6);
    let cache = cache.faults_max(1).policy(honest("a")).build().expect("it is made");
    // Faults only where it is told of a certain key: in one shard.
    let failing = |label: &str, shard: usize| {
        let key = (0..).find(|key| cache.shard_of(key) == shard).expect("there is one");
        let probe = Cache::<u64, u64, _>::builder(1).hasher(Fixed::default());
        let probe = probe.build().expect("it is made");
        let _ = probe.insert(key, key);
        let hash = probe.sample(0, ostler_core::SampleShare::ALL)[0].key_hash;
        let policy = Scripted::fifo(label, move |_, events, victims| {
            let told = events.iter().any(|event| event.key_hash == hash);
            if told { Err(ostler_core::PolicyFault::Refused { code: 1 }) } else { Ok(victims) }
        });
        (policy, key)
    };
    let ((b, in_b), (c, in_c)) = (failing("b", 1), failing("c", 3));
    cache.set_policy_on(&[1, 2], b).expect("the seats change");
    cache.set_policy_on(&[3, 4, 5], c).expect("the seats change");
    let _ = (cache.insert(in_b, 0), cache.insert(in_c, 0));
    cache.run_pending();
    cache.run_pending();
    assert_eq!(seats(&cache), "a-----");
    cache.validate();
}

#[test]
fn any_changes_leave_in_charge_who_was_wanted() {
    let shards = prop::collection::vec(0usize..4, 0..5);
    let change = (0u8..6, shards, 0usize..4);
    check(cases(60), &prop::collection::vec(change, 1..20), |changes| {
        let cache = filled(4);
        let (mut wanted, mut whole, mut previous) = (["a"; 4], "a", None);
        let mut dealt = false;
        for (index, (kind, shards, policy)) in changes.iter().enumerate() {
            let name = ["a", "b", "c", "x"][*policy];
            let source = if name == "x" { Scripted::failing("x", 1) } else { honest(name) };
            let all = (0..4).all(|shard| shards.contains(&shard));
            match kind {
                0 => {
                    let back = if dealt { Some(whole) } else { previous };
                    let done = cache.rollback().is_ok();
                    if done != back.is_some() {
                        return Err(format!("change {index}: a rollback, {back:?}"));
                    }
                    if let Some(back) = back {
                        previous = if dealt { previous } else { Some(whole) };
                        (whole, wanted, dealt) = (back, [back; 4], false);
                    }
                }
                1 | 2 if name != "x" => {
                    cache.set_policy(source).map_err(|error| error.to_string())?;
                    previous = if dealt && name == whole { previous } else { Some(whole) };
                    (whole, wanted, dealt) = (name, [name; 4], false);
                }
                _ if all && name != "x" => {
                    cache.set_policy_on(shards, source).map_err(|error| error.to_string())?;
                    previous = if dealt && name == whole { previous } else { Some(whole) };
                    (whole, wanted, dealt) = (name, [name; 4], false);
                }
                _ => {
                    let done = cache.set_policy_on(shards, source).is_ok();
                    if done != (name != "x" || shards.is_empty()) {
                        return Err(format!("change {index}: {name} is in charge: {done}"));
                    }
                    if done {
                        shards.iter().for_each(|&shard| wanted[shard] = name);
                        dealt |= !shards.is_empty();
                    }
                }
            }
            let found = seats(&cache);
            if found != wanted.concat() || cache.len() != 1_000 {
                return Err(format!("change {index}: {found} in charge, wanted {wanted:?}"));
            }
            cache.validate();
        }
        Ok(())
    });
}
