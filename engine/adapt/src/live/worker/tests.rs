//! Consumers on a real cache, behind a real thread; nobody sleeps, everybody waits for what is told.

use std::sync::mpsc::{Receiver, Sender, channel};

use ostler_abi::Record;
use ostler_core::Cache;

use super::*;

/// Tells what it hears; panics at the hash that it is told to.
struct Teller {
    told: Sender<Told>,
    panics: bool,
}

#[derive(Debug, PartialEq)]
enum Told {
    Ticked,
    Took(usize),
    Ended,
}

impl Consumer for Teller {
    fn take(&mut self, _shard: u32, records: &[Record]) {
        assert!(!self.panics, "as it was told to");
        let _ = self.told.send(Told::Took(records.len()));
    }

    fn tick(&mut self, _now: Moment) {
        let _ = self.told.send(Told::Ticked);
    }

    fn ended(&mut self) {
        let _ = self.told.send(Told::Ended);
        panic!("this too");
    }
}

fn teller(panics: bool) -> (Box<Teller>, Receiver<Told>) {
    let (told, heard) = channel();
    (Box::new(Teller { told, panics }), heard)
}

/// The next records that a consumer took, and whether it was ticked before.
fn took(heard: &Receiver<Told>) -> (bool, usize) {
    let mut ticked = false;
    for told in heard {
        match told {
            Told::Ticked => ticked = true,
            Told::Took(count) => return (ticked, count),
            Told::Ended => break,
        }
    }
    panic!("it hears nothing any more");
}

fn watched() -> (Cache<u32, u32>, Live) {
    let cache = Cache::builder(100).shards(1).build().unwrap();
    let config = LiveConfig { cpu_max: 1.0, ..LiveConfig::default() };
    let live = Live::new(Arc::new(cache.clone()), config);
    (cache, live)
}

fn put(cache: &Cache<u32, u32>, key: u32) {
    let _ = cache.insert(key, key);
    cache.run_pending();
}

#[test]
fn consumers_come_and_go_and_hear_the_same() {
    let (cache, live) = watched();
    put(&cache, 1);
    assert_eq!(live.status().records, 0, "nobody listens");
    let (first, first_hears) = teller(false);
    let first = live.add(first).unwrap();
    put(&cache, 2);
    assert_eq!(took(&first_hears), (true, 1), "it is ticked before it takes");
    let (second, second_hears) = teller(false);
    let second = live.add(second).unwrap();
    put(&cache, 3);
    assert_eq!((took(&first_hears).1, took(&second_hears)), (1, (true, 1)));
    assert!(live.remove(first).is_some() && live.remove(first).is_none());
    put(&cache, 4);
    assert_eq!(took(&second_hears).1, 1);
    assert!(live.remove(second).is_some());
    put(&cache, 5);
    let status = live.status();
    assert_eq!((status.records, status.consumers), (3, 0), "nobody listens any more");
    let (third, third_hears) = teller(false);
    live.add(third).unwrap();
    put(&cache, 6);
    assert_eq!((took(&third_hears).1, live.status().records), (1, 4));
}

#[test]
fn one_that_panics_is_thrown_out_and_the_others_go_on() {
    let (cache, live) = watched();
    let ((bad, bad_hears), (good, good_hears)) = (teller(true), teller(false));
    let bad = live.add(bad).unwrap();
    live.add(good).unwrap();
    put(&cache, 1);
    assert_eq!(took(&good_hears).1, 1);
    let told: Vec<Told> = bad_hears.iter().collect();
    let (last, before) = told.split_last().unwrap();
    assert_eq!(last, &Told::Ended, "it is told, and its end of the channel is gone");
    assert!(before.iter().all(|told| told == &Told::Ticked));
    put(&cache, 2);
    assert_eq!(took(&good_hears).1, 1);
    assert_eq!(live.status().panics, 1);
    assert!(live.remove(bad).is_none());
}

#[test]
fn nobody_is_told_of_keys_for_whom_nobody_is_left() {
    let (cache, live) = watched();
    let (bad, bad_hears) = teller(true);
    live.add(bad).unwrap();
    put(&cache, 1);
    assert_eq!(bad_hears.iter().last(), Some(Told::Ended));
    // The share is taken back right after that; records until then are nobody's.
    while live.tapped() != Some(SampleShare::NONE) {
        thread::yield_now();
    }
    let (good, good_hears) = teller(false);
    live.add(good).unwrap();
    assert_eq!(live.tapped(), Some(live.inner.sample_share()));
    put(&cache, 2);
    assert_eq!(took(&good_hears).1, 1);
}

#[test]
fn it_ends_when_it_drops() {
    let (cache, live) = watched();
    let (teller, heard) = teller(false);
    live.add(teller).unwrap();
    drop(live);
    put(&cache, 1);
    assert!(heard.iter().all(|told| told == Told::Ticked), "and the consumer with it");
}

#[test]
fn a_watch_that_ends_leaves_its_successor_alone() {
    let (cache, first) = watched();
    let (one, _) = teller(false);
    first.add(one).unwrap();
    let second =
        Live::new(Arc::new(cache.clone()), LiveConfig { cpu_max: 1.0, ..LiveConfig::default() });
    let (other, heard) = teller(false);
    second.add(other).unwrap();
    drop(first);
    put(&cache, 1);
    assert_eq!(took(&heard).1, 1);
}
