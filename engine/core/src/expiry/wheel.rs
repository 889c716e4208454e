//! The hierarchical timer wheel: which slots come up when.
//!
//! It owns the wheel's position and its buckets, which are lists linked through the nodes. It must
//! not know what a lifetime is made of: it is given an end and returns slots whose place has come.
//!
//! **Idea.** A moment is a number of eight digits to the base 64. The wheel has one level a digit
//! and one bucket a value. An end later than the position goes to the level of the highest digit in
//! which the two differ, into the bucket of the end's digit there. So every bucket of a level lies
//! before every bucket of the next level, and those of a level are in the order of their digits:
//! the first bucket is found with one bit scan. When the position reaches a bucket's beginning, the
//! bucket is opened, and each slot in it expires or moves to a lower level.
//!
//! **Paper.** Varghese and Lauck, "Hashed and hierarchical timing wheels", SOSP 1987, scheme 7.
//!
//! **Where we differ.** The paper's wheel is turned tick by tick. This one skips from one occupied
//! bucket to the next by a bit map a level, so that a jump of the clock costs what lies in between
//! and not its length. Digits are those of absolute time and never wrap, and eight of them cover
//! all moments, so there is no overflow list and a bucket never holds two turns at once.
//!
//! | level | a bucket spans | the level spans |
//! |---|---|---|
//! | 0 | 1 ms | 64 ms |
//! | 1 | 64 ms | 4.1 s |
//! | 2 | 4.1 s | 4.4 min |
//! | 3 | 4.4 min | 4.7 h |
//! | 4 | 4.7 h | 12.4 days |
//! | 5 | 12.4 days | 2.2 years |
//! | 6 | 2.2 years | 139 years |
//! | 7 | 139 years | 8,900 years |
//!
//! **Cost.** Linking and unlinking: a few loads and stores. A slot is moved at most once a level
//! between linking and expiry. The buckets take 2 KiB, allocated with the first link.

use ostler_abi::NO_SLOT;

use super::nodes::{LAST_MS, NO_BUCKET, Nodes};

/// Bits of a digit.
const DIGIT_BITS: u32 = 6;
/// Buckets of a level.
const DIGITS: u64 = 1 << DIGIT_BITS;
const LEVELS: usize = 8;
/// The list of slots whose end was not later than the position when they were linked.
const DUE: u16 = LEVELS as u16 * DIGITS as u16;
/// All lists: the buckets of all levels, then [`DUE`].
const LISTS: usize = DUE as usize + 1;

const _: () = assert!(LAST_MS >> (DIGIT_BITS * LEVELS as u32) == 0, "every moment has a bucket");

/// Buckets of slots in the order in which they come up.
pub(super) struct Wheel {
    /// First slot of each list, [`NO_SLOT`] where it is empty. Empty until the first link.
    heads: Vec<u32>,
    /// Which buckets of each level are not empty.
    occupied: [u64; LEVELS],
    /// The moment up to which all buckets have been opened.
    position_ms: u64,
    /// The bucket being emptied, [`NO_BUCKET`] if none; never an empty one. It begins at the
    /// position, which stays until it is empty. Nothing is linked into it meanwhile, because what
    /// differs from the position only below the bucket's digit belongs to a lower level.
    open: u16,
    /// Slots linked.
    len: usize,
}

impl Wheel {
    pub(super) fn new(now_ms: u64) -> Self {
        let occupied = [0; LEVELS];
        Self { heads: Vec::new(), occupied, position_ms: now_ms, open: NO_BUCKET, len: 0 }
    }

    /// Number of slots linked.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Bytes on the heap.
    pub(super) fn bytes(&self) -> usize {
        self.heads.capacity() * size_of::<u32>()
    }

    /// Puts `slot` where it comes up at or shortly before `end_ms`, whether it was linked or not.
    pub(super) fn link(&mut self, nodes: &mut Nodes, slot: u32, end_ms: u64) {
        let bucket = bucket_at(self.position_ms, end_ms);
        if nodes.node(slot).bucket == bucket {
            return;
        }
        self.unlink(nodes, slot);
        if self.heads.is_empty() {
            self.heads = vec![NO_SLOT; LISTS];
        }
        let next = std::mem::replace(&mut self.heads[usize::from(bucket)], slot);
        if next != NO_SLOT {
            nodes.node_mut(next).prev = slot;
        }
        let node = nodes.node_mut(slot);
        (node.bucket, node.next, node.prev) = (bucket, next, NO_SLOT);
        if bucket != DUE {
            self.occupied[level_of(bucket)] |= 1 << digit_of(bucket);
        }
        self.len += 1;
    }

    /// Takes `slot` out. Nothing where it is not linked.
    pub(super) fn unlink(&mut self, nodes: &mut Nodes, slot: u32) {
        let node = nodes.node_mut(slot);
        let bucket = std::mem::replace(&mut node.bucket, NO_BUCKET);
        if bucket == NO_BUCKET {
            return;
        }
        let (next, prev) = (node.next, node.prev);
        if next != NO_SLOT {
            nodes.node_mut(next).prev = prev;
        }
        if prev != NO_SLOT {
            nodes.node_mut(prev).next = next;
        } else {
            self.heads[usize::from(bucket)] = next;
            if next == NO_SLOT {
                self.note_empty(bucket);
            }
        }
        self.len -= 1;
    }

    /// A slot whose place has come, none where a bucket must be opened first.
    pub(super) fn front(&self) -> Option<u32> {
        let head = |list: u16| self.heads.get(usize::from(list)).copied();
        let due = head(DUE).filter(|&slot| slot != NO_SLOT);
        due.or_else(|| head(self.open))
    }

