//! Metering: how much a guest may use, and what is said when it uses more.
//!
//! It owns the account of fuel, the rolling budget of CPU time and the estimate of the time spent in
//! the guest. With fuel nothing here depends on a clock: the same events fault at the same event on
//! every machine; time is measured too, but only reported.

use std::time::Instant;

use ostler_core::PolicyFault;
use wasmtime::Store;

use crate::host::{HostState, thread_cpu_ns};

/// How guests are kept from running too long. One per [`Runtime`](crate::Runtime).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metering {
    /// Deterministic: for replay, conformance and tests.
    ///
    /// Each instance has an account. A full account holds `per_call` and 8 units for every byte of
    /// memory the guest may have, so that it can clear or copy its tables. It starts full, and every
    /// call, event and victim adds `per_event` to it, up to full. A unit is about an instruction, or
    /// a byte copied in bulk. A call that empties the account is a deadline fault.
    Fuel {
        /// Units in a full account. Default 50,000,000, some 50 ms.
        per_call: u64,
        /// Units added by a call, an event or a victim. Default 20,000, some 5 to 10 µs.
        per_event: u64,
    },
    /// For the live cache: CPU time of the calling thread, never the wall clock, so that an honest
    /// guest on a busy machine is not blamed for waiting.
    CpuTime {
        /// CPU time of one call, microseconds; one more for every 1,000 bytes of memory that the
        /// guest may have. Exact to a tick, half of it; where the epochs rest as the call begins, it
        /// counts from up to eight ticks later. Default 2,000.
        deadline_us: u64,
        /// CPU nanoseconds an event, over the window. Default 5,000.
        ns_per_event_max: u64,
        /// Length of the window in events, a call without events counts as one. Timed are one call in
        /// 64 and every call of 64 events or more; a window closes only with 8 timed calls in it.
        /// Default 4,096.
        events_window: u64,
    },
}

impl Metering {
    /// Fuel with the defaults.
    #[must_use]
    pub const fn fuel() -> Self {
        Metering::Fuel { per_call: 50_000_000, per_event: 20_000 }
    }

    /// CPU time with the defaults.
    #[must_use]
    pub const fn cpu_time() -> Self {
        Metering::CpuTime { deadline_us: 2_000, ns_per_event_max: 5_000, events_window: 4_096 }
    }
}

/// Fuel in a full account for each byte of guest memory.
const FUEL_PER_BYTE: u64 = 8;
/// One call in this many is timed.
const TIMED_CALLS_PERIOD: u64 = 64;
/// Calls of this many events are all timed, where the rolling budget is kept.
const TIMED_EVENTS_MIN: u64 = 64;
/// Timed calls without which a window is not judged.
const WINDOW_SAMPLES_MIN: u64 = 8;

/// The meter of one instance.
pub(crate) struct Meter {
    budget: Budget,
    timer: Timer,
}

enum Budget {
    Fuel(Account),
    CpuTime { deadline_us: u64, window: Window },
}

/// An account of fuel.
struct Account {
    per_call: u64,
    per_event: u64,
    /// What it holds when full.
    full: u64,
    /// What the running call was given.
    granted: u64,
    /// Victims of the last call, not yet credited.
    victims: u64,
}

/// The rolling budget.
///
/// It is watched on the wall clock, which is cheap to read, and judged on the thread's CPU time, which
/// is not: a window that looks too slow is followed by one that is measured in CPU time, and only that
/// can be a fault. So a busy machine costs an honest guest nothing.
#[derive(Default)]
struct Window {
    ns_per_event_max: u64,
    events_max: u64,
    /// True while the last window is confirmed: every call is timed, in CPU time.
    confirming: bool,
    events: u64,
    samples: u64,
    sampled_events: u64,
    sampled_ns: u64,
}

impl Window {
    fn add_sample(&mut self, events: u64, ns: u64) -> Result<(), PolicyFault> {
        self.samples += 1;
        self.sampled_events += events;
        self.sampled_ns += ns;
        if self.events < self.events_max || self.samples < WINDOW_SAMPLES_MIN {
            return Ok(());
        }
        let ns_per_event = self.sampled_ns / self.sampled_events.max(1);
        let over = ns_per_event > self.ns_per_event_max;
        if over && self.confirming {
            let (events, limit) = (self.events, self.ns_per_event_max);
            return Err(PolicyFault::Slow { ns_per_event, events, limit });
        }
        self.confirming = over;
        (self.events, self.samples, self.sampled_events, self.sampled_ns) = (0, 0, 0, 0);
        Ok(())
    }
}

