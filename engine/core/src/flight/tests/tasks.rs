//! Async callers: polled by hand, mixed with blocking ones, and under tokio.

use super::*;

#[test]
fn a_dropped_leader_hands_over_to_one_waiter() {
    let cache = Cache::new();
    let open = AtomicBool::new(false);
    let bells: [Arc<Bell>; 2] = Default::default();
    let mut leader = Box::pin(cache.load_async(pending::<Result<u64, ()>>()));
    let mut first = Box::pin(cache.load_async(once_open(&open, 7)));
    let mut second = Box::pin(cache.load_async(once_open(&open, 8)));
    assert!(poll_quietly(&mut leader).is_pending());
    assert!(poll_with(&mut first, &bells[0]).is_pending());
    assert!(poll_with(&mut second, &bells[1]).is_pending());
    assert_eq!(cache.loads(), 1, "waiters do not poll their loaders");

    drop(leader);
    assert_eq!(bells.each_ref().map(|bell| bell.rings()), [1, 1]);
    cache.assert_nothing_remains();

    assert!(poll_with(&mut second, &bells[1]).is_pending());
    assert!(poll_with(&mut first, &bells[0]).is_pending());
    assert_eq!((cache.loads(), cache.waiting()), (2, 1), "the second one leads");
    open.store(true, Ordering::Relaxed);
    assert_eq!(poll_with(&mut second, &bells[1]), Poll::Ready(Ok(8)));
    assert_eq!(bells.each_ref().map(|bell| bell.rings()), [2, 1]);
    assert_eq!(poll_with(&mut first, &bells[0]), Poll::Ready(Ok(8)));
    assert_eq!((cache.find(&KEY), cache.loads()), (Some(8), 2));
    cache.assert_nothing_remains();
}

#[test]
fn a_dropped_leader_hands_over_to_a_blocked_thread() {
    let cache = Cache::new();
    let mut leader = Box::pin(cache.load_async(pending::<Result<u64, ()>>()));
    assert!(poll_quietly(&mut leader).is_pending());
    thread::scope(|scope| {
        let waiter = scope.spawn(|| cache.load(|| Ok::<_, ()>(7)));
        cache.until_waiting(1);
        drop(leader);
        assert_eq!(waiter.join().unwrap(), Ok(7));
    });
    cache.assert_nothing_remains();
}

#[test]
fn a_call_never_polled_leaves_no_trace() {
    let cache = Cache::new();
    drop(cache.load_async(pending::<Result<u64, ()>>()));
    cache.assert_nothing_remains();
    assert_eq!(cache.loads(), 0);
}

#[test]
fn a_waiter_holds_one_waker_and_gives_it_back() {
    let cache = Cache::new();
    let bells: [Arc<Bell>; 3] = Default::default();
    let waiter = || Box::pin(cache.load_async(pending::<Result<u64, ()>>()));
    let mut leader = waiter();
    assert!(poll_quietly(&mut leader).is_pending());
    let flight = cache.flight();

    let (mut first, mut second) = (waiter(), waiter());
    for _ in 0..3 {
        assert!(poll_with(&mut first, &bells[0]).is_pending());
        assert!(poll_with(&mut second, &bells[1]).is_pending());
    }
    assert_eq!(flight.wakers(), (2, 2), "no duplicates");
    assert!(poll_with(&mut first, &bells[2]).is_pending());
    assert_eq!(bells.each_ref().map(Arc::strong_count), [1, 2, 2], "the newest waker counts");

    drop(first);
    assert_eq!(bells.each_ref().map(Arc::strong_count), [1, 2, 1]);
    assert_eq!(flight.wakers(), (1, 2));
    let mut third = waiter();
    assert!(poll_with(&mut third, &bells[0]).is_pending());
    assert_eq!(flight.wakers(), (2, 2), "the place is taken again");

    drop(leader);
    assert_eq!(bells.each_ref().map(|bell| bell.rings()), [1, 1, 0]);
    assert_eq!((flight.wakers(), bells.each_ref().map(Arc::strong_count)), ((0, 0), [1, 1, 1]));
    drop((second, third));
    cache.assert_nothing_remains();
}

#[test]
fn a_panicking_load_is_abandoned_with_its_task() {
    let cache = Cache::new();
    let bell = Arc::new(Bell::default());
    let open = AtomicBool::new(false);
    let mut leader = Box::pin(cache.load_async::<()>(async {
        once_open(&open, 0).await?;
        panic!("the loader's own")
    }));
    assert!(poll_quietly(&mut leader).is_pending());
    let mut waiter = Box::pin(cache.load_async(ready(Ok::<_, ()>(7))));
    assert!(poll_with(&mut waiter, &bell).is_pending());
    open.store(true, Ordering::Relaxed);
    let poll = std::panic::AssertUnwindSafe(|| poll_quietly(&mut leader));
    assert!(std::panic::catch_unwind(poll).is_err());
    assert_eq!(bell.rings(), 1, "though the leader's future still exists");
    assert_eq!(poll_with(&mut waiter, &bell), Poll::Ready(Ok(7)));
    cache.assert_nothing_remains();
}

