//! Loads: one for each key however many want it, whatever becomes of who leads it.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use ostler_core::{Cache, InsertOptions, ManualClock};
use ostler_tests::native;
use tokio::sync::oneshot;

use super::Fixed;

type Words = Cache<u64, String, Fixed>;

fn words() -> Words {
    let cache = Cache::builder(100).hasher(Fixed::default()).shards(2).policy(native("lru"));
    cache.build().expect("it is made")
}

fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Option<F::Output> {
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

#[test]
fn one_of_many_threads_loads() {
    let (cache, loads) = (words(), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let (begins, begun) = channel();
        let (release, released) = channel::<()>();
        let (cache, loads) = (&cache, &loads);
        scope.spawn(move || {
            cache.get_or_insert_with(&1, || {
                loads.fetch_add(1, Ordering::Relaxed);
                begins.send(()).expect("somebody waits");
                released.recv().expect("somebody sends");
                "one".to_owned()
            })
        });
        begun.recv().expect("the load begins");
        let waiters: Vec<_> = (0..6)
            .map(|_| {
                scope.spawn(move || {
                    // Whether they come during the load or after it, they do not load.
                    cache.get_or_insert_with(&1, || {
                        loads.fetch_add(1, Ordering::Relaxed);
                        "another".to_owned()
                    })
                })
            })
            .collect();
        release.send(()).expect("it waits");
        for waiter in waiters {
            assert_eq!(waiter.join().expect("no panic"), "one");
        }
    });
    assert_eq!((loads.load(Ordering::Relaxed), cache.len()), (1, 1));
}

#[test]
fn one_of_many_tasks_loads() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build();
    let (cache, loads) = (words(), Arc::new(AtomicU64::new(0)));
    runtime.expect("a runtime").block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..64 {
            let (cache, loads) = (cache.clone(), Arc::clone(&loads));
            tasks.spawn(async move {
                let load = async {
                    loads.fetch_add(1, Ordering::Relaxed);
                    tokio::task::yield_now().await;
                    Ok::<_, ()>("one".to_owned())
                };
                cache.get_or_load(&1, load).await
            });
        }
        while let Some(loaded) = tasks.join_next().await {
            assert_eq!(loaded.expect("no panic").as_deref(), Ok("one"));
        }
    });
    assert_eq!((loads.load(Ordering::Relaxed), cache.len()), (1, 1));
}

#[test]
fn what_is_written_or_removed_during_a_load_is_not_overwritten_by_it() {
    for change in ["insert", "remove", "clear", "compute", "locked insert", "locked remove"] {
        let cache = words();
        let loaded = cache.get_or_insert_with(&1, || {
            match change {
                "insert" => _ = cache.insert(1, "later".to_owned()),
                "remove" => _ = cache.remove(&1),
                "clear" => cache.clear(),
                "compute" => {
                    let put = |_: Option<&String>| ostler_core::Change::Put("later".to_owned());
                    let _ = cache.compute(1, put);
                }
                "locked insert" => cache.with_locked(&[1], |locked| {
                    let _ = locked.insert(1, "later".to_owned(), 1, InsertOptions::new());
                }),
                _ => cache.with_locked(&[1], |locked| _ = locked.remove(&1)),
            }
            "early".to_owned()
        });
        assert_eq!(loaded, "early", "{change}");
        let written = matches!(change, "insert" | "compute" | "locked insert");
        assert_eq!(cache.peek(&1).as_deref(), written.then_some("later"), "{change}");
        assert_eq!(cache.get_or_insert_with(&2, || "two".to_owned()), "two", "{change}");
        cache.run_pending();
        cache.validate();
    }
}

#[test]
fn who_asks_after_a_removal_gets_no_value_from_before() {
    let cache = words();
    let (send, receive) = oneshot::channel::<String>();
    let load = async { receive.await.map_err(|_| ()) };
    let mut early = pin!(cache.get_or_load(&1, load));
    assert!(poll(early.as_mut()).is_none());
    cache.remove(&1);
    let mut late = pin!(cache.get_or_load(&1, async { Ok::<_, ()>("new".to_owned()) }));
    assert_eq!(poll(late.as_mut()), Some(Ok("new".to_owned())));
    send.send("old".to_owned()).expect("it waits");
    assert_eq!(poll(early.as_mut()), Some(Ok("old".to_owned())));
    assert_eq!(cache.peek(&1).as_deref(), Some("new"));
}

