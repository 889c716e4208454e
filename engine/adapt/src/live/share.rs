//! How large a share of the keys can be afforded. Numbers in, numbers out: it reads no clock.

use crate::sample::shadow_rate;

/// Wall time over which the processor's share is judged, milliseconds.
const CPU_SPAN_MS: u64 = 5_000;
/// Share of one core that may be spent however little everything else takes: a thread that wakes ten times
/// a second is never free.
const CPU_MIN: f64 = 0.01;
/// Quiet time before the share is raised, milliseconds, at first; doubled where a raise was too much.
const PATIENCE_MS: u64 = 30_000;
const PATIENCE_MS_MAX: u64 = 3_600_000;
/// Most halvings.
const HALVINGS_MAX: u32 = 12;
/// Share of the bound on processor time that twice the work must stay under.
const ROOM: f64 = 0.8;

/// What happened since the last look.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spent {
    /// Wall time, milliseconds.
    pub(super) wall_ms: u64,
    /// Processor time of the worker, nanoseconds.
    pub(super) cpu_ns: u64,
    /// That of everything else in the process.
    pub(super) others_ns: u64,
    /// Records that did not fit the queue.
    pub(super) dropped: u64,
}

/// How much a cache holds and may hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) entries: u64,
    pub(super) weight: u64,
    pub(super) capacity: u64,
}

/// Entries from which their mean weight is told.
const ENTRIES_MIN: u64 = 64;

/// The share that one cache is watched at.
pub(super) struct Share {
    /// Wanted for a large cache.
    rate: f64,
    entries_min: u64,
    cpu_max: f64,
    /// Wanted for a cache of this size.
    wanted: f64,
    halvings: u32,
    cpu_share: f64,
    judged: Spent,
    quiet_ms: u64,
    patience_ms: u64,
    /// The last change was a raise.
    is_on_trial: bool,
}

impl Share {
    /// The share `rate`, more for a cache whose shadows would hold fewer than `entries_min` entries,
    /// at most `cpu_max` of a core, and of what everything else takes.
    pub(super) fn new(rate: f64, entries_min: u64, cpu_max: f64) -> Self {
        Self {
            rate,
            entries_min,
            cpu_max,
            wanted: rate,
            halvings: 0,
            cpu_share: 0.0,
            judged: Spent::default(),
            quiet_ms: 0,
            patience_ms: PATIENCE_MS,
            is_on_trial: false,
        }
    }

    /// The share, 0 to 1.
    pub(super) fn ratio(&self) -> f64 {
        self.wanted / f64::from(1_u32 << self.halvings)
    }

    /// What it would be if nothing was too much.
    pub(super) fn wanted(&self) -> f64 {
        self.wanted
    }

    /// Processor time ÷ wall time, as last judged.
    pub(super) fn cpu_share(&self) -> f64 {
        self.cpu_share
    }

    /// Hears how large the cache is. The share goes in doublings, and back only where it is far too
    /// large, since each change starts the shadows anew.
    pub(super) fn fit(&mut self, size: Size) {
        let Size { entries, weight, capacity } = size;
        let at_capacity = if entries < ENTRIES_MIN || weight == 0 {
            // As if every entry weighed 1.
            capacity as f64
        } else {
            capacity as f64 / weight as f64 * entries as f64
        };
        let needed = shadow_rate(self.rate, at_capacity as u64, self.entries_min);
        if needed > self.wanted || needed * 3.0 < self.wanted {
            self.wanted = (self.rate * (needed / self.rate).log2().ceil().exp2()).min(1.0);
        }
    }

    /// Hears what the worker did since the last time.
    pub(super) fn judge(&mut self, spent: Spent) {
        self.quiet_ms += spent.wall_ms;
        if spent.dropped > 0 {
            self.judged = Spent::default();
            return self.fall(1);
        }
        self.judged.wall_ms += spent.wall_ms;
        self.judged.cpu_ns += spent.cpu_ns;
        self.judged.others_ns += spent.others_ns;
        // What may be spent in the whole span is spent: there is nothing to wait for.
        let is_spent = self.judged.cpu_ns as f64 > self.cpu_max * CPU_SPAN_MS as f64 * 1e6;
        if self.judged.wall_ms < CPU_SPAN_MS && !is_spent {
            return;
        }
        let Spent { wall_ms, cpu_ns, others_ns, .. } = std::mem::take(&mut self.judged);
        let wall_ns = wall_ms.max(1) as f64 * 1e6;
        self.cpu_share = cpu_ns as f64 / wall_ns;
        // Of a process that does little, little: callers pay in all, not a second.
        let busy = (others_ns as f64 / wall_ns).min(1.0);
        let cpu_max = (self.cpu_max * busy).max(CPU_MIN.min(self.cpu_max));
        if self.cpu_share > cpu_max {
            // As far as it takes, as the work goes with the share. The cast saturates.
            self.fall(((self.cpu_share / cpu_max).log2().ceil() as u32).max(1));
        } else if self.halvings > 0
            && self.quiet_ms >= self.patience_ms
            && self.cpu_share * 2.0 <= cpu_max * ROOM
        {
            self.halvings -= 1;
            self.quiet_ms = 0;
            self.is_on_trial = true;
        }
    }