    /// Opens the first bucket if it begins at or before `now_ms`; otherwise moves the position to
    /// `now_ms` and returns none. Only where there is no [`front`](Self::front); `now_ms` is not
    /// before the position.
    #[must_use]
    pub(super) fn open_next(&mut self, now_ms: u64) -> Option<()> {
        debug_assert!(self.front().is_none() && now_ms >= self.position_ms);
        let first = self.first().filter(|&(_, start_ms)| start_ms <= now_ms);
        let Some((bucket, start_ms)) = first else {
            self.position_ms = now_ms;
            return None;
        };
        (self.open, self.position_ms) = (bucket, start_ms);
        Some(())
    }

    /// Moves the position of an empty wheel, which spares what is linked next some levels.
    pub(super) fn skip_to(&mut self, now_ms: u64) {
        debug_assert!(self.len == 0 && now_ms >= self.position_ms);
        self.position_ms = now_ms;
    }

    /// The moment from which there is a [`front`](Self::front), none while the wheel is empty.
    #[cfg(test)]
    pub(super) fn next_due_ms(&self) -> Option<u64> {
        match self.front() {
            Some(_) => Some(self.position_ms),
            None => self.first().map(|(_, start_ms)| start_ms),
        }
    }

    /// The first bucket that is occupied, and its beginning.
    fn first(&self) -> Option<(u16, u64)> {
        let level = self.occupied.iter().position(|&digits| digits != 0)?;
        let digit = self.occupied[level].trailing_zeros();
        let bucket = (level as u32 * DIGITS as u32 + digit) as u16;
        Some((bucket, start_ms(self.position_ms, bucket)))
    }

    fn note_empty(&mut self, bucket: u16) {
        if bucket != DUE {
            self.occupied[level_of(bucket)] &= !(1 << digit_of(bucket));
        }
        if bucket == self.open {
            self.open = NO_BUCKET;
        }
    }

    /// Asserts that lists, bit maps, position and nodes agree. O(slots).
    pub(super) fn validate(&self, nodes: &Nodes) {
        let mut linked = 0;
        for (list, &head) in (0u16..).zip(&self.heads) {
            let (mut prev, mut slot) = (NO_SLOT, head);
            while slot != NO_SLOT {
                let node = nodes.node(slot);
                assert_eq!((node.bucket, node.prev), (list, prev), "slot {slot} knows its place");
                let end_ms = nodes.end_ms(slot).expect("a linked slot has an end");
                let start_ms = if list == DUE { 0 } else { start_ms(self.position_ms, list) };
                assert!(start_ms <= end_ms, "slot {slot} comes up no later than its end");
                (prev, slot) = (slot, node.next);
                linked += 1;
                assert!(linked <= self.len, "a list has no ring");
            }
            if list != DUE {
                self.validate_bucket(list, head != NO_SLOT);
            }
        }
        assert_eq!(linked, self.len, "every linked slot is in a list");
        let set = nodes.slots().filter(|&slot| nodes.is_set(slot)).count();
        assert_eq!(set, self.len, "every slot that names a bucket is in it");
    }

    fn validate_bucket(&self, bucket: u16, is_occupied: bool) {
        let bit = self.occupied[level_of(bucket)] >> digit_of(bucket) & 1;
        assert_eq!(bit == 1, is_occupied, "the bit map tells which buckets are occupied");
        let start_ms = start_ms(self.position_ms, bucket);
        if bucket == self.open {
            assert!(is_occupied && start_ms == self.position_ms, "the position waits for it");
        } else {
            assert!(!is_occupied || start_ms > self.position_ms, "no bucket was passed over");
        }
    }
}

/// The list of what ends at `end_ms`, seen from `position_ms`.
fn bucket_at(position_ms: u64, end_ms: u64) -> u16 {
    if end_ms <= position_ms {
        return DUE;
    }
    let level = (position_ms ^ end_ms).ilog2() / DIGIT_BITS;
    let digit = end_ms >> (level * DIGIT_BITS) & (DIGITS - 1);
    (u64::from(level) * DIGITS + digit) as u16
}

/// The beginning of a bucket: the position's digits above, the bucket's own, zeros below.
fn start_ms(position_ms: u64, bucket: u16) -> u64 {
    let shift = level_of(bucket) as u32 * DIGIT_BITS;
    let above = position_ms >> shift & !(DIGITS - 1);
    (above | u64::from(digit_of(bucket))) << shift
}

fn level_of(bucket: u16) -> usize {
    usize::from(bucket / DIGITS as u16)
}

fn digit_of(bucket: u16) -> u16 {
    bucket % DIGITS as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_goes_to_the_level_of_the_highest_digit_that_differs() {
        // position, end, level, digit, beginning of the bucket
        let table = [
            (0, 1, 0, 1, 1),
            (0, 63, 0, 63, 63),
            (0, 64, 1, 1, 64),
            (0, 200, 1, 3, 192),
            (63, 64, 1, 1, 64),
            (64, 65, 0, 1, 65),
            (130, 4095, 1, 63, 4032),
            (4095, 4096, 2, 1, 4096),
            (5000, 9000, 2, 2, 8192),
            (0, 31_536_000_000, 5, 29, 29 << 30),
            (1 << 42, LAST_MS, 7, 63, 63 << 42),
            (LAST_MS - 1, LAST_MS, 0, 62, LAST_MS),
        ];
        for (position, end, level, digit, start) in table {
            let bucket = bucket_at(position, end);
            assert_eq!((level_of(bucket), digit_of(bucket)), (level, digit), "{position} {end}");
            assert_eq!(start_ms(position, bucket), start, "{position} {end}");
        }
        assert_eq!([bucket_at(7, 7), bucket_at(7, 0), bucket_at(0, 0)], [DUE; 3]);
    }
}
