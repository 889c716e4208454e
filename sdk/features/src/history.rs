//! What was seen of one key, in 24 bytes: the state that all features but the size come from.

use crate::{Facts, Lifetime, octaves::from_quarter_octaves, quarter_octaves};

/// One access in the decayed counters.
const ONE: u16 = 256;

/// Its quarter octaves.
const ONE_QUARTERS: u8 = quarter_octaves(ONE as u32);

/// 2^(-i/16) × 65536.
const DECAY: [u32; 16] = [
    65536, 62757, 60097, 57549, 55109, 52773, 50535, 48393, 46341, 44376, 42495, 40693, 38968,
    37316, 35734, 34219,
];

/// What is remembered of a key, resident or not. Plain old values: it may be kept in arrays of slots,
/// in ghosts and in hash tables. `now` is a counter of requests that wraps at 2^32; ages beyond that
/// are taken for shorter ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct EntryHistory {
    /// Request of the last access.
    last: u32,
    /// Request at which the key was first seen.
    first: u32,
    /// Request at which it came into the cache for the last time.
    entered: u32,
    /// Accesses since first seen, at least 1; saturates.
    accesses: u16,
    /// Hits since it came in; saturates.
    hits: u16,
    /// Accesses, those of a quarter of a lifetime ago counting half; 256 is one; saturates.
    recent: u16,
    /// As `recent`, with a half-life of two lifetimes.
    steady: u16,
    /// The last two inter-arrival times in quarter octaves, plus one; 0 where there is none.
    gap: u8,
    gap2: u8,
    /// The inter-arrival time before those.
    gap3: u8,
    spare: u8,
}

impl EntryHistory {
    /// A key seen for the first time, which came in with that.
    #[inline]
    #[must_use]
    pub const fn new(now: u32) -> Self {
        Self {
            last: now,
            first: now,
            entered: now,
            accesses: 1,
            hits: 0,
            recent: ONE,
            steady: ONE,
            gap: 0,
            gap2: 0,
            gap3: 0,
            spare: 0,
        }
    }

    /// A resident was used.
    #[inline]
    pub fn hit(&mut self, now: u32, lifetime: &Lifetime) {
        self.access(now, lifetime);
        self.hits = self.hits.saturating_add(1);
    }

    /// A key that was known came in again: an access, and the start of another stay.
    #[inline]
    pub fn enter(&mut self, now: u32, lifetime: &Lifetime) {
        self.access(now, lifetime);
        self.entered = now;
        self.hits = 0;
    }

    #[inline]
    fn access(&mut self, now: u32, lifetime: &Lifetime) {
        let gap = now.wrapping_sub(self.last);
        self.gap3 = self.gap2;
        self.gap2 = self.gap;
        self.gap = quarter_octaves(gap) + 1;
        self.last = now;
        self.accesses = self.accesses.saturating_add(1);
        self.recent = decayed(self.recent, gap, lifetime.recent_sixteenth()).saturating_add(ONE);
        self.steady = decayed(self.steady, gap, lifetime.steady_sixteenth()).saturating_add(ONE);
    }

    /// What is kept of a key that left, but for its last access: 32 bits. `recent` is left out: it
    /// decays to nothing before a key can come back.
    #[inline]
    #[must_use]
    pub fn packed(&self) -> u32 {
        let known = quarter_octaves(self.last.wrapping_sub(self.first));
        let accesses = quarter_octaves(u32::from(self.accesses)).min(63);
        let steady = quarter_octaves(u32::from(self.steady)).saturating_sub(ONE_QUARTERS).min(31);
        u32::from(self.gap.min(127))
            | u32::from(self.gap2.min(127)) << 7
            | u32::from(known) << 14
            | u32::from(accesses) << 21
            | u32::from(steady) << 27
    }

    /// A history from what was kept of it, and its last access.
    #[inline]
    #[must_use]
    pub fn unpacked(packed: u32, last: u32) -> Self {
        let bits = |shift: u32, count: u32| (packed >> shift & ((1 << count) - 1)) as u8;
        let known = from_quarter_octaves(bits(14, 7));
        let (gap, gap2) = (bits(0, 7), bits(7, 7));
        Self {
            last,
            first: last.wrapping_sub(if gap == 0 { 0 } else { known.max(1) }),
            entered: last,
            accesses: from_quarter_octaves(bits(21, 6)).clamp(1, u32::from(u16::MAX)) as u16,
            hits: 0,
            recent: ONE,
            steady: from_quarter_octaves(bits(27, 5) + ONE_QUARTERS).min(u32::from(u16::MAX))
                as u16,
            gap,
            gap2,
            gap3: 0,
            spare: 0,
        }
    }

    /// Request of the last access.
    #[inline]
    #[must_use]
    pub const fn last(&self) -> u32 {
        self.last
    }

    /// Accesses since the key was first seen.
    #[inline]
    #[must_use]
    pub const fn accesses(&self) -> u16 {
        self.accesses
    }

    /// What is known of the key at `now`. `weight` is 1 where weights do not matter.
    #[inline]
    #[must_use]
    pub fn facts(&self, now: u32, weight: u32) -> Facts {
        let known = self.last.wrapping_sub(self.first);
        let gaps = u32::from(self.accesses) - 1;
        Facts {
            age: now.wrapping_sub(self.last),
            gap: gap_of(self.gap),
            gap2: gap_of(self.gap2),
            gap_mean: known.checked_div(gaps).unwrap_or(0),
            life: now.wrapping_sub(self.first),
            stay: now.wrapping_sub(self.entered),
            accesses: u32::from(self.accesses),
            hits: u32::from(self.hits),
            recent: u32::from(self.recent),
            steady: u32::from(self.steady),
            weight,
        }
    }
}

/// An inter-arrival time from its step, 0 where there is none.
#[inline]
fn gap_of(step: u8) -> u32 {
    step.checked_sub(1).map_or(0, |quarters| from_quarter_octaves(quarters).max(1))
}

/// A counter after `gap` requests without an access, its half-life being 16 × `sixteenth`.
#[inline]
fn decayed(counter: u16, gap: u32, sixteenth: u32) -> u16 {
    let steps = gap / sixteenth;
    let halvings = steps / 16;
    if halvings >= 16 {
        return 0;
    }
    ((u32::from(counter) * DECAY[(steps % 16) as usize]) >> (16 + halvings)) as u16
}
