//! Tests of the evidence, worked by hand where that goes.

use super::*;

/// Hashes of eight keys in each group.
fn keys() -> impl Iterator<Item = u64> {
    (0..GROUPS as u64 * 8).map(|number| (number % GROUPS as u64) << 59 | number)
}

#[test]
fn a_difference_is_a_share_of_what_the_other_missed() {
    let mut evidence = Evidence::default();
    for hash in keys() {
        // The first candidate hits every second key, the second every fourth.
        let number = hash & 0xff;
        let outcomes = u16::from((number / 32).is_multiple_of(2))
            | u16::from((number / 32).is_multiple_of(4)) << 1;
        evidence.count(hash, outcomes, 10);
    }
    assert_eq!(evidence.hit_ratio(0), 0.5);
    assert_eq!(evidence.hit_ratio(1), 0.25);
    let pairing = evidence.pairing(0, 1);
    assert_eq!(pairing.missed, 1920.0);
    assert_eq!(pairing.difference, 640.0);
    assert_eq!(pairing.gain, 1.0 / 3.0);
    assert_eq!(pairing.median_gain, 1.0 / 3.0);
    // 64 requests differ, all one way, and every group says the same: McNemar's error is the larger.
    assert_eq!(pairing.z, 640.0 / 6400_f64.sqrt());
    assert_eq!(evidence.pairing(1, 0).difference, -640.0);
}

#[test]
fn one_key_however_busy_proves_little() {
    let mut evidence = Evidence::default();
    for hash in keys() {
        evidence.count(hash, 0b11, 1);
    }
    for _ in 0..10_000 {
        evidence.count(5 << 59, 0b10, 1);
    }
    let pairing = evidence.pairing(1, 0);
    assert!(pairing.gain > 0.9, "{pairing:?}");
    assert!(pairing.z < 1.5, "{pairing:?}");
    assert_eq!(pairing.median_gain, 0.0);
}

#[test]
fn evidence_decays_and_adds_up() {
    let mut one = Evidence::default();
    one.count(0, 1, 4);
    one.decay(0.5);
    let mut other = Evidence::default();
    other.count(0, 2, 4);
    one.add(&other);
    assert_eq!(one.requests(), 1.5);
    assert_eq!(one.pairing(1, 0).difference, 2.0);
    assert_eq!(one.pairing(1, 0).missed, 4.0);
    assert_eq!(one.pairing(0, 1).missed, 2.0);
}

#[test]
fn time_is_charged_like_misses() {
    let mut evidence = Evidence::default();
    for hash in keys() {
        evidence.count(hash, 0b10, 1);
    }
    assert_eq!(evidence.pairing(1, 0).difference, 256.0);
    evidence.charge(1, 300.0);
    assert_eq!(evidence.pairing(1, 0).difference, -44.0);
    assert_eq!(evidence.pairing(0, 1).difference, 44.0);
}

#[test]
fn nothing_counted_says_nothing() {
    assert_eq!(Evidence::default().pairing(0, 1), Pairing::default());
}
