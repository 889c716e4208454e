//! The thread behind a cache's tap: it drains the queue and calls the consumers.
//!
//! It owns who listens, and what listening costs. It must not know what the consumers make of it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ostler_core::SampleShare;
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

use super::feed::{Feed, Queue};
use super::share::{Share, Size, Spent};
use super::{Consumer, LiveCache, Moment};

/// Time between two ticks.
const TICK: Duration = Duration::from_millis(100);
/// Time between two looks at what listening costs.
const LOOK: Duration = Duration::from_secs(1);

/// How a cache is watched.
#[derive(Clone)]
pub struct LiveConfig {
    /// Share of the keys that is heard, 0 to 1.
    pub rate: f64,
    /// Entries that a cache scaled by the share should hold at least; the share of a smaller cache is
    /// raised until it does.
    pub entries_min: u64,
    /// Share of one core that may be spent on it, 0 to 1; where everything else in the process takes less
    /// than a core, the same share of that. More halves the share of the keys.
    pub cpu_max: f64,
    /// Records that may wait, about, in the next power of two, 512 at least; what comes on top is dropped,
    /// and halves the share. 40 bytes each, and 32 while they are read.
    pub queue_records_max: usize,
    /// Milliseconds since 1970.
    pub clock: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl Default for LiveConfig {
    fn default() -> Self {
        Self {
            rate: 1.0 / 16.0,
            entries_min: 1280,
            cpu_max: 0.06,
            queue_records_max: 1 << 15,
            clock: Arc::new(unix_ms),
        }
    }
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Why a cache cannot be watched.
#[derive(Debug, thiserror::Error)]
#[error("the thread that watches the cache cannot be started: {0}")]
pub struct LiveError(#[from] std::io::Error);

/// What watching does and costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct LiveStatus {
    /// Share of the keys that is heard, 0 to 1.
    pub share: f64,
    /// What it would be if nothing was too much.
    pub share_wanted: f64,
    /// Share of one core that was spent on it in the last seconds, 0 to 1.
    pub cpu_share: f64,
    /// Processor time spent so far, nanoseconds.
    pub cpu_ns: u64,
    /// Records heard.
    pub records: u64,
    /// Records dropped because the queue was full.
    pub dropped: u64,
    /// Consumers now.
    pub consumers: usize,
    /// Consumers that were thrown out because they panicked.
    pub panics: u64,
}

/// Names a consumer of a [`Live`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConsumerId(u64);

/// A watched cache: its tap, the queue, and the thread that calls the consumers. Nothing runs, and the
/// cache has no tap of it, until there is a consumer and after the last one has gone. Ends when it
/// drops.
///
/// ```
/// use std::sync::Arc;
/// use std::sync::mpsc::{Sender, channel};
///
/// use ostler_abi::Record;
/// use ostler_adapt::live::{Consumer, Live, LiveConfig, Moment};
/// use ostler_core::Cache;
///
/// struct Count(Sender<usize>);
///
/// impl Consumer for Count {
///     fn take(&mut self, _shard: u32, records: &[Record]) {
///         let _ = self.0.send(records.len());
///     }
///     fn tick(&mut self, _now: Moment) {}
/// }
///
/// let cache = Cache::<u32, u32>::builder(100).build()?;
/// let live = Live::new(Arc::new(cache.clone()), LiveConfig::default());
/// let (sender, counts) = channel();
/// let id = live.add(Box::new(Count(sender)))?;
/// let _ = cache.insert(1, 1);
/// cache.run_pending();
/// assert_eq!(counts.recv(), Ok(1));
/// live.remove(id);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Live {
    inner: Arc<Inner>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Inner {
    cache: Arc<dyn LiveCache>,
    config: LiveConfig,
    feed: Mutex<Option<Arc<Feed>>>,
    consumers: Mutex<Vec<Listener>>,
    next_id: AtomicU64,
    share: Mutex<Share>,
    /// Sums over the feeds before this one.
    before: Mutex<[u64; 2]>,
    cpu_ns: AtomicU64,
    panics: AtomicU64,
}

struct Listener {
    id: ConsumerId,
    is_new: bool,
    consumer: Box<dyn Consumer>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is under these locks is whole at every instant; consumers' panics are caught.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Live {
    /// A cache that can be watched. Starts nothing.
    #[must_use]
    pub fn new(cache: Arc<dyn LiveCache>, config: LiveConfig) -> Self {
        let mut share = Share::new(config.rate.clamp(0.0, 1.0), config.entries_min, config.cpu_max);
        share.fit(size_of(&*cache));
        let inner = Inner {
            cache,
            config,
            feed: Mutex::default(),
            consumers: Mutex::default(),
            next_id: AtomicU64::new(0),
            share: Mutex::new(share),
            before: Mutex::default(),
            cpu_ns: AtomicU64::new(0),
            panics: AtomicU64::new(0),
        };
        Self { inner: Arc::new(inner), thread: Mutex::new(None) }
    }

    /// The cache.
    #[must_use]
    pub fn cache(&self) -> &Arc<dyn LiveCache> {
        &self.inner.cache
    }

    /// Lets a consumer hear what happens from now on. Waits for those that are at work. Not to be called
    /// by a consumer.
    ///
    /// # Errors
    ///
    /// [`LiveError`] where it is the first one and there is no thread for it.
    pub fn add(&self, consumer: Box<dyn Consumer>) -> Result<ConsumerId, LiveError> {
        let mut thread = locked(&self.thread);
        let id = ConsumerId(self.inner.next_id.fetch_add(1, Relaxed));
        locked(&self.inner.consumers).push(Listener { id, is_new: true, consumer });
        if let Some(feed) = &*locked(&self.inner.feed) {
            feed.set_share(self.inner.sample_share());
        }
        if thread.is_none() {
            match self.start() {
                Ok(started) => *thread = Some(started),
                Err(error) => {
                    locked(&self.inner.consumers).clear();
                    return Err(error.into());
                }
            }
        }
        Ok(id)
    }

    /// Lets a consumer hear nothing any more, and gives it back; none where it has gone. Waits for those
    /// that are at work. Not to be called by a consumer.
    pub fn remove(&self, id: ConsumerId) -> Option<Box<dyn Consumer>> {
        let mut thread = locked(&self.thread);
        if thread.as_ref().is_some_and(is_this) {
            // A consumer let go of what owns this, which ends with it.
            return None;
        }
        let mut consumers = locked(&self.inner.consumers);
        let place = consumers.iter().position(|listener| listener.id == id)?;
        let Listener { consumer, .. } = consumers.remove(place);
        let is_last = consumers.is_empty();
        drop(consumers);
        if is_last {
            self.stop(&mut thread);
        }
        Some(consumer)
    }

    /// What watching does and costs.
    #[must_use]
    pub fn status(&self) -> LiveStatus {
        self.inner.status()
    }

    /// What the cache's tap hears of, none while it has none.
    #[cfg(test)]
    fn tapped(&self) -> Option<SampleShare> {
        locked(&self.inner.feed).as_ref().map(|feed| ostler_core::Tap::share(&**feed))
    }

    fn start(&self) -> std::io::Result<JoinHandle<()>> {
        let share = self.inner.sample_share();
        let feed = Arc::new(Feed::new(share, self.inner.config.queue_records_max));
        let (inner, fed) = (Arc::clone(&self.inner), Arc::clone(&feed));
        let thread = thread::Builder::new()
            .name("ostler-shadows".to_owned())
            .spawn(move || Worker::new(inner, fed).run())?;
        *locked(&self.inner.feed) = Some(Arc::clone(&feed));
        self.inner.cache.set_tap(Some(feed));
        Ok(thread)
    }

    fn stop(&self, thread: &mut Option<JoinHandle<()>>) {
        if let Some(feed) = locked(&self.inner.feed).take() {
            // Another watch may have taken over: its tap stays.
            self.inner.cache.clear_tap(&(Arc::clone(&feed) as Arc<dyn ostler_core::Tap>));
            feed.close();
            let mut before = locked(&self.inner.before);
            before[0] += feed.heard();
            before[1] += feed.dropped();
        }
        if let Some(thread) = thread.take()
            // A consumer may have let go of what owns this.
            && !is_this(&thread)
        {
            let _ = thread.join();
        }
    }
}

fn is_this(thread: &JoinHandle<()>) -> bool {
    thread.thread().id() == thread::current().id()
}

impl Drop for Live {
    fn drop(&mut self) {
        let mut thread = locked(&self.thread);
        self.stop(&mut thread);
    }
}

impl Inner {
    fn sample_share(&self) -> SampleShare {
        SampleShare::of_ratio(locked(&self.share).ratio())
    }

    fn status(&self) -> LiveStatus {
        let [mut records, mut dropped] = *locked(&self.before);
        if let Some(feed) = &*locked(&self.feed) {
            records += feed.heard();
            dropped += feed.dropped();
        }
        let share = locked(&self.share);
        LiveStatus {
            share: share.ratio(),
            share_wanted: share.wanted(),
            cpu_share: share.cpu_share(),
            cpu_ns: self.cpu_ns.load(Relaxed),
            records,
            dropped,
            // While they are at work nobody knows; nor need the caller wait.
            consumers: self.consumers.try_lock().map_or(1, |consumers| consumers.len()),
            panics: self.panics.load(Relaxed),
        }
    }
}

/// What runs on the thread.
struct Worker {
    inner: Arc<Inner>,
    feed: Arc<Feed>,
    queue: Queue,
    ticked: Instant,
    looked: Instant,
    cpu_ns: u64,
    process_ns: u64,
    dropped: u64,
    /// A consumer did something that is not watching since the last look.
    has_acted: bool,
}

impl Worker {
    fn new(inner: Arc<Inner>, feed: Arc<Feed>) -> Self {
        let now = Instant::now();
        Self {
            inner,
            feed,
            queue: Queue::default(),
            ticked: now,
            looked: now,
            cpu_ns: cpu_ns(ClockId::ThreadCPUTime),
            process_ns: cpu_ns(ClockId::ProcessCPUTime),
            dropped: 0,
            has_acted: false,
        }
    }

    fn run(mut self) {
        while self.feed.drain(&mut self.queue, TICK) {
            self.deliver();
            if self.looked.elapsed() >= LOOK {
                self.look();
            }
        }
        let cpu_ns = cpu_ns(ClockId::ThreadCPUTime) - self.cpu_ns;
        self.inner.cpu_ns.fetch_add(cpu_ns, Relaxed);
    }

    /// Hands what has come to each consumer, and ticks where it is time.
    fn deliver(&mut self) {
        let is_due = self.ticked.elapsed() >= TICK;
        if is_due {
            self.ticked = Instant::now();
        }
        let now = Moment::new((self.inner.config.clock)(), self.inner.sample_share());
        let Self { inner, queue, has_acted, .. } = self;
        let mut consumers = locked(&inner.consumers);
        let before = consumers.len();
        consumers.retain_mut(|listener| {
            let Listener { is_new, consumer, .. } = listener;
            let work = || {
                if std::mem::take(is_new) {
                    consumer.tick(now);
                }
                for (shard, block) in queue.blocks() {
                    consumer.take(shard, block);
                }
                if is_due {
                    consumer.tick(now);
                }
                consumer.take_acted()
            };
            let acted = catch_unwind(AssertUnwindSafe(work));
            *has_acted |= acted.as_ref().is_ok_and(|&acted| acted);
            if acted.is_err() {
                // What it cannot say now, nobody hears.
                let _: Result<(), _> = catch_unwind(AssertUnwindSafe(|| consumer.ended()));
            }
            acted.is_ok()
        });
        if consumers.is_empty() {
            // Until somebody listens again.
            self.feed.set_share(SampleShare::NONE);
        }
        inner.panics.fetch_add((before - consumers.len()) as u64, Relaxed);
    }

    /// Judges what it cost since the last look.
    fn look(&mut self) {
        let [own_ns, process_ns] = [ClockId::ThreadCPUTime, ClockId::ProcessCPUTime].map(cpu_ns);
        let dropped = self.feed.dropped();
        let wall = self.looked.elapsed();
        let spent = Spent {
            wall_ms: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX),
            cpu_ns: own_ns - self.cpu_ns,
            others_ns: (process_ns - self.process_ns).saturating_sub(own_ns - self.cpu_ns),
            dropped: dropped - self.dropped,
        };
        self.inner.cpu_ns.fetch_add(spent.cpu_ns, Relaxed);
        let size = size_of(&*self.inner.cache);
        let mut share = locked(&self.inner.share);
        if !std::mem::take(&mut self.has_acted) {
            share.judge(spent);
        }
        share.fit(size);
        if !locked(&self.inner.consumers).is_empty() {
            self.feed.set_share(SampleShare::of_ratio(share.ratio()));
        }
        drop(share);
        (self.looked, self.dropped) = (Instant::now(), dropped);
        (self.cpu_ns, self.process_ns) = (own_ns, process_ns);
    }
}

fn size_of(cache: &dyn LiveCache) -> Size {
    let stats = cache.stats();
    Size { entries: stats.entries, weight: stats.weight, capacity: cache.capacity() }
}

/// Processor time of this thread or the process, nanoseconds. A system call: some hundred nanoseconds.
fn cpu_ns(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}

#[cfg(test)]
mod tests;
