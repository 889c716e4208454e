//! Looks at the sockets a moment longer before a thread goes to sleep.
//!
//! A thread that sleeps has to be woken by whoever sends it something, which costs the sender some
//! microseconds where both share a machine: of commands one at a time from fifty clients, every sixth
//! paid for it. So a thread that has run out of work asks the system again for a while, and only as
//! long as that mostly finds something: clients that come seldom cost a look now and then. It must not
//! know connections or commands.

use std::cell::Cell;
use std::future::poll_fn;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use tokio::task::yield_now;

/// How long a thread looks in vain: some times what waking it costs.
const LOOK_MAX: Duration = Duration::from_micros(20);
/// What a look in vain takes from the credit, to which one that found something adds 1.
const VAIN_COST: u32 = 4;
/// Most credit, and what a thread starts with.
const CREDIT_MAX: u32 = 64;
/// Batches after which a thread without credit tries again.
const RETRY_BATCHES: u32 = 1024;

thread_local! {
    /// Batches that this thread's connections have run, wrapping.
    static BATCHES: Cell<u32> = const { Cell::new(0) };
    /// At which number of batches the lookout is to be woken, where it rests.
    static WAKE_AT: Cell<u32> = const { Cell::new(0) };
    static RESTING: Cell<Option<Waker>> = const { Cell::new(None) };
}

/// Says that a connection of this thread has run a batch of one command.
#[inline]
pub(crate) fn note() {
    let batches = BATCHES.get().wrapping_add(1);
    BATCHES.set(batches);
    if batches == WAKE_AT.get()
        && let Some(waker) = RESTING.take()
    {
        waker.wake();
    }
}

/// Keeps the thread awake while that pays. Never ends; at most one on a thread.
pub(crate) async fn watch() {
    let mut credit = CREDIT_MAX;
    loop {
        let pause = if credit > 0 { 1 } else { RETRY_BATCHES };
        rest(pause).await;
        credit = look(credit).await;
    }
}

/// Rests for as many batches.
async fn rest(batches: u32) {
    let wake_at = BATCHES.get().wrapping_add(batches);
    WAKE_AT.set(wake_at);
    poll_fn(|context| {
        if BATCHES.get().wrapping_sub(wake_at) < u32::MAX / 2 {
            return Poll::Ready(());
        }
        RESTING.set(Some(context.waker().clone()));
        Poll::Pending
    })
    .await;
}

/// Looks until it has been in vain for too long; the credit that is left.
async fn look(mut credit: u32) -> u32 {
    let (mut seen, mut since) = (BATCHES.get(), Instant::now());
    loop {
        // The runtime polls the sockets, without waiting, before it comes back.
        yield_now().await;
        let (batches, now) = (BATCHES.get(), Instant::now());
        if batches != seen {
            credit = (credit + 1).min(CREDIT_MAX);
            (seen, since) = (batches, now);
        } else if now.duration_since(since) > LOOK_MAX {
            return credit.saturating_sub(VAIN_COST);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets everything else on the thread go on for so many turns.
    async fn turns(count: usize) {
        for _ in 0..count {
            yield_now().await;
        }
    }

    fn is_resting() -> bool {
        let waker = RESTING.take();
        let resting = waker.is_some();
        RESTING.set(waker);
        resting
    }

    #[test]
    fn looks_in_vain_make_it_rest_until_many_batches_have_run() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            tokio::spawn(watch());
            turns(2).await;
            assert!(is_resting(), "nothing has run yet");
            // Looks in vain, each after one batch, until there is no credit left.
            for _ in 0..CREDIT_MAX / VAIN_COST {
                note();
                assert!(!is_resting(), "one batch wakes it");
                while !is_resting() {
                    yield_now().await;
                }
            }
            for _ in 1..RETRY_BATCHES {
                note();
            }
            assert!(is_resting(), "one batch does not wake it now");
            note();
            assert!(!is_resting(), "that many do");
        });
    }

    #[test]
    fn looks_that_find_something_keep_it_awake() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            tokio::spawn(watch());
            turns(2).await;
            note();
            for _ in 0..10_000 {
                turns(1).await;
                note();
            }
            // However slow this machine is, credit is earned faster than it is spent.
            while !is_resting() {
                yield_now().await;
            }
            note();
            assert!(!is_resting());
        });
    }
}