/// Clock readings around some of the calls.
struct Timer {
    clocks: Clocks,
    calls: u64,
    guest_ns: u64,
}

/// The two clocks and what reading them costs, nanoseconds for a pair of readings.
#[derive(Clone, Copy)]
pub(crate) struct Clocks {
    base: Instant,
    wall_cost_ns: u64,
    cpu_cost_ns: u64,
}

#[derive(Clone, Copy)]
enum Clock {
    Wall,
    ThreadCpu,
}

impl Clocks {
    /// Measures the clocks. Cost: some ten microseconds.
    pub(crate) fn new() -> Self {
        let mut clocks = Self { base: Instant::now(), wall_cost_ns: 0, cpu_cost_ns: 0 };
        let least = |clock| {
            let once = || clocks.ns_since(clock, clocks.now_ns(clock));
            (0..32).map(|_| once()).min().unwrap_or(0)
        };
        (clocks.wall_cost_ns, clocks.cpu_cost_ns) = (least(Clock::Wall), least(Clock::ThreadCpu));
        clocks
    }

    fn now_ns(&self, clock: Clock) -> u64 {
        match clock {
            Clock::Wall => u64::try_from(self.base.elapsed().as_nanos()).unwrap_or(u64::MAX),
            Clock::ThreadCpu => thread_cpu_ns(),
        }
    }

    fn ns_since(&self, clock: Clock, started_ns: u64) -> u64 {
        let cost = match clock {
            Clock::Wall => self.wall_cost_ns,
            Clock::ThreadCpu => self.cpu_cost_ns,
        };
        self.now_ns(clock).saturating_sub(started_ns).saturating_sub(cost)
    }
}

/// What [`Meter::begin`] hands to [`Meter::end`].
pub(crate) struct Running {
    timed: Option<Timed>,
}

/// The beginning of a timed call.
struct Timed {
    clock: Clock,
    started_ns: u64,
    /// How many calls like it this one stands for.
    stands_for: u64,
}

impl Meter {
    pub(crate) fn new(metering: Metering, clocks: Clocks) -> Self {
        let budget = match metering {
            Metering::Fuel { per_call, per_event } => Budget::Fuel(Account {
                per_call,
                per_event,
                full: per_call,
                granted: 0,
                victims: 0,
            }),
            Metering::CpuTime { deadline_us, ns_per_event_max, events_window } => {
                let events_max = events_window;
                let window = Window { ns_per_event_max, events_max, ..Window::default() };
                Budget::CpuTime { deadline_us, window }
            }
        };
        Self { budget, timer: Timer { clocks, calls: 0, guest_ns: 0 } }
    }

    /// Takes note of how much memory the guest may have, and fills the account.
    pub(crate) fn set_memory(&mut self, store: &mut Store<HostState>, memory_bytes_max: u64) {
        match &mut self.budget {
            Budget::Fuel(account) => {
                let for_memory = memory_bytes_max.saturating_mul(FUEL_PER_BYTE);
                account.full = account.per_call.saturating_add(for_memory);
                set_fuel(store, account.full);
            }
            Budget::CpuTime { deadline_us, .. } => {
                let deadline_ns = deadline_us.saturating_mul(1_000);
                store.data_mut().clock.deadline_ns = deadline_ns.saturating_add(memory_bytes_max);
            }
        }
    }