#[test]
fn errors_reach_all_who_wait_and_are_not_stored() {
    let cache = words();
    let (send, receive) = oneshot::channel::<u32>();
    let load = async { Err::<String, u32>(receive.await.expect("it is sent")) };
    let mut leader = pin!(cache.get_or_load(&1, load));
    assert!(poll(leader.as_mut()).is_none());
    let other = || async { Ok::<String, u32>("not polled".to_owned()) };
    let mut first = pin!(cache.get_or_load(&1, other()));
    let mut second = pin!(cache.get_or_load(&1, other()));
    assert!(poll(first.as_mut()).is_none() && poll(second.as_mut()).is_none());
    send.send(404).expect("it waits");
    let error = poll(leader.as_mut()).expect("it is through").expect_err("it failed");
    for waiter in [poll(first.as_mut()), poll(second.as_mut())] {
        let same = waiter.expect("it is through").expect_err("it failed");
        assert!(Arc::ptr_eq(&same, &error) && *same == 404);
    }
    assert_eq!((cache.len(), cache.peek(&1)), (0, None));
    assert_eq!(
        cache.try_get_or_insert_with(&1, || Ok::<_, u32>("now".to_owned())).as_deref(),
        Ok("now")
    );
}

#[test]
fn a_leader_that_is_cancelled_or_panics_hurts_nobody() {
    let cache = words();
    let mut leader = Box::pin(cache.get_or_load(&1, std::future::pending::<Result<String, ()>>()));
    assert!(poll(leader.as_mut()).is_none());
    let mut first = pin!(cache.get_or_load(&1, async { Ok::<_, ()>("first".to_owned()) }));
    let mut second = pin!(cache.get_or_load(&1, async { Ok::<_, ()>("second".to_owned()) }));
    assert!(poll(first.as_mut()).is_none() && poll(second.as_mut()).is_none());
    drop(leader);
    assert_eq!(poll(second.as_mut()), Some(Ok("second".to_owned())), "one of them takes over");
    assert_eq!(poll(first.as_mut()), Some(Ok("second".to_owned())), "the other waits for that one");

    let panics = async { resume_unwind(Box::new("a loader")) };
    let mut leader = Box::pin(cache.get_or_load(&2, panics));
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        poll::<_>(leader.as_mut()).map(|v: Result<String, Arc<()>>| v)
    }));
    assert!(panicked.is_err());
    drop(leader);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        cache.get_or_insert_with(&2, || resume_unwind(Box::new("a loader")))
    }));
    assert!(panicked.is_err());
    assert_eq!(cache.get_or_insert_with(&2, || "two".to_owned()), "two");
    cache.run_pending();
    cache.validate();
}

#[test]
fn threads_wait_for_tasks_and_take_over_from_them() {
    let cache = words();
    std::thread::scope(|scope| {
        let mut leader =
            Box::pin(cache.get_or_load(&1, std::future::pending::<Result<String, ()>>()));
        assert!(poll(leader.as_mut()).is_none());
        let waiters = ["a", "b"].map(|name| {
            let cache = &cache;
            scope.spawn(move || cache.get_or_insert_with(&1, || name.to_owned()))
        });
        drop(leader);
        let values = waiters.map(|waiter| waiter.join().expect("no panic"));
        assert_eq!(values[0], values[1], "one load for both");
        assert_eq!(cache.peek(&1).as_ref(), Some(&values[0]));
    });
}

#[test]
fn the_cost_of_a_load_is_how_long_it_took() {
    let cache = words();
    let slow = || {
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(3) {
            std::hint::spin_loop();
        }
        "slow".to_owned()
    };
    cache.get_or_insert_with(&1, slow);
    let load = async { Ok::<_, ()>(slow()) };
    let mut loading = pin!(cache.get_or_load(&2, load));
    assert!(poll(loading.as_mut()).is_some());
    for key in [1, 2] {
        let cost_us = cache.entry(&key).map(|entry| entry.cost_us);
        assert!(cost_us >= Some(3_000), "{key}: {cost_us:?}");
    }
    let _ = cache.insert(1, "written".to_owned());
    assert_eq!(cache.entry(&1).map(|entry| entry.cost_us), Some(0));
}

#[test]
fn what_has_ended_is_loaded_again_and_options_count() {
    let clock = ManualClock::default();
    let cache: Words = Cache::builder(100)
        .hasher(Fixed::default())
        .clock(clock.clone())
        .build()
        .expect("it is made");
    let brief = InsertOptions::new().ttl(Duration::from_secs(1)).class(4);
    for (now_ms, value, expected) in [(0, "a", "a"), (999, "b", "a"), (1_000, "c", "c")] {
        clock.set_ms(now_ms);
        let load = async { Ok::<_, ()>(value.to_owned()) };
        let mut loading = pin!(cache.get_or_load_with(&1, brief, load));
        assert_eq!(poll(loading.as_mut()), Some(Ok(expected.to_owned())));
    }
    assert_eq!(cache.entry(&1).map(|entry| entry.class), Some(4));
    let stats = cache.stats();
    assert_eq!((stats.hits, stats.misses, stats.expired), (1, 2, 1));
}