    fn fall(&mut self, halvings: u32) {
        // A raise that did not last makes the next one wait longer.
        let failed = self.is_on_trial && self.quiet_ms < 2 * PATIENCE_MS;
        let longer = (self.patience_ms * 2).min(PATIENCE_MS_MAX);
        self.patience_ms = if failed { longer } else { PATIENCE_MS };
        self.halvings = self.halvings.saturating_add(halvings).min(HALVINGS_MAX);
        self.quiet_ms = 0;
        self.is_on_trial = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Spent = Spent { wall_ms: 1000, cpu_ns: 0, others_ns: 1_000_000_000, dropped: 0 };

    fn after(share: &mut Share, seconds: u32, spent: Spent) -> f64 {
        (0..seconds).for_each(|_| share.judge(spent));
        share.ratio()
    }

    #[test]
    fn overflow_halves_and_quiet_brings_back() {
        let mut share = Share::new(0.25, 0, 0.1);
        let overflow = Spent { dropped: 1, ..QUIET };
        assert_eq!(after(&mut share, 1, overflow), 0.125);
        assert_eq!(after(&mut share, 1, overflow), 0.0625);
        assert_eq!(after(&mut share, 29, QUIET), 0.0625);
        assert_eq!(after(&mut share, 1, QUIET), 0.125);
        // It was too much again, so that the next try is later.
        assert_eq!(after(&mut share, 1, overflow), 0.0625);
        assert_eq!(after(&mut share, 59, QUIET), 0.0625);
        assert_eq!(after(&mut share, 1, QUIET), 0.125);
        assert_eq!(after(&mut share, 3600, QUIET), 0.25);
    }

    #[test]
    fn processor_time_is_bounded() {
        let mut share = Share::new(0.25, 0, 0.1);
        let busy = |percent: u64| Spent { cpu_ns: percent * 10_000_000, ..QUIET };
        assert_eq!(after(&mut share, 20, busy(10)), 0.25, "as much as allowed");
        assert_eq!(after(&mut share, 2, busy(20)), 0.25);
        assert_eq!(after(&mut share, 1, busy(20)), 0.125, "more is spent than five seconds have");
        assert!((share.cpu_share() - 0.2).abs() < 1e-9);
        assert_eq!(
            after(&mut share, 600, busy(5)),
            0.125,
            "twice that would be too near the bound"
        );
        assert_eq!(after(&mut share, 5, busy(4)), 0.25);
    }

    #[test]
    fn of_a_process_that_does_little_it_takes_little() {
        // A tenth of a core for everything else, of which a tenth is a hundredth of a core.
        let idle =
            |percent: u64| Spent { cpu_ns: percent * 10_000_000, others_ns: 100_000_000, ..QUIET };
        let mut share = Share::new(1.0, 0, 0.1);
        assert_eq!(after(&mut share, 5, idle(1)), 1.0);
        assert_eq!(after(&mut share, 5, idle(4)), 0.25);
        assert!((share.cpu_share() - 0.04).abs() < 1e-9);
        // Nothing else at all: what the thread needs to be there is not held against it.
        let alone = Spent { cpu_ns: 1_900_000, others_ns: 0, ..QUIET };
        let mut share = Share::new(1.0, 0, 0.1);
        assert_eq!(after(&mut share, 100, alone), 1.0);
        // Several cores of work do not raise what one thread may take.
        let many = Spent { cpu_ns: 110_000_000, others_ns: 8_000_000_000, ..QUIET };
        assert_eq!(after(&mut share, 5, many), 0.5);
    }

    #[test]
    fn it_falls_at_once_as_far_as_it_takes() {
        let busy = |percent: u64| Spent { cpu_ns: percent * 10_000_000, ..QUIET };
        for (percent, expected) in [(51, 1.0 / 8.0), (80, 1.0 / 8.0), (90, 1.0 / 16.0)] {
            let mut share = Share::new(1.0, 0, 0.1);
            assert_eq!(after(&mut share, 1, busy(percent)), expected, "{percent} %");
        }
        let mut share = Share::new(1.0, 0, 0.0);
        assert!(after(&mut share, 1, busy(1)) > 0.0, "nothing is allowed");
    }

    #[test]
    fn it_never_falls_to_nothing() {
        let mut share = Share::new(1.0, 0, 0.1);
        let ratio = after(&mut share, 100, Spent { dropped: 1, ..QUIET });
        assert!(ratio > 0.0);
    }

    #[test]
    fn small_caches_are_watched_at_a_larger_share() {
        let mut share = Share::new(0.0625, 1024, 0.1);
        for (entries, weight, capacity, expected) in [
            (0, 0, 1 << 30, 0.0625),
            (0, 0, 4096, 0.25),
            (1000, 1000, 4096, 0.25),
            // A little smaller or larger changes nothing.
            (1000, 1000, 4000, 0.5),
            (1000, 1000, 4100, 0.5),
            (1000, 1000, 100, 1.0),
            (100_000, 10_000_000, 100_000_000, 0.0625),
        ] {
            share.fit(Size { entries, weight, capacity });
            assert_eq!(share.ratio(), expected, "{entries} entries, capacity {capacity}");
        }
    }
}
