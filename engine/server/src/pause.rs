//! `CLIENT PAUSE`: for a while, commands wait instead of running.
//!
//! Connections ask before each command, which costs one relaxed load while nobody has paused them, and
//! wait here where it has to wait. The pause begins while no command runs anywhere, so that all see it.
//! Entries still expire, and the HTTP API still writes. It must not know commands or sockets.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// Which commands wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Extent {
    /// Those that write or publish.
    Writes,
    /// All.
    All,
}

/// A pause: which commands wait, and until when.
type Span = (Extent, Instant);

/// Whether commands wait.
pub struct Pause {
    /// False where there is no span; changes only with it, under its lock.
    is_on: AtomicBool,
    span: watch::Sender<Option<Span>>,
    waiting: AtomicUsize,
}

impl Default for Pause {
    fn default() -> Self {
        Self {
            is_on: AtomicBool::new(false),
            span: watch::Sender::new(None),
            waiting: AtomicUsize::new(0),
        }
    }
}

/// One connection's wait, counted until it drops.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Pause {
    /// Lets commands wait until `end`, at least; where there is a pause already, the longer end and the
    /// larger extent of the two count. To be called while no other command runs.
    pub fn begin(&self, extent: Extent, end: Instant) {
        let now = Instant::now();
        self.span.send_modify(|span| {
            let before = span.filter(|(_, end)| *end > now);
            *span = Some(before.map_or((extent, end), |(before, end_before)| {
                (extent.max(before), end.max(end_before))
            }));
            self.is_on.store(true, Relaxed);
        });
    }

    /// Lets commands run again.
    pub fn end(&self) {
        self.span.send_modify(|span| {
            *span = None;
            self.is_on.store(false, Relaxed);
        });
    }

    /// Which commands wait, none where all run.
    #[must_use]
    #[inline]
    pub fn extent(&self) -> Option<Extent> {
        if self.is_on.load(Relaxed) { self.extent_now() } else { None }
    }

    #[cold]
    fn extent_now(&self) -> Option<Extent> {
        let now = Instant::now();
        let (extent, end) = (*self.span.borrow())?;
        if end > now {
            return Some(extent);
        }
        self.span.send_if_modified(|span| {
            // Another pause may have begun meanwhile.
            if span.is_none_or(|(_, end)| end <= now) {
                *span = None;
                self.is_on.store(false, Relaxed);
            }
            false
        });
        None
    }

    /// Ready when the pause has ended or become another one. Cancelling it is safe.
    pub async fn over(&self) {
        self.waiting.fetch_add(1, Relaxed);
        let _waiting = Waiting(&self.waiting);
        let mut span = self.span.subscribe();
        let current = *span.borrow_and_update();
        let Some((_, end)) = current else { return };
        tokio::select! {
            () = sleep_until(end) => {}
            // The sender lives as long as this.
            _ = span.changed() => {}
        }
    }

    /// Connections that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_larger_of_two_pauses_counts_and_ends_by_itself() {
        let (pause, start) = (Pause::default(), Instant::now());
        let after = |ms| start + Duration::from_millis(ms);
        assert_eq!(pause.extent(), None);
        pause.begin(Extent::All, after(50));
        pause.begin(Extent::Writes, after(100));
        pause.begin(Extent::Writes, after(70));
        assert_eq!(pause.extent(), Some(Extent::All));
        pause.over().await;
        assert_eq!((pause.extent(), Instant::now()), (None, after(100)));
        pause.begin(Extent::Writes, after(300));
        assert_eq!(pause.extent(), Some(Extent::Writes));
        let (early, ()) = tokio::join!(
            async {
                pause.over().await;
                Instant::now()
            },
            async {
                assert_eq!(pause.waiting(), 1);
                pause.end();
            }
        );
        assert_eq!((early, pause.extent(), pause.waiting()), (after(100), None, 0));
    }
}
