//! The thread that advances the epochs of a runtime with CPU-time metering.
//!
//! It sleeps while there is no instance, and ends with its owner. A thread that wakes a thousand times a
//! second takes one or two percent of a core from a busy machine, so that it rests between its ticks
//! until a call sees one: that call it watches at every tick.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use wasmtime::Engine;

/// Ticks that it rests for while no call is watched. A call that does not end is seen that much later.
const REST_TICKS: u32 = 8;

/// Advances the epoch of an engine as long as there are instances: once a tick while a call asks for it,
/// else now and then.
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// Asks the ticker to look after a call.
#[derive(Clone)]
pub(crate) struct Watch(Arc<Shared>);

impl Watch {
    /// The next epoch is to come after one tick. Called from a call that has seen an epoch.
    pub(crate) fn ask(&self) {
        self.0.state().watching = true;
        self.0.changed.notify_one();
    }
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    instances: usize,
    /// A call has seen the last epoch.
    watching: bool,
    stopped: bool,
}

impl Shared {
    /// The state is three plain numbers, valid whatever panicked while holding it.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticker {
    /// Starts the thread.
    pub(crate) fn try_start(engine: Engine, tick: Duration) -> std::io::Result<Self> {
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new() });
        let for_thread = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("ostler-epochs".to_owned())
            .spawn(move || run(&for_thread, &engine, tick))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// For calls that have seen an epoch.
    pub(crate) fn watch(&self) -> Watch {
        Watch(Arc::clone(&self.shared))
    }

    /// Counts an instance in; the epochs advance from now on.
    pub(crate) fn enter(&self) {
        self.shared.state().instances += 1;
        self.shared.changed.notify_one();
    }

    /// Counts an instance out.
    pub(crate) fn leave(&self) {
        self.shared.state().instances -= 1;
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.state().stopped = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // The thread runs nothing that panics; if it did, the epochs are of no use any more.
            let _ = thread.join();
        }
    }
}

fn run(shared: &Shared, engine: &Engine, tick: Duration) {
    let mut state = shared.state();
    let mut last = Instant::now();
    while !state.stopped {
        if state.instances == 0 {
            state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            last = Instant::now();
            continue;
        }
        let pause = if state.watching { tick } else { tick * REST_TICKS };
        let left = pause.saturating_sub(last.elapsed());
        if !left.is_zero() {
            let waited = shared.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            continue;
        }
        state.watching = false;
        last = Instant::now();
        engine.increment_epoch();
    }
}