    /// Before a call with `events` events.
    #[inline]
    pub(crate) fn begin(&mut self, store: &mut Store<HostState>, events: u64) -> Running {
        self.timer.calls += 1;
        let (mut always, mut clock) = (false, Clock::Wall);
        match &mut self.budget {
            Budget::Fuel(account) => {
                let left = store.get_fuel().expect(FUEL_IS_ON);
                let earned = (1 + events + account.victims).saturating_mul(account.per_event);
                account.granted = left.saturating_add(earned).min(account.full);
                account.victims = 0;
                set_fuel(store, account.granted);
            }
            Budget::CpuTime { window, .. } => {
                store.data_mut().clock.call += 1;
                always = events >= TIMED_EVENTS_MIN || window.confirming;
                if window.confirming {
                    clock = Clock::ThreadCpu;
                }
            }
        }
        if !always && !self.timer.calls.is_multiple_of(TIMED_CALLS_PERIOD) {
            return Running { timed: None };
        }
        let stands_for = if always { 1 } else { TIMED_CALLS_PERIOD };
        let started_ns = self.timer.clocks.now_ns(clock);
        Running { timed: Some(Timed { clock, started_ns, stands_for }) }
    }

    /// After a call that returned.
    ///
    /// # Errors
    ///
    /// [`PolicyFault::Slow`] where it closes a window that is over the budget.
    #[inline]
    pub(crate) fn end(&mut self, running: &Running, events: u64) -> Result<(), PolicyFault> {
        // A call without events, to ask for more victims, counts as one.
        let events = events.max(1);
        if let Budget::CpuTime { window, .. } = &mut self.budget {
            window.events += events;
        }
        match &running.timed {
            None => Ok(()),
            Some(timed) => self.end_timed(timed, events),
        }
    }

    #[cold]
    fn end_timed(&mut self, timed: &Timed, events: u64) -> Result<(), PolicyFault> {
        let spent = self.timer.clocks.ns_since(timed.clock, timed.started_ns);
        self.timer.guest_ns += spent * timed.stands_for;
        match &mut self.budget {
            Budget::Fuel(_) => Ok(()),
            Budget::CpuTime { window, .. } => window.add_sample(events, spent),
        }
    }

    /// Credits the victims that a call returned.
    #[inline]
    pub(crate) fn credit_victims(&mut self, victims: u64) {
        if let Budget::Fuel(account) = &mut self.budget {
            account.victims = victims;
        }
    }

    /// The fault of a call that was interrupted.
    pub(crate) fn deadline(&self, store: &Store<HostState>) -> PolicyFault {
        match &self.budget {
            Budget::Fuel(account) => PolicyFault::Deadline { limit: account.granted, unit: "fuel" },
            Budget::CpuTime { .. } => PolicyFault::Deadline {
                limit: store.data().clock.deadline_ns / 1_000,
                unit: "us of CPU time",
            },
        }
    }

    /// Estimated nanoseconds spent in the guest.
    pub(crate) fn guest_ns(&self) -> u64 {
        self.timer.guest_ns
    }
}

const FUEL_IS_ON: &str = "invariant: the runtime's engine consumes fuel";

fn set_fuel(store: &mut Store<HostState>, fuel: u64) {
    store.set_fuel(fuel).expect(FUEL_IS_ON);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(events: u64, samples: u64) -> Window {
        let rest = Window { ns_per_event_max: 100, events_max: 1_000, ..Window::default() };
        Window { events, samples, ..rest }
    }

    #[test]
    fn a_window_is_judged_when_it_is_full_and_sampled() {
        for (events, samples) in [(999, 7), (1_000, 6)] {
            let mut early = Window { confirming: true, ..window(events, samples) };
            assert_eq!(early.add_sample(1, 1_000), Ok(()), "{events} events, {samples} samples");
            assert_eq!(early.samples, samples + 1, "the window stays open");
        }
        let mut full = Window { confirming: true, ..window(1_000, 7) };
        let slow = PolicyFault::Slow { ns_per_event: 101, events: 1_000, limit: 100 };
        assert_eq!(full.add_sample(10, 1_010), Err(slow));
        let mut fair = Window { confirming: true, ..window(1_000, 7) };
        assert_eq!(fair.add_sample(10, 1_009), Ok(()), "exactly the budget, rounded down");
        assert_eq!((fair.events, fair.samples, fair.confirming), (0, 0, false), "a new window");
    }

    #[test]
    fn the_wall_clock_alone_is_no_fault() {
        let mut window = window(1_000, 7);
        assert_eq!(window.add_sample(1, u64::MAX), Ok(()));
        assert!(window.confirming && window.events == 0, "the next window is measured in CPU time");
    }
}