#[test]
fn threads_and_tasks_wait_for_one_load() {
    for leader_blocks in [false, true] {
        let cache = Cache::new();
        let open = AtomicBool::new(false);
        let load = || {
            cache.until_waiting(8);
            Ok::<_, ()>(7)
        };
        thread::scope(|scope| {
            let mut task = Box::pin(cache.load_async(once_open(&open, 7)));
            let blocked = leader_blocks.then(|| scope.spawn(|| cache.load(load)));
            if !leader_blocks {
                assert!(poll_quietly(&mut task).is_pending());
            }
            while cache.flights.is_idle() {
                thread::yield_now();
            }
            let waiters: Vec<_> = (0..8)
                .map(|number| {
                    scope.spawn({
                        let cache = &cache;
                        move || match number % 2 {
                            0 => cache.load(|| Ok::<_, ()>(8)),
                            _ => block_on(cache.load_async(ready(Ok::<_, ()>(9)))),
                        }
                    })
                })
                .collect();
            if let Some(thread) = blocked {
                assert_eq!(thread.join().unwrap(), Ok(7));
            } else {
                cache.until_waiting(8);
                open.store(true, Ordering::Relaxed);
                assert_eq!(poll_quietly(&mut task), Poll::Ready(Ok(7)));
            }
            assert!(waiters.into_iter().all(|waiter| waiter.join().unwrap() == Ok(7)));
        });
        assert_eq!(cache.loads(), 1);
        cache.assert_nothing_remains();
    }
}

#[test]
fn an_async_loader_that_loads_its_own_key_does_not_wait_for_itself() {
    let cache = Cache::new();
    let open = AtomicBool::new(false);
    let mut nested = Box::pin(cache.load_async(async {
        once_open(&open, 0).await?;
        let inner = cache.load_async(ready(Ok::<_, ()>(6))).await;
        let blocking = cache.load(|| Ok::<_, ()>(1));
        Ok::<_, ()>(inner.unwrap() + blocking.unwrap())
    }));
    assert!(poll_quietly(&mut nested).is_pending());
    let mut waiter = Box::pin(cache.load_async(ready(Ok::<_, ()>(9))));
    assert!(poll_quietly(&mut waiter).is_pending(), "a sibling task waits");
    open.store(true, Ordering::Relaxed);
    assert_eq!(poll_quietly(&mut nested), Poll::Ready(Ok(7)));
    assert_eq!(poll_quietly(&mut waiter), Poll::Ready(Ok(7)));
    assert_eq!((cache.find(&KEY), cache.loads()), (Some(7), 3));
    cache.assert_nothing_remains();
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(4).build().unwrap()
}

#[test]
fn sixty_four_tokio_tasks_share_one_load() {
    let cache = Arc::new(Cache::new());
    runtime().block_on(async {
        let call = |cache: Arc<Cache>| async move {
            let load = async {
                while cache.waiting() != 63 {
                    tokio::task::yield_now().await;
                }
                Ok::<_, ()>(7)
            };
            cache.load_async(load).await
        };
        let tasks: Vec<_> = (0..64).map(|_| tokio::spawn(call(Arc::clone(&cache)))).collect();
        for task in tasks {
            assert_eq!(task.await.unwrap(), Ok(7));
        }
    });
    assert_eq!(cache.loads(), 1);
    cache.assert_nothing_remains();
}

#[test]
fn an_aborted_tokio_task_hands_over() {
    let cache = Arc::new(Cache::new());
    runtime().block_on(async {
        let spawn = |loads: bool| {
            let cache = Arc::clone(&cache);
            tokio::spawn(async move {
                let load = async {
                    if !loads {
                        pending::<()>().await;
                    }
                    Ok::<_, ()>(7)
                };
                cache.load_async(load).await
            })
        };
        let stuck = spawn(false);
        while cache.flights.is_idle() {
            tokio::task::yield_now().await;
        }
        let tasks: Vec<_> = (0..16).map(|_| spawn(true)).collect();
        while cache.waiting() != 16 {
            tokio::task::yield_now().await;
        }
        stuck.abort();
        assert!(stuck.await.unwrap_err().is_cancelled());
        for task in tasks {
            assert_eq!(task.await.unwrap(), Ok(7));
        }
    });
    assert_eq!((cache.find(&KEY), cache.loads()), (Some(7), 2), "the stuck one and one more");
    cache.assert_nothing_remains();
}
