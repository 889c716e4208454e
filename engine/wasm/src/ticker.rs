//! The thread that advances the epochs of a runtime with CPU-time metering.
//!
//! It sleeps while there is no instance, and ends with its owner.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use wasmtime::Engine;

/// Advances the epoch of an engine once a tick, as long as there are instances.
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    instances: usize,
    stopped: bool,
}

impl Shared {
    /// The state is two plain numbers, valid whatever panicked while holding it.
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
    while !state.stopped {
        if state.instances == 0 {
            state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            continue;
        }
        // A wake-up before the tick is over advances the epoch early, which only costs a callback.
        let waited = shared.changed.wait_timeout(state, tick);
        state = waited.unwrap_or_else(PoisonError::into_inner).0;
        engine.increment_epoch();
    }
}
